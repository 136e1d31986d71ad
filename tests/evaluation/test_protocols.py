"""Which pixels count."""

from __future__ import annotations

import pytest
import torch

from jrn_lightning.errors import ConfigError
from jrn_lightning.evaluation import PROTOCOLS, regions

FRAME = (480, 640)


def test_crops_are_the_published_ones() -> None:
    """Pixels marked one by one, from MATLAB's 1-based inclusive 45:471, 41:601 and the like."""
    found = regions(["full", "eigen", "eigen_fergus"], FRAME)
    maps = torch.ones(*FRAME, requires_grad=True)
    # A sum's derivative by a pixel is 1 where the pixel counts.
    inside = torch.stack([torch.autograd.grad(found.sums(maps)[p], maps)[0] for p in range(3)])
    expected = torch.zeros(3, *FRAME)
    expected[0] = 1
    for row in range(45, 471 + 1):
        expected[1, row - 1, 41 - 1 : 601] = 1
    expected[2, 23:459, 27:615] = 1
    assert torch.equal(inside, expected)
    assert inside.sum((1, 2)).tolist() == [480 * 640, 427 * 561, 436 * 588]


def test_the_whole_frame_is_defined_for_any_size() -> None:
    assert float(regions(["full"], (7, 9)).sums(torch.ones(1, 7, 9))) == 63


@pytest.mark.parametrize("name", ["eigen", "eigen_fergus"])
def test_a_crop_is_defined_for_its_frame_alone(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}'.*480 × 640.*240 × 320.*=\[full\]"):
        regions(["full", name], (240, 320))


def test_unknown_and_missing_protocols_list_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"the unknown 'egen'.*full, eigen, eigen_fergus"):
        regions(["full", "egen"], FRAME)
    with pytest.raises(ConfigError, match=r"holds nothing.*full, eigen"):
        regions([], FRAME)
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())
