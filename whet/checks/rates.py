"""LRR: the learning rate lies in the range in which the loss falls and does not yet diverge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.checks.capacity import above
from whet.checks.initial import quiet
from whet.checks.registry import Fact, Stage
from whet.checks.sandbox import sandbox
from whet.checks.subject import Subject
from whet.checks.traced import rounded
from whet.data.split import Data
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity

__all__ = ["Range", "Rates", "interval"]

_KEEP = 0.8  # of the smoothed loss at each step


@dataclass(frozen=True)
class Range:
    """Learning rates: the lowest at which the loss falls, where it falls steepest, where it diverges (None: nowhere).

    drop: how far the smoothed loss fell; noise: the standard deviation that batches alone give it.
    """

    falls: float
    steepest: float
    diverges: float | None
    drop: float
    noise: float


def interval(rates: np.ndarray, losses: np.ndarray, start: float, noise: float) -> Range | None:
    """Return the range that a sweep shows, or None when the smoothed loss falls by less than 4 standard deviations.

    rates, losses: (n,) of a training whose rate rises exponentially; start, noise: mean and standard deviation of the
    loss of 16 batches before any step. Smoothed by an exponential average that keeps 0.8, from `start` on, which divides
    the noise by 3. It falls where it goes below 4 deviations for good. Diverged is what has lost half of the drop again,
    and 4 deviations.

    >>> rates = np.geomspace(1e-5, 1e1, 121)
    >>> curve = np.where(rates < 1e-3, 2.0, np.where(rates < 1, 2 - 0.5 * np.log10(rates * 1e3), 9.0))
    >>> found = interval(rates, curve, 2.0, 0.01)
    >>> 1e-3 < found.falls < 2e-3, 1 <= found.diverges < 2, interval(rates, 0 * rates + 2, 2.0, 0.01)
    (True, True, None)
    """
    smooth, kept = np.empty(len(losses)), start
    for i, loss in enumerate(losses):
        kept = _KEEP * kept + (1 - _KEEP) * float(loss)
        smooth[i] = kept
    sd = noise * math.sqrt((1 - _KEEP) / (1 + _KEEP) + 1 / 16)  # of the smoothed loss, and of `start`
    finite = np.where(np.isfinite(smooth), smooth, np.inf)
    best = int(finite.argmin())
    drop = start - float(finite[best])
    if not drop > max(4 * sd, 1e-6 * abs(start)):
        return None
    above = np.flatnonzero(finite[: best + 1] >= start - max(4 * sd, 0.02 * drop))
    falls = int(above[-1]) + 1 if len(above) else 0
    slope = np.gradient(finite[: best + 1]) if best else np.zeros(1)
    steepest = falls + int(slope[falls:].argmin()) if best > falls else best
    lost = finite[best:] > finite[best] + max(4 * sd, 0.5 * drop)
    diverges = float(rates[best + int(lost.argmax())]) if lost.any() else None
    return Range(float(rates[falls]), float(rates[steepest]), diverges, drop, sd)


class Rates:
    """WARN when the learning rate is over 10 times outside of the range that a short sweep shows, and trains worse.

    One training whose rate rises exponentially over at least six decades around the task's own (Smith 2015,
    arXiv:1506.01186), 16 steps each, until it diverges. No range is named when the smoothed loss falls by less than 4
    standard deviations of its noise. A suggestion is the rate at which the loss falls steepest, tried in a short training
    and lowered threefold where that fails. The warning needs more: nine trainings of 48 steps each must end lower at
    the suggestion than at the task's rate (one-sided Mann-Whitney, p < 1e-3), and a rate too low must be so low that rate
    times steps of a whole training (task.steps epochs) is under a third of what the sweep took to lower the loss at all.

    >>> from whet.data.split import Split
    >>> from whet.task import Task
    >>> class Sign(Task):
    ...     def data(self, params):
    ...         x = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    ...         return Data(Split(x[:300], (x[:300, 0] > 0).long()), Split(x[300:], (x[300:, 0] > 0).long()))
    ...     def model(self, params):
    ...         return torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    >>> from whet.checks.skeleton import check_task
    >>> check_task(Sign(), {"lr": 1e-2}, checks=["LRR"]).findings
    ()
    """

    code, stage, passes = "LRR", Stage.LATER, 220
    a_decade, batches, short, seeds, alpha = 16, 16, 48, 9, 1e-3

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Sweep the rate on freshly made models."""
        data, make = subject.data, subject.make
        if data is None or make is None or subject.task is None:
            yield NotRun(self.code, "needs fresh models, not one batch: use check_task(task, params)")
            return
        with subject.look(self.code):
            _, optimizer = make(subject.seed)
            rates = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
            mine = max(rates)
            if not mine > 0 or isinstance(optimizer, torch.optim.LBFGS):
                yield NotRun(self.code, f"{INAPPLICABLE}{type(optimizer).__name__} has no learning rate to sweep")
                return
            swept = self._sweep(subject, data, mine)
            found = interval(*swept)
            numbers: dict[str, Any] = {
                "rate": mine,
                "steps": len(swept[0]),
                "start": swept[2],
                "n": self._size(subject, data),
            }
            series = {
                "sweep": {"low": float(swept[0][0]), "high": float(swept[0][-1]), "losses": rounded(swept[1].tolist())}
            }
            if found is None:
                yield Fact("", {**numbers, "noise": swept[3]}, series=series)
                yield NotRun(
                    self.code, f"the loss fell by less than 4 standard deviations of its noise in {len(swept[0])} steps"
                )
                return
            best = self._verified(subject, data, found, numbers)
            numbers |= {"falls": found.falls, "steepest": found.steepest, "diverges": found.diverges, "drop": found.drop,
                        "noise": found.noise, "suggested": best}  # fmt: skip
            outside = max(found.falls / mine, mine / found.diverges if found.diverges else 0.0)
            reach = mine * self._whole(subject, data)
            numbers |= {"outside": outside, "reach": reach, "needs": found.falls * self.a_decade / math.log(10)}
            far = outside > 10 and (mine > found.falls or 3 * reach < numbers["needs"])
            if far and best is not None:
                numbers |= self._compare(subject, data, mine, best)
        ends = f"{found.diverges:.1g}" if found.diverges else "above"
        yield Fact(f"learns at rates from {found.falls:.1g} to {ends}", numbers, series=series)
        if far and numbers.get("p", 1.0) < self.alpha:
            yield Finding(
                self.code, Severity.WARN, type(optimizer).__name__, {**numbers, "threshold": self.alpha},
                f"the learning rate {mine:.2g} is {outside:.0f} times {'below' if mine < found.falls else 'above'} the range in which "
                f"the loss falls ({found.falls:.1g} to {ends}); after {self.short} steps the loss is {numbers['loss']:.3g}, at {best:.2g} "
                f"{numbers['other']:.3g} (p {numbers['p']:.1g})",
                f"try a learning rate of {best:.2g}, and two and four times it",
            )  # fmt: skip

    def _whole(self, subject: Subject, data: Data) -> float:
        """Return how many steps a whole training takes."""
        assert subject.task is not None
        return subject.task.steps * max(1.0, len(data.train) / max(1, subject.task.batch(subject.params)))

    def _size(self, subject: Subject, data: Data) -> int:
        return min(subject.batch, len(data.train))

    def _sweep(self, subject: Subject, data: Data, mine: float) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Return the rates tried, the loss of each step before it, and mean and deviation of the loss before any."""
        low, high = min(mine * 1e-3, 1e-6), max(mine * 1e3, 1.0)
        rates = np.geomspace(low, high, 1 + round(self.a_decade * math.log10(high / low)))

        def over(losses: list[float]) -> bool:
            before, since = losses[: self.batches], losses[self.batches :]
            start = float(np.mean(before))
            lost = 2 * abs(start - min(since, default=start)) + 20 * float(np.std(before))
            return bool(since) and not since[-1] <= start + lost

        found = self._train(subject, data, subject.seed, [0.0] * self.batches + (rates / mine).tolist(), over)
        before, losses = np.array(found[: self.batches]), np.array(found[self.batches :])
        return rates[: len(losses)], losses, float(before.mean()), float(before.std(ddof=1))

    def _train(
        self, subject: Subject, data: Data, seed: int, factors: list[float], over: Callable[[list[float]], bool] | None = None
    ) -> list[float]:  # fmt: skip
        """Train a fresh model, its rates times one factor a step (0: no step at all); return the losses before each step."""
        assert subject.make is not None
        model, optimizer = subject.make(seed)
        draw = torch.Generator().manual_seed(seed)
        rates = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
        order: list[int] = []
        losses: list[float] = []
        last = [math.nan]

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = subject.cost(subject.forward(inputs, model), targets)
            loss.backward()
            last[0] = float(loss.detach())
            return loss

        with sandbox(model, seed=(subject.seed, "check", self.code, seed)):
            quiet(model)
            for factor in factors:
                size = self._size(subject, data)
                if len(order) < size:
                    order = torch.randperm(len(data.train), generator=draw).tolist()
                inputs, targets = data.train.batch(torch.tensor(order[:size]))
                order = order[size:]
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
                if factor:
                    optimizer.step(closure)  # type: ignore[arg-type]
                else:
                    with torch.no_grad():
                        last[0] = float(subject.cost(subject.forward(inputs, model), targets))
                losses.append(last[0])
                if over is not None and over(losses):
                    break
        return losses

    def _end(self, subject: Subject, data: Data, seed: int, factor: float) -> float:
        """Return the mean loss of the last third of a short training."""
        losses = self._train(subject, data, seed, [factor] * self.short)
        return float(np.mean(losses[-self.short // 3 :]))

    def _verified(self, subject: Subject, data: Data, found: Range, numbers: dict[str, Any]) -> float | None:
        """Return the steepest rate, lowered threefold until a short training at it lowers the loss; None after three."""
        for rate in (found.steepest, found.steepest / 3, found.steepest / 9):
            end = self._end(subject, data, subject.seed, rate / numbers["rate"])
            if end < numbers["start"] - 4 * found.noise:
                return rate
        return None

    def _compare(self, subject: Subject, data: Data, mine: float, best: float) -> dict[str, Any]:
        """Return the losses after short trainings at both rates, and the p-value that the task's own is higher."""
        losses = [
            [self._end(subject, data, subject.seed + i, f) for i in range(self.seeds)] for f in (1.0, best / mine)
        ]
        return {
            "loss": float(np.mean(losses[0])),
            "other": float(np.mean(losses[1])),
            "p": above(*losses),
            "trainings": self.seeds,
        }
