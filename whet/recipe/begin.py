"""The first steps: look at the data, check the skeleton."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from whet.checks import Stage, check_task, lines, resolve
from whet.data.split import Data
from whet.errors import TaskError, WhetError
from whet.finding import NotRun
from whet.recipe.block import WIDTH, Block
from whet.recipe.job import Job
from whet.recipe.words import learnt, strategy
from whet.task import Task
from whet.tasks.code import blame
from whet.train.run import Run
from whet.tune.space import Params
from whet.tune.study import Study

__all__ = ["blaming", "check_block", "data_block", "like_block", "try_parts"]


def data_block(job: Job, data: Data) -> Block:
    """Look at the data."""
    found = job.look(data)
    return Block("data", tuple(found.lines()), found.json())


def check_block(job: Job) -> Block:
    """Check the skeleton under the first configuration, with regularisers off where a check needs it.

    What comes after learning (capacity, rates, resuming, the same again) takes seconds of its own and is left to `whet check`.
    """
    now = [c for c in resolve() if c.stage < Stage.LATER]
    later = [NotRun(c.code, "left to `whet check`") for c in resolve() if c.stage >= Stage.LATER]
    health = check_task(job.task, job.first, seed=job.task.seed, checks=now)
    health = replace(health, not_run=(*health.not_run, *later))
    return Block("check", tuple(lines(health, WIDTH)), health.json(), failed=health.failed)


def like_block(job: Job, study: Study) -> Block | None:
    """Say which earlier studies the study learns from; None when none was asked for."""
    trials = study.trials
    if not trials.like and not job.like:
        return None
    said = learnt(trials) or ["no other study here has trials to learn from: begins from nothing"]
    if trials.like and not getattr(study.searcher, "learns", True):
        said.append(f"{strategy(study.searcher).split()[0]} does not learn from them: all but random and grid do")
    data = [{"study": x.name, "trials": len(x), "seq": x.seq} for x in trials.like]
    return Block("like", tuple(y for x in said for y in textwrap.wrap(x, WIDTH)), {"studies": data})


def try_parts(job: Job, params: Params | None = None) -> None:
    """Raise TaskError when model, loss, optimizer and data do not fit together under `params` (default: the first)."""
    with blaming(job.task):
        Run(job.task, job.first if params is None else params, steps=1, seed=job.task.seed, device="cpu")


@contextmanager
def blaming(task: Task) -> Iterator[None]:
    """Make whatever a person's own task raises a TaskError that names the line; our own errors stay as they are."""
    try:
        yield
    except WhetError:
        raise
    except Exception as e:
        if isinstance(e, OSError) and (e.filename is not None or e.errno is not None):
            raise  # of the disk, whoever asked for it
        kind = type(task)
        if kind.__module__.partition(".")[0] == "whet":
            raise
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        raise TaskError(
            f"{kind.__name__}: {blame(e, file)}. Mend it, or leave such configurations out of its space."
        ) from e
