from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from jrn_lightning import keys
from jrn_lightning.cache import (
    CacheSplit,
    CacheWriter,
    PredictionCache,
    PredictionSpec,
    Provenance,
    check,
)
from jrn_lightning.cache.grid import Grid
from jrn_lightning.errors import CacheError, ConfigError
from tests.caches import CLASSES, modalities, write_small_cache

FRAME = (6, 8)
SPECS = {
    "depth": PredictionSpec(
        (1, 3, 4), np.dtype(np.float16), Grid.area((3, 4), FRAME), Provenance("a network")
    ),
    "semantic": PredictionSpec(
        (5, 2, 2),
        np.dtype(np.float32),
        Grid.corners((2, 2), FRAME),
        Provenance("another", "ab" * 32, "out-of-fold", "corners"),
    ),
}


def sample(seed: int = 0) -> dict[str, Any]:
    """Arguments of CacheWriter.write."""
    rng = np.random.default_rng(seed)
    odds = rng.random((5, 2, 2)).astype(np.float32)
    return {
        "predictions": {
            "depth": rng.uniform(0.5, 9, (1, 3, 4)).astype(np.float16),
            "semantic": odds / odds.sum(0),
        },
        "targets": {
            "depth": rng.uniform(0.5, 9, FRAME).astype(np.float32),
            "semantic": rng.integers(0, 5, FRAME).astype(np.uint8),
        },
        "image": rng.integers(0, 256, (*FRAME, 3)).astype(np.uint8),
    }


def write(path: Path, order: tuple[int, ...] = (0, 1, 2), **options: Any) -> Path:
    """A cache of three frames."""
    with CacheWriter(path, modalities=modalities(), frame=FRAME, **options) as writer:
        writer.add_split(
            "train",
            ids=["a", "b", "ç"],
            scenes=["x", "x", "y"],
            predictions=SPECS,
            targets=True,
            images=True,
        )
        for i in order:
            writer.write("train", i, **sample(i))
    return path


# -- what comes back ---------------------------------------------------------------------------


def test_everything_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", notes={"label_space": "wang5"})
    with PredictionCache(path) as cache:
        assert cache.frame == FRAME
        assert cache.splits == ("train",)
        assert list(cache.modalities) == ["depth", "semantic"]
        assert cache.modalities["semantic"].attributes["classes"] == list(CLASSES)
        assert cache.notes == {"label_space": "wang5"}
        split = cache.split("train")
        assert (split.name, len(split), split.target_size()) == ("train", 3, FRAME)
        assert split.ids == ["a", "b", "ç"]
        assert split.scenes == ["x", "x", "y"]
        assert split.has_targets
        assert split.has_images
        for name, spec in SPECS.items():
            assert split.spec(name) == spec
            assert split.grid(name) == spec.grid
            assert split.provenance(name) == spec.provenance
        for i in range(3):
            expected = sample(i)
            for name in SPECS:
                found = split.prediction(name, i)
                assert found.dtype == SPECS[name].dtype
                np.testing.assert_array_equal(found, expected["predictions"][name])
                np.testing.assert_array_equal(split.target(name, i), expected["targets"][name])
            np.testing.assert_array_equal(split.image(i), expected["image"])
        assert check(cache) == []


def test_rows_are_those_of_a_list(tmp_path: Path) -> None:
    split = PredictionCache(write(tmp_path / "a.h5")).split("train")
    np.testing.assert_array_equal(split.target("semantic", -1), split.target("semantic", 2))
    with pytest.raises(IndexError):
        split.prediction("depth", 3)


def test_the_modalities_keep_their_order(tmp_path: Path) -> None:
    kinds = dict(reversed(modalities().items()))
    with CacheWriter(tmp_path / "a.h5", modalities=kinds, frame=FRAME) as writer:
        writer.add_split(
            "predict", ids=["a"], scenes=["x"], predictions=SPECS, targets=False, images=False
        )
        writer.write("predict", 0, predictions=sample()["predictions"])
    assert list(PredictionCache(tmp_path / "a.h5").modalities) == ["semantic", "depth"]


