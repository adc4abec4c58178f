"""The hook for fastai's Learner: one epoch is one step of the trial.

    from whet.train.hooks import fastai

    def objective(params, run):
        hook = fastai.Hook(run)
        learn = Learner(dls, net(), metrics=accuracy)
        with learn.no_logging(), learn.no_bar():
            learn.fit_one_cycle(run.steps, params["lr"], cbs=hook)
        return hook.value

    whet.Study(space, goal="max accuracy", steps=20).run(objective, budget="10m")

Alone, for a criterion: `fastai.Hook(goal="min valid_loss", stop="patience 3")`.
"""

from __future__ import annotations

from typing import Any

from whet.errors import UsageError
from whet.stop import Stop
from whet.train.hooks.fastai_place import Place, Plain
from whet.train.hooks.follow import Follow, Followed, Stretch, missing
from whet.train.hooks.torch_state import Parts
from whet.tune.trial import Point

try:
    from fastai.callback.core import Callback, CancelFitException
    from fastai.optimizer import OptimWrapper
    from fastai.torch_core import num_distrib
except ImportError as e:
    raise missing("fastai", "fastai", e) from e

__all__ = ["Hook"]


class Hook(Followed, Callback):  # type: ignore[misc]  # mypy does not look into fastai
    """Report the epochs of a Learner to a study, stop it by the study's verdict or by a criterion, go on from a checkpoint.

    run: what the objective was handed, None outside a study; goal: as for a study, the metric under the name in the Learner's
    table ("min valid_loss"), None: the study's; stop: a criterion of `whet.stop` or its text, which when met brings the best
    weights back; save: whether the state goes into the study at every epoch.

    For one call of `fit`, `fit_one_cycle` or `fit_flat_cos`, whose epochs are to be the same in every attempt at a trial, e.g.
    `run.steps`; `fine_tune` is two: call them yourself and give the hook to the second. `lr_find` and `validate` are no steps.

    A trial that was paused goes on bit by bit (on a CPU) as if it had not been: weights, optimizer, rate, counters, order of the
    examples, random numbers, and the smoothed training loss. Not so the counts of fastai's own callbacks, e.g. of EarlyStoppingCallback.

    Raises UsageError for a training over several processes and for a Learner without its Recorder.

    >>> import torch
    >>> from fastai.basics import DataLoader, DataLoaders, Learner
    >>> from fastai.callback.progress import ProgressCallback  # gives learners no_bar
    >>> x = torch.linspace(0, 1, 32)[:, None]
    >>> data = DataLoader(list(zip(x, 2 * x)), bs=8, shuffle=True)
    >>> hook = Hook(goal="min valid_loss", stop="target 0.001 | patience 50")
    >>> learn = Learner(DataLoaders(data, data), torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, cbs=hook)
    >>> with learn.no_logging(), learn.no_bar():
    ...     learn.fit(500, 0.05)
    >>> hook.value <= 0.001, len(hook.points) == learn.epoch + 1 < 500
    (True, True)
    """

    order = 62.5  # after what changes the rate by a metric, before what ends the training by one

    def __init__(
        self, run: Stretch | None = None, goal: str | None = None, *, stop: Stop | str | None = None, save: bool = True
    ) -> None:
        self._follow = Follow(run, goal, stop, save)
        self._place: Place | None = None  # of the training, while it lasts
        self._trained = False  # whether this epoch trains: `validate` has epochs too
        self._kept: Point | None = None  # that of the weights that SaveModelCallback keeps

    def __call__(self, event_name: str) -> None:
        """Call the method of an event. fastai's own writes where it was over the text of every error."""
        if self.run and (method := getattr(type(self), event_name, None)) is not None:
            method(self)

    def before_epoch(self) -> None:
        """Number the epoch as an uninterrupted training does."""
        self._trained = False
        if self._place is not None:
            self._place.number()

    def before_train(self) -> None:
        """Go on from the trial's checkpoint before the first epoch; train none when none is left."""
        own = vars(self.learn)  # what it lacks it looks for in the model
        if "lr_finder" in own:
            return
        self._trained = True
        if self._place is not None:
            return
        learn = self.learn
        if num_distrib() > 1:
            raise UsageError(
                f"hook: follows a training in one process, got {num_distrib()}. Start it without a launcher."
            )
        if "recorder" not in own:
            raise UsageError("hook: reports what the Learner's Recorder has, got none. Leave default_cbs=True.")
        self._place = place = Place(learn)
        more = {"learner": place} | ({"scaler": learn.scaler} if own.get("scaler") is not None else {})
        optimizer: Any = learn.opt.opt if isinstance(learn.opt, OptimWrapper) else Plain(learn.opt)
        going = self._follow.begin(Parts(learn.model, [optimizer], more=more))
        place.number()
        if not going or learn.epoch >= learn.n_epoch:
            raise CancelFitException

    def after_epoch(self) -> None:
        """Report, and end the training by the verdict or the criterion."""
        if not self._trained or self._place is None:
            return
        recorder = self.learn.recorder
        going = self._follow.point(
            dict(zip(recorder.metric_names[1:], recorder.values[-1], strict=False))
        )  # but the time
        keeps = vars(self.learn).get("save_model")
        if keeps is not None and not keeps.every_epoch and not keeps.at_end and keeps.new_best:
            self._kept = self._follow.points[-1]
        if not going or self._place.ends:
            raise CancelFitException

    def after_fit(self) -> None:
        """Bring back the best weights when the criterion ended it."""
        if self._place is None or "lr_finder" in vars(self.learn):
            return
        self._place, self._trained = None, False
        self._follow.close()
        if self._kept is not None and not self.why:
            self._follow.back(self._kept)
