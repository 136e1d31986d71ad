from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jrn_lightning.analysis.findings import COLUMNS, Findings
from jrn_lightning.keys import UNTOUCHED
from jrn_lightning.modalities import Depth, Semantic
from jrn_lightning.report.gallery import Gallery
from jrn_lightning.report.maps import Frame
from jrn_lightning.report.page import page
from jrn_lightning.report.sections import sections
from jrn_lightning.report.table import GROUP, PUBLISHED
from tests import browser
from tests.report import fakes

ANSWER = ["Semantics helps depth by +0.1.", "A large <ω> is damage & no help."]
VOID = {"meta", "link", "img", "br", "input"}
FIGURES = {
    "influence": 2,
    "gain": 2,
    "mute-values": 2,
    "curve": 2,
    "strata": 2,
    "ladder": 2,
    "differences": 6,  # performance on two targets; ω and gain in two directions
    "protocols": 0,
}


def gallery(count: int = 2) -> Gallery:
    rng = np.random.default_rng(0)
    archs = tuple(fakes.ARCHITECTURES)
    frames = []
    for k in range(count):
        depth = rng.uniform(1, 9, (24, 32)).astype(np.float32)
        label = rng.integers(0, 3, (24, 32)).astype(np.uint8)
        right = np.eye(3, dtype=np.float32)[label].transpose(2, 0, 1)
        maps = {"depth": depth[None], "semantic": right}
        frames.append(
            Frame(
                f"{k:04d}",
                {"depth": depth, "semantic": label},
                dict.fromkeys((UNTOUCHED, *archs), maps),
                rng.integers(0, 255, (24, 32, 3)).astype(np.uint8),
                f"frame <{k}>",
            )
        )
    kinds = {"depth": Depth("depth"), "semantic": Semantic("semantic", ["floor", "wall", "box"])}
    return Gallery(tuple(frames), kinds, archs, "Maps of seed 0.")


