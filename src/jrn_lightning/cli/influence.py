"""``jrn influence`` and ``jrn protocols``: what job records say beyond the comparison."""

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
from jrn_lightning.errors import RecordError
from jrn_lightning.progress import console


def influence(
    folder: Folder,
    protocol: Protocol = None,
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
    from jrn_lightning.analysis.findings import COLUMNS
    from jrn_lightning.report import listing
    from jrn_lightning.report.sections import write_figures
    from jrn_lightning.report.sweep import Sweep

    progress = console(stderr=True)
    names = [name for name in COLUMNS if name != "protocols"]
    sweep = Sweep(folder, protocol=protocol, pooling=pooling)
    with progress.status("Reading the jobs") as status:
        require_finished(sweep, "measure")
        status.update("Resampling")
        findings = sweep.findings
    console().print(listing.terminal(findings))
    into = out or folder / listing.FOLDER
    listing.write(findings, into, names)
    console().print()
    written([into / "*.csv"])
    if figures:
        with progress.status("Drawing"):
            paths = write_figures(findings, into)
        written(paths)


def protocols(
    folder: Folder,
    arch: Annotated[
        str, Option(help="Whose values to print; the file holds all of them.")
    ] = "input",
    published: Published = None,
    out: Annotated[
        Path | None,
        Option(help="Where to write; by default into DIR/influence.", show_default=False),
    ] = None,
) -> None:
    """Show every measure under every crop, clipping and masking convention, truth, and pooling.

    It shows which protocol a published number can come from.
    """
    from jrn_lightning.report import listing
    from jrn_lightning.report.sweep import Sweep

    with console(stderr=True).status("Reading the jobs"):
        sweep = Sweep(folder, published=published)
        require_finished(sweep, "measure")
        findings = sweep.findings
    known = list(dict.fromkeys(findings.protocols["arch"]))
    if arch not in known:
        raise RecordError(f"--arch {arch}: {folder} has none. Choose from: {', '.join(known)}.")
    console().print(listing.protocols(findings, arch))
    paths = listing.write(findings, out or folder / listing.FOLDER, ["protocols"])
    console().print()
    written(paths)
