"""``jrn cache folder``: any data set, by its layout."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from jrn_lightning import keys
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
    from jrn_lightning.importers.build import Input
    from jrn_lightning.importers.folder import Folder, Survey


def folder(
    root: Annotated[Path, Argument(metavar="DIR", help="The data set.")],
    out: Annotated[Path | None, Option(help="The cache to make.")] = None,
    preset: Annotated[
        str | None, Option(help="A known layout; jrn cache presets lists them.")
    ] = None,
    layout: Annotated[
        Path | None, Option(help="A layout of one's own, a YAML: see docs/your-data.md.")
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Say what would be read, and draw a contact sheet.")
    ] = False,
    modality: Annotated[
        list[str] | None,
        Option(help="One of the layout's maps to take, all unless given. Repeatable."),
    ] = None,
    label_space: Annotated[
        str | None, Option(help="Other classes: a name, or a YAML or CSV of one's own.")
    ] = None,
    partial: Annotated[bool, Option(help="A frame may lack a ground truth.")] = False,
    prediction: Annotated[
        list[str] | None,
        Option(
            metavar="MODALITY=PATH", help="Predictions: a file of all, or a folder. Repeatable."
        ),
    ] = None,
    predict: Predict = None,
    source: Annotated[
        list[str] | None, Option(metavar="MODALITY=NAME", help="The network that made them.")
    ] = None,
    sampling: SamplingOf = None,
    classes: ClassesOf = None,
    only: Only = None,
    grid: Annotated[
        list[str] | None,
        Option(metavar="MODALITY=GRID", help="area, corners or OY,SY,OX,SX; area unless given."),
    ] = None,
    scale: Annotated[
        list[str] | None, Option(metavar="MODALITY=FACTOR", help="Factor to the units, as metres.")
    ] = None,
    key: Annotated[
        list[str] | None,
        Option(metavar="MODALITY=NAME", help="The array, in a file that holds several."),
    ] = None,
    single_task: Annotated[
        str | None,
        Option(help="Networks for what is not given: small, efficientnet_lite0, or timm:NAME."),
    ] = None,
    folds: Annotated[int | None, Option(help="Number of folds of cross-fitting.")] = None,
    setting: Annotated[
        list[str] | None, Option("--set", help="Another value for a setting, as --set epochs=20.")
    ] = None,
    in_sample: Annotated[
        bool, Option("--in-sample", help="Predict training frames by networks that saw them.")
    ] = False,
    images: Annotated[bool, Option(help="Store the colour images.")] = True,
    force: Annotated[bool, Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Build a cache from any data set and predictions of its frames.

    Where everything lies, and what its numbers mean, says a layout: one that is known, or a short
    YAML of one's own. Try it with --dry-run first.
    """
    if (preset is None) == (layout is None):
        raise typer.BadParameter("give either --preset or --layout")
    if out is None and not dry_run:
        raise typer.BadParameter("give --out, or --dry-run to see what would be read")
    if single_task is None and not predict and (folds or setting or in_sample):
        raise typer.BadParameter("--folds, --set and --in-sample belong to --single-task")

    from jrn_lightning.cache import PredictionCache, refuse_existing
    from jrn_lightning.importers import layout as layouts
    from jrn_lightning.importers.folder import Folder, survey

    if out is not None and not dry_run:
        refuse_existing(out, force)
    given = layouts.preset(preset) if preset is not None else layouts.load(layout or Path())
    if modality:
        given = layouts.only(given, modality)
    data = Folder(root, given, partial=partial, labels=label_space)
    restrict(data, only)
    chosen = {text.partition("=")[0] for text in predict or ()}
    known: list[str] = []
    others: list[str] = []
    for text in sampling or ():
        name, equals, _ = text.partition("=")
        if prediction and not equals and not chosen:  # of all that are given
            others += [f"{p.partition('=')[0]}={text}" for p in prediction]
        else:
            (known if name in chosen or (chosen and not equals) else others).append(text)
    inputs = {m: made for m, made in data.predictions().items() if m not in chosen}
    inputs |= _inputs(data, prediction, source, others, grid, scale, key)
    if dry_run:
        made = chosen if single_task is None else {*data.modalities} - {*inputs}
        _tell(data, inputs, made, (out or Path("dry-run")).with_suffix(".png"), force)
        return
    assert out is not None
    surveyed = survey(data)
    lacking = [m for m in data.modalities if m not in {*inputs, *chosen}]
    if lacking and single_task is None:
        raise typer.BadParameter(
            f"no predictions of {', '.join(lacking)}: give --prediction {lacking[0]}=PATH, "
            f"--predict {lacking[0]}=PREDICTOR, or --single-task to train networks for them"
        )

    from jrn_lightning.cli.cache import describe
    from jrn_lightning.predictors.door import fill_cache

    fill_cache(
        data,
        specs_of(data, inputs, predict, single_task),
        out,
        bar,
        imported=inputs,
        sampling=known,
        classes=classes or (),
        overrides=changes_of(folds, setting),
        images=images,
        force=force,
        in_sample=in_sample,
    )
    describe(out)
    _left_out(surveyed)
    _remarks(data)
    with PredictionCache(out) as cache:
        specs = next(cache.split(name) for name in cache.splits).specs
        _size(data, [spec.shape for spec in specs.values()])


