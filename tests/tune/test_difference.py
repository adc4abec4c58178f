"""Two trials compared: what differed, and whether it is more than noise. Intervals are held against simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from whet import Choice, Float, Int, Point, Space, State, StudyError, Trial, Trials
from whet.errors import UsageError
from whet.metric.paired import newcombe, paired
from whet.train.scored import loss_metric
from whet.tune.curve import Curve
from whet.tune.difference import Change, Lead, Outputs, difference, meeting
from whet.tune.trial import parse_goals

SPACE = Space(x=Float(0, 1), o=Choice({"a": Space(m=Int(1, 3)), "b": None}))


def trial(id, values, *, x=None, state=State.DONE, value=None, **more):
    curve = Curve(Point(i, v, 2.0) for i, v in enumerate(values, 1))
    params = more.pop("params", {"x": id / 100 if x is None else x, "o": "b"})
    value = values[-1] if values and value is None else value
    return Trial(id, params, state, curve, value, cost=2.0 * len(values), **more)


def study(*trials, goal="min loss", steps=6):
    return Trials(trials, space=SPACE, goals=parse_goals(goal), steps=steps)


def test_what_differed():
    a = trial(0, [5.0, 4.0, 3.0, 3.0, 3.0, 3.0], params={"x": 0.5, "o": "a", "o.m": 1})
    b = trial(1, [6.0, 4.0, 2.0, 2.5, 2.0, 2.0], params={"x": 0.5, "o": "b"})
    d = difference(study(a, b), 0, 1)
    assert d.changes == (Change("o", "a", "b"), Change("o.m", 1, None, True, False))
    assert d.curve[:2] == ((1, 5.0, 6.0), (2, 4.0, 4.0))
    assert d.leads == (Lead("a", 1, 1), Lead("neither", 2, 2), Lead("b", 3, 6))
    assert (d.step, d.values, d.costs) == (6, (3.0, 2.0), (12.0, 12.0))
    assert d.worth.gain == 1.0
    up = difference(study(a, b, goal="max accuracy"), 0, 1)
    assert up.worth.gain == -1.0
    assert up.leads[-1] == Lead("a", 3, 6)
    assert d.json()["better"] == d.worth.better


def test_the_rounding_of_a_float_is_no_difference():
    a, b = (trial(i, [3.0] * 6, params={"x": x, "o": "b"}) for i, x in enumerate((0.002, 0.0020000000000000005)))
    assert difference(study(a, b), 0, 1).changes == ()
    other = replace(b, params={"x": 0.00200001, "o": "b"})
    assert difference(study(a, other), 0, 1).changes == (Change("x", 0.002, 0.00200001),)


def test_trials_that_stopped_early_are_compared_where_both_were():
    a = trial(0, [5.0, 4.0, 3.0], state=State.STOPPED)
    b = trial(1, [6.0, 3.0, 2.9, 2.0, 2.0, 2.0], value=1.9)  # told: what it had at the end
    d = difference(study(a, b), 0, 1)
    assert (d.step, d.values) == (3, (3.0, 2.9))
    assert (d.costs, d.costs_there) == ((6.0, 12.0), (6.0, 6.0))
    assert difference(study(replace(b, id=0), trial(1, [1.0] * 6, value=1.5)), 0, 1).values == (1.9, 1.5)


def test_what_cannot_be_compared_says_why():
    failed = Trial(1, {"x": 0.1, "o": "b"}, State.FAILED, error={"type": "OutOfMemory", "message": "8 GB"})
    trials = study(trial(0, [1.0]), failed, trial(2, [], state=State.RUNNING, value=None))
    with pytest.raises(StudyError, match=r"trial 1: has no value to compare: it is FAILED \(OutOfMemory: 8 GB"):
        difference(trials, 0, 1)
    with pytest.raises(StudyError, match="trial 2: has no value to compare: it is RUNNING"):
        meeting(trials, 2, 0)
    with pytest.raises(StudyError, match="compared with itself"):
        difference(trials, 0, 0)
    with pytest.raises(StudyError, match="have 0 to 2"):
        difference(trials, 0, 9)
    odd = Trial(1, {"x": 0.2, "o": "b"}, State.PAUSED, Curve([Point(4, 1.0)]), 1.0)
    with pytest.raises(StudyError, match=r"no step that both reported \(.*\)\. Give others\."):
        difference(study(trial(0, [1.0], state=State.PAUSED), odd), 0, 1)


def test_the_same_configuration_differs_by_noise():
    d = difference(study(trial(0, [1.0] * 6, x=0.5), trial(1, [0.9] * 6, x=0.5)), 0, 1)
    assert d.worth.source == "repeats"
    assert d.verdict == "the same configuration: what differs (0.1) is noise"


def test_repeated_configurations_are_the_first_measure_of_noise():
    rows = [trial(i, [0.0] * 5 + [v], x=x) for i, (x, v) in enumerate(
        [(0.1, 1.00), (0.1, 1.02), (0.1, 0.98), (0.2, 0.80), (0.2, 0.82), (0.3, 0.99)])]  # fmt: skip
    d = difference(study(*rows), 0, 3)
    assert d.worth.source == "repeats"
    assert "means of 3 and 2 runs" in d.worth.how
    # by hand: pooled variance (2 * 0.02^2 + 0.02^2 / 2) / 3, t(3) = 3.182
    spread = np.sqrt((2 * 0.0004 + 0.0002) / 3)
    half = 3.18245 * spread * np.sqrt(1 / 3 + 1 / 2)
    assert d.worth.gain == pytest.approx(1.0 - 0.81)
    assert (d.worth.low, d.worth.high) == pytest.approx((0.19 - half, 0.19 + half), rel=1e-4)
    assert d.worth.better == "b"
    assert d.verdict.startswith("trial 3 is better by 0.19 (95 %: ")
    other = difference(study(*rows), 5, 0)  # 0.99 against a mean of 1.00
    assert other.worth.better is None
    assert other.verdict.startswith("not distinguishable: trial 5 is ahead of 0 by 0.01")


def test_a_trial_that_went_on_from_another_is_no_repetition():
    rows = [trial(0, [0.0] * 5 + [1.0], x=0.1), trial(1, [0.0] * 5 + [0.5], x=0.2)]
    child = trial(2, [0.0] * 5 + [0.4], x=0.1, parent=(0, 1))  # it shares its beginning
    assert difference(study(*rows, child), 0, 1).worth.source == "jitter"
    assert difference(study(*rows, trial(2, [0.0] * 5 + [0.4], x=0.1)), 0, 1).worth.source == "repeats"


def test_outputs_on_the_same_examples_come_next():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 400)
    good = np.where(rng.random(400) < 0.95, targets, 1 - targets)
    bad = np.where(rng.random(400) < 0.8, targets, 1 - targets)
    a, b = (trial(i, [0.5] * 5 + [float((o == targets).mean())]) for i, o in enumerate((bad, good)))
    d = difference(study(a, b, goal="max accuracy"), 0, 1, outputs=Outputs(bad, good, targets, "classification"))
    assert d.worth.source == "examples"
    assert d.worth.better == "b"
    assert d.worth.low < d.worth.gain < d.worth.high
    errors = study(
        *(trial(i, [0.5] * 5 + [float((o != targets).mean())]) for i, o in enumerate((bad, good))), goal="min error"
    )
    e = difference(errors, 0, 1, outputs=Outputs(bad, good, targets, "classification"))
    assert (e.worth.gain, e.worth.low, e.worth.high) == pytest.approx((d.worth.gain, d.worth.low, d.worth.high))


@pytest.mark.parametrize("seed", range(2))
def test_the_interval_is_around_the_difference_of_means_over_folds(seed):
    """The mean of the errors of two folds is not the error on all their examples."""
    draw = np.random.default_rng(seed)
    targets = draw.normal(size=60)
    noise = np.repeat([0.2, 3.0], 30)  # one fold is much harder
    said = [targets + noise * draw.normal(size=60) + off for off in (0.0, 0.5)]
    means = [float(np.sqrt(((x - targets) ** 2).reshape(2, 30).mean(1)).mean()) for x in said]
    both = study(*(trial(i, [9.0, m]) for i, m in enumerate(means)), goal="min rmse", steps=2)
    worth = difference(both, 0, 1, outputs=Outputs(*said, targets, "regression")).worth
    assert worth.source == "examples"
    assert worth.gain == pytest.approx(means[0] - means[1])
    whole = paired("rmse", *said, targets, kind="regression")
    assert abs(whole.value - (means[1] - means[0])) > 0.01
    assert worth.low - worth.gain == pytest.approx(-whole.high + whole.value)
    assert worth.high - worth.gain == pytest.approx(-whole.low + whole.value)


def test_else_the_jitter_of_the_curves_and_else_nothing():
    rng = np.random.default_rng(1)
    a = trial(0, list(1.0 - 0.01 * np.arange(30) + rng.normal(0, 0.02, 30)))
    b = trial(1, list(0.5 - 0.01 * np.arange(30) + rng.normal(0, 0.02, 30)))
    d = difference(study(a, b, steps=30), 0, 1)
    assert d.worth.source == "jitter"
    assert "spread 0.0" in d.worth.how
    assert d.worth.better == "b"
    close = trial(1, list(0.995 - 0.01 * np.arange(30) + rng.normal(0, 0.02, 30)))
    assert difference(study(a, close, steps=30), 0, 1).worth.better is None
    short = difference(study(trial(0, [2.0], value=2.0), trial(1, [1.0], value=1.0), steps=1), 0, 1)
    assert short.worth.source == "nothing"
    assert short.worth.better is None
    assert "nothing to tell whether that is more than noise" in short.verdict


def test_jitter_does_not_see_differences_that_are_not_there():
    """Of 400 pairs of equal noisy curves, about 1 in 20 may be called different; the degrees are counted cautiously."""
    rng = np.random.default_rng(2)
    called = 0
    for _ in range(400):
        rows = [trial(i, list(rng.normal(1.0, 0.1, 24))) for i in (0, 1)]
        called += difference(study(*rows, steps=24), 0, 1).worth.better is not None
    assert called <= 40


@pytest.mark.parametrize(("n", "p", "q"), [(60, 0.8, 0.8), (200, 0.95, 0.9), (40, 0.98, 0.9)])
def test_the_interval_of_pairs_holds_the_true_difference(n, p, q):
    rng = np.random.default_rng(3)
    hits, true = 0, _shift(p, q)
    for _ in range(600):
        hard = rng.random(n)  # both find the same examples hard
        a, b = (hard + rng.normal(0, 0.1, n) < q), (hard + rng.normal(0, 0.1, n) < p)
        low, high = newcombe(a, b)
        hits += low <= true <= high
    assert hits / 600 > 0.92


def _shift(p, q):
    rng = np.random.default_rng(4)
    hard = rng.random(400_000)
    noise = rng.normal(0, 0.1, 400_000)
    return float((hard + noise < p).mean() - (hard + noise < q).mean())


@pytest.mark.parametrize("name", ["mae", "mse", "rmse", "r2"])
def test_other_metrics_are_resampled_in_pairs(name):
    rng = np.random.default_rng(5)
    y = rng.normal(0, 1, 150)
    a, b = y + rng.normal(0, 0.5, 150), y + rng.normal(0, 0.4, 150)
    found = paired(name, a, b, y, kind="regression")
    assert found.low < found.value < found.high
    worse = paired(name, b, a, y, kind="regression")
    assert worse.value == pytest.approx(-found.value)
    assert (found.high < 0) if name != "r2" else (found.low > 0)
    # pairs that share their errors are told apart by far less
    twin = paired(name, a, a + 0.001, y, kind="regression")
    assert twin.high - twin.low < (found.high - found.low) / 20


def test_pairs_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="is for classification"):
        paired("accuracy", np.zeros(2), np.zeros(2), np.zeros(2), kind="regression")
    with pytest.raises(UsageError, match="got 2 and 3 outputs for 2 targets"):
        paired("mae", np.zeros(2), np.zeros(3), np.zeros(2), kind="regression")


def test_repetitions_that_happen_to_agree_do_not_mean_that_there_is_no_noise():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 100)
    outputs = [np.where(rng.random(100) < share, targets, 1 - targets) for share in (0.9, 0.9)]
    shares = [float((o == targets).mean()) for o in outputs]
    rows = [trial(0, [shares[0]], x=0.1), trial(1, [shares[1]], x=0.2), trial(2, [shares[1]], x=0.2)]
    found = study(*rows, goal="max accuracy", steps=1)
    d = difference(found, 0, 1, outputs=Outputs(*outputs, targets, "classification"))
    assert shares[0] != shares[1]
    assert d.worth.source == "examples"
    assert d.worth.better is None
    exact = difference(found, 0, 1)  # all that is known: the objective gave the same value again
    assert (exact.worth.source, exact.worth.low) == ("repeats", exact.worth.high)


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_of_the_task_s_own_is_what_the_examples_are_judged_by(seed):
    """Several labels: the cross-entropy of softmax would say something else of them."""
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, (200, 3)).astype(np.float32)
    a, b = ((s * (targets - 0.5) + rng.normal(size=(200, 3))).astype(np.float32) for s in (1.0, 3.0))
    losses = [float(bce(torch.tensor(o), torch.tensor(targets))) for o in (a, b)]
    found = study(trial(0, [losses[0]], x=0.1), trial(1, [losses[1]], x=0.2), goal="min loss", steps=1)
    own = loss_metric(bce, a, targets)
    worth = difference(found, 0, 1, outputs=Outputs(a, b, targets, "classification", own)).worth
    assert worth.source == "examples"
    assert worth.low < worth.gain < worth.high
    assert worth.gain == pytest.approx(losses[0] - losses[1])
    each = own.each(a, targets) - own.each(b, targets)
    normal = 1.96 * each.std(ddof=1) / np.sqrt(200)
    assert worth.high - worth.low == pytest.approx(2 * normal, rel=0.15)


def test_who_went_on_from_other_weights_is_no_run_of_its_configuration():
    """In a population a grandchild has the configuration of its grandparent again: what differs between the two is no noise, and each has its own value."""
    first = [trial(i, [0.5] * 5 + [v], x=0.1) for i, v in enumerate((0.50, 0.51))]
    late = trial(2, [0.5] * 5 + [0.10], x=0.1, parent=(1, 3))
    other = trial(3, [0.5] * 5 + [0.20], x=0.2)
    trials = study(*first, late, other)
    found = difference(trials, 0, 2)
    assert found.changes == ()
    assert found.verdict.startswith("the same configuration, on other weights: trial 2 is better by 0.4 (95 %: ")
    assert found.json()["parents"] == (None, (1, 3))
    assert difference(trials, 3, 2).worth.gain == pytest.approx(0.1)
    assert difference(trials, 0, 1).verdict == "the same configuration: what differs (0.01) is noise"
