"""``jrn cache show`` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from jrn_lightning.cache import PredictionCache
from jrn_lightning.cli.cache import app
from jrn_lightning.errors import CacheError
from tests.caches import write_small_cache


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["show", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize(("split", "size"), [("test", 6), ("train", 12), ("predict", 3)])
def test_every_split_is_drawn(small_cache: Path, tmp_path: Path, split: str, size: int) -> None:
    out = tmp_path / "sheet.png"
    shown = min(size, 8)
    said = run(small_cache, "--split", split, "--out", out)
    assert f"{out}: {shown} of {size} frames of split '{split}'." in said
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_a_cache_without_images(tmp_path: Path) -> None:
    path = write_small_cache(tmp_path / "c.h5", train=2, test=2, predict=0, images=False)
    run(path, "--out", tmp_path / "sheet.png")
    with_images = write_small_cache(tmp_path / "i.h5", train=2, test=2, predict=0)
    run(with_images, "--out", tmp_path / "images.png")
    with Image.open(tmp_path / "sheet.png") as a, Image.open(tmp_path / "images.png") as b:
        assert a.width < b.width


def test_more_frames_make_a_longer_sheet(small_cache: Path, tmp_path: Path) -> None:
    heights = []
    for count in (1, 2, 4):
        out = tmp_path / f"{count}.png"
        assert f"{count} of 6 frames" in run(small_cache, "--frames", count, "--out", out)
        with Image.open(out) as picture:
            heights.append(picture.height)
    assert abs((heights[2] - heights[1]) - 2 * (heights[1] - heights[0])) <= 2
    assert heights[0] < heights[1]


def test_ids_and_seeds_choose(small_cache: Path, tmp_path: Path) -> None:
    with PredictionCache(small_cache) as cache:
        ids = cache.split("test").ids

    def drawn(*options: object) -> bytes:
        out = tmp_path / "sheet.png"
        run(small_cache, "--out", out, "--force", *options)
        return out.read_bytes()

    assert "2 of 6 frames" in run(
        small_cache, "--ids", f"{ids[3]}, {ids[0]}", "--out", tmp_path / "two.png"
    )
    assert (tmp_path / "two.png").read_bytes() == drawn("--ids", f"{ids[3]},{ids[0]}")
    assert drawn("--ids", f"{ids[0]},{ids[3]}") != drawn("--ids", f"{ids[3]},{ids[0]}")
    assert drawn("--frames", 1, "--seed", 3) == drawn("--frames", 1, "--seed", 3)
    assert len({drawn("--frames", 1, "--seed", seed) for seed in range(6)}) > 1


def test_an_existing_file_is_kept(small_cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    out.write_text("mine")
    with pytest.raises(CacheError, match="--force"):
        run(small_cache, "--out", out)
    assert out.read_text() == "mine"
    run(small_cache, "--out", out, "--force", "--frames", 1)
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "val"), "no split 'val'. It has: train, test, predict"),
        (("--ids", "9999"), "split 'test' has no frame '9999'. Choose from its 6 frames"),
        # A frame of another split is no frame of this one.
        (("--ids", "0000"), "no frame '0000'"),
    ],
)
def test_what_is_not_there(
    small_cache: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "sheet.png"
    with pytest.raises(CacheError) as caught:
        run(small_cache, "--out", out, *options)
    assert message in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--frames", "2", "--ids", "0001"), "--ids"),
        (("--frames", "0"), "--frames"),
        (("--ids", " , "), "names no frame"),
        (("--out", "sheet.jpg"), ".png"),
    ],
)
def test_a_wrong_option_is_a_usage_error(
    small_cache: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    out = ("--out", str(tmp_path / "sheet.png"))
    result = CliRunner().invoke(app, ["show", str(small_cache), *out, *options])
    assert result.exit_code == 2
    assert message in result.output


def test_help_has_an_example() -> None:
    assert "jrn cache show nyu.h5 --out sheet.png" in run("--help")
