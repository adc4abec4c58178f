"""What staleness costs and what compensating it is worth: error at equal epochs, every rule with a rate of its own.

M workers with gamma(100) step times, simulated; every rule merges the same number of batches of 32 over `--epochs` epochs, its rate
falling to a tenth at half and at 80 % of them. Each rule gets eight trials for each M, on images and with a seed that are not reported, and the
best three of them a second such seed: four rates for sync, async and sequential SGD (async with one worker), two strengths lambda times two rates for
DC-ASGD, each with no warm-up and with a linear one over a twelfth of the epochs. Then the best is trained with `--seeds` fresh seeds and its
error on test images is reported. `sync` takes 1/M as many steps, of the mean of M batches; all others take a step for each
batch. The constant kind, dc-asgd-c, is there for M = 4 only unless --rules names it.

The second table trains SGD, async and DC-ASGD-a for other numbers of epochs with the rates of the first. In brackets: half of the 95 % interval,
Student's t over seeds, of trainings that did not diverge; differences ("- SGD") are of the same seeds; "stale" is the mean staleness; lambda stands in brackets. Target: DC-ASGD-a below async at M = 8 and 16 with intervals that do not
overlap, and not above it at M = 4.

The task, network and images are in `evidence/images.py`; it needs an IDX image set (`--data`, or WHET_DATA).
Run: python benchmarks/distributed/staleness.py [--workers 4,8,16] [--epochs 6] [--lengths 3,12] [--after RULE] [--seeds 5] [--json FILE] [--kept FILE]
"""

from __future__ import annotations

from typing import Any

from evidence.commands import TUNING, finish, options
from evidence.figures import Interval, apart, interval, paired, table
from evidence.images import Images, folder
from evidence.kept import Kept
from evidence.training import end, train
from evidence.tuning import tuned

# rule -> its strengths lambda, and its rates times M (for one worker: times 2); sync's are not, as its one step is of M batches
RULES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "async": ((), (1.13, 0.8, 0.57, 0.4)),
    "dc-asgd-a": ((2.0, 4.0), (1.6, 0.8)),
    "dc-asgd-c": ((1.0, 10.0), (0.8, 0.4)),
    "sync": ((), (1.13, 0.8, 0.57, 0.4)),
}
# Zheng et al. 2017, CIFAR-10, ResNet-20, M = 4: test error in %
PAPER = {"SGD": 8.65, "async": 9.27, "sync": 9.17, "dc-asgd-c": 8.67, "dc-asgd-a": 8.19}


def trials(rule: str, workers: int, epochs: int, after: str = "") -> list[dict[str, Any]]:
    """Return eight settings for a rule, followed by the rule `after` where one is given.

    >>> [t["rule"] for t in trials("dc-asgd-a", 8, 6)][3:5], len(trials("sync", 8, 6))
    (['dc-asgd-a(lambda=2)', 'dc-asgd-a(lambda=4)'], 8)
    """
    strengths, rates = RULES[rule]
    names = [f"{rule}(lambda={s:g})" for s in strengths] or [rule]
    per = 1 if rule == "sync" else 2 if workers == 1 else workers
    return [
        {"rule": name + after, "workers": workers, "epochs": epochs, "batch": 32, "lr": round(rate / per, 4), "warmup": warmup}
        for name in names for warmup in (0.0, epochs / 12) for rate in rates
    ]  # fmt: skip


