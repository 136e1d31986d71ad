"""``jrn audit``: what the published figures imply."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from jrn_lightning.cli.options import written
from jrn_lightning.errors import ConfigError
from jrn_lightning.progress import console


def audit(
    sweep: Annotated[
        Path | None,
        Argument(metavar="[DIR]", help="Folder of a sweep, to set beside.", show_default=False),
    ] = None,
    protocol: Annotated[str, Option(help="Crop of the sweep's figures.")] = "full",
    pooling: Annotated[str, Option(help="pixels or images, likewise.")] = "pixels",
    out: Annotated[
        Path | None, Option(help="A .md or .csv file to write.", show_default=False)
    ] = None,
) -> None:
    """Recompute what the paper's tables imply, and set a sweep's figures beside them.

    The paper's influence numbers tell how good its muted networks are: some are far worse than the
    untouched input, so that most of their ω is damage. Marked too is what lies within the paper's
    own noise, and which denominator its rel(sqr) has.
    """
    from jrn_lightning.analysis.audit import audit as audit_figures
    from jrn_lightning.analysis.summary import published, summarize
    from jrn_lightning.report import audit as report

    writers = {".md": report.markdown, ".csv": report.csv}
    if out is not None and out.suffix not in writers:
        raise ConfigError(f"--out {out}: the file has to end with .md or .csv.")
    if sweep is None and (protocol, pooling) != ("full", "pixels"):
        raise ConfigError("--protocol and --pooling are of a sweep's figures: give its folder too.")
    summary = None
    if sweep is not None:
        from jrn_lightning.analysis.collect import collect

        with console(stderr=True).status("Reading the jobs"):
            summary = summarize(collect(sweep), protocol=protocol, pooling=pooling)
    found = audit_figures(published(), summary)
    console().print(report.terminal(found))
    for job, status, what in summary.problems if summary else ():
        console().print(f"{status}: {job}" + f": {what}" * bool(what), style="red")
    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(writers[out.suffix](found), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--out {out} cannot be written ({error}).") from error
        written([out])
