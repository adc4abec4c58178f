"""Where two spaces differ is said in words, and only what makes them different."""

from __future__ import annotations

import pytest

from whet.tune.space import Choice, Const, Float, Int, Ordered, Space
from whet.tune.wording import parted

OPTIONS = {"sgd": Space(lr=Float(1e-4, 0.1, log=True), m=Float(0, 1)), "adam": None}
SPACE = Space(o=Choice(OPTIONS), n=Int(1, 4), w=Ordered([16, 32]), c=Const(3))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, ""),
        ({"n": Int(1, 5)}, "n is a whole number from 1 to 4 there, from 1 to 5 here"),
        ({"n": Float(1, 4)}, "n is a whole number from 1 to 4 there, a number from 1 to 4 here"),
        ({"n": Int(1, 4, live=True), "c": Const(4)}, "c is always 3 there, always 4 here"),
        ({"n": Int(1, 4, prior=(2, 1))}, "n has no prior there, the prior (2, 1.0) here"),
        ({"w": Ordered([16])}, "w is one of 16, 32, in this order there, one of 16, in this order here"),
        ({"z": Int(1, 2)}, "it has no z"),
        ({"o": Choice({**OPTIONS, "adam": Space(lr=Float(0, 1))})}, "it has no o.lr"),
        ({"o": Choice({**OPTIONS, "sgd": Space(lr=Float(1e-4, 1, log=True), m=Float(0, 1))})}, "o.lr is a number from 0.0001 to 0.1, logarithmic there, from 0.0001 to 1, logarithmic here"),
        ({"o": Choice(["sgd", "adam"])}, "it has o.lr, a number from 0.0001 to 0.1, logarithmic"),
        ({"o": Choice(["rms"])}, "o is one of 'sgd' (lr, m), 'adam' there, one of 'rms' here"),
    ],
)  # fmt: skip
def test_the_first_difference_is_said(other, said):
    assert parted(SPACE, Space(**{**SPACE, **other})) == said


def test_constraints():
    assert parted(SPACE.where("n < 3"), SPACE) == "its constraints: n < 3; here none"
