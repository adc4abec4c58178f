"""RES: a run that is saved and resumed takes the steps that it would have taken without a break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from whet.checks.registry import Fact, Stage
from whet.checks.small import Small, small
from whet.checks.source import place
from whet.checks.subject import Subject
from whet.checks.trace import Entry, Trace, first_difference
from whet.checks.unfit import unfit
from whet.errors import CheckpointError
from whet.finding import Finding, NotRun, Severity
from whet.task import Task
from whet.train.callback import Callback
from whet.train.checkpoint import pack, unpack
from whet.train.run import Run

__all__ = ["Resumes"]


class Resumes:
    """FAIL when the epoch after a resume differs in a bit from the same epoch without one (on a CPU), naming what does.

    Two epochs of four steps in one go, and the second again from the state saved after the first, written as a
    checkpoint is. callbacks: makes those that the training uses, so that what they remember is looked at too:
    check_task(task, params, checks=[Resumes(lambda: [Average()])]).

    >>> import torch
    >>> from whet.data.split import Data, Split
    >>> class Steps(torch.optim.SGD):
    ...     done = 0
    ...     def step(self, closure=None):
    ...         self.done += 1  # not in self.state, so no checkpoint has it
    ...         for group in self.param_groups:
    ...             group["lr"] = 0.1 / self.done
    ...         return super().step(closure)
    >>> class Line(Task):
    ...     def data(self, params):
    ...         x = torch.linspace(-1, 1, 64)[:, None]
    ...         return Data(Split(x[::2], 3 * x[::2, 0]), Split(x[1::2], 3 * x[1::2, 0]), kind="regression")
    ...     def model(self, params):
    ...         return torch.nn.Linear(1, 1)
    ...     def optimizer(self, params, model):
    ...         return Steps(model.parameters(), 0.1)
    ...     def batch(self, params):
    ...         return 8
    >>> from whet.checks.skeleton import check_task
    >>> check_task(Line(), {}, checks=["RES"]).findings[0].message
    'resumed after 4 steps, step 1 differs: Steps takes another step with the same gradients, so it remembers something that its state_dict has not'
    """

    code, stage, passes = "RES", Stage.LATER, 16

    def __init__(self, callbacks: Callable[[], Sequence[Callback]] = tuple) -> None:
        self.callbacks = callbacks

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Train a second epoch after the first, and again after a resume."""
        if subject.task is None or subject.data is None:
            yield NotRun(self.code, "needs a whole task, not one batch: use check_task(task, params)")
            return
        with subject.look(self.code):
            short = small(subject, batches=4, valid=50)
            if unfit(subject, short) is not None:
                yield NotRun(self.code, "whet cannot train it as it is (see MET)")
                return
            trace, run, state = self._through(short, subject)
            if run.over:
                yield NotRun(self.code, "the loss or the metric on a few examples is not finite")
                return
            numbers: dict[str, Any] = {"steps": len(trace.losses) // 2, "n": short.batch(subject.params)}
            try:
                saved = unpack(pack(state))
            except CheckpointError as error:
                yield Fact("state cannot be written", numbers)
                yield Finding(self.code, Severity.FAIL, subject.at("model"), {**numbers, "error": str(error)},
                              f"the state of a run cannot be written: {error}".rstrip("."),
                              "keep tensors, numbers and text in state_dict() and Callback.state()")  # fmt: skip
                return
            again = Trace()
            resumed = Run(short, subject.params, steps=2, seed=subject.seed, device="cpu", resume=saved,
                          callbacks=[*self.callbacks(), again])  # fmt: skip
            for _ in resumed:
                pass
            first = first_difference(_second(trace), _second(again))
            if first is not None:
                other, _, _ = self._through(short, subject)
                if first_difference(trace.entries, other.entries) is not None:
                    yield NotRun(self.code, "two runs of one seed differ already without a break (see REP)")
                    return
        yield Fact("resumes bit for bit" if first is None else "does not resume", numbers)
        if first is not None:
            yield self._finding(*first, subject, run, numbers)

    def _through(self, short: Small, subject: Subject) -> tuple[Trace, Run, Any]:
        """Return the trace of two epochs in one go, the run, and its state after the first."""
        trace = Trace()
        run = Run(short, subject.params, steps=2, seed=subject.seed, device="cpu", callbacks=[*self.callbacks(), trace])
        state = None
        for _ in run:
            state = state if state is not None else run.state()
        return trace, run, state

    def _finding(self, step: int, first: Entry, subject: Subject, run: Run, numbers: dict[str, Any]) -> Finding:
        """Say what differs first after the resume, and where its memory belongs."""
        task = subject.task
        assert task is not None
        what, where, fix = _memory(first, task, run, subject)
        evidence = {**numbers, "step": step, "kind": first.kind, "name": first.name}
        return Finding(self.code, Severity.FAIL, where, evidence,
                       f"resumed after {numbers['steps']} steps, step {step} differs: {what}", fix)  # fmt: skip


def _second(trace: Trace) -> list[Entry]:
    """Return what the second epoch computed, from its first batch on: before that stands the first one's evaluation."""
    entries = [e for e in trace.entries if e.epoch >= 1 and e.kind != "start"]
    return entries[next((i for i, e in enumerate(entries) if e.kind == "batch"), 0) :]


def _memory(first: Entry, task: Task, run: Run, subject: Subject) -> tuple[str, str, str]:
    """Return what remembers something of its own, where it stands, and the fix."""
    modules = dict(run.model.named_modules())
    name = first.owner if first.kind == "into" else first.name
    module = modules.get(name, run.model)
    said = f"module {name} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"
    lost = "so it remembers something that its state_dict has not"
    buffer = 'self.register_buffer("count", torch.zeros(())), persistent, in place of a plain attribute'
    if first.kind in ("into", "out"):
        return (
            f"{said} computes something else from the same weights and inputs, {lost}",
            place(module, type(task).model),
            buffer,
        )
    if first.kind == "batch":
        augment = task.augment(subject.params)
        return ("the batch is another, so augmentation or a callback remembers something of earlier ones",
                place(augment, type(task).augment) if augment is not None else place(type(task).data),
                "let it depend on the generator that augment is handed, or return the memory from Callback.state")  # fmt: skip
    if first.kind == "loss":
        return ("the loss is another for the same outputs, so it, or a callback, remembers something that no checkpoint holds",
                subject.at("loss"), "make what it remembers a buffer of the model, or return it from Callback.state")  # fmt: skip
    if first.kind == "gradient":
        return (f"the gradient of {first.name} is another for the same loss, so a callback or a hook remembers something",
                subject.at("model"), "return what a callback remembers from Callback.state, and take it back in load")  # fmt: skip
    if first.kind == "rate":
        return ("the learning rate is another, so the schedule, or the optimizer, counts for itself",
                place(task.rate(subject.params) or type(task).rate, type(task).rate),
                "let rate depend on the epochs it is given alone")  # fmt: skip
    optimizer = type(run.optimizer).__name__
    return (f"{optimizer} takes another step with the same gradients, {lost}", place(run.optimizer, type(task).optimizer),
            "keep it in self.state[p] or in a group of self.param_groups")  # fmt: skip
