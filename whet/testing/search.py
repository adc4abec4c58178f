"""What every searcher must do. A clause is given `make`, which returns a new searcher with the same options each time."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable

import numpy as np

from whet import seed as streams
from whet.testing.play import Play, bowl, play
from whet.testing.spaces import SPACES
from whet.tune import search
from whet.tune.schedule.full import Full
from whet.tune.search.random import Random
from whet.tune.space import Float, Params, Space
from whet.tune.strategy import Proposal, Searcher
from whet.tune.trial import State

__all__ = ["SEARCHER"]

Make = Callable[[], Searcher]

_GOALS = ("min loss", "max score")


def _most(made: Searcher, space: Space, starts: int) -> int:
    sizes = [s for s in (space.size, getattr(made, "size", lambda _: None)(space)) if s is not None]
    return min([starts, *sizes])


def _plays(make: Make, *, starts: int = 24, names: tuple[str, ...] = tuple(SPACES)) -> list[Play]:
    """Return a few studies of the searcher: every space, both directions, one worker and four, with failures."""
    found = []
    for i, name in enumerate(names):
        made, space = make(), SPACES[name]
        workers = (1, 4)[i % 2]
        found.append(
            play(
                made,
                Full(),
                space,
                starts=_most(made, space, starts),
                goal=_GOALS[i // 2 % 2],
                workers=workers,
                crash=0.2,
                seed=i,
            )
        )
    return found


def records_its_options(make: Make) -> None:
    """Its fields are its options: `describe` makes JSON of them, and `rebuild` an equal searcher of that."""
    made = make()
    record = json.loads(json.dumps(search.describe(made)))
    assert search.rebuild(record) == made, f"{made!r} was rebuilt as {search.rebuild(record)!r}"


def is_frozen(make: Make) -> None:
    """It is a frozen value: no option can be set afterwards, and being used does not change it."""
    made = make()
    assert made.__dataclass_params__.frozen, f"{type(made).__name__} must be @dataclass(frozen=True)"  # type: ignore[attr-defined]
    before = search.describe(made)
    play(made, Full(), SPACES["mixed"], starts=5)
    assert search.describe(made) == before, "being used changed its options"
    assert made == make(), "being used made it unequal to a new one"


def proposes_what_the_space_allows(make: Make) -> None:
    """Every proposal is a whole configuration of the space; its origin is JSON and names the searcher ("search")."""
    for study in _plays(make):
        for decision in study.decisions:
            if decision.asked == "propose":
                said = decision.said
                assert isinstance(said, Proposal), f"propose returned {said!r}"
                study.space.check(said.params)
                json.dumps(dict(said.origin), allow_nan=False)
                assert isinstance(said.origin.get("search"), str), f'origin has no "search": {said.origin}'


def begins_with_nothing(make: Make) -> None:
    """It proposes when there are no trials at all, and when all there are have failed."""
    for name, space in SPACES.items():
        study = Play(space)
        space.check(make().propose(study.trials, streams.rng(0)).params)
        if _most(make(), space, 3) < 3:
            continue
        for id in range(2):
            study.ask()
            params = make().propose(study.trials, streams.rng(id)).params
            study.set(id, params=params, state=State.FAILED, error={"type": "MemoryError", "message": name})
        space.check(make().propose(study.trials, streams.rng(9)).params)


def decides_the_same_when_rebuilt(make: Make) -> None:
    """A new searcher that is shown the same trials and random stream proposes the same as one that saw them grow."""
    for study in _plays(make):
        for d in study.decisions:
            if d.asked == "propose":
                again = d.redo(make())
                assert again == d.said, f"with {len(d.trials)} trials: said {d.said}, rebuilt {again}"


def serves_any_study_at_any_moment(make: Make) -> None:
    """One object may be shown several studies in turns, and earlier moments again."""
    decisions = [d for study in _plays(make, starts=12) for d in study.decisions if d.asked == "propose"]
    order = streams.rng(1, "order").permutation(len(decisions))
    made = make()
    for i in [*order, *order[:10]]:
        assert decisions[i].redo(made) == decisions[i].said, "another study, or an earlier moment, confused it"


def draws_only_from_the_stream_it_is_given(make: Make) -> None:
    """It neither uses nor disturbs the global generators of Python and NumPy."""
    made, space = make(), SPACES["mixed"]
    study = play(made, Full(), space, starts=6)
    python, numpy = random.getstate(), str(np.random.get_state())
    said = [made.propose(study.trials, streams.rng(5)) for _ in range(2)]
    assert said[0] == said[1], "the same trials and the same stream gave two proposals"
    assert random.getstate() == python, "it used Python's global generator"
    assert str(np.random.get_state()) == numpy, "it used NumPy's global generator"


def never_repeats_in_a_finite_space(make: Make) -> None:
    """With one worker it proposes every configuration of a finite space at most once, a person's included."""
    space = SPACES["finite"]
    for seed, guess in enumerate(({"a": 1, "b": "y"}, {"a": 3, "b": "x", "b.c": 8})):
        made, study = make(), Play(space)
        study.ask({"search": "enqueue"}, {})  # asked for by a person, not started yet
        seen = [guess]
        study.set(study.ask({"search": "enqueue"}), params=guess, state=State.RUNNING)
        for _ in range(_most(made, space, 18) - 1):
            id = study.ask()
            said = made.propose(study.trials, streams.rng(seed, id))
            assert said.params not in seen, f"proposed {said.params} again, trial {id}"
            seen.append(dict(said.params))
            study.set(id, params=said.params, origin=said.origin, state=State.RUNNING)
            study.tell(id, 0.5)


