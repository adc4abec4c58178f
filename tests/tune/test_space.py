from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from whet.errors import SpaceError
from whet.tune.layout import apart
from whet.tune.space import Choice, Const, Float, Int, Ordered, Space

OPTIONS = st.lists(
    st.sampled_from(["a", "b", "c", 1, True, 0.5, None, 16]), min_size=1, max_size=4, unique_by=lambda o: (type(o), o)
)
NUMBERS = st.sampled_from(
    [
        Float(0, 1),
        Float(1e-5, 1e-1, log=True),
        Float(-3, 4, prior=(1, 0.5), live=True),
        Int(1, 4),
        Int(-3, 90),
        Int(1, 512, log=True),
    ]
)
FINITE = st.sampled_from([Int(1, 3), Int(0, 1)])


def spaces(depth=2, numbers=NUMBERS):
    plain = numbers | OPTIONS.map(Choice) | OPTIONS.map(Ordered) | st.sampled_from([Const(3), Const("x"), Const(None)])
    if depth:
        inner = st.none() | spaces(depth - 1, numbers)
        plain |= st.dictionaries(st.sampled_from(["sgd", "adam", True, 3]), inner, min_size=1, max_size=3).map(Choice)
    return st.dictionaries(st.sampled_from(["lr", "o", "w", "é", "_x1"]), plain, max_size=3).map(lambda d: Space(**d))


SEEDS = st.integers(0, 2**32)


def close(space, a, b):
    assert list(a) == list(b)
    for name, value in a.items():
        if isinstance(value, float):
            assert math.isclose(value, b[name], rel_tol=1e-6, abs_tol=1e-9), name
        else:
            assert type(value) is type(b[name]), name
            assert value == b[name], name


@given(spaces(), SEEDS)
@settings(max_examples=60)
def test_a_sample_is_a_configuration_and_survives_the_cube(space, seed):
    params = space.sample(np.random.default_rng(seed))
    space.check(params)
    assert space.clean(dict(reversed(params.items()))) == params
    u = space.encode(params)
    assert u.shape == (len(space.dims),)
    assert u.dtype == float
    close(space, params, space.decode(u))
    for value, dim in zip(u, space.dims, strict=True):
        # a column of a branch that is not taken, even when another branch has a member of this name
        taken = all(type(params.get(n)) is type(o) and params.get(n) == o for n, o in dim.when)
        assert math.isnan(value) != taken
        assert not taken or 0 <= value <= 1
    assert set(params) <= set(space.names)
    assert len(set(space.names)) == len(space.names)
    again = space.sample(np.random.default_rng(seed))
    assert again == params


@given(spaces())
@settings(max_examples=60)
def test_a_space_survives_json(space):
    text = json.dumps(space.json(), allow_nan=False)
    back = Space.from_json(json.loads(text))
    assert back == space
    assert repr(back) == repr(space)
    assert [d.name for d in back.dims] == [d.name for d in space.dims]
    params = space.sample(np.random.default_rng(0))
    assert back.sample(np.random.default_rng(0)) == params


@given(spaces(numbers=FINITE))
@settings(max_examples=60)
def test_a_finite_space_has_as_many_points_as_it_says(space):
    assume(space.size < 3000)
    points = list(space.points())
    assert len(points) == space.size
    texts = {json.dumps(p) for p in points}
    assert len(texts) == len(points)
    for p in points[:20]:
        space.check(p)
    assert json.dumps(space.sample(np.random.default_rng(1))) in texts


@given(spaces(), SEEDS, st.data())
@settings(max_examples=60)
def test_filling_keeps_what_is_given(space, seed, data):
    rng = np.random.default_rng(seed)
    whole = space.sample(rng)
    some = data.draw(st.sets(st.sampled_from(list(whole)))) if whole else set()
    partial = {n: whole[n] for n in some}
    filled = space.fill(partial, rng)
    space.check(filled)
    assert all(filled[n] == v and type(filled[n]) is type(v) for n, v in partial.items())
    assert space.fill(whole, rng) == whole


def test_a_member_of_a_branch_brings_its_choice():
    space = Space(
        o=Choice(
            {
                "sgd": Space(m=Float(0, 0.5), k=Choice({"x": Space(deep=Int(1, 2)), "y": None})),
                "rms": Space(m=Float(0.6, 0.9)),
                "adam": None,
            }
        )
    )
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert space.fill({"o.m": 0.3}, rng)["o"] == "sgd"
        assert space.fill({"o.m": 0.7}, rng)["o"] == "rms"
        deep = space.fill({"o.k.deep": 2}, rng)
        assert deep["o"] == "sgd"
        assert deep["o.k"] == "x"
        assert deep["o.k.deep"] == 2
    assert {space.fill({}, rng)["o"] for _ in range(40)} == {"sgd", "rms", "adam"}
    for bad in ({"o.m": 0.55}, {"o": "adam", "o.m": 0.3}, {"o.m": 0.7, "o.k": "x"}):
        with pytest.raises(SpaceError):
            space.fill(bad, rng)


