"""From job records to findings: every effect with its interval, and where it comes from.

Letters in shape comments: K networks (seeds) of an architecture, N images, S setups, P protocols or
strata, D statistics, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from jrn_lightning.analysis import findings
from jrn_lightning.analysis.collect import Comparison
from jrn_lightning.analysis.findings import (
    BREAKAGE,
    COLUMNS,
    GAIN,
    IMPROVEMENT,
    OMEGA,
    PERFORMANCE,
    Findings,
)
from jrn_lightning.analysis.parts import Parts
from jrn_lightning.analysis.summary import Summary
from jrn_lightning.evaluation import POOLINGS, StatisticsTable, pooled
from jrn_lightning.evaluation.evaluator import (
    GRID,
    LADDER,
    MAIN,
    MUTE_VALUES,
    NOTHING,
    RUNGS,
    STRATA,
    UNNAMED,
    USUAL,
    muted_with,
    rung,
)
from jrn_lightning.evaluation.protocols import IMAGES, WHOLE
from jrn_lightning.influence import Bootstrap, Sampled, halves, holm
from jrn_lightning.influence.bootstrap import Array
from jrn_lightning.keys import JOINT, UNTOUCHED, muted
from jrn_lightning.modalities import Measure
from jrn_lightning.records.record import JobRecord

Rows = list[dict[str, Any]]
#: modality and setup -> its A under one protocol, or ``(P,)`` in each stratum
_A = dict[tuple[str, str], Sampled]
#: effect -> the networks that it is of, its values, and the ends of their intervals
_OmegaAndGain = dict[str, tuple[Sequence[JobRecord], Array, tuple[Array, Array]]]


def analyse(
    comparison: Comparison,
    summary: Summary,
    *,
    resamples: int = 2_000,
    seed: int = 0,
    parts: Collection[str] | None = None,
) -> Findings:
    """All that the records of a sweep say beyond its comparison.

    Pairs by seed: a gain, or a difference of two architectures, is of the seeds that both sides
    have. A record that is missing, damaged or foreign is named in the problems and left out.

    Args:
        comparison: the collected sweep.
        summary: of it; its protocol and pooling hold for all frames but that of all protocols.
        resamples: R.
        seed: of the bootstrap and of the halves of Figure 8.
        parts: names of the frames that are wanted (keys of ``findings.COLUMNS``); all by default.

    Raises:
        ValueError: an unknown name in ``parts``.
    """
    wanted = set(COLUMNS) if parts is None else set(parts)
    if wanted - set(COLUMNS):
        raise ValueError(f"parts {sorted(wanted - set(COLUMNS))}: choose from {', '.join(COLUMNS)}")
    if not comparison.finished:
        return Findings(summary, tuple(comparison.problems))
    analysis = _Analysis(comparison, summary, resamples, seed)
    frames: dict[str, pd.DataFrame] = {}
    if wanted & {"effects", "differences"}:
        frames |= analysis.effects()
    for name in ("mute_values", "strata", "ladder", "images", "protocols"):
        if name in wanted:
            frames[name] = getattr(analysis, name)()
    if wanted & {"points", "envelope", "peaks"}:
        frames |= analysis.figure_8()
    return Findings(
        summary,
        (*comparison.problems, *analysis.parts.problems),
        **{name: frame for name, frame in frames.items() if name in wanted},
    )


class _Analysis:
    """What the frames share: the resamples, and A of the networks."""

    def __init__(self, comparison: Comparison, summary: Summary, resamples: int, seed: int) -> None:
        self.parts = Parts(comparison)
        self.protocol = summary.protocol
        self.over_images = summary.pooling == IMAGES
        self.pooling = summary.pooling
        self.seed = seed
        table = self.parts.reference
        self.scenes = table.scenes
        self.modalities = table.modalities
        described = comparison.modalities
        self.truths = {m: described.get(m, {}).get("truths") or (UNNAMED,) for m in self.modalities}
        self.measures = {m: x.measure(x.primary) for m, x in table.modalities.items()}
        self.draw = Bootstrap.draw(table.scenes, resamples, seed)
        self.directions = [
            (source, target)
            for source in table.modalities
            for target in table.modalities
            if source != target and muted(source) in table.setups
        ]

    # -- effects -------------------------------------------------------------------------------

    def effects(self) -> dict[str, pd.DataFrame]:
        """Of each architecture, and between two of them."""
        found = {arch: self._quantities(jobs) for arch, jobs in self.parts.groups.items()}
        rows: Rows = []
        for arch, quantities in found.items():
            for (effect, source, target), (jobs, sampled) in quantities.items():
                if effect == PERFORMANCE:
                    continue
                distribution = sampled.over_seeds(self.seed + 1)
                rows.append(
                    {
                        **_identity(arch, jobs),
                        "effect": effect,
                        "source": source,
                        "target": target,
                        "measure": self.measures[target].name,
                        **vars(distribution.estimate()),
                        "p": float(distribution.p_value()),
                    }
                )
        differences: Rows = []
        for first, second in combinations(found, 2):
            for key, (jobs, sampled) in found[first].items():
                # Both start from the same input: a difference in improvement is one in performance.
                if key[0] == IMPROVEMENT or key not in found[second]:
                    continue
                others, other = found[second][key]
                pairs = [
                    (i, k)
                    for i, a in enumerate(jobs)
                    for k, b in enumerate(others)
                    if a.folder.name == b.folder.name
                ]
                if not pairs:
                    continue
                of_first, of_second = map(list, zip(*pairs, strict=True))
                difference = sampled.networks(of_first) - other.networks(of_second)
                distribution = difference.over_seeds(self.seed + 1)
                differences.append(
                    {
                        **dict(zip(("effect", "source", "target"), key, strict=True)),
                        "first": first,
                        "second": second,
                        **vars(distribution.estimate()),
                        "p": float(distribution.p_value()),
                        "probability": float(distribution.probability()),
                    }
                )
        frames = {"effects": rows, "differences": differences}
        for part in frames.values():
            _correct(part)
        return {name: _frame(name, part) for name, part in frames.items()}

    def _quantities(
        self, jobs: Sequence[JobRecord]
    ) -> dict[tuple[str, str, str], tuple[Sequence[JobRecord], Sampled]]:
        """Effect, source and target -> the networks that it is of, and what it is of each."""
        found: dict[tuple[str, str, str], tuple[Sequence[JobRecord], Sampled]] = {}
        a = self._performances(jobs, MAIN)[1]
        for target in self.modalities:
            found[PERFORMANCE, "", target] = (jobs, a[target, JOINT])
            if (target, UNTOUCHED) in a:
                improvement = a[target, JOINT] - a[target, UNTOUCHED]
                found[IMPROVEMENT, "", target] = (jobs, improvement)
        for source, target in self.directions:
            omega = a[target, JOINT] - a[target, muted(source)]
            found[OMEGA, source, target] = (jobs, omega)
            shared, control = self._controls(jobs, source, MAIN)
            if shared:
                pairs = [jobs[i] for i in shared]
                gain = a[target, JOINT].networks(shared) - control[target, JOINT]
                found[GAIN, source, target] = (pairs, gain)
                found[BREAKAGE, source, target] = (pairs, omega.networks(shared) - gain)
        return found

    # -- parts of the records ------------------------------------------------------------------

    def mute_values(self) -> pd.DataFrame:
        """ω under each mute value."""
        rows: Rows = []
        for arch, jobs, a, setups in self._of_part(MUTE_VALUES):
            joint = self._performances(jobs, MAIN, lambda target, setup: setup == JOINT)[1]
            for source, target in self.directions:
                for setup, name in _named(setups, muted_with(source, "")):
                    performance = a[target, setup]
                    omega = (joint[target, JOINT] - performance).over_seeds(self.seed + 1)
                    rows.append(
                        {
                            **_identity(arch, jobs),
                            "source": source,
                            "target": target,
                            "mute_value": name,
                            "performance": float(performance.value.mean()),
                            **vars(omega.estimate()),
                        }
                    )
        return _frame("mute_values", rows)

    def ladder(self) -> pd.DataFrame:
        """Dose and response."""
        rows: Rows = []
        for arch, jobs, a, setups in self._of_part(LADDER):
            for source, target in self.directions:
                nothing = a[target, rung(source, NOTHING)]
                for setup, name in _named(setups, rung(source, "")):
                    here = a[target, setup]
                    performance = here.over_seeds(self.seed + 1).estimate()
                    more = (here - nothing).over_seeds(self.seed + 1).estimate()
                    rows.append(
                        {
                            **_identity(arch, jobs),
                            "source": source,
                            "target": target,
                            "rung": name,
                            "share": RUNGS[name],
                            "performance": performance.value,
                            "performance_low": performance.low,
                            "performance_high": performance.high,
                            **vars(more),
                        }
                    )
        return _frame("ladder", rows)

    def strata(self) -> pd.DataFrame:
        """ω and gain of each kind of pixels."""
        rows: Rows = []
        for arch, jobs, a, _ in self._of_part(STRATA):
            kinds = self._kinds(self.parts.protocols(STRATA))
            shares = self._shares(jobs[0])
            for source, target in self.directions:
                effects = self._omega_and_gain(jobs, a, source, target, STRATA)
                own = self._of_own_strata(jobs, source, target)
                for effect in effects:
                    for p, (of, name) in enumerate(kinds):
                        alike = of == target and name in own
                        networks, rated, (low, high) = (own[name] if alike else effects)[effect]
                        at = () if alike else (p,)
                        rows.append(
                            {
                                **_identity(arch, networks),
                                "effect": effect,
                                "source": source,
                                "target": target,
                                "of": of,
                                "stratum": name,
                                "share": shares[target][p],
                                "value": float(rated[at]),
                                "low": float(low[at]),
                                "high": float(high[at]),
                            }
                        )
        return _frame("strata", rows)

    def _of_own_strata(
        self, jobs: Sequence[JobRecord], source: str, target: str
    ) -> dict[str, _OmegaAndGain]:
        """Strata of the target's own truth for which another measure speaks."""
        found, setups = {}, (JOINT, muted(source))
        for name, measure_name in self.modalities[target].stratum_measures.items():
            measure = self.modalities[target].measure(measure_name)
            _, a = self._performances(
                jobs, MAIN, lambda m, setup: m == target and setup in setups, measure
            )
            found[name] = self._omega_and_gain(jobs, a, source, target, MAIN, measure)
        return found

    def _omega_and_gain(
        self,
        jobs: Sequence[JobRecord],
        a: _A,
        source: str,
        target: str,
        part: str,
        measure: Measure | None = None,
    ) -> _OmegaAndGain:
        """ω, and gain where there are controls."""
        effects = {OMEGA: (jobs, a[target, JOINT] - a[target, muted(source)])}
        shared, control = self._controls(jobs, source, part, measure)
        if shared:
            gain = a[target, JOINT].networks(shared) - control[target, JOINT]
            effects[GAIN] = ([jobs[i] for i in shared], gain)
        found = {}
        for effect, (networks, sampled) in effects.items():
            distribution = sampled.over_seeds(self.seed + 1)
            found[effect] = (networks, distribution.value, distribution.interval())
        return found

    def _kinds(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Which modality's truth tells each stratum, and its name."""
        kinds = [(m, name) for m, modality in self.modalities.items() for name in modality.strata]
        if [name for _, name in kinds] == list(names):
            return kinds
        of = {name: m for m, name in reversed(kinds)}  # a record of other strata than today's
        return [(of.get(name, ""), name) for name in names]

    def _shares(self, job: JobRecord) -> dict[str, Array]:
        """Modality -> share of its pixels in each stratum ``(P,)``; NaN without the whole frame."""
        table, main = self.parts.table(job, STRATA), self.parts.table(job)
        assert table is not None
        assert main is not None
        shares = {}
        for m, modality in self.modalities.items():
            counts = modality.pixels(table.values[m][:, table.setups.index(JOINT)]).sum(0)
            whole = np.nan
            if WHOLE in main.protocols:
                whole = float(modality.pixels(main.of(m, JOINT, WHOLE)).sum())
            shares[m] = np.asarray(counts / whole)
        return shares

    def images(self) -> pd.DataFrame:
        """Every test image by itself."""
        columns: list[pd.DataFrame] = []
        for arch, jobs in self.parts.groups.items():
            for source, target in self.directions:
                measure = self.measures[target]
                a = {
                    setup: np.stack([self._each(job, target, setup, measure) for job in jobs])
                    for setup in (JOINT, muted(source))
                }
                gain = np.full(len(self.scenes), np.nan)
                controls = [(i, self.parts.control(job, source)) for i, job in enumerate(jobs)]
                pairs = [(i, control) for i, control in controls if control is not None]
                if pairs:
                    alone = [self._each(control, target, JOINT, measure) for _, control in pairs]
                    gain = np.mean(a[JOINT][[i for i, _ in pairs]] - np.stack(alone), axis=0)
                columns.append(
                    pd.DataFrame(
                        {
                            "arch": arch,
                            "id": self.parts.reference.ids,
                            "scene": self.scenes,
                            "source": source,
                            "target": target,
                            "performance": a[JOINT].mean(0),
                            "omega": (a[JOINT] - a[muted(source)]).mean(0),
                            "gain": gain,
                        }
                    )
                )
        return pd.concat(columns, ignore_index=True) if columns else findings.empty("images")

    def _each(self, job: JobRecord, target: str, setup: str, measure: Measure) -> Array:
        """A of every image alone: ``(N,)``."""
        table = self.parts.table(job)
        assert table is not None
        return measure.performance(measure(table.of(target, setup, self.protocol)))

    # -- protocols -----------------------------------------------------------------------------

    def protocols(self) -> pd.DataFrame:
        """Every measure under every crop, convention, ground truth and pooling."""
        part = GRID if self.parts.anywhere(GRID) else MAIN
        rows: Rows = []
        for arch, jobs in self.parts.groups.items():
            tables = [t for job in jobs if (t := self.parts.table(job, part)) is not None]
            if not tables:
                continue
            if not rows:  # the untouched input is the same beside every network
                rows += self._measured(UNTOUCHED, UNTOUCHED, tables[:1])
            rows += self._measured(arch, JOINT, tables)
        return _frame("protocols", rows)

    def _measured(self, arch: str, setup: str, tables: Sequence[StatisticsTable]) -> Rows:
        """The rows of one setup, means over the networks."""
        rows: Rows = []
        # A crop, of the grid also a convention, and a ground truth where it is an alternative.
        names = [(*name.split("/"), "", "")[:3] for name in tables[0].protocols]
        for m, modality in self.modalities.items():
            # What another modality clips, or has another truth of, is nothing to this one.
            conventions = ("", USUAL, *modality.conventions)
            truths = ("", *self.truths[m][1:])
            which = [p for p, (_, c, t) in enumerate(names) if c in conventions and t in truths]
            values = [t.values[m][:, t.setups.index(setup)][:, which] for t in tables]
            for measure in modality.measures:
                for pooling in POOLINGS:
                    means = np.mean([pooled(v, measure, pooling) for v in values], axis=0)
                    for p, value in zip(which, means, strict=True):
                        rows.append(
                            {
                                "arch": arch,
                                "setup": setup,
                                "modality": m,
                                "measure": measure.name,
                                "label": measure.label,
                                "crop": names[p][0],
                                "convention": names[p][1] or USUAL,
                                "truth": names[p][2] or self.truths[m][0],
                                "pooling": pooling,
                                "value": float(value),
                            }
                        )
        return rows

    # -- Figure 8 ------------------------------------------------------------------------------

    def figure_8(self) -> dict[str, pd.DataFrame]:
        """A against ω of every network, from images that share no scene, and what bounds them."""
        first = halves(self.scenes, self.seed)
        points: Rows = []
        for arch, jobs in self.parts.groups.items():
            for job in jobs:
                table = self.parts.table(job)
                assert table is not None
                for source, target in self.directions:
                    measure = self.measures[target]
                    a = {
                        (setup, side): float(
                            measure.performance(
                                pooled(
                                    table.of(target, setup, self.protocol)[half],
                                    measure,
                                    self.pooling,
                                )
                            )
                        )
                        for setup, side, half in (
                            (JOINT, 0, first),
                            (JOINT, 1, ~first),
                            (muted(source), 1, ~first),
                        )
                    }
                    points.append(
                        {
                            **_identity(arch, [job]),
                            "seed": job.seed,
                            "source": source,
                            "target": target,
                            "omega": a[JOINT, 1] - a[muted(source), 1],
                            "performance": a[JOINT, 0],
                        }
                    )
        frame = _frame("points", points)
        envelopes, peaks = self._envelope(frame)
        return {"points": frame, "envelope": envelopes, "peaks": peaks}

    def _envelope(self, points: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        from jrn_lightning.influence.envelope import envelope

        lines, peaks = [], []
        for source, target in self.directions:
            direction = {"source": source, "target": target}
            chosen = points[(points["source"] == source) & (points["target"] == target)]
            found = envelope(
                chosen["omega"].to_numpy(float),
                chosen["performance"].to_numpy(float),
                chosen["arch"].tolist(),
                resamples=len(self.draw.counts),
                seed=self.seed,
            )
            columns = {name: getattr(found, name) for name in ("omega", "value", "low", "high")}
            lines.append(pd.DataFrame({**columns, **direction}))
            peak = {"omega": found.peak.value, "low": found.peak.low, "high": found.peak.high}
            verdict = {"p": found.p, "verdict": found.verdict}
            peaks.append({**direction, "points": len(chosen), **peak, **verdict})
        lines = [line for line in lines if len(line)]
        joined = pd.concat(lines, ignore_index=True) if lines else findings.empty("envelope")
        return joined.loc[:, list(COLUMNS["envelope"])], _frame("peaks", peaks)

    # -- A of networks -------------------------------------------------------------------------

    def _of_part(self, part: str) -> Iterator[tuple[str, list[JobRecord], _A, tuple[str, ...]]]:
        """Of each architecture that has a part: the networks, their A, and the part's setups."""
        if not self.parts.anywhere(part):
            return

        def of_another(target: str, setup: str) -> bool:
            return setup != UNTOUCHED and not setup.startswith((muted(target), rung(target, "")))

        for arch, jobs in self.parts.groups.items():
            kept, a = self._performances(jobs, part, of_another)
            if kept:
                yield arch, kept, a, self.parts.setups(part)

    def _performances(
        self,
        jobs: Sequence[JobRecord],
        part: str,
        needed: Callable[[str, str], bool] = lambda target, setup: True,
        measure: Measure | None = None,
    ) -> tuple[list[JobRecord], _A]:
        """The networks that have a part, and their A in the setups that are ``needed``.

        A is of the primary measure, unless another is given.
        """
        setups: dict[str, list[str]] = {}

        def chosen(table: StatisticsTable) -> dict[str, Array]:
            p = slice(None) if part == STRATA else table.protocols.index(self.protocol)
            arrays = {}
            for m, values in table.values.items():
                setups[m] = [s for s in table.setups if needed(m, s)]
                if setups[m]:
                    arrays[m] = values[:, [table.setups.index(s) for s in setups[m]]][:, :, p]
            return arrays

        kept, stacked = self.parts.stacked(jobs, part, chosen)
        a: _A = {}
        for m, array in stacked.items():
            chosen_measure = measure or self.measures[m]
            sampled = Sampled.of(array, chosen_measure, self.draw, self.over_images)
            sampled = sampled.map(chosen_measure.performance)
            a |= {(m, setup): sampled[s] for s, setup in enumerate(setups[m])}
        return kept, a

    def _controls(
        self,
        jobs: Sequence[JobRecord],
        source: str,
        part: str,
        measure: Measure | None = None,
    ) -> tuple[list[int], _A]:
        """Which networks have a control that never saw ``source``, and what is A of these."""
        pairs = {}
        for i, job in enumerate(jobs):
            control = self.parts.control(job, source)
            if control is not None:
                pairs[control.folder] = (i, control)
        kept, a = self._performances(
            [control for _, control in pairs.values()],
            part,
            lambda target, setup: target != source and setup == JOINT,
            measure,
        )
        return [pairs[control.folder][0] for control in kept], a


def _named(setups: Sequence[str], prefix: str) -> list[tuple[str, str]]:
    """The setups that start with ``prefix``, and what follows it."""
    return [(s, s.removeprefix(prefix)) for s in setups if s.startswith(prefix)]


def _identity(arch: str, jobs: Sequence[JobRecord]) -> dict[str, Any]:
    described = (jobs[0].data or {}).get("arch", {})
    return {"arch": arch, "computation": described.get("computation"), "seeds": len(jobs)}


def _correct(rows: Rows) -> None:
    """Holm's correction over all rows of one effect."""
    for effect in {row["effect"] for row in rows}:
        family = [row for row in rows if row["effect"] == effect]
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = float(p)


def _frame(name: str, rows: Rows) -> pd.DataFrame:
    if not rows:
        return findings.empty(name)
    return pd.DataFrame(rows).loc[:, list(COLUMNS[name])]
