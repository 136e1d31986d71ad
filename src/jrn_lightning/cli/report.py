"""``jrn report``: the comparison of a sweep, at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from jrn_lightning.cli.options import Pooling, Protocol, Sweep, require_finished, written
from jrn_lightning.progress import bar, console


def report(
    sweep: Sweep,
    protocol: Protocol = "full",
    pooling: Pooling = "pixels",
    published: Annotated[
        bool | None,
        Option(
            "--published/--no-published",
            help="The paper's rows beside; by default where the data is NYU.",
            show_default=False,
        ),
    ] = None,
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
    from jrn_lightning.analysis.analyse import analyse
    from jrn_lightning.analysis.collect import collect
    from jrn_lightning.analysis.summary import summarize
    from jrn_lightning.report import answer, files, tables
    from jrn_lightning.report.comparison import ANSWER, log_findings

    terminal, progress = console(), console(stderr=True)
    with progress.status("Reading the jobs"):
        comparison = collect(sweep)
        summary = summarize(
            comparison, protocol=protocol, pooling=pooling, with_published=published
        )
        findings = analyse(comparison, summary, frames=None if wandb or html else ANSWER)
    sentences = answer.answer(findings)
    for part in (answer.terminal(sentences), tables.terminal(summary)):
        terminal.print(part)
        terminal.print()
    with progress.status("Writing tables and figures"):
        paths = files.write(summary, out or sweep)
    written(paths)
    require_finished(sweep, summary.finished, "compare", "what failed is said above")
    if html:
        # Imported here since running networks needs all of PyTorch.
        from jrn_lightning.report.publish import write_page

        written([write_page(comparison, findings, out or sweep, answer=sentences, bar=bar)])
    if wandb:
        options = {"project": project} if project else {}
        with progress.status("Writing to W&B"):
            where = log_findings(findings, sweep, entity=entity, **options)
        terminal.print(f"W&B: {where}", soft_wrap=True)
    terminal.print(f"{summary.finished} of {len(summary.jobs)} jobs are finished.")