def says_how_much_is_left(make: Make) -> None:
    """Its optional `size` and `left` are None or whole numbers; `left` is `size` at first, and falls by one a trial."""
    made = make()
    for name, space in SPACES.items():
        size = getattr(made, "size", lambda _: None)(space)
        assert size is None or (isinstance(size, int) and size >= 1), f"{name}: size is {size!r}"
        if size is None or not hasattr(made, "left"):
            continue
        study = Play(space)
        for n in range(min(size, 4)):
            assert made.left(study.trials) == size - n, f"{name}: after {n} trials left is {made.left(study.trials)}"
            id = study.ask()
            assert made.left(study.trials) == size - n - 1, f"{name}: a trial that was asked for is not counted"
            params = made.propose(study.trials, streams.rng(n)).params
            study.set(id, params=params, state=State.RUNNING)


def learns_from_earlier_studies(make: Make) -> None:
    """With earlier studies to learn from, of this space and of others, it proposes what is allowed, and the same when rebuilt."""
    for i, name in enumerate(SPACES):
        space = SPACES[name]
        same = play(
            Random(), Full(), space, starts=_most(Random(), space, 9), goal=_GOALS[i // 2 % 2], crash=0.2, seed=i
        )
        other = play(Random(), Full(), _reshaped(space), starts=9, steps=3, crash=0.1, seed=i)
        study = Play(space, goal=_GOALS[i % 2], like=(same.trials, other.trials, Play(space).trials))
        made = make()
        play(made, Full(), study, starts=_most(made, space, 20), workers=(1, 3)[i % 2], seed=i)
        alone = Play(space)
        alone.ask()
        before = make().propose(alone.trials, streams.rng(1))
        for d in study.decisions:
            if d.asked == "propose":
                again = d.redo(make())
                assert again == d.said, f"{name}, with {len(d.trials)} trials: said {d.said}, rebuilt {again}"
        assert made.propose(alone.trials, streams.rng(1)) == before, (
            f"{name}: it remembers the studies of another study"
        )


def serves_goals_with_bounds(make: Make) -> None:
    """With bounds among the goals, kept by some trials and not measured by others, it proposes what is allowed, and the same when rebuilt."""
    for i, name in enumerate(SPACES):
        made, space = make(), SPACES[name]
        goal = [_GOALS[i // 2 % 2], "memory <= 8", "slack > 0", "unknown < 1"][: 3 + i % 2]
        study = play(
            made, Full(), space, starts=_most(made, space, 24), goal=goal, workers=(1, 4)[i % 2], crash=0.1, seed=i, objective=_measured
        )  # fmt: skip
        for d in study.decisions[-10:]:
            if d.asked == "propose":
                json.dumps(dict(d.said.origin), allow_nan=False)
                again = d.redo(make())
                assert again == d.said, f"{name}, with {len(d.trials)} trials: said {d.said}, rebuilt {again}"


def serves_several_goals(make: Make) -> None:
    """With several goals, one of them not reported by all trials, it proposes what is allowed, and the same when rebuilt."""
    for i, name in enumerate(SPACES):
        made, space = make(), SPACES[name]
        goal = [_GOALS[i // 2 % 2], "max slack", "min memory", "memory <= 16"][: 2 + i % 3]
        study = play(
            made, Full(), space, starts=_most(made, space, 14), goal=goal, workers=(1, 4)[i % 2], crash=0.1, seed=i, objective=_measured
        )  # fmt: skip
        for d in study.decisions[-6:]:
            if d.asked == "propose":
                json.dumps(dict(d.said.origin), allow_nan=False)
                again = d.redo(make())
                assert again == d.said, f"{name}, with {len(d.trials)} trials: said {d.said}, rebuilt {again}"


def _measured(space: Space, params: Params, step: int) -> dict[str, float]:
    """Return a value and metrics of a configuration: whole sizes around 8, with ties; any sign; not for all."""
    u = space.encode(params)
    mean = float(u[u == u].mean()) if (u == u).any() else 0.0
    value = bowl(space, params, step)
    metrics = {"loss": value, "score": value, "memory": 2.0 ** round(1 + 4 * mean)}
    return {**metrics, "slack": mean - 0.3} if mean < 0.6 else metrics


def _reshaped(space: Space) -> Space:
    """Return a space with part of the hyperparameters of `space`, and one more."""
    names = list(space)
    return Space(**{n: space[n] for n in names[: max(1, len(names) // 2)]}, extra=Float(0.0, 1.0))


def says_why_in_one_line(make: Make) -> None:
    """Its optional `refuses` and `misses` return text of one line, "" when all is well; a study that has not begun misses nothing."""
    made = make()
    for name, space in SPACES.items():
        for schedule in ("full", "median", "asha", "somewhere:Else"):
            why = getattr(made, "refuses", lambda *_: "")(space, 9, schedule)
            assert isinstance(why, str), f"{name}, {schedule}: refuses returned {why!r}"
            assert len(why.splitlines()) <= 1, f"{name}, {schedule}: {why!r} is not one line"
        study = Play(space)
        study.ask()
        assert getattr(made, "misses", lambda _: "")(study.trials) == "", f"{name}: it misses something before a trial"


def leaves_trials_alone(make: Make) -> None:
    """Nothing it is shown is changed, and later changes to a proposal do not reach it."""
    made, study = make(), Play(SPACES["branches"])
    for n in range(4):
        id = study.ask()
        trials = study.trials
        before = [dataclasses.asdict(t) for t in trials]
        said = made.propose(trials, streams.rng(n))
        assert [dataclasses.asdict(t) for t in trials] == before, "it changed the trials"
        again = dict(said.params)
        if isinstance(said.params, dict):
            said.params.clear()
        assert made.propose(trials, streams.rng(n)).params == again, "its proposal is shared with its cache"
        study.set(id, params=again, state=State.RUNNING)


#: Every clause for searchers.
SEARCHER: tuple[Callable[[Make], None], ...] = (
    records_its_options,
    is_frozen,
    proposes_what_the_space_allows,
    begins_with_nothing,
    decides_the_same_when_rebuilt,
    serves_any_study_at_any_moment,
    draws_only_from_the_stream_it_is_given,
    never_repeats_in_a_finite_space,
    says_how_much_is_left,
    learns_from_earlier_studies,
    serves_goals_with_bounds,
    serves_several_goals,
    says_why_in_one_line,
    leaves_trials_alone,
)
