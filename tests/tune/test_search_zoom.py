"""Zooming: contracts, what is narrowed and widened, what is recorded, new descents."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from whet import Choice, Float, Idle, Int, Ordered, Space, StudyError
from whet import seed as streams
from whet.report.passes import passes_plot
from whet.testing import SEARCHER, SPACES
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.passes import passes
from whet.tune.search.model.ranges import Ranges, narrowed, scaled
from whet.tune.search.zoom import Zoom
from whet.tune.study import Study
from whet.tune.trial import Point, State, Trial, Trials


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(Zoom)


OTHERS = [c for c in SEARCHER if any(word in c.__name__ for word in ("rebuilt", "repeats", "moment"))]


@pytest.mark.parametrize("clause", OTHERS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("scale", ["history", "uniform", "log"])
def test_contract_with_options(clause, scale):
    clause(lambda: Zoom(trials=3, keep=0.3, share=0.5, scale=scale, seed=4))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"trials": 1}, "zoom: trials must be a whole number >= 2, got 1"),
        ({"trials": None}, "trials must be"),
        ({"keep": 1}, "zoom: keep must be a number from 0.1 to 0.9, got 1"),
        ({"keep": True}, "keep must be"),
        ({"share": 0}, "zoom: share must be a number from 0.01 to 1, got 0"),
        ({"scale": "uniforn"}, "zoom: no scale 'uniforn'. Did you mean 'uniform'? Allowed: history, uniform, log"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError) as e:
        Zoom(**options)
    assert why in str(e.value)


def played(space, value, search, *, trials, seed=0, workers=1):
    """A study of so many trials of a function, told in the order they were asked for; NaN fails."""
    study = Study(space, goal="min loss", search=search, schedule="full", seed=seed)
    running = []
    for i in range(trials + workers - 1):
        if i < trials:
            found = study.ask()
            assert not isinstance(found, Idle)
            running.append(found)
        if i >= workers - 1:
            trial = running.pop(0)
            told = value(trial.params)
            if told != told:
                study.fail(trial, "failed")
            else:
                study.tell(trial, told)
    return study


# -- how a range is narrowed


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("size", [None, 2, 3, 7, 40])
def test_a_range_is_narrowed_around_the_best_and_no_edge_is_cut_off_where_the_best_lies(seed, spread, size):
    """Over many passes of made-up trials: what a new range is, beside the one before and where the best lies in that."""
    rng = np.random.default_rng(seed)
    cube = Cube(Space(x=Float(0, 1) if size is None else Int(1, size)))
    cell = 0.0 if size is None else 1 / size
    for _ in range(40):
        ranges = Ranges.whole(cube)
        for _ in range(8):
            low, high = float(ranges.low[0]), float(ranges.high[0])
            keep = rng.uniform(0.1, 0.9)
            rows = cube.rows(ranges.points(cube, rng.random((6, 1))))
            new = narrowed(cube, ranges, rows, int(rng.integers(1, 5)), keep=keep, spread=spread)
            first, last, best, width = float(new.low[0]), float(new.high[0]), rows[0, 0], high - low
            assert 0.0 <= first < last <= 1.0
            assert first <= best <= last
            assert last - first >= min(keep * width, 1.0) - 1e-9
            near_low, near_high = best - low < 0.0999 * width, high - best < 0.0999 * width
            if size is not None:
                near_low, near_high = near_low or best - low < cell, near_high or high - best < cell
                assert round((last - first) * size) >= min(3, size)
            if near_low and low == 0.0:
                assert first == 0.0  # the end of the domain stays
            elif near_low:
                assert first < low  # beyond what was cut off
                assert last - first >= width - 1e-9  # and not narrowed
            if near_high and high == 1.0:
                assert last == 1.0
            elif near_high:
                assert last > high
                assert last - first >= width - 1e-9
            if not (near_low or near_high) and size is None:
                assert low - 1e-12 <= first
                assert last <= high + 1e-12
            ranges = new


def test_a_range_spans_what_did_well_and_a_gap_more():
    cube = Cube(Space(x=Float(0, 10)))
    rows = np.array([[0.4], [0.5], [0.6], [0.95], [0.05]])
    new = narrowed(cube, Ranges.whole(cube), rows, 3, keep=0.1, spread=True)
    assert new.said(cube) == {"x": [3.0, 7.0]}
    new = narrowed(cube, Ranges.whole(cube), rows, 3, keep=0.6, spread=True)
    assert new.said(cube) == {"x": [2.0, 8.0]}
    new = narrowed(cube, Ranges.whole(cube), rows, 3, keep=0.5, spread=False)
    assert new.said(cube) == {"x": [1.5, 6.5]}


def test_an_option_is_given_up_only_when_it_was_tried_and_none_of_the_best_has_it():
    cube = Cube(Space(c=Choice(["a", "b", "c", "d"])))
    at = {"a": 0.125, "b": 0.375, "c": 0.625, "d": 0.875}
    rows = np.array([[at[o]] for o in "abbbbbccccc" + "bd"])
    assert narrowed(cube, Ranges.whole(cube), rows, 2, keep=0.5, spread=True).said(cube) == {"c": ["a", "b", "d"]}
    assert narrowed(cube, Ranges.whole(cube), rows, 1, keep=0.5, spread=True).said(cube) == {"c": ["a", "d"]}
    # of two that could go, the one whose best trial is the worst, where a range would lose less than half
    assert narrowed(cube, Ranges.whole(cube), rows, 1, keep=0.7, spread=True).said(cube) == {"c": ["a", "b", "d"]}


def test_columns_of_a_branch_that_no_good_trial_took_stay_as_they_are():
    cube = Cube(Space(o=Choice({"sgd": Space(m=Float(0, 1)), "adam": None})))
    rows = np.array([[0.75, np.nan], [0.75, np.nan], [0.25, 0.5]])
    assert narrowed(cube, Ranges.whole(cube), rows, 2, keep=0.5, spread=True).said(cube)["o.m"] == [0.0, 1.0]


@pytest.mark.parametrize("name", [n for n in SPACES if SPACES[n].dims])
@pytest.mark.parametrize("scale", ["history", "uniform", "log"])
def test_what_is_recorded_is_read_again_as_it_was(name, scale):
    cube = Cube(scaled(SPACES[name], scale))
    rng = np.random.default_rng(0)
    ranges = Ranges.whole(cube)
    assert Ranges.read(cube, ranges.said(cube)) is not None
    for _ in range(12):
        rows = cube.rows(ranges.points(cube, rng.random((6, cube.d))))
        ranges = narrowed(cube, ranges, rows, 3, keep=0.5, spread=scale == "history")
        said = json.loads(json.dumps(ranges.said(cube)))
        again = Ranges.read(cube, said)
        np.testing.assert_allclose(again.low, ranges.low, atol=1e-4)
        np.testing.assert_allclose(again.high, ranges.high, atol=1e-4)
        assert again.options == ranges.options
        assert again.said(cube) == said


@pytest.mark.parametrize("said", [None, 3, {}, {"x": [0.1]}, {"x": [0.5, 0.5]}, {"x": [0.1, 9.0]}, {"y": [0.0, 1.0]}])
def test_a_record_that_is_none_is_left_aside(said):
    assert Ranges.read(Cube(Space(x=Float(0, 1))), said) is None
    done = [Trial(0, {"x": 0.5}, State.DONE, value=1.0, origin={"zoom": {"pass": 4, "since": 0, "ranges": said}})]
    made = Zoom().propose(Trials([*done, Trial(1)], space=Space(x=Float(0, 1))), streams.rng(0))
    assert made.origin["zoom"] == {"pass": 0}


# -- whole studies


MIXED = Space(
    lr=Float(1e-5, 1.0, log=True),
    n=Int(1, 40),
    b=Ordered((8, 16, 32, 64, 128)),
    o=Choice({"sgd": Space(momentum=Float(0.0, 0.99)), "adam": None, "rms": None}),
)


def loss(p):
    worst = {"sgd": 0.0, "adam": 0.3, "rms": 0.5}[p["o"]] + 0.05 * abs(math.log2(p["b"]) - 5)
    more = (p["o.momentum"] - 0.8) ** 2 if p["o"] == "sgd" else 0.0
    return (math.log10(p["lr"]) + 2.3) ** 2 / 4 + (p["n"] - 27) ** 2 / 200 + worst + more


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("workers", [1, 4])
def test_every_trial_lies_in_the_ranges_of_its_pass(seed, workers):
    study = played(MIXED, loss, Zoom(seed=seed), trials=90, seed=seed, workers=workers)
    found = passes(study.trials)
    assert [p.number for p, _ in found] == list(range(len(found)))
    assert len(found) >= 6
    assert sum(len(ids) for _, ids in found) == 90
    for p, ids in found:
        assert (p.ranges is None) == (p.number == 0)
        for id in ids:
            t = study.trials[id]
            if p.ranges is None or "fallback" in t.origin:
                continue
            for name, value in t.params.items():
                if name == "o":
                    assert value in p.ranges[name]
                else:
                    low, high = p.ranges[name]
                    assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
        if p.around is not None:
            before = [t for t in study.trials[: ids[0]] if t.value is not None]
            assert study.trials[p.around].value <= min(t.value for t in before[: ids[0] - workers])
    assert study.best.value < 0.1
    widths = [math.log(p.ranges["lr"][1] / p.ranges["lr"][0]) for p, _ in found[1:]]
    assert widths[-1] < 0.3 * widths[0]


@pytest.mark.parametrize("scale", ["history", "uniform", "log"])
@pytest.mark.parametrize("seed", range(2))
def test_a_better_place_outside_of_what_was_left_is_reached(scale, seed):
    """The first pass leads to the wrong end; the slope of the others leads back, beyond the edges of what was left."""
    space = Space(x=Float(0.01, 1.0))
    study = Study(space, goal="min loss", search=Zoom(trials=6, scale=scale, seed=seed), schedule="full", seed=seed)
    for i in range(60):
        trial = study.ask()
        x = trial.params["x"]
        study.tell(trial, 1 + abs(x - 0.1) if i < 6 else abs(x - 0.9))
    found = [p.ranges["x"] for p, _ in passes(study.trials) if p.ranges]
    assert found[0][1] < 0.85  # it was cut off
    assert study.best.value < 0.05
    assert found[-1][0] <= study.best.params["x"] <= found[-1][1]


def test_numbers_are_laid_out_as_the_scale_says():
    space = Space(lr=Float(1e-6, 1.0, log=True), x=Float(0.001, 1.0), y=Float(-1.0, 1.0), n=Int(1, 100))
    middles = {}
    for scale in ("history", "uniform", "log"):
        made = played(space, lambda p: 0.0, Zoom(trials=64, scale=scale), trials=64)
        middles[scale] = {n: np.median([t.params[n] for t in made.trials]) for n in space}
    own, even, log = middles.values()
    assert own["lr"] == pytest.approx(1e-3, rel=0.3)
    assert own["x"] == pytest.approx(0.5, abs=0.02)
    assert even["lr"] == pytest.approx(0.5, abs=0.02)
    assert even["n"] == pytest.approx(50, abs=2)
    assert log["lr"] == pytest.approx(1e-3, rel=0.3)
    assert log["x"] == pytest.approx(0.001**0.5, rel=0.15)
    assert log["n"] == pytest.approx(10**0.85, rel=0.15)  # from half a cell below 1
    assert log["y"] == pytest.approx(0.0, abs=0.05)  # has no magnitude


def test_when_all_is_fine_it_begins_again_with_the_whole_space_and_other_points():
    space = Space(x=Float(0, 1))
    study = played(space, lambda p: (p["x"] - 0.3) ** 2, Zoom(trials=4, keep=0.2), trials=60)
    found = passes(study.trials)
    again = [p for p, _ in found if p.since and p.ranges is None]
    assert again
    since = again[0].since
    assert study.trials[since].origin["zoom"] == {"pass": again[0].number, "since": since}
    after = next(p for p, _ in found if p.number == again[0].number + 1)
    assert after.around >= since  # what was known before plays no part
    xs = [t.params["x"] for t in study.trials]
    assert len(set(xs)) == len(xs)
    assert study.best.value < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_choices_alone_are_narrowed_to_few_before_it_begins_again(seed):
    space = Space(**{f"c{i}": Choice(list("abcd")) for i in range(5)})
    study = played(space, lambda p: sum(v != "c" for v in p.values()), Zoom(seed=seed), trials=150, seed=seed)
    left = [math.prod(len(p.ranges[n]) for n in space) if p.ranges else 4**5 for p, _ in passes(study.trials)]
    again = left.index(4**5, 1) if 4**5 in left[1:] else len(left)
    assert left[:again] == sorted(left[:again], reverse=True)
    assert min(left) <= 24
    assert study.best.value <= 1


def test_failed_trials_end_a_pass_and_are_never_among_the_best():
    space = Space(x=Float(0, 1), y=Float(0, 1))
    study = played(space, lambda p: math.nan if p["x"] > 0.5 else 1 - p["x"] + p["y"], Zoom(), trials=80)
    assert study.best.value < 0.56
    assert all(study.trials[p.around].state is State.DONE for p, _ in passes(study.trials) if p.around is not None)
    none = played(space, lambda p: math.nan, Zoom(trials=4), trials=12)
    assert {t.origin["zoom"]["pass"] for t in none.trials} == {0}


def test_what_a_person_tried_counts_from_the_first_pass():
    study = Study(Space(x=Float(0, 1)), goal="min loss", search=Zoom(trials=4), schedule="full")
    study.enqueue({"x": 0.123})
    for _ in range(6):
        trial = study.ask()
        study.tell(trial, abs(trial.params["x"] - 0.123))
    first = next(p for p, _ in passes(study.trials) if p.ranges)
    assert first.around == 0
    assert first.ranges["x"][0] <= 0.123 <= first.ranges["x"][1]


def test_a_trial_that_still_runs_is_none_that_ended():
    """All that ended have failed; one that runs has reported."""
    space = Space(x=Float(0, 1), y=Float(0, 1))
    made, done = Zoom(trials=4), []
    for i in range(12):
        said = made.propose(Trials([*done, Trial(i)], space=space, steps=3), streams.rng(i))
        assert said.origin["zoom"]["pass"] == 0
        if i == 3:
            done.append(Trial(i, said.params, State.RUNNING, [Point(1, 0.5)], 0.5, origin=said.origin))
        else:
            done.append(Trial(i, said.params, State.FAILED, origin=said.origin))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1000.1, 1000.6)])
def test_no_range_is_narrower_than_the_finest_and_every_pass_can_be_read(low, high):
    """A range that went on being narrowed beside one that stayed wide, or narrow beside its values, had ends that look alike in six digits: its pass was
    none, and the next began with every trial.
    """
    space = Space(x=Float(low, high), lr=Float(1e-4, 1.0, log=True))
    at = low + 0.246 * (high - low)
    study = played(space, lambda p: abs(p["x"] - at), Zoom(trials=4, keep=0.15), trials=120)
    found = passes(study.trials)
    assert [p.number for p, _ in found] == list(range(30))
    assert all(len(ids) == 4 for _, ids in found)
    widths = [(p.ranges["x"][1] - p.ranges["x"][0]) / (high - low) for p, _ in found if p.ranges]
    assert min(widths) == pytest.approx(1e-3, rel=0.03)
    assert study.best.value < 1e-3 * (high - low)


@pytest.mark.parametrize(
    "space",
    [
        Space(o=Choice({"s": Space(lr=Float(1e-4, 1.0, log=True)), "t": Space(lr=Float(10.0, 20.0))})),
        Space(
            o=Choice({k: Space(c=Choice({"x": Space(lr=Float(10.0 * i, 10.0 * i + 5))})) for i, k in enumerate("st")})
        ),
    ],
)
def test_members_of_one_name_in_two_branches_have_ranges_of_their_own(space):
    """The record of one took the place of the other's, so no pass could be read again and the next began with every trial."""

    def value(p):
        return abs(next(v for k, v in p.items() if k.endswith("lr")) - (0.3 if p["o"] == "s" else 13.0))

    study = played(space, value, Zoom(trials=8, keep=0.4), trials=60)
    found = passes(study.trials)
    assert [len(ids) for _, ids in found[:-1]] == [8] * 7
    assert len(found[1][0].ranges) == len(space.dims)
    assert study.best.value < 0.05
    plot = passes_plot(study.trials)
    assert plot is not None
    # a trial is drawn once, in the row of its own branch
    drawn = [i for t in plot.figure["data"] for i in t["customdata"]]
    assert sorted(drawn) == list(range(60))
