"""The last steps: squeeze the trials into an ensemble, open the test split once, export and verify."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from whet.data.series_lags import last_values
from whet.data.split import Data
from whet.deploy import load, save, verify
from whet.errors import StudyError, WhetError
from whet.metric import interval
from whet.recipe.block import WIDTH, Block
from whet.recipe.job import Job
from whet.recipe.winner import outputs_of
from whet.recipe.words import size
from whet.squeeze import Average, greedy
from whet.task import Task
from whet.tasks import reference
from whet.train.predict import predict
from whet.train.scored import goal_metric
from whet.tune.study import Study
from whet.tune.trial import State
from whet.tune.worker import rebuild

__all__ = ["Chosen", "export_block", "left", "squeeze", "test_block"]

_SHOWN = 1000  # real examples the exported model is compared on


@dataclass(frozen=True)
class Chosen:
    """The model that goes on: an ensemble or the single best trial.

    members: (trial, step, weight); outputs: its validation outputs (n, C) or (n,).
    """

    members: tuple[tuple[int, int, float], ...]
    outputs: np.ndarray
    states: Mapping[int, Mapping[str, Any]]

    @property
    def key(self) -> list[list[float]]:
        """What makes it this model and no other, as JSON."""
        return [[i, s, round(w, 9)] for i, s, w in self.members]

    def model(self, task: Task, study: Study, data: Data) -> nn.Module:
        """Return the model, on the CPU and in evaluation mode."""
        made = [rebuild(task, study.trials[i], self.states[i], study.steps)[0] for i, _, _ in self.members]
        if len(made) == 1:
            return made[0]
        return Average(made, [w for _, _, w in self.members], kind=data.kind).eval()


def left(study: Study) -> bool:
    """Return whether any trial left a checkpoint that `squeeze` can choose."""
    able = (t for t in study.trials if t.state is not State.FAILED and t.value is not None)
    return any(outputs_of(study, t.id) is not None for t in able)


def squeeze(job: Job, study: Study, data: Data) -> tuple[Block, Chosen]:
    """Choose the ensemble of the best trials, or the single best where more do not pay; of those that keep the goal's bounds, as long as any does."""
    outputs, states = {}, {}
    for trial in study.trials:
        if trial.state is State.FAILED or trial.value is None:
            continue
        found = outputs_of(study, trial.id)
        if found is not None:
            states[trial.id], outputs[trial.id] = found
    trials = study.trials
    if kept := [i for i in outputs if trials.keeps(trials[i])]:  # else who comes nearest, as the best trial is chosen
        states, outputs = {i: states[i] for i in kept}, {i: outputs[i] for i in kept}
    if not outputs:
        quota = study.keeping.quota
        why, how = (
            (f": the quota of {size(quota)} is too small", "a larger --quota, and --fresh")
            if quota
            else ("", "more --budget")
        )
        raise StudyError(f"study '{study.name}': no trial left a checkpoint to go on from{why}. Give {how}.")
    targets, goal = data.valid.targets.numpy(), study.goals[0].name
    first = min(outputs)
    measure = goal_metric(job.task, study.trials[first].params, data, outputs[first])
    ensemble = greedy(outputs, targets, measure, kind=data.kind, seed=study.seed)
    members = tuple((i, int(states[i]["step"]), w) for i, w in ensemble.members)
    chosen = Chosen(members, ensemble.outputs, {i: states[i] for i, _, _ in members})
    score = interval(measure, ensemble.outputs, targets, kind=data.kind)
    single = interval(measure, outputs[ensemble.single], targets, kind=data.kind)
    if ensemble.size > 1:
        who = ", ".join(f"{i} ({w:.0%})" for i, w in ensemble.members)
        lines = textwrap.wrap(f"ensemble of {ensemble.size} of {len(outputs)} trials: {who}", WIDTH)
    else:
        lines = textwrap.wrap(f"single best, trial {ensemble.single}: {ensemble.why}", WIDTH)
    lines.append(f"validation {goal} {score}")
    if ensemble.size > 1:
        lines.append(f"single best {ensemble.single_score:.4g}")
    if ensemble.honest is not None and ensemble.honest_single is not None:
        of = f"{ensemble.honest.value:.4g}, single {ensemble.honest_single.value:.4g}"
        lines += textwrap.wrap(f"on examples it was not chosen on {of}", WIDTH)
    data_ = {
        **ensemble.json(), "members": chosen.key, "metric": goal, "value": score.value,
        "interval": [score.low, score.high], "single_interval": [single.low, single.high],
    }  # fmt: skip
    return Block("squeeze", tuple(lines), data_), chosen


