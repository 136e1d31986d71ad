"""The joint refinement network (Section III-A, Figures 2 and 3).

The text fixes the three scales, the 3 × 3 convolutions to 20 channels a modality, the operation
and the widths; Figures 2 and 3 are not reproduced here, so the rest is a reconstruction, every
part of it a constructor argument.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import Modality
from jrn_lightning.networks.convolution import Conv2d
from jrn_lightning.networks.fusion import fusion
from jrn_lightning.networks.muting import mute

INITIALIZATIONS = ("xavier", "gaussian", "pytorch")
#: ways around the branches for the input maps
NONE, ADD, CONCATENATE = "none", "add", "concatenate"
SKIPS = (NONE, ADD, CONCATENATE)


class ScaleBranch(nn.Module):
    """One scale: a stem per modality, the operation, and a convolution to C channels (Figure 3).

    Args:
        channels: modality -> channels of its map.
        operation: name of the fusion operation.
        stem_channels: features a modality, 20 in the paper.
        fused_channels: C0; None is what the operation gives, another number adds a 1 × 1
            projection after it.
        fusion_channels: C.
        stem_kernel: kernel size of the stems.
        fusion_kernel: kernel size of the convolution after the operation.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        operation: str,
        stem_channels: int,
        fused_channels: int | None,
        fusion_channels: int,
        stem_kernel: int,
        fusion_kernel: int,
    ) -> None:
        super().__init__()
        self.stem = nn.ModuleDict(
            {m: Conv2d(c, stem_channels, stem_kernel, relu=True) for m, c in channels.items()}
        )
        self.op = fusion(operation, len(channels), stem_channels)
        width = self.op.channels
        self.projection: nn.Module = nn.Identity()
        if fused_channels is not None and fused_channels != width:
            self.projection = Conv2d(width, fused_channels, 1)
            width = fused_channels
        self.fuse = Conv2d(width, fusion_channels, fusion_kernel, relu=True)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """``{modality: (B, C_m, H, W)}`` to ``(B, C, H, W)``."""
        features = [stem(inputs[m]) for m, stem in self.stem.items()]
        fused: Tensor = self.fuse(self.projection(self.op(features)))
        return fused


