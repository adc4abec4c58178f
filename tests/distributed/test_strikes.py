"""Processes that are killed inside an exchange, at each of its points: what was said counts once, what was not is drawn again."""

from pathlib import Path

import pytest
from strikes import SERVER, WORKER

from whet.distributed.local.train import Training
from whet.tasks import resolve

STRIKES = Path(__file__).with_name("strikes.py")
SEEDS = [0, *(pytest.param(s, marks=pytest.mark.soak) for s in range(1, 20))]


def struck(points, folder, seed):
    """Train through a strike at each of the points; return the training, and see that each example was applied once an epoch."""
    params = {"points": points, "signs": str(folder), "seed": seed}
    with Training(resolve(f"{STRIKES}:Struck", seed=0), params, rule="async", workers=2) as training:
        found = list(training)
    assert {p.name for p in folder.iterdir()} == set(points)
    assert sum(training.deaths.values()) == len(points)
    assert [p.step for p in found] == [1, 2, 3, 4, 5, 6]
    model = training.run.model
    assert set(model.first.tolist()) == set(model.second.tolist()) == {6.0}
    assert training.status["merged"] == training.status["version"] == 180
    return training


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_that_dies_inside_a_push_loses_what_it_had_not_said_and_nothing_else(seed, tmp_path):
    training = struck(WORKER, tmp_path, seed)
    assert training.lost == training.deaths["server"] == 0
    # twice its gradient was not said to be there; the third time it was, and what it was given next may be drawn again
    assert training.status["drawn_again"] in (2, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_that_dies_inside_a_push_loses_what_came_after_its_checkpoint_and_nothing_else(seed, tmp_path):
    training = struck(SERVER, tmp_path, seed)
    assert training.deaths == {"server": len(SERVER)}
    assert 0 < training.lost <= 20 * len(SERVER), "each life struck within the first 20 of a server"
