"""What a Kinect makes of a view: a photograph, a depth map with holes, and its annotation."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from jrn_lightning.rooms.camera import Camera
from jrn_lightning.rooms.materials import Float, noise
from jrn_lightning.rooms.scene import Scene
from jrn_lightning.rooms.shading import Surfaces

Bool = NDArray[np.bool_]

#: metres; nothing is measured beyond, or nearer than
FARTHEST: Final = 10.0
NEAREST: Final = 0.4
#: metres by which the projector of the depth sensor's pattern is to the right of its camera
BASELINE: Final = 0.075
#: cosine of the angle between view and normal below which the pattern never comes back
GRAZING: Final = 0.06
_FRAYED: Final = 0.4  # of the pixels beside a jump of depth
_LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)


def photograph(light: Float, rng: Generator) -> NDArray[np.uint8]:
    """An image ``(H, W, 3)`` from linear RGB: exposed, blurred, noisy, compressed."""
    height, width, _ = light.shape
    luminance = light @ _LUMINANCE
    middle = float(np.exp(np.log(luminance + 1e-4).mean()))
    light = light * (rng.uniform(0.15, 0.27) / middle)
    light *= np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)  # white balance
    y = (np.arange(height, dtype=np.float32) - height / 2)[:, None] / (width / 2)
    x = (np.arange(width, dtype=np.float32) - width / 2) / (width / 2)
    light *= (1 - rng.uniform(0.05, 0.25) * (x * x + y * y))[..., None]
    # The lens, relative to an image 320 pixels wide.
    light = np.minimum(light, 12.0)  # else a lamp's blur whitens all around it
    blur = rng.uniform(0.55, 0.85) * max(0.6, width / 320)
    light = gaussian_filter(light, (blur, blur, 0), truncate=2.5)
    white = rng.uniform(2.0, 4.0)
    toned = light * (1 + light / white**2) / (1 + light)
    shot, read = rng.uniform(0.004, 0.016), rng.uniform(0.001, 0.004)
    grain = rng.standard_normal(toned.shape, np.float32)
    toned = toned + grain * np.sqrt(shot**2 * toned + read**2)
    values = 255 * np.clip(toned, 0, 1) ** np.float32(1 / 2.2)
    picture = Image.fromarray(np.rint(values).astype(np.uint8))
    compressed = io.BytesIO()
    picture.save(compressed, "JPEG", quality=int(rng.integers(75, 94)))
    return np.asarray(Image.open(compressed))


def unmeasured(scene: Scene, camera: Camera, seen: Surfaces, depth: Float, rng: Generator) -> Bool:
    """Where the depth sensor has no reading, ``(H, W)``.

    Beyond its range; at grazing angles; where its projector, beside the camera, is hidden; on
    screens, mirrors and panes, in patches; and, with some chance, one pixel around jumps of depth.
    ``seen`` are the H · W points of the view, ``depth`` ``(H, W)`` is exact, in metres.
    """
    size = depth.shape
    cosine = np.abs(np.einsum("ni,ni->n", seen.flat, seen.view))
    patches = _patches(size, rng, 14).ravel()
    missing = cosine < GRAZING + 0.1 * patches**2 * np.clip(seen.range / 4, 0, 1)
    projector = (camera.at + BASELINE * camera.axes[0]).astype(np.float32)
    to = projector - seen.off
    missing |= scene.blocked(seen.off, to, np.full(len(to), 0.999, np.float32))
    missing |= _patches(size, rng, 9).ravel() < scene.materials.absorbs[seen.part]
    frayed = jumps(depth) & (rng.random(size) < _FRAYED)
    out_of_range = (depth > FARTHEST) | (depth < NEAREST)
    return np.asarray(missing.reshape(size) | frayed | out_of_range)


def jumps(depth: Float) -> Bool:
    """Pixels beside a jump of depth by more than 5 %, in rows or columns; both sides."""
    found = np.zeros(depth.shape, np.bool_)
    for values, marks in ((depth, found), (depth.T, found.T)):
        jump = np.abs(np.diff(values, axis=0)) > 0.05 * np.minimum(values[1:], values[:-1])
        marks[1:] |= jump
        marks[:-1] |= jump
    return found


def measured(depth: Float, missing: Bool, rng: Generator) -> Float:
    """Depth ``(H, W)`` in metres as the sensor gives it, 0 where missing.

    Its error grows with the square of the depth: 1.5 mm at 1 m, 3 cm at 5 m (Khoshelham and
    Elberink, Accuracy and Resolution of Kinect Depth Data, 2012); neighbours share a part of it.
    """
    grain = gaussian_filter(rng.standard_normal(depth.shape, np.float32), 0.8) * 2.2
    noisy = depth + 0.0013 * depth**2 * grain
    return np.where(missing, 0, np.clip(noisy, NEAREST, FARTHEST)).astype(np.float32)


def annotated(
    label: NDArray[np.uint8], item: NDArray[np.int64], void: int, rng: Generator
) -> NDArray[np.uint8]:
    """Labels ``(H, W)`` as a person draws them: ``void`` in gaps between things.

    ``item`` ``(H, W)`` says which thing is seen.
    """
    gap = np.zeros(label.shape, np.bool_)
    gap[:, :-1] |= item[:, :-1] != item[:, 1:]
    gap[:-1] |= item[:-1] != item[1:]
    gap &= _patches(label.shape, rng, 20) < 0.55
    return np.where(gap, np.uint8(void), label)


def _patches(size: tuple[int, ...], rng: Generator, cells: float) -> Float:
    """Smooth noise 0 … 1 of so many cells across, ``(H, W)``, spread about evenly."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) * (cells / size[1])
    x, y = x + rng.uniform(0, 200), y + rng.uniform(0, 200)
    return np.clip(1.5 * (0.65 * noise(x, y) + 0.35 * noise(2.3 * x, 2.3 * y)) - 0.25, 0, 1)
