from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from jrn_lightning.errors import CheckpointError
from jrn_lightning.modalities import Semantic
from jrn_lightning.predictors import checkpoint
from jrn_lightning.predictors.networks import ImageNetwork
from tests.frames import tiny_settings


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, ImageNetwork]:
    kind, settings = Semantic("semantic", ["a", "b"]), tiny_settings()
    net = ImageNetwork("small", 2, settings.width, settings.stride).eval()
    checkpoint.save(tmp_path / "s.ckpt", net, kind, settings, {"fold": 1})
    return tmp_path / "s.ckpt", net


def test_a_network_comes_back_as_it_was(saved: tuple[Path, ImageNetwork]) -> None:
    path, net = saved
    again = checkpoint.load(path)
    image = torch.rand(1, 3, 48, 64)
    assert torch.equal(again.network(image), net(image))
    assert again.modality.attributes == {"classes": ["a", "b"], "label_space": ""}
    assert again.settings == tiny_settings()
    assert again.about == {"fold": 1}
    torch.testing.assert_close(again.predict(image).sum(1), torch.ones(1, 12, 16))
    assert not list(path.parent.glob("*.part"))


def test_bad_files_are_named(saved: tuple[Path, ImageNetwork], tmp_path: Path) -> None:
    path, _ = saved
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "none.ckpt")
    other = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}}, other)
    with pytest.raises(CheckpointError, match=r"other\.ckpt is a checkpoint of something else"):
        checkpoint.load(other)
    other.write_bytes(pickle.dumps(print, 2))
    with pytest.raises(CheckpointError, match=r"other\.ckpt.*foreign code"):
        checkpoint.load(other)
    content = torch.load(path, weights_only=True)
    content["jrn"]["version"] = 0
    torch.save(content, other)
    with pytest.raises(CheckpointError, match="has version 0"):
        checkpoint.load(other)
    content["jrn"]["version"] = 1
    content["jrn"]["settings"]["width"] = 9
    torch.save(content, other)
    with pytest.raises(CheckpointError, match=r"other\.ckpt: the network cannot be built"):
        checkpoint.load(other)
    other.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"other\.ckpt"):
        checkpoint.load(other)
