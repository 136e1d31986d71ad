"""A 3 × 3 convolution over maps of several scales, for bfloat16 on a CPU.

``polyphase_conv2d([x, y, z], w, b)`` equals ``conv2d(cat([x, up(y), up(z)]), w, b, padding=1)``
where ``up`` is bilinear interpolation to the size of ``x``. The interpolated maps are never made,
and their part of the convolution takes a half (factor 2) or a quarter (factor 4) of the
multiplications. Interpolation and convolution are linear, so their order is free to choose:

* Along x, each of the f columns that come of one column of a small map is a combination of three
  of its columns, with weights that follow from the kernel's: the polyphase form of a convolution
  after interpolation. This mixes channels, as a matrix product over the columns' windows.
* Along y, the three rows of the kernel mix channels before the interpolation, on the small map.
  Interpolating, shifting and adding the three results is one banded matrix from rows to rows.

Winograd's convolution (:mod:`~jrn_lightning.models.winograd`) saves more, but its transforms cancel
large numbers, for which eight bits are too few; all of the factors here are between 0 and 1.

Both steps go band by band of rows, small enough to stay in the processor's cache. The backward
pass is every step transposed; it takes the windows anew rather than keep them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

#: rows of the result that are computed at a time
BAND = 64


def polyphase_conv2d(maps: Sequence[Tensor], weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve maps of several sizes as if interpolated to the first's and concatenated.

    Args:
        maps: ``(B, C_i, H / f_i, W / f_i)`` of one dtype, the first with f = 1, the others with a
            whole f of at least 2 and two columns or more.
        weight: ``(C_out, sum of C_i, 3, 3)``, in the maps' dtype or a finer one.
        bias: ``(C_out,)`` or None.

    Returns:
        ``(B, C_out, H, W)`` in the maps' dtype, channels-last.
    """
    output = _PolyphaseConv2d.apply(weight, bias, *maps)  # type: ignore[no-untyped-call]
    assert isinstance(output, Tensor)
    return output


def upsampling_factor(x: Tensor, size: torch.Size) -> int:
    """The factor f ≥ 2 from the size of a map to ``size``; 0 where it has none, or one column."""
    f = size[0] // x.shape[-2]
    fits = f >= 2 and x.shape[-1] >= 2
    return f if fits and all(s * f == t for s, t in zip(x.shape[-2:], size, strict=True)) else 0


@lru_cache(maxsize=64)
def _axis(n: int, f: int) -> Tensor:
    """``(n f, 3, n)``: along one axis, each tap of the kernel after interpolation by f."""
    identity = torch.eye(n, dtype=torch.float64)[None]
    up = F.interpolate(identity, scale_factor=f, mode="linear", align_corners=False)[0].t()
    padded = F.pad(up, (0, 0, 1, 1))
    return torch.stack([padded[k : k + n * f] for k in range(3)], 1)


