"""Encoder-decoders that predict one modality from a colour image."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.predictors.efficientnet import EfficientNetLite0

SMALL: Final = "small"
LITE0: Final = "efficientnet_lite0"
TIMM: Final = "timm:"


def encoder(name: str, pretrained: bool = True) -> nn.Module:
    """The encoder ``name``: features of ``(B, 3, H, W)`` images in [0, 1], finest first.

    Args:
        name: ``small`` (from scratch), ``efficientnet_lite0``, or ``timm:NAME`` for any encoder
            of timm that gives feature maps; its ImageNet weights are then downloaded by timm.
        pretrained: with weights, where there are any; without, to load a checkpoint into it.

    Raises:
        ConfigError: an unknown name, or one whose package is not there.
    """
    if name == SMALL:
        return SmallEncoder()
    if name == LITE0:
        return EfficientNetLite0(pretrained)
    if name.startswith(TIMM):
        return TimmEncoder(name.removeprefix(TIMM), pretrained)
    raise ConfigError(
        f"encoder {name!r} is unknown. Choose from: {SMALL}, {LITE0}, {TIMM}NAME for one of timm."
    )


def require_encoder(name: str) -> None:
    """Refuse an encoder that cannot be made, before anything takes long: a ConfigError."""
    if name.startswith(TIMM):
        _timm(name.removeprefix(TIMM))
    elif name not in (SMALL, LITE0):
        encoder(name)


def _timm(name: str) -> Any:
    """The library."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # torchvision beside another torch: either
        raise ConfigError(
            f"encoder={TIMM}{name} needs timm and a torchvision that fits torch ({error}): "
            f"pip install 'jrn-lightning[timm]', or choose encoder={LITE0}."
        ) from error
    return timm


def _block(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


class SmallEncoder(nn.Module):
    """A convolution each at strides 2, 4 and 8, to be trained from scratch on few small frames.

    A cell of its features sees 15 pixels a side, of the whole room only the mean that the decoder
    adds: what surrounds a place is left to a refinement network.
    """

    channels = (16, 24, 48)
    strides = (2, 4, 8)

    def __init__(self) -> None:
        super().__init__()
        widths = pairwise((3, *self.channels))
        self.stages = nn.ModuleList(_block(c_in, c_out, stride=2) for c_in, c_out in widths)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of ``image`` ``(B, 3, H, W)`` in [0, 1], finest first."""
        x, features = image * 4 - 2, []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class TimmEncoder(nn.Module):
    """An encoder of the timm library, which downloads its weights.

    All ``strides`` are 16 in a plain vision transformer. Without timm, or with a name that it does
    not know, a ConfigError.
    """

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        timm = _timm(name)
        self.name = name
        options = {"pretrained": pretrained, "features_only": True}
        try:
            try:  # transformers take images of one size unless told otherwise
                self.body = timm.create_model(name, dynamic_img_size=True, **options)
            except TypeError:  # no transformer
                self.body = timm.create_model(name, **options)
        except Exception as error:  # timm's and the hub's errors have no common class
            raise ConfigError(
                f"encoder={TIMM}{name}: {error}. timm.list_models() has the names"
                + (", and the weights are downloaded." if pretrained else ".")
            ) from error
        self.channels = tuple(self.body.feature_info.channels())
        self.strides = tuple(self.body.feature_info.reduction())
        data = timm.data.resolve_model_data_config(self.body)
        self.register_buffer("mean", torch.tensor(data["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(data["std"])[:, None, None], persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of ``image`` ``(B, 3, H, W)`` in [0, 1], finest first; see the class."""
        try:
            features: list[Tensor] = self.body((image - self.mean) / self.std)
        except (AssertionError, ValueError) as error:  # how timm refuses a size
            height, width = image.shape[-2:]
            raise ConfigError(
                f"encoder={TIMM}{self.name} does not take images of {height} x {width} "
                f"({error}). Choose an encoder for images of any size."
            ) from error
        if getattr(self.body, "output_fmt", "NCHW") == "NHWC":
            return [x.movedim(-1, 1) for x in features]
        return features


class ImageNetwork(nn.Module):
    """One map from one image: an encoder, and a decoder that adds its features, coarse to fine.

    Args:
        encoder_name: see :func:`encoder`.
        channels: C of the output.
        width: channels of the decoder.
        stride: pixels of the image a cell of the output. Features that are finer are not used;
            where all are coarser, the decoder's map is interpolated.
        bias: ``(C,)`` of the output at the start, zero by default.
        pretrained: see :func:`encoder`.

    Raises:
        ConfigError: a stride below 1 or above all of the encoder's; what :func:`encoder` refuses.
    """

    def __init__(
        self,
        encoder_name: str,
        channels: int,
        width: int = 48,
        stride: int = 4,
        bias: Tensor | None = None,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = encoder(encoder_name, pretrained)
        levels: tuple[int, ...] = self.encoder.channels  # type: ignore[assignment]
        strides: tuple[int, ...] = self.encoder.strides  # type: ignore[assignment]
        if not 1 <= stride <= max(strides):
            raise ConfigError(
                f"stride {stride} is out of range: 1 to {max(strides)} for {encoder_name}."
            )
        self.stride = stride
        self.first = next(i for i, s in enumerate(strides) if s >= stride)
        used = levels[self.first :]
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in used)
        self.merges = nn.ModuleList(_block(width, width) for _ in used[1:])
        # What a cell is depends on the whole room: the coarsest map's mean is added to all.
        self.context = nn.Linear(used[-1], width)
        self.head = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.01)
        self.head.bias = nn.Parameter(torch.zeros(channels) if bias is None else bias.clone())

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, ⌈H / stride⌉, ⌈W / stride⌉)`` for ``image`` ``(B, 3, H, W)`` in [0, 1]."""
        features = self.encoder(image)[self.first :]
        x = self.laterals[-1](features[-1])
        x = x + self.context(features[-1].mean((2, 3)))[:, :, None, None]
        steps = zip(self.laterals[:-1], self.merges, features[:-1], strict=True)
        for lateral, merge, finer in reversed(list(steps)):
            larger = F.interpolate(x, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            x = merge(larger + lateral(finer))
        size = tuple(-(-n // self.stride) for n in image.shape[-2:])
        if x.shape[-2:] != size:
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        output: Tensor = self.head(x)
        return output
