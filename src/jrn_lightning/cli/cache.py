"""``jrn cache``: build, describe and check prediction caches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from jrn_lightning.data.cache import PredictionCache

# The choices are repeated here because reading them from the data package would import torch.
Sampling = StrEnum("Sampling", ["in-sample", "out-of-fold", "unseen", "unknown"])
Labels = StrEnum("Labels", ["wang5", "structural5"])
Truth = StrEnum("Truth", ["filled", "raw"])

_GRID = "How the samples lie on the frame: area, corners, or OFFSET_Y,STEP_Y,OFFSET_X,STEP_X."
_SAMPLING = "Whether the network was trained on the training frames themselves."
_SOURCE = "Name of the network; the file's name unless given."
_SCALE = "Factor to metres, needed for integers: 0.001 for millimetres."
_KEY = "Name of the array, where the file holds several."

app = typer.Typer(no_args_is_help=True, help="Build, describe and check prediction caches.")


def register(parent: typer.Typer) -> None:
    """Add ``jrn cache``."""
    parent.add_typer(app, name="cache")


@app.command(
    epilog="Example: jrn cache nyu --frames data/nyu --depth depth.npz --semantic semantic.npz "
    "--depth-sampling in-sample --out nyu.h5"
)
def nyu(
    depth: Annotated[Path, typer.Option(help="Predicted depth: .npz, .npy, .mat or a folder.")],
    semantic: Annotated[
        Path, typer.Option(help="Predicted class probabilities: .npz, .npy, .mat or a folder.")
    ],
    out: Annotated[Path, typer.Option(help="The cache to make.")],
    frames: Annotated[
        Path | None, typer.Option(help="Folder of frames: rgb/, depth/, label40/, train.txt, …")
    ] = None,
    mat: Annotated[Path | None, typer.Option(help="nyu_depth_v2_labeled.mat")] = None,
    splits: Annotated[Path | None, typer.Option(help="splits.mat, with --mat.")] = None,
    truth: Annotated[
        Truth, typer.Option(help="Ground truth depth of --mat: in-filled, or raw with its mask.")
    ] = Truth.filled,
    label_space: Annotated[Labels, typer.Option(help="What the labels become.")] = Labels.wang5,
    depth_grid: Annotated[str, typer.Option(help=_GRID)] = "area",
    semantic_grid: Annotated[str, typer.Option(help=_GRID)] = "area",
    depth_source: Annotated[str, typer.Option(help=_SOURCE)] = "",
    semantic_source: Annotated[str, typer.Option(help=_SOURCE)] = "",
    depth_sampling: Annotated[Sampling, typer.Option(help=_SAMPLING)] = Sampling.unknown,
    semantic_sampling: Annotated[Sampling, typer.Option(help=_SAMPLING)] = Sampling.unknown,
    depth_scale: Annotated[float, typer.Option(help=_SCALE)] = 1.0,
    depth_key: Annotated[str | None, typer.Option(help=_KEY)] = None,
    semantic_key: Annotated[str | None, typer.Option(help=_KEY)] = None,
    images: Annotated[bool, typer.Option(help="Store the colour images.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing cache.")] = False,
) -> None:
    """Build a cache from NYU Depth v2 and predictions of its frames.

    The predictions are matched by frame number: an array 'index' beside the maps, the digits of a
    folder's file names, or else their order. They are stored at their own resolution.
    """
    if (frames is None) == (mat is None):
        raise typer.BadParameter("give either --frames or --mat")
    if (mat is None) != (splits is None):
        raise typer.BadParameter("--mat and --splits belong together")
    if truth is Truth.raw and mat is None:
        raise typer.BadParameter("--truth raw needs --mat: a folder of frames has no raw depth")

    from jrn_lightning.data import nyu as importer
    from jrn_lightning.data.cache import PredictionCache, refuse_existing
    from jrn_lightning.data.labels import LABEL_SPACES
    from jrn_lightning.data.sources import open_source

    refuse_existing(out, force)
    space = LABEL_SPACES[label_space]
    data: importer.DataSet
    if frames is not None:
        data = importer.FrameFolder(frames, space)
    else:
        assert mat is not None
        assert splits is not None
        data = importer.LabeledMat(mat, splits, space, raw_depth=truth is Truth.raw)
    kinds = importer.modalities(space)
    total = max(n for numbers in data.splits.values() for n in numbers)
    inputs = {
        importer.DEPTH: importer.Input(
            open_source(
                depth, kinds[importer.DEPTH], frames=total, scale=depth_scale, key=depth_key
            ),
            depth_source or depth.stem,
            depth_sampling,
            depth_grid,
        ),
        importer.SEMANTIC: importer.Input(
            open_source(semantic, kinds[importer.SEMANTIC], frames=total, key=semantic_key),
            semantic_source or semantic.stem,
            semantic_sampling,
            semantic_grid,
        ),
    }
    with _progress("Writing", sum(map(len, data.splits.values()))) as advance:
        importer.build(data, inputs, space, out, images=images, force=force, advance=advance)
    with PredictionCache(out) as cache:
        _summary(cache)


@app.command(epilog="Example: jrn cache info nyu.h5")
def info(
    file: Annotated[Path, typer.Argument(help="The cache.")],
    quality: Annotated[
        bool, typer.Option(help="Compare the predictions with the ground truth (reads all maps).")
    ] = True,
) -> None:
    """Say what is in a cache, and how good its predictions are."""
    from jrn_lightning.data.cache import PredictionCache

    with PredictionCache(file) as cache:
        _summary(cache)
        if quality:
            _quality(cache)


@app.command(epilog="Example: jrn cache check nyu.h5")
def check(file: Annotated[Path, typer.Argument(help="The cache.")]) -> None:
    """Read and validate every sample; exit code 1 and a list if anything is wrong."""
    from jrn_lightning.data.cache import PredictionCache
    from jrn_lightning.data.cache import check as check_all

    with PredictionCache(file) as cache:
        total = sum(len(cache.split(name)) for name in cache.splits)
        with _progress("Checking", total) as advance:
            problems = check_all(cache, advance)
    console = Console()
    for problem in problems:
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    if problems:
        console.print(f"{file}: {len(problems)} problems in {total} frames.", soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"{file}: {total} frames, nothing wrong.", soft_wrap=True)


@contextmanager
def _progress(what: str, total: int) -> Iterator[_Advance]:
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Advance(progress, progress.add_task(what, total=total))


class _Advance:
    """One frame further."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def __call__(self) -> None:
        self._progress.advance(self._task)


