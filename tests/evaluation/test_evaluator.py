"""Every part of a pass against the same by hand: loops over pixels, maps made in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.evaluation import Evaluator
from jrn_lightning.evaluation import evaluator as parts
from jrn_lightning.evaluation.evaluator import RUNGS, ideal_input, muted_with, rung
from jrn_lightning.evaluation.protocols import PROTOCOLS
from jrn_lightning.keys import Batch
from jrn_lightning.modalities import Depth, Semantic
from jrn_lightning.networks import ConstantMean, Noise, OtherImage, Zero
from tests.reflectance import Reflectance

Maps = Mapping[str, Tensor]

B, FRAME, TRUTH = 3, (6, 8), (12, 16)
CLASSES = ["floor", "wall", "thing"]
MODALITIES = {"depth": Depth("depth"), "semantic": Semantic("semantic", classes=CLASSES)}
MEANS = {"depth": torch.tensor([2.5]), "semantic": torch.tensor([0.5, 0.3, 0.2])}
NOISE = Noise(MEANS, {"depth": torch.tensor([1.0]), "semantic": torch.full((3,), 0.1)}, seed=3)
SETUPS = ("input", "joint", "muted_depth", "muted_semantic")


def network(inputs: Maps) -> dict[str, Tensor]:
    """No JRN: each output at half the frame hangs on both inputs."""
    d, s = (F.avg_pool2d(inputs[m], 2) for m in ("depth", "semantic"))
    return {"depth": 0.8 * d + s[:, :1] - 0.5 * s[:, 1:2], "semantic": s + 0.1 * torch.sin(3 * d)}


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    depth = 0.5 + 6 * rand(B, *TRUTH)
    depth[0, :4, :5] = 0
    depth[2, 3] = 0
    label = torch.randint(0, 3, (B, *TRUTH), generator=generator)
    label[1, 5:9] = 255
    label[:, :2, :4] = 255
    return {
        "id": list("abc"),
        "index": torch.tensor([4, 0, 2]),
        "input": {"depth": 1 + 5 * rand(B, 1, *FRAME), "semantic": rand(B, 3, *FRAME).softmax(1)},
        "target": {"depth": depth, "semantic": label},
        "valid": (depth > 0) & (label != 255),
        "untouched": {
            "depth": 1 + 5 * rand(B, 1, *TRUTH),
            "semantic": rand(B, 3, *TRUTH).softmax(1),
        },
    }


def reference(
    output: Maps, batch: Batch, masks: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """(B, P, …) n, Σ|Δ|/d*, ΣΔ²/d*; hits, predicted and true; over masks (P, B, H, W)."""
    depth, label = (batch["target"][m].double().numpy() for m in MODALITIES)
    found = {m: y.double().numpy() for m, y in output.items()}
    sums = np.zeros((B, len(masks), 3))
    counts = np.zeros((B, len(masks), 3, 3))
    guess = found["semantic"].argmax(1)
    for p, b, y, x in np.argwhere(masks):
        if (d := depth[b, y, x]) > 0:
            error = abs(found["depth"][b, 0, y, x] - d)
            sums[b, p] += 1, error / d, error**2 / d
        if (k := label[b, y, x]) != 255:
            counts[b, p, 0, int(k)] += guess[b, y, x] == k
            counts[b, p, 1, guess[b, y, x]] += 1
            counts[b, p, 2, int(k)] += 1
    return {"depth": sums, "semantic": counts.reshape(B, -1, 9)}


def by_hand(batch: Batch, replaced: Maps | None = None) -> dict[str, Tensor]:
    """The network's outputs at the size of the truth, with some inputs replaced."""
    outputs = network({**batch["input"], **(replaced or {})})
    return {
        m: F.interpolate(y, size=batch["valid"].shape[1:], mode="bilinear")
        for m, y in outputs.items()
    }


