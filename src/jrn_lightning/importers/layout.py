"""Layouts: where the maps of a data set lie and what their numbers mean, as one YAML file.

See ``docs/your-data.md`` for all keys, and the folder ``presets`` for examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from jrn_lightning import keys
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.schema import close, keys_of, load_yaml

_NUMBER: Final = (int, float)
_FORM: Final = "a layout, as docs/your-data.md describes it"
#: what the values of a depth map are, and what each needs of the camera
FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "planar": (),
    "distance": ("focal",),
    "disparity": ("focal", "baseline"),
    "inverse": (),
}


@dataclass(frozen=True)
class Camera:
    """Numbers, or names of entries in a file of each frame; pixels of the map, and metres."""

    file: str | None = None
    focal: float | str | None = None
    focal_y: float | str | None = None
    center: Sequence[float | str] | None = None
    baseline: float | str | None = None


@dataclass(frozen=True)
class ImageLayout:
    """Where the colour images lie, and what makes 8 bits of their values."""

    file: str
    key: str | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class MapLayout:
    """One kind of ground truth.

    Values are ``stored * scale + offset``; ``invalid`` ones are missing. The other keys are those
    of one kind of map: see the page.
    """

    name: str
    kind: str
    file: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    invalid: Sequence[float] = ()
    rotate: int = 0
    partial: bool = False
    # depth
    form: str = "planar"
    beyond: str = "refuse"
    camera: Camera | None = None
    # several channels
    axes: str | None = None
    flip: Sequence[str] = ()
    derive: str | None = None
    # labels
    labels: str | None = None
    ids: str | None = None
    void: Sequence[int | Sequence[int]] = ()
    translate: Mapping[str, str] | None = None

    @property
    def where(self) -> str:
        """The key of this map, for messages."""
        return f"maps.{self.name}"


@dataclass(frozen=True)
class PredictionLayout:
    """Predictions of one modality: a file a frame, and where they come from."""

    file: str
    source: str = ""
    sampling: str = "unknown"
    grid: str = "area"
    scale: float = 1.0
    key: str | None = None


@dataclass(frozen=True)
class Layout:
    """A whole data set."""

    image: ImageLayout
    maps: Mapping[str, MapLayout]
    splits: Mapping[str, Any]
    name: str = ""
    frames: str | None = None
    id: str | None = None
    scene: str | None = None
    size: Sequence[int] | None = None
    predictions: Mapping[str, PredictionLayout] = field(default_factory=dict)
    source: str = ""
    notes: str = ""
    path: str = ""


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("scale", "offset"), _NUMBER),
    **dict.fromkeys(("invalid", "void", "flip", "size", "center"), (list,)),
    **dict.fromkeys(("attributes", "translate", "splits", "maps", "predictions"), (dict,)),
    **dict.fromkeys(("focal", "focal_y", "baseline"), (*_NUMBER, str)),
    "rotate": (int,),
    "partial": (bool,),
}
_CHOICES: Final[Mapping[str, Sequence[str]]] = {
    "form": tuple(FORMS),
    "beyond": ("refuse", "void"),
    "axes": ("CHW", "HWC"),
}


def _take(made: type, content: object, where: str, **given: Any) -> Any:
    """An object of a dataclass from a mapping, with every key and type checked."""
    names = [f.name for f in fields(made) if f.name not in given and f.name != "path"]
    found = dict(keys_of(content, names, where))
    for f in fields(made):
        if f.name in names and f.name not in found and f.default is f.default_factory is MISSING:
            raise CacheError(f"{where}: the key {f.name!r} is missing.")
    for key, value in found.items():
        types = _TYPES.get(key, (str,))
        if value is None:
            continue
        if made is not Layout and key == "camera":
            found[key] = _take(Camera, value, f"{where}.camera")
        elif key == "image":
            value = {"file": value} if isinstance(value, str) else value
            found[key] = _take(ImageLayout, value, f"{where}.image")
        elif not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            wanted = " or ".join(
                dict.fromkeys("a number" if t in _NUMBER else _WORDS[t] for t in types)
            )
            raise CacheError(f"{where}.{key} is {value!r}. Give {wanted}.")
        elif key in _CHOICES and value not in _CHOICES[key]:
            raise CacheError(f"{where}.{key} is {value!r}. {close(str(value), _CHOICES[key])}")
    return made(**given, **found)


_WORDS: Final[Mapping[type, str]] = {
    str: "text",
    list: "a list",
    dict: "a mapping",
    bool: "true or false",
}


def parse(content: Mapping[str, Any], path: str) -> Layout:
    """A layout from the mapping in its file.

    Raises:
        CacheError: an unknown or missing key, or a value that cannot be used, by key.
    """
    raw: Layout = _take(Layout, content, path, path=path)
    maps = {
        str(name): _take(MapLayout, value, f"{path}: maps.{name}", name=str(name))
        for name, value in raw.maps.items()
    }
    for made in maps.values():
        _check(made, maps, f"{path}: {made.where}")
    predictions = {
        str(name): _take(
            PredictionLayout,
            {"file": value} if isinstance(value, str) else value,
            f"{path}: predictions.{name}",
        )
        for name, value in raw.predictions.items()
    }
    for name in predictions:
        if name not in maps:
            raise CacheError(f"{path}: predictions.{name} is of no map. {close(name, maps)}")
    if not maps:
        raise CacheError(f"{path}: maps is empty. Give at least one, as depth.")
    for split in raw.splits:
        if split not in keys.SPLITS:
            raise CacheError(f"{path}: splits.{split}: {close(str(split), keys.SPLITS)}")
    return Layout(**{**vars(raw), "maps": maps, "predictions": predictions})


def _check(made: MapLayout, maps: Mapping[str, MapLayout], where: str) -> None:
    if made.derive is not None:
        source = maps.get(made.derive)
        if made.kind != "normals" or source is None or source.kind != "depth":
            raise CacheError(f"{where}.derive is {made.derive!r}. Derive normals from a depth map.")
        if source.camera is None or source.camera.focal is None:
            raise CacheError(f"{where} needs maps.{made.derive}.camera.focal.")
    elif made.file is None:
        raise CacheError(f"{where}: the key 'file' is missing.")
    for need in FORMS[made.form]:
        if made.camera is None or getattr(made.camera, need) is None:
            raise CacheError(f"{where}: form: {made.form} needs camera.{need}.")
    if made.kind == "semantic" and made.labels is None:
        raise CacheError(f"{where}: the key 'labels' is missing: a label space, or a file of one.")
    if made.translate is not None:
        keys_of(made.translate, ("file", "from", "to"), f"{where}.translate")
        if len(made.translate) < 3:
            raise CacheError(f"{where}.translate: give file, from and to.")


def only(layout: Layout, names: Sequence[str]) -> Layout:
    """A layout of some of its maps.

    Raises:
        CacheError: a name of none, or normals without the depth that they are derived from.
    """
    for name in names:
        if name not in layout.maps:
            raise CacheError(f"{layout.path} has no map {name!r}. {close(name, layout.maps)}")
        if (source := layout.maps[name].derive) and source not in names:
            raise CacheError(f"{layout.path}: {name} is derived from {source}. Take it, too.")
    maps = {name: made for name, made in layout.maps.items() if name in names}
    predictions = {name: made for name, made in layout.predictions.items() if name in names}
    return replace(layout, maps=maps, predictions=predictions)


def load(path: Path) -> Layout:
    """The layout in a file."""
    return parse(load_yaml(path, _FORM), str(path))


@cache
def presets() -> list[str]:
    """The layouts that come with the package."""
    folder = resources.files(__package__).joinpath("presets")
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir())


def preset(name: str) -> Layout:
    """A layout that comes with the package.

    Raises:
        CacheError: there is none of that name; the names are listed.
    """
    if name not in presets():
        raise CacheError(f"preset {name!r} is unknown. {close(name, presets())}")
    file = resources.files(__package__).joinpath("presets", f"{name}.yaml")
    return parse(yaml.safe_load(file.read_text("utf-8")), f"preset {name}")
