"""A sweep as one page: tables, figures and example frames in a single HTML file.

Nothing is loaded from anywhere: styles, script and pictures are in the file, and its content
security policy forbids everything else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from itertools import product
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from jrn_lightning import keys
from jrn_lightning.analysis.findings import GAIN, OMEGA, PERFORMANCE, Findings
from jrn_lightning.analysis.summary import MeasureColumn
from jrn_lightning.files import replacing
from jrn_lightning.report import effects as draw
from jrn_lightning.report import listing, tables
from jrn_lightning.report.answer import NOTE
from jrn_lightning.report.figures import influence_figure, input_performance
from jrn_lightning.report.files import writing
from jrn_lightning.report.gallery import Gallery
from jrn_lightning.report.maps import Tile, data_uri, key, tiles, with_unit
from jrn_lightning.report.style import MANY
from jrn_lightning.report.table import Row, Table, signs
from jrn_lightning.report.vector import svg

NAME = "report.html"


@dataclass(frozen=True)
class Plot:
    """One figure, what it is called on the page, and how it is read aloud."""

    name: str
    alt: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """One chapter of the page.

    Args:
        id: its anchor.
        title: its heading.
        intro: how to read it.
        plots: drawn when they are asked for.
        tables: below them.
        empty: what to run where there is nothing to show; the section is then this line.
    """

    id: str
    title: str
    intro: str
    plots: Callable[[], Iterator[Plot]] = lambda: iter(())
    tables: tuple[Table, ...] = ()
    empty: str = ""


def page(
    findings: Findings,
    *,
    answer: Sequence[str] = (),
    gallery: Gallery | None = None,
    provenance: Sequence[tuple[str, str]] = (),
    advance: Callable[[float], object] = lambda _: None,
) -> str:
    """The page of a sweep, as HTML.

    Args:
        findings: what was found.
        answer: sentences that stand above everything.
        gallery: example frames; without them the page says why.
        provenance: label and text of where the numbers come from.
        advance: called with 1 after each figure.
    """
    summary = findings.summary
    folder = resources.files(__package__).joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["signs"] = signs
    environment.filters["uri"] = lambda picture: Markup(data_uri(picture))
    script = folder.joinpath("page.js").read_text("utf-8")

    def drawn(section: Section) -> list[Markup]:
        result = []
        for plot in section.plots():
            result.append(Markup(svg(plot.figure, plot.name, plot.alt)))
            advance(1)
        return result

    archs = [str(a) for a in summary.architectures["arch"] if a != keys.UNTOUCHED]
    shown = gallery or Gallery(note="No maps were asked for.")
    return environment.get_template("page.html").render(
        summary=summary,
        archs=[(a, _computation(findings, a)) for a in archs],
        question=_question(findings),
        answer=answer,
        note=NOTE,
        performance=tables.comparison(summary, lambda c: c.in_table) if summary.columns else [],
        classes=[
            tables.measures(summary, m, others)
            for m, columns in summary.columns.items()
            if (others := [c for c in columns if not c.in_table])
        ],
        notes=tables.notes(summary),
        sections=[(section, drawn(section)) for section in sections(findings)],
        gallery=shown,
        keys=[key(modality) for modality in shown.modalities.values()],
        tiles=tiles,
        Tile=Tile,
        with_unit=with_unit,
        extremes=list(listing.frames(findings)),
        provenance=provenance,
        problems=list(dict.fromkeys(findings.problems)),
        untouched=keys.UNTOUCHED,
        style=Markup(folder.joinpath("page.css").read_text("utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _computation(findings: Findings, arch: str) -> str:
    table = findings.summary.architectures
    found = table.loc[table["arch"] == arch, "computation"] if "computation" in table else ()
    value = next(iter(found), None)
    return value if value in ("loose", "coupled") else "other"


def _question(findings: Findings) -> str:
    names = list(findings.summary.columns)
    pair = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "one modality"
    return (
        f"{pair[:1].upper()}{pair[1:]} are predicted from the same images and refined together. "
        "Does one help to predict the other, in which direction, by how much, how sure is that, "
        "and under which fusion architecture?"
    )


@dataclass(frozen=True)
class _Chapter:
    """How a section is made.

    Args:
        id: of the section.
        title: of the section.
        intro: of the section.
        command: what to run where there is nothing to show.
        frame: name of the frame of the findings that it shows, which also begins the figures'
            names; nothing for the comparison.
        alt: how a figure is read aloud.
        draw: the figure of one direction, of the findings, some rows of the frame, source, target
            and the measure of the target.
        tables: below the figures.
    """

    id: str
    title: str
    intro: str
    command: str
    frame: str = ""
    alt: str = ""
    draw: Callable[[Findings, pd.DataFrame, str, str, MeasureColumn], Figure] | None = None
    tables: Callable[[Findings], Iterator[Table]] = lambda _: iter(())


_CHAPTERS = (
    _Chapter(
        "influence",
        "Influence against performance",
        "Figure 7. To the right: more influence, to the top: better. Crosses are 95 % intervals "
        "of ω and of the improvement over the untouched input; small dots are single seeds, hollow "
        "points are published.",
        "python run.py -m arch=cat60,sum60,cat10,cat5,cat1",
        alt="Performance on {target} against the influence of {source}; see Table I",
        draw=lambda f, _, source, target, __: influence_figure(f.summary, source, target),
    ),
    _Chapter(
        "gain",
        "Gain and breakage",
        "ω = gain + breakage. Gain is what the other modality really adds: the joint network "
        "against one that was trained without it. Breakage is what muting destroys in a network "
        "that has never seen a muted input. p is corrected by Holm's method.",
        "python run.py -m experiment=gain …",
        "effects",
        "ω of {source} on {target} per architecture, split into gain and breakage; the table "
        "below has the numbers",
        lambda _, rows, *way: draw.decomposition(rows, *way),
        lambda f: listing.effects(f, p=True),
    ),
    _Chapter(
        "mute-values",
        "What is put in place of a muted input",
        "ω depends on what a muted input is replaced with. Zeros are what no network has seen; the "
        "mean map and another image's map are closer to what it was trained on.",
        "python run.py -m experiment=mute-values …",
        "mute_values",
        "ω of {source} on {target} with every mute value, per architecture",
        lambda _, rows, *way: draw.mute_values(rows, *way),
    ),
    _Chapter(
        "curve",
        "Is there a best influence?",
        "Figure 8. Every point is a trained network: A of one half of the images, ω of the other, "
        "so that they share no sample. An interior maximum of the envelope would be an influence "
        "that serves best.",
        "python run.py -m experiment=width-sweep …",
        "points",
        "Performance on {target} against the influence of {source}, a point per network, with "
        "their upper concave envelope",
        lambda f, rows, *way: draw.envelope(rows, f.envelope, f.peaks, *way),
        lambda f: _peaks(f),
    ),
    _Chapter(
        "strata",
        "Where it helps",
        "The same effects of the pixels of one kind only: by class, by distance, at edges and away "
        "from them; a class of the predicted modality itself by its IoU of all pixels. "
        "The number beside a kind is its share of the pixels.",
        "python run.py -m … evaluation.strata=true",
        "strata",
        "Gain and ω of {source} on {target} by kind of pixel",
        lambda _, rows, *way: draw.strata(_few(rows), *way),
    ),
    _Chapter(
        "ladder",
        "Dose and response",
        "The other modality from its ground truth through the prediction, through predictions "
        "blended with noise, to nothing: how much there is to win at all, and how fast it is lost.",
        "python run.py -m experiment=oracle-ladder …",
        "ladder",
        "Performance on {target} as {source} goes from its truth to nothing",
        lambda f, rows, source, target, column: draw.ladder(
            _few(rows),
            source,
            target,
            column,
            untouched=input_performance(f.summary.architectures, column),
        ),
    ),
    _Chapter(
        "differences",
        "Which architectures can be told apart",
        "How probable it is that the architecture of the row is above that of the column, and "
        "below it by how much; bold where p is below 0.05 after Holm's correction.",
        "python run.py -m arch=cat60,sum60 seed=0,1,2 …",
        "differences",
        tables=listing.differences,
    ),
    _Chapter(
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


def sections(findings: Findings) -> Iterator[Section]:
    """The chapters of figures, in their order; those without data say what would fill them."""
    for chapter in _CHAPTERS:
        frame = getattr(findings, chapter.frame) if chapter.frame else findings.summary.directions
        yield Section(
            chapter.id,
            chapter.title,
            chapter.intro + _further(findings, chapter.id),
            partial(_matrices if chapter.id == "differences" else _plots, findings, chapter),
            tuple(chapter.tables(findings)),
            empty="" if len(frame) else chapter.command,
        )


def _further(findings: Findings, chapter: str) -> str:
    """What else a chapter's introduction has to say about this sweep."""
    if chapter == "gain" and not (findings.effects["effect"] == GAIN).any():
        return (
            " Networks trained without one modality tell the two apart: "
            "python run.py -m experiment=gain …"
        )
    if chapter == "differences" and findings.summary.one_seed:
        return " With one seed each, this holds for these networks only."
    if chapter in ("strata", "ladder"):
        count = getattr(findings, chapter)["arch"].nunique()
        if count > MANY:
            return f" The first {MANY} of {count} architectures are drawn."
    return ""


