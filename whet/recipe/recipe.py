"""The recipe from end to end, as a series of values its owner may draw, print or ignore."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from whet.errors import StudyError
from whet.execute import Pool
from whet.recipe.begin import check_block, data_block
from whet.recipe.block import Began, Block, Progress
from whet.recipe.finish import Chosen, export_block, squeeze, still_good, test_block
from whet.recipe.job import Job
from whet.recipe.summary import report_block
from whet.recipe.tuning import spent_enough, tune, tune_block
from whet.tune.study import Study

__all__ = ["recipe", "tuned"]

WARM = ("whet.tune.worker", "whet.tune.study", "whet.journal.sql", "whet.tune.search.sobol", "whet.tune.schedule.asha")


def recipe(
    job: Job, *, force: bool = False, fresh: bool = False, stopping: Callable[[], bool] = lambda: False
) -> Iterator[Began | Progress | Block]:
    """Run the recipe on `job`; yield what happens.

    It stops after the check when that fails, unless `force`. fresh: delete the study first. When `stopping` becomes true
    during the search, what was done so far is squeezed and reported, the test split stays closed, and running the same
    again goes on.

    Raises WhetError leaves for what the user can mend.
    """
    yield Began("data")
    data = job.data()
    block = data_block(data)
    if fresh:
        job.forget()
    yield block
    study = job.study(data)
    try:
        with _pool(job, study) as pool:
            yield from _checked(job, study, force)
            if study.records("check")[-1]["failed"] and not force:
                return
            yield from _search(job, study, pool, stopping)
            if pool is not None:
                pool.stop()
        yield from _finish(job, study, interrupted=stopping())
    finally:
        study.close()


def tuned(
    job: Job, *, fresh: bool = False, stopping: Callable[[], bool] = lambda: False
) -> Iterator[Began | Progress | Block]:
    """Search only, and report: the tuning step by itself. The test split stays closed."""
    data = job.data()
    if fresh:
        job.forget()
    study = job.study(data)
    try:
        with _pool(job, study) as pool:
            yield from _search(job, study, pool, stopping)
        yield Began("report")
        yield report_block(job, study, data, squeeze(study, data)[1])
    finally:
        study.close()


@contextlib.contextmanager
def _pool(job: Job, study: Study) -> Iterator[Pool | None]:
    """Yield worker processes that are warming up, or None when the budget is spent already."""
    if spent_enough(study, job.limits):
        yield None
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    with Pool(job.workers, log=job.folder / "workers.log") as pool:
        pool.warm(*WARM)
        yield pool


def _checked(job: Job, study: Study, force: bool) -> Iterator[Began | Block]:
    """Yield the check of the skeleton; the journal keeps it."""
    yield Began("check")
    known = study.records("check")
    if known and spent_enough(study, job.limits):
        yield Block("check", tuple(known[-1]["lines"]), known[-1]["data"], bool(known[-1]["failed"]))
        return
    block = check_block(job)
    study.record("check", block.json())
    yield block


def _search(job: Job, study: Study, pool: Pool | None, stopping: Callable[[], bool]) -> Iterator[Began | Progress | Block]:
    yield Began("tune")
    if pool is not None:
        _wait_until_warm(pool)
        yield from tune(job, study, job.data(), pool, job.limits, stopping)
    try:
        yield tune_block(study, job.data())
    except StudyError:
        if stopping():
            raise StudyError(f"study '{study.name}': interrupted before any trial had a value. Run it again to go on.") from None
        if spent_enough(study, job.limits):
            raise StudyError(f"study '{study.name}': the budget of {job.budget} was too short for one epoch. Give more.") from None
        raise


def _wait_until_warm(pool: Pool) -> None:
    """Wait for the workers' imports: the budget is for training."""
    waiting = set(range(pool.workers))
    while waiting:
        message = pool.get(120)
        if message is None:
            return
        if message.kind in ("warm", "exit"):
            waiting.discard(message.worker)


def _finish(job: Job, study: Study, *, interrupted: bool) -> Iterator[Began | Block]:
    data = job.data()
    yield Began("squeeze")
    block, chosen = squeeze(study, data)
    known = study.records("squeeze")
    if not known or known[-1]["data"]["members"] != chosen.key:
        study.record("squeeze", block.json())
    yield block
    if not interrupted:
        yield from _ship(job, study, chosen)
    yield Began("report")
    yield report_block(job, study, data, chosen)


def _ship(job: Job, study: Study, chosen: Chosen) -> Iterator[Began | Block]:
    data = job.data()
    made = still_good(job, study, chosen)
    tested = any(r["data"].get("members") == chosen.key for r in study.records("test"))
    model = None if made is not None and tested else chosen.model(job.task, study, data)
    yield Began("test")
    test = test_block(study, data, chosen, model, f"final score of {len(chosen.members)} members after {job.budget}")
    yield test
    yield Began("export")
    if made is None:
        assert model is not None
        scores = {"validation": test.data.get("validation"), "test": test.data.get("value")}
        made = export_block(job, study, data, chosen, model, scores)
        made = replace(made, data={**made.data, "members": chosen.key})
        study.record("export", made.json())
    yield made