def zeros(batch: Batch, m: str) -> dict[str, Tensor]:
    return {m: torch.zeros_like(batch["input"][m])}


def main_maps(batch: Batch) -> list[Maps]:
    return [
        batch["untouched"],
        by_hand(batch),
        by_hand(batch, zeros(batch, "depth")),
        by_hand(batch, zeros(batch, "semantic")),
    ]


EVERYWHERE = np.ones((1, B, *TRUTH), bool)


def same(rows: Mapping[str, Tensor], expected: list[dict[str, NDArray[Any]]]) -> None:
    for m in MODALITIES:
        wanted = np.stack([e[m] for e in expected])
        assert rows[m].shape[:3] == wanted.shape[:3]
        found = rows[m].numpy()[..., : wanted.shape[-1]]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


# -- the main part ---------------------------------------------------------------------------------


def test_the_main_part_by_hand(batch: Batch) -> None:
    evaluator = Evaluator(MODALITIES)
    (part,) = evaluator.parts(TRUTH)
    assert part == parts.Part("statistics", SETUPS, ("full",))
    found = evaluator(network, batch)
    assert list(found) == ["statistics"]
    same(found["statistics"], [reference(maps, batch, EVERYWHERE) for maps in main_maps(batch)])


def test_a_control_has_no_setup_with_anything_muted(batch: Batch) -> None:
    evaluator = Evaluator(
        MODALITIES, mutable=(), mute_values={"zero": [Zero()]}, noise=NOISE, strata=True
    )
    assert [(p.name, p.setups) for p in evaluator.parts(TRUTH)] == [
        ("statistics", SETUPS[:2]),
        ("strata", SETUPS[:2]),
    ]
    found = evaluator(network, batch)
    same(found["statistics"], [reference(maps, batch, EVERYWHERE) for maps in main_maps(batch)[:2]])


def test_each_setup_runs_the_network_once(batch: Batch) -> None:
    calls = 0

    def counted(inputs: Maps) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        return network(inputs)

    Evaluator(MODALITIES, strata=True, grid=True)(counted, batch)
    assert calls == 3
    calls = 0
    Evaluator(MODALITIES, mute_values={"zero": [Zero()], "noise": [NOISE]})(counted, batch)
    assert calls == 3 + 2 * 2
    calls = 0
    Evaluator(MODALITIES, noise=NOISE)(counted, batch)
    # The prediction and nothing are the joint and the muted setup.
    assert calls == 3 + 2 * (len(RUNGS) - 2)


# -- strata ----------------------------------------------------------------------------------------


def test_strata_by_hand(batch: Batch) -> None:
    evaluator = Evaluator(MODALITIES, strata=True)
    part = evaluator.parts(TRUTH)[1]
    names = [n for m in MODALITIES.values() for n in m.strata]
    assert part == parts.Part("strata", SETUPS, tuple(names))
    masks = np.stack([
        (codes == k).numpy()
        for n, m in MODALITIES.items()
        for strata, codes in m.stratify(batch["target"][n]).items()
        for k in range(len(strata))
    ])  # fmt: skip
    found = evaluator(network, batch)["strata"]
    expected = [reference(maps, batch, masks) for maps in main_maps(batch)]
    # Of semantics not by its own classes: that would be their confusion, K² numbers.
    others = [not name.startswith("class_") for name in names]
    same(found, [{**e, "semantic": e["semantic"][:, others]} for e in expected])


