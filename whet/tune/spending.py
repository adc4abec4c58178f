"""The time that a run of a study takes: added to the study's account, and held against its budget."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from whet.tune.budget import Budget

if TYPE_CHECKING:
    from whet.tune.loop import Running

__all__ = ["Spending"]


class Spending:
    """The time this run adds to the study's account, and whether the study's budget is spent.

    The account is written every second, so a run that is killed has paid for what it used.
    """

    def __init__(self, study: Running, limits: Budget) -> None:
        self._study, self._limits = study, limits
        self._session = f"{study.worker}@{uuid.uuid4().hex[:8]}"  # one study may run several times
        self._began = time.monotonic()
        self._written = 0.0
        self._others = 0.0
        self.update(force=True)

    def update(self, *, force: bool = False) -> float:
        """Return the seconds the study has spent in all, this run included."""
        mine = time.monotonic() - self._began
        if force or mine - self._written >= 1.0:
            self._written = mine
            self._study.journal.spend(self._session, mine)
            self._others = self._study.journal.spent() - mine
        return self._others + mine

    @property
    def over(self) -> bool:
        """Whether the time is spent."""
        return self.update() >= (self._limits.seconds if self._limits.seconds is not None else float("inf"))

    def close(self) -> None:
        """Write the account a last time."""
        self.update(force=True)
