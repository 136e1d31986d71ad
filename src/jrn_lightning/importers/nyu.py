"""NYU Depth v2 and anyone's predictions of it, into a prediction cache.

Two forms of the data set are read, frame by frame in bounded memory: the official MATLAB file
(:class:`LabeledMat`), and a folder of pictures (:class:`FrameFolder`). The id of a frame is the
data set's own 1-based number with four digits. Silberman, Hoiem, Kohli and Fergus, ECCV 2012.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.errors import CacheError
from jrn_lightning.files import read_text
from jrn_lightning.importers import pictures
from jrn_lightning.importers.frames import Frame, frame_id, stamp_of
from jrn_lightning.importers.labels import NYU40, LabelSpace
from jrn_lightning.importers.sources import read_mat
from jrn_lightning.modalities import Depth, Modality, Semantic

DEPTH: Final = "depth"
SEMANTIC: Final = "semantic"

# Ground truths of depth, and their arrays in the MATLAB file.
FILLED: Final = "filled"
RAW: Final = "raw"
_DEPTHS: Final = {FILLED: "depths", RAW: "rawDepths"}

# Metres of the 8-bit depth pictures: the middle of each step, no more than the largest depth.
_LARGEST: Final = 9.99547
_PICTURE_METRES: Final = np.minimum((np.arange(256) + 0.5) / 255 * _LARGEST, _LARGEST).astype("f4")
# In-filled pictures of the data set hold no value under 18, 0.7 m: a 0 is a pixel left out.
_PICTURE_METRES[0] = Depth.invalid
_SATURATED: Final = 10.0  # metres; the raw sensor depth is cut off here

_KINDS: Final = ("rgb", "depth", "label40")
_COLOURS: Final = (".jpg", ".jpeg", ".png")

# Scenes of a folder without scene names, see FrameFolder.
_LONG_RUN: Final = 8
_COLOUR_CHANGE: Final = 0.6


def modalities(space: LabelSpace) -> dict[str, Modality]:
    """Depth, and semantics in a label space."""
    return {DEPTH: Depth(DEPTH), SEMANTIC: Semantic(SEMANTIC, space.classes, space.name)}


def _notes(space: LabelSpace) -> dict[str, str]:
    return {"data": "NYU Depth v2", "label_space": space.name, "label_space_hash": space.hash}


class FrameFolder:
    """A folder of pictures.

    ``rgb/NNNN.jpg`` or ``.png``; ``depth/NNNN.png`` 8-bit, metres = (v + 0.5) / 255 × 9.99547, at
    most 9.99547, or of any depth with a scale of its own, and 0, which no sensor reads, for
    missing; ``label40/NNNN.png`` NYU-40 ids, 0 for unlabelled;
    ``train.txt``, ``test.txt`` and optionally ``unlabelled.txt`` with the numbers of the frames,
    the last of those without ground truth; ``scene_type.tsv`` with the scene type of some frames,
    optionally.

    The scenes themselves are not in such a folder. Neighbouring numbers mostly show one scene, and
    no scene is in both official splits: a scene here is a run of neighbouring numbers of one
    split and type. Such runs hold whole scenes, which keeps intervals and validation splits
    honest. Runs of more than 8 frames join several rooms and are also cut where the colours
    change at once: where the histograms (8 × 8 × 8 bins) of neighbours share less than 40 %.

    Args:
        path: the folder.
        space: classes of the labels.
        partial: a training or test frame may lack its picture of depth or of labels: it then has
            no ground truth of that modality, and counts for the other.
        truth_scale: metres of one step of the depth pictures, whose value 0 is then no reading;
            required for 16 bits.

    Raises:
        CacheError: a file that is missing or damaged, or a frame of another size, by name.
    """

    def __init__(
        self,
        path: Path,
        space: LabelSpace,
        *,
        partial: bool = False,
        truth_scale: float | None = None,
    ) -> None:
        self.path = path
        self._partial = partial
        self._scale = truth_scale
        self.modalities = modalities(space)
        self._labels = space.from_nyu40()
        self.splits = {split: self._list(f"{split}.txt") for split in (keys.TRAIN, keys.TEST)}
        if (path / "unlabelled.txt").exists():
            self.splits[keys.PREDICT] = self._list("unlabelled.txt")
        self.splits = {name: ids for name, ids in self.splits.items() if ids}
        if not self.splits:
            raise CacheError(f"{path}: train.txt and test.txt name no frame.")
        height, width, _ = self._picture("rgb", next(iter(self.splits.values()))[0]).shape
        self.size = (height, width)
        self._scenes = self._find_scenes()
        self.truths: dict[str, tuple[str, ...]] = {}
        depth = f"depth in steps of {truth_scale:g} m, 0 is no reading" if truth_scale else ""
        if not truth_scale:
            self.truths[DEPTH] = (FILLED,)
            depth = "in-filled depth in 8 bit (steps of 3.92 cm)"
        self.notes = _notes(space) | {
            "ground_truth": f"{depth}, NYU-40 labels",
            "scenes": "runs of neighbouring frames of one split and scene type, long ones cut "
            "where the colours change",
        }

    @property
    def stamp(self) -> str:
        """See :class:`.DataSet`."""
        stems = [f"{kind}/{f}" for ids in self.splits.values() for f in ids for kind in _KINDS]
        files = (self.path / f"{stem}{suffix}" for stem in stems for suffix in _COLOURS)
        return stamp_of(files, self._scale, self._partial, self.notes)

    def scene(self, frame: str) -> str:
        """Named after its type, where known, and its first frame."""
        return self._scenes[frame]

    def read(self, frame: str, *, image: bool = True, targets: bool = True) -> Frame:
        """One frame, from its pictures."""
        truth: dict[str, NDArray[Any]] | None = None
        if targets:
            truth = {}
            if self._has("depth", frame):
                truth[DEPTH] = self._metres(frame)
            if self._has("label40", frame):
                label = self._picture("label40", frame)
                if label.max() > NYU40:
                    raise CacheError(
                        f"{self.path}/label40/{frame}.png holds the label {label.max()} "
                        f"(allowed: 0 for unlabelled, 1 to {NYU40})."
                    )
                truth[SEMANTIC] = self._labels[label]
            for name, folder in ((DEPTH, "depth"), (SEMANTIC, "label40")):
                if name in truth and (truth[name] == self.modalities[name].invalid).all():
                    self._blank(self.path / folder / f"{frame}.png")
            for name in self.modalities.keys() - truth.keys():
                kind = self.modalities[name]
                truth[name] = np.full(self.size, kind.invalid, kind.target_dtype)
        return Frame(self._picture("rgb", frame) if image else None, truth)

    def _blank(self, file: Path) -> None:
        """A picture of nothing but missing pixels is a ground truth that is not there."""
        if not self._partial:
            raise CacheError(
                f"{file} is 0 everywhere: no pixel has ground truth. Write it again, take the "
                "frame off its list, or give --partial if frames may lack one."
            )

    def reread(self, frame: str) -> dict[str, dict[str, NDArray[Any]]]:
        """The labels, had their ids been written with another first one; see :func:`.find`."""
        known = self._has("label40", frame)
        label = self._picture("label40", frame) if known else np.zeros(self.size, np.uint8)
        return {
            SEMANTIC: {
                f"fit labels whose ids are one {more}: Write the labels of {self.path / 'label40'} "
                f"as 1 to {NYU40}, and 0 for unlabelled.": np.roll(self._labels, -by)[label]
                for more, by in (("higher", 1), ("lower", -1))
            }
        }

    def _has(self, kind: str, frame: str) -> bool:
        """Whether a ground truth is to be read; without ``partial`` a missing one is an error."""
        return not self._partial or (self.path / kind / f"{frame}.png").exists()

    def _metres(self, frame: str) -> NDArray[np.float32]:
        """Ground truth of depth, from its picture."""
        values = self._picture("depth", frame)
        if self._scale:
            return np.asarray(values * self._scale, np.float32)
        if values.dtype != np.uint8:
            raise CacheError(
                f"{self.path}/depth/{frame}.png has 16 bits, of no stated unit. Give "
                "the metres of one step: --truth-scale 0.001 for millimetres (0 is no reading)."
            )
        return np.asarray(_PICTURE_METRES[values])

    def _picture(self, kind: str, frame: str) -> NDArray[Any]:
        """``(H, W, 3)`` of ``rgb``, ``(H, W)`` of what is measured at each pixel."""
        stem = self.path / kind / frame
        suffixes = _COLOURS if kind == "rgb" else (".png",)
        files = [Path(f"{stem}{suffix}") for suffix in suffixes]
        file = next((file for file in files if file.exists()), None)
        if file is None:
            raise CacheError(
                f"{stem}{' or '.join(suffixes)} is missing. Complete {self.path}, or take "
                f"{frame} off its lists."
            )
        array = pictures.read_rgb(file) if kind == "rgb" else pictures.read_values(file)
        size = getattr(self, "size", array.shape[:2])
        if array.shape[:2] != size:
            raise CacheError(f"{file} has {array.shape[:2]} pixels, other frames have {size}.")
        return array

    def _list(self, name: str) -> list[str]:
        text = _text(self.path / name)
        try:
            return [frame_id(int(line)) for line in text.split()]
        except ValueError as error:
            message = f"{self.path / name}: {error}. Give one frame number a line."
            raise CacheError(message) from None

    def _types(self) -> dict[int, str]:
        file = self.path / "scene_type.tsv"
        if not file.exists():
            return {}
        rows = [line.split("\t") for line in _text(file).splitlines() if line]
        try:
            return {int(number): kind for number, kind in rows}
        except ValueError:
            message = f"{file}: expected lines of a frame number, a tab and a type."
            raise CacheError(message) from None

    def _find_scenes(self) -> dict[str, str]:
        types = self._types()
        # Test frames with and without truth share scenes, and a type where types are known.
        type_of = {keys.TRAIN: keys.TRAIN, keys.TEST: keys.TEST, keys.PREDICT: keys.TEST}
        group = {
            int(frame): (split == keys.TRAIN, types.get(int(frame), type_of[split]))
            for split, ids in self.splits.items()
            for frame in ids
        }
        scenes: dict[str, str] = {}
        numbers = sorted(group)
        ends = [
            k
            for k, (a, b) in enumerate(pairwise(numbers), start=1)
            if b != a + 1 or group[a] != group[b]
        ]
        for run in _split(numbers, ends):
            for scene in self._cut(run) if len(run) > _LONG_RUN else [run]:
                name = f"{group[scene[0]][1]}_{frame_id(scene[0])}"
                scenes |= dict.fromkeys(map(frame_id, scene), name)
        return scenes

    def _cut(self, run: list[int]) -> list[list[int]]:
        colours = [_colours(self._picture("rgb", frame_id(number))) for number in run]
        shared = [np.minimum(a, b).sum() for a, b in pairwise(colours)]
        return _split(run, [k for k, s in enumerate(shared, start=1) if 1 - s > _COLOUR_CHANGE])


class LabeledMat:
    """The official ``nyu_depth_v2_labeled.mat`` with its ``splits.mat``.

    The first is MATLAB v7.3, that is HDF5 with the axes reversed; strings are references to
    arrays of 16-bit characters. Scenes are the file's own.

    Args:
        path: the labelled data.
        splits: MATLAB v5 with ``trainNdxs`` and ``testNdxs``, 1-based.
        space: classes of the labels.
        raw_depth: take the sensor's own depth for the ground truth, without what was filled in:
            pixels without a reading, or at the sensor's limit of 10 m, are missing. Whichever is
            not taken is the alternative.

    Raises:
        CacheError: a file that is missing, damaged or of another layout.
    """

    def __init__(
        self, path: Path, splits: Path, space: LabelSpace, *, raw_depth: bool = False
    ) -> None:
        self.path = path
        self.modalities = modalities(space)
        main, other = (RAW, FILLED) if raw_depth else (FILLED, RAW)
        if not path.is_file():
            raise CacheError(f"{path} does not exist. Download nyu_depth_v2_labeled.mat.")
        try:
            self._file = h5py.File(path, "r", locking=False)
            count, _, width, height = self._file["images"].shape
            # A copy of the file without the other depth serves as well.
            depths = (main, other) if _DEPTHS[other] in self._file else (main,)
            self.truths: dict[str, tuple[str, ...]] = {DEPTH: depths}
            maps = [*(_DEPTHS[name] for name in depths), "labels"]
            expected: dict[str, tuple[int, ...]] = {"images": (count, 3, width, height)}
            expected |= dict.fromkeys(maps, (count, width, height))
            found = {name: self._file[name].shape for name in expected}
            names = self._strings("names")
            self._scenes = self._strings("scenes")
            types = self._strings("sceneTypes")
        except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise CacheError(
                f"{path} is not nyu_depth_v2_labeled.mat as published ({error}). Download it again."
            ) from error
        if found != expected or len(self._scenes) != count or len(types) != count:
            raise CacheError(
                f"{path}: arrays of {found} for {len(self._scenes)} scenes, expected {expected}. "
                "Download it again."
            )
        self.size = (height, width)
        self._labels = space.from_raw(names)
        self.splits = _official_splits(splits, count)
        truth = "raw sensor depth with its mask" if raw_depth else "in-filled depth"
        self.notes = _notes(space) | {
            "ground_truth": f"{truth}, raw labels",
            "scenes": "the data set's own",
        }

    @property
    def stamp(self) -> str:
        """See :class:`.DataSet`."""
        return stamp_of([self.path], self.truths, self.notes)

    def scene(self, frame: str) -> str:
        """The data set's name of it."""
        return self._scenes[int(frame) - 1]

    def read(self, frame: str, *, image: bool = True, targets: bool = True) -> Frame:
        """One frame, from the file."""
        row = int(frame) - 1
        try:
            truth: dict[str, NDArray[Any]] | None = None
            others: dict[tuple[str, str], NDArray[Any]] | None = None
            if targets:
                main, *rest = self.truths[DEPTH]
                label = self._file["labels"][row].T
                if label.max() >= len(self._labels):
                    raise CacheError(
                        f"{self.path}: label {label.max()} is beyond the {len(self._labels) - 1} "
                        "names. Download it again."
                    )
                truth = {DEPTH: self._depth(main, row), SEMANTIC: self._labels[label]}
                others = {(DEPTH, name): self._depth(name, row) for name in rest}
            picture = self._file["images"][row].transpose(2, 1, 0) if image else None
        except (OSError, RuntimeError) as error:
            raise CacheError(
                f"{self.path}: frame {frame} cannot be read ({error}). Download the file again."
            ) from error
        return Frame(picture, truth, others)

    def _depth(self, name: str, row: int) -> NDArray[Any]:
        """A ground truth of depth: ``(H, W)``."""
        depth: NDArray[Any] = self._file[_DEPTHS[name]][row].T
        if name == RAW:
            depth = np.where((depth > 0) & (depth < _SATURATED), depth, Depth.invalid)
        return depth

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _strings(self, name: str) -> list[str]:
        """MATLAB cell array of strings: references to character arrays."""
        return [
            "".join(map(chr, self._file[reference][()].ravel()))
            for reference in self._file[name][()].ravel()
        ]


