"""The tuning step: worker processes search, and this process tells how far they are."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, fields
from typing import Any

from whet.data.split import Data
from whet.execute import Workers
from whet.metric import Interval, interval
from whet.recipe.block import WIDTH, Block, Progress
from whet.recipe.folds import judged
from whet.recipe.job import Job
from whet.recipe.winner import latest, outputs_of, told, worth
from whet.recipe.words import configured, count, number, size, strategy, traded
from whet.report.importance import in_short
from whet.task import Task
from whet.tasks import reference
from whet.train.scored import goal_metric
from whet.tune import claim, ending
from whet.tune.budget import Budget, Price, duration
from whet.tune.crew import Crew
from whet.tune.failure import commonest, insist
from whet.tune.pareto import unkept
from whet.tune.spending import Spending
from whet.tune.study import Study
from whet.tune.trial import State, Trial, Trials

__all__ = ["Picture", "over", "score", "spent_enough", "training", "tune", "tune_block"]

_EVERY = 0.25  # seconds between two pictures of how far things are
_OPEN = (State.WAITING, State.RUNNING)


def spent_enough(study: Study, budget: Budget) -> bool:
    """Return whether nothing of the budget is left for another step."""
    spent = study.spent
    pairs = ((spent.seconds, budget.seconds), (spent.steps, budget.steps), (spent.cost, budget.cost))
    if any(limit is not None and (have or 0) >= limit for have, limit in pairs):
        return True
    if any(t.state in _OPEN for t in study.trials):
        return False
    # a search that ended by itself has nothing left within the same limits, or smaller ones
    return any(_covers(Budget(**record["limits"]), budget) for record in study.records("searched"))


def over(study: Study, job: Job) -> bool:
    """Return whether a run of `job` has nothing left to search: its budget is spent, or its criterion is met already."""
    return spent_enough(study, job.limits) or ending.stands(study, job.until)


def training(job: Job, study: Study) -> dict[str, Any]:
    """Return the objective of the job's task, as workers take it."""
    given: dict[str, Any] = {"reference": reference(job.task), "stop": job.stop, "noise": ending.wants_noise(study)}
    given |= {} if job.folds is None else {"folds": job.folds, "epochs": job.task.steps}
    where = "whet.tune.worker" if job.folds is None else "whet.recipe.folds"
    return {"ref": f"{where}:objective", "given": {k: v for k, v in given.items() if v}}


def _covers(known: Budget, budget: Budget) -> bool:
    pairs = ((getattr(known, f.name), getattr(budget, f.name)) for f in fields(Budget))
    return all(most is None or (now is not None and now <= most) for most, now in pairs)


