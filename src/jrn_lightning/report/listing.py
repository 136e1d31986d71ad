"""Findings in the terminal and as CSV files."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from jrn_lightning import keys
from jrn_lightning.analysis.findings import (
    BREAKAGE,
    COLUMNS,
    GAIN,
    IMPROVEMENT,
    OMEGA,
    Findings,
    significant,
)
from jrn_lightning.analysis.summary import MeasureColumn, Summary, short, value_of
from jrn_lightning.influence import LEVEL
from jrn_lightning.report.files import write_text, writing
from jrn_lightning.report.table import BEST, FAINT, GROUP, NOTHING, PUBLISHED, Cell, Row, Table
from jrn_lightning.report.tables import WIDEST

FOLDER = "influence"
_DIFFERENCES = 20  # rows in the terminal
_FRAMES = 5  # at either end
_SIGNS = {IMPROVEMENT: "ΔA", OMEGA: "ω", GAIN: "gain", BREAKAGE: "breakage"}


def terminal(findings: Findings) -> RenderableType:
    """What the frames say, for a terminal; empty ones are not shown."""
    parts: list[RenderableType] = [
        *effects(findings),
        *differences(findings, _DIFFERENCES),
        *_by_architecture(findings.mute_values, "ω by what stands in for {source}", "mute_value"),
        *_strata(findings),
        *_ladder(findings),
        *frames(findings),
    ]
    for row in findings.peaks.to_dict("records"):
        text = f"Figure 8, {row['source']} → {row['target']}: {row['verdict']}"
        parts.append(Text(text))
    over = "scenes alone (one seed)" if findings.summary.one_seed else "seeds and scenes"
    parts.append(
        Text(
            f"In units of A, protocol {findings.summary.protocol}, {findings.summary.pooled}: "
            f"positive is good. 95 % intervals over {over}. * significant: p < {LEVEL} after "
            "Holm's correction.",
            style="dim",
        )
    )
    parts += [Text(problem, style="red") for problem in findings.problems]
    return Group(*parts)


def write(findings: Findings, folder: Path, names: Collection[str] = tuple(COLUMNS)) -> list[Path]:
    """The frames called ``names`` as CSV files in ``folder``; empty ones have a header only.

    Raises:
        RecordError: ``folder`` cannot be written to.
    """
    with writing(folder, "the findings"):
        for name in names:
            write_text(folder / f"{name}.csv", getattr(findings, name).to_csv(index=False))
    return [folder / f"{name}.csv" for name in names]


def protocols(findings: Findings, arch: str = keys.UNTOUCHED) -> RenderableType:
    """Every measure of Table I under every protocol, for a terminal.

    Args:
        findings: with the frame of protocols.
        arch: whose values.
    """
    tables = protocol_tables(findings, arch, brief=True)
    return Group(*tables, *(Text(problem, style="red") for problem in findings.problems))


def protocol_tables(findings: Findings, arch: str, *, brief: bool = False) -> Iterator[Table]:
    """For each modality the measures under every protocol, a row each.

    Args:
        findings: with the frame of protocols.
        arch: whose values; the untouched input's are set beside the published ones, and the
            nearest to each is marked.
        brief: for 80 columns: the measures of Table I alone, with broken heads.
    """
    of_arch = findings.protocols[findings.protocols["arch"] == arch]
    for modality, columns in findings.summary.columns.items():
        rows = of_arch[of_arch["modality"] == modality]
        if not len(rows):
            continue
        where = ["crop", "convention", "truth", "pooling"]
        values = rows.pivot_table("value", where, "measure", sort=False, dropna=False)
        some = brief or len(columns) > WIDEST
        shown = [c for c in columns if c.measure in values and (c.in_table or not some)]
        printed = published_input(findings.summary, shown) if arch == keys.UNTOUCHED else {}
        best = {m: (values[m] - value).abs().idxmin() for m, value in printed.items()}

        def cell(column: MeasureColumn, row: pd.Series, best: Mapping[str, Any] = best) -> Cell:
            near = {None: "", row.name: BEST}.get(best.get(column.measure), FAINT)
            return Cell(_number(column, row[column.measure]), near)

        found: list[Row] = []
        # The crop stands on a line of its own: every number fits into 80 columns.
        for crop, group in values.groupby(level="crop", sort=False):
            found.append(Row([str(crop)], GROUP, arch))
            for place, row in group.iterrows():
                assert isinstance(place, tuple)
                names = [*map(str, place[1:])]
                found.append(Row([*names, *(cell(c, row) for c in shown)], archs=arch))
        if printed:
            numbers = [
                _number(c, printed[c.measure]) if c.measure in printed else "" for c in shown
            ]
            found.append(Row(["published", "", "", *numbers], PUBLISHED))
        heads = ["\n".join([*_broken(c.label), c.header[1]] if brief else c.header) for c in shown]
        notes = [_nearest(values, shown, printed, best)] if best else []
        yield Table(f"{modality}, {arch}", [*where[1:], *heads], found, len(where) - 1, notes)


def published_input(summary: Summary, columns: Sequence[MeasureColumn]) -> dict[str, float]:
    """Measure -> what the paper prints for the untouched input; empty where it does not apply."""
    rows = summary.published[summary.published["arch"] == keys.UNTOUCHED]
    if not len(rows):
        return {}
    found = {c.measure: value_of(rows.iloc[0], c.key) for c in columns if c.key in rows}
    return {measure: value.value for measure, value in found.items() if value.known}


# -- helpers -----------------------------------------------------------------------------------


def _nearest(
    values: pd.DataFrame,
    columns: Sequence[MeasureColumn],
    printed: dict[str, float],
    best: dict[str, Any],
) -> str:
    """In words: which protocol comes closest over all measures, by the mean relative distance."""
    names = [c.measure for c in columns if c.measure in best]
    distance = (values[names] / pd.Series(printed)[names] - 1).abs().mean(axis=1)
    place = " / ".join(map(str, distance.index[int(distance.argmin())]))
    return (
        f"Bold: nearest to the published number. Over all of them: {place}, "
        f"{100 * float(distance.min()):.1f} % away on average. The published inputs are other "
        "predictions: protocols are told apart by the pattern."
    )


def _broken(label: str) -> list[str]:
    """A measure's name on two lines, ending alike, as ``rms`` and ``(log)``."""
    for mark in "(<":
        if mark in label:
            before, after = label.split(mark)
            return [before + mark, after] if mark == "<" else [before, mark + after]
    return ["", label]