class JRN(nn.Module):
    """Joint refinement network over any number of modalities.

    The inputs are averaged down to each scale; the coarser branches are brought to the finest by
    bilinear interpolation, concatenated, convolved, and mapped to one output a modality. With the
    additive skip the network learns what to change: its heads start at zero, so that an untrained
    network returns its input at half the size.

    Args:
        modalities: name -> modality: the channels of its map, and how an input map enters the
            output's space.
        operation: ``op``: concatenation, sum, product, maximum or gate.
        fusion_channels: C, channels out of a branch.
        stem_channels: features per modality before the operation.
        fused_channels: C0, None for what the operation gives.
        hidden_channels: channels of the convolution over all branches.
        scales: divisors of the frame size; the outputs have the finest scale.
        stem_kernel: kernel size.
        fusion_kernel: kernel size.
        hidden_kernel: kernel size.
        head_kernel: kernel size.
        skip: what goes around the branches, averaged to the output scale: ``none``; ``add``, each
            input to its own output, in the output's space (:meth:`Modality.to_output`); or
            ``concatenate``, all inputs beside the branches before the hidden convolution.
        initialization: ``xavier`` (uniform, biases zero), ``gaussian`` (σ 0.01, biases zero) or
            ``pytorch`` (its default).

    Raises:
        ConfigError: an argument out of its range, by name.

    Example:
        >>> from jrn_lightning.modalities import Depth, Semantic
        >>> net = JRN({"depth": Depth("depth"), "semantic": Semantic("semantic", "abcde")})
        >>> maps = {"depth": torch.rand(1, 1, 16, 24), "semantic": torch.rand(1, 5, 16, 24)}
        >>> {m: tuple(x.shape) for m, x in net(maps, muted=["semantic"]).items()}
        {'depth': (1, 1, 8, 12), 'semantic': (1, 5, 8, 12)}
        >>> sum(p.numel() for p in net.parameters())
        168846
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        operation: str = "concatenation",
        fusion_channels: int = 60,
        stem_channels: int = 20,
        fused_channels: int | None = None,
        hidden_channels: int = 60,
        scales: Sequence[int] = (2, 4, 8),
        stem_kernel: int = 3,
        fusion_kernel: int = 3,
        hidden_kernel: int = 3,
        head_kernel: int = 3,
        skip: str = ADD,
        initialization: str = "xavier",
    ) -> None:
        super().__init__()
        _check_arguments(
            scales,
            {
                "fusion_channels": fusion_channels,
                "stem_channels": stem_channels,
                "hidden_channels": hidden_channels,
            }
            | ({} if fused_channels is None else {"fused_channels": fused_channels}),
            {
                "stem_kernel": stem_kernel,
                "fusion_kernel": fusion_kernel,
                "hidden_kernel": hidden_kernel,
                "head_kernel": head_kernel,
            },
        )
        if not modalities:
            raise ConfigError("a joint refinement network needs at least one modality, got none.")
        if skip not in SKIPS:
            raise ConfigError(f"skip is {skip!r}. Choose from: {', '.join(SKIPS)}.")
        self.modalities = dict(modalities)
        channels = {m: modality.channels for m, modality in modalities.items()}
        self.scales = tuple(sorted(scales))
        self.skip = skip
        self.operation, self.fusion_channels = operation, fusion_channels
        self.branches = nn.ModuleDict(
            {
                str(scale): ScaleBranch(
                    channels,
                    operation,
                    stem_channels,
                    fused_channels,
                    fusion_channels,
                    stem_kernel,
                    fusion_kernel,
                )
                for scale in self.scales
            }
        )
        width = len(self.scales) * fusion_channels
        if skip == CONCATENATE:
            width += sum(channels.values())
        self.hidden = Conv2d(width, hidden_channels, hidden_kernel, relu=True)
        #: one layer for all outputs, in the order of the modalities: the hidden map is read once
        self.head = Conv2d(hidden_channels, sum(channels.values()), head_kernel)
        initialize(self, initialization)
        if skip == ADD:  # nothing is changed at first
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)

    def start_at(self, outputs: Mapping[str, Tensor]) -> None:
        """Make ``(C_m,)`` the first output of modalities to which no input is added.

        A plausible constant map from the start keeps the first steps small.
        """
        assert self.head.bias is not None
        with torch.no_grad():
            for m, bias in self._by_modality(self.head.bias, 0).items():
                if m in outputs:
                    bias.copy_(outputs[m])

    def _by_modality(self, joined: Tensor, dim: int) -> dict[str, Tensor]:
        """Views of each modality's channels of ``joined``."""
        widths = [modality.channels for modality in self.modalities.values()]
        return dict(zip(self.modalities, joined.split(widths, dim), strict=True))

    @property
    def computation(self) -> str:
        """``loose`` or ``coupled``, as the paper calls it (Section III-B)."""
        return "loose" if is_loose(self.operation, self.fusion_channels) else "coupled"

    def check_frame(self, frame: tuple[int, int]) -> None:
        """Refuse a frame (H, W) that a scale does not divide.

        Raises:
            ConfigError: with the nearest size that fits.
        """
        step = math.lcm(*self.scales)
        if any(side % step for side in frame):
            fit = tuple(max(step, round(side / step) * step) for side in frame)
            raise ConfigError(
                f"data.frame is {list(frame)}, but both sides must be divisible by {step}, for the "
                f"scales {list(self.scales)}. The nearest that fits is {list(fit)}."
            )

    def forward(
        self, inputs: Mapping[str, Tensor], muted: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Refine jointly.

        Args:
            inputs: modality -> ``(B, C_m, H, W)``, probabilities and metres as they are.
            muted: modalities whose input is replaced by zeros, whatever it holds.

        Returns:
            modality -> ``(B, C_m, H / s, W / s)`` at the finest scale s: depth in metres, class
            scores before the softmax.
        """
        given = mute(inputs, muted) if muted else inputs
        finest = self.scales[0]
        at_scale = {m: F.avg_pool2d(given[m], finest) for m in self.modalities}
        first = at_scale
        features = []
        for previous, scale in zip((finest, *self.scales), self.scales, strict=False):
            if scale != finest:  # from the last scale where that is whole: the same averages
                whole = scale % previous == 0
                base, factor = (at_scale, scale // previous) if whole else (given, scale)
                at_scale = {m: F.avg_pool2d(base[m], factor) for m in self.modalities}
            features.append(self.branches[str(scale)](at_scale))
        if self.skip == CONCATENATE:
            features.extend(first.values())
        hidden = self.hidden(features)  # interpolates and concatenates
        outputs = self._by_modality(self.head(hidden), 1)
        if self.skip == ADD:
            outputs = {m: y + self.modalities[m].to_output(first[m]) for m, y in outputs.items()}
        return outputs


def initialize(network: nn.Module, how: str) -> None:
    """Fill the weights of all convolutions.

    Args:
        network: whose.
        how: ``xavier`` (uniform, biases zero), ``gaussian`` (σ 0.01, biases zero) or ``pytorch``
            (as they are made).

    Raises:
        ConfigError: no such way.
    """
    if how not in INITIALIZATIONS:
        raise ConfigError(f"initialization is {how!r}. Choose from: {', '.join(INITIALIZATIONS)}.")
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and how != "pytorch":
            if how == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def is_loose(operation: str, fusion_channels: int) -> bool:
    """Whether the paper calls it *loose* rather than *coupled* computation (Section III-B).

    Concatenation with many channels is loose (Cat60, Cat10); a sum, and a squeeze to few
    channels (Cat5, Cat1), couple the modalities.

    >>> is_loose("concatenation", 10), is_loose("concatenation", 5), is_loose("sum", 60)
    (True, False, False)
    """
    return operation == "concatenation" and fusion_channels >= 10


def _check_arguments(
    scales: Sequence[int], widths: Mapping[str, int], kernels: Mapping[str, int]
) -> None:
    if not scales or any(s < 1 for s in scales) or len(set(scales)) != len(scales):
        raise ConfigError(
            f"scales is {list(scales)}: give different positive divisors, as [2, 4, 8]."
        )
    for name, value in widths.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}: give a number of channels of at least 1.")
    for name, value in kernels.items():
        if value < 1 or value % 2 == 0:
            raise ConfigError(
                f"{name} is {value}: give an odd size, as 3, so that maps keep theirs."
            )
