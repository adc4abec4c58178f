"""Shares of workers of unlike speed: one is given twice the batches of another between two exchanges, and twice the shard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from whet.errors import UsageError

__all__ = ["crew", "parse_shares"]

_MOST = 100  # batches between two exchanges that a share may come to


def crew(workers: int | Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """Return how many workers there are and the share of each, none where all have the same.

    workers: how many, or a share for each (see `whet.distributed.shuffle.Shuffle`).

    >>> crew(3), crew((2, 1, 1))
    ((3, ()), (3, (2, 1, 1)))
    """
    return (len(workers), tuple(workers)) if isinstance(workers, (tuple, list)) else (workers, ())  # type: ignore[return-value]


def parse_shares(text: str, workers: int) -> tuple[int, ...]:
    """Return the smallest whole numbers in the ratio of shares as text, one for each worker; none where all are equal.

    Raises UsageError for what is no list of so many numbers above 0, or has no small ratio: a share is a number of batches.

    >>> parse_shares("1, 1, 2", 3), parse_shares("1.5,0.5", 2), parse_shares("4,4", 2)
    ((1, 1, 2), (3, 1), ())
    """
    how = f"Give a number above 0 for each worker, such as {','.join(['1'] * max(1, workers - 1) + ['2'])}."
    found = []
    for word in text.split(","):
        try:
            share = Fraction(word.strip())
        except (ValueError, ZeroDivisionError):
            raise UsageError(f"--shares {text}: {word.strip() or 'nothing'} is no number. {how}") from None
        if share <= 0:
            raise UsageError(f"--shares {text}: must be above 0, got {word.strip()}. {how}")
        found.append(share)
    if len(found) != workers:
        shares = "1 share" if len(found) == 1 else f"{len(found)} shares"
        raise UsageError(f"--shares {text}: {shares} for {workers} workers. {how}")
    whole = [int(share * math.lcm(*(s.denominator for s in found))) for share in found]
    whole = [n // math.gcd(*whole) for n in whole]
    if max(whole) > _MOST:
        raise UsageError(
            f"--shares {text}: has a worker take {max(whole)} batches between two exchanges, to keep to it exactly; at most {_MOST}. "
            "Give a simpler ratio, such as 2,1."
        )
    return tuple(whole) if max(whole) > 1 else ()
