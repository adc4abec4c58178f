"""What the study engine costs beside Optuna: trials a second, a report, opening a large study, memory.

Every trial has 10 parameters and 20 reports, proposed at random. Both tools write to the same disk in the same run, in
turn, one round after the other; a figure is the median over rounds. `--postgres` also starts a PostgreSQL server of its
own (Debian's package `postgresql`) and measures both there. Run: python benchmarks/study_speed.py [--rounds 3] [--postgres]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PARAMETERS, REPORTS = 10, 20
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}

WHET = f"""
import json, resource, sys, time, whet
from whet import Store
url, durability, trials, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
space = whet.Space(**{{f"x{{i}}": whet.Float(0, 1) for i in range({PARAMETERS})}})
store = None if url == "memory" else Store(url, durability)
study = whet.Study(space, search="random", schedule="full", steps={REPORTS}, seed=0, store=store, name="speed")
def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime
wall, used = time.perf_counter(), cpu()
for _ in range(trials):
    t = study.ask()
    for k in range(1, {REPORTS} + 1):
        study.report(t, k, 1 / k)
    study.tell(t, 1 / {REPORTS})
print(json.dumps({{"wall": time.perf_counter() - wall, "cpu": cpu() - used}}))
study.close()
"""

OPTUNA = f"""
import json, resource, sys, time, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
url, how, trials, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if how == "off":  # as whet's durability "process"
    url += "?options=-csynchronous_commit%3Doff"
study = optuna.create_study(storage=None if url == "memory" else url, study_name="speed", load_if_exists=True,
                            sampler=optuna.samplers.RandomSampler(seed=seed))
def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime
wall, used = time.perf_counter(), cpu()
for _ in range(trials):
    t = study.ask()
    for i in range({PARAMETERS}):
        t.suggest_float(f"x{{i}}", 0, 1)
    for k in range(1, {REPORTS} + 1):
        t.report(1 / k, k)
    study.tell(t, 1 / {REPORTS})
print(json.dumps({{"wall": time.perf_counter() - wall, "cpu": cpu() - used}}))
"""

LATENCY = f"""
import json, statistics, sys, time, whet
url, upto = sys.argv[1], [int(n) for n in sys.argv[2].split(",")]
space = whet.Space(**{{f"x{{i}}": whet.Float(0, 1) for i in range({PARAMETERS})}})
study = whet.Study(space, search="random", schedule=sys.argv[3], steps={REPORTS}, seed=0, store=url, name="speed")
rows = []
for n in upto:
    while len(study.trials) < n:
        t = study.ask()
        for k in range(t.step + 1, {REPORTS} + 1):
            if study.report(t, k, t.params["x0"] + 1 / k) is not whet.Verdict.GO:
                break
        else:
            study.tell(t, t.params["x0"])
    reports, asks = [], []
    for _ in range(30):
        c = time.process_time()
        t = study.ask()
        asked = time.process_time() - c
        for k in range(t.step + 1, {REPORTS} + 1):
            w = time.perf_counter()
            verdict = study.report(t, k, t.params["x0"] + 1 / k)
            reports.append(time.perf_counter() - w)
            if verdict is not whet.Verdict.GO:
                break
        else:
            c = time.process_time()
            study.tell(t, t.params["x0"])
            asks.append(asked + time.process_time() - c)
    rows.append((n, statistics.median(reports), sorted(reports)[int(len(reports) * 0.99)], statistics.median(asks or [0])))
study.close()
print(json.dumps(rows))
"""

TELLING = """
import json, statistics, sys, time
which, n = sys.argv[1], int(sys.argv[2])
times = []
if which == "whet":
    import whet
    space = whet.Space(**{f"x{i}": whet.Float(0, 1) for i in range(10)})
    study = whet.Study(space, search="random", schedule="full", seed=0)
    def one():
        study.tell(study.ask(), 0.5)
else:
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    def one():
        t = study.ask()
        for i in range(10):
            t.suggest_float(f"x{i}", 0, 1)
        study.tell(t, 0.5)
for i in range(n + 300):
    c = time.process_time()
    one()
    if i >= n:
        times.append(time.process_time() - c)
