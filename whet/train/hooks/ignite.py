"""The hook for PyTorch Ignite: report to a study, stop by its verdict or by a criterion, go on from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from whet.errors import UsageError
from whet.stop import Stop
from whet.train.hooks.follow import Follow, Followed, Stretch, missing
from whet.train.hooks.ignite_state import Position, Schedule
from whet.train.hooks.torch_state import Parts

try:
    import ignite.distributed as idist
    from ignite.engine import Engine, Events
except ImportError as e:
    raise missing("ignite", "pytorch-ignite", e) from e

__all__ = ["Hook"]

_BEFORE = (
    Events.EPOCH_STARTED,
    Events.ITERATION_STARTED,
    Events.GET_BATCH_STARTED,
    Events.GET_BATCH_COMPLETED,
    Events.DATALOADER_STOP_ITERATION,
)


class Hook(Followed):
    """Attach a training of Ignite's engines to a study, or stop it by a criterion.

    run: what the objective was handed, None outside a study; goal: the metric of the evaluator and its direction, None: the
    study's; stop: a criterion or its text (`whet.stop`), which also brings the best weights back; save: whether the state goes
    into the study at every step.

    A run of the evaluator while the trainer runs is a validation, and a step of the trial, if something was trained since the
    last one (of several runs in a row, on the training data first for example, the last counts). Run it on EPOCH_COMPLETED
    or ITERATION_COMPLETED. The best weights come back as the trainer's COMPLETED ends: look at the model after `trainer.run`.

    A resumed trial is bit for bit one that was never paused, on the CPU. In the middle of a loader the batches it had given are
    fetched once more and passed over; a `DeterministicEngine` does that its own way, which is exact at the end of an epoch
    only. A generator that a loader was given for itself begins anew.

    >>> import torch
    >>> from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
    >>> from ignite.metrics import MeanSquaredError
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(64, 2)
    >>> data = [(rows, rows.sum(1, keepdim=True)) for rows in x.split(16)]
    >>> model = torch.nn.Linear(2, 1)
    >>> sgd = torch.optim.SGD(model.parameters(), lr=0.3)
    >>> trainer = create_supervised_trainer(model, sgd, torch.nn.functional.mse_loss)
    >>> evaluator = create_supervised_evaluator(model, {"mse": MeanSquaredError()})
    >>> _ = trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(data))
    >>> hook = Hook(goal="min mse", stop="target 0.01").attach(trainer, evaluator, model, sgd)
    >>> _ = trainer.run(data, max_epochs=50)
    >>> hook.value < 0.01, trainer.state.epoch < 50
    (True, True)
    """

    def __init__(
        self, run: Stretch | None = None, goal: str | None = None, *, stop: Stop | str | None = None, save: bool = True
    ) -> None:
        self._follow = Follow(run, goal, stop, save)
        self._running = False
        self._pending: dict[str, Any] | None = None  # the metrics of a validation that was not reported yet
        self._seen = 0  # the trainer's iteration at the last step

    def attach(
        self,
        trainer: Engine,
        evaluator: Engine,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        *,
        schedules: Any = (),
        more: Mapping[str, Any] | None = None,
    ) -> Hook:
        """Follow a trainer and its evaluator; return the hook.

        model: whose weights are saved and come back (several: an `nn.ModuleDict` of them); optimizer: one or several;
        schedules: of rates, torch's or Ignite's, one or several; more: what else has `state_dict` and `load_state_dict` and is
        to go on where it was, by name (a grad scaler, an `EMAHandler`'s model).

        Raises UsageError with more than one process.
        """
        if idist.get_world_size() > 1:
            raise UsageError(
                f"hook: the training has {idist.get_world_size()} processes, allowed: 1. Train each trial in one process, "
                "and more of them at a time: study.run(objective, workers=N)."
            )
        optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
        found = list(schedules) if isinstance(schedules, (list, tuple)) else [schedules]
        own = [s for s in found if isinstance(s, torch.optim.lr_scheduler.LRScheduler)]
        others = {f"schedule {i}": Schedule(s) for i, s in enumerate(found) if s not in own}

        def started() -> None:
            position = Position(trainer)
            # here the optimizers stand as configured, and the loader has not drawn its order
            parts = Parts(model, optimizers, own, more={**(more or {}), **others, "trainer": position})
            self._running = True
            # now, behind everybody else's handlers: what they do (a schedule's step) belongs to the step
            trainer.add_event_handler(Events.ITERATION_COMPLETED, settle)
            trainer.add_event_handler(Events.EPOCH_COMPLETED, settle)
            trainer.add_event_handler(Events.COMPLETED, completed)
            if not self._follow.begin(parts):
                trainer.terminate()
            position.watch()
            self._seen = trainer.state.iteration

        def validated() -> None:
            if not self._running or trainer.state.iteration == self._seen:
                return
            if trainer.last_event_name in _BEFORE:
                raise UsageError(
                    f"hook: the evaluator ran on {trainer.last_event_name.name}, allowed: EPOCH_COMPLETED and "
                    "ITERATION_COMPLETED. Run it on one of them."
                )
            self._pending = dict(evaluator.state.metrics)

        def settle() -> None:
            length, at = trainer.state.epoch_length, trainer.state.iteration
            if self._pending is None or (
                length and at % length == 0 and trainer.last_event_name == Events.ITERATION_COMPLETED
            ):
                return  # at the last iteration of an epoch it is settled when the epoch is, with all that happens then
            metrics, self._pending, self._seen = self._pending, None, at
            if not self._follow.point(metrics) and self._running:
                trainer.terminate()

        def completed() -> None:
            self._running = False
            settle()
            self._follow.close()

        trainer.add_event_handler(Events.STARTED, started)
        evaluator.add_event_handler(Events.COMPLETED, validated)
        return self
