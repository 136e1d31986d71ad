"""Networks by name, and what a name may not do."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import PLUGINS
from jrn_lightning.networks import DEFAULT, JRN, PADNet, build, named, output_scale, refined_only
from tests.kinds import kinds

TWO = kinds({"depth": 1, "semantic": 5})


class Halved(nn.Module):
    """Every other pixel of the input, times a weight."""

    def __init__(self, modalities: dict[str, object], gain: float = 1.0, wrong: str = "") -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.wrong = wrong

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = {m: x[..., ::2, ::2] * self.gain for m, x in inputs.items()}
        if self.wrong == "missing":
            del outputs["depth"]
        elif self.wrong == "channels":
            outputs["depth"] = outputs["semantic"]
        elif self.wrong == "size":
            outputs["depth"] = outputs["depth"][..., 1:, :]
        return {**outputs, "depth/other": inputs["depth"]}


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that the user has named."""
    module = ModuleType("my_networks")
    module.Halved = Halved
    module.number = 3
    monkeypatch.setitem(sys.modules, "my_networks", module)
    PLUGINS.add("my_networks")
    yield "my_networks"
    PLUGINS.discard("my_networks")


def test_the_package_s_own_are_found_by_name() -> None:
    assert named(DEFAULT) is JRN
    assert isinstance(build({"fusion_channels": 5}, TWO), JRN)
    assert isinstance(build({"_target_": "jrn_lightning.networks.PADNet"}, TWO), PADNet)


@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "torch.nn.Linear", "Halved"])
def test_what_nobody_has_named_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{target}' .*plug-in.*data.plugins"):
        named(target)


def test_a_plug_in_s_network_is_built_and_its_scale_found(plugin: str) -> None:
    network = build({"_target_": f"{plugin}.Halved", "gain": 2.0}, TWO)
    assert output_scale(network, TWO, (24, 32)) == 2
    maps = {"depth": torch.ones(1, 1, 4, 4), "semantic": torch.ones(1, 5, 4, 4)}
    assert list(refined_only(network(maps))) == ["depth", "semantic"]
    for name in ("number", "os"):
        with pytest.raises(ConfigError, match=f"no network '{name}'. It has: Halved"):
            named(f"{plugin}.{name}")


def test_an_unknown_argument_is_refused_and_the_known_listed(plugin: str) -> None:
    with pytest.raises(ConfigError, match=r"no argument widht\. It has: gain, wrong"):
        build({"_target_": f"{plugin}.Halved", "widht": 3}, TWO)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("missing", "depth of shape None.*1, h, w"),
        ("channels", r"depth of shape \(1, 5, 12, 16\)"),
        ("size", "one size that divides"),
    ],
)
def test_outputs_that_do_not_fit_are_told_before_training(
    plugin: str, wrong: str, told: str
) -> None:
    network = build({"_target_": f"{plugin}.Halved", "wrong": wrong}, TWO)
    with pytest.raises(ConfigError, match=f"Halved gives {told}|Halved gives maps.*{told}"):
        output_scale(network, TWO, (24, 32))
