"""Search along gradients: contracts, the chain rule, steps and their lengths, starts, workers, what is refused and what is missed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from whet import Choice, Float, Idle, Int, Space, StudyError
from whet import seed as streams
from whet.testing import SEARCHER, SPACES, Play, play
from whet.tune.schedule.full import Full
from whet.tune.schedule.median import Median
from whet.tune.search.hypergradient import Hypergradient
from whet.tune.search.model.downhill import gradient_of, minimum, pushed, slopes
from whet.tune.study import Study
from whet.tune.trial import Point, State, Trial, Trials, parse_goals


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(Hypergradient)


def sloping(space, params, step):
    """A bowl in the unit cube with its gradient by the values, falling with the steps; not for all trials."""
    u = space.encode(params)
    told = {"loss": float(np.nansum((u - 0.3) ** 2)) + 1 / step, "memory": 2.0 ** round(float(np.nansum(u)))}
    for j, dim in enumerate(space.dims):
        if isinstance(dim.domain, Float) and u[j] == u[j] and u[j] < 0.9:
            ahead = {**params, dim.name: dim.domain.decode(min(1.0, u[j] + 1e-6))}
            told[f"gradient.{dim.name}"] = 2 * (u[j] - 0.3) * 1e-6 / max(1e-300, ahead[dim.name] - params[dim.name])
    return told


@pytest.mark.parametrize("schedule", [Full(), Median()], ids=["full", "median"])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("name", ["line", "mixed", "branches", "constrained"])
def test_it_decides_the_same_when_rebuilt_and_never_repeats(name, workers, schedule):
    space = SPACES[name]
    study = play(
        Hypergradient(starts=2), schedule, space, steps=3, goal=["min loss", "memory <= 2"], starts=30, workers=workers,
        crash=0.05, seed=workers, objective=sloping,
    )  # fmt: skip
    asked = [d for d in study.decisions if d.asked == "propose"]
    for d in asked:
        assert d.redo(Hypergradient(starts=2)) == d.said
        assert space.allows(d.said.params)
    assert len({str(dict(d.said.params)) for d in asked}) == len(asked)
    made = [t.origin["hypergradient"] for t in study.trials if "hypergradient" in t.origin]
    assert len(made) > 8
    for t in study.trials:
        if "hypergradient" in t.origin:
            parent = study.trials[t.origin["hypergradient"]["from"]]
            fixed = [n for n in t.params if not any(d.name == n and isinstance(d.domain, Float) for d in space.dims)]
            assert {n: t.params[n] for n in fixed} == {n: parent.params[n] for n in fixed}
            u, v = (np.nan_to_num(space.encode(x.params)) for x in (t, parent))
            assert np.abs(u - v).max() == pytest.approx(t.origin["hypergradient"]["length"], abs=1e-5)


# -- gradients by the values become slopes in the unit cube


@pytest.mark.parametrize("seed", range(5))
def test_slopes_are_those_of_finite_differences(seed):
    rng = np.random.default_rng(seed)
    inner = Space(m=Float(-3.0, 5.0))
    space = Space(lr=Float(1e-6, 10.0, log=True), k=Int(1, 9), o=Choice({"a": inner, "b": None}), w=Float(0.5, 0.7))
    params = space.fill({"o": "a"}, rng)
    weights = rng.normal(size=3)
    names = ("lr", "o.m", "w")

    def value(p):
        return sum(w * np.sin(p[n]) for w, n in zip(weights, names, strict=True))

    u = space.encode(params)
    found = slopes(space, u, {n: w * np.cos(params[n]) for w, n in zip(weights, names, strict=True)} | {"k": 5.0})
    for j in range(len(u)):
        h = np.eye(len(u))[j] * 1e-6
        moved = [value(space.decode(np.clip(u + s * h, 0, 1))) for s in (1, -1)]
        assert found[j] == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_what_is_not_finite_or_does_not_exist_has_no_slope():
    space = Space(x=Float(0, 2), y=Float(0, 2), o=Choice({"a": Space(z=Float(0, 1)), "b": None}))
    u = space.encode({"x": 1.0, "y": 1.0, "o": "b"})
    assert slopes(space, u, {"x": np.nan, "y": 3.0, "o.z": 9.0, "other": 1.0}).tolist() == [0.0, 6.0, 0.0, 0.0]
    assert pushed(np.array([1.0, 0.5, np.nan]), np.array([1.0, -1.0, 1.0])).tolist() == [0.0, -1.0, 0.0]


@pytest.mark.parametrize("seed", range(5))
def test_the_least_of_a_cubic(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        c = np.poly1d(rng.normal(size=4))
        d = c.deriv()
        at = minimum(c(0), d(0), c(1), d(1))
        roots = [float(x.real) for x in d.roots if abs(x.imag) < 1e-12 and d.deriv()(x.real) > 0]
        assert at == pytest.approx(roots[0], rel=1e-6, abs=1e-8) if roots else at == np.inf
    assert minimum(1.0, -1.0, 1.0, 0.0) == 0.5
    assert minimum(1.0, -1.0, -1.0, 0.0) == np.inf


# -- descents


def told(space, value, gradient, search, *, trials, seed=0, goal="min loss", workers=1):
    """A study of a function told with its gradient, in the order of asking; NaN fails."""
    study = Study(space, goal=goal, search=search, schedule="full", seed=seed)
    running = []
    for i in range(trials + workers - 1):
        if i < trials:
            running.append(study.ask())
            assert not isinstance(running[-1], Idle)
        if i >= workers - 1:
            trial = running.pop(0)
            x = np.array([trial.params[n] for n in space if isinstance(space[n], Float)])
            found = value(x)
            if not np.isfinite(found):
                study.fail(trial, "failed")
                continue
            names = [n for n in space if isinstance(space[n], Float)]
            study.tell(trial, found, **{f"gradient.{n}": g for n, g in zip(names, gradient(x), strict=True)})
    return study


@pytest.mark.parametrize("goal", ["min loss", "max score"])
@pytest.mark.parametrize("seed", range(5))
def test_one_descent_finds_what_scipy_finds(seed, goal):
    """A quadratic in 4 dimensions whose least in the box lies partly on its edge: the same place as SciPy's L-BFGS-B."""
    rng = np.random.default_rng(seed)
    a = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    h, at = a @ np.diag([1.0, 3.0, 10.0, 30.0]) @ a.T, np.array([0.3, 0.7, 1.2, -0.1])
    sign = 1 if goal == "min loss" else -1
    space = Space(**{f"x{i}": Float(0, 1) for i in range(4)})
    study = told(
        space, lambda x: sign * (x - at) @ h @ (x - at), lambda x: sign * 2 * h @ (x - at),
        Hypergradient(starts=1, least=1e-7), trials=50, goal=goal, seed=seed,
    )  # fmt: skip
    exact = optimize.minimize(
        lambda x: (x - at) @ h @ (x - at), np.full(4, 0.5), jac=lambda x: 2 * h @ (x - at), bounds=[(0, 1)] * 4
    )
    assert sign * study.best.value - exact.fun < 1e-5 * (1 + abs(exact.fun))


