from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jrn_lightning.cache.grid import Grid
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.build import Input, check_inputs
from jrn_lightning.importers.labels import WANG5
from jrn_lightning.importers.nyu import DEPTH, SEMANTIC, FrameFolder
from jrn_lightning.importers.nyu import modalities as nyu_modalities
from jrn_lightning.importers.plausibility import Finding, Predictions, find
from jrn_lightning.importers.sources import open_source
from tests.caches import (
    DEPTH_GRID,
    SEMANTIC_GRID,
    _predict_depth,
    _predict_semantic,
    _render,
    _room,
    modalities,
)
from tests.cli.test_cache import jrn

FRAME, N = (48, 64), 40
Maps = np.ndarray[Any, np.dtype[Any]]


@cache
def scenes() -> tuple[dict[str, Maps], dict[str, Maps]]:
    """Truth ``(N, H, W)`` and predictions ``(N, C, h, w)`` of different rooms."""
    rng = np.random.default_rng(0)
    rendered = [_render(_room(rng), FRAME, float(rng.uniform(-0.5, 0.5))) for _ in range(N)]
    predicted = [(_predict_depth(d, rng), _predict_semantic(s, rng)) for d, s in rendered]
    return tuple(  # type: ignore[return-value]
        {
            name: np.stack([frame[i] for frame in frames]).astype(dtype)
            for i, (name, dtype) in enumerate(types)
        }
        for frames, types in (
            (rendered, (("depth", "f4"), ("semantic", "u1"))),
            (predicted, (("depth", "f4"), ("semantic", "f4"))),
        )
    )


def found(
    name: str, maps: Maps, *, named: bool = True, scale: float | None = None
) -> list[Finding]:
    """What is told of these predictions of all frames."""
    truth, _ = scenes()
    make = Grid.corners if maps.shape[2:] == SEMANTIC_GRID else Grid.area
    grid = make(maps.shape[2:], FRAME)  # type: ignore[arg-type]
    alignment = "corners" if make == Grid.corners else "area"
    option = f"--{{}} {name}={{}}".format
    given = Predictions(
        range(N), lambda i: maps[i], lambda _: grid, alignment, named, scale, option
    )
    kinds, target = modalities(), truth[name]
    return find(kinds, FRAME, range(N), lambda i: {name: target[i]}, {name: given})[name]


# -- what is right passes ------------------------------------------------------------------------


def _weak(maps: Maps) -> Maps:
    """Like a network early in its training: a noisy shade of the truth on the mean map."""
    rng = np.random.default_rng(1)
    mean = maps.mean(0, keepdims=True)
    return np.asarray(mean + 0.35 * (maps - mean) + rng.uniform(0, 0.1, maps.shape), np.float32)


PLAUSIBLE: dict[str, Callable[[Maps], Maps]] = {
    "as they are": lambda maps: maps,
    "weak": _weak,
    "of another byte order": lambda maps: maps.astype(">f4"),
    "biased": lambda maps: maps * np.float32(1.4),
    "constant": lambda maps: np.broadcast_to(
        maps.mean((0, 2, 3), keepdims=True), maps.shape
    ).copy(),
    "the mean map": lambda maps: np.broadcast_to(maps.mean(0), maps.shape),
    "a square grid": lambda maps: maps[:, :, :12, 2:14],
}


@pytest.mark.parametrize("name", ["depth", "semantic"])
@pytest.mark.parametrize("change", PLAUSIBLE)
def test_correct_and_weak_predictions_pass_without_a_word(name: str, change: str) -> None:
    assert found(name, np.array(PLAUSIBLE[change](scenes()[1][name]))) == []


def test_few_frames_tell_nothing() -> None:
    truth, maps = scenes()
    given = Predictions(
        range(9), lambda i: maps["depth"][8 - i], lambda _: Grid.area(DEPTH_GRID, FRAME), "area"
    )
    target = truth["depth"]
    told = find(modalities(), FRAME, range(9), lambda i: {"depth": target[i]}, {"depth": given})
    assert told == {"depth": []}


# -- what is wrong is named ----------------------------------------------------------------------

