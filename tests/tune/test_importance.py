"""What is said of studies whose truth is known: functions whose ANOVA can be written down, noise, branches, and trials of every kind."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from whet.errors import StudyError
from whet.tune.curve import Point
from whet.tune.importance import importance
from whet.tune.importance.result import Importance, Part
from whet.tune.space import Choice, Float, Int, Ordered, Space
from whet.tune.trial import Goal, State, Trial, Trials

PLAIN = Space(a=Float(0, 1), b=Int(1, 8), c=Choice(["x", "y", "z"]), d=Float(1e-4, 1, log=True))
BRANCH = Space(o=Choice({"s": Space(m=Float(0, 1)), "t": None, "u": None, "v": None}), z=Float(0, 1))


def drawn(
    space: Space, f: Callable[[Mapping[str, Any]], float], n: int, seed: int = 0, goal: str = "min", **more: Any
) -> Trials:
    rng = np.random.default_rng(seed)
    done = []
    for i in range(n):
        p = space.sample(rng)
        done.append(Trial(i, p, State.DONE, value=f(p)))
    return Trials(done, space=space, goals=(Goal("loss", goal),), **more)  # type: ignore[arg-type]


def by_name(found: Importance) -> dict[str, Part]:
    return {p.name: p for p in found.parts}


@pytest.mark.parametrize("seed", range(4))
def test_shares_are_those_of_a_sum(seed: int) -> None:
    """Of 3 a + d (d by its place on the logarithmic scale) the variances are 9 / 12 and 1 / 12: shares 0.9 and 0.1."""
    found = importance(drawn(PLAIN, lambda p: 3 * p["a"] + (math.log10(p["d"]) + 4) / 4, 300, seed), pairs=True)
    part = by_name(found)
    assert [p.name for p in found.parts[:2]] == ["a", "d"]
    assert part["a"].alone.value == pytest.approx(0.9, abs=0.05)
    assert part["d"].alone.value == pytest.approx(0.1, abs=0.05)
    assert part["a"].alone.low < 0.9 < part["a"].alone.high
    assert {n: p.verdict for n, p in part.items()} == {
        "a": "matters", "d": "matters", "b": "does not matter", "c": "does not matter",
    }  # fmt: skip
    assert found.rest is not None
    assert sum(p.alone.value for p in found.parts) + sum(p.share.value for p in found.pairs) + found.rest == pytest.approx(1)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_what_two_do_only_together_is_said_to_matter(seed: int) -> None:
    """Of sign(a - 1/2) sign(d - 1/2) nothing is due to either alone."""

    def both(p: Mapping[str, Any]) -> float:
        return float((p["a"] < 0.5) == (p["d"] < 0.01))

    found = importance(drawn(PLAIN, both, 300, seed), pairs=True)
    part = by_name(found)
    assert max(part["a"].alone.value, part["d"].alone.value) < 0.2
    assert found.pairs[0].names == ("a", "d")
    assert found.pairs[0].share.value > 0.5
    assert part["a"].verdict == part["d"].verdict == "matters"
    assert "matters" not in (part["b"].verdict, part["c"].verdict)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [20, 60])
def test_of_noise_one_cannot_tell(n: int, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    found = importance(drawn(PLAIN, lambda p: float(rng.normal()), n, seed))
    assert not found.said("matters")
    if not found.predicts:
        assert len(found.said("cannot tell")) == 4


@pytest.mark.parametrize("n", [20, 40])
def test_what_happens_to_go_with_what_matters_is_seldom_said_to_matter(n: int) -> None:
    """Among few trials a dimension that does nothing goes with one that does much. Of 50 such, 6 and 4 were said to matter when a verdict went by the spread of
    its own copies alone.
    """
    space = Space(
        lr=Float(1e-5, 1, log=True), o=Choice({"s": Space(m=Float(0, 1)), "t": None}), k=Int(1, 4), c=Choice(list("abc")), w=Float(0, 1)
    )  # fmt: skip
    wrong, right = [], 0
    for seed in range(10):
        rng = np.random.default_rng(seed + 1000)
        found = importance(drawn(space, lambda p: abs(math.log10(p["lr"]) + 2) + 0.3 * rng.normal(), n, seed))  # noqa: B023
        wrong += [(seed, p.name) for p in found.said("matters") if p.name != "lr"]
        right += by_name(found)["lr"].verdict == "matters"
    assert len(wrong) <= 1, wrong
    assert right >= 7


def test_a_member_of_a_branch_counts_as_often_as_it_exists() -> None:
    """f = m where o is s, else 1/2: m varies by 1 / 12 in a quarter of the space, and nothing else varies. All of it is the member's, and none of
    it the choice's alone, whose options have the same mean.
    """
    found = importance(drawn(BRANCH, lambda p: p.get("o.m", 0.5), 400), pairs=True)
    part = by_name(found)
    assert part["o.m"].alone.value > 0.9
    assert part["o.m"].exists == 0.25
    assert part["o.m"].when == "o s"
    assert part["o"].alone.value < 0.05
    assert ("o", "o.m") not in [p.names for p in found.pairs]
    # beside something that varies four times as much over all the space, its share is a fifth: 1/4 * 1/12 against 1/12
    found = importance(drawn(BRANCH, lambda p: p.get("o.m", 0.5) + p["z"], 600))
    assert by_name(found)["o.m"].alone.value == pytest.approx(0.2, abs=0.06)
    # its curve is that of where it exists
    m = by_name(found)["o.m"]
    assert m.mean[-1] - m.mean[0] == pytest.approx(0.9, abs=0.2)


@pytest.mark.parametrize("better", ["min", "max"])
def test_curves_are_in_the_units_of_the_metric(better: str) -> None:
    found = importance(drawn(PLAIN, lambda p: 100 + 10 * p["a"] + {"x": 0, "y": 5, "z": 0}[p["c"]], 300, goal=better))
    a, c = by_name(found)["a"], by_name(found)["c"]
    assert a.mean[0] == pytest.approx(101.7, abs=1.5)
    assert a.mean[-1] == pytest.approx(111.7, abs=1.5)
    assert (a.low <= a.mean).all()
    assert (a.mean <= a.high).all()
    assert c.axis.values == ("x", "y", "z")
    assert c.mean[1] - c.mean[0] == pytest.approx(5, abs=1)
    assert a.axis.values[a.best(found.goal)] < 0.2 if better == "min" else a.axis.values[a.best(found.goal)] > 0.8  # type: ignore[operator]
    assert c.axis.values[c.best(found.goal)] in (("x", "z") if better == "min" else ("y",))


def test_min_and_max_of_the_turned_metric_are_the_same() -> None:
    f = lambda p: p["a"] ** 2 + 0.3 * p["b"]  # noqa: E731
    one, other = importance(drawn(PLAIN, f, 80)), importance(drawn(PLAIN, lambda p: -f(p), 80, goal="max"))
    assert [(p.name, p.alone, p.verdict) for p in one.parts] == [(p.name, p.alone, p.verdict) for p in other.parts]


def test_the_same_trials_say_the_same_again() -> None:
    trials = drawn(PLAIN, lambda p: p["a"] + p["b"] / 8, 50)
    assert importance(trials, pairs=True).json() == importance(trials, pairs=True).json()
    assert importance(trials, seed=1).json() != importance(trials).json()


def test_near_the_top_other_things_matter() -> None:
    """Far from the best a counts, by a step; of what is good all is due to d."""

    def f(p: Mapping[str, Any]) -> float:
        return (10.0 if p["a"] > 0.3 else 0.0) + (math.log10(p["d"]) + 4) / 4

    trials = drawn(PLAIN, f, 400)
    everywhere, near = importance(trials), importance(trials, top=0.2)
    assert everywhere.parts[0].name == "a"
    assert by_name(near)["d"].alone.value > 5 * by_name(everywhere)["d"].alone.value
    assert near.top == 0.2
    assert near.pulled is not None
    assert near.pulled < 1.0


def test_diverged_trials_do_not_rule_it() -> None:
    def f(p: Mapping[str, Any]) -> float:
        return 1e30 if p["b"] == 8 and p["c"] == "z" else p["a"]

    found = importance(drawn(PLAIN, f, 200))
    assert found.pulled is not None
    assert found.pulled < 10
    assert by_name(found)["a"].verdict == "matters"


def test_trials_that_failed_or_have_no_value_are_counted_and_half_trained_ones_count_as_forecast() -> None:
    rng = np.random.default_rng(0)
    done = []
    for i in range(60):
        p = PLAIN.sample(rng)
        curve = tuple(Point(s, p["a"] + 1.0 / s) for s in range(1, 11))  # type: ignore[operator]
        if i % 3 == 0:
            done.append(Trial(i, p, State.STOPPED, curve[:4], curve[3].value))
        else:
            done.append(Trial(i, p, State.DONE, curve, curve[-1].value))
    done[5] = Trial(5, done[5].params, State.FAILED, error="boom")
    done[7] = Trial(7, done[7].params, State.RUNNING)
    done[8] = Trial(8, {}, State.WAITING)
    done[10] = Trial(10, done[10].params, State.DONE, value=math.inf)
    found = importance(Trials(done, space=PLAIN, steps=10))
    assert (found.trials, found.failed) == (56, 2)
    assert found.partial == 20
    assert found.parts[0].name == "a"


def test_constraints_priors_one_value_and_many_options() -> None:
    space = Space(
        a=Float(0, 1, prior=(0.2, 0.1)), one=Choice(["only"]), many=Choice([f"o{k}" for k in range(80)]),
        wide=Int(1, 5000), steps=Ordered([2.0**k for k in range(70)]),
    ).where("wide > 10 * a")  # fmt: skip
    found = importance(drawn(space, lambda p: p["a"] + 1e-4 * p["wide"], 60), pairs=True)
    part = by_name(found)
    assert "one" not in part
    assert (len(part["many"].mean), len(part["wide"].mean), len(part["steps"].mean)) == (80, 64, 64)


def test_two_branches_may_have_a_member_of_one_name() -> None:
    space = Space(
        o=Choice({"s": Space(lr=Float(0, 1)), "t": Space(lr=Float(0, 1), k=Choice({"u": Space(lr=Int(1, 3))}))})
    )
    found = importance(drawn(space, lambda p: p["o.lr"] if p["o"] == "s" else 0.5, 200))
    part = by_name(found)
    assert set(part) == {"o", "o.lr (s)", "o.lr (t)", "o.k.lr"}  # o.k has one option
    assert part["o.lr (s)"].alone.value > 0.8
    assert part["o.lr (t)"].alone.value < 0.1


@pytest.mark.parametrize(
    ("trials", "top", "said"),
    [
        (drawn(PLAIN, lambda p: p["a"], 7), None, "7 of 7 trials have a value; what matters needs at least 8"),
        (drawn(PLAIN, lambda p: 1.0, 20), None, "all 20 trials have the same value"),
        (drawn(PLAIN, lambda p: p["a"], 30), 0.05, "top 0.05: 2 of 30 trials are among the best; at least 4"),
        (drawn(PLAIN, lambda p: p["a"], 30), 1.0, "top: must be above 0 and below 1, got 1"),
        (Trials([], space=Space()), None, "no dimension that could matter"),
    ],
)
def test_what_cannot_be_measured_is_said(trials: Trials, top: float | None, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        importance(trials, top=top)


FINITE = Space(
    o=Choice({"s": Space(m=Int(1, 4), n=Choice(["p", "q"])), "t": Space(m=Int(1, 3)), "u": None}),
    z=Int(1, 4),
    w=Ordered([1, 2, 3]),
)


def conditional(p: Mapping[str, Any]) -> float:
    """m counts in both branches but not alike, n only turns the sign of what m does, z counts with s and u."""
    if p["o"] == "s":
        return float((p["o.m"] - 2.5) * (1 if p["o.n"] == "p" else -0.4) + p["z"])
    return 1.5 * p["o.m"] if p["o"] == "t" else 4.0 + 0.5 * p["z"]


def exhaustive() -> dict[tuple[str, ...], float]:
    """Return the shares of FINITE by their definitions, from every configuration: those alone and of pairs by name, in all as (name, "in all").

    Of a branch: the variance within it times how often it is taken. What is not taken has a value too for the share that the choice has in all.
    """
    axes: dict[str, list[Any]] = {
        "o": ["s", "t", "u"], "s.m": [1, 2, 3, 4], "s.n": ["p", "q"], "t.m": [1, 2, 3], "z": [1, 2, 3, 4], "w": [1, 2, 3],
    }  # fmt: skip
    rows = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    f = np.array([
        conditional({"o": r["o"], "z": r["z"], **({"o.m": r[f"{r['o']}.m"]} if r["o"] != "u" else {}), **({"o.n": r["s.n"]} if r["o"] == "s" else {})})
        for r in rows
    ])  # fmt: skip
    when = {"s.m": "s", "s.n": "s", "t.m": "t"}

    def mean(given: tuple[str, ...], some: np.ndarray) -> np.ndarray:
        """Return for each row the mean over the rows among `some` that have the same values of `given`."""
        of: dict[Any, list[int]] = {}
        for i in np.flatnonzero(some):
            of.setdefault(tuple(rows[i][g] for g in given), []).append(int(i))
        out = np.zeros(len(rows))
        for same in of.values():
            out[same] = f[same].mean()
        return out

    total = f.var()
    found: dict[tuple[str, ...], float] = {}
    for a in axes:
        some = np.array([r["o"] == when.get(a, r["o"]) for r in rows])
        found[(a,)] = some.mean() * mean((a,), some)[some].var() / total
        rest = mean(tuple(b for b in axes if b != a), np.ones(len(rows), bool))
        found[a, "in all"] = ((f - rest) ** 2).mean() / total
    for a, b in itertools.combinations(axes, 2):
        there = {when[x] for x in (a, b) if x in when}
        if len(there) > 1 or ("o" in (a, b) and there):
            continue
        some = np.array([r["o"] in there or not there for r in rows])
        joint = mean((a, b), some) - mean((a,), some) - mean((b,), some)
        found[a, b] = some.mean() * joint[some].var() / total
    return found


@pytest.mark.parametrize("seed", range(4))
def test_shares_of_a_conditional_function_are_those_of_every_configuration(seed: int) -> None:
    true = exhaustive()
    named = {"o": "o", "o.m (s)": "s.m", "o.n": "s.n", "o.m (t)": "t.m", "z": "z", "w": "w"}
    found = importance(drawn(FINITE, conditional, 500, seed), pairs=True)
    assert set(by_name(found)) == set(named)
    for name, part in by_name(found).items():
        assert part.alone.value == pytest.approx(true[(named[name],)], abs=0.05), name
        assert part.total.value == pytest.approx(true[named[name], "in all"], abs=0.05), name
    for joint in found.pairs:
        a, b = sorted((named[n] for n in joint.names), key=list(named.values()).index)
        assert joint.share.value == pytest.approx(true[a, b], abs=0.04), (a, b)
    assert {p.name for p in found.said("does not matter")} == {"w"}
    assert {p.name for p in found.said("matters")} == set(named) - {"w"}
    # so much is due to each that a mistake would be seen
    assert sum(v > 0.06 for k, v in true.items() if k[-1] != "in all") >= 5


def test_children_on_inherited_weights_are_left_out_and_counted() -> None:
    """Every child comes out well whatever its rate: taken for their own configurations' they would hide that the rate decides."""
    space = Space(lr=Float(0, 1, live=True), width=Float(0, 1))
    own = drawn(space, lambda p: p["lr"], 40, steps=9)
    rng = np.random.default_rng(1)
    born = [
        Trial(40 + i, {**own[i].params, "lr": float(rng.random())}, State.DONE, value=0.0, parent=(i, 3))
        for i in range(40)
    ]
    born.append(Trial(80, own[0].params, State.DONE, value=own[0].value, parent=(0, 3)))
    found = importance(Trials([*own, *born], space=space, steps=9))
    alone = importance(Trials([*own, Trial(40, own[0].params, State.DONE, value=own[0].value)], space=space, steps=9))
    assert (found.inherited, found.trials) == (40, 41)
    assert found.json()["inherited"] == 40
    assert found.parts[0].alone.value > 0.9
    assert [p.alone for p in found.parts] == [p.alone for p in alone.parts]
    with pytest.raises(StudyError, match=r"7 of 14 trials have a value of their own \(7 went on from weights of another configuration\)"):  # fmt: skip
        importance(Trials([*own[:7], *(Trial(7 + i, born[i].params, State.DONE, value=0.0, parent=(i, 3)) for i in range(7))], space=space, steps=9))  # fmt: skip


