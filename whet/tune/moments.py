"""Moments of a study: its drafts frozen into `Trials`, each sharing with the one before all that did not change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from whet.tune.draft import Draft
from whet.tune.space import Space
from whet.tune.trial import CHUNK, Bound, Goal, Log, Trial, Trials

__all__ = ["Frozen", "Moments"]

_FEW = 8  # changed trials up to which a moment replaces them one by one


class Frozen(Sequence[Trial]):
    """The trials of drafts, frozen when somebody looks.

    >>> Frozen([Draft(0), Draft(1)])[1].id
    1
    """

    def __init__(self, drafts: list[Draft]) -> None:
        self._drafts = drafts

    def __len__(self) -> int:
        return len(self._drafts)

    def __iter__(self) -> Iterator[Trial]:
        return (d.trial for d in self._drafts)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trial]: ...
    def __getitem__(self, index: int | slice) -> Trial | list[Trial]:
        found = self._drafts[index]
        return [d.trial for d in found] if isinstance(found, list) else found.trial


class Moments:
    """Takes moments of `drafts`. Whoever changes a draft says so in `stale` (its number) and in `log`.

    >>> drafts = [Draft(0)]
    >>> moments = Moments(drafts)
    >>> moments.stale.add(0)
    >>> len(moments.take(Space(), (Goal("loss", "min"),), 1, seq=1))
    1
    """

    def __init__(self, drafts: list[Draft]) -> None:
        self.log = Log()
        self.stale: set[int] = set()
        self._drafts = drafts
        self._chunks: list[tuple[Trial, ...]] = []

    def take(
        self,
        space: Space,
        goals: tuple[Goal | Bound, ...],
        steps: int,
        *,
        seq: int,
        like: tuple[Trials, ...] = (),
        instead: Trial | None = None,
    ) -> Trials:
        """Return the trials as they are now, with `instead` in the place of the one with its id."""
        self._refresh()
        shown, ahead = self._chunks, None
        if instead is not None:
            ahead = instead.id
            k, i = divmod(ahead, CHUNK)
            shown = list(shown)
            shown[k] = (*shown[k][:i], instead, *shown[k][i + 1 :])
        return Trials(
            tuple(shown), space=space, goals=goals, steps=steps, seq=seq, like=like, log=self.log, ahead=ahead
        )

    def _refresh(self) -> None:
        chunks, drafts = self._chunks, self._drafts
        if len(self.stale) <= _FEW:  # mostly one trial reported since the last moment
            for id in sorted(self.stale):
                k, i = divmod(id, CHUNK)
                if k == len(chunks):
                    chunks.append(())
                chunks[k] = (*chunks[k][:i], drafts[id].trial, *chunks[k][i + 1 :])
        else:
            for k in sorted({id // CHUNK for id in self.stale}):
                chunks[k : k + 1] = [tuple([d.trial for d in drafts[k * CHUNK : (k + 1) * CHUNK]])]
        self.stale.clear()
