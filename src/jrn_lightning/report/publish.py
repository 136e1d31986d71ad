"""The report page of a sweep: analysis, example frames and provenance, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jrn_lightning import keys
from jrn_lightning.analysis.collect import Sweep
from jrn_lightning.analysis.findings import Findings
from jrn_lightning.report.examples import gallery
from jrn_lightning.report.files import write_text, writing
from jrn_lightning.report.gallery import picks
from jrn_lightning.report.page import NAME, page

_ARCHS = 6  # whose maps are shown


def write_page(
    comparison: Sweep,
    findings: Findings,
    folder: Path,
    *,
    answer: Sequence[str] = (),
    bar: Callable[[str, float | None], Any],
) -> Path:
    """Write ``report.html``.

    Args:
        comparison: the collected sweep.
        findings: of its analysis.
        folder: where to.
        answer: sentences that answer the sweep's question.
        bar: makes a progress bar of a text and a total, as :func:`jrn_lightning.progress.bar`.

    Returns:
        The file.

    Raises:
        RecordError: it cannot be written.
    """
    chosen = picks(findings.images)
    table = findings.summary.architectures
    archs = [str(a) for a in table["arch"] if a != keys.UNTOUCHED]
    # An example that speaks of two architectures has to show both.
    named = [a for pick in chosen for a in pick.archs]
    shown = [a for a in archs if a in set(list(dict.fromkeys([*named, *archs]))[:_ARCHS])]
    with bar("Refining example frames", len(shown)) as advance:
        maps = gallery(comparison, chosen, shown, advance)
    with bar("Drawing", None) as advance:
        text = page(
            findings,
            answer=answer,
            gallery=maps,
            provenance=provenance(comparison, findings),
            advance=advance,
        )
    with writing(folder, NAME):
        write_text(folder / NAME, text)
    return folder / NAME


def provenance(comparison: Sweep, findings: Findings) -> list[tuple[str, str]]:
    """Where the numbers come from: label and text, as the finished jobs recorded it."""
    records = [job.data or {} for job in comparison.finished]

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

    summary = findings.summary
    versions = list(dict.fromkeys(name for r in records for name in r.get("versions") or {}))
    archs = list(dict.fromkeys(job.arch for job in comparison.jobs))
    rows = [
        ("sweep", str(comparison.name)),
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
