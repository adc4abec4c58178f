"""Where a Trainer of Hugging Face's transformers stands, beside weights, optimizer and rate: counts, order of the examples, random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from whet.errors import UsageError
from whet.train.hooks.torch_state import draws, set_draws

__all__ = ["Place"]

_COUNTS = ("global_step", "epoch", "total_flos", "num_input_tokens_seen")


class Place:
    """Where a Trainer stands: what its `state_dict` has beside weights, optimizer and rate.

    A Trainer that was built afresh counts its epochs from 0, so the number of the epoch, on which the order of the examples depends,
    is shifted, and in the first one the batches that were trained are passed over.
    """

    def __init__(self, args: Any, state: Any, loader: Any, rate: Any) -> None:
        self.args, self.state, self.loader, self.rate = args, state, loader, rate
        self.before = 0.0  # what the Trainer's count of epochs lacks
        self._epochs = self._skip = 0  # whole epochs of before, and batches of the one that it stands in
        self._local = -1  # this training's epoch, and its steps:
        self._steps, self._over = 0, False
        self._at_epoch: dict[str, Any] = {}  # the random numbers where the epoch began
        self._at: dict[str, Any] | None = None  # and where to go on from, None when it does not or is past it
        self._fed: float | None = None  # the last value that is given to a rate that goes by one

    def check(self, *, resumes: bool) -> None:
        """Raise UsageError for a training that cannot be followed, or whose trial could not go on."""
        if self.args.world_size > 1:
            raise UsageError(
                f"hook: follows a training in one process, got {self.args.world_size}. Start it without torchrun."
            )
        parts, every = self.args.gradient_accumulation_steps, self.state.eval_steps
        if (
            not resumes
            or self.args.eval_strategy != "steps"
            or parts == 1
            or not hasattr(self.loader.dataset, "__len__")
        ):
            return
        batches = len(self.loader)
        if batches % parts and every % -(-batches // parts):
            raise UsageError(
                f"hook: an epoch of {batches} batches is no whole number of {parts} that are accumulated, so a trial cannot go on "
                f'amid an epoch (eval_steps {every}). Use eval_strategy="epoch", another number, or save=False.'
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, and the random numbers where the epoch began."""
        over = self._over or bool(self.loader.end_of_dataloader)
        done = (self._skip if self._local == 0 else 0) + self._steps * self.args.gradient_accumulation_steps
        return {
            "counts": {name: getattr(self.state, name) for name in _COUNTS},
            "epochs": self._epochs + self._local + over,
            "skip": 0 if over else done,
            "draws": self._at_epoch,
            "fed": self._fed,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take the counts over; called when optimizer and rate are as they were."""
        for name, count in saved["counts"].items():
            setattr(self.state, name, count)
        self._epochs, self._skip, self._at_epoch = saved["epochs"], saved["skip"], saved["draws"]
        self.before = float(self.state.epoch if self._skip else self._epochs)
        self._fed, self._at = saved["fed"], {}
        if self._fed is not None:  # the Trainer does it after the evaluation was reported
            self.rate.step(self._fed)

    def begun(self) -> None:
        """Note the random numbers that were restored, and number the epochs on."""
        if self._at is None:
            return
        self._at = draws()
        numbered, own = -1, self.loader.set_epoch

        def set_epoch(epoch: int) -> None:  # called by the Trainer, then by the loader itself with what that set
            nonlocal numbered
            own(epoch if numbered == self._local else epoch + self._epochs)
            numbered = self._local

        self.loader.set_epoch = set_epoch

    def epoch_begins(self) -> None:
        """Restore the random numbers, as late as possible."""
        self._local, self._steps, self._over = self._local + 1, 0, False
        if self._at is None:
            self._at_epoch = draws()
            if self._skip and self._local:
                self.before, self.loader.skip_batches = float(self._epochs), 0
        elif self._skip:  # in the order of the examples, then again where it goes on
            self.loader.skip_batches = self._skip
            set_draws(self._at_epoch)
        else:
            self._at_epoch, self._at = self._at, None
            set_draws(self._at_epoch)

    def step_begins(self) -> None:
        """Go on with the random numbers, the batches that were trained being passed over."""
        if self._at is not None:
            set_draws(self._at)
            self._at = None

    def step_ends(self) -> None:
        """Count it, and the epochs of before a resume."""
        self._steps += 1
        self.state.epoch += self.before

    def epoch_ends(self) -> None:
        """Note that what is left of the epoch is not trained."""
        self._over = True

    def evaluated(self, metrics: Mapping[str, Any]) -> None:
        """Note what the rate is given after the evaluation, if it goes by that."""
        if (name := self.args.metric_for_best_model) and "metrics" in signature(self.rate.step).parameters:
            self._fed = metrics.get(name if name.startswith("eval_") else f"eval_{name}")
