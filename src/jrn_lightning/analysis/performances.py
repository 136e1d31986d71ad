"""The performance A of the networks of a sweep, on the same resamples of the test images.

Letters in shape comments: K networks (seeds) of an architecture, N images, S setups, P protocols or
strata, D statistics, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jrn_lightning.analysis.collect import Records
from jrn_lightning.errors import RecordError
from jrn_lightning.evaluation import StatisticsTable
from jrn_lightning.evaluation.evaluator import STRATA, rung
from jrn_lightning.influence import Bootstrap, Sampled
from jrn_lightning.influence.bootstrap import Array
from jrn_lightning.keys import IMAGES, JOINT, MAIN, UNTOUCHED, muted
from jrn_lightning.modalities import Measure
from jrn_lightning.records.record import JobRecord

#: modality and setup -> its A under one protocol, or ``(P,)`` in each stratum
ByModalityAndSetup = dict[tuple[str, str], Sampled]


class Performances:
    """Reads the parts of job records when asked for, and resamples A.

    A part that is missing, damaged or of other frames is named once in ``problems``. Only the main
    part is kept in memory: the others of a large sweep are gigabytes.

    Args:
        records: with a finished job.
        protocol: under which A is measured, but for that in strata.
        pooling: ``pixels`` or ``images``.
        resamples: R.
        seed: of the bootstrap.
    """

    def __init__(
        self, records: Records, protocol: str, pooling: str, resamples: int, seed: int
    ) -> None:
        self._records = records
        self.protocol = protocol
        self.pooling = pooling
        self.groups = {
            arch: finished
            for arch, jobs in records.groups.items()
            if (finished := [job for job in jobs if job in records.finished])
        }
        self.reference = self.main(next(iter(self.groups.values()))[0])
        self.modalities = self.reference.modalities
        self.measures = {m: x.measure(x.primary) for m, x in self.modalities.items()}
        self.draw = Bootstrap.draw(self.reference.scenes, resamples, seed)
        self.problems: list[str] = []
        self._shapes: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    # -- tables --------------------------------------------------------------------------------

    def control(self, job: JobRecord, source: str) -> JobRecord | None:
        """The network like that of ``job`` that never saw ``source``.

        One that ran in another precision or on another kind of device is none: its difference would
        be of the arithmetic too.
        """
        found = self._records.control(job, [source])
        if found is None or found.arithmetic == job.arithmetic:
            return found
        self._problem(
            f"{found.folder} is no control of {job.folder}: it ran in {found.arithmetic}, that in "
            f"{job.arithmetic}"
        )
        return None

    def anywhere(self, part: str) -> bool:
        """Whether any joint network has a part."""
        return any(job.has(part) for jobs in self.groups.values() for job in jobs)

    def main(self, job: JobRecord) -> StatisticsTable:
        """The main part of a finished job."""
        return self._records.tables[job.folder]

    def table(self, job: JobRecord, part: str) -> StatisticsTable | None:
        """One part of one record; None, and a problem, where there is none to be used."""
        if part == MAIN:
            return self.main(job)
        try:
            return self._read(job, part)
        except RecordError as error:
            self._problem(f"{job.folder}: left out of the {part}: {error}")
            return None

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def _read(self, job: JobRecord, part: str) -> StatisticsTable:
        if not job.has(part):
            raise RecordError("it holds none")
        table, reference = job.statistics(part), self.reference
        if (table.ids, [*table.modalities]) != (reference.ids, [*reference.modalities]):
            raise RecordError(f"{part}.h5 is of other frames or modalities")
        setups, protocols = self._shapes.setdefault(part, (table.setups, table.protocols))
        # A control has fewer setups: its own input is never muted.
        unlike = not set(table.setups) <= set(setups) if job.muted else table.setups != setups
        if unlike or table.protocols != protocols:
            raise RecordError(f"{part}.h5 holds other setups or protocols than those before it")
        return table

    # -- A -------------------------------------------------------------------------------------

    def of(
        self,
        jobs: Sequence[JobRecord],
        part: str = MAIN,
        needed: Callable[[str, str], bool] = lambda target, setup: True,
        measure: Measure | None = None,
    ) -> tuple[list[JobRecord], ByModalityAndSetup]:
        """The networks that have a part, and their A in the setups that are ``needed``.

        Args:
            jobs: networks.
            part: of their records.
            needed: modality and setup -> whether to read it.
            measure: whose A it is; by default each modality's primary one.
        """
        kept: list[JobRecord] = []
        stacks: dict[str, list[Array]] = {}
        setups: dict[str, list[str]] = {}
        for job in jobs:
            table = self.table(job, part)
            if table is None:
                continue
            kept.append(job)
            p = slice(None) if part == STRATA else table.protocols.index(self.protocol)
            for m, values in table.values.items():
                setups[m] = [s for s in table.setups if needed(m, s)]
                if setups[m]:
                    rows = [table.setups.index(s) for s in setups[m]]
                    stacks.setdefault(m, []).append(values[:, rows][:, :, p])
        a: ByModalityAndSetup = {}
        for m, arrays in stacks.items():
            of = measure or self.measures[m]
            sampled = Sampled.of(np.stack(arrays), of, self.draw, self.pooling == IMAGES)
            sampled = sampled.map(of.performance)
            a |= {(m, setup): sampled[s] for s, setup in enumerate(setups[m])}
        return kept, a

    def each(self, part: str) -> Iterator[tuple[str, list[JobRecord], ByModalityAndSetup]]:
        """Of each architecture that has a part: the networks, and their A with others muted."""

        def of_another(target: str, setup: str) -> bool:
            return setup != UNTOUCHED and not setup.startswith((muted(target), rung(target, "")))

        for arch, jobs in self.groups.items() if self.anywhere(part) else ():
            kept, a = self.of(jobs, part, of_another)
            if kept:
                yield arch, kept, a

    def gain(
        self,
        jobs: Sequence[JobRecord],
        joint: Sampled,
        source: str,
        target: str,
        part: str = MAIN,
        measure: Measure | None = None,
    ) -> tuple[list[int], Sampled] | None:
        """A of K ``joint`` networks less that of their controls, which never saw ``source``.

        Returns:
            Which of the networks have a control, and the gain of these; None where none has.
        """
        places = {c.name: i for i, job in enumerate(jobs) if (c := self.control(job, source))}
        controls = [c for job in jobs if (c := self.control(job, source))]
        kept, a = self.of(controls, part, lambda m, setup: (m, setup) == (target, JOINT), measure)
        if not kept:
            return None
        which = [places[control.name] for control in kept]
        return which, joint.networks(which) - a[target, JOINT]
