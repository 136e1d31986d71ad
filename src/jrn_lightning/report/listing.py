"""Findings in the terminal and as CSV files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jrn_lightning import keys
from jrn_lightning.analysis.findings import (
    BREAKAGE,
    COLUMNS,
    GAIN,
    IMPROVEMENT,
    OMEGA,
    Findings,
)
from jrn_lightning.analysis.summary import Column, Summary, short, value_of
from jrn_lightning.errors import RecordError
from jrn_lightning.files import replacing

FOLDER = "influence"
LEVEL = 0.05
_DIFFERENCES = 20  # rows in the terminal
_FRAMES = 5  # at either end
_SIGNS = {IMPROVEMENT: "ΔA", OMEGA: "ω", GAIN: "gain", BREAKAGE: "breakage"}


def terminal(findings: Findings) -> RenderableType:
    """What the frames say, for a terminal of 100 columns or more; empty ones are not shown."""
    parts: list[RenderableType] = []
    for title, table in [
        *_effects(findings),
        *_differences(findings),
        *_by_architecture(findings.mute_values, "ω by what stands in for {source}", "mute_value"),
        *_strata(findings),
        *_ladder(findings),
        *_frames(findings),
    ]:
        parts += [Text(title, style="bold underline"), table, Text()]
    for row in findings.peaks.to_dict("records"):
        text = f"Figure 8, {row['source']} → {row['target']}: {row['verdict']}"
        parts.append(Text(text))
    over = "scenes alone (one seed)" if findings.summary.one_seed else "seeds and scenes"
    parts.append(
        Text(
            f"In units of A, protocol {findings.summary.protocol}, {findings.summary.pooled}: "
            f"positive is good. 95 % intervals over {over}. * p < {LEVEL} after Holm's correction.",
            style="dim",
        )
    )
    parts += [Text(problem, style="red") for problem in findings.problems]
    return Group(*parts)


def write(findings: Findings, folder: Path, names: Iterable[str] = COLUMNS) -> list[Path]:
    """The frames called ``names`` as CSV files in ``folder``; empty ones have a head alone.

    Raises:
        RecordError: ``folder`` cannot be written to.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            paths.append(folder / f"{name}.csv")
            with replacing(paths[-1]) as temporary:
                getattr(findings, name).to_csv(temporary, index=False)
    except OSError as error:
        raise RecordError(
            f"{folder}: the findings cannot be written ({error}). Free space, or choose another "
            "folder with --out."
        ) from error
    return paths


def protocols(findings: Findings, arch: str = keys.UNTOUCHED) -> RenderableType:
    """Every measure of Table I under every protocol, a row each.

    Args:
        findings: with the frame of protocols.
        arch: whose values; the untouched input's are set beside the published ones, and the
            nearest to each is marked.
    """
    summary, parts = findings.summary, list[RenderableType]()
    of_arch = findings.protocols[findings.protocols["arch"] == arch]
    for modality, columns in summary.columns.items():
        shown = [c for c in columns if c.in_table]
        rows = of_arch[of_arch["modality"] == modality]
        if not len(rows):
            continue
        where = ["crop", "convention", "truth", "pooling"]
        values = rows.pivot_table("value", where, "measure", sort=False, dropna=False)
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        # The crop stands on a line of its own: every number fits into 80 columns.
        for name in where[1:]:
            table.add_column(name, no_wrap=True)
        for column in shown:
            head = "\n".join([*_broken(column.label), column.header[1]])
            table.add_column(escape(head), justify="right", no_wrap=True)
        crop = ""
        printed = published_input(summary, shown) if arch == keys.UNTOUCHED else {}
        best = {
            c.measure: (values[c.measure] - printed[c.measure]).abs().idxmin()
            for c in shown
            if c.measure in printed
        }
        for place, row in values.iterrows():
            cells = [
                Text(_number(c, row[c.measure]), "bold" if best.get(c.measure) == place else "dim")
                if c.measure in best
                else Text(_number(c, row[c.measure]))
                for c in shown
            ]
            assert isinstance(place, tuple)
            if place[0] != crop:
                crop = str(place[0])
                table.add_row(Text(crop, "bold"))
            table.add_row(*map(str, place[1:]), *cells)
        if printed:
            numbers = [
                _number(c, printed[c.measure]) if c.measure in printed else "" for c in shown
            ]
            blank = [""] * (len(where) - 2)
            table.add_row("published", *blank, *numbers, style="italic")
        parts += [Text(f"{modality}, {arch}", style="bold underline"), table]
        if best:
            parts += [_nearest(values, shown, printed, best), Text()]
    parts += [Text(problem, style="red") for problem in findings.problems]
    return Group(*parts)


def published_input(summary: Summary, columns: Sequence[Column]) -> dict[str, float]:
    """Measure -> what the paper prints for the untouched input; empty where it does not apply."""
    rows = summary.published[summary.published["arch"] == keys.UNTOUCHED]
    if not len(rows):
        return {}
    found = {c.measure: value_of(rows.iloc[0], c.key) for c in columns if c.key in rows}
    return {measure: value.value for measure, value in found.items() if value.known}


# -- parts -------------------------------------------------------------------------------------


def _nearest(
    values: pd.DataFrame, columns: Sequence[Column], printed: dict[str, float], best: dict[str, Any]
) -> Text:
    """In words: which protocol comes closest over all measures, by the mean relative distance."""
    names = [c.measure for c in columns if c.measure in best]
    distance = (values[names] / pd.Series(printed)[names] - 1).abs().mean(axis=1)
    place = " / ".join(map(str, distance.index[int(distance.argmin())]))
    return Text(
        f"Bold: nearest to the published number. Over all of them: {place}, "
        f"{100 * float(distance.min()):.1f} % away on average. The published inputs are other "
        "predictions: protocols are told apart by the pattern.",
        style="dim",
    )


