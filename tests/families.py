"""Tiny networks of the transformers library with random weights, saved as a hub keeps them."""

from __future__ import annotations

import json
import string
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

LABELS = ("Wall", "floor, flooring", "ceiling", "bed ", "lamp", "sky")
MAPPING = {
    "Ground": ["floor"],
    "Vertical": ["wall"],
    "Ceiling": ["ceiling"],
    "Furniture": ["bed"],
    "Object": ["lamp"],
}
_CLASSES = {
    "id2label": dict(enumerate(LABELS)),
    "label2id": {name: i for i, name in enumerate(LABELS)},
    "num_labels": len(LABELS),
}
SIZE = {"height": 64, "width": 96}
_VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 56,
    "patch_size": 14,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
_NECK = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}


def segformer(t: Any) -> tuple[Any, Any]:
    config = t.SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8] * 4,
        num_attention_heads=[1] * 4,
        decoder_hidden_size=8,
        **_CLASSES,
    )
    return t.SegformerForSemanticSegmentation(config), t.SegformerImageProcessorPil(size=SIZE)


def upernet(t: Any) -> tuple[Any, Any]:
    backbone = t.ConvNextConfig(
        hidden_sizes=[8] * 4,
        depths=[1] * 4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = t.UperNetConfig(
        backbone_config=backbone, hidden_size=8, use_auxiliary_head=False, **_CLASSES
    )
    # Padded on all sides.
    processor = t.DPTImageProcessorPil(
        size={"height": 57, "width": 57}, keep_aspect_ratio=True, do_pad=True, size_divisor=16
    )
    return t.UperNetForSemanticSegmentation(config), processor


def dpt(t: Any) -> tuple[Any, Any]:
    config = t.DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        use_auxiliary_head=False,
        **_NECK,
        **_CLASSES,
    )
    return t.DPTForSemanticSegmentation(config), t.DPTImageProcessorPil(
        size={"height": 64, "width": 64}
    )


def mobilenet(t: Any) -> tuple[Any, Any]:
    config = t.MobileNetV2Config(depth_multiplier=0.25, **_CLASSES)
    processor = t.MobileNetV2ImageProcessorPil(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}, do_center_crop=True
    )
    return t.MobileNetV2ForSemanticSegmentation(config), processor


def _swin(t: Any) -> Any:
    return t.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def mask2former(t: Any) -> tuple[Any, Any]:
    config = t.Mask2FormerConfig(
        backbone_config=_swin(t),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=8,
        **_CLASSES,
    )
    return t.Mask2FormerForUniversalSegmentation(config), t.Mask2FormerImageProcessorPil(size=SIZE)


def eomt(t: Any) -> tuple[Any, Any]:
    config = t.EomtConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
        num_blocks=1,
        num_queries=8,
        num_upscale_blocks=2,
        **_CLASSES,
    )
    processor = t.EomtImageProcessorPil(
        size={"shortest_edge": 64, "longest_edge": None}, do_split_image=True, do_pad=False
    )
    return t.EomtForUniversalSegmentation(config), processor


def eomt_padded(t: Any) -> tuple[Any, Any]:
    model, _ = eomt(t)
    size = {"shortest_edge": 64, "longest_edge": 64}
    return model, t.EomtImageProcessorPil(size=size, do_split_image=False, do_pad=True)


def oneformer(t: Any) -> tuple[Any, Any]:
    """Takes its task as text: with a tokenizer of letters, and a file of classes."""
    config = t.OneFormerConfig(
        backbone_config=_swin(t),
        conv_dim=32,
        mask_dim=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=8,
        text_encoder_width=16,
        text_encoder_num_layers=1,
        text_encoder_n_ctx=4,
        **_CLASSES,
    )
    folder = Path(tempfile.mkdtemp())
    classes = {i: {"name": name, "isthing": 0} for i, name in enumerate(LABELS)}
    (folder / "classes.json").write_text(json.dumps(classes))
    letters = [x + end for x in string.ascii_lowercase for end in ("", "</w>")]
    vocabulary = {x: i for i, x in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    processor = t.OneFormerProcessor(
        image_processor=t.OneFormerImageProcessorPil(
            size=SIZE, repo_path=str(folder), class_info_file="classes.json", num_text=4
        ),
        tokenizer=t.CLIPTokenizer(vocab=vocabulary, merges=[]),
    )
    return t.OneFormerForUniversalSegmentation(config), processor


def depth_anything(t: Any, kind: str = "metric") -> tuple[Any, Any]:
    config = t.DepthAnythingConfig(
        backbone_config=t.Dinov2Config(**_VIT, reshape_hidden_states=False),
        patch_size=14,
        reassemble_hidden_size=16,
        head_in_index=-1,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=8 if kind == "metric" else None,
        **_NECK,
    )
    processor = t.DPTImageProcessorPil(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    )
    return t.DepthAnythingForDepthEstimation(config), processor


def relative(t: Any) -> tuple[Any, Any]:
    return depth_anything(t, "relative")


def glpn(t: Any) -> tuple[Any, Any]:
    config = t.GLPNConfig(
        depths=[1] * 4,
        hidden_sizes=[8] * 4,
        num_attention_heads=[1] * 4,
        decoder_hidden_size=8,
    )
    return t.GLPNForDepthEstimation(config), t.GLPNImageProcessorPil(size_divisor=32)


def zoedepth(t: Any) -> tuple[Any, Any]:
    backbone = t.BeitConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=64,
        patch_size=16,
        reshape_hidden_states=False,
        use_relative_position_bias=True,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    heads = [
        {"name": name, "n_bins": 8, "min_depth": 1e-3, "max_depth": end}
        for name, end in (("nyu", 10.0), ("kitti", 80.0))
    ]
    config = t.ZoeDepthConfig(
        backbone_config=backbone,
        backbone_hidden_size=16,
        bottleneck_features=8,
        num_relative_features=8,
        bin_embedding_dim=8,
        num_attractors=[4, 2, 1, 1],
        bin_configurations=heads,
        num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128,
        patch_transformer_intermediate_size=16,
        patch_transformer_num_attention_heads=2,
        **_NECK,
    )
    processor = t.ZoeDepthImageProcessorPil(
        size={"height": 64, "width": 96}, keep_aspect_ratio=False, ensure_multiple_of=32
    )
    return t.ZoeDepthForDepthEstimation(config), processor


def save(
    make: Callable[[Any], tuple[Any, Any]], folder: Path, gain: float = 1.5
) -> tuple[Any, Any]:
    """The network and its processor, written to a folder."""
    import transformers

    torch.manual_seed(0)
    model, processor = make(transformers)
    with torch.no_grad():  # the library's small weights would give maps without contrast
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=gain / parameter[0].numel() ** 0.5)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor
