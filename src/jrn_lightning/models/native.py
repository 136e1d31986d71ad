"""The compiled kernels of Winograd's convolution (``winograd.c``), where there are any."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning import compiled
from jrn_lightning.models.threads import parts

#: buffers have a whole number of these channels (``PAD`` of winograd.c)
PAD = 16


class _Windows(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("data", "above", "below", "axis")),
        *(
            (name, ctypes.c_long)
            for name in (
                "h",
                "w",
                "c",
                "step",
                "offset",
                "span",
                "numbers",
                "repeat",
                "first",
                "end",
            )
        ),
    )


class _Map(ctypes.Structure):
    _fields_ = (
        ("values", _Windows),
        ("gradient", _Windows),
        *((name, ctypes.c_void_p) for name in ("weight", "transposed", "weight_gradient")),
    )


class _Taps(ctypes.Structure):
    _fields_ = (("windows", _Windows), ("products", ctypes.c_void_p))


class _Part(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_long) for name in ("rows", "columns", "first", "end", "count")),
        ("maps", ctypes.POINTER(_Map)),
        ("taps_count", ctypes.c_long),
        ("taps", ctypes.POINTER(_Taps)),
        ("output", _Windows),
        ("rectified", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("bias_gradient", ctypes.c_void_p),
    )


class Axis(NamedTuple):
    """How the tiles along an axis see a map.

    Attributes:
        matrices: ``(4, numbers, span)`` float32: a window's values to its numbers, by (first tile
            of the axis) + 2 (last tile).
        step: values of the map from a tile to the next.
        offset: where the first window starts.
        repeat: beyond its edges the map has the edge's values, not zeros.
    """

    matrices: Tensor
    step: int
    offset: int
    repeat: bool


#: ``interface`` of winograd.c
_INTERFACE = (2, PAD, *(ctypes.sizeof(kind) for kind in (_Windows, _Map, _Taps, _Part)))


@cache
def library() -> ctypes.CDLL | None:
    """The kernels, or None where they were not compiled, or from other sources than these."""
    loaded = compiled.library("jrn_lightning.models._winograd")
    try:
        interface = (ctypes.c_long * len(_INTERFACE)).in_dll(loaded, "interface") if loaded else ()
    except ValueError:  # older than ``interface``
        return None
    return loaded if tuple(interface) == _INTERFACE else None


@cache
def _kernel() -> Callable[..., int]:
    """The library's function for the vector instructions that PyTorch found."""
    capability = torch.backends.cpu.get_cpu_capability()
    kind = {"AVX512": "avx512", "AVX2": "avx2"}.get(capability, "any")
    return cast(Callable[..., int], getattr(library(), f"run_{kind}"))


class Taps(NamedTuple):
    """A map that is interpolated, convolved before that.

    Attributes:
        axis: of the output's windows that a value of the map reaches.
        products: ``(B, tiles, 9, C_out)`` float32: each value times each tap of the kernel, or the
            gradient of that.
    """

    axis: Axis
    products: Tensor


