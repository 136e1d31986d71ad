"""The convolution over maps of several scales: every convolution of a refinement network.

Three quarters of a network's arithmetic is one layer, which convolves the branches of all scales,
interpolated to the finest and concatenated. Interpolation and convolution are linear, so their
order is free to choose. On a CPU, where arithmetic is what takes the time, the small maps are
convolved *before* they are interpolated: ``polyphase([x, y, z], w, b)`` equals
``conv2d(cat([x, up(y), up(z)]), w, b, padding=1)``, with ``up`` bilinear interpolation to the size
of ``x``. The interpolated maps are never made, and their part of the convolution takes a half
(factor 2) or a quarter (factor 4) of the multiplications:

* Along x, each of the f columns that come of one column of a small map is a combination of three
  of its columns, with weights that follow from the kernel's: the polyphase form of a convolution
  after interpolation. This mixes channels, as a matrix product over the columns' windows.
* Along y, the three rows of the kernel mix channels before the interpolation, on the small map.
  Interpolating, shifting and adding the three results is one banded matrix from rows to rows.

Both steps go band by band of rows, small enough to stay in the processor's cache. The backward
pass is every step transposed; it takes the windows anew rather than keep them. On a GPU the maps
are interpolated, concatenated and convolved, as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: fewest channels of every map, and out, for which the polyphase form was measured to win
WIDE = 32
#: fewest multiplications of the direct convolution, an image, for which it was: forward and
#: backward in bfloat16 took 0.83 of PyTorch's time at 60 × 80 pixels (three maps of 60 channels,
#: 467 million), 0.6 at 120 × 160 and 240 × 320; in float32 0.64 to 0.70
WORK = 400_000_000
#: rows of the result that are computed at a time
BAND = 64


class Conv2d(nn.Conv2d):
    """A same-size convolution of stride 1 over one map or several.

    Several maps are convolved as if interpolated to the size of the first and concatenated. The
    parameters, and but for rounding the values, are those of ``nn.Conv2d``.

    Args:
        in_channels: of all maps together.
        out_channels: of the result.
        kernel_size: odd.
        relu: rectify the result.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, relu: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.relu = relu

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """Convolve ``(B, C_in, H, W)``, or maps ``(B, C_i, h_i, w_i)``, to ``(B, C_out, H, W)``."""
        maps = [x] if isinstance(x, Tensor) else list(x)
        if self.is_polyphase(maps):
            output = polyphase(maps, self.weight, self.bias)
        else:
            size = maps[0].shape[-2:]
            whole = [m if m.shape[-2:] == size else _interpolated(m, size) for m in maps]
            output = super().forward(torch.cat(whole, 1) if len(whole) > 1 else whole[0])
        return F.relu(output, inplace=True) if self.relu else output

    def is_polyphase(self, maps: Sequence[Tensor]) -> bool:
        """Whether these maps are convolved before they are interpolated."""
        size = maps[0].shape[-2:]
        return (
            len(maps) > 1
            and self.kernel_size == (3, 3)
            and min(self.out_channels, *(m.shape[1] for m in maps)) >= WIDE
            and size.numel() * self.weight.numel() >= WORK
            and len({m.dtype for m in maps}) == 1
            and all(m.device.type == "cpu" for m in maps)
            and all(upsampling_factor(m, size) > 1 for m in maps[1:])
        )


def _interpolated(x: Tensor, size: torch.Size) -> Tensor:
    if x.device.type == "cpu":
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    return interpolated_by_products(x, size)


def interpolated_by_products(x: Tensor, size: torch.Size) -> Tensor:
    """``F.interpolate(x, size, mode="bilinear")`` as two matrix products.

    For a GPU. There the backward pass of PyTorch's own adds in any order, unless it is told to be
    deterministic: then it gathers pixel by pixel, and its backward pass sorts every index. Matrix
    products are repeatable as they are.
    """
    pairs = zip(x.shape[-2:], size, strict=True)
    rows, columns = (_interpolation(n, m, x.dtype, x.device) for n, m in pairs)
    return rows @ x @ columns.mT


