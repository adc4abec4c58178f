"""The compression that ends a training, in processes that are really killed: the simulator's bit for bit, and done once."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from lessons import PARAMS

from whet.distributed.local.train import Training
from whet.distributed.named import parse_rule
from whet.distributed.simulate import Simulation
from whet.tasks import resolve

LESSONS = Path(__file__).with_name("lessons.py")
RULE = "ec(every=5, share=0.5, weight=2, compress=3)"
SEEDS = [0, *(pytest.param(s, marks=pytest.mark.soak) for s in range(1, 10))]


def task(name):
    return resolve(f"{LESSONS}:{name}", seed=0)


def weights(training):
    return torch.cat([p.detach().flatten() for p in training.run.model.parameters()])


@pytest.mark.parametrize("name", ["Blobs", "Normed"])
def test_processes_do_what_the_simulator_does_bit_for_bit(name):
    with Training(task(name), PARAMS, rule=RULE, workers=2, steps=2, shuffle="local") as training:
        points = list(training)
    simulation = Simulation(task(name), PARAMS, rule=parse_rule(RULE), workers=2, steps=2, shuffle="local")
    expected = list(simulation)
    assert [p.value for p in points] == [p.value for p in expected]
    assert torch.equal(weights(training), weights(simulation))
    for (v, a), (w, b) in zip(training.models, simulation.server.models, strict=True):
        assert v == w
        assert torch.equal(a, b)


LONG = "ec(every=5, share=1, compress=150)"  # of Slow: seconds


def strike(training, which, number):
    """Train, and send a signal to a process when all is merged, while workers are at the last compression; return the points."""
    points, struck = [], False
    for event in training.events(0.05):
        points += [event] if event is not None else []
        if not struck and training.look().get("merged") == 15:
            struck = True
            time.sleep(0.3)
            os.kill(training._crew.pool.pids()[which], number)
    assert struck
    return points


def expected(rule=LONG):
    simulation = Simulation(task("Slow"), PARAMS, rule=parse_rule(rule), workers=3, steps=1, shuffle="local")
    list(simulation)
    return simulation


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.soak)])
def test_a_process_that_ends_or_hangs_in_it_is_left_out(number, seed):
    with Training(task("Slow"), PARAMS, rule=LONG, workers=3, steps=1, shuffle="local", deadline=3.0) as training:
        points = strike(training, 1 + seed % 3, number)
    gone = seed % 3
    if number == signal.SIGKILL:
        assert training.deaths == {f"worker {gone}": 1}
    else:  # all is over once it is late, perhaps before its process has been ended and counted
        assert training.status["events"]["late"] == 1
        assert set(training.deaths) <= {f"worker {gone}"}
    assert [p.step for p in points] == [1]
    right, found = dict(expected().server.models), dict(training.models)
    assert found.keys() | {gone} == {0, 1, 2}
    assert all(torch.equal(found[w], right[w]) for w in range(3) if w != gone)
    assert sum(torch.equal(weights(training), m) for m in found.values()) == 1


def test_a_server_that_dies_in_it_has_it_done_anew():
    with Training(task("Slow"), PARAMS, rule=LONG, workers=3, steps=1, shuffle="local") as training:
        points = strike(training, 0, signal.SIGKILL)
    assert training.deaths == {"server": 1}
    assert training.lost == 0
    assert [p.step for p in points] == [1]
    assert torch.equal(weights(training), weights(expected()))


def test_halted_in_it_nothing_is_lost_and_nothing_is_done_twice(tmp_path):
    options = {"rule": LONG, "workers": 3, "steps": 1, "shuffle": "local", "folder": tmp_path}
    points = []
    with Training(task("Slow"), PARAMS, **options) as training:
        for event in training.events(0.05):
            points += [event] if event is not None else []
            if training.look().get("merged") == 15:
                training.halt()
    assert points == []
    with Training(task("Slow"), PARAMS, resume=True, **options) as training:
        assert [p.step for p in training] == [1]
    simulation = expected()
    assert torch.equal(weights(training), weights(simulation))
    with Training(task("Slow"), PARAMS, resume=True, **options) as training:
        assert list(training) == []
    assert torch.equal(weights(training), weights(simulation))
    assert training.status["version"] == simulation.server.held.version
