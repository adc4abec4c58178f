"""Studies on a PostgreSQL server that is restarted, or killed, while they run."""

from __future__ import annotations

import os

import pytest
from faults import Shaken, wait_for

from postgres_server import PostgresServer
from whet import Store, Study

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server():
    server = PostgresServer()
    yield server
    server.close()


def shaken(server, tmp_path, **options):
    return Shaken(tmp_path / "study", url=server.fresh(f"d{os.getpid()}_{abs(hash(tmp_path)) % 10**9}"), **options)


def test_one_worker_on_a_server_that_restarts_equals_one_on_a_file(server, tmp_path):
    calm = Shaken(tmp_path / "calm", trials=24)
    calm.complete()
    study = shaken(server, tmp_path, trials=24)
    process = study.start()
    for i in range(2):
        wait_for(lambda i=i: study.steps() > 40 * (i + 1))
        server.restart()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    study.check(calm.events(), repeats=0)


@pytest.mark.parametrize("restarts", [1, pytest.param(10, marks=pytest.mark.soak)])
def test_several_processes_on_a_server_that_restarts(restarts, server, tmp_path):
    study = shaken(server, tmp_path, trials=60 * (restarts + 1), workers=2)
    processes = [study.start(WHET_STEP="0.02") for _ in range(2)]
    wait_for(lambda: study.writers() >= 4)  # whoever comes to a server that is down is told so, and ends
    for i in range(restarts):
        wait_for(lambda i=i: study.steps() > 60 * (i + 1))
        server.restart()
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    study.check(repeats=0)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_server_that_is_killed(durability, server, tmp_path):
    """With durability "power" nothing is lost; otherwise the study goes on from what is there."""
    study = shaken(server, tmp_path, trials=30, environment={"WHET_DURABILITY": durability})
    process = study.start()
    wait_for(lambda: study.steps() > 60)
    server.restart(kill=True)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    with Study.open(Store(study.url, folder=str(study.folder)), study.name) as opened:
        assert [e.seq for e in opened.journal.read()] == list(range(1, opened.trials.seq + 1))
        repeated = sum(e.kind == "repeated" for e in opened.journal.read())
    if durability == "power":
        assert repeated == 0
        study.check(repeats=0)
    else:
        study.check(gaps=True)


def test_a_worker_killed_on_a_server(server, tmp_path):
    study = shaken(server, tmp_path, trials=30)
    process = study.start()
    wait_for(lambda: study.steps() > 50)
    study.kill(process)
    study.complete()
    study.check(repeats=1)
