from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jrn_lightning.cache import PredictionCache, check
from jrn_lightning.errors import CacheError, CheckpointError
from jrn_lightning.modalities import Semantic
from jrn_lightning.predictors import checkpoint
from jrn_lightning.predictors.networks import ImageNetwork
from jrn_lightning.predictors.photographs import (
    Photographs,
    open_networks,
    predict_photographs,
)
from tests.caches import modalities
from tests.frames import tiny_settings


def photograph(path: Path, size: tuple[int, int] = (60, 80), seed: int = 0) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(picture).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rgb").mkdir()
    photograph(tmp_path / "rgb" / "hall.png")
    photograph(tmp_path / "rgb" / "attic.jpg", seed=1)
    (tmp_path / "rgb" / "notes.txt").write_text("not a picture")
    return tmp_path / "rgb"


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    settings = tiny_settings()
    for name, kind in modalities().items():
        net = ImageNetwork("small", kind.channels, settings.width, settings.stride)
        path = tmp_path / "nets" / f"{name}-fold0.ckpt"
        path.parent.mkdir(exist_ok=True)
        checkpoint.save(path, net, kind, settings, {})
    return tmp_path / "nets"


def test_photographs_become_a_cache_under_their_names(
    folder: Path, networks: Path, tmp_path: Path
) -> None:
    photographs = Photographs(folder)
    opened = open_networks(networks, modalities())
    told: list[float] = []
    predict_photographs(photographs, opened, tmp_path / "p.h5", told.append)
    with PredictionCache(tmp_path / "p.h5") as cache:
        assert check(cache) == []
        split = cache.split("predict")
        assert split.ids == ["attic", "hall"]
        assert cache.frame == (60, 80)
        assert split.spec("semantic").shape == (5, 12, 16)
        np.testing.assert_array_equal(split.image(1), np.asarray(Image.open(folder / "hall.png")))
    assert sum(told) == 2


def test_pictures_are_turned_upright(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.open(folder / "hall.png").rotate(90, expand=True).save(folder / "hall.png", exif=exif)
    assert Photographs(folder).read("hall").shape == (60, 80, 3)


def test_a_name_that_is_no_text_is_told(folder: Path) -> None:
    photograph(folder / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(CacheError, match=r"rgb holds a picture called caf\\xe9\.png.*Rename it"):
        Photographs(folder)


def test_a_photograph_of_16_bits_keeps_its_brightness(folder: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 65536, (60, 80)).astype(np.uint16)
    Image.fromarray(grey).save(folder / "hall.png")
    found = Photographs(folder).read("hall")
    np.testing.assert_allclose(found[..., 1], grey / 257, atol=0.51)


def test_folders_that_cannot_be_used_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="nowhere is no folder"):
        Photographs(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CacheError, match=r"empty holds no picture. Give files of \.jpg"):
        Photographs(tmp_path / "empty")
    photograph(folder / "loft.png", (60, 90))
    with pytest.raises(CacheError, match=r"loft\.png has 60 × 90 pixels, attic\.jpg has 60 × 80"):
        Photographs(folder)  # before any work is done
    (folder / "loft.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(CacheError, match=r"loft\.png cannot be read as a picture"):
        Photographs(folder)  # before any work is done
    (folder / "loft.png").unlink()
    photograph(folder / "hall.jpg")
    with pytest.raises(CacheError, match=r"holds hall\.jpg and hall\.png"):
        Photographs(folder)


def test_a_picture_that_is_cut_off_is_named_when_it_is_read(folder: Path) -> None:
    content = (folder / "attic.jpg").read_bytes()
    (folder / "attic.jpg").write_bytes(content[: len(content) // 2])
    photographs = Photographs(folder)
    with pytest.raises(CacheError, match=r"attic\.jpg cannot be read as a picture"):
        photographs.read("attic")


def test_networks_that_do_not_fit_are_named(networks: Path) -> None:
    kinds = modalities()
    with pytest.raises(CheckpointError, match=r"semantic-fold1\.ckpt does not exist|depth-fold1"):
        open_networks(networks, kinds, fold=1)
    kinds["semantic"] = Semantic("semantic", ["floor", "wall"])
    with pytest.raises(CheckpointError, match=r"semantic-fold0\.ckpt predicts.*same classes"):
        open_networks(networks, kinds)
