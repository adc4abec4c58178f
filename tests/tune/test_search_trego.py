"""Global and local steps: contracts, the rule of the region's length, what a local step keeps to, where the search ends."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from whet import Float, Int, Ordered, Space, StudyError
from whet.testing import SEARCHER, SPACES
from whet.tune.domain import Choice as AnyChoice
from whet.tune.search.gp import GP
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.seen import Seen
from whet.tune.search.model.trust import LEAST, MOST, Region, Rule, Trust
from whet.tune.search.trego import TREGO
from whet.tune.study import Study
from whet.tune.trial import State, Trial, Trials

PLANE = Space(x=Float(0, 1), y=Float(0, 1))


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(TREGO)


OTHERS = [c for c in SEARCHER if any(word in c.__name__ for word in ("rebuilt", "repeats", "moment"))]


@pytest.mark.parametrize("clause", OTHERS, ids=lambda c: c.__name__)
def test_contract_with_options(clause):
    clause(lambda: TREGO(length=0.05, beta=0.5, globals=2, locals=4, start=3, seed=4))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"length": 0}, "trego: length must be a number from 0.001 to 2, got 0"),
        ({"length": True}, "trego: length must be"),
        ({"beta": 1}, "trego: beta must be a number from 0.1 to 0.99, got 1"),
        ({"beta": "half"}, "trego: beta must be"),
        ({"kappa": -1}, "trego: kappa must be a number from 0 to 1, got -1"),
        ({"kappa": math.nan}, "trego: kappa must be"),
        ({"globals": 0}, "trego: globals must be a whole number >= 1, got 0"),
        ({"locals": 1.5}, "trego: locals must be a whole number >= 1, got 1.5"),
        ({"acquisition": "log_ei"}, "trego: no acquisition 'log_ei'. Did you mean 'log-ei'"),
        ({"start": 0}, "trego: start must be"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError) as e:
        TREGO(**options)
    assert why in str(e.value)
    assert len(str(e.value).splitlines()) == 1


def by_the_paper(gains, *, sigma, beta, kappa, most_global, most_local):
    """Return (which step, length) before each step and after the last, by the loop of the authors' own program (DiceOptim, TREGO.nsteps), one
    trial after the other; gains: by how much each trial is below the best before.
    """
    step, n_global, n_local = "global", 0, 0
    found = []
    for gain in [*gains, None]:
        found.append((step, 2 * sigma))
        if gain is None:
            return found
        success = gain > kappa * sigma**2
        if step == "global":
            n_global += 1
            if success:
                n_global = n_local = 0
            elif n_global >= most_global:
                step, n_global, n_local = "local", 0, 0
        else:
            n_local += 1
            sigma = sigma / beta if success else sigma * beta
            if n_local >= most_local:
                step, n_global, n_local = "global", 0, 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("most_global", "most_local"), [(1, 4), (1, 1), (3, 2)])
def test_steps_and_lengths_are_those_of_the_paper(most_global, most_local, seed):
    rng = np.random.default_rng(seed)
    # some are no gain, some too small a one
    gains = rng.choice([-0.1, 0.0, 1e-7, 1e-5, 2e-5, 0.3], 60).tolist()
    wanted = by_the_paper(gains, sigma=0.2, beta=0.9, kappa=5e-4, most_global=most_global, most_local=most_local)
    rule = Rule(0.4, 0.9, 5e-4, (most_global, most_local))
    steps = []
    for (step, length), gain in zip(wanted, [*gains, 0.0], strict=True):
        now, long = rule.after(steps, 1.0)
        assert (now, round(long, 12)) == (step, round(length, 12))
        steps.append((now, gain))
    assert {s for s, _ in wanted} == {"global", "local"}


def test_a_gain_counts_in_units_of_the_spread():
    rule = Rule(0.4, 0.9, 1e-2, (1, 1))
    for spread in (1e-6, 1.0, 1e6):
        enough, little = 1.01e-2 * 0.04 * spread, 0.99e-2 * 0.04 * spread
        assert rule.after([("local", enough)], spread)[1] > 0.4
        assert rule.after([("local", little)], spread)[1] < 0.4


def test_a_region_that_became_too_short_begins_again_and_none_is_wider_than_everything():
    rule = Rule(0.4, 0.5, 0.0, (1, 1))
    lengths = [rule.after([("local", 0.0)] * n, 1.0)[1] for n in range(30)]
    assert min(lengths) >= LEAST
    assert lengths[8:10] == [0.4 * 0.5**8, 0.4]  # 0.4 / 2**9 is below the least
    assert rule.after([("local", 1.0)] * 30, 1.0)[1] == MOST


@pytest.mark.parametrize("seed", range(2))
def test_what_a_study_records_is_what_its_values_say(seed):
    """The rule again, from nothing but the values and the kinds of steps of a study that was played one by one."""
    study = played(PLANE, lambda p: abs(p["x"] - 0.3) + (p["y"] - 0.8) ** 2, TREGO(seed=seed), trials=50, seed=seed)
    values = [t.value for t in study.trials]
    first = next(t.id for t in study.trials if "trego" in t.origin)
    assert study.trials[first].origin["trego"] == {"step": "global", "length": pytest.approx(0.2**0.5, abs=1e-6)}
    rule = Trust(None, 0.9, 1e-4, (1, 1)).rule(Cube(PLANE))
    steps = []
    for t in list(study.trials)[first:]:
        said = t.origin["trego"]
        before = values[: t.id]
        which, length = rule.after(steps, float(np.median(before)) - min(before))
        assert (which, pytest.approx(length, rel=1e-5)) == (said["step"], said["length"])
        assert said["step"] == "global" or said["around"] == int(np.argmin(before))
        steps.append((which, min(before) - values[t.id]))


def played(space, value, search, *, trials, seed=0, workers=1):
    """A study of so many trials of a function, told in the order they were asked for; NaN fails."""
    study = Study(space, goal="min loss", search=search, schedule="full", seed=seed)
    running = []
    for i in range(trials + workers - 1):
        if i < trials:
            running.append(study.ask())
        if i >= workers - 1:
            trial = running.pop(0)
            found = value(trial.params)
            if math.isnan(found):
                study.fail(trial, "crashed")
            else:
                study.tell(trial, found)
    return study


def bowl(space):
    """Return a function with its least value in the middle of every number and at the first option of every choice."""
    cube = Cube(space)

    def value(params):
        row = cube.encode([params])[0]
        here = ~np.isnan(row)
        return float(((row[here] - 0.4) ** 2).sum())

    return value


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("name", [n for n in SPACES if n != "one point"])
def test_local_steps_stay_in_their_region(name, workers, seed):
    space, search = SPACES[name], TREGO(length=0.1, start=4, locals=3, seed=seed)
    trials = min(40, space.size or 40)
    study = played(space, bowl(space), search, trials=trials, seed=seed, workers=workers)
    cube = Cube(space)
    local = 0
    for t in study.trials:
        said = t.origin.get("trego", {})
        if said.get("step") != "local":
            continue
        local += 1
        around, row = cube.encode([study.trials[said["around"]].params, t.params])
        others = 0
        for j, (a, b) in enumerate(zip(around, row, strict=True)):
            if np.isnan(a) or np.isnan(b):
                continue
            if isinstance(cube.dims[j].domain, AnyChoice):
                others += a != b
            elif abs(a - b) > said["length"] / 2 + 1e-9:
                assert cube.levels[j] is not None  # the next value at either side is always there
                assert abs(cube.index(np.array([a]), j)[0] - cube.index(np.array([b]), j)[0]) == 1
        assert others <= 1
    assert local >= (3 if name != "finite" else 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", [n for n in SPACES if n != "one point"])
def test_a_held_point_is_in_the_region_and_one_that_is_there_is_left(name, seed):
    cube, rng = Cube(SPACES[name]), np.random.default_rng(seed)
    center = cube.rows(rng.random((1, cube.d)))[0]
    for length in (0.001, 0.1, 0.7, 2.0):
        region = Region.around(cube, center, length)
        held = region.hold(rng.random((200, cube.d)), rng)
        assert (held == region.hold(held, rng)).all()
        snapped, drawn = cube.snap(held), cube.snap(region.draw(200, rng))
        for points in (snapped, drawn):
            assert (points >= region.low - 1e-12).all()
            assert (points <= region.high + 1e-12).all()
        there = cube.snap(center[None])[0]
        inside = ~np.isnan(center)
        assert (region.low[inside] <= there[inside]).all()
        assert (there[inside] <= region.high[inside]).all()


def test_a_region_of_which_all_was_tried_makes_way_for_a_global_step():
    space = Space(k=Int(0, 9), o=Ordered((1, 2, 3)))
    study = played(space, lambda p: abs(p["k"] - 3) + abs(p["o"] - 1), TREGO(length=0.001, start=2), trials=30)
    assert len({tuple(sorted(t.params.items())) for t in study.trials}) == 30
    assert study.best.value == 0


def test_a_step_that_runs_or_failed_has_no_success():
    space = Space(x=Float(0, 1))
    origin = [
        {},
        {},
        {"trego": {"step": "global", "length": 0.2}},
        {"trego": {"step": "local", "length": 0.2, "around": 1}},
    ]
    rule = Trust(None, 0.9, 1e-4, (1, 4))

    def after(last):
        done = [Trial(i, {"x": x}, State.DONE, value=v) for i, (x, v) in enumerate([(0.2, 1.0), (0.5, 0.5)])]
        done.append(Trial(2, {"x": 0.9}, State.DONE, value=0.9, origin=origin[2]))
        trials = Trials([*done, last], space=space)
        seen = Seen()
        view = seen.look(trials)
        return Trust(None, 0.9, 1e-4, (1, 4)).now(trials, view, seen.cube)

    assert rule.rule(Cube(space)).length == 0.2
    better = after(Trial(3, {"x": 0.55}, State.DONE, value=0.1, origin=origin[3]))
    worse = after(Trial(3, {"x": 0.55}, State.DONE, value=0.6, origin=origin[3]))
    failed = after(Trial(3, {"x": 0.55}, State.FAILED, origin=origin[3]))
    running = after(Trial(3, {"x": 0.55}, State.RUNNING, origin=origin[3]))
    assert (better.around, worse.around, failed.around, running.around) == (3, 1, 1, 1)
    assert [round(s.length, 4) for s in (better, worse, failed, running)] == [0.2222, 0.18, 0.18, 0.2]


def test_an_odd_record_is_no_step():
    for odd in ({"step": "sideways"}, "local", None, {"step": 3}):
        done = [Trial(i, {"x": i / 5}, State.DONE, value=float(i), origin={"trego": odd}) for i in range(5)]
        trials = Trials([*done, Trial(5)], space=Space(x=Float(0, 1)))
        made = TREGO(start=4).propose(trials, np.random.default_rng(0))
        assert made.origin["trego"] == {"step": "global", "length": 0.2}


def test_the_region_is_around_the_best_that_keeps_the_bound():
    def value(p):
        return {"loss": p["x"], "ms": 10 * (1 - p["x"])}  # the less the loss, the longer it takes

    with Study(PLANE, goal=["min loss", "ms <= 5"], search=TREGO(start=4), schedule="full") as study:
        study.run(value, trials=30)
    for t in study.trials:
        said = t.origin.get("trego", {})
        if said.get("step") == "local":
            kept = [u for u in list(study.trials)[: t.id] if u.params["x"] >= 0.5]
            assert said["around"] == min(kept, key=lambda u: u.params["x"]).id
    assert 0.5 <= study.best.params["x"] < 0.51


SHARP = Space(**{f"x{i}": Float(0, 1) for i in range(6)})


def valley(p):
    """A smooth valley aslant (`cigar` of the benchmarks)."""
    y = np.array(list(p.values())) - (0.37, 0.61, 0.33, 0.71, 0.45, 0.55)
    along = y.sum() / math.sqrt(len(y))
    return float(along**2 + 1000 * ((y**2).sum() - along**2))


def test_it_ends_nearer_than_gp_in_a_smooth_valley():
    """Median over seeds, of the logarithm; measured: see benchmarks/README.md."""
    ends = {
        made: statistics.median(
            math.log10(played(SHARP, valley, made(seed=seed), trials=50, seed=seed).best.value) for seed in range(6)
        )
        for made in (TREGO, GP)
    }
    assert ends[TREGO] < ends[GP] - 0.1, ends


@pytest.mark.parametrize("seed", range(4))
def test_global_steps_leave_a_local_minimum(seed):
    """The first trials know the wide minimum alone, at 0.8, 0.8; the narrow one at 0.2, 0.25 is lower."""

    def value(p):
        wide = 1.0 - math.exp(-((p["x"] - 0.8) ** 2 + (p["y"] - 0.8) ** 2) / 0.1)
        narrow = 1.6 * math.exp(-((p["x"] - 0.2) ** 2 + (p["y"] - 0.25) ** 2) / 0.05)
        return wide - narrow

    study = Study(PLANE, goal="min loss", search=TREGO(start=5, seed=seed), schedule="full", seed=seed)
    for x, y in ((0.8, 0.7), (0.7, 0.8), (0.85, 0.85), (0.6, 0.9), (0.95, 0.6)):
        study.enqueue({"x": x, "y": y})
    for _ in range(90):
        trial = study.ask()
        study.tell(trial, value(trial.params))
    assert study.best.value < -0.5  # 0 is the least in the wide one
    found = next(t for t in study.trials if t.value < -0.1)
    assert found.origin["trego"]["step"] == "global"
