"""Who dies when in a simulation, and when another takes the place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from whet.errors import UsageError

__all__ = ["Failure", "in_order"]


class Failure(NamedTuple):
    """A worker dies at virtual second `at`; another takes its place at `back`, or none when that is infinite.

    >>> str(Failure(2, 100.0)), str(Failure(2, 100.0, 150.0))
    ('2@100', '2@100-150')
    """

    worker: int
    at: float
    back: float = math.inf

    def __str__(self) -> str:
        return f"{self.worker}@{self.at:g}" + (f"-{self.back:g}" if self.back < math.inf else "")


def in_order(failures: Sequence[Failure], workers: int) -> tuple[Failure, ...]:
    """Return failures in the order of time; raise UsageError for one that cannot be.

    A worker that is not there cannot die, so those of one worker must not overlap; one may begin when the one before it ends.

    >>> print(*in_order([Failure(2, 9.0), Failure(0, 5.0, 7.0), Failure(2, 3.0, 9.0)], 4))
    2@3-9 0@5-7 2@9
    """
    found = tuple(sorted(failures, key=lambda f: (f.at, f.worker)))
    for f in found:
        if not 0 <= f.worker < workers:
            raise UsageError(
                f"fail: there is no worker {f.worker} among {workers}: they are 0 to {workers - 1}. Give one of these."
            )
        if not 0 <= f.at < f.back:  # neither when one of them is not a number
            raise UsageError(
                f"fail {f}: a worker dies at second 0 or later and comes back after that. Give e.g. {f.worker}@100-150."
            )
    for worker in dict.fromkeys(f.worker for f in found):
        for one, other in pairwise(f for f in found if f.worker == worker):
            if other.at < one.back:
                until = "never comes back" if math.isinf(one.back) else f"comes back at {one.back:g}"
                end = max(one.back, other.back)
                whole = Failure(worker, one.at, end)
                later = "" if math.isinf(one.back) else f", or let it die again at {one.back:g} or later"
                raise UsageError(
                    f"fail {other}: worker {worker} died at {one.at:g} and {until}, so it cannot die at {other.at:g}. "
                    f"Give one failure, {whole}{later}."
                )
    return found