def _summary(cache: PredictionCache) -> None:
    console = Console()
    size = cache.path.stat().st_size / 1e6
    console.print(f"{cache.path}  ({size:.1f} MB)", highlight=False, soft_wrap=True)
    height, width = cache.frame
    console.print(f"frame {height} × {width}, content {cache.content_hash[:16]}", highlight=False)
    for name, modality in cache.modalities.items():
        details = "; ".join(f"{k}: {_words(v)}" for k, v in modality.attributes.items())
        line = f"{name}: {modality.kind}, {modality.unit}; {details}".rstrip("; ")
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for key, note in cache.notes.items():
        console.print(f"{key}: {note}", markup=False, highlight=False, soft_wrap=True)

    table = Table("split", "frames", "scenes", "truth", "images")
    inputs = Table("split", "prediction", "grid", "lies", "source", "sampling")
    for name in cache.splits:
        split = cache.split(name)
        table.add_row(
            name,
            str(len(split)),
            str(len(set(split.scenes))),
            "yes" if split.has_targets else "no",
            "yes" if split.has_images else "no",
        )
        for modality_name in cache.modalities:
            spec = split.spec(modality_name)
            inputs.add_row(
                name,
                modality_name,
                " × ".join(map(str, spec.shape[1:])),
                spec.provenance.alignment,
                spec.provenance.source,
                spec.provenance.sampling,
            )
    console.print(table)
    console.print(inputs)


def _quality(cache: PredictionCache) -> None:
    from jrn_lightning.evaluation import evaluate_inputs

    console = Console()
    splits = [name for name in cache.splits if cache.split(name).has_targets]
    if not splits:
        console.print("No split has ground truth to compare with.")
        return
    with _progress("Comparing", sum(len(cache.split(name)) for name in splits)) as advance:

        def counted(rows: Iterable[int]) -> Iterator[int]:
            for row in rows:
                yield row
                advance()

        values = {name: evaluate_inputs(cache, name, counted) for name in splits}
    table = Table(
        "prediction", "measure", *splits, title="Quality of the inputs, pooled over pixels"
    )
    for name, modality in cache.modalities.items():
        for measure in modality.measures:
            row = [values[split][name][measure.name] for split in splits]
            table.add_row(name, measure.label, *(f"{value:.4f}" for value in row))
    console.print(table)


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
