"""FCN-16s and FCN-32s of Long, Shelhamer and Darrell (CVPR 2015) for NYU-40: ``fcn:FILE``.

Nothing is trained here: weights come from a file,

- ``.caffemodel``, as the authors publish them (nyud-fcn32s-color-heavy.caffemodel),
- ``.pth``: a state dict in the naming of pytorch-fcn, which is that of the Caffe layers
  (``conv1_1.weight``, …, ``fc7.bias``, ``score_fr.weight``, ``score_pool4.weight``),
- ``.npz``: arrays of those names.

With ``score_pool4`` among them it is an FCN-16s, without an FCN-32s. Upsampling is bilinear,
as the authors fix it, so that its weights are not read.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.cache.grid import AREA
from jrn_lightning.errors import CheckpointError
from jrn_lightning.importers.labels import space
from jrn_lightning.predictors.hub import state_hash

#: mean colours of NYU Depth v2 that the authors subtract: blue, green, red
_MEAN: Final = (116.190, 97.203, 92.318)
_DEPTHS: Final = (2, 2, 3, 3, 3)  # convolutions of each stage
_WIDTHS: Final = (64, 128, 256, 512, 512)
#: whose numbers of channels make the network
_LAYERS: Final = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1", "fc6")
_POOL4: Final = "score_pool4.weight"
#: pixels of the image a cell of the stored map, a side; the scores are 16 or 32 apart
_CELL: Final = 4


class FCN(nn.Module):
    """Scores ``(B, C, H, W)`` of ``(B, 3, H, W)`` images: blue, green, red, less their means.

    Args:
        classes: C.
        stride: 16 or 32, of the scores before they are upsampled.
        widths: channels of the five stages.
        hidden: of the layers fc6 and fc7.
    """

    def __init__(
        self,
        classes: int = 40,
        stride: int = 16,
        widths: Sequence[int] = _WIDTHS,
        hidden: int = 4096,
    ) -> None:
        super().__init__()
        self.stride, channels = stride, 3
        for stage, (depth, width) in enumerate(zip(_DEPTHS, widths, strict=True), start=1):
            for i in range(1, depth + 1):
                # The first padding makes room for the 7 × 7 of fc6 in small images.
                layer = nn.Conv2d(channels, width, 3, padding=100 if stage == i == 1 else 1)
                self.add_module(f"conv{stage}_{i}", layer)
                channels = width
        self.fc6 = nn.Conv2d(channels, hidden, 7)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.score_fr = nn.Conv2d(hidden, classes, 1)
        if stride == 16:
            self.score_pool4 = nn.Conv2d(widths[3], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """See the class; crops are those of the authors' networks."""
        x, pool4 = image, image
        for stage, depth in enumerate(_DEPTHS, start=1):
            for i in range(1, depth + 1):
                x = F.relu(self.get_submodule(f"conv{stage}_{i}")(x), inplace=True)
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            if stage == 4:
                pool4 = x
        x = self.score_fr(F.relu(self.fc7(F.relu(self.fc6(x)))))
        if self.stride == 16:
            x = _upsampled(x, 2)
            x = x + self.score_pool4(pool4)[:, :, 5 : 5 + x.shape[2], 5 : 5 + x.shape[3]]
        x, first = _upsampled(x, self.stride), 27 if self.stride == 16 else 19
        return x[:, :, first : first + image.shape[2], first : first + image.shape[3]]


def _upsampled(x: Tensor, factor: int) -> Tensor:
    """By a transposed convolution with a fixed bilinear kernel of twice the factor."""
    ramp = 1 - (torch.arange(2 * factor, device=x.device) - factor + 0.5).abs() / factor
    kernel = (ramp[:, None] * ramp).expand(x.shape[1], 1, -1, -1)
    return F.conv_transpose2d(x, kernel, stride=factor, groups=x.shape[1])


