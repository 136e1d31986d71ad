from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from jrn_lightning.modalities import Depth, Normals, Semantic
from jrn_lightning.predictors.networks import ImageNetwork
from jrn_lightning.predictors.task import one_cycle, predict_images, random_views


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(3)


def blocks(b: int = 16) -> torch.Tensor:
    """Maps of 48 × 64 in blocks of 12 × 16, each of a value from 0 to 15 of its own."""
    values = torch.stack([torch.randperm(16) for _ in range(b)]).view(b, 1, 4, 4).float()
    return F.interpolate(values, scale_factor=(12, 16))[:, 0]


def test_image_and_labels_are_moved_alike() -> None:
    label = blocks().long()
    image = (label[:, None] / 15.0).expand(-1, 3, -1, -1)
    kind = Semantic("s", [str(i) for i in range(16)])
    seen, target = random_views(image, label, kind, (48, 64), zoom=1.8, colour=0)
    assert not torch.equal(target, label)
    # Away from the blocks' borders the image shows what the label says.
    shown = (seen[:, 0] * 15).round().long()
    agree = (shown == target).float().mean()
    assert agree > 0.88
    for shift in (-1, 1):
        for axis in (1, 2):
            assert (shown == target.roll(shift, axis)).float().mean() < agree - 0.02
    assert target.dtype == label.dtype
    mirrored = (target == label.flip(2)).float().mean((1, 2))
    assert len(set((mirrored > (target == label).float().mean((1, 2))).tolist())) == 2


def test_what_is_seen_larger_is_nearer() -> None:
    depth = torch.full((64, 48, 64), 4.0)
    depth[:, :6] = 0
    image = torch.rand(64, 3, 48, 64)
    _, target = random_views(image, depth, Depth("d"), (12, 16), zoom=2.0, colour=0)
    known = target[target > 0]
    assert float(known.min()) >= 2.0 - 1e-5
    assert float(known.max()) <= 4.0 + 1e-5
    assert float(known.std()) > 0.3
    # One factor an image, and a missing depth stays missing.
    assert all(len(t[t > 0].unique()) == 1 for t in target)
    assert (target == 0).any()


def test_depth_beyond_the_range_after_a_zoom_out_would_be_missing() -> None:
    far = Depth("d").zoomed(torch.tensor([[[9.0, 0.0]]]), torch.tensor([[[0.5]]]))
    assert far.tolist() == [[[0.0, 0.0]]]


def test_nothing_changes_without_zoom_and_colour_but_the_mirror() -> None:
    image, label = torch.rand(8, 3, 48, 64), blocks(8).long()
    kind = Semantic("s", [str(i) for i in range(16)])
    seen, target = random_views(image, label, kind, (48, 64), zoom=1.0, colour=0)
    for x, y, t, u in zip(seen, image, target, label, strict=True):
        same = torch.allclose(x, y, atol=1e-5)
        assert same or torch.allclose(x, y.flip(2), atol=1e-5)
        assert torch.equal(t, u if same else u.flip(1))


def test_a_mirror_turns_normals_round() -> None:
    image = torch.rand(8, 3, 48, 64)
    normal = torch.nn.functional.normalize(torch.randn(8, 3, 48, 64), dim=1)
    seen, target = random_views(image, normal, Normals("n"), (48, 64), zoom=1.0, colour=0)
    turned = normal.flip(3) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    mirrored = [not torch.allclose(x, y, atol=1e-5) for x, y in zip(seen, image, strict=True)]
    assert len(set(mirrored)) == 2
    for found, own, other, was in zip(target, normal, turned, mirrored, strict=True):
        assert torch.equal(found, other if was else own)


def test_colours_change_and_stay_colours() -> None:
    image = torch.rand(8, 3, 48, 64)
    label = torch.zeros(8, 48, 64, dtype=torch.long)
    seen, _ = random_views(image, label, Semantic("s", ["a"]), (12, 16), zoom=1.0, colour=0.3)
    assert float(seen.min()) >= 0
    assert float(seen.max()) <= 1
    means = seen.mean((1, 2, 3)) - image.mean((1, 2, 3))
    assert float(means.std()) > 0.01


def test_the_rate_rises_and_falls_to_zero() -> None:
    rates = [one_cycle(s, 100) for s in range(100)]
    assert max(rates) == rates[9] == 1
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3
    assert one_cycle(0, 1) == 1


def test_mirrored_averaging_commutes_with_mirroring() -> None:
    net = ImageNetwork("small", 5, 8, 4).eval()
    torch.nn.init.normal_(net.head.weight, std=1.0)
    kind, image = Semantic("s", list("abcde")), torch.rand(1, 3, 48, 64)
    both = predict_images(net, kind, image, mirror=True)
    torch.testing.assert_close(
        both.flip(3), predict_images(net, kind, image.flip(3), mirror=True), atol=1e-5, rtol=1e-4
    )
    assert not torch.allclose(both, predict_images(net, kind, image, mirror=False), atol=1e-3)
    torch.testing.assert_close(both.sum(1), torch.ones(1, 12, 16))
    net, normals = ImageNetwork("small", 3, 8, 4).eval(), Normals("n")
    torch.nn.init.normal_(net.head.weight, std=1.0)
    both = predict_images(net, normals, image, mirror=True)
    other = predict_images(net, normals, image.flip(3), mirror=True)
    torch.testing.assert_close(normals.mirrored(both.flip(3)), other, atol=1e-5, rtol=1e-4)
    assert normals.check_prediction(both[0].numpy()) is None
