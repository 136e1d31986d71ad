"""Indoor scenes generated from a seed: images, depth and labels without a download.

``spec`` says what is wanted, ``store`` keeps it in a folder. A room is furnished (``layout``,
``furniture``, ``objects``; built of ``shapes`` and ``materials``), becomes one mesh for Embree
(``scene``), is looked at from several places (``camera``), lit (``shading``), and seen through a
Kinect's eyes (``sensor``).
"""

from jrn_lightning.rooms.spec import GENERATOR_VERSION, RoomsSpec
from jrn_lightning.rooms.store import Rooms, render

__all__ = ["GENERATOR_VERSION", "Rooms", "RoomsSpec", "render"]
