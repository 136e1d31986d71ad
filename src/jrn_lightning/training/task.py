"""The LightningModule: joint loss, SGD, and one test pass over all inference setups."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning.evaluation import Evaluator, ImageStatistics, enlarged
from jrn_lightning.keys import JOINT, Batch
from jrn_lightning.modalities import Modality
from jrn_lightning.networks import HealthCheck, draw_muted, mute, refined_only
from jrn_lightning.networks.checkpoint import FORMAT, VERSION

log = logging.getLogger(__name__)

SCHEDULES = ("cosine", "constant")


class JointRefinement(pl.LightningModule):
    """Trains and tests a joint refinement network on fixed single-task predictions.

    Args:
        network: the refinement network: see :mod:`~jrn_lightning.networks.build`.
        modalities: name -> modality, in the order of the record.
        learning_rate: of SGD at the start.
        momentum: of SGD.
        weight_decay: of SGD.
        schedule: ``cosine`` to zero over the whole training, or ``constant``.
        evaluator: what a test measures; by default the three setups of Figure 4 on full frames.
        always_muted: modalities that the network never sees, in training or later: the retrained
            control that tells what an input adds from what muting it breaks.
        dropout: probability that a training step mutes one modality, drawn evenly from those that
            the network sees if they are several.
        seed: of that draw.
        channels_last: run the forward passes in that memory format.
        specification: plain values from which the network can be built again; stored in every
            checkpoint.
        log_every: steps between two logged training losses.
    """

    def __init__(
        self,
        network: nn.Module,
        modalities: Mapping[str, Modality],
        learning_rate: float = 0.005,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        schedule: str = "cosine",
        evaluator: Evaluator | None = None,
        always_muted: Sequence[str] = (),
        dropout: float = 0.0,
        seed: int = 0,
        channels_last: bool = False,
        specification: Mapping[str, Any] | None = None,
        log_every: int = 50,
    ) -> None:
        super().__init__()
        self.network = network
        self.modalities = dict(modalities)
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.evaluator = evaluator or Evaluator(self.modalities)
        self.always_muted = tuple(always_muted)
        self.dropout = dropout
        self.seed = seed
        self.channels_last = channels_last
        self.specification = dict(specification or {})
        self.log_every = log_every
        #: what the last validation epoch found wrong with the network
        self.health: list[str] = []
        #: whether there was one
        self.validated = False
        self.val_statistics = ImageStatistics(tuple(self.modalities))
        #: part of the record -> what a test has found
        self.test_statistics: dict[str, ImageStatistics] = {}
        self._forget()

    # -- the network ---------------------------------------------------------------------------

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's refined outputs ``{modality: (B, C, h, w)}`` at its own scale."""
        return refined_only(self.network(self._prepared(inputs)))

    def _prepared(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without what the network never sees, in its memory format."""
        inputs = mute(inputs, self.always_muted)
        if not self.channels_last:
            return inputs
        return {m: x.contiguous(memory_format=torch.channels_last) for m, x in inputs.items()}

    # -- training ------------------------------------------------------------------------------

    def losses(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], valid: Tensor
    ) -> dict[str, Tensor]:
        """The terms of equation 1, one a modality, over the pixels where all truths exist.

        Auxiliary outputs add to the term of their modality.
        """
        terms = {m: torch.zeros((), device=valid.device) for m in self.modalities}
        for name, output in outputs.items():
            m = name.partition("/")[0]
            size = output.shape[-2:]
            target, known = (_nearest(x, size) for x in (targets[m], valid))
            terms[m] = terms[m] + self.modalities[m].loss(output, target, known)
        return terms

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """L_joint of equation 1."""
        inputs: Mapping[str, Tensor] = batch["input"]
        if self.dropout:
            # By seed and step, so that a resumed training goes on with the same draws.
            seen = [m for m in inputs if m not in self.always_muted]
            chosen = draw_muted(seen, self.dropout, self.seed, self.global_step)
            inputs = mute(inputs, chosen)
        outputs = self.network(self._prepared(inputs))
        losses = self.losses(outputs, batch["target"], batch["valid"])
        terms = torch.stack(tuple(losses.values()))
        self._note(terms.detach())
        return terms.sum()

    def _note(self, terms: Tensor) -> None:
        """Log means over the steps since the last log: a log call at every step would be felt."""
        self._noted.append(terms)
        if (self.global_step + 1) % self.log_every == 0:
            means = torch.stack(self._noted).mean(0)
            logged = {f"train/loss_{m}": x for m, x in zip(self.modalities, means, strict=True)}
            self.log_dict({"train/loss": means.sum(), **logged}, batch_size=1)
            self._forget()

    def _forget(self) -> None:
        #: terms of equation 1, a tensor a step
        self._noted: list[Tensor] = []

    def on_train_start(self) -> None:
        """Look at the clock."""
        self._start = (self.current_epoch, time.monotonic())

    def on_train_epoch_end(self) -> None:
        """After the first epoch say how long the others will take, where that is minutes."""
        first, began = self._start
        epochs = (self.trainer.max_epochs or 0) - first
        minutes = epochs * (time.monotonic() - began) / 60
        if self.current_epoch == first and minutes > 1:
            log.info("the training takes about %.0f minutes: %d epochs", minutes, epochs)

    def on_train_epoch_start(self) -> None:
        """An epoch's means never mix with the last one's, also where a run was resumed."""
        self._forget()

    def configure_optimizers(self) -> Any:
        """SGD with momentum (Section IV-A), with the schedule if there is one."""
        optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        if self.schedule == "constant":
            return optimizer
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    # -- validation ----------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Start counting afresh."""
        self.val_statistics.reset()
        self._check = HealthCheck(self.network, self.always_muted)
        self._losses = torch.zeros(len(self.modalities), dtype=torch.float64, device=self.device)
        self._frames = torch.zeros((), dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Joint setup only: measures, losses and signs of a dead network."""
        outputs = refined_only(self._check.forward(self._prepared(batch["input"])))
        refined = {m: self.modalities[m].refined(y) for m, y in outputs.items()}
        self._check.update(batch["input"], refined)
        height, width = batch["valid"].shape[-2:]
        large = enlarged(outputs, (height, width))
        whole = self.evaluator.regions(["full"], (height, width), batch["valid"].device)
        rows = {
            m: modality.statistics(large[m][None], batch["target"][m], whole)
            for m, modality in self.modalities.items()
        }
        self.val_statistics.update(batch["index"], rows)
        if batch["valid"].any():
            losses = self.losses(large, batch["target"], batch["valid"])
            self._losses += torch.stack(tuple(losses.values())).double() * len(batch["index"])
            self._frames += len(batch["index"])

    def on_validation_epoch_end(self) -> None:
        """Losses, measures of the joint setup pooled over pixels; warnings, each said once."""
        # In every process, whether or not it had a frame with truth: they wait for each other.
        self._check.gather()
        losses, frames = (
            self.trainer.strategy.reduce(x, reduce_op="sum") for x in (self._losses, self._frames)
        )
        if frames > 0:
            for m, value in zip(self.modalities, losses / frames, strict=True):
                self.log(f"val/loss_{m}", value.float(), batch_size=1)
            total = (losses / frames).sum().float()
            self.log("val/loss", total, batch_size=1, prog_bar=True)
        _, rows = self.val_statistics.compute()
        for m, modality in self.modalities.items():
            pooled = rows[m].sum(0)[0, 0]
            for measure in modality.measures:
                if measure.in_table:
                    value = float(measure(pooled))
                    self.log(f"val/{JOINT}/{measure.name}", value, batch_size=1)
        found = self._check.warnings()
        for text in found:
            if text not in self.health:
                log.warning("after epoch %d: %s", self.current_epoch, text)
        self.health, self.validated = found, True
        dead = sum(dead for dead, _ in self._check.dead_channels().values())
        self.log("val/dead_channels", float(dead), batch_size=1)

    # -- test ----------------------------------------------------------------------------------

    def on_test_epoch_start(self) -> None:
        """Start counting afresh."""
        self.test_statistics = {}

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Statistics of the untouched input and of every setup, one forward each."""
        # Into the memory format once, not once a setup.
        batch = {**batch, "input": self._prepared(batch["input"])}
        for part, rows in self.evaluator(self, batch).items():
            if part not in self.test_statistics:
                self.test_statistics[part] = ImageStatistics(tuple(self.modalities))
                self.test_statistics[part].to(self.device)
            self.test_statistics[part].update(batch["index"], rows)

    # -- checkpoints ---------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to build the network again without its configuration."""
        checkpoint["jrn"] = {
            "format": FORMAT,
            "version": VERSION,
            "muted": list(self.always_muted),
            **self.specification,
        }


def _nearest(maps: Tensor, size: torch.Size) -> Tensor:
    """``(B, ..., H, W)`` at another size, by the nearest pixel; as they are where they have it."""
    if maps.shape[-2:] == size:
        return maps
    joined = maps.reshape(len(maps), -1, *maps.shape[-2:]).float()
    resized = F.interpolate(joined, size=size, mode="nearest-exact")
    return resized.view(*maps.shape[:-2], *size).to(maps.dtype)


__all__ = ["SCHEDULES", "JointRefinement"]
