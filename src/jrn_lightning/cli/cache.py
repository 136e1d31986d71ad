"""``jrn cache``: build, describe and check prediction caches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table

from jrn_lightning.cli import show

if TYPE_CHECKING:
    from jrn_lightning.cache import CacheSplit, PredictionCache
    from jrn_lightning.predictors.settings import SingleTaskSettings

# The choices are repeated here because reading them from the data package would import torch.
Sampling = StrEnum("Sampling", ["in-sample", "out-of-fold", "unseen", "unknown"])
Labels = StrEnum("Labels", ["wang5", "structural5"])
Truth = StrEnum("Truth", ["filled", "raw"])

_GRID = "How the samples lie on the frame: area, corners, or OFFSET_Y,STEP_Y,OFFSET_X,STEP_X."
_SAMPLING = "Whether the network was trained on the training frames themselves."
_SOURCE = "Name of the network; the file's name unless given."
_SCALE = "Factor to metres, needed for integers: 0.001 for millimetres."
_SINGLE_TASK = "Networks to predict with: small, efficientnet_lite0, or timm:NAME."
_FOLDS = "Number of folds of cross-fitting."
_SET = "Another value for a setting of the networks, as --set epochs=20. Repeatable."
_FORCE = "Replace an existing cache, and networks of other settings."
_KEY = "Name of the array, where the file holds several."

app = typer.Typer(no_args_is_help=True, help="Build, describe and check prediction caches.")


def register(parent: typer.Typer) -> None:
    """Add ``jrn cache``."""
    show.register(app)
    parent.add_typer(app, name="cache")


@app.command(
    epilog="Examples: jrn cache nyu --frames data/nyu --depth depth.npz --semantic semantic.npz "
    "--depth-sampling in-sample --out nyu.h5 · "
    "jrn cache nyu --frames data/nyu --single-task efficientnet_lite0 --folds 3 --out nyu.h5"
)
def nyu(
    out: Annotated[Path, typer.Option(help="The cache to make.")],
    depth: Annotated[
        Path | None, typer.Option(help="Predicted depth: .npz, .npy, .mat or a folder.")
    ] = None,
    semantic: Annotated[
        Path | None, typer.Option(help="Predicted class probabilities: likewise.")
    ] = None,
    single_task: Annotated[str | None, typer.Option(help=_SINGLE_TASK)] = None,
    folds: Annotated[int | None, typer.Option(help=_FOLDS)] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help=_SET)] = None,
    frames: Annotated[
        Path | None, typer.Option(help="Folder of frames: rgb/, depth/, label40/, train.txt, …")
    ] = None,
    mat: Annotated[Path | None, typer.Option(help="nyu_depth_v2_labeled.mat")] = None,
    splits: Annotated[Path | None, typer.Option(help="splits.mat, with --mat.")] = None,
    truth: Annotated[
        Truth,
        typer.Option(
            help="Ground truth depth of --mat: in-filled, or raw with its mask. The other one is "
            "stored beside it, for evaluation.grid=true."
        ),
    ] = Truth.filled,
    in_sample: Annotated[
        bool,
        typer.Option(
            "--in-sample",
            help="With --single-task, to measure what cross-fitting is worth: predict training "
            "frames by networks that were trained on them.",
        ),
    ] = False,
    partial: Annotated[
        bool, typer.Option(help="Frames of --frames may lack one of their two ground truths.")
    ] = False,
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
    force: Annotated[bool, typer.Option("--force", help=_FORCE)] = False,
) -> None:
    """Build a cache from NYU Depth v2 and predictions of its frames.

    Predictions that are given are matched by frame number: an array 'index' beside the maps, the
    digits of a folder's file names, or else their order. They are stored at their own resolution.
    With --single-task, whatever is not given is predicted by networks that are trained here, each
    training frame by one that has not seen its scene. Stopped, it goes on when called again.
    """
    if (frames is None) == (mat is None):
        raise typer.BadParameter("give either --frames or --mat")
    if (mat is None) != (splits is None):
        raise typer.BadParameter("--mat and --splits belong together")
    if truth is Truth.raw and mat is None:
        raise typer.BadParameter("--truth raw needs --mat: a folder of frames has no raw depth")
    if single_task is None and (depth is None or semantic is None):
        raise typer.BadParameter(
            "give --depth and --semantic, or --single-task to predict what is not given"
        )
    if single_task is None and (folds or setting or in_sample):
        raise typer.BadParameter("--folds, --set and --in-sample belong to --single-task")
    if single_task and depth and semantic:
        raise typer.BadParameter(
            "--depth and --semantic leave nothing to predict: leave one of them out, or "
            "--single-task"
        )

    from jrn_lightning.cache import refuse_existing
    from jrn_lightning.importers import nyu as importer
    from jrn_lightning.importers.build import Input, build
    from jrn_lightning.importers.frames import DataSet
    from jrn_lightning.importers.labels import LABEL_SPACES
    from jrn_lightning.importers.sources import open_source
    from jrn_lightning.progress import bar

    refuse_existing(out, force)
    space = LABEL_SPACES[label_space]
    data: DataSet
    if frames is not None:
        data = importer.FrameFolder(frames, space, partial=partial)
    else:
        assert mat is not None
        assert splits is not None
        data = importer.LabeledMat(mat, splits, space, raw_depth=truth is Truth.raw)
    kinds = importer.modalities(space)
    count = max(n for numbers in data.splits.values() for n in numbers)
    inputs = {}
    if depth is not None:
        source = open_source(
            depth, kinds[importer.DEPTH], frames=count, scale=depth_scale, key=depth_key
        )
        inputs[importer.DEPTH] = Input(
            source, depth_source or depth.stem, depth_sampling, depth_grid
        )
    if semantic is not None:
        source = open_source(semantic, kinds[importer.SEMANTIC], frames=count, key=semantic_key)
        inputs[importer.SEMANTIC] = Input(
            source, semantic_source or semantic.stem, semantic_sampling, semantic_grid
        )
    if single_task is None:
        total = sum(map(len, data.splits.values()))
        with bar("Writing the cache", total) as advance:
            build(data, inputs, out, images=images, force=force, advance=lambda: advance(1))
    else:
        from jrn_lightning.predictors.fill import predict_into_cache

        settings = _settings(single_task, folds, setting)
        predict_into_cache(
            data, inputs, settings, out, bar, images=images, force=force, in_sample=in_sample
        )
    _describe(out)


@app.command(epilog="Example: jrn cache rooms --out rooms.h5")
def rooms(
    out: Annotated[Path, typer.Option(help="The cache to make.")],
    seed: Annotated[int, typer.Option(help="Of the rooms.")] = 0,
    train_rooms: Annotated[int, typer.Option(help="Rooms to train on.")] = 104,
    test_rooms: Annotated[int, typer.Option(help="Rooms to test on.")] = 40,
    views: Annotated[int, typer.Option(help="Frames of each room.")] = 2,
    height: Annotated[int, typer.Option(help="Of a frame, in pixels.")] = 240,
    width: Annotated[int, typer.Option(help="Of a frame, in pixels.")] = 320,
    single_task: Annotated[str, typer.Option(help=_SINGLE_TASK)] = "small",
    folds: Annotated[int | None, typer.Option(help=_FOLDS)] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help=_SET)] = None,
    force: Annotated[bool, typer.Option("--force", help=_FORCE)] = False,
) -> None:
    """Render the embedded data set, and predict it with networks trained on it.

    Indoor scenes that follow from the seed alone: nothing is downloaded. It is what run.py uses
    where no other data are named. Stopped, it goes on when called again.
    """
    from jrn_lightning.predictors.fill import build_rooms
    from jrn_lightning.progress import bar
    from jrn_lightning.rooms import RoomsSpec

    spec = RoomsSpec(seed, train_rooms, test_rooms, views, height, width)
    build_rooms(spec, _settings(single_task, folds, setting), out, bar, force=force)
    _describe(out)


def _settings(name: str, folds: int | None, changes: list[str] | None) -> SingleTaskSettings:
    """Named single-task settings with the changes of the command line."""
    from omegaconf import OmegaConf

    from jrn_lightning.predictors.settings import named

    values: dict[str, Any] = {} if folds is None else {"folds": folds}
    for change in changes or ():
        if "=" not in change:
            raise typer.BadParameter(f"--set {change}: give KEY=VALUE, as --set epochs=20")
        values |= cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.from_dotlist([change])))
    return named(name, values)


def _describe(path: Path) -> None:
    from jrn_lightning.cache import PredictionCache

    with PredictionCache(path) as cache:
        _summary(cache)
        _quality(cache)


@app.command(epilog="Example: jrn cache info nyu.h5")
def info(
    file: Annotated[Path, typer.Argument(help="The cache.")],
    quality: Annotated[
        bool, typer.Option(help="Compare the predictions with the ground truth (reads all maps).")
    ] = True,
) -> None:
    """Say what is in a cache, and how good its predictions are."""
    from jrn_lightning.cache import PredictionCache

    with PredictionCache(file) as cache:
        _summary(cache)
        if quality:
            _quality(cache)


@app.command(epilog="Example: jrn cache check nyu.h5")
def check(file: Annotated[Path, typer.Argument(help="The cache.")]) -> None:
    """Read and validate every sample; exit code 1 and a list if anything is wrong."""
    from jrn_lightning.cache import PredictionCache
    from jrn_lightning.cache import check as check_all
    from jrn_lightning.progress import bar

    with PredictionCache(file) as cache:
        total = sum(len(cache.split(name)) for name in cache.splits)
        with bar("Checking", total) as advance:
            problems = check_all(cache, lambda: advance(1))
    console = Console()
    for problem in problems:
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    if problems:
        console.print(f"{file}: {len(problems)} problems in {total} frames.", soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"{file}: {total} frames, nothing wrong.", soft_wrap=True)


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
            _truth(split),
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


def _truth(split: CacheSplit) -> str:
    """Whether there is ground truth, and which where it has names."""
    if not split.has_targets:
        return "no"
    named = "; ".join(f"{m}: {', '.join(names)}" for m, names in split.truths.items())
    return f"yes ({named})" if named else "yes"


def _quality(cache: PredictionCache) -> None:
    from jrn_lightning.evaluation import evaluate_inputs
    from jrn_lightning.progress import bar

    console = Console()
    splits = [name for name in cache.splits if cache.split(name).has_targets]
    if not splits:
        console.print("No split has ground truth to compare with.")
        return
    with bar("Comparing with the truth", sum(len(cache.split(n)) for n in splits)) as advance:

        def counted(rows: Iterable[int]) -> Iterator[int]:
            for row in rows:
                yield row
                advance(1)

        values = {name: evaluate_inputs(cache, name, counted) for name in splits}
    table = Table(
        "prediction", "measure", *splits, title="Quality of the inputs, pooled over pixels"
    )
    for name, modality in cache.modalities.items():
        for measure in modality.measures:
            row = [values[split][name][measure.name] for split in splits]
            table.add_row(name, measure.label, *(f"{value:.4f}" for value in row))
    console.print(table)
    for warning in _differences(cache, values):
        console.print(f"[bold yellow]warning:[/] {warning}", soft_wrap=True)


def _differences(
    cache: PredictionCache, values: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> Iterator[str]:
    """A sentence for each modality whose quality differs between training and test frames."""
    if not {"train", "test"} <= set(values):
        return
    for name, modality in cache.modalities.items():
        measure = modality.measures[0]
        train, test = (values[split][name][measure.name] for split in ("train", "test"))
        if test and abs(train - test) > abs(test) / 6:
            sampling = cache.split("train").provenance(name).sampling
            yield (
                f"{name}: {measure.label} is {train:.3f} on the training frames and {test:.3f} on "
                f"the test frames ({sampling} predictions), more than a sixth apart. A refinement "
                f"network learns from the first how far to trust {name}."
            )


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
