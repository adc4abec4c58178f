"""What changed since a strategy last looked: the one way its caches are kept up to date.

A strategy is a function of trials. To be quick at ten thousand of them it may remember what it worked out, as long as
it notices when it is shown another study, or an earlier moment of the same one.
"""

from __future__ import annotations

from collections.abc import Sequence

from whet.tune.trial import Trial, Trials

__all__ = ["Follow"]


class Follow:
    """Tells which trials changed since the last call, and when to begin again.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Log
    >>> log, space = Log([(1, 0), (2, 1)]), Space(x=Float(0, 1))
    >>> early = Trials([Trial(0)], space=space, seq=1, log=log)
    >>> late = Trials([Trial(0), Trial(1)], space=space, seq=2, log=log)
    >>> follow = Follow()
    >>> [(again, [t.id for t in news]) for again, news in map(follow.news, [early, late, late, early])]
    [(True, [0]), (False, [1]), (False, []), (True, [0])]
    """

    def __init__(self) -> None:
        self._lineage: object = None
        self._seq = 0
        self._unsettled: list[int] = []

    def news(self, trials: Trials) -> tuple[bool, Sequence[Trial]]:
        """Return (begin again, the trials to look at).

        The first is True when these trials do not come after those of the last call: then all trials are returned and
        whatever was remembered must be dropped. A trial that was shown ahead of its event is returned once more.
        """
        known, since = trials.lineage is not None and trials.lineage is self._lineage, self._seq
        before = self._unsettled
        self._lineage, self._seq = trials.lineage, trials.seq
        if trials.lineage is not None:
            self._unsettled = trials.changed(trials.seq)
        if not known or trials.seq < since:
            return True, trials
        ids = trials.changed(since)
        return False, [trials[id] for id in (dict.fromkeys([*before, *ids]) if before else ids)]
