from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from whet import Space
from whet.testing import SPACES, Play
from whet.tune.forecast import Forecast, marks
from whet.tune.trial import Point, State, Trial, Trials


def trials(curves, steps, goal="min loss", state=State.PAUSED):
    from whet.tune.trial import parse_goals

    made = [
        Trial(
            i, {}, state if len(c) < steps else State.DONE, curve=[Point(k, v) for k, v in enumerate(c, 1)], value=c[-1]
        )
        for i, c in enumerate(curves)
    ]
    return Trials(made, space=Space(), steps=steps, goals=parse_goals(goal))


def test_marks_are_each_half_as_much_more():
    for steps in range(1, 400):
        at = marks(steps)
        assert at[-1] == steps
        assert list(at) == sorted(set(at))
        assert all(b <= 2.01 * a for a, b in itertools.pairwise(at))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_forecast_is_the_mean_of_what_happened_weighted_by_likeness(seed):
    """The same by plain loops over pairs of marks, from the definition."""
    rng = np.random.default_rng(seed)
    curves = [list(1 + 0.1 * rng.normal() - np.cumsum(rng.exponential(0.02 * (i % 3), 9))) for i in range(14)]
    curves += [c[: 2 + i] for i, c in enumerate(curves[:3])]
    forecast, at = Forecast(), marks(9)
    forecast.see(trials(curves, 9))
    low = [np.minimum.accumulate(c) for c in curves]
    best, began = min(x[-1] for x in low), np.median([c[0] for c in curves])
    unit = np.quantile([x[-1] for x in low], 0.25) - best
    assert 0.01 * (began - best) < unit < began - best

    def level(v):
        return min(max(v - best, 0.0), 3.0 * (began - best)) / unit

    def state(x, k, further):
        half = max([m for m in at if m <= k // 2], default=1)
        slope = level(x[half - 1]) - level(x[k - 1])
        return np.array([np.log(level(x[k - 1]) + 0.1), np.log(slope + 0.03), np.log(k), further]) / [
            0.35,
            0.35,
            0.7,
            0.35,
        ]

    for id in (14, 15, 16):
        k = len(curves[id])
        asked, apart, becomes = state(low[id], k, np.log(9 / k)), [], []
        for x in low:
            for a in at:
                for b in at:
                    if a < b <= len(x):
                        apart.append(((state(x, a, np.log(b / a)) - asked) ** 2).sum())
                        left = (level(x[b - 1]) + 1) / (level(x[a - 1]) + 1)
                        becomes.append((level(low[id][-1]) + 1) * left - 1)
        weights = np.exp(-np.array(apart) / max(np.sort(apart)[9], 0.25))
        expected = (weights * becomes).sum() / weights.sum()
        assert forecast.final([id])[0] == pytest.approx(best + unit * expected)


@pytest.mark.parametrize(
    ("ends", "unit"),
    [
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 10.0),  # too few to say
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 0.2),
        ([0.0, 0.0, 0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 0.1),  # the best quarter is level: a hundredth
        ([0.0, *[20.0] * 11], 10.0),  # they got worse
    ],
)
def test_a_level_is_what_the_best_quarter_is_behind(ends, unit):
    forecast = Forecast()
    forecast.see(trials([[10.0, x] for x in ends], 9))
    assert (forecast.scale, forecast.unit) == (10.0, pytest.approx(unit))
    assert forecast.level(np.array([0.05, 500.0])) == pytest.approx([0.05 / unit, 30.0 / unit])


@pytest.mark.parametrize("seed", range(3))
def test_a_trial_close_to_the_best_is_not_sent_far_below_it_by_those_that_fell_from_far(seed):
    """Only two were trained to the end; what they gained from where they stood is more than the others are above the best."""
    rng = np.random.default_rng(seed)
    fast = rng.uniform(0.5, 1.0, 12)
    curves = [[4.0 / (1 + k * f) ** 2 + 0.1 * (1 - f) for k in range(27)] for f in fast]
    forecast = Forecast()
    forecast.see(trials([c if i < 2 else c[:5] for i, c in enumerate(curves)], 27))
    ids = list(range(2, 12))
    levels, _ = forecast.outcomes(ids, np.full(10, 27.0))
    assert levels.min() >= -1.0
    assert (forecast.final(ids) > forecast.best - forecast.unit).all()
    # as good a trial has less to gain: the mean error is a small part of what all still gain
    ends, now = np.array([curves[i][-1] for i in ids]), np.array([curves[i][4] for i in ids])
    assert np.abs(forecast.final(ids) - ends).mean() < 0.2 * (now - ends).mean()


def test_it_is_the_same_to_maximise():
    curves = [[1.0, 0.8, 0.5, 0.4], [1.0, 0.9, 0.9, 0.9], [1.0, 0.7], [1.0, 0.95]]
    low, high = Forecast(), Forecast()
    low.see(trials(curves, 4))
    high.see(trials([[-v for v in c] for c in curves], 4, "max score"))
    assert low.final([2, 3]).tolist() == high.final([2, 3]).tolist()


def test_without_any_longer_trial_nothing_is_forecast_to_change():
    forecast = Forecast()
    forecast.see(trials([[1.0], [0.5], [0.7]], 9))
    assert forecast.final([0, 1, 2]).tolist() == [1.0, 0.5, 0.7]
    assert forecast.final([]).tolist() == []


def test_failed_trials_and_those_that_never_reported_are_not_in_it():
    made = list(trials([[1.0, 0.5], [1.0, 0.9], [1.0, 0.1]], 3))
    made[2] = Trial(2, {}, State.FAILED, curve=made[2].curve, value=0.1)
    forecast = Forecast()
    forecast.see(Trials([*made, Trial(3)], space=Space(), steps=3))
    assert sorted(forecast.stands) == [0, 1]
    assert forecast.best == 0.5


def test_points_that_come_one_by_one_are_as_if_they_came_at_once():
    """Curves are taken in as they grow: only what is new is looked at."""
    rng, study, grown = np.random.default_rng(0), Play(SPACES["line"], 20), Forecast()
    for _ in range(12):
        id = study.ask()
        study.set(id, params={"x": 0.5}, state=State.RUNNING)
        step = 0
        while (step := step + int(rng.integers(1, 5))) <= 20:
            study.report(id, step, float(rng.normal()))
            grown.see(study.trials)
            if rng.random() < 0.1:
                break
        study.set(id, state=State.PAUSED)
    fresh = Forecast()
    fresh.see(study.trials)
    grown.see(study.trials)
    assert fresh.stands == grown.stands
    assert fresh.final(list(range(12))).tolist() == grown.final(list(range(12))).tolist()


def test_steps_that_are_not_reported_are_no_cases():
    """A trial that reports at its end only does not say that nothing was gained on the way."""
    made = [
        *trials([[1.0, 0.5, 0.4, 0.3, 0.2, 0.2, 0.2, 0.2, 0.1]] * 9, 9),
        Trial(9, {}, State.PAUSED, curve=[Point(1, 1.0)], value=1.0),
    ]
    alone, beside = Forecast(), Forecast()
    alone.see(Trials(made, space=Space(), steps=9))
    ends = [Trial(i, {}, State.DONE, curve=[Point(9, 0.5)], value=0.5) for i in (10, 11)]
    beside.see(Trials([*made, *ends], space=Space(), steps=9))
    assert beside.final([9])[0] == pytest.approx(alone.final([9])[0])
    assert alone.final([9])[0] < 0.3


def test_values_as_large_as_can_be_are_forecast_with_numbers():
    largest = 1.7e308
    curves = [[largest * (-1) ** i] * (9 if i < 4 else 3) for i in range(8)]
    forecast = Forecast()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecast.see(trials(curves, 9))
        final = forecast.final(list(range(8)))
    assert np.isfinite(final).all()
    assert (final[1::2] < final[::2]).all()


@pytest.mark.parametrize("seed", range(2))
def test_trials_are_forecast_the_same_however_many_there_are(seed):
    """They are compared with what is known some at a time; none has a part in another's."""
    rng = np.random.default_rng(seed)
    curves = [list(rng.random() + np.cumsum(-rng.exponential(0.02, 9))) for _ in range(50)]
    forecast = Forecast()
    forecast.see(trials([c[: 9 if i % 4 == 0 else 1 + i % 3] for i, c in enumerate(curves)], 9))
    ids = [i for i in range(50) if i % 4]
    levels, weights = forecast.outcomes(ids, np.full(len(ids), 9.0))
    assert np.allclose(weights.sum(1), 1.0)
    final = forecast.final(ids)
    assert np.array_equal(final, forecast.best + forecast.unit * (levels * weights).sum(1))
    assert np.allclose(final, [forecast.final([i])[0] for i in ids], rtol=1e-9)


def test_values_that_are_too_large_to_subtract_are_far_behind():
    """Warnings are errors here."""
    found = Forecast()
    found.see(trials([[1.0, 0.5], [1e308, 1e308], [0.9, 0.6], [-1e308, 0.0]], 3))
    assert found.level(np.array([1e308])).tolist() == found.level(np.array([np.inf])).tolist()
