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
Skip = Enum("Skip", ["none", "add", "concatenate"])
Initialization = Enum("Initialization", ["xavier", "gaussian", "pytorch"])
Schedule = Enum("Schedule", ["cosine", "constant"])
Accelerator = Enum("Accelerator", ["auto", "cpu", "gpu"])
Precision = Enum("Precision", ["auto", "float32", "bfloat16"])
MemoryFormat = Enum("MemoryFormat", ["auto", "contiguous", "channels_last"])
LoggerKind = Enum("LoggerKind", ["wandb", "csv", "none"])
WandbMode = Enum("WandbMode", ["auto", "online", "offline"])
DEFAULT_NETWORK = "jrn_lightning.networks.JRN"
PROTOCOLS = ("full", "eigen", "eigen_fergus", "eigen2014")
OPERATIONS = ("concatenation", "sum", "product", "maximum", "gate")
MUTE_VALUES = ("zero", "mean_map", "constant", "other_image", "noise")
#: keys whose values are names that a plug-in may add to
NAMED = {
    "arch.operation": OPERATIONS,
    "evaluation.mute_value": MUTE_VALUES,
    "evaluation.mute_values": MUTE_VALUES,
}


@dataclass
class JRNConfig:
    """Arguments of ``networks.JRN``; the paper's values, where it gives one.

    The choice ``jrn`` of the group ``arch``, which a named architecture sets a few values of. Other
    networks are YAML files with a ``_target_`` and arguments of their own.
    """

    #: class of the network
    _target_: str = DEFAULT_NETWORK
    #: what tables and figures call it
    name: str = MISSING
    #: how the features of the modalities are joined at each scale
    operation: str = MISSING
    #: C, channels out of a branch: 60, 10, 5 or 1 in the paper
    fusion_channels: int = 60
    #: channels of each modality before they are joined
    stem_channels: int = 20
    #: channels of the joined features; null is what the operation gives
    fused_channels: int | None = None
    #: channels before the heads
    hidden_channels: int = 60
    #: the branches see the input at 1/2, 1/4, 1/8
    scales: list[int] = field(default_factory=lambda: [2, 4, 8])
    #: side of the first convolutions
    stem_kernel: int = 3
    #: side of the convolutions after the joining
    fusion_kernel: int = 3
    #: side of the convolution over all branches
    hidden_kernel: int = 3
    #: side of the heads
    head_kernel: int = 3
    #: how an input map reaches its own output: added, concatenated, or not at all
    skip: Skip = Skip.add


@dataclass
class RoomsConfig:
    """Arguments of ``rooms.RoomsSpec``: importing that takes seconds, a test compares them."""

    #: of the rooms
    seed: int = 0
    #: rooms to train on
    train_rooms: int = 104
    #: rooms to test on
    test_rooms: int = 40
    #: frames of each room
    views: int = 2
    #: of a frame, pixels
    height: int = 240
    #: of a frame, pixels
    width: int = 320


@dataclass
class DataConfig:
    """Arguments of ``cache.CacheDataModule``, and what its cache is built from if it can be."""

    #: names the sweep unless `sweep` is given
    name: str = MISSING
    #: the prediction cache
    cache: str | None = None
    #: the embedded rooms, rendered when first asked for
    rooms: RoomsConfig | None = None
    #: the networks that predict the rooms
    single_task: SingleTaskSettings | None = None
    #: height and width that the network sees; null is the cache's own
    frame: list[int] | None = None
    #: which of the cache to use; null is all
    modalities: list[str] | None = None
    #: modules to import, which may define modalities, networks, operations or mute values
    plugins: list[str] = field(default_factory=list)
    #: share of the training scenes for validation
    val_fraction: float = 0.1
    #: of the choice of validation scenes
    split_seed: int = 0
    #: a split up to this size is held in memory, a larger one is read as it is needed
    memory_limit_gib: float = 4.0
    #: processes that read what is not held in memory
    num_workers: int = 0


@dataclass
class RecipeConfig:
    """How a network is initialised and trained."""

    #: of the recipe
    name: str = MISSING
    #: passes over the training frames
    epochs: int = MISSING
    #: frames a step
    batch_size: int = 1
    #: at the start
    learning_rate: float = MISSING
    #: of SGD
    momentum: float = 0.9
    #: of SGD
    weight_decay: float = 0.0
    #: of the learning rate, step by step
    schedule: Schedule = MISSING
    #: largest norm of the gradient; null is no limit
    clip_norm: float | None = None
    #: of the convolutions
    initialization: Initialization = MISSING
    #: without an additive skip, start depth at its mean over the training frames
    mean_head_bias: bool = False
    #: modalities that the network never sees: the controls of gain and breakage
    muted: list[str] = field(default_factory=list)
    #: probability with which a step mutes one modality
    modality_dropout: float = 0.0


@dataclass
class EvaluationConfig:
    """What the test pass measures."""

    #: crops to evaluate on; null is all that fit the frame
    protocols: list[str] | None = None
    #: what a muted map is replaced by, for ω
    mute_value: str = MISSING
    #: of mute values that are drawn
    mute_seed: int = 0
    #: count errors by kind of pixel too
    strata: bool = True
    #: further mute values to compare, each one more pass
    mute_values: list[str] = field(default_factory=list)
    #: how often `other_image` draws
    permutations: int = 3
    #: from the true map to none: how ω grows with the quality of an input
    ladder: bool = False
    #: every crop, convention and ground truth
    grid: bool = False
    #: of the bootstrap
    resamples: int = 10_000


@dataclass
class TrainerConfig:
    """Where and how it runs."""

    #: where it runs
    accelerator: Accelerator = Accelerator.auto
    #: how many
    devices: int = 1
    #: Lightning's, for several devices
    strategy: str = "auto"
    #: of training; auto is bfloat16 where the processor has units for it
    precision: Precision = MISSING
    #: of the convolutions; auto follows the device
    memory_format: MemoryFormat = MISSING
    #: of PyTorch on a CPU; null is PyTorch's own choice
    threads: int | None = None
    #: stop after so many epochs, whatever the recipe says
    max_epochs: int | None = None
    #: use so many frames of each split
    limit_frames: int | None = None
    #: draw progress bars
    progress: bool = True


@dataclass
class LoggerConfig:
    """Where losses and results go beside the job's folder."""

    #: of logger
    kind: LoggerKind = MISSING
    #: of W&B; null is `$WANDB_PROJECT`, else jrn-lightning
    project: str | None = None
    #: of W&B; null is `$WANDB_ENTITY`, else the key's own
    entity: str | None = None
    #: of W&B; auto is online where there is a key
    mode: WandbMode = MISSING
    #: frames whose maps are logged
    examples: int = 4


@dataclass
class Config:
    """One job."""

    #: the network and its arguments
    arch: Any = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    #: of initialisation, order of frames and dropout
    seed: int = 0
    #: folder of the sweep under `output`, and group in W&B
    sweep: str = "main"
    #: folder of all sweeps
    output: str = "runs"
    #: throw away what another configuration left in this job's folder
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
    for key, known in NAMED.items():
        given = OmegaConf.select(cfg, key)
        for name in [given] if isinstance(given, str) else given or ():
            if name not in known and not cfg.data.plugins:  # which might define it
                raise ConfigError(
                    f"{key} is {name!r}. Choose from: {', '.join(known)}; or name the module that "
                    "defines yours: data.plugins=[my.module]."
                )
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
