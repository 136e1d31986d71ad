"""A sweep as one page: tables, figures and example frames in a single HTML file.

Nothing is loaded from anywhere: styles, script and pictures are in the file, and its content
security policy forbids everything else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib import resources

import jinja2
from markupsafe import Markup

from jrn_lightning import keys
from jrn_lightning.analysis.findings import Findings
from jrn_lightning.analysis.summary import short
from jrn_lightning.report import listing, tables
from jrn_lightning.report.answer import NOTE
from jrn_lightning.report.gallery import Gallery
from jrn_lightning.report.maps import Tile, data_uri, tiles, with_unit
from jrn_lightning.report.sections import Section, sections
from jrn_lightning.report.table import signs
from jrn_lightning.report.vector import svg

NAME = "report.html"


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
    summary, every = findings.summary, list(sections(findings))
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

    def drawn(section: Section) -> list[tuple[Markup, str]]:
        result = []
        for plot in section.figures.plots:
            figure = plot.draw()
            result.append((Markup(svg(figure, plot.name, figure.get_suptitle())), plot.see))
            advance(1)
        return result

    archs = [str(a) for a in summary.architectures["arch"] if a != keys.UNTOUCHED]
    shown = gallery or Gallery(note="No maps were asked for.")
    return environment.get_template("page.html").render(
        summary=summary,
        archs=[(a, _computation(findings, a)) for a in archs],
        short=short,
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
        sections=[(section, drawn(section)) for section in every if not section.command],
        missing=[section for section in every if section.command],
        gallery=shown,
        keys=[modality.key() for modality in shown.modalities.values()],
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
    all_of_them = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return (
        f"Networks predicted {all_of_them} from the same images, and a further network refined "
        "these predictions together. Are they better for it? Does one help another, in which "
        "direction, by how much, how sure is that, and under which architecture?"
    )
