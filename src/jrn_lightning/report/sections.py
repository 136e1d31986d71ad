"""What a report shows of a sweep, section by section: the same on a page, in a notebook, in W&B."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from jrn_lightning.analysis.findings import GAIN, OMEGA, PERFORMANCE, Findings
from jrn_lightning.analysis.summary import MeasureColumn
from jrn_lightning.files import replacing
from jrn_lightning.report import effects as draw
from jrn_lightning.report import listing
from jrn_lightning.report.figures import influence_figure, input_performance
from jrn_lightning.report.files import writing
from jrn_lightning.report.style import MANY
from jrn_lightning.report.table import Row, Table


class Plot(NamedTuple):
    """One figure: what it is called, a sentence on what to see in it, and how it is drawn."""

    name: str
    see: str
    draw: Callable[[], Figure]


class Figures:
    """Some figures, each drawn when it is first asked for; a notebook shows all of them.

    A sequence of matplotlib figures, which a name finds, too: ``figures["depth->semantic"]``.

    Args:
        plots: what to draw.
        note: what to know before looking, or why there are none.
    """

    def __init__(self, plots: Iterable[Plot], note: str = "") -> None:
        self.plots = tuple(plots)
        self.note = note
        self._drawn: dict[int, Figure] = {}

    @property
    def names(self) -> list[str]:
        """Of the figures, such as ``depth->semantic``."""
        return [plot.name.partition("/")[2] for plot in self.plots]

    def __len__(self) -> int:
        return len(self.plots)

    def __getitem__(self, which: int | str) -> Figure:
        """The figure at a position, or of a name.

        Raises:
            KeyError: no figure of that name; the names are listed.
            IndexError: no figure at that position.
        """
        if isinstance(which, str) and which not in self.names:
            raise KeyError(f"no figure {which!r}: choose from {', '.join(self.names)}")
        k = self.names.index(which) if isinstance(which, str) else range(len(self))[which]
        if k not in self._drawn:
            self._drawn[k] = self.plots[k].draw()
        return self._drawn[k]

    def save(self, folder: Path | str) -> list[Path]:
        """Write each figure as a PNG file of its own into ``folder``.

        Raises:
            RecordError: ``folder`` cannot be written to.
        """
        paths = []
        with writing(Path(folder), "the figures"):
            for k, plot in enumerate(self.plots):
                name = plot.name.replace("/->", "_").replace("/", "_").replace("->", "_to_")
                paths.append(Path(folder) / f"{name}.png")
                with replacing(paths[-1]) as temporary:
                    self[k].savefig(temporary, format="png")
        return paths

    def __repr__(self) -> str:
        return f"<{len(self)} figures: {', '.join(self.names)}>" if self.plots else self.note

    def _repr_html_(self) -> str:
        parts = [f"<p>{escape(self.note)}</p>"] if self.note else []
        for k, plot in enumerate(self.plots):
            written = io.BytesIO()
            self[k].savefig(written, format="png", dpi=100)
            data = base64.b64encode(written.getvalue()).decode()
            parts.append(f'<img alt="{escape(plot.name)}" src="data:image/png;base64,{data}">')
            parts.append(f"<p>{escape(plot.see)}</p>" if plot.see else "")
        return "\n".join(parts)


@dataclass(frozen=True)
class Section:
    """One section of a report.

    Args:
        id: its anchor, and what :meth:`~jrn_lightning.report.sweep.Sweep.plot` calls it.
        title: its heading.
        intro: what it is about.
        figures: of it.
        tables: below them.
        command: what fills it, where there is nothing to show.
    """

    id: str
    title: str
    intro: str
    figures: Figures
    tables: tuple[Table, ...]
    command: str


@dataclass(frozen=True)
class _Plan:
    """How a section is made.

    Args:
        id: of the section.
        title: of the section.
        intro: of the section.
        command: what to run where there is nothing to show.
        frame: name of the frame of the findings that it shows, which also begins the figures'
            names; nothing for the comparison.
        see: what to see in a figure of ``{source}`` and ``{target}``.
        draw: the figure of one direction, of the findings, some rows of the frame, source, target
            and the measure of the target.
        tables: below the figures.
    """

    id: str
    title: str
    intro: str
    command: str
    frame: str = ""
    see: str = ""
    draw: Callable[[Findings, pd.DataFrame, str, str, MeasureColumn], Figure] | None = None
    tables: Callable[[Findings], Iterator[Table]] = lambda _: iter(())


_PLANS = (
    _Plan(
        "influence",
        "Influence against performance",
        "Figure 7 of the paper. A cross spans the 95 % intervals of ω and of the improvement over "
        "the untouched input.",
        "python run.py -m arch=cat60,sum60,cat10,cat5,cat1",
        see="The further to the right, the more {target} depends on {source}; above the dashed "
        "line it is better than before refinement.",
        draw=lambda f, _, source, target, __: influence_figure(f.summary, source, target),
    ),
    _Plan(
        "gain",
        "Gain and breakage",
        "ω = gain + breakage. Gain is what the other modality adds: the network against one that "
        "was trained without it. Breakage is what muting destroys in a network that has never seen "
        "a muted input. p is corrected by Holm's method.",
        "python run.py -m experiment=gain …",
        "effects",
        "The blue part is what {source} adds to {target}, to the left of 0 what it costs; the "
        "hatched part is damage by muting and no help.",
        lambda _, rows, *way: draw.decomposition(rows, *way),
        lambda f: listing.effects(f, p=True),
    ),
    _Plan(
        "mute-values",
        "What is put in place of a muted input",
        "ω depends on what a muted input is replaced with. Zeros are what no network has seen; the "
        "mean map and another image's map are closer to what it was trained on.",
        "python run.py -m experiment=mute-values …",
        "mute_values",
        "Where {target} needs {source}, every marker is to the right of 0; where they lie far "
        "apart, ω measures the replacement more than {source}.",
        lambda _, rows, *way: draw.mute_values(rows, *way),
    ),
    _Plan(
        "curve",
        "Is there a best influence?",
        "Figure 8 of the paper. Every point is a trained network: A of one half of the images, ω "
        "of the other, so that they share no sample.",
        "python run.py -m experiment=width-sweep …",
        "points",
        "If some influence of {source} served {target} best, the envelope would rise and fall "
        "again.",
        lambda f, rows, *way: draw.envelope(rows, f.envelope, f.peaks, *way),
        lambda f: _peaks(f),
    ),
    _Plan(
        "strata",
        "Where it helps",
        "The same effects of the pixels of one kind only: by class, by distance, at edges and away "
        "from them; a class of the predicted modality itself by its IoU of all pixels. "
        "The number beside a kind is its share of the pixels.",
        "python run.py -m … evaluation.strata=true",
        "strata",
        "To the right of 0, {source} helps {target} (gain) or is used for it (ω) on pixels of that "
        "kind.",
        lambda _, rows, *way: draw.strata(_few(rows), *way),
    ),
    _Plan(
        "ladder",
        "Dose and response",
        "The other modality from its ground truth through the prediction, through predictions "
        "blended with noise, to nothing.",
        "python run.py -m experiment=oracle-ladder …",
        "ladder",
        "From the prediction to the left: what a better {source} could still win for {target}; to "
        "the right: what a worse one costs.",
        lambda f, rows, source, target, column: draw.ladder(
            _few(rows),
            source,
            target,
            column,
            untouched=input_performance(f.summary.architectures, column),
        ),
    ),
    _Plan(
        "differences",
        "Which architectures differ",
        "Every pair of architectures, on the same frames and seeds.",
        "python run.py -m arch=cat60,sum60 seed=0,1,2 …",
        "differences",
        "Purple: the architecture of the row is probably above that of the column; orange: below.",
        tables=listing.differences,
    ),
    _Plan(
        "protocols",
        "Which protocol a number comes from",
        "Every measure under every crop, convention, ground truth and pooling, from the same "
        "outputs.",
        "python run.py -m … evaluation.grid=true",
        "protocols",
        tables=lambda f: (
            table
            for arch in dict.fromkeys(f.protocols["arch"])
            for table in listing.protocol_tables(f, str(arch))
        ),
    ),
)

#: sections that have figures
NAMES = tuple(plan.id for plan in _PLANS if plan.see)


def sections(findings: Findings) -> Iterator[Section]:
    """The sections, in their order; those without data say what would fill them."""
    for plan in _PLANS:
        rows = getattr(findings, plan.frame) if plan.frame else findings.summary.directions
        intro = plan.intro + _further(findings, plan.id)
        plots = _matrices if plan.id == "differences" else _plots
        note = intro if len(rows) else f"{plan.title}: not measured. {plan.command} fills it."
        figures = Figures(plots(findings, plan) if len(rows) else (), note)
        yield Section(
            plan.id,
            plan.title,
            intro,
            figures,
            tuple(plan.tables(findings)),
            command="" if len(rows) else plan.command,
        )


def _further(findings: Findings, section: str) -> str:
    """What else a section's introduction has to say about this sweep."""
    if section == "gain" and not (findings.effects["effect"] == GAIN).any():
        return (
            " Networks trained without one modality tell the two apart: "
            "python run.py -m experiment=gain …"
        )
    if section == "differences" and findings.summary.one_seed:
        return " With one seed each, this holds for these networks only."
    if section in ("strata", "ladder"):
        count = getattr(findings, section)["arch"].nunique()
        if count > MANY:
            return f" The first {MANY} of {count} architectures are drawn."
    return ""


