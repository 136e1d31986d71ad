"""The package's Cat60 and one step of it with nothing around: no Lightning, no data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch

from benchmarks.data import modalities
from benchmarks.options import Options
from benchmarks.plain import PlainCat60, plain_loss
from jrn_lightning.keys import Batch
from jrn_lightning.networks import JRN

# Speed does not depend on it, and with this one random data does not drive weights to infinity.
LEARNING_RATE = 1e-6
MOMENTUM = 0.9
CLIP_NORM = 1.0


def network(options: Options) -> JRN:
    """Cat60 as the package would run it on this device."""
    net = JRN(modalities(), skip="none").to(options.device)
    if options.channels_last:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def autocast(options: Options) -> AbstractContextManager[object]:
    """The precision that the package would choose on this device."""
    if not options.bfloat16:
        return nullcontext()
    return torch.autocast(options.device.type, torch.bfloat16)


def formatted(options: Options, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Inputs in the package's memory format."""
    chosen = torch.channels_last if options.channels_last else torch.contiguous_format
    return {m: x.contiguous(memory_format=chosen) for m, x in inputs.items()}


def on_device(options: Options, batch: Batch) -> Batch:
    """The batch with every tensor on the device."""
    moved: dict[str, object] = {}
    for key, value in batch.items():
        if isinstance(value, torch.Tensor):
            moved[key] = value.to(options.device)
        elif isinstance(value, dict):
            moved[key] = {m: x.to(options.device) for m, x in value.items()}
        else:
            moved[key] = value
    return moved  # type: ignore[return-value]


def bare_step(options: Options, batch: Batch) -> Callable[[], None]:
    """A training step with the package's network, losses and clipping, on one fixed batch."""
    net, kinds = network(options), modalities()
    batch = on_device(options, batch)
    inputs = formatted(options, batch["input"])
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

    def step() -> None:
        with autocast(options):
            outputs = net(inputs)
            losses = [
                kind.loss(outputs[m], batch["target"][m], batch["valid"])
                for m, kind in kinds.items()
            ]
            loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
        optimizer.step()

    return step


def plain_step(options: Options, batch: Batch) -> Callable[[], None]:
    """A training step as one would first write it, on the same batch."""
    net = PlainCat60().to(options.device)
    batch = on_device(options, batch)
    depth, semantic = batch["input"].values()
    true_depth, labels = batch["target"].values()
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

    def step() -> None:
        optimizer.zero_grad()
        refined, scores = net(depth, semantic)
        loss = plain_loss(refined, scores, true_depth, labels)
        loss.backward()
        optimizer.step()

    return step


def bare_forward(options: Options, batch: Batch) -> Callable[[], object]:
    """One forward pass of the package's network, on one fixed batch."""
    net = network(options).eval()
    inputs = formatted(options, on_device(options, batch)["input"])

    def forward() -> object:
        with torch.inference_mode(), autocast(options):
            return net(inputs)

    return forward


def plain_forward(options: Options, batch: Batch) -> Callable[[], object]:
    """One forward pass of the plain network, on the same batch."""
    net = PlainCat60().to(options.device).eval()
    depth, semantic = on_device(options, batch)["input"].values()

    def forward() -> object:
        with torch.inference_mode():
            return net(depth, semantic)

    return forward
