"""``jrn cache show``: a contact sheet of a cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from jrn_lightning.cache import CacheSplit


def register(cache_app: typer.Typer) -> None:
    """Add the command to ``jrn cache``."""
    cache_app.command(
        epilog="Examples: jrn cache show nyu.h5 --out sheet.png · "
        "jrn cache show nyu.h5 --split train --ids 0003,0004 --out two.png"
    )(show)


def show(
    file: Annotated[Path, typer.Argument(help="The cache.")],
    out: Annotated[Path, typer.Option(help="The picture to make, a PNG.")],
    split: Annotated[str, typer.Option(help="test, train, predict, …")] = "test",
    frames: Annotated[
        int | None, typer.Option(min=1, help="How many, spread over the scenes; 8 unless given.")
    ] = None,
    ids: Annotated[
        str | None, typer.Option(help="Names of the frames instead, with commas between.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one shows other frames.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Draw a contact sheet: image, truth, prediction and error map of some frames.

    The number on a prediction is that frame's own measure. Splits without ground truth show
    what there is.
    """
    if frames is not None and ids is not None:
        raise typer.BadParameter("give either --frames or --ids")
    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"--out is {out}, but the picture is a .png")
    names = None if ids is None else [name.strip() for name in ids.split(",") if name.strip()]
    if names == []:
        raise typer.BadParameter("--ids names no frame")

    from jrn_lightning.cache import PredictionCache, refuse_existing
    from jrn_lightning.report import sheet

    refuse_existing(out, force)
    with PredictionCache(file) as cache:
        part = cache.split(split)
        if names is None:
            rows = sheet.choose(part.scenes, 8 if frames is None else frames, seed)
        else:
            rows = sheet.find(part, names)
        title = f"{file.name} · {split} · {len(rows)} of {len(part)} frames"
        sheet.write_sheet(part, rows, out, title=title, subtitle=_sources(part))
    Console().print(
        f"{out}: {len(rows)} of {len(part)} frames of split {split!r}.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _sources(split: CacheSplit) -> str:
    said = []
    for name in split.cache.modalities:
        provenance = split.provenance(name)
        said.append(f"{name} by {provenance.source} ({provenance.sampling})")
    return "predictions: " + ", ".join(said)
