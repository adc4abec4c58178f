"""What of a training goes on in Ignite's engine and schedules, beside the model and the optimizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from whet.train.hooks.follow import missing
from whet.train.hooks.torch_state import copied, draws, set_draws

try:
    from ignite.engine import DeterministicEngine, Engine, Events
except ImportError as e:
    raise missing("ignite", "pytorch-ignite", e) from e

__all__ = ["Position", "Schedule"]


class Position:
    """Where a trainer stands, and its loader; to be loaded while the trainer's STARTED is handled."""

    def __init__(self, trainer: Engine) -> None:
        self.trainer = trainer
        self.begun: dict[str, Any] | None = None  # the iteration at which the loader was begun, and the generators then

    def watch(self) -> None:
        """Note from now on when the loader is begun: at first, and where it has ended; behind everybody else's handlers."""

        def first() -> None:
            if self.begun is None:
                again()

        def again(*_: Any, **__: Any) -> None:
            self.begun = {"at": self.trainer.state.iteration, "draws": draws()}

        self.trainer.add_event_handler(Events.EPOCH_STARTED, first)
        self.trainer.add_event_handler(Events.DATALOADER_STOP_ITERATION, again)
        self.trainer.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, again)

    def state_dict(self) -> dict[str, Any]:
        """Return it; of the loader only when it is not at its end."""
        state = self.trainer.state
        keys = [*self.trainer.state_dict_user_keys, "seed"]  # the seed is that of a DeterministicEngine
        kept = {k: v for k, v in self.trainer.state_dict().items() if k in keys}
        if (seed := getattr(state, "seed", None)) is not None:
            kept["seed"] = seed
        loader = None
        if self.begun is not None and (state.iteration - self.begun["at"]) % self._length:
            loader = self.begun | {"now": draws()}
        return {"iteration": state.iteration, "epoch_length": state.epoch_length, "kept": kept, "loader": loader}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from there."""
        state, length, loader = self.trainer.state, saved["epoch_length"], saved["loader"]
        state.epoch_length = state.epoch_length or length
        # another number of examples in a batch makes another number of iterations of what was trained
        state.iteration = round(saved["iteration"] * state.epoch_length / length)
        state.epoch = state.iteration // state.epoch_length
        for name, value in saved["kept"].items():
            setattr(state, name, value)
        own = isinstance(self.trainer, DeterministicEngine)  # it finds the place by itself
        if loader is not None and state.epoch_length == length and state.dataloader is not None and not own:
            self.begun = {"at": loader["at"], "draws": loader["draws"]}
            state.dataloader = _Amid(self.trainer, saved["iteration"] - loader["at"], loader)

    @property
    def _length(self) -> int:
        try:
            return len(self.trainer.state.dataloader)
        except TypeError:  # it has none: it ends with an epoch
            return int(self.trainer.state.epoch_length or 1)


class _Amid:
    """A loader that, the first time, is begun as it had been and goes on behind the batches it had given."""

    def __init__(self, trainer: Engine, given: int, saved: Mapping[str, Any]) -> None:
        self.trainer, self.given, self.saved, self.loader = trainer, given, saved, trainer.state.dataloader

    def __iter__(self) -> Iterator[Any]:
        self.trainer.state.dataloader = self.loader
        set_draws(self.saved["draws"])
        batches = iter(self.loader)
        for _ in range(self.given):
            next(batches, None)
        set_draws(self.saved["now"])
        return batches

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class Schedule:
    """A schedule of Ignite's, in whose state settings and progress are mixed: settings that are new to it stay.

    To be made before it has changed anything.
    """

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule
        self.begun = copied(schedule.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return its state, and the one it began with."""
        return {"now": self.schedule.state_dict(), "begun": self.begun}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.schedule.load_state_dict(_with(self.begun, saved["begun"], saved["now"]))


def _with(own: Any, begun: Any, now: Any) -> Any:
    """Return the state `now`, which began as `begun`, with what begins otherwise in the own one."""
    if isinstance(own, Mapping) and isinstance(begun, Mapping) and isinstance(now, Mapping):
        return {k: _with(own[k], begun[k], now[k]) if k in own and k in begun else now[k] for k in now}
    lists = isinstance(own, list) and isinstance(begun, list) and isinstance(now, list)
    if lists and len(own) == len(begun) == len(now):
        return [_with(*each) for each in zip(own, begun, now, strict=True)]
    return now if own == begun else own
