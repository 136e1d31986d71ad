"""The LightningModule that trains one single-task network, and its random views."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.modalities import Modality
from jrn_lightning.predictors.networks import ImageNetwork
from jrn_lightning.predictors.settings import SingleTaskSettings


class SingleTask(pl.LightningModule):
    """Trains one modality from one colour image (left half of the paper's Figure 1)."""

    def __init__(
        self, network: ImageNetwork, modality: Modality, settings: SingleTaskSettings
    ) -> None:
        super().__init__()
        self.network, self.modality, self.settings = network, modality, settings
        #: mean training loss of every epoch
        self.losses: list[float] = []
        self._epoch: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a random view of ``(B, 3, H, W)`` images and their truth."""
        image, target = random_views(
            *batch, self.modality, self.settings.grid, self.settings.zoom, self.settings.colour
        )
        image = image.contiguous(memory_format=torch.channels_last)
        loss = self.modality.single_task_loss(self.network(image), target)
        self._epoch.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        """Keep the epoch's mean loss."""
        self.losses.append(float(torch.stack(self._epoch).mean()))
        self._epoch = []

    def configure_optimizers(self) -> Any:
        """AdamW; the rate rises for a tenth of the training, then falls along a cosine."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            foreach=True,  # on a CPU, too: tensor by tensor takes a twentieth of a step longer
        )
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step, steps))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def one_cycle(step: int, steps: int) -> float:
    """Share of the largest learning rate: up a line for a tenth, then down a cosine to zero.

    >>> [round(one_cycle(s, 10), 2) for s in (0, 1, 5, 9)]
    [1.0, 1.0, 0.59, 0.03]
    """
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def random_views(
    image: Tensor,
    target: Tensor,
    modality: Modality,
    grid: tuple[int, int],
    zoom: float,
    colour: float,
) -> tuple[Tensor, Tensor]:
    """Mirrored, cropped and recoloured images, and their ground truth on the output's grid.

    Args:
        image: ``(B, 3, H, W)`` in [0, 1].
        target: ``(B, ..., H, W)``, returned as ``(B, ..., h, w)``.
        modality: knows what a mirror and a zoom do to its values.
        grid: (h, w) of the network's output.
        zoom: largest factor.
        colour: strength of the changes of colour.
    """
    b, device = len(image), image.device
    factor = torch.exp(torch.rand(b, device=device) * torch.tensor(zoom, device=device).log())
    mirror = torch.randint(0, 2, (b,), device=device) * 2 - 1.0
    theta = torch.zeros(b, 2, 3, device=device)
    theta[:, 0, 0] = mirror / factor
    theta[:, 1, 1] = 1 / factor
    theta[:, :, 2] = (torch.rand(b, 2, device=device) * 2 - 1) * (1 - 1 / factor)[:, None]
    places = F.affine_grid(theta, list(image.shape), align_corners=False)
    image = F.grid_sample(image, places, padding_mode="border", align_corners=False)
    coarse = F.affine_grid(theta, [b, 1, *grid], align_corners=False)
    # Labels fit into float32 exactly, and "nearest" never mixes two.
    taken = F.grid_sample(
        modality.as_map(target).float(),
        coarse,
        "nearest",
        padding_mode="border",
        align_corners=False,
    )
    shape = (b, *(1,) * (target.ndim - 1))
    target = taken.view(*target.shape[:-2], *grid).to(target.dtype)
    target = torch.where(mirror.view(shape) < 0, modality.mirrored(target), target)
    target = modality.zoomed(target, factor.view(shape))
    if colour:
        gain = 1 + colour * (torch.rand(b, 3, 1, 1, device=device) - 0.5)
        gain = gain * torch.exp(colour * torch.randn(b, 1, 1, 1, device=device))
        contrast = torch.exp(colour * torch.randn(b, 1, 1, 1, device=device))
        mean = image.mean((1, 2, 3), keepdim=True)
        image = (((image - mean) * contrast + mean) * gain).clamp(0, 1)
    return image, target


@torch.inference_mode()
def predict_images(
    network: ImageNetwork, modality: Modality, images: Tensor, mirror: bool
) -> Tensor:
    """Predictions ``(B, C, h, w)`` of ``images`` ``(B, 3, H, W)`` in [0, 1].

    Where ``mirror``, they are averaged with those of the mirrored images.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    prediction = modality.single_task_prediction(network(images))
    if mirror:
        other = modality.single_task_prediction(network(images.flip(3)))
        prediction = modality.mixed((prediction + modality.mirrored(other.flip(3))) / 2)
    return prediction