def _plots(findings: Findings, plan: _Plan) -> Iterator[Plot]:
    """A figure for each direction that the section's frame has rows of."""
    if plan.draw is None:
        return
    primary = findings.summary.primary
    rows = getattr(findings, plan.frame) if plan.frame else pd.DataFrame()
    known = set(findings.summary.directions)
    if plan.frame:
        known = set(zip(rows["source"], rows["target"], strict=True))
    see = plan.see
    if plan.id == "gain" and not (rows["effect"] == GAIN).any():
        see = "The further to the right of 0, the more {target} depends on {source}."
    if plan.id == "gain" and len(primary) > 2:
        about = "To the right of 0 the modality of the row helps to predict that of the panel."
        yield Plot("effects/all", about, partial(draw.helps, rows, primary))
    for source, target in product(primary, primary):
        if (source, target) in known:
            yield Plot(
                f"{plan.frame or plan.id}/{source}->{target}",
                see.format(source=source, target=target),
                partial(plan.draw, findings, rows, source, target, primary[target]),
            )


def _matrices(findings: Findings, plan: _Plan) -> Iterator[Plot]:
    """A matrix for each effect and direction, performance first, unless there are too many."""
    order = {PERFORMANCE: 0, OMEGA: 1, GAIN: 2}
    known = findings.differences
    groups = known[["effect", "source", "target"]].drop_duplicates().to_numpy().tolist()
    if findings.summary.architectures["arch"].nunique() > MANY + 1:
        return
    for way in sorted(groups, key=lambda group: order.get(group[0], 3)):
        name = "differences/{}/{}->{}".format(*way)
        yield Plot(name, plan.see, partial(draw.matrix, known, *way))


def _peaks(findings: Findings) -> Iterator[Table]:
    rows = [
        Row([f"{r['source']} → {r['target']}", f"{r['points']:.0f}", str(r["verdict"])])
        for _, r in findings.peaks.iterrows()
    ]
    if rows:
        heads = ["influence", "networks", "what the envelope says"]
        yield Table("The best influence", heads, rows)


def _few(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with no more architectures than can be told apart."""
    return frame[frame["arch"].isin(list(dict.fromkeys(frame["arch"]))[:MANY])]


def write_figures(findings: Findings, folder: Path) -> list[Path]:
    """Every figure of every section as a PNG file of its own in ``folder``.

    Raises:
        RecordError: ``folder`` cannot be written to.
    """
    return [path for section in sections(findings) for path in section.figures.save(folder)]