def forward(
    maps: Sequence[Tensor],
    axes: Sequence[Axis],
    weights: Tensor,
    bias: Tensor | None,
    taps: Sequence[Taps],
    output: Tensor,
    output_axis: Axis,
) -> None:
    """Convolve.

    Args:
        maps: ``(B, h_i, w_i, C_i)``, float32 and contiguous, as all tensors here.
        axes: of each map.
        weights: ``(36, sum of C_i, C_out)``.
        bias: ``(C_out,)`` or None.
        taps: of the maps that are convolved before they are interpolated.
        output: ``(B, H, W, C_out)``, written.
        output_axis: of the output, with windows that do not overlap.
    """
    parted = [_panels(u) for u in weights.split([m.shape[3] for m in maps], 1)]
    if bias is None:
        bias = output.new_zeros(output.shape[3])
    places = parts(len(output), -(-output.shape[1] // output_axis.step))
    given, edges = [], []
    for image, first, end in places:
        y, own = output[image], _own(output_axis, first, end, output.shape[1])
        beyond = [y.new_zeros(2, -t.axis.offset, *y.shape[1:]) for t in taps]
        part = _part(first, end, len(maps), len(taps), _windows(y, output_axis))
        part.bias = bias.data_ptr()
        for into, m, axis, u in zip(part.maps[: len(maps)], maps, axes, parted, strict=True):
            into.values, into.weight = _windows(m[image], axis), u.data_ptr()
        for reached, t, both in zip(part.taps[: len(taps)], taps, beyond, strict=True):
            reached.windows = _windows(y, t.axis, own, both)
            reached.products = t.products[image].data_ptr()
        given.append(part)
        edges.append(beyond)
    _run(given)
    for place, beyond in zip(places, edges, strict=True):
        for both in beyond:
            _hand_over(output, output_axis, place, both)


def backward(
    maps: Sequence[Tensor],
    axes: Sequence[Axis],
    weights: Tensor,
    taps: Sequence[Taps],
    gradient: Tensor,
    rectified: Tensor | None,
    output_axis: Axis,
    need_weight: bool,
    need_bias: bool,
    need_maps: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, list[Tensor | None]]:
    """The gradients of :func:`forward`, from that of its output, as its arguments are shaped.

    Where the output was rectified after, ``rectified`` is what came of that, and ``gradient`` is of
    it. The products of the taps are written.

    Returns:
        The gradient of ``weights``, of the bias, and of every map, each None where it is not
        needed.
    """
    channels = [m.shape[3] for m in maps]
    c_out = gradient.shape[3]
    transposed = [_panels(u.transpose(1, 2)) for u in weights.split(channels, 1)]
    grad_maps = [torch.empty_like(m) if n else None for m, n in zip(maps, need_maps, strict=True)]
    places = parts(len(gradient), -(-gradient.shape[1] // output_axis.step))
    given, weight_sums, bias_sums, edges = [], [], [], []
    for image, first, end in places:
        g = gradient[image]
        sums = [_padded(weights.new_zeros(36, c, c_out)) for c in channels] if need_weight else []
        beyond = [m.new_zeros(2, -a.offset, *m.shape[2:]) for m, a in zip(maps, axes, strict=True)]
        bias = weights.new_zeros(c_out)
        part = _part(first, end, len(maps), len(taps), _windows(g, output_axis))
        part.bias_gradient = bias.data_ptr()
        if rectified is not None:
            part.rectified = rectified[image].data_ptr()
        for i, (m, axis) in enumerate(zip(maps, axes, strict=True)):
            part.maps[i].values = _windows(m[image], axis)
            part.maps[i].transposed = transposed[i].data_ptr()
            into = grad_maps[i]
            if into is not None:
                own = _own(axis, first, end, m.shape[1])
                part.maps[i].gradient = _windows(into[image], axis, own, beyond[i])
            if need_weight:
                part.maps[i].weight_gradient = sums[i].data_ptr()
        for reached, t in zip(part.taps[: len(taps)], taps, strict=True):
            reached.windows = _windows(g, t.axis)
            reached.products = t.products[image].data_ptr()
        given.append(part)
        weight_sums.append(sums)
        bias_sums.append(bias)
        edges.append(beyond)
    _run(given, backward=True)
    for place, beyond in zip(places, edges, strict=True):
        for into, axis, both in zip(grad_maps, axes, beyond, strict=True):
            if into is not None:
                _hand_over(into, axis, place, both)
    grad_bias = functools.reduce(torch.add, bias_sums) if need_bias else None
    if not need_weight:
        return None, grad_bias, grad_maps
    totals = [functools.reduce(torch.add, each) for each in zip(*weight_sums, strict=True)]
    return torch.cat([t[..., :c_out] for t in totals], 1), grad_bias, grad_maps


def _own(axis: Axis, first: int, end: int, height: int) -> tuple[int, int]:
    """Rows of a map that belong to rows ``first`` to ``end`` of tiles."""
    return min(height, axis.step * first), min(height, axis.step * end)


def _hand_over(x: Tensor, axis: Axis, place: tuple[int, int, int], edges: Tensor) -> None:
    """Add to ``x`` (B, h, w, C) what a part has for the rows before and after its own."""
    image, first, end = place
    above, below = edges
    start, stop = _own(axis, first, end, x.shape[1])
    before, after = x[image, max(0, start - len(above)) : start], x[image, stop : stop + len(below)]
    before += above[len(above) - len(before) :]
    after += below[: len(after)]


def _padded(weights: Tensor) -> Tensor:
    """``(36, K, N)`` with N a multiple of ``PAD``."""
    return F.pad(weights, (0, -weights.shape[2] % PAD)).contiguous()


def _panels(weights: Tensor) -> Tensor:
    """``(36, K, N)`` as ``(36, N / PAD, K, PAD)``, in the order in which they are read."""
    panels: Tensor = _padded(weights).unflatten(2, (-1, PAD))
    return panels.transpose(1, 2).contiguous()


def _windows(
    x: Tensor, axis: Axis, own: tuple[int, int] | None = None, edges: Tensor | None = None
) -> _Windows:
    """``x`` (h, w, C) as windows, of which a part owns some rows; ``edges`` take the others'."""
    h, w, c = x.shape
    first, end = own or (0, h)
    above, below = (None, None) if edges is None else (e.data_ptr() for e in edges)
    _, numbers, span = axis.matrices.shape
    return _Windows(
        *(x.data_ptr(), above, below, axis.matrices.data_ptr()),
        *(h, w, c, axis.step, axis.offset, span, numbers, axis.repeat, first, end),
    )


def _part(first: int, end: int, maps: int, taps: int, output: _Windows) -> _Part:
    """Rows ``first`` to ``end`` of an output's tiles, with room for the maps and taps."""
    rows, columns = (-(-size // output.step) for size in (output.h, output.w))
    return _Part(
        *(rows, columns, first, end),
        *(maps, (_Map * maps)(), taps, (_Taps * taps)()),
        output=output,
    )


def _run(given: Sequence[_Part], backward: bool = False) -> None:
    threads = min(len(given), torch.get_num_threads())
    if _kernel()((_Part * len(given))(*given), len(given), threads, backward):
        raise MemoryError("no memory for a block of a convolution")
