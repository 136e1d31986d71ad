"""Figures as SVG inside of a page: colours that follow its scheme, things to point at."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from jrn_lightning.report.style import BROKEN, FAINT, GAINED, GRID, INK, PAPER, look, marked

_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
#: colour in a figure -> variable of the page's style sheet
VARIABLES = {
    INK: "ink",
    FAINT: "faint",
    GRID: "grid",
    PAPER: "paper",
    GAINED: "gained",
    BROKEN: "broken",
    look("loose").colour: "loose",
    look("coupled").colour: "coupled",
    look(None).colour: "other",
    "#6E6E6E": "faint",
    "#000000": "ink",
}
_COLOURS = {colour.lower(): f"var(--{name}, {colour})" for colour, name in VARIABLES.items()}
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_FAMILY = re.compile(r"font-family:[^;]*;? ?")


def svg(figure: Figure, name: str, alt: str) -> str:
    """``figure`` as an ``<svg>`` element, to be put into HTML.

    Text stays text, in the page's own font. What :func:`~jrn_lightning.report.style.mark` marked
    carries ``data-arch`` and, as a ``<title>``, its words. No two figures share an id.

    Args:
        figure: what to draw; it is laid out on the way.
        name: unique on the page; the beginning of every id.
        alt: what the figure shows, for those who do not see it.
    """
    written = io.StringIO()
    # A salt makes the ids the same in every run, so that pages can be compared.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(written.getvalue())
    ids = re.sub(r"[^a-z0-9]+", "-", name.lower())
    for element in root.iter():
        _adapt(element, ids)
    for parent in root.iter():
        for child in list(parent):
            # Its rules would hold for the whole page; metadata nobody reads.
            if child.tag in (f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"):
                parent.remove(child)
    # The size follows the page; the proportions are in the view box.
    width = root.attrib.pop("width").removesuffix("pt")
    root.attrib.pop("height")
    root.attrib.pop("version", None)
    root.attrib |= {"role": "img", "aria-label": alt, "style": f"--width: {float(width):.0f}"}
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, ids: str) -> None:
    """Ids, references, colours and fonts of one element, and the words of a mark."""
    known = marked(element.get("id", ""))
    if known is not None:
        del element.attrib["id"]
        arch, text = known
        element.set("data-arch", arch)
        if text:
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = f"{arch}: {text}" if " " not in arch else text
            element.insert(0, title)
    for key, value in list(element.attrib.items()):
        if key == "id":
            element.set(key, f"{ids}-{value}")
        elif key == f"{{{_LINK}}}href" and value.startswith("#"):
            # Browsers have long taken the plain attribute.
            del element.attrib[key]
            element.set("href", f"#{ids}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{ids}-"))
    style = element.get("style")
    if style is not None:
        style = _FAMILY.sub("", style)
        style = _COLOUR.sub(lambda m: _COLOURS.get(m[0].lower(), m[0]), style)
        element.set("style", style)
