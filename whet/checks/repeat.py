"""REP: the same seed twice gives the same data, loss, gradients and weights, bit for bit on a CPU."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn  # noqa: F401  (the doctest)

from whet.checks.registry import Fact, Stage
from whet.checks.sandbox import randomness
from whet.checks.small import Small, small
from whet.checks.source import place
from whet.checks.subject import Subject
from whet.checks.trace import Entry, Trace, first_difference
from whet.checks.unfit import unfit
from whet.data.split import Data
from whet.finding import Finding, NotRun, Severity
from whet.task import Task
from whet.train.run import Run

__all__ = ["Repeat", "traced"]


def traced(task: Small, subject: Subject) -> tuple[Trace, Run]:
    """Return what one epoch of a task computes from the subject's seed, on the CPU, and the run it was."""
    trace = Trace()
    run = Run(task, subject.params, steps=1, seed=subject.seed, device="cpu", callbacks=[trace])
    for _ in run:
        pass
    return trace, run


class Repeat:
    """FAIL when two runs of one seed differ in a bit, naming the first thing that does; WARN when only by rounding.

    Three steps of the task as it trains, augmentation and dropout on. In order: weights at the start, batches, what
    enters and leaves every module, loss, gradients, learning rate, weights; torch.use_deterministic_algorithms is asked
    for the operation where it knows one. Before that, task.data is called again: FAIL when the same global generators
    give other data, WARN when other ones do, for then each run of a study has splits of its own.

    >>> from whet.data.split import Data, Split
    >>> class Noise(nn.Module):
    ...     def forward(self, x):
    ...         return x + float(torch.Generator().seed() % 1000)
    >>> class Noisy(Task):
    ...     def data(self, params):
    ...         return Data(Split(torch.ones(9, 2), torch.ones(9)), Split(torch.ones(4, 2), torch.ones(4)), kind="regression")
    ...     def model(self, params):
    ...         return nn.Sequential(Noise(), nn.Linear(2, 1))
    >>> from whet.checks.skeleton import check_task
    >>> check_task(Noisy(), {}, checks=["REP"]).findings[0].message
    'two runs of one seed differ at step 1: module 0 (Noise) gives other outputs for the same inputs'
    """

    code, stage, passes = "REP", Stage.LATER, 8
    rounding = 1e-5

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Load the data again, and train a few steps twice."""
        task, data = subject.task, subject.data
        if task is None or data is None:
            yield NotRun(self.code, "needs a whole task, not one batch: use check_task(task, params)")
            return
        with subject.look(self.code):
            found = self._data(task, subject)
            if found is None:
                short = small(subject, valid=50)
                if unfit(subject, short) is not None:
                    yield NotRun(self.code, "whet cannot train it as it is (see MET)")
                    return
                (a, run), (b, _) = traced(short, subject), traced(short, subject)
                steps, apart = len(a.losses), _apart(a.losses, b.losses)
                first = first_difference(a.entries, b.entries)
                numbers: dict[str, Any] = {"steps": steps, "apart": apart, "n": short.batch(subject.params)}
                same = "runs repeat" if first is None else "runs do not repeat"
                yield Fact(f"{same} bit for bit", numbers)
                if first is None:
                    return
                yield self._finding(*first, subject, run, numbers)
            else:
                yield Fact("data do not repeat", found.evidence)
                yield found

    def _data(self, task: Task, subject: Subject) -> Finding | None:
        """Compare two calls of task.data under one state of the global generators, and under another."""
        plain = task.plain(subject.params)
        loaded = []
        for state in (0, 0, 1):
            with randomness(state, "check", self.code, "data"):
                loaded.append(task.data(plain).visible)
        if loaded[0] is loaded[1] is loaded[2]:
            return None
        for again, severity, why, fix in (
            (loaded[1], Severity.FAIL, "called twice", "np.random.default_rng(self.seed) in place of np.random.default_rng()"),
            (loaded[2], Severity.WARN, "called under another state of the global generators",
             "draw from a generator of its own: torch.Generator().manual_seed(self.seed)"),
        ):  # fmt: skip
            where = _unlike(loaded[0], again)
            if where:
                evidence = {"n": len(loaded[0].train), "differs": where}
                return Finding(self.code, severity, place(type(task).data), evidence,
                               f"task.data gives other {where} when {why}, so runs of one study are not alike", fix)  # fmt: skip
        return None

    def _finding(self, step: int, first: Entry, subject: Subject, run: Run, numbers: dict[str, Any]) -> Finding:
        """Say what differs first, where it stands, and what to do."""
        task = subject.task
        assert task is not None
        what, where, fix = _culprit(first, task, run, subject)
        operation = _operation(subject) if first.kind in ("into", "out", "gradient", "loss") else ""
        if operation:
            what += f"; the program uses {operation}, of which PyTorch has no deterministic version"
        evidence = {**numbers, "step": step, "kind": first.kind, "name": first.name, "operation": operation}
        close = first.kind in ("out", "loss", "gradient") and numbers["apart"] <= self.rounding
        severity = Severity.WARN if close else Severity.FAIL
        if close:
            what += f" (losses {numbers['apart']:.1g} apart: a sum in another order)"
        at = f"at step {step}" if step else "before the first step"
        return Finding(self.code, severity, where, evidence, f"two runs of one seed differ {at}: {what}", fix)


def _culprit(first: Entry, task: Task, run: Run, subject: Subject) -> tuple[str, str, str]:
    """Return what the first difference is in words, where it stands, and the fix."""
    draws = "draw from torch's global generator, which the run seeds; no default_rng(), os.urandom or time"
    modules = dict(run.model.named_modules())

    def called(name: str) -> tuple[str, str]:
        module = modules.get(name, run.model)
        kind = type(module).__name__
        said = f"module {name} ({kind})" if name else f"the model ({kind})"
        return said, place(module, type(task).model)

    if first.kind == "start":
        return f"{first.name} has other initial weights", place(type(task).model), draws
    if first.kind == "batch":
        augment = task.augment(subject.params)
        if augment is None:
            return "the examples of the batch are others", place(type(task).data), draws
        return ("augment gives other examples", place(augment, type(task).augment),
                "draw every random number from the generator that augment is handed")  # fmt: skip
    if first.kind == "into":
        said, where = called(first.owner)
        return f"what {said} hands to {first.name or 'itself'} is another", where, draws
    if first.kind == "out":
        said, where = called(first.name)
        return f"{said} gives other outputs for the same inputs", where, draws
    if first.kind == "loss":
        return "the loss is another for the same outputs", subject.at("loss"), draws
    if first.kind == "gradient":
        owner = first.name.rpartition(".")[0]
        return (f"the gradient of {first.name} is another for the same loss", called(owner)[1],
                "torch.use_deterministic_algorithms(True) names the operation; look for one that adds in any order")  # fmt: skip
    if first.kind == "rate":
        return "the learning rate is another", place(type(task).rate), "rate must depend on the epochs done alone"
    name = type(run.optimizer).__name__
    return (f"{name} takes another step with the same gradients", place(run.optimizer, type(task).optimizer), draws)


def _operation(subject: Subject) -> str:
    """Return the operation that PyTorch refuses when it may use deterministic ones only, "" when there is none."""
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        subject.model.train()
        subject.cost(subject.forward()).backward()
    except RuntimeError as error:
        found = re.match(r"(\S+) does not have a deterministic implementation", str(error))
        return found[1] if found else ""
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
    return ""


def _apart(a: list[float], b: list[float]) -> float:
    """Return the largest relative difference of two lists of losses, infinity where only one is a number."""
    gaps = [
        abs(x - y) / (1 + abs(x)) if x != y and not (x != x and y != y) else 0.0 for x, y in zip(a, b, strict=False)
    ]
    return max((math.inf if g != g else g for g in gaps), default=0.0) if len(a) == len(b) else math.inf


def _unlike(a: Data, b: Data) -> str:
    """Return in what two loadings of the data differ, "" when in nothing."""
    for name, x, y in (("training", a.train, b.train), ("validation", a.valid, b.valid)):
        if len(x) != len(y) or len(x.parts) != len(y.parts):
            return f"{name} examples"
        for part, other in zip((*x.parts, x.targets), (*y.parts, y.targets), strict=True):
            if part.shape != other.shape or not _equal(part, other):
                return f"{name} examples"
    return ""


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are equal, not-a-number included."""
    same = a == b
    return bool((same | ((a != a) & (b != b))).all() if a.is_floating_point() else same.all())