def presets() -> None:
    """List the layouts that are known."""
    from jrn_lightning.importers import layout as layouts

    table = Table("preset", "maps", "published at")
    for name in layouts.presets():
        given = layouts.preset(name)
        table.add_row(name, ", ".join(given.maps), given.source)
    console().print(table)


def _by_modality(data: Folder, option: str, texts: Iterable[str] | None) -> dict[str, str]:
    """Modality -> value of a repeated option."""
    from jrn_lightning.importers.schema import close

    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise typer.BadParameter(f"--{option} {text}: give MODALITY=VALUE")
        if name not in data.modalities:
            raise typer.BadParameter(f"--{option} {text}: {close(name, data.modalities)}")
        found[name] = value
    return found


def _inputs(
    data: Folder,
    prediction: list[str] | None,
    source: list[str] | None,
    sampling: list[str] | None,
    grid: list[str] | None,
    scale: list[str] | None,
    key: list[str] | None,
) -> dict[str, Input]:
    """The predictions that the options name."""
    from jrn_lightning.errors import CacheError
    from jrn_lightning.importers.build import Input
    from jrn_lightning.importers.sources import open_source

    files = _by_modality(data, "prediction", prediction)
    options = {
        name: _by_modality(data, name, texts)
        for name, texts in {
            "source": source,
            "sampling": sampling,
            "grid": grid,
            "scale": scale,
            "key": key,
        }.items()
    }
    for name, values in options.items():
        if lonely := [m for m in values if m not in files]:
            raise typer.BadParameter(f"--{name} {lonely[0]}=… needs --prediction {lonely[0]}=PATH")
    ids = [frame for frames in data.splits.values() for frame in frames]
    found = {}
    for m, text in files.items():
        path = Path(text)
        try:
            factor = float(options["scale"].get(m, "1"))
        except ValueError:
            raise typer.BadParameter(f"--scale {m}={options['scale'][m]}: give a number") from None
        if not path.exists() and (data.path / path).exists():
            raise CacheError(
                f"{path} does not exist here, {data.path / path} does: --prediction "
                f"{m}={data.path / path}"
            )
        maps = open_source(
            path,
            data.modalities[m],
            ids=ids,
            scale=factor,
            key=options["key"].get(m),
            option=f"--{{}} {m}={{}}".format,
        )
        found[m] = Input(
            maps,
            options["source"].get(m, path.stem),
            options["sampling"].get(m, "unknown"),
            options["grid"].get(m, "area"),
        )
    return found


