from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from whet.errors import UsageError
from whet.metric import METRICS, Metric, default_metrics, interval, metric, wilson
from whet.metric.paired import paired


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def drawn(seed, n=200, c=4):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, c, n)
    z = rng.normal(size=(n, c)) + 1.5 * np.eye(c)[y]
    return z.round(1) if seed % 2 else z, y  # rounding makes ties


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("c", [2, 4])
def test_classification_equals_scikit_learn(seed, c):
    z, y = drawn(seed, c=c)
    p, guess, average = softmax(z), z.argmax(1), "binary" if c == 2 else "macro"
    expected = {
        "accuracy": sk.accuracy_score(y, guess),
        "error": 1 - sk.accuracy_score(y, guess),
        "loss": sk.log_loss(y, p),
        "f1": sk.f1_score(y, guess, average=average),
        "precision": sk.precision_score(y, guess, average=average, zero_division=0),
        "recall": sk.recall_score(y, guess, average=average),
        "balanced_accuracy": sk.balanced_accuracy_score(y, guess),
        "auc": sk.roc_auc_score(y, z[:, 1] - z[:, 0]) if c == 2 else sk.roc_auc_score(y, p, multi_class="ovr"),
        "brier": sk.brier_score_loss(y, p[:, 1]) if c == 2 else ((p - np.eye(c)[y]) ** 2).sum(1).mean(),
    }
    for name, value in expected.items():
        assert metric(name).compute(z, y) == pytest.approx(value, abs=1e-12), name
        if name not in ("loss", "brier", "auc"):
            assert metric(name).compute(guess, y) == pytest.approx(value), f"{name} of class predictions"
        if name != "auc":
            assert metric(name).compute(np.log(p), y) == pytest.approx(value), f"{name} of log-probabilities"


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_logit_stands_for_two_classes(shape):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=50), rng.integers(0, 2, 50)
    two = np.stack([np.zeros(50), z], 1)
    for name in ("accuracy", "loss", "auc", "f1", "brier", "ece"):
        assert metric(name).compute(z.reshape(shape), y) == pytest.approx(metric(name).compute(two, y)), name


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [(), (1,), (3,)])
def test_regression_equals_scikit_learn(seed, k):
    rng = np.random.default_rng(seed)
    y, p = rng.normal(size=(40, *k)), rng.normal(size=(40, *k))
    expected = {
        "mse": sk.mean_squared_error(y, p),
        "loss": sk.mean_squared_error(y, p),
        "mae": sk.mean_absolute_error(y, p),
        "r2": sk.r2_score(y, p),
        "rmse": math.sqrt(sk.mean_squared_error(y, p)),
    }
    for name, value in expected.items():
        assert metric(name).compute(p, y) == pytest.approx(value), name
    if k == ():
        assert metric("mse").compute(p[:, None], y) == pytest.approx(expected["mse"]), "(n, 1) against (n,)"


def test_calibration_by_hand():
    p = np.array([[0.9, 0.1]] * 10)
    y = np.array([0] * 6 + [1] * 4)
    assert metric("ece").compute(np.log(p), y) == pytest.approx(0.3)
    assert metric("ece").compute(np.log(p), np.array([0] * 9 + [1])) == pytest.approx(0)


def test_extreme_logits_give_finite_losses():
    assert metric("loss").compute(np.array([[1e4, -1e4]], np.float32), np.array([1])) == pytest.approx(2e4)


def test_undefined_is_nan():
    assert math.isnan(metric("auc").compute(np.zeros((3, 2)), np.zeros(3, int)))
    assert math.isnan(metric("r2").compute(np.zeros(3), np.ones(3)))


# Newcombe 1998, Statistics in Medicine 17:857, table I, Wilson's score method without continuity correction.
@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_the_published_table(hits, n, low, high):
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)
    y = np.array([1] * hits + [0] * (n - hits))
    found = interval("accuracy", np.ones(n, int), y, kind="classification")
    assert (found.low, found.high, found.n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5), n)
    assert interval("error", np.ones(n, int), y, kind="classification").high == pytest.approx(1 - low, abs=5e-5)


