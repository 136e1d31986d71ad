"""Distillation between the modalities by attention, after PAD-Net (Xu et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import Modality
from jrn_lightning.networks.convolution import Conv2d
from jrn_lightning.networks.jrn import ADD, initialize
from jrn_lightning.networks.muting import mute


class PADNet(nn.Module):
    """Each modality's features take from the others' what an attention map lets through.

    Of each input, averaged to 1/s of its size, two convolutions make features F. Then, for each
    modality k (Xu et al. 2018, Section 3.3, module C)::

        F'_k = F_k + Σ_{t ≠ k} σ(G_tk * F_t) ⊙ (W_tk * F_t)

    with G and W 3 × 3 convolutions, σ the sigmoid and ⊙ the product of elements. Heads on F give
    auxiliary outputs, which the training loss sees too (its deep supervision), heads on F' the
    refined maps. All heads start at zero and add to the input, as the skip of a JRN does.

    Unlike a JRN it works at one scale, and fuses after the features of a modality are complete.

    Args:
        modalities: name -> modality.
        feature_channels: channels of the features of a modality.
        scale: s, frame size over output size.
        initialization: as of a JRN.

    Example:
        >>> from jrn_lightning.modalities import Depth, Semantic
        >>> net = PADNet({"depth": Depth("depth"), "semantic": Semantic("semantic", "abcde")})
        >>> maps = {"depth": torch.rand(1, 1, 16, 24), "semantic": torch.rand(1, 5, 16, 24)}
        >>> list(net(maps))
        ['depth', 'depth/initial', 'semantic', 'semantic/initial']
    """

    computation = "attention"
    skip = ADD

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        feature_channels: int = 32,
        scale: int = 2,
        initialization: str = "xavier",
    ) -> None:
        super().__init__()
        for name, value in (("feature_channels", feature_channels), ("scale", scale)):
            if value < 1:
                raise ConfigError(f"{name} is {value}: give a number of at least 1.")
        self.modalities = dict(modalities)
        self.scale = scale
        width = feature_channels

        channels = {m: modality.channels for m, modality in modalities.items()}

        def layer(c_in: int, c_out: int, relu: bool = False) -> Conv2d:
            return Conv2d(c_in, c_out, 3, relu)

        self.stem = nn.ModuleDict(
            {
                m: nn.Sequential(layer(c, width, relu=True), layer(width, width, relu=True))
                for m, c in channels.items()
            }
        )
        self.decoder = nn.ModuleDict({m: layer(width, width, relu=True) for m in channels})
        self.initial = nn.ModuleDict({m: layer(width, c) for m, c in channels.items()})
        self.head = nn.ModuleDict({m: layer(width, c) for m, c in channels.items()})
        others = [f"{t}_{k}" for k in modalities for t in modalities if t != k]
        self.message = nn.ModuleDict({pair: layer(width, width) for pair in others})
        self.attention = nn.ModuleDict({pair: layer(width, width) for pair in others})
        initialize(self, initialization)
        for head in (*self.initial.values(), *self.head.values()):
            for parameter in head.parameters():
                nn.init.zeros_(parameter)

    def start_at(self, outputs: Mapping[str, Tensor]) -> None:
        """Make ``(C,)`` the first output of modalities whose inputs are never seen."""
        with torch.no_grad():
            for m, value in outputs.items():
                for heads in (self.initial, self.head):
                    bias = cast(Conv2d, heads[m]).bias
                    assert bias is not None
                    bias.copy_(value)

    def check_frame(self, frame: tuple[int, int]) -> None:
        """Refuse a frame (H, W) that the scale does not divide.

        Raises:
            ConfigError: both sides have to be divisible.
        """
        if any(side % self.scale for side in frame):
            raise ConfigError(
                f"data.frame is {list(frame)}, but both sides must be divisible by {self.scale}."
            )

    def forward(
        self, inputs: Mapping[str, Tensor], muted: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Refine jointly.

        Args:
            inputs: modality -> ``(B, C_m, H, W)``, probabilities and metres as they are.
            muted: modalities whose input is replaced by zeros, whatever it holds.

        Returns:
            modality -> ``(B, C_m, H / s, W / s)``, and likewise ``<modality>/initial``.
        """
        given = mute(inputs, muted) if muted else inputs
        small = {m: F.avg_pool2d(given[m], self.scale) for m in self.modalities}
        features: dict[str, Tensor] = {m: self.stem[m](x) for m, x in small.items()}
        outputs = {}
        for k, modality in self.modalities.items():
            refined = features[k]
            for t, other in features.items():
                if t != k:
                    gate = self.attention[f"{t}_{k}"](other).sigmoid()
                    refined = refined + gate * self.message[f"{t}_{k}"](other)
            base = modality.to_output(small[k])
            outputs[k] = base + self.head[k](self.decoder[k](refined))
            outputs[f"{k}/initial"] = base + self.initial[k](features[k])
        return outputs
