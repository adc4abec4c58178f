"""The state of a training in the hands of Lightning's trainer: all that `Parts` keeps, and where the loops stand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from whet.train.hooks.torch_state import Parts, copied, draws, set_draws

__all__ = ["LightningParts"]


class LightningParts:
    """A training in a trainer's hands, for `Follow`."""

    def __init__(self, trainer: Any, hook: Any) -> None:
        self.trainer = trainer
        self.module = trainer.lightning_module
        self.parts = Parts(
            self.module,
            trainer.optimizers,
            [config.scheduler for config in trainer.lr_scheduler_configs],
            more={"precision": trainer.precision_plugin}
            | ({"data": trainer.datamodule} if trainer.datamodule is not None else {}),
        )
        self.others = {other.state_key: other for other in trainer.callbacks if other is not hook}
        self.weights, self.put = self.parts.weights, self.parts.put
        self._start: dict[str, Any] = {}  # the random numbers as the epoch started
        self._resumed: Mapping[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on from here."""
        loop = self.trainer.fit_loop
        epochs = loop.epoch_progress.current
        now = self._draws()
        counters = {name: part for name, part in loop.state_dict().items() if name != "state_dict"}
        for part in counters["epoch_progress"].values():  # the epoch will be started anew, also from within
            part.update(dict.fromkeys(part, part["completed"]))
        saved = self._saved()
        self.module.on_save_checkpoint(saved)
        middle = epochs.started > epochs.completed
        return {
            "parts": self.parts.state(),
            "counters": counters,
            "module": {k: copied(saved[k]) for k in saved.keys() - self._saved().keys()},
            "others": {key: copied(other.state_dict()) for key, other in self.others.items()},
            "metrics": copied(self.trainer.callback_metrics),  # rates that go by a metric ask for it
            "seen": loop.batch_idx + 1 if middle else 0,
            "start": self._start if middle else now,
            "draws": now,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; random numbers come with the epoch."""
        self.parts.restore(state["parts"])
        self.module.on_load_checkpoint({**self._saved(), **state["module"]})
        for key, other in self.others.items():
            if state["others"].get(key):
                other.load_state_dict(state["others"][key])
        self.trainer.callback_metrics.update(state["metrics"])
        loop = self.trainer.fit_loop
        loop.load_state_dict(state["counters"])
        for part in (loop, loop.epoch_loop, loop.epoch_loop.val_loop):
            part.on_iteration_done()  # not "restarting", in which it skips what starts an epoch
        if state["seen"]:
            loop.epoch_loop.restarting = True  # it keeps the number of the batch, and warns of what `enter` sees to
            loop.epoch_loop.update_restart_stage()  # it was validated: what follows a validation is made up for, not that
            warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
        self._resumed = state

    def enter(self) -> None:
        """Start an epoch: with the random numbers of the one that is gone on with."""
        state, self._resumed = self._resumed, None
        if state is None:
            self._start = self._draws()
            return
        self._start = state["start"]
        self._set_draws(self._start)
        if state["seen"]:
            batches = self.trainer.fit_loop._data_fetcher  # nothing public has it
            if self.trainer.current_epoch:
                iter(batches)  # in the first epoch it was made before the epoch's start
            for _ in range(state["seen"]):
                next(batches)
            batches.fetched -= state["seen"]  # the loop adds them
            self._set_draws(state["draws"])

    def _saved(self) -> dict[str, Any]:
        """Return what a module's own hooks for checkpoints may look for in one."""
        trainer = self.trainer
        return {
            "state_dict": self.module.state_dict(),
            "epoch": trainer.current_epoch,
            "global_step": trainer.global_step,
        }

    def _draws(self) -> dict[str, Any]:
        return draws() | {"loaders": [g.get_state() for g in self._generators()]}

    def _set_draws(self, state: Mapping[str, Any]) -> None:
        set_draws(state)
        for generator, saved in zip(self._generators(), state["loaders"], strict=False):
            generator.set_state(saved)

    def _generators(self) -> list[Any]:
        """Return the generators that loaders of training data were given for themselves."""
        loaders = self.trainer.train_dataloader
        if isinstance(loaders, Mapping):
            loaders = list(loaders.values())
        several = loaders if isinstance(loaders, (list, tuple)) else [loaders]
        return [g for loader in several if (g := getattr(loader, "generator", None)) is not None]
