"""``jrn compare``: two sweeps over the same test frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

from jrn_lightning.cli.options import written
from jrn_lightning.errors import ConfigError
from jrn_lightning.progress import console


def compare(
    first: Annotated[Path, Argument(help="Folder of a sweep.")],
    second: Annotated[Path, Argument(help="Folder of another, over the same test frames.")],
    protocol: Annotated[str, Option(help="Crop to evaluate.")] = "full",
    out: Annotated[Path | None, Option(help="A .csv file to write.")] = None,
) -> None:
    """Say how much better the first sweep's networks are than the second's.

    Paired by architecture, seed and test frame; 95 % intervals over seeds and scenes. Units are
    those of A: percent, or minus a hundred times an error.
    """
    from jrn_lightning.analysis.paired import compare as compare_sweeps

    if out is not None and out.suffix != ".csv":
        raise ConfigError(f"--out {out}: the file has to end with .csv.")
    rows = compare_sweeps(first, second, protocol)
    heads = ("architecture", "seeds", "measure", first.name, second.name, "difference of A", "95 %")
    table = Table(*heads, title=f"{first} against {second}, protocol {protocol}")
    for row in rows[rows["in_table"]].to_dict("records"):
        table.add_row(
            str(row["arch"]),
            str(row["seeds"]),
            f"{row['modality']} {row['label']}",
            f"{row['first']:.4f}",
            f"{row['second']:.4f}",
            f"{row['value']:+.3f}",
            f"[{row['low']:+.3f}, {row['high']:+.3f}]",
        )
    console().print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        rows.drop(columns=["label", "in_table"]).to_csv(out, index=False)
        written([out])