def test_a_logarithmic_scale_is_descended_on_its_own_scale():
    """The least lies seven decades away: along the values themselves no step would ever be long enough and short enough."""
    space = Space(lr=Float(1e-8, 1.0, log=True))
    study = told(space, lambda x: float(np.log10(x[0] / 1e-6) ** 2), lambda x: 2 * np.log10(x / 1e-6) / (x * np.log(10)),
                 Hypergradient(starts=1), trials=12)  # fmt: skip
    assert study.best.value < 1e-4


def test_a_step_that_fails_or_breaks_a_bound_is_made_shorter_and_one_that_does_better_goes_on():
    space = Space(x=Float(0, 1))
    done = [Trial(0, {"x": 0.8}, State.DONE, (Point(1, 0.8, metrics={"gradient.x": 1.0, "size": 1.0}),), 0.8)]
    search = Hypergradient(starts=1, step=0.4)
    lengths = []
    for state, size in ((State.FAILED, 0.0), (State.DONE, 9.0), (State.STOPPED, 0.0)):
        goals = parse_goals(["min loss", "size <= 2"])
        made = search.propose(Trials([*done, Trial(len(done))], space=space, goals=goals), streams.rng(0))
        assert made.origin["hypergradient"]["from"] == 0
        lengths.append(made.origin["hypergradient"]["length"])
        x = made.params["x"]
        curve = (Point(1, x, metrics={"gradient.x": 1.0, "size": size}),) if state is not State.FAILED else ()
        done.append(Trial(len(done), made.params, state, curve, curve[0].value if curve else None, origin=made.origin))
    made = search.propose(Trials([*done, Trial(4)], space=space, goals=goals), streams.rng(0))
    lengths.append(made.origin["hypergradient"]["length"])
    assert lengths == pytest.approx([0.4, 0.1, 0.025, 0.00625], rel=1e-3)
    better = Trial(
        4, made.params, State.DONE, (Point(1, 0.7, metrics={"gradient.x": 1.0, "size": 1.0}),), 0.7, origin=made.origin
    )
    made = search.propose(Trials([*done, better, Trial(5)], space=space, goals=goals), streams.rng(0))
    assert made.origin["hypergradient"]["from"] == 4
    assert made.params["x"] < better.params["x"]