def _say(line: str) -> None:
    console().print(line, soft_wrap=True, highlight=False)


def _tell(
    data: Folder, inputs: Mapping[str, Input], made: Collection[str], picture: Path, force: bool
) -> None:
    """What a layout makes of the folder, a contact sheet, and whether the predictions fit."""
    from jrn_lightning.importers.build import check_inputs
    from jrn_lightning.importers.folder import survey
    from jrn_lightning.report import sheet

    height, width = data.size
    _say(f"{data.path} as {data.layout.path}; frame {height} × {width}")
    for split, ids in data.splits.items():
        scenes = len({data.scene(f) for f in ids})
        _say(f"{split}: {len(ids)} frames of {scenes} scenes, {ids[0]!r} to {ids[-1]!r}")
    first = next(iter(data.splits.values()))[0]
    _say(f"frame {first!r} of scene {data.scene(first)!r}:")
    for name, path in data.files(first).items():
        _say(f"  {name}: {path or 'none'}")
    surveyed = survey(data)
    for name, found in surveyed.items():
        kind = data.modalities[name]
        size = " × ".join(map(str, found.shape))
        line = f"{name}: {kind.kind}, {size}, {found.missing:.1%} without truth"
        if found.classes:
            named = dict(enumerate(getattr(kind, "classes", ())))
            line += "; " + ", ".join(
                f"{named[c]} {share:.1%}" for c, share in found.classes.items() if c in named
            )
        else:
            line += f"; {found.low:.4g} to {found.high:.4g} {kind.unit}"
        _say(f"{line.rstrip()} (in {found.frames} frames)")
        if lacking := data.lacking(name):
            _say(f"  frames without it: {len(lacking)}, the first of them {lacking[0]!r}")
    _left_out(surveyed)
    for m in data.modalities:
        said = "not looked at in a dry run" if m in made else "none given"
        if m in inputs:
            maps = inputs[m].source
            said = f"{maps.path}, {len(maps.ids)} of {' × '.join(map(str, maps.shape))}"
        _say(f"predictions of {m}: {said}")
    frames = [
        sheet.of_data_set(data, ids[i], inputs, truth=split != keys.PREDICT)
        for split, ids in data.splits.items()
        for i in sheet.choose([data.scene(f) for f in ids], 3)
    ]
    sheet.write(frames, data.modalities, picture, title=str(data.path))
    _remarks(data)
    _say(f"written: {picture}. Nothing else was written.")
    check_inputs(data, inputs, force=force)
    _size(data, [made.source.shape for made in inputs.values()])


def _left_out(surveyed: Mapping[str, Survey]) -> None:
    """Which ids are of no class, by the largest shares."""
    for name, found in surveyed.items():
        ids = [f"{id} {share:.1%}" for id, share in found.void.items()]
        if ids:
            more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
            listed = f"{', '.join(ids[:8])}{more}, of the pixels of {found.frames} frames"
            _say(f"{name}, ids of no class: {listed}")


def _size(data: Folder, shapes: Iterable[tuple[int, int, int]]) -> None:
    """Advice where frames are much larger than what is predicted."""
    height, width = data.size
    _, h, w = max(shapes, key=lambda shape: shape[1], default=(0, height, width))
    if height > 2 * h:
        step = 8  # of the scales of the networks
        smaller = [max(step, round(side * h / height / step) * step) for side in data.size]
        times = height * width / (smaller[0] * smaller[1])
        _say(
            f"Frames are {height} × {width}, the finest predictions {h} × {w}: add "
            f"data.frame=[{smaller[0]},{smaller[1]}] to each jrn run to train on {times:.0f} times "
            "fewer pixels. The truth of the evaluation keeps its size."
        )


def _remarks(data: Folder) -> None:
    for remark in data.remarks:
        line = Text.assemble(("warning:", "bold yellow"), f" {remark}.")
        console().print(line, soft_wrap=True)
