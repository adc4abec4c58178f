"""Every clause has a broken strategy that it must flag."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest

from whet import seed as streams
from whet.testing import SCHEDULER, SEARCHER
from whet.tune.strategy import Proposal, Resume, Start
from whet.tune.trial import Idle, State, Verdict


def sample(trials, rng):
    return Proposal(trials.space.sample(rng), {"search": "sick"})


@dataclass
class Thawed:
    def propose(self, trials, rng):
        return sample(trials, rng)


@dataclass(frozen=True)
class LosesAnOption:
    ends: tuple = (1, 2)  # comes back as a list

    def propose(self, trials, rng):
        return sample(trials, rng)


@dataclass(frozen=True)
class HalfAProposal:
    def propose(self, trials, rng):
        params = dict(trials.space.sample(rng))
        if len(trials) > 2 and len(params) > 1:
            params.popitem()
        return Proposal(params, {"search": "sick"})


@dataclass(frozen=True)
class NoOrigin:
    def propose(self, trials, rng):
        return Proposal(trials.space.sample(rng))


@dataclass(frozen=True)
class NeedsASuccess:
    def propose(self, trials, rng):
        if len(trials):
            min(t.value for t in trials if t.value is not None)
        return sample(trials, rng)


@dataclass(frozen=True)
class CountsCalls:
    @cached_property
    def _calls(self):
        return []

    def propose(self, trials, rng):
        self._calls.append(1)
        return Proposal(trials.space.sample(rng), {"search": "sick", "calls": len(self._calls)})


@dataclass(frozen=True)
class CachesByNumber:
    @cached_property
    def _params(self):
        return {}

    def propose(self, trials, rng):
        params = self._params.setdefault(len(trials), trials.space.sample(rng))
        return Proposal(params, {"search": "sick"})


@dataclass(frozen=True)
class GlobalPython:
    def propose(self, trials, rng):
        random.random()
        return sample(trials, rng)


@dataclass(frozen=True)
class GlobalNumpy:
    def propose(self, trials, rng):
        np.random.random()
        return sample(trials, rng)


@dataclass(frozen=True)
class WrongSize:
    def propose(self, trials, rng):
        return sample(trials, rng)

    def size(self, space):
        return 10

    def left(self, trials):
        return 10


@dataclass(frozen=True)
class Repeats:
    def propose(self, trials, rng):
        return sample(trials, streams.rng(0))


@dataclass(frozen=True)
class Scribbles:
    def propose(self, trials, rng):
        for t in trials:
            if t.params:
                t.params["x"] = 0
        return sample(trials, rng)


@dataclass(frozen=True)
class TakesWhatLiesElsewhere:
    def propose(self, trials, rng):
        if trials.like:
            return Proposal(dict(trials.like[1][0].params), {"search": "sick"})
        return sample(trials, rng)


@dataclass(frozen=True)
class RemembersTheFirstStudies:
    @cached_property
    def _like(self):
        return []

    def propose(self, trials, rng):
        self._like.append(len(trials.like))
        return Proposal(trials.space.sample(rng), {"search": "sick", "like": self._like[0]})


@dataclass(frozen=True)
class Rambles:
    def propose(self, trials, rng):
        return sample(trials, rng)

    def refuses(self, space, steps, schedule):
        return "no." if schedule == "full" else "first of all:\nno."


@dataclass(frozen=True)
class Hasty:
    def propose(self, trials, rng):
        return sample(trials, rng)

    def misses(self, trials):
        return "" if any(t.value is not None for t in trials) else "nothing was reported."


@pytest.mark.parametrize(
    ("clause", "sick"),
    [
        ("records_its_options", LosesAnOption),
        ("is_frozen", Thawed),
        ("proposes_what_the_space_allows", HalfAProposal),
        ("proposes_what_the_space_allows", NoOrigin),
        ("begins_with_nothing", NeedsASuccess),
        ("decides_the_same_when_rebuilt", CountsCalls),
        ("serves_any_study_at_any_moment", CachesByNumber),
        ("draws_only_from_the_stream_it_is_given", GlobalPython),
        ("draws_only_from_the_stream_it_is_given", GlobalNumpy),
        ("never_repeats_in_a_finite_space", Repeats),
        ("says_how_much_is_left", WrongSize),
        ("learns_from_earlier_studies", TakesWhatLiesElsewhere),
        ("learns_from_earlier_studies", RemembersTheFirstStudies),
        ("says_why_in_one_line", Rambles),
        ("says_why_in_one_line", Hasty),
        ("leaves_trials_alone", Scribbles),
    ],
)
def test_sick_searchers(clause, sick):
    with pytest.raises((AssertionError, ValueError)):  # a SpaceError is a ValueError
        {c.__name__: c for c in SEARCHER}[clause](sick)


@dataclass(frozen=True)
class Plain:
    """Right: starts, resumes what is paused, lets everything run."""

    def pick(self, trials, rng):
        paused = [t.id for t in trials if t.state is State.PAUSED]
        return Resume(paused[0]) if paused else Start()

    def judge(self, trial, trials):
        return Verdict.GO

    def keep(self, trials):
        return {(t.id, t.step) for t in trials if t.state in (State.PAUSED, State.RUNNING) and t.curve}


def test_the_sound_ones_pass():
    for clause in SCHEDULER:
        clause(Plain)


def sick(**methods):
    """Return `Plain` with other methods."""
    return dataclass(frozen=True)(
        type("Sick", (), {**{n: getattr(Plain, n) for n in ("pick", "judge", "keep")}, **methods})
    )


def pause_at_three(self, trial, trials):
    return Verdict.PAUSE if trial.step == 3 else Verdict.GO


def paused_first(self, trials):
    paused = [t.id for t in trials if t.state is State.PAUSED]
    return Resume(paused[0]) if paused else Idle.DONE


def from_the_first(self, trials, rng):
    """Every trial goes on from the first point of trial 0, which `Plain.keep` names for a moment only."""
    return Start(parent=(0, 1)) if trials and trials[0].at(1) else Start()


@dataclass(frozen=True)
class StopsTheThird:
    """Counts calls, not trials."""

    calls: list = field(default_factory=list, repr=False, compare=False)
    pick, keep = Plain.pick, Plain.keep

    def judge(self, trial, trials):
        self.calls.append(1)
        return Verdict.STOP if len(self.calls) % 3 == 0 else Verdict.GO


@dataclass(frozen=True)
class AlsoLosesAnOption:
    ends: tuple = (1, 2)
    judge = Plain.judge


def scribble(self, trial, trials):
    object.__setattr__(trials[0], "note", "seen")
    return Verdict.GO


@pytest.mark.parametrize(
    ("clause", "made"),
    [
        ("records_its_options", AlsoLosesAnOption),
        ("is_frozen", dataclass(type("Loose", (), {n: getattr(Plain, n) for n in ("pick", "judge", "keep")}))),
        ("starts_with_nothing", sick(pick=lambda self, trials, rng: Idle.WAIT)),
        ("starts_with_nothing", sick(keep=lambda self, trials: {(0, 1)})),
        ("says_what_the_protocol_says", sick(judge=lambda self, trial, trials: True)),
        ("says_what_the_protocol_says", sick(keep=lambda self, trials: {(t.id, 8) for t in trials})),
        ("keeps_what_it_resumes", sick(judge=pause_at_three, keep=lambda self, trials: set())),
        ("keeps_what_it_resumes", sick(judge=pause_at_three, pick=lambda self, trials, rng: Start(), finish=paused_first, keep=lambda self, trials: set())),
        ("keeps_what_it_resumes", sick(pick=from_the_first)),
        ("says_what_the_protocol_says", sick(finish=lambda self, trials: Start())),
        ("never_waits_alone", sick(pick=lambda self, trials, rng: Start() if len(trials) < 3 else Idle.WAIT)),
        ("trains_something_to_the_end", sick(judge=lambda self, trial, trials: Verdict.STOP)),
        ("takes_in_interrupted_trials", sick(pick=lambda self, trials, rng: Start())),
        ("decides_the_same_when_rebuilt", StopsTheThird),
        ("serves_any_study_at_any_moment", StopsTheThird),
        ("serves_both_directions", sick(judge=lambda self, trial, trials: Verdict.STOP if trial.value > 1 else Verdict.GO)),
        ("copes_with_gaps_and_bad_ends", sick(judge=lambda self, trial, trials: [Verdict.GO][trial.curve[0].step - 1])),
        ("leaves_trials_alone", sick(judge=scribble)),
    ],
)  # fmt: skip
def test_sick_schedulers(clause, made):
    with pytest.raises((AssertionError, IndexError)):
        {c.__name__: c for c in SCHEDULER}[clause](made)
