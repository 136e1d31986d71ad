"""``--predict MODALITY=SPEC``: everything that predicts, mixed in one cache."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from torch import Tensor

from jrn_lightning.cache import PredictionCache, check
from jrn_lightning.cache.grid import Grid
from jrn_lightning.errors import CacheError, ConfigError, JRNError
from jrn_lightning.predictors.door import fill_cache
from jrn_lightning.predictors.fcn import FCN
from tests import families
from tests.frames import TINY, BoxRooms
from tests.predictors.test_fill import silent

SMALL = {**TINY, "image": [48, 64], "epochs": 1}


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of one's own, importable as ``own``."""
    module = ModuleType("own")
    module.calls = []  # type: ignore[attr-defined]

    def depth(images: Tensor) -> Tensor:
        module.calls.append(len(images))
        return images.float().mean(1, keepdim=True)[..., ::4, ::4] / 64 + 1

    def both(images: Tensor) -> dict[str, Any]:
        even = np.full((len(images), 5, 3, 4), 0.2)
        return {"depth": depth(images), "semantic": even}

    def seven(images: Tensor) -> Tensor:
        """Of which two are nothing here: 0.1 each; the others rise with the image."""
        rows = torch.linspace(0.1, 0.2, 6)[None, None, :, None].expand(len(images), 1, 6, 8)
        others = torch.full((len(images), 6, 6, 8), 0.1)
        return torch.cat([rows, others], 1) / (rows + 0.6)

    depth.version = "1"  # type: ignore[attr-defined]
    both.batch = 3  # type: ignore[attr-defined]
    both.grid = "corners"  # type: ignore[attr-defined]
    names = ["floor", "wall", "ceiling", "bed", "lamp", "sky", "sea"]
    seven.classes = names  # type: ignore[attr-defined]
    for function in (depth, both, seven):
        setattr(module, function.__name__, function)
    monkeypatch.setitem(sys.modules, "own", module)
    return module


@pytest.fixture
def mapping(tmp_path: Path) -> str:
    path = tmp_path / "own.csv"
    rows = [f"{t},{s}" for t, names in families.MAPPING.items() for s in names]
    path.write_text("\n".join(["class,member", *rows]))
    return str(path)


def test_functions_of_ones_own(functions: ModuleType, mapping: str, tmp_path: Path) -> None:
    data, out = BoxRooms(), tmp_path / "own.h5"
    fill_cache(
        data,
        ["depth=py:own:both", "semantic=py:own:seven"],
        out,
        silent,
        sampling=["unseen", "depth=in-sample"],
        classes=[mapping],
        force=True,  # made-up maps fit no frame
    )
    assert functions.calls == [3] * 6 + [2]  # of 20 frames
    with PredictionCache(out) as cache:
        assert check(cache) == []
        split = cache.split("train")
        assert split.specs["depth"].grid == Grid.corners((12, 16), (48, 64))
        made = {m: split.provenance(m) for m in cache.modalities}
        assert made["depth"].source == "py:own:both"
        assert len(made["depth"].source_hash) == 64
        assert [made[m].sampling for m in made] == ["in-sample", "unseen"]
        assert cache.split("test").provenance("depth").sampling == "unseen"
        image = torch.from_numpy(split.image(4)).float().mean(-1)[::4, ::4] / 64 + 1
        np.testing.assert_allclose(split.prediction("depth", 4)[0], image, atol=0.01)
        # Five of seven classes, of which each pixel's probabilities sum to 1 again.
        row = np.linspace(0.1, 0.2, 6)
        ground = split.prediction("semantic", 0)[0]
        np.testing.assert_allclose(ground, np.tile((row / (row + 0.4))[:, None], 8), atol=1e-3)
        lost = 100 * float(np.mean(0.2 / (row + 0.6)))
        assert (
            f"2 of its 7 classes belong to none here: their probability, {lost:.2g} %"
            in (cache.notes["semantic_network"])
        )
        assert "single_task" not in cache.notes
    assert not (tmp_path / "own-predictions").exists()


