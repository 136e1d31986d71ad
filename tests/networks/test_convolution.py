"""The convolution over several scales against PyTorch's, in float64 and as it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.networks import convolution as conv
from jrn_lightning.networks.convolution import Conv2d, interpolated_by_products, polyphase

SMALL = {  # size of the first map, factors, channels
    "two scales": ((8, 12), (1, 2), (4, 3)),
    "three scales": ((8, 12), (1, 2, 4), (4, 3, 5)),
    "factors 3 and 6": ((12, 18), (1, 3, 6), (2, 2, 2)),
    "one row": ((4, 8), (1, 4), (3, 3)),
    "two columns": ((16, 8), (1, 4, 2), (3, 2, 2)),
    "one column": ((8, 2), (1, 2), (3, 3)),
    "one pixel": ((3, 3), (1, 3), (3, 3)),
}
WIDE = {"hidden": (1, 2, 4), "hidden, two scales": (1, 4), "hidden, factor 8": (1, 8)}


def _layer(channels: int, outputs: int, bias: bool = True, relu: bool = False) -> Conv2d:
    torch.manual_seed(1)
    layer = Conv2d(channels, outputs, 3, relu)
    if not bias:
        layer.bias = None
    return layer


def _maps(
    size: tuple[int, int], factors: tuple[int, ...], channels: tuple[int, ...], **options: Any
) -> list[Tensor]:
    torch.manual_seed(2)
    return [
        F.relu(torch.randn(2, c, size[0] // f, size[1] // f)).to(**options).requires_grad_()
        for f, c in zip(factors, channels, strict=True)
    ]


def _by_pytorch(layer: Conv2d, maps: list[Tensor]) -> Tensor:
    size = maps[0].shape[-2:]
    whole = [maps[0]] + [F.interpolate(m, size=size, mode="bilinear") for m in maps[1:]]
    output = F.conv2d(torch.cat(whole, 1), layer.weight, layer.bias, padding=1)
    return F.relu(output) if layer.relu else output


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max() / b.detach().abs().max())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("band", [1, 5, 64])
@pytest.mark.parametrize("name", SMALL)
def test_polyphase_is_exact_in_float64(
    name: str, band: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv, "BAND", band)
    size, factors, channels = SMALL[name]
    maps = _maps(size, factors, channels, dtype=torch.float64)
    layer = _layer(sum(channels), 7, bias).double()
    output = polyphase(maps, layer.weight, layer.bias)
    exact = _by_pytorch(layer, maps)
    assert _difference(output, exact) < 1e-13
    g = torch.randn_like(exact)
    leaves = [*layer.parameters(), *maps]
    found = torch.autograd.grad(output, leaves, g)
    for a, b in zip(found, torch.autograd.grad(exact, leaves, g), strict=True):
        assert a.shape == b.shape
        assert _difference(a, b) < 1e-13


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", WIDE)
def test_a_layer_rounds_no_worse_than_pytorch(
    name: str, bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv, "WORK", 0)
    factors = WIDE[name]
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    layer = _layer(32 * len(factors), 60, relu=True)
    maps = _maps((24, 32), factors, (32,) * len(factors), dtype=dtype)
    assert layer.is_polyphase(maps)
    leaves = [*layer.parameters(), *maps]
    twin = _layer(32 * len(factors), 60, relu=True).double()
    doubles = [m.detach().double().requires_grad_() for m in maps]
    exact = _by_pytorch(twin, doubles)
    torch.manual_seed(3)
    # Rounding decides whether what is nearly zero passes.
    g = torch.randn(exact.shape) * (exact.detach() > 0.05)
    expected = [
        exact,
        *torch.autograd.grad(exact, [*twin.parameters(), *doubles], g.to(dtype).double()),
    ]

    def errors(run: Callable[[], Tensor]) -> list[float]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            output = run()
        assert output.dtype == dtype
        found = [output, *torch.autograd.grad(output, leaves, g.to(dtype))]
        assert [x.dtype for x in found[1:]] == [x.dtype for x in leaves]
        return [
            float(
                (a.double() - b).detach().square().mean().sqrt() / b.detach().square().mean().sqrt()
            )
            for a, b in zip(found, expected, strict=True)
        ]

    ours, theirs = errors(lambda: layer(maps)), errors(lambda: _by_pytorch(layer, maps))
    for a, b in zip(ours, theirs, strict=True):
        assert 0 <= a < max(1.5 * b, 1e-6)


@pytest.mark.parametrize(
    ("sizes", "channels"),
    [
        (((8, 12), (4, 6)), (32, 16)),  # few channels
        (((8, 12), (3, 6)), (32, 32)),  # no whole factor
        (((8, 12), (4, 4)), (32, 32)),  # one for each axis
        (((8, 12), (8, 12)), (32, 32)),  # nothing to interpolate
        (((8, 12),), (64,)),
    ],
)
def test_what_polyphase_cannot_do_is_left_to_pytorch(
    sizes: tuple[tuple[int, int], ...],
    channels: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conv, "WORK", 0)
    torch.manual_seed(0)
    maps = [torch.randn(1, c, *s) for c, s in zip(channels, sizes, strict=True)]
    layer = _layer(sum(channels), 60)
    assert not layer.is_polyphase(maps)
    assert torch.equal(layer(maps), _by_pytorch(layer, maps))


def test_small_layers_are_left_to_pytorch() -> None:
    layer = _layer(96, 60)
    sizes = [(120, 160), (60, 80), (30, 40)]
    assert layer.is_polyphase([torch.empty(1, 32, *s) for s in sizes])
    assert not layer.is_polyphase([torch.empty(1, 32, h // 2, w // 2) for h, w in sizes])


@pytest.mark.parametrize("size", [(8, 12), (9, 7), (2, 3)])
def test_two_matrix_products_interpolate_as_pytorch_does(size: tuple[int, int]) -> None:
    maps = [torch.rand(2, 3, 4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    with torch.no_grad():
        maps[1].copy_(maps[0])
    with torch.inference_mode():  # who asks first does not matter
        interpolated_by_products(maps[0], torch.Size(size))
    found = interpolated_by_products(maps[0], torch.Size(size))
    expected = F.interpolate(maps[1], size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected)
    for result in (found, expected):
        result.square().sum().backward()
    torch.testing.assert_close(maps[0].grad, maps[1].grad)