@pytest.mark.parametrize(
    ("of", "strata"),
    [
        ("depth", ("near", "middle", "far")),
        ("depth", ("depth_edge", "depth_inside")),
        ("semantic", ("label_edge", "label_inside")),
    ],
)
def test_strata_of_one_kind_sum_to_the_whole(batch: Batch, of: str, strata: list[str]) -> None:
    """For their own modality; for another one, to where this one's truth is known."""
    found = Evaluator(MODALITIES, strata=True)(network, batch)
    known = MODALITIES[of].target_valid(batch["target"][of]).numpy()[None]
    whole = [reference(maps, batch, known) for maps in main_maps(batch)]
    names = [n for m in MODALITIES.values() for n in m.strata]
    totals = {}
    for m, modality in MODALITIES.items():
        measured = [n for n in names if n not in modality.stratum_measures]
        rows = [measured.index(s) for s in strata]
        totals[m] = found["strata"][m][:, :, rows].sum(2, keepdim=True)
    same(totals, whole)
    np.testing.assert_allclose(totals[of], found["statistics"][of], rtol=1e-6)


# -- mute values -----------------------------------------------------------------------------------


def test_mute_values_by_hand_and_averaged_over_permutations(batch: Batch) -> None:
    split = {m: torch.rand(5, *x.shape[1:]) for m, x in batch["input"].items()}
    partners = [torch.tensor([1, 2, 3, 4, 0]), torch.tensor([2, 3, 4, 0, 1])]
    others = [OtherImage(lambda m, i: split[m][i], p) for p in partners]
    evaluator = Evaluator(
        MODALITIES, mute_values={"constant": [ConstantMean(MEANS)], "other_image": others}
    )
    part = evaluator.parts(TRUTH)[1]
    pairs = [(m, v) for m in MODALITIES for v in ("constant", "other_image")]
    assert part == parts.Part("mute_values", tuple(muted_with(*p) for p in pairs), ("full",))
    expected = []
    for m in MODALITIES:
        like = batch["input"][m]
        constant = MEANS[m][None, :, None, None].expand_as(like)
        expected.append(reference(by_hand(batch, {m: constant}), batch, EVERYWHERE))
        draws = [
            reference(by_hand(batch, {m: split[m][p[batch["index"]]]}), batch, EVERYWHERE)
            for p in partners
        ]
        expected.append({n: (draws[0][n] + draws[1][n]) / 2 for n in MODALITIES})
        assert (draws[0]["depth"] != draws[1]["depth"]).any()
    same(evaluator(network, batch)["mute_values"], expected)


def test_the_mean_of_statistics_is_that_of_measures_which_are_linear_in_them(
    batch: Batch,
) -> None:
    """rel(sqr) and pixel accuracy are; mean IoU is that of the counts taken together."""
    split = {m: torch.rand(5, *x.shape[1:]) for m, x in batch["input"].items()}
    others = [
        OtherImage(lambda m, i: split[m][i], torch.arange(5).roll(k).contiguous()) for k in (1, 2)
    ]

    def measure(values: list[Any], m: str, name: str) -> float:
        rows = Evaluator(MODALITIES, mute_values={"other": values})(network, batch)["mute_values"]
        return float(MODALITIES[m].measure(name)(rows[m][1].sum(0).numpy())[0])

    for m, name in (("depth", "sq_rel"), ("semantic", "pixel_accuracy")):
        each = [measure([other], m, name) for other in others]
        assert measure(others, m, name) == pytest.approx(np.mean(each), rel=1e-9)
        assert each[0] != each[1]


# -- the ladder ------------------------------------------------------------------------------------


def test_the_ladder_by_hand(batch: Batch) -> None:
    evaluator = Evaluator(MODALITIES, noise=NOISE)
    part = evaluator.parts(TRUTH)[1]
    names = [rung(m, r) for m in MODALITIES for r in RUNGS]
    assert part == parts.Part("ladder", tuple(names), ("full",))
    expected = []
    for m in MODALITIES:
        x = batch["input"][m]
        truth, noise = truth_by_hand(batch, m), NOISE(m, x, batch["index"])
        steps = [
            truth,
            (x + truth) / 2,
            x,
            0.75 * x + 0.25 * noise,
            0.5 * x + 0.5 * noise,
            0.25 * x + 0.75 * noise,
            noise,
            torch.zeros_like(x),
        ]
        assert len(steps) == len(RUNGS)
        expected += [reference(by_hand(batch, {m: s}), batch, EVERYWHERE) for s in steps]
    same(evaluator(network, batch)["ladder"], expected)