def _plots(findings: Findings, chapter: _Chapter) -> Iterator[Plot]:
    """A figure for each direction that the chapter's frame has rows of."""
    if chapter.draw is None:
        return
    primary = findings.summary.primary
    rows = getattr(findings, chapter.frame) if chapter.frame else pd.DataFrame()
    known = set(findings.summary.directions)
    if chapter.frame:
        known = set(zip(rows["source"], rows["target"], strict=True))
    for way in product(primary, primary):
        if way in known:
            figure = chapter.draw(findings, rows, *way, primary[way[1]])
            alt = chapter.alt.format(source=way[0], target=way[1])
            yield Plot(f"{chapter.frame or chapter.id}/{way[0]}->{way[1]}", alt, figure)


def _matrices(findings: Findings, _: _Chapter) -> Iterator[Plot]:
    """A matrix for each effect and direction, performance first, unless there are too many."""
    order = {PERFORMANCE: 0, OMEGA: 1, GAIN: 2}
    known = findings.differences
    groups = known[["effect", "source", "target"]].drop_duplicates().to_numpy().tolist()
    if findings.summary.architectures["arch"].nunique() > MANY + 1:
        return
    for effect, source, target in sorted(groups, key=lambda group: order.get(group[0], 3)):
        alt = f"Probability that one architecture is above another in {effect} on {target}"
        figure = draw.matrix(known, effect, source, target)
        yield Plot(f"differences/{effect}/{source}->{target}", alt, figure)


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
    """Every figure of the page as a PNG file of its own in ``folder``.

    Raises:
        RecordError: ``folder`` cannot be written to.
    """
    paths = []
    with writing(folder, "the figures"):
        for plot in (plot for section in sections(findings) for plot in section.plots()):
            name = plot.name.replace("/->", "_").replace("/", "_").replace("->", "_to_")
            paths.append(folder / f"{name}.png")
            with replacing(paths[-1]) as temporary:
                plot.figure.savefig(temporary, format="png")
    return paths
