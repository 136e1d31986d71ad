"""Tiny networks of every family, run for real, against the library's own post-processing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.cache.grid import Grid, resample
from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import Depth, Modality, Semantic
from jrn_lightning.predictors.hub import HubPredictor, metres
from tests import families

pytest.importorskip("transformers", reason="the library is not installed: the extra hf")

FRAME = (60, 84)
SEMANTIC = Semantic("semantic", list(families.MAPPING))


@pytest.fixture(scope="module", autouse=True)
def _silent() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


def images(count: int = 3) -> Tensor:
    torch.manual_seed(3)
    coarse = torch.rand(count, 3, 6, 8)
    return F.interpolate(coarse, FRAME, mode="bilinear").mul(255).to(torch.uint8)


def opened(family: str, folder: Path) -> tuple[HubPredictor, Any, Any]:
    model, processor = families.save(getattr(families, family), folder)
    modality: Modality = Depth("depth") if family in DEPTH else SEMANTIC
    return HubPredictor(str(folder), modality), model, processor


def on_the_frame(maps: Tensor, grid: str) -> Tensor:
    """As the data module would bring them there."""
    native = (maps.shape[-2], maps.shape[-1])
    return resample(maps, Grid.parse(grid, native, FRAME)[0], FRAME, FRAME)


DEPTH = ("depth_anything", "glpn", "zoedepth")
FAMILIES = [
    "segformer",
    "upernet",
    "mask2former",
    "eomt",
    "oneformer",
    *DEPTH,
    pytest.param("dpt", marks=pytest.mark.slow),
    pytest.param("mobilenet", marks=pytest.mark.slow),
    pytest.param("eomt_padded", marks=pytest.mark.slow),
]


def reference(family: str, model: Any, processor: Any) -> Tensor:
    """Maps at the frame's size ``(B, C, H, W)``, by the library alone."""
    pictures, options = [x.permute(1, 2, 0).numpy() for x in images()], {}
    if family == "oneformer":
        options["task_inputs"] = ["semantic"] * 3
    if family == "mobilenet":
        options["do_center_crop"] = False
    inputs = processor(pictures, return_tensors="pt", **options)
    with torch.inference_mode():
        if family == "zoedepth":  # one of its heads for each image
            outs = [model(pixel_values=x[None]).predicted_depth for x in inputs["pixel_values"]]
            return _without_padding(torch.cat(outs)[:, None])
        outputs = model(**inputs)
    if family in DEPTH:
        found = processor.post_process_depth_estimation(outputs, target_sizes=[FRAME] * 3)
        return torch.stack([one["predicted_depth"] for one in found])[:, None]
    sizes = [FRAME] * 3
    if family == "upernet":  # 57 × 80 pixels of 64 × 80; the library's function ignores that
        logits = F.interpolate(outputs.logits, (64, 80), mode="bilinear")[:, :, 3:-4]
        return F.interpolate(logits, FRAME, mode="bilinear").softmax(1)
    if family == "eomt_padded":  # 46 × 64 pixels of 64 × 64, likewise
        sizes = [(64, 64)] * 3
    post = getattr(processor, "image_processor", processor)
    found = post.post_process_semantic_segmentation(
        outputs, target_sizes=sizes, return_segmentation_scores=True
    )
    scores = torch.stack([one.segmentation_scores for one in found])
    if family == "eomt_padded":
        scores = F.interpolate(scores[:, :, :46], FRAME, mode="bilinear")
    universal = family in ("mask2former", "oneformer", "eomt", "eomt_padded")
    return scores / scores.sum(1, keepdim=True) if universal else scores.softmax(1)


