"""What a run of the recipe is about: the task, where it writes, and its study."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from whet.data.look import Look, look
from whet.data.split import Data
from whet.errors import StudyError, TaskError, UsageError, nearest
from whet.execute import Workers
from whet.journal.checkpoint import Files
from whet.journal.store import Store, check_name
from whet.metric import METRICS
from whet.recipe import folds as crossed
from whet.stop import parse
from whet.task import Task
from whet.tasks import reference
from whet.train.latency import OF_MODEL
from whet.tune.budget import Budget, Price
from whet.tune.guess import START
from whet.tune.like import ALL, asked, gather
from whet.tune.space import Params
from whet.tune.strategy import Scheduler, Searcher
from whet.tune.study import Study

__all__ = ["Job"]

SQUEEZING = 0.03  # of a budget in time that is kept for the ensemble


@dataclass
class Job:
    """One task, one study, one folder.

    task: with its seed set; runs: the folder of everything made; budget: the study's total, over tune and squeeze;
    workers: processes that train; name: the study's, the task's when empty; steps: epochs of a trial, the task's when
    None; start: how to start the workers, `whet.execute.place(...)`, processes when None; command: how to do it again;
    stop: when to end a trial early, as text, the task's when None; until: when to end the search, as text; price: of an
    hour, an epoch or a trial, what a budget in cost is paid with; like: names of earlier studies of the store to learn from, or "all"; rerace: the share of the budget that is kept to run the best again;
    folds: in how many folds the visible examples are dealt, None for the task's own validation part: a step of a trial is a fold then, trained for `steps` epochs
    (see `whet.recipe.folds`), and a budget in epochs buys so many fewer.

    >>> from whet.tasks import resolve
    >>> Job(resolve("digits"), runs=Path("somewhere")).folder.as_posix()
    'somewhere/digits'
    """

    task: Task
    runs: Path = Path("runs")
    budget: Budget = field(default_factory=Budget)
    workers: int = 1
    name: str = ""
    search: str | Searcher = "auto"
    schedule: str | Scheduler = "auto"
    steps: int | None = None
    store: Store | None = None
    start: Callable[..., Workers] | None = None
    command: str = ""
    stop: str | None = None
    until: str | None = None
    price: Price | str | None = None
    like: Sequence[str] = ()
    rerace: float = 0.0
    folds: int | None = None
    _seen: Look | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.name = check_name(self.name or self.task.name)
        self.runs = Path(self.runs)
        self.store = self.store or Store(str(self.runs / "whet.db"))
        if self.steps is not None:
            self.task.steps = self.steps
        self.stop = self._criterion()
        self.price = None if self.price is None else Price.of(self.price)
        self.budget = self.budget.priced(self.price)
        crossed.check_words(self.folds, search=self.search, schedule=self.schedule, price=self.price)
        if self.folds and self.budget.steps is not None and self.budget.steps < self.task.steps:
            raise UsageError(
                f"--budget {self.budget}: a fold trains {self.task.steps} epochs. Give {self.task.steps}epochs or more, or fewer --epochs."
            )
        if not 0 <= self.rerace <= 0.9:
            raise UsageError(
                f"--rerace: must be a share of the budget from 0 to 0.9, got {self.rerace:g}. Use e.g. 0.2."
            )
        if self.rerace and self.until:
            raise UsageError(
                "--rerace: takes a share of the budget, which --until ends at no time that is known. Leave one out."
            )

    def _criterion(self) -> str:
        """Return when to end a trial early, "" for never; raise TaskError when the task's own cannot be read."""
        text = self.task.stop if self.stop is None else self.stop
        if not text:
            return ""
        try:
            found = str(parse(text, what="--stop"))
        except UsageError as e:
            if self.stop is not None:
                raise
            raise TaskError(f"{type(self.task).__name__}.{str(e).removeprefix('--')}") from None
        return "" if found == "never" else found

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.runs / self.name

    @property
    def limits(self) -> Budget:
        """What the search may spend, in steps: the budget less the time that is kept for the ensemble, which folds have none of."""
        if self.folds is not None:
            steps = self.budget.steps
            return self.budget if steps is None else replace(self.budget, steps=steps // self.task.steps)
        seconds = self.budget.seconds
        return self.budget if seconds is None else replace(self.budget, seconds=seconds * (1 - SQUEEZING))

    @property
    def unit(self) -> str:
        """What a step of a trial is: "epoch", or "fold"."""
        return "epoch" if self.folds is None else "fold"

    @property
    def searching(self) -> Budget:
        """What the search may spend before the best are run again."""
        left, b = 1 - self.rerace, self.limits
        trials, steps = (None if v is None else max(1, int(v * left + 1e-9)) for v in (b.trials, b.steps))
        seconds, cost = (None if v is None else v * left for v in (b.seconds, b.cost))
        return Budget(trials, steps, seconds, cost)

    @property
    def first(self) -> dict[str, Any]:
        """A configuration to begin with: the task's own, else the middle of its space."""
        own = getattr(self.task, "first", None)
        if own is not None:
            self.task.space.check(own)
            return dict(own)
        middle = self.task.space.decode([0.5] * len(self.task.space.dims))
        if self.task.space.allows(middle):
            return middle
        import numpy as np

        return self.task.space.sample(np.random.default_rng(0))

    def data(self, params: Params | None = None) -> Data:
        """Return the task's data."""
        return self.task.data(self.first if params is None else params)

    def look(self, data: Data) -> Look:
        """Return what a look at the task's data shows; looked at once, for the first step and for the report."""
        if self._seen is None:
            self._seen = look(data)
        return self._seen

    def forget(self) -> None:
        """Delete the study and its folder, to start over."""
        assert self.store is not None
        if self.exists():
            folder, journal = self.store.files(self.name), self.store.journal(self.name, create=False)
            journal.close()
            if folder is not None:  # raises when the folder belongs to a study of another database
                Files(folder / "checkpoints", uid=journal.uid).claim(False, write=False)
            self.store.database().delete(self.name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def goals(self, data: Data) -> list[str]:
        """Return the goals as text; raise TaskError when one is about what a run does not report."""
        goals = self.task.goals(data)
        given = "goal" in self.task.__dict__.get("reference", {})  # by who calls, in place of the task's own
        where = "--goal" if given else f"{type(self.task).__name__}.goal"
        for goal in goals:
            more = () if goal is goals[0] else (*OF_MODEL, "train_loss")
            if goal.name in METRICS or goal.name in more:
                continue
            also = (
                ", parameters (how many the model has), latency (milliseconds of one example), train_loss"
                if more
                else ""
            )
            near = nearest(goal.name, [*METRICS, *more])
            raise TaskError(
                f"{where} {str(goal)!r}: no metric {goal.name!r}.{near} Allowed: {', '.join(METRICS)}{also}."
            )
        return [str(g) for g in goals]

    def exists(self) -> bool:
        """Return whether the store has a study of this name."""
        assert self.store is not None
        return self.name in self.store.names()

    def check_like(self) -> None:
        """Raise StudyError when a new study cannot learn from the earlier ones that are named."""
        assert self.store is not None
        if asked(self.like) != (ALL,):
            gather(self.like, self.task.space, self.store, self.name)

    def begun(self, data: Data) -> Study | None:
        """Return the study as it stands, or None when there is none; raise StudyError when it is not about this."""
        return self.study(data) if self.exists() else None

    def study(self, data: Data) -> Study:
        """Return the study, new or as it stands; raise StudyError when it belongs to another task or other data."""
        goals, folds = self.goals(data), self.folds
        schedule = self.schedule if folds is None else crossed.schedule(self.schedule, self.task.goals(data))
        try:
            study = Study(
                self.task.space, goal=goals, search=self.search, schedule=schedule, steps=folds or self.task.steps,
                seed=self.task.seed, store=self.store, name=self.name, like=self.like,
            )  # fmt: skip
        except StudyError:
            crossed.check_same(Store.of(self.store), self.name, folds)
            raise
        try:
            now: dict[str, Any] = {"reference": reference(self.task), "data": fingerprint(data), "source": data.source}
            now |= {} if folds is None else {"folds": folds, "epochs": self.task.steps}
            self._same(study, now)
            if not study.trials:
                study.enqueue(self.first, note=START)
        except BaseException:
            study.close()
            raise
        return study

    def _same(self, study: Study, now: Mapping[str, Any]) -> None:
        known = study.records("task")
        if not known:
            study.record("task", now)
            return
        before = known[-1]
        how = f"Give another --name, or start over with --fresh (deletes study '{self.name}')."
        if before["reference"] != now["reference"]:
            a, b = before["reference"], now["reference"]
            differs = ", ".join(f"{k} {a.get(k)!r}, not {b.get(k)!r}" for k in b if a.get(k) != b.get(k))
            raise StudyError(f"study '{self.name}': belongs to {differs}. {how}")
        crossed.check_same(Store.of(self.store), self.name, self.folds)
        if before.get("epochs") != now.get("epochs"):
            raise StudyError(
                f"study '{self.name}': trains {before['epochs']} epochs a fold, not {now['epochs']} (--epochs). {how}"
            )
        if before["data"] != now["data"]:
            raise StudyError(f"study '{self.name}': the data of {now['source']} changed since it began. {how}")


def fingerprint(data: Data) -> str:
    """Return a hash of the examples that a study may see.

    >>> import torch
    >>> from whet.data.split import Split
    >>> d = Data(Split(torch.zeros(2, 1), torch.zeros(2)), Split(torch.zeros(1, 1), torch.zeros(1)), kind="regression")
    >>> fingerprint(d) == fingerprint(d)
    True
    """
    found = hashlib.blake2b(digest_size=8)
    for split in (data.train, data.valid):
        for part in (*split.parts, split.targets):
            found.update(f"{part.dtype}{tuple(part.shape)}".encode())
            found.update(part.detach().contiguous().cpu().numpy().tobytes())
    return found.hexdigest()


def environment() -> dict[str, Any]:
    """Return what a result depends on beside the code: versions and the machine."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Any] = {
        "python": sys.version.split()[0],
        "machine": platform.machine(),
        "system": platform.platform(),
    }
    from whet.execute.processes import cores

    found["cores"] = cores()
    for package in ("whet", "torch", "numpy", "scikit-learn", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
