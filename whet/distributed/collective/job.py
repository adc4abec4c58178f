"""What every process of one training is told, and makes its parts from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whet.distributed.local.layout import region_path
from whet.distributed.local.region import Area, Region
from whet.distributed.shuffle import Shuffle
from whet.tasks import restore
from whet.train.run import Run

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """One training, in JSON values: it crosses processes by reference.

    task: as `whet.tasks.reference` gives it; workers: processes, of which each `stages` hold one copy of the model; folder: where they meet;
    checkpoint: the file of their state; backend: of the exchanges, "gloo" or "nccl"; deadline, often: seconds; temporary: folders that go
    with the training.
    """

    task: Mapping[str, Any]
    params: Mapping[str, Any]
    workers: int
    stages: int
    steps: int
    seed: int
    shuffle: str
    folder: str
    checkpoint: str
    backend: str = "gloo"
    deadline: float = 120.0
    often: float = 30.0
    temporary: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def clear(self) -> None:
        """Remove the folders that go with the training: its owner is gone."""
        for folder in self.temporary:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def replicas(self) -> int:
        """Copies of the model, each of which trains on a batch of its own."""
        return self.workers // self.stages

    def run(self, *, device: str = "cpu") -> Run:
        """Return the run whose task, model, data and optimizer these are."""
        return Run(restore(self.task), self.params, steps=self.steps, seed=self.seed, device=device)

    def shuffled(self, run: Run) -> Shuffle:
        """Return which replica trains on what."""
        return Shuffle(len(run.data.train), run.batch, self.replicas, self.shuffle, self.seed, run.alone)  # type: ignore[arg-type]

    def areas(self) -> dict[str, Area]:
        """Return what is shared: version, merged: how far each worker is; seen: the epoch its owner knows of; halt: 1 to end."""
        return {
            "version": Area(self.workers, "int64"), "merged": Area(self.workers, "int64"), "seen": Area(1, "int64"),
            "halt": Area(1, "int64"),
        }  # fmt: skip

    def region(self) -> Region:
        """Open the shared memory."""
        return Region(region_path(Path(self.folder)), self.areas())