def test_the_content_hash_is_of_the_content(tmp_path: Path) -> None:
    one = PredictionCache(write(tmp_path / "a.h5")).content_hash
    assert PredictionCache(write(tmp_path / "b.h5", order=(2, 0, 1))).content_hash == one
    other = PredictionCache(write_small_cache(tmp_path / "c.h5", train=2, test=1, predict=0))
    again = PredictionCache(
        write_small_cache(tmp_path / "d.h5", train=2, test=1, predict=0, seed=1)
    )
    assert len({one, other.content_hash, again.content_hash}) == 3


def test_what_a_split_lacks_is_refused(small_cache: Path) -> None:
    cache = PredictionCache(small_cache)
    with pytest.raises(CacheError, match=r"no split 'val'.*train, test, predict"):
        cache.split("val")
    split = cache.split("predict")
    assert not split.has_targets
    with pytest.raises(CacheError, match="no ground truth"):
        split.target("depth", 0)
    with pytest.raises(CacheError, match=r"'normals'.*depth, semantic"):
        split.prediction("normals", 0)


def test_images_are_optional(tmp_path: Path) -> None:
    path = write_small_cache(tmp_path / "a.h5", train=1, test=0, predict=0, images=False)
    with pytest.raises(CacheError, match="--images"):
        PredictionCache(path).split("train").image(0)


# -- other ground truth ------------------------------------------------------------------------


RAW = ("depth", "raw")


def raw(i: int) -> Any:
    depth = sample(i)["targets"]["depth"].copy()
    depth[:2] = 0
    return depth


def write_two_truths(path: Path, *, truths: Any = None, **options: Any) -> Path:
    """A cache of two frames whose depth has two ground truths."""
    with CacheWriter(path, modalities=modalities(), frame=FRAME) as writer:
        writer.add_split(
            "test",
            ids=["a", "b"],
            scenes=["x", "y"],
            predictions=SPECS,
            targets=True,
            images=True,
            truths={"depth": ("filled", "raw")} if truths is None else truths,
        )
        for i in range(2):
            writer.write("test", i, **sample(i), **{"alternatives": {RAW: raw(i)}} | options)
    return path


def test_an_alternative_comes_back(tmp_path: Path) -> None:
    with PredictionCache(write_two_truths(tmp_path / "a.h5")) as cache:
        split = cache.split("test")
        assert split.truths == {"depth": ("filled", "raw")}
        assert split.alternatives == [RAW]
        for i in range(2):
            np.testing.assert_array_equal(split.target("depth", i), sample(i)["targets"]["depth"])
            found = split.alternative(*RAW, i)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, raw(i))
        assert check(cache) == []
        for modality, name in (("depth", "filled"), ("semantic", "raw")):
            with pytest.raises(CacheError, match=rf"a\.h5.*'test' holds no {modality}.*'{name}'"):
                split.alternative(modality, name, 0)
    with h5py.File(tmp_path / "a.h5") as file:
        dataset = file["test/alternative/depth/raw"]
        assert dataset.chunks == (1, *FRAME)
        assert dataset.fletcher32


def test_the_content_hash_is_of_alternatives_too(tmp_path: Path) -> None:
    alone = write_two_truths(tmp_path / "a.h5", truths={})
    named = write_two_truths(tmp_path / "b.h5", truths={"depth": ["filled"]})
    both = write_two_truths(tmp_path / "c.h5")
    other = write_two_truths(tmp_path / "d.h5", alternatives={RAW: raw(0)})
    called = write_two_truths(tmp_path / "e.h5", truths={"depth": ["rendered", "raw"]})
    hashes = [PredictionCache(path).content_hash for path in (alone, named, both, other, called)]
    # A name alone is a remark.
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4
    assert PredictionCache(named).split("test").truths == {"depth": ("filled",)}


def test_a_cache_of_the_layout_without_names_is_read_and_has_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with CacheWriter(path, modalities=modalities(), frame=FRAME) as writer:
        writer.add_split(
            "train", ids=["a"], scenes=["x"], predictions=SPECS, targets=True, images=False
        )
        writer.write(
            "train",
            0,
            predictions={
                "depth": np.full((1, 3, 4), 2.0),
                "semantic": np.full((5, 2, 2), 0.2, np.float32),
            },
            targets={"depth": np.full(FRAME, 2.5), "semantic": np.full(FRAME, 3)},
        )
    with h5py.File(path) as file:
        assert set(file["train"]) == {"id", "scene", "prediction", "target"}
        assert not dict(file["train/target/depth"].attrs)
    with PredictionCache(path) as cache:
        # As the first release wrote it.
        assert cache.content_hash == (
            "cc4dc88043c9ff28de8a80e1b067c2648f0803e8762b1ef84cb1af59cb09d032"
        )
        assert cache.split("train").truths == {}
        assert cache.split("train").alternatives == []
        assert check(cache) == []


