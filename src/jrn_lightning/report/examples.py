"""Running the networks of a sweep once more, on the few frames that are worth a look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from jrn_lightning.analysis.collect import Records
from jrn_lightning.cache import PredictionCache
from jrn_lightning.cache.dataset import CachedFrames
from jrn_lightning.errors import JRNError
from jrn_lightning.evaluation.evaluator import enlarged
from jrn_lightning.keys import TEST, UNTOUCHED
from jrn_lightning.networks import refined_only
from jrn_lightning.networks.checkpoint import TrainedNetwork, load_network
from jrn_lightning.predictors.refine import require_same_modalities
from jrn_lightning.records.record import CHECKPOINT, JobRecord
from jrn_lightning.report.gallery import Gallery, Pick
from jrn_lightning.report.maps import Frame


def gallery(
    comparison: Records,
    picks: Sequence[Pick],
    archs: Sequence[str],
    advance: Callable[[float], object] = lambda _: None,
) -> Gallery:
    """Refine the picked test frames with the first finished seed of every architecture.

    Where the cache is gone or has changed there are no frames; where a checkpoint is, its
    architecture is left out. Either way the note says so: a sweep can be shown without both.

    Args:
        comparison: the collected sweep.
        picks: frames of the test split.
        archs: which architectures, in the order to show them.
        advance: called with 1 after each network.
    """
    jobs = _first_seeds(comparison, archs)
    if not picks or not jobs:
        return Gallery(note="There are no finished networks and frames to show.")
    try:
        with _opened(jobs[0]) as cache:
            return _gallery(cache, jobs, picks, advance)
    except JRNError as error:
        return Gallery(note=f"The maps cannot be made again: {error}")


def _gallery(
    cache: PredictionCache,
    jobs: Sequence[JobRecord],
    picks: Sequence[Pick],
    advance: Callable[[float], object],
) -> Gallery:
    split = cache.split(TEST)
    place = {name: i for i, name in enumerate(split.ids)}
    known = [pick for pick in picks if pick.id in place]
    rows = [place[pick.id] for pick in known]
    size = split.target_size()
    maps: dict[str, list[dict[str, torch.Tensor]]] = {}
    modalities, seeds, problems = {}, [], []
    for job in jobs:
        arch = job.arch
        try:
            trained = load_network(job.folder / CHECKPOINT)
            require_same_modalities(trained, cache)
        except JRNError as error:
            problems.append(f"{arch} is left out: {error}")
        else:
            data = CachedFrames(
                split, trained.modalities, rows, trained.frame, size, untouched=True
            )
            maps.setdefault(UNTOUCHED, [data[k]["untouched"] for k in range(len(rows))])
            maps[arch] = [_refined(trained, data, k, size) for k in range(len(rows))]
            modalities = trained.modalities
            seeds.append(job.name)
        advance(1)
    if not seeds:
        return Gallery(note="The maps cannot be made again: " + " ".join(problems))
    frames = [
        Frame(
            pick.id,
            {m: split.target(m, i) for m in cache.modalities},
            {s: {m: x[0].numpy() for m, x in found[k].items()} for s, found in maps.items()},
            split.image(i) if split.has_images else None,
            pick.note,
        )
        for k, (pick, i) in enumerate(zip(known, rows, strict=True))
    ]
    note = (
        f"Maps of {', '.join(seeds)}, made again in float32; numbers elsewhere are of the test, in "
        "its precision, and means over the seeds."
    )
    return Gallery(tuple(frames), modalities, tuple(maps)[1:], " ".join([note, *problems]))


def _refined(
    trained: TrainedNetwork, data: CachedFrames, k: int, size: tuple[int, int]
) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        outputs = enlarged(refined_only(trained.network(data[k]["input"])), size)
        return {m: trained.modalities[m].refined(y) for m, y in outputs.items()}


def _first_seeds(comparison: Records, archs: Sequence[str]) -> list[JobRecord]:
    """The first finished job of each architecture that has learned from every modality."""
    found: dict[str, JobRecord] = {}
    for job in comparison.finished:
        if not job.muted:
            found.setdefault(job.arch, job)
    return [found[arch] for arch in archs if arch in found]


def _opened(job: JobRecord) -> PredictionCache:
    """The cache that a job was tested on.

    Raises:
        JRNError: gone, unreadable, or with other contents.
    """
    data = job.data or {}
    path = data.get("cache")
    if not path:
        raise JRNError(f"{job.folder} does not say which cache it was tested on.")
    cache = PredictionCache(Path(path))
    if cache.content_hash != data.get("cache_hash"):
        cache.close()
        raise JRNError(f"{path} has other contents than when {job.folder} was tested on it.")
    return cache
