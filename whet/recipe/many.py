"""One training on several workers: shown as it goes, saved after every epoch, resumed on request."""

from __future__ import annotations

import copy
import math
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.distributed.channels import Channel, channel
from whet.distributed.ensemble import member_losses
from whet.distributed.flat import Flat
from whet.distributed.member import parted
from whet.distributed.named import parse_rule
from whet.distributed.shuffle import Advice, Shuffle, advice
from whet.distributed.stretch import few
from whet.journal.checkpoint import save
from whet.recipe.begin import blaming
from whet.recipe.block import WIDTH, Began, Block, Progress
from whet.recipe.job import Job
from whet.recipe.single import about, outcome, saved_before
from whet.recipe.trained import kept
from whet.recipe.words import count
from whet.recipe.workers import ensemble, lines, mean_staleness, rows, unlike
from whet.train.checkpoint import pack
from whet.train.early import Early
from whet.train.run import Run
from whet.tune.trial import Point

__all__ = ["Team", "train_many"]

_END = object()


@dataclass(frozen=True)
class Team:
    """Who trains together, and how: number of workers, rule by name, how examples are shuffled, the channel by name, parts of the model.

    shares: of each worker, where they are not equal.
    """

    workers: int
    rule: str = "sync"
    shuffle: str = "global"
    on: str = "processes"
    stages: int = 1
    shares: tuple[int, ...] = ()


