"""``jrn cache``: build, describe and check prediction caches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from jrn_lightning.cli import folder, show
from jrn_lightning.cli.options import (
    ClassesOf,
    Only,
    Predict,
    SamplingOf,
    changes_of,
    restrict,
    specs_of,
)
from jrn_lightning.progress import bar, console

if TYPE_CHECKING:
    from jrn_lightning.cache import CacheSplit, PredictionCache
    from jrn_lightning.importers.frames import DataSet
    from jrn_lightning.predictors.settings import SingleTaskSettings

# The choices are repeated here because reading them from the data package would import torch.
SamplingName = StrEnum("SamplingName", ["in-sample", "out-of-fold", "unseen", "unknown"])
TruthName = StrEnum("TruthName", ["filled", "raw"])

Out = Annotated[Path, Option(help="The cache to make.")]
File = Annotated[Path, Argument(help="The cache.")]
DepthFile = Annotated[Path | None, Option(help="Predicted depth: .npz, .npy, .mat or a folder.")]
SemanticFile = Annotated[Path | None, Option(help="Predicted class probabilities: likewise.")]
_SINGLE_TASK = "Networks to predict with: small, efficientnet_lite0, or timm:NAME."
Folds = Annotated[int | None, Option(help="Number of folds of cross-fitting.")]
Changes = Annotated[
    list[str] | None,
    Option(
        "--set", help="Another value for a setting of the networks, as --set epochs=20. Repeatable."
    ),
]
Frames = Annotated[
    Path | None, Option(help="Folder of frames: rgb/, depth/, label40/, train.txt, …")
]
Truth = Annotated[
    TruthName,
    Option(
        help="Ground truth depth of --mat: in-filled, or raw with its mask. The other one is "
        "stored beside it, for evaluation.grid=true."
    ),
]
InSample = Annotated[
    bool,
    Option(
        "--in-sample",
        help="With networks trained here, to measure what cross-fitting is worth: predict training "
        "frames by networks that were trained on them.",
    ),
]
Partial = Annotated[
    bool, Option(help="Frames of --frames may lack one of their two ground truths.")
]
LabelSpaceName = Annotated[
    str,
    Option(
        "--label-space",
        help="What the labels become: wang5, structural5, nyu13, nyu40, cityscapes19, …, or a YAML "
        "or CSV of one's own, class: [ids or names].",
    ),
]
TruthScale = Annotated[
    float | None,
    Option(
        help="Metres of one step of the depth pictures of --frames, 0 being no reading: 0.001 for "
        "millimetres. Without it they are 8-bit steps of 3.92 cm."
    ),
]
GridText = Annotated[
    str,
    Option(
        help="How the samples lie on the frame: area, corners, or OFFSET_Y,STEP_Y,OFFSET_X,STEP_X."
    ),
]
Source = Annotated[str, Option(help="Name of the network; the file's name unless given.")]
Sampling = Annotated[
    SamplingName, Option(help="Whether the network was trained on the training frames themselves.")
]
Scale = Annotated[
    float, Option(help="Factor to metres, needed for integers: 0.001 for millimetres.")
]
Key = Annotated[str | None, Option(help="Name of the array, where the file holds several.")]
Force = Annotated[
    bool,
    Option(
        "--force",
        help="Replace an existing cache, and networks of other settings; write predictions that "
        "are implausible.",
    ),
]

app = typer.Typer(no_args_is_help=True, help="Build, describe and check prediction caches.")


@app.command(
    epilog="Examples: jrn cache nyu --frames data/nyu --depth depth.npz --semantic semantic.npz "
    "--depth-sampling in-sample --out nyu.h5 · "
    "jrn cache nyu --frames data/nyu --single-task efficientnet_lite0 --folds 3 --out nyu.h5 · "
    "jrn cache nyu --frames data/nyu --predict depth=efficientnet_lite0 --predict "
    "semantic=hf:nvidia/segformer-b0-finetuned-ade-512-512 --classes ade-to-wang5 "
    "--sampling unseen --out nyu.h5"
)
def nyu(
    out: Out,
    predict: Predict = None,
    sampling: SamplingOf = None,
    classes: ClassesOf = None,
    only: Only = None,
    depth: DepthFile = None,
    semantic: SemanticFile = None,
    single_task: Annotated[str | None, Option(help=_SINGLE_TASK)] = None,
    folds: Folds = None,
    setting: Changes = None,
    frames: Frames = None,
    mat: Annotated[Path | None, Option(help="nyu_depth_v2_labeled.mat")] = None,
    splits: Annotated[Path | None, Option(help="splits.mat, with --mat.")] = None,
    truth: Truth = TruthName.filled,
    in_sample: InSample = False,
    partial: Partial = False,
    truth_scale: TruthScale = None,
    label_space: LabelSpaceName = "wang5",
    depth_grid: GridText = "area",
    semantic_grid: GridText = "area",
    depth_source: Source = "",
    semantic_source: Source = "",
    depth_sampling: Sampling = SamplingName.unknown,
    semantic_sampling: Sampling = SamplingName.unknown,
    depth_scale: Scale = 1.0,
    depth_key: Key = None,
    semantic_key: Key = None,
    images: Annotated[bool, Option(help="Store the colour images.")] = True,
    force: Force = False,
) -> None:
    """Build a cache from NYU Depth v2 and predictions of its frames.

    Predictions that are given are matched by frame number: an array 'index' beside the maps, the
    digits of a folder's file names, or else their order. They are stored at their own resolution.
    With --single-task, whatever is not given is predicted by networks that are trained here, each
    training frame by one that has not seen its scene. With --predict, each modality is predicted
    by whatever is named. Stopped, it goes on when called again.
    """
    if single_task is None and not predict and (depth is None or semantic is None):
        raise typer.BadParameter(
            "give --depth and --semantic, --single-task to predict what is not given, or --predict"
        )
    if single_task is None and not predict and (folds or setting or in_sample):
        raise typer.BadParameter("--folds, --set and --in-sample belong to --single-task")
    if (sampling or classes) and not predict:
        raise typer.BadParameter("--sampling and --classes belong to --predict")
    if single_task and depth and semantic:
        raise typer.BadParameter(
            "--depth and --semantic leave nothing to predict: leave one of them out, or "
            "--single-task"
        )
    data = _open_nyu(out, force, frames, mat, splits, truth, label_space, partial, truth_scale)
    restrict(data, only)

    from jrn_lightning.importers.build import Input
    from jrn_lightning.importers.nyu import DEPTH, SEMANTIC
    from jrn_lightning.importers.sources import open_source

    inputs, ids = {}, [frame for split in data.splits.values() for frame in split]
    for name, file, source, known, grid, key, scale in (
        (DEPTH, depth, depth_source, depth_sampling, depth_grid, depth_key, depth_scale),
        (SEMANTIC, semantic, semantic_source, semantic_sampling, semantic_grid, semantic_key, 1.0),
    ):
        if file is not None:
            maps = open_source(file, data.modalities[name], ids=ids, scale=scale, key=key)
            inputs[name] = Input(maps, source or file.stem, known, grid)

    from jrn_lightning.predictors.door import fill_cache

    fill_cache(
        data,
        specs_of(data, inputs, predict, single_task),
        out,
        bar,
        imported=inputs,
        sampling=sampling or (),
        classes=classes or (),
        overrides=changes_of(folds, setting),
        images=images,
        force=force,
        in_sample=in_sample,
    )
    describe(out)


def _open_nyu(
    out: Path,
    force: bool,
    frames: Path | None,
    mat: Path | None,
    splits: Path | None,
    truth: TruthName,
    label_space: str,
    partial: bool,
    truth_scale: float | None,
) -> DataSet:
    """The data set, once nothing is in the way of its cache."""
    if (frames is None) == (mat is None):
        raise typer.BadParameter("give either --frames or --mat")
    if (mat is None) != (splits is None):
        raise typer.BadParameter("--mat and --splits belong together")
    if truth is TruthName.raw and mat is None:
        raise typer.BadParameter("--truth raw needs --mat: a folder of frames has no raw depth")
    if truth_scale is not None and (frames is None or truth_scale <= 0):
        raise typer.BadParameter("--truth-scale belongs to --frames, and is above 0")

    from jrn_lightning.cache import refuse_existing
    from jrn_lightning.importers.labels import space
    from jrn_lightning.importers.nyu import FrameFolder, LabeledMat

    refuse_existing(out, force)
    classes = space(label_space, of="nyu40")
    if frames is not None:
        return FrameFolder(frames, classes, partial=partial, truth_scale=truth_scale)
    assert mat is not None
    assert splits is not None
    return LabeledMat(mat, splits, classes, raw_depth=truth is TruthName.raw)


@app.command(epilog="Example: jrn cache rooms --out rooms.h5")
def rooms(
    out: Out,
    seed: Annotated[int, Option(help="Of the rooms.")] = 0,
    train_rooms: Annotated[int, Option(help="Rooms to train on.")] = 104,
    test_rooms: Annotated[int, Option(help="Rooms to test on.")] = 40,
    views: Annotated[int, Option(help="Frames of each room.")] = 2,
    height: Annotated[int, Option(help="Of a frame, in pixels.")] = 240,
    width: Annotated[int, Option(help="Of a frame, in pixels.")] = 320,
    modality: Annotated[
        list[str] | None, Option(help="One to render and predict; give it once for each.")
    ] = None,
    single_task: Annotated[str, Option(help=_SINGLE_TASK)] = "small",
    folds: Folds = None,
    setting: Changes = None,
    force: Force = False,
) -> None:
    """Render the embedded data set, and predict it with networks trained on it.

    Indoor scenes that follow from the seed alone: nothing is downloaded. It is what run.py uses
    where no other data are named. Stopped, it goes on when called again.
    """
    from jrn_lightning.predictors.fill import build_rooms
    from jrn_lightning.rooms import RoomsSpec

    asked = {"modalities": tuple(modality)} if modality else {}
    spec = RoomsSpec(seed, train_rooms, test_rooms, views, height, width, **asked)
    build_rooms(spec, settings_of(single_task, folds, setting), out, bar, force=force)
    describe(out)


def settings_of(name: str, folds: int | None, changes: list[str] | None) -> SingleTaskSettings:
    """Named single-task settings with the changes of the command line."""
    from jrn_lightning.predictors.settings import named

    return named(name, changes_of(folds, changes))


def describe(path: Path) -> None:
    """What is in a cache that was just written."""
    from jrn_lightning.cache import PredictionCache

    with PredictionCache(path) as cache:
        _summary(cache)
        _quality(cache)


@app.command(epilog="Example: jrn cache info nyu.h5")
def info(
    file: File,
    quality: Annotated[
        bool, Option(help="Compare the predictions with the ground truth (reads all maps).")
    ] = True,
) -> None:
    """Say what is in a cache, and how good its predictions are."""
    from jrn_lightning.cache import PredictionCache

    with PredictionCache(file) as cache:
        _summary(cache)
        if quality:
            _quality(cache)


@app.command(epilog="Example: jrn cache check nyu.h5")
def check(file: File) -> None:
    """Read and validate every sample, and compare predictions with the truth.

    Exit code 1 and a list if anything is wrong.
    """
    from jrn_lightning.cache import PredictionCache
    from jrn_lightning.cache import check as check_all

    with PredictionCache(file) as cache:
        total = sum(len(cache.split(name)) for name in cache.splits)
        with bar("Checking", total) as advance:
            problems = check_all(cache, lambda: advance(1))
        found = [] if problems else list(_implausible(cache))
    problems += [text for text, wrong in found if wrong]
    for text, wrong in found:
        if not wrong:
            _warn(text)
    result = (
        f"{len(problems)} problem{'s' * (len(problems) != 1)} in {total} frames"
        if problems
        else f"{total} frames, nothing wrong"
    )
    for line in (*problems, f"{file}: {result}."):
        console().print(line, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def _summary(cache: PredictionCache) -> None:
    height, width = cache.frame
    lines = [
        f"{cache.path}  ({decimal(cache.path.stat().st_size)})",
        f"frame {height} × {width}, content {cache.content_hash[:16]}",
    ]
    for name, modality in cache.modalities.items():
        details = "; ".join(
            f"{k}: {', '.join(map(str, v)) if isinstance(v, list) else v}"
            for k, v in modality.attributes.items()
        )
        lines.append(f"{name}: {modality.kind}, {modality.unit}; {details}".rstrip("; "))
    lines += [f"{key}: {note}" for key, note in cache.notes.items()]
    splits = Table("split", "frames", "scenes", "truth", "images")
    inputs = Table("split", "prediction", "grid", "lies", "source", "sampling")
    for name in cache.splits:
        split = cache.split(name)
        counts = (str(len(split)), str(len(set(split.scenes))))
        splits.add_row(name, *counts, _truth(split), "yes" if split.has_images else "no")
        for modality_name, spec in split.specs.items():
            made, (_, h, w) = spec.provenance, spec.shape
            inputs.add_row(
                name, modality_name, f"{h} × {w}", made.alignment, made.source, made.sampling
            )
    out = console()
    for line in lines:
        out.print(line, soft_wrap=True)
    out.print(splits)
    out.print(inputs)


def _truth(split: CacheSplit) -> str:
    """Whether there is ground truth, and which where it has names."""
    if not split.has_targets:
        return "no"
    named = "; ".join(f"{m}: {', '.join(names)}" for m, names in split.truths.items())
    return f"yes ({named})" if named else "yes"


def _quality(cache: PredictionCache) -> None:
    from jrn_lightning.evaluation import evaluate_inputs

    splits = [name for name in cache.splits if cache.split(name).has_targets]
    if not splits:
        console().print("No split has ground truth to compare with.")
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
    console().print(table)
    for warning in (*_differences(cache, values), *(text for text, _ in _implausible(cache))):
        _warn(warning)


def _warn(text: str) -> None:
    line = Text.assemble(("warning:", "bold yellow"), f" {text}")
    console().print(line, soft_wrap=True)


def _implausible(cache: PredictionCache) -> Iterator[tuple[str, bool]]:
    """What is implausible, and whether it cannot be meant."""
    from jrn_lightning.importers.plausibility import find_in_cache

    for findings in find_in_cache(cache).values():
        yield from findings


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
                f"network learns from the first how far to trust {name}. With few scenes this may "
                "be chance: compare another choice of them."
            )


app.command(
    epilog="Examples: jrn cache show nyu.h5 --out sheet.png · "
    "jrn cache show nyu.h5 --split train --ids 0003,0004 --out two.png"
)(show.show)
app.command(
    epilog="Examples: jrn cache folder cityscapes --preset cityscapes --dry-run · "
    "jrn cache folder data --layout mine.yaml --prediction depth=depth.npz "
    "--sampling depth=unseen --single-task small --out mine.h5"
)(folder.folder)
app.command(epilog="Example: jrn cache presets")(folder.presets)
