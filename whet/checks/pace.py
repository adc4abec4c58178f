"""When to look at a running training: so rarely that looks take no more than their share of its time."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

__all__ = ["Pace"]

_COLD = 5  # losses at the beginning whose steps are slower than those to come
_FEW = 5  # steps to time before a share of them can be told
_BEFORE = 3  # steps that are timed before each look
_FIRST = 0.004  # seconds a first look takes beside about two steps, on a slow machine


class Pace:
    """Says at which loss to look next. A look is paid for before it is taken: it costs what the last two did at most.

    every: losses between two looks, at least; share: of the time, at most, that looks may take (None: no limit); grace:
    seconds of looks that are free. The time of a step is the median over single steps without a look, a few before each
    look, so neither what lies between epochs nor another program's turn is taken for training. next: the loss at which
    to ask again; spent: seconds that looks took.

    >>> pace, asked = Pace(10, 0.01), []
    >>> for n in range(1, 5000):  # steps of 10 ms, looks of 20 ms
    ...     if n >= pace.next and pace.ready(n, n * 0.01):
    ...         pace.end(n, 0.02, 0.04, 2)
    ...         asked.append(n)
    >>> len(asked), pace.spent < 0.01 * 50
    (24, True)
    """

    def __init__(self, every: int, share: float | None, grace: float = 0.0) -> None:
        self.every, self.share, self.grace = every, share, grace
        self.spent = 0.0
        self.next = 1 if share is None or grace > 0 else 1 + _COLD
        self._least = 1  # the loss before which no look is due, whatever is paid for
        self._steps: deque[float] = deque(maxlen=15)
        self._costs: deque[float] = deque(maxlen=2)
        self._clock, self._at = math.nan, -1

    @property
    def step(self) -> float:
        """Seconds of a step without a look; not-a-number before any was timed."""
        return median(self._steps) if self._steps else math.nan

    def ready(self, n: int, now: float) -> bool:
        """Return whether to look now, after `n` losses, at `now` seconds by any clock; times the step before."""
        if self._at == n - 1:
            self._steps.append(max(now - self._clock, 1e-9))
        self._clock, self._at = now, n
        due = self._least
        if self.share is not None and self.spent >= self.grace:
            if len(self._steps) < _FEW:
                self.next = n + 1
                return False
            cost = max(self._costs) if self._costs else 2 * self.step + _FIRST
            due = max(due, math.ceil((self.spent - self.grace + cost) / (self.share * self.step)))
        if n >= due:
            return True
        self.next = max(n + 1, due - _BEFORE)
        return False

    def end(self, n: int, seconds: float, passed: float, steps: int) -> None:
        """Take note of a look that ended after `n` losses.

        seconds: counted in the look itself; passed: from its beginning to its end, over so many steps. What those took
        longer than steps do is the look's (hooks, slower calls), but no more than it counted: it may have been a pause.
        """
        whole = passed - steps * self.step
        cost = min(max(seconds, whole), 2 * seconds) if math.isfinite(whole) else seconds
        self.spent += cost
        self._costs.append(cost)
        self._least = self.next = n + self.every
        if self.share is not None and self.spent >= self.grace:
            self.next = n + 1  # its time is not yet known to be paid for
