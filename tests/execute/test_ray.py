"""Studies on real Ray clusters of several nodes on this machine, whose nodes and drivers are really killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

import whet
from whet import Attempt, Float, Int, Space, State, Study, UsageError
from whet.errors import MissingExtra
from whet.execute import place, resolve
from whet.execute.nodes import divide, named, room
from whet.tasks import resolve as resolve_task
from whet.tune.replay import replay
from whet.tune.schedule.population import Population
from whet.tune.search.hypergradient import Hypergradient

WORK = Path(__file__).with_name("ray_work.py")
ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}


def work(name):
    return resolve(f"{WORK}:{name}")


def new(folder, trials=4, **options):
    return Study(
        **{
            "space": Space(k=Int(1, trials)),
            "search": "random",
            "schedule": "full",
            "steps": 3,
            "seed": 1,
            "store": f"sqlite:///{folder}/s.db",
            **options,
        }
    )


def check(study, trials):
    """See that no trial is lost or doubled, none is left running, and the account is right."""
    assert sorted(t.params["k"] for t in study.trials) == list(range(1, trials + 1))
    assert [t.state for t in study.trials] == [State.DONE] * trials
    assert [t.step for t in study.trials] == [3] * trials
    for t in study.trials:
        assert Attempt(study, t).load()["trained"] == [1, 2, 3]
    assert study.spent.trials == trials
    assert study.spent.steps == 3 * trials
    assert not study.journal.leases()
    events = study.journal.read()
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert not any(e.kind in ("failed", "repeated") for e in events)


@pytest.fixture
def flags(cluster):
    """Return an empty folder in which objectives leave signs."""
    folder = Path(os.environ["WHET_TEST_FLAG"])
    for sign in folder.iterdir():
        sign.unlink()
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of two nodes with a core each, whose processes know where to leave signs."""
    import ray
    from ray.cluster_utils import Cluster

    assert not ray.is_initialized(), "a test before this has begun a cluster, or joined one, and not left it"
    os.environ["WHET_TEST_FLAG"] = str(tmp_path_factory.mktemp("flags"))
    # where `ray start` writes its name, and so does this cluster: not that of the machine. Short, for the names of Ray's sockets
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(dir="/tmp")
    others = set(psutil.Process().children(recursive=True))  # a server of other tests, for one
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 2})
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = cluster.address
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    stayed = ray.is_initialized()
    ray.shutdown()
    cluster.shutdown()
    shutil.rmtree(os.environ.pop("RAY_TMPDIR"), ignore_errors=True)
    del os.environ["WHET_TEST_FLAG"]
    if before is None:
        del os.environ["RAY_ADDRESS"]
    left = set(psutil.Process().children(recursive=True)) - others
    _, left = psutil.wait_procs(left, timeout=10)
    assert not left
    assert not stayed, "a study has not left the cluster"


@pytest.mark.ray
@pytest.mark.soak
def test_a_crash_on_a_cluster_fails_at_once_and_gpus_are_shared(cluster, tmp_path):
    with new(tmp_path, 3, steps=1) as study:
        study.run(work("segfaults"), workers=1, on="ray", gpus=2, memory="300MB")
        by_k = {t.params["k"]: t for t in study.trials}
        assert by_k[2].error["type"] == "Crashed"
        assert "in segfaults" in by_k[2].error["traceback"]
        assert [by_k[k].value for k in (1, 3)] == [3, 5]  # two devices
        assert not study.journal.leases()
        with pytest.raises(
            UsageError, match=r"no room for 3 workers with 1 CPU each: the cluster's 2 nodes have 2 CPUs"
        ):
            study.run(work("segfaults"), workers=3, on="ray", gpus=0)


DRIVER = """
import sys
import whet
from whet.execute import resolve
study = whet.Study.open(sys.argv[1], "study")
study.run(resolve(sys.argv[2]), workers=2, on=sys.argv[3], gpus=0)
"""


