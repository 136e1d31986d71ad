"""A same-size convolution that is fast on a CPU.

In bfloat16 oneDNN's kernels are fast. What is left to save is arithmetic and memory:

* maps of several scales, many channels each: the coarser ones are convolved before they are
  interpolated (:mod:`~jrn_lightning.models.polyphase`);
* layers with few outputs over one map (the heads) are run as one.

In float32, which processors without bfloat16 units are left with, oneDNN takes three quarters of a
training step for the direct 3 × 3 convolution of the concatenated branches, and a good part of the
rest for layers with one to five channels on a side. Each kind of layer has its own path here:

* many channels in and out: Winograd's convolution (:mod:`~jrn_lightning.models.winograd`);
* few channels out (the heads): oneDNN's forward pass, both gradients as matrix products;
* one channel in (a depth stem): a matrix product over the nine shifted maps;
* where Winograd's convolution was compiled (:mod:`~jrn_lightning.models.native`), all by that.

All of these give channels-last outputs. Small maps go to PyTorch's own kernels, in float32
contiguous: there the fixed cost of a path outweighs what it saves. The values are those of
``nn.Conv2d`` up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.models import native
from jrn_lightning.models.polyphase import polyphase_conv2d, upsampling_factor
from jrn_lightning.models.threads import parallel, parts
from jrn_lightning.models.winograd import multiscale_conv2d

#: fewest channels of every map, and out, for which Winograd's and the polyphase convolution were
#: measured to win
WIDE = 32
#: most channels out for which the gradients of a head are matrix products
NARROW = 8
#: fewest multiplications of a direct convolution, an image, for which Winograd's was measured to
#: win. Plain over Winograd's time, forward and backward, with one and two threads (AVX2, on a
#: machine with other work):
#:
#: ====================  ==============  ===========  ===========
#: layer, pixels         multiplications one thread   two threads
#: ====================  ==============  ===========  ===========
#: 40 → 60,   15 × 20      6 million     0.5          0.25
#: 40 → 60,   30 × 40     26 million     0.9          1.0
#: 40 → 60,   60 × 80    104 million     0.8          1.0
#: 40 → 60,   80 × 108   187 million     0.9          0.6
#: 40 → 60,  120 × 160   415 million     1.3          1.0
#: 180 → 60,  60 × 80    467 million     1.4          1.4
#: 180 → 60, 120 × 160  1866 million     2.0          1.7
#: ====================  ==============  ===========  ===========
WORK = 300_000_000
#: the same where Winograd's convolution was compiled, beside interpolation and concatenation
#:
#: ====================  ==============  ===========  ===========
#: layer, pixels         multiplications one thread   two threads
#: ====================  ==============  ===========  ===========
#: 40 → 60,   15 × 20      6 million     0.7          0.4
#: 40 → 60,   30 × 40     26 million     1.3          1.0
#: 40 → 60,   60 × 80    104 million     2.1          1.1
#: 40 → 60,  120 × 160   415 million     2.4          1.7
#: 40 → 60,  240 × 320  1659 million     2.7          2.1
#: 180 → 60,  60 × 80    467 million     2.9          1.5
#: 180 → 60, 120 × 160  1866 million     3.3          2.7
#: 180 → 60, 240 × 320  7465 million     3.4          3.2
#: ====================  ==============  ===========  ===========
COMPILED_WORK = 50_000_000
#: the same for the polyphase convolution. Time of interpolation, concatenation and oneDNN's
#: convolution in bfloat16 over its time, forward and backward (AVX-512 BF16):
#:
#: ================================  ===============  ==========  ===========
#: maps at 1, 1/2, 1/4, pixels       multiplications  one thread  two threads
#: ================================  ===============  ==========  ===========
#: three of 60 → 60,   60 × 80        467 million     1.0         0.9
#: three of 60 → 60,   80 × 108       840 million     1.1         1.0
#: three of 32 → 60,  120 × 160       995 million     1.2         1.0
#: three of 60 → 60,  120 × 160      1866 million     1.5         1.4
#: three of 32 → 60,  240 × 320      3981 million     1.4         1.2
#: three of 60 → 60,  240 × 320      7465 million     1.7         1.6
#: ================================  ===============  ==========  ===========
POLYPHASE_WORK = 400_000_000
#: fewest pixels for which the paths of heads and stems are taken: a stem of one channel took two to
#: three times PyTorch's time on 60 × 80 maps, and a head's channels-last gradient pays only beside
#: other layers in that format
PIXELS = 16_384
#: pixels that are taken at a time where nine shifted copies of a map are made
BAND = 4096


class Conv2d(nn.Conv2d):
    """A same-size convolution of stride 1: ``nn.Conv2d`` but for its speed.

    Given several maps, it convolves all of them, interpolated to the size of the first and
    concatenated.

    Args:
        in_channels: of all maps together.
        out_channels: of the result.
        kernel_size: odd.
        relu: rectify the result.

    Attributes:
        fast: whether the fast paths are taken, where they apply: on a CPU, kernel 3, not too
            small a map, float32 or autocast to bfloat16. ``Conv2d.fast = False`` turns them off
            for every layer.
    """

    fast = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, relu: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.relu = relu

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """Convolve ``(B, C_in, H, W)``, or maps ``(B, C_i, h_i, w_i)``, to ``(B, C_out, H, W)``."""
        maps = [x] if isinstance(x, Tensor) else list(x)
        fast = self.is_fast(maps)
        size = maps[0].shape[-2:]
        wide = self.out_channels >= WIDE and all(m.shape[1] >= WIDE for m in maps)
        work = size.numel() * self.weight.numel()
        if native.library() is None:
            worth = wide and work >= WORK
        else:
            worth = work >= COMPILED_WORK if wide else size.numel() >= PIXELS
        if fast and worth:
            fitting = [m if _winograd_factor(m, size) else _interpolated(m, size) for m in maps]
            return multiscale_conv2d(fitting, self.weight, self.bias, self.relu)
        output = self._convolved(maps, fast, wide)
        return F.relu(output, inplace=True) if self.relu else output

    def _convolved(self, maps: list[Tensor], fast: bool, wide: bool) -> Tensor:
        """By one of the other ways."""
        size = maps[0].shape[-2:]
        work = size.numel() * self.weight.numel()
        scales = len(maps) > 1 and all(upsampling_factor(m, size) > 1 for m in maps[1:])
        if scales and wide and work >= POLYPHASE_WORK and self.is_fast_bfloat16(maps):
            return polyphase_conv2d(maps, self.weight, self.bias)
        maps = [m if m.shape[-2:] == size else _interpolated(m, size) for m in maps]
        joined = torch.cat(maps, 1) if len(maps) > 1 else maps[0]
        large = not wide and size.numel() >= PIXELS
        if fast and large and (self.out_channels <= NARROW or self.in_channels == 1):
            path = _FewOutputs if self.out_channels <= NARROW else _OneInput
            output = path.apply(joined, self.weight, self.bias)  # type: ignore[no-untyped-call]
            assert isinstance(output, Tensor)
            return output
        if fast:
            # Whatever the format that it comes in: a small layer's weight gradient is slow in
            # channels-last, which PyTorch would choose if only its input had it.
            chosen = torch.channels_last if large else torch.contiguous_format
            joined = joined.contiguous(memory_format=chosen)
        return super().forward(joined)

    def is_fast(self, maps: Sequence[Tensor]) -> bool:
        """Whether these inputs may take a float32 path, if they are large enough for it."""
        return (
            self.fast
            and self.kernel_size == (3, 3)
            and all(m.device.type == "cpu" and m.dtype == torch.float32 for m in maps)
            and self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
        )

    def is_fast_bfloat16(self, maps: Sequence[Tensor]) -> bool:
        """Whether these inputs may take a bfloat16 path, if they are large enough for it."""
        return (
            self.fast
            and self.kernel_size == (3, 3)
            and all(m.device.type == "cpu" and m.dtype == torch.bfloat16 for m in maps)
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") == torch.bfloat16
        )


def convolve_all(layers: nn.ModuleDict, x: Tensor) -> dict[str, Tensor]:
    """What each of several layers makes of the same ``(B, C, H, W)``.

    Layers with few outputs and no hooks (heads) are run as one, so that ``x`` is read and its
    gradient written once.
    """
    heads = [layer for layer in layers.values() if _can_join(layer, x)]
    widths = [head.out_channels for head in heads]
    if len(heads) < len(layers) or sum(widths) > NARROW:
        return {name: layer(x) for name, layer in layers.items()}
    weight = torch.cat([head.weight for head in heads])
    bias = torch.cat([head.bias for head in heads if head.bias is not None])
    if x.dtype == torch.bfloat16:
        output = F.conv2d(x, weight, bias, padding=1)
    elif x.shape[-2:].numel() < PIXELS:
        output = F.conv2d(x.contiguous(), weight, bias, padding=1)
    elif native.library() is not None:
        output = multiscale_conv2d([x], weight, bias)
    else:
        output = _FewOutputs.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    assert isinstance(output, Tensor)
    return dict(zip(layers, torch.split(output, widths, 1), strict=True))


def _can_join(layer: nn.Module, x: Tensor) -> TypeGuard[Conv2d]:
    return (
        isinstance(layer, Conv2d)
        and layer.bias is not None
        and (layer.is_fast([x]) or layer.is_fast_bfloat16([x]))
        and not (layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)
    )


def _interpolated(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _winograd_factor(x: Tensor, size: torch.Size) -> int:
    """The factor 1, 2 or 4 from the size of a map to ``size``; 0 where Winograd's needs another."""
    f = upsampling_factor(x, size)
    return f if f == 1 or (f in (2, 4) and all(t % 4 == 0 for t in size)) else 0


