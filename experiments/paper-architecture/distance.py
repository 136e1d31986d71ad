"""How far a reading of the architecture is from the 20 numbers that the paper prints of it.

python experiments/paper-architecture/distance.py NAME=SWEEP [NAME=SWEEP ...] --out DIR

For each of five architectures: improvement of depth (−100 · rel(sqr)) and of semantics (mean IoU)
over the input, and ω in both directions, means over the seeds of a sweep. Written are
``numbers.csv``, all of them, and ``distances.csv``, a row a reading:

* rank: Kendall's τ between ours and the paper's, over the five architectures, mean of the four
  quantities; ``rank_p`` is how often a random order of the architectures, the same in all four,
  gives as much.
* size: root mean square of asinh(ours) − asinh(paper's), which counts factors where numbers are
  large and differences where they are small; ``size_p`` is how often relabelled architectures come
  as near, ``size_flat`` what five equal architectures with the paper's means would give.
"""

from __future__ import annotations

import argparse
import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

ARCHITECTURES = ("cat60", "sum60", "cat10", "cat5", "cat1")
PAPER = {  # Table I and Figure 7
    "improvement depth": (0.1, 0.2, 0.0, 0.0, -0.1),
    "improvement semantic": (0.922, 0.900, 0.796, 0.836, 0.705),
    "ω depth → semantic": (0.94, 0.32, 0.39, 0.10, 7.59),
    "ω semantic → depth": (4.90, 1.11, 4.93, -0.24, -0.40),
}
MEASURES = {"depth": "sq_rel", "semantic": "mean_iou"}


def numbers(sweep: Path) -> pd.DataFrame:
    """A row for each finished job: arch, seed and the four quantities."""
    rows = []
    for path in sorted(sweep.glob("*/seed*/results.json")):
        job = json.loads(path.read_text(encoding="utf-8"))
        if job["status"] != "finished" or job["muted"]:
            continue
        row = {"arch": path.parts[-3].split(",")[0], "seed": job["seed"]}
        for name, entries in (("improvement", job["improvement"]), ("ω", job["influence"])):
            for entry in entries:
                target = entry.get("modality", entry.get("target"))
                if entry["measure"] == MEASURES[target] and entry["pooling"] == "pixels":
                    direction = f"{entry.get('source')} → {target}" if name == "ω" else target
                    row.setdefault(f"{name} {direction}", entry["value"])
        rows.append(row)
    return pd.DataFrame(rows)


def rank(ours: np.ndarray) -> float:
    """Mean of Kendall's τ over the quantities, ``(4, 5)``."""
    paper = np.array(list(PAPER.values()))
    return float(np.mean([kendalltau(a, b).statistic for a, b in zip(ours, paper, strict=True)]))


def size(ours: np.ndarray) -> float:
    """Root mean square of the differences of asinh."""
    difference = np.arcsinh(ours) - np.arcsinh(np.array(list(PAPER.values())))
    return float(np.sqrt(np.mean(difference**2)))


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweeps", nargs="+", metavar="NAME=SWEEP")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found, rows = [], []
    for name, _, sweep in (entry.partition("=") for entry in given.sweeps):
        table = numbers(Path(sweep))
        found.append(table.assign(reading=name))
        means = table.groupby("arch")[list(PAPER)].mean().reindex(ARCHITECTURES)
        ours = means.to_numpy().T
        orders = [list(order) for order in permutations(range(5))]
        row = {"reading": name, "seeds": int(table.groupby("arch")["seed"].nunique().min())}
        row |= {"rank": rank(ours), "size": size(ours)}
        row["rank_p"] = np.mean([rank(ours[:, o]) >= row["rank"] - 1e-9 for o in orders])
        row["size_p"] = np.mean([size(ours[:, o]) <= row["size"] + 1e-9 for o in orders])
        rows.append(row)
    paper = np.array(list(PAPER.values()))
    flat = size(np.repeat(paper.mean(1, keepdims=True), 5, 1))
    distances = pd.DataFrame(rows).assign(size_flat=flat)
    everything = pd.concat(found, ignore_index=True)
    given.out.mkdir(parents=True, exist_ok=True)
    everything.round(4).to_csv(given.out / "numbers.csv", index=False)
    distances.round(4).to_csv(given.out / "distances.csv", index=False)
    by = everything.groupby(["reading", "arch"], sort=False)[list(PAPER)].mean().round(2)
    print(by.to_string(), distances.round(3).to_string(index=False), sep="\n\n")


if __name__ == "__main__":
    main()