def driver(folder, on="ray"):
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, f"sqlite:///{folder}/s.db", f"{WORK}:slow", on],
        env={**ENV, "RAY_ADDRESS": os.environ["RAY_ADDRESS"]},
        start_new_session=True,
    )


def steps(flags):
    try:
        return len((flags / "steps").read_text().splitlines())
    except FileNotFoundError:
        return 0


def until(condition, process=None):
    while not condition():
        assert process is None or process.poll() is None, "it ended too early"
        time.sleep(0.02)


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.parametrize("at", [1, 4, 7, 11])
def test_a_driver_that_is_killed_loses_nothing(cluster, flags, tmp_path, at):
    new(tmp_path, 6).close()
    first = driver(tmp_path)
    until(lambda: steps(flags) >= at, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert driver(tmp_path).wait(120) == 0
    with Study.open(f"sqlite:///{tmp_path}/s.db", "study") as study:
        check(study, 6)


@pytest.mark.ray
@pytest.mark.soak
def test_a_cluster_elsewhere_is_joined_by_its_address(cluster, flags, tmp_path):
    """A driver that is no part of the cluster, through Ray's client; and one that is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ray.util.client.server",
            "--address",
            cluster.address,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        stderr=subprocess.DEVNULL,
        env=ENV,
    )
    try:
        new(tmp_path, 6).close()
        first = driver(tmp_path, f"ray://127.0.0.1:{port}")
        until(lambda: steps(flags) >= 4, first)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert driver(tmp_path, f"ray://127.0.0.1:{port}").wait(240) == 0
        with Study.open(f"sqlite:///{tmp_path}/s.db", "study") as study:
            check(study, 6)
    finally:
        server.terminate()
        server.wait()


@pytest.mark.ray
def test_a_population_copies_weights_from_node_to_node(cluster, flags, tmp_path):
    """Each child goes on from where its parent stood, also the one whose worker was killed as it began."""
    space = Space(rate=Float(0.05, 0.9, live=True))
    population = Population(4, interval=1, share=0.5)
    with new(tmp_path, space=space, schedule=population, steps=4, seed=3) as study:
        study.run(work("bred"), budget="24steps", workers=2, on="ray", gpus=0)
        trials = study.trials
        assert (flags / "orphan").exists()
        children = [t for t in trials if t.parent is not None and t.step > t.parent[1]]
        assert children
        assert not any(t.state is State.FAILED for t in trials)
        for t in children:
            story = Attempt(study, t).load()["story"]
            assert [step for step, _ in story] == list(range(1, t.step + 1))
            assert story[-1][1] == t.params["rate"]
            rates = {trials[t.parent[0]].params["rate"], t.params["rate"]}
            assert rates <= {rate for _, rate in story}
        assert not replay(study.journal.read()).differences
        assert not study.journal.leases()


@pytest.mark.ray
@pytest.mark.soak
def test_a_search_along_gradients_of_a_task_s_runs(cluster, flags, tmp_path):
    task = resolve_task("digits")
    options = {"space": task.space, "goal": "max accuracy", "search": Hypergradient(starts=1), "steps": 1}
    with new(tmp_path, **options) as study:
        study.run(work("sloped"), trials=6, workers=2, on="ray", gpus=0)
        assert [t.state for t in study.trials] == [State.DONE] * 6
        for t in study.trials:
            assert any(name.startswith("gradient(loss).") for name in t.curve[-1].metrics)
        assert any("hypergradient" in t.origin for t in study.trials)
        assert study.spent.steps == 6
        assert study.spent.cost > 6 * 2  # the gradients are paid for
        assert not replay(study.journal.read()).differences


@pytest.mark.ray
def test_a_node_that_is_killed_costs_no_trial(cluster, flags, tmp_path, capfd):
    node = sorted(cluster.worker_nodes, key=lambda n: n.node_id)[-1]
    raylet = str(node.all_processes["raylet"][0].process.pid)
    (flags / "doomed").write_text(raylet)

    def kill():
        while not (flags / "waiting").exists():
            time.sleep(0.02)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with new(tmp_path) as study:
        study.run(work("waits_for_its_node"), workers=2, on="ray", gpus=0)
        check(study, 4)
    killer.join(1)
    assert not killer.is_alive(), "no node was killed"
    said = capfd.readouterr()
    assert said.out == said.err == ""  # what Ray has to say of a node fills pages


@pytest.fixture
def private(monkeypatch):
    """The address of a cluster that another process started for itself, and the file in which `ray start` would name one."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    code = """
        import ray
        ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        print("address", ray.get_runtime_context().gcs_address, flush=True)
        input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env={**ENV, "RAY_ADDRESS": "", "RAY_TMPDIR": str(folder)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            address = next(line.split()[1] for line in process.stdout if line.startswith("address"))
            yield address, folder / "ray" / "ray_current_cluster"
        finally:
            process.communicate("\n", timeout=120)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.ray
def test_only_a_cluster_that_is_named_is_joined(private, monkeypatch):
    address, named_here = private
    assert named() is None, "another process's own"
    named_here.write_text("127.0.0.1:1")
    assert named() is None, "one that is gone"
    named_here.write_text(address)
    assert named() == address
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert named() == "10.0.0.1:6379"
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert named() is None


@pytest.mark.ray
@pytest.mark.soak
def test_beside_another_process_s_cluster_one_starts_its_own(private):
    address, named_here = private
    code = """
        import ray
        from whet.execute.nodes import connect, leave
        assert connect(None, 1)
        print(ray.get_runtime_context().gcs_address)
        leave()
    """

    def joined():
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], env={**ENV, "RAY_TMPDIR": os.environ["RAY_TMPDIR"]},
            text=True, capture_output=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    own = joined()
    assert ":" in own
    assert own != address
    named_here.write_text(address)
    assert joined() == address


@pytest.mark.parametrize("address", ["ray://", "ray://host:port", "ray://a/b", "ray://a:123456", "ray://me@host:1"])
def test_what_is_no_address_is_said(address):
    with pytest.raises(UsageError, match=r"is no address. Use ray://HOST:PORT"):
        place(address, 2)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r'needs Ray.*pip install "whet\[ray\]"'):
        place("ray", 2)


