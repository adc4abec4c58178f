"""Divide examples into training, validation and test: by chance with a seed, each class in proportion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.errors import DataError
from whet.seed import rng

__all__ = ["SHARES", "divide"]

SHARES = (0.70, 0.15, 0.15)


def divide(
    n: int, *, labels: Sequence[int] | np.ndarray | None = None, seed: int = 0, shares: Sequence[float] = SHARES
) -> tuple[np.ndarray, ...]:
    """Return the sorted indices of each part, as many parts as `shares`; every example is in exactly one.

    labels: (n,) class numbers; with them every class is spread over the parts in proportion (the totals come out
    right as well, because what rounding leaves over is carried from class to class), and the first part gets at
    least one example of every class. The same (n, labels, seed, shares) give the same parts on every machine.

    Raises DataError when a part with a share would stay empty.

    >>> train, valid, test = divide(20, labels=[0, 1] * 10, seed=3)
    >>> len(train), len(valid), len(test), len(set(train) | set(valid) | set(test))
    (14, 3, 3, 20)
    """
    share = np.asarray(shares, dtype=float)
    if (share < 0).any() or share.sum() <= 0:
        raise DataError(f"shares: got {tuple(shares)}. Give non-negative numbers, e.g. (0.7, 0.15, 0.15).")
    share = share / share.sum()
    label = np.zeros(n, dtype=np.int64) if labels is None else np.asarray(labels)
    if len(label) != n:
        raise DataError(f"labels: {len(label)} labels for {n} examples. Give one each.")
    draw = rng(seed, "divide").permutation(n)  # a random order, then sorted by class, stably
    order = draw[np.argsort(label[draw], kind="stable")]
    _, sizes = np.unique(label, return_counts=True)
    parts: list[list[np.ndarray]] = [[] for _ in share]
    owed = np.zeros(len(share))  # examples a part should have had by now, less those it has
    start = 0
    for size in sizes:
        owed += size * share
        # The first part takes what is left, so that a class of one or two examples can be learned at all.
        take = np.minimum(np.maximum(np.floor(owed + 0.5), 0), size * share + 1).astype(int)
        take[0] = 0
        while take.sum() > size - 1 and take.sum() > 0:
            take[int(np.argmax(take))] -= 1
        take[0] = size - take.sum()
        owed -= take
        at = start
        for part, count in zip(parts, take, strict=True):
            part.append(order[at : at + count])
            at += count
        start += size
    done = tuple(np.sort(np.concatenate(p)) if p else np.empty(0, np.int64) for p in parts)
    for part_share, index in zip(share, done, strict=True):
        if part_share > 0 and len(index) == 0:
            raise DataError(
                f"{n} example{'' if n == 1 else 's'} {'is' if n == 1 else 'are'} too few to divide as {tuple(shares)}: a part is empty. Give at least 10."
            )
    return done
