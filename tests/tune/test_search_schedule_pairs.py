"""Every searcher with every scheduler, in real studies; what a cache says is held to what a new strategy says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pytest

from whet.testing.play import bowl
from whet.testing.spaces import SPACES
from whet.tune.schedule import scheduler
from whet.tune.search import searcher
from whet.tune.study import Study
from whet.tune.trial import Idle, State, Verdict

STEPS = 9


@dataclass(frozen=True)
class TwiceSearch:
    """Asks a searcher that remembers and one that does not, and holds them to the same answer."""

    name: str

    @cached_property
    def _kept(self):
        return searcher(self.name, SPACES["mixed"])

    def propose(self, trials, rng):
        state = rng.bit_generator.state
        said = self._kept.propose(trials, rng)
        rng.bit_generator.state = state
        assert searcher(self.name, SPACES["mixed"]).propose(trials, rng) == said
        return said


@dataclass(frozen=True)
class TwiceSchedule:
    name: str

    @cached_property
    def _kept(self):
        return scheduler(self.name, SPACES["mixed"], STEPS)

    def _both(self, method, *shown):
        said = getattr(self._kept, method)(*shown)
        assert getattr(scheduler(self.name, SPACES["mixed"], STEPS), method)(*shown) == said
        return said

    def pick(self, trials, rng):
        return self._both("pick", trials, rng)

    def judge(self, trial, trials):
        return self._both("judge", trial, trials)

    def keep(self, trials):
        return self._both("keep", trials)


@pytest.mark.parametrize("schedule", ["full", "median", "asha", "hyperband", "freeze-thaw", "race"])
@pytest.mark.parametrize(
    "search",
    [
        "random",
        "sobol",
        "grid",
        "gp",
        "forest",
        "cma",
        "zoom",
        "trego",
        "evolution",
        "policy",
        "hypergradient",
        "portfolio",
        "tpe",
        "auto",
    ],
)
def test_a_study(search, schedule):
    space = SPACES["mixed"]
    study = Study(
        space,
        search=TwiceSearch(search),
        schedule=TwiceSchedule(schedule),
        steps=STEPS,
        seed=len(search) + len(schedule),
    )
    study.enqueue({"lr": 0.01})
    open, trained = [], set()
    while True:
        while len(open) < 3 and len(study.trials) < 20:
            trial = study.ask()
            if isinstance(trial, Idle):
                break
            open.append(trial)
        if not open:
            break
        trial = open.pop(0)
        if trial.id % 8 == 5:
            study.fail(trial, "out of memory")
            continue
        for step in range(study.trials[trial.id].step + 1, STEPS + 1):
            assert (trial.id, step) not in trained, "an epoch was trained twice"
            trained.add((trial.id, step))
            if study.report(trial, step, bowl(space, trial.params, step)) is not Verdict.GO:
                break
        else:
            study.tell(trial, bowl(space, trial.params, STEPS))
    trials = study.trials
    assert len(trials) == 20
    assert len({str(t.params) for t in trials}) == 20
    assert any(t.state is State.DONE and t.step == STEPS for t in trials)
    assert sum(t.state is State.FAILED for t in trials) >= 2