SHUFFLED = np.random.default_rng(1).permutation(N)
MISTAKES: dict[str, tuple[Callable[[Maps], Maps], str]] = {
    "counted from 0": (lambda m: np.roll(m, -1, 0), "frame after their own.*'index'"),
    "one late": (lambda m: np.roll(m, 1, 0), "frame before their own.*'index'"),
    "reversed": (lambda m: m[::-1], "in the reverse order.*'index'"),
    "shuffled": (lambda m: m[SHUFFLED], "fit other frames as well.*another order.*'index'"),
    "mirrored": (lambda m: m[..., ::-1], "mirrored left to right.*as the frames are"),
    "upside-down": (lambda m: m[..., ::-1, :], "upside-down.*as the frames are"),
    "turned": (lambda m: m[..., ::-1, ::-1], "turned by 180°.*as the frames are"),
    "transposed": (lambda m: m.swapaxes(-1, -2), "transposed.*rows first"),
}
OF_DEPTH: dict[str, tuple[Callable[[Maps], Maps], str]] = {
    "metres × 256 as millimetres": (
        lambda m: m * 0.256,
        r"0\.2\d+ times the truth.*0\.00390625\)\.",
    ),
    "feet": (lambda m: m / 0.3048, r"times the truth.*--scale depth=0\.0003"),
    "disparity": (lambda m: 1 / m, r"inverse to the truth.*1 / value"),
    "largest is near": (lambda m: 10 - m, r"fall where the truth rises.*largest - value"),
}
OF_SEMANTIC: dict[str, tuple[Callable[[Maps], Maps], str]] = {
    "counted from 1": (lambda m: np.roll(m, 1, 1), r"classes shifted by \+1.*Give the channels as"),
    "one class down": (lambda m: np.roll(m, -1, 1), r"classes shifted by -1.*Give the channels as"),
    "two swapped": (
        lambda m: m[:, [1, 0, 2, 3, 4]],
        "another order, probably Vertical, Ground, Ceiling.*as Ground, Vertical",
    ),
}
ALL = [
    *itertools.product(("depth", "semantic"), MISTAKES.values()),
    *(("depth", mistake) for mistake in OF_DEPTH.values()),
    *(("semantic", mistake) for mistake in OF_SEMANTIC.values()),
]
NAMES = [
    *(f"{name} {what}" for name, what in itertools.product(("depth", "semantic"), MISTAKES)),
    *OF_DEPTH,
    *OF_SEMANTIC,
]


@pytest.mark.parametrize(("name", "mistake"), ALL, ids=NAMES)
def test_a_mistake_is_named_with_its_remedy(
    name: str, mistake: tuple[Callable[[Maps], Maps], str]
) -> None:
    change, message = mistake
    maps = np.ascontiguousarray(change(scenes()[1][name]))
    (finding,) = found(name, maps, named=False, scale=0.001)
    assert re.search(message, finding.text), finding.text
    assert finding.wrong


def test_predictions_worse_than_a_constant_are_only_warned_of() -> None:
    depth = scenes()[1]["depth"]
    noise = np.random.default_rng(2).normal(0, 2.5, depth.shape)
    (finding,) = found("depth", np.clip(depth + noise, 0.1, 10).astype(np.float32))
    assert "worse than a constant map" in finding.text
    assert not finding.wrong


def test_a_grid_of_another_shape_than_the_frame_is_only_warned_of() -> None:
    (finding,) = found("depth", scenes()[1]["depth"][..., 4:12])
    assert re.search(r"12 × 8 samples.*48 × 64.*--grid depth=", finding.text)
    assert not finding.wrong


# -- in an import --------------------------------------------------------------------------------

#: a NYU-40 id of each of the five classes
IDS = np.array([2, 1, 22, 4, 5], np.uint8)


def write_scenes(folder: Path) -> Path:
    """The scenes as a folder of frames, with predictions named after their frames."""
    truth, maps = scenes()
    for kind in ("rgb", "depth", "label40", "predicted"):
        (folder / kind).mkdir(parents=True)
    values = np.round(truth["depth"] / 9.99547 * 255 - 0.5).astype(np.uint8)
    for i in range(N):
        name = f"{i + 1:04d}"
        Image.fromarray(np.full((*FRAME, 3), 5 * i, np.uint8)).save(folder / "rgb" / f"{name}.jpg")
        Image.fromarray(values[i]).save(folder / "depth" / f"{name}.png")
        Image.fromarray(IDS[truth["semantic"][i]]).save(folder / "label40" / f"{name}.png")
        write_map(folder / "predicted" / f"{name}.png", maps["depth"][i, 0] * 1000)
    (folder / "train.txt").write_text("".join(f"{i}\n" for i in range(1, 31)))
    (folder / "test.txt").write_text("".join(f"{i}\n" for i in range(31, N)))  # 40 is in no split
    np.savez(folder / "semantic.npz", index=np.arange(1, N + 1), probability=maps["semantic"])
    return folder


@pytest.fixture(scope="module")
def nyu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("plausible") / "nyu")


def write_map(file: Path, values: Maps) -> None:
    Image.fromarray(values.astype(np.uint16)).save(file)


def _changed_pictures(kind: str, change: Callable[[Maps], Maps]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for file in (folder / kind).iterdir():
            Image.fromarray(change(np.asarray(Image.open(file)))).save(file)

    return apply


def _named_from_0(folder: Path) -> None:
    for file in sorted((folder / "predicted").iterdir()):
        file.rename(file.with_name(f"{int(file.stem) - 1:05d}.png"))


def _without_frame_0(folder: Path) -> None:
    _named_from_0(folder)
    (folder / "predicted" / "00000.png").unlink()
    (folder / "train.txt").write_text("".join(f"{i}\n" for i in range(1, 31)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_named_from_0, "predictions of a frame 0.*counted from 1"),
        (_without_frame_0, "depth predictions are each of the frame after.*Number them"),
        (_changed_pictures("predicted", lambda m: m.T), "transposed.*rows first"),
        (
            _changed_pictures("predicted", lambda m: (m * 0.256).astype(np.uint16)),
            r"depth predictions are about 0\.2.*--depth-scale 0\.00390625\)\. Give --force",
        ),
        (
            _changed_pictures("label40", lambda m: m - np.uint8(1)),
            "ids are one higher.*label40 as 1 to 40",
        ),
    ],
)
def test_each_mistake_of_an_import_is_one_message(
    nyu: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "nyu"
    shutil.copytree(nyu, folder)
    change(folder)
    arguments = [
        *("cache", "nyu", "--frames", folder, "--out", tmp_path / "a.h5"),
        *("--depth", folder / "predicted", "--depth-scale", "0.001"),
        *("--semantic", folder / "semantic.npz", "--semantic-grid", "corners", "--no-images"),
    ]
    assert jrn(monkeypatch, *arguments) == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("a.h5*"))