def _number(column: MeasureColumn, value: float) -> str:
    return NOTHING if math.isnan(value) else column.text(value, 4)


def _row(cells: Iterable[str], archs: str = "") -> Row:
    return Row([short(cell) for cell in cells], archs=archs)


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"


def _estimate(row: Mapping[Any, Any], name: str = "value") -> str:
    if pd.isna(row[name]):
        return NOTHING
    low, high = ("low", "high") if name == "value" else (f"{name}_low", f"{name}_high")
    star = "*" if row.get("p_holm", 1) < LEVEL else ""
    return f"{row[name]:+.2f}{star}\n[{row[low]:+.2f}, {row[high]:+.2f}]"


def effects(findings: Findings, *, p: bool = False) -> Iterator[Table]:
    """For each modality a row an architecture: improvement, ω and its parts; ``p`` below them."""
    frame = findings.effects
    for target in dict.fromkeys(frame["target"]):
        rows = frame[frame["target"] == target]
        heads = list(dict.fromkeys(zip(rows["effect"], rows["source"], strict=True)))
        cells = {
            (row["arch"], row["effect"], row["source"]): _estimate(row) + (_below(row) if p else "")
            for row in rows.to_dict("records")
        }
        yield Table(
            f"effects on {target}",
            ["architecture", *(f"{_SIGNS[e]}\n{s and f'of {s}'}" for e, s in heads)],
            [
                _row([arch, *(cells.get((arch, e, s), NOTHING) for e, s in heads)], arch)
                for arch in dict.fromkeys(rows["arch"])
            ],
        )


def _below(row: Mapping[Any, Any]) -> str:
    return "" if pd.isna(row["p_holm"]) else f"\np = {_p(row['p_holm'])}".replace("= <", "< ")


