from __future__ import annotations

import math
import sys

import pytest

from whet import stop
from whet.errors import UsageError
from whet.stop import Cost, Diverged, Patience, Reading, Steps, Target, Time, best, curve


def when(criterion, values):
    """Return the step at which `criterion` first says stop, None when it never does."""
    points = curve(*values)
    return next((i for i in range(1, len(points) + 1) if criterion(points[:i])), None)


nan, inf = math.nan, math.inf


@pytest.mark.parametrize(
    ("criterion", "values", "step"),
    [
        (Target(0.5), [0.9, 0.5, 0.4], 2),
        (Target(0.5, "max"), [0.4, 0.49, nan, 0.6], 4),
        (Target(0.5), [nan, inf], None),
        (Patience(2), [3, 2, 2, 2, 1], 4),
        (Patience(2), [3, 2, 2.5, 1.9, 2, 2], 6),
        (Patience(2, "max"), [1, 2, 1.9, 1.8], 4),
        (Patience(2, delta=0.5), [3, 2.8, 2.6], 3),
        (Patience(2, delta=0.5), [3, 2.6, 2.4, 2.2, 2.0], 5),  # the creep to 2.4 counts, from there 0.4 does not
        (Patience(3), [nan, nan, nan], 3),
        (Patience(2), [1, nan, nan], 3),
        (Patience(1), [5, 4, 3], None),
        (Diverged(), [1, 2, 100], None),
        (Diverged(), [1, inf], 2),
        (Diverged(10), [1, 0.1, 0.9, 1.1], 4),
        (Steps(3), [1, 1, 1], 3),
        (Steps(2) | Target(0.1), [0.05, 1], 1),
        (Steps(2) & Target(0.1), [0.05, 0.2, 0.05], 3),
        (Target(0.1) | Steps(9) & Diverged(), [1, nan], None),
        (Patience(2) | Diverged() | Steps(9), [1, nan], 2),
        (stop.All(()), [1, 1], None),
        (stop.Any(()), [1, 1], None),
    ],
)
def test_when_each_says_stop(criterion, values, step):
    assert when(criterion, values) == step


@pytest.mark.parametrize("criterion", [Target(0), Patience(1), Diverged(), Steps(1), Cost(1)])
def test_nothing_is_said_before_the_first_point(criterion):
    assert criterion([]) is None


def test_another_metric_than_the_value():
    points = [Reading(1, 0.1, metrics={"train_loss": 1.0}), Reading(2, 0.1, metrics={"train_loss": nan})]
    assert "train_loss nan" in Diverged(metric="train_loss")(points)
    assert Diverged(metric="absent")(points) is None
    assert Target(2, metric="train_loss")(points[:1])
    assert Patience(1, metric="train_loss")(points)


def test_cost_adds_up():
    points = [Reading(i, 1.0, cost=0.1) for i in range(1, 11)]
    assert Cost(1.0)(points[:9]) is None
    assert Cost(1.0)(points)


def test_time_counts_from_when_it_was_made():
    now = [50.0]
    criterion = Time(2, clock=lambda: now[0])
    assert criterion(curve(1)) is None
    now[0] = 52.0
    assert "2 s of 2 s" in criterion(curve(1))


def test_all_reasons_are_given():
    assert (Steps(1) | Target(5))(curve(1)) == "1 step taken; 1 reached the target 5"


def test_best_is_the_first_finite_best():
    assert best(curve(nan, 3, 1, 1, inf)).step == 3
    assert best(curve(nan, 3, 5, 5), "max").step == 3
    assert best(curve(nan)) is None


def test_a_criterion_may_be_any_function():
    assert (Steps(5) | (lambda points: "enough" if len(points) > 1 else None))(curve(1, 1)) == "enough"


@pytest.mark.parametrize(
    "make",
    [lambda: Patience(0), lambda: Patience(2, delta=-1), lambda: Target(1, "up"), lambda: Diverged(0.5), lambda: Time(0),
     lambda: Steps(-1), lambda: Cost(nan), lambda: best(curve(1), "up")],
)  # fmt: skip
def test_senseless_settings_are_refused(make):
    with pytest.raises(UsageError, match=r"got|must"):
        make()


def test_works_on_the_points_of_a_run_and_loads_no_torch():
    import subprocess

    code = "import sys, whet.stop, whet.metric; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
    from whet.tune.trial import Point

    assert Target(0.5)([Point(1, 0.4)])
