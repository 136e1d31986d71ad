"""Reading a checkpoint file without trusting it."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from jrn_lightning.errors import CheckpointError, JRNError


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
    """Write beside ``path``, then rename: a kill leaves what was there before."""
    part = path.with_name(f"{path.name}.part")
    torch.save(content, part)
    os.replace(part, path)
