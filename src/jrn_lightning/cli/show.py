"""``jrn cache show``: a contact sheet of a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from jrn_lightning.cli.options import ForceFile
from jrn_lightning.progress import console


def show(
    file: Annotated[Path, Argument(help="The cache.")],
    out: Annotated[Path, Option(help="The picture to make, a PNG.")],
    split: Annotated[str, Option(help="test, train, predict, …")] = "test",
    frames: Annotated[
        int | None, Option(min=1, help="How many, spread over the scenes; 8 unless given.")
    ] = None,
    ids: Annotated[
        str | None, Option(help="Names of the frames instead, with commas between.")
    ] = None,
    seed: Annotated[int, Option(min=0, help="Another one shows other frames.")] = 0,
    force: ForceFile = False,
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
        sources = {m: spec.provenance for m, spec in part.specs.items()}
        said = ", ".join(f"{m} by {p.source} ({p.sampling})" for m, p in sources.items())
        frames_shown = list(sheet.read({sheet.PREDICTION: part}, rows))
        subtitle = f"predictions: {said}"
        sheet.write(frames_shown, cache.modalities, out, title=title, subtitle=subtitle)
    drawn = f"{out}: {len(rows)} of {len(part)} frames of split {split!r}."
    console().print(drawn, soft_wrap=True)
