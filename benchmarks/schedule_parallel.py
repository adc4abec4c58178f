"""Regret with many simulated workers beside one worker, at equal total epochs, on the curves of schedule_curves.py.

The workers share one study and a virtual clock. Each asks when it is free and reports one epoch of its trial a tick, so no
worker waits for another, and all that a study knows when one asks is what was reported by then. `--spread S` makes the
epochs of a trial all take exp(S times a normal number) ticks, drawn for each trial. Epochs are counted over all workers in the
order of their reports; "speed-up" is the total of epochs over the time on the clock, and falls short of the number of workers
where some had to wait; with `--spread` it also depends on the drawn durations.
Needs the data (`--data`, or WHET_DATA). Benches, budget and regret are those of schedule_curves.py.

Run: python benchmarks/schedule_parallel.py [--workers 1,8] [--spread 0.5] [--pairs random+asha] [--seeds 10]
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from curves.figures import at, measure
from curves.play import Player, ours
from schedule_curves import benches, named


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WHET_DATA", "../shared/data")))
    parser.add_argument("--pairs", default="random+asha,auto+auto", help="SEARCH+SCHEDULE of whet, with commas")
    parser.add_argument("--workers", default="1,8", help="how many, with commas")
    parser.add_argument("--spread", type=float, default=0.0, help="of the logarithm of an epoch's duration")
    parser.add_argument("--tasks", default="", help="only TaskSet tasks with this in the name; or none")
    parser.add_argument(
        "--lcbench", default="none", help="how many data sets, or their numbers with commas, all or none"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trainings", type=int, default=30, help="the budget in full trainings")
    options = parser.parse_args()
    counts = [int(n) for n in options.workers.split(",")]
    players: dict[str, Player] = {}
    for name, pair in named(options.pairs).items():
        players |= {f"{name} x{n}": ours(*pair, n, options.spread) for n in counts}
    for kind, some in benches(options.data, options.tasks, options.lcbench):
        print(
            f"\n{kind}: {options.seeds} seeds, regret after {', '.join(map(str, at(options.trainings)))} full trainings\n"
        )
        results = measure(some, players, options.seeds, options.trainings)
        times = {p: statistics.mean(options.trainings / t for t in results.times[p]) for p in players}
        print("| speed-up | " + " | ".join(f"{t:.2f}" for t in times.values()) + " |\n")
        for name in named(options.pairs):
            alone = results.mean(f"{name} x{counts[0]}")
            for n in counts[1:]:
                both = results.mean(f"{name} x{n}")
                ratios = results.found(both)[0] / results.found(alone)[0]
                error = results.found(both - alone)[1][-1]
                print(
                    f"- {name}: regret with {n} workers is {', '.join(f'{r:.2f}' for r in ratios)} of that with "
                    f"{counts[0]} (difference at the end {(both - alone)[:, -1].mean():+.4f} +- {error:.4f})"
                )


if __name__ == "__main__":
    main()
