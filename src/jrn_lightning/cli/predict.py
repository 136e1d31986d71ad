"""``jrn predict``: refine a split of a cache with a trained network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

# Repeated here because reading them from the package would import torch.
Size = StrEnum("Size", ["frame", "network"])
Dtype = StrEnum("Dtype", ["float16", "float32"])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: jrn predict runs/nyu/sum60/seed0/checkpoints/last.ckpt nyu.h5 "
        "--split predict --out refined.h5"
    )(predict)


def predict(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoints/last.ckpt of a job.")],
    cache: Annotated[Path, typer.Argument(help="Prediction cache with the same modalities.")],
    out: Annotated[Path, typer.Option(help="The cache to make.")],
    split: Annotated[str, typer.Option(help="predict (frames without truth), test, …")] = "predict",
    size: Annotated[
        Size, typer.Option(help="Maps as large as the frame, or as the network gives them.")
    ] = Size.frame,
    dtype: Annotated[Dtype, typer.Option(help="Precision of the maps.")] = Dtype.float16,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Refine depth (metres) and class probabilities; the result is again a prediction cache.

    It can be refined once more, or evaluated with 'jrn cache info' where there is ground truth.
    """
    from jrn_lightning.data.cache import PredictionCache
    from jrn_lightning.refine import load_network, refine

    trained = load_network(checkpoint)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with PredictionCache(cache) as opened, Progress(*columns, console=Console(stderr=True)) as bar:
        frames = len(opened.split(split))
        height, width = refine(
            trained,
            opened,
            split,
            out,
            size=size.value,
            dtype=dtype.value,
            force=force,
            progress=lambda rows: bar.track(rows, total=frames, description="refining"),
        )
    Console().print(
        f"[bold]{out}[/]: {frames} frames of split '{split}' refined by {trained.name}, "
        f"{', '.join(trained.modalities)} at {height} × {width}, "
        f"{out.stat().st_size / 2**20:.0f} MiB",
        soft_wrap=True,
    )
