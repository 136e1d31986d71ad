"""Muting is exact: what a muted input holds can reach no output."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from jrn_lightning.errors import ConfigError
from jrn_lightning.networks import (
    JRN,
    MUTE_VALUES,
    ConstantMean,
    MeanMap,
    MuteValue,
    Noise,
    OtherImage,
    Zero,
    mute,
    muting,
    partners,
)
from tests.kinds import kinds

CHANNELS = {"depth": 1, "semantic": 3, "normals": 2}
FRAME = (16, 24)
N = 6

Maps = dict[str, Tensor]


def every_input() -> Maps:
    """``(N, C, H, W)`` of the whole split."""
    generator = torch.Generator().manual_seed(0)
    return {m: torch.rand(N, c, *FRAME, generator=generator) for m, c in CHANNELS.items()}


SPLIT = every_input()
MEANS = {m: x.mean((0, 2, 3)) for m, x in SPLIT.items()}
DEVIATIONS = {m: x.std((0, 2, 3)) for m, x in SPLIT.items()}
MEAN_MAPS = {m: x.mean(0) for m, x in SPLIT.items()}
PARTNER = torch.tensor([3, 4, 5, 0, 1, 2])

VALUES: dict[str, MuteValue] = {
    "zero": Zero(),
    "mean_map": MeanMap(MEAN_MAPS),
    "constant": ConstantMean(MEANS),
    "other_image": OtherImage(lambda m, index: SPLIT[m][index], PARTNER),
    "noise": Noise(MEANS, DEVIATIONS, seed=4),
}


def test_every_value_is_tried_here() -> None:
    assert set(VALUES) == set(MUTE_VALUES)


def substitute(name: str, modality: str, index: Tensor) -> Tensor | None:
    """What a value puts in, by hand; None for noise, which has no formula."""
    shape = (len(index), CHANNELS[modality], *FRAME)
    if name == "zero":
        return torch.zeros(shape)
    if name == "mean_map":
        return torch.stack([MEAN_MAPS[modality]] * len(index))
    if name == "constant":
        return MEANS[modality].view(1, -1, 1, 1) * torch.ones(shape)
    if name == "other_image":
        return torch.stack([SPLIT[modality][PARTNER[i]] for i in index])
    return None


@pytest.fixture(scope="module")
def network() -> JRN:
    torch.manual_seed(0)
    network = JRN(kinds(CHANNELS), fusion_channels=6).eval()
    nn.init.normal_(network.head.weight, std=0.1)
    return network


@pytest.mark.parametrize("modality", CHANNELS)
@pytest.mark.parametrize("name", VALUES)
@torch.no_grad()
def test_a_poisoned_muted_input_leaves_every_output_finite_and_the_same(
    network: JRN, name: str, modality: str
) -> None:
    index = torch.tensor([4, 1])
    inputs = {m: x[index] for m, x in SPLIT.items()}
    outputs = []
    for content in (inputs[modality], torch.nan, torch.inf, -1e30):
        held = {**inputs, modality: torch.full_like(inputs[modality], 1) * content}
        given = mute(held, [modality], VALUES[name], index)
        for m in CHANNELS:
            assert m == modality or given[m] is held[m]
        outputs.append(network(given))
    for found in outputs:
        for m in CHANNELS:
            assert torch.isfinite(found[m]).all()
            assert torch.equal(found[m], outputs[0][m])
    by_hand = substitute(name, modality, index)
    if by_hand is not None:
        expected = network({**inputs, modality: by_hand})
        assert all(torch.equal(outputs[0][m], expected[m]) for m in CHANNELS)
    # The input does matter where it is not muted.
    assert not torch.equal(network(inputs)["depth"], outputs[0]["depth"])


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_substitute_is_like_the_input(name: str, dtype: torch.dtype) -> None:
    index = torch.tensor([2, 0, 5])
    for m in CHANNELS:
        held = SPLIT[m][index].to(dtype)
        before = held.clone()
        found = VALUES[name](m, held, index)
        assert found.shape == held.shape
        assert found.dtype == dtype
        assert torch.equal(held, before)


def test_zero_is_the_default() -> None:
    inputs = {m: x[:2] for m, x in SPLIT.items()}
    given = mute(inputs, ["depth", "normals"])
    assert not given["depth"].any()
    assert not given["normals"].any()
    assert given["semantic"] is inputs["semantic"]
    assert mute(inputs, []) == inputs


def test_what_is_no_input_cannot_be_muted() -> None:
    with pytest.raises(ConfigError, match=r"cannot mute sound: the inputs are depth, semantic"):
        mute(SPLIT, ["sound"])


# -- another image ---------------------------------------------------------------------------------


def test_an_image_is_never_its_own_partner() -> None:
    with pytest.raises(ValueError, match="own partner"):
        OtherImage(lambda m, index: SPLIT[m][index], torch.tensor([1, 0, 2]))


@given(st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=30), st.integers(0, 50))
def test_partners_are_of_another_scene(scenes: list[str], seed: int) -> None:
    partner = partners(scenes, seed)
    n = len(scenes)
    assert sorted(partner) == list(range(n))  # every image is used once
    assert (partner != np.arange(n)).all()
    if 2 * max(map(scenes.count, scenes)) <= n:
        assert all(scenes[i] != scenes[partner[i]] for i in range(n))
    assert (partner == partners(scenes, seed)).all()


def test_partners_depend_on_the_seed() -> None:
    scenes = [str(i // 3) for i in range(60)]
    assert len({tuple(partners(scenes, seed)) for seed in range(5)}) == 5


def test_a_lone_image_has_no_partner() -> None:
    with pytest.raises(ConfigError, match="at least two test images"):
        partners(["a"], 0)


# -- noise -----------------------------------------------------------------------------------------


def test_noise_belongs_to_the_image_and_not_to_the_batch() -> None:
    def noise(m: str, index: list[int], seed: int = 4) -> Tensor:
        value = Noise(MEANS, DEVIATIONS, seed)
        return value(m, SPLIT[m][: len(index)], torch.tensor(index))

    together = noise("semantic", [0, 3, 5])
    assert torch.equal(noise("semantic", [5, 0, 3]), together[[2, 0, 1]])
    assert torch.equal(noise("semantic", [3])[0], together[1])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(noise("semantic", [3], seed=5)[0], together[1])
    torch.rand(3)  # the global state neither matters nor changes
    state = torch.get_rng_state()
    assert torch.equal(noise("semantic", [0, 3, 5]), together)
    assert torch.equal(torch.get_rng_state(), state)
    # Modalities have noise of their own.
    standard = [
        ((noise(m, [1]) - MEANS[m][:, None, None]) / DEVIATIONS[m][:, None, None])[0, 0]
        for m in CHANNELS
    ]
    assert not torch.allclose(standard[0], standard[1], atol=1e-3)


def test_noise_has_the_inputs_mean_and_deviation() -> None:
    like = torch.zeros(4, 3, 100, 100)
    found = Noise(MEANS, DEVIATIONS, seed=0)("semantic", like, torch.arange(4))
    torch.testing.assert_close(found.mean((0, 2, 3)), MEANS["semantic"], atol=0.01, rtol=0)
    torch.testing.assert_close(found.std((0, 2, 3)), DEVIATIONS["semantic"], atol=0.01, rtol=0)


def test_noise_is_splitmix64_made_normal() -> None:
    first = muting._mixed(torch.tensor([muting._STEP]))  # of the published generator, seed 0
    assert first.item() % 2**64 == 0xE220A8397B1DCDAF
    x = muting._normal(torch.Size((3, 101, 101)), 7, torch.arange(6)).flatten(1).double()
    assert x.shape == (6, 3 * 101 * 101)
    values = np.sort(x.flatten().numpy())
    below = np.arange(1, len(values) + 1) / len(values)
    normal = torch.special.ndtr(torch.from_numpy(values)).numpy()
    assert abs(below - normal).max() < 1.63 / len(values) ** 0.5  # Kolmogorov and Smirnov, 1 %
    # Five deviations: of one image and another, of neighbours, and of both numbers of a hash.
    pairs = x.shape[1] // 2
    for a, b in ((x[:-1], x[1:]), (x[:, 1:], x[:, :-1]), (x[:, :pairs], x[:, -pairs:])):
        assert abs((a * b).mean()) < 5 / a.numel() ** 0.5
