"""``jrn influence`` and ``jrn protocols``: what job records say beyond the comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sweep = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a sweep, as runs/nyu.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: jrn influence runs/nyu --protocol eigen --figures")(influence)
    app.command(epilog="Example: jrn protocols runs/nyu")(protocols)


def influence(
    sweep: Sweep,
    protocol: Annotated[
        str, typer.Option(help="Crop to evaluate: one of those that the jobs evaluated.")
    ] = "full",
    pooling: Annotated[
        str, typer.Option(help="pixels: pooled over the test set; images: averaged over images.")
    ] = "pixels",
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw the findings too, as PNG.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; by default into DIR/influence.", show_default=False),
    ] = None,
) -> None:
    """Tell gain from damage: every effect with its interval, where it comes from, and how sure.

    Effects, differences between architectures, mute values, kinds of pixels, dose and response, and
    the frames that gain and lose most, as far as the jobs' records hold them. Prints tables and
    writes them as CSV.
    """
    from rich.console import Console

    from jrn_lightning.analysis.analyse import analyse
    from jrn_lightning.analysis.collect import collect
    from jrn_lightning.analysis.findings import COLUMNS
    from jrn_lightning.analysis.summary import summarize
    from jrn_lightning.report import listing

    console, progress = Console(), Console(stderr=True)
    names = [name for name in COLUMNS if name != "protocols"]
    with progress.status("Reading the jobs") as status:
        comparison = collect(sweep)
        _require_finished(sweep, len(comparison.finished))
        summary = summarize(comparison, protocol=protocol, pooling=pooling)
        status.update("Resampling")
        findings = analyse(comparison, summary, parts=names)
    console.print(listing.terminal(findings))
    folder = out or sweep / listing.FOLDER
    listing.write(findings, folder, names)
    console.print(f"\nwritten: {folder}/*.csv", soft_wrap=True, highlight=False)
    if figures:
        # matplotlib takes a second to import.
        from jrn_lightning.report.page import write_figures

        with progress.status("Drawing"):
            paths = write_figures(findings, folder)
        for path in paths:
            console.print(f"written: {path}", soft_wrap=True, highlight=False)


def protocols(
    sweep: Sweep,
    arch: Annotated[
        str, typer.Option(help="Whose values to print; the file holds all of them.")
    ] = "input",
    published: Annotated[
        bool | None,
        typer.Option(
            "--published/--no-published",
            help="Mark what is nearest to the paper's input; by default where the data is NYU.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; by default into DIR/influence.", show_default=False),
    ] = None,
) -> None:
    """Show every measure under every crop, clipping and masking convention, truth, and pooling.

    It shows which protocol a published number can come from.
    """
    from rich.console import Console

    from jrn_lightning.analysis.analyse import analyse
    from jrn_lightning.analysis.collect import collect
    from jrn_lightning.analysis.summary import summarize
    from jrn_lightning.errors import RecordError
    from jrn_lightning.report import listing

    console = Console()
    with Console(stderr=True).status("Reading the jobs"):
        comparison = collect(sweep)
        _require_finished(sweep, len(comparison.finished))
        first = comparison.tables[comparison.finished[0].folder].protocols[0]
        summary = summarize(comparison, protocol=first, with_published=published)
        findings = analyse(comparison, summary, parts=["protocols"])
    known = list(dict.fromkeys(findings.protocols["arch"]))
    if arch not in known:
        raise RecordError(f"--arch {arch}: {sweep} has none. Choose from: {', '.join(known)}.")
    console.print(listing.protocols(findings, arch))
    (path,) = listing.write(findings, out or sweep / listing.FOLDER, ["protocols"])
    console.print(f"\nwritten: {path}", soft_wrap=True, highlight=False)


def _require_finished(sweep: Path, finished: int) -> None:
    from jrn_lightning.errors import RecordError

    if not finished:
        raise RecordError(
            f"{sweep}: no job has finished, so there is nothing to measure yet. Run the sweep "
            f"again: it goes on where it stopped; `jrn report {sweep}` says what failed."
        )
