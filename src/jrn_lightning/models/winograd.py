"""Winograd's 3 × 3 convolution over maps of several scales, for float32 on a CPU.

``multiscale_conv2d([x, y, z], w, b)`` equals ``conv2d(cat([x, up(y), up(z)]), w, b, padding=1)``
where ``up`` is bilinear interpolation to the size of ``x``, and with one map it is a plain
convolution. It takes a quarter of the multiplications and never makes the interpolated maps:

* The output is cut into tiles of 4 × 4. A tile needs 6 × 6 values of the concatenated map, and
  Winograd's F(4 × 4, 3 × 3) turns these into 36 numbers a channel, such that the convolution is
  36 products (tiles × C_in) @ (C_in × C_out) (Lavin & Gray 2016, "Fast Algorithms for
  Convolutional Neural Networks", Section 4.3).
* The 36 numbers are linear in the 6 × 6 values, and those, where a map was interpolated, are
  linear in 4 × 4 (factor 2) or 3 × 3 (factor 4) values of the small map. One matrix does both.

Each linear step is a matrix product over all tiles and channels of a band of rows, small enough
that it stays in the processor's cache. The backward pass is every step transposed, in the same
bands; it computes the 36 numbers anew, which is cheaper than to keep them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import pairwise, product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.models import native
from jrn_lightning.models.polyphase import interpolated_taps
from jrn_lightning.models.threads import parallel, parts

#: outputs of a tile, along one axis
TILE = 4
#: tiles of a band
BAND = 320

# interpolation points 0, 1, -1, 2, -2 and infinity
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_WEIGHT = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def multiscale_conv2d(
    maps: Sequence[Tensor], weight: Tensor, bias: Tensor | None, relu: bool = False
) -> Tensor:
    """Convolve maps of one or more sizes as if interpolated to the first's and concatenated.

    Args:
        maps: ``(B, C_i, H / f_i, W / f_i)`` with f 1, 2 or 4, the first with f = 1; where an f is
            not 1, H and W are divisible by 4.
        weight: ``(C_out, sum of C_i, 3, 3)``.
        bias: ``(C_out,)`` or None.
        relu: rectify the result.

    Returns:
        ``(B, C_out, H, W)``, channels-last.
    """
    falling = all(a.shape[2] >= b.shape[2] for a, b in pairwise(maps))
    compiled = falling and weight.dtype == torch.float32 and native.library() is not None
    if compiled:
        output = _Compiled.apply(weight, bias, relu, *maps)  # type: ignore[no-untyped-call]
    else:
        output = _MultiscaleConv2d.apply(weight, bias, *maps)  # type: ignore[no-untyped-call]
        output = F.relu(output, inplace=True) if relu else output
    assert isinstance(output, Tensor)
    return output


def _axis_matrix(factor: int, first: bool, last: bool) -> Tensor:
    """``(6, 2 + 4 / factor)``: values of a (small) map to Winograd's numbers, along one axis.

    The first and the last tile reach one value beyond the map, which is zero if the factor is 1
    (the map is padded so) and must be made zero where it is interpolated.
    """
    span = TILE // factor + 2
    spread = torch.zeros(TILE + 2, span, dtype=torch.float64)
    for k in range(TILE + 2):  # value 4 t - 1 + k of the large map
        place = (k - 0.5) / factor + 0.5  # from value t * 4 / factor - 1 of the small one
        low = min(int(place), span - 2)
        spread[k, low], spread[k, low + 1] = 1 - (place - low), place - low
    if factor > 1:
        spread[0] *= not first
        spread[-1] *= not last
    return torch.tensor(_INPUT, dtype=torch.float64) @ spread


@lru_cache
def _matrices(factor: int, dtype: torch.dtype) -> dict[tuple[bool, bool, bool, bool], Tensor]:
    """By (first row, last row, first column, last column) of the tile: ``(36, span²)``."""
    ends = [(first, last) for first in (False, True) for last in (False, True)]
    axis = {end: _axis_matrix(factor, *end) for end in ends}
    return {(*y, *x): torch.kron(axis[y], axis[x]).to(dtype) for y in ends for x in ends}


@lru_cache
def _square(rows: tuple[tuple[float, ...], ...], dtype: torch.dtype) -> Tensor:
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).to(dtype)


def _transformed_weight(weight: Tensor) -> Tensor:
    """``(C_out, C_in, 3, 3)`` to ``(36, C_in, C_out)``."""
    c_out, c_in = weight.shape[:2]
    flat = weight.permute(2, 3, 1, 0).reshape(9, c_in * c_out)
    return (_square(_WEIGHT, weight.dtype) @ flat).view(36, c_in, c_out)


@lru_cache
def _input_axis(factor: int) -> native.Axis:
    ends = [(first, last) for last in (False, True) for first in (False, True)]
    matrices = torch.stack([_axis_matrix(factor, *end) for end in ends])
    return native.Axis(matrices.float(), TILE // factor, -1, factor > 1)


@lru_cache
def _taps_axis(factor: int) -> native.Axis:
    """Values of the output that one of a small map reaches, by the taps of the kernel."""
    span, before = 2 * factor + 2, factor // 2 + 1
    matrices = []
    for first, n in ((2, 5), (0, 3), (4, 5), (0, 1)):
        reached = F.pad(interpolated_taps(n, factor)[:, :, first].t(), (span, span))
        start = factor * first - before + span
        matrices.append(reached[:, start : start + span])
    return native.Axis(torch.stack(matrices).float(), factor, -before, False)


@lru_cache
def _output_axis() -> native.Axis:
    matrix = torch.tensor(_OUTPUT, dtype=torch.float32).t()
    return native.Axis(matrix.expand(4, -1, -1).contiguous(), TILE, 0, False)


def _last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


class _Compiled(torch.autograd.Function):
    """The same by the compiled kernels; maps that are interpolated by 4 are convolved before."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, relu: bool, *maps: Tensor) -> Tensor:
        large, small = _parted(maps)
        given, taps = weight.split([sum(m.shape[1] for m in x) for x in (large, small)], 1)
        b, _, h, w = maps[0].shape
        shape = (b, weight.shape[0], h, w)
        output = torch.empty(shape, dtype=weight.dtype, memory_format=torch.channels_last)
        native.forward(
            [_last(m) for m in large],
            [_input_axis(h // m.shape[2]) for m in large],
            _transformed_weight(given),
            bias,
            [
                native.Taps(_taps_axis(h // m.shape[2]), _products(m, u))
                for m, u in zip(small, taps.split([m.shape[1] for m in small], 1), strict=True)
            ],
            output.permute(0, 2, 3, 1),
            _output_axis(),
        )
        if relu:
            output.relu_()
        ctx.save_for_backward(weight, output if relu else None, *maps)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, rectified, *maps = ctx.saved_tensors
        need_weight, need_bias, _, *need_maps = ctx.needs_input_grad
        large, small = _parted(maps)
        given, taps = weight.split([sum(m.shape[1] for m in x) for x in (large, small)], 1)
        gradient = _last(gradients[0])
        h, c_out = gradient.shape[1], gradient.shape[3]
        reached = [
            native.Taps(
                _taps_axis(h // m.shape[2]),
                m.new_empty(m.shape[0], m.shape[2] * m.shape[3], 9, c_out),
            )
            for m in small
        ]
        grad_weight, grad_bias, grad_maps = native.backward(
            [_last(m) for m in large],
            [_input_axis(h // m.shape[2]) for m in large],
            _transformed_weight(given),
            reached,
            gradient,
            None if rectified is None else rectified.permute(0, 2, 3, 1),
            _output_axis(),
            need_weight,
            need_bias,
            need_maps[: len(large)],
        )
        found = [None if g is None else g.permute(0, 3, 1, 2) for g in grad_maps]
        weights = [] if grad_weight is None else [_gathered_weight(grad_weight)]
        for m, u, t in zip(small, taps.split([m.shape[1] for m in small], 1), reached, strict=True):
            g = t.products.flatten(0, 1).flatten(1)
            if need_weight:
                kernel = g.t() @ _last(m).flatten(0, 2)
                weights.append(kernel.view(3, 3, c_out, -1).permute(2, 3, 0, 1))
            grad = (g @ _tap_matrix(u).t()).view_as(m.permute(0, 2, 3, 1))
            found.append(grad.permute(0, 3, 1, 2))
        return (
            torch.cat(weights, 1) if weights else None,
            grad_bias,
            None,
            *(g if need else None for g, need in zip(found, need_maps, strict=True)),
        )


def _parted(maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The maps that Winograd's numbers are made of, and those that are convolved before."""
    large = sum(maps[0].shape[2] // m.shape[2] < TILE for m in maps)
    return list(maps[:large]), list(maps[large:])


def _tap_matrix(weight: Tensor) -> Tensor:
    """``(C_out, C, 3, 3)`` as ``(C, 9 C_out)``."""
    return weight.permute(1, 2, 3, 0).flatten(1)


def _products(x: Tensor, weight: Tensor) -> Tensor:
    """Values ``(B, C, h, w)`` times each tap of the kernel, ``(B, h w, 9, C_out)``."""
    b, _, h, w = x.shape
    return (_last(x).flatten(0, 2) @ _tap_matrix(weight)).view(b, h * w, 9, -1)


def _gathered_weight(numbers: Tensor) -> Tensor:
    """The transpose of :func:`_transformed_weight`."""
    flat = _square(_WEIGHT, numbers.dtype).t() @ numbers.flatten(1)
    return flat.view(3, 3, *numbers.shape[1:]).permute(3, 2, 0, 1).contiguous()


class _Source:
    """One map ``(B, C, h, w)`` as tiles, and the gradient for it, by bands of rows of tiles.

    Args:
        x: the map.
        factor: it is to be interpolated by.
        tiles: number of tiles along (y, x).
        band: greatest number of rows of tiles at a time.
    """

    def __init__(self, x: Tensor, factor: int, tiles: tuple[int, int], band: int) -> None:
        self.map = x.permute(0, 2, 3, 1)
        self.factor, self.tiles = factor, tiles
        self.channels = x.shape[1]
        self.step = TILE // factor  # values of the map from tile to tile
        self.span = self.step + 2  # values of the map that a tile reaches
        self.matrices = _matrices(factor, x.dtype)
        # scratch, reused by every band: rows with a border of one value, and windows on them
        rows, columns = self.step * band + 2, self.step * tiles[1] + 2
        self._rows = x.new_zeros(rows, columns, self.channels)
        self._gradient_rows = torch.empty_like(self._rows)
        self._scratch = x.new_empty(self.span**2 * band * tiles[1] * self.channels)
        self._waiting = False

    def _windows(self, n: int) -> Tensor:
        """Scratch ``(span, span, n, columns of tiles, C)``."""
        shape = (self.span, self.span, n, self.tiles[1], self.channels)
        return self._scratch[: math.prod(shape)].view(shape)

    def _edges(self) -> Iterator[tuple[slice, tuple[bool, bool]]]:
        """Columns of tiles that have a matrix of their own."""
        last = self.tiles[1] - 1
        if self.factor > 1:
            yield slice(0, 1), (True, last == 0)
            if last:
                yield slice(last, last + 1), (False, True)

    def transform(self, image: int, start: int, stop: int, out: Tensor) -> None:
        """Winograd's numbers of tile rows start to stop into ``(36, tiles, C)``."""
        n, row = stop - start, (start == 0, stop == self.tiles[0])
        (_, h, w, _), rows = self.map.shape, self._rows
        first, end = self.step * start - 1, self.step * stop + 1
        top, bottom = max(0, -first), max(0, end - h)
        count = end - first
        rows[top : count - bottom, 1 : w + 1] = self.map[image, first + top : end - bottom]
        if self.factor > 1:  # interpolation repeats the border, a convolution has zeros there
            rows[:count, 0], rows[:count, w + 1] = rows[:count, 1], rows[:count, w]
            if top:
                rows[0] = rows[1]
            if bottom:
                rows[count - 1] = rows[count - 2]
        else:
            rows[:top].zero_()
            rows[count - bottom : count].zero_()
        windows = self._windows(n)
        y, x, _ = rows.stride()
        windows.copy_(rows.as_strided(windows.shape, (y, x, y * self.step, x * self.step, 1)))
        torch.mm(
            self.matrices[(*row, False, False)], windows.view(self.span**2, -1), out=out.flatten(1)
        )
        grid = out.unflatten(1, (n, -1))
        for columns, edge in self._edges():
            part = windows[:, :, :, columns].reshape(self.span**2, -1)
            grid[:, :, columns] = (self.matrices[(*row, *edge)] @ part).view(36, n, 1, -1)

    def accumulate(self, gradient: Tensor, start: int, stop: int, given: Tensor) -> None:
        """The transpose: from the gradient ``(36, tiles, C)`` to the map's ``(h, w, C)``.

        Bands must come in order: the last two rows of one wait for the next, or ``hand_over``.
        """
        n, row = stop - start, (start == 0, stop == self.tiles[0])
        windows = self._windows(n)
        flat = windows.view(self.span**2, -1)
        torch.mm(self.matrices[(*row, False, False)].t(), given.flatten(1), out=flat)
        grid = given.unflatten(1, (n, -1))
        for columns, edge in self._edges():
            part = self.matrices[(*row, *edge)].t() @ grid[:, :, columns].reshape(36, -1)
            windows[:, :, :, columns] = part.view(self.span, self.span, n, 1, -1)

        rows, step, count = self._gradient_rows, self.step, self.step * n + 2
        rows[2 if self._waiting else 0 : count].zero_()
        y, x, _ = rows.stride()
        for j, i in product(range(0, self.span, step), repeat=2):  # the places of a piece are apart
            piece = windows[j : j + step, i : i + step]
            into = rows[j:, i:]
            strides = (y, x, y * step, x * step, 1)
            into.as_strided(piece.shape, strides, into.storage_offset()).add_(piece)

        (_, h, w, _), first = self.map.shape, step * start - 1
        if self.factor > 1:
            if row[0]:
                rows[1] += rows[0]
            if row[1]:
                rows[count - 2] += rows[count - 1]
        top = max(0, -first)
        end = min(h, first + (count if row[1] else count - 2))
        ready = rows[top : end - first]
        into = gradient[first + top : end]
        into.copy_(ready[:, 1 : w + 1])
        if self.factor > 1:
            into[:, 0] += ready[:, 0]
            into[:, w - 1] += ready[:, w + 1]
        rows[:2] = rows[count - 2 : count].clone()
        self._waiting = not row[1]

    def hand_over(self, gradient: Tensor, stop: int) -> None:
        """Add the rows that wait after tile row ``stop`` - 1 to the map's gradient."""
        w = self.map.shape[2]
        into = gradient[self.step * stop - 1 : self.step * stop + 1]
        ready = self._gradient_rows[: into.shape[0]]
        into += ready[:, 1 : w + 1]
        if self.factor > 1:
            into[:, 0] += ready[:, 0]
            into[:, w - 1] += ready[:, w + 1]


class _MultiscaleConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, *maps: Tensor) -> Tensor:
        ctx.save_for_backward(weight, *maps)
        b, _, h, w = maps[0].shape
        c_out = weight.shape[0]
        tiles = (-(-h // TILE), -(-w // TILE))
        uneven = any(m.shape[-2] != h for m in maps)
        weights = _transformed_weight(weight).split([m.shape[1] for m in maps], 1)
        gather = _square(_OUTPUT, weight.dtype)
        result = torch.empty(
            (b, c_out, h, w), dtype=weight.dtype, memory_format=torch.channels_last
        )
        last = result.permute(0, 2, 3, 1)

        def part(image: int, first: int, end: int) -> None:
            bands = _bands(first, end, tiles, uneven)
            sources = [_Source(m, h // m.shape[-2], tiles, _highest(bands)) for m in maps]
            scratch = _Scratch(weight, tiles[1] * _highest(bands), maps)
            for start, stop in bands:
                n = (stop - start) * tiles[1]
                m, y = scratch.products(n), scratch.blocks(n)
                for i, (source, u) in enumerate(zip(sources, weights, strict=True)):
                    v = scratch.numbers(n, source.channels)
                    source.transform(image, start, stop, v)
                    torch.baddbmm(m, v, u, beta=min(i, 1), out=m)
                torch.mm(gather, m.flatten(1), out=y)
                _store(y, last[image], start, stop, tiles[1], bias)

        parallel([partial(part, *p) for p in parts(b, tiles[0])])
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, *maps = ctx.saved_tensors
        need_weight, need_bias, *need_maps = ctx.needs_input_grad
        b, _, h, w = maps[0].shape
        c_out = weight.shape[0]
        tiles = (-(-h // TILE), -(-w // TILE))
        uneven = any(m.shape[-2] != h for m in maps)
        widths = [m.shape[1] for m in maps]
        weights = [u.transpose(1, 2) for u in _transformed_weight(weight).split(widths, 1)]
        spread = _square(_OUTPUT, weight.dtype).t()
        last = gradients[0].permute(0, 2, 3, 1)
        grad_maps = [
            torch.empty_like(m.permute(0, 2, 3, 1), memory_format=torch.contiguous_format)
            for m in maps
        ]

        def part(image: int, first: int, end: int) -> tuple[list[Tensor], list[_Source]]:
            bands = _bands(first, end, tiles, uneven)
            sources = [_Source(m, h // m.shape[-2], tiles, _highest(bands)) for m in maps]
            scratch = _Scratch(weight, tiles[1] * _highest(bands), maps)
            grads = [weight.new_zeros(36, c, c_out) for c in widths]
            for start, stop in bands:
                n = (stop - start) * tiles[1]
                m, y = scratch.products(n), scratch.blocks(n)
                _load(y, last[image], start, stop, tiles[1])
                torch.mm(spread, y, out=m.flatten(1))
                for i, source in enumerate(sources):
                    v = scratch.numbers(n, source.channels)
                    if need_weight:
                        source.transform(image, start, stop, v)
                        grads[i].baddbmm_(v.transpose(1, 2), m)
                    if need_maps[i]:
                        torch.bmm(m, weights[i], out=v)
                        source.accumulate(grad_maps[i][image], start, stop, v)
            return grads, sources

        places = parts(b, tiles[0])
        done = parallel([partial(part, *p) for p in places])
        for (image, _, end), (_, sources) in zip(places, done, strict=True):
            for source, into, need in zip(sources, grad_maps, need_maps, strict=True):
                if need and end < tiles[0]:
                    source.hand_over(into[image], end)
        grad_weight = None
        if need_weight:
            total = functools.reduce(torch.add, [torch.cat(grads, 1) for grads, _ in done])
            grad_weight = _gathered_weight(total)
        return (
            grad_weight,
            last.sum((0, 1, 2)) if need_bias else None,
            *(
                g.permute(0, 3, 1, 2) if n else None
                for g, n in zip(grad_maps, need_maps, strict=True)
            ),
        )


class _Scratch:
    """Room for the steps between maps and output, of ``tiles`` tiles, reused by every band."""

    def __init__(self, weight: Tensor, tiles: int, maps: Sequence[Tensor]) -> None:
        self.c_out = weight.shape[0]
        self._numbers = weight.new_empty(36 * tiles * max(m.shape[1] for m in maps))
        self._products = weight.new_empty(36 * tiles * self.c_out)
        self._blocks = weight.new_empty(16 * tiles * self.c_out)

    def numbers(self, n: int, channels: int) -> Tensor:
        return self._numbers[: 36 * n * channels].view(36, n, channels)

    def products(self, n: int) -> Tensor:
        return self._products[: 36 * n * self.c_out].view(36, n, self.c_out)

    def blocks(self, n: int) -> Tensor:
        return self._blocks[: 16 * n * self.c_out].view(16, n * self.c_out)


def _bands(first: int, end: int, tiles: tuple[int, int], uneven: bool) -> list[tuple[int, int]]:
    """Rows of tiles to take together; the map's first and last row alone where they differ."""
    rows, columns = tiles
    step = max(1, BAND // columns)
    cuts = {*range(first, end, step), end}
    if uneven:
        cuts |= {c for c in (1, rows - 1) if first < c < end}
    return list(pairwise(sorted(cuts)))


def _highest(bands: Sequence[tuple[int, int]]) -> int:
    return max(stop - start for start, stop in bands)


def _blocks(image: Tensor, start: int, columns: int, rows: int) -> Tensor:
    """Whole tiles of ``(H, W, C)`` as ``(4, 4, rows, columns, C)``."""
    part = image[TILE * start : TILE * (start + rows), : TILE * columns]
    tiles: Tensor = part.unflatten(0, (rows, TILE)).unflatten(2, (columns, TILE))
    return tiles.permute(1, 3, 0, 2, 4)


def _store(
    y: Tensor, image: Tensor, start: int, stop: int, columns: int, bias: Tensor | None
) -> None:
    """Tiles ``(16, n C)`` into the rows of an image ``(H, W, C)``, cut to its size."""
    h, w, c = image.shape
    tiles = y.view(TILE, TILE, stop - start, columns, c)
    if TILE * stop <= h and TILE * columns == w:
        into = _blocks(image, start, columns, stop - start)
        if bias is None:
            into.copy_(tiles)
        else:
            torch.add(tiles, bias, out=into)
        return
    whole = tiles.permute(2, 0, 3, 1, 4).reshape(TILE * (stop - start), TILE * columns, c)
    part = image[TILE * start : TILE * stop]
    part.copy_(whole[: part.shape[0], :w])
    if bias is not None:
        part += bias


def _load(y: Tensor, image: Tensor, start: int, stop: int, columns: int) -> None:
    """The rows of an image ``(H, W, C)``, zero beyond its size, as tiles ``(16, n C)``."""
    h, w, c = image.shape
    if not (TILE * stop <= h and TILE * columns == w):
        part = image[TILE * start : TILE * stop]
        bottom, right = TILE * (stop - start) - part.shape[0], TILE * columns - w
        image, start, stop = F.pad(part, (0, 0, 0, right, 0, bottom)), 0, stop - start
    y.view(TILE, TILE, stop - start, columns, c).copy_(_blocks(image, start, columns, stop - start))
