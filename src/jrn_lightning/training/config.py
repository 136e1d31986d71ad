"""The schema of the configuration: every key, its type, its default, and what it may be.

``conf/`` composes into it, so that a wrong key or type is refused while composing, before
anything runs. ``check`` refuses what a type cannot express.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf

from jrn_lightning.errors import ConfigError
from jrn_lightning.predictors.settings import SETTINGS, SingleTaskSettings

# Enumerations list their choices in the error that a wrong value gives. They repeat names from
# the packages that implement them, because importing those takes seconds that a typo should not
# cost; a test holds the two together.
Operation = Enum("Operation", ["concatenation", "sum", "product", "maximum", "gate"])
Skip = Enum("Skip", ["none", "add", "concatenate"])
Initialization = Enum("Initialization", ["xavier", "gaussian", "pytorch"])
Mute = Enum("Mute", ["zero", "mean_map", "constant", "other_image", "noise"])
Schedule = Enum("Schedule", ["cosine", "constant"])
Accelerator = Enum("Accelerator", ["auto", "cpu", "gpu"])
Precision = Enum("Precision", ["auto", "float32", "bfloat16"])
MemoryFormat = Enum("MemoryFormat", ["auto", "contiguous", "channels_last"])
LoggerKind = Enum("LoggerKind", ["wandb", "csv", "none"])
WandbMode = Enum("WandbMode", ["auto", "online", "offline"])
DEFAULT_NETWORK = "jrn_lightning.networks.JRN"
PROTOCOLS = ("full", "eigen", "eigen_fergus", "eigen2014")


@dataclass
class JRNConfig:
    """Arguments of ``networks.JRN``; the paper's values, where it gives one.

    The choice ``jrn`` of the group ``arch``, which a named architecture sets a few values of. Other
    networks are YAML files with a ``_target_`` and arguments of their own.
    """

    _target_: str = DEFAULT_NETWORK
    name: str = MISSING
    operation: Operation = MISSING
    fusion_channels: int = 60
    stem_channels: int = 20
    fused_channels: int | None = None
    hidden_channels: int = 60
    scales: list[int] = field(default_factory=lambda: [2, 4, 8])
    stem_kernel: int = 3
    fusion_kernel: int = 3
    hidden_kernel: int = 3
    head_kernel: int = 3
    skip: Skip = Skip.add


@dataclass
class RoomsConfig:
    """Arguments of ``rooms.RoomsSpec``: importing that takes seconds, a test compares them."""

    seed: int = 0
    train_rooms: int = 104
    test_rooms: int = 40
    views: int = 2
    height: int = 240
    width: int = 320


@dataclass
class DataConfig:
    """Arguments of ``cache.CacheDataModule``, and what its cache is built from if it can be."""

    name: str = MISSING
    cache: str | None = None
    rooms: RoomsConfig | None = None
    single_task: SingleTaskSettings | None = None
    frame: list[int] | None = None
    modalities: list[str] | None = None
    plugins: list[str] = field(default_factory=list)
    val_fraction: float = 0.1
    split_seed: int = 0
    memory_limit_gib: float = 4.0
    num_workers: int = 0


@dataclass
class RecipeConfig:
    """How a network is initialised and trained."""

    name: str = MISSING
    epochs: int = MISSING
    batch_size: int = 1
    learning_rate: float = MISSING
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Schedule = MISSING
    clip_norm: float | None = None
    initialization: Initialization = MISSING
    mean_head_bias: bool = False
    muted: list[str] = field(default_factory=list)
    modality_dropout: float = 0.0


@dataclass
class EvaluationConfig:
    """What the test pass measures."""

    protocols: list[str] | None = None
    mute_value: Mute = MISSING
    mute_seed: int = 0
    strata: bool = True
    mute_values: list[Mute] = field(default_factory=list)
    permutations: int = 3
    ladder: bool = False
    grid: bool = False
    resamples: int = 10_000


@dataclass
class TrainerConfig:
    """Where and how it runs."""

    accelerator: Accelerator = Accelerator.auto
    devices: int = 1
    strategy: str = "auto"
    precision: Precision = MISSING
    memory_format: MemoryFormat = MISSING
    threads: int | None = None
    max_epochs: int | None = None
    limit_frames: int | None = None
    progress: bool = True


@dataclass
class LoggerConfig:
    """Where losses and results go beside the job's folder."""

    kind: LoggerKind = MISSING
    project: str | None = None  # $WANDB_PROJECT, else jrn-lightning
    entity: str | None = None  # $WANDB_ENTITY, else the key's own
    mode: WandbMode = MISSING
    examples: int = 4


