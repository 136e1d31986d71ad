"""What the paper's own figures imply: data frames in, data frames and text out.

Nothing is measured here. Table I and the influence numbers of Figure 7 give the performance of the
muted networks, A_X(f(X)) = A_X(f(X, Y)) - ω(Y → X') (equation 2), which the paper does not print.
Sum60 is printed twice, in Tables I and III, which tells how far two figures of one network differ.
rel(sqr) and rms(log) together tell which denominator rel(sqr) has.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from jrn_lightning.analysis.summary import Column, Summary, improvement, omega, value_of
from jrn_lightning.keys import UNTOUCHED
from jrn_lightning.report.table import BAD, FAINT, Cell, Row, Table

#: A of each modality in the paper: mean IoU in percent, -100 · rel(sqr)
PRIMARY = {
    "depth": Column("depth", "sq_rel", "rel(sqr)", higher_is_better=False),
    "semantic": Column("semantic", "mean_iou", "mIoU", higher_is_better=True),
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
            values = [column.performance(float(text)) for text in twice[column.key]]
            floor = max(values) - min(values)
            evidence = f"{twice['arch'].iloc[0]} is {_and(_printed(column, twice))}"
        else:
            digits = max(_digits(text) for text in _table_1(published)[column.key])
            floor = abs(column.performance(10.0**-digits))
            evidence = f"printed with {digits} digits"
        row = {"modality": modality, "measure": column.measure, "floor": floor}
        rows.append({**row, "evidence": evidence})
    return pd.DataFrame(rows)


def implied(published: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    """The muted networks of Figure 7, see :class:`Audit`."""
    floor = floors.set_index("modality")["floor"]
    table = _table_1(published)
    rows = []
    for source, target in DIRECTIONS:
        column = PRIMARY[target]
        untouched = value_of(_row(table, UNTOUCHED), column.key).value
        for _, row in table[table["arch"] != UNTOUCHED].iterrows():
            joint = value_of(row, column.key).value
            influence = value_of(row, omega(source, target)).value
            performance = column.performance(joint) - influence
            below = column.performance(untouched) - performance
            verdict = _verdict(-below, floor[target])
            damage = min(below / influence, 1.0) if verdict == WORSE and influence > 0 else 0.0
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
                    "damage": damage,
                    "verdict": verdict,
                }
            )
    return pd.DataFrame(rows)


def differences(published: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    """Differences of A within Table I against the noise floor, see :class:`Audit`."""
    floor = floors.set_index("modality")["floor"]
    table = _table_1(published).set_index("arch")
    archs = [str(arch) for arch in table.index if arch != UNTOUCHED]
    rows = []
    for modality, column in PRIMARY.items():
        a = table[column.key].astype(float).map(column.performance)
        pairs = [*((arch, UNTOUCHED) for arch in archs), *combinations(archs, 2)]
        for first, second in pairs:
            value = float(a[first] - a[second])
            row = {"first": first, "second": second, "modality": modality, "value": value}
            verdict = _verdict(value, floor[modality])
            rows.append({**row, "floor": floor[modality], "verdict": verdict})
    return pd.DataFrame(rows)


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
    columns = ["arch", "quantity", "unit", "published", "value", "low", "high", "inside"]
    rows = []
    ours = summary.architectures if summary else pd.DataFrame({"arch": []})
    for arch in (a for a in _table_1(published)["arch"] if a in set(ours["arch"])):
        assert summary is not None
        for quantity, unit, value, key, factor in _quantities(published, arch, summary):
            found = value_of(_row(ours, arch), key)
            if not found.known:
                continue
            low, high = found.low * factor, found.high * factor
            row = {"arch": arch, "quantity": quantity, "unit": unit, "published": value}
            row |= {"value": found.value * factor, "low": low, "high": high}
            rows.append({**row, "inside": low <= value <= high if found.has_interval else None})
    return pd.DataFrame(rows, columns=columns)


def _quantities(
    published: pd.DataFrame, arch: str, summary: Summary
) -> Iterator[tuple[str, str, float, str, float]]:
    """What both have of ``arch``: name, unit, published value, key of ours, factor to the unit."""
    table = _table_1(published)
    row = _row(table, arch)
    for column in (c for columns in summary.columns.values() for c in columns):
        found = value_of(row, column.key)
        if found.known:
            unit = "%" if column.percent else ""
            name = f"{column.modality} {column.label}"
            yield name, unit, column.printed(found.value), column.key, column.printed(1.0)
    if arch == UNTOUCHED:
        return
    for modality, column in PRIMARY.items():
        # ω and improvement compare only where A is the paper's.
        if modality not in summary.primary or summary.primary[modality].key != column.key:
            continue
        pair = (value_of(_row(table, name), column.key).value for name in (arch, UNTOUCHED))
        joint, untouched = map(column.performance, pair)
        yield f"{modality} improvement", "A", joint - untouched, improvement(column), 1.0
        for source, target in DIRECTIONS:
            if target == modality:
                name = omega(source, target)
                yield f"ω {source} → {target}", "A", value_of(row, name).value, name, 1.0


# -- in words, and as text ---------------------------------------------------------------------


def conclusions(found: Audit) -> list[str]:
    """What the tables say, in sentences."""
    worse = found.implied[found.implied["verdict"] == WORSE]
    parts = []
    for _, row in worse.iterrows():
        column = PRIMARY[row["target"]]
        parts.append(
            f"{row['arch']} {row['source']} → {row['target']} ({column.label} "
            f"{_number(column, row['muted'])} against {_number(column, row['input'])}, "
            f"{100 * row['damage']:.0f} % of ω)"
        )
    sentences = [
        f"{len(worse)} of {len(found.implied)} muted networks are worse than the untouched input, "
        f"so that much of ω at least is damage done by muting: {', '.join(parts)}."
    ]
    pairs = found.differences[found.differences["second"] != UNTOUCHED]
    for modality in PRIMARY:
        rows = pairs[pairs["modality"] == modality]
        within = rows[rows["verdict"] == WITHIN]
        names = [f"{a} and {b}" for a, b in zip(within["first"], within["second"], strict=True)]
        text = f"On {modality}, {len(within)} of {len(rows)} pairs of architectures lie within "
        text += f"the paper's own noise of {rows['floor'].iloc[0]:.2f}"
        sentences.append(text + (f": {', '.join(names)}." if names else "."))
    known = found.denominators
    untouched = known[known["arch"] == UNTOUCHED].iloc[0]
    sentences.append(
        f"rel(sqr) {untouched['sq_rel']:.3f} of the input cannot have d*² in its denominator, "
        f"which rms(log) puts at {untouched['squared']:.3f}; their ratio, "
        f"{known['ratio'].min():.1f} to {known['ratio'].max():.1f}, is a mean depth in metres."
    )
    apart = (found.means["classes"] - found.means["printed"]).abs().max()
    sentences.append(
        f"The class-wise IoU of Table III average to the printed mean within {100 * apart:.4f} "
        "points."
    )
    if len(found.beside):
        decided = found.beside["inside"].notna()
        inside = found.beside.loc[decided, "inside"].astype(bool)
        sentences.append(
            f"{inside.sum()} of {len(inside)} published figures lie within our 95 % intervals; "
            "inputs and frames differ, so compare the pattern."
        )
    return sentences


def terminal(found: Audit) -> RenderableType:
    """Tables and conclusions for a terminal."""
    return Group(*_tables(found), *(Text(f"• {sentence}") for sentence in conclusions(found)))


def markdown(found: Audit) -> str:
    """Conclusions and tables as Markdown."""
    lines = ["# Audit of the published figures", ""]
    lines += [f"- {sentence}" for sentence in conclusions(found)] + [""]
    return "\n".join([*lines, *(table.markdown() for table in _tables(found))])


def csv(found: Audit) -> str:
    """All tables in one, unrounded; column ``table`` says which."""
    parts = [
        frame.astype(object).assign(table=name) for name, frame in vars(found).items() if len(frame)
    ]
    table = pd.concat(parts, ignore_index=True)
    text = io.StringIO()
    table[["table", *(column for column in table if column != "table")]].to_csv(text, index=False)
    return text.getvalue()


_STYLES = {WORSE: BAD, WITHIN: FAINT}


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """The first two columns are words."""
    cells = [Row([Cell(text, _STYLES.get(text, "")) for text in row]) for row in rows]
    return Table(title, heads, cells, words=2)


def _tables(found: Audit) -> Iterator[Table]:
    for source, target in DIRECTIONS:
        column = PRIMARY[target]
        group = found.implied[found.implied["target"] == target]
        cells = []
        for _, row in group.iterrows():
            measures = [_number(column, row[name]) for name in ("input", "joint", "muted")]
            damage = f"{100 * row['damage']:.0f} %" if row["damage"] else ""
            identity = [row["arch"], row["computation"], *measures]
            cells.append([*identity, f"{row['omega']:+.2f}", damage, row["verdict"]])
        title = f"{column.label} with {source} muted, by Table I and Figure 7, against the input"
        yield _table(title, ["", "", "input", "joint", "muted", "ω", "damage", ""], cells)

    cells = []
    for (first, second), group in found.differences.groupby(["first", "second"], sort=False):
        pairs = zip(group["value"], group["verdict"], strict=True)  # in the order of PRIMARY
        cells.append([first, second, *(text for v, word in pairs for text in (f"{v:+.3f}", word))])
    floors = found.noise["modality"] + found.noise["floor"].map(" {:.3f}".format)
    title = f"Differences of A in Table I (noise: {', '.join(floors)})"
    yield _table(title, ["", "less", *(head for m in PRIMARY for head in (m, ""))], cells)

    cells = [
        [r["arch"], r["source"], f"{r['sq_rel']:.3f}", f"{r['squared']:.3f}", f"{r['ratio']:.2f} m"]
        for _, r in found.denominators.iterrows()
    ]
    heads = ["", "from", "rel(sqr)", "rms(log)²", "ratio"]
    yield _table("Denominator of rel(sqr): with d*² it would be rms(log)²", heads, cells)

    if len(found.beside):
        cells = []
        for _, row in found.beside.iterrows():
            unit, digits = row["unit"], 2 if row["unit"] else 4
            values = [f"{row[name]:.{digits}f}" for name in ("published", "value", "low", "high")]
            within = "" if row["inside"] is None else "inside" if row["inside"] else "outside"
            interval = f"[{values[2]}, {values[3]}]" if within else ""
            name = f"{row['quantity']} [{unit}]" if unit else row["quantity"]
            cells.append([row["arch"], name, *values[:2], interval, within])
        heads = ["", "", "published", "ours", "95 % interval", "published is"]
        yield _table("Ours beside the published figures", heads, cells)


# -- parts -------------------------------------------------------------------------------------


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


def _digits(text: str) -> int:
    exponent = Decimal(text).as_tuple().exponent
    assert isinstance(exponent, int)
    return -exponent


def _printed(column: Column, rows: pd.DataFrame) -> list[str]:
    return [
        f"{_number(column, float(text))} in {source}"
        for text, source in zip(rows[column.key], rows["source"], strict=True)
    ]


def _number(column: Column, value: float) -> str:
    return f"{column.printed(value):.{2 if column.percent else 3}f}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)
