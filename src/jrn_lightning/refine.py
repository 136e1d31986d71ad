"""Using a trained network: load a checkpoint without trusting it, refine a split of a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from jrn_lightning.data.cache import CacheWriter, PredictionCache, PredictionSpec, Provenance
from jrn_lightning.data.dataset import CachedFrames
from jrn_lightning.data.grid import AREA, Grid
from jrn_lightning.errors import CheckpointError, JRNError
from jrn_lightning.keys import TRAIN, VAL
from jrn_lightning.modalities import Modality
from jrn_lightning.models import JRN, mute
from jrn_lightning.task import CHECKPOINT_FORMAT, CHECKPOINT_VERSION
from jrn_lightning.weights import read_checkpoint

Progress = Callable[[Iterable[int]], Iterable[int]]

FRAME = "frame"
NETWORK = "network"
SIZES = (FRAME, NETWORK)


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

    network: JRN
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
    modalities have to be imported before.

    Raises:
        CheckpointError: missing, damaged, foreign, or weights that do not fit the architecture.
    """
    checkpoint = read_checkpoint(path)
    about = checkpoint.get("jrn") if isinstance(checkpoint, dict) else None
    if not isinstance(about, dict) or about.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{path} is a checkpoint of something else (no {CHECKPOINT_FORMAT} in it). Use one "
            "that run.py wrote."
        )
    if about.get("version") != CHECKPOINT_VERSION:
        raise CheckpointError(
            f"{path} has version {about.get('version')}, this package reads {CHECKPOINT_VERSION}. "
            "Train again, or use the package that wrote it."
        )
    try:
        modalities = {
            name: Modality.create(m["kind"], name, m["attributes"])
            for name, m in about["modalities"].items()
        }
        network = JRN(modalities, **about["network"])
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


def require_same_modalities(trained: TrainedNetwork, cache: PredictionCache) -> None:
    """Refuse a cache whose maps are not what the network was trained on.

    Raises:
        CheckpointError: a missing modality, or one with other attributes (classes, say).
    """
    for name, modality in trained.modalities.items():
        other = cache.modalities.get(name)
        if other is None:
            raise CheckpointError(
                f"{trained.path} was trained on {', '.join(trained.modalities)}, but {cache.path} "
                f"holds {', '.join(cache.modalities)}: {name} is missing."
            )
        if (other.kind, other.attributes) != (modality.kind, modality.attributes):
            raise CheckpointError(
                f"{trained.path} was trained with {name} = {modality.attributes}, but "
                f"{cache.path} has {other.attributes}. Use a cache with the same classes."
            )


def refine(
    trained: TrainedNetwork,
    cache: PredictionCache,
    split: str,
    out: Path,
    *,
    size: str = FRAME,
    dtype: str = "float16",
    force: bool = False,
    progress: Progress = lambda rows: rows,
) -> tuple[int, int]:
    """Refine every frame of a split and write the result as a cache of the same format.

    Ids, scenes and, where there are any, ground truth and images are taken along, so that the
    result can be evaluated or refined again.

    Args:
        trained: from :func:`load_network`.
        cache: the single-task predictions.
        split: of the cache.
        out: file to write.
        size: ``frame`` for maps of the frame's size, ``network`` for those of the output's.
        dtype: ``float16`` or ``float32``.
        force: replace an existing file.
        progress: wraps the iteration over the frames.

    Returns:
        Size (H, W) of the maps that were written.

    Raises:
        JRNError: the network and the cache do not fit, or the file cannot be written.
    """
    if size not in SIZES:
        raise JRNError(f"size is {size!r}. Choose from: {', '.join(SIZES)}.")
    require_same_modalities(trained, cache)
    source = cache.split(split)
    frames = CachedFrames(source, trained.modalities, range(len(source)), trained.frame, None)
    scale = trained.network.output_scale
    maps = cache.frame if size == FRAME else (trained.frame[0] // scale, trained.frame[1] // scale)
    specs = {
        name: PredictionSpec(
            (modality.channels, *maps),
            np.dtype(dtype),
            Grid.area(maps, cache.frame),
            _provenance(trained, source.provenance(name), split),
        )
        for name, modality in trained.modalities.items()
    }
    with CacheWriter(out, modalities=trained.modalities, frame=cache.frame, force=force) as writer:
        writer.add_split(
            split,
            ids=source.ids,
            scenes=source.scenes,
            predictions=specs,
            targets=source.has_targets,
            images=source.has_images,
            truths=source.truths,
        )
        for i in progress(range(len(source))):
            with torch.inference_mode():
                outputs = trained.network(mute(frames[i]["input"], trained.muted))
                if size == FRAME:
                    outputs = {
                        m: F.interpolate(y, size=maps, mode="bilinear", align_corners=False)
                        for m, y in outputs.items()
                    }
                refined = {
                    m: trained.modalities[m].refined(y)[0].numpy().astype(dtype)
                    for m, y in outputs.items()
                }
            targets = None
            if source.has_targets:
                targets = {m: source.target(m, i) for m in trained.modalities}
            others = {(m, n): source.alternative(m, n, i) for m, n in source.alternatives}
            image = source.image(i) if source.has_images else None
            writer.write(
                split, i, predictions=refined, targets=targets, image=image, alternatives=others
            )
    return maps


def _provenance(trained: TrainedNetwork, source: Provenance, split: str) -> Provenance:
    # The refinement network has seen the truth of the frames that it was trained on.
    seen = split in (TRAIN, VAL)
    return Provenance(
        f"{trained.name} on {source.source}",
        trained.digest,
        "in-sample" if seen else source.sampling,
        AREA,
    )


__all__ = ["SIZES", "TrainedNetwork", "load_network", "refine", "require_same_modalities"]