def train_many(
    job: Job,
    params: Mapping[str, Any],
    team: Team,
    *,
    resume: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Generator[Began | Progress | Block, None, None]:
    """Train `params` on a team for the task's epochs; yield progress about once a second, then a block "train".

    What is saved, where, and when is as in `whet.recipe.single.train_once`, the state of the channel beside it; at the end the members' models too,
    where the rule leaves some (`whet.recipe.trained` reads them). When `stopping`, what is merged
    by then is saved, in the middle of an epoch too. When the job's criterion ends it, the best epoch's weights are what is saved; resuming
    with another criterion goes on from the last.

    Raises UsageError when there is nothing to resume, it was another configuration or team, or the team cannot be.
    """
    make, rule = channel(team.on, stages=team.stages), parse_rule(team.rule)
    yield Began("train")
    path = job.folder / "train" / "last.safetensors"
    what = {
        **about(job, params, job.data(params)), "rule": str(rule), "workers": team.workers, "shuffle": team.shuffle,
        "on": team.on.partition("://")[0], "stages": team.stages,
        "shares": list(team.shares) or None,
    }  # fmt: skip
    saved = saved_before(path, what) if resume else None
    with blaming(job.task):
        training = make(
            job.task, params, rule=team.rule, workers=team.shares or team.workers, steps=job.task.steps, seed=job.task.seed,
            shuffle=team.shuffle, folder=path.parent, resume=resume,
        )  # fmt: skip
    with training:
        advised = advice(len(training.run.data.train), team.workers // team.stages, training.run.steps, team.shuffle)  # type: ignore[arg-type]
        run = training.run
        dealt = Shuffle(len(run.data.train), run.batch, team.workers, team.shuffle, alone=run.alone, shares=team.shares)  # type: ignore[arg-type]
        once = few(rule, team.workers, run.steps * dealt.per_epoch, team.shares)
        warned = "".join(
            f"; {w}" for w in (once, "" if advised.safe else advised.why) if w
        )  # now, when it can still be changed
        crew = count(team.workers, "worker") + (f" of shares {', '.join(map(str, team.shares))}" if team.shares else "")
        yield Began("train", f"{crew}, {rule}, {team.shuffle} shuffle{warned}")
        held = _Held(job, training, path, what=what, saved=saved)
        every = 1 if rule.local is None else rule.local.every
        if not held.over:
            events = training.events()
            while True:
                with blaming(job.task):
                    event = next(events, _END)
                if event is _END:
                    break
                if stopping():
                    training.halt()
                if isinstance(event, Point):
                    held.take(event)
                yield held.progress(every, team.shares, told=isinstance(event, Point))
            held.end()
        yield held.block(team, str(rule), advised, once)


class _Held:
    """A training, and what is known of it so far, over all its resumes."""

    def __init__(
        self, job: Job, training: Channel, path: Path, *, what: Mapping[str, Any], saved: Mapping[str, Any] | None
    ) -> None:
        self.job, self.training, self.path, self.what = job, training, path, what
        run, same, before = training.run, False, {}
        if saved is not None:
            run.restore(saved["run"])
            same, before = saved["stop"] == job.stop, saved["told"]
        self.early = Early(run, job.stop or None, resume=saved["early"] if saved is not None and same else None)
        self.points: list[tuple[int, float, dict[str, float]]] = [] if saved is None else [*map(tuple, saved["points"])]
        self.status: dict[str, Any] = dict(before.get("status", {}))
        self.members: dict[str, Any] | None = before.get("members")
        self._models: dict[str, Any] | None = None if saved is None else saved["members"]  # of when it last ended
        self._deaths: Counter[str] = Counter(before.get("deaths", {}))
        self._lost = int(before.get("lost", 0))
        self._seconds = float(before.get("seconds", 0.0))
        self._best: tuple[dict[str, Any], np.ndarray | None] | None = (
            None  # where a criterion went back to, with its outputs
        )
        self._startup = float(before.get("startup", 0.0))
        self._made, self._began = time.monotonic(), float("nan")  # when the first worker took its first step
        if self.points and not self.early.why:
            run.step = self.points[-1][0]  # the channel goes on from there, wherever the weights come from
        self._epochs = float(run.step)  # merged by then
        self.early.begin()

    @property
    def over(self) -> bool:
        """Whether nothing is left to train."""
        run, last = self.training.run, self.points[-1][0] if self.points else 0
        return bool(self.early.why) or run.over or last >= run.steps

    def take(self, point: Point) -> None:
        """Take in a point, and save; end the training when its criterion says so."""
        if self.early.why:
            return  # it came after the end
        self._begins(point.cost)  # where it was quicker than the first look
        metrics = {**point.metrics, "seconds": self.seconds}
        self.points.append((point.step, point.value, metrics))
        self.early.take(replace(point, cost=0.0))  # an epoch costs 1, as on one process
        self.save()
        if self.early.why:
            run = self.training.run
            self._best = run.state(), run.outputs
            self.training.halt()

    def end(self) -> None:
        """Save how it ended: with the best epoch's model where a criterion ended it, whatever came after."""
        run, models = self.training.run, self.training.models
        if (
            models and not run.over
        ):  # the members are those of the last epoch, so none of them is the best epoch's model
            saved = _whose(run, models) if self._best is None else None
            self.members = ensemble(member_losses(run, models), [w for w, _ in models], saved)
            self._models = kept(run.model, models)
        if self._best is not None:
            run.restore(self._best[0])
            run.outputs = self._best[1]
        if self.points or self.training.status:  # else nobody was there yet, and what another training left stays
            self.save()

    def save(self) -> None:
        """Save all of it."""
        save(self.path, pack({
            "what": self.what, "run": self.training.run.state(), "points": self.points, "stop": self.job.stop,
            "early": self.early.state(), "seen": [], "told": self.told(), "members": self._models,
        }))  # fmt: skip

    def _begins(self, seconds: float) -> None:
        """Take in that the first step was taken so long ago; 0 when it was not."""
        if seconds and not self._working:
            self._began = time.monotonic() - seconds

    @property
    def _working(self) -> bool:
        """Whether a worker has taken its first step."""
        return not math.isnan(self._began)

    @property
    def seconds(self) -> float:
        """Seconds of training, from the first worker's first step."""
        return self._seconds + (time.monotonic() - self._began if self._working else 0.0)

    @property
    def startup(self) -> float:
        """Seconds in which there were no workers yet, before that."""
        return self._startup + (max(0.0, self._began - self._made) if self._working else 0.0)

    def told(self) -> dict[str, Any]:
        """Return what is known of the workers, as plain values."""
        training = self.training
        self.status = dict(training.status) or self.status
        return {
            "status": self.status, "deaths": dict(self._deaths + training.deaths), "lost": self._lost + training.lost,
            "seconds": self.seconds, "startup": self.startup, "members": self.members,
        }  # fmt: skip

    def progress(self, every: int, shares: Sequence[int] = (), *, told: bool) -> Progress:
        """Return how far it is; every, shares: steps between two pushes of a worker, and how many times those; told: whether an epoch has just ended."""
        training, run = self.training, self.training.run
        status = training.look()
        there, workers = len(status.get("workers") or {}), training.workers
        epochs = float(run.step) if told else max(float(run.step), float(status.get("epochs", 0.0)))
        self._begins(float(status.get("seconds") or 0.0))
        if not self._working:
            self._epochs = epochs
        past = time.monotonic() - self._began if self._working else 0.0
        speed = (epochs - self._epochs) / past if past else 0.0
        last = self.points[-1] if self.points else None
        said = f"{run.goal.name} {last[1]:.4g}" if last else ""
        return Progress(
            "train", min(1.0, epochs / run.steps), f"{epochs:.0f}" if told else f"{epochs:.1f}", f"{run.steps} epochs",
            (run.steps - epochs) / speed if speed else None, {}, {"epochs": speed} if speed else {},
            said or ("" if self._working else f"starting {count(workers, 'worker')}"),
            rows=rows(status, self._deaths + training.deaths, workers, every=every, shares=shares) if there else (), told=told,
        )  # fmt: skip

    def block(self, team: Team, rule: str, advised: Advice, once: str) -> Block:
        """Return what came of it; once: that there was but one exchange, in a sentence, or ""."""
        run, told = self.training.run, self.told()
        said = lines(
            told, workers=team.workers, rule=rule, members=self.members, advice=advised.why,
            normed=any(name.endswith("running_mean") for name, _ in run.model.named_buffers()),
        )  # fmt: skip
        said += textwrap.wrap(once, WIDTH, subsequent_indent="  ")
        found = {
            "workers": team.workers, "rule": rule, "shuffle": team.shuffle, "on": team.on, "shares": list(team.shares), "seconds": told["seconds"], "startup": told["startup"],
            "updates": self.status.get("version", 0), "mean_staleness": mean_staleness(self.status),
            "staleness": self.status.get("staleness", {}), "refused": self.status.get("refused", {}),
            "drawn_again": self.status.get("drawn_again", 0), "lost": told["lost"], "deaths": told["deaths"],
            "each": self.status.get("workers", {}), "ensemble": self.members,
            "advice": {"safe": advised.safe, "why": advised.why}, "once": once,
            "unlike": unlike(self.status),
        }  # fmt: skip
        if not self.points and not self.status:
            end = Block("train", ("stopped before the first update: nothing was saved",), {"step": 0, "path": None})
        else:
            end = outcome(self.early, self.path, self.points, more=said)
        return replace(end, data={**end.data, "distributed": found})


def _whose(run: Run, models: Sequence[tuple[int, Tensor]]) -> int | None:
    """Return the worker whose weights the run has, or None when they are nobody's."""
    own = Flat(
        copy.deepcopy(run.model)
    ).weights  # of a copy: the run's own parameters are views of what a channel writes
    return next((w for w, model in models if torch.equal(own, parted(model, len(own))[0])), None)
