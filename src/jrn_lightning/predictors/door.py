"""``--predict MODALITY=SPEC``: any predictor of any modality, through one door.

======================  =======================================================================
``hf:NAME[@REVISION]``  a network of the transformers library, from its hub or a folder
``py:module:function``  a function of one's own
``fcn:FILE``            FCN-16s or FCN-32s with NYU-40 weights from a file
``eigen-fergus:FILE``   the depth that Eigen and Fergus published
``efficientnet_lite0``  a network trained here and cross-fitted, as ``small`` and ``timm:NAME``
``FILE[?OPTIONS]``      predictions in a file or folder; options are key, scale and grid, with &
======================  =======================================================================
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from jrn_lightning import keys
from jrn_lightning.cache import refuse_existing
from jrn_lightning.cache.format import SAMPLING
from jrn_lightning.cache.grid import AREA
from jrn_lightning.errors import ConfigError
from jrn_lightning.importers.build import Input
from jrn_lightning.importers.eigen_fergus import open_eigen_fergus
from jrn_lightning.importers.frames import DataSet
from jrn_lightning.importers.labels import LabelSpace, space
from jrn_lightning.importers.sources import open_source
from jrn_lightning.modalities import Modality
from jrn_lightning.predictors.callables import CallablePredictor
from jrn_lightning.predictors.fcn import FCNPredictor
from jrn_lightning.predictors.fill import Bar, predict_into_cache
from jrn_lightning.predictors.hub import HubPredictor
from jrn_lightning.predictors.networks import TIMM
from jrn_lightning.predictors.predictor import Predicted, Predictor
from jrn_lightning.predictors.settings import SETTINGS, named

_PREFIXES: Final = ("hf:", "py:", "fcn:", "eigen-fergus:")
_OPTIONS: Final = ("key", "scale", "grid")


def fill_cache(
    data: DataSet,
    specs: Sequence[str],
    out: Path,
    bar: Bar,
    *,
    imported: Mapping[str, Input] | None = None,
    sampling: Sequence[str] = (),
    classes: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    images: bool = True,
    force: bool = False,
    in_sample: bool = False,
    workers: int | None = None,
    accelerator: str = "auto",
) -> None:
    """Predict every modality of a data set, each by a predictor of its own, and write the cache.

    Run again after a stop it goes on: frames that are predicted stay so, as networks that are
    trained do. What the predictors gave lies beside the cache until that is complete.

    Args:
        data: the frames.
        specs: ``MODALITY=SPEC`` for every modality that is not imported, see the module.
        out: the cache to make.
        bar: makes a progress bar of a title and a total.
        imported: predictions of the others.
        sampling: ``unseen``, ``in-sample`` … or ``MODALITY=`` one of them: what networks that are
            not trained here knew of the training frames.
        classes: a label space that has the network's classes for members, by name or file, or
            ``MODALITY=`` one.
        overrides: of the settings of networks trained here.
        images: whether to store the colour images.
        force: replace an existing cache, and networks of other settings.
        in_sample: see :class:`.CrossFit`, as ``workers`` and ``accelerator``.
        workers: processes on a CPU.
        accelerator: of the training.

    Raises:
        ConfigError: a specification that cannot be used, with the choices.
        CacheError: predictions that do not fit the frames.
        CheckpointError: weights that cannot be used.
    """
    refuse_existing(out, force)
    out = out.absolute()
    chosen = _by_modality("--predict", specs, data.modalities, list(data.modalities))
    inputs, notes = dict(imported or {}), {}
    if twice := [name for name in chosen if name in inputs]:
        raise ConfigError(
            f"--predict {twice[0]}={chosen[twice[0]]}: predictions of {twice[0]} are given, too. "
            "Leave one out."
        )
    if missing := [name for name in data.modalities if name not in {*chosen, *inputs}]:
        raise ConfigError(f"nothing predicts {', '.join(missing)}. Give --predict {missing[0]}=….")
    own = {
        name: named(spec, overrides)
        for name, spec in chosen.items()
        if spec in SETTINGS or spec.startswith(TIMM)
    }
    if (overrides or in_sample) and not own:
        raise ConfigError("--folds, --set and --in-sample are of networks trained here: none is.")
    theirs = [name for name in chosen if name not in own]
    known = _by_modality("--sampling", sampling, data.modalities, theirs, SAMPLING)
    mappings = {
        name: space(text)
        for name, text in _by_modality("--classes", classes, data.modalities, theirs).items()
    }
    for name in theirs:
        spec = chosen[name]
        if not spec.startswith(_PREFIXES) and not Path(spec.partition("?")[0]).exists():
            raise ConfigError(
                f"--predict {name}={spec}: there is no such file. Give one, or hf:NAME, "
                f"py:module:function, fcn:FILE, eigen-fergus:FILE, {', '.join(SETTINGS)}, "
                f"{TIMM}NAME."
            )
        if name not in known:
            raise ConfigError(
                f"{name}={spec}: was it trained on these training frames? Give --sampling "
                f"{name}=in-sample if it was, {name}=unseen if not, or {name}=unknown."
            )
    # All are opened before any takes long.
    opened = {
        name: _open(data, data.modalities[name], spec)
        for name, spec in chosen.items()
        if name in theirs
    }
    folder = out.with_name(f"{out.stem}-predictions")
    for name, found in opened.items():
        if isinstance(found, Input):
            inputs[name] = Input(found.source, found.network, known[name], found.grid)
            continue
        with bar(f"Predicting {name}", sum(map(len, data.splits.values()))) as advance:
            maps = Predicted(
                data,
                data.modalities[name],
                found,
                folder / name,
                _mapping(found, data.modalities[name], mappings.get(name)),
                advance,
            )
        inputs[name] = Input(maps, found.name, known[name], maps.grid)
        notes[f"{name}_network"] = maps.note
    opened.clear()  # networks give their memory back
    predict_into_cache(
        data,
        inputs,
        own,
        out,
        bar,
        images=images,
        force=force,
        in_sample=in_sample,
        notes=notes,
        workers=workers,
        accelerator=accelerator,
    )
    shutil.rmtree(folder, ignore_errors=True)


def _by_modality(
    option: str,
    texts: Sequence[str],
    modalities: Mapping[str, Modality],
    concerned: Sequence[str],
    choices: Sequence[str] = (),
) -> dict[str, str]:
    """``MODALITY=TEXT``, or but with --predict TEXT for all that it concerns, by modality."""
    found: dict[str, str] = {}
    general: list[str] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if option != "--predict" and name not in modalities:
            name, value = "", text
            general.append(text)
        elif not equals or name not in modalities:
            raise ConfigError(
                f"{option} {text}: give MODALITY=PREDICTOR, with one of {', '.join(modalities)}."
            )
        elif name not in concerned:
            raise ConfigError(f"{option} {text}: --predict names no such network. Leave it out.")
        if choices and value not in choices:
            raise ConfigError(f"{option} {text}: choose from {', '.join(choices)}.")
        if name in found or len(general) > 1:
            raise ConfigError(f"{option} {text}: that is given twice. Give it once.")
        if name:
            found[name] = value
    return {**(dict.fromkeys(concerned, general[0]) if general else {}), **found}


def _open(data: DataSet, modality: Modality, spec: str) -> Predictor | Input:
    """A predictor, or predictions."""
    kind, _, rest = spec.partition(":")
    if kind == "hf":
        return HubPredictor(rest, modality)
    if kind == "py":
        return CallablePredictor(rest, modality.name)
    if kind == "fcn":
        return FCNPredictor(Path(rest))
    ids = [frame for frames in data.splits.values() for frame in frames]
    if kind == "eigen-fergus":
        tested = [i for s, frames in data.splits.items() if s != keys.TRAIN for i in frames]
        maps, grid = open_eigen_fergus(Path(rest), tested, data.size)
        return Input(maps, "Eigen and Fergus", grid=grid)
    file, _, query = spec.partition("?")
    options = dict(parse_qsl(query))
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ConfigError(f"{spec}: no option {unknown[0]!r}. Choose from: {', '.join(_OPTIONS)}.")
    path = Path(file)
    try:
        scale = float(options.get("scale", 1))
    except ValueError:
        raise ConfigError(f"{spec}: scale is no number. Give one, as scale=0.001.") from None
    maps = open_source(
        path,
        modality,
        ids=ids,
        scale=scale,
        key=options.get("key"),
        option=lambda name, value: f"--predict {modality.name}={file}?{name}={value}",
    )
    return Input(maps, path.stem, grid=options.get("grid", AREA))


def _mapping(
    predictor: Predictor, modality: Modality, given: LabelSpace | None
) -> LabelSpace | None:
    """The label space that was given, if it concerns this predictor; of NYU-40 the modality's."""
    if not hasattr(modality, "classes") or predictor.classes is None:
        return None
    if given is None and isinstance(predictor, FCNPredictor):
        return space(getattr(modality, "label_space", ""))
    return given
