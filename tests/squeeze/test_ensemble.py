"""Greedy selection: it finds what helps, refuses what does not, and its honest figure is honest."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import log_softmax

from whet.errors import DataError, UsageError
from whet.metric import metric
from whet.squeeze.combine import combine
from whet.squeeze.ensemble import Ensemble, greedy

SEEDS = [0, 1, 2]


def classifiers(seed: int, n: int, models: int, *, noise: float = 1.5, shared: float = 0.0) -> tuple[dict, np.ndarray]:
    """Return logits of equally good models of 4 classes, whose errors are `shared` in part, and the targets."""
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=n)
    common = rng.normal(size=(n, 4)) * shared
    return {i: 2.0 * np.eye(4)[y] + common + noise * rng.normal(size=(n, 4)) for i in range(models)}, y


@pytest.mark.parametrize("seed", SEEDS)
def test_independent_errors_make_an_ensemble(seed: int) -> None:
    outputs, y = classifiers(seed, 400, 10)
    e = greedy(outputs, y, "accuracy", kind="classification", seed=seed)
    assert e.size >= 4
    assert e.score > e.single_score + 0.05
    assert e.gain is not None
    assert e.gain.low > 0
    assert sum(w for _, w in e.members) == pytest.approx(1)
    assert "is better by accuracy" in e.why


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_models_make_none(seed: int) -> None:
    outputs, y = classifiers(seed, 200, 1)
    e = greedy({3: outputs[0], 5: outputs[0].copy(), 9: outputs[0].copy()}, y, "accuracy", kind="classification")
    assert e.members == ((3, 1.0),)
    assert e.single == 3
    assert e.score == e.single_score
    assert "no ensemble does better" in e.why


def test_noise_is_mostly_refused() -> None:
    """Models without any skill: whatever looks better on the examples it was chosen on is luck."""
    kept = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y = rng.integers(2, size=100)
        e = greedy({i: rng.normal(size=(100, 2)) for i in range(20)}, y, "accuracy", kind="classification", seed=seed)
        assert e.honest is not None
        assert e.honest.low < 0.5 + 0.1
        assert max(step.score for step in e.path) > 0.55  # the flattery is there
        kept += e.size > 1
    assert kept <= 9


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_the_honest_figure_is_near_that_of_unseen_examples(shared: float) -> None:
    """Over many draws, the cross-fitted score has no optimism, while the plain one has."""
    flattering, honest, unseen = [], [], []
    for seed in range(25):
        outputs, y = classifiers(seed, 4100, 20, shared=shared)
        few = {i: o[:100] for i, o in outputs.items()}
        e = greedy(few, y[:100], "accuracy", kind="classification", most=8, seed=seed)
        accuracy = metric("accuracy").compute
        single, new = outputs[e.single][100:], y[100:]
        assert e.honest_single is not None
        flattering.append(e.single_score)
        honest.append(e.honest_single.value)
        unseen.append(accuracy(single, new))
    assert np.mean(flattering) - np.mean(unseen) > 0.025
    assert abs(np.mean(honest) - np.mean(unseen)) < 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_regression_and_its_outputs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=150) * 30 + 100
    outputs = {i: (y + rng.normal(size=150) * 10)[:, None].astype("f4") for i in (2, 4, 7, 11)}
    outputs[20] = np.zeros((150, 1), "f4")  # a model that learned nothing
    e = greedy(outputs, y, "rmse", kind="regression")
    assert 20 not in dict(e.members)
    assert e.score < 7.5 < e.single_score
    assert e.outputs.shape == (150, 1)
    ids, weights = zip(*e.members, strict=True)
    np.testing.assert_allclose(e.outputs, combine([outputs[i] for i in ids], weights, kind="regression"), rtol=1e-6)
    assert e.score == pytest.approx(metric("rmse").compute(e.outputs, y))


def test_the_path_is_what_was_done() -> None:
    """Every step adds what is best at that point; recomputed the slow way."""
    outputs, y = classifiers(3, 120, 12, shared=0.7)
    outputs = {i: log_softmax(o, axis=1) for i, o in outputs.items()}
    e = greedy(outputs, y, "loss", kind="classification", most=8)
    loss = metric("loss").compute
    chosen: list[int] = []
    for at, step in enumerate(e.path):
        if at >= 3:  # the start: a fifth of twelve, rounded up
            options = {i: loss(combine([outputs[j] for j in [*chosen, i]], kind="classification"), y) for i in outputs}
            assert step.added == min(options, key=lambda i: options[i])
        chosen.append(step.added)
        assert step.score == pytest.approx(loss(combine([outputs[j] for j in chosen], kind="classification"), y))
    assert [s.added for s in e.path[:3]] == sorted(outputs, key=lambda i: loss(outputs[i], y))[:3]
    assert e.score == pytest.approx(min(s.score for s in e.path[2:]))


def test_ties_of_the_goal_are_broken_by_the_loss() -> None:
    y = np.arange(40) % 2
    sure = np.where(np.eye(2)[y] > 0, 3.0, 0.0)
    e = greedy({0: sure / 10, 1: sure, 2: sure / 5}, y, "accuracy", kind="classification")
    assert e.single == 1
    assert e.single_score == 1.0


def test_same_seed_same_ensemble_and_the_record_is_json() -> None:
    outputs, y = classifiers(1, 100, 8, shared=1.0)
    one, two = (greedy(outputs, y, "f1", kind="classification", seed=4) for _ in range(2))
    again = greedy(dict(reversed(outputs.items())), y, "f1", kind="classification", seed=4)
    record = json.dumps(one.json(), allow_nan=False)
    assert record == json.dumps(two.json()) == json.dumps(again.json())
    assert "outputs" not in json.loads(record)


def test_a_model_with_nan_is_left_out_and_few_examples_are_not_compared() -> None:
    outputs, y = classifiers(0, 15, 4)
    outputs[0][3, 1] = np.nan
    e = greedy(outputs, y, "accuracy", kind="classification")
    assert e.size == 1
    assert e.honest is None
    assert e.single != 0
    assert not {s.added for s in e.path} & {0}
    alone = greedy({7: outputs[1]}, y, "accuracy", kind="classification", most=1)
    assert (alone.members, alone.why) == (((7, 1.0),), "one model only")


def test_one_logit_models() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    outputs = {i: (2 * y - 1 + 2 * rng.normal(size=300))[:, None] for i in range(6)}
    e = greedy(outputs, y, "auc", kind="classification")
    assert isinstance(e, Ensemble)
    assert e.size > 2
    assert e.outputs.shape == (300, 1)


@pytest.mark.parametrize(("outputs", "targets", "kind", "said"), [
    ({}, np.zeros(3, int), "classification", "no outputs"),
    ({0: np.zeros((3, 2)), 1: np.zeros((4, 2))}, np.zeros(3, int), "classification", "outputs of trial 1"),
    ({0: np.zeros((3, 2))}, np.zeros(4, int), "classification", "4 targets"),
    ({0: np.full((3, 2), np.nan)}, np.zeros(3, int), "classification", "not finite"),
    ({0: np.zeros((3, 2))}, np.array([0, 1, 2]), "classification", "from 0 to 1"),
    ({0: np.zeros((3, 2))}, np.array([0.0, 0.5, 1]), "classification", "from 0 to 1"),
    ({0: np.zeros((3, 2))}, np.zeros(3), "regression", "do not fit"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(outputs: dict, targets: np.ndarray, kind: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        greedy(outputs, targets, "accuracy" if kind == "classification" else "rmse", kind=kind)
    assert "\n" not in str(caught.value)


def test_most_is_a_limit() -> None:
    outputs, y = classifiers(0, 200, 10)
    assert greedy(outputs, y, "accuracy", kind="classification", most=3).size <= 3
    assert greedy(outputs, y, "accuracy", kind="classification", most=1).size == 1
    with pytest.raises(UsageError, match="most"):
        greedy(outputs, y, "accuracy", kind="classification", most=0)
