"""What a model believes: equal to what the model itself says, read in the metric's units, and right where the truth is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from whet import Study
from whet import seed as streams
from whet.errors import SpaceError, StudyError
from whet.report import study_report
from whet.report.landscape import landscape_section
from whet.tune.landscape import landscape
from whet.tune.search.gp import GP
from whet.tune.search.model import posterior as posterior_module
from whet.tune.space import Choice, Const, Float, Int, Ordered, Space
from whet.tune.trial import Goal, Point, State, Trial, Trials

SPACE = Space(
    lr=Float(1e-5, 1e-1, log=True),
    optimizer=Choice({"sgd": Space(momentum=Float(0.0, 0.99)), "adam": Space(beta=Float(0.8, 0.999)), "none": None}),
    width=Int(16, 512, log=True),
    depth=Int(1, 4),
    batch=Ordered([16, 32, 64, 128]),
)


def value(p: dict) -> float:
    """A share that lr decides, and the optimizer a little."""
    return (
        0.95 - 0.04 * (math.log10(p["lr"]) + 3) ** 2 - (0.05 if p["optimizer"] == "adam" else 0.0) - 0.002 * p["depth"]
    )


def mixed(n: int = 40, *, better: str = "max", seed: int = 0, partial: bool = True, failing: bool = True) -> Trials:
    """Trials of a mixed space: some fail (large lr), some were not trained to the end."""
    rng, found = np.random.default_rng(seed), []
    for id in range(n):
        p = SPACE.sample(rng)
        if failing and p["lr"] > 3e-2:
            found.append(Trial(id, p, State.FAILED, error={"type": "RuntimeError", "message": "no"}))
            continue
        short = partial and id % 4 == 0
        v = value(p) - (0.03 if short else 0.0)
        v = v if better == "max" else 1 - v
        steps = 3 if short else 9
        curve = tuple(Point(s, v) for s in range(1, steps + 1))
        found.append(Trial(id, p, State.PAUSED if short else State.DONE, curve, v))
    return Trials(found, space=SPACE, goals=(Goal("accuracy" if better == "max" else "error", better),), steps=9)  # type: ignore[arg-type]


def line(points, space=None, goal="min", f=lambda x: (x - 0.37) ** 2, **more) -> Trials:
    done = [Trial(i, {"x": float(x)}, State.DONE, value=f(float(x))) for i, x in enumerate(points)]
    return Trials(done, space=space or Space(x=Float(0, 1)), goals=(Goal("loss", goal),), **more)


# -- equal to the model


@pytest.mark.parametrize("better", ["min", "max"])
@pytest.mark.parametrize("name", ["lr", "width", "depth", "batch", "optimizer"])
def test_a_slice_is_what_the_process_predicts(better, name):
    trials = mixed(better=better)
    s = landscape(trials).slice(name)
    best = trials.best.params
    model = GP().worth(trials)
    here = s.axes[0].values
    if name == "optimizer":  # another branch has the values of the best trial that took it
        configurations = []
        for option in here:
            took = [t for t in trials if t.params.get("optimizer") == option and t.state is not State.FAILED]
            its = min(took, key=lambda t: (trials.goal.score(t.value), t.id)).params
            inner = {k: v for k, v in its.items() if k.startswith("optimizer.")}
            rest = {k: v for k, v in best.items() if not k.startswith("optimizer")}
            mine = {k: v for k, v in best.items() if k.startswith("optimizer.")}
            configurations.append({**rest, "optimizer": option, **(mine if option == best["optimizer"] else inner)})
    else:
        configurations = [{**best, name: v} for v in here]
    rows = np.array([SPACE.encode(p) for p in configurations])
    mean, sd = model.posterior.predict(rows)
    np.testing.assert_allclose(s.mean, mean, atol=1e-9)
    np.testing.assert_allclose(s.sd, sd, atol=1e-9)
    sign = 1 if better == "min" else -1
    z = 1.959963984540054
    np.testing.assert_allclose(s.median, sign * model.posterior.scale.back(mean), atol=1e-9)
    ends = [sign * model.posterior.scale.back(mean + k * sd) for k in (-z, z)]
    np.testing.assert_allclose(s.low, np.minimum(*ends), atol=1e-9)
    np.testing.assert_allclose(s.high, np.maximum(*ends), atol=1e-9)
    assert (s.low <= s.median).all()
    assert (s.median <= s.high).all()
    np.testing.assert_allclose(s.failing, 1 - np.exp(model.posterior.sound.log_chance(rows)), atol=1e-9)
    worth = model(rows)
    np.testing.assert_allclose(s.worth, np.exp(worth - worth.max()), atol=1e-9)


def test_a_map_is_what_the_model_expects_of_each_configuration():
    trials = mixed()
    found = landscape(trials)
    s = found.slice("lr", "width", points=7)
    assert s.median.shape == (7, 7)
    for i in (0, 3, 6):
        for j in (0, 2, 6):
            p = {**trials.best.params, "lr": s.axes[0].values[i], "width": s.axes[1].values[j]}
            assert found.expected(p) == pytest.approx((s.median[i, j], s.low[i, j], s.high[i, j]))
    # over one it is the line of the map
    across = found.slice("width", "lr", points=7)
    np.testing.assert_allclose(across.median, s.median.T)


# -- right where the truth is known


@pytest.mark.parametrize(("goal", "sign"), [("min", 1.0), ("max", -1.0)])
def test_the_best_is_where_the_function_has_it(goal, sign):
    s = landscape(line(np.linspace(0, 1, 9), goal=goal, f=lambda x: sign * (x - 0.37) ** 2)).slice("x")
    assert s.axes[0].values[s.best[0]] == pytest.approx(0.37, abs=0.03)
    assert s.clear
    x = np.array(s.axes[0].values)
    assert landscape(line([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0], goal=goal, f=lambda x: sign * x**9)).pulled is not None
    near = (x - 0.37) ** 2 < 0.2  # what is far worse is pulled in
    np.testing.assert_allclose(s.median[near], sign * (x[near] - 0.37) ** 2, atol=0.01)


def test_a_logarithmic_scale_is_walked_evenly_in_magnitudes():
    space = Space(x=Float(1e-6, 1.0, log=True))
    trials = line(10.0 ** np.linspace(-6, 0, 10), space, f=lambda x: (math.log10(x) + 2) ** 2)
    s = landscape(trials).slice("x")
    ratios = np.diff(np.log10(np.array(s.axes[0].values, float)))
    np.testing.assert_allclose(ratios, 0.06, atol=1e-6)
    assert math.log10(s.axes[0].values[s.best[0]]) == pytest.approx(-2, abs=0.15)


def test_what_matters_comes_first_and_adds_up_to_one():
    found = landscape(mixed(60))
    assert next(iter(found.weights)) == "lr"
    assert list(found.weights.values()) == sorted(found.weights.values(), reverse=True)
    everywhere = sum(found.weights.values())  # less what only other branches have
    assert 0.9 < everywhere <= 1 + 1e-9
    assert [s.axes[0].name for s in found.slices(2)] == list(found.weights)[:2]
    # a function that a second dimension plays no part in
    rng = np.random.default_rng(3)
    done = [
        Trial(i, {"a": a, "b": b}, State.DONE, value=math.sin(5 * b))
        for i, (a, b) in enumerate(rng.random((25, 2)).tolist())
    ]
    two = landscape(Trials(done, space=Space(a=Float(0, 1), b=Float(0, 1))))
    assert two.weights["b"] > 0.97
    assert two.slice("b").clear
    assert not two.slice("a").clear


def test_equal_values_tell_nothing_apart():
    found = landscape(line(np.linspace(0, 1, 9), f=lambda x: 0.5))
    s = found.slice("x")
    assert found.weights == {"x": 0.0}
    assert not s.clear
    assert set(s.median) == {0.5}


def test_the_chance_of_failing_is_where_trials_failed():
    s = landscape(mixed(60)).slice("lr")
    lr = np.array(s.axes[0].values, float)
    assert s.failing[lr > 0.08].min() > 0.8
    assert s.failing[(lr > 1e-4) & (lr < 1e-3)].max() < 0.1
    assert landscape(mixed(60, failing=False)).slice("lr").failing is None


# -- where it is looked at


def test_slices_keep_to_the_branch_of_the_best():
    trials = mixed()
    option = trials.best.params["optimizer"]
    found = landscape(trials)
    inner = {"sgd": ["optimizer.momentum"], "adam": ["optimizer.beta"], "none": []}
    assert set(found.weights) == {"lr", "optimizer", "width", "depth", "batch", *inner[option]}
    adam = next(t.id for t in trials if t.params["optimizer"] == "adam" and t.value is not None)
    there = landscape(trials, around=adam)
    assert "optimizer.beta" in there.weights
    assert there.find("beta") == "optimizer.beta"
    assert there.around == trials[adam].params
    # over a choice and what only one of its options has, the rest of the map does not exist
    s = there.slice("optimizer", "optimizer.beta", points=5)
    assert s.axes[0].values == ("sgd", "adam", "none")
    assert s.allowed.tolist() == [[False] * 5, [True] * 5, [False] * 5]
    assert np.isnan(s.median[0]).all()
    assert np.isfinite(s.median[1]).all()
    with pytest.raises(StudyError, match=r"optimizer\.momentum: exists only with optimizer sgd, and trial"):
        there.slice("optimizer.momentum")


def test_a_constraint_leaves_holes():
    space = Space(a=Int(1, 4), b=Int(1, 4)).where("a * b <= 8")
    pairs = [(1, 1), (2, 4), (4, 2), (3, 2), (2, 2), (1, 4)]
    trials = Trials(
        [Trial(i, {"a": a, "b": b}, State.DONE, value=a + b) for i, (a, b) in enumerate(pairs)], space=space
    )
    s = landscape(trials).slice("a", "b")
    assert [[bool(a * b <= 8) for b in range(1, 5)] for a in range(1, 5)] == s.allowed.tolist()
    assert (np.isnan(s.median) == ~s.allowed).all()
    assert np.nanmax(s.worth) == 1.0
    assert "NaN" not in json.dumps(s.json(), allow_nan=False)


def test_around_the_next_proposal_or_a_configuration():
    trials = mixed()
    found = landscape(trials, around="next")
    assert found.around == found.next
    assert "optimizer" in found.weights
    s = found.slice("lr")
    assert s.peak <= 1.2  # nothing on a line through it is worth much more than it: the climb found nearly the top
    assert s.peak > 0.3
    given = dict(trials[1].params)
    assert landscape(trials, around=given).around == given
    with pytest.raises(SpaceError, match="lr"):
        landscape(trials, around={**given, "lr": 7.0})


# -- trials on it


def test_every_trial_is_marked_for_what_it_is():
    trials = mixed()
    more = [*trials, Trial(40, SPACE.sample(np.random.default_rng(9)), State.RUNNING), Trial(41)]
    trials = Trials(more, space=SPACE, goals=trials.goals, steps=9)
    found = landscape(trials)
    s = found.slice("lr")
    kinds = {m.id: m.kind for m in s.marks}
    assert 41 not in kinds
    assert kinds[40] == "running"
    for t in trials:
        if t.state is State.FAILED:
            assert kinds[t.id] == "failed"
        elif t.state is State.PAUSED:
            assert kinds[t.id] == "partial"
        elif t.state is State.DONE:
            assert kinds[t.id] == "done"
    assert found.kinds == {"done", "partial", "failed", "running"}
    best = next(m for m in s.marks if m.id == trials.best.id)
    assert best.near == pytest.approx(1.0)  # it is where the slice goes through
    assert best.at == (trials.best.params["lr"],)
    assert best.value == trials.best.value
    others = [m.near for m in s.marks if m.id != trials.best.id]
    assert 0 <= min(others) < 0.9
    assert max(others) <= 1.0
    # of a dimension in a branch, only trials that have it
    adam = {t.id for t in trials if t.params.get("optimizer") == "adam"}
    inner = landscape(trials, around=min(adam)).slice("beta")
    assert {m.id for m in inner.marks} == adam


def test_a_value_that_is_not_finite_is_a_failure():
    done = list(line(np.linspace(0, 1, 9)))
    done[8] = Trial(8, {"x": 1.0}, State.DONE, value=math.nan)
    s = landscape(Trials(done, space=Space(x=Float(0, 1)))).slice("x")
    assert {m.id for m in s.marks if m.kind == "failed"} == {8}
    assert np.isfinite(s.median).all()


def test_a_trial_tells_of_a_slice_as_far_as_its_other_values_are_like():
    space = Space(a=Float(0, 1), b=Float(0, 1))
    points = [(0.5, 0.5), (0.1, 0.5), (0.9, 0.5), (0.5, 0.1), (0.5, 0.6), (0.2, 0.95), (0.8, 0.2)]
    done = [
        Trial(i, {"a": a, "b": b}, State.DONE, value=(a - 0.5) ** 2 + (b - 0.5) ** 2) for i, (a, b) in enumerate(points)
    ]
    found = landscape(Trials(done, space=space))
    near = {m.id: m.near for m in found.slice("a").marks}
    assert [near[i] for i in (0, 1, 2)] == [pytest.approx(1.0)] * 3  # only a differs
    assert 1 > near[4] > near[3] > near[5]  # the further away in b, the less
    other = {m.id: m.near for m in found.slice("b").marks}
    assert other[1] < 1
    assert [other[i] for i in (0, 3, 4)] == [pytest.approx(1.0)] * 3
    scale = np.exp(-found.posterior.process.theta[1])
    r = math.sqrt(5) * 0.45 * scale
    assert near[5] == pytest.approx((1 + r + r * r / 3) * math.exp(-r))  # the kernel's own correlation
    assert {m.near for m in found.slice("a", "b").marks} == {1.0}


# -- the acquisition and the next proposal


@pytest.mark.parametrize("acquisition", ["log-ei", "ei", "pi", "ucb"])
def test_the_acquisition_is_told_beside_its_largest(acquisition):
    trials = line(np.linspace(0, 1, 6), f=lambda x: math.sin(9 * x))
    search = GP(acquisition=acquisition)
    s = landscape(trials, search=search).slice("x")
    assert s.worth.max() == pytest.approx(1.0)
    assert s.worth.min() >= 0
    assert s.worth.min() < 0.5
    own = search.worth(trials)(np.array(s.axes[0].values, float)[:, None])
    assert int(np.argmax(s.worth)) == int(np.argmax(own))
    assert (s.peak is None) == (acquisition == "ucb")
    if acquisition != "ucb":  # one dimension: the next is the top of the line, or between two of its points
        assert s.peak == pytest.approx(1.0, abs=0.1)
        assert s.next.at[0] == pytest.approx(s.axes[0].values[int(np.argmax(s.worth))], abs=0.02)


@pytest.mark.parametrize("search", ["gp", "random"])
def test_the_next_is_what_a_gp_study_asks_next(search):
    with Study(Space(x=Float(0, 1), k=Int(1, 9)), search=search, seed=7) as study:
        study.run(lambda p: (p["x"] - 0.4) ** 2 + p["k"] / 50, trials=14)
        trials = study.trials
        found = landscape(
            trials, search=study.searcher if search == "gp" else None, rng=streams.rng(7, len(trials), 0, "propose")
        )
        asked = dict(study.ask().params)
    assert (found.next == asked) == (search == "gp")
    mark = found.slice("x").next
    assert mark.kind == "next"
    assert mark.at == (found.next["x"],)
    assert mark.value == pytest.approx(found.expected(found.next)[0])


def test_a_space_that_is_used_up_has_no_next():
    trials = Trials([Trial(i, {"k": i}, State.DONE, value=float(i)) for i in range(1, 6)], space=Space(k=Int(1, 5)))
    trials = Trials(
        [Trial(i - 1, t.params, t.state, value=t.value) for i, t in enumerate(trials, 1)], space=Space(k=Int(1, 5))
    )
    found = landscape(trials)
    assert found.next is None
    assert found.json()["next"] is None
    assert found.slice("k").next is None
    assert found.slice("k").peak is None
    with pytest.raises(StudyError, match="everything was tried"):
        landscape(trials, around="next")


def test_the_model_is_fitted_once(monkeypatch):
    calls = []
    real = posterior_module.fit
    monkeypatch.setattr(posterior_module, "fit", lambda *a, **k: calls.append(1) or real(*a, **k))
    found = landscape(line(np.linspace(0, 1, 9)))
    found.slices()
    assert len(calls) == 1
    # and what is remembered of one study is not said of another
    search = GP()
    one, two = line(np.linspace(0, 1, 9)), line(np.linspace(0, 1, 9), f=lambda x: (x - 0.8) ** 2)
    tops = [landscape(t, search=search).slice("x") for t in (one, two, one)]
    at = [s.axes[0].values[s.best[0]] for s in tops]
    assert at == [pytest.approx(0.37, abs=0.04), pytest.approx(0.8, abs=0.04), pytest.approx(0.37, abs=0.04)]


# -- what cannot be


def test_what_there_is_no_picture_of():
    with pytest.raises(StudyError, match=r"3 of 3 trials have a value; a model needs at least 4\. Run more"):
        landscape(line([0.1, 0.5, 0.9]))
    done = [Trial(i, {"c": 1}, State.DONE, value=1.0) for i in range(9)]
    with pytest.raises(StudyError, match="no dimension"):
        landscape(Trials(done, space=Space(c=Const(1))))
    found = landscape(mixed())
    with pytest.raises(StudyError, match=r"widht: no such dimension\. Did you mean 'width'\? Allowed: lr"):
        found.slice("widht")
    with pytest.raises(StudyError, match="given twice"):
        found.slice("lr", "lr")
    with pytest.raises(StudyError, match="no such trial"):
        landscape(mixed(), around=99)
    with pytest.raises(StudyError, match="Allowed: best, next"):
        landscape(mixed(), around="bset")  # type: ignore[arg-type]


def test_json_has_the_model_and_the_values():
    found = landscape(mixed())
    data = json.loads(json.dumps({**found.json(), "s": found.slice("lr", points=11).json()}, allow_nan=False))
    assert data["values"] == sum(t.value is not None for t in mixed())
    assert [d["name"] for d in data["dimensions"]] == list(found.weights)
    assert data["next"]["low"] <= data["next"]["expected"] <= data["next"]["high"]
    assert len(data["s"]["median"]) == len(data["s"]["axes"][0]["values"]) == 11
    assert data["s"]["trials"][-1]["kind"] == "next"


@pytest.mark.parametrize("search", ["gp", "auto"])
def test_a_study_that_learns_from_an_earlier_one_has_a_landscape(search):
    """What the earlier one says is known beside the dimensions: how near a trial is to a slice is a matter of these alone."""
    space = Space(x=Float(0, 1), o=Choice(["a", "b"]))
    old = Study(space, search="random", seed=0).run(lambda p: abs(p["x"] - 0.3), trials=8)
    study = Study(space, search=search, seed=1, like=[old]).run(lambda p: abs(p["x"] - 0.4), trials=8)
    found = landscape(study.trials)
    assert found.posterior.process.features.known == 1
    for s in found.slices():
        assert all(0 <= m.near <= 1 + 1e-9 for m in s.marks)
    assert study_report("s", study.trials).html()


def test_children_on_inherited_weights_are_drawn_and_left_out_of_the_model():
    space = Space(lr=Float(0, 1), other=Float(0, 1))
    rng = np.random.default_rng(0)
    own = [Trial(i, p, State.DONE, value=p["lr"]) for i, p in enumerate(space.sample(rng) for _ in range(12))]
    born = [Trial(12 + i, {**own[i].params, "lr": 0.9}, State.DONE, value=-1.0, parent=(i, 2)) for i in range(3)]
    found, alone = (landscape(Trials(t, space=space, steps=9), around=own[0].params) for t in ([*own, *born], own))
    np.testing.assert_array_equal(found.slice("lr").median, alone.slice("lr").median)
    assert [m.kind for m in found.slice("lr").marks] == ["done"] * 12 + ["inherited"] * 3
    said = landscape_section(found, found.slices())
    assert "a square went on from weights of another configuration" in said.blocks[0].text
    with pytest.raises(StudyError, match=r"3 of 6 trials have a value of their own \(3 went on .*\); a model needs at least 4"):  # fmt: skip
        landscape(Trials([*own[:3], *(Trial(3 + i, born[i].params, State.DONE, value=0.0, parent=(i, 2)) for i in range(3))], space=space, steps=9))  # fmt: skip


def test_what_has_one_value_has_no_slice():
    space = Space(x=Float(0, 1), one=Choice(["a"]))
    rng = np.random.default_rng(0)
    done = [Trial(i, p, State.DONE, value=p["x"]) for i, p in enumerate(space.sample(rng) for _ in range(9))]
    found = landscape(Trials(done, space=space))
    assert [s.axes[0].name for s in found.slices()] == ["x"]
    with pytest.raises(StudyError, match=r"one: has one value only\. Allowed: x\."):
        found.slice("one")
    fixed = [Trial(i, {"one": "a"}, State.DONE, value=float(i)) for i in range(9)]
    with pytest.raises(StudyError, match="every value in it is fixed"):
        landscape(Trials(fixed, space=Space(one=Choice(["a"]))))
