"""From job records to findings: every effect with its interval, and where it comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jrn_lightning.analysis.collect import Records
from jrn_lightning.analysis.findings import (
    BREAKAGE,
    COLUMNS,
    GAIN,
    IMPROVEMENT,
    OMEGA,
    PERFORMANCE,
    Findings,
    frame,
)
from jrn_lightning.analysis.performances import ByModalityAndSetup, Performances
from jrn_lightning.analysis.summary import Summary
from jrn_lightning.evaluation import StatisticsTable, pooled
from jrn_lightning.evaluation.evaluator import (
    GRID,
    LADDER,
    MUTE_VALUES,
    NOTHING,
    RUNGS,
    STRATA,
    UNNAMED,
    USUAL,
    muted_with,
    rung,
)
from jrn_lightning.influence import Estimate, Sampled, halves, holm
from jrn_lightning.influence.bootstrap import Array
from jrn_lightning.keys import JOINT, MAIN, POOLINGS, UNTOUCHED, WHOLE, muted
from jrn_lightning.modalities import Measure
from jrn_lightning.records.record import JobRecord

Row = dict[str, Any]
_KEY = ("effect", "source", "target")
#: the networks that an effect is of, and the effect
_Effect = tuple[Sequence[JobRecord], Sampled]


def analyse(
    records: Records,
    summary: Summary,
    *,
    resamples: int = 2_000,
    seed: int = 0,
    frames: Collection[str] | None = None,
) -> Findings:
    """All that the records of a sweep say beyond its comparison.

    Pairs by seed: a gain, or a difference of two architectures, is of the seeds that both sides
    have. A record that is missing, damaged or foreign is named in the problems and left out.

    Args:
        records: of the sweep.
        summary: of it; its protocol and pooling hold for all frames but that of all protocols.
        resamples: R.
        seed: of the bootstrap and of the halves of Figure 8.
        frames: names of those that are wanted (keys of ``findings.COLUMNS``); all by default.

    Raises:
        ValueError: an unknown name in ``frames``.
    """
    wanted = set(COLUMNS) if frames is None else set(frames)
    if unknown := sorted(wanted - set(COLUMNS)):
        raise ValueError(f"frames {unknown}: choose from {', '.join(COLUMNS)}")
    if not records.finished:
        return Findings(summary, tuple(records.problems))
    performances = Performances(records, summary.protocol, summary.pooling, resamples, seed)
    analysis = _Analysis(performances, records.modalities, resamples, seed)
    found: dict[str, pd.DataFrame] = {}
    if wanted & {"effects", "differences"}:
        found |= analysis.effects()
    for name in ("mute_values", "strata", "ladder", "images", "protocols"):
        if name in wanted:
            found[name] = frame(name, getattr(analysis, name)())
    if wanted & {"points", "envelope", "peaks"}:
        found |= analysis.figure_8()
    return Findings(
        summary,
        (*records.problems, *performances.problems),
        **{name: table for name, table in found.items() if name in wanted},
    )


class _Analysis:
    """What the frames share."""

    def __init__(
        self, performances: Performances, described: Row, resamples: int, seed: int
    ) -> None:
        self.a = performances
        self.resamples = resamples
        self.seed = seed
        self.modalities = performances.modalities
        self.measures = performances.measures
        self.truths = {m: described[m].get("truths") or (UNNAMED,) for m in self.modalities}
        self.directions = [
            (source, target)
            for source in self.modalities
            for target in self.modalities
            if source != target and muted(source) in performances.reference.setups
        ]

    # -- effects -------------------------------------------------------------------------------

    def effects(self) -> dict[str, pd.DataFrame]:
        """Of each architecture, and between two of them."""
        found = {arch: self._effects_of(jobs) for arch, jobs in self.a.groups.items()}
        effects = [
            {
                **_identity(arch, jobs),
                **dict(zip(_KEY, key, strict=True)),
                "measure": self.measures[key[2]].name,
                **self._tested(quantity),
            }
            for arch, quantities in found.items()
            for key, (jobs, quantity) in quantities.items()
            if key[0] != PERFORMANCE
        ]
        differences = []
        for first, second in combinations(found, 2):
            for key, (jobs, quantity) in found[first].items():
                # Both start from the same input: a difference in improvement is one in performance.
                if key[0] == IMPROVEMENT or key not in found[second]:
                    continue
                others, other = found[second][key]
                seeds = [job.seed for job in others]
                which = [i for i, job in enumerate(jobs) if job.seed in seeds]
                if which:
                    same = [seeds.index(jobs[i].seed) for i in which]
                    tested = self._tested(quantity.networks(which) - other.networks(same))
                    names = dict(
                        zip((*_KEY, "first", "second"), (*key, first, second), strict=True)
                    )
                    differences.append({**names, **tested})
        tables = {"effects": frame("effects", effects)}
        tables["differences"] = frame("differences", differences)
        for table in tables.values():
            if len(table):
                table["p_holm"] = table.groupby("effect")["p"].transform(holm)
        return tables

    def _effects_of(self, jobs: Sequence[JobRecord]) -> dict[tuple[str, str, str], _Effect]:
        """Effect, source and target -> the networks that it is of, and what it is of each."""
        found: dict[tuple[str, str, str], _Effect] = {}
        _, a = self.a.of(jobs)
        for target in self.modalities:
            found[PERFORMANCE, "", target] = (jobs, a[target, JOINT])
            if (target, UNTOUCHED) in a:
                improvement = a[target, JOINT] - a[target, UNTOUCHED]
                found[IMPROVEMENT, "", target] = (jobs, improvement)
        for source, target in self.directions:
            omega = a[target, JOINT] - a[target, muted(source)]
            found[OMEGA, source, target] = (jobs, omega)
            if with_control := self.a.gain(jobs, a[target, JOINT], source, target):
                which, gain = with_control
                pairs = [jobs[i] for i in which]
                found[GAIN, source, target] = (pairs, gain)
                found[BREAKAGE, source, target] = (pairs, omega.networks(which) - gain)
        return found

    def _tested(self, quantity: Sampled) -> Row:
        """Value, interval, p and probability."""
        found = quantity.over_seeds(self.seed + 1)
        p, probability = float(found.p_value()), float(found.probability())
        return {**found.estimate()._asdict(), "p": p, "probability": probability}

    # -- parts of the records ------------------------------------------------------------------

    def mute_values(self) -> Iterator[Row]:
        """ω under each mute value."""
        for arch, jobs, a in self.a.each(MUTE_VALUES):
            _, joint = self.a.of(jobs, needed=lambda target, setup: setup == JOINT)
            for source, target in self.directions:
                for name, performance in _named(a, target, muted_with(source, "")):
                    omega = (joint[target, JOINT] - performance).over_seeds(self.seed + 1)
                    yield {
                        **_identity(arch, jobs),
                        "source": source,
                        "target": target,
                        "mute_value": name,
                        "performance": float(performance.value.mean()),
                        **omega.estimate()._asdict(),
                    }

    def ladder(self) -> Iterator[Row]:
        """Dose and response."""
        for arch, jobs, a in self.a.each(LADDER):
            for source, target in self.directions:
                nothing = a[target, rung(source, NOTHING)]
                for name, here in _named(a, target, rung(source, "")):
                    performance = here.over_seeds(self.seed + 1).estimate()
                    yield {
                        **_identity(arch, jobs),
                        "source": source,
                        "target": target,
                        "rung": name,
                        "share": RUNGS[name],
                        "performance": performance.value,
                        "performance_low": performance.low,
                        "performance_high": performance.high,
                        **(here - nothing).over_seeds(self.seed + 1).estimate()._asdict(),
                    }

    def strata(self) -> Iterator[Row]:
        """ω and gain of each kind of pixels."""
        for arch, jobs, a in self.a.each(STRATA):
            table = self.a.table(jobs[0], STRATA)
            assert table is not None
            kinds = self._kinds(table.protocols)
            shares = self._shares(jobs[0], table, kinds)
            for source, target in self.directions:
                own = list(self.modalities[target].stratum_measures)
                others = [p for p, (_, name) in enumerate(kinds) if name not in own]
                effects = self._omega_and_gain(jobs, a, source, target, STRATA)
                whole = self._strata_of_whole_frames(jobs, source, target) if own else {}
                for effect, found in effects.items():
                    rated = dict(zip(others, self._rated(*found), strict=True))
                    if own:
                        named = dict(zip(own, self._rated(*whole[effect]), strict=True))
                        rated |= {p: named[n] for p, (_, n) in enumerate(kinds) if n in own}
                    for p, (of, name) in enumerate(kinds):
                        networks, estimate = rated[p]
                        yield {
                            **_identity(arch, networks),
                            "effect": effect,
                            "source": source,
                            "target": target,
                            "of": of,
                            "stratum": name,
                            "share": shares[target][p],
                            **estimate._asdict(),
                        }

    def _rated(
        self, networks: Sequence[JobRecord], quantity: Sampled
    ) -> list[tuple[Sequence[JobRecord], Estimate]]:
        """The networks and the estimate of each of the quantities ``(P,)``."""
        return [(networks, e) for e in quantity.over_seeds(self.seed + 1).estimates()]

    def _strata_of_whole_frames(
        self, jobs: Sequence[JobRecord], source: str, target: str
    ) -> dict[str, _Effect]:
        """In the strata of the target's own truth that have a measure of the whole frame."""
        modality, setups = self.modalities[target], (JOINT, muted(source))
        measures = [modality.measure(name) for name in modality.stratum_measures.values()]

        def performances(statistics: Array) -> Array:
            """``(..., D)`` -> ``(..., strata)``."""
            return np.stack([m.performance(m(statistics)) for m in measures], -1)

        every = Measure("", "", performances, higher_is_better=True, scale=1.0)
        _, a = self.a.of(jobs, MAIN, lambda m, s: m == target and s in setups, every)
        return self._omega_and_gain(jobs, a, source, target, MAIN, every)

    def _omega_and_gain(
        self,
        jobs: Sequence[JobRecord],
        a: ByModalityAndSetup,
        source: str,
        target: str,
        part: str,
        measure: Measure | None = None,
    ) -> dict[str, _Effect]:
        """ω, and gain where there are controls."""
        joint = a[target, JOINT]
        effects: dict[str, _Effect] = {OMEGA: (jobs, joint - a[target, muted(source)])}
        if with_control := self.a.gain(jobs, joint, source, target, part, measure):
            which, gain = with_control
            effects[GAIN] = ([jobs[i] for i in which], gain)
        return effects

    def _kinds(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Which modality's truth tells each stratum, and its name."""
        kinds = [(m, name) for m, modality in self.modalities.items() for name in modality.strata]
        if [name for _, name in kinds] == list(names):
            return kinds
        of = {name: m for m, name in reversed(kinds)}  # a record of other strata than today's
        return [(of.get(name, ""), name) for name in names]

    def _shares(
        self, job: JobRecord, table: StatisticsTable, kinds: Sequence[tuple[str, str]]
    ) -> dict[str, list[float]]:
        """Modality -> share of its pixels in each stratum; NaN without the whole frame."""
        main, shares = self.a.main(job), {}
        for m, modality in self.modalities.items():
            if WHOLE not in main.protocols:
                shares[m] = [np.nan] * len(kinds)
                continue
            whole = main.of(m, JOINT, WHOLE).sum(0)
            others = iter(modality.pixels(table.values[m][:, table.setups.index(JOINT)].sum(0)))
            counts = [
                modality.pixels(whole, name) if name in modality.stratum_measures else next(others)
                for _, name in kinds
            ]
            shares[m] = [float(n / modality.pixels(whole)) for n in counts]
        return shares

    def images(self) -> Iterator[Row]:
        """Every test image by itself."""
        ids, scenes = self.a.reference.ids, self.a.reference.scenes
        for arch, jobs in self.a.groups.items():
            for source, target in self.directions:
                joint, alone = (self._of_images(jobs, target, s) for s in (JOINT, muted(source)))
                gain = np.full(len(ids), np.nan)
                controls = [self.a.control(job, source) for job in jobs]
                if known := [control for control in controls if control]:
                    paired = joint[[control is not None for control in controls]]
                    gain = (paired - self._of_images(known, target, JOINT)).mean(0)
                columns = (ids, scenes, joint.mean(0), (joint - alone).mean(0), gain)
                names = ("id", "scene", "performance", "omega", "gain")
                for row in zip(*columns, strict=True):
                    direction = {"arch": arch, "source": source, "target": target}
                    yield {**direction, **dict(zip(names, row, strict=True))}

    def _of_images(self, jobs: Sequence[JobRecord], target: str, setup: str) -> Array:
        """A of every image alone: ``(K, N)``."""
        measure = self.measures[target]
        statistics = [self.a.main(job).of(target, setup, self.a.protocol) for job in jobs]
        return measure.performance(measure(np.stack(statistics)))

    # -- protocols -----------------------------------------------------------------------------

    def protocols(self) -> Iterator[Row]:
        """Every measure under every crop, convention, ground truth and pooling."""
        part = GRID if self.a.anywhere(GRID) else MAIN
        untouched_is_known = False
        for arch, jobs in self.a.groups.items():
            tables = [t for job in jobs if (t := self.a.table(job, part)) is not None]
            if not tables:
                continue
            if not untouched_is_known:  # the untouched input is the same beside every network
                untouched_is_known = True
                yield from self._measured(UNTOUCHED, UNTOUCHED, tables[:1])
            yield from self._measured(arch, JOINT, tables)

    def _measured(self, arch: str, setup: str, tables: Sequence[StatisticsTable]) -> Iterator[Row]:
        """The rows of one setup, means over the networks."""
        # A crop, of the grid also a convention, and a ground truth where it is an alternative.
        names = [(*name.split("/"), "", "")[:3] for name in tables[0].protocols]
        for m, modality in self.modalities.items():
            # Conventions and ground truths of other modalities repeat the usual rows of this one.
            conventions = ("", USUAL, *modality.conventions)
            truths = ("", *self.truths[m][1:])
            which = [p for p, (_, c, t) in enumerate(names) if c in conventions and t in truths]
            values = [t.values[m][:, t.setups.index(setup)][:, which] for t in tables]
            for measure in modality.measures:
                for pooling in POOLINGS:
                    means = np.mean([pooled(v, measure, pooling) for v in values], axis=0)
                    for p, value in zip(which, means, strict=True):
                        yield {
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

    # -- Figure 8 ------------------------------------------------------------------------------

    def figure_8(self) -> dict[str, pd.DataFrame]:
        """A against ω of every network, of images that share no scene, and their envelope."""
        from jrn_lightning.influence.envelope import envelope

        points = frame("points", self._points())
        lines, peaks = [], []
        for source, target in self.directions:
            direction = {"source": source, "target": target}
            chosen = points[(points["source"] == source) & (points["target"] == target)]
            found = envelope(
                chosen["omega"].to_numpy(float),
                chosen["performance"].to_numpy(float),
                chosen["arch"].tolist(),
                resamples=self.resamples,
                seed=self.seed,
            )
            lines += [
                {**direction, "omega": omega, "value": value, "low": low, "high": high}
                for omega, value, low, high in zip(
                    found.omega, found.value, found.low, found.high, strict=True
                )
            ]
            omega, low, high = found.peak
            peak = {"omega": omega, "low": low, "high": high, "p": found.p}
            peaks.append({**direction, "points": len(chosen), **peak, "verdict": found.verdict})
        return {
            "points": points,
            "envelope": frame("envelope", lines),
            "peaks": frame("peaks", peaks),
        }

    def _points(self) -> Iterator[Row]:
        first = halves(self.a.reference.scenes, self.seed)
        for arch, jobs in self.a.groups.items():
            for job in jobs:
                for source, target in self.directions:
                    omega = self._of_half(job, target, JOINT, ~first)
                    omega -= self._of_half(job, target, muted(source), ~first)
                    yield {
                        **_identity(arch, [job]),
                        "seed": job.seed,
                        "source": source,
                        "target": target,
                        "omega": omega,
                        "performance": self._of_half(job, target, JOINT, first),
                    }

    def _of_half(self, job: JobRecord, target: str, setup: str, half: NDArray[np.bool_]) -> float:
        """A of one network over a half ``(N,)`` of the images."""
        measure = self.measures[target]
        statistics = self.a.main(job).of(target, setup, self.a.protocol)[half]
        return float(measure.performance(pooled(statistics, measure, self.a.pooling)))


def _named(a: ByModalityAndSetup, target: str, prefix: str) -> list[tuple[str, Sampled]]:
    """What follows ``prefix`` in the name of a setup, and A of ``target`` in it."""
    return [
        (setup.removeprefix(prefix), x)
        for (m, setup), x in a.items()
        if m == target and setup.startswith(prefix)
    ]


def _identity(arch: str, jobs: Sequence[JobRecord]) -> Row:
    described = (jobs[0].data or {}).get("arch", {})
    return {"arch": arch, "computation": described.get("computation"), "seeds": len(jobs)}
