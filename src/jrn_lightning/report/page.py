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
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from jrn_lightning import keys
from jrn_lightning.analysis.findings import (
    BREAKAGE,
    GAIN,
    IMPROVEMENT,
    OMEGA,
    PERFORMANCE,
    Findings,
)
from jrn_lightning.analysis.summary import Value, value_of
from jrn_lightning.errors import RecordError
from jrn_lightning.files import replacing
from jrn_lightning.report import effects as draw
from jrn_lightning.report import tables
from jrn_lightning.report.answer import NOTE
from jrn_lightning.report.figures import influence_figures
from jrn_lightning.report.gallery import Gallery
from jrn_lightning.report.maps import Tile, data_uri, key, tiles, with_unit
from jrn_lightning.report.style import MANY, value_in, words
from jrn_lightning.report.vector import svg

NAME = "report.html"
_EXTREMES = 5  # frames listed at either end


@dataclass(frozen=True)
class Plot:
    """One figure, what it is called on the page, and how it is read aloud."""

    name: str
    alt: str
    figure: Figure


@dataclass(frozen=True)
class Table:
    """Rows of text under heads; a row of ``archs`` can be hidden with its architecture.

    Args:
        caption: what it holds.
        heads: of the columns.
        rows: cells.
        archs: of each row the architecture, or nothing.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    archs: tuple[str, ...]


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
    environment.filters["signs"] = _signs
    environment.filters["seeds"] = _seeds
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
        performance=[tables.measures(summary, m, in_table=True) for m in summary.columns],
        influence=tables.influence(summary) if summary.columns else None,
        classes=[
            section
            for m in summary.columns
            if (section := tables.measures(summary, m, in_table=False)).heads
        ],
        notes=tables.notes(summary),
        sections=[(section, drawn(section)) for section in sections(findings)],
        gallery=shown,
        keys=[key(modality) for modality in shown.modalities.values()],
        tiles=tiles,
        Tile=Tile,
        with_unit=with_unit,
        extremes=list(_extremes(findings)),
        provenance=provenance,
        problems=list(dict.fromkeys(findings.problems)),
        untouched=keys.UNTOUCHED,
        style=Markup(folder.joinpath("page.css").read_text("utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _signs(text: str) -> str:
    """Minus signs and dashes as they are set."""
    return "–" if text == tables.NOTHING else text.replace("-", "−")


def _seeds(state: str) -> str:
    """How many seeds, as a row of a table says it: ``1 of 3 seeds, 2 failed``."""
    done, comma, rest = state.partition(",")
    return f"{done} seed{'s' * (done.split()[-1] != '1')}{comma}{rest}"


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
    summary, primary = findings.summary, findings.summary.primary
    directions = summary.directions

    def each(name: str, make: Callable[[str, str], Figure], alt: str) -> Iterator[Plot]:
        frame = getattr(findings, name)
        for source, target in _present(frame, directions):
            text = alt.format(source=source, target=target)
            yield Plot(f"{name}/{source}->{target}", text, make(source, target))

    def influence() -> Iterator[Plot]:
        for (source, target), figure in influence_figures(summary).items():
            alt = f"Performance on {target} against the influence of {source}; see Table I"
            yield Plot(f"influence/{source}->{target}", alt, figure)

    yield Section(
        "influence",
        "Influence against performance",
        "Figure 7. To the right: more influence, to the top: better. Crosses are 95 % intervals "
        "of ω and of the improvement over the untouched input; small dots are single seeds, hollow "
        "points are published.",
        influence,
        empty="" if directions else "python run.py -m arch=cat60,sum60,cat10,cat5,cat1",
    )

    has_gain = bool((findings.effects["effect"] == GAIN).any())
    yield Section(
        "gain",
        "Gain and breakage",
        "ω = gain + breakage. Gain is what the other modality really adds: the joint network "
        "against one that was trained without it. Breakage is what muting destroys in a network "
        "that has never seen a muted input. p is corrected by Holm's method."
        + (
            ""
            if has_gain
            else " Networks trained without one modality tell the two apart: "
            "python run.py -m experiment=gain …"
        ),
        lambda: each(
            "effects",
            lambda s, t: draw.decomposition(findings.effects, s, t, primary[t]),
            "ω of {source} on {target} per architecture, split into gain and breakage; the table "
            "below has the numbers",
        ),
        tuple(_effects_tables(findings)),
        empty="" if len(findings.effects) else "python run.py -m experiment=gain …",
    )
    yield Section(
        "mute-values",
        "What is put in place of a muted input",
        "ω depends on what a muted input is replaced with. Zeros are what no network has seen; the "
        "mean map and another image's map are closer to what it was trained on.",
        lambda: each(
            "mute_values",
            lambda s, t: draw.mute_values(findings.mute_values, s, t, primary[t]),
            "ω of {source} on {target} with every mute value, per architecture",
        ),
        empty=_unless(findings.mute_values, "python run.py -m experiment=mute-values …"),
    )
    yield Section(
        "curve",
        "Is there a best influence?",
        "Figure 8. Every point is a trained network: A of one half of the images, ω of the other, "
        "so that they share no sample. An interior maximum of the envelope would be an influence "
        "that serves best.",
        lambda: each(
            "points",
            lambda s, t: draw.envelope(
                findings.points, findings.envelope, findings.peaks, s, t, primary[t]
            ),
            "Performance on {target} against the influence of {source}, a point per network, with "
            "their upper concave envelope",
        ),
        tuple(_peaks_table(findings)),
        empty=_unless(findings.points, "python run.py -m experiment=width-sweep …"),
    )
    few = _few(findings.strata)
    yield Section(
        "strata",
        "Where it helps",
        "The same effects of the pixels of one kind only: by class, by distance, at edges and away "
        "from them; a class of the predicted modality itself by its IoU of all pixels. "
        "The number beside a kind is its share of the pixels." + few[1],
        lambda: each(
            "strata",
            lambda s, t: draw.strata(few[0], s, t, primary[t]),
            "Gain and ω of {source} on {target} by kind of pixel",
        ),
        empty=_unless(findings.strata, "python run.py -m … evaluation.strata=true"),
    )
    rungs = _few(findings.ladder)

    def ladders() -> Iterator[Plot]:
        ways = rungs[0][["source", "target"]].drop_duplicates().itertuples(index=False)
        for source, target in ways:
            alt = f"Performance on {target} as {source} goes from its truth to nothing"
            untouched = _untouched(findings, target)
            figure = draw.ladder(rungs[0], source, target, primary[target], untouched=untouched)
            yield Plot(f"ladder/{source}->{target}", alt, figure)

    yield Section(
        "ladder",
        "Dose and response",
        "The other modality from its ground truth through the prediction, through predictions "
        "blended with noise, to nothing: how much there is to win at all, and how fast it is lost."
        + rungs[1],
        ladders,
        empty=_unless(findings.ladder, "python run.py -m experiment=oracle-ladder …"),
    )

    def matrices() -> Iterator[Plot]:
        known = findings.differences
        groups = known[["effect", "source", "target"]].drop_duplicates()
        for effect, source, target in groups.sort_values("effect", key=_place).to_numpy():
            alt = f"Probability that one architecture is above another in {effect} on {target}"
            figure = draw.matrix(known, effect, source, target)
            yield Plot(f"differences/{effect}/{source}->{target}", alt, figure)

    yield Section(
        "differences",
        "Which architectures can be told apart",
        "How probable it is that the architecture of the row is above that of the column, and "
        "below it by how much; bold where p is below 0.05 after Holm's correction."
        + (" With one seed each, this holds for these networks only." if summary.one_seed else ""),
        matrices if summary.architectures["arch"].nunique() <= MANY + 1 else lambda: iter(()),
        tuple(_differences_table(findings)),
        empty=_unless(findings.differences, "python run.py -m arch=cat60,sum60 seed=0,1,2 …"),
    )
    yield Section(
        "protocols",
        "Which protocol a number comes from",
        "Every measure under every crop, convention, ground truth and pooling, from the same "
        "outputs.",
        tables=tuple(_protocol_tables(findings)),
        empty=_unless(findings.protocols, "python run.py -m … evaluation.grid=true"),
    )


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


def _effects_tables(findings: Findings) -> Iterator[Table]:
    frame = findings.effects
    names = [e for e in (OMEGA, GAIN, BREAKAGE) if (frame["effect"] == e).any()]
    heads = ["architecture", "seeds", "improvement", "p"]
    for name in names:
        heads += ["ω" if name == OMEGA else name, "p"]
    for source, target in _present(frame, findings.summary.directions):
        own = frame[frame["target"] == target]
        rows = []
        archs = list(dict.fromkeys(own.loc[own["source"] == source, "arch"]))
        for arch in archs:
            mine = own[own["arch"] == arch]
            cells = [str(arch), _count(mine["seeds"].iloc[0])]
            for effect in (IMPROVEMENT, *names):
                where = "" if effect == IMPROVEMENT else source
                found = mine[(mine["effect"] == effect) & (mine["source"] == where)]
                if len(found):
                    cells += [_stacked(value_in(found.iloc[0])), _p(found.iloc[0]["p_holm"])]
                else:
                    cells += [tables.NOTHING] * 2
            rows.append(tuple(cells))
        caption = f"{source} on {target}, in units of A"
        yield Table(caption, tuple(heads), tuple(rows), tuple(map(str, archs)))


def _peaks_table(findings: Findings) -> Iterator[Table]:
    frame = findings.peaks
    if len(frame):
        rows = [
            (f"{r['source']} on {r['target']}", _count(r["points"]), str(r["verdict"]))
            for _, r in frame.iterrows()
        ]
        heads = ("influence of", "networks", "what the envelope says")
        yield Table("The best influence", heads, tuple(rows), ("",) * len(rows))


def _differences_table(findings: Findings) -> Iterator[Table]:
    frame = findings.differences
    if not len(frame):
        return
    heads = ("effect", "of", "first", "second", "first − second", "p (Holm)", "first is larger")
    rows = []
    for _, row in frame.iterrows():
        way = f"{row['source']} on {row['target']}" if row["source"] else str(row["target"])
        name = "ω" if row["effect"] == OMEGA else str(row["effect"])
        pair = (str(row["first"]), str(row["second"]))
        probability = f"{float(row['probability']):.2f}"
        rows.append((name, way, *pair, _stacked(value_in(row)), _p(row["p_holm"]), probability))
    archs = tuple(f"{row[2]} {row[3]}" for row in rows)
    yield Table("All pairs of architectures", heads, tuple(rows), archs)


def _protocol_tables(findings: Findings) -> Iterator[Table]:
    """A table for each modality: a row per architecture and protocol, a column per measure."""
    for modality, frame in findings.protocols.groupby("modality", sort=False):
        where = ["arch", "crop", "convention", "truth", "pooling"]
        values = frame.assign(value=pd.to_numeric(frame["value"]))
        wide = values.pivot_table("value", where, "label", sort=False)
        known = findings.summary.columns.get(str(modality), ())
        percent = {c.label for c in known if c.percent}
        rows = []
        for index, numbers in wide.iterrows():
            assert isinstance(index, tuple)
            cells = [
                tables.NOTHING if np.isnan(n) else f"{100 * n:.2f}" if c in percent else f"{n:.4f}"
                for c, n in numbers.items()
            ]
            rows.append((*map(str, index), *cells))
        heads = [f"{c} [%]" if c in percent else str(c) for c in wide.columns]
        archs = tuple("" if row[0] == keys.UNTOUCHED else row[0] for row in rows)
        titles = ("architecture", *where[1:], *heads)
        yield Table(str(modality), titles, tuple(rows), archs)


def _extremes(findings: Findings) -> Iterator[Table]:
    """The frames that gain and lose most, by the mean over architectures."""
    for (source, target), rows in findings.images.groupby(["source", "target"], sort=False):
        numbers = rows.assign(
            **{c: pd.to_numeric(rows[c]) for c in ("performance", "omega", "gain")}
        )
        means = numbers.groupby("id", sort=False).agg(
            {"scene": "first", "performance": "mean", "omega": "mean", "gain": "mean"}
        )
        by = "gain" if means["gain"].notna().any() else "omega"
        means = means.dropna(subset=[by]).sort_values(by, ascending=False, kind="stable")
        ends = pd.concat([means.head(_EXTREMES), means.tail(_EXTREMES)])
        ends = ends[~ends.index.duplicated()]
        found = []
        for name, row in ends.iterrows():
            numbers_of = [row["performance"], row["omega"], row["gain"]]
            cells = [tables.NOTHING if np.isnan(v) else f"{v:.2f}" for v in numbers_of]
            found.append((str(name), str(row["scene"]), *(c.replace("-", "−") for c in cells)))
        heads = ("frame", "scene", f"A of {target}", "ω", "gain")
        caption = f"{source} on {target}: the frames of largest and smallest "
        caption += "gain" if by == "gain" else "ω"
        yield Table(caption, heads, tuple(found), ("",) * len(found))


# -- parts -------------------------------------------------------------------------------------


def _present(
    frame: pd.DataFrame, directions: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """The directions that ``frame`` has rows of."""
    known = set(zip(frame["source"], frame["target"], strict=True))
    return (way for way in directions if way in known)


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


def _untouched(findings: Findings, target: str) -> float | None:
    table, column = findings.summary.architectures, findings.summary.primary[target]
    rows = table[table["arch"] == keys.UNTOUCHED]
    value = value_of(rows.iloc[0], column.key) if len(rows) else None
    return column.performance(value.value) if value and value.known else None


def _unless(frame: pd.DataFrame, command: str) -> str:
    return "" if len(frame) else command


def _stacked(value: Value) -> str:
    """A value, and its interval on a line of its own."""
    return words(value).replace(" [", "\n[")


def _p(value: Any) -> str:
    if pd.isna(value):
        return tables.NOTHING
    return "< 0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def _count(value: Any) -> str:
    return tables.NOTHING if pd.isna(value) else str(int(value))