BRANCHED = Space(
    o=Choice(
        {
            "x": Space(a=Int(1, 4), b=Int(1, 4)).where("a < b"),
            "y": Space(a=Int(1, 4), b=Int(1, 4)),
            "z": Space(inner=Choice({"p": Space(c=Int(1, 9)).where("c % 2 == 0"), "q": None})),
        }
    ),
    n=Int(1, 3),
).where("n < 3 or o != 'y'")


def test_constraints_hold_everywhere_also_in_branches():
    rng = np.random.default_rng(0)
    points = list(BRANCHED.points())
    assert len(points) == BRANCHED.size == 3 * 6 + 2 * 16 + 3 * 5
    seen = set()
    for params in [BRANCHED.sample(rng) for _ in range(300)] + points:
        BRANCHED.check(params)
        seen.add(params["o"])
        if params["o"] == "x":
            assert params["o.a"] < params["o.b"]
        assert params["o"] != "y" or params["n"] < 3
        assert params.get("o.inner.c", 2) % 2 == 0
        assert BRANCHED.allows(params)
    assert seen == {"x", "y", "z"}
    BRANCHED.check({"o": "y", "o.a": 4, "o.b": 1, "n": 1})
    for bad, text in (
        ({"o": "x", "o.a": 4, "o.b": 1, "n": 1}, "a < b"),
        ({"o": "z", "o.inner": "p", "o.inner.c": 3, "n": 1}, "c % 2"),
    ):
        assert not BRANCHED.allows(bad)
        with pytest.raises(SpaceError, match=f'violates the constraint "{text}'):
            BRANCHED.check(bad)
        with pytest.raises(SpaceError, match=f'violates the constraint "{text}'):
            BRANCHED.fill(bad, rng)
    back = Space.from_json(json.loads(json.dumps(BRANCHED.json())))
    assert back == BRANCHED
    assert back.size == BRANCHED.size
    assert BRANCHED.fill({"o.a": 4}, rng)["o"] == "y"


def test_an_impossible_constraint_is_named():
    space = Space(a=Int(1, 3)).where("a > 5")
    assert space.size == 0
    for act in (space.sample, lambda rng: space.fill({}, rng)):
        with pytest.raises(SpaceError, match=r"a > 5. Loosen"):
            act(np.random.default_rng(0))


def test_the_few_configurations_that_constraints_leave_are_all_found():
    rng = np.random.default_rng(0)
    space = Space(a=Int(0, 200), b=Int(0, 200)).where("a + b <= 2")  # 6 of 40,401
    assert {tuple(space.sample(rng).values()) for _ in range(80)} == {tuple(p.values()) for p in space.points()}
    assert {space.fill({"a": 1.0}, rng)["b"] for _ in range(20)} == {0, 1}
    with pytest.raises(SpaceError, match=r"a \+ b <= 2. Loosen"):
        space.fill({"a": 3}, rng)
    uneven = Space(a=Int(1, 200, log=True), b=Int(1, 200, log=True)).where("a + b >= 392")  # draws hardly meet its 45
    assert uneven.size * 1000 > 200 * 200
    for _ in range(10):
        space.check(space.sample(rng))
        uneven.check(uneven.sample(rng))
    endless = Space(x=Float(0, 1), y=Float(0, 1)).where("x + y <= 0.03")  # a 2,000th of the square
    for _ in range(10):
        endless.check(endless.sample(rng))


def test_a_constraint_leaves_the_space_it_was_made_from_alone():
    space = Space(a=Int(1, 4))
    assert space.size == 4  # remembered, and not by the new one
    assert space.where("a > 1").where("a < 4").size == 2
    assert space.size == 4
    assert space.constraints == ()
    assert space.where("a > 1").constraints == ("a > 1",)
    assert space.where("a > 1") != space


