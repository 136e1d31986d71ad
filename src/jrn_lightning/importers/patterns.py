"""Patterns of paths, as ``rgb/{split}/{city}/{id}_rgb.*``: files and the fields in their names.

A field ``{name}`` is part of one folder's or file's name, ``{name:path}`` may span folders; the
same field twice is the same text. ``*`` is any text within a name that does not matter.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from jrn_lightning.errors import CacheError

Fields = Mapping[str, str]
_PIECE = re.compile(r"\{(\w+)(:path)?\}|\*")


class Pattern:
    """A pattern of paths below a folder.

    Args:
        text: the pattern.
        where: the key that it was given for, for messages.

    >>> Pattern("rgb/{city}/{id}_rgb.*", "image").fields
    ['city', 'id']
    """

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        self._names: dict[Path, list[str]] = {}
        self.fields = list(dict.fromkeys(m[1] for m in _PIECE.finditer(text) if m[1]))
        if re.search(r"[{}]", _PIECE.sub("", text)):
            raise CacheError(f"{where}: {text!r} has a brace alone. Write fields as {{name}}.")

    def find(self, root: Path) -> Iterator[tuple[dict[str, str], Path]]:
        """Fields and path of every file, in the order of the names.

        Raises:
            CacheError: there is none; what is there instead.
        """
        found = False
        for found_fields, path in self._walk(root, self.text.split("/"), {}):
            found = True
            yield found_fields, path
        if not found:
            raise CacheError(f"{self.where}: no file matches {self.text!r}: {self._nearest(root)}.")

    def path(self, root: Path, fields: Fields) -> Path | None:
        """The file of a frame, or None if there is none.

        Raises:
            CacheError: two of them.
        """
        filled = self.filled(fields)
        if "*" not in filled:
            path = root / filled
            return path if path.is_file() else None
        paths = [path for _, path in self._walk(root, filled.split("/"), {})]
        if len(paths) > 1:
            raise CacheError(
                f"{self.where}: two files for one frame, {paths[0]} and {paths[1].name}. Keep one, "
                "or write more of the name into the pattern."
            )
        return paths[0] if paths else None

    def filled(self, fields: Fields) -> str:
        """The pattern with its fields filled in.

        >>> Pattern("{city}/{id}", "id").filled({"city": "ulm", "id": "7"})
        'ulm/7'
        """
        if unknown := [f for f in self.fields if f not in fields]:
            raise CacheError(
                f"{self.where}: {self.text!r} has the field {unknown[0]!r}, which the pattern of "
                f"the frames lacks. It has: {', '.join(fields)}."
            )
        return _PIECE.sub(lambda m: fields[m[1]] if m[1] else "*", self.text)

    def _nearest(self, root: Path) -> str:
        """How far the pattern leads, and what is there."""
        segments = self.text.split("/")
        reached = [root]
        for k in range(1, len(segments)):
            below = [p for _, p in self._walk(root, segments[:k], {}, folders=True)]
            if not below:
                break
            reached = below
        k = len(reached[0].relative_to(root).parts)
        if not root.is_dir():
            return f"{root} is no folder"
        names = sorted(p.name for p in reached[0].iterdir())
        wanted = segments[k]
        near = difflib.get_close_matches(wanted, names, 1, 0.3) or names[:1]
        what = f"nearest is {near[0]!r}" if near else "it is empty"
        return f"{reached[0]} has no {wanted!r}, {what}"

    def _walk(
        self, folder: Path, segments: list[str], fields: dict[str, str], folders: bool = False
    ) -> Iterator[tuple[dict[str, str], Path]]:
        head, rest = segments[0], segments[1:]
        if any(":path" in s for s in segments):
            regex = _regex("/".join(segments), fields)
            for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
                match = regex.fullmatch(path.relative_to(folder).as_posix())
                if match and (folders or path.is_file()):
                    yield {**fields, **match.groupdict()}, path
            return
        regex = _regex(head, fields)
        for name in self._names_in(folder) if _PIECE.search(head) else (head,):
            match = regex.fullmatch(name)
            if match is None:
                continue
            path, known = folder / name, {**fields, **match.groupdict()}
            if rest:
                yield from self._walk(path, rest, known, folders)
            elif path.is_dir() if folders else path.is_file():
                yield known, path

    def _names_in(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; asked once for all the frames in it."""
        if folder not in self._names:
            found = folder.iterdir() if folder.is_dir() else ()
            self._names[folder] = sorted(path.name for path in found)
        return self._names[folder]


def _regex(text: str, fields: Fields) -> re.Pattern[str]:
    """A regular expression of a pattern, with known fields filled in."""
    seen: set[str] = set()

    def piece(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "[^/]*"
        if name in fields:
            return re.escape(fields[name])
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>.+)" if match[2] else f"(?P<{name}>[^/]+?)"

    parts, end = [], 0
    for match in _PIECE.finditer(text):
        parts += [re.escape(text[end : match.start()]), piece(match)]
        end = match.end()
    return re.compile("".join([*parts, re.escape(text[end:])]))
