from __future__ import annotations

import math
import operator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from whet.errors import SpaceError
from whet.tune.constraint import Constraint

NAMES = ["a", "b", "name", "o.momentum", "o"]
VALUES = {"a": 3, "b": 0.5, "name": "x", "o.momentum": 0.9, "o": "sgd"}


@pytest.mark.parametrize(
    "text",
    [
        "a < 4", "a <= 3 < 4", "a * b + 1 - 2 / 4 >= 1", "a ** 2 == 9", "a ** 0.5 < 2", "-a < 0", "not a == 4", "a % 2 == 1",
        "a // 2 == 1", "name == 'x' and a > 1", "name == 'y' or a > 1", "name in ('x', 'y')", "name not in ['y']",
        "o.momentum > 0.5", "o == 'sgd' and o.momentum < 1", "((a)) < 4", "a != None", "'x' in name",
    ],
)  # fmt: skip
def test_what_holds_is_as_python_says(text):
    assert Constraint(text, NAMES).holds(VALUES)
    assert not Constraint(f"not ({text})", NAMES).holds(VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true') == a", "abs(a) < 3", "(lambda: a)() < 3", "lambda: a", "a.real < 3", "a.__class__ == 1",
        "a[0] < 3", "name[0] == 'x'", "[x for x in (a,)] == a", "{a: 1} == 1", "{a} == 1", "a ** a < 9", "a ** 9 < 9",
        "9 ** 9 ** 9 < a", "a << 9 < 3", "a | 1 == 1", "a @ b == 1", "~a < 3", "+a < 3", "f'{a}' == 'x'", "a if b else 1",
        "(a := 3) < 4", "a is 3", "b'x' == name", "1j < a", "... == a", "*a < 3", "a, *(b, b) == 1", "await a", "yield a",
        "import os", "a = 3", "a; b", "exec('a')", "().__class__.__base__ == a", "a < ", "", "a b",
    ],
)  # fmt: skip
def test_what_is_more_than_a_comparison_is_refused_in_one_line(text):
    with pytest.raises(SpaceError, match="constraint") as e:
        Constraint(text, NAMES)
    assert len(str(e.value).splitlines()) == 1


def test_a_comment_after_a_newline():
    with pytest.raises(SpaceError):
        Constraint("a <\n", NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "'x' * 10 * a == name",
        "name * a == 'x'",
        "'%9d' % a == name",
        "[1] * 9 == a",
        "name + 'x' == 'xx'",
        "-name == 1",
    ],
)
def test_arithmetic_is_for_numbers(text):
    with pytest.raises(SpaceError, match=r"cannot be computed.*arithmetic needs numbers"):
        Constraint(text, NAMES).holds(VALUES)


@pytest.mark.parametrize("text", ["a / (a - 3) < 1", "a % 0 == 1", "name < a", "a in 3", "(-a) ** 0.5 < 1"])
def test_what_cannot_be_computed_is_said_in_one_line(text):
    with pytest.raises(SpaceError, match="cannot be computed for") as e:
        Constraint(text, NAMES).holds(VALUES)
    assert len(str(e.value).splitlines()) == 1


def test_unknown_names_are_named_with_the_nearest():
    with pytest.raises(SpaceError, match=r"no hyperparameter `o.momentun`. Did you mean 'o.momentum'"):
        Constraint("o.momentun < 1", NAMES)
    with pytest.raises(SpaceError, match="names no hyperparameter"):
        Constraint("1 < 2", NAMES)


@pytest.mark.parametrize(
    "text", ["(" * 300 + "a" + ")" * 300 + "<1", "not " * 400 + "a", "-" * 900 + "a < 1", "a < 1" + " " * 3000 + "x"]
)
def test_monsters_end_in_an_answer(text):
    said = "one line"
    try:
        Constraint(text, NAMES).holds(VALUES)
    except SpaceError as e:
        said = str(e)
    assert len(said.splitlines()) == 1


def test_a_name_that_is_not_there_makes_it_hold():
    c = Constraint("o.momentum > 5", NAMES)
    assert c.holds({"o": "adam"})
    assert not c.holds(VALUES)
    inner = Constraint("momentum > 5", ["momentum"])
    assert inner.holds({"momentum": 1}, "o.")
    assert not inner.holds({"o.momentum": 1}, "o.")


@st.composite
def expressions(draw, depth=3):
    """Return an expression as text and as a function, built side by side."""
    if depth == 0 or draw(st.booleans()):
        if draw(st.booleans()):
            name = draw(st.sampled_from(["a", "b"]))
            return name, lambda p: p[name]
        n = draw(st.integers(0, 9))
        return str(n), lambda p: n
    sign = draw(st.sampled_from("+-*/"))
    act = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[sign]
    (s, f), (t, g) = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    return f"({s} {sign} {t})", lambda p: act(f(p), g(p))


@given(expressions(), st.integers(-5, 5), st.floats(-5, 5))
def test_arithmetic_is_pythons(expression, a, b):
    text, f = expression
    assume("a" in text or "b" in text)
    params = {"a": a, "b": b}
    try:
        want = f(params)
    except ZeroDivisionError:
        with pytest.raises(SpaceError):
            Constraint(f"{text} < 1", ["a", "b"]).holds(params)
        return
    assume(math.isfinite(want))
    assert Constraint(f"{text} < 1", ["a", "b"]).holds(params) == (want < 1)
