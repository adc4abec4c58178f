"""What every process of one training is told, and makes its parts from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whet.distributed.flat import Flat
from whet.distributed.local.layout import Layout, region_path
from whet.distributed.local.region import Region
from whet.distributed.named import parse_rule
from whet.distributed.rule import Local, Rule
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle
from whet.tasks import restore
from whet.train.run import Run

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """One training, in JSON values: it crosses processes by reference.

    task: as `whet.tasks.reference` gives it; rule: as text; folder: where its processes meet; device: of the workers; before: how many
    workers there were in an earlier part of the training; name: what tells it from any other that uses the same checkpoint.
    """

    task: Mapping[str, Any]
    params: Mapping[str, Any]
    rule: str
    workers: int
    steps: int
    seed: int
    shuffle: str
    folder: str
    device: str = "cpu"
    deadline: float = 120.0
    checkpoint: str = ""
    often: float = 30.0  # seconds between checkpoints, at most
    shares: Sequence[int] = ()  # of workers, where they are not equal
    temporary: tuple[str, ...] = ()  # folders that go with the training
    before: int = 0
    name: str = ""

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def prepare(self) -> None:
        """Make the run for a process to take that is forked from this one."""
        self.made_rule()
        _prepared[:] = [(self, self.run())]

    def clear(self) -> None:
        """Remove the folders that go with the training: its owner is gone."""
        for folder in self.temporary:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, *, device: str = "cpu") -> Run:
        """Return the run whose task, model, data and optimizer these are; the first time the prepared one, where there is one."""
        if device == "cpu" and _prepared and _prepared[0][0] == self:
            return _prepared.pop()[1]
        return Run(restore(self.task), self.params, steps=self.steps, seed=self.seed, device=device)

    def server(self, run: Run) -> Server:
        """Return a server of the run's weights, which has merged nothing yet."""
        sampler = Sampler(self.shuffled(run), self.steps)
        return Server(Flat(run.model), self.made_rule(), sampler, optimizer=run.optimizer, rate=run.rate)

    def made_rule(self) -> Rule:
        """Return the rule."""
        return parse_rule(self.rule)

    def shuffled(self, run: Run) -> Shuffle:
        """Return who trains on what."""
        return Shuffle(
            len(run.data.train), run.batch, self.workers, self.shuffle, self.seed, run.alone, shares=tuple(self.shares)  # type: ignore[arg-type]
        )  # fmt: skip

    def layout(self, flat: Flat) -> Layout:
        """Return which vectors are shared."""
        return Layout.of(flat, self.made_rule().local or Local(), self.workers, before=self.before)

    def region(self, flat: Flat) -> Region:
        """Open the shared memory."""
        return Region(region_path(Path(self.folder)), self.layout(flat).areas())


_prepared: list[tuple[Job, Run]] = []
