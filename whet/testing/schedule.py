"""What every scheduler must do. A clause is given `make`, which returns a new scheduler with the same options each time."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable

import numpy as np

from whet import seed as streams
from whet.testing.play import Decision, Goals, Play, bowl, play
from whet.testing.spaces import SPACES
from whet.tune import schedule
from whet.tune.schedule.full import Full
from whet.tune.search.random import Random
from whet.tune.space import Params, Space
from whet.tune.strategy import Resume, Scheduler, Start
from whet.tune.trial import Bound, Idle, State, Verdict, parse_goals

__all__ = ["SCHEDULER"]

Make = Callable[[], Scheduler]


def _play(
    make: Make, seed: int, *, steps: int = 9, starts: int = 24, crash: float = 0.03, goal: Goals = "min loss"
) -> Play:
    workers = (1, 1, 3)[seed % 3]
    return play(
        Random(),
        make(),
        SPACES["mixed"],
        steps=steps,
        starts=starts,
        workers=workers,
        crash=crash,
        seed=seed,
        goal=goal,
        objective=bowl if isinstance(goal, str) else traded_bowl,
    )


def traded_bowl(space: Space, params: Params, step: int) -> dict[str, float]:
    """Return a loss that falls with the steps, a size that does not and is least elsewhere, and a latency that is a little different each time.

    >>> traded_bowl(SPACES["line"], {"x": 0.0}, 1)["size"]
    0.37
    """
    u = space.encode(params)
    size = round(float(np.abs(u[u == u] - 0.7).mean()), 2)
    return {"loss": bowl(space, params, step), "size": size, "ms": size * (1.0 + 0.01 * ((7 * step) % 3))}


def _of(study: Play, *asked: str) -> list[Decision]:
    return [d for d in study.decisions if d.asked in asked]


def records_its_options(make: Make) -> None:
    """Its fields are its options: `describe` makes JSON of them, and `rebuild` an equal scheduler of that."""
    made = make()
    record = json.loads(json.dumps(schedule.describe(made)))
    assert schedule.rebuild(record) == made, f"{made!r} was rebuilt as {schedule.rebuild(record)!r}"


def is_frozen(make: Make) -> None:
    """It is a frozen value: no option can be set afterwards, and being used does not change it."""
    made = make()
    assert made.__dataclass_params__.frozen, f"{type(made).__name__} must be @dataclass(frozen=True)"  # type: ignore[attr-defined]
    before = schedule.describe(made)
    play(Random(), made, SPACES["mixed"], steps=9, starts=6)
    assert schedule.describe(made) == before, "being used changed its options"
    assert made == make(), "being used made it unequal to a new one"


def starts_with_nothing(make: Make) -> None:
    """It starts a trial when there is none, and keeps no checkpoint then."""
    trials = Play(SPACES["mixed"], 9).trials
    said = make().pick(trials, streams.rng(0))
    assert isinstance(said, Start), f"pick said {said!r} of an empty study"
    assert make().keep(trials) == set(), "keep named a checkpoint of an empty study"


def says_what_the_protocol_says(make: Make) -> None:
    """pick returns Start, Idle, or Resume of a paused trial; judge a Verdict; keep steps that were reported."""
    for seed in range(3):
        for d in _play(make, seed).decisions:
            if d.asked == "pick" and isinstance(d.said, Resume):
                state = d.trials.get(d.said.id).state
                assert state is State.PAUSED, f"pick resumed trial {d.said.id}, which is {state}"
            elif d.asked == "finish":
                paused = isinstance(d.said, Resume) and d.trials.get(d.said.id).state is State.PAUSED
                assert paused or isinstance(d.said, Idle), f"finish said {d.said!r}"
            elif d.asked == "pick":
                assert isinstance(d.said, (Start, Idle)), f"pick said {d.said!r}"
            elif d.asked == "judge":
                assert isinstance(d.said, Verdict), f"judge said {d.said!r}"
            elif d.asked == "keep":
                for id, step in d.said:
                    assert d.trials.get(id).at(step) is not None, (
                        f"keep names step {step} of trial {id}, never reported"
                    )


def keeps_what_it_resumes(make: Make) -> None:
    """The checkpoint of a trial it resumes, or starts another from, was named by every `keep` since it was there."""
    for seed in range(4):
        study, dropped = _play(make, seed), set()
        asked = _of(study, "keep", "pick", "finish")
        parents = {d.said.parent for d in asked if isinstance(d.said, Start) and d.said.parent is not None}
        for d in asked:
            if d.asked == "keep":
                wanted = {(t.id, t.step) for t in d.trials if t.state is State.PAUSED}
                wanted |= {(id, step) for id, step in parents if id < len(d.trials) and d.trials[id].at(step)}
                dropped |= wanted - d.said
            elif isinstance(d.said, Start):
                assert d.said.parent not in dropped, f"started from {d.said.parent}, which keep did not always name"
            elif isinstance(d.said, Resume):
                point = (d.said.id, d.trials.get(d.said.id).step)
                assert point not in dropped, f"resumed trial {point[0]}, though keep did not name its step {point[1]}"


def never_waits_alone(make: Make) -> None:
    """Without a running trial there is nothing to wait for: `pick` never says WAIT."""
    for seed in range(3):
        for d in _of(_play(make, seed), "pick"):
            if not any(t.state is State.RUNNING for t in d.trials):
                assert d.said is not Idle.WAIT, f"waits with {len(d.trials)} trials and none running"


def trains_something_to_the_end(make: Make) -> None:
    """A study of 24 trials ends with at least one trained to its last step, failures or not."""
    for seed in range(4):
        study = _play(make, seed, crash=(0.0, 0.05)[seed % 2])
        assert len(study.trials) == 24, f"only {len(study.trials)} of 24 trials were started"
        done = [t for t in study.trials if t.state is State.DONE and t.step == 9]
        assert done, "no trial was trained to the end"


def takes_in_interrupted_trials(make: Make) -> None:
    """Trials that an interrupted study left paused, before their first step or after their last, are resumed in time."""
    study, made = Play(SPACES["line"], 9), make()
    for steps in (0, 9):
        id = study.ask()
        study.set(id, params={"x": 0.1 * id}, state=State.RUNNING)
        for step in range(1, steps + 1):
            study.report(id, step, 1.0 / step)
        study.set(id, state=State.PAUSED)
    for _ in range(20):
        said = made.pick(study.trials, streams.rng(0))
        assert not isinstance(said, Idle), f"pick said {said!r} while a trial is paused"
        id = said.id if isinstance(said, Resume) else study.ask()
        study.set(id, params={"x": 0.1 * id}, state=State.RUNNING)
        study.tell(id, 0.5)
    left = [t.id for t in study.trials[:2] if t.state is State.PAUSED]
    assert not left, f"trials {left} were never resumed"


def decides_the_same_when_rebuilt(make: Make) -> None:
    """A new scheduler that is shown the same trials says the same as one that saw them grow."""
    for seed in range(3):
        for d in _play(make, seed).decisions:
            if d.asked != "propose":
                again = d.redo(make())
                assert again == d.said, f"{d.asked} with {len(d.trials)} trials: said {d.said}, rebuilt {again}"


def serves_any_study_at_any_moment(make: Make) -> None:
    """One object may be shown several studies in turns, and earlier moments again."""
    decisions = [
        d
        for seed, steps in enumerate((9, 27, 4))
        for d in _play(make, seed, steps=steps, starts=8).decisions
        if d.asked != "propose"
    ]
    order = streams.rng(1, "order").permutation(len(decisions))
    made = make()
    for i in [*order, *order[:10]]:
        d = decisions[i]
        assert d.redo(made) == d.said, f"{d.asked}: another study, or an earlier moment, confused it"


def serves_both_directions(make: Make) -> None:
    """To minimise a value and to maximise its negative is the same."""
    for seed in range(2):
        low, high = (_play(make, seed, goal=g) for g in ("min loss", "max score"))
        for a, b in zip(low.decisions, high.decisions, strict=True):
            assert (a.asked, a.said) == (b.asked, b.said), f"{a.asked}: {a.said} to minimise, {b.said} to maximise"


def serves_several_goals_or_says_so(make: Make) -> None:
    """With more goals and bounds it decides the same when rebuilt, and trains something to the end; or it has `one_goal`, and is refused."""
    goals = parse_goals(["min loss", "min size", "ms <= 0.4", "loss <= 9"])
    alone = bool(getattr(make(), "one_goal", False))
    assert bool(schedule.refused(make(), goals)) == alone, "one_goal is not what it is refused by"
    some = [g for g in goals if not alone or isinstance(g, Bound) or g is goals[0]]
    for seed in range(3):
        study = _play(make, seed, goal=[str(g) for g in some])
        for d in study.decisions:
            if d.asked != "propose":
                again = d.redo(make())
                assert again == d.said, f"{d.asked} with {len(d.trials)} trials: said {d.said}, rebuilt {again}"
        assert any(t.state is State.DONE and t.step == 9 for t in study.trials), "no trial was trained to the end"


def copes_with_gaps_and_bad_ends(make: Make) -> None:
    """Steps that are not reported, trials that fail, stop or are told early, and values of any size do not trouble it."""
    for seed in range(3):
        rng, study, made = streams.rng(seed, "gaps"), Play(SPACES["line"], 20), make()
        for _ in range(30):
            said = made.pick(study.trials, streams.rng(seed))
            assert not isinstance(said, Idle), f"pick said {said!r} while trials may start"
            if isinstance(said, Resume):
                id = said.id
                study.set(id, state=State.RUNNING)
            else:
                id = study.ask()
                study.set(id, params={"x": float(rng.random())}, state=State.RUNNING)
            while True:
                step, end = study.trials[id].step + int(rng.integers(1, 6)), rng.random()
                value = float(rng.normal()) * 10.0 ** int(rng.integers(-300, 300))
                assert math.isfinite(value)
                if end < 0.15:
                    study.set(id, state=State.FAILED, error={"type": "ValueError", "message": "no"})
                elif end < 0.3 or step >= 20:
                    study.tell(id, value)
                elif end < 0.4:
                    study.set(id, state=State.STOPPED)
                else:
                    judged, trials = study.ahead(id, step, value)
                    verdict = made.judge(judged, trials)
                    assert verdict is make().judge(judged, trials), "a rebuilt one judged differently"
                    study.report(id, step, value)
                    if verdict is Verdict.GO:
                        continue
                    study.set(id, state=State.PAUSED if verdict is Verdict.PAUSE else State.STOPPED)
                break


def leaves_trials_alone(make: Make) -> None:
    """Nothing it is shown is changed, and what `keep` returns may be changed by who asked."""
    # a history that it has not seen, so that nothing in it is changed already
    study, made = play(Random(), Full(), SPACES["mixed"], steps=9, starts=8, workers=2), make()
    for d in study.decisions[-20:]:
        if d.asked in ("propose", "finish"):  # not every scheduler has that one
            continue
        before = [dataclasses.asdict(t) for t in d.trials]
        said = d.redo(made)
        assert [dataclasses.asdict(t) for t in d.trials] == before, f"{d.asked} changed the trials"
        if d.asked == "keep":
            kept = set(said)
            said.clear()
            assert d.redo(made) == kept, "the set that keep returned is shared with its cache"


#: Every clause for schedulers.
SCHEDULER: tuple[Callable[[Make], None], ...] = (
    records_its_options,
    is_frozen,
    starts_with_nothing,
    says_what_the_protocol_says,
    keeps_what_it_resumes,
    never_waits_alone,
    trains_something_to_the_end,
    takes_in_interrupted_trials,
    decides_the_same_when_rebuilt,
    serves_any_study_at_any_moment,
    serves_both_directions,
    serves_several_goals_or_says_so,
    copes_with_gaps_and_bad_ends,
    leaves_trials_alone,
)
