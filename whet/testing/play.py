"""A study played in memory: strategies, simulated workers and an objective; no journal, no clock, no processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from whet import seed as streams
from whet.tune.space import Params, Space
from whet.tune.strategy import Proposal, Resume, Scheduler, Searcher, Start
from whet.tune.trial import Curve, Idle, Log, Point, State, Trial, Trials, Verdict, parse_goals

__all__ = ["Decision", "Goals", "Play", "bowl", "play"]

Goals = str | Sequence[str]


@dataclass(frozen=True)
class Decision:
    """What a strategy was shown and what it said.

    asked: "propose", "pick", "finish", "judge" or "keep"; trial: the judged trial; stream: the key of the generator it was given.

    >>> from whet.tune.schedule.full import Full
    >>> Decision("pick", Play(Space()).trials, Start(), stream=(0, 1)).redo(Full()) == Start()
    True
    """

    asked: Literal["propose", "pick", "finish", "judge", "keep"]
    trials: Trials
    said: Any
    trial: Trial | None = None
    stream: tuple[int | str, ...] = ()

    def redo(self, strategy: Any) -> Any:
        """Return what `strategy` says when it is shown the same."""
        if self.asked == "judge":
            return strategy.judge(self.trial, self.trials)
        if self.asked in ("keep", "finish"):
            return getattr(strategy, self.asked)(self.trials)
        return getattr(strategy, self.asked)(self.trials, streams.rng(*self.stream))


class Play:
    """The trials of a study as events make them, one call an event.

    >>> from whet.tune.space import Float
    >>> study = Play(Space(x=Float(0, 1)), steps=3)
    >>> id = study.ask()
    >>> study.set(id, params={"x": 0.5}, state=State.RUNNING)
    >>> study.report(id, 1, 0.25, State.PAUSED)
    >>> study.trials[id].state, study.trials[id].step, study.trials.seq
    (<State.PAUSED: 'PAUSED'>, 1, 3)
    """

    def __init__(
        self, space: Space, steps: int = 1, goal: Goals = "min loss", *, like: tuple[Trials, ...] = ()
    ) -> None:
        self.space, self.steps, self.goals, self.like = space, steps, parse_goals(goal), like
        self.decisions: list[Decision] = []
        self._trials: list[Trial] = []
        self._log = Log()

    @property
    def trials(self) -> Trials:
        """All trials as they are now."""
        return self._moment(self._trials)

    def _moment(self, trials: list[Trial], ahead: int | None = None) -> Trials:
        return Trials(
            trials, space=self.space, goals=self.goals, steps=self.steps, seq=len(self._log), log=self._log, ahead=ahead,
            like=self.like,
        )  # fmt: skip

    def ask(self, origin: Mapping[str, Any] | None = None, params: Params | None = None) -> int:
        """Add a WAITING trial and return its id."""
        self._trials.append(Trial(len(self._trials), params or {}, origin=origin or {}))
        self._log.append(len(self._log) + 1, len(self._trials) - 1)
        return len(self._trials) - 1

    def set(self, id: int, **change: Any) -> None:
        """Replace fields of trial `id`."""
        self._trials[id] = replace(self._trials[id], **change)
        self._log.append(len(self._log) + 1, id)

    def report(self, id: int, step: int, value: float, state: State = State.RUNNING, **metrics: float) -> None:
        """Add a point to trial `id`."""
        self.set(id, curve=self._trials[id].curve.plus(Point(step, value, 1.0, metrics)), value=value, state=state)

    def tell(self, id: int, value: float, **metrics: float) -> None:
        """Close trial `id` with its final value."""
        curve = self._trials[id].curve
        last = () if self._trials[id].step >= self.steps else (Point(self.steps, value, 0.0),)
        curve = Curve([*curve, *last])
        if metrics:
            curve = Curve([*curve[:-1], replace(curve[-1], metrics={**curve[-1].metrics, **metrics})])
        self.set(id, curve=curve, value=value, state=State.DONE)

    def ahead(self, id: int, step: int, value: float, **metrics: float) -> tuple[Trial, Trials]:
        """Return trial `id` and all trials as a scheduler sees them that judges this report, not yet an event."""
        trial = self._trials[id]
        judged = replace(trial, curve=trial.curve.plus(Point(step, value, 1.0, metrics)), value=value)
        trials = list(self._trials)
        trials[id] = judged
        return judged, self._moment(trials, id)


def bowl(space: Space, params: Params, step: int) -> float:
    """Return a loss that is least where every encoded value is 0.3, and falls with the steps; rounded, so values tie.

    >>> from whet.tune.space import Float
    >>> bowl(Space(x=Float(-1.0, 2.0)), {"x": -0.1}, 1)
    1.0
    """
    u = space.encode(params)
    return round(float(((u[u == u] - 0.3) ** 2).sum()) + 1.0 / step, 2)


def play(
    searcher: Searcher,
    scheduler: Scheduler,
    space: Space | Play,
    *,
    steps: int = 1,
    goal: Goals = "min loss",
    starts: int = 30,
    workers: int = 1,
    crash: float = 0.0,
    seed: int = 0,
    objective: Callable[[Space, Params, int], float | Mapping[str, float]] = bowl,
) -> Play:
    """Play a study of at most `starts` trials until nothing is left to do; return it with every decision in order.

    Which worker moves next is drawn; each step of a trial crashes it with probability `crash`. A goal "max NAME" gets
    the objective's negative; an objective with metrics for bounds returns all by name. Instead of a space a study may be given, to be gone on with; it has its own steps and goal. Raises AssertionError or SpaceError when a strategy breaks the protocol. A scheduler with `finish` is asked what to do in place of a Start when none is left.

    >>> from whet.tune.schedule.asha import Asha
    >>> from whet.tune.search.random import Random
    >>> from whet.testing.spaces import SPACES
    >>> done = play(Random(), Asha(), SPACES["mixed"], steps=9, starts=12)
    >>> len(done.trials), max(t.step for t in done.trials)
    (12, 9)
    """
    study = space if isinstance(space, Play) else Play(space, steps, goal)
    space, steps, rng = study.space, study.steps, streams.rng(seed, "play")
    sign = 1.0 if study.trials.goal.better == "min" else -1.0
    busy: list[int] = []
    idle = False  # whether the last pick said that there is nothing to do for now

    def choose() -> Start | Resume | Idle:
        trials, stream = study.trials, (seed, study.trials.seq, "pick")
        said = scheduler.pick(trials, streams.rng(*stream))
        study.decisions.append(Decision("pick", trials, said, stream=stream))
        if isinstance(said, Start) and len(trials) >= starts:
            finish = getattr(scheduler, "finish", None)
            if finish is None:
                return Idle.DONE
            said = finish(trials)
            assert isinstance(said, (Resume, Idle)), f"finish said {said!r}, though no more trials may start"
            study.decisions.append(Decision("finish", trials, said))
        return said

    def begin(start: Start) -> int:
        id = study.ask(start.origin)
        if start.parent is not None:  # its curve begins with its parent's point
            point = study.trials.get(start.parent[0]).at(start.parent[1])
            assert point is not None, f"started from {start.parent}, a step that was never reported"
            study.set(id, parent=start.parent, curve=(replace(point, cost=0.0),), value=point.value)
        trials, stream = study.trials, (seed, id, "propose")
        said = Proposal(start.params) if start.params is not None else searcher.propose(trials, streams.rng(*stream))
        if start.params is None:
            study.decisions.append(Decision("propose", trials, said, stream=stream))
        space.check(said.params)
        study.set(id, params=said.params, origin={**start.origin, **said.origin}, state=State.RUNNING)
        return id

    def move(id: int) -> bool:
        """Train trial `id` one step; return whether it goes on."""
        trial = study.trials[id]
        step = trial.step + 1
        if rng.random() < crash:
            study.set(id, state=State.FAILED, error={"type": "RuntimeError", "message": "out of memory"})
            return False
        if step > steps:
            study.tell(id, trial.curve[-1].value)
            return False
        said = objective(space, trial.params, step)
        metrics = dict(said) if isinstance(said, Mapping) else {study.trials.goal.name: said}
        value = sign * metrics.pop(study.trials.goal.name)
        if step == steps:
            study.report(id, step, value, State.RUNNING, **metrics)
            study.tell(id, value)
            return False
        judged, trials = study.ahead(id, step, value, **metrics)
        verdict = scheduler.judge(judged, trials)
        study.decisions.append(Decision("judge", trials, verdict, trial=judged))
        assert isinstance(verdict, Verdict), f"judge said {verdict!r}"
        states = {Verdict.GO: State.RUNNING, Verdict.PAUSE: State.PAUSED, Verdict.STOP: State.STOPPED}
        study.report(id, step, value, states[verdict], **metrics)
        trials = study.trials
        study.decisions.append(Decision("keep", trials, scheduler.keep(trials)))
        return verdict is Verdict.GO

    while True:
        if len(busy) < workers and not idle and (not busy or rng.random() < 0.5):
            said = choose()
            if isinstance(said, Idle):
                if not busy:
                    return study
                idle = True
                continue
            assert isinstance(said, (Start, Resume)), f"pick said {said!r}"
            if isinstance(said, Resume):
                state = study.trials.get(said.id).state
                assert state is State.PAUSED, f"pick resumed trial {said.id}, which is {state}"
                study.set(said.id, state=State.RUNNING)
            busy.append(said.id if isinstance(said, Resume) else begin(said))
        elif busy:
            id = busy[int(rng.integers(len(busy)))]
            idle = False
            if not move(id):
                busy.remove(id)
        else:  # waits, and nobody is left to wait for
            return study