SPACE = Space(
    lr=Float(1e-5, 1e-1, log=True),
    o=Choice({"sgd": Space(momentum=Float(0, 0.99)), "adam": Space()}),
    classes=Const(10),
)
GOOD = {"lr": 1e-3, "o": "sgd", "o.momentum": 0.9, "classes": 10}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"lr": 2.0}, "lr: got 2.0, allowed a number from 1e-05 to 0.1"),
        ({"momentum": 0.9}, "momentum: no such hyperparameter. Did you mean 'o.momentum'"),
        ({"o.momentun": 0.9}, "o.momentun: no such hyperparameter. Did you mean 'o.momentum'. Allowed: lr, o"),
        ({"o": "adam"}, "o.momentum: does not exist in this branch"),
        ({"o": "sdg"}, "o: got 'sdg', allowed 'sgd', 'adam'. Did you mean 'sgd'"),
        ({"lr": None}, "lr: got None"),
        ({"classes": 11}, "classes: got 11, allowed 10"),
        ({3: 4}, "3: no such"),
        ({"two\nlines": 4}, "two lines: no such"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_in_one_line(change, match):
    bad = {**GOOD, **change}
    for act in (SPACE.check, lambda p: SPACE.fill(p, np.random.default_rng(0))):
        with pytest.raises(SpaceError, match=match.replace("?", r"\?")) as e:
            act(bad)
        assert len(str(e.value).splitlines()) == 1


def test_a_missing_value_is_refused():
    for name in GOOD:
        with pytest.raises(SpaceError, match=f"^{name}: missing"):
            SPACE.check({k: v for k, v in GOOD.items() if k != name})
    for what in (None, 3, ["lr"], "lr"):
        with pytest.raises(SpaceError, match="must be a mapping"):
            SPACE.check(what)


def test_what_cannot_be_encoded_or_decoded():
    with pytest.raises(SpaceError, match="lr: missing"):
        SPACE.encode({"o": "adam"})
    with pytest.raises(SpaceError, match="o: got 'sdg'"):
        SPACE.encode({**GOOD, "o": "sdg"})
    for u, match in (
        ([0.5], "3 dimensions"),
        ([0.5, 2, 0.5], "o: decode needs"),
        ([math.nan, 0.5, 0.5], "lr: decode needs"),
    ):
        with pytest.raises(SpaceError, match=match):
            SPACE.decode(u)
    assert SPACE.decode([0.5, 0.9, math.nan])["o"] == "adam"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Space(lr=0.1), "lr: must be Float.*Const"),
        (lambda: Space(lr=[1, 2]), r"lr: must be .*Choice\(...\)"),
        (lambda: Space(**{"a b": Const(1)}), "not a name"),
        (lambda: Space(**{"a.b": Const(1)}), "not a name"),
        (lambda: Space(**{"1a": Const(1)}), "not a name"),
        (lambda: Space(a=Const(1)).where(3), "a constraint is text"),
        (lambda: Space(a=Float(0, 1)).points().__next__(), "endless"),
        (lambda: Space.from_json({"domains": {"a": {"type": "Spiral"}}}), "unknown domain type 'Spiral'"),
        (
            lambda: Space.from_json({"domains": {"a": {"type": "Float", "low": 0, "high": 1, "twist": 2}}}),
            "newer version",
        ),
        (lambda: Space.from_json({"domains": {"a": {"type": "Int"}}}), "cannot read"),
        (lambda: Space.from_json([1]), "cannot read"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_in_one_line(make, match):
    with pytest.raises(SpaceError, match=match) as e:
        make()
    assert len(str(e.value).splitlines()) == 1


def test_it_is_a_mapping():
    assert list(SPACE) == ["lr", "o", "classes"]
    assert len(SPACE) == 3
    assert SPACE["classes"] == Const(10)
    assert Space(**SPACE) == SPACE
    assert hash(SPACE) == hash(Space(**SPACE))
    assert Space() != SPACE
    assert SPACE != 3
    assert Space().sample(np.random.default_rng(0)) == {}
    assert Space().size == 1
    assert list(Space().points()) == [{}]


def test_the_size_with_constraints_is_an_upper_bound_only_when_it_is_large():
    small = Space(**{f"x{i}": Int(0, 9) for i in range(4)}).where("x0 == x1")
    assert small.size == 1000
    large = Space(**{f"x{i}": Int(0, 9) for i in range(6)}).where("x0 == x1")
    assert large.size == 10**6
    assert Space(x=Float(0, 1), y=Int(0, 1)).where("x < 0.5").size is None


def test_names_of_columns_are_told_apart_however_alike_their_branches_are():
    options = {1: Space(m=Float(0, 1)), "1": Space(m=Float(0, 1), k=Int(1, 3))}
    deep = Choice({o: Space(c=Choice({"x": Space(m=Float(0, 1)), "y": None})) for o in ("s", "t")})
    assert apart(Space(o=Choice(options)).dims) == ("o", "o.m (1)", 'o.m ("1")', "o.k")
    found = apart(Space(o=deep, p=deep, z=Int(1, 2)).dims)
    assert len(set(found)) == len(found) == 11
    assert found[-1] == "z"
    assert "p.c.m (t, x)" in found