@pytest.mark.parametrize(
    ("truths", "options", "message"),
    [
        ({"depth": ["filled", "filled"]}, {}, r"a\.h5: split 'test'.*no two"),
        ({"depth": ["filled", "a/b"]}, {}, "without '/'"),
        ({"depth": ["filled", ""]}, {}, "no two"),
        ({"depth": []}, {}, "no two"),
        ({"normals": ["a", "b"]}, {}, "of normals.*depth, semantic"),
        (None, {"alternatives": None}, "frame 'a'.*depth ground truth 'raw' is missing"),
        (None, {"alternatives": {RAW: raw(0) - 2}}, "depth ground truth 'raw' holds a depth of -"),
        (None, {"alternatives": {RAW: np.full(FRAME, np.nan)}}, "'raw' holds nan"),
        (None, {"alternatives": {RAW: np.ones((6, 9))}}, r"'raw' has shape \(6, 9\)"),
    ],
)
def test_a_bad_alternative_is_refused(
    tmp_path: Path, truths: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CacheError, match=message):
        write_two_truths(tmp_path / "a.h5", truths=truths, **options)
    assert list(tmp_path.iterdir()) == []


def test_alternatives_belong_to_ground_truth(tmp_path: Path) -> None:
    def build() -> None:
        with CacheWriter(tmp_path / "a.h5", modalities=modalities(), frame=FRAME) as writer:
            writer.add_split(
                "predict",
                ids=["a"],
                scenes=["x"],
                predictions=SPECS,
                targets=False,
                images=False,
                truths={"depth": ["filled", "raw"]},
            )

    with pytest.raises(CacheError, match="targets=True"):
        build()


def flip_a_bit(path: Path, dataset: str) -> None:
    """Damage row 1 of a dataset behind the back of HDF5."""
    with h5py.File(path, "r") as file:
        offset = file[dataset].id.get_chunk_info(1).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 7] ^= 4
    path.write_bytes(content)


