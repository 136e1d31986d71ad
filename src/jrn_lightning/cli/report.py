"""``jrn report``: the comparison of a sweep, at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from jrn_lightning.cli.options import (
    Folder,
    Pooling,
    Protocol,
    Published,
    require_finished,
    written,
)
from jrn_lightning.progress import bar, console


def report(
    folder: Folder,
    protocol: Protocol = None,
    pooling: Pooling = "pixels",
    published: Published = None,
    out: Annotated[
        Path | None, Option(help="Where to write; by default into DIR.", show_default=False)
    ] = None,
    html: Annotated[
        bool, Option("--html", help="Write report.html too: everything on one page, on its own.")
    ] = False,
    wandb: Annotated[
        bool, Option("--wandb", help="Write the comparison to W&B too, as a run of its own.")
    ] = False,
    project: Annotated[str | None, Option(help="W&B project.", show_default=False)] = None,
    entity: Annotated[str | None, Option(help="W&B user or team.", show_default=False)] = None,
) -> None:
    """Compare the jobs of a sweep: print answer and tables, write tables and figures into DIR.

    Works at any time: jobs that failed or have not run yet are shown as such.
    """
    from jrn_lightning.report import answer, files, tables
    from jrn_lightning.report.comparison import log_sweep
    from jrn_lightning.report.publish import write_page
    from jrn_lightning.report.sweep import Sweep

    terminal, progress = console(), console(stderr=True)
    sweep = Sweep(folder, protocol=protocol, pooling=pooling, published=published)
    with progress.status("Reading the jobs"):
        sentences = sweep.answer
    for part in (answer.terminal(sentences), tables.terminal(sweep.summary)):
        terminal.print(part)
        terminal.print()
    with progress.status("Writing tables and figures"):
        paths = files.write(sweep.summary, out or folder, sentences)
    written(paths)
    require_finished(sweep, "compare", "what failed is said above")
    if html:
        written([write_page(sweep, out or folder, bar=bar)])
    if wandb:
        options = {"project": project} if project else {}
        with progress.status("Writing to W&B"):
            where = log_sweep(sweep, entity=entity, **options)
        terminal.print(f"W&B: {where}", soft_wrap=True)
    summary = sweep.summary
    terminal.print(f"{summary.finished} of {len(summary.jobs)} jobs are finished.")