def _official_splits(path: Path, count: int) -> dict[str, list[str]]:
    arrays = read_mat(path)
    try:
        names = {keys.TRAIN: "trainNdxs", keys.TEST: "testNdxs"}
        splits = {split: [int(n) for n in arrays[key].ravel()] for split, key in names.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CacheError(
            f"{path} lacks a list of frames ({error}). Give splits.mat with trainNdxs and testNdxs."
        ) from error
    wrong = [n for numbers in splits.values() for n in numbers if not 1 <= n <= count]
    if wrong:
        raise CacheError(f"{path} names frame {wrong[0]} of {count}. Frames are counted from 1.")
    return {name: [*map(frame_id, numbers)] for name, numbers in splits.items() if numbers}


def _split(numbers: list[int], ends: list[int]) -> list[list[int]]:
    return [numbers[a:b] for a, b in pairwise([0, *ends, len(numbers)])]


def _colours(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colour histogram, summing to 1."""
    bins = (image[::4, ::4] >> 5).astype(np.int64)  # every fourth pixel says as much
    codes = (bins[..., 0] << 6) | (bins[..., 1] << 3) | bins[..., 2]
    counts = np.bincount(codes.ravel(), minlength=512)
    return np.asarray(counts / counts.sum())


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise CacheError(f"{path} cannot be read ({error}). Complete the folder.") from error
