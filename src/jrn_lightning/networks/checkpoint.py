"""Checkpoints: read without trusting them, and made into the network that they hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jrn_lightning.errors import CheckpointError, ConfigError, JRNError
from jrn_lightning.modalities import Modality
from jrn_lightning.networks.build import build

FORMAT = "jrn-checkpoint"
VERSION = 2


def read_checkpoint(path: Path, written_by: str = "run.py") -> Any:
    """The tensors and plain values of a checkpoint.

    Only these are read (``weights_only=True``), and the archive's checksums are verified: a
    checkpoint from elsewhere cannot run code, and a damaged one is noticed.

    Args:
        path: the file.
        written_by: what writes such checkpoints, for messages.

    Raises:
        CheckpointError: missing, damaged or foreign.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint. A job keeps its own as checkpoints/last.ckpt."
        )
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch.load does not look at the checksums
            if damaged:
                raise CheckpointError(f"{path} is damaged (in {damaged}). Copy it again.")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a checkpoint, or holds more than tensors and plain values and is not "
            f"loaded because that could run foreign code. Use a checkpoint that {written_by} wrote."
        ) from error
    except JRNError:
        raise
    except Exception as error:  # damage and foreign files end in exceptions of many types
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({error}). Is it complete?"
        ) from error


def write_checkpoint(content: Any, path: Path) -> None:
    """Write beside ``path``, then rename: a kill leaves what was there before.

    Raises:
        CheckpointError: the folder is full, or cannot be written to.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:  # given a path, PyTorch does not tell what the system said
            torch.save(content, file)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written ({error.strerror}). Make room there, or choose a folder on "
            "another disk, and run the command again."
        ) from error


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and what it was trained for.

    Args:
        network: in evaluation mode.
        modalities: name -> modality.
        frame: (H, W) of its inputs.
        name: of the architecture.
        path: of the checkpoint.
        digest: SHA-256 of the checkpoint file.
        specification: the plain values that the network was built from.
        muted: modalities that it has never seen: their stems are as untrained as at the start.
    """

    network: nn.Module
    modalities: dict[str, Modality]
    frame: tuple[int, int]
    name: str
    path: Path
    digest: str
    specification: dict[str, Any]
    muted: tuple[str, ...] = ()


def load_network(path: Path) -> TrainedNetwork:
    """Build the network of a checkpoint.

    Only tensors and plain values are read (``weights_only=True``), and no module that the file
    names is imported: a checkpoint from elsewhere cannot run code. Plug-ins that define its
    modalities or its network have to be imported before.

    Raises:
        CheckpointError: missing, damaged, foreign, or weights that do not fit the architecture.
    """
    checkpoint = read_checkpoint(path)
    about = checkpoint.get("jrn") if isinstance(checkpoint, dict) else None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a checkpoint of something else (no {FORMAT} in it). Use one "
            "that run.py wrote."
        )
    if about.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {about.get('version')}, this package reads {VERSION}. "
            "Train again, or use the package that wrote it."
        )
    try:
        modalities = {
            name: Modality.create(m["kind"], name, m["attributes"])
            for name, m in about["modalities"].items()
        }
        try:
            network = build(about["network"], modalities)
        except ConfigError as error:
            raise CheckpointError(f"{path}: {error}") from error
        height, width = about["frame"]
        name = str(about["name"])
        muted = tuple(about.get("muted", ()))
        prefix = "network."
        weights = {
            k.removeprefix(prefix): v
            for k, v in checkpoint["state_dict"].items()
            if k.startswith(prefix)
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} does not tell how to build its network ({type(error).__name__}: {error}). "
            "Use one that run.py wrote."
        ) from error
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: the weights are not those of the architecture {name!r} that it "
            f"names ({str(error).splitlines()[1].strip()})."
        ) from error
    return TrainedNetwork(
        network.eval(),
        modalities,
        (int(height), int(width)),
        name,
        path,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        {k: v for k, v in about.items() if k not in ("format", "version", "muted")},
        muted,
    )
