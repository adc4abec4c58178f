"""`whet run digits --budget 60s`, seed by seed: the sealed-test accuracy, how long it takes, and what the budget went on.

    python benchmarks/digits_run.py [--seeds 0,1,2,3,4] [--budget 60s]

Every run is a process of its own, timed from its start to its end. "training" is the time the workers spent between
being given a step and reporting it, as a share of workers x budget.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from whet.journal.store import Store
from whet.tune.budget import Budget


def run(seed: int, budget: str, runs: Path) -> dict[str, float]:
    """Run the recipe once; return what came of it."""
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "whet",
        "run",
        "digits",
        "--budget",
        budget,
        "--seed",
        str(seed),
        "--runs",
        str(runs),
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    wall = time.monotonic() - began
    found = json.loads(done.stdout)
    journal = Store(str(runs / "whet.db")).journal("digits")
    events = journal.read()
    journal.close()
    who = {e.who for e in events if e.kind == "reported"}
    training = sum(e.data["seconds"] for e in events if e.kind == "reported")
    seconds = Budget.of(budget).seconds or 1.0
    return {
        "test": found["test"]["value"], "valid": found["test"]["validation"], "members": len(found["squeeze"]["members"]),
        "trials": found["tune"]["trials"], "epochs": found["tune"]["epochs"], "wall": wall,
        "training": training / (len(who) * seconds),
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--budget", default="60s")
    given = parser.parse_args()
    print(
        f"{'seed':>4} {'test':>8} {'valid':>8} {'members':>8} {'trials':>7} {'epochs':>7} {'wall s':>7} {'training':>9}"
    )
    rows = []
    for seed in map(int, given.seeds.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            r = run(seed, given.budget, Path(folder))
        rows.append(r)
        print(
            f"{seed:>4} {r['test']:>8.4f} {r['valid']:>8.4f} {r['members']:>8} {r['trials']:>7} {r['epochs']:>7} "
            f"{r['wall']:>7.1f} {r['training']:>9.0%}",
            flush=True,
        )
    test = np.array([r["test"] for r in rows])
    print(f"mean {test.mean():>8.4f}   lowest {test.min():.4f}   targets: mean >= 0.975, none below 0.955")
    print(f"wall, longest {max(r['wall'] for r in rows):.1f} s; training, least {min(r['training'] for r in rows):.0%}")


if __name__ == "__main__":
    main()
