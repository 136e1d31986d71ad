"""A network that has died is told by name, a healthy one is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from jrn_lightning.networks import JRN, HealthCheck, health_warnings
from tests.kinds import kinds

CHANNELS = {"depth": 1, "semantic": 5}
FRAME = (32, 48)


def frames(count: int = 3) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "depth": torch.rand(1, 1, *FRAME, generator=generator) * 6 + 1,
            "semantic": (4 * torch.randn(1, 5, *FRAME, generator=generator)).softmax(1),
        }
        for _ in range(count)
    ]


def _network() -> JRN:
    found = JRN(kinds(CHANNELS), fusion_channels=10, skip="none")
    found.start_at({"depth": torch.tensor([3.0])})
    return found


@pytest.fixture
def network() -> JRN:
    torch.manual_seed(0)
    return _network()


@torch.no_grad()
def kill(layer: nn.Module, channels: slice = slice(None)) -> None:
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    layer.weight[channels] = -layer.weight[channels].abs()
    layer.bias[channels] = -1.0


def test_a_healthy_network_is_left_alone(network: JRN) -> None:
    assert health_warnings(network, frames()) == []


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("modality", CHANNELS)
def test_a_dead_stem_is_named(network: JRN, modality: str, scale: int) -> None:
    kill(network.branches[str(scale)].stem[modality])
    (warning,) = health_warnings(network, frames())
    assert warning.startswith(f"stem {modality} at 1/{scale}: 20 of 20 channels are dead")


def test_a_stem_that_never_sees_anything_may_be_silent(network: JRN) -> None:
    kill(network.branches["4"].stem["depth"])
    kill(network.branches["2"].stem["semantic"])
    check = HealthCheck(network, unseen=("semantic",))
    with torch.no_grad():
        for inputs in frames():
            check.update(inputs, check.forward(inputs))
    (warning,) = check.warnings()
    assert warning.startswith("stem depth at 1/4")
    dead = check.dead_channels()
    assert dead["branches.4.stem.depth"] == (20, 20)
    assert not any(name.endswith(".stem.semantic") for name in dead)


def test_dead_fusions_and_hidden_layers_are_named(network: JRN) -> None:
    kill(network.branches["4"].fuse)
    assert health_warnings(network, frames())[0].startswith("fusion at 1/4: 10 of 10 channels")
    kill(network.hidden)
    found = health_warnings(network, frames())
    assert any(w.startswith("layer hidden: 60 of 60 channels") for w in found)
    # Nothing but biases is left: the outputs stand still too.
    assert sum("stands still" in w for w in found) == 2


def test_a_few_dead_channels_are_counted_and_not_warned_of(network: JRN) -> None:
    network.eval()
    for dead, warned in ((9, False), (10, True)):
        kill(network.branches["2"].stem["depth"], slice(0, dead))
        check = HealthCheck(network)
        for inputs in frames():
            check.update(inputs, check.forward(inputs))
        counted, channels = check.dead_channels()["branches.2.stem.depth"]
        assert counted >= dead
        assert channels == 20
        if counted == dead:
            assert bool(check.warnings()) == warned


def test_a_channel_that_is_active_once_is_alive(network: JRN) -> None:
    """Every frame is looked at, and every pixel of it."""
    stem = network.branches["2"].stem["depth"]
    with torch.no_grad():
        stem.weight.zero_()
        stem.weight[:, :, 1, 1] = 1
        stem.bias.fill_(-6.5)  # half the frame's scale pools its maximum below that
    inputs = frames()
    assert any("stem depth at 1/2" in w for w in health_warnings(network, inputs))
    inputs[1]["depth"][0, 0, 10:12, 20:22] = 9
    assert not any("stem depth at 1/2" in w for w in health_warnings(network, inputs))


@pytest.mark.parametrize("modality", CHANNELS)
def test_an_output_that_stands_still_is_named(network: JRN, modality: str) -> None:
    place = list(CHANNELS).index(modality)
    for head in network.head.weight.split(list(CHANNELS.values()))[place : place + 1]:
        nn.init.zeros_(head)
    (warning,) = health_warnings(network, frames())
    assert warning.startswith(f"output {modality} stands still")


def test_an_output_that_is_constant_in_each_frame_but_moves_is_no_constant(network: JRN) -> None:
    """Over frames and pixels together: only what never moves is dead."""
    inputs = frames(2)
    check = HealthCheck(network)
    for depth, given in zip((1.0, 6.0), inputs, strict=True):
        check.update(given, {"depth": torch.full((1, 1, 16, 24), depth)})
    assert check.warnings() == []


def test_an_output_that_is_not_a_number_is_named(network: JRN) -> None:
    with torch.no_grad():
        network.head.bias[0] = torch.nan
    (warning,) = health_warnings(network, frames())
    assert warning.startswith("output depth stands still")


def test_batches_are_counted_like_single_frames(network: JRN) -> None:
    kill(network.branches["4"].stem["semantic"], slice(0, 15))
    single = HealthCheck(network)
    for inputs in frames():
        single.update(inputs, single.forward(inputs))
    whole = HealthCheck(network)
    batch = {m: torch.cat([f[m] for f in frames()]) for m in CHANNELS}
    whole.update(batch, whole.forward(batch))
    assert single.dead_channels() == whole.dead_channels()
    assert single.warnings() == whole.warnings() != []


def test_looking_changes_nothing(network: JRN) -> None:
    (inputs,) = frames(1)
    before = network(inputs)
    seen = HealthCheck(network).forward(inputs)
    assert all(torch.equal(before[m], seen[m]) for m in CHANNELS)
    assert not any(m._forward_hooks for m in network.modules())


def _one_process(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    check = HealthCheck(_network())
    for inputs in frames(3)[:2] if rank == 0 else frames(3)[2:]:
        check.update(inputs, check.forward(inputs))
    check.gather()
    torch.save((check._peak, check._moments), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_see_together_what_one_sees_alone(network: JRN, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_one_process, (str(tmp_path),), nprocs=2)
    alone = HealthCheck(network)
    for inputs in frames(3):
        alone.update(inputs, alone.forward(inputs))
    for rank in (0, 1):
        peaks, moments = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(peaks, alone._peak)
        torch.testing.assert_close(moments, alone._moments)
