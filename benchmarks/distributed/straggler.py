"""How far each rule is when synchronous SGD has done its epochs, with one worker three times as slow as the others.

All train for the same virtual time, that of synchronous SGD over `--epochs` epochs; each rule's rate falls to a tenth at half
and at 80 % of the epochs that it gets done in that time (whole ones), and its rate is tuned with the same number of trials, on seeds and images
that are not reported. "speed" is epochs merged a virtual second beside those of sync; "as good" is the part of the time (median) after which the
test error first is at most what sync ends with. Virtual seconds: a step takes gamma(100) with mean 1, the slow worker's 3.
"stale": mean staleness;
"- sync": difference of the errors of the same seeds. In brackets: half of the 95 % interval, Student's t over seeds, of trainings that did not diverge. Target: at least twice the progress of sync.

The task, network and images are in `evidence/images.py`; it needs an IDX image set (`--data`, or WHET_DATA).
Run: python benchmarks/distributed/straggler.py [--workers 4,8] [--epochs 3] [--slow 3] [--after RULE] [--seeds 5] [--json FILE] [--kept FILE]
"""

from __future__ import annotations

from typing import Any

from evidence.commands import TUNING, finish, options
from evidence.figures import interval, paired, table
from evidence.images import Images, folder
from evidence.kept import Kept
from evidence.training import end, train
from evidence.tuning import tuned

# rule -> rates; those of the rules that do not wait are times 8 / M
RATES = {
    "sync": (0.4, 0.57, 0.8, 1.13),
    "async": (0.035, 0.05, 0.07, 0.1),
    "dc-asgd-a(lambda=4)": (0.05, 0.07, 0.1, 0.2),
}


def fitting(epochs: int, workers: int, slow: float) -> float:
    """Return how many epochs asynchronous workers merge while synchronous ones, as slow as the slowest, do `epochs`.

    A round of sync merges M batches in `slow` seconds; without waiting it would be (M - 1) * slow + 1 of them.

    >>> fitting(4, 8, 3.0), fitting(4, 4, 3.0)
    (11.0, 10.0)
    """
    return epochs * ((workers - 1) * slow + 1) / workers


def speed(curve: list[dict[str, Any]]) -> float:
    """Return epochs merged a virtual second; nan when none was."""
    return float(curve[-1]["epoch"] / curve[-1]["seconds"]) if curve else float("nan")


def reached(curve: list[dict[str, Any]], error: float) -> float:
    """Return the virtual second at which the error first was at most `error`; inf when it never was."""
    return next((row["seconds"] for row in curve if row["error"] <= error), float("inf"))


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--workers", default="4,8")
    parser.add_argument("--epochs", type=int, default=3, help="of sync")
    parser.add_argument("--slow", type=float, default=3.0, help="how many times as slow the first worker is")
    parser.add_argument("--after", default="", help="a rule that follows each of them, such as 'clip(norm=2)'")
    given = parser.parse_args()
    after = f" + {given.after}" if given.after else ""
    place = folder(given.data, "straggler")
    task = Images(place, 400, 400) if given.quick else Images(place)
    kept = Kept(given.kept, lambda s: train(task, s))
    workers, epochs = ([4], 1) if given.quick else ([int(w) for w in given.workers.split(",")], given.epochs)
    seeds = range(min(2, given.seeds) if given.quick else given.seeds)
    tuning = range(TUNING[0], TUNING[0] + (1 if given.quick else given.tuning))
    print(f"{place.name}, {task.sizes[0]} images, one of M workers {given.slow:g}x as slow, {len(seeds)} seeds\n")
    rows, found = [], []
    for m in workers:
        ends: dict[str, list[float]] = {}
        sync: list[dict[str, Any]] = []
        for rule, rates in RATES.items():
            mine = epochs if rule == "sync" else int(fitting(epochs, m, given.slow))
            rates = rates if rule == "sync" else tuple(round(r * 8 / m, 4) for r in rates)
            common = {
                "rule": rule + after, "workers": m, "epochs": mine, "batch": 32, "straggler": given.slow, "warmup": mine / 12,
            }  # fmt: skip
            best = tuned(
                kept,
                [{**common, "lr": lr} for lr in (rates[1:2] if given.quick else rates)],
                tuning,
                f"tune {rule} {m}",
            )
            results = kept.all([{**best.setting, "seed": s, "report": True} for s in seeds], f"{rule} {m}")
            sync = results if rule == "sync" else sync
            times = [one["curve"][-1]["seconds"] for one in sync]
            ends[rule] = [end(r) for r in results]
            progress = interval([speed(r["curve"]) / speed(one["curve"]) for r, one in zip(results, sync, strict=True)])
            parts = [reached(r["curve"], end(one)) / t for r, one, t in zip(results, sync, times, strict=True)]
            rows.append([
                m, (rule + after).replace("lambda=", ""), f"{best.setting['lr']:g}", mine, f"{interval([r['staleness'] for r in results]).mean:.1f}", progress,
                interval(ends[rule]), "" if rule == "sync" else paired(ends[rule], ends["sync"]),
                "" if rule == "sync" else f"{sorted(parts)[len(parts) // 2]:.2f}",
            ])  # fmt: skip
            found.append({
                "workers": m, "rule": rule, "setting": best.setting, "trials": best.errors, "progress": progress, "test": ends[rule],
                "results": results,
            })  # fmt: skip
    head = ["M", "rule", "rate", "epochs", "stale", "speed", "test error %", "- sync", "as good"]
    print(table(head, rows))
    for row in rows:
        if row[1] != "sync" + after:
            met = "met" if row[5].low >= 2 else "missed"
            print(f"M {row[0]}, {row[1]}: {row[5].mean:.2f} times the progress of sync, target 2: {met}")
    finish(given.json, {"data": place.name, "slow": given.slow, "found": found})


if __name__ == "__main__":
    main()
