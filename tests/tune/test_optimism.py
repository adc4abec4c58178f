"""The luck of choosing the best of many, against plain loops, closed forms and known truths."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from whet.errors import UsageError
from whet.metric import METRICS, Metric, interval, metric
from whet.tune.optimism import Optimism, optimism
from whet.tune.parts import Means, drawn, scorer


def plainly(
    outputs: dict[int, np.ndarray], y: np.ndarray, m: Metric, inside: np.ndarray
) -> tuple[float, dict[int, float]]:
    """Return the luck and the wins as the definition says, one part after the other."""
    sign = 1.0 if m.better == "min" else -1.0
    whole = {i: sign * m.compute(o, y) for i, o in outputs.items()}
    best, costs, wins = min(whole, key=lambda i: (whole[i], i)), [], dict.fromkeys(outputs, 0)
    for row in inside.astype(bool):
        here = {i: sign * m.compute(o[row], y[row]) for i, o in outputs.items()}
        first = min(here, key=lambda i: (here[i], i))
        wins[first] += 1
        costs.append(sign * m.compute(outputs[first][~row], y[~row]) - sign * m.compute(outputs[best][~row], y[~row]))
    return float(np.mean(costs)), {i: w / len(inside) for i, w in wins.items() if w}


def some(seed: int, n: int = 60, trials: int = 12, classes: int = 3) -> tuple[dict[int, np.ndarray], np.ndarray]:
    draw = np.random.default_rng(seed)
    y = draw.integers(0, classes, n)
    return {
        3 * i + 1: np.eye(classes)[y] * draw.uniform(0, 1.5) + draw.normal(size=(n, classes)) for i in range(trials)
    }, y


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["accuracy", "error", "loss", "brier", "balanced_accuracy", "auc"])
def test_it_is_what_plain_loops_say(name: str, seed: int) -> None:
    """Chosen on each part by the metric, the first of equals, and scored on the rest beside the best of all."""
    from whet.seed import rng

    outputs, y = some(seed)
    found = optimism(outputs, y, name, kind="classification", splits=40, seed=seed)
    draw = rng(seed, "optimism")
    (inside,) = drawn(len(y), 30, 50 if METRICS[name].each is None else 40, draw)
    luck, wins = plainly(outputs, y, METRICS[name], inside)
    assert found.luck == pytest.approx(luck, abs=1e-12)
    assert {i: pytest.approx(s, abs=1e-4) for i, s in found.wins} == wins
    assert found.raw == interval(name, outputs[found.winner], y, kind="classification", seed=seed)


@pytest.mark.parametrize("seed", range(2))
def test_a_mean_and_any_metric_go_the_same_way(seed: int) -> None:
    """A metric that hides that it is a mean says the same."""
    outputs, y = some(seed)
    hidden = Metric("brier", "min", METRICS["brier"].compute, "classification")
    a, b = (optimism(outputs, y, m, kind="classification", splits=60, seed=1) for m in ("brier", hidden))
    assert a.corrected.value == pytest.approx(b.corrected.value, abs=1e-12)
    assert a.wins == b.wins
    assert a.agreement == pytest.approx(b.agreement, abs=0.05)


@pytest.mark.parametrize("seed", range(2))
def test_both_directions_are_one(seed: int) -> None:
    """Error is 1 - accuracy, in every number."""
    outputs, y = some(seed)
    a, b = (optimism(outputs, y, m, kind="classification") for m in ("accuracy", "error"))
    assert (a.winner, a.wins, a.agreement) == (b.winner, b.wins, b.agreement)
    for mine, other in ((a.raw, b.raw), (a.corrected, b.corrected), (a.again, b.again)):
        assert (mine.value, mine.low, mine.high) == pytest.approx(
            (1 - other.value, 1 - other.high, 1 - other.low), abs=1e-9
        )


@pytest.mark.parametrize("name", ["accuracy", "loss", "f1", "ece"])
def test_a_winner_by_far_keeps_its_score_to_the_digit(name: str) -> None:
    """Where every part chooses the same trial, nothing is luck; also of metrics whose mean depends on how many examples there are."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 200)
    sure = 2.0 * (2 * y - 1) * np.where(draw.random(200) < 0.9, 1, -1)
    outputs = {5: np.where(np.arange(200) % 2, 9.0, -9.0) * np.where(y, -1, 1), 7: sure, 9: -sure * 3}
    found = optimism(outputs, y, name, kind="classification", splits=100)
    assert (found.winner, found.wins[0][0], found.wins[0][1]) == (7, 7, 1.0)
    assert found.corrected.value == found.raw.value
    assert found.luck == 0.0
    assert not found.doubts


def test_one_trial_was_not_chosen() -> None:
    """There is nothing to correct."""
    outputs, y = some(0, trials=1)
    found = optimism(outputs, y, "accuracy", kind="classification")
    assert found.raw == found.corrected == found.again
    assert found.agreement is None
    assert found.doubts == []


