"""Rank correlations of A and ω: over architectures, at equal C, and over the seeds of one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

points = pd.read_csv(Path(__file__).with_name("points.csv"))
for (source, target), rows in points.groupby(["source", "target"]):
    values = rows[["omega", "performance"]]
    means = rows.groupby("arch")[["omega", "performance"]].mean()
    widths = pd.Series(
        [float(re.findall(r"fusion_channels=(\d+)", arch)[0]) for arch in means.index]
    ).rank()
    ranks = means.rank()
    # What is left of the ranks after a straight line over the ranks of C.
    left = ranks - np.column_stack(
        [np.polyval(np.polyfit(widths, r, 1), widths) for r in ranks.T.values]
    )
    apart = values - rows.groupby("arch")[["omega", "performance"]].transform("mean")
    for name, (rho, p) in {
        f"{len(means)} architectures": spearmanr(means["omega"], means["performance"]),
        "at equal C": pearsonr(left["omega"], left["performance"]),
        "seeds of an architecture": spearmanr(apart["omega"], apart["performance"]),
    }.items():
        print(f"{source} -> {target}, {name}: {rho:+.2f}, p = {p:.1g}")