def test_check_reads_alternatives(tmp_path: Path) -> None:
    path = write_two_truths(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["test/alternative/depth/raw"][1, 0, 0] = 12
    bad, altered = check(PredictionCache(path))
    assert "test, frame 'b': depth ground truth 'raw' holds a depth of 12 m" in bad
    assert "hash" in altered


def test_damage_to_an_alternative_names_file_and_dataset(tmp_path: Path) -> None:
    path = write_two_truths(tmp_path / "a.h5")
    flip_a_bit(path, "test/alternative/depth/raw")
    split = PredictionCache(path).split("test")
    split.alternative(*RAW, 0)
    with pytest.raises(CacheError, match=r"a\.h5: dataset 'test/alternative/depth/raw', row 1"):
        split.alternative(*RAW, 1)


# -- processes ---------------------------------------------------------------------------------


def _sums(split: CacheSplit) -> tuple[int, float]:
    return os.getpid(), float(sum(split.target("depth", i).sum() for i in range(len(split))))


def test_pickling_drops_the_handle(small_cache: Path) -> None:
    cache = PredictionCache(small_cache)
    expected = _sums(cache.split("train"))
    copy = pickle.loads(pickle.dumps(cache))
    assert _sums(copy.split("train")) == expected
    copy.close()
    assert _sums(copy.split("train")) == expected  # opened again


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_every_kind_of_process_reads_the_same(small_cache: Path, method: str) -> None:
    split = PredictionCache(small_cache).split("train")
    pid, expected = _sums(split)  # the handle is open before the fork
    with multiprocessing.get_context(method).Pool(1) as pool:
        results = pool.map(_sums, [split] * 2, chunksize=1)
    assert {total for _, total in results} == {expected}
    assert pid not in {child for child, _ in results}


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_handles_inherited_by_a_fork_are_not_used(small_cache: Path) -> None:
    split = PredictionCache(small_cache).split("train")
    _, expected = _sums(split)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [
        context.Process(target=lambda: queue.put([_sums(split) for _ in range(10)]))
        for _ in range(2)
    ]
    for child in children:
        child.start()
    mine = [_sums(split)[1] for _ in range(10)]
    theirs = [total for _ in children for _, total in queue.get(timeout=60)]
    for child in children:
        child.join()
    assert {*mine, *theirs} == {expected}


def test_a_file_replaced_while_in_use_is_noticed(tmp_path: Path) -> None:
    path = write_small_cache(tmp_path / "a.h5", train=2, test=0, predict=0)
    cache = pickle.loads(pickle.dumps(PredictionCache(path)))
    write_small_cache(path, train=2, test=0, predict=0, seed=1)
    for _ in range(2):
        with pytest.raises(CacheError, match="replaced"):
            cache.split("train").target("depth", 0)


# -- values that are refused -------------------------------------------------------------------


def _spoil(group: str, name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(given: dict[str, Any]) -> None:
        given[group][name] = given[group][name].copy()
        given[group][name].flat[0] = value

    return spoil


def _replace(group: str, name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def replace(given: dict[str, Any]) -> None:
        given[group][name] = value

    return replace


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_spoil("predictions", "depth", np.nan), "depth prediction.*nan"),
        (_spoil("predictions", "depth", -1), "depth prediction.*-1 m"),
        (_spoil("predictions", "depth", 11), "depth prediction.*11 m"),
        (_spoil("targets", "depth", 1200), "depth ground truth.*1200 m"),
        (_spoil("targets", "depth", np.inf), "depth ground truth.*inf"),
        (_spoil("predictions", "semantic", 0.9), "semantic prediction.*sum to"),
        (_spoil("targets", "semantic", 5), "semantic ground truth.*label 5"),
        (_replace("targets", "semantic", np.full(FRAME, 300)), "semantic ground truth.*300"),
        (_replace("targets", "semantic", np.full(FRAME, 0.5)), "unchanged"),
        (_replace("targets", "depth", np.ones((6, 9))), r"\(6, 9\), expected \(6, 8\)"),
        (_replace("targets", "depth", None), "depth ground truth is missing"),
        (_replace("predictions", "depth", np.ones((1, 3, 5))), r"expected \(1, 3, 4\)"),
        (_replace("predictions", "depth", np.full((1, 3, 4), "1")), "of type <U1"),
    ],
)
def test_a_bad_value_names_the_frame_and_leaves_nothing(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    def build() -> None:
        with CacheWriter(tmp_path / "a.h5", modalities=modalities(), frame=FRAME) as writer:
            writer.add_split(
                "train",
                ids=["0001", "0002"],
                scenes=["x", "x"],
                predictions=SPECS,
                targets=True,
                images=True,
            )
            writer.write("train", 0, **sample(0))
            bad = sample(1)
            change(bad)
            writer.write("train", 1, **bad)

    with pytest.raises(CacheError, match=f"frame '0002'.*{message}"):
        build()
    assert list(tmp_path.iterdir()) == []


def test_wide_integers_are_fine_while_they_fit(tmp_path: Path) -> None:
    with CacheWriter(tmp_path / "a.h5", modalities=modalities(), frame=FRAME) as writer:
        writer.add_split(
            "train", ids=["a"], scenes=["x"], predictions=SPECS, targets=True, images=False
        )
        given = sample()
        given["targets"]["semantic"] = given["targets"]["semantic"].astype(np.int64)
        writer.write("train", 0, predictions=given["predictions"], targets=given["targets"])
    found = PredictionCache(tmp_path / "a.h5").split("train").target("semantic", 0)
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "training"}, "unknown.*train, val, test, predict"),
        ({"name": "train"}, "added twice"),
        ({"ids": ["b", "a"]}, "frame 'a' is in split 'train' and again in 'test'"),
        ({"ids": ["b", "b"]}, "frame 'b' is in split 'test' and again in 'test'"),
        ({"ids": ["b", ""]}, "empty id"),
        ({"ids": []}, "0 ids"),
        ({"scenes": ["x"]}, "2 ids and 1 scenes"),
        ({"name": "predict"}, "no ground truth"),
        ({"predictions": {"depth": SPECS["depth"]}}, "Give one for each"),
        (
            {"predictions": SPECS | {"semantic": SPECS["depth"]}},
            r"\(1, 3, 4\).*C = 5",
        ),
        (
            {
                "predictions": SPECS
                | {
                    "depth": PredictionSpec(
                        (1, 3, 4), np.dtype(np.int16), SPECS["depth"].grid, Provenance("n")
                    )
                }
            },
            "int16",
        ),
    ],
)
def test_a_bad_split_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "name": "test",
        "ids": ["b", "c"],
        "scenes": ["x", "x"],
        "predictions": SPECS,
        "targets": True,
        "images": False,
    }

    def build() -> None:
        with CacheWriter(tmp_path / "a.h5", modalities=modalities(), frame=FRAME) as writer:
            writer.add_split(**given | {"name": "train", "ids": ["a"], "scenes": ["x"]})
            writer.add_split(**given | change)

    with pytest.raises(CacheError, match=message):
        build()
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    given: dict[str, Any] = {"predictions": SPECS, "targets": True, "images": False}
    name = os.fsdecode(b"caf\xe9")
    with (
        pytest.raises(CacheError, match=r"frame or scene caf\\udce9, not UTF-8\. Rename"),
        CacheWriter(tmp_path / "a.h5", modalities=modalities(), frame=FRAME) as writer,
    ):
        writer.add_split("train", ids=[name], scenes=["x"], **given)