def tune(
    job: Job,
    study: Study,
    data: Data,
    pool: Workers,
    *,
    limits: Budget | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Let the workers search until the limits are reached, the job's for a search unless given; yield how far they are.

    Raises StudyError when every trial failed, or the workers could not do their work.
    """
    ending.begin(study, job.until)
    objective = training(job, study)
    limits = limits or job.searching
    picture = Picture(job, study, data)
    last, further = 0.0, True
    while further:
        crew = Crew(study, objective, limits, pool)
        for _ in crew.watch(stopping=stopping):
            if time.monotonic() - last >= _EVERY:
                last = time.monotonic()
                yield picture.progress(crew.spending.update())
        yield picture.progress(crew.spending.update())
        crew.check()
        further = not crew.given_up and (yield from _elsewhere(study, limits, picture, stopping))
    insist(study.name, study.trials)
    open_ = any(t.state in _OPEN for t in study.trials)
    if not (open_ or stopping() or ending.stopped(study) or crew.given_up or spent_enough(study, limits)):
        study.record("searched", {"limits": asdict(limits)})


def _elsewhere(
    study: Study, limits: Budget, picture: Picture, stopping: Callable[[], bool]
) -> Generator[Progress, None, bool]:
    """Wait while another process runs the best again, as nothing is searched meanwhile; return whether there is more to search.

    A race that nobody trains for any more, its process killed say, is ended after as long as a dead worker's trials wait.
    """
    if not ending.racing(study):
        return False
    spending, seen = Spending(study, limits), time.monotonic()
    try:
        while ending.racing(study):
            most = limits.trials
            full = most is not None and (study.spent.trials or 0) >= most
            if stopping() or full or spending.over or spent_enough(study, limits) or ending.stopped(study) is not None:
                return False
            now, resting = time.monotonic(), study.interrupted
            if any(lease.trial not in resting for lease in study.journal.leases().values()):
                seen = now
            elif now - seen > claim.LAPSE:
                ending.end_race(study)
            yield picture.progress(spending.update())
            time.sleep(_EVERY)
        return True
    finally:
        spending.close()


class Picture:
    """How far the search is; remembers what it knew, so that looking often stays cheap."""

    def __init__(self, job: Job, study: Study, data: Data) -> None:
        self._study, self._data, self._task, self._limits = study, data, job.task, job.limits
        self._unit = job.unit + "s"
        self._began = time.monotonic()
        spent = study.spent
        self._trials, self._steps, self._seconds = spent.trials or 0, spent.steps or 0, spent.seconds or 0.0
        self._best: tuple[tuple[int, int], str] = ((-1, -1), "")

    def progress(self, seconds: float) -> Progress:
        """Return the picture after `seconds` of the study's time."""
        trials, spent, limits = self._study.trials, self._study.spent, self._limits
        started, steps = spent.trials or 0, spent.steps or 0
        shares = [
            (have / limit, text, str(whole))
            for have, limit, text, whole in (
                (seconds, limits.seconds, duration(seconds), duration(limits.seconds or 0)),
                (started, limits.trials, f"{started}", f"{limits.trials} trials"),
                (steps, limits.steps, f"{steps}", f"{limits.steps} {self._unit}"),
                (spent.cost or 0.0, limits.cost, number(spent.cost), f"{number(limits.cost)} cost"),
            )
            if limit
        ]
        done, text, whole = max(shares, default=(0.0, count(started, "trial"), "no limit"))
        past = max(1e-9, time.monotonic() - self._began)
        gained = done - max(
            (self._seconds / limits.seconds if limits.seconds else 0.0), self._trials / limits.trials if limits.trials else 0.0,
            self._steps / limits.steps if limits.steps else 0.0,
        )  # fmt: skip
        left = past * (1 - done) / gained if gained > 0.01 else None
        if limits.seconds is not None and done * limits.seconds <= seconds + 1e-6:
            left = limits.seconds - seconds
        running = [t for t in trials if t.state is State.RUNNING]
        return Progress(
            "tune", min(done, 1.0), text, whole, None if left is None else max(0.0, left),
            {"trials": started, "finished": sum(t.state is State.DONE for t in trials),
             "failed": sum(t.state is State.FAILED for t in trials), self._unit: steps},
            {"trials": (started - self._trials) / past, self._unit: (steps - self._steps) / past},
            self._best_text(trials), configured(running[-1].params) if running else "",
        )  # fmt: skip

    def _best_text(self, trials: Trials) -> str:
        best = trials.best
        if best is None:
            return ""
        if self._best[0] != (best.id, best.step):
            found = score(self._study, best, self._data, self._task)
            value = f"{best.value:.4g}" if found is None else f"{found.value:.4g} +- {(found.high - found.low) / 2:.2g}"
            self._best = ((best.id, best.step), f"{value} (trial {best.id})")
        return self._best[1]


def score(study: Study, trial: Trial, data: Data, task: Task) -> Interval | None:
    """Return a trial's score with its interval, on the validation part or on all examples its folds held out; None when its outputs are gone."""
    found = outputs_of(study, trial.id)
    if found is None:
        return None
    # a trial that runs may have come further since it was looked at, and the last checkpoint that is whole may be an earlier one
    data = judged(study, data, trial, found[0].get("step"))
    measure = goal_metric(task, trial.params, data, found[1])
    return interval(measure, found[1], data.valid.targets.numpy(), kind=data.kind)


def tune_block(job: Job, study: Study, data: Data) -> Block:
    """Return what the search found."""
    price = job.price
    trials, best, spent = study.trials, study.best, study.spent
    states = {s: sum(t.state is s for t in trials) for s in State}
    # those that came from elsewhere cost nothing here, but are among the finished and the failed ones
    more = sum(t.state is not State.WAITING for t in trials) - (spent.trials or 0)
    begun = count(spent.trials or 0, "trial") + (f" and {more:,} imported" if more > 0 else "")
    counts = f"{begun}, {states[State.DONE]} finished, {states[State.FAILED]} failed"
    how = f"{strategy(study.searcher)} over {count(len(study.space.dims), 'dimension')}, {strategy(study.scheduler)}"
    found, honest = score(study, best, data, job.task), worth(study, data, job.task)
    value = f"{best.value:.4g}" if found is None else str(found)
    lines = [
        f"{counts}; {count(spent.steps or 0, job.unit)} in {duration(spent.seconds or 0.0)}",
        *textwrap.wrap(how, WIDTH),
    ]
    paid = None if price is None else Price.of(price).spent(spent)
    if paid is not None:
        lines.append(f"cost {paid:.4g} at {Price.of(price or '')}")
    lines += [piece for line in ending.lines(study) for piece in textwrap.wrap(line, WIDTH)]
    lines += textwrap.wrap(_missed(study), WIDTH)
    if states[State.FAILED]:
        lines += textwrap.wrap(commonest(trials), WIDTH)
    lines += textwrap.wrap(f"best trial {best.id}, {count(best.step, job.unit)}: {configured(best.params)}", WIDTH)
    if job.folds is None:
        lines.append(f"validation {study.goals[0].name} {value}")
    else:
        lines += textwrap.wrap(f"cross-validated {study.goals[0].name} {value}", WIDTH)
    lines += textwrap.wrap(unkept(trials), WIDTH)
    raced = latest(study)
    said = [*told(honest, trials, curves=job.folds is None), *([] if raced is None else raced["lines"])]
    lines += [piece for line in said for piece in textwrap.wrap(line, WIDTH)]
    matters = in_short(trials)
    lines += textwrap.wrap(matters, WIDTH)
    if trade := traded(trials):
        lines += textwrap.wrap(f"front: {trade}", WIDTH)
    return Block(
        "tune",
        tuple(lines),
        {
            "trials": spent.trials, job.unit + "s": spent.steps, "seconds": spent.seconds, "best": best.id, "params": dict(best.params),
            "states": {s.value: n for s, n in states.items() if n}, "value": best.value,
            "interval": None if found is None else [found.low, found.high], "metric": study.goals[0].name,
            "search": strategy(study.searcher), "schedule": strategy(study.scheduler), "stopped": ending.stopped(study), "used_up": ending.used_up(study) or None,
            "ended_early": len(ending.ended(study)), "cost": spent.cost if paid is None else paid,
            "matters": matters or None, **({} if job.folds is None else {"of_folds": job.folds}), "honest": None if honest is None else honest.json(),
            **({} if raced is None else {"rerace": raced["found"]}),
            **({"front": [t.id for t in study.front]} if trade else {}),
        },
    )  # fmt: skip


def _missed(study: Study) -> str:
    """Return what a quota that is too small has cost, "" when nothing that is still wanted is missing."""
    if study.keeping.quota is None:
        return ""
    best, bare = study.trials.best, [t for t in study.trials if t.curve and not study.checkpoints(t.id)]
    paused = sum(t.state is State.PAUSED for t in bare)
    who = [*(["the best trial"] if best in bare else []), *([count(paused, "paused trial")] if paused else [])]
    if not who:
        return ""
    have = "have" if len(who) > 1 or paused > 1 else "has"
    return f"the quota of {size(study.keeping.quota)} is too small: {' and '.join(who)} {have} no checkpoint"
