"""The server at its socket, beside processes of the same user that send nonsense, say nothing, or never read."""

import os
import random
import resource
import socket
import struct
import threading
import time

import pytest
import torch
from torch import nn

from whet.distributed.flat import Flat
from whet.distributed.local.frames import LARGEST, Frame, Kind, connect, receive, send
from whet.distributed.local.layout import Layout, region_path, socket_path
from whet.distributed.local.region import Region
from whet.distributed.local.serve import Listener
from whet.distributed.rule import Local
from whet.distributed.rules.gradient import asynchronous
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle

UPDATES = 40


@pytest.fixture
def desk(tmp_path):
    flat = Flat(nn.Linear(3, 1))
    flat.weights.zero_()
    region = Region.make(region_path(tmp_path), Layout.of(flat, Local(), 1).areas())
    server = Server(
        flat, asynchronous(), Sampler(Shuffle(UPDATES, 1), 1), optimizer=torch.optim.SGD(flat.parameters, lr=1.0)
    )
    made = Listener(server, region, tmp_path, workers=1, epoch=0, deadline=60.0, told=lambda event: None)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    yield made, tmp_path
    made.halting = True
    thread.join(10)
    assert not thread.is_alive()


def train(folder, region):
    """Be the one worker of the server, to the end; each gradient is minus one."""
    with connect(socket_path(folder), seconds=20) as connection:
        send(connection, Frame(Kind.HELLO))
        life = receive(connection).life
        region["0/gradient"].fill_(-1.0)
        send(connection, Frame(Kind.PULL, life))
        for step in range(UPDATES):
            given = receive(connection)
            assert given.kind is Kind.GIVEN
            send(connection, Frame(Kind.PUSH, life, step, 1, given.a, 0.0))
        with connect(socket_path(folder), seconds=20) as owner:
            while True:  # the last update may not have been merged yet
                send(owner, Frame(Kind.WATCH))
                if receive(owner).status["merged"] == UPDATES:
                    return


def stranger(folder):
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.settimeout(20)
    made.connect(str(socket_path(folder)))
    return made


def test_nonsense_is_refused_and_nobody_else_is_disturbed(desk):
    made, folder = desk
    draw = random.Random(4)
    said = [draw.randbytes(draw.randrange(1, 200)) for _ in range(60)]
    said += [
        b"\0",
        b"x" * LARGEST,
        b"x" * (LARGEST + 1),
        b"x" * 150_000,
        Frame(Kind.STATUS).pack()[:-2] + b"[" * 50_000,
    ]
    said += [struct.pack("<BIqqqd", Kind.HELLO, 0, worker, 0, 0, 0.0) for worker in (-1, 1, 2**62)]
    said += [Frame(kind).pack() for kind in (Kind.GIVEN, Kind.DONE, Kind.PUSH, Kind.PULL, Kind.BYE)]
    for data in said:
        with stranger(folder) as other:
            other.send(data)
            assert other.recv(100) == b"", data[:40]  # it hung up
    train(folder, made.region)
    assert made.server.held.weights.tolist() == [float(UPDATES)] * 4
    assert made.desk.events["nonsense"] > 50


def test_one_that_never_reads_does_not_hold_up_the_server(desk):
    made, folder = desk
    with stranger(folder) as other:
        other.setblocking(False)
        asked = 0
        until = time.monotonic() + 20
        while asked < 3_000 and time.monotonic() < until:  # far more than the kernel keeps of the answers
            try:
                other.send(Frame(Kind.WATCH).pack())
                asked += 1
            except BlockingIOError:
                time.sleep(0.001)
        assert asked == 3_000
        train(folder, made.region)
    assert made.server.held.weights.tolist() == [float(UPDATES)] * 4


def test_connections_that_say_nothing_give_way_when_there_are_too_many(desk):
    made, folder = desk
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(30)]
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    tenth_free = [n for n in range(len(used) + 11) if n not in used][9]
    resource.setrlimit(resource.RLIMIT_NOFILE, (tenth_free, hard))
    try:
        for s in silent:
            s.connect(str(socket_path(folder)))
        until = time.monotonic() + 20
        while not made.desk.events["crowded"] and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for s in silent:
            s.close()
    assert made.desk.events["crowded"]
    train(folder, made.region)
    assert made.server.held.weights.tolist() == [float(UPDATES)] * 4
