"""``jrn cache folder``, as a user types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from jrn_lightning.cache import PredictionCache
from jrn_lightning.report import sheet
from tests.cli.test_cache import jrn
from tests.importers.miniatures import PRESETS, save
from tests.importers.test_folder import IDS, content, write
from tests.jobs import ROOT, job, run


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with its layout, and predictions of semantics in a file beside it."""
    root = tmp_path / "data"
    written = write(root)
    (root / "three.yaml").write_text("a: 0\nb: 1\nc: 2\n")
    given = content()
    del given["predictions"]["semantic"]
    (root / "mine.yaml").write_text(yaml.safe_dump(given))
    odds = np.full((4, 3, 6, 8), 1 / 3, np.float32)
    np.savez(tmp_path / "odds.npz", index=list(written), probability=odds, other=odds)
    return root


def test_a_dry_run_says_what_would_be_read(
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "depth.npz", index=IDS, depth=np.full((4, 6, 8), 5, np.float32))
    given = [
        ("--prediction", f"{m}={tmp_path / file}.npz")
        for m, file in (("depth", "depth"), ("semantic", "odds"))
    ]
    command = ["cache", "folder", mine, "--layout", mine / "mine.yaml", *sum(given, ())]
    command += ["--key", "semantic=other", "--out", tmp_path / "a.h5"]
    panel, drawn = sheet.panel, []
    monkeypatch.setattr(sheet, "panel", lambda *a, **k: drawn.append(panel(*a, **k)) or drawn[-1])
    assert jrn(monkeypatch, *command, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "train: 2 frames of 1 scenes, 'hall/1' to 'hall/2'" in out
    assert str(mine / "depth/hall/1.png") in out
    assert "depth: depth, 16 × 24, 2.3% without truth; 3.0" in out
    assert "semantic: semantic, 16 × 24, 4.2% without truth; a " in out
    assert f"predictions of semantic: {tmp_path / 'odds.npz'}, 4 of 3 × 6 × 8" in out
    said = (
        "semantic, ids of no class: 255 4.2%, of the pixels of 4 frames",
        "6 × 8: add data.frame=[8,8]",
    )
    assert all(words in out for words in said)
    assert not (tmp_path / "a.h5").exists()
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture).std() > 10
    assert [text.get_text() for text in drawn[0].texts].count("error of prediction") == 2
    truth = [made.depth[made.depth > 0] for made in write(tmp_path / "again").values()]
    low, high = np.percentile(np.concatenate([*truth, np.full(4 * 16 * 24, 5)]), (2, 98))
    named = [axes.get_title(loc="left") for axes in drawn[0].axes]
    assert f"depth [m], {low:.3g} to {high:.3g}: 96 % of what is shown" in named
    assert jrn(monkeypatch, *command) == 0
    out = capsys.readouterr().out
    assert all(words in out for words in said)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("semantic=odds", "odds does not exist here, {}/odds does: --prediction semantic={}/odds"),
        ("semantic={}/named", "4 of 4 frames, the first of them hall/1. What it has is called as "
         "hall_1: give id: '{{place}}_{{id}}' in the layout."),
        ("depth={}/depth", "no stated unit. Give the scale, of millimetres --scale depth=0.001."),
    ],
)  # fmt: skip
def test_a_dry_run_looks_at_the_predictions(
    given: str,
    message: str,
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for id in IDS:
        save(mine / f"named/{id.replace('/', '_')}.npy", np.full((3, 6, 8), 1 / 3))
    command = ["cache", "folder", mine, "--layout", mine / "mine.yaml", "--dry-run"]
    command += ["--prediction", given.format(mine), "--out", tmp_path / "a.h5"]
    assert jrn(monkeypatch, *command) == 1
    assert message.format(mine, mine) in capsys.readouterr().err


def test_predictions_are_given_by_modality(
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["cache", "folder", mine, "--layout", mine / "mine.yaml", "--out", tmp_path / "a.h5"]
    assert jrn(monkeypatch, *command) == 2
    assert "no predictions of semantic" in capsys.readouterr().err
    command += [
        "--prediction",
        f"semantic={tmp_path / 'odds.npz'}",
        "--key",
        "semantic=probability",
    ]
    options = ["--source", "semantic=net", "--sampling", "unseen", "--grid"]
    assert jrn(monkeypatch, *command, *options, "semantic=corners") == 0
    with PredictionCache(tmp_path / "a.h5") as cache:
        made = cache.split("train").provenance("semantic")
        assert (made.source, made.sampling, made.alignment) == ("net", "unseen", "corners")
        assert cache.split("train").provenance("depth").source == "it"


def test_what_is_lacking_is_predicted_by_anything(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "even3.py").write_text(
        "import torch\ndef predict(images):\n    return torch.full((len(images), 3, 4, 6), 1 / 3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    command = ["cache", "folder", mine, "--layout", mine / "mine.yaml", "--out", tmp_path / "a.h5"]
    command += ["--predict", "semantic=py:even3:predict", "--sampling", "unseen"]
    assert jrn(monkeypatch, *command, "--only", "train") == 0
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert list(cache.splits) == ["train"]
        made = {m: cache.split("train").provenance(m) for m in cache.modalities}
        assert made["depth"].source == "it"  # as the layout says
        assert (made["semantic"].source, made["semantic"].sampling) == (
            "py:even3:predict",
            "unseen",
        )


def test_normals_are_predicted_by_the_function_of_the_page(
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs/predictors.md").read_text("utf-8")
    (tmp_path / "own.py").write_text(page.split("```python\n# own.py")[1].split("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    given = content()
    given["maps"]["depth"] |= {"camera": {"focal": 20}, "partial": True}
    given["maps"]["normals"] = {"kind": "normals", "derive": "depth"}
    (mine / "mine.yaml").write_text(yaml.safe_dump(given))
    (mine / "depth/hall/2.png").unlink()
    command = ["cache", "folder", mine, "--layout", mine / "mine.yaml", "--modality", "depth"]
    command += ["--modality", "normals", "--out", tmp_path / "a.h5"]
    command += ["--predict", "normals=py:own:normals", "--predict", "depth=py:own:depth"]
    assert jrn(monkeypatch, *command, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "frames without it: 1, the first of them 'hall/2'" in out
    assert "predictions of normals: not looked at in a dry run" in out
    assert jrn(monkeypatch, *command, "--sampling", "unseen", "--force") == 0
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert list(cache.modalities) == ["depth", "normals"]
        found = cache.split("test").prediction("normals", 0)
        np.testing.assert_allclose(found[:, 5, 5], [0, -0.6, -0.8], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "kitti", "--layout", "a.yaml", "--dry-run"], "either --preset or --layout"),
        (["--preset", "kitti"], "give --out, or --dry-run"),
        (["--preset", "kitti", "--dry-run", "--folds", "2"], "belong to --single-task"),
        (["--grid", "semantic=corners"], "needs --prediction semantic=PATH"),
        (["--prediction", "semantics=a.npz"], "Did you mean 'semantic'"),
        (["--prediction", "a.npz"], "give MODALITY=VALUE"),
        (["--sampling", "unseen"], "give MODALITY=VALUE"),
        (["--scale", "semantic=mm", "--prediction", "semantic=a.npz"], "give a number"),
    ],
)
def test_a_wrong_use_is_exit_code_2(
    options: list[str],
    message: str,
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "--preset" not in options:
        options = [*options, "--layout", str(mine / "mine.yaml"), "--out", str(tmp_path / "a.h5")]
    assert jrn(monkeypatch, "cache", "folder", mine, *options) == 2
    assert message in capsys.readouterr().err


def _predicted(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of a miniature with predictions that resemble its truth."""
    written = PRESETS[name][0](root)
    cache, given = root / "a.h5", []
    space = {"cityscapes": 19, "mtan-nyu": 13, "virtual-kitti-2": 14}[name]
    depths = np.stack([np.where(m.depth > 0, m.depth, 5.0) for m in written.values()])
    odds = np.stack(
        [
            0.5 * np.eye(space)[np.where(m.label == 255, 0, m.label)].transpose(2, 0, 1)
            + 0.5 / space
            for m in written.values()
        ]
    )
    for m, maps in (("depth", 1.05 * depths), ("semantic", odds)):
        np.savez(root / f"{m}.npz", index=list(written), prediction=maps.astype(np.float32))
        given += ["--prediction", f"{m}={root / m}.npz"]
    command = ["cache", "folder", root, "--preset", name, "--out", cache, *given]
    assert jrn(monkeypatch, *command) == 0
    return cache


def test_a_preset_from_its_folder_to_the_influence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = _predicted("mtan-nyu", tmp_path, monkeypatch)
    found = job(cache, tmp_path / "job", "arch=cat1", "recipe.epochs=1")
    assert found["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cityscapes", "mtan-nyu", "virtual-kitti-2"])
def test_presets_train_with_run_py(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = _predicted(name, tmp_path, monkeypatch)
    done = run(cache, tmp_path / "runs", "arch=sum60", "recipe.epochs=1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/nyu/sum60/seed0/results.json").is_file()