def test_an_unknown_sampling_is_refused() -> None:
    with pytest.raises(CacheError, match=r"'insample'.*in-sample, out-of-fold, unseen, unknown"):
        Provenance("network", sampling="insample")


def test_an_announced_frame_must_come(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"1 of 3 frames of split 'train'.*'b'"):
        write(tmp_path / "a.h5", order=(0, 2))
    assert list(tmp_path.iterdir()) == []


def test_targets_come_exactly_as_announced(tmp_path: Path) -> None:
    def build() -> None:
        with CacheWriter(tmp_path / "a.h5", modalities=modalities(), frame=FRAME) as writer:
            writer.add_split(
                "train", ids=["a"], scenes=["x"], predictions=SPECS, targets=True, images=True
            )
            writer.write("train", 0, predictions=sample()["predictions"])

    with pytest.raises(CacheError, match="targets=True, images=True"):
        build()


# -- the file is whole or not there ------------------------------------------------------------


def test_an_existing_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_text("precious")
    with pytest.raises(CacheError, match=r"a\.h5 exists\. Give --force"):
        write(path)
    with pytest.raises(CacheError, match="never written"):
        write(path, order=(0,), force=True)
    assert path.read_text() == "precious"
    write(path, force=True)
    assert len(PredictionCache(path).split("train")) == 3
    with pytest.raises(CacheError, match="is a folder"):
        write(tmp_path, force=True)


def _build_until(path: Path, marker: Path) -> None:
    """Write one frame of two, say so, and wait to be stopped."""
    # Under nohup, or in a shell's background, these are ignored, and the writer respects that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with CacheWriter(path, modalities=modalities(), frame=FRAME) as writer:
        writer.add_split(
            "train",
            ids=["a", "b"],
            scenes=["x", "x"],
            predictions=SPECS,
            targets=True,
            images=True,
        )
        writer.write("train", 0, **sample())
        marker.touch()
        time.sleep(60)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_build_leaves_no_file(tmp_path: Path, number: signal.Signals) -> None:
    folder, marker = tmp_path / "out", tmp_path / "started"
    child = multiprocessing.get_context("fork").Process(
        target=_build_until, args=(folder / "a.h5", marker)
    )
    child.start()
    assert child.pid is not None
    deadline = time.monotonic() + 60
    while not marker.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, number)
    child.join(60)
    assert child.exitcode not in (0, None)
    assert not (folder / "a.h5").exists()
    if number == signal.SIGKILL:  # which no program can tidy up after: the next one does
        write(folder / "a.h5")
        (folder / "a.h5").unlink()
    assert list(folder.iterdir()) == []


