"""How fast the journal writes and reads, beside a bare script that does the same with nothing but the driver.

    python benchmarks/journal_speed.py [--seconds S] [--store postgresql://...]

A transaction is one report: take the write lock, read what is new, read the leases, append an event, commit.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from whet.journal.store import Store

ME = Path(__file__).resolve()
DATA = {"step": 3, "value": 0.4375918, "cost": 1.0, "metrics": {"accuracy": 0.913}, "verdict": "GO", "seen": 4711}


def whet_transactions(store: Store, seconds: float) -> tuple[int, float, float]:
    """Return (transactions, the longest in seconds, seconds of this process's CPU) with whet's journal."""
    journal = store.journal("speed")
    journal.spend("warm", 1.0)
    seen = sum(len(page) for page in journal.pages())
    worker = str(os.getpid())
    with journal.write() as w:
        w.take(os.getpid(), worker)
    count, longest, end, cpu = 0, 0.0, time.perf_counter() + seconds, time.process_time()
    while (begun := time.perf_counter()) < end:
        with journal.write() as w:
            news = w.read(seen)
            w.leases()
            seen = w.append("reported", 7, {**DATA, "seen": seen + len(news)}).seq
        longest = max(longest, time.perf_counter() - begun)
        count += 1
    cpu = time.process_time() - cpu
    journal.close()
    return count, longest, cpu


def bare_transactions(path: str, seconds: float) -> tuple[int, float, float]:
    """Return the same of a script that knows SQLite only: its text is fixed and it reads nothing but the last number."""
    c = sqlite3.connect(path, isolation_level=None, timeout=60)
    c.execute("pragma journal_mode=wal")
    c.execute("pragma synchronous=normal")
    c.execute(
        "create table if not exists e (study int, seq int, kind text, trial int, data text, at real, who text, "
        "primary key (study, seq)) without rowid"
    )
    text = str(DATA).replace("'", '"')
    count, longest, end, cpu = 0, 0.0, time.perf_counter() + seconds, time.process_time()
    while (begun := time.perf_counter()) < end:
        c.execute("begin immediate")
        (last,) = c.execute("select coalesce(max(seq), 0) from e where study = 1").fetchone()
        c.execute(
            "insert into e values (1, ?, 'reported', 7, ?, ?, 'host/boot-1/1000/2000')", (last + 1, text, time.time())
        )
        c.execute("commit")
        longest = max(longest, time.perf_counter() - begun)
        count += 1
    cpu = time.process_time() - cpu
    c.close()
    return count, longest, cpu


def many(kind: str, where: str, processes: int, seconds: float, durability: str) -> tuple[float, float, float]:
    """Return (transactions a second, the longest in ms, CPU us each) of several processes on one database."""
    call = [
        sys.executable,
        str(ME),
        "--part",
        kind,
        "--store",
        where,
        "--seconds",
        str(seconds),
        "--durability",
        durability,
    ]
    parts = [subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    for p in parts:
        assert p.stdout is not None
        assert p.stdout.readline() == "ready\n"
    for p in parts:
        assert p.stdin is not None
        p.stdin.write("\n")
        p.stdin.flush()
    found = [p.communicate()[0].split() for p in parts]
    count = sum(int(n) for n, _, _ in found)
    return count / seconds, max(float(t) for _, t, _ in found) * 1000, sum(float(c) for _, _, c in found) / count * 1e6


def reading(store: Store, count: int) -> tuple[float, float]:
    """Return the seconds that `read()` and `pages()` take for `count` events, written first."""
    journal = store.journal("reading")
    have = len(journal.read())
    while have < count:
        with journal.write() as w:
            for i in range(min(10_000, count - have)):
                w.append("reported", i, {**DATA, "seen": have + i})
        have += min(10_000, count - have)
    begun = time.perf_counter()
    assert len(journal.read()) == count
    whole = time.perf_counter() - begun
    begun = time.perf_counter()
    assert sum(len(page) for page in journal.pages()) == count
    paged = time.perf_counter() - begun
    journal.close()
    return whole, paged


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each figure is measured")
    parser.add_argument("--store", default="", help="another store than SQLite in a temporary folder")
    parser.add_argument("--folder", default=None, help="where the temporary folder lies: the disk that is measured")
    parser.add_argument("--events", type=int, default=220_000, help="how many events are read")
    parser.add_argument("--durability", default="")
    parser.add_argument("--part", default="")
    args = parser.parse_args()
    if args.part:
        print("ready", flush=True)
        sys.stdin.readline()
        if args.part == "bare":
            done = bare_transactions(args.store, args.seconds)
        else:
            done = whet_transactions(Store(args.store, args.durability), args.seconds)
        print(*done)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}, "
            f"load {os.getloadavg()[0]:.1f} before"
        )
        print(
            f"{'durability':10} {'processes':>9} {'transactions/s':>15} {'CPU us each':>12} {'longest ms':>11}"
            f" {'bare script/s':>14} {'ratio':>6} {'its CPU us':>10}"
        )
        for durability in [args.durability] if args.durability else ["process", "power"]:
            for processes in (1, 4):
                store = args.store or f"sqlite:///{folder}/{durability}{processes}.db"
                rate, longest, cpu = many("whet", store, processes, args.seconds, durability)
                line = f"{durability:10} {processes:9} {rate:15,.0f} {cpu:12.0f} {longest:11.1f}"
                if not args.store and durability == "process":
                    bare, _, cpu = many("bare", f"{folder}/bare{processes}.db", processes, args.seconds, durability)
                    line += f" {bare:14,.0f} {rate / bare:6.2f} {cpu:10.0f}"
                print(line, flush=True)
        whole, paged = reading(Store(args.store or f"sqlite:///{folder}/read.db"), args.events)
        each = 1e6 / args.events
        print(f"reading {args.events:,} events: {whole:.2f} s ({whole * each:.2f} us each), in pages {paged:.2f} s")


if __name__ == "__main__":
    main()
