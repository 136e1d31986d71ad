"""Writing the comparison of a sweep beside its jobs, after every job and at the end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from jrn_lightning.progress import console
from jrn_lightning.report import answer, files, tables
from jrn_lightning.report.sections import sections
from jrn_lightning.report.sweep import Sweep

log = logging.getLogger(__name__)


def write_comparison(folder: Path, answered: bool = False) -> Sweep:
    """Collect what there is and write tables and figures into the sweep's folder.

    Args:
        folder: of the sweep.
        answered: write the answer, too, which takes longer.

    Raises:
        JRNError: nothing to collect, or nowhere to write.
    """
    sweep = Sweep(folder)
    with console(stderr=True).status("Asking the records"):
        files.write(sweep.summary, folder, sweep.answer if answered else None)
    return sweep


def announce(sweep: Sweep, wandb: dict[str, Any] | None) -> None:
    """The end of a sweep: answer and comparison in the terminal, and one W&B run, ``report``.

    Args:
        sweep: from :func:`write_comparison`.
        wandb: ``project``, ``entity`` and ``mode``; None to do without.
    """
    out = console()
    out.print(answer.terminal(sweep.answer))
    out.print()
    out.print(tables.terminal(sweep.summary))
    for problem in sweep.problems:
        log.warning("%s", problem)
    if wandb is not None and sweep.summary.finished:
        log.info("W&B report: %s", log_sweep(sweep, **wandb))
    out.print(
        f"\nComparison: {sweep.folder / files.MARKDOWN}, {sweep.folder / files.CSV}; figures "
        "beside them.",
        soft_wrap=True,
    )


def log_sweep(sweep: Sweep, **options: Any) -> str:
    """Write the findings of a sweep to W&B, with the figures of its report page.

    Args:
        sweep: what to write.
        options: of :func:`~jrn_lightning.report.wandb.log_report`.

    Returns:
        Where the run lies.
    """
    from jrn_lightning.report.wandb import log_report  # which takes a while to import

    figures = {
        plot.name.replace("->", "_to_"): plot.draw()
        for section in sections(sweep.findings)
        if section.id != "influence"  # the run has its Figure 7 anyway
        for plot in section.figures.plots
    }
    findings = sweep.findings
    return log_report(sweep.summary, sweep.folder, findings=findings, figures=figures, **options)
