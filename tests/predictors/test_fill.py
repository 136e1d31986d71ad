from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from jrn_lightning.cache import PredictionCache, check
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.build import Input
from jrn_lightning.importers.sources import open_source
from jrn_lightning.predictors import fill as single_task
from jrn_lightning.predictors.fill import (
    build_rooms,
    networks_folder,
    predict_into_cache,
    require_rooms,
    rooms_path,
)
from jrn_lightning.rooms import RoomsSpec
from tests.frames import BoxRooms, tiny_settings

SPEC = RoomsSpec(train_rooms=6, test_rooms=2, views=2, height=48, width=64)


@contextmanager
def silent(what: str, total: float) -> Iterator[Callable[[float], None]]:
    done: list[float] = []
    yield done.append
    assert sum(done) == pytest.approx(total), what


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(single_task.HOME, str(tmp_path / "home"))
    return tmp_path / "home"


def test_own_depth_beside_imported_semantics(tmp_path: Path) -> None:
    data, out = BoxRooms(), tmp_path / "mixed.h5"
    maps = np.full((20, 5, 3, 4), 0.2, np.float16)
    np.savez(tmp_path / "semantic.npz", index=np.arange(1, 21), probability=maps)
    source = open_source(
        tmp_path / "semantic.npz",
        data.modalities["semantic"],
        ids=[f"{n:04d}" for n in range(1, 21)],
    )
    imported = {"semantic": Input(source, "flat", "unseen")}
    predict_into_cache(data, imported, {"depth": tiny_settings(epochs=1)}, out, silent, workers=1)
    with PredictionCache(out) as cache:
        assert check(cache) == []
        provenance = {
            (split, m): cache.split(split).provenance(m).sampling
            for split in cache.splits
            for m in cache.modalities
        }
        assert provenance["train", "depth"] == "out-of-fold"
        assert provenance["test", "depth"] == provenance["predict", "depth"] == "unseen"
        assert provenance["train", "semantic"] == "unseen"
        assert "2 folds by scene" in cache.notes["depth_network"]
        assert "semantic_network" not in cache.notes
        assert cache.notes["single_task"] == "mixed-single-task"
        assert cache.split("train").has_images
    kept = sorted(f.name for f in networks_folder(out).iterdir())
    assert kept == ["depth-fold0.ckpt", "depth-fold1.ckpt"]


def test_an_existing_cache_is_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "a.h5"
    out.write_bytes(b"precious")
    with pytest.raises(CacheError, match=r"a\.h5 exists"):
        predict_into_cache(BoxRooms(), {}, {"depth": tiny_settings()}, out, silent)
    assert out.read_bytes() == b"precious"


def test_rooms_are_rendered_once_and_found_again(home: Path, tmp_path: Path) -> None:
    settings = tiny_settings(epochs=1)
    path = rooms_path(SPEC, settings)
    assert path.parent == home
    require_rooms(SPEC, settings, path, silent)
    with PredictionCache(path) as cache:
        assert check(cache) == []
        assert [len(cache.split(s)) for s in ("train", "test")] == [12, 4]
        assert len(set(cache.split("train").scenes)) == 6
        first = cache.content_hash

    def never(what: str, total: float) -> object:
        raise AssertionError(f"{what} is done twice")

    require_rooms(SPEC, settings, path, never)  # type: ignore[arg-type]
    # Elsewhere and with other networks, the frames are the same.
    rendered = sorted(home.glob("rooms-*/*.npz"))
    before = [f.stat().st_mtime_ns for f in rendered]
    build_rooms(SPEC, tiny_settings(epochs=1), tmp_path / "again.h5", silent, workers=1)
    assert before == [f.stat().st_mtime_ns for f in rendered]
    with PredictionCache(tmp_path / "again.h5") as cache:
        assert cache.split("train").ids[0] == "0001"
        assert len(cache.content_hash) == len(first)


def test_another_cache_in_the_place_of_the_rooms_is_refused(home: Path, small_cache: Path) -> None:
    with pytest.raises(CacheError, match=r"small\.h5 holds other data than the rooms.*data=cache"):
        require_rooms(SPEC, tiny_settings(), small_cache, silent)


def test_settings_and_rooms_name_the_file() -> None:
    other = RoomsSpec(seed=1, train_rooms=6, test_rooms=2, views=2, height=48, width=64)
    names = {
        rooms_path(SPEC, tiny_settings()),
        rooms_path(other, tiny_settings()),
        rooms_path(SPEC, tiny_settings(epochs=9)),
    }
    assert len(names) == 3
