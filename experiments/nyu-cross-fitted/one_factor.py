"""What one factor for all depths gains, without a network: ``python one_factor.py CACHE``.

A refinement network that has learned nothing of a scene can still change the scale of depth. The
factor is the one that makes a loss least on the training predictions: the first term of
equation 1, or squared metres. Its measures are of the test frames, as in a run: on the whole
frame, at the ground truth's size, pooled over pixels.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.cache import PredictionCache
from jrn_lightning.cache.dataset import CachedFrames

Pixels = NDArray[np.float64]


def pixels(cache: PredictionCache, split: str) -> Iterator[tuple[Pixels, Pixels]]:
    """Predicted and true depth where there is truth, frame by frame, in metres."""
    source = cache.split(split)
    size = source.target_size()
    modalities = {"depth": cache.modalities["depth"]}
    for batch in CachedFrames(source, modalities, range(len(source)), size, size):  # type: ignore[attr-defined]
        predicted = batch["input"]["depth"][0, 0].double().numpy()
        true = batch["target"]["depth"][0].double().numpy()
        yield predicted[true > 0], true[true > 0]


def main(path: Path) -> None:
    """Print the table."""
    with PredictionCache(path) as cache:
        sums = np.zeros(6)
        for p, t in pixels(cache, "train"):
            sums += [p.sum(), (p * p / t).sum(), (p * t).sum(), (p * p).sum(), t.sum(), len(t)]
        factors = {
            "untouched": 1.0,
            "least Σ (D' - D*)² / D*": sums[0] / sums[1],
            "least Σ (D' - D*)²": sums[2] / sums[3],
        }
        found = {name: np.zeros(5) for name in factors}
        for p, t in pixels(cache, "test"):
            for name, factor in factors.items():
                e = factor * p - t
                found[name] += [abs(e / t).sum(), (e * e / t).sum(), (e * e).sum(), e.sum(), len(t)]
    predicted, true = sums[[0, 4]] / sums[5]
    print(f"training frames: mean depth {true:.3f} m, bias {predicted - true:+.3f} m")
    print("| | factor | rel | rel(sqr) | rms [m] | bias [m] |\n|---|---|---|---|---|---|")
    for name, total in found.items():
        rel, square, metres, bias = total[:4] / total[4]
        print(
            f"| {name} | {factors[name]:.4f} | {rel:.4f} | {square:.4f} | {np.sqrt(metres):.4f} | "
            f"{bias:+.3f} |"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
