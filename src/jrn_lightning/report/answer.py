"""What a sweep says, in plain sentences: who helps whom, by how much, under which architecture.

The frames of :class:`~jrn_lightning.analysis.findings.Findings` in, sentences out. An effect or a
difference is significant where its p, after Holm's correction where there is one, is below 0.05.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jrn_lightning.analysis.findings import (
    BREAKAGE,
    GAIN,
    IMPROVEMENT,
    OMEGA,
    PERFORMANCE,
    Findings,
    significant,
)
from jrn_lightning.analysis.summary import MeasureColumn, improvement, short, value_of
from jrn_lightning.influence import LEVEL
from jrn_lightning.keys import UNTOUCHED

NOTE = (
    "ω: what a refined prediction loses when another input is muted, that is, replaced. Gain: what "
    "a network has over the same one trained without that input. Significant: "
    f"p < {LEVEL:g}, after Holm's correction where there is one; in brackets: 95 % intervals."
)
#: the frames that the answer is made of
ANSWER = ("effects", "differences", "mute_values", "peaks")
_FEW = 4  # names that are listed
SCENES = 10  # with fewer, intervals over them are rough
SEEDS = 5  # with fewer, how much networks differ by chance is hardly known


class Answer(tuple[str, ...]):
    """Sentences: printed a line each, with a bullet each in a notebook."""

    def __str__(self) -> str:
        return "\n".join(self)

    @property
    def markdown(self) -> str:
        """A list, and what its words mean."""
        return "\n".join([*(f"- {sentence}" for sentence in self), "", NOTE])

    def _repr_markdown_(self) -> str:
        return self.markdown


def answer(findings: Findings) -> Answer:
    """The answer to a sweep's question, in about six sentences for two modalities.

    First, for somebody who knows nothing of ω, whether refining the predictions together makes
    them better. Then for each direction whether it helps, by the gain over networks trained without
    the source, or, where there are none, by ω with the gentlest mute value that was measured. Then
    how much of ω is damage done by muting; which architecture is best, and significantly better
    than which others; where A peaks over ω, if that was tested; and what to run next. Sentences
    have no markup and most begin with their question; frames may be empty.
    """
    summary = findings.summary
    if not summary.finished or not summary.primary:
        return Answer(["No job has finished yet: there is no answer."])
    sentences = [
        _outcome(findings),
        *(_helped(findings, *way) for way in _directions(findings)),
        _damage(findings),
        _best_architectures(findings),
        _peaks(findings),
        _next(findings),
    ]
    return Answer(short(sentence) for sentence in sentences if sentence)


def terminal(sentences: Sequence[str]) -> RenderableType:
    """The answer for a terminal: a line a sentence, and what significant means."""
    lines = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        lines.add_row(Text("•", style="bold"), Text(sentence))
    return Group(Text("The answer", style="bold underline"), lines, Text(NOTE, style="dim"))


# -- the sentences -----------------------------------------------------------------------------


def _outcome(findings: Findings) -> str:
    """Whether the predictions become better, with the figures of the best architecture."""
    clauses, table = [], findings.summary.architectures
    of = {str(row["arch"]): row for _, row in table.iterrows()}
    for target, column in findings.summary.primary.items():
        rows = _rows(findings.effects, IMPROVEMENT, target)
        if rows.empty:
            continue
        clear, best = significant(rows), _largest(rows)
        better, worse = (int((clear & (sign * rows["value"] > 0)).sum()) for sign in (1, -1))
        none = "no" if worse else "not shown"
        verdict = "yes" if 2 * better > len(rows) else "partly" if better else none
        said = f"{target}: {verdict}, significantly better under "
        said += f"{better or 'none'} of {_architectures(len(rows))}"
        said += f", worse under {worse}" * bool(worse)
        before, after = (
            column.text(value_of(of[arch], column.key).value) for arch in (UNTOUCHED, best["arch"])
        )
        said += f" ({best['arch']}: {column.label} {before} → {after}{' %' * column.percent}, "
        # One measure does not speak for the others of the paper's table.
        lost = [
            c.label
            for c in findings.summary.columns[target]
            if c.in_table and value_of(of[best["arch"]], improvement(c)).high < 0
        ]
        but = f"; worse in {_and(lost)}" if lost else ""
        clauses.append(f"{said}{_estimate(best, column)}{but})")
    return _sentence(clauses, "Does refining them together help? ")


def _helped(findings: Findings, source: str, target: str) -> str:
    """Whether ``source`` helps to predict ``target``."""
    column = findings.summary.primary[target]
    gain = _rows(findings.effects, GAIN, target, source)
    omega = _rows(findings.effects, OMEGA, target, source)
    told = ""
    if len(gain):
        told = _gain(gain, column) + f", over the same network trained without {source}"
    elif len(omega):
        told = _omega(findings, source, omega, column)
    return _sentence([told] if told else [], f"Does {source} help {target}? ")


def _gain(rows: pd.DataFrame, column: MeasureColumn) -> str:
    clear, rest = rows[significant(rows)], rows[~significant(rows)]
    parts = []
    if len(rest) > len(clear):  # few architectures do not speak for the others
        top = _largest(rest)
        where = f"No significant gain under {len(rest)} of {_architectures(len(rows))}"
        parts.append(f"{where}, at most {_estimate(top, column)} ({top['arch']})")
    for verb, sign in (("helps", 1), ("hurts", -1)):
        found = clear[sign * clear["value"] > 0]
        if len(found):
            top = _largest(found, sign)
            count = f"significantly under {len(found)} of {_architectures(len(rows))}"
            most = f"most under {top['arch']}: {_estimate(top, column, always=True)}"
            parts.append(f"it {verb} {count}, {most}")
    text = ", and ".join(parts)
    return text[0].upper() + text[1:]


def _omega(findings: Findings, source: str, rows: pd.DataFrame, column: MeasureColumn) -> str:
    """ω of the network that is best at the target, since without a control no gain is known."""
    target = column.modality
    row = _best(findings, target, rows)
    own = findings.mute_values
    own = own[(own["source"] == source) & (own["target"] == target) & (own["arch"] == row["arch"])]
    why = f", best at {target}" if rows["arch"].nunique() > 1 else ""
    text = f"ω is {_estimate(row, column)} ({row['arch']}{why})"
    used = _is_significant(row)
    if len(own):
        gentlest = _largest(own, -1)
        text += f", {_estimate(gentlest)} with the gentlest mute value, {gentlest['mute_value']}"
        used = used and _is_significant(gentlest)
    verdict = (
        "is used, though part of ω may be damage by muting" if used else "is not significantly used"
    )
    return f"Gain not measured; {text}: {source} {verdict}"


def _damage(findings: Findings) -> str:
    """How much of ω is breakage; without controls, which muted networks are below the input."""
    shares, below, seen = [], [], []
    for source, target in _directions(findings):
        where = f"{source} → {target}"
        omega, breakage, better = (
            _rows(findings.effects, effect, target, of).set_index("arch")["value"].astype(float)
            for effect, of in ((OMEGA, source), (BREAKAGE, source), (IMPROVEMENT, ""))
        )
        both = omega.index.intersection(breakage.index)
        muted = (better - omega).dropna()  # A(source muted) - A(untouched input)
        if len(both):
            whole, part = omega[both].mean(), breakage[both].mean()
            share = "" if part > 0 else "none of ω "
            if whole > 0 and part > 0:
                share = "all of ω " if part > whole else f"{100 * part / whole:.0f} % of ω "
            shares.append(f"{where} {share}({part:+.2f} of {whole:+.2f})")
        elif len(muted):
            seen.append(where)
            if muted.min() < 0:
                below.append(
                    f"{where} in {(muted < 0).sum()} of {_architectures(len(muted))}, by up to "
                    f"{-muted.min():.2f} ({muted.idxmin()})"
                )
    parts = []
    if shares:
        parts.append(f"Mean over architectures, {_and(shares)}")
    if below:
        parts.append(f"Muted networks are worse than the untouched input, {_and(below)}")
    elif seen:
        parts.append(f"No muted network is worse than the untouched input, {_and(seen)}")
    return _sentence(parts, "How much of ω is damage done by muting? ")


def _best_architectures(findings: Findings) -> str:
    """Which architecture is best for each modality, and better than which others."""
    clauses = []
    for target in findings.summary.primary:
        rows = _rows(findings.effects, IMPROVEMENT, target)
        if len(rows) > 1:
            best = str(_largest(rows)["arch"])
            clauses.append(f"{target}: {best}{_better_than(findings, best, target)}")
    return _sentence(clauses, "Which architecture is best? ")


def _better_than(findings: Findings, best: str, target: str) -> str:
    """From which other architectures the best one differs significantly."""
    rows = _rows(findings.differences, PERFORMANCE, target)
    rows = rows[(rows["first"] == best) | (rows["second"] == best)]
    others = rows["first"].where(rows["first"] != best, rows["second"])
    beaten = _few(others[significant(rows)].tolist())
    even = _few(others[~significant(rows)].tolist())
    words = [f"significantly better than {_and(beaten)}"] if beaten else []
    if even:
        words.append(f"not {'' if beaten else 'significantly better '}than {_and(even)}")
    # The interval is over scenes alone: other seeds may train other networks.
    alone = " (one seed each)" if beaten and findings.summary.one_seed else ""
    return f", {', '.join(words)}{alone}" if words else ""


def _peaks(findings: Findings) -> str:
    """Where A is largest over ω, of the directions in which that could be tested."""
    tested = findings.peaks[findings.peaks["p"].notna()]
    return _sentence(
        (
            f"{row['source']} → {row['target']}: {str(row['verdict']).rstrip('.')}"
            for _, row in tested.iterrows()
        ),
        "Is there a best influence? ",
    )


def _next(findings: Findings) -> str:
    summary = findings.summary
    steps = []
    left = len(summary.jobs) - summary.finished
    if left:
        steps.append(f"{left} of {len(summary.jobs)} jobs are not finished (run the sweep again)")
    if summary.scenes is not None and summary.scenes < SCENES:
        steps.append(f"a cache with at least {SCENES} test scenes, not {summary.scenes}")
    seeds = pd.to_numeric(findings.effects["seeds"])
    if len(seeds) and seeds.min() < SEEDS:
        steps.append(f"at least {SEEDS} seeds, not {seeds.min():.0f} (seed=0,1,2,3,4)")
    if len(summary.primary) > 1:
        if not len(findings.effects[findings.effects["effect"] == GAIN]):
            steps.append(
                "networks trained without one modality (the same command with experiment=gain)"
            )
        if findings.mute_values.empty:
            steps.append("other mute values (with experiment=mute-values)")
    return f"Next steps: {'; '.join(steps)}." if steps else ""


# -- helpers -----------------------------------------------------------------------------------


def _directions(findings: Findings) -> list[tuple[str, str]]:
    """Ordered pairs with an effect, in the order of the modalities."""
    names = list(findings.summary.primary)
    known = set(zip(findings.effects["source"], findings.effects["target"], strict=True))
    return [(s, t) for s in names for t in names if (s, t) in known]


def _rows(frame: pd.DataFrame, effect: str, target: str, source: str | None = None) -> pd.DataFrame:
    """Rows of one effect on ``target`` that have a value."""
    chosen = (frame["effect"] == effect) & (frame["target"] == target) & frame["value"].notna()
    if source is not None:
        chosen &= frame["source"] == source
    return frame[chosen]


def _is_significant(row: pd.Series) -> bool:
    return bool(significant(row.to_frame().T).iloc[0])


def _largest(rows: pd.DataFrame, sign: int = 1) -> pd.Series:
    """Row of the largest value, or of the smallest for a negative ``sign``; empty where no row."""
    if rows.empty:
        return pd.Series(dtype=object)
    return rows.iloc[int((sign * pd.to_numeric(rows["value"])).argmax())]


def _best(findings: Findings, target: str, rows: pd.DataFrame) -> pd.Series:
    """Of ``rows``, that of the architecture with the best performance on ``target``."""
    ranked = _rows(findings.effects, IMPROVEMENT, target)
    ranked = ranked[ranked["arch"].isin(rows["arch"])]
    if ranked.empty:
        return rows.iloc[0]
    return rows.iloc[list(rows["arch"]).index(_largest(ranked)["arch"])]


def _estimate(row: pd.Series, column: MeasureColumn | None = None, always: bool = False) -> str:
    """Value and interval, and p where the interval alone would look significant, or ``always``."""
    text = f"{row['value']:+.2f}"
    low, high, p = row["low"], row["high"], row.get("p_holm", row.get("p"))
    if pd.notna(low) and pd.notna(high):
        text += f" [{low:+.2f}, {high:+.2f}]"
    if column is not None:
        text += f" points of {column.label}" * column.percent
        text += f" in {column.performance_label}" * (not column.percent)
    if pd.notna(p) and (always or (p >= LEVEL and low * high > 0)):
        text += f", p = {p:.2g}"
    return text


def _architectures(count: int) -> str:
    return f"{count} architecture{'s' * (count != 1)}"


def _and(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _few(names: list[str]) -> list[str]:
    """Names, or how many where they are too many to read."""
    return names if len(names) <= _FEW else [f"{len(names)} others"]


def _sentence(clauses: Iterable[str], start: str = "") -> str:
    text = "; ".join(clauses)
    return f"{start}{text}." if text else ""
