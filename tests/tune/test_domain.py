from __future__ import annotations

import enum
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.errors import SpaceError
from whet.tune.space import Choice, Const, Float, Int, Ordered, Space

UNIT = st.floats(0, 1)


@st.composite
def floats(draw):
    if draw(st.booleans()):
        low = draw(st.floats(1e-12, 1e6))
        return Float(low, low * draw(st.floats(1.001, 1e9)), log=True)
    low = draw(st.floats(-1e9, 1e9))
    return Float(low, low + draw(st.floats(1e-3, 1e9)) + abs(low) * 1e-3)


@st.composite
def ints(draw):
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -(2**39), 2**39))
    return Int(low, min(2**40, low + draw(st.sampled_from([1, 2, 7, 1000, 2**39]))), log=log)


@given(floats(), UNIT)
def test_a_float_survives_the_unit_interval(d, u):
    v = d.decode(u)
    assert d.low <= v <= d.high
    assert d.check(v) == v
    assert math.isclose(d.decode(d.encode(v)), v, rel_tol=1e-6, abs_tol=1e-9 * (d.high - d.low))
    assert 0 <= d.encode(v) <= 1
    assert math.isclose(d.decode(0), d.low, rel_tol=1e-9)
    assert math.isclose(d.decode(1), d.high, rel_tol=1e-9)


@given(ints(), UNIT, st.data())
def test_a_whole_number_survives_the_unit_interval(d, u, data):
    for v in (d.decode(u), d.low, d.high, data.draw(st.integers(d.low, d.high))):
        assert type(v) is int
        assert d.check(v) == v
        assert 0 <= d.encode(v) <= 1
        assert d.decode(d.encode(v)) == v
    assert d.size == d.high - d.low + 1


def test_every_whole_number_has_its_fair_share():
    d = Int(1, 4)
    counts = np.bincount([d.decode(u) for u in np.linspace(0, 1, 4001)[:-1]])
    assert counts[1:].tolist() == [1000] * 4
    log = Int(1, 1000, log=True)
    below = np.mean([log.decode(u) < 32 for u in np.linspace(0, 1, 2001)])
    assert 0.5 < below < 0.6  # half the magnitudes, and the wide cell of 1


@given(st.integers(1, 12), UNIT)
def test_options_survive_the_unit_interval(n, u):
    for d in (Choice(range(n)), Ordered(tuple(f"v{i}" for i in range(n)))):
        v = d.decode(u)
        assert d.decode(d.encode(v)) == v
        assert d.size == n
        assert [d.decode((i + 0.5) / n) for i in range(n)] == list(d.options if isinstance(d, Choice) else d.values)


def test_true_is_not_one_but_one_is_one():
    d = Choice([1, True, 0, False, "1", None])
    for v in d.options:
        assert d.check(v) is v or d.check(v) == v
        assert type(d.decode(d.encode(v))) is type(v)
    assert type(d.check(1.0)) is int
    with pytest.raises(SpaceError):
        Choice([1, 2]).check(True)
    with pytest.raises(SpaceError):
        Choice([True, False]).check(0)
    for numeric in (Int(0, 3), Float(0, 3)):
        with pytest.raises(SpaceError):
            numeric.check(True)


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


def test_numbers_of_numpy_and_enumerations_become_pythons():
    for d, given_, want in [
        (Float(0, 9), np.float32(0.5), 0.5), (Float(0, 9), np.int64(3), 3.0), (Int(0, 9), np.int8(3), 3),
        (Int(0, 9), np.float64(3.0), 3), (Choice([True, 1]), np.bool_(True), True), (Choice([True, 1]), np.int64(1), 1),
        (Choice(["red"]), np.str_("red"), "red"), (Choice(["red"]), Colour.RED, "red"), (Ordered([3]), Size.BIG, 3),
        (Const(3), np.int64(3), 3), (Ordered([0.5, 1.5]), np.float64(1.5), 1.5),
    ]:  # fmt: skip
        got = d.check(given_)
        assert got == want, (d, given_, got)
        assert type(got) is type(want), (d, given_, got)
        assert d.encode(given_) == d.encode(want)
    made = Choice([np.int64(1), Colour.RED, np.bool_(True), np.float32(0.5)]).options
    assert made == (1, "red", True, 0.5)
    assert [type(o) for o in made] == [int, str, bool, float]
    assert type(Int(np.int64(1), np.int64(3)).low) is int


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Float(0, 1, log=True), "low must be > 0 when log=True, got 0"),
        (lambda: Float(1, 1), "below high.*Const"),
        (lambda: Float(2, 1), "below high"),
        (lambda: Float(0, math.inf), "finite"),
        (lambda: Float(math.nan, 1), "finite"),
        (lambda: Float("0", 1), "finite numbers, got '0'"),
        (lambda: Float(True, 2), "finite"),
        (lambda: Float(-1e308, 1e308), "too wide"),
        (lambda: Float(0, 10**400), "finite"),
        (lambda: Float(0, 1, prior=(2, 0.1)), "prior"),
        (lambda: Float(0, 1, prior=(0.5, 0)), "prior"),
        (lambda: Float(0, 1, prior=0.5), "prior must be"),
        (lambda: Int(0.5, 3), "whole"),
        (lambda: Int(0, 2**60), "at most"),
        (lambda: Int(0, 3, log=True), "low must be > 0"),
        (lambda: Choice([]), "no options"),
        (lambda: Choice("ab"), "must be a list"),
        (lambda: Choice([1, 1.0]), "given twice"),
        (lambda: Choice([int]), "must be text, a number"),
        (lambda: Choice([math.nan]), "finite"),
        (lambda: Choice({"a": Float(0, 1)}), "must be a Space"),
        (lambda: Choice(3), "must be a list"),
        (lambda: Ordered("ab"), "must be a list"),
        (lambda: Ordered([]), "no options"),
        (lambda: Ordered([[1], [2]]), "must be text"),
        (lambda: Const([1]), "must be text"),
    ],
)
def test_a_domain_that_makes_no_sense_is_refused_in_one_line(make, match):
    with pytest.raises(SpaceError, match=match) as e:
        make()
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("domain", "value", "match"),
    [
        (Float(0, 1), 2, "x: got 2, allowed a number from 0 to 1"),
        (Float(0, 1), "0.5", "got '0.5'"),
        (Float(0, 1), math.nan, "got nan"),
        (Float(0, 1), None, "got None"),
        (Float(0, 1), 10**400, "allowed a number"),
        (Float(0, 1), np.array([0.5, 0.5]), "allowed a number"),
        (Int(1, 4), 2.5, "x: got 2.5, allowed a whole number from 1 to 4"),
        (Int(1, 4), 5, "got 5"),
        (Int(1, 4), math.inf, "got inf"),
        (Choice(["relu", "gelu"]), "relo", "x: got 'relo', allowed 'relu', 'gelu'. Did you mean 'relu'?"),
        (Choice(["relu"]), np.array(["relu", "relu"]), "allowed 'relu'"),
        (Choice(["relu"]), ["relu"], "allowed 'relu'"),
        (Choice(range(20)), 99, "allowed 0, .*, 9, ..."),
        (Ordered([16, 32]), 17, "x: got 17, allowed 16, 32"),
        (Const(10), 11, "x: got 11, allowed 10"),
    ],
)
def test_a_value_outside_is_refused_in_one_line(domain, value, match):
    with pytest.raises(SpaceError, match=match) as e:
        Space(x=domain).check({"x": value})
    assert len(str(e.value).splitlines()) == 1
