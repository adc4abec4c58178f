"""CAP: a wider model reaches a training loss that is no higher."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from whet.checks.registry import Fact, Stage
from whet.checks.small import Small, small
from whet.checks.source import place
from whet.checks.subject import Subject
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity
from whet.task import Task
from whet.train.run import Run
from whet.tune.domain import Domain, Int, Ordered

__all__ = ["Capacity", "above", "higher", "settled", "wider"]

NAMES = (
    "width",
    "hidden",
    "hidden_size",
    "hidden_dim",
    "hidden_units",
    "units",
    "channels",
    "filters",
    "neurons",
    "d_model",
)
"""Last parts of the names of what makes a model wider. Depth is none: a deeper net may rightly be slower at first."""


class Capacity:
    """WARN when twice the width leaves a higher training loss, over several seeds (one-sided Welch, p < 1e-3).

    Three short trainings each (three epochs of 16 batches of at most 32, regularisers off) of the present width and of the
    value in the space nearest to twice that, or half where there is none; two, where no third could matter. While these say
    p < 0.05 there are more, up to eight each, on which the verdict rests. It ends before that once the p-value is above what
    99.5 % of those that end below 1e-3 have after as many (`sieve`, simulated with normal losses; of what would be found at a
    difference of 1 to 4 standard deviations that costs one in fifty at most). The rise must also be 5 % of the loss of the first epoch. The
    learning rate is the same for both: the fix is often to lower it, or an initialisation that knows the width.

    >>> import torch
    >>> from whet.data.split import Data, Split
    >>> from whet.tune.space import Space
    >>> class Sign(Task):
    ...     space = Space(width=Int(8, 64))
    ...     def data(self, params):
    ...         x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    ...         return Data(Split(x[:150], (x[:150, 0] > 0).long()), Split(x[150:], (x[150:, 0] > 0).long()))
    ...     def model(self, params):
    ...         return torch.nn.Sequential(torch.nn.Linear(4, params["width"]), torch.nn.ReLU(), torch.nn.Linear(params["width"], 2))
    >>> from whet.checks.skeleton import check_task
    >>> health = check_task(Sign(), {"width": 16}, checks=["CAP"])
    >>> health.findings, health.facts["CAP"]["wide"]
    ((), 32)
    """

    code, stage, passes = "CAP", Stage.LATER, 200
    seeds, epochs, alpha, share = 8, 3, 1e-3, 0.05
    sieve: ClassVar[Mapping[int, float]] = {3: 0.05, 4: 0.05, 5: 0.035, 6: 0.014, 7: 0.0045}

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Train both widths from several seeds."""
        if subject.task is None or subject.data is None:
            yield NotRun(self.code, "needs a whole task, not one batch: use check_task(task, params)")
            return
        pair = wider(subject.task, subject.params)
        if pair is None:
            yield NotRun(
                self.code,
                INAPPLICABLE
                + "the space names no width (one of width, hidden, units, channels, ...) of two values or more",
            )
            return
        dim, narrow, wide = pair
        with subject.look(self.code):
            short, losses = small(subject, batches=16, valid=20), {narrow: [], wide: []}  # type: ignore[var-annotated]
            sizes: dict[int, int] = {}
            for seed in range(self.seeds):
                for value in (narrow, wide):
                    found = self._train(short, {**short.whole.plain(subject.params), dim: value}, seed)
                    losses[value].append(found[:2])
                    sizes[value] = found[2]
                if sizes[wide] <= sizes[narrow]:
                    yield NotRun(self.code, f"{dim}={wide} makes no larger model than {dim}={narrow}")
                    return
                ends = {k: [end for _, end in v] for k, v in losses.items()}
                p = higher(ends[wide], ends[narrow]) if seed else 1.0
                if p > self.sieve.get(seed + 1, 1.0) or (
                    seed == 1 and settled(ends[wide], ends[narrow], self.sieve[3])
                ):
                    break
        start = float(np.mean([begin for begin, _ in losses[narrow]]))
        numbers: dict[str, Any] = {
            "name": dim, "narrow": narrow, "wide": wide, "loss": float(np.mean(ends[narrow])), "wide_loss": float(np.mean(ends[wide])),
            "p": p, "threshold": self.alpha, "n": len(ends[wide]), "start": start, "losses": {str(k): v for k, v in ends.items()},
        }  # fmt: skip
        rise = numbers["wide_loss"] - numbers["loss"]
        rises = p < self.alpha and (rise > self.share * abs(start) or not math.isfinite(rise))
        yield Fact(
            f"{dim} {narrow} to {wide}: training loss {numbers['loss']:.3g} to {numbers['wide_loss']:.3g}", numbers
        )
        if rises:
            yield Finding(
                self.code, Severity.WARN, place(type(subject.task).model), numbers,
                f"with {dim} {wide} in place of {narrow} the training loss rises from {numbers['loss']:.3g} to "
                f"{numbers['wide_loss']:.3g} (p {p:.1g}, {numbers['n']} seeds each)",
                "scale initial weights by 1/sqrt(inputs), as nn.Linear does, and lower the learning rate as the width grows",
            )  # fmt: skip

    def _train(self, short: Small, params: Mapping[str, Any], seed: int) -> tuple[float, float, int]:
        """Return the training loss of the first and of the last epoch, and how many weights there are."""
        run = Run(short, params, steps=self.epochs, seed=seed, device="cpu")
        losses = [dict(point.metrics)["train_loss"] for point in run]
        weights = sum(p.numel() for p in run.model.parameters())
        return losses[0], losses[-1] if len(losses) == self.epochs else math.inf, weights


