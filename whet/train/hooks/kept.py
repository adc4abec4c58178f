"""The weights that a trial of a hook's study left, for a model of one's own."""

from __future__ import annotations

from typing import Any

from whet.errors import CheckpointError, StudyError
from whet.tune.codec import unpack
from whet.tune.study import Study

__all__ = ["weights"]


def weights(study: Study, trial: int | None = None) -> Any:
    """Return the weights that `trial` (default: the study's best) ended with, those of the value it has.

    For PyTorch's frameworks a state dict, for `load_state_dict` of the model that the hook followed; for Keras a list of
    arrays, for `set_weights`. Where a criterion ended the training they are those of its best step.

    Raises StudyError when there is no such trial, or it left no such state: with `save=False`, without room, by another objective,
    or where the framework itself put earlier weights back (`load_best_model_at_end`).

    >>> import torch, whet
    >>> from whet.train.hooks.follow import Follow
    >>> from whet.train.hooks.torch_state import Parts
    >>> def objective(params, run):
    ...     model, hook = torch.nn.Linear(1, 1), Follow(run, None, "patience 1", True)
    ...     hook.begin(Parts(model))
    ...     for loss in (0.5, 0.3, 0.4):
    ...         with torch.no_grad():
    ...             _ = model.weight.fill_(loss)
    ...         if not hook.point({"loss": loss}):
    ...             break
    ...     hook.close()
    ...     return hook.value
    >>> study = whet.Study(whet.Space(x=whet.Float(0, 1)), steps=5, schedule="full").run(objective, trials=1)
    >>> round(float(weights(study)["weight"]), 3)
    0.3
    """
    trial = study.best.id if trial is None else trial
    found, why = study.trials.get(trial), "it left no checkpoint. Give its hook save=True, and the study room"
    for step, name in reversed(study.checkpoints(trial)):
        try:
            state = unpack(study.keeping.load(name))
        except CheckpointError as e:
            why = str(e).rstrip(".")
            continue
        try:
            training = state["training"]
            training = training.get("parts", training)
            last, kept = training["model" if "model" in training else "weights"], state.get("best")
        except (AttributeError, KeyError, TypeError):
            why = "its checkpoint is none of a hook's"
            break
        values = _reported(study, trial)
        if found.value in (None, values.get(step)):
            return last
        if kept is not None and found.value == values.get(kept["step"]):
            return kept["weights"]
        why = f"its {study.goals[0].name} is not that of the state at step {step}, so its framework put others back: let it keep them, or give the hook a stop"
        break
    raise StudyError(f"study '{study.name}': no weights of trial {trial}: {why}.")


def _reported(study: Study, trial: int) -> dict[int, float]:
    """Return what was reported at each step: the curve has the final value at its last."""
    return {e.data["step"]: e.data["value"] for e in study.journal.read() if e.kind == "reported" and e.trial == trial}
