"""Damaged and mistyped caches: a CacheError or the right values, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jrn_lightning.cache import PredictionCache, check
from jrn_lightning.errors import JRNError
from tests.caches import write_small_cache

fuzz = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "tiny.h5"
    return write_small_cache(path, train=2, test=1, predict=1, frame=(16, 16), raw=True)


def everything(path: Path) -> list[Any]:
    """All that the reader gives."""

    def parts(cache: PredictionCache) -> Iterator[Any]:
        yield cache.frame, cache.content_hash, cache.notes
        yield [(name, m.kind, m.attributes) for name, m in cache.modalities.items()]
        for name in cache.splits:
            split = cache.split(name)
            yield name, split.ids, split.scenes, split.truths
            for i in range(len(split)):
                for modality in cache.modalities:
                    yield split.spec(modality)
                    yield split.prediction(modality, i).tobytes()
                    if split.has_targets:
                        yield split.target(modality, i).tobytes()
                for modality, other in split.alternatives:
                    yield split.alternative(modality, other, i).tobytes()
                if split.has_images:
                    yield split.image(i).tobytes()

    with PredictionCache(path) as cache:
        return list(parts(cache))


def right_or_refused(content: bytes, tiny: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content)
    try:
        found = everything(damaged)
    except JRNError as error:
        message = str(error)
    else:
        # The damage lies where nothing is stored.
        assert found == everything(tiny)
        return
    assert str(damaged) in message


@fuzz
@given(data=st.data())
def test_flipped_bits(data: st.DataObject, tiny: Path, tmp_path: Path) -> None:
    content = bytearray(tiny.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    right_or_refused(bytes(content), tiny, tmp_path)


@fuzz
@given(data=st.data())
def test_truncations(data: st.DataObject, tiny: Path, tmp_path: Path) -> None:
    content = tiny.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content[:length])
    with pytest.raises(JRNError, match="damaged"):
        PredictionCache(damaged)


@fuzz
@given(data=st.data(), noise=st.binary(min_size=1, max_size=64))
def test_overwritten_stretches(
    data: st.DataObject, noise: bytes, tiny: Path, tmp_path: Path
) -> None:
    content = bytearray(tiny.read_bytes())
    start = data.draw(st.integers(0, len(content) - len(noise)))
    content[start : start + len(noise)] = noise
    right_or_refused(bytes(content), tiny, tmp_path)


VALUES = st.one_of(
    st.integers(-(2**31), 2**31),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8).map(np.bytes_),
    st.lists(st.integers(-3, 300), max_size=5),
    st.lists(st.floats(width=16), min_size=1, max_size=5).map(lambda x: np.array(x, "f2")),
    st.just(h5py.Empty("f4")),
)
NODES = (
    *("train", "modality", "modality/depth", "test/prediction", "train/target", "train/id"),
    *("train/scene", "train/prediction/depth", "train/target/semantic", "predict/image"),
)


@fuzz
@given(node=st.sampled_from(NODES), value=VALUES)
def test_other_things_in_the_place_of_groups_and_datasets(
    node: str, value: Any, tiny: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.h5"
    changed.write_bytes(tiny.read_bytes())
    with h5py.File(changed, "r+") as file:
        del file[node]
        try:
            file[node] = value
        except (TypeError, ValueError):  # not to be stored as a dataset
            file.create_group(node)
    with pytest.raises(JRNError, match=r"changed\.h5"):
        everything(changed)


ATTRIBUTES = (
    *[("/", key) for key in ("format", "version", "frame", "notes", "content_hash")],
    *[("modality/semantic", key) for key in ("kind", "attributes")],
    *[
        ("train/prediction/depth", key)
        for key in ("grid", "source", "source_hash", "sampling", "alignment")
    ],
)


@fuzz
@given(place=st.sampled_from(ATTRIBUTES), value=VALUES)
def test_other_things_in_the_place_of_attributes(
    place: tuple[str, str], value: Any, tiny: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.h5"
    changed.write_bytes(tiny.read_bytes())
    item, key = place
    with h5py.File(changed, "r+") as file:
        try:
            file[item].attrs[key] = value
        except (TypeError, ValueError):  # not to be stored, and the old value may be gone
            file[item].attrs.pop(key, None)
    try:
        with PredictionCache(changed) as cache:
            problems = check(cache)
    except JRNError:
        return
    # A text in the place of a text, or the same number: read, and noticed by the hash.
    assert problems or isinstance(value, np.bytes_ | int)
