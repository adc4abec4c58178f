"""One training on a Ray cluster, iterated by its owner as a `Run` is."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor

from whet.distributed.cluster.crew import Crew, need_ray
from whet.distributed.cluster.parcel import unwrap
from whet.distributed.cluster.work import PATIENCE
from whet.distributed.flat import Flat
from whet.distributed.local.job import Job
from whet.distributed.rule import Rule
from whet.errors import TaskError, UsageError
from whet.execute.nodes import reason
from whet.task import Task
from whet.tasks import reference
from whet.train.run import Run
from whet.tune.space import Params
from whet.tune.trial import Point

__all__ = ["Limits", "Training"]

_SERVER = -1  # its number among workers
_TRIES = 5  # deaths of one process in a row, without an epoch between, that are taken for bad luck
_ROOM = 300.0  # seconds that workers wait for room on a cluster that has none for any of them
_BEGIN = 600.0  # seconds a server may take to begin: a process, torch, the data, the checkpoint
_ANSWER = 1.0  # seconds in which a server that is not busy says how it stands


class Limits(TypedDict, total=False):
    """Options that every training on a cluster may be given.

    deadline: seconds after which a worker or server that does not answer is replaced; cpus, gpus: that each worker is given of the
    cluster's, also parts of one.
    """

    deadline: float
    cpus: float
    gpus: float


class Awaited(NamedTuple):
    """What was asked of an actor, which worker it is, and until when it has to answer."""

    what: str
    worker: int
    until: float


class Training:
    """Train a task on `workers` actors and a server; iterate it to get a `Point` after each epoch's worth of merged batches.

    rule: a `Rule` or its name; shuffle: "global", "local" or "once"; folder: of the checkpoint, on the node where the server is: this machine
    when it is part of the cluster, else the head (None: a temporary one); resume: go on from what is there; address: "ray://HOST:PORT" of a
    cluster, or None for the one that RAY_ADDRESS or this machine's `ray start` names, else one of this machine's own; limits: `Limits`
    (deadline 120; a CPU and no GPU for each worker, parts of a CPU where there are fewer). An actor that dies is started again: a worker takes up the work of
    the one before, a server begins at its checkpoint. Workers that find no room on the cluster join when there is some.

    A point's cost is in seconds since the server began; its metrics have "updates". After the last, `run.model` has the weights; status
    says how each worker got on, lost how many acknowledged updates died with servers, models the members' (worker, weights) where
    the rule exchanges models. It is a `whet.distributed.channels.Channel`.

    Use it as a context manager, or call `close`: leaving it ends the actors. Raises MissingExtra without Ray, UsageError for what cannot be, and
    TaskError when the task cannot be found by other processes or fails in one.
    """

    def __init__(
        self, task: Task, params: Params, *, rule: Rule | str, workers: int, steps: int | None = None, seed: int = 0,
        shuffle: str = "global", folder: Path | None = None, resume: bool = False, address: str | None = None,
        **limits: Unpack[Limits],
    ) -> None:  # fmt: skip
        need_ray()
        self.run = Run(task, params, steps=steps, seed=seed, device="cpu")
        self.workers, self.lost, self.address, self.limits = workers, 0, address, limits
        self.status: dict[str, Any] = {}
        self.deaths: Counter[str] = Counter()
        self.models: tuple[tuple[int, Tensor], ...] = ()
        self.places: dict[str, tuple[int, str]] = {}  # "server", "worker 0" -> its process and node
        self._temporary = folder is None
        where = Path(tempfile.gettempdir(), f"whet-{uuid.uuid4().hex}") if folder is None else Path(folder).resolve()
        self.job = Job(
            reference(task), dict(params), str(rule), workers, self.run.steps, seed, shuffle, str(where),
            "auto" if limits.get("gpus") else "cpu", deadline=limits.get("deadline", 120.0),
            checkpoint=str(where / "server.safetensors"),
        )  # fmt: skip
        self.job.made_rule()
        self.job.shuffled(self.run)
        self._flat = Flat(self.run.model)
        self._resume, self._epoch, self._halting, self._room = resume, 0, False, math.inf
        self._shown: int | None = None  # the last epoch there was a point for
        self._row: Counter[str] = Counter()
        self._awaited: dict[Any, Awaited] = {}
        self._crew: Crew | None = None
        self._server: Any = None
        self._serving = False  # whether the server has begun
        self._actors: dict[int, Any] = {}
        self._births: Counter[int] = Counter()
        self._idle: set[int] = set()  # workers that wait for a server

    def __iter__(self) -> Iterator[Point]:
        """Start the actors and go on until every epoch's batches are merged."""
        return (point for point in self.events() if point is not None)

    def events(self, seconds: float = 1.0) -> Iterator[Point | None]:
        """Do as iterating does, and yield None about once in `seconds` as well: its owner's turn to look, to halt or to leave."""
        import ray

        if self._crew is None:
            self._crew = Crew(
                self.address, self.workers, cpus=self.limits.get("cpus"), gpus=self.limits.get("gpus", 0.0)
            )
            self._room = time.monotonic() + _ROOM
            self._serve()
            for w in range(self.workers):
                self._work(w)
        due = time.monotonic() + seconds
        over = False
        while not over and not (self._halting and self._shown is None):  # halted before there was anything to save
            ready, _ = ray.wait(list(self._awaited), timeout=min(1.0, max(0.0, due - time.monotonic())))
            for ref in ready:
                for event in self._answered(ref, self._awaited.pop(ref)):
                    over = over or event is None
                    if event is not None:
                        yield event
            self._overdue()
            if time.monotonic() >= due and not over:
                yield None
                due = time.monotonic() + seconds

    # -- what actors answer

    def _answered(self, ref: Any, of: Awaited) -> Iterator[Point | None]:
        """Yield points; None when all is over."""
        import ray
        from ray.exceptions import RayError

        who = _name(of.worker)
        try:
            found = ray.get(ref, timeout=self.job.deadline)
        except RayError as e:
            self._died(of.worker, reason(e))
            return
        if isinstance(found, dict) and "error" in found:
            raise TaskError(f"{who}: {found['error']}")
        match of.what:
            case "where":
                self.places[who] = found
                if of.worker >= 0:
                    self._room = math.inf
                    self._await(self._actors[of.worker].begin.remote(), "begin", of.worker, seconds=_BEGIN)
            case "begin" | "work":
                self._idle.add(of.worker)
                self._set_to_work()
            case "start":
                self._began(found)
            case "hear" if "result" in found:
                self.status = found["result"]
                yield None
            case "hear":
                yield from self._heard(found["told"])

    def _began(self, found: dict[str, Any]) -> None:
        """Take in how a server begins."""
        self.lost += found["lost"]
        if self._shown is None:
            self._shown = int(found["epochs"])
            self.run.step = max(self.run.step, self._shown)
        self._serving = True
        if self._halting:
            self._server.halt.remote()
        self._hear()
        self._set_to_work()

    def _heard(self, told: list[dict[str, Any]]) -> Iterator[Point]:
        """Replace workers that are late; yield a point for each epoch, after the server was told to go on."""
        for news in told:
            if "late" in news and self._births[news["late"]] == news["birth"]:
                self._died(news["late"], f"no answer in {self.job.deadline:g} seconds")
        epochs = [news for news in told if "epoch" in news]
        if epochs:
            self._shown = int(epochs[-1]["epoch"])
            self._row.clear()
        self._hear()
        for news in epochs:
            vector, buffers = (
                torch.empty_like(self._flat.weights),
                torch.empty(self._flat.buffer_size, dtype=torch.float64),
            )
            unwrap(news.pop("weights"), self._flat.weights)
            self._flat.write_buffers(unwrap(news.pop("buffers"), buffers))
            self.models = tuple((w, unwrap(m, vector.clone())) for w, m in news.pop("models"))
            self.status = {**news, "models": [w for w, _ in self.models]}
            if news["epoch"] > self.run.step:
                yield self._point(news)

    def _point(self, news: dict[str, Any]) -> Point:
        self.run.step = int(news["epoch"])
        found = self.run.evaluate()
        value, loss = found.pop(self.run.goal.name), float(news["loss"])
        if not math.isfinite(loss) or not math.isfinite(value):
            self.run.over, value = True, math.nan
            self.halt()
        metrics = {**found, "train_loss": loss, "updates": float(news["version"])}
        return Point(self.run.step, value, cost=float(news["seconds"]), metrics=metrics)

    # -- actors

    def _await(self, ref: Any, what: str, worker: int = _SERVER, *, seconds: float = math.inf) -> None:
        self._awaited[ref] = Awaited(what, worker, time.monotonic() + seconds)

    def _serve(self) -> None:
        """Start a server."""
        assert self._crew is not None
        self._serving = False
        self._server = self._crew.server(self.job.json(), self._epoch)
        self._await(self._server.where.remote(), "where")
        self._await(self._server.start.remote(resume=self._resume, shown=self._shown), "start", seconds=_BEGIN)

    def _hear(self) -> None:
        seconds = PATIENCE + self.job.deadline
        self._await(self._server.hear.remote(self._shown, seconds=PATIENCE), "hear", seconds=seconds)

    def _work(self, worker: int) -> None:
        """Start a worker; it says where it is once there is room for it."""
        assert self._crew is not None
        actor = self._actors[worker] = self._crew.worker(self.job.json(), worker, self._births[worker])
        self._await(actor.where.remote(), "where", worker)

    def _set_to_work(self) -> None:
        """Have those work that wait for a server, when there is one."""
        while self._serving and self._idle:
            worker = self._idle.pop()
            self._await(self._actors[worker].work.remote(self._server), "work", worker)

    def _died(self, i: int, why: str) -> None:
        """Put another actor in the place of one that ended or does not answer."""
        assert self._crew is not None
        who = _name(i)
        self._awaited = {ref: of for ref, of in self._awaited.items() if of.worker != i}
        self.deaths[who] += 1
        self._row[who] += 1
        if self._row[who] > _TRIES:
            raise TaskError(f"{who}: died {self._row[who]} times in a row ({why}).")
        place = self.places.pop(who, None)
        if i == _SERVER:
            self._crew.end(self._server, place)
            self._epoch, self._resume = self._epoch + 1, True
            self._serve()
            return
        if self._serving:
            self._server.left.remote(i, self._births[i])
        self._crew.end(self._actors[i], place)
        self._births[i] += 1
        self._idle.discard(i)
        self._work(i)

    def _overdue(self) -> None:
        now = time.monotonic()
        for i in {of.worker for of in self._awaited.values() if now > of.until}:
            self._died(i, "no answer in time")
        if now > self._room:
            assert self._crew is not None
            raise UsageError(
                f"ray: no worker found room in {_ROOM:g} seconds: each asks for {self._crew.asked}, and the cluster has "
                f"{self._crew.has}. Ask for less (cpus=0.5), or wait until others are done."
            )

    # -- words to the server

    def look(self) -> dict[str, Any]:
        """Ask the server how the training stands; return the last that is known when it does not answer at once."""
        import ray
        from ray.exceptions import RayError

        if self._serving:
            try:
                self.status = ray.get(self._server.status.remote(), timeout=_ANSWER)
            except RayError:
                pass
        return self.status

    def halt(self) -> None:
        """Ask the server to save and end, also one that is still to come; the iteration then ends."""
        self._halting = True
        if self._serving:
            self._server.halt.remote()

    def close(self) -> None:
        """End the actors, leave the cluster, and remove what was temporary."""
        import ray

        if self._crew is None:
            return
        crew, self._crew = self._crew, None
        try:
            if self._temporary and self._serving:
                ray.get(self._server.clean.remote(), timeout=_ANSWER)
        except Exception:
            pass  # it died: what is in a temporary folder stays there
        for i, actor in [(_SERVER, self._server), *self._actors.items()]:
            crew.end(actor, self.places.get(_name(i)))
        crew.leave()
        if self._temporary:
            shutil.rmtree(self.job.folder, ignore_errors=True)

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _name(i: int) -> str:
    return "server" if i == _SERVER else f"worker {i}"
