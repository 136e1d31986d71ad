"""All that differs between kinds of maps, one file each.

Every module of this folder is imported here, so that a new file is a new modality.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities.base import Array, Measure, Modality
from jrn_lightning.modalities.continuous import Continuous
from jrn_lightning.modalities.depth import Depth
from jrn_lightning.modalities.normals import Normals
from jrn_lightning.modalities.regions import Regions
from jrn_lightning.modalities.semantic import Semantic

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


#: names of the modules that the user has asked for
PLUGINS: set[str] = set()


def import_plugins(modules: Iterable[str]) -> None:
    """Import modules that define further modalities or networks.

    Raises:
        ConfigError: a module that cannot be imported, by name.
    """
    for module in modules:
        try:
            importlib.import_module(module)
            PLUGINS.add(module)
        except ImportError as error:
            raise ConfigError(
                f"plug-in {module!r} cannot be imported ({error}). Is it on PYTHONPATH?"
            ) from error


__all__ = [
    "PLUGINS",
    "Array",
    "Continuous",
    "Depth",
    "Measure",
    "Modality",
    "Normals",
    "Regions",
    "Semantic",
    "import_plugins",
]
