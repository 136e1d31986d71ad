"""``jrn predict``: refine a split of a cache, or a folder of photographs."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from jrn_lightning.networks.checkpoint import TrainedNetwork

# Repeated here because reading them from the package would import torch.
Size = StrEnum("Size", ["frame", "network"])
Dtype = StrEnum("Dtype", ["float16", "float32"])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: jrn predict runs/nyu/sum60/seed0/checkpoints/last.ckpt nyu.h5 "
        "--split predict --out refined.h5 · "
        "jrn predict runs/rooms/sum60/seed0/checkpoints/last.ckpt --rgb photos --out refined.h5"
    )(predict)


def predict(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoints/last.ckpt of a job.")],
    out: Annotated[Path, typer.Option(help="The cache to make.")],
    cache: Annotated[
        Path | None, typer.Argument(help="Prediction cache with the same modalities.")
    ] = None,
    rgb: Annotated[
        Path | None, typer.Option(help="Folder of photographs, instead of a cache.")
    ] = None,
    single_task: Annotated[
        Path | None,
        typer.Option(
            help="With --rgb: folder of the single-task networks; by default those that predicted "
            "the cache that the job was trained on."
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for a picture of every frame; with --rgb <out>-pictures."),
    ] = None,
    split: Annotated[str, typer.Option(help="predict (frames without truth), test, …")] = "predict",
    size: Annotated[
        Size, typer.Option(help="Maps as large as the frame, or as the network gives them.")
    ] = Size.frame,
    dtype: Annotated[Dtype, typer.Option(help="Precision of the maps.")] = Dtype.float16,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Refine depth (metres) and class probabilities; the result is again a prediction cache.

    It can be refined once more, or evaluated with 'jrn cache info' where there is ground truth.
    With --rgb, single-task networks predict the photographs first.
    """
    if (cache is None) == (rgb is None):
        raise typer.BadParameter("give either a prediction cache or --rgb FOLDER")
    if rgb is None and single_task is not None:
        raise typer.BadParameter("--single-task belongs to --rgb")

    from jrn_lightning.cache.writer import refuse_existing
    from jrn_lightning.networks.checkpoint import load_network

    refuse_existing(out, force)
    trained = load_network(checkpoint)
    if cache is not None:
        _refine(trained, cache, split, out, size.value, dtype.value, force, pictures)
        return

    from jrn_lightning.predictors.photographs import (
        Photographs,
        open_networks,
        predict_photographs,
    )
    from jrn_lightning.progress import bar

    assert rgb is not None
    photographs = Photographs(rgb)
    networks = open_networks(single_task or _networks_of(checkpoint), trained.modalities)
    with tempfile.TemporaryDirectory() as folder:
        predicted = Path(folder) / "predicted.h5"
        with bar("Predicting", len(photographs.files)) as advance:
            predict_photographs(photographs, networks, predicted, advance)
        drawn = pictures or out.with_name(f"{out.stem}-pictures")
        _refine(trained, predicted, "predict", out, size.value, dtype.value, force, drawn)


def _refine(
    trained: TrainedNetwork,
    cache: Path,
    split: str,
    out: Path,
    size: str,
    dtype: str,
    force: bool,
    pictures: Path | None,
) -> None:
    from jrn_lightning.cache import PredictionCache
    from jrn_lightning.predictors.refine import refine
    from jrn_lightning.progress import bar, tracked

    with PredictionCache(cache) as opened:
        frames = len(opened.split(split))
        height, width = refine(
            trained,
            opened,
            split,
            out,
            size=size,
            dtype=dtype,
            force=force,
            progress=lambda rows: tracked(rows, "Refining", frames),
        )
        if pictures is not None:
            from jrn_lightning.report.sheet import draw_refined

            with PredictionCache(out) as refined, bar("Drawing", frames) as advance:
                draw_refined(opened, refined, split, pictures, advance)
    console = Console()
    console.print(
        f"[bold]{out}[/]: {frames} frames of split '{split}' refined by {trained.name}, "
        f"{', '.join(trained.modalities)} at {height} × {width}, "
        f"{out.stat().st_size / 2**20:.0f} MiB",
        soft_wrap=True,
    )
    if pictures is not None:
        console.print(f"[bold]{pictures}[/]: a picture of every frame", soft_wrap=True)


def _networks_of(checkpoint: Path) -> Path:
    """The networks that predicted what a job was trained on, from the job's record.

    Raises:
        CheckpointError: the record is gone, or names none.
    """
    from jrn_lightning.errors import CheckpointError
    from jrn_lightning.records.record import JobRecord

    record = JobRecord.read(checkpoint.absolute().parents[1])
    folder = (record.data or {}).get("single_task")
    if not folder:
        raise CheckpointError(
            f"{checkpoint} does not tell which single-task networks it belongs to. Name their "
            "folder with --single-task."
        )
    return Path(folder)
