"""OF: a few examples are learned by heart, judged by the loss and the floors that are known of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from whet.checks.attempt import Attempt, named
from whet.checks.doubt import Astray, astray, doubt, unknown
from whet.checks.few import choose
from whet.checks.floor import best_constant, conflict, floor, linked, softmax_floor
from whet.checks.initial import quiet
from whet.checks.registry import Fact, Stage
from whet.checks.runner import LIMIT
from whet.checks.state import whole_only
from whet.checks.subject import Answer, Subject, answer
from whet.checks.traced import answers, curve, weights
from whet.finding import Finding, NotRun, Severity

__all__ = ["Overfit"]


class Overfit:
    """Train on 2 to 16 examples with regularisers off; WARN when the loss keeps 1 to 10 % of where it began, FAIL above.

    WARN also when the given learning rate leaves over 30 % and only a tenth of it works. When four examples
    can be learned and more cannot, no part is broken: INFO, or WARN for a large model that keeps over 10 %.

    The given optimizer at its learning rate times 1, 10 and 0.1 (100 where 10 was better), without weight decay, at
    most 500 steps each; the best counts. What comes near is tried again with a falling rate; what does not, with
    Adam(1e-3) on every parameter, which tells a fault of the optimizer from one of the model. The loss falls from
    that of the best constant output (or of the model at initialisation, if that is less) to the floor that free
    outputs reach, which holds for smoothed or soft targets too; a language model's floor counts equal beginnings.
    Equal inputs are taken once, and classes in turn, so that neither conflicting labels nor a single class decides.
    The number of examples is bounded by the number of parameters: a linear model is not asked for more than it holds.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
    >>> s = Subject(net, torch.nn.CrossEntropyLoss(), (torch.randn(8, 4),), torch.arange(8) % 3)
    >>> [type(i).__name__ for i in Overfit().look(s)]
    ['Fact']
    """

    code, stage, passes = "OF", Stage.FIT, 150
    most, few, steps, patience, good, bad = 16, 4, 500, 150, 0.01, 0.1

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Overfit a few examples of the batch."""
        with subject.look(self.code):
            index, room = choose(subject, self.most)
            if len(index) < 2:
                yield NotRun(self.code, "needs two different examples or more")
                return
            if why := whole_only(subject, subject.take(index)) or unknown(subject):
                yield NotRun(self.code, why)
                return
            found = self._fit(subject, index)
            if isinstance(found, NotRun):
                yield found
                return
            numbers, kind, tries = found
            numbers["room"] = room
            if numbers["left"] > self.good and len(index) > self.few:
                again = self._fit(subject, index[: self.few])
                if not isinstance(again, NotRun):
                    numbers["few"] = {"n": self.few, "left": again[0]["left"], "steps": again[0]["steps"]}
        text = f"one batch overfits in {numbers['steps']} steps"
        if numbers["left"] > self.good:
            text = f"one batch stays at loss {numbers['loss']:.3g} (floor {numbers['floor'] + 0.0:.2g})"
        best = min(tries, key=lambda a: a.loss)
        series = {"curves": [curve(a.losses) for a in tries], "answers": best.answers}
        before, after = best.weights
        drawn = {} if before is None or after is None else {"before": before, "after": after}
        yield Fact(text, numbers, series=series, drawn=drawn)
        yield from self._judge(subject, kind, tries, numbers, numbers["left"])

    def _fit(self, subject: Subject, index: Tensor) -> tuple[dict[str, Any], Answer | None, list[Attempt]] | NotRun:
        """Train on the examples at `index`; return the numbers, the kind of answer and the attempts."""
        part = subject.take(index)
        start, least, kind = self._bounds(part)
        if start - least <= 1e-6 * (1 + abs(start)):
            return NotRun(
                self.code, f"the loss of these {len(index)} examples ({start:.3g}) is at its floor from the beginning"
            )
        if least == -math.inf:
            return NotRun(self.code, "the loss falls without end when the outputs are free, so no floor can be named")
        tries = self._tries(part, least + self.good * (start - least), start)
        best = min(tries, key=lambda a: a.loss)
        left = (best.loss - least) / (start - least)
        if left > self.good and any(a.late for a in tries):
            return NotRun(
                self.code, f"ran out of time after {sum(a.steps for a in tries)} steps, at loss {best.loss:.3g}"
            )
        numbers: dict[str, Any] = {
            "loss": best.loss, "steps": best.steps, "floor": least, "start": start, "left": left, "n": len(index),
            "warn": self.good, "fail": self.bad, "optimizer": best.name, "factor": best.factor,
            "tries": [{"optimizer": a.name, "factor": a.factor, "loss": a.loss, "steps": a.steps} for a in tries],
        }  # fmt: skip
        return numbers, kind, tries

    def _judge(
        self, subject: Subject, kind: Answer | None, tries: list[Attempt], numbers: dict[str, Any], left: float
    ) -> Iterator[Finding | Fact | NotRun]:
        """Name the cause."""
        mine, loss, n = [a for a in tries if a.name != "reference"], numbers["loss"], numbers["n"]
        best = min(mine, key=lambda a: a.loss)
        apart = (best.loss - numbers["floor"]) / (numbers["start"] - numbers["floor"])
        where = subject.at("model")
        if left <= self.good and (apart > self.good or best.factor < 1):
            against = self._astray(subject)
            if against is not None and against.meant:  # how far any optimizer gets is then a matter of balance
                yield Finding(self.code, Severity.INFO, where, numbers, f"{n} examples are overfitted by some optimizers; {against.why}",
                              "judge by what training reaches")  # fmt: skip
                return
        if left <= self.good and apart > self.good:
            severity = Severity.FAIL if apart > self.bad else Severity.WARN
            rates = ", ".join(f"x{a.factor:g}: {a.loss:.3g}" for a in mine)
            yield Finding(
                self.code, severity, named(subject.optimizer), {**numbers, "loss": best.loss, "left": apart},
                f"the optimizer does not overfit {n} examples ({apart:.0%} of the loss stays; by learning rate {rates}) but "
                f"Adam(1e-3) does in {numbers['steps']} steps: the learning rate, or what the optimizer holds, is wrong",
                "torch.optim.Adam(model.parameters(), lr=1e-3)",
            )  # fmt: skip
            return
        if left <= self.good:
            if best.factor > 10:
                yield Finding(self.code, Severity.INFO, named(subject.optimizer), numbers,
                              f"one batch overfits only at {best.factor:g} times the learning rate",
                              "raise the learning rate")  # fmt: skip
            first = (mine[0].loss - numbers["floor"]) / (numbers["start"] - numbers["floor"])
            if best.factor < 1 and first > 3 * self.bad:
                yield Finding(self.code, Severity.WARN, named(subject.optimizer), {**numbers, "first": first},
                              f"at its learning rate {first:.0%} of the loss of {n} examples stays; at a tenth of it they are "
                              "overfitted: the rate is too high", "divide the learning rate by 10 or more")  # fmt: skip
            return
        severity = Severity.FAIL if left > self.bad else Severity.WARN
        text = f"{n} examples cannot be overfitted: loss {loss:.4g} after {numbers['steps']} steps, {left:.0%} of where it began"
        fix = "look for cut gradients, targets that do not belong to the inputs, or an activation after the last layer"
        few = numbers.get("few")
        if few is not None and few["left"] <= self.good:  # every part works: it is a matter of size or patience
            severity = Severity.INFO if numbers["room"] < 20 * n or left <= self.bad else Severity.WARN
            text += f", though {few['n']} are learned in {few['steps']} steps"
            fix = "a model this small may be meant; else make it wider, or raise the learning rate"
        elif not math.isfinite(loss):
            text, fix = (
                f"training on {n} examples ends in a loss that is not a number",
                "lower the learning rate; look for log(0) and overflow",
            )
        elif (
            kind is not None
            and kind.kind == "classes"
            and abs(loss - softmax_floor(kind.count)) < 0.02
            and left > self.bad
        ):
            text = (f"the loss stops at {loss:.4g} = log(1 + (C-1)/e) for C={kind.count}, the floor of cross-entropy on "
                    "probabilities: there is a softmax or sigmoid before it")  # fmt: skip
            fix = "give cross_entropy the raw scores (logits)"
        elif kind is not None and kind.kind == "values" and numbers["start"] > 10:
            severity = Severity.WARN
            fix = "scale the targets to mean 0 and deviation 1: a learning rate made for that scale is slow on this one"
        elif left > 0.9:
            text += ": the model learns nothing of the inputs"
        if math.isfinite(loss):
            why, against = "", self._astray(subject)
            with suppress(Exception), subject.look(self.code):  # what cannot be doubted stands
                why = doubt(subject, kind, room=numbers["room"], n=n, few=self.few)
            if why:
                severity, text, fix = Severity.INFO, f"{text}; {why}", "judge by what training reaches"
            elif against is not None and against.meant:
                severity, text, fix = Severity.INFO, f"{text}; {against.why}", "judge by what training reaches"
            elif against is not None:
                severity, text = Severity.WARN, f"{text}; {against.why}"
                fix = "torch.autograd.gradcheck of a backward of your own, and look for detach(); where it is meant: allow=['OF']"
        yield Finding(self.code, severity, where, numbers, text, fix)

    def _astray(self, subject: Subject) -> Astray | None:
        """Return whether the gradient is another's than the loss's; None where that cannot be asked."""
        with suppress(Exception), subject.look(self.code):
            return astray(subject)
        return None

    def _bounds(self, part: Subject) -> tuple[float, float, Answer | None]:
        """Return the loss to fall from, and the least there is."""
        quiet(part.model)
        with torch.no_grad():
            outputs = part.forward()
            start = float(part.cost(outputs))
            part, outputs, kind = linked(part, outputs, part.targets)
        if kind is not None:
            blind = best_constant(part.cost, outputs, part.targets, kind).expand_as(outputs).contiguous()
            value = float(part.cost(blind))
            start = min(start, value) if math.isfinite(value) else start
        least = floor(part.cost, outputs, part.targets, kind) or 0.0
        if kind is not None and kind.kind == "classes":
            least += conflict(part)
        return start, min(least, start), kind

    def _rested(self, optimizer: torch.optim.Optimizer, factor: float) -> torch.optim.Optimizer:
        """Return the optimizer without memory and weight decay, its learning rates times `factor`."""
        optimizer.state.clear()
        for group in optimizer.param_groups:
            group["lr"] = group.get("lr", 1.0) * factor
            if "weight_decay" in group:
                group["weight_decay"] = 0.0
        return optimizer

    def _tries(self, part: Subject, goal: float, start: float) -> list[Attempt]:
        """Return attempts, up to the first that reaches the goal."""
        tries: list[Attempt] = []
        trainable = [p for p in part.model.parameters() if p.requires_grad]
        ends = time.monotonic() + 2 * LIMIT
        factors = [1.0, 10.0, 0.1]
        for factor in factors:
            with part.look(self.code):
                optimizer = self._rested(part.optimizer or torch.optim.Adam(trainable, 1e-3), factor)
                tries.append(self._train(part, optimizer, goal, type(optimizer).__name__, factor, ends))
            if tries[-1].loss <= goal:
                return tries
            if len(tries) == 2 and tries[1].loss < tries[0].loss - 0.02 * (
                start - goal
            ):  # faster was better: faster still
                factors[2] = 100.0
        best = min(tries, key=lambda a: a.loss)
        if best.loss <= goal + (self.bad - self.good) / (1 - self.good) * (start - goal):  # nearly there: let it settle
            with part.look(self.code):
                optimizer = self._rested(part.optimizer or torch.optim.Adam(trainable, 1e-3), best.factor)
                tries.append(self._train(part, optimizer, goal, best.name, best.factor, ends, settle=True))
            return tries
        if part.optimizer is not None:
            with part.look(self.code):
                tries.append(self._train(part, torch.optim.Adam(trainable, 1e-3), goal, "reference", 1.0, ends))
        return tries

    def _train(
        self, part: Subject, optimizer: torch.optim.Optimizer, goal: float, name: str, factor: float, ends: float, *,
        settle: bool = False,
    ) -> Attempt:  # fmt: skip
        """Train until the goal, 500 steps, or 150 steps that brought nothing; return the least loss.

        With `settle` the learning rate falls to nothing over the second half: an absolute error jitters at a constant one.
        """
        model, least, begin = part.model, math.inf, math.inf
        parameters = [*model.parameters(), *(p for g in optimizer.param_groups for p in g["params"])]

        last: list[Any] = [math.inf, None]
        losses: list[float] = []
        top, before = None, weights(model, part.inputs)

        def closure() -> Tensor:
            for p in parameters:
                p.grad = None
            outputs = part.forward()
            loss = part.cost(outputs)
            if loss.requires_grad:
                loss.backward()
            last[:] = float(loss.detach()), outputs.detach() if isinstance(outputs, Tensor) else None
            return loss

        def attempt(steps: int, late: bool = False) -> Attempt:
            shown = (before, None if before is None else weights(model, part.inputs))
            told: dict[str, Any] = {}
            with suppress(Exception):  # a loss may want the whole batch
                told = answers(part, top, answer(top, part.targets))
            return Attempt(name, factor, least, steps, late, tuple(losses), told, shown)

        quiet(model)
        rates = [group["lr"] for group in optimizer.param_groups]
        for step in range(self.steps + 1):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * min(1.0, 2 - 2 * step / self.steps) if settle else rate
            if step < self.steps:
                optimizer.step(closure)  # type: ignore[arg-type]
            loss = last[0]  # before the step
            if step and step % 50 == 0:  # dropout drawn in a forward method, and batch statistics, end with eval mode
                model.eval()
                with torch.no_grad():
                    outputs = part.forward()
                    value = float(part.cost(outputs))
                if value < loss and isinstance(outputs, Tensor):
                    last[1] = outputs
                loss = min(loss, value)
                quiet(model)
            begin = loss if step == 0 else begin
            losses.append(loss)
            if math.isnan(loss):
                return attempt(step)
            top = last[1] if loss < least else top
            least, late = min(least, loss), time.monotonic() > ends
            if least <= goal or late or (step == self.patience and least > goal + 0.9 * (begin - goal)):
                return attempt(step, late)
        return attempt(self.steps)
