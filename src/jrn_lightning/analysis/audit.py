"""What the paper's own figures imply: data frames in, data frames out.

Nothing is measured here. Table I and the influence numbers of Figure 7 give the performance of the
muted networks, A_X(f(X)) = A_X(f(X, Y)) - ω(Y → X') (equation 2), which the paper does not print.
Sum60 is printed twice, in Tables I and III, which tells how far two figures of one network differ.
rel(sqr) and rms(log) together tell which denominator rel(sqr) has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from jrn_lightning.analysis.summary import MeasureColumn, Summary, improvement, omega, value_of
from jrn_lightning.keys import UNTOUCHED

#: A of each modality in the paper: mean IoU in percent, -100 · rel(sqr)
PRIMARY = {
    "depth": MeasureColumn("depth", "sq_rel", "rel(sqr)", higher_is_better=False),
    "semantic": MeasureColumn("semantic", "mean_iou", "mIoU", higher_is_better=True),
}
DIRECTIONS = (("depth", "semantic"), ("semantic", "depth"))

# What a difference of A is, beside the noise floor.
WORSE, WITHIN, BETTER = "worse", "within noise", "better"


@dataclass(frozen=True)
class Audit:
    """The tables of an audit.

    Args:
        noise: how far two figures of one network differ: modality, measure, floor (in units of
            A), and the evidence in words.
        implied: a row per architecture and direction: arch, computation, source, target, label,
            input, joint and muted (the measure as printed; muted follows from the rest), omega,
            below_input (A of the untouched input less A of the muted network, which is damage
            where positive), damage (the part of ω that it is, in [0, 1]), verdict (of the muted
            network against the untouched input).
        differences: first, second (architectures, or the untouched input), modality, value (A of
            the first less A of the second), floor, verdict.
        denominators: arch, source, sq_rel (as printed), squared (Σ(d - d*)²/d*² / n as rms(log)
            implies it), ratio (of the two, a mean depth in metres if the denominator is d*).
        means: of the class-wise IoU and as printed: arch, source, classes, printed.
        beside: our figures beside the published ones: arch, quantity, unit, published, value, low,
            high, inside (whether the published one lies in our interval); empty without a sweep.
    """

    noise: pd.DataFrame
    implied: pd.DataFrame
    differences: pd.DataFrame
    denominators: pd.DataFrame
    means: pd.DataFrame
    beside: pd.DataFrame


def audit(published: pd.DataFrame, summary: Summary | None = None) -> Audit:
    """Recompute what the published figures imply.

    Args:
        published: as :func:`~jrn_lightning.analysis.summary.published` gives them, cells as text.
        summary: of a sweep, to set beside them; of it the measures and architectures count whose
            names the paper's rows have too.
    """
    floors = noise(published)
    return Audit(
        floors,
        implied(published, floors),
        differences(published, floors),
        denominators(published),
        means(published),
        beside(published, summary),
    )


def noise(published: pd.DataFrame) -> pd.DataFrame:
    """The noise floor of each A, see :class:`Audit`.

    The difference between two figures of one network, where the paper prints two; else what the
    printed digits leave open in a difference.
    """
    rows = []
    for modality, column in PRIMARY.items():
        printed = published[published[column.key].notna()]
        twice = printed[printed.duplicated("arch", keep=False) & (printed["arch"] != UNTOUCHED)]
        if len(twice):
            values = twice[column.key].astype(float)
            floor = column.performance(values.max()) - column.performance(values.min())
            figures = zip(values.map(column.text), twice["source"], strict=True)
            said = " and ".join(f"{value} in {source}" for value, source in figures)
            evidence = f"{twice['arch'].iloc[0]} is {said}"
        else:
            digits = max(len(x.partition(".")[2]) for x in _table_1(published)[column.key])
            floor, evidence = column.performance(10.0**-digits), f"printed with {digits} digits"
        rows.append((modality, column.measure, abs(floor), evidence))
    return pd.DataFrame(rows, columns=["modality", "measure", "floor", "evidence"])


def implied(published: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    """The muted networks of Figure 7, see :class:`Audit`."""
    floor = floors.set_index("modality")["floor"]
    table = _table_1(published)
    rows = []
    for source, target in DIRECTIONS:
        column = PRIMARY[target]
        untouched = float(_row(table, UNTOUCHED)[column.key])
        for _, row in table[table["arch"] != UNTOUCHED].iterrows():
            joint, influence = float(row[column.key]), float(row[omega(source, target)])
            performance = column.performance(joint) - influence
            below = column.performance(untouched) - performance
            verdict = _verdict(-below, floor[target])
            damaged = verdict == WORSE and influence > 0
            rows.append(
                {
                    "arch": row["arch"],
                    "computation": row["computation"],
                    "source": source,
                    "target": target,
                    "label": column.label,
                    "input": untouched,
                    "joint": joint,
                    "muted": performance / column.performance(1.0),
                    "omega": influence,
                    "below_input": below,
                    "damage": min(below / influence, 1.0) if damaged else 0.0,
                    "verdict": verdict,
                }
            )
    return pd.DataFrame(rows)


def differences(published: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    """Differences of A within Table I against the noise floor, see :class:`Audit`."""
    table = _table_1(published).set_index("arch")
    archs = [str(arch) for arch in table.index if arch != UNTOUCHED]
    rows = []
    for modality, floor in zip(floors["modality"], floors["floor"], strict=True):
        a = table[PRIMARY[modality].key].astype(float).map(PRIMARY[modality].performance)
        for first, second in [*((arch, UNTOUCHED) for arch in archs), *combinations(archs, 2)]:
            value = float(a[first] - a[second])
            rows.append((first, second, modality, value, floor, _verdict(value, floor)))
    return pd.DataFrame(rows, columns=["first", "second", "modality", "value", "floor", "verdict"])


def denominators(published: pd.DataFrame) -> pd.DataFrame:
    """Which denominator rel(sqr) has, see :class:`Audit`.

    For small errors log d - log d* ≈ (d - d*)/d*, so that Σ(d - d*)²/d*² / n ≈ rms(log)².
    """
    known = published[["depth/sq_rel", "depth/rms_log"]].notna().all(axis=1)
    rows = published[known & ~published.duplicated("arch")]
    table = pd.DataFrame(
        {
            "arch": rows["arch"],
            "source": rows["source"],
            "sq_rel": rows["depth/sq_rel"].astype(float),
            "squared": rows["depth/rms_log"].astype(float) ** 2,
        }
    )
    table["ratio"] = table["sq_rel"] / table["squared"]
    return table.reset_index(drop=True)


def means(published: pd.DataFrame) -> pd.DataFrame:
    """Whether the class-wise IoU of Table III average to the printed mean, see :class:`Audit`."""
    classes = [name for name in map(str, published) if name.startswith("semantic/iou_")]
    rows = published[published[classes].notna().all(axis=1)]
    return pd.DataFrame(
        {
            "arch": rows["arch"],
            "source": rows["source"],
            "classes": rows[classes].astype(float).mean(axis=1),
            "printed": rows["semantic/mean_iou"].astype(float),
        }
    ).reset_index(drop=True)


def beside(published: pd.DataFrame, summary: Summary | None) -> pd.DataFrame:
    """Our figures with intervals beside the published ones, see :class:`Audit`."""
    rows = []
    ours = summary.architectures if summary else pd.DataFrame({"arch": []})
    for arch in (a for a in _table_1(published)["arch"] if a in set(ours["arch"])):
        assert summary is not None
        for quantity, unit, value, key, factor in _quantities(published, arch, summary):
            found = value_of(_row(ours, arch), key)
            if found.known:
                low, high = found.low * factor, found.high * factor
                inside = low <= value <= high if found.has_interval else None
                rows.append((arch, quantity, unit, value, found.value * factor, low, high, inside))
    columns = ["arch", "quantity", "unit", "published", "value", "low", "high", "inside"]
    return pd.DataFrame(rows, columns=columns)


def _quantities(
    published: pd.DataFrame, arch: str, summary: Summary
) -> Iterator[tuple[str, str, float, str, float]]:
    """What both have of ``arch``: name, unit, published value, key of ours, factor to the unit."""
    table = _table_1(published)
    row, untouched = _row(table, arch), _row(table, UNTOUCHED)
    for column in (c for columns in summary.columns.values() for c in columns):
        found = value_of(row, column.key)
        if found.known:
            name, unit = f"{column.modality} {column.label}", "%" if column.percent else ""
            yield name, unit, column.printed(found.value), column.key, column.printed(1.0)
    if arch == UNTOUCHED:
        return
    for modality, column in PRIMARY.items():
        # ω and improvement compare only where A is the paper's.
        if modality not in summary.primary or summary.primary[modality].key != column.key:
            continue
        joint, before = (column.performance(float(r[column.key])) for r in (row, untouched))
        yield f"{modality} improvement", "A", joint - before, improvement(column), 1.0
        for source, target in DIRECTIONS:
            if target == modality:
                name = omega(source, target)
                yield f"ω {source} → {target}", "A", float(row[name]), name, 1.0


def _table_1(published: pd.DataFrame) -> pd.DataFrame:
    """The untouched input and the architectures that have influence numbers."""
    names = [omega(*direction) for direction in DIRECTIONS]
    return published[published[names].notna().all(axis=1) | (published["arch"] == UNTOUCHED)]


def _row(table: pd.DataFrame, arch: str) -> pd.Series:
    """The first row of ``arch``."""
    return table[table["arch"] == arch].iloc[0]


def _verdict(value: float, floor: float) -> str:
    # A difference that equals the floor but for the last bit lies within.
    if abs(value) <= floor * (1 + 1e-9):
        return WITHIN
    return BETTER if value > 0 else WORSE