def test_bca_equals_scipy():
    from scipy.stats import bootstrap

    values = np.random.default_rng(3).exponential(size=80)
    theirs = bootstrap((values,), np.mean, n_resamples=20000, rng=0, method="BCa").confidence_interval
    ours = interval("mae", values, np.zeros(80), kind="regression")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.03)
    squared = interval("mse", values, np.zeros(80), kind="regression")
    root = interval("rmse", values, np.zeros(80), kind="regression")
    assert (root.low, root.high) == pytest.approx((math.sqrt(squared.low), math.sqrt(squared.high)))


@pytest.mark.parametrize("name", ["mae", "r2"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(name):
    rng = np.random.default_rng(0)
    big = rng.normal(size=100_000)
    noise = rng.normal(size=100_000)
    truth, hits = metric(name).compute(big + 0.5 * noise, big), 0
    for i in range(60):
        some = rng.integers(0, len(big), 150)
        found = interval(name, big[some] + 0.5 * noise[some], big[some], kind="regression", level=0.8, seed=i)
        assert found.low <= found.value <= found.high
        hits += found.low <= truth <= found.high
    assert 36 <= hits <= 58  # 48 expected; 3.9 standard deviations below, 3.2 above


def test_an_interval_depends_on_its_seed_alone():
    z, y = drawn(0)
    a, b, c = (interval("f1", z, y, kind="classification", seed=s) for s in (0, 0, 1))
    assert a == b != c
    assert (a.value, a.n, a.level) == (c.value, 200, 0.95)
    wide = interval("f1", z, y, kind="classification", level=0.99)
    assert wide.low < a.low < a.high < wide.high


def test_values_without_spread_give_an_interval_without_width():
    found = interval("mae", np.ones(5), np.zeros(5), kind="regression")
    assert (found.low, found.high) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metric("acuracy"), ["'acuracy'", "Did you mean 'accuracy'"]),
        (
            lambda: interval("rmse", np.ones(2), np.ones(2), kind="classification"),
            ["rmse is for regression", "accuracy"],
        ),
        (lambda: interval("mae", np.ones(0), np.ones(0), kind="regression"), ["at least one"]),
        (lambda: interval("mae", np.ones(2), np.ones(3), kind="regression"), ["2 outputs for 3 targets"]),
        (lambda: interval("mae", np.ones(2), np.ones(2), kind="regression", level=95), ["level", "95"]),
        (lambda: metric("mse").compute(np.ones((3, 2)), np.ones(3)), ["(3, 2)", "(3,)"]),
        (lambda: metric("loss").compute(np.ones(3, int), np.ones(3, int)), ["logits"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, words):
    with pytest.raises(UsageError) as caught:
        call()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_defaults_exist_and_fit_their_kind():
    for kind in ("classification", "regression"):
        assert all(METRICS[name].kind in (None, kind) for name in default_metrics(kind))


def test_a_metric_of_ones_own_is_taken():
    mine = Metric("worst", "min", lambda o, t: float(np.abs(o - t).max()))
    found = interval(mine, np.array([1.0, 5.0, 2.0]), np.zeros(3), kind="regression")
    assert found.value == 5.0
    assert found.low >= 1.0


@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 4)])
@pytest.mark.parametrize("last", [True, False])
def test_a_class_each_position_equals_the_same_rows_one_by_one(shape, last):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 7, shape)
    z = rng.normal(size=(*shape, 7)) + np.eye(7)[y]
    y[0, 2:] = -100
    keep = y.reshape(-1) != -100
    rows, true = z.reshape(-1, 7)[keep], y.reshape(-1)[keep]
    outputs = z if last else np.moveaxis(z, -1, 1)
    for name in ("accuracy", "error", "loss", "brier", "f1", "precision", "recall", "balanced_accuracy", "auc", "ece"):
        assert metric(name).compute(outputs, y) == pytest.approx(metric(name).compute(rows, true)), name
    assert metric("accuracy").compute(rows.argmax(1), true) == metric("accuracy").compute(outputs, y)
    assert metric("loss").compute(outputs, y) == pytest.approx(sk.log_loss(true, softmax(rows), labels=range(7)))


