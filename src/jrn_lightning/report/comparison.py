"""Writing the comparison of a sweep beside its jobs, after every job and at the end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from jrn_lightning.analysis.analyse import analyse
from jrn_lightning.analysis.collect import collect
from jrn_lightning.analysis.findings import Findings
from jrn_lightning.analysis.summary import Summary, summarize
from jrn_lightning.progress import console
from jrn_lightning.report import answer, files, tables

log = logging.getLogger(__name__)

#: the frames that the answer is made of
ANSWER = ("effects", "differences", "mute_values", "peaks")


def write_comparison(sweep: Path) -> Summary:
    """Collect what there is and write tables and figures into the sweep's folder.

    Raises:
        JRNError: nothing to collect, or nowhere to write.
    """
    comparison = collect(sweep)
    protocols = [job.data["protocols"][0] for job in comparison.finished if job.data]
    summary = summarize(comparison, protocol=protocols[0] if protocols else "full")
    files.write(summary, sweep)
    return summary


def announce(summary: Summary, sweep: Path, wandb: dict[str, Any] | None) -> None:
    """The end of a sweep: answer and comparison in the terminal, and one W&B run, ``report``.

    Args:
        summary: from :func:`write_comparison`.
        sweep: its folder.
        wandb: ``project``, ``entity`` and ``mode``; None to do without.
    """
    out = console()
    with console(stderr=True).status("Asking the records"):
        findings = analyse(collect(sweep), summary, frames=ANSWER if wandb is None else None)
    out.print(answer.terminal(answer.answer(findings)))
    out.print()
    out.print(tables.terminal(summary))
    for problem in findings.problems:
        log.warning("%s", problem)
    if wandb is not None and summary.finished:
        log.info("W&B report: %s", log_findings(findings, sweep, **wandb))
    out.print(
        f"\nComparison: {sweep / files.MARKDOWN}, {sweep / files.CSV}; figures beside them.",
        soft_wrap=True,
    )


def log_findings(findings: Findings, sweep: Path, **options: Any) -> str:
    """Write the findings of a sweep to W&B, with the figures of its report page.

    Args:
        findings: of the sweep.
        sweep: its folder.
        options: of :func:`~jrn_lightning.report.wandb.log_report`.

    Returns:
        Where the run lies.
    """
    from jrn_lightning.report.page import sections
    from jrn_lightning.report.wandb import log_report  # which takes a while to import

    figures = {
        plot.name.replace("->", "_to_"): plot.figure
        for section in sections(findings)
        if section.id != "influence"  # the run has its Figure 7 anyway
        for plot in section.plots()
    }
    return log_report(findings.summary, sweep, findings=findings, figures=figures, **options)
