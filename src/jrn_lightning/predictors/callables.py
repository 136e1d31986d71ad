"""A function of one's own as a predictor: ``py:my.module:predict``."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jrn_lightning.cache.grid import AREA
from jrn_lightning.errors import ConfigError


class CallablePredictor:
    """Calls ``function(images)``; see :class:`.Predictor`.

    ``images`` is ``(B, 3, H, W)`` uint8, RGB. It returns maps ``(B, C, h, w)`` (a tensor or an
    array of any floating type, on any device) in the modality's units: metres, probabilities. A
    dictionary of maps by modality will do, too. The function may have attributes: ``grid`` (how
    the maps lie on the frame: ``area``, ``corners`` or ``OY,SY,OX,SX``), ``batch`` (images at a
    time, 1 by default), ``classes`` (names of the channels, for ``--classes``) and ``version`` (a
    text that changes with the code and the weights: without it nothing is gone on with after a
    stop).

    Args:
        spec: ``my.module:predict``, both importable.
        modality: name of what it predicts.

    Raises:
        ConfigError: no such function.
    """

    ranged = False

    def __init__(self, spec: str, modality: str) -> None:
        module, _, name = spec.partition(":")
        if (here := str(Path.cwd())) not in sys.path:  # as `python -m` has it, unlike a script
            sys.path.append(here)
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"py:{spec} cannot be imported ({error}). Give py:my.module:function, with the "
                "module in this folder or on PYTHONPATH."
            ) from error
        if not callable(found):
            raise ConfigError(f"py:{spec} is {found!r}, no function. Give one of images.")
        self.name, self.modality = f"py:{spec}", modality
        self._function: Callable[[Tensor], Any] = found
        self.batch = int(getattr(found, "batch", 1))
        self.grid = str(getattr(found, "grid", AREA))
        classes = getattr(found, "classes", None)
        self.classes = None if classes is None else tuple(map(str, classes))
        version = getattr(found, "version", None)
        self.resumes, self._version = version is not None, str(version)
        source = inspect.getsourcefile(
            inspect.unwrap(found) if inspect.isroutine(found) else type(found)
        )
        self._source = Path(source) if source else None

    def hash(self) -> str:
        """SHA-256 of the version, and of the file that defines the function."""
        code = self._source.read_bytes() if self._source else b""
        return hashlib.sha256(self._version.encode() + code).hexdigest()

    def __call__(self, images: Tensor) -> tuple[Tensor, str]:
        """See :class:`.Predictor`."""
        maps = self._function(images)
        if isinstance(maps, Mapping):
            if self.modality not in maps:
                raise ConfigError(
                    f"{self.name} returns {', '.join(map(str, maps))}. Let it return "
                    f"{self.modality}, too."
                )
            maps = maps[self.modality]
        if isinstance(maps, np.ndarray):
            maps = torch.from_numpy(maps)
        if not isinstance(maps, Tensor) or not maps.is_floating_point():
            kind = getattr(maps, "dtype", type(maps).__name__)
            raise ConfigError(f"{self.name} returns {kind}. Return floating maps (B, C, h, w).")
        return maps, self.grid
