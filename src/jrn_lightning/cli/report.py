"""``jrn report``: the comparison of a sweep, at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: jrn report runs/nyu --protocol eigen")(report)


def report(
    sweep: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a sweep, as runs/nyu.")],
    protocol: Annotated[
        str, typer.Option(help="Crop to evaluate: one of those that the jobs evaluated.")
    ] = "full",
    pooling: Annotated[
        str, typer.Option(help="pixels: pooled over the test set; images: averaged over images.")
    ] = "pixels",
    published: Annotated[
        bool | None,
        typer.Option(
            "--published/--no-published",
            help="The paper's rows beside; by default where the data is NYU.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; by default into DIR.", show_default=False),
    ] = None,
    html: Annotated[
        bool,
        typer.Option("--html", help="Write report.html too: everything on one page, on its own."),
    ] = False,
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Write the comparison to W&B too, as a run of its own.")
    ] = False,
    project: Annotated[str | None, typer.Option(help="W&B project.", show_default=False)] = None,
    entity: Annotated[
        str | None, typer.Option(help="W&B user or team.", show_default=False)
    ] = None,
) -> None:
    """Compare the jobs of a sweep: print answer and tables, write tables and figures into DIR.

    Works at any time: jobs that failed or have not run yet are shown as such.
    """
    from rich.console import Console

    from jrn_lightning.analysis.analyse import analyse
    from jrn_lightning.analysis.collect import collect
    from jrn_lightning.analysis.summary import summarize
    from jrn_lightning.errors import RecordError
    from jrn_lightning.report import answer, files, tables
    from jrn_lightning.report.comparison import ANSWER, log_findings

    console = Console()
    progress = Console(stderr=True)
    with progress.status("Reading the jobs"):
        comparison = collect(sweep)
        summary = summarize(
            comparison, protocol=protocol, pooling=pooling, with_published=published
        )
        findings = analyse(comparison, summary, parts=None if wandb or html else ANSWER)
    sentences = answer.answer(findings)
    console.print(answer.terminal(sentences))
    console.print()
    console.print(tables.terminal(summary))
    console.print()
    with progress.status("Writing tables and figures"):
        paths = files.write(summary, out or sweep)
    for path in paths:
        console.print(f"written: {path}", soft_wrap=True, highlight=False)
    if not summary.finished:
        raise RecordError(
            f"{sweep}: no job has finished, so there is nothing to compare yet. Run the sweep "
            "again: it goes on where it stopped; what failed is said above."
        )
    if html:
        # Imported here since running networks needs all of PyTorch.
        from jrn_lightning.progress import bar
        from jrn_lightning.report.publish import write_page

        path = write_page(comparison, findings, out or sweep, answer=sentences, bar=bar)
        console.print(f"written: {path}", soft_wrap=True, highlight=False)
    if wandb:
        options = {"project": project} if project else {}
        with progress.status("Writing to W&B"):
            where = log_findings(findings, sweep, entity=entity, **options)
        console.print(f"W&B: {where}", soft_wrap=True, highlight=False)
    console.print(f"{summary.finished} of {len(summary.jobs)} jobs are finished.", highlight=False)
