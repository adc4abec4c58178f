"""What it takes to hand a vector to a server and be handed one back: whet's channel beside memcpy and other engines.

    python benchmarks/distributed_channels.py [--rounds 5] [--engines whet,tcp] [--sizes 270000,25000000] [--workers 1,2,3]

An exchange: a worker's gradient reaches the server, which applies w -= lr g, and the worker has the new w and knows so. Nothing is
computed in between. The limit is one process that copies w out and applies g. Engines take turns, in fresh processes in each round, with
one thread each; the limit is measured before and after each case, so that ratios compare what happened at one time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from channels.case import Case
from channels.of_memory import Limit
from channels.play import ENGINES, Figures, Table

SIZES = (270_000, 25_000_000)


class Line(NamedTuple):
    """An engine in one case, over the rounds: milliseconds of an exchange, ratio to the limit, CPU ms, exchanges a second."""

    size: int
    workers: int
    engine: str
    median: float
    best: float
    ratio: float
    best_ratio: float
    cpu: float
    rate: float


def tenth(values: list[float]) -> float:
    """Return the 10th percentile: what it takes when nobody else wants the machine.

    >>> tenth([float(i) for i in range(101)])
    10.0
    """
    return sorted(values)[round(0.1 * (len(values) - 1))]


def line(size: int, workers: int, engine: str, rounds: list[Figures]) -> Line:
    """Return what the rounds of one case come to: medians of the rounds' own medians, 10th percentiles, ratios and CPU times."""
    seconds = [(median(f.seconds), tenth(f.seconds)) for f in rounds]
    return Line(
        size, workers, engine, 1e3 * median(m for m, _ in seconds), 1e3 * median(b for _, b in seconds),
        median(median(f.seconds) / median(f.limit) for f in rounds), median(tenth(f.seconds) / tenth(f.limit) for f in rounds),
        1e3 * median(f.cpu for f in rounds), median(workers * len(f.seconds) / sum(f.seconds) for f in rounds),
    )  # fmt: skip


def table(lines: list[Line], limits: dict[int, list[Figures]]) -> str:
    """Return the lines as Markdown."""
    rows = [
        "| parameters | workers | engine | ms, median | ms, p10 | x memcpy, medians | x memcpy, p10 | CPU ms | exchanges/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size, figures in limits.items():
        own = [s for f in figures for s in f.limit]
        rows.append(f"| {size:,} | - | *memcpy* | {1e3 * median(own):.3g} | {1e3 * tenth(own):.3g} | 1 | 1 | | |")
        for r in (r for r in lines if r.size == size):
            rows.append(
                f"| {size:,} | {r.workers} | {ENGINES[r.engine].title} | {r.median:.3g} | {r.best:.3g} | {r.ratio:.3g} | "
                f"{r.best_ratio:.3g} | {r.cpu:.3g} | {r.rate:,.0f} |"
            )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--workers", default="1,2,3")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of each case; three times as long above a million parameters"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="after which no round begins")
    parser.add_argument("--quick", action="store_true", help="a small case, to see that it runs")
    parser.add_argument("--json", default="", help="a file for what was measured")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.sizes, args.workers, args.seconds = 1, "20000", "1,2", 0.1
    torch.set_num_threads(1)
    names = [n for n in args.engines.split(",") if not ENGINES[n].missing]
    for name in set(args.engines.split(",")) - set(names):
        print(f"{ENGINES[name].title}: left out, since {ENGINES[name].package} is not installed")
    sizes, workers = [int(s) for s in args.sizes.split(",")], [int(w) for w in args.workers.split(",")]
    limits = {size: Limit(Case(size, 0, 0.0, "")) for size in sizes}
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f} before, {args.rounds} rounds at most",
        flush=True,
    )
    found: dict[tuple[int, int, str], list[Figures]] = {}
    until, number = time.monotonic() + 60 * args.minutes, 0
    while number < args.rounds and time.monotonic() < until:
        for name in names[number % len(names) :] + names[: number % len(names)]:
            with Table(ENGINES[name], max(workers)) as own:
                for size, w in product(sizes, workers):
                    seconds = args.seconds * (3 if size > 1_000_000 else 1)
                    found.setdefault((size, w, name), []).append(own.play(size, w, seconds, limits[size]))
        number += 1
        lines = [line(*case, found[case]) for case in product(sizes, workers, names)]
        if args.json:
            Path(args.json).write_text(json.dumps({"rounds": number, "lines": [r._asdict() for r in lines]}))
    print(table(lines, {size: [f for case, own in found.items() if case[0] == size for f in own] for size in sizes}))
    print(f"{number} rounds, load {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