@dataclass
class Config:
    """One job."""

    arch: Any = MISSING  # any network's: what it takes is checked when it is made
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    seed: int = 0
    sweep: str = "main"
    output: str = "runs"
    overwrite: bool = False


#: what an argument may name beside the keys of :class:`Config`
_OTHERS = ("experiment", "hydra", "single_task")


def register() -> None:
    """Make the schema known to Hydra; call before composing."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(group="arch", name="jrn", node=JRNConfig)
    for name, settings in SETTINGS.items():  # also the choices of `jrn cache --single-task`
        store.store(group="single_task", name=name, node=settings)


#: keys whose value is text, also where it looks like a number
_TEXTS = ("sweep", "output", "data.cache")


def as_typed(argument: str) -> str:
    """An argument that Hydra takes as it was typed.

    Hydra would read ``sweep=2024_05_01`` as the number 20240501, and refuses a path with ``=``,
    brackets or spaces unless it is quoted twice, once for the shell and once for Hydra.

    >>> as_typed("sweep=1_000"), as_typed("data.cache=my file=2.h5"), as_typed("sweep=a,b")
    ("sweep='1_000'", "data.cache='my file=2.h5'", 'sweep=a,b')
    """
    key, found, value = argument.partition("=")
    if key not in _TEXTS or not found or not value or value[0] in "'\"" or "${" in value:
        return argument
    if "," in value and not Path(value).exists():  # a list to sweep over
        return argument
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def check_keys(arguments: Sequence[str]) -> None:
    """Refuse an override of a key that does not exist, added with ``+`` or not.

    Hydra refuses only the latter, and does not say which keys there are. What else is wrong with
    an argument is Hydra's to tell.

    Args:
        arguments: of the command line.

    Raises:
        ConfigError: names the key, and those that are there in its place.

    >>> check_keys(["-m", "arch=cat60,sum60", "+experiment=gain", "recipe.epochs=3"])
    >>> check_keys(["data.rooms.veiws=3"])
    Traceback (most recent call last):
    jrn_lightning.errors.ConfigError: there is no key data.rooms.veiws. Keys of data.rooms: ...
    """
    parser = OverridesParser.create()
    for argument in arguments:
        if argument.startswith("-") or "=" not in argument:
            continue
        try:
            override = parser.parse_override(argument)
        except HydraException:
            continue
        key = override.key_or_group
        path = key.split(".")
        if override.package is not None or "/" in key or path[0] in _OTHERS:
            continue
        node: Any = Config
        for depth, part in enumerate(path):
            keys = get_type_hints(node)
            if part not in keys:
                where = f"Keys of {'.'.join(path[:depth])}" if depth else "Keys and groups"
                known = [*keys, *(() if depth else ("experiment",))]
                raise ConfigError(f"there is no key {key}. {where}: {', '.join(known)}.")
            if depth == 0 and part == "arch":
                break  # the network itself knows its arguments
            # What may be None, without that.
            node = next((t for t in get_args(keys[part]) if is_dataclass(t)), keys[part])
            if not is_dataclass(node):
                break


def wandb_settings(cfg: DictConfig) -> dict[str, Any]:
    """Project, entity and mode of W&B: the configuration's, else the environment's."""
    values = plain(cfg.logger)
    return {
        "project": values["project"] or os.environ.get("WANDB_PROJECT") or "jrn-lightning",
        "entity": values["entity"] or os.environ.get("WANDB_ENTITY") or None,
        "mode": values["mode"],
    }


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, enumerations by name."""
    container = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    assert isinstance(container, dict)
    return {str(k): v for k, v in container.items()}