def test_a_descent_that_ends_gives_way_to_another_one():
    """Two valleys; the first start lies in the poorer one. The second descent begins elsewhere, and finds the other."""
    space = Space(x=Float(0, 1))

    def value(x):
        return float(min((x[0] - 0.2) ** 2, 0.5 * (x[0] - 0.8) ** 2 - 0.1))

    def gradient(x):
        return [2 * (x[0] - 0.2) if (x[0] - 0.2) ** 2 < 0.5 * (x[0] - 0.8) ** 2 - 0.1 else x[0] - 0.8]

    study = told(space, value, gradient, Hypergradient(starts=1), trials=40)
    starts = [t.id for t in study.trials if t.origin.get("start")]
    assert len(starts) >= 3
    assert study.best.value == pytest.approx(-0.1, abs=1e-3)
    used = {t.origin["hypergradient"]["from"] for t in study.trials if "hypergradient" in t.origin}
    assert set(starts[:2]) <= used


def test_a_descent_into_a_valley_that_is_known_ends():
    """One valley: the second descent stops as soon as it comes near to the end of the first, and the next starts are drawn."""
    space = Space(x=Float(0, 1), y=Float(0, 1))
    study = told(
        space, lambda x: float(((x - 0.4) ** 2).sum()), lambda x: 2 * (x - 0.4), Hypergradient(starts=1), trials=40
    )
    u = np.array([[t.params["x"], t.params["y"]] for t in study.trials])
    steps = [t for t in study.trials if "hypergradient" in t.origin]
    first = next(i for i, t in enumerate(study.trials) if i and t.origin.get("start"))
    later = [t for t in steps if t.id > first]
    assert later
    near = np.abs(u - 0.4).max(1) < 0.04
    for t in later:
        assert not near[t.origin["hypergradient"]["from"]], "it went on where another one has ended"


def test_workers_share_descents_and_never_wait():
    space = Space(x=Float(0, 1), y=Float(0, 1))
    study = told(
        space, lambda x: float(((x - 0.4) ** 2).sum()), lambda x: 2 * (x - 0.4), Hypergradient(starts=2), trials=40, workers=4
    )  # fmt: skip
    roots = [t for t in study.trials if t.origin.get("start")]
    assert 2 <= len(roots) < 30
    assert len({str(t.params) for t in study.trials}) == 40
    assert study.best.value < 1e-4