def test_a_stopped_prediction_goes_on(functions: ModuleType, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    data, out = BoxRooms(), tmp_path / "own.h5"
    specs = ["depth=py:own:depth", "semantic=py:own:both"]
    known = {"sampling": ["unseen"], "force": True}  # made-up maps fit no frame
    whole = data.read

    def read(frame: str, **options: Any) -> Any:
        if frame == data.splits["train"][7]:
            raise Stopped
        return whole(frame, **options)

    data.read = read  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        fill_cache(data, specs, out, silent, **known)
    assert functions.calls == [1] * 7
    assert not out.exists()
    data.read = whole  # type: ignore[method-assign]
    functions.calls.clear()
    fill_cache(data, specs, out, silent, **known)
    assert functions.calls == [1] * 13 + [3] * 6 + [2]
    fill_cache(data, specs, tmp_path / "whole.h5", silent, **known)
    with PredictionCache(out) as one, PredictionCache(tmp_path / "whole.h5") as other:
        assert one.content_hash == other.content_hash
    # With other pictures than before the stop nothing is gone on with.
    data.read = read  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        fill_cache(data, specs, out, silent, **known)
    data.read, data.stamp = whole, "other boxes"  # type: ignore[method-assign]
    functions.calls.clear()
    fill_cache(data, specs, out, silent, **known)
    assert functions.calls == [1] * 20 + [3] * 6 + [2]


def test_nothing_goes_on_that_may_have_changed(functions: Any, tmp_path: Path) -> None:
    """A function that does not tell its version may have other weights than before the stop."""
    specs = ["depth=py:own:changing", "semantic=py:own:both"]
    functions.changing = lambda images: torch.full((len(images), 1, 96, 128), 20.0)
    with pytest.raises(CacheError, match="depth of 20 m"):
        fill(tmp_path, specs)
    functions.changing = lambda images: torch.full((len(images), 1, 96, 128), 2.0)
    fill(tmp_path, specs)
    with PredictionCache(tmp_path / "a.h5") as cache:
        for split in cache.splits:
            for i in range(len(cache.split(split))):
                # And maps finer than the frame are brought to its size.
                expected = np.full((1, 48, 64), 2)
                np.testing.assert_array_equal(cache.split(split).prediction("depth", i), expected)


def test_files_and_networks_trained_here(tmp_path: Path) -> None:
    data = BoxRooms()
    ids = [i for split in data.splits.values() for i in split]
    maps = np.full((20, 12, 16), 2000, np.uint16)
    np.savez(tmp_path / "a.npz", index=np.array(ids), extra=np.zeros((20, 2, 2)), mm=maps)
    spec = f"depth={tmp_path / 'a.npz'}?scale=0.001&key=mm&grid=corners"
    out = tmp_path / "mixed.h5"
    fill_cache(
        data,
        [spec, "semantic=small"],
        out,
        silent,
        sampling=["depth=unknown"],
        overrides=SMALL,
        workers=1,
    )
    with PredictionCache(out) as cache:
        assert cache.split("test").prediction("depth", 0).max() == 2
        assert cache.split("test").specs["depth"].grid == Grid.corners((12, 16), (48, 64))
        made = {m: cache.split("train").provenance(m).sampling for m in cache.modalities}
        assert made == {"depth": "unknown", "semantic": "out-of-fold"}
        assert cache.notes["single_task"] == "mixed-single-task"


def test_the_inputs_of_the_paper(tmp_path: Path) -> None:
    """Depth that was published for the test frames alone, and FCN-16s."""
    data = BoxRooms()
    del data.splits["train"]
    depths = np.full((24, 32, 8), 2.5, np.float32)
    path = tmp_path / "p.mat"
    scipy.io.savemat(path, {"depths": depths, "predicted_region": [3, 3, 30, 22]})
    torch.save(FCN(40, 16, (4,) * 5, 8).state_dict(), tmp_path / "w.pth")
    specs = [f"depth=eigen-fergus:{path}", f"semantic=fcn:{tmp_path / 'w.pth'}"]
    fill_cache(data, specs, tmp_path / "a.h5", silent, sampling=["unseen"])
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert check(cache) == []
        assert cache.split("test").prediction("semantic", 0).shape == (5, 12, 16)
        assert cache.split("test").provenance("semantic").source == "FCN-16s"
        assert cache.split("predict").specs["depth"].shape == (1, 20, 28)


def test_networks_of_the_hub(mapping: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the library is not installed: the extra hf")
    families.save(families.depth_anything, tmp_path / "depth")
    config = json.loads((tmp_path / "depth" / "config.json").read_text()) | {"max_depth": 20}
    (tmp_path / "depth" / "config.json").write_text(json.dumps(config))
    families.save(families.segformer, tmp_path / "semantic")
    specs = [f"{name}=hf:{tmp_path / name}" for name in ("depth", "semantic")]
    fill_cache(BoxRooms(), specs, tmp_path / "a.h5", silent, sampling=["unseen"], classes=[mapping])
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert check(cache) == []
        assert cache.split("train").prediction("semantic", 0).shape == (5, 16, 24)
        assert cache.split("train").prediction("depth", 0).shape == (1, 42, 56)
        assert cache.split("train").prediction("depth", 0).max() == 10
        assert "% of its samples were beyond 10 m, and are that" in cache.notes["depth_network"]
        assert "1 of its 6 classes belong to none here" in cache.notes["semantic_network"]


def fill(tmp_path: Path, specs: list[str], **options: Any) -> None:
    fill_cache(BoxRooms(), specs, tmp_path / "a.h5", silent, **{"sampling": ["unseen"]} | options)


@pytest.mark.usefixtures("functions")
def test_what_cannot_be_used_is_refused_before_anything_runs(tmp_path: Path, mapping: str) -> None:
    depth, semantic = "depth=py:own:depth", "semantic=py:own:both"
    cases: list[tuple[list[str], dict[str, Any], str]] = [
        ([depth], {}, r"nothing predicts semantic. Give --predict semantic="),
        ([depth, depth, semantic], {}, r"--predict depth=py:own:depth: that is given twice"),
        (["deep=x"], {}, r"--predict deep=x: give MODALITY=PREDICTOR, with one of depth, semantic"),
        (["depth"], {}, r"--predict depth: give MODALITY=PREDICTOR"),
        ([depth, semantic], {"sampling": []}, r"Give --sampling depth=in-sample if it was"),
        ([depth, semantic], {"sampling": ["seen"]}, r"--sampling seen: choose from in-sample, out"),
        ([depth, semantic], {"sampling": ["unseen", "unknown"]}, r"unknown: that is given twice"),
        ([depth, semantic], {"in_sample": True}, r"of networks trained here: none is"),
        ([depth, "semantic=small"], {"sampling": ["semantic=unseen"]}, r"names no such network"),
        ([depth, semantic], {"imported": {"depth": None}}, r"of depth are given, too"),
        ([depth, "semantic=nothing.npz"], {}, r"semantic=nothing\.npz: there is no such file.*hf:"),
        ([depth, "semantic=py:nowhere:f"], {}, r"py:nowhere:f cannot be imported"),
        ([depth, "semantic=py:own:calls"], {}, r"py:own:calls is .*, no function"),
        ([depth, "semantic=timm:x"], {"overrides": {"x": 1}}, r"settings have no x"),
        ([depth, "semantic=py:own:seven"], {}, r"7 other classes \(floor, …\).*--classes"),
        ([depth, "semantic=py:own:seven"], {"classes": ["x"]}, r"label space 'x' is unknown"),
        ([f"depth={mapping}?unit=mm", semantic], {}, r"no option 'unit'. Choose from: key, scale"),
        ([f"depth={mapping}?scale=mm", semantic], {}, r"scale is no number"),
    ]
    for specs, options, error in cases:
        with pytest.raises(JRNError, match=error):
            fill(tmp_path, specs, **options)
        assert not (tmp_path / "a.h5").exists()


def test_maps_that_a_function_gives_are_checked(functions: Any, tmp_path: Path) -> None:
    specs = ["depth=py:own:wrong", "semantic=py:own:both"]
    cases: list[tuple[Any, type[JRNError], str]] = [
        (lambda x: x.float()[:, :2], CacheError, r"\(1, 2, 48, 64\).*B = 1 and C = 1"),
        (lambda x: x.float()[:, 0], CacheError, r"shape \(1, 48, 64\)"),
        (lambda x: x.float()[:, :1] / 0, CacheError, r"not finite on frame '0001'"),
        (lambda x: x[:, :1], ConfigError, r"returns torch\.uint8. Return floating maps"),
        (lambda x: "maps", ConfigError, r"returns str"),
        (lambda x: {"normals": x}, ConfigError, r"returns normals. Let it return depth, too"),
        (lambda x: 1000 * torch.ones(1, 1, 6, 8), CacheError, r"depth of 1000 m"),
    ]
    for function, kind, error in cases:
        functions.wrong = function
        with pytest.raises(kind, match=error):
            fill(tmp_path, specs)
    sizes = iter(range(3, 50))
    functions.wrong = lambda x: torch.ones(1, 1, next(sizes), 4)
    with pytest.raises(CacheError, match=r"shape \(1, 4, 4\) on frame '0002', \(1, 3, 4\) before"):
        fill(tmp_path, specs)
