"""``jrn cache folder``: any data set, by its layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text
from typer import Argument, Option

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
    from jrn_lightning.importers.folder import Folder


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

    from jrn_lightning.cache import refuse_existing
    from jrn_lightning.importers import layout as layouts
    from jrn_lightning.importers.folder import Folder, survey

    if out is not None and not dry_run:
        refuse_existing(out, force)
    given = layouts.preset(preset) if preset is not None else layouts.load(layout or Path())
    if modality:
        given = layouts.only(given, modality)
    data = Folder(root, given, partial=partial, labels=label_space)
    if dry_run:
        _tell(data, (out or Path("dry-run")).with_suffix(".png"))
        return
    assert out is not None
    restrict(data, only)
    survey(data)
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
    _remarks(data)


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
        maps = open_source(
            path, data.modalities[m], ids=ids, scale=factor, key=options["key"].get(m)
        )
        found[m] = Input(
            maps,
            options["source"].get(m, path.stem),
            options["sampling"].get(m, "unknown"),
            options["grid"].get(m, "area"),
        )
    return found


def _tell(data: Folder, sheet: Path) -> None:
    """What a layout makes of the folder, and a contact sheet."""
    from jrn_lightning.importers.folder import survey
    from jrn_lightning.report.maps import Frame, panel
    from jrn_lightning.report.sheet import choose

    out = console()
    print_: Callable[[str], None] = lambda line: out.print(line, soft_wrap=True, highlight=False)  # noqa: E731
    height, width = data.size
    print_(f"{data.path} as {data.layout.path}; frame {height} × {width}")
    for split, ids in data.splits.items():
        scenes = len({data.scene(f) for f in ids})
        print_(f"{split}: {len(ids)} frames of {scenes} scenes, {ids[0]!r} to {ids[-1]!r}")
    first = next(iter(data.splits.values()))[0]
    print_(f"frame {first!r} of scene {data.scene(first)!r}:")
    for name, path in data.files(first).items():
        print_(f"  {name}: {path or 'none'}")
    for name, found in survey(data).items():
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
        print_(f"{line.rstrip()} (in {found.frames} frames)")
        if lacking := data.lacking(name):
            print_(f"  frames without it: {len(lacking)}, the first of them {lacking[0]!r}")
    shown = []
    for ids in data.splits.values():
        for i in choose([data.scene(f) for f in ids], 3):
            frame = data.read(ids[i], targets=ids is not data.splits.get("predict"))
            shown.append(Frame(ids[i], frame.targets or {}, {}, frame.image, data.scene(ids[i])))
    panel(shown, data.modalities, errors=(), wide=True, title=str(data.path)).savefig(
        sheet, dpi=100
    )
    _remarks(data)
    print_(f"written: {sheet}. Nothing else was written.")


def _remarks(data: Folder) -> None:
    for remark in data.remarks:
        line = Text.assemble(("warning:", "bold yellow"), f" {remark}.")
        console().print(line, soft_wrap=True)
