"""The simulator against real processes: how stale updates are, when workers sleep for as long as drawn.

A worker that sleeps imitates one with an accelerator: it takes its time and none of the processor's. Each process draws its times as
the simulator does, keyed by (seed, worker, step), and writes down what they came to, which the simulator then plays back.
"""

import json
from collections import Counter

import pytest
from lessons import Sleeper
from test_local import LESSONS

from whet.distributed.delays import Delays
from whet.distributed.local.train import Training
from whet.distributed.named import parse_rule
from whet.distributed.simulate import Simulation
from whet.tasks import resolve

STEPS = 6  # epochs of Sleeper.n batches; half as many where one run is enough


def apart(a, b):
    """Return the total-variation distance of two histograms."""
    return sum(abs(a[k] / a.total() - b[k] / b.total()) for k in {*a, *b}) / 2


def mean(histogram):
    return sum(k * n for k, n in histogram.items()) / histogram.total()


def real(folder, workers, slow, seed, steps=STEPS):
    """Train in processes; return the histogram of staleness, and each worker's times between two steps."""
    folder.mkdir()
    params = {"folder": str(folder), "slow": slow, "draw": seed}
    with Training(
        resolve(f"{LESSONS}:Sleeper", seed=0), params, rule="async", workers=workers, steps=steps
    ) as training:
        list(training)
        status = training.look()
    trace = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    assert len(trace) == workers
    return Counter({int(k): n for k, n in status["staleness"].items()}), trace


def simulated(trace, workers, steps=STEPS):
    simulation = Simulation(
        Sleeper(), {"folder": "", "slow": 1.0, "draw": 0}, rule=parse_rule("async"), workers=workers, steps=steps,
        delays=Delays("recorded", trace=trace),
    )  # fmt: skip
    list(simulation)
    return simulation.server.staleness


SOAKED = [pytest.param(m, f, marks=pytest.mark.soak) for m, f in ((3, 3.0), (4, 3.0), (4, 1.0), (2, 1.0), (6, 2.0))]


@pytest.mark.parametrize(("workers", "slow"), SOAKED)
def test_simulated_staleness_is_as_near_to_the_real_as_real_runs_are_to_each_other(tmp_path, workers, slow):
    runs = [real(tmp_path / str(i), workers, slow, seed=i) for i in range(2)]
    played = [simulated(trace, workers) for _, trace in runs]
    floor = apart(runs[0][0], runs[1][0])
    for (found, _), again in zip(runs, played, strict=True):
        assert found.total() == again.total() == STEPS * Sleeper.n
        assert apart(found, again) <= floor + 0.05
        assert abs(mean(found) - (workers - 1)) < 0.05 * workers
        assert abs(mean(again) - (workers - 1)) < 0.05 * workers


def test_a_simulation_that_plays_a_real_run_back_is_near_to_it(tmp_path):
    """A coarse look at one run of 180 updates: two such runs have differed by 0.12, and one update more between pull and push makes over 0.5."""
    found, trace = real(tmp_path / "real", 2, 1.0, seed=0, steps=STEPS // 2)
    again = simulated(trace, 2, STEPS // 2)
    assert found.total() == again.total() == STEPS // 2 * Sleeper.n
    assert apart(found, again) < 0.25
    assert abs(mean(found) - 1) < 0.1
    assert abs(mean(again) - 1) < 0.1


@pytest.mark.parametrize(
    "times",
    [
        Delays("gamma", stragglers={0: 3.0, 1: 10.0}), Delays("exponential", stragglers={2: 0.1}),
        *(pytest.param(d, marks=pytest.mark.soak) for d in (Delays("gamma"), Delays("pareto"))),
        *(pytest.param(Delays("lognormal", 1.5, {0: f}), marks=pytest.mark.soak) for f in (1.0, 3.0, 30.0)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("workers", [3, pytest.param(16, marks=pytest.mark.soak)])
def test_the_mean_is_one_less_than_the_workers_whatever_their_speeds(times, workers):
    simulation = Simulation(
        Sleeper(),
        {"folder": "", "slow": 1.0, "draw": 0},
        rule=parse_rule("async"),
        workers=workers,
        steps=20,
        delays=times,
    )
    list(simulation)
    assert abs(mean(simulation.server.staleness) - (workers - 1)) < 0.05 * workers


def test_a_distance_of_histograms():
    assert apart(Counter({0: 3, 1: 1}), Counter({0: 30, 1: 10})) == 0.0
    assert apart(Counter({0: 1}), Counter({1: 5})) == 1.0
    assert apart(Counter({0: 1, 1: 1}), Counter({0: 1})) == 0.5