def _broken(label: str) -> list[str]:
    """A measure's name on two lines, ending alike, as ``rms`` and ``(log)``."""
    for mark in "(<":
        if mark in label:
            before, after = label.split(mark)
            return [before + mark, after] if mark == "<" else [before, mark + after]
    return ["", label]


def _number(column: Column, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{column.printed(value):.2f}" if column.percent else f"{value:.4f}"


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(head):
        # Where a terminal is narrow, words are broken rather than cut: an ellipsis hides a name.
        align: Literal["left", "right"] = "left" if i < words else "right"
        table.add_column(escape(name), justify=align, no_wrap=i >= words, overflow="fold")
    for row in rows:
        table.add_row(*(escape(short(cell)) for cell in row))
    return table


def _estimate(row: Mapping[Any, Any], name: str = "value") -> str:
    if pd.isna(row[name]):
        return "-"
    low, high = ("low", "high") if name == "value" else (f"{name}_low", f"{name}_high")
    sure = row.get("p_holm")
    star = "*" if sure is not None and not pd.isna(sure) and sure < LEVEL else ""
    return f"{row[name]:+.2f}{star}\n[{row[low]:+.2f}, {row[high]:+.2f}]"


def _effects(findings: Findings) -> Iterable[tuple[str, Table]]:
    frame = findings.effects
    for target in dict.fromkeys(frame["target"]):
        rows = frame[frame["target"] == target]
        heads = list(dict.fromkeys(zip(rows["effect"], rows["source"], strict=True)))
        cells = {
            (row["arch"], row["effect"], row["source"]): _estimate(row)
            for row in rows.to_dict("records")
        }
        yield (
            f"effects on {target}",
            _grid(
                ["", *(f"{_SIGNS[e]}\n{s and f'of {s}'}" for e, s in heads)],
                [
                    [arch, *(cells.get((arch, e, s), "-") for e, s in heads)]
                    for arch in dict.fromkeys(rows["arch"])
                ],
            ),
        )


def _differences(findings: Findings) -> Iterable[tuple[str, Table]]:
    frame = findings.differences
    if not len(frame):
        return
    shown = frame.sort_values("p", kind="stable").head(_DIFFERENCES).to_dict("records")
    clear = int((frame["p_holm"] < LEVEL).sum())
    title = f"differences between architectures: {clear} of {len(frame)} are clear"
    if findings.summary.one_seed:
        title += " (of one seed each)"
    if len(frame) > len(shown):
        title += f"; the {len(shown)} clearest"
    yield (
        title,
        _grid(
            ["of", "first", "second", "first - second", "p", "p\n(Holm)", "P(first\nlarger)"],
            [
                [
                    f"{_SIGNS.get(row['effect'], 'A')} {row['source']} → {row['target']}"
                    if row["source"]
                    else f"A {row['target']}",
                    row["first"],
                    row["second"],
                    _estimate(row).replace("\n", " "),
                    f"{row['p']:.3f}",
                    f"{row['p_holm']:.3f}",
                    f"{row['probability']:.2f}",
                ]
                for row in shown
            ],
            words=3,
        ),
    )


def _by_architecture(
    frame: pd.DataFrame,
    title: str,
    kind: str,
    cell: Callable[[Mapping[Any, Any]], str] = _estimate,
    words: Callable[[Mapping[Any, Any]], str] | None = None,
) -> Iterable[tuple[str, Table]]:
    """For each direction a row a ``kind``, a column an architecture."""
    name = words or (lambda row: str(row[kind]))
    for source, target in dict.fromkeys(zip(frame["source"], frame["target"], strict=True)):
        chosen = frame[(frame["source"] == source) & (frame["target"] == target)]
        rows = chosen.to_dict("records")
        cells = {(name(row), row["arch"]): cell(row) for row in rows}
        architectures = list(dict.fromkeys(chosen["arch"]))
        kinds = dict.fromkeys(name(row) for row in rows)
        yield (
            f"{title.format(source=source)}: {source} → {target}",
            _grid(
                ["", *architectures],
                [[k, *(cells.get((k, arch), "-") for arch in architectures)] for k in kinds],
            ),
        )


def _strata(findings: Findings) -> Iterable[tuple[str, Table]]:
    def name(row: Mapping[Any, Any]) -> str:
        return f"{row['stratum']} ({100 * row['share']:.0f} %)"

    for effect in (OMEGA, GAIN):
        frame = findings.strata[findings.strata["effect"] == effect]
        title = f"{_SIGNS[effect]} by kind of pixels (share of them)"
        yield from _by_architecture(frame, title, "stratum", words=name)


def _ladder(findings: Findings) -> Iterable[tuple[str, Table]]:
    yield from _by_architecture(
        findings.ladder,
        "A by dose of {source}",
        "rung",
        cell=lambda row: _estimate(row, "performance"),
    )


def _frames(findings: Findings) -> Iterable[tuple[str, Table]]:
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
        yield (
            f"frames of largest and smallest {'ω' if by == 'omega' else by}, {source} → {target}, "
            "mean of the architectures",
            _grid(
                ["frame", "scene", "A", "ω", "gain"],
                [
                    [str(row.Index[0]), str(row.Index[1])]
                    + [
                        "-" if pd.isna(x) else f"{x:+.2f}"
                        for x in (row.performance, row.omega, row.gain)
                    ]
                    for row in ends.itertuples()
                ],
                words=2,
            ),
        )
