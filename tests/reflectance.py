"""A made-up third modality, as a plug-in would define one: this file is all there is of it."""

from __future__ import annotations

from typing import Any, ClassVar

from jrn_lightning.modalities import Continuous


class Reflectance(Continuous):
    """Reflectance and shading between 0 and ``brightest``: two channels, of truth too."""

    kind: ClassVar[str] = "reflectance"

    def __init__(self, name: str, brightest: float = 1.0) -> None:
        super().__init__(name, channels=2, maximum=brightest)

    @property
    def attributes(self) -> dict[str, Any]:
        return {"brightest": self.maximum}