def test_force_writes_it_and_every_reader_of_the_cache_is_told(
    nyu: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    maps = np.roll(scenes()[1]["depth"], -1, 0)
    np.savez(tmp_path / "depth.npz", depth=maps, index=np.arange(1, N + 1))
    arguments = [
        *("cache", "nyu", "--frames", nyu, "--out", tmp_path / "a.h5", "--no-images"),
        *("--depth", tmp_path / "depth.npz"),
        *("--semantic", nyu / "semantic.npz", "--semantic-grid", "corners"),
    ]
    assert jrn(monkeypatch, *arguments) == 1
    assert jrn(monkeypatch, *arguments, "--force") == 0
    told = "warning: the depth predictions are each of the frame after their own"
    assert told in capsys.readouterr().out
    assert jrn(monkeypatch, "cache", "info", tmp_path / "a.h5") == 0
    assert told in capsys.readouterr().out
    assert jrn(monkeypatch, "cache", "check", tmp_path / "a.h5") == 1
    out = capsys.readouterr().out
    assert "the depth predictions are each of the frame after their own" in out
    assert "1 problem in 39 frames" in out


def test_what_is_right_becomes_a_cache_of_which_nothing_is_told(
    nyu: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [
        *("cache", "nyu", "--frames", nyu, "--out", tmp_path / "a.h5"),
        *("--depth", nyu / "predicted", "--depth-scale", "0.001"),
        *("--semantic", nyu / "semantic.npz", "--semantic-grid", "corners"),
    ]
    assert jrn(monkeypatch, *arguments) == 0
    assert "warning" not in capsys.readouterr().out
    assert jrn(monkeypatch, "cache", "check", tmp_path / "a.h5") == 0
    assert "39 frames, nothing wrong" in capsys.readouterr().out


def test_a_0_in_a_picture_of_depth_is_no_reading(nyu: Path, tmp_path: Path) -> None:
    shutil.copytree(nyu, tmp_path / "nyu")
    file = tmp_path / "nyu" / "depth" / "0003.png"
    values = np.asarray(Image.open(file)).copy()
    values[:10] = 0
    Image.fromarray(values).save(file)
    data = FrameFolder(tmp_path / "nyu", WANG5)
    targets = data.read("0003").targets
    assert targets is not None
    np.testing.assert_array_equal(targets[DEPTH] == 0, values == 0)
    for kind in ("depth", "label40"):
        file = tmp_path / "nyu" / kind / "0004.png"
        Image.fromarray(np.zeros(FRAME, np.uint8)).save(file)
        with pytest.raises(CacheError, match=f"{kind}/0004.png is 0 everywhere.*--partial"):
            data.read("0004")
        FrameFolder(tmp_path / "nyu", WANG5, partial=True).read("0004")
        shutil.copy(nyu / kind / "0004.png", file)


# -- the real thing --------------------------------------------------------------------------------


@pytest.mark.real_data
def test_real_predictions_pass_and_mistaken_ones_do_not(nyu_folder: Path, tmp_path: Path) -> None:
    data = FrameFolder(nyu_folder, WANG5)
    grids = {DEPTH: "area", SEMANTIC: "0,10.0052219321,0,9.984375"}
    files = {DEPTH: "depth_meter_xxs.npz", SEMANTIC: "semantic_deeplab_ade20k_wang5.npz"}
    kinds = nyu_modalities(WANG5)

    def opened(name: str, file: Path) -> Input:
        return Input(
            open_source(file, kinds[name], ids=[f"{i:04d}" for i in range(1, 1450)]),
            name,
            grid=grids[name],
        )

    inputs = {name: opened(name, nyu_folder / "predictions" / file) for name, file in files.items()}
    check_inputs(data, inputs)
    with np.load(inputs[DEPTH].source.path) as archive:
        maps, index = archive["depth"], archive["index"]
    for changed, message in (
        ({"depth": maps, "index": np.roll(index, 1)}, "frame after"),
        ({"depth": np.random.default_rng(0).permutation(maps)}, "another order"),
    ):
        np.savez(tmp_path / "depth.npz", **{"index": index} | changed)
        with pytest.raises(CacheError, match=message):
            check_inputs(data, {DEPTH: opened(DEPTH, tmp_path / "depth.npz")})
