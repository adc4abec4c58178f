"""The owner of a training and what it does when processes end, hang or begin; its folders; the server's socket."""

import io
import time
from pathlib import Path

import pytest
import torch
from lessons import PARAMS
from torch import nn

from whet.distributed.flat import Flat
from whet.distributed.local.children import Hand, serve, work
from whet.distributed.local.frames import Frame, Kind, connect, listen, receive, send
from whet.distributed.local.layout import Layout, region_path, socket_path
from whet.distributed.local.region import Region
from whet.distributed.local.serve import Listener
from whet.distributed.local.train import Training
from whet.distributed.rule import Local
from whet.distributed.rules.gradient import asynchronous
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle
from whet.errors import TaskError, UsageError
from whet.execute.child import Link
from whet.execute.processes import Message, Pool
from whet.tasks import resolve

LESSONS = Path(__file__).with_name("lessons.py")


def training(**options):
    given = {"rule": "async", "workers": 2, "steps": 3} | options
    return Training(resolve(f"{LESSONS}:Blobs", seed=0), PARAMS, **given)


def begins(owner, version):
    owner._listens({"listening": 0, "version": version, "shown": 0, "over": False, "models": []})


DIED = {"why": "", "code": -9, "trace": ""}
LATE = {"why": "late", "code": -9, "trace": ""}


def test_what_is_lost_with_servers_is_counted_once_and_dismissed_workers_work_again():
    with training(deadline=7.0) as owner:
        owner._crew.pool = Pool(3, threads=1)
        counts = owner._region["counts"]
        begins(owner, 0)
        counts[0] = 50
        list(owner._heard(Message(1, "result", {"updates": 9, "epoch": 0})))  # the server was about to end
        assert (owner._crew.idle, owner._crew.due) == ({0}, {})
        owner._replace(0, DIED)
        assert owner._crew.idle == set()
        assert set(owner._crew.due) == {0, 1}
        begins(owner, 30)
        owner._replace(0, DIED)
        begins(owner, 30)  # again, before anything was merged
        assert owner.lost == 20
        owner._crew.due.clear()
        list(owner._heard(Message(2, "result", {"updates": 9, "epoch": 1})))  # heard late: that server is gone
        assert set(owner._crew.due) == {2}
        for _ in range(5):
            owner._replace(2, LATE)
        with pytest.raises(TaskError, match=r"worker 1: died 6 times in a row \(no answer within 7 seconds\)\. If its"):
            owner._replace(2, LATE)


def test_a_process_that_does_not_begin_or_a_server_that_does_not_answer_is_ended():
    with training(deadline=0.0) as owner:
        owner._crew.pool = Pool(3, threads=1)
        before = owner._crew.pool.pids()
        owner._crew.due[2] = 0.0
        owner._crew.end(1, process=before[1] + 1)  # of one that was replaced meanwhile
        owner._began = 0.0
        with listen(socket_path(owner._place.meet)):
            owner._contact.reach()
            owner._look_after()  # asks
            owner._look_after()
        found = {}
        until = time.monotonic() + 60
        while len(found) < 2 and time.monotonic() < until:
            message = owner._crew.pool.get(1.0)
            if message is not None and message.kind == "exit":
                found[message.worker] = message.data["why"]
        assert found == {0: "late", 2: "late"}


def test_after_a_value_that_is_not_finite_there_are_no_more_points():
    with training() as owner:
        owner.run.over = True
        assert list(owner._heard(Message(0, "event", {"epoch": 2, "models": [], "loss": 1.0}))) == []


def test_a_server_that_is_gone_before_it_is_spoken_to_is_no_error():
    with training() as owner:
        begins(owner, 0)
        owner.halt()
        assert owner.look() == {}


def test_a_folder_is_one_trainings_and_temporary_ones_are_removed(tmp_path):
    with training(folder=tmp_path), pytest.raises(UsageError, match="another training is using it"):
        training(folder=tmp_path)
    with training(folder=tmp_path) as owner:
        assert not owner.job.checkpoint.startswith(str(owner._place.meet))
    owner = training()
    folders = [Path(f) for f in owner.job.temporary]
    assert Path(owner.job.checkpoint).parent in folders
    assert not owner.job.checkpoint.startswith("/dev/shm")
    del owner
    assert not any(f.exists() for f in folders)


@pytest.mark.parametrize("what", [serve, work])
def test_when_the_owner_is_gone_what_is_temporary_is_removed(what):
    with training() as owner:
        link = Link(io.StringIO())
        link.stop()
        payload = {"job": owner.job.json(), "epoch": 0, "resume": False, "shown": None, "spent": 0.0, "worker": 0}
        what(payload | {"threads": torch.get_num_threads()}, link)
        assert not any(Path(folder).exists() for folder in owner.job.temporary)


def test_a_worker_waits_for_a_server_however_long_that_takes():
    with training(deadline=0.0) as owner:
        hand = Hand(owner.job, 0, owner._region, begin=pytest.fail, link=Link(io.StringIO()))
        with listen(socket_path(owner._place.meet)), hand.reach() as connection:
            assert connection is not None


class Told(list):
    """What an owner was told, until it is enough."""

    def __call__(self, data):
        self.append(data)


@pytest.fixture
def listener(tmp_path):
    flat = Flat(nn.Linear(1, 1, bias=False))
    server = Server(flat, asynchronous(), Sampler(Shuffle(8, 1), 1), optimizer=torch.optim.SGD(flat.parameters, lr=1.0))
    region = Region.make(region_path(tmp_path), Layout.of(flat, Local(), 1).areas())
    told = Told()
    return Listener(server, region, tmp_path, workers=1, epoch=0, deadline=0.3, told=told), tmp_path


def test_the_owner_hears_which_process_is_late(listener):
    served, folder = listener
    with connect(socket_path(folder), seconds=10.0) as worker:
        send(worker, Frame(Kind.HELLO, a=0, c=4242))
        served.serve(lambda: bool(served.told))
    assert served.told == [{"late": 0, "process": 4242}]


def test_what_is_said_in_another_life_is_stale(listener):
    served, folder = listener
    with connect(socket_path(folder), seconds=10.0) as worker:
        send(worker, Frame(Kind.HELLO, a=0))
        send(worker, Frame(Kind.PULL, 99))
        served.serve(lambda: served.desk.events["stale"] > 0)
        kinds = [receive(worker).kind for _ in range(2)]
    assert kinds == [Kind.WELCOME, Kind.STALE]
    assert served.server.sampler.given == 0
