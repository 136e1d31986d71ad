"""A refinement network by name: any ``nn.Module`` over a dictionary of maps.

The contract of such a class::

    network = Class(modalities, **arguments)  # name -> Modality
    outputs = network(inputs)  # {modality: (B, C, H, W)} -> {modality: (B, C, h, w)}

Outputs are in the space of :meth:`Modality.refined`, all of one size that divides the frame's. An
output named ``<modality>/<anything>`` is auxiliary: a further prediction of that modality, of any
size, which only the training loss sees. What a class may define beside that:

* an argument ``initialization``, which the recipe's is given to;
* ``check_frame(frame)``, which raises a ConfigError for a frame that does not fit;
* ``start_at(outputs)``, which makes a constant ``(C,)`` of each modality its first output, and
  ``skip``, which is ``"add"`` where inputs are added to their outputs and need no such start;
* ``computation``, a word for tables such as ``loose``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import PLUGINS, Modality

#: where the package's own networks are found
OWN: Final = __package__
#: key of the name among a network's arguments
TARGET: Final = "_target_"
DEFAULT: Final = f"{OWN}.JRN"


def named(target: str) -> type[nn.Module]:
    """The class of a dotted name.

    Nothing is imported: a checkpoint from elsewhere may name anything. Only the package's own
    classes count, and those of modules that were imported as plug-ins.

    Raises:
        ConfigError: another module, or no class of networks.
    """
    module, _, name = target.rpartition(".")
    if module != OWN and module not in PLUGINS:
        raise ConfigError(
            f"the network {target!r} is of a module that is neither the package's own nor a "
            f"plug-in. If you trust it: data.plugins=[{module or 'my.module'}] for run.py, "
            f"--plugin {module or 'my.module'} for jrn."
        )
    found = getattr(sys.modules[module], name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        known = [
            key
            for key, value in vars(sys.modules[module]).items()
            if isinstance(value, type) and issubclass(value, nn.Module)
        ]
        raise ConfigError(
            f"{module} has no network {name!r}. It has: {', '.join(known) or 'none'}."
        )
    return found


def build(arguments: Mapping[str, Any], modalities: Mapping[str, Modality]) -> nn.Module:
    """The network that ``arguments`` describe, ``_target_`` among them.

    Raises:
        ConfigError: an unknown class or argument, with those that there are; a value that the
            class refuses.
    """
    given = dict(arguments)
    target = str(given.pop(TARGET, DEFAULT))
    kind = named(target)
    known = accepted(target)
    unknown = sorted(set(given) - known)
    if unknown and "**" not in known:
        raise ConfigError(
            f"{target} has no argument {', '.join(unknown)}. It has: {', '.join(sorted(known))}."
        )
    try:
        return kind(modalities, **given)
    except TypeError as error:
        raise ConfigError(f"{target} cannot be made: {error}.") from error


def accepted(target: str) -> set[str]:
    """Names of the arguments of a network's class; ``**`` where it takes any."""
    parameters = list(inspect.signature(named(target)).parameters.values())[1:]
    return {"**" if p.kind is p.VAR_KEYWORD else p.name for p in parameters}


def is_auxiliary(output: str) -> bool:
    """Whether an output is for the training loss alone.

    >>> is_auxiliary("depth/initial"), is_auxiliary("depth")
    (True, False)
    """
    return "/" in output


def refined_only(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs without the auxiliary ones."""
    return {m: y for m, y in outputs.items() if not is_auxiliary(m)}


def output_scale(
    network: nn.Module, modalities: Mapping[str, Modality], frame: tuple[int, int]
) -> int:
    """Frame size over output size, found by running the network on a frame of zeros.

    Raises:
        ConfigError: a frame or outputs that do not fit; what is wrong with them.
    """
    check = getattr(network, "check_frame", None)
    if check is not None:
        check(frame)
    like = next(network.parameters(), torch.zeros(()))
    inputs = {m: like.new_zeros(1, k.channels, *frame) for m, k in modalities.items()}
    training = network.training
    with torch.no_grad():
        outputs = refined_only(network.eval()(inputs))
    network.train(training)
    sizes = {tuple(y.shape[2:]) for y in outputs.values()}
    for m, modality in modalities.items():
        shape = tuple(outputs[m].shape) if m in outputs else None
        if shape is None or len(shape) != 4 or shape[:2] != (1, modality.channels):
            raise ConfigError(
                f"{type(network).__name__} gives {m} of shape {shape}: it should be "
                f"(1, {modality.channels}, h, w)."
            )
    height, width = next(iter(sizes))
    scale = frame[0] // height if height else 0
    if len(sizes) > 1 or (height * scale, width * scale) != frame:
        raise ConfigError(
            f"{type(network).__name__} gives maps of {sorted(sizes)} for a frame of {list(frame)}: "
            "they should have one size that divides the frame's."
        )
    return scale
