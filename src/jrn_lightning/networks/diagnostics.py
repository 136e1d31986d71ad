"""Signs of a network that has silently died: dead channels, outputs that stand still.

A joint refinement network whose depth stem is dead still has a falling loss and a plausible
segmentation. These checks look at validation frames and say so by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from jrn_lightning.networks.convolution import Conv2d

#: an output whose deviation over frames and pixels is below this share of its input's stands still
STILL = 0.02


@contextmanager
def _rectified_layers(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Largest activation of every channel of each rectified layer, while it runs."""
    peak: dict[str, Tensor] = {}
    handles = []
    for name, module in network.named_modules():
        if not (isinstance(module, nn.ReLU) or (isinstance(module, Conv2d) and module.relu)):
            continue

        def hook(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
            if output.ndim != 4:
                return
            largest = output.detach().amax((0, 2, 3)).float()
            peak[name] = torch.maximum(peak[name], largest) if name in peak else largest

        handles.append(module.register_forward_hook(hook))
    try:
        yield peak
    finally:
        for handle in handles:
            handle.remove()


class HealthCheck:
    """Collects over the joint forward passes of validation frames, then lists what is wrong.

    Args:
        network: the one to look at.
        unseen: modalities that it never sees; that their stems stay silent is no fault.

    Example::

        check = HealthCheck(network)
        for inputs in frames:
            check.update(inputs, check.forward(inputs))
        warnings = check.warnings()
    """

    def __init__(self, network: nn.Module, unseen: Collection[str] = ()) -> None:
        self.network = network
        self.unseen = frozenset(unseen)
        self._peak: dict[str, Tensor] = {}
        self._moments: dict[str, dict[str, Tensor]] = {}

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's outputs; its activations are noted on the way."""
        with _rectified_layers(self.network) as peak:
            outputs: dict[str, Tensor] = self.network(inputs)
        for name, value in peak.items():
            if self.unseen.intersection(name.split(".")):
                continue
            known = self._peak.get(name)
            self._peak[name] = value if known is None else torch.maximum(known, value)
        return outputs

    def update(self, inputs: Mapping[str, Tensor], refined: Mapping[str, Tensor]) -> None:
        """Note how much inputs and refined maps ``{modality: (B, C, H, W)}`` vary."""
        for m, output in refined.items():
            moments = self._moments.setdefault(m, {})
            for kind, maps in (("input", inputs[m]), ("output", output)):
                x = maps.detach().double().flatten(2).transpose(0, 1).flatten(1)  # (C, B H W)
                row = torch.stack(
                    (torch.full_like(x[:, 0], x.shape[1]), x.sum(1), x.square().sum(1))
                )
                moments[kind] = moments[kind] + row if kind in moments else row

    def gather(self) -> None:
        """Join what every process of a distributed run has seen; nothing where there is one."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return
        everyone: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(everyone, (self._peak, self._moments))
        self._peak, self._moments = {}, {}
        for peaks, moments in everyone:
            for name, value in peaks.items():
                known = self._peak.get(name)
                value = value.cpu()
                self._peak[name] = value if known is None else torch.maximum(known, value)
            for m, rows in moments.items():
                own = self._moments.setdefault(m, {})
                for kind, row in rows.items():
                    own[kind] = own[kind] + row.cpu() if kind in own else row.cpu()

    def dead_channels(self) -> dict[str, tuple[int, int]]:
        """Layer -> (channels that were never active, channels), for layers with any dead."""
        counts = {n: (int((v <= 0).sum()), v.numel()) for n, v in self._peak.items()}
        return {n: c for n, c in counts.items() if c[0]}

    def warnings(self) -> list[str]:
        """Sentences for a person: layers at least half dead, outputs that stand still."""
        found = [
            f"{_readable(name)}: {dead} of {total} channels are dead (zero at every pixel of "
            "every validation frame)"
            for name, (dead, total) in self.dead_channels().items()
            if 2 * dead >= total
        ]
        for m, moments in self._moments.items():
            deviation = {k: _deviation(v) for k, v in moments.items()}
            if not deviation["output"] > STILL * deviation["input"]:
                found.append(
                    f"output {m} stands still: its deviation over the validation frames is "
                    f"{deviation['output']:.2g}, the input's is {deviation['input']:.2g}"
                )
        return found


def health_warnings(network: nn.Module, frames: Iterable[Mapping[str, Tensor]]) -> list[str]:
    """:class:`HealthCheck` over an iterable of input dictionaries, outputs taken as they are."""
    check = HealthCheck(network)
    with torch.no_grad():
        for inputs in frames:
            check.update(inputs, check.forward(inputs))
    return check.warnings()


def _deviation(moments: Tensor) -> float:
    n, total, square = moments
    variance = (square / n - (total / n) ** 2).clamp_min(0)
    return float(variance.mean().sqrt())


def _stem(name: str) -> str | None:
    """The modality whose stem the layer is, or None."""
    _, found, modality = name.partition(".stem.")
    return modality if found else None


def _readable(name: str) -> str:
    """``branches.2.stem.x`` as ``stem x at 1/2``."""
    parts = name.split(".")
    if parts[0] != "branches":
        return f"layer {name}"
    modality = _stem(name)
    what = "fusion" if modality is None else f"stem {modality}"
    return f"{what} at 1/{parts[1]}"