def differences(findings: Findings, limit: int | None = None) -> Iterator[Table]:
    """Pairs of architectures, the clearest first; no more than ``limit``."""
    frame = findings.differences
    if not len(frame):
        return
    shown = frame.sort_values("p", kind="stable").head(limit or len(frame)).to_dict("records")
    count = int(significant(frame).sum())
    title = f"differences between architectures: {count} of {len(frame)} are significant"
    if findings.summary.one_seed:
        title += " (of one seed each)"
    if len(frame) > len(shown):
        title += f"; the {len(shown)} of smallest p"
    rows = [
        _row(
            [
                f"{_SIGNS.get(row['effect'], 'A')} {row['source']} → {row['target']}"
                if row["source"]
                else f"A {row['target']}",
                row["first"],
                row["second"],
                _estimate(row).replace("\n", " "),
                _p(row["p"]),
                _p(row["p_holm"]),
                f"{row['probability']:.2f}",
            ],
            f"{row['first']} {row['second']}",
        )
        for row in shown
    ]
    heads = ["of", "first", "second", "first - second", "p", "p\n(Holm)", "P(first\nlarger)"]
    yield Table(title, heads, rows, words=3)


def _by_architecture(
    frame: pd.DataFrame,
    title: str,
    kind: str,
    cell: Callable[[Mapping[Any, Any]], str] = _estimate,
    words: Callable[[Mapping[Any, Any]], str] | None = None,
) -> Iterator[Table]:
    """For each direction a row a ``kind``, a column an architecture."""
    name = words or (lambda row: str(row[kind]))
    for source, target in dict.fromkeys(zip(frame["source"], frame["target"], strict=True)):
        chosen = frame[(frame["source"] == source) & (frame["target"] == target)]
        rows = chosen.to_dict("records")
        cells = {(name(row), row["arch"]): cell(row) for row in rows}
        architectures = list(dict.fromkeys(chosen["arch"]))
        kinds = dict.fromkeys(name(row) for row in rows)
        yield Table(
            f"{title.format(source=source)}: {source} → {target}",
            ["", *map(short, architectures)],
            [_row([k, *(cells.get((k, arch), NOTHING) for arch in architectures)]) for k in kinds],
        )


def _strata(findings: Findings) -> Iterator[Table]:
    def name(row: Mapping[Any, Any]) -> str:
        return f"{row['stratum']} ({100 * row['share']:.0f} %)"

    for effect in (OMEGA, GAIN):
        frame = findings.strata[findings.strata["effect"] == effect]
        title = f"{_SIGNS[effect]} by kind of pixels (share of them)"
        yield from _by_architecture(frame, title, "stratum", words=name)


def _ladder(findings: Findings) -> Iterator[Table]:
    yield from _by_architecture(
        findings.ladder,
        "A by dose of {source}",
        "rung",
        cell=lambda row: _estimate(row, "performance"),
    )


def frames(findings: Findings) -> Iterator[Table]:
    """For each direction the frames that gain most and least."""
    frame = findings.images
    for source, target in dict.fromkeys(zip(frame["source"], frame["target"], strict=True)):
        chosen = frame[(frame["source"] == source) & (frame["target"] == target)]
        means = chosen.groupby(["id", "scene"], sort=False)[["performance", "omega", "gain"]].mean()
        means = means.astype(float)
        by = "gain" if means["gain"].notna().any() else "omega"
        means = means.dropna(subset=by).sort_values(by, kind="stable")
        if not len(means):
            continue
        count = min(_FRAMES, len(means) // 2)
        ends = pd.concat([means.tail(count).iloc[::-1], means.head(count)]) if count else means
        yield Table(
            f"frames of largest and smallest {'ω' if by == 'omega' else by}, {source} → {target}, "
            "mean of the architectures",
            ["frame", "scene", "A", "ω", "gain"],
            [
                _row(
                    [str(row.Index[0]), str(row.Index[1])]
                    + [
                        NOTHING if pd.isna(x) else f"{x:+.2f}"
                        for x in (row.performance, row.omega, row.gain)
                    ]
                )
                for row in ends.itertuples()
            ],
            words=2,
        )
