"""The first steps: look at the data, check the skeleton."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from whet.checks import check_task, lines
from whet.data.look import look
from whet.data.split import Data
from whet.errors import TaskError, WhetError
from whet.recipe.block import WIDTH, Block
from whet.recipe.job import Job
from whet.task import Task
from whet.tasks.code import blame
from whet.train.run import Run
from whet.tune.space import Params

__all__ = ["blaming", "check_block", "data_block", "try_parts"]


def data_block(data: Data) -> Block:
    """Look at the data."""
    found = look(data)
    return Block("data", tuple(found.lines()), found.json())


def check_block(job: Job) -> Block:
    """Check the skeleton under the first configuration, with regularisers off where a check needs it."""
    health = check_task(job.task, job.first, seed=job.task.seed)
    return Block("check", tuple(lines(health, WIDTH)), health.json(), failed=health.failed)


def try_parts(job: Job, params: Params | None = None) -> None:
    """Raise TaskError when model, loss, optimizer and data do not fit together under `params` (default: the first)."""
    with blaming(job.task):
        Run(job.task, job.first if params is None else params, steps=1, seed=job.task.seed, device="cpu")


@contextmanager
def blaming(task: Task) -> Iterator[None]:
    """Make whatever a person's own task raises a TaskError that names the line; our own errors stay as they are."""
    try:
        yield
    except (WhetError, OSError):
        raise
    except Exception as e:
        kind = type(task)
        if kind.__module__.partition(".")[0] == "whet":
            raise
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        raise TaskError(
            f"{kind.__name__}: {blame(e, file)}. Mend it, or leave such configurations out of its space."
        ) from e