def test_what_has_one_value_is_no_dimension() -> None:
    space = Space(one=Choice({"sgd": Space(m=Float(0, 1))}), a=Float(0, 1), two=Ordered([8]))
    found = importance(drawn(space, lambda p: p["a"] + p["one.m"], 60), pairs=True)
    assert {(p.name, p.when, p.exists) for p in found.parts} == {("a", "", 1.0), ("one.m", "", 1.0)}
    assert [set(j.names) for j in found.pairs] == [{"a", "one.m"}]
    fixed = Space(one=Choice(["x"]))
    with pytest.raises(StudyError, match="no dimension that could matter: every value in it is fixed"):
        importance(drawn(fixed, lambda p: 0.0, 20))


@pytest.mark.parametrize("seed", range(2))
def test_of_what_hardly_anybody_tried_it_is_not_said_that_it_does_not_matter(seed: int) -> None:
    """A grid at its beginning has one value of most dimensions and takes one branch; one or two trials with another value tell a forest nothing either."""
    space = Space(a=Float(0, 1), b=Float(0, 1), still=Choice(["x", "y"]), once=Choice(["x", "y"]), often=Choice(["x", "y"]), o=Choice({"s": Space(m=Float(0, 1)), "t": None}))  # fmt: skip
    rng = np.random.default_rng(seed)
    done = []
    for i in range(60):
        p = {"a": float(rng.random()), "b": float(rng.random()), "still": "x", "once": "y" if i == 7 else "x", "often": "xy"[i % 2], "o": "t"}  # fmt: skip
        done.append(Trial(i, p, State.DONE, value=p["a"]))
    part = by_name(importance(Trials(done, space=space)))
    assert part["a"].verdict == "matters"
    assert {n: part[n].verdict for n in ("still", "once", "o", "o.m")} == dict.fromkeys(("still", "once", "o", "o.m"), "cannot tell")  # fmt: skip
    assert part["often"].verdict == part["b"].verdict == "does not matter"
