"""The network against a re-implementation, its widths, its options and its gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import Depth, Semantic
from jrn_lightning.networks import INITIALIZATIONS, OPERATIONS, is_loose, output_scale
from jrn_lightning.networks import JRN as Network
from tests.kinds import kinds

CONF = Path(__file__).parents[2] / "conf" / "arch"
PAPER = {"depth": 1, "semantic": 5}
THREE = {"depth": 1, "semantic": 5, "normals": 3}
FIVE = ("cat60", "cat10", "cat5", "cat1", "sum60")

Maps = dict[str, Tensor]


def JRN(channels: Mapping[str, int], *arguments: Any, **options: Any) -> Network:
    """The network over maps of so many channels, without a skip unless asked for."""
    return Network(kinds(channels), *arguments, **{"skip": "none", **options})


def maps(
    channels: Mapping[str, int],
    frame: tuple[int, int] = (16, 24),
    batch: int = 2,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    return {
        m: torch.rand(batch, c, *frame, generator=generator, dtype=torch.float64).to(dtype) * 4
        for m, c in channels.items()
    }


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def variant(name: str) -> dict[str, object]:
    """Arguments of ``JRN`` in the configuration of an architecture."""
    arguments = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(arguments, dict)
    assert arguments.pop("defaults") == ["jrn", "_self_"]
    assert arguments.pop("name") == name
    return {str(k): v for k, v in arguments.items()}


# -- structure -------------------------------------------------------------------------------------


def fused(operation: str, features: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    stacked = torch.stack(tuple(features))  # (M, B, F, H, W)
    if operation == "concatenation":
        return stacked.transpose(0, 1).flatten(1, 2)
    if operation == "gate":
        score = torch.einsum(
            "mf,bfhw->bmhw",
            weights["weights.weight"][:, :, 0, 0],
            stacked.transpose(0, 1).flatten(1, 2),
        )
        score = (score + weights["weights.bias"][:, None, None]).exp()
        return torch.einsum("mbfhw,bmhw->bfhw", stacked, score / score.sum(1, keepdim=True))
    return {
        "sum": lambda x: x.sum(0),
        "product": lambda x: x.prod(0),
        "maximum": lambda x: x.amax(0),
    }[operation](stacked)


def refined(
    network: Network,
    inputs: Maps,
    operation: str,
    scales: Sequence[int],
    projected: bool = False,
    skip: str = "none",
) -> Maps:
    """The reconstruction as it is told, with the weights of ``network``, in float64.

    Area-downscaled inputs; per modality 3 × 3 and ReLU; op; 3 × 3 and ReLU; the coarse branches
    interpolated to the finest; concatenation; 3 × 3 and ReLU; linear 3 × 3 heads.
    """
    state = {k: v.double() for k, v in network.state_dict().items()}

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    def convolved(x: Tensor, layer: str) -> Tensor:
        weight = state[f"{layer}.weight"]
        return F.conv2d(x, weight, state[f"{layer}.bias"], padding=weight.shape[-1] // 2)

    def area(x: Tensor, scale: int) -> Tensor:
        b, c, h, w = x.shape
        return x.view(b, c, h // scale, scale, w // scale, scale).mean((3, 5))

    inputs = {m: x.double() for m, x in inputs.items()}
    branches = []
    for scale in scales:
        name = f"branches.{scale}"
        features = [convolved(area(x, scale), f"{name}.stem.{m}").relu() for m, x in inputs.items()]
        joined = fused(operation, features, part(f"{name}.op."))
        if projected:
            joined = convolved(joined, f"{name}.projection")
        branches.append(convolved(joined, f"{name}.fuse").relu())
    size = branches[0].shape[-2:]
    large = [F.interpolate(b, size, mode="bilinear", align_corners=False) for b in branches]
    small = {m: area(x, scales[0]) for m, x in inputs.items()}
    if skip == "concatenate":
        large += small.values()
    hidden = convolved(torch.cat(large, 1), "hidden").relu()
    widths = [x.shape[1] for x in inputs.values()]
    outputs = dict(zip(inputs, convolved(hidden, "head").split(widths, 1), strict=True))
    if skip == "add":
        space = {"semantic": lambda p: p.clamp(min=1e-3).log()}
        outputs = {m: y + space.get(m, lambda p: p)(small[m]) for m, y in outputs.items()}
    return outputs


def filled(network: Network) -> Network:
    """With a head that is not zero, as after some training."""
    with torch.no_grad():
        network.head.weight.normal_(std=0.1)
    return network


def assert_same(found: Maps, expected: Maps, *, rtol: float, atol: float) -> None:
    assert list(found) == list(expected)
    for m in expected:
        torch.testing.assert_close(found[m].double(), expected[m], rtol=rtol, atol=atol)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("channels", [PAPER, {"depth": 1}, THREE], ids=["two", "one", "three"])
def test_structure(channels: Mapping[str, int], operation: str) -> None:
    torch.manual_seed(0)
    network = JRN(channels, operation, fusion_channels=7, initialization="pytorch").double()
    inputs = maps(channels)
    expected = refined(network, inputs, operation, (2, 4, 8))
    assert_same(network(inputs), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "scales"),
    [
        ({"skip": "add"}, (2, 4, 8)),
        ({"skip": "concatenate"}, (2, 4, 8)),
        ({"fused_channels": 9}, (2, 4, 8)),
        ({"fused_channels": 9, "skip": "add", "hidden_channels": 11}, (2, 4, 8)),
        ({"stem_channels": 3, "stem_kernel": 5, "fusion_kernel": 1}, (2, 4, 8)),
        ({"hidden_kernel": 5, "head_kernel": 1}, (2, 4, 8)),
        ({"scales": [8, 2, 4]}, (2, 4, 8)),
        ({"scales": [1, 3]}, (1, 3)),
        ({"scales": [2, 3, 6]}, (2, 3, 6)),  # 3 is no multiple of 2
        ({"scales": [4]}, (4,)),
    ],
)
def test_structure_with_other_arguments(
    options: dict[str, object], scales: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    network = JRN(PAPER, fusion_channels=4, initialization="pytorch", **options).double()
    filled(network)
    inputs = maps(PAPER, (24, 24))
    expected = refined(
        network,
        inputs,
        "concatenation",
        scales,
        projected="fused_channels" in options,
        skip=str(options.get("skip", "none")),
    )
    assert_same(network(inputs), expected, rtol=1e-10, atol=1e-12)
    assert output_scale(network, kinds(PAPER), (24, 24)) == scales[0]


@pytest.mark.parametrize("name", FIVE)
def test_variants_in_the_precision_in_which_they_are_trained(name: str) -> None:
    torch.manual_seed(0)
    network = JRN(PAPER, **variant(name))
    inputs = maps(PAPER, (32, 48), dtype=torch.float32)
    operation = str(variant(name)["operation"])
    with torch.no_grad():
        found = network(inputs)
    assert {y.dtype for y in found.values()} == {torch.float32}
    assert_same(found, refined(network, inputs, operation, (2, 4, 8)), rtol=1e-4, atol=1e-4)


# -- widths ----------------------------------------------------------------------------------------


def conv(c_in: int, c_out: int) -> int:
    return c_in * c_out * 9 + c_out


@pytest.mark.parametrize(
    ("name", "fused_width", "width", "total"),
    [
        ("cat60", 40, 60, 168_846),
        ("sum60", 20, 60, 136_446),
        ("cat10", 40, 10, 33_696),
        ("cat5", 40, 5, 20_181),
        ("cat1", 40, 1, 9_369),
    ],
)
def test_parameters_of_the_five(name: str, fused_width: int, width: int, total: int) -> None:
    branch = conv(1, 20) + conv(5, 20) + conv(fused_width, width)
    by_hand = 3 * branch + conv(3 * width, 60) + conv(60, 1) + conv(60, 5)
    assert by_hand == total
    assert parameters(JRN(PAPER, **variant(name))) == total


def test_parameters_of_the_others() -> None:
    def of(**options: object) -> int:
        return parameters(JRN(PAPER, fusion_channels=10, **options))

    as_sum = (
        3 * (conv(1, 20) + conv(5, 20) + conv(20, 10)) + conv(30, 60) + conv(60, 1) + conv(60, 5)
    )
    assert of(operation="sum") == of(operation="product") == of(operation="maximum") == as_sum
    assert of(operation="gate") == as_sum + 3 * (40 * 2 + 2)
    # A projection to C0 channels, 1 × 1, only where the operation gives another number.
    projection = 3 * (40 * 12 + 12 + conv(12, 10) - conv(40, 10))
    assert of(fused_channels=12) == of() + projection
    assert of(fused_channels=40) == of()
    assert of(skip="add") == of()
    assert of(skip="concatenate") == of() + 6 * 60 * 9


def test_loose_and_coupled_are_the_papers() -> None:
    loose = {
        name: is_loose(str(variant(name)["operation"]), int(str(variant(name)["fusion_channels"])))
        for name in FIVE
    }
    assert loose == {"cat60": True, "cat10": True, "cat5": False, "cat1": False, "sum60": False}


# -- initialisation --------------------------------------------------------------------------------


def layers(network: Network) -> dict[str, nn.Conv2d]:
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}


def test_xavier_fills_its_bound_and_leaves_the_biases_zero() -> None:
    torch.manual_seed(0)
    for layer in layers(JRN(PAPER, "gate", initialization="xavier")).values():
        area = math.prod(layer.kernel_size)
        bound = math.sqrt(6 / (area * (layer.in_channels + layer.out_channels)))
        assert 0.8 * bound < layer.weight.abs().max().item() <= bound
        assert layer.bias is not None
        assert not layer.bias.any()


def test_gaussian_has_its_deviation() -> None:
    torch.manual_seed(0)
    network = JRN(PAPER, initialization="gaussian")
    weights = torch.cat([c.weight.flatten() for c in layers(network).values()])
    assert weights.std().item() == pytest.approx(0.01, rel=0.02)
    assert not any(bool(c.bias.any()) for c in layers(network).values() if c.bias is not None)


def test_pytorchs_own_is_untouched() -> None:
    for layer in layers(JRN(PAPER, initialization="pytorch")).values():
        assert layer.bias is not None
        assert layer.bias.any()


def test_the_heads_biases_are_set_on_demand() -> None:
    for how in INITIALIZATIONS:
        network = JRN(PAPER, initialization=how)
        network.start_at({"depth": torch.tensor([2.5])})
        assert network.head.bias[:1].tolist() == [2.5]
        assert bool(network.head.bias[1:].any()) == (how == "pytorch")


# -- the skip --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("how", INITIALIZATIONS)
def test_the_first_forward_pass_returns_the_input(name: str, how: str) -> None:
    torch.manual_seed(0)
    inputs = maps(PAPER, dtype=torch.float32)
    inputs["semantic"] = inputs["semantic"].softmax(1)
    network = JRN(PAPER, skip="add", initialization=how, **variant(name))
    outputs = network(inputs)
    for m, modality in kinds(PAPER).items():
        expected = F.avg_pool2d(inputs[m], 2)
        torch.testing.assert_close(modality.refined(outputs[m]), expected, rtol=1e-5, atol=1e-6)
    sum(y.square().sum() for y in outputs.values()).backward()
    assert network.head.weight.grad.abs().sum() > 0  # and it can learn


def test_a_muted_input_adds_nothing_to_its_own_output() -> None:
    network = JRN(PAPER, skip="add")
    outputs = network(maps(PAPER, dtype=torch.float32), muted=PAPER)
    assert not outputs["depth"].any()
    torch.testing.assert_close(outputs["semantic"].softmax(1), torch.full((2, 5, 8, 12), 0.2))


def test_a_step_of_training_makes_the_joint_loss_smaller_than_the_inputs() -> None:
    """From the input on, each way: a small regression of what the skip is for."""
    torch.manual_seed(0)
    truth = torch.rand(1, 8, 12) * 3 + 1
    label = (truth > 2.5).long()
    inputs = {"depth": truth.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None] * 0.9}
    odds = (
        torch.randn(1, 5, 16, 24)
        + 2
        * F.one_hot(label, 5)
        .movedim(-1, 1)
        .float()[:, :, torch.arange(16) // 2][..., torch.arange(24) // 2]
    )
    inputs["semantic"] = odds.softmax(1)
    network = JRN(PAPER, skip="add", fusion_channels=5)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    targets = {"depth": truth, "semantic": label}
    losses = []
    for _ in range(100):
        outputs = network(inputs)
        terms = [k.loss(outputs[m], targets[m], truth > 0) for m, k in kinds(PAPER).items()]
        losses.append([float(x.detach()) for x in terms])
        optimizer.zero_grad()
        sum(terms).backward()
        optimizer.step()
    first, last = losses[0], losses[-1]
    assert last[0] < 0.5 * first[0]
    assert last[1] < 0.9 * first[1]


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "fit"),
    [((480, 636), [480, 640]), ((241, 320), [240, 320]), ((3, 5), [8, 8]), ((12, 8), [16, 8])],
)
def test_a_frame_that_a_scale_does_not_divide(frame: tuple[int, int], fit: list[int]) -> None:
    with pytest.raises(ConfigError) as caught:
        JRN(PAPER).check_frame(frame)
    assert str(list(frame)) in str(caught.value)
    assert "divisible by 8" in str(caught.value)
    nearest = str(caught.value).rsplit("fits is ", 1)[1]
    assert nearest == f"{fit}."
    JRN(PAPER).check_frame((fit[0], fit[1]))


def test_a_frame_has_to_be_divisible_by_every_scale() -> None:
    network = JRN(PAPER, scales=[2, 3])
    network.check_frame((12, 18))
    with pytest.raises(ConfigError, match=r"\[9, 12\].*divisible by 6.*\[12, 12\]"):
        network.check_frame((9, 12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operation": "magic"}, r"'magic'.*concatenation, sum, product, maximum, gate"),
        ({"initialization": "he"}, r"'he'.*xavier, gaussian, pytorch"),
        ({"skip": "residual"}, r"'residual'.*none, add, concatenate"),
        ({"fusion_channels": 0}, r"fusion_channels is 0"),
        ({"stem_channels": -1}, r"stem_channels is -1"),
        ({"hidden_channels": 0}, r"hidden_channels is 0"),
        ({"fused_channels": 0}, r"fused_channels is 0"),
        ({"head_kernel": 4}, r"head_kernel is 4.*odd"),
        ({"scales": []}, r"scales is \[\]"),
        ({"scales": [2, 2]}, r"scales is \[2, 2\]"),
        ({"scales": [0, 2]}, r"scales is \[0, 2\]"),
    ],
)
def test_an_argument_out_of_its_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JRN(PAPER, **options)


def test_no_modality_at_all() -> None:
    with pytest.raises(ConfigError, match="at least one modality"):
        JRN({})


# -- use -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "skip"), [*((o, "add") for o in OPERATIONS), ("sum", "concatenate")]
)
@pytest.mark.parametrize("muted", [["depth"], ["semantic"], ["depth", "normals"]])
def test_nothing_of_a_muted_input_reaches_an_output(
    operation: str, skip: str, muted: list[str]
) -> None:
    torch.manual_seed(0)
    network = filled(JRN(THREE, operation, fusion_channels=5, skip=skip))
    inputs = maps(THREE, dtype=torch.float32)
    by_hand = {m: torch.zeros_like(x) if m in muted else x for m, x in inputs.items()}
    expected = network(by_hand)
    for content in (torch.nan, torch.inf, 1e30, -3.0):
        poisoned = {m: torch.full_like(x, content) if m in muted else x for m, x in inputs.items()}
        before = {m: x.clone() for m, x in poisoned.items()}
        found = network(poisoned, muted=muted)
        for m in THREE:
            assert torch.isfinite(found[m]).all()
            assert torch.equal(found[m], expected[m])
            assert torch.equal(poisoned[m].nan_to_num(7), before[m].nan_to_num(7))


def test_muting_what_is_no_input_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot mute sound.*depth, semantic"):
        JRN(PAPER)(maps(PAPER), muted=["sound"])


def test_frames_of_a_batch_do_not_meet() -> None:
    torch.manual_seed(0)
    network = filled(JRN(PAPER, fusion_channels=6, skip="add")).double()
    together = maps(PAPER, batch=3)
    found = network(together)
    for i in range(3):
        alone = network({m: x[i : i + 1] for m, x in together.items()})
        for m in PAPER:
            torch.testing.assert_close(found[m][i : i + 1], alone[m], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_joint_losss_gradient_is_its_slope(operation: str) -> None:
    """Equation 1 through a small network, in float64, in every weight."""
    torch.manual_seed(0)
    modalities = {"depth": Depth("depth"), "semantic": Semantic("semantic", list("abc"))}
    channels = {m: modality.channels for m, modality in modalities.items()}
    network = Network(
        modalities, operation, 2, stem_channels=2, hidden_channels=3, scales=[1, 2], skip="none",
        initialization="pytorch",
    ).double()  # fmt: skip
    network.start_at({"depth": torch.tensor([2.0])})
    inputs = maps(channels, (4, 6), batch=1)
    rng = np.random.default_rng(0)
    valid = rng.uniform(size=(1, 4, 6)) < 0.6
    targets = {
        "depth": torch.from_numpy(np.where(valid, rng.uniform(1, 5, valid.shape), 0.0)),
        "semantic": torch.from_numpy(np.where(valid, rng.integers(0, 3, valid.shape), 255)),
    }
    names = [n for n, _ in network.named_parameters()]

    def joint_loss(*weights: Tensor) -> Tensor:
        outputs = torch.func.functional_call(
            network, dict(zip(names, weights, strict=True)), inputs
        )
        terms = [
            modality.loss(outputs[m], targets[m], torch.from_numpy(valid))
            for m, modality in modalities.items()
        ]
        return torch.stack(terms).sum()

    weights = tuple(p.detach().clone().requires_grad_() for p in network.parameters())
    assert torch.autograd.gradcheck(joint_loss, weights, fast_mode=True)
