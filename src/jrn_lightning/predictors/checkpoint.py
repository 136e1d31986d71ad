"""Single-task networks on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from jrn_lightning.errors import CheckpointError, JRNError
from jrn_lightning.modalities import Modality
from jrn_lightning.networks.checkpoint import read_checkpoint, write_checkpoint
from jrn_lightning.predictors.networks import ImageNetwork
from jrn_lightning.predictors.settings import SingleTaskSettings
from jrn_lightning.predictors.task import predict_images

FORMAT: Final = "jrn-single-task"
VERSION: Final = 1
_WRITER: Final = "jrn cache"


@dataclass(frozen=True)
class SingleTaskNetwork:
    """A trained network and what it predicts."""

    network: ImageNetwork  # in evaluation mode
    modality: Modality  # that it predicts
    settings: SingleTaskSettings  # that it was built and trained with
    about: dict[str, Any]  # plain values: fold, frames, losses, fingerprint
    path: Path  # of the checkpoint
    digest: str  # SHA-256 of the checkpoint file

    def predict(self, images: Tensor) -> Tensor:
        """Predictions ``(B, C, h, w)`` of ``(B, 3, H, W)`` in [0, 1] at ``settings.size``."""
        return predict_images(self.network, self.modality, images, self.settings.mirror)


def save(
    path: Path,
    network: ImageNetwork,
    modality: Modality,
    settings: SingleTaskSettings,
    about: dict[str, Any],
) -> None:
    """Write a checkpoint, atomically."""
    content = {
        "jrn": {
            "format": FORMAT,
            "version": VERSION,
            "settings": settings.values(),
            "modality": {key: getattr(modality, key) for key in ("name", "kind", "attributes")},
            "about": about,
        },
        "state_dict": {k: v.contiguous() for k, v in network.state_dict().items()},
    }
    write_checkpoint(content, path)


def read_about(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself (settings, modality, about), or a CheckpointError."""
    return _content(path)[0]


def load(path: Path) -> SingleTaskNetwork:
    """Build the network of a checkpoint.

    Raises:
        CheckpointError: missing, damaged, foreign, or weights that do not fit.
    """
    about, weights = _content(path)
    try:
        settings = SingleTaskSettings(**about["settings"])
        kind = about["modality"]
        modality = Modality.create(kind["kind"], kind["name"], kind["attributes"])
        network = ImageNetwork(
            settings.encoder, modality.channels, settings.width, settings.stride, pretrained=False
        )
        network.load_state_dict(weights)
    except JRNError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: the network cannot be built from it ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}). Train it again with '{_WRITER}'."
        ) from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return SingleTaskNetwork(network.eval(), modality, settings, dict(about["about"]), path, digest)


def _content(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    checkpoint = read_checkpoint(path, _WRITER)
    about = checkpoint.get("jrn") if isinstance(checkpoint, dict) else None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a checkpoint of something else (no {FORMAT} in it). Use one that "
            f"'{_WRITER}' wrote."
        )
    if about.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {about.get('version')}, this package reads {VERSION}. Train it "
            f"again with '{_WRITER}'."
        )
    return about, checkpoint["state_dict"]
