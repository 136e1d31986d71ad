"""Sums and histograms over sets of pixels against those of slices and masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.modalities import Regions
from jrn_lightning.modalities.regions import partition, spread

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


def test_sums_of_maps_that_share_their_memory(
    crops: list[tuple[slice, slice]], partitions: list[tuple[int, Tensor]]
) -> None:
    generator = torch.Generator().manual_seed(0)
    found = Regions.of(crops, SIZE) + Regions.partitioned(partitions)
    maps = torch.randn(5, 3, *SIZE, generator=generator)
    scratch = torch.empty_like(maps[0])
    sums = found.sums_of(scratch.copy_(x) for x in maps)
    assert sums.dtype == torch.float64
    assert torch.equal(sums, found.sums(maps))
    assert sums.unique().numel() > 5


@pytest.mark.parametrize("categories", [255, 256, 257, 32767, 32768, 32769])
def test_counts_where_an_integer_type_ends(categories: int) -> None:
    codes = np.random.default_rng(0).integers(0, categories, (1, *SIZE))
    codes[0, 0, :2] = 0, categories - 1
    whole = Regions.of([(slice(None), slice(None))], SIZE)
    found = whole.counts(torch.from_numpy(codes), categories)
    assert found[0, 0].tolist() == np.bincount(codes.ravel(), minlength=categories).tolist()


@pytest.fixture(params=[[1], [5], [3, 2, 150, 2], [40, 150, 2, 150]])
def partitions(request: pytest.FixtureRequest) -> list[tuple[int, Tensor]]:
    """Few sets and many, more than share a histogram; a pixel may be in none."""
    rng = np.random.default_rng(2)
    return [(n, torch.from_numpy(rng.integers(0, n + 1, (3, *SIZE)))) for n in request.param]


def masks(partitions: list[tuple[int, Tensor]]) -> Tensor:
    """``(P, B, H, W)``."""
    return torch.stack([code == k for n, code in partitions for k in range(n)])


def test_sums_over_partitions_are_those_of_the_pixels(
    partitions: list[tuple[int, Tensor]],
) -> None:
    maps = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    found = Regions.partitioned(partitions).sums(maps)
    assert found.dtype == torch.float64
    expected = (maps.double()[:, :, None] * masks(partitions).movedim(0, 1)).sum((-2, -1))
    torch.testing.assert_close(found, expected)


def test_counts_over_partitions_are_those_of_the_pixels(
    partitions: list[tuple[int, Tensor]],
) -> None:
    codes = torch.randint(0, 7, (3, *SIZE), generator=torch.Generator().manual_seed(0))
    found = Regions.partitioned(partitions).counts(codes, 7)
    for p, mask in enumerate(masks(partitions)):
        for b in range(3):
            expected = torch.bincount(codes[b][mask[b]], minlength=7)
            assert found[b, p].tolist() == expected.tolist()


def test_joined_regions_are_one_after_the_other(
    crops: list[tuple[slice, slice]], partitions: list[tuple[int, Tensor]]
) -> None:
    first, second = Regions.of(crops, SIZE), Regions.partitioned(partitions)
    maps = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    codes = torch.randint(0, 7, (3, *SIZE), generator=torch.Generator().manual_seed(0))
    joined = first + second
    assert joined.sums(maps).equal(torch.cat([first.sums(maps), second.sums(maps)], -1))
    expected = torch.cat([first.counts(codes, 7), second.counts(codes, 7)], 1)
    assert joined.counts(codes, 7).equal(expected)


def test_regions_move_as_a_whole(
    crops: list[tuple[slice, slice]], partitions: list[tuple[int, Tensor]]
) -> None:
    moved = (Regions.of(crops, SIZE) + Regions.partitioned(partitions)).to(torch.device("meta"))
    assert moved.sums(torch.rand(3, *SIZE, device="meta")).device.type == "meta"


def test_a_partition_tells_the_set_or_none() -> None:
    sets = torch.zeros(3, 2, *SIZE, dtype=torch.bool)
    sets[0, :, :4], sets[2, 1, 9:] = True, True
    code = partition(*sets)
    assert [(code == k).equal(held) for k, held in enumerate(sets)] == [True] * 3
    assert (code == 3).equal(~sets.any(0))


def test_spread_is_the_range_of_what_is_known_around() -> None:
    """The window reaches a 240th of the height, at least a pixel, to each side."""
    rng = np.random.default_rng(0)
    for height, radius in ((17, 1), (480, 2)):
        values = rng.normal(size=(1, height, 9)).astype(np.float32)
        valid = rng.uniform(size=values.shape) < 0.5
        valid[0, :5, :5] = False
        found = spread(torch.from_numpy(values), torch.from_numpy(valid))[0]
        for y, x in np.ndindex(height, 9):
            window = (slice(max(0, y - radius), y + radius + 1),
                      slice(max(0, x - radius), x + radius + 1))  # fmt: skip
            around = values[0][window][valid[0][window]]
            expected = np.ptp(around) if around.size else -np.inf
            assert float(found[y, x]) == pytest.approx(float(expected), abs=1e-6)


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
