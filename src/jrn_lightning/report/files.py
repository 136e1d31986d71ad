"""The comparison of a sweep as files in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from jrn_lightning.analysis.summary import Summary
from jrn_lightning.errors import RecordError
from jrn_lightning.files import replacing
from jrn_lightning.report import tables
from jrn_lightning.report.answer import Answer

CSV, MARKDOWN = "comparison.csv", "comparison.md"


@contextlib.contextmanager
def writing(folder: Path, what: str) -> Iterator[None]:
    """Make ``folder``, and say what to do where ``what`` cannot be written to it.

    Raises:
        RecordError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise RecordError(
            f"{folder}: {what} cannot be written ({error}). Free space, or choose another "
            "folder (output= of run.py, --out of jrn)."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write ``path`` as a whole, or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write(summary: Summary, folder: Path, said: Answer | None = None) -> list[Path]:
    """Write the tables, and Figure 7 for each direction that was measured.

    Any number of jobs may do so at once: a file is always whole, and the last one wins.

    Args:
        summary: what to write.
        folder: where to, usually the folder of the sweep.
        said: the answer, to stand first.

    Returns:
        The files: CSV, Markdown, then a PNG per direction.

    Raises:
        RecordError: ``folder`` cannot be written to.
    """
    captions = {}
    with writing(folder, "the comparison"):
        if summary.directions:
            # matplotlib takes a second to import, which a sweep without results need not spend.
            from jrn_lightning.report.figures import influence_figures

            for (source, target), figure in influence_figures(summary).items():
                name = f"influence_{source}_to_{target}.png"
                with replacing(folder / name) as temporary:
                    figure.savefig(temporary, format="png")
                captions[f"Performance on {target} against the influence of {source}"] = name
        write_text(folder / MARKDOWN, tables.markdown(summary, captions, said))
        write_text(folder / CSV, tables.csv(summary))
    return [folder / name for name in (CSV, MARKDOWN, *captions.values())]
