from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from jrn_lightning import keys
from jrn_lightning.errors import CacheError, CheckpointError
from jrn_lightning.predictors import checkpoint, crossfit
from jrn_lightning.predictors.crossfit import CrossFit, folds
from tests.frames import BoxRooms, tiny_settings
from tests.jobs import ROOT


def fit(
    folder: Path, data: BoxRooms | None = None, workers: int = 1, **changes: object
) -> CrossFit:
    return CrossFit(
        data or BoxRooms(),
        ["depth", "semantic"],
        tiny_settings(**changes),
        folder,
        workers=workers,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    fit(folder).run()
    return folder


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_training_frame_is_predicted_by_a_network_that_has_not_seen_its_scene(count: int) -> None:
    data = BoxRooms(scenes=11)
    dealt = folds(data, count)
    predicted = Counter(n for fold in dealt for n in fold.predicted)
    assert predicted == Counter(n for ns in data.splits.values() for n in ns)
    for fold in dealt:
        seen = {data.scene(n) for n in fold.training}
        assert not seen & {data.scene(n) for n in fold.predicted}
        assert set(fold.training) <= set(data.splits[keys.TRAIN])
    sizes = [len(fold.training) for fold in dealt]
    assert max(sizes) - min(sizes) <= 2  # a scene has two frames
    others = [len(set(f.predicted) - set(data.splits[keys.TRAIN])) for f in dealt]
    assert max(others) - min(others) <= 2


@pytest.mark.parametrize("count", [2, 3])
def test_in_sample_predictions_are_of_training_frames_and_change_nothing_else(count: int) -> None:
    data = BoxRooms(scenes=11)
    training = set(data.splits[keys.TRAIN])
    for honest, flattered in zip(
        folds(data, count), folds(data, count, in_sample=True), strict=True
    ):
        assert flattered.training == honest.training
        assert set(flattered.predicted) - training == set(honest.predicted) - training
        assert set(flattered.predicted) & training <= set(flattered.training)
    predicted = Counter(n for f in folds(data, count, in_sample=True) for n in f.predicted)
    assert set(predicted.values()) == {1}


def test_in_sample_predictions_need_no_other_networks(finished: Path) -> None:
    honest = fit(finished).run()["depth"]
    before = {f: f.stat().st_mtime_ns for f in finished.glob("*.ckpt")}
    job = CrossFit(BoxRooms(), ["depth"], tiny_settings(), finished, in_sample=True, workers=1)
    flattered = job.run()["depth"]
    assert before == {f: f.stat().st_mtime_ns for f in finished.glob("*.ckpt")}
    data = BoxRooms()
    same = {n: np.array_equal(honest.read(n), flattered.read(n)) for n in honest.ids}
    assert {same[n] for n in data.splits[keys.TRAIN]} == {False}
    assert {same[n] for n in data.splits[keys.TEST]} == {True}


def test_the_deal_follows_from_the_seed() -> None:
    data = BoxRooms(scenes=11)
    assert folds(data, 3, 1) == folds(data, 3, 1)
    assert folds(data, 3, 1) != folds(data, 3, 2)


def test_too_few_scenes_for_the_folds() -> None:
    with pytest.raises(CacheError, match=r"box-rooms has 2 training scenes for 3 folds"):
        folds(BoxRooms(scenes=2), 3)


def test_every_frame_is_predicted_in_the_modalities_units(finished: Path) -> None:
    sources = fit(finished).run()
    assert sources["depth"].shape == (1, 12, 16)
    assert sources["semantic"].shape == (5, 12, 16)
    data = BoxRooms()
    for name, source in sources.items():
        assert source.ids == sorted(n for ns in data.splits.values() for n in ns)
        for frame in source.ids:
            assert data.modalities[name].check_prediction(source.read(frame)) is None


def test_the_networks_learn(tmp_path: Path) -> None:
    data, name = BoxRooms(scenes=12), "depth"
    job = CrossFit(
        data, [name], tiny_settings(epochs=25, learning_rate=1e-2, zoom=1.0), tmp_path, workers=1
    )
    source = job.run()[name]
    losses = checkpoint.read_about(tmp_path / "depth-fold0.ckpt")["about"]["losses"]
    assert len(losses) == 25
    assert losses[-1] < 0.7 * losses[0]
    truth = {
        n: data.read(n).targets[name][2::4, 2::4]  # type: ignore[index]
        for ns in (data.splits[keys.TRAIN], data.splits[keys.TEST])
        for n in ns
    }
    constant = np.exp(np.mean([np.log(truth[n]) for n in data.splits[keys.TRAIN]]))
    for split in (keys.TRAIN, keys.TEST):  # both are of scenes that the network has not seen
        ids = data.splits[split]
        error = [np.abs(np.log(source.read(n)[0].astype(float) / truth[n])).mean() for n in ids]
        known = [np.abs(np.log(constant / truth[n])).mean() for n in ids]
        assert np.mean(error) < 0.8 * np.mean(known)


def test_work_is_told_to_the_end(tmp_path: Path) -> None:
    told: list[float] = []
    job = fit(tmp_path)
    job.run(told.append)
    assert sum(told) == pytest.approx(job.cost)
    again: list[float] = []
    fit(tmp_path).run(again.append)
    assert sum(again) == pytest.approx(job.cost)


def test_finished_networks_are_not_trained_again(finished: Path, tmp_path: Path) -> None:
    before = {f.name: f.stat().st_mtime_ns for f in finished.glob("*.ckpt")}
    maps = {m: s.read("0001").copy() for m, s in fit(finished).run().items()}
    (finished / "depth-fold1.npz").unlink()  # predictions can be made again from the network
    again = {m: s.read("0001") for m, s in fit(finished).run().items()}
    assert before == {f.name: f.stat().st_mtime_ns for f in finished.glob("*.ckpt")}
    for m, expected in maps.items():
        np.testing.assert_array_equal(again[m], expected)


def test_a_network_that_is_missing_is_the_only_one_trained(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = torch.load(finished / "depth-fold0.ckpt", weights_only=True)["state_dict"]
    (finished / "depth-fold0.ckpt").unlink()
    (finished / "depth-fold0.npz").unlink()
    trained: list[str] = []
    real = crossfit._train

    def train(job, *rest):  # type: ignore[no-untyped-def]
        trained.append(job.network.name)
        return real(job, *rest)

    monkeypatch.setattr(crossfit, "_train", train)
    fit(finished).run()
    assert trained == ["depth-fold0.ckpt"]
    # The same seed gives the same weights, whichever others were trained in between.
    again = torch.load(finished / "depth-fold0.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(reference[k], again[k]) for k in reference)


def test_the_same_networks_trained_again_have_the_same_hash(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.perf_counter()
    with monkeypatch.context() as patched:  # on a slower machine
        patched.setattr(time, "perf_counter", lambda: 1000 * (time.monotonic() + start))
        again = fit(tmp_path).run()
    for name, source in fit(finished).run().items():
        assert again[name].hash() == source.hash()


def test_processes_side_by_side_give_the_same_predictions(finished: Path, tmp_path: Path) -> None:
    told: list[float] = []
    job = fit(tmp_path, workers=2)
    beside = job.run(told.append)
    alone = fit(finished).run()
    assert sum(told) == pytest.approx(job.cost)
    for m in alone:
        for frame in alone[m].ids:
            np.testing.assert_allclose(
                beside[m].read(frame), alone[m].read(frame), rtol=2e-2, atol=2e-3
            )


def test_networks_of_other_settings_are_refused_and_replaced_by_force(tmp_path: Path) -> None:
    fit(tmp_path, epochs=1).run()
    with pytest.raises(CheckpointError, match=r"epochs 1 then, 2 now.*--force"):
        fit(tmp_path, epochs=2).run()
    forced = CrossFit(
        BoxRooms(), ["depth"], tiny_settings(epochs=2), tmp_path, force=True, workers=1
    )
    forced.run()
    assert checkpoint.read_about(tmp_path / "depth-fold0.ckpt")["settings"]["epochs"] == 2


def test_a_damaged_network_is_named(tmp_path: Path) -> None:
    fit(tmp_path, epochs=1).run()
    file = tmp_path / "semantic-fold1.ckpt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"semantic-fold1\.ckpt"):
        fit(tmp_path, epochs=1).run()


class WithoutCeiling(BoxRooms):
    """The label Ceiling is only in the first scene."""

    def read(self, id: str, **wanted: bool):  # type: ignore[no-untyped-def, override]
        frame = super().read(id, **wanted)
        if frame.targets is not None and self.scene(id) != "scene_0":
            label = frame.targets["semantic"]
            label[label == 2] = 255
        return frame


def test_a_fold_without_a_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"fold \d has no pixel of Ceiling to train the semantic"):
        fit(tmp_path, WithoutCeiling()).run()


class WithoutTruth(BoxRooms):
    """Frame 3 has no ground truth; the first frames have labels alone."""

    def __init__(self, nothing: bool) -> None:
        super().__init__()
        self.nothing = nothing

    def read(self, id: str, **wanted: bool):  # type: ignore[no-untyped-def, override]
        frame = super().read(id, **wanted)
        if frame.targets is not None and id <= "0003":
            frame.targets["depth"][:] = 0
            if id == "0003" and self.nothing:
                frame.targets["semantic"][:] = 255
        return frame


def test_each_network_is_trained_on_all_frames_that_have_its_truth(tmp_path: Path) -> None:
    fit(tmp_path, WithoutTruth(nothing=False), epochs=1).run()
    seen = {
        name: sum(
            len(checkpoint.read_about(f)["about"]["training_frames"])
            for f in tmp_path.glob(f"{name}-*.ckpt")
        )
        for name in ("depth", "semantic")
    }
    assert seen == {"depth": 9, "semantic": 12}  # with two folds a frame is trained on once


def test_a_frame_without_any_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"frame 0003 of split 'train' has no ground truth"):
        fit(tmp_path, WithoutTruth(nothing=True)).run()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_build_leaves_no_process_and_goes_on(tmp_path: Path, number: int) -> None:
    script = tmp_path / "fit.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from tests.predictors.test_crossfit import fit\n"
        "if __name__ == '__main__':\n"
        f"    fit(Path({str(tmp_path / 'fit')!r}), workers=2, epochs=150).run()\n"
    )
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL)
    folder = tmp_path / "fit"
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.ckpt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    process.send_signal(number)
    assert process.wait(60) != 0
    time.sleep(3)
    assert not [w for w in workers if Path(f"/proc/{w}").exists() and _alive(w)]
    done = {f.name: f.stat().st_mtime_ns for f in folder.glob("*.ckpt")}
    assert 2 <= len(done) < 4
    fit(folder, workers=2, epochs=150).run()
    after = {f.name: f.stat().st_mtime_ns for f in folder.glob("*.ckpt")}
    assert len(after) == 4
    assert done.items() <= after.items()


def _alive(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_the_frames_on_disk_are_used_again_and_removed_in_the_end(tmp_path: Path) -> None:
    first = BoxRooms()
    fit(tmp_path, first, epochs=1).run()
    second = BoxRooms()
    job = fit(tmp_path, second, epochs=1)
    job.run()
    assert (first.reads, second.reads) == (20, 0)
    listing = json.loads((tmp_path / "frames" / "frames.json").read_text())
    assert len(listing["ids"]) == 20
    job.clean()
    assert {f.suffix for f in tmp_path.iterdir()} == {".ckpt"}