def _without_padding(depth: Tensor) -> Tensor:
    """The two steps of ZoeDepth's post-processing, which needs torchvision."""
    pad = [int(np.sqrt(n / 2) * 3) for n in FRAME]
    size = [n + 2 * p for n, p in zip(FRAME, pad, strict=True)]
    depth = F.interpolate(depth, size, mode="bicubic", align_corners=False)
    return depth[:, :, pad[0] : -pad[0], pad[1] : -pad[1]]


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_are_those_of_the_librarys_own_post_processing(family: str, tmp_path: Path) -> None:
    predictor, model, processor = opened(family, tmp_path)
    with torch.inference_mode():
        parts = [predictor(image[None]) for image in images()]
        together, grid = predictor(images()) if family != "zoedepth" else parts[0]
    maps = torch.cat([part for part, _ in parts])
    if family != "zoedepth":
        torch.testing.assert_close(together, maps, rtol=0, atol=1e-4)
    assert {lies for _, lies in parts} == {grid}
    expected = reference(family, model, processor)
    found = on_the_frame(maps, grid)
    # Interpolated before or after the softmax, bilinear or bicubic: no more may differ.
    contrast = float(expected.std())
    assert contrast > 0.05
    assert float((found - expected).abs().mean()) < 0.1 * contrast
    if family not in DEPTH:
        torch.testing.assert_close(maps.sum(1), torch.ones_like(maps[:, 0]))
        assert predictor.classes == families.LABELS
        best, second = expected.topk(2, 1).values.unbind(1)
        agreed = found.argmax(1) == expected.argmax(1)
        assert float(agreed.float().mean()) > 0.9
        assert float((agreed | (best - second < 0.3)).float().mean()) > 0.99


def test_depth_pro_is_scaled_by_its_own_field_of_view() -> None:
    inverse = torch.rand(2, 4, 6) + 0.1
    angle = torch.tensor([40.0, 75.0])
    outputs = SimpleNamespace(predicted_depth=inverse, field_of_view=angle)
    width = 640  # of the image, in pixels: as the library has it, any will do
    focal = 0.5 * width / np.tan(0.5 * np.deg2rad(angle.numpy()))
    expected = 1 / (inverse.numpy() * width / focal[:, None, None])
    np.testing.assert_allclose(metres(outputs)[:, 0].numpy(), expected, rtol=1e-5)


def test_what_is_not_metric_depth_or_classes_is_refused(tmp_path: Path) -> None:
    import transformers

    families.save(families.relative, tmp_path / "relative")
    with pytest.raises(ConfigError, match=r"relative depth, not metres\. Choose a metric network"):
        HubPredictor(str(tmp_path / "relative"), Depth("depth"))
    with pytest.raises(ConfigError, match=r"family depth_anything, from which no semantic.*eomt"):
        HubPredictor(str(tmp_path / "relative"), SEMANTIC)
    # An encoder alone would be given a head of random weights.
    _, processor = families.segformer(transformers)
    config = transformers.SegformerConfig(depths=[1] * 4, hidden_sizes=[8] * 4)
    transformers.SegformerForImageClassification(config).save_pretrained(tmp_path / "encoder")
    processor.save_pretrained(tmp_path / "encoder")
    with pytest.raises(ConfigError, match=r"not trained for semantic: it lacks.*decode_head"):
        HubPredictor(str(tmp_path / "encoder"), SEMANTIC)


def test_weights_are_safetensors_and_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = families.save(families.segformer, tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "a" / "pytorch_model.bin")
    with pytest.raises(
        ConfigError, match=r"cannot be loaded.*Give a folder with.*safetensors"
    ) as e:
        HubPredictor(str(tmp_path / "a"), SEMANTIC)
    assert "\n" not in str(e.value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"hf:nobody/nothing cannot.*without a connection") as e:
        HubPredictor("nobody/nothing", SEMANTIC)
    assert "\n" not in str(e.value)


def test_the_hash_is_that_of_the_weights(tmp_path: Path) -> None:
    first, model, processor = opened("segformer", tmp_path / "a")
    model.save_pretrained(tmp_path / "b", max_shard_size="20KB")  # in other files
    processor.save_pretrained(tmp_path / "b")
    assert HubPredictor(str(tmp_path / "b"), SEMANTIC).hash() == first.hash()
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    model.save_pretrained(tmp_path / "b", max_shard_size="20KB")
    assert HubPredictor(str(tmp_path / "b"), SEMANTIC).hash() != first.hash()