@lru_cache(maxsize=64)
def _interpolation(n: int, m: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``(m, n)``: n samples to m, linearly."""
    with torch.inference_mode(False):  # kept for training, whoever asks first
        identity = torch.eye(n, dtype=torch.float64)[None]
        matrix = F.interpolate(identity, size=m, mode="linear", align_corners=False)[0].t()
        return matrix.contiguous().to(device, dtype)


def polyphase(maps: Sequence[Tensor], weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve maps of several sizes as if interpolated to the first's and concatenated.

    Args:
        maps: ``(B, C_i, H / f_i, W / f_i)`` of one dtype, the first with f = 1, the others with a
            whole f of at least 2.
        weight: ``(C_out, sum of C_i, 3, 3)``, in the maps' dtype or a finer one.
        bias: ``(C_out,)`` or None.

    Returns:
        ``(B, C_out, H, W)`` in the maps' dtype, channels-last.
    """
    # The kernel's combinations are made in its own precision, and rounded once.
    with torch.autocast(weight.device.type, enabled=False):
        output = _PolyphaseConv2d.apply(weight, bias, *maps)  # type: ignore[no-untyped-call]
    assert isinstance(output, Tensor)
    return output


def upsampling_factor(x: Tensor, size: torch.Size) -> int:
    """The whole factor from the size of a map to ``size``, 1 if they agree; 0 if there is none."""
    f = size[0] // x.shape[-2]
    return f if all(s * f == t for s, t in zip(x.shape[-2:], size, strict=True)) else 0


@lru_cache(maxsize=64)
def interpolated_taps(n: int, f: int) -> Tensor:
    """``(n f, 3, n)``: along one axis, each tap of the kernel after interpolation by f."""
    identity = torch.eye(n, dtype=torch.float64)[None]
    up = F.interpolate(identity, scale_factor=f, mode="linear", align_corners=False)[0].t()
    padded = F.pad(up, (0, 0, 1, 1))
    return torch.stack([padded[k : k + n * f] for k in range(3)], 1)


@lru_cache(maxsize=64)
def _phases(f: int) -> Tensor:
    """``(f, 3, 3)``: phase × tap × neighbour (−1, 0, 1) of a column of the small map."""
    n = 5
    inner = interpolated_taps(n, f).view(n, f, 3, n)[n // 2]
    return inner[:, :, n // 2 - 1 : n // 2 + 2]


@lru_cache(maxsize=1024)
def _rows(
    n: int, f: int, first: int, end: int, start: int, stop: int, dtype: torch.dtype
) -> Tensor:
    """``(end − first, 3 (stop − start))``: rows of a small map, by tap, to rows of the result."""
    return interpolated_taps(n, f)[first:end, :, start:stop].reshape(end - first, -1).to(dtype)


def _bands(n: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, step):
        yield start, min(start + step, n)


def _spread(weight: Tensor, f: int) -> Tensor:
    """``(C_out, C, 3, 3)`` to ``(3, 3 C, f C_out)``: the kernel's row × windows × phases."""
    spread = torch.einsum("pjd,ocij->idcpo", _phases(f).to(weight.dtype), weight)
    return spread.reshape(3, 3 * weight.shape[1], f * weight.shape[0])


def _gathered(spread: Tensor, f: int) -> Tensor:
    """The transpose of :func:`_spread`."""
    parted = spread.unflatten(2, (f, -1)).unflatten(1, (3, -1))
    return torch.einsum("pjd,idcpo->ocij", _phases(f).to(spread.dtype), parted)


def _outer(weight: Tensor) -> Tensor:
    """``(C_out, C, 3, 3)`` to ``(3, 2, C, C_out)``: the kernel's row × its outer columns."""
    return weight[..., ::2].permute(2, 3, 1, 0)


class _Image:
    """A small map of one image, to be convolved along x.

    It goes on beyond its edges as interpolation has it, with the value at the edge. The
    convolution has zeros there, so what its outer taps see of the edge is taken off again.

    Args:
        x: ``(h, w, C)``.
        weight: ``(C_out, C, 3, 3)``.
        f: the factor.
    """

    def __init__(self, x: Tensor, weight: Tensor, f: int) -> None:
        self.f = f
        self.h, self.w, channels = x.shape
        #: ``(3, 3 C, f C_out)`` and ``(3, 2, C, C_out)``
        self.weights, self.outer = _spread(weight, f).to(x.dtype), _outer(weight).to(x.dtype)
        padded = torch.cat([x[:, :1], x, x[:, -1:]], 1)
        row, column, _ = padded.stride()
        windows = padded.as_strided((self.h, self.w, 3 * channels), (row, column, 1))
        #: ``(h, w, 3 C)``: each column with its neighbours
        self.windows = windows.contiguous()
        #: ``(2, h, C)``
        self.edges = torch.stack([x[:, 0], x[:, -1]])

    def rows_near(self, first: int, end: int) -> tuple[int, int]:
        """Rows of the map that reach rows ``first`` to ``end`` of the result."""
        return max(0, first // self.f - 1), min(self.h, -(-end // self.f) + 1)

    def rows_reached(self, start: int, stop: int) -> tuple[int, int]:
        """Rows of the result that rows ``start`` to ``stop`` of the map reach."""
        return max(0, start - 1) * self.f, min(self.h, stop + 1) * self.f

    @cached_property
    def beyond(self) -> Tensor:
        """``(3, h, 2, C_out)``: what the outer taps see beyond the two edges."""
        return (self.edges @ self.outer).transpose(1, 2)

    def mix(self, start: int, stop: int, into: Tensor) -> None:
        """Convolve rows along x: ``into`` is ``(3, rows, W, C_out)``, by the kernel's row."""
        windows = self.windows[start:stop].flatten(0, 1)
        for k in range(3):
            torch.mm(windows, self.weights[k], out=into[k].view(len(windows), -1))
        for edge, column in enumerate((0, -1)):
            into[:, :, column] -= self.beyond[:, start:stop, edge]

    def gradients(self, bands: Iterator[tuple[int, int, Tensor]]) -> tuple[Tensor, Tensor]:
        """The transpose of :meth:`mix`.

        Args:
            bands: first row, end row, and the gradient ``(3, rows, W, C_out)`` of what ``mix`` made
                of them.

        Returns:
            Gradients ``(h, w, C)`` of the map and ``(C_out, C, 3, 3)`` of the weight, the latter in
            float32 or finer.
        """
        finer = torch.promote_types(self.windows.dtype, torch.float32)
        grad_windows = torch.empty_like(self.windows)
        grad_weights = torch.zeros_like(self.weights, dtype=finer)
        grad_beyond = self.outer.new_empty(3, 2, self.h, self.outer.shape[3])
        for start, stop, mixed in bands:
            windows, into = (x[start:stop].flatten(0, 1) for x in (self.windows, grad_windows))
            for k in range(3):
                g = mixed[k].view(len(windows), -1)
                torch.addmm(into, g, self.weights[k].t(), beta=min(k, 1), out=into)
                grad_weights[k] += windows.t() @ g
            for edge, column in enumerate((0, -1)):
                grad_beyond[:, edge, start:stop] = mixed[:, :, column]
        left, middle, right = grad_windows.unflatten(2, (3, -1)).unbind(2)
        grad_x = middle.clone()
        grad_x[:, :-1] += left[:, 1:]
        grad_x[:, 1:] += right[:, :-1]
        first, last = (grad_beyond @ self.outer.mT).sum(0)
        grad_x[:, 0] += left[:, 0] - first
        grad_x[:, -1] += right[:, -1] - last
        grad_weight = _gathered(grad_weights, self.f)
        _outer(grad_weight).sub_(self.edges.mT @ grad_beyond)
        return grad_x, grad_weight


def _pixels(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


class _PolyphaseConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, *maps: Tensor) -> Tensor:
        ctx.save_for_backward(weight, *maps)
        finest, *small = maps
        dtype, size = finest.dtype, finest.shape[-2:]
        own, *others = weight.split([m.shape[1] for m in maps], 1)
        output = F.conv2d(
            finest.contiguous(memory_format=torch.channels_last),
            own.to(dtype),
            None if bias is None else bias.to(dtype),
            padding=1,
        ).contiguous(memory_format=torch.channels_last)
        factors = [upsampling_factor(m, size) for m in small]
        last = output.permute(0, 2, 3, 1)
        for b, pixels in enumerate(zip(*map(_pixels, small), strict=True)):
            images = [_Image(*given) for given in zip(pixels, others, factors, strict=True)]
            for first, end in _bands(size[0], BAND):
                rows = [image.rows_near(first, end) for image in images]
                heights = [3 * (stop - start) for start, stop in rows]
                mixed = finest.new_empty(sum(heights), size[1] * weight.shape[0])
                to_rows = []
                for image, near, block in zip(images, rows, mixed.split(heights), strict=True):
                    image.mix(*near, block.view(3, near[1] - near[0], size[1], -1))
                    to_rows.append(_rows(image.h, image.f, first, end, *near, dtype))
                into = last[b, first:end].view(end - first, -1)
                torch.addmm(into, torch.cat(to_rows, 1), mixed, out=into)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, finest, *small = ctx.saved_tensors
        need_weight, need_bias, need_finest, *need_small = ctx.needs_input_grad
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        own, *others = weight.split([m.shape[1] for m in (finest, *small)], 1)
        grad_finest, grad_own, grad_bias = torch.ops.aten.convolution_backward(
            gradient,
            finest.contiguous(memory_format=torch.channels_last),
            own.to(finest.dtype),
            [weight.shape[0]],
            [1, 1],
            [1, 1],
            [1, 1],
            False,
            [0, 0],
            1,
            [need_finest, need_weight, need_bias],
        )
        grad_maps, grad_weights = [grad_finest], [grad_own]
        for x, w in zip(small, others, strict=True):
            grad_map, grad_spread = _backward(x, w, gradient)
            grad_maps.append(grad_map)
            grad_weights.append(grad_spread)
        needed = zip(grad_maps, (need_finest, *need_small), strict=True)
        return (
            torch.cat([g.to(weight.dtype) for g in grad_weights], 1) if need_weight else None,
            grad_bias if need_bias else None,
            *(g if need else None for g, need in needed),
        )


def _backward(x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a small map and of its part of the weight, from the result's."""
    size, last = gradient.shape[-2:], gradient.permute(0, 2, 3, 1)
    f = upsampling_factor(x, size)

    def bands(b: int, image: _Image) -> Iterator[tuple[int, int, Tensor]]:
        for start, stop in _bands(image.h, max(1, BAND // f)):
            first, end = image.rows_reached(start, stop)
            to_rows = _rows(image.h, f, first, end, start, stop, x.dtype)
            mixed = to_rows.t() @ last[b, first:end].flatten(1)
            yield start, stop, mixed.view(3, stop - start, size[1], -1)

    found = []
    for b, pixels in enumerate(_pixels(x)):
        image = _Image(pixels, weight, f)
        found.append(image.gradients(bands(b, image)))
    grad_maps, grad_weights = zip(*found, strict=True)
    return torch.stack(grad_maps).permute(0, 3, 1, 2), torch.stack(grad_weights).sum(0)
