"""When a whole study ends by a criterion: which one holds, asking it, and the record of what it said.

Everything is in the journal: the criterion as text (a record "until") and that it was met ("stopped", with the reason). So
all processes of a study go by the same criterion, and what one of them found holds for all.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

from whet.journal.event import Journal
from whet.stop import Stop, needs_noise, parse
from whet.stop.gain import LEAST, NOISE
from whet.tune.budget import Budget
from whet.tune.progress import Progress
from whet.tune.search import describe
from whet.tune.space import Space
from whet.tune.strategy import Searcher
from whet.tune.trial import Bound, Goal, State, Trials
from whet.tune.whole import configuration

__all__ = [
    "Ending", "Stop", "announce", "announced", "begin", "end_race", "ended", "lines", "note_end", "racing", "say_used_up", "stands", "stopped", "until", "used_up",
    "wants_noise",
]  # fmt: skip

_UNTIL, _STOPPED, _ENDED = "until", "stopped", "ended"


class Recorded(Protocol):
    """What this needs of a study."""

    name: str
    steps: int
    goals: tuple[Goal | Bound, ...]
    journal: Journal

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a record."""
        ...

    def records(self, topic: str) -> list[Mapping[str, Any]]:
        """Return the records of a topic."""
        ...


def begin(study: Recorded, stop: Stop | str | None) -> None:
    """Make `stop` the study's criterion. None leaves the one it has, unless that has stopped it: then it has none.

    Raises UsageError when the text cannot be read, or the criterion cannot be written as text.
    """
    end_race(study)  # one that was cut off: the search goes on
    if stop is None:
        if stopped(study) is not None:
            study.record(_UNTIL, {"text": ""})
        return
    text = str(_read(study, str(stop)))
    if text != until(study):
        study.record(_UNTIL, {"text": text})


def end_race(study: Recorded) -> None:
    """Record that nothing is run again any more, so that a search goes on, where a race is on (see `whet.recipe.rerace`)."""
    if racing(study):
        study.record("race", {"on": False})


def racing(study: Recorded) -> bool:
    """Return whether a process runs the best again (see `whet.recipe.rerace`): then no other starts anything new."""
    races = study.records("race")
    return bool(races and races[-1]["on"])


def until(study: Recorded) -> str:
    """Return the criterion the study goes by, as text, or ""."""
    known = study.records(_UNTIL)
    return str(known[-1]["text"]) if known else ""


def stopped(study: Recorded) -> str | None:
    """Return why the study was stopped, or None when it was not, or went on since."""
    known = study.records(_STOPPED)
    if not known or known[-1].get("nth", 0) != len(study.records(_UNTIL)):
        return None
    return str(known[-1]["why"])


def stands(study: Recorded, stop: str | None) -> bool:
    """Return whether the study was stopped by the criterion `stop`, so that a run with it has nothing left to do."""
    return stop is not None and stopped(study) is not None and str(_read(study, stop)) == until(study)


def ended(study: Recorded) -> dict[int, str]:
    """Return why trials were ended before their last step, by trial."""
    return {int(r["trial"]): str(r["why"]) for r in study.records(_ENDED)}


def lines(study: Searched) -> list[str]:
    """Return what to say about the study's criterion and about trials that ended early, one line each."""
    found, early, text = [], ended(study), until(study)
    if why := stopped(study):
        found.append(f"stopped by {text}: {why}")
    elif text:
        found.append(f"until {text}")
    if used := used_up(study):
        found.append(f"ended: {used}")
    if early:
        last = max(early)
        others = f" and {len(early) - 1} more" if len(early) > 1 else ""
        found.append(f"trial {last}{others} ended early: {early[last]}")
    return found


def used_up(study: Searched) -> str:
    """Return that every configuration there is was tried, in a few words, or "" when some are left or in work.

    >>> import whet
    >>> study = whet.Study(whet.Space(k=whet.Int(1, 3)), search="random")
    >>> used_up(study.run(lambda p: p["k"], trials=2)), used_up(study.run(lambda p: p["k"], trials=3))
    ('', 'all 3 configurations there are were tried')
    """
    trials, searcher, space = study.trials, study.searcher, study.space
    size = searcher.size(space) if hasattr(searcher, "size") else space.size
    if size is None or len(trials) < size or any(t.state in (State.WAITING, State.RUNNING) for t in trials):
        return ""
    if hasattr(searcher, "left"):
        left = searcher.left(trials)
    else:
        left = size - len({configuration(t.params) for t in trials if t.params})
    many = f"all {size:,} configurations there are were" if size > 1 else "the only configuration there is was"
    return f"{many} tried" if left is not None and left <= 0 else ""


