"""Regret of searchers with schedulers on learning curves of real trainings, beside Optuna's, with the same epochs.

Two kinds of benches (`--data`, or WHET_DATA, names their folder):

- TaskSet (Metz et al. 2020): 7 tasks, each with the validation losses of 1,000 recorded trainings under random values of 8
  hyperparameters of Adam, 51 points. A proposal is answered by the nearest training that the study has not been
  answered by yet: squared distance in the unit cube, where every hyperparameter is on a logarithmic scale (the betas as
  1 - beta) over the range it was drawn from. The first point is the loss before any training; it costs an epoch and tells
  nothing but that. A value that is not finite fails the trial, for every player; its epoch is paid.
- LCBench (Zimmer et al. 2021) by its surrogate: validation accuracy of 52 epochs under 7 hyperparameters, `--lcbench`
  data sets of 34, taken evenly. Smooth and fitted, so less telling than the recorded curves.

The budget is 30 full trainings, in epochs (30 x 51 and 30 x 52): what a trial was trained for is what it costs, and a paused
trial goes on where it stands. Regret is (best - optimum) / (median - optimum): the best value so far of any trial at any epoch, the
optimum the least finite value in the table, the median that of the finite last values; 0 is the optimum, 1 the median of
full trainings. Every player reports each epoch and ends a trial with its last value. Optuna's pruners and samplers
have their defaults; successive halving and Hyperband are told the first epoch, and Hyperband the last.

Run: python benchmarks/schedule_curves.py [--pairs gp+asha,random+asha] [--peers tpe+hyperband] [--seeds 10] [--plot FILE.html]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from curves.bench import Bench, LCBench, TaskSet
from curves.figures import at, measure
from curves.play import PEERS, Player, optunas, ours
from whet.tune import schedule, search
from whet.tune.strategy import Scheduler, Searcher

PAIRS = "gp+asha,random+asha,sobol+asha,gp+median,auto+auto"


def benches(data: Path, tasks: str, lcbench: str) -> Iterator[tuple[str, Sequence[Bench]]]:
    """Yield the benches of either kind: the tasks whose names have `tasks` in them, and `lcbench` data sets."""
    folder = data / "hpo_curves"
    if tasks != "none":
        paths = sorted(p for p in folder.glob("taskset_*.npz") if tasks in p.stem)
        if not paths:
            raise SystemExit(f"schedule_curves: no taskset_*{tasks}*.npz in {folder}. Give --data, or WHET_DATA.")
        yield "TaskSet", [TaskSet.read(p) for p in paths]
    if lcbench not in ("none", "0"):
        some = None if lcbench == "all" else int(lcbench) if len(lcbench) < 3 else lcbench.split(",")
        yield "LCBench", LCBench.read(folder / "lcbench_surrogate", some)


def named(text: str) -> dict[str, tuple[str | Searcher, str | Scheduler]]:
    """Return pairs (search, schedule) by name, from "gp+asha,random+asha:first=3;factor=4": options follow a colon."""
    found: dict[str, tuple[str | Searcher, str | Scheduler]] = {}
    for pair in (p for p in text.split(",") if p not in ("", "none")):
        if pair.count("+") != 1:
            raise SystemExit(f"schedule_curves: {pair}: not SEARCH+SCHEDULE. Write e.g. gp+asha.")
        a, b = pair.split("+")
        found[pair] = (_strategy(a, search.rebuild), _strategy(b, schedule.rebuild))
    return found


def _strategy(text: str, rebuild: Callable[[dict[str, Any]], Any]) -> Any:
    """Return the name as it is, or, when options follow it, the strategy with them (then without the study's seed)."""
    name, _, options = text.partition(":")
    if not options:
        return name
    pairs = (o.partition("=") for o in options.split(";"))
    return rebuild({"name": name, "options": {k: json.loads(v) for k, _, v in pairs}})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WHET_DATA", "../shared/data")))
    parser.add_argument(
        "--pairs",
        default=PAIRS,
        help=f"SEARCH+SCHEDULE of whet, with commas; options so: random+asha:first=3;factor=4 (default: {PAIRS})",
    )
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of Optuna: {', '.join(PEERS)}; or none")
    parser.add_argument("--tasks", default="", help="only TaskSet tasks with this in the name; or none")
    parser.add_argument("--lcbench", default="6", help="how many data sets, or their numbers with commas, all or none")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trainings", type=int, default=30, help="the budget in full trainings")
    parser.add_argument("--target", type=float, help="a mean regret to reach, in place of the best peer's")
    parser.add_argument(
        "--first", type=int, default=1, help="the first epoch at which Optuna's halving and Hyperband compare"
    )
    parser.add_argument("--plot", type=Path, help="write a page with the curves of mean regret; one a kind of bench")
    options = parser.parse_args()
    mine: dict[str, Player] = {name: ours(*pair) for name, pair in named(options.pairs).items()}
    peers = {
        f"Optuna {n}": optunas(*PEERS[n], options.first) for n in options.peers.split(",") if n not in ("", "none")
    }
    after = ", ".join(map(str, at(options.trainings)))
    for kind, some in benches(options.data, options.tasks, options.lcbench):
        print(f"\n{kind}: {options.seeds} seeds, regret after {after} full trainings\n")
        results = measure(some, mine | peers, options.seeds, options.trainings)
        print("\n" + "\n".join(results.summary(list(mine), list(peers), options.target)), flush=True)
        if options.plot:
            path = options.plot.with_stem(f"{options.plot.stem}-{kind.lower()}")
            results.plot(path, f"{kind}: {len(some)} tasks, {options.seeds} seeds")
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
