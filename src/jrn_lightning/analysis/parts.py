"""The parts of job records beyond the comparison, read when asked for and checked on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jrn_lightning.analysis.collect import Comparison
from jrn_lightning.errors import RecordError
from jrn_lightning.evaluation import StatisticsTable
from jrn_lightning.evaluation.evaluator import MAIN
from jrn_lightning.influence.bootstrap import Array
from jrn_lightning.records.record import JobRecord


class Parts:
    """Reads one part of many records; what is missing, damaged or foreign is named once.

    Only the main part is kept in memory: the others of a large sweep are gigabytes.

    Args:
        comparison: the collected sweep.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self.groups = {
            arch: finished
            for arch, jobs in comparison.groups.items()
            if (finished := [job for job in jobs if job in comparison.finished])
        }
        self.reference = comparison.tables[next(iter(self.groups.values()))[0].folder]
        self.problems: list[str] = []
        self._shapes: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def control(self, job: JobRecord, source: str) -> JobRecord | None:
        """The network like that of ``job`` that never saw ``source``."""
        return self._comparison.control(job, [source])

    def anywhere(self, part: str) -> bool:
        """Whether any joint network has a part."""
        return any(job.has(part) for jobs in self.groups.values() for job in jobs)

    def setups(self, part: str) -> tuple[str, ...]:
        """The setups of a part of which a table has been read."""
        return self._shapes[part][0]

    def protocols(self, part: str) -> tuple[str, ...]:
        """Its protocols, or strata."""
        return self._shapes[part][1]

    def table(self, job: JobRecord, part: str = MAIN) -> StatisticsTable | None:
        """One part of one record; None, and a problem, where there is none to be used."""
        if part == MAIN:
            return self._comparison.tables[job.folder]
        try:
            return self._read(job, part)
        except RecordError as error:
            problem = f"{job.folder}: left out of the {part}: {error}"
            if problem not in self.problems:
                self.problems.append(problem)
            return None

    def _read(self, job: JobRecord, part: str) -> StatisticsTable:
        if not job.has(part):
            raise RecordError("it holds none")
        table = job.statistics(part)
        if (table.ids, list(table.modalities)) != (
            self.reference.ids,
            list(self.reference.modalities),
        ):
            raise RecordError(f"{part}.h5 is of other frames or modalities")
        setups, protocols = self._shapes.setdefault(part, (table.setups, table.protocols))
        # A control has fewer setups: its own input is never muted.
        unlike = not set(table.setups) <= set(setups) if job.muted else table.setups != setups
        if unlike or table.protocols != protocols:
            raise RecordError(f"{part}.h5 holds other setups or protocols than those before it")
        return table

    def stacked(
        self,
        jobs: Sequence[JobRecord],
        part: str,
        of: Callable[[StatisticsTable], dict[str, Array]],
    ) -> tuple[list[JobRecord], dict[str, Array]]:
        """What is needed of a part, of all jobs that have it.

        Args:
            jobs: networks.
            part: which one.
            of: what to keep of a table: name -> array.

        Returns:
            The jobs that have it, and name -> array with one more axis in front.
        """
        kept, arrays = [], []
        for job in jobs:
            table = self.table(job, part)
            if table is not None:
                kept.append(job)
                arrays.append(of(table))
        names = arrays[0] if arrays else {}
        return kept, {name: np.stack([a[name] for a in arrays]) for name in names}
