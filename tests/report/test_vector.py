from __future__ import annotations

from xml.etree import ElementTree

import pytest

from jrn_lightning.report.style import INK, canvas, mark
from jrn_lightning.report.vector import svg

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def root() -> ElementTree.Element:
    figure, grid = canvas(3, 2)
    drawn = grid[0, 0].errorbar([1], [2], xerr=[[1], [1]], fmt="o", color=INK, clip_on=True)
    mark(drawn, "cat60", 'ω < 3 & "sure"')
    grid[0, 0].set_title("A title")
    return ElementTree.fromstring(svg(figure, "a/depth->b", 'an "alt" text'))


def test_ids_are_the_figures_own_and_references_find_them(root: ElementTree.Element) -> None:
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert all(name.startswith("a-depth-b-") for name in ids)
    used = {e.get("href", "")[1:] for e in root.iter(f"{SVG}use")}
    clips = {e.get("clip-path", "")[5:-1] for e in root.iter() if e.get("clip-path")}
    assert used | clips
    assert used | clips <= set(ids)


def test_marks_become_names_and_words(root: ElementTree.Element) -> None:
    marked = [e for e in root.iter() if e.get("data-arch")]
    assert {e.get("data-arch") for e in marked} == {"cat60"}
    titles = {title.text for e in marked if (title := e.find(f"{SVG}title")) is not None}
    assert titles == {'cat60: ω < 3 & "sure"'}


def test_colours_follow_the_page_and_text_is_text(root: ElementTree.Element) -> None:
    styles = " ".join(e.get("style", "") for e in root.iter())
    assert f"var(--ink, {INK})" in styles
    assert "font-family" not in styles
    assert "A title" in [e.text for e in root.iter(f"{SVG}text")]


def test_nothing_leaks_into_the_page(root: ElementTree.Element) -> None:
    assert not list(root.iter(f"{SVG}style"))
    assert root.get("aria-label") == 'an "alt" text'
    assert root.get("width") is None
    assert root.get("viewBox")


def test_the_same_figure_is_the_same_text() -> None:
    def drawn() -> str:
        figure, grid = canvas(3, 2)
        grid[0, 0].plot([0, 1], "o")
        return svg(figure, "x", "y")

    assert drawn() == drawn()