def announce(study: Searched) -> None:
    """Say before the first trial what `announced` has: on standard error, or as a RuntimeWarning when it holds one."""
    if len(study.trials) or not (text := announced(study)):
        return
    if "Warning:" in text:
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    else:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def announced(study: Searched) -> str:
    """Return what the searcher has to announce, such as how many points a grid has, and that of several goals only the first steers it."""
    said = getattr(study.searcher, "announce", lambda _: "")(study.space)
    goals = [g for g in study.goals if isinstance(g, Goal)]
    if len(goals) > 1 and not getattr(study.searcher, "every_goal", False):
        name = describe(study.searcher)["name"].rpartition(":")[2]
        said += " " if said else ""
        if some := getattr(study.searcher, "by_first", ()):
            goes = f"{' and '.join(some)} {'goes' if len(some) == 1 else 'go'}"
            said += f"{name}: of its members {goes} by the first of {len(goals)} goals alone, {goals[0]}; the credit goes by all."
        else:
            said += f"{name}: only the first of {len(goals)} goals steers it, {goals[0]}; gp, forest, tpe and evolution weigh all."
    return str(said)


def say_used_up(study: Searched, limits: Budget) -> None:
    """Warn when the space was used up before any of the limits was reached."""
    spent = study.spent
    pairs = [(getattr(spent, f.name) or 0, getattr(limits, f.name)) for f in fields(Budget)]
    if not limits or any(most is not None and have >= most for have, most in pairs) or not (why := used_up(study)):
        return
    started = f"{spent.trials:,}" + (f" of {limits.trials:,}" if limits.trials is not None else "")
    warnings.warn(
        f"study '{study.name}': ended after {started} trial{'' if started == '1' else 's'}: {why}. Give a new study a wider "
        "space, or repeat some (again=True).",
        RuntimeWarning,
        stacklevel=4,
    )


def note_end(study: Recorded, trial: int, why: str, step: int) -> None:
    """Record why a trial ends before its last step, once."""
    if trial not in ended(study):
        study.record(_ENDED, {"trial": trial, "why": why, "step": step})


def _read(study: Recorded, text: str) -> Stop:
    goal = study.goals[0]
    assert isinstance(goal, Goal)
    # the account of time is the study's, over all processes and starts
    return parse(text, goal.better, study=True, clock=study.journal.spent, start=0.0, what="until")


def wants_noise(study: Recorded) -> bool:
    """Return whether the study's criterion goes by the noise of the values, which the trials have to report."""
    text = until(study)
    return bool(text) and needs_noise(_read(study, text))


class Searched(Recorded, Protocol):
    """What it takes to know whether anything is left to try."""

    space: Space
    searcher: Searcher

    @property
    def trials(self) -> Trials:
        """All trials as they are now."""
        ...

    @property
    def spent(self) -> Budget:
        """What the study has spent so far."""
        ...


class Ending:
    """Whether a study has met its criterion; whoever finds so records it, once.

    >>> import whet
    >>> study = whet.Study(whet.Space(x=whet.Float(0, 1)), search="random").run(lambda p: p["x"], stop="trials 3")
    >>> len(study.trials), Ending(study).reached(), study.records("stopped")[0]["why"]
    (3, True, '3 trials ended')
    """

    def __init__(self, study: Recorded) -> None:
        self._study = study
        self._progress = Progress(study.steps)
        self._text = ""
        self._stop: Stop | None = None
        self._warned = False
        self.look()

    def look(self) -> None:
        """See which criterion holds now: another process may have given another one."""
        text = until(self._study)
        if text != self._text:
            self._text, self._stop = text, _read(self._study, text) if text else None

    def reached(self) -> bool:
        """Return whether the study is stopped, or is now."""
        if self._stop is None:
            return False
        self._progress.take(self._study.journal.read(self._progress.seq))
        if stopped(self._study) is not None:  # after reading: what is recorded later is seen when writing
            return True
        goal = self._study.goals[0]
        assert isinstance(goal, Goal)
        curve = self._progress.curve(goal.better)
        why = self._stop(curve)
        if not why:
            if len(curve) >= 2 * LEAST and needs_noise(self._stop) and not any(NOISE in p.metrics for p in curve):
                self._warn()
            return False
        return self._write(why)

    def _write(self, why: str) -> bool:
        """Record the end, unless somebody did, or gave another criterion; return whether the study is stopped."""
        nth = len(self._study.records(_UNTIL))
        with self._study.journal.write() as w:
            for event in w.read(self._progress.seq):
                topic = event.data["topic"] if event.kind == "recorded" else ""
                if topic in (_UNTIL, _STOPPED):
                    return topic == _STOPPED
            data = {"why": why, "until": self._text, "nth": nth}
            w.append("recorded", None, {"topic": _STOPPED, "data": data})
        return True

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"study '{self._study.name}': {self._text}: the noise of the values is not known, so this says nothing. "
                f"Give it (gain 0.002), report it as {NOISE}=..., or repeat configurations.",
                RuntimeWarning,
                stacklevel=4,
            )