def test_positions_of_one_example_are_not_examples():
    """Two hundred sequences, right throughout or wrong throughout: as sure as two hundred answers, not two thousand."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (200, 10))
    z = np.eye(3)[np.where((np.arange(200) % 4 == 0)[:, None], (y + 1) % 3, y)]
    whole = interval(
        "accuracy", np.eye(2)[(np.arange(200) % 4 != 0).astype(int)], np.ones(200, int), kind="classification"
    )
    for name in ("accuracy", "error", "f1"):
        found = interval(name, z, y, kind="classification")
        assert found.n == 200
        assert found.high - found.low == pytest.approx(whole.high - whole.low, rel=0.15), name
    assert interval("accuracy", z, y, kind="classification").value == 0.75
    flat = interval("accuracy", z.reshape(-1, 3), y.reshape(-1), kind="classification")
    assert flat.high - flat.low < 0.5 * (whole.high - whole.low)


def test_ignored_examples_count_nowhere():
    z, y = np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, -100, 1])
    found = interval("accuracy", z, y, kind="classification")
    assert found.value == pytest.approx(2 / 3)
    assert metric("loss").compute(z, y) == pytest.approx(metric("loss").compute(z[[0, 1, 3]], y[[0, 1, 3]]))


@pytest.mark.parametrize(
    ("outputs", "targets", "needed"),
    [
        ((8, 1), np.zeros((8, 1), np.float32), ("(8, 1) of float32", "kind 'classification'", 'kind="regression"', "targets.long()")),
        ((8, 3), np.zeros(8), ("(8,) of float64", 'kind="regression"')),
        ((8, 5, 3), np.zeros(8, int), ("outputs (8, 5, 3)", "targets (8,)", "scores of shape (8, classes).")),
        ((8, 6, 3), np.zeros((8, 5), int), ("outputs (8, 6, 3)", "targets (8, 5)", "(8, 5, classes) or (8, classes, 5)")),
        ((7, 3), np.zeros(8, int), ("outputs (7, 3)", "targets (8,)")),
        ((8, 5, 5), np.zeros((8, 5), int), ("(8, 5, 5)", "the second axis or the last")),
    ],
)  # fmt: skip
def test_outputs_that_cannot_be_scored_are_refused_in_one_line(outputs, targets, needed):
    for name in ("accuracy", "f1", "auc", "brier", "ece", "balanced_accuracy"):
        with pytest.raises(UsageError) as caught:
            metric(name).compute(np.zeros(outputs), targets)
        for part in needed:
            assert part in str(caught.value), (name, str(caught.value))


def test_float_targets_count_once_an_example():
    """Probabilities, or several labels an example: the loss of a task of kind classification has an interval too."""
    found = interval("loss", np.zeros((6, 3)), np.ones((6, 3)), kind="classification")
    assert np.isfinite(found.value)


@pytest.mark.parametrize("name", ["accuracy", "loss"])
def test_pairs_with_positions_draw_whole_examples(name):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, (30, 5))
    targets[rng.random((30, 5)) < 0.2] = -100
    a, b = rng.normal(size=(2, 30, 5, 4))
    found = paired(name, a, b, targets, kind="classification")
    m = metric(name)
    assert found.value == pytest.approx(m.compute(b, targets) - m.compute(a, targets))
    draws, again = [], np.random.default_rng(1)
    for _ in range(1000):
        i = again.integers(0, 30, 30)
        draws.append(m.compute(b[i], targets[i]) - m.compute(a[i], targets[i]))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.25 * (high - low))
    assert found.high == pytest.approx(high, abs=0.25 * (high - low))
