"""Making every decision of a study again, from what its journal says each had seen, and comparing.

A decision is a function of a prefix of the journal: what a free worker did next (`asked`, `resumed`), which configuration
a trial got (`proposed`), and the verdict on a report (`reported`). One pass over the events stops at each moment that some
decision had seen and makes it there, so the cost grows with the number of decisions and not with their product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from whet import seed as streams
from whet.errors import StudyError, WhetError, one_line
from whet.journal.event import Event
from whet.tune.created import Terms
from whet.tune.guess import RERACE
from whet.tune.history import History, with_point
from whet.tune.legal import Difference, breaches, filled, same
from whet.tune.propose import propose
from whet.tune.schedule import rebuild as rebuild_schedule
from whet.tune.search import rebuild as rebuild_search
from whet.tune.strategy import Proposal, Resume, Scheduler, Searcher, Start
from whet.tune.trial import Idle, Point, Trials, Verdict
from whet.tune.whole import configuration

__all__ = ["Replay", "replay"]

_EVERY = 20  # events between two signs of life


def replay(events: Sequence[Event], *, cold: bool = False) -> Replay:
    """Make every decision in `events`, a study's whole journal, again; return what came of it.

    >>> import whet
    >>> study = whet.Study(whet.Space(x=whet.Float(0, 1)), seed=1)
    >>> for _ in range(5):
    ...     trial = study.ask()
    ...     study.tell(trial, trial.params["x"])
    >>> print(replay(study.journal.read()))
    10 decisions of 5 trials redone: all equal
    """
    redone = Replay(events, cold=cold)
    for _ in redone:
        pass
    return redone


class Replay:
    """The decisions of a journal made again. Iterate to do it: it yields now and then how many events it has passed.

    cold: rebuild searcher and scheduler for every decision, so that nothing they remember plays a part; slow for long
    studies. differences: what is not as recorded, in order of events; decisions, trials: how many were looked at; best:
    the id of the best trial; unread: how many events come after one at which it had to end.

    Raises StudyError when the journal has no beginning, or names a strategy that is not installed.
    """

    def __init__(self, events: Sequence[Event], *, cold: bool = False) -> None:
        self.events = events
        self.cold = cold
        self.decisions = self.unread = 0
        self.differences: list[Difference] = []
        self._history = History()
        self._created: Mapping[str, Any] = next((e.data for e in events if e.kind == "created"), {})
        if not self._created:
            why = "its first event is missing. Restore a backup." if events else "it was never begun."
            raise StudyError(f"replay: the terms of the study are not there: {why}")
        self._searcher, self._scheduler = self._strategies()
        self._due: defaultdict[int, list[tuple[Event, bool]]] = defaultdict(list)
        self._first: dict[int, str | None] = {}  # trial -> the configuration it would have got, had nobody been quicker
        self._plan()

    @property
    def trials(self) -> int:
        """The number of trials."""
        return len(self._history.trials)

    @property
    def best(self) -> int | None:
        """The id of the best trial, None when there is none."""
        best = self._history.moment().best if self._history.terms else None
        return None if best is None else best.id

    @property
    def version(self) -> str:
        """The version of whet that began the study."""
        return str(self._created.get("version", ""))

    def _strategies(self) -> tuple[Searcher, Scheduler]:
        try:
            return rebuild_search(self._created["search"]), rebuild_schedule(self._created["schedule"])
        except StudyError as e:
            raise StudyError(f"replay: cannot be redone here: {e} Install the package it comes from.") from e
        except (LookupError, TypeError, ValueError) as e:
            raise StudyError(f"replay: the terms of the study cannot be read ({e!r}). Restore a backup.") from e

    def _plan(self) -> None:
        """Note at which moment each decision is to be made."""
        asked: dict[int | None, int] = {}
        for event in self.events:
            if event.kind not in ("asked", "proposed", "resumed"):
                continue
            seen = event.data.get("seen")
            if event.kind == "asked":
                asked.setdefault(event.trial, event.seq)
            if not isinstance(seen, int) or not 0 < seen < event.seq:
                continue  # said to be wrong when its turn comes
            begun = asked.get(event.trial, seen)
            if event.kind == "proposed" and begun < seen:  # it looked again: its first choice must have been taken
                self._due[begun].append((event, False))
            self._due[seen].append((event, True))

    def __iter__(self) -> Iterator[int]:
        history = self._history
        for i, event in enumerate(self.events):
            if event.seq != history.seq + 1:
                missing = f"event {event.seq}" if event.seq > history.seq else "it a second time"
                self._add(Difference(history.seq + 1, None, "journal", missing, f"event {history.seq + 1}"))
                self.unread = len(self.events) - i
                break
            try:
                self._before(event)
                history.apply([event])
                self._after(event)
            except (WhetError, LookupError, TypeError, ValueError, AttributeError, AssertionError) as e:
                why = str(e) if isinstance(e, WhetError) else f"{type(e).__name__} {e}"
                self._add(Difference(event.seq, event.trial, event.kind, f"unreadable ({one_line(why)})", "readable"))
                self.unread = len(self.events) - i - 1
                break
            if i % _EVERY == 0:
                yield i
        self.differences.sort(key=lambda d: d.seq)
        yield len(self.events) - self.unread

    def _add(self, difference: Difference) -> None:
        self.differences.append(difference)

    def _check(self, event: Event, what: str, recorded: Any, redone: Any) -> None:
        if not same(recorded, redone):
            self._add(Difference(event.seq, event.trial, what, recorded, redone))

    def _before(self, event: Event) -> None:
        """Look at what must hold when `event` is written, and judge its report."""
        found = list(breaches(self._history, event))
        self.differences += found
        if event.kind == "asked" and not found and not self._room(event):
            self._add(Difference(event.seq, event.trial, "order", "started", "nothing: the space is used up"))
        if event.kind == "reported" and not found:
            self.decisions += 1
            self._judge(event)

    def _after(self, event: Event) -> None:
        """Make the decisions that had seen everything up to `event`, and no more."""
        if event.kind == "collected" or event.data.get("dropped"):
            self._kept(event)
        for waiting, final in self._due.pop(event.seq, ()):
            if self.cold:
                self._searcher, self._scheduler = self._strategies()
            if waiting.kind == "proposed":
                self._propose(waiting, final)
            else:
                self.decisions += 1
                self._pick(waiting)

    @property
    def _terms(self) -> Terms:
        assert self._history.terms is not None
        return self._history.terms

    def _attempt(self, event: Event, act: Callable[[], Any]) -> Any:
        """Return what a strategy says; an error of it is a difference, and None is returned."""
        try:
            return act()
        except Exception as e:  # whatever a strategy raises, it did not when the event was written
            self._add(Difference(event.seq, event.trial, event.kind, "done", f"{type(e).__name__}: {one_line(str(e))}"))
            return None

    def _room(self, event: Event) -> bool:
        """Return whether the space had room for one more trial (how many the budget allowed is not recorded)."""
        history, space = self._history, self._terms.space
        if history.waiting or event.data.get("params") is not None:
            return True
        if hasattr(self._searcher, "left"):
            left = self._searcher.left(history.moment())
            return left is None or left > 0
        return space.size is None or len(history.keys) + history.unproposed < space.size

    def _pick(self, event: Event) -> None:
        """Redo what a free worker did: start a trial, or go on with a paused one."""
        history, seed = self._history, self._terms.seed
        moment = history.moment()
        by = str(event.data.get("by", ""))
        done = _described(event)
        if event.kind == "asked" and history.waiting:
            return self._check(event, "decision", done, _said(Start()))  # a person's guess goes first
        said = self._attempt(event, lambda: self._scheduler.pick(moment, streams.rng(seed, history.seq, "pick")))
        if by and isinstance(said, Start):  # no more could start
            said = self._attempt(event, lambda: getattr(self._scheduler, "finish", lambda _: Idle.DONE)(moment))
        elif by and said is not None:
            done = {**done, "by": by}
        if said is not None:
            self._check(event, "decision", done, _said(said))

    def _propose(self, event: Event, final: bool) -> None:
        """Redo a proposal at the moment it had seen, or (not `final`) the first attempt that came to nothing."""
        history, id = self._history, event.trial
        if id is None or id >= len(history.progress):
            return
        seen = history.seq
        proposed: tuple[Proposal, int] | None = self._attempt(
            event,
            lambda: propose(
                self._searcher, history.moment(), id, given=history.progress[id].given, again=history.repeatable(id),
                taken=lambda key: history.taken(key) is not None, seed=self._terms.seed,
            ),
        )  # fmt: skip
        if not final:
            self._first[id] = configuration(proposed[0].params) if proposed else None
            return
        self.decisions += 1
        if proposed is None:
            return
        (proposal, draw), data = proposed, event.data
        self._check(event, "params", data["params"], dict(proposal.params))
        self._check(event, "origin", data["origin"], dict(proposal.origin))
        self._check(event, "draw", data["draw"], draw)
        if (first := self._first.pop(id, None)) is not None:
            began = history.progress[id].seen
            if not began < (history.taken(first) or began) <= seen:
                self._add(Difference(event.seq, id, "seen", seen, f"{began}: its configuration was still free"))

    def _judge(self, event: Event) -> None:
        """Redo the verdict on a report, and look whether a configuration was taken twice."""
        if self.cold:
            self._searcher, self._scheduler = self._strategies()
        history, data = self._history, filled(self._history, event)
        assert event.trial is not None
        verdict = Verdict.GO
        now = history.trials[event.trial]
        if data["step"] < self._terms.steps and RERACE not in now.tags:
            cost = data.get("cost", float(data["step"] - now.step))
            judged = with_point(now, Point(data["step"], data["value"], cost, data.get("metrics", {})))
            moment = history.moment(instead=judged)
            verdict = self._attempt(event, lambda: self._scheduler.judge(judged, moment))
        if verdict is not None:
            self._check(event, "verdict", data.get("verdict", "GO"), verdict.value)

    def _kept(self, event: Event) -> None:
        """Look whether a checkpoint was deleted that the scheduler still wanted."""
        names = event.data["names"] if event.kind == "collected" else event.data["dropped"]
        self.decisions += 1
        moment: Trials = self._history.moment()
        kept = self._attempt(event, lambda: self._scheduler.keep(moment))
        for name in names if kept is not None else ():
            trial, _, rest = str(name).partition("/")
            if (int(trial), int(rest.partition("-")[0])) in kept:
                self._add(Difference(event.seq, event.trial, "deleted", name, "kept: the scheduler may want it"))

    def __str__(self) -> str:
        trials = f"{self.trials:,} trial{'' if self.trials == 1 else 's'}"
        what = f"{self.decisions:,} decision{'' if self.decisions == 1 else 's'} of {trials} redone"
        rest = f"; {self.unread:,} events after that were not looked at" if self.unread else ""
        n = len(self.differences)
        return f"{what}: " + (f"{n:,} difference{'' if n == 1 else 's'}{rest}" if n else "all equal")

    def json(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        return {
            "equal": not self.differences, "decisions": self.decisions, "trials": self.trials, "events": len(self.events),
            "best": self.best, "version": self.version, "cold": self.cold, "unread": self.unread,
            "differences": [d.json() for d in self.differences],
        }  # fmt: skip


def _said(decision: Start | Resume | Idle) -> dict[str, Any]:
    """Return a scheduler's decision as JSON values."""
    if isinstance(decision, Resume):
        return {"do": f"resume trial {decision.id}"}
    if isinstance(decision, Idle):
        return {"do": "wait" if decision is Idle.WAIT else "end"}
    given = {"params": decision.params, "parent": decision.parent, "origin": dict(decision.origin) or None}
    return {"do": "start a trial"} | {k: v for k, v in given.items() if v is not None}


def _described(event: Event) -> dict[str, Any]:
    """Return what an event says was decided, in the same words."""
    if event.kind == "resumed":
        return {"do": f"resume trial {event.trial}"}
    return {"do": "start a trial"} | {k: event.data[k] for k in ("params", "parent", "origin") if event.data.get(k)}
