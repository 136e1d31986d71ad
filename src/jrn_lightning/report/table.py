"""One table, three writers: the terminal (printed by rich), Markdown and HTML.

A cell is text. What stands below its first line is set smaller: an interval below its value, a
note below a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table as Grid
from rich.text import Text

NOTHING = "-"
# Styles of a cell.
BEST, FAINT, BAD = "best", "faint", "bad"
# Kinds of rows: that of the untouched input, those of the paper, and a heading of those below it.
INPUT, PUBLISHED, GROUP = "input", "published", "group"

_RICH = {BEST: "bold", FAINT: "dim", BAD: "bold red", PUBLISHED: "dim", GROUP: "italic"}
_TAGS = {BEST: "b", BAD: "b"}


class Cell(NamedTuple):
    """The text of a cell, and one of the styles, or nothing."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        cells: text, or text and style; of a ``GROUP`` the first one alone.
        kind: ``INPUT``, ``PUBLISHED``, ``GROUP`` or nothing.
        archs: architectures it belongs to, with which it can be hidden on a page.
    """

    cells: Sequence[str | Cell]
    kind: str = ""
    archs: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: above it.
        heads: of the columns; units stand on a second line.
        rows: with a cell for each head.
        words: how many of the first columns are names: set to the left, and repeated where a
            terminal is too narrow for all the others side by side.
        notes: below it.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Row]
    words: int = 1
    notes: Sequence[str] = ()

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Print it, in as many blocks of columns as the width demands."""
        yield Text(self.title, style="bold underline")
        for columns in self._blocks(options.max_width):
            grid = Grid(box=None, padding=(0, 1, 0, 0), pad_edge=False)
            for k in columns:
                # Names are broken rather than cut: an ellipsis would hide what they differ in.
                grid.add_column(
                    Text(self.heads[k]),
                    justify="left" if k < self.words else "right",
                    no_wrap=k >= self.words,
                    overflow="fold",
                )
            for row in self.rows:
                shown = [0] if row.kind == GROUP else columns
                cells = [_terminal(row.cells[k]) for k in shown]
                grid.add_row(*cells, style=_RICH.get(row.kind, ""))
            yield grid
        yield from (Text(note, style="dim") for note in self.notes)
        yield Text()

    def markdown(self) -> str:
        """As Markdown, below a heading of the second level."""
        count = len(self.heads)
        align = [":--"] * self.words + ["--:"] * (count - self.words)
        lines = [f"## {self.title}", "", markdown_row([_flat(h) for h in self.heads])]
        lines.append(markdown_row(align))
        for row in self.rows:
            if row.kind == GROUP:
                cells = [f"**{_cell(row.cells[0]).text}**"] + [""] * (count - 1)
            else:
                cells = [_markdown(cell) for cell in row.cells]
            lines.append(markdown_row(cells))
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes), ""])

    def html(self) -> Markup:
        """As HTML, with what the page's style sheet and script ask for."""
        heads = [Markup('<th scope="col">{}</th>').format(_html(head)) for head in self.heads]
        rows = [self._html_row(row) for row in self.rows]
        notes = [Markup('<p class="note">{}</p>').format(note) for note in self.notes]
        return Markup(
            '<div class="table{}"><table class="sortable">\n<caption>{}</caption>\n'
            "<thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody></table></div>\n{}"
        ).format(
            " dense" if len(self.heads) > 7 else "",
            self.title,
            Markup().join(heads),
            Markup("\n").join(rows),
            Markup().join(notes),
        )

    def _html_row(self, row: Row) -> Markup:
        own = Markup(' class="{}"').format(row.kind) if row.kind else Markup()
        own += Markup(' data-arch="{}"').format(row.archs) if row.archs else ""
        if row.kind == GROUP:
            head = Markup('<th scope="rowgroup" colspan="{}">{}</th>')
            return Markup("<tr{}>{}</tr>").format(
                own, head.format(len(self.heads), _html(row.cells[0]))
            )
        cells = [
            Markup("<td>{}</td>").format(_html(cell, number=k >= self.words))
            for k, cell in enumerate(row.cells)
            if k
        ]
        head = Markup('<th scope="row">{}</th>').format(_html(row.cells[0]))
        return Markup("<tr{}>{}{}</tr>").format(own, head, Markup().join(cells))

    def _blocks(self, room: int) -> Iterator[list[int]]:
        """Columns that stand side by side in ``room``: the names, and numbers beside them."""
        columns = [
            [head, *(_cell(row.cells[k]).text for row in self.rows if not k or row.kind != GROUP)]
            for k, head in enumerate(self.heads)
        ]
        # A name can be broken between words, a number cannot.
        names = [max(map(cell_len, " ".join(c).split()), default=0) for c in columns[: self.words]]
        numbers = [max(map(cell_len, "\n".join(c).split("\n"))) for c in columns[self.words :]]
        room -= min(sum(names) + len(names) - 1, room // 2)
        block: list[int] = []
        left = room
        for k, width in enumerate(numbers, self.words):
            if block and width + 1 > left:
                yield [*range(self.words), *block]
                block, left = [], room
            block.append(k)
            left -= width + 1
        yield [*range(self.words), *block]


def markdown_row(cells: Sequence[str]) -> str:
    """A line of a Markdown table; what would end a cell is replaced or escaped."""
    return "| " + " | ".join(_flat(cell).replace("|", "\\|") for cell in cells) + " |"


def signs(text: str) -> str:
    """Minus signs and dashes as they are set."""
    return "–" if text == NOTHING else text.replace("-", "−")


def _cell(cell: str | Cell) -> Cell:
    return cell if isinstance(cell, Cell) else Cell(cell)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _terminal(cell: str | Cell) -> Text:
    text, style = _cell(cell)
    first, line, rest = text.partition("\n")
    return Text(first, style=_RICH.get(style, "")).append(line + rest, style="not bold dim")


def _markdown(cell: str | Cell) -> str:
    text, style = _cell(cell)
    first, _, rest = text.partition("\n")
    first = f"**{first}**" if style in _TAGS else first
    return f"{first}<br><sub>{_flat(rest)}</sub>" if rest else first


def _html(cell: str | Cell, *, number: bool = False) -> Markup:
    text, style = _cell(cell)
    first, *rest = (signs(text) if number else text).split("\n")
    tag = _TAGS.get(style)
    found = Markup("<{0}>{1}</{0}>").format(tag, first) if tag else Markup.escape(first)
    below = Markup("<br>").join(rest)
    return found + Markup("<small>{}</small>").format(below) if rest else found
