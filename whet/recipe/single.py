"""One training on its own: shown as it goes, saved after every epoch, resumed on request."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from whet.checks.live import Live
from whet.data.split import Data
from whet.errors import CheckpointError, UsageError
from whet.finding import Severity
from whet.journal.checkpoint import load, save
from whet.metric import interval
from whet.recipe.begin import blaming
from whet.recipe.block import WIDTH, Began, Block, Progress
from whet.recipe.job import Job, fingerprint
from whet.recipe.words import configured, count
from whet.train.checkpoint import pack, unpack
from whet.train.early import Early
from whet.train.run import Run
from whet.tune.plan import Plan

__all__ = ["outcome", "saved_before", "train_once"]


def train_once(
    job: Job,
    params: Mapping[str, Any],
    *,
    resume: bool = False,
    live: Live | None = None,
    plan: Plan | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Generator[Began | Progress | Block, None, None]:
    """Train `params` for the task's epochs; yield progress, then a block "train".

    The state is saved after every epoch in RUNS/NAME/train/last.safetensors, with the configuration beside the weights.

    When the job's criterion ends it, the state saved is that of the best epoch; resuming with another criterion goes on
    from there.

    live: looks at the training as it runs; what it found is told in the block, and with its `stop` a hopeless training ends.
    plan: the configuration of each epoch, in place of `params`; trained under the seed it was found with when the task has the seed
    of its study.

    Raises UsageError when there is nothing to resume, or it was another configuration.
    """
    yield Began("train")
    path = job.folder / "train" / "last.safetensors"
    data = job.data(params)
    what = {**about(job, params, data), "rule": None, "schedule": None if plan is None else plan.json()}
    seed, follows = (job.task.seed, list[str]()) if plan is None else _followed(plan, job.task.seed, job.task.steps)
    saved = saved_before(path, what) if resume else None
    watch = () if live is None else (live,)
    before = None if saved is None else {**saved["run"]}
    seen: list[Any] = []  # by a watch before this, which nobody goes on with now
    if saved is not None and before is not None:
        seen = list(before["callbacks"]) or list(saved.get("seen", []))
        before["callbacks"] = seen if watch and seen else [c.state() for c in watch]
    if plan is not None:
        _one_structure(job, plan, seed)
    with blaming(job.task):
        run = Run(job.task, params, steps=job.task.steps, seed=seed, callbacks=watch, resume=before, plan=plan)
    same = saved is not None and saved.get("stop", "") == job.stop
    early = Early(run, job.stop or None, resume=saved.get("early") if saved is not None and same else None)
    points = list(map(tuple, saved["points"])) if saved is not None else []
    points = points if same else [p for p in points if p[0] <= run.step]  # it may have gone back to its best
    began, first = time.monotonic(), run.step
    best = ""
    steps = iter(early)
    while True:
        with blaming(job.task):
            point = next(steps, None)
        if point is None:
            break
        points.append((point.step, point.value, dict(point.metrics)))
        best = f"{run.goal.name} {point.value:.4g}"
        save(path, pack({
            "what": what, "run": run.state(), "points": points, "stop": job.stop, "early": early.state(),
            "seen": [] if watch else seen,
        }))  # fmt: skip
        past = time.monotonic() - began
        speed = (point.step - first) / max(past, 1e-9)
        yield Progress(
            "train", point.step / run.steps, f"{point.step}", f"{run.steps} epochs", (run.steps - point.step) / speed,
            {}, {"epochs": speed}, best, configured(params),
        )  # fmt: skip
        if stopping():
            break
    block = outcome(early, path, points, more=follows)
    if live is None and run.over and seen:  # what ended it is told to whoever resumes it
        live = Live(stop=True)
        live.load(seen[0])
    yield block if live is None else _watched(block, live)


def _one_structure(job: Job, plan: Plan, seed: int) -> None:
    """Raise UsageError, before anything is trained, when weights cannot go on because a stretch changes the model's structure."""
    live = {d.name for d in job.task.space.dims if getattr(d.domain, "live", False)}
    kept = [
        ({k: v for k, v in s.params.items() if k not in live}, s) for s in plan.stretches if s.first <= job.task.steps
    ]
    kept = [x for i, x in enumerate(kept) if not i or x[0] != kept[i - 1][0]]
    shapes: dict[str, Any] = {}
    for i, (fixed, s) in enumerate(kept if len(kept) > 1 else []):
        with blaming(job.task):
            weights = Run(job.task, s.params, steps=job.task.steps, seed=seed).model.state_dict()
        now = {k: getattr(v, "shape", None) for k, v in weights.items()}
        if i and now != shapes:
            before = kept[i - 1][0]
            names = ", ".join(k for k in {**before, **fixed} if before.get(k) != fixed.get(k))
            raise UsageError(
                f"--schedule: epochs {s.first} to {s.last}: another {names} makes another model, which cannot go on with these "
                "weights. Change only what leaves its structure as it is."
            )
        shapes = now


