"""The comparison of a sweep as files in its folder."""

from __future__ import annotations

from pathlib import Path

from jrn_lightning.analysis.summary import Summary
from jrn_lightning.errors import RecordError
from jrn_lightning.files import replacing
from jrn_lightning.report import tables

CSV, MARKDOWN = "comparison.csv", "comparison.md"


def write(summary: Summary, folder: Path) -> list[Path]:
    """Write the tables, and Figure 7 for each direction that was measured.

    Any number of jobs may do so at once: a file is always whole, and the last one wins.

    Args:
        summary: what to write.
        folder: where to, usually the folder of the sweep.

    Returns:
        The files: CSV, Markdown, then a PNG per direction.

    Raises:
        RecordError: ``folder`` cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write(summary, folder)
    except OSError as error:
        raise RecordError(
            f"{folder}: the comparison cannot be written ({error}). Free space, or choose another "
            "folder with --out."
        ) from error


def _write(summary: Summary, folder: Path) -> list[Path]:
    paths, captions = [], {}
    if summary.directions:
        # matplotlib takes a second to import, which a sweep without results need not spend.
        from jrn_lightning.report.figures import influence_figures

        for (source, target), figure in influence_figures(summary).items():
            path = folder / f"influence_{source}_to_{target}.png"
            with replacing(path) as temporary:
                figure.savefig(temporary, format="png")
            paths.append(path)
            captions[f"Performance on {target} against the influence of {source}"] = path.name
    for name, text in ((MARKDOWN, tables.markdown(summary, captions)), (CSV, tables.csv(summary))):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        paths.insert(0, folder / name)
    return paths
