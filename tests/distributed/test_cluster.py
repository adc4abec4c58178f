"""Actors of a real Ray cluster: the same steps as one process, and nothing lost or applied twice, whoever is killed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest
import torch
from lessons import PARAMS

import whet
from whet.distributed.cluster.nodes import share
from whet.distributed.cluster.train import Training
from whet.distributed.ensemble import member_losses
from whet.distributed.local.train import Training as LocalTraining
from whet.distributed.named import parse_rule
from whet.distributed.simulate import Simulation
from whet.errors import MissingExtra, TaskError, UsageError
from whet.journal.checkpoint import outline
from whet.tasks import resolve
from whet.train.run import Run

LESSONS = Path(__file__).with_name("lessons.py")
SEEDS = [0, *(pytest.param(s, marks=pytest.mark.soak) for s in range(1, 20))]


def task(name):
    return resolve(f"{LESSONS}:{name}", seed=0)


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


@pytest.fixture(scope="module")
def cluster():
    """A cluster of one node with two cores, for all tests: it takes many seconds to start."""
    import ray
    from ray.cluster_utils import Cluster

    assert not ray.is_initialized(), "a test before this has begun a cluster, or joined one, and not left it"
    before = {name: os.environ.get(name) for name in ("RAY_ADDRESS", "RAY_USAGE_STATS_ENABLED", "RAY_TMPDIR")}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # where `ray start` writes its name, and so does this cluster: not that of the machine. Short, for the names of Ray's sockets
    folder = os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(dir="/tmp")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    os.environ["RAY_ADDRESS"] = cluster.address
    ray.init("auto", log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


class Killer(threading.Thread):
    """Sends a signal to processes of a training, each at a random instant of its work after that of the one before."""

    def __init__(self, training, *who, seed, number=signal.SIGKILL):
        super().__init__(daemon=True)
        self.training, self.who, self.chance, self.number = training, who, random.Random(seed), number
        self.struck = []
        self.start()

    def run(self):
        until = time.monotonic() + 300
        while not self.training.status.get("merged") and time.monotonic() < until:
            time.sleep(0.005)
        for who in self.who:
            time.sleep(self.chance.uniform(0, 1.0))
            try:
                os.kill(self.training.places[who][0], self.number)
                self.struck.append(who)
            except (OSError, KeyError):
                return  # all was over before


@pytest.mark.ray
def test_one_worker_is_the_plain_run_bit_for_bit_also_halted_and_resumed(cluster, tmp_path):
    params = {**PARAMS, "optimizer": "momentum", "lr": 0.02}
    run = Run(task("Blobs"), params, steps=8, device="cpu")
    expected = list(run)
    given = {"rule": "dc-asgd", "workers": 1, "steps": 8, "folder": tmp_path}
    points = []
    with Training(task("Blobs"), params, **given) as training:
        for point in training:
            points.append(point)
            if point.step == 2:
                training.halt()
    assert 2 <= len(points) < 8
    with Training(task("Blobs"), params, **given, resume=True) as training:
        points += training
    assert [(p.step, p.value) for p in points] == [(p.step, p.value) for p in expected]
    assert torch.equal(weights(training.run), weights(run))
    assert training.lost == 0


@pytest.mark.ray
def test_an_epoch_that_was_saved_and_not_read_when_its_owner_died_has_its_point_after_a_resume(cluster, tmp_path):
    given, points = {"rule": "async", "workers": 1, "folder": tmp_path}, []
    with Training(task("Tally"), {"pause": 0.01}, **given) as training:
        for point in training:
            points.append(point)
            until = time.monotonic() + 60
            while outline(tmp_path / "server.safetensors")["merged"] < 60 and time.monotonic() < until:
                time.sleep(0.02)
            break  # its actors are ended
    with Training(task("Tally"), {}, **given, resume=True) as training:
        points += training
    assert [p.step for p in points] == [1, 2, 3, 4, 5, 6]
    assert [p.value for p in points[:2]] == [-120.0, -240.0]  # with the weights that it had then
    with Training(task("Tally"), {}, **given, resume=True) as training:
        assert list(training) == []
    assert weights(training.run).tolist() == [6.0] * 120  # all is done: what is left is to take the weights


@pytest.mark.ray
@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_worker_and_a_killed_server_cost_no_example_and_none_is_applied_twice(cluster, seed):
    with Training(task("Tally"), {"pause": 0.05}, rule="async", workers=2) as training:
        killer = Killer(training, f"worker {seed % 2}", "server", seed=seed)
        points = list(training)
    killer.join(5)
    assert weights(training.run).tolist() == [6.0] * 120
    assert [p.step for p in points] == [1, 2, 3, 4, 5, 6]
    assert killer.struck == [f"worker {seed % 2}", "server"]
    assert training.deaths == {f"worker {seed % 2}": 1, "server": 1}
    assert 0 <= training.lost <= 30  # the checkpoint is written after each epoch, so no more than one


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.parametrize(
    ("rule", "workers"), [("sync", 2), ("average(every=2)", 2), ("diloco(every=2)", 2), ("sync", (2, 1))]
)
def test_workers_that_wait_for_each_other_are_the_simulated_ones_bit_for_bit(cluster, rule, workers):
    simulated = Simulation(
        task("Blobs"), PARAMS, rule=parse_rule(rule), workers=workers, steps=3, shuffle="local"
    )  # each has a shard of its own, so that it does not matter who is first
    expected = list(simulated)
    with Training(task("Blobs"), PARAMS, rule=rule, workers=workers, steps=3, shuffle="local") as training:
        points = list(training)
    assert [p.value for p in points] == [p.value for p in expected]
    costs = [p.cost for p in points]
    assert costs == sorted(costs)
    assert 0 < costs[-1] <= training.status["seconds"]
    assert torch.equal(weights(training.run), weights(simulated.run))


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.parametrize("rule", ["ec(every=2)", "codistil(every=2, burn_in=0)"])
@pytest.mark.parametrize("name", ["Blobs", "Normed"])
def test_models_are_delivered_to_the_workers_and_the_owner(cluster, name, rule):
    with Training(task(name), PARAMS, rule=rule, workers=2, steps=20, shuffle="local") as training:
        list(training)
    assert [w for w, _ in training.models] == [0, 1]
    assert not torch.equal(training.models[0][1], training.models[1][1])
    found = member_losses(training.run, training.models)
    assert found.ensemble <= found.mean < 0.2
    if rule.startswith("ec"):
        simulated = Simulation(task(name), PARAMS, rule=parse_rule(rule), workers=2, steps=20, shuffle="local")
        list(simulated)
        assert torch.equal(weights(training.run), weights(simulated.run))
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(training.models, simulated.server.models, strict=True))


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.parametrize("who", ["worker 1", "server"])
def test_what_hangs_is_replaced(cluster, who):
    with Training(task("Tally"), {"pause": 0.05}, rule="bounded(s=1)", workers=2, steps=12, deadline=6.0) as training:
        killer = Killer(training, who, seed=1, number=signal.SIGSTOP)
        list(training)
    killer.join(5)
    assert weights(training.run).tolist() == [12.0] * 120
    assert training.deaths == {who: 1}
    assert training.status["events"].get("late", 0) == (who != "server")


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.parametrize(
    "rule", ["sync", "bounded(s=1)", "dc-asgd", "average(every=2)", "ec(every=2)", "elastic(every=2)"]
)
def test_no_rule_waits_for_the_dead(cluster, rule):
    with Training(task("Blobs"), PARAMS, rule=rule, workers=2, steps=60) as training:
        killer = Killer(training, "worker 0", seed=3)
        points = list(training)
    killer.join(5)
    assert len(points) == 60
    assert points[-1].value > 0.9


@pytest.mark.ray
@pytest.mark.soak
def test_a_worker_joins_when_a_node_does_and_goes_with_it(cluster):
    node = None
    with Training(task("Tally"), {"pause": 0.05}, rule="async", workers=2, steps=60, cpus=2, deadline=10) as training:
        for event in training.events():
            there = training.look().get("workers", {})
            if event is not None and node is None:
                assert sorted(training.places) in (["server", "worker 0"], ["server", "worker 1"])
                node = cluster.add_node(num_cpus=2)
            if node is not None and len(there) == 2:
                cluster.remove_node(node, allow_graceful=False)
                break
        else:
            pytest.fail("the second worker did not join")
        points = list(training)
    assert points[-1].step == 60
    assert weights(training.run).tolist() == [60.0] * 120
    assert sum(training.deaths.values()) == 1


@pytest.mark.ray
@pytest.mark.soak
def test_an_error_in_a_worker_is_said_in_its_words(cluster):
    with (
        pytest.raises(TaskError, match=r"worker 0: RuntimeError: spoilt on purpose"),
        Training(task("Spoilt"), PARAMS, rule="async", workers=1) as training,
    ):
        list(training)


@pytest.mark.ray
@pytest.mark.soak
def test_a_training_that_was_left_asks_ray_for_nothing(tmp_path):
    """Outside a cluster each call would begin one. In a process of its own, which is part of none."""
    code = f"""
        import ray
        from whet.distributed.cluster.train import Training
        from whet.tasks import resolve

        with Training(resolve("{LESSONS}:Tally", seed=0), {{"pause": 0.05}}, rule="async", workers=1, address=None) as training:
            events = training.events(0.1)
            while not training.look().get("merged"):
                next(events)
        merged = training.look()["merged"]
        training.halt()
        assert list(events) == list(training) == [] and training.look()["merged"] == merged
        assert not ray.is_initialized()
        with Training(resolve("{LESSONS}:Tally", seed=0), {{}}, rule="async", workers=1) as training:
            events = training.events(0.1)
            next(events)
            ray.shutdown()
            try:
                list(events)
            except Exception as e:
                print(type(e).__name__, e)
        assert not ray.is_initialized()
    """
    env = {**os.environ, "RAY_ADDRESS": "local", "PYTHONPATH": str(Path(whet.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, text=True, capture_output=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("TaskError ray: this process has left the cluster")


@pytest.mark.ray
def test_what_finds_no_room_is_said_before_anything_starts(cluster):
    with (
        pytest.raises(UsageError, match=r"no node has room for a worker with 3 CPU: the cluster has 2 CPU and 0 GPU"),
        Training(task("Blobs"), PARAMS, rule="async", workers=1, cpus=3) as training,
    ):
        list(training)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r'needs Ray.*pip install "whet\[ray\]"'):
        Training(task("Blobs"), PARAMS, rule="async", workers=2)


@pytest.mark.ray
def test_what_cannot_be_is_refused_before_anything_starts():
    with pytest.raises(UsageError, match="workers: must be >= 1, got 0"):
        Training(task("Blobs"), PARAMS, rule="async", workers=0)
    with pytest.raises(UsageError, match=r"no rule 'asink'\. Did you mean 'async'\?"):
        Training(task("Blobs"), PARAMS, rule="asink", workers=2)


@pytest.mark.ray
def test_a_folder_is_one_trainings(tmp_path):
    given = {"rule": "async", "workers": 2, "folder": tmp_path / "runs" / "mine"}
    with Training(task("Blobs"), PARAMS, **given):
        with pytest.raises(UsageError, match="mine: another training is using it"):
            Training(task("Blobs"), PARAMS, **given)
        with pytest.raises(UsageError, match="mine: another training is using it"):
            LocalTraining(task("Blobs"), PARAMS, **given)
    assert not (tmp_path / "runs").exists()
    with LocalTraining(task("Blobs"), PARAMS, **given), pytest.raises(UsageError, match="another training is using it"):
        Training(task("Blobs"), PARAMS, **given)


OWNER = """
import sys
from whet.distributed.cluster.train import Training
from whet.tasks import resolve
with Training(resolve(sys.argv[1], seed=0), {"pause": 0.02}, rule="async", workers=2, steps=6, folder=sys.argv[2]) as training:
    for _ in training.events(0.02):
        if training.look().get("merged", 0) >= int(sys.argv[3]):
            print("now", flush=True)
"""


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.parametrize("at", [1, 40, 100])
def test_an_owner_that_is_killed_is_gone_on_from_at_once(cluster, tmp_path, at):
    env = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, f"{LESSONS}:Tally", str(tmp_path), str(at)],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout.readline() == "now\n"
        owner.send_signal(signal.SIGKILL)
        owner.wait(60)
    with Training(task("Tally"), {}, rule="async", workers=2, steps=6, folder=tmp_path, resume=True) as training:
        points = list(training)
    assert points[-1].step == 6
    assert weights(training.run).tolist() == [6.0] * 120


def test_each_worker_gets_a_part_of_a_core_where_there_are_fewer():
    assert share([{"CPU": 2.0}], 4) == 0.5
    assert share([{"CPU": 1.0}, {"CPU": 1.0}], 3) == 0.5  # two on one of them
    assert share([{"CPU": 16.0}], 4) == 1.0
    assert share([{"CPU": 0.0}], 4) == 0.0