def _rows(start: int, stop: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, BAND // width)
    for row in range(start, stop, step):
        yield row, min(row + step, stop)


def _shifted(padded: Tensor, rows: int) -> Tensor:
    """``(C, rows + 2, W + 2)`` as its nine shifted maps ``(3, 3, C, rows, W)``, a view."""
    c, y, x = padded.stride()
    shape = (3, 3, padded.shape[0], rows, padded.shape[2] - 2)
    return padded.as_strided(shape, (y, x, c, y, x), padded.storage_offset())


class _FewOutputs(torch.autograd.Function):
    """With nine shifted maps of the output's gradient, both gradients are matrix products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        x = x.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        batch, c_in, height, width = x.shape
        c_out = weight.shape[0]
        flipped = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(9 * c_out, c_in)
        pixels = x.permute(0, 2, 3, 1).contiguous()
        padded = F.pad(gradients[0].contiguous(), (1, 1, 1, 1))
        grad_x = torch.empty_like(pixels) if need_x else None

        def part(b: int, first: int, end: int) -> Tensor:
            taps = torch.zeros_like(flipped)
            for start, stop in _rows(first, end, width):
                shifted = _shifted(padded[b, :, start : stop + 2], stop - start)
                columns = shifted.reshape(9 * c_out, -1)
                if grad_x is not None:
                    into = grad_x[b, start:stop].view(-1, c_in)
                    torch.mm(columns.t(), flipped, out=into)
                if need_weight:
                    taps.addmm_(columns, pixels[b, start:stop].view(-1, c_in))
            return taps

        done = parallel([partial(part, *p) for p in parts(batch, height)])
        grad_weight = None
        if need_weight:
            taps = functools.reduce(torch.add, done).view(3, 3, c_out, c_in)
            grad_weight = taps.permute(2, 3, 0, 1).flip(2, 3).contiguous()
        return (
            None if grad_x is None else grad_x.permute(0, 3, 1, 2),
            grad_weight,
            gradients[0].sum((0, 2, 3)) if need_bias else None,
        )


class _OneInput(torch.autograd.Function):
    """With nine shifted maps of the input, output and weight gradient are matrix products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        batch, _, height, width = x.shape
        taps = weight.view(-1, 9).t()
        padded = F.pad(x, (1, 1, 1, 1))
        shape = (batch, weight.shape[0], height, width)
        result = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        last = result.permute(0, 2, 3, 1)

        def part(b: int, first: int, end: int) -> None:
            for start, stop in _rows(first, end, width):
                shifted = _shifted(padded[b, :, start : stop + 2], stop - start)
                columns = shifted.reshape(9, -1).t()
                into = last[b, start:stop].view(-1, weight.shape[0])
                if bias is None:
                    torch.mm(columns, taps, out=into)
                else:
                    torch.addmm(bias, columns, taps, out=into)

        parallel([partial(part, *p) for p in parts(batch, height)])
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        batch, _, height, width = x.shape
        grad_x: Tensor | None = None
        grad_weight: Tensor | None = None
        g = gradients[0].permute(0, 2, 3, 1).contiguous()
        padded = F.pad(x, (1, 1, 1, 1))

        def part(b: int, first: int, end: int) -> Tensor:
            taps: Tensor = weight.new_zeros(9, weight.shape[0])
            for start, stop in _rows(first, end, width):
                shifted = _shifted(padded[b, :, start : stop + 2], stop - start)
                taps.addmm_(shifted.reshape(9, -1), g[b, start:stop].view(-1, g.shape[3]))
            return taps

        if need_x:
            grad_x = F.conv_transpose2d(gradients[0], weight, padding=1)
        if need_weight:
            done = parallel([partial(part, *p) for p in parts(batch, height)])
            grad_weight = functools.reduce(torch.add, done).t().reshape(weight.shape)
        return grad_x, grad_weight, g.sum((0, 1, 2)) if need_bias else None
