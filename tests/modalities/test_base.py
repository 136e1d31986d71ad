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


@pytest.mark.parametrize("kind", ["crops", "masks"])
def test_sums_of_maps_that_share_their_memory(kind: str, crops: list[tuple[slice, slice]]) -> None:
    generator = torch.Generator().manual_seed(0)
    if kind == "crops":
        found = Regions.of(crops, SIZE)
    else:
        found = Regions.masked(torch.rand(4, 3, *SIZE, generator=generator) < 0.5)
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


def test_regions_move_as_a_whole(crops: list[tuple[slice, slice]]) -> None:
    moved = Regions.of(crops, SIZE).to(torch.device("meta"))
    tensors = [t for t in vars(moved).values() if isinstance(t, torch.Tensor)]
    assert len(tensors) == 4
    assert all(t.device.type == "meta" for t in tensors)


@pytest.fixture(params=[1, 5, 12, 13, 26])
def masks(request: pytest.FixtureRequest) -> torch.Tensor:
    """Sets of pixels that overlap, one empty, more than share a histogram."""
    masks = torch.rand(request.param, 3, *SIZE, generator=torch.Generator().manual_seed(2)) < 0.4
    masks[-1] = False
    return masks


def test_masked_sums_are_those_of_the_pixels(masks: torch.Tensor) -> None:
    maps = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    found = Regions.masked(masks).sums(maps)
    assert found.dtype == torch.float64
    expected = np.zeros((2, 3, len(masks)))
    for p, b in np.ndindex(len(masks), 3):
        for s in range(2):
            expected[s, b, p] = maps[s, b].double().numpy()[masks[p, b].numpy()].sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_masked_counts_are_those_of_the_pixels(masks: torch.Tensor) -> None:
    codes = np.random.default_rng(0).integers(0, 7, (3, *SIZE))
    found = Regions.masked(masks).counts(torch.from_numpy(codes), 7)
    assert found.shape == (3, len(masks), 7)
    for p, b in np.ndindex(len(masks), 3):
        chosen = codes[b][masks[p, b].numpy()]
        assert found[b, p].tolist() == np.bincount(chosen, minlength=7).tolist()


def test_masks_of_whole_crops_are_the_crops(crops: list[tuple[slice, slice]]) -> None:
    masks = torch.zeros(len(crops), 3, *SIZE, dtype=torch.bool)
    for mask, (r, c) in zip(masks, crops, strict=True):
        mask[:, r, c] = True
    maps = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    found, expected = Regions.masked(masks).sums(maps), Regions.of(crops, SIZE).sums(maps)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_masks_move_as_a_whole(masks: torch.Tensor) -> None:
    moved = Regions.masked(masks).to(torch.device("meta"))
    assert moved.sums(torch.rand(3, *SIZE, device="meta")).device.type == "meta"


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