def test_what_another_process_still_writes_is_left_alone(tmp_path: Path) -> None:
    refused = pytest.raises(CacheError, match="no split was written")
    with refused, CacheWriter(tmp_path / "a.h5", modalities=modalities(), frame=FRAME):
        (held,) = tmp_path.iterdir()
        write(tmp_path / "a.h5")
        assert held.exists()


def test_signal_handlers_are_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    write(tmp_path / "a.h5")
    assert signal.getsignal(signal.SIGTERM) is before


def _build_with_little_room(path: Path, queue: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        write_small_cache(path)
    except Exception as error:
        queue.put((type(error), str(error)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_running_out_of_room_leaves_no_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_build_with_little_room, args=(tmp_path / "a.h5", queue))
    child.start()
    kind, message = queue.get(timeout=60)
    child.join(60)
    assert kind is CacheError
    assert "disk full" in message
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_seen_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        CacheError, match=r"disk full: .*a\.h5 needs another 1\.5 kB, 100 bytes are"
    ):
        write(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="cannot be written"):
        write(tmp_path / "file" / "a.h5")


# -- files that are refused --------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"nyu\.h5 does not exist.*jrn cache"):
        PredictionCache(tmp_path / "nyu.h5")


def test_no_hdf5_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"PK\x03\x04" * 300)
    with pytest.raises(CacheError, match="no HDF5 file"):
        PredictionCache(path)


def test_a_foreign_hdf5_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(CacheError, match="no prediction cache"):
        PredictionCache(tmp_path / "a.h5")


@pytest.mark.parametrize(("version", "remedy"), [(0, "Build it again"), (2, "Update")])
def test_another_version(tmp_path: Path, version: int, remedy: str) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = version
    with pytest.raises(CacheError, match=f"version {version}.*{remedy}"):
        PredictionCache(path)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file(small_cache: Path, tmp_path: Path, share: float) -> None:
    content = small_cache.read_bytes()
    path = tmp_path / "a.h5"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CacheError, match=r"a\.h5"):
        PredictionCache(path)


def _swap(name: str, data: Any, **options: Any) -> Callable[[h5py.File], None]:
    def swap(file: h5py.File) -> None:
        attributes = dict(file[name].attrs)
        del file[name]
        dataset = file.create_dataset(name, data=data, fletcher32=True, **options)
        dataset.attrs.update(attributes)

    return swap


def _delete(name: str) -> Callable[[h5py.File], None]:
    def delete(file: h5py.File) -> None:
        del file[name]

    return delete


