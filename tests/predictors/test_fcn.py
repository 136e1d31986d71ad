from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.errors import CheckpointError
from jrn_lightning.predictors.fcn import FCN, FCNPredictor, read_weights

WIDTHS = (4, 4, 4, 4, 4)


def network(stride: int = 16) -> FCN:
    torch.manual_seed(0)
    net = FCN(40, stride, WIDTHS, 8).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.4)
    return net


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that is bytes."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def caffe(state: Mapping[str, Tensor], old: bool) -> bytes:
    """A Caffe network of these weights, in the form of today or that of 2014."""
    content = field(1, b"net")
    for layer in sorted({name.split(".")[0] for name in state}):
        name_field, array_field = (4, 6) if old else (1, 7)
        parts = field(name_field, layer.encode())
        for kind in ("weight", "bias"):
            array = state[f"{layer}.{kind}"]
            shape = tuple(array.shape) if array.ndim == 4 else (1, 1, 1, len(array))
            if old:
                sizes = b"".join(_varint(i << 3) + _varint(n) for i, n in enumerate(shape, 1))
            else:
                sizes = field(7, field(1, b"".join(map(_varint, array.shape))))
            values = struct.pack(f"<{array.numel()}f", *array.flatten().tolist())
            parts += field(array_field, sizes + field(5, values))
        content += field(2 if old else 100, parts)
    return content


def test_every_form_of_weights_is_read(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save(state, tmp_path / "a.pth")
    np.savez(tmp_path / "a.npz", **{k: v.numpy() for k, v in state.items()})
    (tmp_path / "a.caffemodel").write_bytes(caffe(state, old=False))
    (tmp_path / "b.caffemodel").write_bytes(caffe(state, old=True))
    hashes = set()
    for name in ("a.pth", "a.npz", "a.caffemodel", "b.caffemodel"):
        weights = read_weights(tmp_path / name)
        for key, value in state.items():
            torch.testing.assert_close(weights[key].reshape(value.shape), value, rtol=0, atol=0)
        hashes.add(FCNPredictor(tmp_path / name).hash())
    assert len(hashes) == 1


class PyTorchFCN(nn.Module):
    """The network as pytorch-fcn writes it: module by module, with transposed convolutions."""

    def __init__(self, state: Mapping[str, Tensor], stride: int) -> None:
        super().__init__()
        self.state, self.stride = state, stride

    def conv(self, name: str, x: Tensor, padding: int) -> Tensor:
        return F.conv2d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1, padding)

    def forward(self, image: Tensor) -> Tensor:
        h, pool4 = image, None
        for stage, depth in enumerate((2, 2, 3, 3, 3), 1):
            for i in range(1, depth + 1):
                padding = 100 if (stage, i) == (1, 1) else 1
                h = self.conv(f"conv{stage}_{i}", h, padding).relu()
            h = nn.MaxPool2d(2, 2, ceil_mode=True)(h)
            pool4 = h if stage == 4 else pool4
        h = self.conv("fc7", self.conv("fc6", h, 0).relu(), 0).relu()
        h = self.conv("score_fr", h, 0)
        if self.stride == 32:
            return self.up(h, 64, 32)[..., 19:, 19:][..., : image.shape[2], : image.shape[3]]
        h = self.up(h, 4, 2)
        assert pool4 is not None
        side = self.conv("score_pool4", pool4, 0)[:, :, 5 : 5 + h.shape[2], 5 : 5 + h.shape[3]]
        return self.up(h + side, 32, 16)[..., 27:, 27:][..., : image.shape[2], : image.shape[3]]

    @staticmethod
    def up(x: Tensor, kernel: int, stride: int) -> Tensor:
        """With the bilinear weights of the authors' surgery.py."""
        factor = (kernel + 1) // 2
        centre = factor - 0.5
        og = np.ogrid[:kernel, :kernel]
        filt = (1 - abs(og[0] - centre) / factor) * (1 - abs(og[1] - centre) / factor)
        weight = torch.zeros(x.shape[1], x.shape[1], kernel, kernel)
        weight[range(x.shape[1]), range(x.shape[1])] = torch.from_numpy(filt).float()
        return F.conv_transpose2d(x, weight, stride=stride)


@pytest.mark.parametrize("stride", [16, 32])
def test_scores_are_those_of_the_published_network(stride: int, tmp_path: Path) -> None:
    state = network(stride).state_dict()
    torch.save(state, tmp_path / "a.pth")
    predictor = FCNPredictor(tmp_path / "a.pth")
    assert predictor.name == f"FCN-{stride}s"
    picture = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    with torch.inference_mode():
        maps, grid = predictor(picture)
        # Blue first, less the means of NYU Depth v2.
        bgr = picture[:, [2, 1, 0]].float() - torch.tensor([116.190, 97.203, 92.318])[:, None, None]
        expected = PyTorchFCN(state, stride)(bgr).softmax(1)
    assert grid == "area"
    assert maps.shape == (1, 40, 12, 16)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(maps, F.avg_pool2d(expected, 4), rtol=1e-3, atol=1e-5)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.caffemodel").write_bytes(caffe(network().state_dict(), old=False)[:-100])
    with pytest.raises(CheckpointError, match=r"a\.caffemodel cannot be read \(cut off\)"):
        FCNPredictor(tmp_path / "a.caffemodel")
    with pytest.raises(CheckpointError, match=r"b\.pth does not exist"):
        FCNPredictor(tmp_path / "b.pth")
    torch.save(FCN(21, 16, WIDTHS, 8).state_dict(), tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"b\.pth is no FCN-16s or FCN-32s with 40 classes"):
        FCNPredictor(tmp_path / "b.pth")
    (tmp_path / "c.h5").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"c\.h5 is no \.caffemodel"):
        FCNPredictor(tmp_path / "c.h5")
    for name in ("d.pth", "d.npz"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(CheckpointError, match=name):
            FCNPredictor(tmp_path / name)