def test_those_asked_for_before_take_the_first_steps():
    """Two are asked for and have no configuration yet: the second one must not make the step that the first one will."""
    space = Space(x=Float(0, 1))
    done = [
        Trial(i, {"x": x}, State.DONE, (Point(1, x, metrics={"gradient.x": 1.0}),), x) for i, x in enumerate((0.9, 0.5))
    ]
    search = Hypergradient(starts=1)
    first = search.propose(Trials([*done, Trial(2)], space=space), streams.rng(0))
    second = search.propose(Trials([*done, Trial(2), Trial(3)], space=space), streams.rng(0))
    third = search.propose(Trials([*done, Trial(2), Trial(3), Trial(4)], space=space), streams.rng(0))
    assert first.origin["hypergradient"]["from"] == 1
    assert second.origin["hypergradient"]["from"] == 0
    assert third.origin["start"] == "sobol"


def test_a_gradient_of_another_metric_is_followed_in_place_of_the_value():
    """The accuracy is a staircase; its loss slopes. What is followed is the loss, what is best the accuracy."""
    space = Space(x=Float(0, 1))
    study = Study(space, goal="max accuracy", search=Hypergradient(starts=1), schedule="full")
    for _ in range(15):
        trial = study.ask()
        x = trial.params["x"]
        study.tell(trial, round(1 - abs(x - 0.3), 1), **{"loss": (x - 0.3) ** 2, "gradient(loss).x": 2 * (x - 0.3)})
    assert min(abs(t.params["x"] - 0.3) for t in study.trials) < 1e-3
    assert gradient_of(study.trials[0])[0] == "loss"


def test_the_step_of_another_study_is_a_start_here():
    """A trial taken in may name a trial that is another one here."""
    space = Space(x=Float(0, 1), k=Int(1, 9))
    made = [
        Trial(0, {"x": 0.5, "k": 1}, State.DONE, (Point(1, 0.5, metrics={"gradient.x": 1.0}),), 0.5),
        Trial(1, {"x": 0.4, "k": 2}, State.DONE, (Point(1, 0.4, metrics={"gradient.x": 1.0}),), 0.4, origin={"hypergradient": {"from": 0}}),
        Trial(2, {"x": 0.4, "k": 3}, State.DONE, (Point(1, 0.6, metrics={"gradient.x": 1.0}),), 0.6, origin={"hypergradient": {"from": "x"}}),
    ]  # fmt: skip
    said = Hypergradient(starts=3).propose(Trials([*made, Trial(3)], space=space), streams.rng(0))
    assert said.origin["hypergradient"]["from"] == 1


# -- what is refused, and what is missed


@pytest.mark.parametrize(
    ("space", "schedule", "steps", "why"),
    [
        (SPACES["finite"], "full", 9, "the space has no Float"),
        (Space(k=Int(1, 9)), "auto", 1, "the space has no Float"),
        (SPACES["line"], "asha", 9, "does not go with schedule 'asha': that ends or pauses many trials"),
        (SPACES["line"], "hyperband", 9, "Use full, median or race."),
        (SPACES["line"], "freeze-thaw", 9, "Use full, median or race."),
        (
            Space(lr=Float(0, 1), rule=Choice(["sync", "async"]), workers=Int(1, 4)),
            "full",
            9,
            "Take rule and workers out",
        ),
    ],
)
def test_pairs_that_make_no_sense_are_refused(space, schedule, steps, why):
    with pytest.raises(StudyError) as e:
        Study(space, search="hypergradient", schedule=schedule, steps=steps)
    assert why in str(e.value)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("schedule", "steps"), [("full", 9), ("median", 9), ("race", 9), ("asha", 1), ("auto", 9), ("auto", 1)]
)
def test_pairs_that_do_are_not(schedule, steps):
    study = Study(SPACES["line"], search="hypergradient", schedule=schedule, steps=steps)
    assert study.searcher == Hypergradient(seed=0)
    if schedule == "auto":
        assert study.scheduler == Full()