def wider(task: Task, params: Mapping[str, Any]) -> tuple[str, int, int] | None:
    """Return the name of the width in a task's space, and two values of it, the second about twice the first.

    >>> from whet.tasks import resolve
    >>> digits = resolve("digits")
    >>> wider(digits, digits.first)
    ('net.width', 16, 24)
    """
    for name in NAMES:
        for dim in task.space.dims:
            now = params.get(dim.name)
            if dim.name.rpartition(".")[2] != name or isinstance(now, bool) or not isinstance(now, int):
                continue
            values = [v for v in _values(dim.domain, now) if task.space.allows({**params, dim.name: v})]
            up, down = [v for v in values if v >= 1.5 * now], [v for v in values if v <= now / 1.5]
            if up:
                return dim.name, now, min(up, key=lambda v: abs(v - 2 * now))
            if down:
                return dim.name, min(down, key=lambda v: abs(v - now / 2)), now
    return None


def _values(domain: Domain, now: int) -> list[int]:
    """Return the values of a width to choose from."""
    if isinstance(domain, Ordered):
        return [v for v in domain.values if isinstance(v, int) and not isinstance(v, bool) and v > 0]
    if isinstance(domain, Int):
        return [v for v in {min(2 * now, int(domain.high)), max(now // 2, int(domain.low))} if v > 0]
    return []


def higher(a: list[float], b: list[float]) -> float:
    """Return the one-sided p-value that the mean of `a` is above that of `b` (Welch 1947), by ranks where any is not finite.

    >>> higher([1.0, 1.1, 0.9], [0.1, 0.2, 0.15]) < 0.01 < higher([0.1, 0.2], [0.1, 0.3])
    True
    """
    from scipy.stats import ttest_ind

    if not all(map(math.isfinite, (*a, *b))):
        return above(a, b)
    if np.ptp(a) == np.ptp(b) == 0:
        return 0.0 if a[0] > b[0] else 1.0
    return float(ttest_ind(a, b, equal_var=False, alternative="greater").pvalue)


def settled(a: list[float], b: list[float], alpha: float) -> bool:
    """Return whether, of two values each, no third ones can bring `higher` of three each down to `alpha`.

    With D the difference of the means and h half the distance of two values, the largest statistic comes of third values
    at H/D above and below the means, H = h(a)^2 + h(b)^2, and is sqrt(2 + 3 D^2 / H) (sqrt(2) when D <= 0); it is compared
    with the 4 degrees of freedom that there are at most. False where a value is not finite.

    >>> settled([0.3, 0.4], [0.31, 0.42], 0.05), settled([0.8, 0.9], [0.3, 0.4], 0.05)
    (True, False)
    """
    from scipy.stats import t

    if not all(map(math.isfinite, (*a, *b))):
        return False
    rise, spread = float(np.mean(a) - np.mean(b)), (float(np.ptp(a)) ** 2 + float(np.ptp(b)) ** 2) / 4
    return rise <= 0 or 2 + 3 * rise**2 / max(spread, 1e-300) < float(t.isf(alpha, 4)) ** 2


def above(a: list[float], b: list[float]) -> float:
    """Return the one-sided p-value that `a` tends to be above `b` (exact Mann & Whitney 1947); not-a-number is highest.

    >>> above([3.0, math.nan, 9.0], [1.0, 2.0, 0.0])
    0.05
    """
    from scipy.stats import mannwhitneyu

    x, y = (np.nan_to_num(np.array(v), nan=math.inf) for v in (a, b))
    return float(mannwhitneyu(x, y, alternative="greater", method="exact").pvalue)