class Reader(HTMLParser):
    """Elements with their attributes, text, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return fakes.findings(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def html(findings: Findings) -> str:
    where = [("cache", "<nyu>.h5"), ("versions", "torch 2")]
    return page(findings, answer=ANSWER, gallery=gallery(), provenance=where)


@pytest.fixture(scope="module")
def read(html: str) -> Reader:
    return Reader(html)


def test_what_sure_means_stands_below_the_answer(findings: Findings) -> None:
    text = page(findings, answer=ANSWER)
    assert (
        text.index("A large &lt;ω&gt;")
        < text.index("after Holm&#39;s correction where")
        < (text.index('id="table-1"'))
    )
    assert "Sure: " not in page(findings)


def test_one_seed_is_told_and_counted(findings: Findings) -> None:
    table = findings.summary.architectures.assign(seeds=1, state="1")
    table.loc[2, ["seeds", "state"]] = [0, "0 of 1, 1 running"]
    one = replace(findings, summary=replace(findings.summary, architectures=table))
    text = page(one)
    assert "<small>loose, 1 seed</small>" in text
    assert "<small>coupled, 0 of 1 seed, 1 running</small>" in text
    assert "over scenes alone" in text
    assert "for these networks only" in text
    assert "for these networks only" not in page(findings)


def test_the_answer_comes_before_everything(read: Reader) -> None:
    first = read.text.index("Semantics helps depth by +0.1.")
    assert first < read.text.index("Table I")
    assert "Does one help another" in read.text
    assert "A large <ω> is damage & no help." in read.text


def test_what_is_in_the_data_is_text_and_no_markup(html: str, read: Reader) -> None:
    assert "A large &lt;ω&gt; is damage &amp; no help." in html
    assert "frame <0>" in read.text
    assert "<nyu>.h5" in read.text


def test_every_section_and_every_figure(read: Reader, html: str) -> None:
    ids = [a["id"] for _, a in read.found if "id" in a]
    assert len(ids) == len(set(ids))
    linked = {a["href"][1:] for tag, a in read.found if tag == "a"}
    assert linked <= set(ids)
    assert set(FIGURES) | {"answer", "table-1", "table-3", "gallery", "provenance"} <= set(ids)
    drawn = [a for tag, a in read.found if tag == "svg" and a.get("role") == "img"]
    assert len(drawn) == sum(FIGURES.values())
    assert all(a["aria-label"] for a in drawn)
    captions = re.findall(r"</svg></div><figcaption>(.+?)</figcaption>", html)
    assert len(captions) == len(drawn)  # a sentence that says what to see
    assert all(caption.endswith(".") for caption in captions)


def test_tables_have_heads_and_captions(read: Reader) -> None:
    tags = Counter(tag for tag, _ in read.found)
    assert tags["table"] == tags["caption"] >= 8
    assert all(a.get("scope") in ("col", "row", "rowgroup") for tag, a in read.found if tag == "th")
    assert "[0.1160, 0.1208]" in read.text  # the interval of cat60's rel(sqr)
    assert "54.206" in read.text  # its published mean IoU
    assert "sum60Table III" in read.text


def test_headings_go_down_by_one(read: Reader) -> None:
    levels = [int(tag[1]) for tag, _ in read.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_every_picture_has_words(read: Reader) -> None:
    pictures = [a for tag, a in read.found if tag == "img" and "src" in a]
    # Of each frame: thumbnail, image, and for both modalities truth and six maps and errors; ramps
    assert len(pictures) == 2 * (2 + 2 * 13) + 2
    assert all("alt" in a for a in pictures)
    assert sum(a["alt"] == "" for a in pictures) == 2  # the thumbnails, which are buttons' own


def test_nothing_points_outside(html: str, read: Reader) -> None:
    for tag, attributes in read.found:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:")), (tag, name, value[:80])
    without_names = html.replace("http://www.w3.org/2000/svg", "")
    assert "http" not in re.sub(r"http-equiv|data:[^\"]*", "", without_names)
    assert "@import" not in html
    policy = next(a["content"] for tag, a in read.found if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1]


def test_provenance_problems_and_warnings(read: Reader) -> None:
    assert "cat10/seed1 failed: Traceback … RuntimeError: out of memory" in read.text
    assert "cat5/seed9: made from another cache" in read.text
    assert fakes.WARNING in read.text


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("mute_values", "experiment=mute-values"),
        ("points", "experiment=width-sweep"),
        ("strata", "evaluation.strata=true"),
        ("ladder", "experiment=oracle-ladder"),
        ("protocols", "evaluation.grid=true"),
        ("effects", "experiment=gain"),
    ],
)
def test_a_part_that_is_missing_names_its_command(
    findings: Findings, missing: str, command: str
) -> None:
    without = replace(findings, **{missing: getattr(findings, missing).iloc[:0]})
    (empty,) = [s for s in sections(without) if s.command]
    assert command in empty.command
    assert command in repr(empty.figures)
    assert not [s for s in sections(findings) if s.command]


def test_with_nothing_but_the_comparison(tmp_path: Path) -> None:
    bare = fakes.findings(tmp_path, without=tuple(COLUMNS))
    text = page(bare)
    read = Reader(text)
    assert len([1 for tag, a in read.found if tag == "svg" and "aria-label" in a]) == 2
    told = read.text[read.text.index("Not measured: ") :]
    assert told.count(" (python run.py -m ") == len(FIGURES) - 1
    shown = {a["id"] for tag, a in read.found if tag == "section"}
    assert shown & set(FIGURES) == {"influence"}
    assert "No maps were asked for." in read.text


def test_before_any_job_has_finished(tmp_path: Path) -> None:
    every = {f"{arch}/seed{k}": "missing" for arch in fakes.ARCHITECTURES for k in range(3)}
    summary = fakes.summarize(fakes.comparison(tmp_path, every))
    text = Reader(page(Findings(summary))).text
    assert "No job has finished yet" in text


def test_protocols_name_the_ground_truth(findings: Findings) -> None:
    frame = findings.protocols
    raw = frame[frame["modality"] == "depth"].assign(truth="raw")
    both = replace(findings, protocols=pd.concat([frame, raw], ignore_index=True))
    (section,) = [s for s in sections(both) if s.id == "protocols"]
    depth, semantic = section.tables[:2]
    assert depth.heads[:3] == ["convention", "truth", "pooling"]
    known = [
        [row.cells[1] for row in table.rows if row.kind not in (GROUP, PUBLISHED)]
        for table in (depth, semantic)
    ]
    assert set(known[0]) == {"truth", "raw"}
    assert set(known[1]) == {"truth"}
    assert len(known[0]) == 2 * len(known[1])
    assert len(section.tables) == 2 * (1 + len(fakes.ARCHITECTURES))


def test_three_modalities(tmp_path: Path) -> None:
    few = ("points", "envelope", "peaks", "differences", "strata", "protocols", "ladder")
    three = fakes.findings(tmp_path, third=True, without=few)
    read = Reader(page(three, answer=ANSWER))
    labels = [a["aria-label"] for tag, a in read.found if tag == "svg" and "aria-label" in a]
    assert len(labels) == 3 * 6 + 1  # and who helps whom
    assert "Networks predicted depth, semantic and albedo from" in read.text
    assert any("of depth on albedo" in label for label in labels)


# -- in a browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    if browser.find() is None:
        pytest.skip(f"no browser found: none of {', '.join(browser.NAMES)}")
    with browser.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def path(html: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(html, encoding="utf-8")
    return file


def channel(tab: browser.Page, what: str, of: str) -> list[int]:
    """Red, green and blue of a computed colour."""
    colour = tab.run(f"getComputedStyle(document.querySelector({of!r})).{what}")
    return [int(n) for n in re.findall(r"\d+", colour)[:3]]


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it_all_and_asks_nobody(
    tab: browser.Page, path: Path, width: int, dark: bool
) -> None:
    tab.look(width=width, dark=dark, phone=width < 500)
    tab.open(path)
    assert tab.said() == []
    assert tab.asked() == [path.as_uri()]
    shown = """[...document.querySelectorAll(".plot svg")]
        .filter((e) => e.getBoundingClientRect().width > 100)
        .filter((e) => e.querySelectorAll("text").length > 5).length"""
    assert tab.run(shown) == sum(FIGURES.values())
    broken = "[...document.images].filter((e) => e.src && !e.naturalWidth).length"
    assert tab.run(broken) == 0
    # Nothing but what scrolls by itself is wider than the window.
    assert tab.run("document.documentElement.scrollWidth") <= width
    paper, ink = channel(tab, "backgroundColor", "body"), channel(tab, "fill", ".plot text")
    assert (sum(paper) < 150) == dark
    assert (sum(ink) > 500) == dark


def test_a_browser_prints_it_light_and_whole(tab: browser.Page, path: Path, tmp_path: Path) -> None:
    tab.look(width=1400, dark=True)
    tab.open(path)
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    tab("Emulation.setEmulatedMedia", media="print", features=[scheme])
    assert sum(channel(tab, "backgroundColor", "body")) > 700
    assert tab.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    hidden = "[...document.querySelectorAll('.exhibit')].filter((e) => !e.offsetHeight).length"
    assert tab.run(hidden) == 0
    tab.print(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_tables_sort_and_published_rows_stay(tab: browser.Page, path: Path) -> None:
    tab.look(width=1400)
    tab.open(path)
    rows = """[...document.querySelectorAll("#table-1 table")[0].tBodies[0].rows]
        .map((r) => r.cells[0].firstChild.textContent.trim())"""
    before = tab.run(rows)
    head = 'document.querySelectorAll("#table-1 table")[0].tHead.rows[0].cells[2]'
    tab.run(f"{head}.click()")
    assert tab.run(f"{head}.getAttribute('aria-sort')") == "descending"
    after = tab.run(rows)
    assert after[0] == "untouched input"
    assert after[1:6] == ["cat1", "cat5", "cat10", "sum60", "cat60"]  # rel(sqr), largest first
    assert after[6:] == before[6:]
    tab.run(f"{head}.click()")
    assert tab.run(rows)[1:6] == ["cat60", "sum60", "cat10", "cat5", "cat1"]


def test_an_architecture_can_be_hidden_everywhere(tab: browser.Page, path: Path) -> None:
    tab.look(width=1400)
    tab.open(path)
    count = """(name) => [...document.querySelectorAll("[data-arch]")]
        .filter((e) => e.dataset.arch.split(" ").includes(name) && !e.closest(".off")).length"""
    assert tab.run(f"({count})('cat5')") > 100
    others = tab.run(f"({count})('cat1')")
    tab.run("document.querySelector(\"#archs input[value='cat5']\").click()")
    assert tab.run(f"({count})('cat5')") == 0
    assert 0 < tab.run(f"({count})('cat1')") < others  # pairs with it are gone
    tab.run("document.querySelector('#all').click()")
    assert tab.run(f"({count})('cat1')") == others


def test_the_gallery_shows_one_frame_and_compares_two_pictures(
    tab: browser.Page, path: Path
) -> None:
    tab.look(width=1400)
    tab.open(path)
    seen = "[...document.querySelectorAll('.exhibit')].map((e) => e.offsetHeight > 0)"
    assert tab.run(seen) == [True, False]
    tab.run("document.querySelector('#tab-2').click()")
    assert tab.run(seen) == [False, True]
    tab.run(
        """(() => { const s = document.querySelector("#frame-2 select.left");
        s.value = "5"; s.dispatchEvent(new Event("change")); })()"""
    )
    same = """document.querySelector("#frame-2 .over").src
        === document.querySelectorAll("#frame-2 .picture img")[5].src"""
    assert tab.run(same)
    tab.run("document.querySelector('#errors').click()")
    strips = "[...document.querySelectorAll('#frame-2 .errors')].every((e) => !e.offsetHeight)"
    assert tab.run(strips)


def test_pointing_at_a_bar_tells_its_numbers(tab: browser.Page, path: Path) -> None:
    tab.look(width=1400)
    tab.open(path)
    tab.run(
        """document.querySelector("#gain [data-arch='cat60'] title").parentElement
        .dispatchEvent(new PointerEvent("pointerenter"))"""
    )
    told = tab.run("document.querySelector('#tip').textContent")
    assert told.startswith("cat60: gain +0.48 [")
    assert tab.run("document.querySelector('#tip').hidden") is False