_TINY, _LARGEST = 1e-300, float("inf")
_COUNT = (1, _LARGEST, "a whole number of at least 1")
_MORE = (_TINY, _LARGEST, "a number greater than 0")
_NOT_NEGATIVE = (0, _LARGEST, "a number of at least 0")
_SHARE = (0, 1, "a number from 0 to below 1")
#: key -> least, first that is too large, and what to give; what may be None is not checked there
_BOUNDS: dict[str, tuple[float, float, str]] = {
    "recipe.epochs": _COUNT,
    "recipe.batch_size": _COUNT,
    "recipe.learning_rate": _MORE,
    "recipe.clip_norm": _MORE,
    "recipe.momentum": _SHARE,
    "recipe.weight_decay": _NOT_NEGATIVE,
    "recipe.modality_dropout": _SHARE,
    "evaluation.resamples": _COUNT,
    "evaluation.permutations": _COUNT,
    "trainer.devices": _COUNT,
    "trainer.threads": _COUNT,
    "trainer.max_epochs": _COUNT,
    "trainer.limit_frames": _COUNT,
    "data.memory_limit_gib": _MORE,
    "data.val_fraction": _SHARE,
    "data.num_workers": _NOT_NEGATIVE,
    "logger.examples": _NOT_NEGATIVE,
    "data.split_seed": _NOT_NEGATIVE,
    "evaluation.mute_seed": _NOT_NEGATIVE,
    "seed": (0, 2**32, "a whole number from 0 to below 2³²"),
}


def check(cfg: DictConfig) -> None:
    """Refuse values that have the right type and cannot work.

    Raises:
        ConfigError: names the key, the value and what it may be.
    """
    missing = sorted(OmegaConf.missing_keys(cfg))
    rooms = cfg.data.rooms is not None
    if "data.cache" in missing or (not rooms and cfg.data.cache is None):
        raise ConfigError(
            "data.cache is not set. Give a prediction cache: data.cache=nyu.h5; "
            "`jrn cache nyu --help` tells how to build one. data=rooms needs none."
        )
    if missing:
        raise ConfigError(f"{', '.join(missing)} is not set and has no default.")
    for key, (low, high, said) in _BOUNDS.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and not (low <= value < high):
            raise ConfigError(f"{key} is {value}: give {said}.")
    modalities = cfg.data.modalities
    if modalities is not None and len(set(modalities)) < max(2, len(modalities)):
        raise ConfigError(
            f"data.modalities is {list(modalities)}: give at least two different ones, or null "
            "for all that the cache holds."
        )
    frame = cfg.data.frame
    if frame is not None and (len(frame) != 2 or min(frame) < 1):
        raise ConfigError(f"data.frame is {list(frame)}: give height and width, as [240,320].")
    own = cfg.arch.get("_target_", DEFAULT_NETWORK) == DEFAULT_NETWORK
    step = math.lcm(*(scale for scale in (own and cfg.arch.get("scales")) or () if scale > 0))
    if frame is not None and any(side % step for side in frame):
        raise ConfigError(
            f"data.frame is {list(frame)}, but both sides must be divisible by {step}, for "
            f"arch.scales={list(cfg.arch.scales)}. The nearest that fits is "
            f"{[max(step, round(side / step) * step) for side in frame]}."
        )
    protocols = cfg.evaluation.protocols
    if protocols is not None and (not protocols or set(protocols) - set(PROTOCOLS)):
        raise ConfigError(
            f"evaluation.protocols is {list(protocols)}. Choose from: {', '.join(PROTOCOLS)}; "
            "null for all that fit the frame."
        )
    if rooms:
        settings = cfg.data.single_task
        if settings is None:
            raise ConfigError(
                "data.single_task is not set: data.rooms needs networks to predict its frames. "
                f"Give +single_task@data.single_task={next(iter(SETTINGS))}."
            )
        cast(SingleTaskSettings, OmegaConf.to_object(settings)).check()
    elif not Path(cfg.data.cache).exists():
        raise ConfigError(
            f"data.cache is {cfg.data.cache!r}: no such file (from {Path.cwd()}). "
            "`jrn cache nyu --help` tells how to build one."
        )


def science(cfg: DictConfig) -> dict[str, Any]:
    """The part of a configuration that decides the numbers: what a fingerprint covers.

    Where results are written and logged, how many workers read, and where the cache lies do not
    count; which cache it is is added by its content hash.
    """
    values = plain(cfg)
    for key in ("logger", "sweep", "output", "overwrite"):
        del values[key]
    for key in ("cache", "rooms", "single_task", "memory_limit_gib", "num_workers"):
        del values["data"][key]
    for key in ("progress", "strategy", "threads"):
        del values["trainer"][key]
    return values


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as dotted keys.

    >>> flat({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
