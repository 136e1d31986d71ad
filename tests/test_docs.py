"""The documentation: its commands run, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.importers import miniatures
from tests.importers.test_nyu import write_folder
from tests.jobs import ROOT

DOCS = ROOT / "docs"
PAGES = [p for p in sorted(DOCS.glob("*.md")) if "```sh" in p.read_text("utf-8")]
PAGES += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
#: in the order of the page: language and text of the blocks that are not excused
_BLOCK = re.compile(r"(<!-- not run: [^>]*-->\n)?^```(sh|python|yaml)\n(.*?)^```$", re.M | re.S)

#: what makes the commands of a page quick; nothing else about them changes
PRELUDE = r"""
set -eu
quick() {
    case "$*" in *data=*) rooms= ;; *) rooms="$ROOMS" ;; esac
    case "$*" in *width-sweep*)  # 64 networks
        rooms="$rooms arch.fusion_channels=1,2 arch.stem_channels=5 seed=0" ;; esac
    "$PYTHON" "$ROOT/run.py" "$@" $rooms trainer.limit_frames=6 recipe.epochs=1 \
        evaluation.resamples=50 trainer.progress=false $OWN
}
python() { if [ "$1" = run.py ]; then shift; OWN= quick "$@"; else "$PYTHON" "$@"; fi; }
jrn() {
    if [ "$1" = run ]; then
        shift
        OWN=; test ! -d conf || OWN="--config-dir conf"
        quick "$@"
    else
        "$PYTHON" -c 'from jrn_lightning.cli import main; main()' "$@"
    fi
}
make() { "$MAKE" --dry-run -C "$ROOT" "$@" > /dev/null; }
"""
ROOMS = ["train_rooms=6", "test_rooms=2", "views=2", "height=48", "width=64"]
NETWORKS = ["image=[48,64]", "stride=4", "width=8", "epochs=1", "folds=2"]


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader has it who has followed the first page, and NYU beside it."""
    folder = tmp_path_factory.mktemp("docs") / "reader"
    folder.mkdir()
    _run(folder, "jrn run -m arch=sum60,cat60 seed=0,1 logger=none")
    cache = next((folder.parent.parent / "home").rglob("rooms-*.h5"))
    (folder / "rooms.h5").hardlink_to(cache)
    write_folder(folder / "NYU")
    shutil.copytree(folder / "NYU" / "rgb", folder / "photographs")
    for id, made in miniatures.cityscapes(folder / "cityscapes").items():
        guess = np.eye(19, dtype=np.float32)[made.label % 19].transpose(2, 0, 1) * 0.5 + 0.5 / 19
        depth = np.where(made.depth > 0, made.depth, 5) * 1.05
        miniatures.save(folder / f"cityscapes/depth/{id}.npy", depth)
        miniatures.save(folder / f"cityscapes/semantic/{id}.npy", guess)
    return folder


@pytest.fixture
def reader(swept: Path, tmp_path: Path) -> Path:
    """A copy of it for one page."""
    return shutil.copytree(swept, tmp_path / "reader", symlinks=True)


def _run(folder: Path, script: str) -> None:
    rooms = [f"data.rooms.{word}" for word in ROOMS]
    rooms += [f"data.single_task.{word}" for word in NETWORKS]
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "ROOT": str(ROOT),
        "ROOMS": " ".join(rooms),
        "MAKE": shutil.which("make") or "true",
        "WANDB_MODE": "offline",
        "JRN_HOME": str(folder.parent.parent / "home"),  # one set of rooms for all pages
    }
    done = subprocess.run(
        ["bash", "-c", PRELUDE + script],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(b[2], b[3]) for b in _BLOCK.finditer(page.read_text("utf-8")) if not b[1]]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_runs(page: Path, reader: Path) -> None:
    script: list[str] = []
    for language, text in blocks(page):
        named = re.match(r"# (\S+\.(?:py|yaml))\n", text)
        if named:  # a file of the reader's
            (reader / named[1]).parent.mkdir(parents=True, exist_ok=True)
            (reader / named[1]).write_text(text, "utf-8")
            if language == "python":
                script.append(f"python {named[1]}")
        elif language == "python":
            name = f"block{len(script)}.py"
            (reader / name).write_text(text, "utf-8")
            script.append(f"python {name}")
        elif language == "sh":
            text = re.sub(r"/data/cityscapes|\bDIR\b", "cityscapes", text)
            script.append(re.sub(r"seed=[0-9,]+", "seed=0", text).replace("--folds 3", "--folds 2"))
    _run(reader, "\n".join(script))


@pytest.mark.slow
def test_the_site_is_built_and_its_notebooks_show_a_sweep(swept: Path, tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    for folder in ("docs", "experiments", "notebooks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("_build"))
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", "site"],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "JRN_SWEEP": str(swept / "runs" / "rooms")},
        timeout=600,
    )
    review = (tmp_path / "site/notebooks/review_sweep.html").read_text("utf-8")
    assert "untouched input" in review
    assert review.count("<img") >= 4
    assert review.count("<table") >= 6  # of the comparison, and data frames
    for page in (tmp_path / "site/notebooks").glob("*.html"):
        text = re.sub(r"<[^>]*>", "", page.read_text("utf-8"))
        # Neither Markdown nor a formula left as it is written, nor where packages lie here.
        assert not re.search(r"\|\s*:?--|\$\S|site-packages", text), page.name


def test_links_and_pictures_are_there() -> None:
    wrong = []
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")):
        if {"_build", "studies", "reference"} & set(page.relative_to(ROOT).parts):
            continue
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            made = re.match(r"http|(\.\./)*(reference|notebooks|studies)/", link)
            if not made and not (page.parent / link).exists():
                wrong.append(f"{page.relative_to(ROOT)}: {link}")
    assert not wrong