@pytest.mark.parametrize("name", ["accuracy", "loss", "rmse"])
def test_equal_trials_have_what_they_are_all_worth(name: str) -> None:
    """Trials of the same worth: on average over studies the corrected score is that worth, and the raw one is not."""
    numbers, raw, left = name == "rmse", [], []
    truth = {"accuracy": 0.7, "loss": None, "rmse": 1.0}[name]
    m = metric(name)
    for seed in range(60):
        draw = np.random.default_rng(seed)
        y = draw.integers(0, 2, 80)
        if name == "accuracy":
            outputs = {i: np.where(draw.random(80) < 0.7, y, 1 - y) for i in range(30)}
        else:
            outputs = {i: y + draw.normal(size=80) for i in range(30)}
        found = optimism(
            outputs,
            y.astype(float) if numbers else y,
            name,
            kind="regression" if numbers else "classification",
            splits=100,
        )
        raw.append(found.raw.value)
        left.append(found.corrected.value)
    if truth is None:
        draw = np.random.default_rng(99)
        y = draw.integers(0, 2, 400_000)
        truth = m.compute(y + draw.normal(size=len(y)), y)
    error = float(np.std(left)) / math.sqrt(len(left))
    root = (
        0.01 if numbers else 0.0
    )  # the mean of a root is below the root of the mean, by 1 / (4 n) for n normal errors
    assert abs(np.mean(left) - truth) < 3.5 * error + root
    assert abs(np.mean(raw) - truth) > 6 * float(np.std(raw)) / math.sqrt(len(raw))


def test_normal_scores_have_the_closed_form() -> None:
    """Normal worths and noise: chosen on a part f of the examples, the winner is worth s^2 / sqrt(s^2 + t^2 / f) times the mean of the largest normal."""
    spread, noise, trials, n, part = 1.0, 1.0, 20, 30, 2 / 3
    largest = float(np.random.default_rng(1).normal(size=(40_000, trials)).max(1).mean())
    expected = spread**2 / math.sqrt(spread**2 + noise**2 / part) * largest
    tenth, found = Metric("gain", "max", lambda o, t: float(o.mean()), None, lambda o, t: o), []
    for seed in range(400):
        draw = np.random.default_rng(seed)
        each = draw.normal(0, spread, (trials, 1)) + draw.normal(0, noise * math.sqrt(n), (trials, n))
        (inside,) = drawn(n, round(part * n), 50, draw)
        scores = scorer(tenth, list(each), np.zeros(n), "regression")
        first = scores(inside).argmin(1)
        found.append(-float(np.take_along_axis(scores(1 - inside), first[:, None], 1).mean()))
    assert np.mean(found) == pytest.approx(expected, abs=3.5 * np.std(found) / 20)


def test_it_says_so_where_the_search_over_fitted() -> None:
    """Coins: much of the best is luck, and other examples would have chosen otherwise; the words name the numbers."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 60)
    found = optimism({i: draw.integers(0, 2, 60) for i in range(80)}, y, "accuracy", kind="classification")
    assert found.overfitted
    assert found.shaky
    assert found.luck > found.noise
    assert found.winner in found.rivals
    assert "60 validation examples" in found.doubts[0]
    assert len(found.doubts) == 2
    assert found.again.high - found.again.low > found.corrected.high - found.corrected.low


def test_positions_are_no_examples_of_their_own() -> None:
    """Of sequences whole examples are drawn, and padding does not count."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 3, (40, 7))
    y[::3, 4:] = -100
    outputs = {i: draw.normal(size=(40, 7, 3)) for i in range(5)}
    scores = scorer(METRICS["accuracy"], list(outputs.values()), y, "classification")
    assert isinstance(scores, Means)
    assert not scores.single
    half = np.r_[np.ones(20), np.zeros(20)][None]
    assert scores(half)[0] == pytest.approx([-METRICS["accuracy"].compute(o[:20], y[:20]) for o in outputs.values()])
    found = optimism(outputs, y, "accuracy", kind="classification")
    assert found.corrected.value < found.raw.value
    assert found.corrected.n == 40


def test_it_is_drawn_from_its_seed_and_comes_back_from_json() -> None:
    """The same seed says the same; JSON holds all of it."""
    outputs, y = some(3)
    a, b, c = (optimism(outputs, y, "accuracy", kind="classification", seed=s) for s in (0, 0, 1))
    assert a == b != c
    assert Optimism.of(json.loads(json.dumps(a.json()))) == a


def test_a_metric_that_is_not_defined_everywhere_is_left_out_there() -> None:
    """Two positives in thirty: on many a part there is no area."""
    y = np.zeros(30, int)
    y[:2] = 1
    draw = np.random.default_rng(0)
    found = optimism({i: draw.normal(size=30) + y for i in range(6)}, y, "auc", kind="classification", splits=60)
    assert math.isfinite(found.corrected.value)
    assert found.corrected.value <= found.raw.value


@pytest.mark.parametrize(
    ("outputs", "n", "part"), [({}, 5, 0.5), ({0: np.zeros(1, int)}, 1, 0.5), ({0: np.zeros(5, int)}, 5, 1.0)]
)
def test_what_cannot_be_told_is_refused(outputs: dict[int, np.ndarray], n: int, part: float) -> None:
    """No trials, one example, nothing left to score on."""
    with pytest.raises(UsageError, match=r"optimism: got \d trials, \d examples and part"):
        optimism(outputs, np.zeros(n, int), "accuracy", kind="classification", part=part)


def test_trials_that_are_all_right_everywhere_are_not_ranked() -> None:
    y = np.arange(40) % 2
    found = optimism(dict.fromkeys(range(4), y), y, "accuracy", kind="classification")
    assert found.agreement is None
    assert not found.doubts


@pytest.mark.parametrize("seed", range(6))
def test_the_agreement_of_rankings_is_a_correlation(seed: int) -> None:
    """Trials that are right about equally often: who did better on a half did worse on the other."""
    draw, y = np.random.default_rng(seed), np.zeros(18, int)
    rights = [draw.permutation(18) < 9 + i % 4 for i in range(8)]
    outputs = {i: np.where(right, 0, 1) for i, right in enumerate(rights)}
    found = optimism(outputs, y, "accuracy", kind="classification")
    assert found.agreement is not None
    assert -1 <= found.agreement < 0.5
