"""The names of all fields that travel between the parts of the package.

Letters used in shape comments: B batch, C channels, H × W frame, h × w native grid, N images,
S inference setups, P protocols, D statistics, K classes, R bootstrap resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NotRequired, TypedDict

if TYPE_CHECKING:
    from torch import Tensor

# Splits of a prediction cache.
TRAIN: Final = "train"
VAL: Final = "val"
TEST: Final = "test"
PREDICT: Final = "predict"  # frames with no ground truth
SPLITS: Final = (TRAIN, VAL, TEST, PREDICT)

# Datasets of one split in the cache file, or groups of one a modality.
ID: Final = "id"  # (N,) str, unique within the file
SCENE: Final = "scene"  # (N,) str, the cluster of the bootstrap and of every split
PREDICTION: Final = "prediction"  # per modality (N, C, h, w)
TARGET: Final = "target"  # per modality (N, H, W) or (N, C, H, W)
ALTERNATIVE: Final = "alternative"  # per modality and name (N, H, W), optional: other ground truth
IMAGE: Final = "image"  # (N, H, W, 3) uint8, optional

# Rows of a table of results, beside the inference setups.
UNTOUCHED: Final = "input"  # the single-task prediction itself, evaluated like an output
JOINT: Final = "joint"  # setup A of Figure 4: every input is given

# How a measure is taken over a split.
WHOLE: Final = "full"  # the protocol that leaves nothing out
PIXELS: Final = "pixels"  # of the sum over all pixels
IMAGES: Final = "images"  # as the mean over images
POOLINGS: Final = (PIXELS, IMAGES)

# The part of a job's record that every job has: the untouched input, joint, each modality muted.
MAIN: Final = "statistics"

# Prefix of the setups B and C of Figure 4.
_MUTED: Final = "muted_"


class Batch(TypedDict):
    """What the data module hands to the task."""

    id: list[str]
    index: Tensor  # (B,) int64, position in the split
    input: dict[str, Tensor]  # modality -> (B, C, H, W) float32
    target: dict[str, Tensor]  # modality -> (B, H', W') or (B, C, H', W')
    valid: Tensor  # (B, H', W') bool, every modality has ground truth here
    untouched: NotRequired[dict[str, Tensor]]  # when evaluated: predictions (B, C, H', W')
    alternative: NotRequired[dict[tuple[str, str], Tensor]]  # modality, name -> as in target


def muted(modality: str) -> str:
    """Name of the inference setup in which ``modality`` is muted.

    >>> muted("depth")
    'muted_depth'
    """
    return _MUTED + modality


def muted_modality(setup: str) -> str | None:
    """The modality that ``setup`` mutes, or None.

    >>> muted_modality("muted_depth"), muted_modality("joint")
    ('depth', None)
    """
    return setup.removeprefix(_MUTED) if setup.startswith(_MUTED) else None
