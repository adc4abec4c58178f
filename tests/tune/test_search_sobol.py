from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from whet import seed as streams
from whet.testing import SPACES, Play
from whet.tune.search import sobol
from whet.tune.search.random import Random
from whet.tune.search.sobol import Sobol
from whet.tune.space import Choice, Float, Space
from whet.tune.trial import State

CUBE = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), d=Float(0, 1))


def propose(made, study, state=State.RUNNING, origin=None):
    id = study.ask()
    said = made.propose(study.trials, streams.rng(99, id))
    study.set(id, params=said.params, origin=said.origin, state=state)
    return said


@pytest.mark.parametrize("seed", range(3))
def test_its_points_are_scipys(seed):
    made, study = Sobol(seed=seed), Play(CUBE)
    got = [list(propose(made, study).params.values()) for _ in range(100)]
    assert np.array_equal(got, qmc.Sobol(4, rng=streams.rng(seed, "sobol")).random(128)[:100])


def test_it_fills_the_space_more_evenly_than_random():
    for seed in range(4):
        points = {}
        for made in (Sobol(seed=seed), Random()):
            study = Play(CUBE)
            for _ in range(50):
                id = study.ask()
                study.set(id, params=made.propose(study.trials, streams.rng(seed, id)).params, state=State.RUNNING)
            points[type(made)] = qmc.discrepancy(np.array([list(t.params.values()) for t in study.trials]))
        assert points[Sobol] < 0.5 * points[Random]


def test_every_branch_is_covered_evenly():
    space = Space(o=Choice({"sgd": Space(m=Float(0, 1)), "adam": None, "rms": Space(m=Float(0, 1))}), lr=Float(0, 1))
    made, study = Sobol(seed=1), Play(space)
    for _ in range(128):
        propose(made, study)
    taken = {o: [t.params.get("o.m") for t in study.trials if t.params["o"] == o] for o in ("sgd", "adam", "rms")}
    assert sorted(len(v) for v in taken.values()) == [42, 43, 43]
    for o in ("sgd", "rms"):
        assert np.histogram(taken[o], bins=4, range=(0, 1))[0].min() >= 6


def test_another_seed_gives_other_points():
    firsts = {propose(Sobol(seed=s), Play(CUBE)).params["a"] for s in range(20)}
    assert len(firsts) == 20


def test_trials_of_a_person_do_not_move_the_sequence():
    plain, mixed, made = Play(CUBE), Play(CUBE), Sobol(seed=2)
    for n in range(20):
        if n % 4 == 0:
            mixed.ask({"search": "enqueue"}, {"a": 0.5})  # waiting, and only partly given
        if n % 4 == 1:
            guess = mixed.ask({"search": "enqueue"})
            mixed.set(guess, params=dict.fromkeys("abcd", 0.01 * n), state=State.RUNNING)
        assert propose(made, mixed).params == propose(Sobol(seed=2), plain).params


def test_workers_that_ask_together_share_the_points_among_them():
    alone, shared = Play(CUBE), Play(CUBE)
    made = Sobol(seed=3)
    want = [propose(made, alone).params for _ in range(12)]
    for _ in range(4):
        ids = [shared.ask() for _ in range(3)]
        for id in ids:  # the later ones see what the earlier ones took
            shared.set(id, params=Sobol(seed=3).propose(shared.trials, streams.rng(0)).params, state=State.RUNNING)
    got = [t.params for t in shared.trials]
    assert len({str(p) for p in got}) == 12
    assert sorted(map(str, got)) == sorted(map(str, want))


def test_a_worker_leaves_a_point_to_one_that_asked_before_it():
    study, made = Play(CUBE), Sobol(seed=3)
    moments = []
    for _ in range(3):  # three ask, before any of them has proposed
        study.ask()
        moments.append(study.trials)
    got = [made.propose(m, streams.rng(0)).origin["index"] for m in (moments[1], moments[2], moments[0])]
    assert got == [1, 2, 0]


@pytest.mark.parametrize("name", ["finite", "constrained", "one point"])
def test_rebuilt_equals_cached_where_points_are_skipped(name):
    space = SPACES[name]
    made, study = Sobol(seed=4), Play(space)
    for _ in range(min(space.size or 60, 60)):
        fresh = Sobol(seed=4).propose(study.trials, streams.rng(99, len(study.trials)))
        assert propose(made, study) == fresh


def test_a_finite_space_is_used_up_exactly():
    for seed in range(3):
        made, study = Sobol(seed=seed), Play(SPACES["finite"])
        for n in range(18):
            assert made.left(study.trials) == 18 - n
            propose(made, study)
        assert len({str(t.params) for t in study.trials}) == 18
        assert made.left(study.trials) == 0


def test_a_constraint_that_leaves_little_is_met_by_draws():
    space = Space(x=Float(0, 1), y=Float(0, 1)).where("x < 0.005")
    origins = []
    for seed in range(6):
        said = propose(Sobol(seed=seed), Play(space))
        space.check(said.params)
        origins.append(set(said.origin))
    assert {"search", "fallback"} in origins  # 128 points without one
    assert {"search", "index"} in origins


def test_more_dimensions_than_there_are_direction_numbers(monkeypatch):
    monkeypatch.setattr(sobol, "DIMENSIONS", 3)
    said = propose(Sobol(), Play(CUBE))
    assert said.origin == {"search": "sobol", "fallback": "random"}
    CUBE.check(said.params)
