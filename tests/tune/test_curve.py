from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.tune.curve import Curve, Point

POINTS = st.builds(
    Point,
    st.integers(1, 9),
    st.floats(-5, 5),
    st.floats(0, 2),
    st.sampled_from([{}, {"acc": 0.5}, {"acc": 0.25, "f1": 1.0}]),
)


@given(st.lists(POINTS, max_size=8))
def test_it_is_the_sequence_of_its_points(points):
    curve = Curve(points)
    assert (len(curve), bool(curve)) == (len(points), bool(points))
    assert list(curve) == points
    assert curve == tuple(points)
    assert tuple(points) == curve
    assert [curve[i] for i in range(-len(points), len(points))] == points * 2
    assert [curve[a:b] for a in (0, 1, -2) for b in (2, 5)] == [tuple(points[a:b]) for a in (0, 1, -2) for b in (2, 5)]
    assert curve.values() == [p.value for p in points]
    assert curve.last == (points[-1].step if points else 0)
    for i in (len(points), -len(points) - 1):
        with pytest.raises(IndexError):
            curve[i]


@given(st.data())
def test_a_longer_curve_leaves_the_shorter_ones_as_they_were(data):
    """Any tree of curves grown from each other holds what a tree of tuples would."""
    curves, tuples = [Curve()], [()]
    for _ in range(data.draw(st.integers(0, 25))):
        i = data.draw(st.integers(0, len(curves) - 1))
        point = data.draw(POINTS)
        curves.append(curves[i].plus(point))
        tuples.append((*tuples[i], point))
        if data.draw(st.booleans()):  # its maker may add to the newest one in place
            point = data.draw(POINTS)
            curves[-1].grow(point.step, point.value, point.cost, point.metrics)
            tuples[-1] = (*tuples[-1], point)
    assert [tuple(c) for c in curves] == tuples
    for a, ta in zip(curves, tuples, strict=True):
        for b, tb in zip(curves, tuples, strict=True):
            assert (a == b) == (ta == tb)
            assert a.continues(b) == (ta[: len(tb)] == tb)


def test_the_same_point_again_shares_the_columns():
    short = Curve([Point(1, 0.5)])
    judged, written = short.plus(Point(2, 0.25, 1.0)), short.plus(Point(2, 0.25, 1.0))
    assert judged._steps is written._steps
    assert short.plus(Point(2, 0.3, 1.0))._steps is not written._steps
    assert copy.copy(written) == written


def test_a_step_is_found_among_the_points():
    curve = Curve([Point(1, 0.5), Point(3, 0.25)]).plus(Point(7, 0.1))
    assert [curve.place(s) for s in (0, 1, 2, 3, 4, 7, 8)] == [0, 0, 1, 1, 2, 2, 3]
    assert curve != "xyz"
    assert curve != 3
