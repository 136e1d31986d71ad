"""Options that several commands share, and how they tell what was written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Argument, Option

from jrn_lightning.errors import RecordError
from jrn_lightning.progress import console

if TYPE_CHECKING:
    from jrn_lightning.importers.frames import DataSet
    from jrn_lightning.report.sweep import Sweep

Folder = Annotated[Path, Argument(metavar="DIR", help="Folder of a sweep, as runs/nyu.")]
Protocol = Annotated[
    str | None,
    Option(help="Crop: one of those that the jobs evaluated; by default their first."),
]
Published = Annotated[
    bool | None,
    Option(
        "--published/--no-published",
        help="The paper's rows beside; by default where the data is NYU.",
        show_default=False,
    ),
]
Pooling = Annotated[
    str, Option(help="pixels: pooled over the test set; images: averaged over images.")
]
Predict = Annotated[
    list[str] | None,
    Option(
        metavar="MODALITY=PREDICTOR",
        help="What predicts a modality: hf:NAME (transformers), py:module:function, fcn:FILE, "
        "eigen-fergus:FILE, efficientnet_lite0, small or timm:NAME (trained here), or a file of "
        "predictions. Repeatable; docs/predictors.md has them all.",
    ),
]
SamplingOf = Annotated[
    list[str] | None,
    Option(
        metavar="[MODALITY=]SAMPLING",
        help="With --predict: whether the network was trained on these training frames: "
        "in-sample, unseen, unknown.",
    ),
]
ClassesOf = Annotated[
    list[str] | None,
    Option(
        metavar="[MODALITY=]LABELS",
        help="With --predict: the label space that has the network's classes for members: "
        "ade-to-wang5, wang5 for NYU-40, or a YAML or CSV of one's own.",
    ),
]
Only = Annotated[list[str] | None, Option(metavar="SPLIT", help="Only the frames of this split.")]
ForceFile = Annotated[bool, Option("--force", help="Replace an existing file.")]


def written(paths: Iterable[object]) -> None:
    """Name the files, each on a line that is never broken."""
    for path in paths:
        console().print(f"written: {path}", soft_wrap=True)


def require_finished(sweep: Sweep, what: str, where: str = "") -> None:
    """Refuse a sweep of which no job has finished.

    Raises:
        RecordError: says ``what`` cannot be done, and ``where`` it is told what failed.
    """
    if not sweep.records.finished:
        where = where or f"`jrn report {sweep.folder}` says what failed"
        raise RecordError(
            f"{sweep.folder}: no job has finished, so there is nothing to {what} yet. Run the "
            f"sweep again: it goes on where it stopped; {where}."
        )


def restrict(data: DataSet, only: list[str] | None) -> None:
    """Leave the splits that --only names."""
    if unknown := [name for name in only or () if name not in data.splits]:
        raise typer.BadParameter(
            f"--only {unknown[0]}: {data.path} has the splits {', '.join(data.splits)}"
        )
    data.splits = {k: v for k, v in data.splits.items() if not only or k in only}


def specs_of(
    data: DataSet, given: Iterable[str], predict: list[str] | None, single_task: str | None
) -> list[str]:
    """What --predict names, and --single-task for every modality that nothing else predicts."""
    specs = predict or []
    known = {*given, *(spec.partition("=")[0] for spec in specs)}
    if single_task is None:
        return specs

    from jrn_lightning.predictors.settings import named

    named(single_task)  # it is one of those, and no other predictor
    return specs + [f"{name}={single_task}" for name in data.modalities if name not in known]


def changes_of(folds: int | None, changes: list[str] | None) -> dict[str, Any]:
    """Keys and values of --folds and --set."""
    from omegaconf import OmegaConf

    values: dict[str, Any] = {} if folds is None else {"folds": folds}
    for change in changes or ():
        if "=" not in change:
            raise typer.BadParameter(f"--set {change}: give KEY=VALUE, as --set epochs=20")
        values |= cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.from_dotlist([change])))
    return values