def times(setting: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Return a setting's epochs and warm-up, stretched to `epochs`.

    >>> times({"epochs": 6, "warmup": 0.5}, 12)
    {'epochs': 12, 'warmup': 1.0}
    """
    return {"epochs": epochs, "warmup": setting["warmup"] * epochs / setting["epochs"]}


def verdict(dc: dict[int, Interval], plain: dict[int, Interval], difference: dict[int, Interval]) -> list[str]:
    """Return a line for each M on whether the target is met."""
    lines = []
    for m in dc:
        met = dc[m].mean <= plain[m].mean and not dc[m].diverged and (m <= 4 or apart(dc[m], plain[m]))
        what = "not above async" if m <= 4 else "below async, intervals apart"
        lines.append(
            f"M {m}: DC-ASGD-a {dc[m]}, async {plain[m]}, difference {difference[m]}; {what}: {'met' if met else 'missed'}"
        )
    return lines


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--workers", default="4,8,16")
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--after", default="", help="a rule that follows each of them, such as 'clip(norm=2)'")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lengths", default="3,12", help="other numbers of epochs, for the second table; or none")
    parser.add_argument("--length-workers", type=int, default=8, help="M of the second table")
    given = parser.parse_args()
    place = folder(given.data, "staleness")
    task = Images(place, 400, 400) if given.quick else Images(place)
    kept = Kept(given.kept, lambda s: train(task, s))
    workers, epochs = ([4], 1) if given.quick else ([int(w) for w in given.workers.split(",")], given.epochs)
    seeds = range(min(2, given.seeds) if given.quick else given.seeds)
    tuning = range(TUNING[0], TUNING[0] + (1 if given.quick else given.tuning))
    print(f"{place.name}, {task.sizes[0]} images, {epochs} epochs, {len(seeds)} seeds\n")
    chosen: dict[tuple[str, int], dict[str, Any]] = {}
    ends: dict[tuple[str, int], list[float]] = {}
    rows, found = [], []
    rules = [r for r in given.rules.split(",") if r]
    asked = given.rules != ",".join(RULES)
    for rule, m in [("async", 1), *((r, w) for w in workers for r in rules if w == 4 or asked or r != "dc-asgd-c")]:
        name = "SGD" if m == 1 else rule
        tried = trials(rule, m, epochs, f" + {given.after}" if given.after else "")
        best = tuned(kept, tried[-1:] if given.quick else tried, tuning, f"tune {name} {m}")
        results = kept.all([{**best.setting, "seed": s, "report": True} for s in seeds], f"{name} {m}")
        chosen[rule, m], ends[rule, m] = best.setting, [end(r) for r in results]
        beside = [] if m == 1 else [paired(ends[rule, m], ends["async", 1]), paired(ends[rule, m], ends["async", m])]
        rows.append([
            m, best.setting["rule"].replace("lambda=", "") if m > 1 else name, f"{best.setting['lr']:g}", f"{best.setting['warmup']:.2g}",
            f"{interval([r['staleness'] for r in results]).mean:.1f}", interval(ends[rule, m]), *(beside or ["", ""]),
        ])  # fmt: skip
        found.append({
            "workers": m, "rule": name, "setting": best.setting, "tuned": best.error, "trials": best.errors, "test": ends[rule, m],
            "staleness": [r["staleness"] for r in results],
        })  # fmt: skip
    print(table(["M", "rule", "rate", "warm-up", "stale", "test error %", "- SGD", "- async"], rows))
    print()
    if {"async", "dc-asgd-a"} <= set(rules):
        dc, plain = ({m: interval(ends[r, m]) for m in workers} for r in ("dc-asgd-a", "async"))
        print("\n".join(verdict(dc, plain, {m: paired(ends["dc-asgd-a", m], ends["async", m]) for m in workers})))
    if 4 in workers:
        print("\nM = 4 beside the paper's order (CIFAR-10, ResNet-20):")
        mine = {"SGD": ends["async", 1], **{r: ends[r, 4] for r in rules}}
        order = sorted(mine, key=lambda r: interval(mine[r]).mean)
        print("here:  " + " < ".join(f"{r} {interval(mine[r]).mean:.2f}" for r in order))
        print("paper: " + " < ".join(f"{r} {PAPER[r]:.2f}" for r in sorted(PAPER, key=lambda r: PAPER[r])))
    lengths = [] if given.lengths == "none" else [int(x) for x in given.lengths.split(",")]
    if lengths and not given.quick and "dc-asgd-a" in rules:
        print("\n" + longer(kept, chosen, ends, (sorted([*lengths, epochs]), given.length_workers, seeds), found))
    finish(given.json, {"data": place.name, "epochs": epochs, "found": found})


def longer(
    kept: Kept, chosen: dict[tuple[str, int], dict[str, Any]], ends: dict[tuple[str, int], list[float]],
    what: tuple[list[int], int, range], found: list[dict[str, Any]],
) -> str:  # fmt: skip
    """Return the second table: SGD, async and DC-ASGD-a with M workers over numbers of epochs, at the rates that were chosen."""
    lengths, m, seeds = what
    rows = []
    for epochs in lengths:
        own: dict[str, list[float]] = {}
        for name, which in {"SGD": ("async", 1), "async": ("async", m), "dc-asgd-a": ("dc-asgd-a", m)}.items():
            settings = [{**chosen[which], **times(chosen[which], epochs), "seed": s, "report": True} for s in seeds]
            own[name] = [end(r) for r in kept.all(settings, f"{name} {m}, {epochs} epochs")]
        rows.append([
            epochs, *(interval(x) for x in own.values()), paired(own["async"], own["SGD"]), paired(own["dc-asgd-a"], own["SGD"]),
        ])  # fmt: skip
        found.append({"workers": m, "epochs": epochs, "test": own})
    head = ["epochs", "SGD", f"async, M {m}", f"dc-asgd-a, M {m}", "async - SGD", "dc-asgd-a - SGD"]
    return table(head, rows)


if __name__ == "__main__":
    main()
