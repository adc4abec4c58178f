"""DUP: no validation example is also a training example, beyond what a random split of such data gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from whet.checks.registry import Fact, Stage
from whet.checks.source import place
from whet.checks.subject import Subject
from whet.data.duplicates import digests
from whet.data.split import Data, Split
from whet.finding import Finding, NotRun, Severity
from whet.seed import rng

__all__ = ["Overlap", "across"]


class Overlap:
    """FAIL when validation holds training examples: every id the splits share has the same inputs and target in both.

    Two or more ids must agree, and by chance (random pairs of examples are that alike) less often than 1 in a million.
    FAIL too when all of 20 or more validation examples are in training, under other ids, and under 1 % of training is
    there twice. WARN when more validation examples have a twin in training than when both splits are pooled and divided
    anew at random (one-sided p < 1e-3 of up to 20,000 divisions, twins kept together as they fall): duplicates that
    came after the split. INFO when a random division explains them and they are 1 % or more of validation.

    >>> import torch
    >>> from whet.task import Task
    >>> class Copied(Task):
    ...     def data(self, params):
    ...         both = Split(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 2)
    ...         return Data(both, both.take(range(20)))
    ...     def model(self, params):
    ...         return torch.nn.Linear(3, 2)
    >>> from whet.checks.skeleton import check_task
    >>> check_task(Copied(), {}, checks=["DUP"]).findings[0].message
    '20 of 20 validation examples are training examples: same ids, same inputs'
    """

    code, stage, passes = "DUP", Stage.PARTS, 0
    least, chance, alpha, few = 20, 1e-6, 1e-3, 0.01

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Compare digests of all examples of both splits."""
        data = subject.data
        if data is None:
            yield NotRun(self.code, "needs a training and a validation split: use check_task(task, params)")
            return
        train, valid = digests(data.train), digests(data.valid)
        twins = np.isin(valid, train)
        _, counts = np.unique(train, return_counts=True)
        within = float(counts[counts > 1].sum() / len(train))
        ids = self._shared(data, train, valid)
        expected, p = across(train, valid, seed=subject.seed)
        numbers: dict[str, Any] = {
            "n": len(valid), "train": len(train), "across": int(twins.sum()), "within": within, "expected": expected,
            "ids": ids, "p": p,
        }  # fmt: skip
        yield Fact("no validation example is in training" if not twins.any() else
                   f"{int(twins.sum())} of {len(valid)} validation examples also are in training", numbers)  # fmt: skip
        where = place(type(subject.task).data) if subject.task is not None else "data"
        of = f"{int(twins.sum())} of {len(valid)} validation examples"
        apart = "divide the examples once, before anything else: Data.from_arrays(x, y, seed=self.seed)"
        if ids:
            yield Finding(self.code, Severity.FAIL, where, numbers,
                          f"{ids} of {len(valid)} validation examples are training examples: same ids, same inputs", apart)  # fmt: skip
        elif twins.all() and len(valid) >= self.least and within < self.few:
            yield Finding(self.code, Severity.FAIL, where, numbers,
                          f"all {len(valid)} validation examples are in training as well, where {within:.1%} are there twice", apart)  # fmt: skip
        elif twins.any() and p < self.alpha:
            yield Finding(self.code, Severity.WARN, where, numbers,
                          f"{of} have a twin in training, where a random split gives {expected:.3g} (p {p:.1g})",
                          "remove duplicates before the split, and make augmented or oversampled copies after it")  # fmt: skip
        elif twins.mean() >= self.few:
            yield Finding(self.code, Severity.INFO, where, numbers,
                          f"{of} have a twin in training, as many as a random split gives; scores flatter by so much",
                          "remove duplicates before the split where they are the same observation")  # fmt: skip

    def _shared(self, data: Data, train: np.ndarray, valid: np.ndarray) -> int:
        """Return how many ids both splits have, when all of them mean the same example in both; else 0."""
        ids, here, there = np.intersect1d(data.train.ids, data.valid.ids, return_indices=True)
        if (
            len(ids) < 2
            or not (train[here] == valid[there]).all()
            or not _same_targets(data.train, data.valid, here, there)
        ):
            return 0
        values, counts = np.unique(train, return_counts=True)
        at = np.minimum(np.searchsorted(values, valid), len(values) - 1)
        alike = float((counts[at] * (values[at] == valid)).mean() / len(train))  # of random pairs
        return len(ids) if alike > 0 and len(ids) * math.log(alike) < math.log(self.chance) else 0


def _same_targets(train: Split, valid: Split, here: np.ndarray, there: np.ndarray) -> bool:
    """Whether the targets at these places are equal."""
    return bool((train.targets.numpy()[here] == valid.targets.numpy()[there]).all())


def across(train: np.ndarray, valid: np.ndarray, *, seed: int = 0, most: int = 20_000) -> tuple[float, float]:
    """Return how many examples of `valid` a random division gives a twin in `train`, and the p-value of there being so many.

    train, valid: (n,) digests. The p-value is one-sided, of a permutation test (1 + how many are as extreme, over 1 +
    how many were drawn); where over 25 are expected, a normal tail continues it below what drawing can resolve.

    >>> a = np.arange(1000, dtype=np.uint64)
    >>> expected, p = across(a[:800], np.concatenate([a[800:], a[:20]]))
    >>> 1 < expected < 10, p < 1e-3
    (True, True)
    """
    pooled = np.concatenate([train, valid])
    _, group, counts = np.unique(pooled, return_inverse=True, return_counts=True)
    member = counts[group] > 1
    seen = int(np.isin(valid, train).sum())
    if not member.any():
        return 0.0, 1.0
    _, group = np.unique(group[member], return_inverse=True)
    sizes = np.bincount(group)
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    times = int(min(most, max(500, 20_000_000 // len(order))))
    share, draw, found = len(valid) / len(pooled), rng(seed, "check", "DUP"), np.empty(times)
    for i in range(0, times, block := max(1, 2_000_000 // len(order))):
        # each member by itself: with the sizes free the spread is a little larger than that of a division, so p too
        rows = draw.random((min(block, times - i), len(order))) < share
        held = np.add.reduceat(rows, starts, axis=1, dtype=np.int64)
        found[i : i + len(rows)] = np.where(held < sizes, held, 0).sum(1)
    mean, sd = float(found.mean()), float(found.std())
    p = float((1 + (found >= seen).sum()) / (1 + times))
    if mean >= 25 and p <= 2 / (1 + times):
        p = min(p, 0.5 * math.erfc((seen - mean) / max(sd, 1e-9) / math.sqrt(2)))
    return mean, p
