"""The fusion operations, from their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jrn_lightning.errors import ConfigError
from jrn_lightning.networks import OPERATIONS
from jrn_lightning.networks.fusion import Gate, fusion


@pytest.fixture(params=[1, 2, 3])
def features(request: pytest.FixtureRequest) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 4, 3, 5, generator=generator) for _ in range(request.param)]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("concatenation", lambda x: np.concatenate(x, 1)),
        ("sum", lambda x: np.sum(x, 0)),
        ("product", lambda x: np.prod(x, 0)),
        ("maximum", lambda x: np.max(x, 0)),
    ],
)
def test_without_parameters(operation: str, expected, features: list[torch.Tensor]) -> None:  # type: ignore[no-untyped-def]
    op = fusion(operation, len(features), 4)
    before = [f.clone() for f in features]
    found = op(features)
    assert not list(op.parameters())
    assert found.shape[1] == op.channels
    np.testing.assert_allclose(found, expected([f.numpy() for f in features]), rtol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(before, features, strict=True))


def test_the_gate_is_a_convex_combination(features: list[torch.Tensor]) -> None:
    torch.manual_seed(0)
    gate = fusion("gate", len(features), 4)
    found = gate(features)
    assert found.shape == features[0].shape
    assert gate.channels == 4
    stacked = torch.stack(features)
    assert (found <= stacked.amax(0) + 1e-6).all()
    assert (found >= stacked.amin(0) - 1e-6).all()


def test_the_gate_follows_its_weights() -> None:
    """A bias that strongly favours the second modality lets only that one through."""
    gate = Gate(2, 4)
    torch.nn.init.zeros_(gate.weights.weight)
    a, b = torch.randn(2, 1, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        gate.weights.bias.copy_(torch.tensor([0.0, 0.0]))
        torch.testing.assert_close(gate([a, b]), (a + b) / 2)
        gate.weights.bias.copy_(torch.tensor([0.0, 40.0]))
        torch.testing.assert_close(gate([a, b]), b)


def test_every_operation_goes_by_its_name() -> None:
    for name, kind in OPERATIONS.items():
        assert type(fusion(name, 2, 3)) is kind


def test_an_unknown_operation_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"arch\.operation is 'mean'.*concatenation, sum"):
        fusion("mean", 2, 3)
