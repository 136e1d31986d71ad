"""The fast convolutions against float64, on every kind of layer a network has."""

from __future__ import annotations

import ctypes.util
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.models import conv, native, polyphase, winograd
from jrn_lightning.models import threads as threads_module
from jrn_lightning.models.conv import (
    COMPILED_WORK,
    PIXELS,
    POLYPHASE_WORK,
    WORK,
    Conv2d,
    convolve_all,
)
from jrn_lightning.models.jrn import JRN
from jrn_lightning.models.threads import parallel
from tests.compiled import needed

TOLERANCE = 5e-5

# factors of the maps, their channels, channels out
LAYERS = {
    "depth stem": ((1,), (1,), 20),
    "semantic stem": ((1,), (5,), 20),
    "fuse": ((1,), (40,), 60),
    "hidden": ((1, 2, 4), (60, 60, 60), 60),
    "hidden, two scales": ((1, 4), (32, 32), 60),
    "hidden, factor 8": ((1, 8), (32, 32), 60),
    "hidden, narrow": ((1, 2, 4), (1, 1, 1), 60),
    "depth head": ((1,), (60,), 1),
    "semantic head": ((1,), (60,), 5),
}


@pytest.fixture(params=["compiled", "operators"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Winograd's convolution as it was compiled, and by PyTorch's operators."""
    if request.param == "operators":
        monkeypatch.setattr(native, "library", lambda: None)
    else:
        needed(native.library())
    return str(request.param)


@pytest.fixture(autouse=True)
def _small_maps_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast paths at sizes that a test can afford."""
    monkeypatch.setattr(conv, "WORK", 0)
    monkeypatch.setattr(conv, "COMPILED_WORK", 0)
    monkeypatch.setattr(conv, "POLYPHASE_WORK", 0)
    monkeypatch.setattr(conv, "PIXELS", 0)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def _layer(channels: int, outputs: int, bias: bool = True, relu: bool = False) -> Conv2d:
    torch.manual_seed(1)
    layer = Conv2d(channels, outputs, 3, relu)
    if not bias:
        layer.bias = None
    return layer


def _maps(size: tuple[int, int], factors: tuple[int, ...], channels: tuple[int, ...]):
    torch.manual_seed(2)
    return [
        F.relu(torch.randn(2, c, size[0] // f, size[1] // f)).requires_grad_()
        for f, c in zip(factors, channels, strict=True)
    ]


def _exact(layer: Conv2d, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Output by PyTorch in float64, and the leaves: weight, bias if any, maps."""
    doubles = [m.detach().double().requires_grad_() for m in maps]
    parameters = [p.detach().double().requires_grad_() for p in layer.parameters()]
    size = maps[0].shape[-2:]
    whole = [doubles[0]] + [F.interpolate(m, size=size, mode="bilinear") for m in doubles[1:]]
    return F.conv2d(torch.cat(whole, 1), *parameters, padding=1), [*parameters, *doubles]


def _difference(a: Tensor, b: Tensor) -> float:
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max())


def _compare(layer: Conv2d, maps: list[Tensor]) -> None:
    output = layer(maps if len(maps) > 1 else maps[0])
    exact, leaves = _exact(layer, maps)
    torch.manual_seed(3)
    g = torch.randn(exact.shape)
    if layer.relu:  # rounding decides whether what is nearly zero passes
        g *= exact.detach().abs() > TOLERANCE
        exact = F.relu(exact)
    assert _difference(output, exact) < TOLERANCE
    found = torch.autograd.grad(output, [*layer.parameters(), *maps], g)
    expected = torch.autograd.grad(exact, leaves, g.double())
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert _difference(a, b) < TOLERANCE


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_equals_float64(name: str, threads: int, relu: bool) -> None:
    factors, channels, outputs = LAYERS[name]
    layer = _layer(sum(channels), outputs, relu=relu)
    _compare(layer, _maps((24, 32), factors, channels))


INSTRUCTIONS = ("any", "avx2", "avx512")


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("channels", [(32, 32, 32), (60, 60, 60), (45, 39, 33)])
def test_equals_float64_with_any_instructions(
    instructions: str, channels: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = needed(native.library())
    here = torch.backends.cpu.get_cpu_capability()
    if instructions not in {"AVX2": ("any", "avx2"), "AVX512": INSTRUCTIONS}.get(here, ("any",)):
        pytest.skip(f"this processor has {here}")
    monkeypatch.setattr(native, "_kernel", lambda: getattr(library, f"run_{instructions}"))
    _compare(_layer(sum(channels), 37, relu=True), _maps((28, 36), (1, 2, 4), channels))


def test_maps_in_any_order() -> None:
    maps = [m for f in (1, 4, 2) for m in _maps((8, 12), (f,), (32,))]
    maps[0] = maps[0].detach().requires_grad_()
    _compare(_layer(96, 32), maps)


def test_without_a_library_that_can_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "kernels.so"
    broken.write_bytes(b"of another machine")
    for origin in (None, str(broken), ctypes.util.find_library("c")):
        found = ModuleSpec("kernels", None, origin=origin)
        monkeypatch.setattr("importlib.util.find_spec", lambda _, found=found: found)
        assert native.library.__wrapped__() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert native.library.__wrapped__() is None


def test_a_library_of_other_sources_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    needed(native.library())
    monkeypatch.setattr(native, "_INTERFACE", (0, *native._INTERFACE[1:]))
    assert native.library.__wrapped__() is None


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 13), (21, 18)])
@pytest.mark.parametrize(("channels", "outputs"), [(1, 20), (40, 60), (60, 5)])
def test_any_size(size: tuple[int, int], channels: int, outputs: int, threads: int) -> None:
    _compare(_layer(channels, outputs), _maps(size, (1,), (channels,)))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", ["depth stem", "hidden", "semantic head"])
def test_without_bias(name: str) -> None:
    factors, channels, outputs = LAYERS[name]
    _compare(_layer(sum(channels), outputs, bias=False), _maps((8, 12), factors, channels))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("size", [(4, 4), (8, 4), (24, 32)])
@pytest.mark.parametrize("band", [1, 20])
def test_bands_join(
    size: tuple[int, int], band: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "BAND", band)
    _compare(_layer(96, 32), _maps(size, (1, 2, 4), (32, 32, 32)))


def test_sizes_that_are_no_multiple_are_interpolated() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(1, 32, *size).requires_grad_() for size in ((10, 14), (5, 7), (3, 4))]
    _compare(_layer(96, 32), maps)


def test_exact_in_float64() -> None:
    maps = [m.detach().double() for m in _maps((12, 16), (1, 2, 4), (3, 4, 5))]
    layer = _layer(12, 7).double()
    fast = winograd.multiscale_conv2d(maps, layer.weight, layer.bias)
    assert _difference(fast, _exact(layer, maps)[0]) < 1e-13


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", ["depth stem", "hidden", "semantic head"])
def test_same_bits_twice(name: str, threads: int) -> None:
    factors, channels, outputs = LAYERS[name]
    layer, maps = _layer(sum(channels), outputs), _maps((24, 32), factors, channels)

    def run() -> list[Tensor]:
        output = layer(maps if len(maps) > 1 else maps[0])
        return [output, *torch.autograd.grad(output.square().sum(), [*layer.parameters(), *maps])]

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", LAYERS)
def test_without_gradients(name: str, mode: type, threads: int) -> None:
    factors, channels, outputs = LAYERS[name]
    layer, maps = _layer(sum(channels), outputs), _maps((8, 16), factors, channels)
    x = maps if len(maps) > 1 else maps[0]
    winograd._matrices.cache_clear()  # made in inference mode here, used with gradients below
    winograd._square.cache_clear()
    with mode():
        output = layer(x)
    assert not output.requires_grad
    trained = layer(x)
    trained.sum().backward()
    assert torch.equal(output, trained)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", ["semantic stem", "hidden", "depth head"])
def test_only_the_gradients_asked_for(name: str) -> None:
    factors, channels, outputs = LAYERS[name]
    layer, maps = _layer(sum(channels), outputs), _maps((8, 16), factors, channels)
    layer.weight.requires_grad_(False)
    for m in maps[1:]:
        m.requires_grad_(False)
    layer(maps if len(maps) > 1 else maps[0]).sum().backward()
    assert layer.weight.grad is None
    assert maps[0].grad is not None
    assert all(m.grad is None for m in maps[1:])


def test_switch_and_other_types_take_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Tensor:
        raise AssertionError("fast path")

    monkeypatch.setattr("jrn_lightning.models.conv.multiscale_conv2d", fail)
    layer, maps = _layer(96, 60), _maps((8, 8), (1, 2, 4), (32, 32, 32))
    layer.double()([m.double() for m in maps])
    with torch.autocast("cpu", torch.bfloat16):
        layer.float()(maps)
    with pytest.raises(AssertionError, match="fast path"):
        layer(maps)
    monkeypatch.setattr(Conv2d, "fast", False)
    layer(maps)


@pytest.mark.usefixtures("kernels")
def test_heads_together_are_the_heads() -> None:
    torch.manual_seed(0)
    heads = nn.ModuleDict({"a": Conv2d(60, 1, 3), "b": Conv2d(60, 5, 3)})
    x = torch.randn(2, 60, 9, 11)
    joined = convolve_all(heads, x)
    seen = []
    heads["a"].register_forward_hook(lambda *_: seen.append(1))
    apart = convolve_all(heads, x)
    assert seen == [1]
    for name, y in apart.items():
        assert _difference(joined[name], y) < TOLERANCE


def test_network_is_the_plain_network(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = JRN({"depth": 1, "semantic": 5})
    inputs = {"depth": torch.rand(2, 1, 48, 64), "semantic": torch.rand(2, 5, 48, 64)}

    def gradients(net: JRN, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        net.zero_grad()
        outputs = net(inputs)
        sum(y.square().mean() for y in outputs.values()).backward()
        return {n: p.grad.clone() for n, p in net.named_parameters()} | outputs

    found = gradients(net, inputs)
    monkeypatch.setattr(Conv2d, "fast", False)
    expected = gradients(net.double(), {m: x.double() for m, x in inputs.items()})
    for name, value in expected.items():
        assert _difference(found[name], value) < TOLERANCE, name


# -- bfloat16 --------------------------------------------------------------------------------------


def _bfloat16(maps: list[Tensor]) -> list[Tensor]:
    return [m.detach().bfloat16().requires_grad_() for m in maps]


def _by_pytorch(layer: Conv2d, maps: list[Tensor]) -> Tensor:
    size = maps[0].shape[-2:]
    whole = [maps[0]] + [F.interpolate(m, size=size, mode="bilinear") for m in maps[1:]]
    return F.conv2d(torch.cat(whole, 1), layer.weight, layer.bias, padding=1)


def _root_mean_square(a: Tensor, b: Tensor) -> float:
    a, b = a.detach().double(), b.detach()
    return float((a - b).square().mean().sqrt() / b.square().mean().sqrt())


SMALL = {  # size of the first map, factors, channels
    "two scales": ((8, 12), (1, 2), (4, 3)),
    "three scales": ((8, 12), (1, 2, 4), (4, 3, 5)),
    "factors 3 and 6": ((12, 18), (1, 3, 6), (2, 2, 2)),
    "one row": ((4, 8), (1, 4), (3, 3)),
    "two columns": ((16, 8), (1, 4, 2), (3, 2, 2)),
    "one column": ((8, 2), (1, 2), (3, 3)),
    "one pixel": ((3, 3), (1, 3), (3, 3)),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("band", [1, 5, 64])
@pytest.mark.parametrize("name", SMALL)
def test_polyphase_is_exact_in_float64(
    name: str, band: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polyphase, "BAND", band)
    size, factors, channels = SMALL[name]
    maps = [m.detach().double().requires_grad_() for m in _maps(size, factors, channels)]
    layer = _layer(sum(channels), 7, bias).double()
    output = polyphase.polyphase_conv2d(maps, layer.weight, layer.bias)
    exact, leaves = _exact(layer, maps)
    assert _difference(output, exact) < 1e-13
    g = torch.randn_like(exact)
    found = torch.autograd.grad(output, [*layer.parameters(), *maps], g)
    for a, b in zip(found, torch.autograd.grad(exact, leaves, g), strict=True):
        assert a.shape == b.shape
        assert _difference(a, b) < 1e-13


@pytest.mark.parametrize("name", ["hidden", "hidden, two scales", "hidden, factor 8"])
def test_polyphase_rounds_no_worse_than_pytorch(name: str, threads: int) -> None:
    factors, channels, outputs = LAYERS[name]
    layer, maps = _layer(sum(channels), outputs), _bfloat16(_maps((24, 32), factors, channels))
    exact, leaves = _exact(layer, maps)
    torch.manual_seed(3)
    g = torch.randn(exact.shape)
    wanted = [*layer.parameters(), *maps]

    def errors(run: Callable[[], Tensor]) -> list[float]:
        with torch.autocast("cpu", torch.bfloat16):
            output = run()
        assert output.dtype == torch.bfloat16
        found = [output, *torch.autograd.grad(output, wanted, g.bfloat16())]
        assert [x.dtype for x in found[1:]] == [x.dtype for x in wanted]
        return [_root_mean_square(a, b) for a, b in zip(found, expected, strict=True)]

    expected = [exact, *torch.autograd.grad(exact, leaves, g.bfloat16().double())]
    ours = errors(lambda: layer(maps))
    for ours_, theirs in zip(ours, errors(lambda: _by_pytorch(layer, maps)), strict=True):
        assert 0 <= ours_ < max(1.5 * theirs, 1e-6)


def test_network_in_bfloat16_is_the_network(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = JRN({"depth": 1, "semantic": 5}).to(memory_format=torch.channels_last)
    inputs = {"depth": torch.rand(2, 1, 48, 64), "semantic": torch.rand(2, 5, 48, 64)}

    def run(net: JRN) -> dict[str, Tensor]:
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = net(inputs)
        sum(y.float().square().mean() for y in outputs.values()).backward()
        return {n: p.grad.clone() for n, p in net.named_parameters()} | outputs

    found = run(net)
    monkeypatch.setattr(Conv2d, "fast", False)
    plain = run(net)
    exact = {m: x.double() for m, x in inputs.items()}
    net = net.double()
    net.zero_grad()
    outputs = net(exact)
    sum(y.square().mean() for y in outputs.values()).backward()
    expected = {n: p.grad.clone() for n, p in net.named_parameters()} | outputs
    for name, value in expected.items():
        ours, theirs = (_root_mean_square(x[name], value) for x in (found, plain))
        assert ours < max(2 * theirs, 0.01), name


# -- which path ------------------------------------------------------------------------------------


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the fast paths, as they are taken; heads that are joined are none in bfloat16."""
    taken: list[str] = []

    def noted(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*arguments: Any) -> Tensor:
            taken.append(name)
            return function(*arguments)

        return run

    monkeypatch.setattr(conv, "multiscale_conv2d", noted("winograd", conv.multiscale_conv2d))
    monkeypatch.setattr(conv, "polyphase_conv2d", noted("polyphase", conv.polyphase_conv2d))
    for path in (conv._FewOutputs, conv._OneInput):
        monkeypatch.setattr(path, "apply", noted(path.__name__.strip("_"), path.apply))
    return taken


STEM, HEAD, WINOGRAD = "OneInput", "FewOutputs", "winograd"

LIMITS = {  # a size that is just large enough, and one that is too small
    "fuse": ((8, 12), (8, 8), WINOGRAD),
    "hidden": ((8, 12), (8, 8), WINOGRAD),
    "depth stem": ((8, 12), (8, 8), STEM),  # but Winograd's where that was compiled
    "depth head": ((8, 12), (8, 8), HEAD),
}


@pytest.mark.parametrize("name", LIMITS)
def test_small_maps_take_the_plain_path(
    name: str, kernels: str, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small, path = LIMITS[name]
    path = path if kernels == "operators" else WINOGRAD
    factors, channels, outputs = LAYERS[name]
    layer = _layer(sum(channels), outputs)
    monkeypatch.setattr(conv, "PIXELS", large[0] * large[1])
    for least in ("WORK", "COMPILED_WORK"):
        monkeypatch.setattr(conv, least, large[0] * large[1] * layer.weight.numel())
    _compare(layer, _maps(large, factors, channels))
    assert paths == [path]
    _compare(layer, _maps(small, factors, channels))
    assert paths == [path]


def test_small_heads_are_joined_too(
    kernels: str, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    heads = nn.ModuleDict({"a": Conv2d(60, 1, 3), "b": Conv2d(60, 5, 3)})
    monkeypatch.setattr(conv, "PIXELS", 9 * 11)
    convolve_all(heads, torch.randn(2, 60, 9, 11))
    assert paths == [HEAD if kernels == "operators" else WINOGRAD]
    x = torch.randn(2, 60, 9, 10).contiguous(memory_format=torch.channels_last)
    joined = convolve_all(heads, x)
    assert paths == [HEAD if kernels == "operators" else WINOGRAD]
    assert len({y.untyped_storage().data_ptr() for y in joined.values()}) == 1
    for name, y in joined.items():
        assert _difference(y, heads[name](x)) < TOLERANCE


@pytest.mark.parametrize("name", ["fuse", "semantic stem", "semantic head"])
def test_a_small_layer_is_contiguous_whatever_comes_in(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for least in ("WORK", "COMPILED_WORK", "PIXELS"):
        monkeypatch.setattr(conv, least, 10**9)
    factors, channels, outputs = LAYERS[name]
    layer, (x,) = _layer(sum(channels), outputs), _maps((8, 12), factors, channels)
    y = layer(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous()
    monkeypatch.setattr(Conv2d, "fast", False)  # asked for, it is kept
    y = layer(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("frame", "operators", "compiled"),
    [
        ((60, 80), [], 1),  # the convolution over all branches
        ((120, 160), [WINOGRAD], 2),
        # At the finest scale everything; at the second too.
        ((240, 320), [STEM, WINOGRAD, WINOGRAD, HEAD], 6),
        ((480, 640), [STEM, WINOGRAD, STEM, WINOGRAD, WINOGRAD, HEAD], 9),
    ],
)
def test_layers_of_a_frame(
    frame: tuple[int, int],
    operators: list[str],
    compiled: int,
    kernels: str,
    paths: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conv, "WORK", WORK)
    monkeypatch.setattr(conv, "COMPILED_WORK", COMPILED_WORK)
    monkeypatch.setattr(conv, "PIXELS", PIXELS)
    inputs = {"depth": torch.rand(1, 1, *frame), "semantic": torch.rand(1, 5, *frame)}
    with torch.inference_mode():
        JRN({"depth": 1, "semantic": 5})(inputs)
    assert paths == (operators if kernels == "operators" else [WINOGRAD] * compiled)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [((120, 160), []), ((240, 320), ["polyphase"]), ((480, 640), ["polyphase"])],
)
def test_layers_of_a_frame_in_bfloat16(
    frame: tuple[int, int],
    expected: list[str],
    paths: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conv, "POLYPHASE_WORK", POLYPHASE_WORK)

    def shaped(x: Tensor | list[Tensor], weight: Tensor, *_: object, **__: object) -> Tensor:
        """A result of the right shape: minutes of bfloat16 where a processor has to emulate it."""
        finest = x if isinstance(x, Tensor) else x[0]
        shape = (len(finest), len(weight), *finest.shape[2:])
        return torch.zeros(shape, dtype=torch.bfloat16)

    def polyphase_conv2d(*arguments: Any) -> Tensor:
        paths.append("polyphase")
        return shaped(*arguments)

    monkeypatch.setattr(F, "conv2d", shaped)
    monkeypatch.setattr(conv, "polyphase_conv2d", polyphase_conv2d)
    inputs = {"depth": torch.rand(1, 1, *frame), "semantic": torch.rand(1, 5, *frame)}
    net = JRN({"depth": 1, "semantic": 5})
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        outputs = net(inputs)
        assert len({y.untyped_storage().data_ptr() for y in outputs.values()}) == 1
        assert paths == expected
        monkeypatch.setattr(Conv2d, "fast", False)
        net(inputs)
    assert paths == expected


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
    sizes: tuple[tuple[int, int], ...], channels: tuple[int, ...], paths: list[str]
) -> None:
    torch.manual_seed(0)
    maps = [torch.randn(1, c, *s).bfloat16() for c, s in zip(channels, sizes, strict=True)]
    layer = _layer(sum(channels), 60)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(maps), _by_pytorch(layer, maps))
    assert paths == []


# -- threads ---------------------------------------------------------------------------------------


def test_tasks_share_the_threads_and_keep_their_order(threads: int) -> None:
    meeting = threading.Barrier(threads)

    def task(i: int) -> tuple[int, int, str, bool]:
        if i < threads:
            meeting.wait(10)  # all of them at once, or none
        return (
            i,
            torch.get_num_threads(),
            threading.current_thread().name,
            torch.is_grad_enabled(),
        )

    with torch.no_grad():
        done = parallel([partial(task, i) for i in range(2 * threads)])
    assert [d[0] for d in done] == list(range(2 * threads))
    assert {d[1] for d in done} == {1}
    assert len({d[2] for d in done[:threads]}) == threads
    assert threading.current_thread().name in {d[2] for d in done}
    assert not any(d[3] for d in done)
    assert torch.get_num_threads() == threads


def test_helpers_have_one_thread_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """From their first operator on, which is when PyTorch would give a thread its default."""
    monkeypatch.setattr(threads_module, "_pools", {})
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        pool = threads_module._pool(2)
        asked = [pool.submit(torch.get_num_threads) for _ in range(8)]
        assert {answer.result() for answer in asked} == {1}
        pool.shutdown()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("failing", range(4))
def test_a_failing_task_is_raised_when_the_others_have_ended(failing: int, threads: int) -> None:
    running: list[int] = []

    def task(i: int) -> None:
        running.append(i)
        try:
            if i == failing:
                raise IndexError(f"task {i}")
            time.sleep(0.01)
        finally:
            running.remove(i)

    with pytest.raises(IndexError, match=f"task {failing}"):
        parallel([partial(task, i) for i in range(4)])
    assert running == []
    assert torch.get_num_threads() == threads
    assert parallel([partial(int, i) for i in range(4)]) == [0, 1, 2, 3]
