"""What the best trial's validation score is worth: the outputs that trials left, held together; and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.errors import CheckpointError
from whet.recipe.words import count, number
from whet.tune.codec import unpack
from whet.tune.guess import RERACE
from whet.tune.optimism import Optimism, optimism
from whet.tune.trial import Trial, Trials
from whet.tune.whole import configuration

if TYPE_CHECKING:  # they bring torch, and who only shows what is on record waits for none
    from whet.data.split import Data
    from whet.task import Task
    from whet.tune.study import Study

__all__ = ["known", "latest", "outputs_of", "passed", "told", "worth"]

_TOPIC = "winner"


def outputs_of(study: Study, trial: int) -> tuple[Mapping[str, Any], np.ndarray] | None:
    """Return the state of a trial's last whole checkpoint and its validation outputs, or None when there is none."""
    for _, name in reversed(study.checkpoints(trial)):
        try:
            state = unpack(study.keeping.load(name))
            return state, np.asarray(state["outputs"])
        except (CheckpointError, KeyError):
            continue
    return None


def worth(study: Study, data: Data, task: Task) -> Optimism | None:
    """Return what the best trial's score is worth, from the outputs of all it was chosen from; None when its own are gone.

    What was found goes on record, and is taken from there as long as the same trials stand.
    """
    from whet.train.scored import goal_metric

    if (before := known(study)) is not None:
        return before
    from whet.recipe.folds import judged

    trials = study.trials
    best = trials.best
    data = judged(study, data, best)
    targets = data.valid.targets.numpy()
    outputs: dict[int, np.ndarray] = {}
    for trial in trials.contenders:
        found = outputs_of(study, trial.id)
        if found is not None and len(found[1]) == len(targets) and np.isfinite(found[1]).all():
            outputs[trial.id] = found[1]
    if best is None or best.id not in outputs or len(targets) < 2:
        return None
    measure = goal_metric(task, best.params, data, outputs[best.id])
    found_ = optimism(outputs, targets, measure, kind=data.kind, winner=best.id, seed=study.seed)
    found_ = replace(found_, wins=_apart(found_.wins, trials, best.id))
    study.record(_TOPIC, {"of": _key(trials), "found": found_.json()})
    return found_


def _apart(wins: Sequence[tuple[int, float]], trials: Trials, winner: int) -> tuple[tuple[int, float], ...]:
    """Return the wins with those of a re-race counted for the trial that it ran again: it is no rival of itself."""
    of = {i: configuration(trials[i].params) for i in {winner, *(i for i, _ in wins)}}
    again = {of[i] for i in of if RERACE in trials[i].tags}
    first = {of[i]: i for i in sorted(of, key=lambda i: (i != winner, RERACE in trials[i].tags, i), reverse=True)}
    shares: dict[int, float] = {}
    for i, share in wins:
        whose = first[of[i]] if of[i] in again else i
        shares[whose] = shares.get(whose, 0.0) + share
    return tuple(sorted(((i, round(s, 4)) for i, s in shares.items()), key=lambda w: (-w[1], w[0])))


def known(study: Study) -> Optimism | None:
    """Return what was found of the best trial when the same trials stood as now, or None."""
    records, trials = study.records(_TOPIC), study.trials
    if not records or records[-1]["of"] != _key(trials):
        return None
    return Optimism.of(records[-1]["found"])


def latest(study: Study) -> Mapping[str, Any] | None:
    """Return what the last re-race found ("lines" and "found"), or None when there was none."""
    known = study.records("raced")
    return known[-1] if known else None


def _key(trials: Trials) -> list[list[int]]:
    return [[t.id, t.step] for t in trials.contenders]


def told(found: Optimism | None, trials: Trials, *, curves: bool = True) -> list[str]:
    """Return what is to be said of the best trial beside its raw score, a line each; curves: whether a step is an epoch of one training.

    >>> from whet.metric import Interval
    >>> from whet.tune.space import Space
    >>> raw, left = Interval(0.95, 0.9, 0.98, 100), Interval(0.94, 0.88, 0.97, 100)
    >>> told(Optimism(0, "accuracy", 20, raw, left, left, ((0, 1.0),), 0.9), Trials([Trial(0)], space=Space()))
    ['less the luck of choosing 1 of 20 trials 0.94 (95 %: 0.88 to 0.97)']
    """
    lines = []
    if found is not None and found.trials > 1:
        lines.append(f"less the luck of choosing 1 of {count(found.trials, 'trial')} {found.corrected}")
        lines += found.doubts
    if found is not None and curves and (said := passed(trials.get(found.winner), trials, found.noise)):
        lines.append(said)
    return lines


def passed(best: Trial, trials: Trials, noise: float) -> str:
    """Return that the best trial was better earlier, by more than twice the `noise` of its value, and what to do; "" else.

    The model that is there is that of its last epoch, or with a criterion that of its best, whose value is told.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point, State
    >>> trial = Trial(0, {}, State.DONE, (Point(3, 0.2), Point(9, 0.5)), 0.5)
    >>> passed(trial, Trials([trial], space=Space(), steps=9), 0.1)
    'trial 0 was better at epoch 3: loss 0.2. --stop "patience 5" keeps the best epoch'
    """
    goal, value = trials.goal, best.value
    points = [p for p in best.curve if p.value == p.value]
    if not points or value is None:
        return ""
    top = min(points, key=lambda p: (goal.score(p.value), p.step))
    if not goal.score(value) - goal.score(top.value) > 2 * noise:
        return ""
    said = f"trial {best.id} was better at epoch {top.step}: {goal.name} {number(top.value)}"
    return f'{said}. --stop "patience 5" keeps the best epoch'
