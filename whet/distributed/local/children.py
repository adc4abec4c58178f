"""What runs in the processes: the server's work, and a worker's."""

from __future__ import annotations

import copy
import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from whet.distributed.desk import SIGNS
from whet.distributed.flat import Flat
from whet.distributed.keeper import Keeper
from whet.distributed.local.frames import Frame, FrameError, Kind, connect, receive, send
from whet.distributed.local.job import Job
from whet.distributed.local.layout import socket_path
from whet.distributed.local.region import Region
from whet.distributed.local.serve import Listener
from whet.distributed.rule import Local
from whet.distributed.tenure import Writer
from whet.distributed.update import Given, Update
from whet.distributed.worker import Parts, Worker
from whet.execute.child import Link

__all__ = ["prepare", "serve", "work"]

_RETRY = 0.05  # seconds between tries to reach a server that is not there yet
_PATIENCE = 1.0  # seconds between looks whether to stop, while waiting for an answer


def prepare(payload: Mapping[str, Any]) -> None:
    """Make what server and workers of a job all need, before they are forked."""
    Job(**payload["job"]).prepare()


def serve(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Be the server of a job until it is done or halted; return its last status, and whether it is done."""
    job, epoch = Job(**payload["job"]), int(payload["epoch"])
    torch.set_num_threads(int(payload["threads"]))
    writer = Writer(Path(job.checkpoint))
    if not writer.wait(lambda: link.stopping):
        job.clear()
        return {}
    server = job.server(job.run())
    keeper = Keeper(server, Path(job.checkpoint), job.often, epoch=epoch)
    keeper.begin(resume=bool(payload["resume"]))
    region = job.region(server.flat)
    listener = Listener(
        server, region, Path(job.folder), workers=job.workers, epoch=epoch, deadline=job.deadline, told=link.emit,
        after=keeper.after, shown=payload["shown"], spent=float(payload["spent"]),
    )  # fmt: skip
    over = listener.desk.over
    if over:
        listener.snapshot()
    link.emit({
        "listening": epoch, "version": server.held.version, "shown": listener.desk.shown, "over": over,
        "models": [w for w, _ in server.models],
    })  # fmt: skip
    listener.serve(lambda: link.stopping)
    if listener.halting and not link.stopping:
        listener.desk.end()
    keeper.write()
    writer.drop()
    if link.stopping:
        job.clear()
    return {"done": listener.desk.finished, **listener.desk.status()}


def work(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Be a worker of a job until there is nothing left to do; return how many updates it sent, and which server said that it is done."""
    job, number = Job(**payload["job"]), int(payload["worker"])
    torch.set_num_threads(int(payload["threads"]))
    run = job.run(device=job.device)
    parts, shuffle = Parts.of(run), job.shuffled(run)
    region = job.region(Flat(copy.deepcopy(run.model)))
    local = job.made_rule().local or Local()

    def begin(step: int) -> Worker:
        gradient = region[f"{number}/gradient"] if local.sends == "gradient" else None
        return Worker(
            number, parts, shuffle, local=local, weights=region[f"{number}/weights"], gradient=gradient, step=step
        )

    link.emit({"ready": number})
    found = Hand(job, number, region, begin=begin, link=link).work()
    if link.stopping:
        job.clear()
    return found


class Works(Protocol):
    """What a worker does with what it was given: `whet.distributed.worker.Worker` trains. further: to be called after each of its own steps."""

    step: int
    further: Callable[[], None]

    def work(self, given: Given) -> Update:
        """Return the update to push."""
        ...


class Hand:
    """A worker and its connections, one after the other. begin: makes the worker, whose next step it is given."""

    def __init__(self, job: Job, number: int, region: Region, *, begin: Callable[[int], Works], link: Link) -> None:
        self.job, self.number, self.region, self.begin, self.link = job, number, region, begin, link
        self.worker: Works | None = None
        self.sent = 0
        self.epoch = -1  # how many servers there were before the one it spoke to last
        self._own = False  # whether it was given weights
        self._signed = 0.0  # when it last gave a sign of life
        self._statistics: torch.Tensor | None = None  # (b,) that its next weights come with

    def work(self) -> dict[str, Any]:
        """Work until all is done or the owner says stop; return how many updates were sent, and which server said that it is done."""
        while (connection := self.reach()) is not None:
            with connection:
                if self.live(connection):
                    break
        return {"updates": self.sent, "epoch": self.epoch}

    def reach(self) -> socket.socket | None:
        """Return a connection to the server, however long there is none; None when the owner says stop, or is gone."""
        while not self.link.stopping:
            try:
                made = connect(socket_path(Path(self.job.folder)), seconds=_PATIENCE)
            except OSError:
                self.link.wait(_RETRY)
                continue
            try:
                send(made, Frame(Kind.HELLO, a=self.number, b=int(self._own), c=os.getpid()))
                return made
            except OSError:
                made.close()
        return None

    def live(self, connection: socket.socket) -> bool:
        """Work for the server at the other end; return whether all is done."""
        life = 0
        while not self.link.stopping:
            try:
                frame = receive(connection)
            except TimeoutError:
                continue
            except (FrameError, OSError):
                return False
            if frame is None or frame.kind is Kind.STALE:
                return False
            if frame.kind is Kind.DONE:
                return True
            try:
                if frame.kind is Kind.WELCOME:
                    life, self.epoch = frame.life, frame.b
                    self._begin(frame.a, partial(self._sign, connection, life))
                    send(connection, Frame(Kind.PULL, life))
                elif frame.kind is Kind.STATISTICS:
                    self._statistics = self.region[f"{self.number}/buffers"]
                elif frame.kind in (Kind.GIVEN, Kind.CLOSE):
                    self._own, self._signed = True, time.monotonic()
                    send(connection, self._step(frame, life))
            except OSError:
                return False
        return True

    def _sign(self, connection: socket.socket, life: int) -> None:
        """Say that it got further, unless it has just said so."""
        now = time.monotonic()
        if now - self._signed > self.job.deadline / SIGNS:
            self._signed = now
            try:
                send(connection, Frame(Kind.ALIVE, life))
            except OSError:
                pass  # the end of the connection will be read

    def _begin(self, step: int, further: Callable[[], None]) -> None:
        if self.worker is None:
            self.worker = self.begin(step)
        self.worker.step, self.worker.further = step, further

    def _step(self, frame: Frame, life: int) -> Frame:
        worker = self.worker
        assert worker is not None
        models: tuple[tuple[int, torch.Tensor], ...] = ()
        if frame.b:
            peers, who = self.region[f"{self.number}/peers"], self.region[f"{self.number}/who"].tolist()
            size = len(peers) // len(who)
            models = tuple((who[i], peers[i * size : (i + 1) * size]) for i in range(frame.b))
        buffers, self._statistics = self._statistics, None
        closing = frame.kind is Kind.CLOSE
        update = worker.work(Given(frame.a, frame.tickets, models, frame.c, buffers=buffers, closing=closing))
        if update.buffers is not None:
            self.region[f"{self.number}/buffers"].copy_(update.buffers)
        self.sent += 1
        self.link.further()
        return Frame(Kind.PUSH, life, update.step, update.examples, update.pulled, update.loss)