@pytest.mark.parametrize("seed", range(4))
def test_a_race_stops_steps_that_are_beaten_and_the_descent_goes_on(seed):
    """A step is a fold; folds differ more than configurations do."""
    fold = np.random.default_rng(seed).normal(0, 1, 8)

    def objective(params, run):
        x, y = params["x"] - 0.3, params["y"] - 0.6
        for k in run:
            value = x**2 + 9 * y**2 + fold[:k].mean()
            run.report(value, gradient={"x": 2 * x, "y": 18 * y} if k == run.steps else None)

    study = Study(Space(x=Float(0, 1), y=Float(0, 1)), search="hypergradient", schedule="race", steps=8, seed=seed)
    study.run(objective, trials=25)
    assert study.best.value - fold.mean() < 1e-4
    assert sum(t.state is State.STOPPED for t in study.trials) >= 3
    assert study.spent.steps < 25 * 8


def test_a_study_without_gradients_says_so_after_its_first_trial():
    study = Study(Space(x=Float(0, 1)), search="hypergradient")
    with pytest.raises(
        StudyError, match=r"trial 0 reported no gradient of loss. Use run.report\(value, gradient="
    ) as e:
        study.run(lambda p: p["x"], trials=5)
    assert len(str(e.value).splitlines()) == 1
    assert len(study.trials) == 1
    with pytest.raises(StudyError, match="reported no gradient"):
        study.ask()
    trial = study.enqueue({"x": 0.5})  # a person's guess is tried all the same
    assert study.ask().id == trial.id


def test_a_trial_without_any_real_number_need_not_report_one():
    space = Space(o=Choice({"a": Space(x=Float(0, 1)), "b": None}))
    study = Study(space, search="hypergradient")
    for option in "ba":
        study.enqueue({"o": option})
        trial = study.ask()
        study.tell(trial, 1.0, **({"gradient.o.x": 2.0} if option == "a" else {}))
    assert not isinstance(study.ask(), Idle)


def test_an_objective_reports_its_gradient_with_its_value():
    def objective(params, run):
        for step in run:
            run.report((params["x"] - 0.3) ** 2 + 1 / step, gradient={"x": 2 * (params["x"] - 0.3)})

    study = Study(Space(x=Float(0, 1)), search=Hypergradient(starts=2), steps=3).run(objective, trials=10)
    assert study.best.value == pytest.approx(1 / 3, abs=1e-4)


def test_an_objective_can_see_whether_a_gradient_is_wanted():
    wanted = []

    def objective(params, run):
        for _ in run:
            wanted.append(run.gradient)
            run.report(params["x"], gradient={"x": 1.0})

    for search in ("hypergradient", Hypergradient(method="implicit"), "random"):
        Study(Space(x=Float(0, 1)), search=search).run(objective, trials=1)
    assert wanted == ["unrolled", "implicit", ""]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"starts": 0}, "hypergradient: starts must be a whole number >= 1, got 0"),
        ({"memory": True}, "memory must be"),
        ({"step": 0}, "hypergradient: step must be a number above 0, at most 1, got 0"),
        ({"least": 0.2}, "hypergradient: least must be a number above 0, at most step (0.1), got 0.2"),
        (
            {"method": "unroled"},
            "hypergradient: no method 'unroled'. Did you mean 'unrolled'? Allowed: unrolled, implicit",
        ),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError) as e:
        Hypergradient(**options)
    assert why in str(e.value)


def test_a_study_of_many_trials_stays_quick(monkeypatch):
    """Each trial is encoded when it changes, not whenever somebody asks."""
    space = Space(x=Float(0, 1), y=Float(0, 1))
    calls = []
    before = Space.encode
    monkeypatch.setattr(Space, "encode", lambda self, p: calls.append(1) or before(self, p))
    study = Play(space)
    search = Hypergradient()
    for n in range(60):
        id = study.ask()
        made = search.propose(study.trials, streams.rng(n))
        study.set(id, params=made.params, origin=made.origin, state=State.RUNNING)
        u = np.array([made.params["x"], made.params["y"]]) - 0.4
        study.tell(id, float(u @ u), **{"gradient.x": 2 * u[0], "gradient.y": 2 * u[1]})
    assert len(calls) < 4 * 60
