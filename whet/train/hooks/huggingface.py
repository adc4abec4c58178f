"""The hook for the Trainer of Hugging Face's transformers: one evaluation is one step of the trial.

    from whet.train.hooks import huggingface

    def objective(params, run):
        hook = huggingface.Hook(run)
        args = TrainingArguments(
            "runs/hf", num_train_epochs=run.steps, learning_rate=params["lr"], eval_strategy="epoch", save_strategy="no",
            report_to="none", disable_tqdm=True,
        )
        Trainer(Net(), args, train_dataset=train, eval_dataset=valid, callbacks=[hook]).train()
        return hook.value

    whet.Study(space, goal="min eval_loss", steps=20).run(objective, budget="10m")

Alone, for a criterion: `huggingface.Hook(goal="max eval_accuracy", stop="patience 3")`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader, Subset

from whet.stop import Stop
from whet.train.hooks.follow import Follow, Followed, Stretch, missing
from whet.train.hooks.huggingface_place import Place
from whet.train.hooks.torch_state import Parts
from whet.tune.trial import Point

try:
    from transformers import TrainerCallback
except ImportError as e:
    raise missing("huggingface", "transformers", e) from e

__all__ = ["Hook"]


class Hook(Followed, TrainerCallback):  # type: ignore[misc]  # mypy does not look into transformers
    """Report the evaluations of a Trainer to a study, stop it by the study's verdict or by a criterion, go on from a checkpoint.

    run: what the objective was handed, None outside a study; goal: as for a study, the metric under the Trainer's name for it
    ("min eval_loss"), None: the study's; stop: a criterion of `whet.stop` or its text, which when met brings the best weights
    back; save: whether the state goes into the study at every evaluation.

    The Trainer has to evaluate (`eval_strategy`), and its schedule must be the same in every attempt at a trial: derive
    `num_train_epochs` or `max_steps` from `run.steps`. An evaluation before the first step (`eval_on_start`) or outside of `train`
    is no step. Of several evaluation sets (a dict) the one with the goal's metric is to be the last.

    A trial that was paused goes on bit by bit (on a CPU) as if it had not been: weights, optimizer, rate, counters, order of the
    examples, random numbers. Not so when the evaluation was amid an epoch and the collator or data set draws random numbers
    in this process.

    Raises UsageError for a training over several processes, and for evaluations amid an epoch that is no whole number of accumulated
    batches, from which a trial could not go on.

    >>> import tempfile, torch
    >>> from transformers import PrinterCallback, Trainer, TrainingArguments
    >>> class Line(torch.nn.Linear):
    ...     def forward(self, x, labels):
    ...         return {"loss": torch.nn.functional.mse_loss(super().forward(x)[:, 0], labels)}
    >>> rows = [{"x": torch.full((1,), x / 9), "labels": 2 * x / 9} for x in range(10)]
    >>> hook = Hook(goal="min eval_loss", stop="target 0.001 | patience 50")
    >>> args = TrainingArguments(tempfile.mkdtemp(), num_train_epochs=200, learning_rate=0.05, eval_strategy="epoch",
    ...     save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True)
    >>> trainer = Trainer(Line(1, 1), args, train_dataset=rows, eval_dataset=rows, callbacks=[hook])
    >>> trainer.remove_callback(PrinterCallback)
    >>> steps = trainer.train().global_step
    >>> hook.value <= 0.001, steps == 2 * len(hook.points) < 400
    (True, True)
    """

    def __init__(
        self, run: Stretch | None = None, goal: str | None = None, *, stop: Stop | str | None = None, save: bool = True
    ) -> None:
        self._follow = Follow(run, goal, stop, save)
        self._inside = False  # whether the training began: an evaluation is a step
        self._round: dict[str, Any] = {}  # what the sets of one evaluation gave so far
        self._told = False  # whether the round's value was reported
        self._at: dict[int, Point] = {}  # by the Trainer's step
        self._place: Place | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on from the trial's checkpoint; have no step trained when none is left."""
        loader, optimizer, rate = kwargs["train_dataloader"], kwargs["optimizer"], kwargs["lr_scheduler"]
        self._place = place = Place(args, state, loader, rate)
        place.check(resumes=self._follow.run is not None and self._follow.save)
        more: dict[str, Any] = {"trainer": place}
        if (scaler := getattr(optimizer, "scaler", None)) is not None:
            more["scaler"] = scaler
        going = self._follow.begin(Parts(kwargs["model"], [optimizer], [rate], more=more))
        place.begun()
        if not going:
            control.should_training_stop = True  # the Trainer looks at it after a step, so there is to be none
            loader.base_dataloader = DataLoader(Subset(loader.dataset, []))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw random numbers, and number the epoch, as an uninterrupted training does."""
        self._next_round()
        self._inside = not control.should_training_stop
        if self._place is not None:
            self._place.epoch_begins()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse an evaluation without the goal's metric."""
        self._next_round()
        if self._place is not None:
            self._place.step_begins()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the epochs of before a resume."""
        if self._place is not None:
            self._place.step_ends()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Have nothing done at the end of an epoch that was none."""
        if self._inside and self._place is not None:
            self._place.epoch_ends()
        else:
            control.should_evaluate = control.should_save = control.should_log = False

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **kwargs: Any) -> None:
        """Report, and end the training by the verdict or the criterion."""
        if not self._inside or self._told or self._place is None:
            return
        self._round.update(metrics)
        if self._follow.goal.name in metrics:
            self._told = True
            self._place.evaluated(self._round)
            if not self._follow.point(self._round):
                control.should_training_stop = True
            self._at[state.global_step] = self._follow.points[-1]

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Bring back the best weights when the criterion ended it."""
        self._next_round()
        self._inside = False
        self._follow.close()
        if args.load_best_model_at_end and state.best_model_checkpoint and not self.why:
            if (loaded := self._at.get(state.best_global_step)) is not None:
                self._follow.back(loaded)

    def _next_round(self) -> None:
        if self._round and not self._told:
            self._follow.point(self._round)  # says that the goal's metric is missing
        self._round, self._told = {}, False
