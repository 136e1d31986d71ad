"""``jrn influence`` and ``jrn protocols``: what job records say beyond the comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from jrn_lightning.cli.options import Pooling, Protocol, Sweep, require_finished, written
from jrn_lightning.errors import RecordError
from jrn_lightning.progress import console


def influence(
    sweep: Sweep,
    protocol: Protocol = "full",
    pooling: Pooling = "pixels",
    figures: Annotated[bool, Option("--figures", help="Draw the findings too, as PNG.")] = False,
    out: Annotated[
        Path | None,
        Option(help="Where to write; by default into DIR/influence.", show_default=False),
    ] = None,
) -> None:
    """Tell gain from damage: every effect with its interval, where it comes from, and how sure.

    Effects, differences between architectures, mute values, kinds of pixels, dose and response, and
    the frames that gain and lose most, as far as the jobs' records hold them. Prints tables and
    writes them as CSV.
    """
    from jrn_lightning.analysis.analyse import analyse
    from jrn_lightning.analysis.collect import collect
    from jrn_lightning.analysis.findings import COLUMNS
    from jrn_lightning.analysis.summary import summarize
    from jrn_lightning.report import listing

    progress = console(stderr=True)
    names = [name for name in COLUMNS if name != "protocols"]
    with progress.status("Reading the jobs") as status:
        comparison = collect(sweep)
        what_failed = f"`jrn report {sweep}` says what failed"
        require_finished(sweep, len(comparison.finished), "measure", what_failed)
        summary = summarize(comparison, protocol=protocol, pooling=pooling)
        status.update("Resampling")
        findings = analyse(comparison, summary, frames=names)
    console().print(listing.terminal(findings))
    folder = out or sweep / listing.FOLDER
    listing.write(findings, folder, names)
    console().print()
    written([folder / "*.csv"])
    if figures:
        # matplotlib takes a second to import.
        from jrn_lightning.report.page import write_figures

        with progress.status("Drawing"):
            paths = write_figures(findings, folder)
        written(paths)


def protocols(
    sweep: Sweep,
    arch: Annotated[
        str, Option(help="Whose values to print; the file holds all of them.")
    ] = "input",
    published: Annotated[
        bool | None,
        Option(
            "--published/--no-published",
            help="Mark what is nearest to the paper's input; by default where the data is NYU.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option(help="Where to write; by default into DIR/influence.", show_default=False),
    ] = None,
) -> None:
    """Show every measure under every crop, clipping and masking convention, truth, and pooling.

    It shows which protocol a published number can come from.
    """
    from jrn_lightning.analysis.analyse import analyse
    from jrn_lightning.analysis.collect import collect
    from jrn_lightning.analysis.summary import summarize
    from jrn_lightning.report import listing

    with console(stderr=True).status("Reading the jobs"):
        comparison = collect(sweep)
        what_failed = f"`jrn report {sweep}` says what failed"
        require_finished(sweep, len(comparison.finished), "measure", what_failed)
        first = comparison.tables[comparison.finished[0].folder].protocols[0]
        summary = summarize(comparison, protocol=first, with_published=published)
        findings = analyse(comparison, summary, frames=["protocols"])
    known = list(dict.fromkeys(findings.protocols["arch"]))
    if arch not in known:
        raise RecordError(f"--arch {arch}: {sweep} has none. Choose from: {', '.join(known)}.")
    console().print(listing.protocols(findings, arch))
    paths = listing.write(findings, out or sweep / listing.FOLDER, ["protocols"])
    console().print()
    written(paths)
