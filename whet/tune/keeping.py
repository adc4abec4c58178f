"""Which checkpoints exist: written before the event that names them, deleted after the event that says so.

Every trial keeps its last two while it is open, so that a damaged one has another before it; a stopped one keeps its
last, a failed one none. What the scheduler's `keep` names stays whatever else holds. Under a quota the rest goes too,
the least useful first; the last checkpoint of the best trial never does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from whet.journal.checkpoint import Files
from whet.journal.event import Writer
from whet.journal.store import Store
from whet.tune.book import Book
from whet.tune.draft import Draft
from whet.tune.history import History
from whet.tune.strategy import Scheduler
from whet.tune.trial import State, Trial

__all__ = ["Keeping", "Saved", "files_of"]

_CLOSED = frozenset({State.DONE, State.STOPPED, State.FAILED})
_LASTS = {State.STOPPED: 1, State.FAILED: 0}  # how many of the latest stay; two elsewhere


class Saved(NamedTuple):
    """A checkpoint that was written: its name in the study's files, and its bytes.

    >>> Saved("0/1-00.safetensors", 10).bytes
    10
    """

    name: str
    bytes: int


def files_of(store: Store, name: str, uid: str) -> Files:
    """Return where the checkpoints of study `name`, whose journal has this `uid`, lie: in memory when its store does.

    >>> files_of(Store.of(None), "s", "").folder is None
    True
    """
    folder = store.files(name)
    return Files(folder / "checkpoints" if folder else None, sync=store.durability == "power", uid=uid)


class Keeping:
    """The checkpoints of one opened study.

    quota: the most bytes that all of them together may take, None for no limit.
    """

    def __init__(self, book: Book, scheduler: Scheduler, files: Files, quota: int | str | None) -> None:
        self._book, self._scheduler, self._files = book, scheduler, files
        self.quota = None if quota is None else int(quota)  # a store has it in bytes

    def save(self, trial: int, step: int, tree: Any) -> Saved | None:
        """Write a checkpoint of `trial` after `step`; return None when the quota has no room for it.

        Raises CheckpointError when the disk refuses it, or the tree cannot be written.
        """
        data = self._files.pack(tree)
        if self.quota is not None and not self._make_room(len(data), self.quota):
            warnings.warn(
                f"the quota of {self.quota:,} bytes is full of checkpoints that may still be wanted: new ones are not "
                "kept, and a trial that is resumed without one trains its steps again. Give a larger quota.",
                RuntimeWarning,
                stacklevel=4,
            )
            return None
        self._files.claim(bool(self._book.history.stored))
        return Saved(self._files.put(trial, step, data), len(data))

    def load(self, name: str) -> Any:
        """Return the tree of the checkpoint `name`.

        Raises CheckpointError when it is damaged or gone, StoreError when this machine cannot reach the study's files.
        """
        self._files.claim(True)
        return self._files.read(name)

    def check(self) -> None:
        """Raise StoreError when the study's files cannot be reached from here, before anything is trained."""
        self._files.claim(bool(self._book.history.stored), write=False)

    def outdated(self, after: Trial, new: tuple[int, str] | None = None) -> list[str]:
        """Return the names of its checkpoints that go when a trial becomes `after` and has the `new` one."""
        id, state, history = after.id, after.state, self._book.history
        own = history.progress[id].checkpoints
        owned = own if new is None else (*own, new)
        lasts = _LASTS.get(state, 2)
        old = owned[: len(owned) - lasts] if lasts < len(owned) else ()
        if not old:
            return []
        kept = self._scheduler.keep(history.moment(instead=after))
        here = {name for _, name in owned[len(owned) - lasts :]}  # the same content at the same step is one file
        return [name for step, name in old if (id, step) not in kept and name not in here]

    def remove(self, names: Sequence[str]) -> None:
        """Delete files that no event names any more."""
        for name in names:
            self._files.remove(name)

    def sweep(self, id: int) -> None:
        """Delete what an earlier worker left of trial `id` without an event that names it; only for its worker."""
        self._files.sweep(id, {name for _, name in self._book.history.progress[id].checkpoints})

    def _make_room(self, size: int, quota: int) -> bool:
        """Delete checkpoints until one of `size` bytes fits for every worker; return whether it does."""
        history = self._book.sync()
        # every other running trial may be in the middle of writing one as well, as large as any there was
        largest = max([size, *history.stored.values()])
        most = quota - size - largest * max(0, len(history.open) - 1)
        if sum(history.stored.values()) <= most:
            return True
        names: list[str] = []

        def collect(w: Writer) -> bool:
            names.clear()
            history = self._book.history
            total = sum(history.stored.values())
            for name in self._victims(history):
                if total <= most:
                    break
                total -= history.stored[name]
                names.append(name)
            if names:
                self._book.append(w, "collected", None, {"names": names})
            return total <= most

        fits = self._book.change(collect)
        self.remove(names)
        return fits

    def _victims(self, history: History) -> Iterator[str]:
        """Yield the names of checkpoints that may go, the least useful first."""
        moment = history.moment()
        kept, best = self._scheduler.keep(moment), moment.best
        drafts = [d for d in history.progress if d.checkpoints]
        closed = [d for d in drafts if d.state in _CLOSED]
        closed.sort(key=lambda d: (d.state is not State.FAILED, moment.reach(d.trial), -_score(moment.goal, d), -d.id))

        def free(draft: Draft, checkpoints: Sequence[tuple[int, str]]) -> Iterator[str]:
            for step, name in checkpoints:
                last = best is not None and draft.id == best.id and name == draft.checkpoints[-1][1]
                if not last and (draft.id, step) not in kept and name in history.stored:
                    yield name

        for draft in closed:  # those that stand behind another one, then what open trials have behind them
            yield from free(draft, draft.checkpoints[:-1])
        for draft in drafts:
            if draft.state not in _CLOSED:
                yield from free(draft, draft.checkpoints[:-1])
        for draft in closed:
            yield from free(draft, draft.checkpoints[-1:])


def _score(goal: Any, draft: Draft) -> float:
    return float("inf") if draft.value is None else goal.score(draft.value)
