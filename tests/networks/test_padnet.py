from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.networks import PADNet
from tests.kinds import kinds

CHANNELS = {"depth": 1, "semantic": 5, "normals": 3}


def inputs() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {m: torch.rand(2, c, 16, 24).softmax(1) + (c == 1) for m, c in CHANNELS.items()}


@pytest.fixture
def network() -> PADNet:
    torch.manual_seed(1)
    found = PADNet(kinds(CHANNELS), feature_channels=6)
    for heads in (found.head, found.initial):
        for head in heads.values():
            nn.init.normal_(head.weight, std=0.1)
    return found


def test_the_distillation_is_the_paper_s(network: PADNet) -> None:
    given, state = inputs(), network.state_dict()

    def convolved(x: Tensor, layer: str) -> Tensor:
        return F.conv2d(x, state[f"{layer}.weight"], state[f"{layer}.bias"], padding=1)

    features = {}
    for m, x in given.items():
        first = convolved(F.avg_pool2d(x, 2), f"stem.{m}.0").relu()
        features[m] = convolved(first, f"stem.{m}.1").relu()
    outputs = network(given)
    for k in CHANNELS:
        message = sum(
            convolved(features[t], f"attention.{t}_{k}").sigmoid()
            * convolved(features[t], f"message.{t}_{k}")
            for t in CHANNELS
            if t != k
        )
        decoded = convolved(features[k] + message, f"decoder.{k}").relu()
        small = F.avg_pool2d(given[k], 2)
        base = small.clamp(min=1e-3).log() if k == "semantic" else small
        torch.testing.assert_close(outputs[k], base + convolved(decoded, f"head.{k}"))
        torch.testing.assert_close(
            outputs[f"{k}/initial"], base + convolved(features[k], f"initial.{k}")
        )


def test_the_first_forward_pass_returns_the_input() -> None:
    given = inputs()
    outputs = PADNet(kinds(CHANNELS))(given)
    for m, modality in kinds(CHANNELS).items():
        expected = modality.to_output(F.avg_pool2d(given[m], 2))
        assert torch.equal(outputs[m], expected)
        assert torch.equal(outputs[f"{m}/initial"], expected)


@pytest.mark.parametrize("muted", CHANNELS)
def test_nothing_of_a_muted_input_reaches_an_output(network: PADNet, muted: str) -> None:
    given = inputs()
    expected = network({**given, muted: torch.zeros_like(given[muted])})
    found = network({**given, muted: given[muted] * torch.nan}, muted=[muted])
    assert all(torch.equal(found[name], y) for name, y in expected.items())


def test_wrong_arguments_and_frames_are_refused() -> None:
    with pytest.raises(ConfigError, match="feature_channels is 0"):
        PADNet(kinds(CHANNELS), feature_channels=0)
    with pytest.raises(ConfigError, match=r"\[24, 31\].*divisible by 2"):
        PADNet(kinds(CHANNELS)).check_frame((24, 31))
