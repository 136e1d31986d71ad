"""The notebooks run on a small sweep, show what is in it, and leave it as it is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from jrn_lightning import Sweep
from jrn_lightning.report.sections import NAMES
from tests.jobs import ROOT

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def execute(notebook: NotebookNode, sweep: Path, patch: pytest.MonkeyPatch) -> NotebookNode:
    patch.setenv("JRN_SWEEP", str(sweep))
    patch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # else it warns that it will one day
    patch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")  # tqdm's, where transformers is
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    asyncio.run(client.async_execute())
    return notebook


def outputs(notebook: NotebookNode, kind: str) -> list[str]:
    """All that was shown as this media type, or as ``text`` that was printed."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if kind == "text" and output.output_type == "stream":
                assert output.name == "stdout", output.text  # a warning
                found.append(output.text)
            found += [output.data[kind]] if kind in output.get("data", {}) else []
    return found


def files(sweep: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sweep.rglob("*")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def review(sweep: Path, patch: pytest.MonkeyPatch) -> NotebookNode:
    before = files(sweep)
    executed = execute(read("review_sweep"), sweep, patch)
    assert files(sweep) == before
    return executed


def test_the_review_shows_the_answer(review: NotebookNode, sweep: Path) -> None:
    known = Sweep(sweep)
    shown = "\n".join(outputs(review, "text/markdown"))
    for sentence in known.answer:
        assert sentence in shown
    miou = known.comparison.set_index("arch").loc["cat5", "semantic/mean_iou"].iloc[0]
    assert f"{100 * miou:.2f}" in shown


def images(notebook: NotebookNode, code: str) -> list[str]:
    """Names of the figures that the one cell with this code shows."""
    (cell,) = [cell for cell in notebook.cells if code in cell.source]
    return re.findall(r'<img alt="(.*?)"', cell.outputs[0].data["text/html"])


def test_the_review_draws_every_section(review: NotebookNode) -> None:
    drawn = {name: images(review, f'plot("{name}")') for name in NAMES}
    assert {name for name, figures in drawn.items() if len(figures) >= 2} == set(NAMES) - {"ladder"}
    assert not drawn["ladder"]  # was not measured, and the notebook says what would
    assert any("oracle-ladder" in text for text in outputs(review, "text/html"))
    assert len(images(review, "panel(")) > 1


def test_one_cell_picks_architectures_and_frames(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = read("review_sweep")
    (cell,) = [cell for cell in notebook.cells if "pick" in cell.metadata.get("tags", ())]
    frame = Sweep(sweep).images["id"].iloc[2]
    cell.source += f'\nARCHITECTURES, FRAMES = ["cat1"], ["{frame}"]'
    # What is not needed to see the picks takes time.
    notebook.cells = [c for c in notebook.cells if "plot(" not in c.source]
    executed = execute(notebook, sweep, monkeypatch)
    assert any("Shown: cat1\n" in text for text in outputs(executed, "text"))
    (table,) = [text for text in outputs(executed, "text/markdown") if "# Comparison" in text]
    assert "| cat5" not in table.split("published")[0]
    assert images(executed, "panel(") == [f"frame/{frame}"]


def test_the_tutorial_measures_by_hand_what_the_records_say(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(sweep)
    executed = execute(read("influence_tutorial"), sweep, monkeypatch)
    assert files(sweep) == before
    (printed,) = [text for text in outputs(executed, "text") if "by hand" in text]
    by_hand, recorded = re.findall(r"[+-]\d+\.\d{4}", printed)
    assert by_hand == recorded
    for code, least in (("panel(", 1), ('plot("mute-values")', 2), ('plot("gain")', 2)):
        assert len(images(executed, code)) >= least
    (cell,) = [cell for cell in executed.cells if "any-model" in cell.metadata.get("tags", ())]
    lines = re.findall(r"<tr.*?</tr>", cell.outputs[0].data["text/html"], re.DOTALL)
    head, *rows = (re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line) for line in lines)
    table = pd.DataFrame(rows, columns=head)
    found = table.set_index(["mute_value", "source"])["value"].astype(float)
    assert found["zero", "semantic"] == found["mean", "semantic"] == 0
    assert 0 < found["mean", "depth"] < found["zero", "depth"] - 20
