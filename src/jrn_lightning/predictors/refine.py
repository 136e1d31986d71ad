"""Refining a split of a cache by a trained network, into another cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from jrn_lightning.cache import CacheWriter, PredictionCache, PredictionSpec, Provenance
from jrn_lightning.cache.dataset import CachedFrames
from jrn_lightning.cache.grid import AREA, Grid
from jrn_lightning.errors import CheckpointError, JRNError
from jrn_lightning.keys import TRAIN, VAL
from jrn_lightning.networks import mute, output_scale, refined_only
from jrn_lightning.networks.checkpoint import TrainedNetwork

Progress = Callable[[Iterable[int]], Iterable[int]]

FRAME = "frame"
NETWORK = "network"
SIZES = (FRAME, NETWORK)


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
    scale = output_scale(trained.network, trained.modalities, trained.frame)
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
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = trained.network.to(device)
        for i in progress(range(len(source))):
            with torch.inference_mode():
                inputs = {m: x.to(device) for m, x in frames[i]["input"].items()}
                outputs = refined_only(network(mute(inputs, trained.muted)))
                if size == FRAME:
                    outputs = {
                        m: F.interpolate(y, size=maps, mode="bilinear", align_corners=False)
                        for m, y in outputs.items()
                    }
                refined = {
                    m: trained.modalities[m].refined(y)[0].cpu().numpy().astype(dtype)
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


__all__ = ["SIZES", "refine", "require_same_modalities"]
