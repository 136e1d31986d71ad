"""One object for all that a sweep says: words, data frames, figures and example maps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path

import pandas as pd

from jrn_lightning import keys
from jrn_lightning.analysis.analyse import analyse
from jrn_lightning.analysis.collect import Records, collect
from jrn_lightning.analysis.findings import Findings, select
from jrn_lightning.analysis.summary import Summary, summarize
from jrn_lightning.errors import ConfigError
from jrn_lightning.report import tables
from jrn_lightning.report.answer import ANSWER, Answer, answer
from jrn_lightning.report.examples import gallery
from jrn_lightning.report.gallery import Gallery, Pick, picks
from jrn_lightning.report.maps import panel
from jrn_lightning.report.sections import NAMES, Figures, Plot, sections

_MOST = 6  # architectures whose maps are shown


def _frame(name: str, about: str) -> property:
    """The frame of the findings that is called ``name``."""
    return property(lambda sweep: getattr(sweep.findings, name), doc=about)


class Sweep:
    """What the records of a sweep say; each part is read or computed when it is first asked for.

    The terminal (``jrn report``), the page and W&B show the same. Every interval is of 95 %, by the
    paired bootstrap; every effect is in units of the performance A of its target's primary measure,
    so that positive is good. What was not measured is an empty frame, with its columns.

    Args:
        folder: of the sweep, as ``runs/nyu``.
        protocol: crop of all numbers; by default the first that the jobs evaluated.
        pooling: ``pixels``, pooled over the test set, or ``images``, averaged over images.
        published: whether to set the paper's rows beside; by default where the data is NYU.

    Raises:
        RecordError: on first use: no such folder, no job in it, no such protocol or pooling.

    Example::

        from jrn_lightning import Sweep

        sweep = Sweep("runs/nyu")
        print(sweep.answer)
        sweep.effects.query("effect == 'gain'")
        sweep.plot("influence")["depth->semantic"].savefig("influence.png")
        sweep.panel("0345")
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        protocol: str | None = None,
        pooling: str = keys.PIXELS,
        published: bool | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._protocol, self._pooling, self._published = protocol, pooling, published

    # -- words ---------------------------------------------------------------------------------

    @cached_property
    def answer(self) -> Answer:
        """Sentences on who helps whom, by how much, how sure that is, and what to run next."""
        return answer(self._known)

    @property
    def problems(self) -> tuple[str, ...]:
        """Records that were left out, and why."""
        return self._known.problems

    @property
    def _known(self) -> Findings:
        """At least what the answer is made of: all frames may take ten times as long."""
        return vars(self).get("findings") or self._answering

    @cached_property
    def _answering(self) -> Findings:
        return analyse(self.records, self.summary, frames=ANSWER)

    def __repr__(self) -> str:
        return f"Sweep({str(self.folder)!r})"

    def _repr_markdown_(self) -> str:
        return f"{self.answer._repr_markdown_()}\n\n{tables.markdown(self.summary)}"

    # -- data frames ---------------------------------------------------------------------------

    @property
    def comparison(self) -> pd.DataFrame:
        """Every measure, a row for the untouched input, each architecture and each job.

        Published rows follow. Unrounded, accuracies as fractions; ``kind`` says what a row is.
        """
        return tables.frame(self.summary)

    effects = _frame(
        "effects", "Improvement, ω, gain and breakage of each architecture, with p-values."
    )
    differences = _frame("differences", "First - second of each pair of architectures, with p.")
    mute_values = _frame("mute_values", "ω by what a muted input is replaced with.")
    strata = _frame("strata", "ω and gain by kind of pixel (class, distance, edge).")
    ladder = _frame("ladder", "A as one input goes from its truth to nothing.")
    images = _frame("images", "A, ω and gain of every test image alone.")
    protocols = _frame("protocols", "Every measure under every protocol.")
    points = _frame("points", "A and ω of every trained network, as in Figure 8.")
    envelope = _frame("envelope", "The upper concave envelope through the points, as in Figure 8.")
    peaks = _frame("peaks", "The ω that serves best, if there is one.")

    # -- figures -------------------------------------------------------------------------------

    def plot(self, name: str) -> Figures:
        """The figures of one section of the report, one for each direction of influence.

        Args:
            name: ``influence``, ``gain``, ``mute-values``, ``curve``, ``strata``, ``ladder`` or
                ``differences``.

        Returns:
            Figures, by position or by name such as ``depth->semantic``; none, and what would fill
            the section, where it was not measured.

        Raises:
            ConfigError: another name.
        """
        if name not in NAMES:
            raise ConfigError(f"no figure {name!r}: choose from {', '.join(NAMES)}.")
        return next(s.figures for s in sections(self.findings) if s.id == name)

    def panel(self, *frames: str) -> Figures:
        """Image, truth, and the maps and errors of every architecture, a figure a frame.

        The networks run again, from the first finished seed's checkpoint and the cache.

        Args:
            frames: names of test frames; by default those on which influence is largest, smallest
                and median.

        Returns:
            Figures, by position or by the name of a frame; none, and why, where the cache or the
            checkpoints are gone.

        Raises:
            ConfigError: no such frame; similar names are listed.
        """
        shown = self.gallery(*frames)
        plots = [
            Plot(
                f"frame/{frame.id}",
                frame.note,
                partial(panel, [frame], shown.modalities, errors=[keys.UNTOUCHED, *shown.archs]),
            )
            for frame in shown.frames
        ]
        return Figures(plots, shown.note)

    def gallery(self, *frames: str, advance: Callable[[float], object] = lambda _: None) -> Gallery:
        """The maps behind :meth:`panel`; ``advance`` is called with 1 after each network."""
        for name in frames:
            if name not in (ids := next(iter(self.records.tables.values())).ids):
                some = ", ".join(get_close_matches(name, ids, n=6, cutoff=0.5) or ids[:6])
                raise ConfigError(
                    f"{self.folder} has no test frame {name!r}. Choose from its {len(ids)}, such "
                    f"as {some}."
                )
        chosen = [Pick(name, "") for name in frames] or picks(self.images)
        # An example that speaks of two architectures has to show both.
        named = [arch for pick in chosen for arch in pick.archs]
        first = set(list(dict.fromkeys([*named, *self.architectures]))[:_MOST])
        archs = [arch for arch in self.architectures if arch in first]
        return gallery(self.records, chosen, archs, advance)

    # -- what it is made of --------------------------------------------------------------------

    def only(self, *architectures: str) -> Sweep:
        """The same with these architectures alone, but for the answer, which stays that of all.

        Raises:
            ConfigError: an architecture that the sweep does not have.
        """
        chosen = copy.copy(self)
        chosen.answer, chosen.findings = self.answer, select(self.findings, architectures)
        chosen.summary = chosen.findings.summary
        return chosen

    @property
    def architectures(self) -> list[str]:
        """Names of the architectures."""
        return [str(a) for a in self.summary.architectures["arch"] if a != keys.UNTOUCHED]

    @cached_property
    def records(self) -> Records:
        """Every job with its status, results and statistics per image."""
        return collect(self.folder)

    @cached_property
    def summary(self) -> Summary:
        """The comparison with what its columns mean (modalities, measures, directions)."""
        known = [p for job in self.records.finished for p in (job.data or {})["protocols"]]
        return summarize(
            self.records,
            protocol=self._protocol or next(iter(known), keys.WHOLE),
            pooling=self._pooling,
            with_published=self._published,
        )

    @cached_property
    def findings(self) -> Findings:
        """All data frames at once."""
        return analyse(self.records, self.summary)