print(json.dumps(statistics.median(times)))
"""

OPEN = """
import json, resource, sys, time, whet
from whet.tune.study import Study
wall, used = time.perf_counter(), time.process_time()
study = Study.open(sys.argv[1], "large")
n = len(study.trials)
wall, used = time.perf_counter() - wall, time.process_time() - used
points = sum(len(t.curve) for t in study.trials)
print(json.dumps({"trials": n, "reports": points, "wall": wall, "cpu": used,
                  "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def run(program: str, *args: object, count: int = 1) -> list[dict]:
    """Run `count` copies of a program side by side; return what each printed."""
    started = [
        subprocess.Popen([sys.executable, "-c", program, *map(str, args), str(i)], stdout=subprocess.PIPE, env=QUIET)
        for i in range(count)
    ]
    out = [p.communicate()[0] for p in started]
    if any(p.returncode for p in started):
        raise SystemExit("a program failed; its message stands above")
    return [json.loads(o.splitlines()[-1]) for o in out]


def rate(program: str, url: str, durability: str, trials: int, processes: int) -> tuple[float, float]:
    """Return (trials a second in total, CPU ms a trial)."""
    each = max(1, trials // processes)
    run(program, url, durability, 0)  # the study exists before anybody is timed
    found = run(program, url, durability, each, count=processes)
    return each * processes / max(f["wall"] for f in found), 1e3 * sum(f["cpu"] for f in found) / (each * processes)


def fill(url: str, trials: int) -> None:
    """Write a study of finished trials, in large transactions: the same events that asking and telling write."""
    import numpy as np

    import whet

    space = whet.Space(**{f"x{i}": whet.Float(0, 1) for i in range(PARAMETERS)})
    rng = np.random.default_rng(0)
    with whet.Study(space, search="random", schedule="full", steps=REPORTS, store=url, name="large") as study:
        journal, seq = study.journal, study.trials.seq
        for start in range(0, trials, 500):
            with journal.write() as w:
                w.read(seq)
                for id in range(start, min(start + 500, trials)):
                    w.append("asked", id, {"seen": seq})
                    params = {k: float(v) for k, v in zip(space, rng.random(PARAMETERS), strict=True)}
                    data = {"params": params, "origin": {"search": "random"}, "seen": seq + 1, "draw": 0}
                    w.append("proposed", id, data)
                    for k in range(1, REPORTS + 1):
                        w.append("reported", id, {"step": k, "value": float(rng.random()), "seconds": 0.000123})
                    w.append("told", id, {"value": 0.5, "metrics": {}})
                    seq += REPORTS + 3


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def storage(folder: Path, rounds: int, server: Any = None) -> None:
    """Print trials a second on SQLite, or on a PostgreSQL server."""
    rows = []
    for processes in (1, 4):
        for name, program, durability, trials in (
            ("whet", WHET, "process", 400 if server is None else 100),
            ("whet, durability power", WHET, "power", 40),
            ("Optuna", OPTUNA, "", 12 if server is None else 40),
            *([("Optuna, commits not waited for", OPTUNA, "off", 40)] if server is not None else []),
        ):
            rates = []
            for i in range(rounds):
                fresh = f"{name.replace(' ', '').replace(',', '').lower()}_{processes}_{i}"
                if server is None:
                    where = f"sqlite:///{folder}/{fresh}.db"
                else:
                    where = server.fresh(fresh)
                    where = where.replace("postgresql://", "postgresql+psycopg://") if program is OPTUNA else where
                rates.append(rate(program, where, durability, trials, processes))
            speeds = [r for r, _ in rates]
            rows.append([
                name, str(processes), f"{statistics.median(speeds):,.1f}", f"{min(speeds):,.1f} to {max(speeds):,.1f}",
                f"{statistics.median(c for _, c in rates):.2f}",
            ])  # fmt: skip
    print(
        f"trials/s, {PARAMETERS} parameters and {REPORTS} reports each, {'SQLite' if server is None else 'PostgreSQL'}\n"
    )
    table(["tool", "processes", "trials/s", "range", "CPU ms/trial"], rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--postgres", action="store_true", help="measure on PostgreSQL too")
    parser.add_argument("--large", type=int, default=100_000, metavar="N", help="trials of the largest study opened")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {options.rounds} rounds\n")
        storage(folder, options.rounds)
        if options.postgres:
            sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "servers"))
            from postgres_server import PostgresServer

            server = PostgresServer(fsync="on", shared_buffers="128MB")
            try:
                storage(folder, options.rounds, server)
            finally:
                server.close()
        for schedule in ("full", "asha"):
            found = run(LATENCY, f"sqlite:///{folder}/latency-{schedule}.db", "100,1000,10000", schedule)[0]
            print(f"one report, in process, SQLite, schedule {schedule}\n")
            table(
                ["trials in the study", "median ms", "99 % ms", "ask + tell, CPU ms"],
                [
                    [f"{n:,}", f"{1e3 * m:.3f}", f"{1e3 * p:.3f}", f"{1e3 * a:.3f}" if a else "-"]
                    for n, m, p, a in found
                ],
            )
        print("ask + tell in memory, random search, CPU ms (median of 300)\n")
        rows = []
        for n in (100, 1000, 5000):
            pairs = [(run(TELLING, "whet", n)[0], run(TELLING, "optuna", n)[0]) for _ in range(options.rounds)]
            a, b = (statistics.median(p[i] for p in pairs) for i in (0, 1))
            rows.append([f"{n:,}", f"{1e3 * a:.3f}", f"{1e3 * b:.3f}", f"{a / b:.2f}"])
        table(["trials before", "whet", "Optuna", "ratio"], rows)
        print(f"opening a study, {REPORTS} reports a trial\n")
        rows = []
        for n in sorted({1_000, 10_000, options.large}):
            url = f"sqlite:///{folder}/large-{n}.db"
            fill(url, n)
            found = [run(OPEN, url)[0] for _ in range(options.rounds)]
            wall, cpu, mb = (statistics.median(f[k] for f in found) for k in ("wall", "cpu", "mb"))
            rows.append([f"{n:,}", f"{found[0]['reports']:,}", f"{wall:.2f}", f"{cpu:.2f}", f"{mb:.0f}"])
        table(["trials", "reports", "wall s", "CPU s", "peak MB of the process"], rows)


if __name__ == "__main__":
    main()
