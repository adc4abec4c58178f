"""RAND: of random tokens nothing can be learned; a sequence model that learns them sees its own targets."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from whet.checks.foresight import foresight
from whet.checks.initial import quiet
from whet.checks.registry import Fact, Stage
from whet.checks.runner import LIMIT
from whet.checks.sequence import UNORDERED, Order, order, padding, sequential
from whet.checks.subject import Subject, answer
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity

__all__ = ["RandomTokens"]


class RandomTokens:
    """Train 300 steps on fresh uniform tokens, targets made of them as the batch's are; FAIL below 0.95 log K.

    K is the number of different tokens drawn, at most 32 of those that the batch holds, with its lengths. No guess does
    better than log K on average, so a loss below means that the answer is among the inputs, whatever way it got there
    (healthy models end at 0.997 log K or above). The loss of each batch is taken before the step on it; the mean of the
    last 20 must also be 4 standard errors below. Adam(3e-3), dropout off, at most 16 examples at a time.

    >>> net = torch.nn.Sequential(torch.nn.Embedding(9, 32), torch.nn.Linear(32, 9))
    >>> x = torch.randint(0, 9, (8, 12))
    >>> def loss(outputs, targets):
    ...     return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
    >>> [i.code for i in RandomTokens().look(Subject(net, loss, (x,), x)) if isinstance(i, Finding)]
    ['RAND']
    """

    code, stage, passes = "RAND", Stage.NOISE, 300
    steps, share, last, z, kinds, most = 300, 0.95, 20, 4.0, 32, 16

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Train on noise."""
        at = order(subject)
        if at is None or at.declared or at.inputs.is_floating_point():
            yield NotRun(
                self.code,
                INAPPLICABLE + ("the targets are not the tokens of the inputs" if sequential(subject) else UNORDERED),
            )
            return
        if at.lag == 0:  # a loss that shifts by itself, a model that need only copy, or an autoencoder
            with subject.look(self.code):
                subject.model.eval()
                seen = foresight(subject, at)
            if isinstance(seen, str):
                yield NotRun(self.code, seen)
                return
        tokens = self._tokens(subject, at)
        if len(tokens) < 2:
            yield NotRun(self.code, "needs two different tokens or more")
            return
        with subject.look(self.code):
            numbers = self._train(subject, at, tokens)
        if isinstance(numbers, NotRun):
            yield numbers
            return
        loss, best = numbers["loss"], numbers["best"]
        caught = loss < self.share * best and loss < best - self.z * numbers["se"]
        yield Fact(
            f"random tokens {'are learned' if caught else 'cannot be learned'} ({loss / best:.3f} of log K)", numbers
        )
        if caught:
            yield Finding(
                self.code, Severity.FAIL, subject.at("model"), numbers,
                f"after {numbers['steps']} steps the loss of random tokens is {loss:.3g}, and {best:.3g} is the least without knowing "
                f"them ({loss / best:.2g} of it, allowed {self.share:g}): the targets are among what the model sees",
                "inputs, targets = tokens[:, :-1], tokens[:, 1:], and a causal mask",
            )  # fmt: skip

    def _train(self, subject: Subject, at: Order, tokens: Tensor) -> dict[str, Any] | NotRun:
        """Return the loss at the end, and the least that is possible without seeing the targets."""
        part, at = self._few(subject, at)
        best = self._best(part, at, tokens)
        if not math.isfinite(best) or best <= 0:
            return NotRun(self.code, "the least loss of random tokens is not known for this loss")
        quiet(part.model)
        trainable = [p for p in part.model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trainable, 3e-3)
        losses: list[float] = []
        ends = time.monotonic() + LIMIT
        for step in range(1, self.steps + 1):
            fresh = self._draw(part, at, tokens)
            optimizer.zero_grad()
            loss = fresh.cost(fresh.forward())
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                return NotRun(self.code, f"the loss of random tokens is {losses[-1]} after {step} steps")
            mean, se = self._mean(losses)
            if step >= 2 * self.last and mean < 0.5 * self.share * best and mean < best - self.z * se:
                break
            if time.monotonic() > ends:
                return NotRun(self.code, f"out of time after {step} of {self.steps} steps")
        mean, se = self._mean(losses)
        return {"loss": mean, "best": best, "se": se, "share": self.share, "steps": len(losses), "tokens": len(tokens),
                "n": len(at.inputs), "length": at.inputs.shape[1]}  # fmt: skip

    def _mean(self, losses: list[float]) -> tuple[float, float]:
        """Return the mean of the last losses and its standard error."""
        end = torch.tensor(losses[-self.last :]).double()
        return float(end.mean()), float(end.std()) / math.sqrt(len(end)) if len(end) > 1 else math.inf

    def _few(self, subject: Subject, at: Order) -> tuple[Subject, Order]:
        """Return at most 16 examples; the whole batch where it has time first."""
        if at.flip or subject.n != len(at.inputs) or subject.n <= self.most:
            return subject, at
        part = subject.take(torch.arange(self.most))
        return part, replace(at, inputs=at.inputs[: self.most], targets=at.targets[: self.most],
                             known=at.known[: self.most], shape=part.targets.shape)  # fmt: skip

    def _tokens(self, subject: Subject, at: Order) -> Tensor:
        """Return the tokens to draw from: those that the batch holds both as inputs and as targets that count."""
        pad = padding(at.inputs)
        there = at.inputs[~pad] if pad is not None else at.inputs
        both = there.unique()
        both = both[torch.isin(both, at.targets[at.known])]
        return (
            both[torch.linspace(0, len(both) - 1, min(self.kinds, len(both)), device=both.device).long()]
            if len(both)
            else both
        )

    def _draw(self, part: Subject, at: Order, tokens: Tensor, even: bool = False) -> Subject:
        """Return the program with random tokens; `even`: each token as often as any other."""
        n, length = at.inputs.shape[0], at.inputs.shape[1] + at.lag
        index = torch.randint(0, len(tokens), (n, length), device=tokens.device)
        if even:
            index = (torch.randperm(n * length, device=tokens.device) % len(tokens)).reshape(n, length)
        drawn = tokens[index]
        after = drawn[:, at.lag : at.lag + at.targets.shape[1]]
        kept = (at.targets < 0) | (at.targets == getattr(part.loss, "ignore_index", -100))  # what is ignored stays so
        return at.put(part, drawn[:, : at.inputs.shape[1]], torch.where(kept, at.targets, after))

    def _best(self, part: Subject, at: Order, tokens: Tensor) -> float:
        """Return the least loss of one constant row of scores on evenly drawn tokens."""
        drawn = self._draw(part, at, tokens, even=True)
        quiet(part.model)
        with torch.no_grad():
            outputs = drawn.forward()
        if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
            return math.nan
        kind = answer(outputs, drawn.targets)
        axis = kind.axis if kind is not None and kind.kind == "classes" else outputs.ndim - 1
        if outputs.shape[axis] <= int(tokens.max()):
            return math.nan
        return min(self._descend(drawn, outputs, tokens, axis, start) for start in (-5.0, -30.0))

    def _descend(self, drawn: Subject, outputs: Tensor, tokens: Tensor, axis: int, start: float) -> float:
        """Return the loss of the best row of scores near 0 for the tokens and `start` for all others."""
        row = torch.full((outputs.shape[axis],), start, dtype=outputs.dtype, device=outputs.device)
        row[tokens] = 0.0
        row.requires_grad_()
        form = [1] * outputs.ndim
        form[axis] = -1
        begin = float(drawn.cost(row.detach().reshape(form).expand_as(outputs)))
        descent = torch.optim.LBFGS([row], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            descent.zero_grad()
            loss = drawn.cost(row.reshape(form).expand_as(outputs))
            loss.backward()
            return loss

        descent.step(closure)
        with torch.no_grad():
            end = float(drawn.cost(row.reshape(form).expand_as(outputs)))
        return min(begin, end) if math.isfinite(end) else begin
