"""The benchmarks compare like with like, and run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from benchmarks import training
from benchmarks.__main__ import main
from benchmarks.options import Options
from benchmarks.plain import PlainCat60, plain_loss
from benchmarks.timing import Row, interleave, ratio
from jrn_lightning.networks import JRN
from tests.caches import modalities

FRAME = (32, 48)


def of_plain(plain: str, package: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The parameter ``plain`` of the plain network, found among those of the package's."""
    parts = plain.split(".")
    if parts[0] in modalities():  # both outputs are one layer there
        depth, semantic = package[f"head.{parts[1]}"].split([1, 5])
        return depth if parts[0] == "depth" else semantic
    if parts[0] != "branches":
        return package[plain]
    scale = 2 << int(parts[1])
    stem = "stem." if parts[2] in modalities() else ""
    return package[f"branches.{scale}.{stem}{'.'.join(parts[2:])}"]


@pytest.fixture
def networks() -> tuple[PlainCat60, JRN]:
    torch.manual_seed(0)
    ours = JRN(modalities(), skip="none").double()
    plain = PlainCat60().double()
    state = ours.state_dict()
    plain.load_state_dict({name: of_plain(name, state) for name in plain.state_dict()})
    return plain, ours


@pytest.fixture
def batch() -> Mapping[str, torch.Tensor]:
    half = (FRAME[0] // 2, FRAME[1] // 2)
    depth = torch.rand(2, *half, dtype=torch.float64) * 8 + 1
    depth[:, :3] = 0
    labels = torch.randint(0, 5, (2, *half))
    labels[:, :, :4] = 255
    return {
        "depth": torch.rand(2, 1, *FRAME, dtype=torch.float64) * 9,
        "semantic": torch.rand(2, 5, *FRAME, dtype=torch.float64).softmax(1),
        "true_depth": depth,
        "labels": labels,
    }


def test_the_plain_loop_computes_what_the_package_computes(
    networks: tuple[PlainCat60, JRN], batch: Mapping[str, torch.Tensor]
) -> None:
    plain, ours = networks
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in ours.parameters())

    outputs = ours({m: batch[m] for m in modalities()})
    depth, scores = plain(batch["depth"], batch["semantic"])
    torch.testing.assert_close(depth, outputs["depth"])
    torch.testing.assert_close(scores, outputs["semantic"])

    truths = {"depth": batch["true_depth"], "semantic": batch["labels"]}
    valid = torch.stack([k.target_valid(truths[m]) for m, k in modalities().items()]).all(0)
    loss = sum(k.loss(outputs[m], truths[m], valid) for m, k in modalities().items())
    plain_value = plain_loss(depth, scores, batch["true_depth"], batch["labels"])
    torch.testing.assert_close(plain_value, loss.double(), rtol=1e-5, atol=0)

    loss.backward()
    plain_value.backward()
    gradients = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    for name, parameter in plain.named_parameters():
        expected = of_plain(name, gradients)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-7)


def test_contenders_take_turns() -> None:
    order: list[str] = []
    times = interleave(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        rounds=3,
        device=torch.device("cpu"),
    )
    assert "".join(order) == "abababab"  # the first of each only warms up
    assert [len(t) for t in times.values()] == [3, 3]


def test_a_row_says_whether_it_reaches_its_goal() -> None:
    times = {"a": [4.0, 2.0, 100.0], "b": [2.0, 2.0, 2.0]}
    row = ratio(times, "a", "b", "a over b", goal=2.0)
    assert (row.value, row.met) == (2.0, True)
    assert ratio(times, "a", "b", "a over b", goal=2.5, at_most=False).met is False
    assert Row("size", 3.0).met is None
    assert row.markdown() == "| a over b | 2 × | ≤ 2 × | yes | a 4 s, b 2 s; 3 rounds |"


def run(parts: list[str], table: Path) -> str:
    main([*parts, "--quick", "--device", "cpu", "--out", str(table)])
    return table.read_text(encoding="utf-8")


def test_training_is_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(["training"], tmp_path / "table.md")
    assert "matrix product: float32" in text
    assert text.count("Lightning over a bare loop") == 2
    assert "| nan" not in text
    assert text.rstrip().endswith(capsys.readouterr().out.splitlines()[-2])


@pytest.mark.filterwarnings("ignore")  # Lightning's, as when benchmarks are run
@pytest.mark.parametrize("bfloat16", [False, True])
def test_where_bfloat16_is_chosen_float32_is_timed_beside_it(bfloat16: bool) -> None:
    options = Options(
        frame=(16, 16),
        small=(16, 16),
        frames=3,
        rounds=1,
        device=torch.device("cpu"),
        bfloat16=bfloat16,
        channels_last=bfloat16,
        matrix_rate=1e9,
        cache=None,
        quick=True,
    )
    rows = [row for row in training.rows(options) if "float32 over a bare" in row.what]
    assert len(rows) == 2 * bfloat16
    assert all(row.value > 0 for row in rows)


def test_testing_is_timed(tmp_path: Path) -> None:
    text = run(["testing"], tmp_path / "table.md")
    assert "over as many bare forward passes" in text
    assert "with strata" in text
    assert "| nan" not in text


@pytest.mark.slow
def test_everything_runs(tmp_path: Path) -> None:
    text = run([], tmp_path / "table.md")
    for words in ("plain float32 loop", "test pass", "opening a cache", "resamples"):
        assert words in text
    assert text.count("\n| ") > 10
