"""Refining a split of a cache by a trained network, into another cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
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
    """Refuse a cache that lacks a modality of the network's, or has other classes of it."""
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
    specs = {}
    for name, modality in trained.modalities.items():
        given = source.provenance(name)
        # The refinement network has seen the truth of the frames that it was trained on.
        sampling = "in-sample" if split in (TRAIN, VAL) else given.sampling
        specs[name] = PredictionSpec(
            (modality.channels, *maps),
            np.dtype(dtype),
            Grid.area(maps, cache.frame),
            Provenance(f"{trained.name} on {given.source}", trained.digest, sampling, AREA),
        )
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
        trained.network.to("cuda" if torch.cuda.is_available() else "cpu")
        truth = trained.modalities if source.has_targets else ()
        for i in progress(range(len(source))):
            refined = _refined(trained, frames[i]["input"], maps)
            writer.write(
                split,
                i,
                predictions={m: y.astype(dtype) for m, y in refined.items()},
                targets={m: source.target(m, i) for m in truth} or None,
                image=source.image(i) if source.has_images else None,
                alternatives={(m, n): source.alternative(m, n, i) for m, n in source.alternatives},
            )
    return maps


@torch.inference_mode()
def _refined(
    trained: TrainedNetwork, inputs: dict[str, Tensor], size: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """Refined maps ``(C, H, W)`` of a batch of one, interpolated to ``size`` where they differ."""
    device = next(trained.network.parameters()).device
    inputs = {m: x.to(device) for m, x in inputs.items()}
    refined = {}
    for m, y in refined_only(trained.network(mute(inputs, trained.muted))).items():
        if tuple(y.shape[-2:]) != size:
            y = F.interpolate(y, size=size, mode="bilinear", align_corners=False)
        refined[m] = trained.modalities[m].refined(y)[0].cpu().numpy()
    return refined
