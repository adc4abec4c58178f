"""The same command, seed and one worker give the same bits, journal and weights, wherever they are written."""

from __future__ import annotations

import json

import pytest
import torch

from whet.journal.store import Store
from whet.recipe import Job, recipe
from whet.recipe.steps import tuned
from whet.tasks import resolve
from whet.tune.budget import Budget

PLACES = ("seconds", "path", "latency")  # what may differ: times and places


def bare(value: object) -> object:
    """Return JSON without times and places."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if k not in PLACES and k != "lines"}
    return [bare(v) for v in value] if isinstance(value, list) else value


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_same_twice(tmp_path):
    found = []
    for name in ("one", "two"):
        runs = tmp_path / name
        task = resolve("diabetes", seed=3)
        job = Job(task, runs=runs, budget=Budget.of("4trials"), workers=1, steps=3)
        assert [e.step for e in recipe(job)][-1] == "report"
        journal = Store(str(runs / "whet.db")).journal("diabetes", create=False)
        events = [bare(json.loads(json.dumps(e.bare))) for e in journal.read()]
        journal.close()
        files = sorted(p for p in runs.rglob("*.safetensors"))
        weights = {str(p.relative_to(runs)): p.read_bytes() for p in files}  # names hold checksums
        found.append((events, weights))
    (events, weights), (again, same) = found
    assert len([e for e in events if e[1] == "reported"]) >= 4
    assert any("model/model.safetensors" in name for name in weights)
    assert len(weights) >= 4
    for a, b in zip(events, again, strict=True):
        assert a == b
    assert weights.keys() == same.keys()
    assert weights == same


def test_an_end_before_any_trial_has_a_value_can_be_gone_on_from(tmp_path):
    job = Job(resolve("diabetes"), runs=tmp_path, budget=Budget.of("1trials"), workers=1, steps=1)
    blocks = list(tuned(job, stopping=lambda: True))
    assert blocks[-1].lines == ("interrupted before any trial had a value",)
    assert not (tmp_path / "diabetes" / "report.html").exists()
