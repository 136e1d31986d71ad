"""Writing the comparison of a sweep beside its jobs, after every job and at the end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from jrn_lightning.report import files, tables
from jrn_lightning.report.summary import Summary, summarize
from jrn_lightning.sweep.collect import collect

log = logging.getLogger(__name__)


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
    """The end of a sweep: the comparison in the terminal, and one W&B run of type ``report``.

    Args:
        summary: from :func:`write_comparison`.
        sweep: its folder.
        wandb: ``project``, ``entity`` and ``mode``; None to do without.
    """
    from rich.console import Console

    console = Console()
    console.print(tables.terminal(summary))
    if wandb is not None and summary.finished:
        from jrn_lightning.report.wandb import log_report

        log.info("W&B report: %s", log_report(summary, sweep, **wandb))
    console.print(
        f"\nComparison: {sweep / files.MARKDOWN}, {sweep / files.CSV}; figures beside them.",
        soft_wrap=True,
    )
