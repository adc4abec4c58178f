"""The studies of a comparison in worker processes: each process goes on with one study at a time, so each is as it would be alone."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from whet.errors import StoreError, StudyError
from whet.execute import Message, Workers, resolve
from whet.journal.store import Store
from whet.tune.budget import Budget
from whet.tune.compare.strategies import Strategy
from whet.tune.compare.studies import Through, carry
from whet.tune.crew import plain
from whet.tune.failure import commonest, died
from whet.tune.study import Study
from whet.tune.working import Bench

__all__ = ["crowd", "work"]

_DEATHS = 5  # workers that a study may lose one after the other without getting further


def crowd(
    left: Sequence[tuple[Strategy, int]], objective: Callable[[int], Mapping[str, Any]], through: Through, pool: Workers, *,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[None]:  # fmt: skip
    """Go on with the studies `left` in the processes of `pool`; yield now and then. When `stopping` says so the work ends after its step.

    left: as `begun` returned them; objective: seed -> {"ref", "given"}, see `whet.tune.crew.Crew`. Raises StudyError for what ends the
    work of a study.
    """
    plan, waiting, busy = through.plan, deque(left), dict[int, tuple[Strategy, int]]()
    deaths: Counter[str] = Counter()
    seen: dict[str, int] = {}
    stopped = False

    def call(worker: int, strategy: Strategy, seed: int) -> None:
        busy[worker] = strategy, seed
        payload = {
            "store": plain(plan.store), "name": f"{strategy.key}.{seed}", "objective": dict(objective(seed)),
            "threads": pool.threads, "limits": asdict(plan.limits),
        }  # fmt: skip
        pool.call(worker, "whet.tune.compare.crowd:work", payload)

    def take(message: Message) -> None:
        strategy, seed = busy.pop(message.worker)
        name = f"{strategy.key}.{seed}"
        if message.kind == "error":
            text = str(message.data["error"])
            if not message.data.get("known"):
                raise RuntimeError(f"in a worker:\n{message.data.get('traceback', text)}")
            said = f"study '{name}': "  # what ends a study often begins so
            raise StudyError(f"compare: {said}{text.removeprefix(said)}")
        with Study.open(plan.store, name) as study:
            if message.kind == "exit":
                error, transient = died(message.data)
                study.hand_back([message.data["name"]], error, transient=transient)
                seq = study.trials.seq
                deaths[name] = deaths[name] + 1 if seen.get(name) == seq else 1
                seen[name] = seq
                if deaths[name] > _DEATHS:
                    raise StudyError(
                        f"compare: study '{name}': {deaths[name]} workers died one after the other, the last of {error['message']}."
                    )
                pool.restart(message.worker)
                waiting.appendleft((strategy, seed))
            elif message.data["through"]:
                through.take(strategy, seed, list(study.journal.read()), commonest(study.trials))
            else:  # a fresh process is wanted after an allocation that failed; else somebody asked to stop
                if message.data["stale"]:
                    pool.restart(message.worker)
                waiting.appendleft((strategy, seed))

    try:
        while (waiting and not stopped) or busy:
            for worker in range(pool.workers):
                if waiting and worker not in busy and not stopped:
                    call(worker, *waiting.popleft())
            message = pool.get(0.25)
            if message is not None and message.kind == "event":
                through.now[str(message.data["study"])] = message.data
            elif message is not None and message.worker in busy and message.kind in ("result", "error", "exit"):
                take(message)
            if stopping() and not stopped:
                stopped = True
                pool.stop()
            yield
    except BaseException:
        names = pool.names()
        for strategy, seed in busy.values():
            with suppress(StoreError, StudyError), Study.open(plan.store, f"{strategy.key}.{seed}") as study:
                study.hand_back(names)
        raise


def work(payload: Mapping[str, Any], link: Any) -> dict[str, Any]:
    """Go on with one study until its budget is spent. Called by name in a worker process."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(payload["threads"])
    target = resolve(payload["objective"]["ref"])
    objective = target(**payload["objective"]["given"]) if "given" in payload["objective"] else target
    bench = Bench(link, None)
    with Study.open(Store(**payload["store"]), payload["name"]) as study:
        through = carry(study, bench.wrap(objective), Budget(**payload["limits"]), bench.stopping, told=link.emit)
    return {"through": through, "stale": bench.stale}
