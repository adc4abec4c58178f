"""The first steps: look at the data, check the skeleton."""

from __future__ import annotations

from whet.checks import check_task, lines
from whet.data.look import look
from whet.data.split import Data
from whet.recipe.block import Block
from whet.recipe.job import Job

__all__ = ["check_block", "data_block"]


def data_block(data: Data) -> Block:
    """Look at the data."""
    found = look(data)
    return Block("data", tuple(found.lines()), found.json())


def check_block(job: Job) -> Block:
    """Check the skeleton under the first configuration, with regularisers off where a check needs it."""
    health = check_task(job.task, job.first, seed=job.task.seed)
    return Block("check", tuple(lines(health)), health.json(), failed=health.failed)
