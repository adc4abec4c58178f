"""The hook for Lightning: report to a study, stop by its verdict or by a criterion, go on from a checkpoint."""

from __future__ import annotations

import sys
from typing import Any

from whet.errors import UsageError
from whet.stop import Stop
from whet.train.hooks.follow import Follow, Followed, Stretch, missing
from whet.train.hooks.lightning_state import LightningParts

_OLD = "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules  # the same under its former name
try:
    if _OLD:
        from pytorch_lightning import Callback
    else:
        from lightning.pytorch import Callback
except ImportError as e:
    try:
        from pytorch_lightning import Callback
    except ImportError:
        raise missing("lightning", "lightning", e) from e

__all__ = ["Hook"]


class Hook(Followed, Callback):  # type: ignore[misc]
    """Attach a training of Lightning's to a study, or stop it by a criterion: give it to the trainer's `callbacks`.

    run: what the objective was handed, None outside a study; goal: the logged metric and its direction, None: the study's;
    stop: a criterion or its text (`whet.stop`), which also brings the best weights back; save: whether the state goes into
    the study at every step.

    A validation within `trainer.fit` is a step of the trial, the sanity check is not. One at the end of an epoch is reported
    when all else of the epoch is done: what `training_step` logs per epoch is reported with it. The best weights are in the
    module when `fit` returns. `min_epochs` and `min_steps` hold against neither a verdict nor `stop`.

    A resumed trial is bit for bit one that was never paused, on the CPU, and `current_epoch` and `global_step` go on; after
    a validation in the middle of an epoch the batches until there are fetched again without training. Kept are the states of
    the module, its `on_save_checkpoint`, the data module and the other callbacks. Lost are the random numbers of loaders'
    persistent workers; and, in the middle of an epoch, gradients that were accumulating, the means of training metrics over
    the epoch, and what `on_train_epoch_start` drew. Optimizers must have their groups of parameters from the beginning. More
    than one process is refused.

    >>> import torch, lightning.pytorch as pl
    >>> class Net(pl.LightningModule):
    ...     def __init__(self, lr):
    ...         super().__init__()
    ...         self.lr, self.layer = lr, torch.nn.Linear(2, 1)
    ...     def training_step(self, x):
    ...         return torch.nn.functional.mse_loss(self.layer(x), x.sum(1, keepdim=True))
    ...     def validation_step(self, x):
    ...         self.log("val_loss", self.training_step(x))
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.parameters(), lr=self.lr)
    >>> _ = torch.manual_seed(0)
    >>> data = torch.utils.data.DataLoader(torch.randn(64, 2), 16)
    >>> hook = Hook(goal="min val_loss", stop="target 0.01")
    >>> quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    >>> trainer = pl.Trainer(accelerator="cpu", max_epochs=50, callbacks=[hook], **quiet)
    >>> trainer.fit(Net(0.3), data, data)
    >>> "reached the target" in hook.why, hook.value <= 0.01, trainer.current_epoch < 50
    (True, True, True)
    """

    def __init__(
        self, run: Stretch | None = None, goal: str | None = None, *, stop: Stop | str | None = None, save: bool = True
    ) -> None:
        self._follow = Follow(run, goal, stop, save)
        self._training: LightningParts | None = None
        self._going = True
        self._due = False  # the epoch ended with a validation, to be reported when all else of it is done

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Refuse what is not one process, and take the last place: what the others note of an epoch is part of the state."""
        if trainer.world_size > 1:
            raise UsageError(
                f"hook: trains in one process, got {trainer.world_size}. Use Trainer(devices=1), and trials side by side: workers=2."
            )
        trainer.callbacks = [*(other for other in trainer.callbacks if other is not self), self]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Go on from the trial's checkpoint."""
        self._training = LightningParts(trainer, self)
        self._going = self._follow.begin(self._training)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Report the epoch before, or leave the loop."""
        if self._due:
            self._report(trainer)
        if not self._going:
            trainer.should_stop = True
            raise StopIteration  # the trainer's loop ends where it stands, before an epoch that would have no batch
        if self._training is not None:
            self._training.enter()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Report in the middle of an epoch."""
        if self._training is None or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        loop = trainer.fit_loop
        if trainer.is_last_batch or loop.batch_idx + 1 == trainer.num_training_batches:
            self._due = True
            return
        self._report(trainer)
        if not self._going:
            trainer.should_stop, loop.min_epochs, loop.epoch_loop.min_steps = True, 0, None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the last epoch."""
        if self._due:
            self._report(trainer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Take in that the training ended: without an exception, and with what others save at its end saved."""
        self._follow.close()

    def _report(self, trainer: Any) -> None:
        self._due = False
        self._going = self._follow.point(trainer.callback_metrics)
