"""The audit of the published figures in words, as tables for the terminal, Markdown and CSV."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from jrn_lightning.analysis.audit import DIRECTIONS, PRIMARY, WITHIN, WORSE, Audit
from jrn_lightning.keys import UNTOUCHED
from jrn_lightning.report.table import BAD, FAINT, Cell, Row, Table


def conclusions(found: Audit) -> list[str]:
    """What the tables say, in sentences."""
    worse = found.implied[found.implied["verdict"] == WORSE]
    parts = []
    for _, row in worse.iterrows():
        column = PRIMARY[row["target"]]
        parts.append(
            f"{row['arch']} {row['source']} → {row['target']} ({column.label} "
            f"{column.text(row['muted'])} against {column.text(row['input'])}, "
            f"{100 * row['damage']:.0f} % of ω)"
        )
    sentences = [
        f"{len(worse)} of {len(found.implied)} muted networks are worse than the untouched input, "
        f"so that much of their ω is damage by muting: {', '.join(parts)}."
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
            measures = [column.text(row[name]) for name in ("input", "joint", "muted")]
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
