"""The best run again: the configurations that the examples do not tell apart, on fresh seeds, until a test does."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from whet.data.split import Data
from whet.execute import Workers
from whet.metric import Metric
from whet.recipe.block import Progress
from whet.recipe.folds import judged, tag
from whet.recipe.job import Job
from whet.recipe.tuning import Picture, spent_enough, training
from whet.recipe.winner import latest, outputs_of, worth
from whet.recipe.words import count
from whet.seed import rng
from whet.train.scored import goal_metric
from whet.tune.crew import Crew
from whet.tune.guess import RERACE
from whet.tune.optimism import Optimism
from whet.tune.parts import drawn, scorer
from whet.tune.study import Study
from whet.tune.trial import State, Trials
from whet.tune.whole import configuration

__all__ = ["Standing", "rerace", "standings"]

_MOST = 6  # configurations in a race
_ROUNDS = 10
_ALPHA = 0.05
_HALVES = 200
_REST = "; the search had its share"
_OPEN = (State.WAITING, State.RUNNING, State.PAUSED)


@dataclass(frozen=True)
class Standing:
    """How a configuration did on fresh seeds: trial, the first that had it; runs on other seeds; their mean score, its standard
    error over examples and seeds; behind: the chance that it is no worse than the leader, None for the leader and where
    nothing is known; out: whether it is out of the race.

    >>> Standing(3, 0, None, None, None, False).out
    False
    """

    trial: int
    runs: int
    score: float | None
    error: float | None
    behind: float | None
    out: bool


def standings(
    runs: Mapping[int, Sequence[np.ndarray]], y: np.ndarray, goal: Metric, *, kind: str, seed: int = 0
) -> list[Standing]:
    """Return how configurations stand, the leader first.

    runs: by the trial that first had a configuration, its outputs on the examples for every fresh seed; that trial's own
    are left out: it was chosen for them. A configuration is out when it is worse than the leader by a t-test, alpha = 5 % over all
    comparisons (Bonferroni). The variance of a difference is that over examples (both saw the same; from random halves, whose
    difference to the whole is as large as the error of the whole: McCarthy 1969) and that over seeds, pooled over the configurations.

    >>> y = np.repeat([0, 1], 50)
    >>> good, bad = [np.where(np.arange(100) % 10 == k, 1 - y, y) for k in (0, 1)], [np.zeros(100, int)] * 2
    >>> from whet.metric import metric
    >>> [(s.trial, s.score, s.out) for s in standings({4: bad, 7: good}, y, metric("accuracy"), kind="classification")]
    [(7, 0.9, False), (4, 0.5, True)]
    """
    run = {i: list(o) for i, o in runs.items() if len(o)}
    none = [Standing(i, 0, None, None, None, False) for i in sorted(runs) if i not in run]
    if not run:
        return none
    ids = sorted(run)
    scores = scorer(goal, [o for i in ids for o in run[i]], y, kind)
    mean = np.zeros((sum(map(len, run.values())), len(ids)))  # (all runs, configurations)
    at = 0
    for j, i in enumerate(ids):
        mean[at : at + len(run[i]), j] = 1 / len(run[i])
        at += len(run[i])
    whole = scores(np.ones((1, len(y))))[0]
    halves = np.concatenate([scores(h) @ mean for h in drawn(len(y), len(y) // 2, _HALVES, rng(seed, "rerace"))])
    values, counts = whole @ mean, np.array([len(run[i]) for i in ids])
    freedom = int((counts - 1).sum())
    seeds = float(((whole - mean @ np.diag(counts) @ values) ** 2).sum()) / freedom if freedom else math.nan
    lead = int(np.argmin(values))
    sign = 1.0 if goal.better == "min" else -1.0
    found = []
    for j, i in enumerate(ids):
        spread = float((halves[:, j] - halves[:, lead]).std())
        p = None
        if j != lead and freedom:
            error = math.sqrt(spread**2 + seeds * (1 / counts[j] + 1 / counts[lead]))
            p = _chance(float(values[j] - values[lead]), error, freedom)
        own = math.sqrt(float(halves[:, j].std()) ** 2 + (seeds / counts[j] if freedom else 0.0))
        out = p is not None and p < _ALPHA / max(1, len(runs) - 1)
        found.append(Standing(i, int(counts[j]), sign * float(values[j]), own, p, out))
    return sorted(found, key=lambda s: (s.trial != ids[lead], s.out, sign * (s.score or 0.0))) + none


def _chance(behind: float, error: float, freedom: int) -> float:
    from scipy.special import stdtr

    if not error > 0:
        return 0.0 if behind > 0 else 0.5
    return float(1 - stdtr(freedom, behind / error))


def rerace(
    job: Job, study: Study, data: Data, pool: Workers, *, stopping: Callable[[], bool] = lambda: False
) -> Generator[Progress, None, bool]:
    """Run the configurations again that win on at least 5 % of the halves of the examples; yield how far the budget is spent.

    Each round is one more seed of each that is not out. It ends when one is left, after ten rounds, or with the budget. Returns
    whether any was run again, or may be by the next call: where not, what was kept for it is for the search.
    """
    found = worth(study, data, job.task)
    rivals = [] if found is None else found.rivals
    # what went on from another trial's weights is more than its configuration, and cannot be run again by that
    heirs = [i for i in rivals if study.trials[i].parent is not None]
    racers = _apart(study.trials, [i for i in rivals if i not in heirs][:_MOST])
    where: list[Standing] = []
    lines: list[str] = []
    if len(racers) > 1:
        study.record("race", {"on": True, "of": racers})
        before = _ended(study.trials, State.FAILED)
        try:
            yield from _rounds(job, study, data, pool, racers, stopping)
        finally:
            study.record("race", {"on": False})
        where = _standings(job, study, data, racers)
        lines = _lines(where, study, "fresh seed" if job.folds is None else "fresh deal")
        if not (lines or stopping()):
            failed = _ended(study.trials, State.FAILED) - before
            why = f"too little of the budget was left for {len(racers)} configurations"
            lines = [f"nothing was run again: {f'all {failed} trials failed' if failed else why}{_REST}"]
    elif not stopping() and not (heirs and len(rivals) > 1):
        lines = [f"nothing was run again: {_alone(found)}{_REST}"]
    said = {"found": [asdict(s) for s in where], "lines": lines + (_left_out(heirs) if len(rivals) > 1 else [])}
    if where or (said["lines"] and said != latest(study)):
        study.record("raced", said)
    ran = stopping() or any(s.runs for s in where)
    if ran and not stopping() and not spent_enough(study, job.limits):
        study.record("searched", {"limits": asdict(job.limits)})
    return ran


def _alone(found: Optimism | None) -> str:
    """Return why there was no race."""
    if found is None:
        return "the outputs of the best trial are not there"
    if len(found.rivals) < 2:
        return f"no other trial that came as far as trial {found.winner}, the best by then, might be as good"
    return f"all that might be as good as trial {found.winner}, the best by then, have its configuration"


def _rounds(
    job: Job, study: Study, data: Data, pool: Workers, racers: list[int], stopping: Callable[[], bool]
) -> Iterator[Progress]:
    picture = Picture(job, study, data)
    while not stopping():
        standing = [s for s in _standings(job, study, data, racers) if not s.out]
        spent, limits = study.spent, job.limits
        started, steps = spent.trials or 0, spent.steps or 0
        # what a run that was cut off left: it comes first, and is not asked for again
        left = [t for t in study.trials if RERACE in t.tags and t.state in _OPEN]
        asked, waiting = {configuration(t.params) for t in left}, sum(t.state is State.WAITING for t in left)
        todo = [s for s in standing if s.runs < _ROUNDS and configuration(study.trials[s.trial].params) not in asked]
        whole = started + waiting + len(todo)
        room = (limits.trials is None or whole <= limits.trials) and (
            limits.steps is None or steps + (len(left) + len(todo)) * study.steps <= limits.steps
        )
        if len(standing) < 2 or not (todo or left) or not room or spent_enough(study, limits):
            return
        for s in todo:
            fresh = "seed" if job.folds is None else "folds"
            note = f"trial {s.trial} again, fresh {fresh} {s.runs + 1}"
            tags = (RERACE,) if job.folds is None else (RERACE, tag(s.runs + 1))
            study.enqueue(study.trials[s.trial].params, note=note, tags=tags, again=True)
        ended = _ended(study.trials, State.DONE)
        crew = Crew(study, training(job, study), replace(limits, trials=whole), pool)
        for _ in crew.watch(stopping=stopping):
            yield picture.progress(crew.spending.update())
        crew.check()
        if any(RERACE in t.tags and t.state in _OPEN for t in study.trials):
            return  # the time was up
        if _ended(study.trials, State.DONE) == ended:
            return  # all failed, and would again


def _ended(trials: Trials, state: State) -> int:
    """Return how many trials that are run again ended in this state."""
    return sum(RERACE in t.tags and t.state is state for t in trials)


def _apart(trials: Trials, ids: Sequence[int]) -> list[int]:
    """Return the first trial of each configuration among `ids`, in their order."""
    first: dict[str, int] = {}
    for t in trials:
        if t.params and t.state is not State.WAITING:
            first.setdefault(configuration(t.params), t.id)
    return list(dict.fromkeys(first[configuration(trials[i].params)] for i in ids))


def _standings(job: Job, study: Study, data: Data, racers: Sequence[int]) -> list[Standing]:
    """Return how the configurations of `racers` stand, by the trials that had them again and came to their end."""
    trials = study.trials
    runs: dict[int, list[np.ndarray]] = {i: [] for i in racers}
    of = {configuration(trials[i].params): i for i in racers}
    data = judged(study, data, trials[racers[0]])  # in the order of the examples, whichever fold each was in
    y = data.valid.targets.numpy()
    for t in trials:
        first = of.get(configuration(t.params)) if t.params else None
        if first is None or t.id == first or t.state is not State.DONE or t.parent is not None:
            continue  # one that went on from another's weights is no run of its configuration
        if (found := outputs_of(study, t.id)) is not None and len(found[1]) == len(y):
            runs[first].append(found[1])
    some = next((o for os in runs.values() for o in os), None)
    if some is None:
        return [Standing(i, 0, None, None, None, False) for i in racers]
    goal = goal_metric(job.task, trials[racers[0]].params, data, some)
    return standings(runs, y, goal, kind=data.kind, seed=study.seed)


def _lines(where: Sequence[Standing], study: Study, what: str = "fresh seed") -> list[str]:
    name, lead = study.goals[0].name, where[0]
    if lead.score is None or lead.error is None:
        return []
    said = f"run again on {count(lead.runs, what)}{' of the folds' if what == 'fresh deal' else ''}, the configuration of trial {lead.trial} is the best: {name} {lead.score:.4g} +- {1.96 * lead.error:.2g}"
    rest = [f"trial {s.trial} {s.score:.4g}{' (out)' if s.out else ''}" for s in where[1:] if s.score is not None]
    return [said, *([f"beside it {', '.join(rest)}"] if rest else [])]


def _left_out(heirs: Sequence[int]) -> list[str]:
    """Return that these are not run again, and what there is to do, in a line; none when there are none."""
    if not heirs:
        return []
    which = f"trials {', '.join(map(str, heirs))}" if len(heirs) > 1 else f"trial {heirs[0]}"
    return [
        f"not run again: {which}, which went on from another trial's weights; whet train --schedule follows all of it with another --seed"
    ]
