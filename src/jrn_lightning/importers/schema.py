"""YAML files that a user writes: read, and refused with the key and what would do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from jrn_lightning.errors import CacheError
from jrn_lightning.files import read_text


def close(name: str, choices: Iterable[str]) -> str:
    """What may have been meant, as a sentence.

    >>> close("deph", ["depth", "semantic"])
    "Did you mean 'depth'? Known: depth, semantic."
    """
    choices = list(choices)
    near = difflib.get_close_matches(name, choices, 1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    return f"{meant}Known: {', '.join(choices)}."


def keys_of(content: object, known: Iterable[str], where: str) -> Mapping[str, Any]:
    """A mapping with no other keys than the known ones.

    Raises:
        CacheError: it is none, or another key, with the nearest known one.
    """
    if not isinstance(content, Mapping):
        raise CacheError(f"{where} is {content!r}. Give a mapping of: {', '.join(known)}.")
    for key in content:
        if key not in known:
            raise CacheError(f"{where}: unknown key {key!r}. {close(str(key), known)}")
    return content


def load_yaml(path: Path, form: str) -> Mapping[str, Any]:
    """The mapping in a YAML file.

    Raises:
        CacheError: it is missing, no YAML or no mapping; ``form`` says what would do.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise CacheError(f"{path} cannot be read ({found}). Give {form}.") from error
    if not isinstance(content, Mapping):
        raise CacheError(f"{path} holds {type(content).__name__}, no mapping. Give {form}.")
    return content
