"""Networks of the transformers library, by their name on its hub or from a folder: ``hf:NAME``.

Depth (metric alone), semantic and universal segmentation. Of each the network's own resolution is
kept, with how it lies on the frame; class scores become probabilities.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from jrn_lightning.cache.grid import AREA
from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import Modality

#: families whose depth is in metres; some Depth Anything is, too, and says so
_METRIC: Final = ("depth_pro", "glpn", "zoedepth", "tipsv2_dpt")
_SAYS_SO: Final = ("depth_anything",)
#: families that predict masks of queries
_UNIVERSAL: Final = ("eomt", "eomt_dinov3", "mask2former", "maskformer", "oneformer")
#: weights that some published checkpoints lack: of a branch that the first layer does not use
_UNUSED: Final = "fusion_stage.layers.0.residual_layer1"
_BATCH_ON_GPU: Final = 4


class HubPredictor:
    """A pretrained network; see :class:`.Predictor`.

    Weights are read as safetensors, code never. The revision is part of the name.

    Args:
        spec: a name on the hub or a folder, ``@REVISION`` behind it or not.
        modality: what it has to predict.

    Raises:
        ConfigError: the library or the network is not to be had; a network of another task; depth
            that is not metric.
    """

    resumes = True

    def __init__(self, spec: str, modality: Modality) -> None:
        library = _library()
        name, _, revision = spec.partition("@")
        options = {"trust_remote_code": False, "revision": revision or "main"}
        config = _loaded(name, lambda: library.AutoConfig.from_pretrained(name, **options))
        kind: str = config.model_type
        self._task, factory = _task(library, kind, modality, name)
        if self._task == "depth" and not _is_metric(config):
            raise ConfigError(
                f"hf:{name} ({kind}) predicts relative depth, not metres. Choose a metric network, "
                "as depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf; one that you know to "
                "be metric all the same goes through py:my.module:predict."
            )
        pinned = getattr(config, "_commit_hash", None)
        if pinned:
            options["revision"] = pinned
        self.name = f"{name}@{pinned}" if pinned else name
        model, found = _loaded(
            name,
            lambda: factory.from_pretrained(
                name, use_safetensors=True, output_loading_info=True, **options
            ),
        )
        if missing := sorted(key for key in found["missing_keys"] if _UNUSED not in key):
            raise ConfigError(
                f"hf:{name} was not trained for {modality.name}: it lacks the weights {missing[0]} "
                f"and {len(missing) - 1} others. Choose one that was."
            )
        self._kind = kind
        self._words = kind == "oneformer"  # takes the task as text beside the image
        reader = library.AutoProcessor if self._words else library.AutoImageProcessor
        self._processor = _loaded(name, lambda: reader.from_pretrained(name, **options))
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.eval().to(self._device)
        # ZoeDepth chooses one of its heads for all images of a batch.
        self.ranged = self._task == "depth"
        alone = self._device.type == "cpu" or kind == "zoedepth"
        self.batch = 1 if alone else _BATCH_ON_GPU
        labels = config.id2label
        self.classes = None if self._task == "depth" else tuple(labels[i] for i in sorted(labels))

    def hash(self) -> str:
        """SHA-256 of the weights, whatever files they came in."""
        return state_hash(self._model.state_dict())

    def __call__(self, images: Tensor) -> tuple[Tensor, str]:
        """See :class:`.Predictor`."""
        inputs = self._inputs(images)
        outputs = self._model(
            **{k: v.to(self._device) if isinstance(v, Tensor) else v for k, v in inputs.items()}
        )
        frame, pixels = tuple(images.shape[-2:]), tuple(inputs["pixel_values"].shape[-2:])
        if self._task == "depth":
            maps = metres(outputs)
        elif self._task == "semantic":
            maps = outputs.logits.float().softmax(1)
        elif inputs.get("patch_offsets"):  # crops, put together to the frame again
            return self._universal(outputs, frame, len(images)), AREA
        else:
            native = tuple(outputs.masks_queries_logits.shape[-2:])
            maps = self._universal(outputs, native, len(images))
        return maps, self._lies(frame, pixels, tuple(maps.shape[-2:]))

    def _inputs(self, images: Tensor) -> Mapping[str, Any]:
        pictures = [image.permute(1, 2, 0).numpy() for image in images]
        options: dict[str, Any] = {"return_tensors": "pt"}
        if self._words:
            options["task_inputs"] = ["semantic"] * len(pictures)
        elif getattr(self._processor, "do_center_crop", False):
            options["do_center_crop"] = False  # predict the whole frame
        inputs: Mapping[str, Any] = self._processor(pictures, **options)
        return inputs

    def _universal(self, outputs: Any, size: tuple[int, ...], count: int) -> Tensor:
        """Scores of queries and masks as the library adds them up, made to sum to 1."""
        processor = self._processor.image_processor if self._words else self._processor
        found = processor.post_process_semantic_segmentation(
            outputs, target_sizes=[size] * count, return_segmentation_scores=True
        )
        scores = torch.stack([one.segmentation_scores for one in found]).float()
        normalised: Tensor = scores / scores.sum(1, keepdim=True).clamp_min(1e-12)
        return normalised

    def _lies(
        self, frame: tuple[int, ...], pixels: tuple[int, ...], samples: tuple[int, ...]
    ) -> str:
        """The grid of maps over the processed pixels, of which the frame may be a part."""
        box = self._box(frame)
        if box == [(0, n) for n in pixels]:
            return AREA
        values = []
        for (start, end), side, all_, count in zip(box, frame, pixels, samples, strict=True):
            step, scale = all_ / count, side / (end - start)
            values += [(step / 2 - start) * scale - 0.5, step * scale]
        return ",".join(map(repr, values))

    def _box(self, frame: tuple[int, ...]) -> list[tuple[float, float]]:
        """First and last edge of the frame within the processed pixels, of rows and columns."""
        pixels = self._inputs(torch.full((1, 3, *frame), 255, dtype=torch.uint8))["pixel_values"][0]
        if self._kind == "zoedepth":  # pads by reflection, as its post-processing assumes, too
            pads = [int((n / 2) ** 0.5 * 3) if self._processor.do_pad else 0 for n in frame]
            sizes = zip(frame, pads, pixels.shape[1:], strict=True)
            return [(p * all_ / (n + 2 * p), (p + n) * all_ / (n + 2 * p)) for n, p, all_ in sizes]
        centre = pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2, None, None]
        white = (pixels - centre).abs().amax(0) < 1e-4  # padding is black, or the mean
        found = (white.any(1).nonzero(), white.any(0).nonzero())
        return [(int(places.min()), int(places.max()) + 1) for places in found]


def metres(outputs: Any) -> Tensor:
    """Depth ``(B, 1, h, w)`` of a metric network's outputs."""
    depth: Tensor = outputs.predicted_depth.float()
    if getattr(outputs, "field_of_view", None) is not None:
        # DepthPro: the inverse, less a factor of width / focal length = 2 tan(angle / 2).
        angle = outputs.field_of_view.float().deg2rad()[:, None, None]
        depth = 1 / (depth * 2 * (angle / 2).tan()).clamp(1e-4, 1e4)
    return depth[:, None]


