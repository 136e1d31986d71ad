"""The contract of a modality, and sums over crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import (
    Depth,
    Measure,
    Modality,
    Regions,
    Semantic,
    import_plugins,
)
from jrn_lightning.modalities.base import spread

SIZE = (17, 23)


@pytest.fixture
def crops() -> list[tuple[slice, slice]]:
    """Overlapping, nested, disjoint, empty and whole."""
    return [
        (slice(None), slice(None)),
        (slice(2, 11), slice(3, 20)),
        (slice(5, 17), slice(0, 9)),
        (slice(12, 13), slice(22, 23)),
        (slice(0, 0), slice(4, 8)),
    ]


def test_sums_are_those_of_slices(crops: list[tuple[slice, slice]]) -> None:
    maps = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    found = Regions.of(crops, SIZE).sums(maps)
    assert found.dtype == torch.float64
    expected = torch.stack([maps[..., r, c].double().sum((-2, -1)) for r, c in crops], -1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_counts_are_those_of_slices(crops: list[tuple[slice, slice]]) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 7, (3, *SIZE))
    found = Regions.of(crops, SIZE).counts(torch.from_numpy(codes), 7)
    for b, image in enumerate(codes):
        for p, (r, c) in enumerate(crops):
            assert found[b, p].tolist() == np.bincount(image[r, c].ravel(), minlength=7).tolist()


def test_regions_move_as_a_whole(crops: list[tuple[slice, slice]]) -> None:
    moved = Regions.of(crops, SIZE).to(torch.device("meta"))
    assert all(t.device.type == "meta" for t in vars(moved).values())


def test_a_modality_is_built_again_from_its_attributes() -> None:
    for modality in (Depth("near"), Semantic("what", ["a", "b"], "space")):
        again = Modality.create(modality.kind, modality.name, modality.attributes)
        assert type(again) is type(modality)
        assert (again.name, again.attributes) == (modality.name, modality.attributes)


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind 'touch'.*depth, .*semantic.*plugins="):
        Modality.create("touch", "x", {})


def test_an_unknown_measure_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"depth has no measure 'iou'.*abs_rel, sq_rel"):
        Depth("depth").measure("iou")


def test_performance_grows_with_quality() -> None:
    value = np.array([0.1, 0.2])
    good = Measure("a", "a", lambda s: s, higher_is_better=True)
    bad = Measure("b", "b", lambda s: s, higher_is_better=False, scale=1.0)
    assert good.performance(value).tolist() == [10.0, 20.0]
    assert bad.performance(value).tolist() == [-0.1, -0.2]
    # Figure 7: mean IoU in percent, and -100 rel(sqr).
    depth, semantic = Depth("d"), Semantic("s", ["a", "b"])
    assert depth.measure(depth.primary).performance(np.array(0.124)) == pytest.approx(-12.4)
    assert semantic.measure(semantic.primary).performance(np.array(0.54)) == pytest.approx(54)


def test_a_plugin_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'no\.such\.module' cannot be imported.*PYTHONPATH"):
        import_plugins(["no.such.module"])


def test_a_plugin_defines_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_plugin.py").write_text(
        "from jrn_lightning.modalities import Depth\nclass Sonar(Depth):\n    kind = 'sonar'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Modality, "_kinds", dict(Modality._kinds))
    import_plugins(["a_plugin"])
    assert Modality.create("sonar", "x", {}).channels == 1
    assert Modality.create("depth", "x", {}).kind == "depth"


@pytest.mark.parametrize("size", [(480, 64), (240, 32), (10, 12), (1, 5)])
def test_spread_is_that_of_a_pooling_window(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 9, (2, *size), generator=generator)
    valid = torch.rand(2, *size, generator=generator) > 0.3
    radius = max(1, round(size[0] / 240))

    def highest(x: torch.Tensor) -> torch.Tensor:
        masked = x.float().masked_fill(~valid, -torch.inf)[:, None]
        return F.max_pool2d(masked, 2 * radius + 1, stride=1, padding=radius)[:, 0]

    assert torch.equal(spread(values, valid), highest(values) + highest(-values))
