"""The recipe from end to end, as a series of values its owner may draw, print or ignore."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from whet.data.split import Data
from whet.errors import StudyError, UsageError
from whet.execute import Workers, place
from whet.recipe.begin import check_block, data_block, like_block, try_parts
from whet.recipe.block import Began, Block, Progress
from whet.recipe.finish import Chosen, export_block, left, squeeze, still_good, test_block
from whet.recipe.folds import check_data
from whet.recipe.job import Job
from whet.recipe.rerace import rerace
from whet.recipe.summary import report_block
from whet.recipe.tuning import over, spent_enough, tune, tune_block
from whet.tune import ending
from whet.tune.study import Study

__all__ = ["recipe", "tuned"]

WARM = (
    "whet.tune.worker",
    "whet.tune.study",
    "whet.journal.sql",
    "whet.tune.search.auto",
    "whet.tune.schedule.freezethaw",
    "scipy.stats",
    "torch._dynamo",
)  # the first Sobol point and the first optimizer import the last two: a second each


def recipe(
    job: Job, *, force: bool = False, fresh: bool = False, stopping: Callable[[], bool] = lambda: False
) -> Generator[Began | Progress | Block, None, None]:
    """Run the recipe on `job`; yield what happens.

    It stops after the check when that fails, unless `force`; a new study is written only after it. fresh: delete the
    study first. When `stopping` becomes true during the search, what was done so far is squeezed and reported, the test
    split stays closed, and running the same again goes on.

    Raises WhetError leaves for what the user can mend.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from whet.tasks import resolve
    >>> from whet.tune.budget import Budget
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     job = Job(resolve("diabetes"), runs=Path(runs), budget=Budget.of("2trials"), steps=1)
    ...     [event.step for event in recipe(job, force=True) if isinstance(event, Block)]
    ['data', 'check', 'tune', 'squeeze', 'test', 'export', 'report']
    """
    if job.folds is not None:
        raise UsageError("folds: leave no model to test and export. Use whet tune, or leave folds out.")
    yield Began("data")
    data, study = _opened(job, fresh)
    try:
        yield data_block(job, data)
        with _pool(job, study) as pool:
            block = None if pool is not None or study is None else _known_check(study)
            if block is None:
                yield Began("check")
                block = check_block(job)
            yield block
            if block.failed and not force:
                return
            study = study or job.study(data)
            if pool is not None:
                study.record("check", block.json())
            yield from _search(job, study, pool, stopping)
            if pool is not None:
                pool.stop()
        if study.trials.best is not None:
            yield from _finish(job, study, interrupted=stopping())
    finally:
        if study is not None:
            study.close()


def tuned(
    job: Job, *, fresh: bool = False, stopping: Callable[[], bool] = lambda: False
) -> Generator[Began | Progress | Block, None, None]:
    """Search only, and report: the tuning step by itself. The test split stays closed."""
    data, study = _opened(job, fresh)
    study = study or job.study(data)
    try:
        with _pool(job, study) as pool:
            yield from _search(job, study, pool, stopping)
        if study.trials.best is not None:
            yield Began("report")
            chosen = squeeze(job, study, data)[1] if job.folds is None and left(study) else None  # folds leave no model
            yield report_block(job, study, data, chosen)
    finally:
        study.close()


def _opened(job: Job, fresh: bool) -> tuple[Data, Study | None]:
    """Return the data, and the study when there is one, after everything that is wrong with the task was said."""
    data = job.data()
    job.goals(data)
    study = None if fresh else job.begun(data)
    try:
        if study is None:
            job.check_like()  # before --fresh deletes anything
            if job.folds is not None:
                check_data(job.task, data, job.folds)
        if study is None or not over(study, job):
            try_parts(job)
    except BaseException:
        if study is not None:
            study.close()
        raise
    if fresh:
        job.forget()
    return data, study


@contextlib.contextmanager
def _pool(job: Job, study: Study | None) -> Iterator[Workers | None]:
    """Yield worker processes that are warming up, or None when the budget is spent already.

    Their log is all that is written before there is a study; without one in the end it goes too.
    """
    if study is not None and over(study, job):
        yield None
        return
    new = [f for f in (job.folder, *job.folder.parents) if not f.exists()]
    job.folder.mkdir(parents=True, exist_ok=True)
    log = job.folder / "workers.log"
    try:
        start = job.start or place("processes", job.workers)
        assert start is not None
        with start(log=log) as pool:
            try:
                pool.warm(*WARM)
                yield pool
            except (KeyboardInterrupt, GeneratorExit):
                names = pool.names()
                pool.kill()  # the second Ctrl-C waits for nobody
                if study is not None:
                    study.hand_back(names)
                raise
    finally:
        if job.folder in new and not job.exists():
            log.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a folder that holds something stays
                for folder in new:
                    folder.rmdir()


def _known_check(study: Study) -> Block | None:
    """Return the check that was made when the study was searched."""
    known = study.records("check")
    return Block("check", tuple(known[-1]["lines"]), known[-1]["data"], bool(known[-1]["failed"])) if known else None


def _search(
    job: Job, study: Study, pool: Workers | None, stopping: Callable[[], bool]
) -> Iterator[Began | Progress | Block]:
    if (block := like_block(job, study)) is not None:
        yield block
    yield Began("tune", ending.announced(study))
    data = job.data()
    if pool is not None:
        _wait_until_warm(pool)
        yield from tune(job, study, data, pool, stopping=stopping)
        if job.rerace and not stopping() and study.trials.best is not None:
            raced = yield from rerace(job, study, data, pool, stopping=stopping)
            if not raced:
                yield from tune(job, study, data, pool, limits=job.limits, stopping=stopping)
    if study.trials.best is not None:
        yield tune_block(job, study, data)
    elif stopping():
        yield Block(
            "tune",
            ("interrupted before any trial had a value",),
            {"trials": len(study.trials), job.unit + "s": study.spent.steps},
        )
    elif spent_enough(study, job.limits):
        raise StudyError(
            f"study '{study.name}': the budget of {job.budget} was too short for one {job.unit}. Give a larger --budget."
        )
    else:
        raise StudyError(
            f"study '{study.name}': the workers ended before any trial had a value. See {job.folder}/workers.log."
        )


def _wait_until_warm(pool: Workers) -> None:
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
    block, chosen = squeeze(job, study, data)
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
    why = f"final score of {len(chosen.members)} members after {job.budget}"
    test = test_block(job, study, data, chosen, model=model, why=why)
    yield test
    yield Began("export")
    if made is None:
        assert model is not None
        scores = {"validation": test.data.get("validation"), "test": test.data.get("value")}
        made = export_block(job, study, data, chosen, model=model, scores=scores)
        made = replace(made, data={**made.data, "members": chosen.key})
        study.record("export", made.json())
    yield made