@lru_cache(maxsize=64)
def _phases(f: int) -> Tensor:
    """``(3, f, 3, 3)``: inner, first, last column × phase × tap × neighbour (−1, 0, 1).

    Of the first and the last column of the small map, what they have beyond an inner one.
    """
    n = 5
    padded = F.pad(_axis(n, f).view(n, f, 3, n), (1, 1))
    first, inner, last = (padded[x, :, :, x : x + 3] for x in (0, n // 2, n - 1))
    return torch.stack([inner, first - inner, last - inner])


@lru_cache(maxsize=1024)
def _rows(
    n: int, f: int, first: int, end: int, start: int, stop: int, dtype: torch.dtype
) -> Tensor:
    """``(end − first, 3 (stop − start))``: rows of a small map, by tap, to rows of the result."""
    return _axis(n, f)[first:end, :, start:stop].reshape(end - first, -1).to(dtype)


def _bands(n: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, step):
        yield start, min(start + step, n)


def _spread(weight: Tensor, f: int) -> Tensor:
    """``(C_out, C, 3, 3)`` to ``(3, 3, 3 C, f C_out)``.

    That is inner, first, last column × the kernel's row × windows × phases.
    """
    phases = _phases(f).to(weight.dtype)
    spread = torch.einsum("epjd,ocij->eidcpo", phases, weight)
    return spread.reshape(3, 3, 3 * weight.shape[1], f * weight.shape[0])


def _gathered(spread: Tensor, f: int) -> Tensor:
    """The transpose of :func:`_spread`."""
    phases = _phases(f).to(spread.dtype)
    parted = spread.unflatten(3, (f, -1)).unflatten(2, (3, -1))
    return torch.einsum("epjd,eidcpo->ocij", phases, parted)


class _Image:
    """A small map of one image, to be convolved along x.

    Args:
        x: ``(h, w, C)``.
        weights: of :func:`_spread`.
        f: the factor.
    """

    def __init__(self, x: Tensor, weights: Tensor, f: int) -> None:
        self.f = f
        self.h, self.w, channels = x.shape
        self.inner, self.edges = weights[0], weights[1:]
        padded = F.pad(x, (0, 0, 1, 1))
        row, column, _ = padded.stride()
        windows = padded.as_strided((self.h, self.w, 3 * channels), (row, column, 1))
        #: ``(h, w, 3 C)``: each column with its neighbours, zero outside
        self.windows = windows.contiguous()
        #: ``(2, 1, h, 3 C)``
        self.at_edges = self.windows[:, :: self.w - 1].transpose(0, 1)[:, None]

    def rows_near(self, first: int, end: int) -> tuple[int, int]:
        """Rows of the map that reach rows ``first`` to ``end`` of the result."""
        return max(0, first // self.f - 1), min(self.h, -(-end // self.f) + 1)

    def rows_reached(self, start: int, stop: int) -> tuple[int, int]:
        """Rows of the result that rows ``start`` to ``stop`` of the map reach."""
        return max(0, start - 1) * self.f, min(self.h, stop + 1) * self.f

    def mix(self, start: int, stop: int, into: Tensor) -> None:
        """Convolve rows along x: ``into`` is ``(3, rows, w, f C_out)``, by the kernel's row."""
        windows = self.windows[start:stop].flatten(0, 1)
        for k in range(3):
            torch.mm(windows, self.inner[k], out=into[k].flatten(0, 1))
        into[:, :, :: self.w - 1] += (self.at_edges[:, :, start:stop] @ self.edges).movedim(0, 2)

    def unmix(
        self, start: int, stop: int, gradient: Tensor, windows: Tensor, weights: Tensor
    ) -> None:
        """The transpose of :meth:`mix`.

        Args:
            start: first row.
            stop: end row.
            gradient: of what ``mix`` filled.
            windows: gradient of the windows, which is filled.
            weights: gradient of the weights, which is added to.
        """
        flat, grad_flat = (x[start:stop].flatten(0, 1) for x in (self.windows, windows))
        for k in range(3):
            g = gradient[k].flatten(0, 1)
            torch.addmm(grad_flat, g, self.inner[k].t(), beta=min(k, 1), out=grad_flat)
            weights[0, k] += flat.t() @ g
        at_edges = gradient[:, :, :: self.w - 1].movedim(2, 0)
        windows[start:stop, :: self.w - 1] += (at_edges @ self.edges.mT).sum(1).transpose(0, 1)
        weights[1:] += self.at_edges[:, :, start:stop].mT @ at_edges


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
        weights = [_spread(w, f).to(dtype) for w, f in zip(others, factors, strict=True)]
        last = output.permute(0, 2, 3, 1)
        for b, pixels in enumerate(zip(*map(_pixels, small), strict=True)):
            images = [_Image(*given) for given in zip(pixels, weights, factors, strict=True)]
            for first, end in _bands(size[0], BAND):
                rows = [image.rows_near(first, end) for image in images]
                heights = [3 * (stop - start) for start, stop in rows]
                mixed = finest.new_empty(sum(heights), size[1] * weight.shape[0])
                to_rows = []
                for image, near, block in zip(images, rows, mixed.split(heights), strict=True):
                    image.mix(*near, block.view(3, near[1] - near[0], image.w, -1))
                    to_rows.append(_rows(image.h, image.f, first, end, *near, dtype))
                into = last[b, first:end].flatten(1)
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
    f = upsampling_factor(x, gradient.shape[-2:])
    weights = _spread(weight, f).to(x.dtype)
    grad_weights = torch.zeros_like(weights, dtype=weight.dtype)
    pixels, last = _pixels(x), gradient.permute(0, 2, 3, 1)
    grad_pixels = torch.empty_like(pixels)
    for b in range(len(x)):
        image = _Image(pixels[b], weights, f)
        windows = torch.empty_like(image.windows)
        for start, stop in _bands(image.h, max(1, BAND // f)):
            first, end = image.rows_reached(start, stop)
            to_rows = _rows(image.h, f, first, end, start, stop, x.dtype)
            mixed = to_rows.t() @ last[b, first:end].flatten(1)
            mixed = mixed.view(3, stop - start, image.w, -1)
            image.unmix(start, stop, mixed, windows, grad_weights)
        left, middle, right = windows.unflatten(2, (3, -1)).unbind(2)
        into = grad_pixels[b].copy_(middle)
        into[:, :-1] += left[:, 1:]
        into[:, 1:] += right[:, :-1]
    return grad_pixels.permute(0, 3, 1, 2), _gathered(grad_weights, f)
