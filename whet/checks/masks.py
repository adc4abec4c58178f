"""MASK: augmentation moves a mask with its picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from whet.checks.registry import Fact, Stage
from whet.checks.sandbox import randomness
from whet.checks.source import place
from whet.checks.subject import Subject
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity
from whet.seed import key
from whet.task import Augment

__all__ = ["Masks"]


class Masks:
    """WARN when pictures come out of augmentation with pixels elsewhere than in their masks (over 10 % of them).

    The picture is its own mask: two levels, once as the mask has them and once exchanged, augmented under the same
    chance. A pixel is where the first is the brighter of the two, which no change of brightness, contrast or noise
    alters; where both are equal (a border, a patch cut out) nothing is known. For tasks whose targets have the height and
    width of their pictures; boxes and points are not looked at.

    >>> from whet.data.split import Data, Split
    >>> from whet.task import Task
    >>> class Turned(Task):
    ...     def data(self, params):
    ...         x, y = torch.randn(40, 1, 12, 12), torch.arange(40 * 144).reshape(40, 12, 12) % 2
    ...         return Data(Split(x[:30], y[:30]), Split(x[30:], y[30:]))
    ...     def model(self, params):
    ...         return torch.nn.Conv2d(1, 2, 1)
    ...     def augment(self, params):
    ...         return lambda x, y, generator: ((x[0].flip(3),), y)
    >>> from whet.checks.skeleton import check_task
    >>> [f.code for f in check_task(Turned(), {}, checks=["MASK"]).findings]
    ['MASK']
    """

    code, stage, passes = "MASK", Stage.PARTS, 0
    draws, allowed, few = 32, 0.1, 3

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Augment pictures that are their own masks."""
        if subject.task is None or subject.data is None:
            yield NotRun(self.code, "needs a whole task: whet.checks.check_task")
            return
        with subject.look(self.code):
            augment = subject.task.augment(subject.params)
            at = _picture(subject)
            if augment is None or at is None:
                why = "the task does not augment" if augment is None else "the targets are no masks of pictures"
                yield NotRun(self.code, INAPPLICABLE + why)
                return
            found = [self._elsewhere(augment, subject, at, epoch) for epoch in range(2)]
        if any(f is None for f in found):
            yield NotRun(self.code, "augment gives pictures and masks of different sizes or numbers")
            return
        shares = torch.cat([f for f in found if f is not None])
        worst = int((shares > self.allowed).sum())
        numbers: dict[str, Any] = {
            "n": len(shares), "wrong": worst, "allowed": self.allowed, "median": float(shares.median()), "most": float(shares.max()),
        }  # fmt: skip
        yield Fact("" if worst > self.few else "masks follow their pictures", numbers)
        if worst > self.few:
            yield Finding(self.code, Severity.WARN, place(augment, type(subject.task).augment), numbers,
                          f"augment moves pictures and not their masks alike: in {worst} of {len(shares)} over {self.allowed:.0%} of the "
                          f"pixels lie elsewhere (at most {float(shares.max()):.0%})",
                          "draw the flip, shift or crop once, and apply it to both inputs and targets")  # fmt: skip

    def _elsewhere(self, augment: Augment, subject: Subject, at: int, epoch: int) -> Tensor | None:
        """Return for every example the share of pixels that are elsewhere than in its mask, (n,); None without a match."""
        assert subject.data is not None
        train = subject.data.train
        index = torch.arange(min(self.draws, len(train)))
        shape = _own(*train.batch(index)[1].shape[-2:])
        sides = []
        for turned in (False, True):
            inputs, targets = train.batch(index)
            x = inputs[at]
            low, high = x.min(), x.max()
            bright = ~shape if turned else shape
            inputs = tuple(
                torch.where(bright, high, low).to(x.dtype).expand_as(x).clone() if i == at else p
                for i, p in enumerate(inputs)
            )
            off, on = targets.min(), targets.max()
            targets = torch.where(shape, on, off).to(targets.dtype).expand_as(targets).clone()
            chance = torch.Generator().manual_seed(key(subject.seed, "mask", epoch))
            with randomness(epoch, "check", self.code):
                sides.append((*augment(inputs, targets, chance), on, off))
        (first, mask, on, off), (second, *_) = sides
        a, b = first[at].double().mean(1), second[at].double().mean(1)
        mask = mask.reshape(len(mask), *mask.shape[-2:])
        if a.shape != b.shape or a.shape != mask.shape:
            return None
        known = (a != b) & ((mask == on) | (mask == off))
        wrong = ((a > b) != (mask == on)) & known
        share = wrong.flatten(1).double().sum(1) / known.flatten(1).sum(1).clamp(min=1)
        return torch.minimum(share, 1 - share)  # a negative of the picture is not elsewhere


def _picture(subject: Subject) -> int | None:
    """Return which of the inputs (n, channels, height, width) has the size of the targets (n, [1,] height, width)."""
    y = subject.targets
    if (
        not isinstance(y, Tensor)
        or y.ndim not in (3, 4)
        or min(y.shape[-2:]) < 8
        or y[0].numel() != y.shape[-1] * y.shape[-2]
    ):
        return None
    if y.dtype == torch.bool or float(y.min()) == float(y.max()):
        return None
    parts = subject.inputs if isinstance(subject.inputs, tuple) else ()
    return next((i for i, x in enumerate(parts) if x.ndim == 4 and x.shape[-2:] == y.shape[-2:]), None)


def _own(height: int, width: int) -> Tensor:
    """Return a pattern that no flip and no turn leaves as it is: a block in a corner, higher than wide."""
    pattern = torch.zeros(height, width, dtype=torch.bool)
    pattern[: height // 2, : width // 3] = True
    return pattern