def truth_by_hand(batch: Batch, m: str) -> Tensor:
    """Cell by cell: the mean depth, the shares of the classes; the prediction where none is."""
    ideal = batch["input"][m].clone().numpy()
    target = batch["target"][m].numpy()
    for b, y, x in np.ndindex(B, *FRAME):
        cell = target[b, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        if m == "depth" and (cell > 0).any():
            ideal[b, 0, y, x] = cell[cell > 0].mean()
        elif m == "semantic" and (cell != 255).any():
            ideal[b, :, y, x] = [(cell == k).sum() / (cell != 255).sum() for k in range(3)]
    return torch.from_numpy(ideal)


@pytest.mark.parametrize("m", MODALITIES)
def test_the_truth_as_an_input_is_what_a_perfect_network_would_predict(
    batch: Batch, m: str
) -> None:
    found = ideal_input(MODALITIES[m], batch["input"][m], batch["target"][m])
    torch.testing.assert_close(found, truth_by_hand(batch, m))
    for prediction in found.numpy():
        assert MODALITIES[m].check_prediction(prediction) is None


def test_at_the_truth_s_own_size_the_truth_is_never_wrong(batch: Batch) -> None:
    """Fed through a network that changes nothing, it has no error."""
    large: Any = {**batch, "input": batch["untouched"]}
    found = Evaluator(MODALITIES, noise=NOISE)(lambda inputs: inputs, large)["ladder"]
    # depth on its own truth, then semantics on its own
    depth = MODALITIES["depth"].measure("sq_rel")(found["depth"][0].sum(0).numpy())
    accuracy = MODALITIES["semantic"].measure("pixel_accuracy")(
        found["semantic"][len(RUNGS)].sum(0).numpy()
    )
    assert depth[0] == pytest.approx(0, abs=1e-12)
    assert accuracy[0] == 1


def test_a_modality_whose_truth_is_no_prediction_is_named(batch: Batch) -> None:
    class Uncertain(Reflectance):
        def ideal(self, target: Tensor) -> None:
            return None

    albedo = Uncertain("albedo")
    with pytest.raises(ConfigError, match=r"evaluation\.ladder.*'albedo'.*Modality\.ideal"):
        ideal_input(albedo, torch.rand(B, 2, *FRAME), torch.rand(B, *TRUTH))
    # Told before anything is trained, and only where there is a ladder.
    with pytest.raises(ConfigError, match="'albedo'"):
        Evaluator({**MODALITIES, "albedo": albedo}, noise=NOISE)
    Evaluator({**MODALITIES, "albedo": albedo})
    Evaluator({**MODALITIES, "albedo": albedo}, noise=NOISE, mutable=())


# -- the grid of protocols -------------------------------------------------------------------------


def test_the_grid_has_every_crop_under_every_convention() -> None:
    generator = torch.Generator().manual_seed(1)
    height, width = 480, 640
    target = torch.rand(1, height, width, generator=generator) * 11  # some beyond 10 m
    target[0, ::7] = 0
    label = torch.randint(0, 3, (1, height, width), generator=generator)
    outputs = {
        "depth": torch.rand(1, 1, height, width, generator=generator) * 12 - 0.5,
        "semantic": torch.rand(1, 3, height, width, generator=generator),
    }
    batch: Any = {
        "id": ["a"],
        "index": torch.tensor([0]),
        "input": outputs,
        "target": {"depth": target, "semantic": label},
        "valid": target > 0,
        "untouched": outputs,
    }
    evaluator = Evaluator(MODALITIES, mutable=(), grid=True)
    part = evaluator.parts((height, width))[1]
    assert part.setups == ("input", "joint")
    assert part.protocols == tuple(
        f"{crop}/{convention}"
        for convention in ("usual", "clipped", "capped")
        for crop in PROTOCOLS
    )
    found = evaluator(lambda inputs: inputs, batch)["protocols"]
    truth, guess = target[0].double().numpy(), outputs["depth"][0, 0].double().numpy()
    classes = outputs["semantic"][0].numpy().argmax(0)
    for p, name in enumerate(part.protocols):
        crop, convention = name.split("/")
        region = PROTOCOLS[crop].region((height, width))
        t, d = truth[region], guess[region]
        known = t > 0
        if convention != "usual":
            d = np.clip(d, 1e-3, 10)
        if convention == "capped":
            known &= (t > 1e-3) & (t < 10)
        error = np.abs(d - t)[known]
        expected = [known.sum(), (error / t[known]).sum(), (error**2 / t[known]).sum()]
        np.testing.assert_allclose(found["depth"][1, 0, p, :3], expected, rtol=1e-5)
        # Semantics has no convention of its own: the usual one under every name.
        hits = (classes == label[0].numpy())[region].sum()
        assert float(found["semantic"][1, 0, p, :3].sum()) == hits


def test_a_frame_for_which_no_crop_is_defined_has_the_whole_one(batch: Batch) -> None:
    evaluator = Evaluator(MODALITIES, grid=True)
    part = evaluator.parts(TRUTH)[1]
    assert part.protocols == ("full/usual", "full/clipped", "full/capped")
    found = evaluator(network, batch)
    np.testing.assert_array_equal(
        found["protocols"]["depth"][:, :, :1], found["statistics"]["depth"]
    )


def test_the_grid_has_every_ground_truth_under_every_convention(batch: Batch) -> None:
    """Depth has another truth; semantics has none and keeps its own under that name."""
    raw = 1.1 * batch["target"]["depth"]  # some beyond 10 m with `capped`
    raw = torch.where(raw < 2, 0.0, raw + 4)
    two: Any = {**batch, "alternative": {("depth", "raw"): raw}}
    truths = {"depth": ("filled", "raw"), "normals": ("a", "b")}
    evaluator = Evaluator(MODALITIES, grid=True, truths=truths)
    names = evaluator.parts(TRUTH)[1].protocols
    usual = ("full/usual", "full/clipped", "full/capped")
    assert names == (*usual, *(f"{name}/raw" for name in usual))
    found = evaluator(network, two)["protocols"]
    alone = Evaluator(MODALITIES, grid=True)(network, batch)["protocols"]
    for m in MODALITIES:
        assert torch.equal(found[m][:, :, :3], alone[m])
    assert torch.equal(found["semantic"][:, :, 3:], alone["semantic"])
    truth = raw.double().numpy()
    for s, maps in enumerate(main_maps(batch)):
        guess = maps["depth"][:, 0].double().numpy()
        for p, name in enumerate(names[3:], start=3):
            d, known = guess, truth > 0
            if name != "full/usual/raw":
                d = np.clip(d, 1e-3, 10)
            if name == "full/capped/raw":
                known = known & (truth < 10)
            for b in range(B):
                t, error = truth[b][known[b]], np.abs(d - truth)[b][known[b]]
                expected = [known[b].sum(), (error / t).sum(), (error**2 / t).sum()]
                np.testing.assert_allclose(found["depth"][s, b, p, :3], expected, rtol=1e-5)
    counts = found["depth"][1, :, [0, 3, 5], 0].sum(0).tolist()
    assert counts[0] > counts[1] > counts[2] > 0


def test_statistics_are_exact_whatever_the_network_runs_in(batch: Batch) -> None:
    """Autocast would take the sums of a row in bfloat16: three digits."""
    evaluator = Evaluator(MODALITIES, ["full"], strata=True, grid=True)
    exact = evaluator(network, batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = evaluator(network, batch)
    for part, rows in exact.items():
        for m in MODALITIES:
            assert torch.equal(half[part][m], rows[m]), (part, m)
