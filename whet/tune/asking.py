"""Asking for a trial: what a free worker does next, decided from a prefix of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet import seed as streams
from whet.errors import StudyError, UsedUp
from whet.journal.event import Writer
from whet.tune.book import Book
from whet.tune.budget import Budget
from whet.tune.claim import Claims
from whet.tune.history import History
from whet.tune.keeping import Keeping
from whet.tune.propose import propose
from whet.tune.strategy import Resume, Scheduler, Searcher, Start
from whet.tune.trial import Idle, State, Trial, Trials
from whet.tune.whole import configuration

__all__ = ["Asking"]

_GUESS = Start()  # this very object: a person's guess goes first


class Asking:
    """Gives out trials: orphans first, then a person's guesses, then what the scheduler and the searcher say."""

    def __init__(
        self, book: Book, claims: Claims, searcher: Searcher, scheduler: Scheduler, *, keeping: Keeping
    ) -> None:
        self._book, self._claims, self._keeping = book, claims, keeping
        self._searcher, self._scheduler = searcher, scheduler
        self._last: Trials | None = None  # the prefix of the last start: what its proposal is made from

    @property
    def _seed(self) -> int:
        terms = self._book.history.terms
        return terms.seed if terms else 0

    def next(self, budget: Budget) -> Trial | Idle:
        """Return the next trial, starting none beyond `budget.trials` in the whole study."""
        book = self._book
        with book.lock:
            while True:
                history = book.sync()
                adopted = self._claims.adopt(history.open, book.change, self._give_up)
                if adopted is not None:
                    self._keeping.sweep(adopted)
                    if (ready := self._ready(adopted)) is not None:
                        return ready
                    continue
                moment, begun_before = history.moment(), history.started
                decision = self._decide(moment, budget)
                # what follows is decided for this very history: were it folded anew, its end might be another one
                by = ""
                if isinstance(decision, Start) and not self._room(budget, moment, decision):
                    # no more may start: some schedulers can still bring the best to its end
                    decision, by = getattr(self._scheduler, "finish", lambda _: Idle.DONE)(moment), "finish"
                if isinstance(decision, Idle):
                    return Idle.WAIT if history.open else Idle.DONE
                if isinstance(decision, Resume):
                    begun = self._resume(decision.id, moment.seq, by)
                else:
                    if decision is not _GUESS and decision.params is None:
                        self._insist(moment)
                    begun = self._start(decision, moment.seq, budget, begun_before)
                if begun is not None:
                    if isinstance(decision, Resume):
                        self._keeping.sweep(begun)
                    if (ready := self._ready(begun)) is not None:
                        return ready

    def _decide(self, moment: Trials, budget: Budget) -> Start | Resume | Idle:
        if self._book.history.waiting and self._room(budget, moment):
            return _GUESS
        if self._book.history.racing:  # nothing but what is run again, see `whet.recipe.rerace`
            return Idle.DONE
        return self._scheduler.pick(moment, streams.rng(self._seed, moment.seq, "pick"))

    def _insist(self, moment: Trials) -> None:
        """Raise StudyError when trials that ended did not report what the searcher goes by."""
        if why := getattr(self._searcher, "misses", lambda _: "")(moment):
            raise StudyError(f"study '{self._book.journal.name}': {why}")

    def _room(self, budget: Budget, moment: Trials, start: Start = _GUESS) -> bool:
        """Return whether one more trial may be started; one whose configuration is given needs none that is new."""
        history, space = self._book.history, moment.space
        if budget.trials is not None and history.started >= budget.trials:
            return False
        if history.waiting or start.params is not None:
            return True
        if hasattr(self._searcher, "left"):
            left = self._searcher.left(moment)
            return left is None or left > 0
        return space.size is None or len(history.keys) + history.unproposed < space.size

    def _resume(self, id: int, seen: int, by: str) -> int | None:
        book, known = self._book, self._book.history

        def write(w: Writer) -> int | None:
            if book.history is not known:
                return None
            if book.history.progress[id].state is not State.PAUSED:
                return None  # another worker was quicker
            book.append(w, "resumed", id, {"seen": seen} | ({"by": by} if by else {}))
            self._claims.take(w, id)
            return id

        return book.change(write)

    def _start(self, start: Start, seen: int, budget: Budget, before: int) -> int | None:
        book, known = self._book, self._book.history

        def write(w: Writer) -> int | None:
            history = book.history
            if history is not known:
                return None
            if not self._room(budget, history.moment(), start):
                return None
            if start.origin and history.started != before:
                return None  # another worker may have started the very same: whose place it takes is decided anew
            if history.waiting and start != Start():
                return None  # a guess came in since: it is not what the scheduler wants to start
            if start is _GUESS and not history.waiting:
                return None  # another worker took it: what to do now is for the scheduler to say
            id = history.waiting[0] if history.waiting else len(history.progress)
            data: dict[str, Any] = {"seen": seen}
            if start.params is not None:
                data["params"] = dict(start.params)
            if start.parent is not None:
                data["parent"] = list(start.parent)
            if start.origin:
                data["origin"] = dict(start.origin)
            book.append(w, "asked", id, data)
            moment = history.moment()
            w.after(lambda: setattr(self, "_last", moment))
            self._claims.take(w, id)
            return id

        return book.change(write)

    def _ready(self, id: int) -> Trial | None:
        """Return trial `id` with a complete configuration, proposing one when it has none.

        None: there is none for it, or another worker took it over in the meantime.
        """
        try:
            if not self._propose(id):
                return None
        except BaseException:
            self._claims.forget(id)  # the next to ask tries again, here or elsewhere
            raise
        self._claims.start_clock(id)
        return self._book.history.trials[id]

    def _propose(self, id: int) -> bool:
        """Give trial `id` its configuration; return False when there is none for it, or it is no longer this worker's."""
        book = self._book
        history = book.history
        moment = None if history.progress[id].proposed else self._at(history.progress[id].seen)
        first = True
        while moment is not None:
            if book.history is not history:  # folded anew: begin again with what it says now
                return self._claims.still(id) and id < len(book.history.progress) and self._propose(id)
            seen = moment.seq
            given, again = history.progress[id].given, history.repeatable(id)
            try:
                proposal, draw = propose(
                    self._searcher, moment, id, given=given, again=again, taken=_taken(book, seen), seed=self._seed
                )
            except UsedUp as e:
                if first and given is None:
                    raise  # nobody was quicker: the searcher said that there is something left, and there is not
                error = {"type": "UsedUp", "message": str(e), "traceback": ""}
                book.change(lambda w, error=error: self._close(w, id, error))  # type: ignore[misc]
                return False
            data = {"params": dict(proposal.params), "origin": dict(proposal.origin), "seen": seen, "draw": draw}
            named = book.change(
                lambda w, data=data, seen=seen: self._name(w, id, data, seen, history)  # type: ignore[misc]
            )
            if named is not None:
                return named
            if book.history is history:
                moment, first = history.moment(), False
        return True

    def _name(self, w: Writer, id: int, data: Mapping[str, Any], seen: int, known: History) -> bool | None:
        """Write the configuration of trial `id`, and return True; None when another worker has taken the same since.

        None too when the history is no longer the `known` one, so that what was seen may not have been. False: another
        worker took the trial over, as this one hung, and has given it one perhaps.
        """
        history = self._book.history
        if not self._claims.holds(w, id):
            self._claims.drop(w, id)
            return False
        if history is not known:
            return None
        if history.seq != seen and (history.taken(configuration(data["params"])) or 0) > seen:
            return None
        self._book.append(w, "proposed", id, data)
        return True

    def _close(self, w: Writer, id: int, error: Mapping[str, Any]) -> None:
        """Close a trial that cannot have a configuration of its own."""
        if self._claims.holds(w, id):
            self._book.append(w, "failed", id, {"error": error, "transient": False})
        self._claims.drop(w, id)

    def _at(self, seq: int) -> Trials:
        if self._last is not None and self._last.seq == seq:
            return self._last
        return self._book.at(seq)

    def _give_up(self, w: Writer, id: int, times: int) -> None:
        error = {"type": "WorkerLost", "message": f"its worker disappeared {times} times", "traceback": ""}
        self._book.append(w, "failed", id, {"error": error, "transient": False})


def _taken(book: Book, seen: int) -> Any:
    """Return whether a configuration existed after event `seen`, as a function of its key."""
    history = book.history
    return lambda key: (since := history.taken(key)) is not None and since <= seen