def _attribute(item: str, key: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[item].attrs[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_delete("test/alternative"), "'test/alternative/depth/raw' is missing"),
        (
            _swap("test/alternative/depth/raw", np.zeros((2, *FRAME)), chunks=(1, *FRAME)),
            "test/alternative/depth/raw.*float64.*float32",
        ),
        (
            _swap("test/alternative/depth/raw", np.zeros((2, 6, 7), "f4"), chunks=(1, 6, 7)),
            r"test/alternative/depth/raw.*\(2, 6, 7\)",
        ),
        (
            _swap("test/alternative/depth/raw", np.zeros((2, *FRAME), "f4"), chunks=(2, *FRAME)),
            "test/alternative/depth/raw.*one checksummed chunk a sample",
        ),
        (_attribute("test/target/depth", "truths", np.bytes_(b"{")), "the structure"),
        (_attribute("test/target/depth", "truths", np.bytes_(b'"raw"')), "'truths'.*test/target"),
        (_attribute("test/target/depth", "truths", np.bytes_(b'["a", "a"]')), "'truths'"),
        (_attribute("test/target/depth", "truths", np.bytes_(b'["a", 3]')), "'truths'"),
        (_attribute("test/target/depth", "truths", 3), "'truths'"),
    ],
)
def test_a_broken_alternative_names_the_place(
    tmp_path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    path = write_two_truths(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(CacheError, match=rf"a\.h5.*{message}"):
        PredictionCache(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_delete("modality"), "the structure"),
        (_delete("train/id"), "'train/id' is missing"),
        (_delete("train/scene"), "'train/scene' is missing"),
        (_delete("train/prediction/depth"), "'train/prediction/depth' is missing"),
        (_delete("train/target/semantic"), "'train/target/semantic' is missing"),
        (_delete("train"), "holds no split"),
        (_swap("train/id", np.array([b"a", b"b"]), chunks=(2,)), "3 of 2|names 3"),
        (_swap("train/id", np.array([b"a", b"b", b"a"]), chunks=(3,)), "'a' is in split 'train'"),
        (_swap("train/id", np.arange(3), chunks=(3,)), "type int64"),
        (
            _swap("train/target/depth", np.zeros((3, *FRAME)), chunks=(1, *FRAME)),
            "train/target/depth.*float64.*float32",
        ),
        (
            _swap("train/target/semantic", np.zeros((3, 6, 7), "u1"), chunks=(1, 6, 7)),
            r"train/target/semantic.*\(3, 6, 7\).*\(3, 6, 8\)",
        ),
        (
            _swap("train/prediction/semantic", np.zeros((3, 4, 2, 2), "f4"), chunks=(1, 4, 2, 2)),
            r"train/prediction/semantic.*\(3, 5, 2, 2\)",
        ),
        (
            _swap("train/prediction/depth", np.zeros((3, 1, 3, 4), "f2"), chunks=(3, 1, 3, 4)),
            "one checksummed chunk a sample",
        ),
        (_swap("train/image", np.zeros((3, *FRAME, 4), "u1"), chunks=(1, *FRAME, 4)), "image"),
        (_attribute("/", "frame", [6]), "'frame'"),
        (_attribute("/", "frame", [6.0, 8.0]), "'frame'"),
        (_attribute("/", "content_hash", 3), "content_hash"),
        (_attribute("modality/depth", "attributes", np.bytes_(b"{")), "the structure"),
        (_attribute("modality/depth", "attributes", np.bytes_(b'{"k": 1}')), "the structure"),
        (_attribute("train/prediction/depth", "grid", [0.0, 1.0]), "'grid'"),
        (_attribute("train/prediction/depth", "grid", [0.0, 0.0, 0.0, 1.0]), "positive steps"),
        (_attribute("train/prediction/depth", "sampling", np.bytes_(b"no")), "sampling 'no'"),
    ],
)
def test_a_broken_structure_names_the_place(
    tmp_path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(CacheError, match=message) as caught:
        PredictionCache(path)
    if "grid (0" not in str(caught.value) and "sampling" not in str(caught.value):
        assert "a.h5" in str(caught.value)


def test_ground_truth_in_predict_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.move("train", "predict")
    with pytest.raises(CacheError, match="predict/target"):
        PredictionCache(path)


def test_an_unknown_kind_of_modality_asks_for_its_module(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["modality/depth"].attrs["kind"] = np.bytes_(b"thermal")
    with pytest.raises(ConfigError, match=r"'thermal'.*--plugin"):
        PredictionCache(path)


# -- check -------------------------------------------------------------------------------------


def test_check_finds_bad_values(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["train/target/depth"][1, 0, 0] = np.nan
        file["train/prediction/semantic"][2] = 0.5
    problems = check(PredictionCache(path))
    assert len(problems) == 3
    assert "frame 'b': depth ground truth" in problems[0]
    assert "frame 'ç': semantic prediction" in problems[1]
    assert "hash" in problems[2]


def test_check_finds_altered_values(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["train/target/depth"][1, 0, 0] += 0.25
    (problem,) = check(PredictionCache(path))
    assert "hash" in problem


def test_check_finds_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    flip_a_bit(path, "train/target/depth")
    calls: list[None] = []
    (problem,) = check(PredictionCache(path), lambda: calls.append(None))
    assert "frame 'b'" in problem
    assert "train/target/depth" in problem
    assert len(calls) == 3


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "a.h5"), "r") as file:
        assert file.attrs["format"] == b"jrn-cache"
        assert file.attrs["version"] == 1
        assert list(file.attrs["frame"]) == list(FRAME)
        assert set(file) == {"modality", "train"}
        assert json.loads(file["modality/semantic"].attrs["attributes"])["classes"] == list(CLASSES)
        for key in (keys.PREDICTION, keys.TARGET):
            for dataset in file["train"][key].values():
                assert dataset.chunks[0] == 1
                assert dataset.fletcher32
        assert list(file["train/prediction/depth"].attrs["grid"]) == [0.5, 2, 0.5, 2]
