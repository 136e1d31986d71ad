"""A sweep as one page: tables, figures and example frames in a single HTML file.

Nothing is loaded from anywhere: styles, script and pictures are in the file, and its content
security policy forbids everything else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from jrn_lightning import keys
from jrn_lightning.analysis.findings import (
    GAIN,
    OMEGA,
    PERFORMANCE,
    Findings,
)
from jrn_lightning.analysis.summary import Column
from jrn_lightning.errors import RecordError
from jrn_lightning.files import replacing
from jrn_lightning.report import effects as draw
from jrn_lightning.report import listing, tables
from jrn_lightning.report.answer import NOTE
from jrn_lightning.report.figures import influence_figures, input_performance
from jrn_lightning.report.gallery import Gallery
from jrn_lightning.report.maps import Tile, data_uri, key, tiles, with_unit
from jrn_lightning.report.style import MANY
from jrn_lightning.report.table import NOTHING, Row, Table, signs
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


def sections(findings: Findings) -> Iterator[Section]:
    """The chapters of figures, in their order; those without data say what would fill them."""
    yield _influence(findings)
    yield _gain(findings)
    yield _mute_values(findings)
    yield _curve(findings)
    yield _strata(findings)
    yield _ladder(findings)
    yield _differences(findings)
    yield Section(
        "protocols",
        "Which protocol a number comes from",
        "Every measure under every crop, convention, ground truth and pooling, from the same "
        "outputs.",
        tables=tuple(_protocol_tables(findings)),
        empty=_unless(findings.protocols, "python run.py -m … evaluation.grid=true"),
    )


def _influence(findings: Findings) -> Section:
    def plots() -> Iterator[Plot]:
        for (source, target), figure in influence_figures(findings.summary).items():
            alt = f"Performance on {target} against the influence of {source}; see Table I"
            yield Plot(f"influence/{source}->{target}", alt, figure)

    return Section(
        "influence",
        "Influence against performance",
        "Figure 7. To the right: more influence, to the top: better. Crosses are 95 % intervals "
        "of ω and of the improvement over the untouched input; small dots are single seeds, hollow "
        "points are published.",
        plots,
        empty="" if findings.summary.directions else "python run.py -m arch=cat60,sum60,cat1",
    )


def _gain(findings: Findings) -> Section:
    controls = (
        ""
        if (findings.effects["effect"] == GAIN).any()
        else " Networks trained without one modality tell the two apart: "
        "python run.py -m experiment=gain …"
    )
    return Section(
        "gain",
        "Gain and breakage",
        "ω = gain + breakage. Gain is what the other modality really adds: the joint network "
        "against one that was trained without it. Breakage is what muting destroys in a network "
        "that has never seen a muted input. p is corrected by Holm's method." + controls,
        _each(
            findings,
            findings.effects,
            "effects",
            "ω of {source} on {target} per architecture, split into gain and breakage; the table "
            "below has the numbers",
            draw.decomposition,
        ),
        tuple(listing.effects(findings, p=True)),
        empty=_unless(findings.effects, "python run.py -m experiment=gain …"),
    )


def _mute_values(findings: Findings) -> Section:
    return Section(
        "mute-values",
        "What is put in place of a muted input",
        "ω depends on what a muted input is replaced with. Zeros are what no network has seen; the "
        "mean map and another image's map are closer to what it was trained on.",
        _each(
            findings,
            findings.mute_values,
            "mute_values",
            "ω of {source} on {target} with every mute value, per architecture",
            draw.mute_values,
        ),
        empty=_unless(findings.mute_values, "python run.py -m experiment=mute-values …"),
    )


def _curve(findings: Findings) -> Section:
    def envelope(points: pd.DataFrame, source: str, target: str, column: Column) -> Figure:
        return draw.envelope(points, findings.envelope, findings.peaks, source, target, column)

    return Section(
        "curve",
        "Is there a best influence?",
        "Figure 8. Every point is a trained network: A of one half of the images, ω of the other, "
        "so that they share no sample. An interior maximum of the envelope would be an influence "
        "that serves best.",
        _each(
            findings,
            findings.points,
            "points",
            "Performance on {target} against the influence of {source}, a point per network, with "
            "their upper concave envelope",
            envelope,
        ),
        tuple(_peaks_table(findings)),
        empty=_unless(findings.points, "python run.py -m experiment=width-sweep …"),
    )


def _strata(findings: Findings) -> Section:
    few, left_out = _few(findings.strata)
    return Section(
        "strata",
        "Where it helps",
        "The same effects of the pixels of one kind only: by class, by distance, at edges and away "
        "from them; a class of the predicted modality itself by its IoU of all pixels. "
        "The number beside a kind is its share of the pixels." + left_out,
        _each(
            findings,
            few,
            "strata",
            "Gain and ω of {source} on {target} by kind of pixel",
            draw.strata,
        ),
        empty=_unless(findings.strata, "python run.py -m … evaluation.strata=true"),
    )


def _ladder(findings: Findings) -> Section:
    few, left_out = _few(findings.ladder)

    def ladder(rungs: pd.DataFrame, source: str, target: str, column: Column) -> Figure:
        untouched = input_performance(findings.summary.architectures, column)
        return draw.ladder(rungs, source, target, column, untouched=untouched)

    return Section(
        "ladder",
        "Dose and response",
        "The other modality from its ground truth through the prediction, through predictions "
        "blended with noise, to nothing: how much there is to win at all, and how fast it is lost."
        + left_out,
        _each(
            findings,
            few,
            "ladder",
            "Performance on {target} as {source} goes from its truth to nothing",
            ladder,
        ),
        empty=_unless(findings.ladder, "python run.py -m experiment=oracle-ladder …"),
    )


def _differences(findings: Findings) -> Section:
    summary, known = findings.summary, findings.differences

    def matrices() -> Iterator[Plot]:
        groups = known[["effect", "source", "target"]].drop_duplicates()
        for effect, source, target in groups.sort_values("effect", key=_place).to_numpy():
            alt = f"Probability that one architecture is above another in {effect} on {target}"
            figure = draw.matrix(known, effect, source, target)
            yield Plot(f"differences/{effect}/{source}->{target}", alt, figure)

    return Section(
        "differences",
        "Which architectures can be told apart",
        "How probable it is that the architecture of the row is above that of the column, and "
        "below it by how much; bold where p is below 0.05 after Holm's correction."
        + (" With one seed each, this holds for these networks only." if summary.one_seed else ""),
        matrices if summary.architectures["arch"].nunique() <= MANY + 1 else lambda: iter(()),
        tuple(listing.differences(findings)),
        empty=_unless(known, "python run.py -m arch=cat60,sum60 seed=0,1,2 …"),
    )


def _each(
    findings: Findings,
    frame: pd.DataFrame,
    name: str,
    alt: str,
    make: Callable[[pd.DataFrame, str, str, Column], Figure],
) -> Callable[[], Iterator[Plot]]:
    """A figure for each direction that ``frame`` has rows of."""

    def plots() -> Iterator[Plot]:
        primary = findings.summary.primary
        known = set(zip(frame["source"], frame["target"], strict=True))
        for source, target in product(primary, primary):
            if (source, target) in known:
                words = alt.format(source=source, target=target)
                figure = make(frame, source, target, primary[target])
                yield Plot(f"{name}/{source}->{target}", words, figure)

    return plots


def write_figures(findings: Findings, folder: Path) -> list[Path]:
    """Every figure of the page as a PNG file of its own in ``folder``, which is there.

    Raises:
        RecordError: ``folder`` cannot be written to.
    """
    paths = []
    try:
        for section in sections(findings):
            for plot in section.plots():
                name = plot.name.replace("/->", "_").replace("/", "_").replace("->", "_to_")
                paths.append(folder / f"{name}.png")
                with replacing(paths[-1]) as temporary:
                    plot.figure.savefig(temporary, format="png")
    except OSError as error:
        raise RecordError(
            f"{folder}: the figures cannot be written ({error}). Free space, or choose another "
            "folder with --out."
        ) from error
    return paths


# -- tables ------------------------------------------------------------------------------------


def _peaks_table(findings: Findings) -> Iterator[Table]:
    rows = [
        Row([f"{r['source']} → {r['target']}", _count(r["points"]), str(r["verdict"])])
        for _, r in findings.peaks.iterrows()
    ]
    if rows:
        heads = ["influence", "networks", "what the envelope says"]
        yield Table("The best influence", heads, rows)


def _protocol_tables(findings: Findings) -> Iterator[Table]:
    for arch in dict.fromkeys(findings.protocols["arch"]):
        yield from listing.protocol_tables(findings, str(arch))


# -- parts -------------------------------------------------------------------------------------


def _place(effects: pd.Series) -> pd.Series:
    """Performance first, then what explains it."""
    return effects.map({PERFORMANCE: 0, OMEGA: 1, GAIN: 2}).fillna(3)


def _few(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """``frame`` with no more architectures than can be told apart, and what that leaves out."""
    archs = list(dict.fromkeys(frame["arch"]))
    if len(archs) <= MANY:
        return frame, ""
    said = f" The first {MANY} of {len(archs)} architectures are drawn."
    return frame[frame["arch"].isin(archs[:MANY])], said


def _unless(frame: pd.DataFrame, command: str) -> str:
    return "" if len(frame) else command


def _count(value: Any) -> str:
    return NOTHING if pd.isna(value) else str(int(value))