def test_block(job: Job, study: Study, data: Data, chosen: Chosen, *, model: nn.Module | None, why: str) -> Block:
    """Open the sealed test split, recorded first, and score the chosen model on it.

    The same model is not scored twice: what was found before is shown again and the split stays closed.
    """
    for known in reversed(study.records("test")):
        if known["data"].get("members") == chosen.key:
            return Block("test", tuple(known["lines"]), known["data"])
    goal = study.goals[0].name
    if data.sealed is None:
        return Block("test", ("no test split: the validation score is all there is",), {})
    assert model is not None
    split = data.unseal(study, why)
    outputs = predict(model, split)
    measure = goal_metric(job.task, study.trials[chosen.members[0][0]].params, data, chosen.outputs)
    score = interval(measure, outputs, split.targets.numpy(), kind=data.kind)
    valid = interval(measure, chosen.outputs, data.valid.targets.numpy(), kind=data.kind)
    times = len(study.records("unsealed"))
    opened = "opened once" if times == 1 else f"opened {times} times: trust the first score most"
    lines: tuple[str, ...] = (
        f"{goal} {score}", f"validation {valid}", f"{len(split):,} sealed examples, {opened}, on record"
    )  # fmt: skip
    last = last_values(data, split)
    rule = None
    if last is not None:  # what a model of a series has to beat
        rule = interval(measure, last.astype(np.float32)[:, None], split.targets.numpy(), kind=data.kind)
        lines = (*lines[:2], f"the last value again {rule}", *lines[2:])
    block = Block(
        "test",
        lines,
        {
            "metric": goal, "value": score.value, "interval": [score.low, score.high], "n": len(split), "members": chosen.key,
            "validation": valid.value, "validation_interval": [valid.low, valid.high], "opened": times,
            **({} if rule is None else {"last_value": rule.value}),
        },
    )  # fmt: skip
    study.record("test", block.json())
    return block


def export_block(
    job: Job, study: Study, data: Data, chosen: Chosen, *, model: nn.Module, scores: Mapping[str, Any]
) -> Block:
    """Export the chosen model to ONNX, hold it against PyTorch on real inputs, and time both."""
    folder = job.folder / "model"
    inputs = data.valid.take(np.arange(min(_SHOWN, len(data.valid)))).inputs
    members = [(dict(study.trials[i].params), w) for i, _, w in chosen.members]
    bundle, exported = save(
        folder, model, inputs, task=str(reference(job.task)["task"]), members=members, classes=data.classes,
        meta={**data.meta, "goal": str(study.goals[0]), "study": study.name}, metrics=dict(scores),
    )  # fmt: skip
    checked = verify(bundle.graph, model, inputs)
    fast, slow = checked.latency["onnxruntime"], checked.latency["torch"]
    one, most = min(fast), max(fast)
    equal = (
        f"equal to PyTorch on {checked.n:,} validation examples (largest difference {checked.max_abs:.1g})"
        if checked.equal
        else f"NOT equal to PyTorch: {checked.why}"
    )
    lines = (
        f"{bundle.graph}  {size(checked.bytes)}",
        *textwrap.wrap(equal, WIDTH),
        f"latency {fast[one]:.2g} ms (PyTorch {slow[one]:.2g}), {fast[most]:.2g} ms for {most} ({slow[most]:.2g}); 1 thread",
    )
    return Block(
        "export", lines, {**checked.json(), "path": str(bundle.graph), "seconds": exported.seconds}, not checked.equal
    )


def still_good(job: Job, study: Study, chosen: Chosen) -> Block | None:
    """Return the export of the same model when it was made before and its files are whole."""
    for known in reversed(study.records("export")):
        if known["data"].get("members") == chosen.key:
            try:
                load(job.folder / "model")
            except WhetError:
                return None
            return Block("export", tuple(known["lines"]), known["data"], bool(known["failed"]))
    return None


def one_thread() -> None:
    """Keep PyTorch to one thread: small models are no faster with more, and results depend on it."""
    torch.set_num_threads(1)
