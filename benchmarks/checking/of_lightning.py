"""PyTorch Lightning: all that its Trainer checks by itself, and what it only shows.

Three fits of the same program: `fast_dev_run=10` with `detect_anomaly`, which is slow; ten epochs of `overfit_batches=10`, all the same
batch, with the sanity check of a validation loader and `EarlyStopping(check_finite=True)`; and the learning-rate finder. Alarms:
exceptions, warnings less those of the harness (HARNESS), a stop for a loss that is not finite, a finder without a suggestion. The
loss of the overfitted batch, the norms of the gradients (which 2.x no longer tracks by itself) and the finder's curve come without
a verdict: `read` is what a person must conclude who holds the loss to a tenth of the first one and the rate to within a factor of ten
of the suggested one.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader

from checking.loop import STEPS, heard, raised
from checking.programs import Program, Ready
from checking.score import Outcome

__all__ = ["trainer"]

# Warnings about the benchmark's own loader, logger and device, which say nothing of the program.
HARNESS = (
    r"does not have many workers|log_every_n_steps|log_interval|logging interval|No `?(logger|checkpoint)|tensorboard|"
    r"GPU available|shuffl|max_epochs|Trying to infer the `batch_size`|overfit_batches|LeafSpec|"
    r"Lightning Fabric|val_dataloader|Detecting.*anomal|Anomaly Detection has been enabled|isinstance\(treespec"
)
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}


class Module(lightning.LightningModule):
    """The program, as its users would write it."""

    def __init__(self, ready: Ready) -> None:
        super().__init__()
        self.ready, self.model, self.losses = ready, ready.model, []
        self.lr = float(ready.optimizer.param_groups[0]["lr"])

    def _loss(self, batch: Any) -> Any:
        inputs, targets = batch
        return self.ready.loss(
            Ready(self.model, self.ready.loss, inputs, targets, self.ready.optimizer).call(), targets
        )

    def training_step(self, batch: Any, index: int) -> Any:
        loss = self._loss(batch)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=1)
        if isinstance(loss, torch.Tensor) and loss.numel() == 1:  # else Lightning is to say it
            self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self._loss(batch), batch_size=1)

    def configure_optimizers(self) -> Any:
        for group in self.ready.optimizer.param_groups:
            group["lr"] = self.lr  # where the finder puts its rates
        return self.ready.optimizer


def _loader(ready: Ready, n: int = 1) -> DataLoader:
    """Return a loader of n times the batch, as it is: Lightning's own collating would make lists of tuples."""
    batches: Any = [(ready.inputs, ready.targets)] * n
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)


def _fits(program: Program, seed: int, alarms: dict[str, str], read: dict[str, str]) -> None:
    """Fit three times; the first exception ends it."""
    m = Module(program.ready(seed))
    lightning.Trainer(fast_dev_run=10, detect_anomaly=True, **QUIET).fit(m, _loader(m.ready, 10), _loader(m.ready))
    torch.autograd.set_detect_anomaly(False)
    m = Module(program.ready(seed))
    finite = EarlyStopping("train_loss", patience=STEPS, check_finite=True, check_on_train_epoch_end=True)
    fitter = lightning.Trainer(
        max_epochs=10, overfit_batches=STEPS // 10, check_val_every_n_epoch=10, callbacks=[finite], **QUIET
    )  # fmt: skip
    fitter.fit(m, _loader(m.ready, STEPS // 10), _loader(m.ready))
    if fitter.should_stop and not math.isfinite(m.losses[-1]):
        alarms["not finite"] = f"train_loss is {m.losses[-1]} after {len(m.losses)} steps"
    if not m.losses[-1] <= 0.1 * m.losses[0]:
        read["overfit_batches"] = f"loss from {m.losses[0]:.4g} to {m.losses[-1]:.4g} in {len(m.losses)} steps"
    m = Module(program.ready(seed))
    rate = m.lr
    finder = Tuner(lightning.Trainer(max_epochs=1, **QUIET)).lr_find(
        m, _loader(m.ready, 100), num_training=100, update_attr=False
    )
    suggested = finder.suggestion() if finder else None
    if suggested is None:
        alarms["lr_find"] = "no suggestion"
    elif not suggested / 10 <= rate <= suggested * 10:
        read["lr_find"] = f"the rate is {rate:g}, suggested {suggested:g}"


def trainer(program: Program, seed: int, *, usual: Outcome, **_: Any) -> Outcome:
    """Fit; an exception of a program that a plain loop runs through is why it did not run, where the program has no bug."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    began, alarms, read, why = time.process_time(), {}, {}, ""
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing), heard(alarms, HARNESS):
        try:
            _fits(program, seed, alarms, read)
        except Exception as error:
            alarms |= raised(error)
        finally:
            torch.autograd.set_detect_anomaly(False)
    if program.bug is None:
        for kind in [k for k in alarms if k.startswith("raises") and k not in usual.alarms]:
            why = f"{kind}: {alarms.pop(kind)}"
    sys.stdout.flush()
    return Outcome(alarms, read, why, time.process_time() - began)
