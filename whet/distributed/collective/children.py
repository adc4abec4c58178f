"""What runs in the processes: rounds of one batch for each replica, all together, until there are no more."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from whet.distributed.collective.job import Job
from whet.distributed.collective.place import Place, joined, severed
from whet.distributed.collective.replica import Replica
from whet.distributed.collective.state import restore, store
from whet.distributed.sampler import Sampler
from whet.distributed.tenure import Writer
from whet.distributed.update import Ticket
from whet.errors import CheckpointError
from whet.execute.child import Link

__all__ = ["work"]

_LOOK = 0.01  # seconds between looks whether the owner has read an epoch's weights
_GO, _SAVE, _HALT = 0, 1, 2


def work(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Be a worker of a job until every epoch is trained or it is halted; return whether all is done, or that another one is gone."""
    job, rank = Job(**payload["job"]), int(payload["rank"])
    torch.set_num_threads(int(payload["threads"]))
    writer, resume = Writer(Path(job.checkpoint)), bool(payload["resume"])
    try:
        if rank == 0:  # before it meets the others: so all begin at the same file, whoever wrote it last
            if not writer.wait(lambda: link.stopping):
                return {"done": False, "life": payload["life"]}
            if not resume:
                Path(job.checkpoint).unlink(missing_ok=True)
        with joined(job, rank, int(payload["life"])) as place:
            return _Rounds(job, place, link, life=int(payload["life"]), resume=resume).all()
    except Exception as e:
        if severed(e):
            return {"severed": str(e).splitlines()[0][:400], "life": payload["life"]}
        raise
    finally:
        writer.drop()
        if link.stopping:
            job.clear()


class _Rounds:
    """One worker's part in a life of a training."""

    def __init__(self, job: Job, place: Place, link: Link, *, life: int, resume: bool) -> None:
        self.job, self.place, self.link, self.life = job, place, link, life
        self.path = Path(job.checkpoint)
        self.run = run = job.run(device=str(place.device) if place.stages == 1 else "cpu")
        self.shuffle = job.shuffled(run)
        self.sampler = Sampler(self.shuffle, run.steps)
        for r in range(place.replicas):
            self.sampler.join(r)
        self.region = job.region()
        self.held = Replica(run, self.shuffle, place)
        self.rates = [float(g["lr"]) for g in run.optimizer.param_groups]
        self.version = self.merged = self.epoch = 0
        self.part = torch.zeros(2, dtype=torch.float64, device=place.device)  # loss and examples of this worker
        self.sum = torch.zeros(2, dtype=torch.float64)  # and what was gathered before, with worker 0
        self.mean = float("nan")
        if resume and self.path.exists():
            self._restore()
        self.region["version"][place.rank], self.region["merged"][place.rank] = self.version, self.merged
        self.saved = time.monotonic()
        run.model.train()
        self.held.module.train()

    def _restore(self) -> None:
        about = restore(self.path, self.run.model, self.run.optimizer, place=self.place)
        self.version, self.merged, self.epoch = about["version"], about["merged"], about["epoch"]
        if len(about["sampler"]["position"]) != len(self.sampler.state()["position"]):
            raise CheckpointError(
                f"resume: shuffle {self.job.shuffle} had {len(about['sampler']['position'])} shards, now "
                f"{len(self.sampler.state()['position'])}. Resume with the same shuffle and number of workers."
            )
        self.sampler.load(about["sampler"])
        self.mean = float(about["mean"])
        if self.place.rank == 0:
            self.sum = torch.tensor(about["sum"], dtype=torch.float64)

    def all(self) -> dict[str, Any]:
        """Go through the rounds."""
        if self.place.rank == 0:
            self._tell({"started": True, **self._stands()})
        while True:
            tickets = [self.sampler.next(r) for r in range(self.place.replicas)]
            if tickets[0] is None:
                return {"done": True, "life": self.life}
            word = self._round(tickets)
            if self.merged >= (self.epoch + 1) * self.shuffle.per_epoch:
                self._epoch_ends()
            elif word > _GO:
                self._store()
            if word == _HALT:
                return {"done": False, "life": self.life}

    def _round(self, tickets: list[Ticket | None]) -> int:
        """Take one step all together; return what the workers want to do next, the same for all."""
        wants = torch.tensor([self._wants()])
        # on its way while the gradient is computed
        asked = dist.all_reduce(wants, dist.ReduceOp.MAX, group=self.place.words, async_op=True)
        counts = [0 if t is None else len(self.shuffle.indices(t)) for t in tickets]
        n = counts[self.place.replica]
        first, own = tickets[0], tickets[self.place.replica]
        assert first is not None
        assert asked is not None
        if self.run.rate is not None:
            factor = self.run.rate(self.shuffle.progress(first))
            for group, lr in zip(self.run.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = lr * factor
        loss = self.held.gradient(own or first, n * self.place.replicas / sum(counts))
        self.run.optimizer.step()
        if n and self.place.last:
            self.part[0] += loss.double() * n
            self.part[1] += n
        self.version += 1
        self.merged += sum(t is not None for t in tickets)
        self.region["version"][self.place.rank], self.region["merged"][self.place.rank] = self.version, self.merged
        self.link.further()
        asked.wait()
        return int(wants)

    def _wants(self) -> int:
        if self.link.stopping or int(self.region["halt"]):
            return _HALT
        return _SAVE if time.monotonic() - self.saved > self.job.often else _GO

    def _epoch_ends(self) -> None:
        """Save, show the owner the weights, and wait until it has read them."""
        self._gather()
        if self.sum[1]:
            self.mean = float(self.sum[0] / self.sum[1])
        self.sum.zero_()
        self.epoch = int(self.merged / self.shuffle.per_epoch)
        self._store()
        if self.place.rank == 0:
            self._tell(self._stands())
        while int(self.region["seen"]) < self.epoch and not int(self.region["halt"]) and not self.link.stopping:
            self.link.wait(_LOOK)

    def _stands(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "loss": self.mean, "version": self.version}

    def _gather(self) -> None:
        """Put the sums of all workers together."""
        self.sum += self.part.cpu()
        self.part.zero_()
        dist.all_reduce(self.sum, group=self.place.words)

    def _store(self) -> None:
        self._gather()
        values = {
            "version": self.version, "merged": self.merged, "epoch": self.epoch, "sampler": self.sampler.state(),
            "sum": self.sum.tolist(), "mean": self.mean,
        }  # fmt: skip
        if self.place.rank:
            self.sum.zero_()
        store(self.path, self.held.module, self.run.model, self.run.optimizer, place=self.place, values=values)
        self.saved = time.monotonic()

    def _tell(self, event: dict[str, Any]) -> None:
        self.link.emit({**event, "life": self.life})
