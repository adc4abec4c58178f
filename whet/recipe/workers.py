"""What is told of the workers of a training: while it runs, and when it is done."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from whet.distributed.ensemble import Members
from whet.recipe.block import WIDTH
from whet.recipe.words import bars, count
from whet.tune.budget import duration

__all__ = ["lines", "mean_staleness", "rows", "unlike"]

_SHOWN = 8  # workers that have a row of their own
_UNLIKE = 1.0  # passes by which shards may differ before it is said


def rows(
    status: Mapping[str, Any], deaths: Mapping[str, int], workers: int, *, every: int = 1, shares: Sequence[int] = ()
) -> tuple[str, ...]:  # fmt: skip
    """Return a picture of the workers: a row for each, and how stale what they pushed was.

    status: as `whet.distributed.channels.Channel` has it; deaths: by process; every: steps between two pushes of a worker;
    shares: how many times as many each takes.

    >>> status = {"workers": {"0": {"updates": 30, "rate": 15.0, "waits": False, "ahead": 2}}, "staleness": {"0": 9, "1": 21}}
    >>> print(*rows(status, {"worker 1": 1}, 2), sep="\\n")
    worker 0     15.0 steps/s       30 updates   2 ahead
    worker 1   died; another one starts
    staleness 0.7 on average: 0 ▄█ 1
    """
    there, found = status.get("workers") or {}, []

    def steps(w: int) -> int:
        return every * (shares[w] if w < len(shares) else 1)

    for w in range(min(workers, _SHOWN)):
        s, died = there.get(str(w)), deaths.get(f"worker {w}", 0)
        if s is None:
            found.append(f"worker {w:<3} " + ("died; another one starts" if died else "starts"))
            continue
        row = (
            f"worker {w:<3} {_speed(s['rate'] * steps(w)):>6} steps/s {s['updates']:>8,} updates {s['ahead']:>3} ahead"
        )
        notes = [*(["waits"] if s["waits"] else []), *([f"died {died}x"] if died else [])]
        found.append(f"{row}  {', '.join(notes)}".rstrip())
    rest = [there[str(w)]["rate"] * steps(w) for w in range(_SHOWN, workers) if str(w) in there]
    if workers > _SHOWN:
        speeds = f": {_speed(min(rest))} to {_speed(max(rest))} steps/s" if rest else ""
        found.append(f"{len(rest)} of {workers - _SHOWN} more{speeds}")
    return (*found, *([_stale(status)] if status.get("staleness") else []))


def lines(
    told: Mapping[str, Any], *, workers: int, rule: str, members: Mapping[str, Any] | None, advice: str, normed: bool
) -> list[str]:
    """Return what the block of a training says of its workers.

    told: status, deaths, lost, and seconds with those of the start-up before them; members: as `ensemble` gives them; advice: on the shuffle, in a sentence; normed: whether the model has
    statistics that workers keep of their own.
    """
    status, deaths = told["status"], told["deaths"]
    found = [
        f"{count(workers, 'worker')}, {count(status.get('version', 0), 'update')} in {duration(told['seconds'])}, rule {rule}"
    ]
    if told.get("startup"):
        found.append(f"start-up {duration(told['startup'])} before that, until the first step")
    if status.get("staleness"):
        found.append(_stale(status))
    if status.get("refused"):
        why = ", ".join(f"{n:,} {reason}" for reason, n in sorted(status["refused"].items()))
        found.append(f"{count(sum(status['refused'].values()), 'update')} refused: {why}")
    if deaths:
        found.append(", ".join(f"{who} died {_times(n)}" for who, n in sorted(deaths.items())) + " and was replaced")
    late = (status.get("events") or {}).get("late", 0)
    if late:
        found.append(f"{_times(late)} a worker did not answer in time and was left out")
    if status.get("drawn_again") or told["lost"]:
        lost = f"; {count(told['lost'], 'update')} lost with the server" if told["lost"] else ""
        found.append(f"{count(status.get('drawn_again', 0), 'batch').replace('batchs', 'batches')} drawn again{lost}")
    found += unlike(status)
    if members is not None:
        found.append(
            f"ensemble of {len(members['each'])}: loss {members['loss']:.4g}; its members {members['mean']:.4g} on average"
        )
        beside = "all members beside it, to deploy together (docs/distributing.md)" * (len(members["each"]) > 1)
        if members["saved"] is not None:
            whose = f"the model of worker {members['saved']}, loss {members['each'][members['saved']]:.4g}"
            found.append("saved: " + "; ".join(filter(None, (whose, beside))))
        elif beside:
            found.append(f"saved: one model; {beside}")
    found.append(advice)
    if normed and workers > 1:
        whose = "each member's own" if members is not None else "the mean of the workers' last"
        found.append(f"batch normalisation: {whose} statistics are saved")
    return [y for x in found for y in textwrap.wrap(x, WIDTH, subsequent_indent="  ")]


def unlike(status: Mapping[str, Any]) -> list[str]:
    """Return what is to be said of shards that were not their worker's alone, or seen more often than others: by more than one pass.

    >>> unlike({"merged": 60, "lent": 9, "passes": [3.0, 3.0]})
    ["9 of 60 batches were taken over by faster workers from a slower one's shard"]
    >>> unlike({"merged": 60, "lent": 0, "passes": [2.4, 7.0, 6.9]})
    ['shards were gone through unlike often: shard 0 2.4 times, shard 1 7.0 times']
    """
    found, passes = [], status.get("passes") or []
    if status.get("lent"):
        found.append(
            f"{status['lent']:,} of {status['merged']:,} batches were taken over by faster workers from a slower one's shard"
        )
    if passes and max(passes) - min(passes) > _UNLIKE:
        ends = (f"shard {passes.index(p)} {p:.1f} times" for p in (min(passes), max(passes)))
        found.append(f"shards were gone through unlike often: {', '.join(ends)}")
    return found


def ensemble(found: Members, workers: list[int], chosen: int | None) -> dict[str, Any]:
    """Return the losses of an ensemble and its members as JSON values; chosen: the worker whose model is saved."""
    each = {str(w): loss for w, loss in zip(workers, found.each, strict=True)}
    saved = None if chosen is None else str(chosen)
    return {"loss": found.ensemble, "mean": found.mean, "each": each, "saved": saved}


def mean_staleness(status: Mapping[str, Any]) -> float | None:
    """Return the mean number of updates between a pull and its push, or None when nothing was pushed.

    >>> mean_staleness({"staleness": {"0": 1, "3": 3}}), mean_staleness({})
    (2.25, None)
    """
    counts = {int(k): n for k, n in (status.get("staleness") or {}).items()}
    pushes = sum(counts.values())
    return sum(k * n for k, n in counts.items()) / pushes if pushes else None


def _stale(status: Mapping[str, Any]) -> str:
    counts = {int(k): n for k, n in status["staleness"].items()}
    if not any(counts):
        return "staleness 0: nothing was merged between a pull and its push"
    return f"staleness {mean_staleness(status):.1f} on average: {bars(counts)}"


def _speed(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.1f}"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