def test_room_is_counted_node_by_node():
    small, large = {"CPU": 2.0, "memory": 1e9}, {"CPU": 8.0, "GPU": 2.0, "memory": 16e9}
    assert room([small, large], cpus=2) == 5
    assert room([small, large], cpus=3) == 2  # what is left of two nodes does not add up
    assert room([small, large], cpus=1, gpus=0.5) == 4
    assert room([small, large], cpus=1, memory=2e9) == 8
    assert divide([small, large], 1) == (8, 1)
    assert divide([small, small], 2) == (2, 0)
    assert divide([small, large], 4) == (2, 0.5)
    assert divide([large], 4) == (2, 0.5)
    assert divide([large], 3, gpus=0.5) == (2, 0.5)
    assert divide([small, large], 4, gpus=0, memory=8 * 10**8) == (2, 0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"workers": 3}, "for 3 workers with 1 CPU each.* 2 CPUs and 0 GPUs, which is enough for 2"),
        ({"workers": 1, "gpus": 1}, "1 CPU, 1 GPU each"),
        ({"workers": 2, "memory": 10**10}, "1 CPU, 10 GB each.* enough for 0"),
    ],
)
def test_no_room_is_said_with_the_numbers(options, match):
    with pytest.raises(UsageError, match=match):
        divide([{"CPU": 1.0, "memory": 1e9}] * 2, **options)


def test_an_sqlite_store_is_refused_when_the_cluster_has_other_machines(tmp_path):
    from types import SimpleNamespace

    from whet.tune.crew import check_store

    with new(tmp_path) as study:
        check_store(study.store, SimpleNamespace(remote=False))
        with pytest.raises(UsageError, match=r"s.db is an SQLite file.*one machine only.*Use a PostgreSQL store"):
            check_store(study.store, SimpleNamespace(remote=True))