def _followed(plan: Plan, seed: int, steps: int) -> tuple[int, list[str]]:
    """Return the seed to follow a schedule with over `steps`, when the task's is `seed`, and what there is to say of it."""
    known = plan.origin
    whose = f" of trial {known['trial']} of {known['study']}" if {"trial", "study"} <= known.keys() else ""
    said = f"followed the schedule{whose}, {count(sum(1 < s.first <= steps for s in plan.stretches), 'change')} of configuration"
    if steps != plan.steps:  # a rate that falls to the end falls otherwise
        return seed, textwrap.wrap(
            f"{said}, over {count(steps, 'epoch')} in place of {plan.steps}: the curve is another", WIDTH
        )
    theirs = known.get("seed")
    if plan.seed is None or theirs is None:
        return seed, textwrap.wrap(said, WIDTH)
    if theirs != seed:
        return seed, textwrap.wrap(
            f"{said}, under another seed: with --seed {theirs} the curve is that of the trial", WIDTH
        )
    return plan.seed, textwrap.wrap(f"{said}, with its seed", WIDTH)


def _watched(block: Block, live: Live) -> Block:
    """Add what was found while the training ran; where that ended it, say so in place of what follows from it."""
    health = live.health
    told = list(block.lines)
    if live.stop and live.hopeless is not None and block.failed:
        told = [f"stopped in epoch {block.data['step']}: going on is hopeless"]
    said: list[str] = []
    for f in sorted(health.findings, key=lambda f: list(Severity).index(f.severity)):
        said += textwrap.wrap(f"{f.severity} {f.code} {f.where}: {f.message}", WIDTH, subsequent_indent="  ")
        said += textwrap.wrap(f"fix: {f.fix}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    if not said:
        looks = health.facts.get("TREND", {}).get("looks", 0)
        said = [f"watched: {count(looks, 'look')}, nothing wrong" if looks else "watched: too short for a look"]
    at = len(told) if block.failed else len(told) - 1  # the path stays last
    told[at:at] = said
    return replace(
        block, lines=tuple(told), data={**block.data, "health": health.json()}, failed=block.failed or health.failed
    )


def about(job: Job, params: Mapping[str, Any], data: Data) -> dict[str, Any]:
    """Return what a training is of: another one of these does not go on from it."""
    return {"params": dict(params), "seed": job.task.seed, "steps": job.task.steps, "data": fingerprint(data)}


def saved_before(path: Path, what: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was saved at `path`; raise UsageError when there is nothing, or it was of something else than `what`."""
    if not path.exists():
        raise UsageError(f"--resume: nothing to go on from at {path}. Leave --resume out to begin.")
    try:
        saved: dict[str, Any] = unpack(load(path))
    except CheckpointError as e:
        raise UsageError(f"--resume: {e} Leave --resume out to begin again.") from e
    for name, now in what.items():
        before = saved["what"].get(name)
        if before != now:
            was = f"without --{name}" if before is None else f"with {name} {json.dumps(before)}"
            raise UsageError(f"--resume: {path} was made {was}. Give the same, or leave --resume out.")
    return saved


def outcome(early: Early[Run], path: Path, points: list[Any], *, more: Sequence[str] = ()) -> Block:
    """Return the block of a training that ended, at the point where its run stands now.

    points: (step, value, metrics) of every epoch so far; more: lines that stand before its configuration.
    """
    run = early.run
    goal = run.goal
    if early.failed:
        lines = [*textwrap.wrap(f"diverged after epoch {points[-1][0]}: {early.why}", WIDTH), *more]
        return Block(
            "train", tuple(lines), {"step": points[-1][0], "diverged": True, "stopped": early.why}, failed=True
        )
    if run.outputs is None:
        run.evaluate()
    assert run.outputs is not None
    if run.over:
        lines = [f"diverged: the loss is not finite after epoch {run.step}. Try a smaller lr (--set lr=...)", *more]
        return Block("train", tuple(lines), {"step": run.step, "diverged": True}, failed=True)
    score = interval(goal.name, run.outputs, run.data.valid.targets.numpy(), kind=run.data.kind)
    top: tuple[Any, ...] = min(points, key=lambda p: goal.score(p[1]), default=(run.step, score.value, {}))
    shown = top if early.why else points[-1] if points else top
    train_loss = shown[2].get("train_loss")
    lines = [f"{run.step} of {run.steps} epochs: {goal.name} {score} on validation"]
    if early.why:
        lines += textwrap.wrap(f"stopped after epoch {points[-1][0]}, back to {run.step}: {early.why}", WIDTH)
    lines += [f"training loss {train_loss:.4g}; best epoch {top[0]} ({top[1]:.4g})"] if train_loss is not None else []
    lines += [*more, *textwrap.wrap(configured(run.params), WIDTH), str(path)]
    data = {
        "step": run.step, "steps": run.steps, "metric": goal.name, "value": score.value, "interval": [score.low, score.high],
        "params": dict(run.params), "path": str(path), "curve": [{"step": s, "value": v, **m} for s, v, m in points],
        "stopped": early.why or None, "epochs": points[-1][0] if points else run.step,
    }  # fmt: skip
    return Block("train", tuple(lines), data)