def state_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights by name."""
    sha = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _library() -> Any:
    """Transformers."""
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            f"hf: needs the transformers library ({error}): pip install 'jrn-lightning[hf]'."
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    """What ``load`` gives, or a ConfigError with the first line of what the library says."""
    try:
        return load()
    except Exception as error:  # the library's, its hub's and its backends' have no common class
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        remedy = "Give a folder with config.json, preprocessor_config.json and model.safetensors"
        if not Path(name).is_dir():
            remedy += ", or the name of one on the hub; without a connection, one loaded before"
        raise ConfigError(
            f"hf:{name} cannot be loaded ({type(error).__name__}: {said.rstrip('.:')}). {remedy}."
        ) from error


def _task(library: Any, kind: str, modality: Modality, name: str) -> tuple[str, Any]:
    """What a network of this family does for a modality, and what loads it."""
    known = library.models.auto.modeling_auto
    tasks = {
        "depth": [("depth", known.MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES, "DepthEstimation")],
        "semantic": [
            (
                "semantic",
                known.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
                "SemanticSegmentation",
            ),
            ("universal", _UNIVERSAL, "UniversalSegmentation"),
        ],
    }
    families: list[str] = []
    for task, names, suffix in tasks.get(modality.kind, []):
        if kind in names:
            return task, getattr(library, f"AutoModelFor{suffix}")
        families += names
    raise ConfigError(
        f"hf:{name} is of the family {kind}, from which no {modality.name} is read. "
        + (
            f"Choose one of: {', '.join(sorted(families))}."
            if families
            else "Use py:my.module:predict."
        )
    )


def _is_metric(config: Any) -> bool:
    if config.model_type in _SAYS_SO:
        return bool(config.depth_estimation_type == "metric")
    return config.model_type in _METRIC and getattr(config, "use_fov_model", True)
