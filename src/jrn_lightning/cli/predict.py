"""``jrn predict``: refine a split of a cache, or a folder of photographs."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.text import Text
from typer import Argument, Option

from jrn_lightning.cli.options import ForceFile
from jrn_lightning.errors import CheckpointError
from jrn_lightning.progress import bar, console, tracked

if TYPE_CHECKING:
    from jrn_lightning.networks.checkpoint import TrainedNetwork

# Repeated here because reading them from the package would import torch.
Size = StrEnum("Size", ["frame", "network"])
Dtype = StrEnum("Dtype", ["float16", "float32"])


def predict(
    checkpoint: Annotated[Path, Argument(help="checkpoints/last.ckpt of a job.")],
    out: Annotated[Path, Option(help="The cache to make.")],
    cache: Annotated[
        Path | None, Argument(help="Prediction cache with the same modalities.")
    ] = None,
    rgb: Annotated[Path | None, Option(help="Folder of photographs, instead of a cache.")] = None,
    single_task: Annotated[
        Path | None,
        Option(
            help="With --rgb: folder of the single-task networks; by default those that predicted "
            "the cache that the job was trained on."
        ),
    ] = None,
    pictures: Annotated[
        Path | None, Option(help="Folder for a picture of every frame; with --rgb <out>-pictures.")
    ] = None,
    split: Annotated[str, Option(help="predict (frames without truth), test, …")] = "predict",
    size: Annotated[
        Size, Option(help="Maps as large as the frame, or as the network gives them.")
    ] = Size.frame,
    dtype: Annotated[Dtype, Option(help="Precision of the maps.")] = Dtype.float16,
    force: ForceFile = False,
) -> None:
    """Refine predictions by a trained network; the result is again a prediction cache.

    It can be refined once more, or evaluated with 'jrn cache info' where there is ground truth.
    With --rgb, single-task networks predict the photographs first.
    """
    if (cache is None) == (rgb is None):
        raise typer.BadParameter("give either a prediction cache or --rgb FOLDER")
    if rgb is None and single_task is not None:
        raise typer.BadParameter("--single-task belongs to --rgb")

    from jrn_lightning.cache import PredictionCache, refuse_existing
    from jrn_lightning.networks.checkpoint import load_network
    from jrn_lightning.predictors.refine import refine

    refuse_existing(out, force)
    trained = load_network(checkpoint)
    with ExitStack() as stack:
        if rgb is not None:
            # Beside the output, on the disk that was chosen for results of this size.
            out.parent.mkdir(parents=True, exist_ok=True)
            beside = tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)
            folder = Path(stack.enter_context(beside))
            cache, split = folder / "predicted.h5", "predict"
            _predict(rgb, single_task or _networks_of(checkpoint), trained, cache)
            pictures = pictures or out.with_name(f"{out.stem}-pictures")
        assert cache is not None
        opened = stack.enter_context(PredictionCache(cache))
        frames = len(opened.split(split))
        height, width = refine(
            trained,
            opened,
            split,
            out,
            size=size.value,
            dtype=dtype.value,
            force=force,
            progress=lambda rows: tracked(rows, "Refining", frames),
        )
        if pictures is not None:
            from jrn_lightning.report.sheet import draw_refined

            with PredictionCache(out) as refined, bar("Drawing", frames) as advance:
                draw_refined(opened, refined, split, pictures, advance)
    what = (
        f": {frames} frames of split '{split}' refined by {trained.name}, "
        f"{', '.join(trained.modalities)} at {height} × {width}, {decimal(out.stat().st_size)}"
    )
    console().print(Text.assemble((str(out), "bold"), what), soft_wrap=True)
    if pictures is not None:
        drawn = Text.assemble((str(pictures), "bold"), ": a picture of every frame")
        console().print(drawn, soft_wrap=True)


def _predict(rgb: Path, networks: Path, trained: TrainedNetwork, out: Path) -> None:
    """The single-task predictions of a folder of photographs, as a cache."""
    from jrn_lightning.predictors.photographs import Photographs, open_networks, predict_photographs

    photographs = Photographs(rgb)
    opened = open_networks(networks, trained.modalities)
    with bar("Predicting", len(photographs.files)) as advance:
        predict_photographs(photographs, opened, out, advance)


def _networks_of(checkpoint: Path) -> Path:
    """The networks that predicted what a job was trained on, from the job's record."""
    from jrn_lightning.records.record import JobRecord

    record = JobRecord.read(checkpoint.absolute().parents[1])
    folder = (record.data or {}).get("single_task")
    if not folder:
        raise CheckpointError(
            f"{checkpoint} does not tell which single-task networks it belongs to. Name their "
            "folder with --single-task."
        )
    return Path(folder)
