"""A refinement network of the user's own, through the whole sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from jrn_lightning.cache import PredictionCache
from tests.jobs import command

SOURCE = '''
import torch
from torch import nn
from torch.nn import functional as F


class Mixer(nn.Module):
    """One convolution over all maps; half-size outputs, and an auxiliary one of quarter size."""

    def __init__(self, modalities, width=4):
        super().__init__()
        self.modalities = dict(modalities)
        self.widths = [m.channels for m in modalities.values()]
        total = sum(self.widths)
        self.mix = nn.Sequential(nn.Conv2d(total, width, 3, padding=1), nn.ReLU())
        self.out = nn.Conv2d(width, total, 3, padding=1)

    def forward(self, inputs):
        small = {m: F.avg_pool2d(inputs[m], 2) for m in self.modalities}
        parts = self.out(self.mix(torch.cat(list(small.values()), 1))).split(self.widths, 1)
        outputs = {
            m: self.modalities[m].to_output(small[m]) + y for m, y in zip(small, parts)
        }
        first = next(iter(outputs))
        return {**outputs, f"{first}/coarse": F.avg_pool2d(outputs[first], 2)}
'''


@pytest.fixture(scope="module")
def swept(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "my_networks.py").write_text(SOURCE)
    (folder / "conf" / "arch").mkdir(parents=True)
    (folder / "conf" / "arch" / "mixer.yaml").write_text(
        "_target_: my_networks.Mixer\nname: mixer\nwidth: 4\n"
    )
    words = command(small_cache, folder / "runs", "--config-dir", str(folder / "conf"), "-m")
    words += ["arch=mixer,cat1", "recipe.epochs=1", "sweep=own"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


def jrn(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from jrn_lightning.cli import main; main()", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
    )


def test_record_and_comparison_hold_it(swept: Path) -> None:
    record = json.loads((swept / "runs/own/mixer/seed0/results.json").read_text())
    assert record["arch"]["_target_"] == "my_networks.Mixer"
    assert record["arch"]["parameters"] == 6 * 9 * 4 + 4 + 4 * 9 * 6 + 6
    table = pd.read_csv(swept / "runs/own/comparison.csv")
    assert {"mixer", "cat1"} <= set(table["arch"])


def test_its_checkpoint_is_used_where_its_module_is_named_and_refused_elsewhere(
    swept: Path, small_cache: Path
) -> None:
    checkpoint = "runs/own/mixer/seed0/checkpoints/last.ckpt"
    words = ("predict", checkpoint, str(small_cache), "--out", "refined.h5")
    refused = jrn(swept, *words)
    assert refused.returncode != 0
    assert "--plugin my_networks" in refused.stderr
    assert "Traceback" not in refused.stderr
    used = jrn(swept, "--plugin", "my_networks", *words)
    assert used.returncode == 0, used.stderr
    with PredictionCache(swept / "refined.h5") as cache:
        assert set(cache.modalities) == {"depth", "semantic"}
