"""The report page of a sweep: analysis, example frames and provenance, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jrn_lightning.report.files import write_text, writing
from jrn_lightning.report.page import NAME, page
from jrn_lightning.report.sweep import Sweep


def write_page(sweep: Sweep, folder: Path, *, bar: Callable[[str, float | None], Any]) -> Path:
    """Write ``report.html``.

    Args:
        sweep: what to show.
        folder: where to.
        bar: makes a progress bar of a text and a total, as :func:`jrn_lightning.progress.bar`.

    Returns:
        The file.

    Raises:
        RecordError: it cannot be written.
    """
    with bar("Refining example frames", None) as advance:
        maps = sweep.gallery(advance=advance)
    with bar("Drawing", None) as advance:
        text = page(
            sweep.findings,
            answer=sweep.answer,
            gallery=maps,
            provenance=provenance(sweep),
            advance=advance,
        )
    with writing(folder, NAME):
        write_text(folder / NAME, text)
    return folder / NAME


def provenance(sweep: Sweep) -> list[tuple[str, str]]:
    """Where the numbers come from: label and text, as the finished jobs recorded it."""
    records = [job.data or {} for job in sweep.records.finished]

    def every(*path: str) -> str:
        """What the jobs have under a key; how many each, where they differ."""
        found: Counter[str] = Counter()
        for record in records:
            value: Any = record
            for part in path:
                value = value.get(part) if isinstance(value, dict) else None
            if value not in (None, "", []):
                found[", ".join(map(str, value)) if isinstance(value, list) else str(value)] += 1
        if len(found) == 1:
            return next(iter(found))
        return "; ".join(f"{text} ({n} jobs)" for text, n in found.items())

    summary = sweep.summary
    versions = list(dict.fromkeys(name for r in records for name in r.get("versions") or {}))
    archs = list(dict.fromkeys(job.arch for job in sweep.records.jobs))
    rows = [
        ("sweep", summary.name),
        ("architectures", ", ".join(archs)),
        ("data", every("data")),
        ("cache", every("cache")),
        ("its contents", every("cache_hash")),
        ("frames, training", every("frames", "train")),
        ("frames, test", every("frames", "test")),
        ("recipe", every("recipe")),
        ("mute value", every("config", "evaluation.mute_value")),
        ("protocol", f"{summary.protocol}, {summary.pooled}"),
        ("device", every("device")),
        ("precision", every("precision")),
        ("versions", " · ".join(f"{name} {every('versions', name)}" for name in versions)),
        (
            "this page",
            f"jrn report DIR --html --protocol {summary.protocol} --pooling {summary.pooling}",
        ),
    ]
    return [(label, text) for label, text in rows if text]
