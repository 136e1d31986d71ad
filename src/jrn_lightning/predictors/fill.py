"""From colour frames to a prediction cache, by networks of our own, somebody else's, or both."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from filelock import FileLock

from jrn_lightning.cache import PredictionCache, refuse_existing
from jrn_lightning.errors import CacheError, ConfigError
from jrn_lightning.importers.build import Input, build, check_inputs
from jrn_lightning.importers.frames import DataSet
from jrn_lightning.predictors.crossfit import CrossFit
from jrn_lightning.predictors.settings import NETWORKS, SingleTaskSettings
from jrn_lightning.progress import Advance
from jrn_lightning.rooms import Rooms, RoomsSpec, render

#: environment variable with the folder of what is built once and found again
HOME: Final = "JRN_HOME"
#: note of a cache of rooms: what it follows from
BUILT_FROM: Final = "built_from"

Bar = Callable[[str, float], AbstractContextManager[Advance]]


def networks_folder(cache: Path) -> Path:
    """Where the networks of a cache are kept: beside it.

    >>> networks_folder(Path("data/nyu.h5")).as_posix()
    'data/nyu-single-task'
    """
    return cache.with_name(f"{cache.stem}-single-task")


def predict_into_cache(
    data: DataSet,
    imported: Mapping[str, Input],
    settings: Mapping[str, SingleTaskSettings],
    out: Path,
    bar: Bar,
    *,
    images: bool = True,
    force: bool = False,
    in_sample: bool = False,
    notes: Mapping[str, str] | None = None,
    workers: int | None = None,
    accelerator: str = "auto",
) -> None:
    """Cross-fit networks for the modalities that are not imported, and write the cache.

    Run again after a stop it goes on: finished networks are not trained again.

    Args:
        data: the frames.
        imported: predictions of some modalities.
        settings: of the networks of each of the others.
        out: the cache to make.
        bar: makes a progress bar of a title and a total.
        images: whether to store the colour images.
        force: replace an existing cache, and networks of other settings; accept implausible
            imported predictions.
        in_sample: see :class:`.CrossFit`, as ``workers`` and ``accelerator``.
        notes: remarks for the cache.
        workers: processes on a CPU.
        accelerator: of the training.

    Raises:
        CacheError: what :func:`~jrn_lightning.importers.build.build` and :class:`.CrossFit` refuse.
        CheckpointError: networks of other settings in the way.
    """
    refuse_existing(out, force)
    check_inputs(data, imported, force=force)  # before anything is trained
    out = out.absolute()
    folder = networks_folder(out)
    alike: dict[str, list[str]] = {}
    for name in (m for m in data.modalities if m in settings):
        alike.setdefault(settings[name].hash, []).append(name)
    fits = [
        CrossFit(
            data,
            names,
            settings[names[0]],
            folder,
            force=force,
            in_sample=in_sample,
            workers=workers,
            accelerator=accelerator,
        )
        for names in alike.values()
    ]
    own: dict[str, Input] = {}
    described = {NETWORKS: folder.name} if fits else {}
    sampling = "in-sample" if in_sample else "out-of-fold"
    for fit in fits:
        with bar(f"Training {len(fit.names) * fit.settings.folds} networks", fit.cost) as advance:
            sources = fit.run(advance)
        own |= {m: Input(s, fit.settings.encoder, sampling) for m, s in sources.items()}
        described |= {f"{m}_network": fit.description(m) for m in fit.names}
    total = sum(map(len, data.splits.values()))
    with bar("Writing the cache", total) as advance:
        build(
            data,
            {**imported, **own},
            out,
            images=images,
            force=force,
            checked=True,
            notes={**described, **(notes or {})},
            advance=lambda: advance(1),
        )
    for fit in fits:
        fit.clean()


def home() -> Path:
    """The folder of what is built once and found again: $JRN_HOME, or the user's cache folder.

    Raises:
        ConfigError: neither is known.
    """
    own = os.environ.get(HOME)
    try:
        if own:
            return Path(own).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jrn-lightning"
    except RuntimeError as error:  # no HOME, and no entry for this user
        raise ConfigError(
            f"there is no folder to keep rooms in ({error}). Name one: {HOME}=/some/folder."
        ) from error


def rooms_path(spec: RoomsSpec, settings: SingleTaskSettings) -> Path:
    """Where the cache of some rooms is found again: named after all that it follows from."""
    return home() / f"rooms-{spec.hash[:10]}-{settings.hash[:10]}.h5"


def build_rooms(
    spec: RoomsSpec,
    settings: SingleTaskSettings,
    out: Path,
    bar: Bar,
    *,
    force: bool = False,
    workers: int | None = None,
    accelerator: str = "auto",
) -> None:
    """Render rooms, unless that was done before, and :func:`predict_into_cache`.

    Raises:
        CacheError: fewer training rooms than folds; what :func:`predict_into_cache` refuses.
    """
    refuse_existing(out, force)
    if spec.train_rooms < settings.folds:  # each fold needs a room: told before rendering them
        raise CacheError(
            f"{spec.train_rooms} training rooms cannot be dealt into {settings.folds} folds. Give "
            "more rooms, or fewer folds."
        )
    frames = home() / f"rooms-{spec.hash[:10]}"
    frames.parent.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(f"{frames}.lock", mode=0o666),
        bar(f"Rendering {spec.frames} frames", spec.frames) as advance,
    ):
        render(spec, frames, workers=workers, advance=lambda: advance(1))
    data = Rooms(spec, frames)
    predict_into_cache(
        data,
        {},
        dict.fromkeys(data.modalities, settings),
        out,
        bar,
        force=force,
        notes={BUILT_FROM: _hashes(spec, settings)},
        workers=workers,
        accelerator=accelerator,
    )


def require_rooms(
    spec: RoomsSpec, settings: SingleTaskSettings, path: Path, bar: Bar, accelerator: str = "auto"
) -> None:
    """Build the cache of these rooms at ``path`` unless it is there.

    Jobs that start side by side wait for the first of them.

    Raises:
        CacheError: the file holds something else.
    """
    path = path.absolute()
    if not path.exists():  # what is there may belong to somebody else, who lets us read alone
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", mode=0o666):
            if not path.exists():
                build_rooms(spec, settings, path, bar, accelerator=accelerator)
                return
    with PredictionCache(path) as cache:
        if cache.notes.get(BUILT_FROM) != _hashes(spec, settings):
            raise CacheError(
                f"{path} holds other data than the rooms asked for. For a cache of your own give "
                "data=cache or data=nyu beside data.cache; for these rooms another file."
            )


def _hashes(spec: RoomsSpec, settings: SingleTaskSettings) -> str:
    return f"{spec.hash} {settings.hash}"