class FCNPredictor:
    """Probabilities of the 40 classes; see :class:`.Predictor`.

    They are means over cells of 4 × 4 pixels, far finer than the scores themselves.

    Raises:
        CheckpointError: a file that is missing, damaged or holds another network.
    """

    resumes = True
    ranged = False
    batch = 1
    classes: tuple[str, ...] | None = space("nyu40").classes

    def __init__(self, path: Path) -> None:
        weights = read_weights(path)
        try:
            *widths, hidden = (weights[f"{layer}.bias"].numel() for layer in _LAYERS)
            network = FCN(40, 16 if _POOL4 in weights else 32, widths, hidden)
            known = network.state_dict()
            weights = {k: v.reshape(known[k].shape) for k, v in weights.items() if k in known}
            network.load_state_dict(weights)
        except (KeyError, RuntimeError) as error:
            said = str(error).splitlines()[-1].strip()
            raise CheckpointError(
                f"{path} is no FCN-16s or FCN-32s with 40 classes ({said}). Give the weights of "
                "nyud-fcn32s-color, or others with its names of layers."
            ) from error
        self.name = f"FCN-{network.stride}s"
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.eval().to(self._device)
        self._mean = torch.tensor(_MEAN, device=self._device)[:, None, None]

    def hash(self) -> str:
        """SHA-256 of the weights."""
        return state_hash(self._network.state_dict())

    def __call__(self, images: Tensor) -> tuple[Tensor, str]:
        """See :class:`.Predictor`."""
        scores = self._network(images.to(self._device).flip(1).float() - self._mean)
        height, width = (max(1, n // _CELL) for n in images.shape[-2:])
        return F.adaptive_avg_pool2d(scores.softmax(1), (height, width)), AREA


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by layer and kind, as ``conv1_1.weight``.

    Raises:
        CheckpointError: a file that is missing, damaged or of another form.
    """
    try:
        if path.suffix == ".caffemodel":
            return _read_caffe(memoryview(path.read_bytes()))
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: torch.from_numpy(archive[name]) for name in archive.files}
        if path.suffix in (".pth", ".pt"):
            state: dict[str, Tensor] = torch.load(path, "cpu", weights_only=True)
            return dict(state.items())
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist. Give a file of weights.") from None
    except (OSError, ValueError, IndexError, RuntimeError, EOFError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Copy it again.") from error
    except (pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Copy it again.") from error
    raise CheckpointError(f"{path} is no .caffemodel, .pth or .npz file. Give one of these.")


# -- Caffe's files are protocol buffers: fields of a number, a type and a value ------------------

_LAYER, _OLD_LAYER = 100, 2  # of a network
_NAMES = {_LAYER: (1, 7), _OLD_LAYER: (4, 6)}  # name and arrays of a layer
_DATA, _SHAPE, _OLD_SHAPE = 5, 7, (1, 2, 3, 4)  # of an array


def _read_caffe(content: memoryview) -> dict[str, Tensor]:
    found = {}
    for number, layer in _fields(content):
        if number not in _NAMES:
            continue
        name_field, array_field = _NAMES[number]
        fields = list(_fields(layer))
        name = next((bytes(value).decode() for n, value in fields if n == name_field), "")
        arrays = [value for n, value in fields if n == array_field]
        for kind, array in zip(("weight", "bias"), arrays, strict=False):
            found[f"{name}.{kind}"] = _array(array)
    return found


def _array(content: memoryview) -> Tensor:
    data, shape, old = [], [], {}
    for number, value in _fields(content):
        if number == _DATA:
            data.append(np.frombuffer(value, "<f4"))
        elif number == _SHAPE:
            dims = [v for n, v in _fields(value) if n == 1]
            shape = [d for v in dims for d in ([v] if isinstance(v, int) else _varints(v))]
        elif number in _OLD_SHAPE:
            old[number] = value
    values = np.concatenate(data).copy()
    return torch.from_numpy(values).reshape(shape or [old.get(n, 1) for n in _OLD_SHAPE])


def _fields(content: memoryview) -> Iterator[tuple[int, Any]]:
    """Numbers and values: integers as such, all else as bytes."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        if wire == 2:
            length, at = _varint(content, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("no Caffe weights")
        if at + length > len(content):
            raise ValueError("cut off")
        yield key >> 3, content[at : at + length]
        at += length


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _varints(content: memoryview) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value
