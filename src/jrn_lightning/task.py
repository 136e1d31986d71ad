"""The LightningModule: joint loss, SGD, and one test pass over all inference setups."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.evaluation import ImageStatistics, regions
from jrn_lightning.keys import JOINT, UNTOUCHED, Batch, muted
from jrn_lightning.modalities import Modality, Regions
from jrn_lightning.models import JRN, HealthCheck, MuteValue, Zero, mute

log = logging.getLogger(__name__)

CHECKPOINT_FORMAT = "jrn-checkpoint"
CHECKPOINT_VERSION = 1
SCHEDULES = ("cosine", "constant")


class JointRefinement(pl.LightningModule):
    """Trains and tests a joint refinement network on fixed single-task predictions.

    Args:
        network: the refinement network.
        modalities: name -> modality, in the order of the record.
        learning_rate: of SGD at the start.
        momentum: of SGD.
        weight_decay: of SGD.
        schedule: ``cosine`` to zero over the whole training, or ``constant``.
        protocols: names of the evaluation protocols.
        mute_value: stands in for a muted input; zero by default.
        channels_last: run the forward passes in that memory format.
        specification: plain values from which the network can be built again; stored in every
            checkpoint.
        log_every: steps between two logged training losses.
    """

    def __init__(
        self,
        network: JRN,
        modalities: Mapping[str, Modality],
        learning_rate: float = 0.005,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        schedule: str = "cosine",
        protocols: Sequence[str] = ("full",),
        mute_value: MuteValue | None = None,
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
        self.protocols = tuple(protocols)
        self.mute_value = mute_value or Zero()
        self.channels_last = channels_last
        self.specification = dict(specification or {})
        self.log_every = log_every
        #: of the table that a test leaves: the untouched input, then the inference setups
        self.setups = (UNTOUCHED, JOINT, *(muted(m) for m in self.modalities))
        #: what the last validation epoch found wrong with the network
        self.health: list[str] = []
        self.val_statistics = ImageStatistics(tuple(self.modalities))
        self.test_statistics = ImageStatistics(tuple(self.modalities))
        self._regions: dict[tuple[Any, ...], Regions] = {}
        self._forget()

    # -- the network ---------------------------------------------------------------------------

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's outputs at its own scale, see :meth:`JRN.forward`."""
        outputs: dict[str, Tensor] = self.network(self._formatted(inputs))
        return outputs

    def _formatted(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not self.channels_last:
            return dict(inputs)
        return {m: x.contiguous(memory_format=torch.channels_last) for m, x in inputs.items()}

    def run_setup(self, setup_muted: Sequence[str], batch: Batch) -> dict[str, Tensor]:
        """The outputs of one inference setup of Figure 4.

        Args:
            setup_muted: modalities to mute; none for setup A.
            batch: from the data module.
        """
        inputs = batch["input"]
        if setup_muted:
            inputs = mute(inputs, setup_muted, self.mute_value, batch["index"])
        outputs: dict[str, Tensor] = self(inputs)
        return outputs

    def enlarged(self, outputs: Mapping[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """Outputs brought to ``size`` (H, W) by bilinear interpolation, float32."""
        return {
            m: F.interpolate(y.float(), size=size, mode="bilinear", align_corners=False)
            for m, y in outputs.items()
        }

    # -- training ------------------------------------------------------------------------------

    def losses(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], valid: Tensor
    ) -> dict[str, Tensor]:
        """The terms of equation 1, one a modality, over the pixels where all truths exist."""
        return {
            m: modality.loss(outputs[m], targets[m], valid)
            for m, modality in self.modalities.items()
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """L_joint of equation 1."""
        losses = self.losses(self(batch["input"]), batch["target"], batch["valid"])
        total = torch.stack(tuple(losses.values())).sum()
        self._note({"loss": total, **{f"loss_{m}": x for m, x in losses.items()}})
        return total

    def _note(self, losses: Mapping[str, Tensor]) -> None:
        """Log means over the steps since the last log: a log call at every step would be felt."""
        for name, value in losses.items():
            known = self._running.get(name)
            value = value.detach()
            self._running[name] = value if known is None else known + value
        self._noted += 1
        if (self.global_step + 1) % self.log_every == 0:
            means = {f"train/{n}": x / self._noted for n, x in self._running.items()}
            self.log_dict(means, batch_size=1)
            self._forget()

    def _forget(self) -> None:
        self._running: dict[str, Tensor] = {}
        self._noted = 0

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
        self._check = HealthCheck(self.network)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Joint setup only: measures, losses and signs of a dead network."""
        outputs = self._check.forward(self._formatted(batch["input"]))
        refined = {m: self.modalities[m].refined(y) for m, y in outputs.items()}
        self._check.update(batch["input"], refined)
        size = batch["valid"].shape[-2:]
        large = self.enlarged(outputs, (size[0], size[1]))
        self.val_statistics.update(
            batch["index"], self._statistics([large], batch["target"], ("full",))
        )
        if batch["valid"].any():
            losses = self.losses(large, batch["target"], batch["valid"])
            count = len(batch["index"])
            for m, value in losses.items():
                self.log(f"val/loss_{m}", value, batch_size=count, sync_dist=True)
            total = torch.stack(tuple(losses.values())).sum()
            self.log("val/loss", total, batch_size=count, sync_dist=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        """Measures of the joint setup, pooled over pixels; warnings, each said once."""
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
        self.health = found
        dead = sum(dead for dead, _ in self._check.dead_channels().values())
        self.log("val/dead_channels", float(dead), batch_size=1)

    # -- test ----------------------------------------------------------------------------------

    def on_test_epoch_start(self) -> None:
        """Start counting afresh."""
        self.test_statistics.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Statistics of the untouched input and of every inference setup, one forward each."""
        size = batch["valid"].shape[-2:]
        taken_away = ((), *((m,) for m in self.modalities))
        maps: list[Mapping[str, Tensor]] = [
            batch["untouched"],
            *(self.enlarged(self.run_setup(m, batch), (size[0], size[1])) for m in taken_away),
        ]
        self.test_statistics.update(
            batch["index"], self._statistics(maps, batch["target"], self.protocols)
        )

    def _statistics(
        self,
        maps: Sequence[Mapping[str, Tensor]],
        targets: Mapping[str, Tensor],
        protocols: tuple[str, ...],
    ) -> dict[str, Tensor]:
        """Modality -> ``(S, B, P, D)``."""
        result = {}
        for m, modality in self.modalities.items():
            target = targets[m]
            key = (*target.shape[-2:], target.device, protocols)
            if key not in self._regions:
                size = (int(target.shape[-2]), int(target.shape[-1]))
                self._regions[key] = regions(protocols, size).to(target.device)
            outputs = torch.stack([x[m] for x in maps])
            result[m] = modality.statistics(outputs, target, self._regions[key])
        return result

    # -- checkpoints ---------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to build the network again without its configuration."""
        checkpoint["jrn"] = {
            "format": CHECKPOINT_FORMAT,
            "version": CHECKPOINT_VERSION,
            **self.specification,
        }


__all__ = ["CHECKPOINT_FORMAT", "CHECKPOINT_VERSION", "SCHEDULES", "JointRefinement"]
