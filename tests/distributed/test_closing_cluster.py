"""The compression that ends a training, on a Ray cluster: who dies in it is left out, a server that dies in it has it done anew."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from lessons import PARAMS
from test_cluster import cluster  # noqa: F401

from whet.distributed.cluster.train import Training
from whet.distributed.named import parse_rule
from whet.distributed.simulate import Simulation
from whet.tasks import resolve

LESSONS = Path(__file__).with_name("lessons.py")
LONG = "ec(every=5, share=1, compress=300)"  # of Slow: seconds


def task():
    return resolve(f"{LESSONS}:Slow", seed=0)


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.parametrize("who", ["worker 1", "server"])
def test_who_dies_in_it(cluster, who):  # noqa: F811
    points, struck = [], False
    with Training(task(), PARAMS, rule=LONG, workers=2, steps=1, shuffle="local") as training:
        for event in training.events(0.1):
            points += [event] if event is not None else []
            if not struck and training.look().get("merged") == 16:
                struck = True
                time.sleep(0.3)
                os.kill(training.places[who][0], signal.SIGKILL)
    assert struck
    assert training.deaths == {who: 1}
    assert [p.step for p in points] == [1]
    simulation = Simulation(task(), PARAMS, rule=parse_rule(LONG), workers=2, steps=1, shuffle="local")
    list(simulation)
    right, found = dict(simulation.server.models), dict(training.models)
    alive = [0] if who == "worker 1" else [0, 1]
    assert all(torch.equal(found[w], right[w]) for w in alive)
    own = torch.cat([p.detach().flatten() for p in training.run.model.parameters()])
    assert torch.equal(own, found[0] if who == "worker 1" else simulation.server.held.weights)
