"""Searchers over numbers: closed forms whose least value is known, and recorded trainings under 8 numbers of Adam.

Closed forms, all over the unit cube of their space, best at places that no design hits:

- sphere: 4 numbers, sum of squares;
- rosenbrock: 4 numbers in [-2, 2], the curved valley of Rosenbrock 1960, best at 1, 1, 1, 1, turned by no rotation;
- cigar: 6 numbers, turned: one direction weighs 1, the others 1,000;
- edge: 5 numbers; two are best at an end of their range;
- waves: 3 numbers, a bowl with ripples (Rastrigin 1974): a local minimum every quarter of the range;
- mixed: a rate, a width, a depth, one of three optimizers of which one has a momentum, with an interaction.

TaskSet (Metz et al. 2020; `--data`, or WHET_DATA, names the folder above hpo_curves): 7 tasks, each with 1,000 recorded trainings; a
proposal is answered by the last validation loss of the nearest training that the study has not been answered by yet. One that
diverged fails.

Regret is (best so far - least) / (median - least): the median is that of 4,000 evenly drawn configurations, or of the table. After each mean stands its
standard error over seeds. The lines below the table compare each searcher of whet that learns with the best peer, per
task, after the last evaluation. Run: python benchmarks/search_numbers.py [--seeds 10] [--evaluations 100]
[--search cma,zoom,policy,portfolio,random] [--peers optuna-cma] [--tasks sphere,taskset] [--quick] [--kept FOLDER]
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import whet
from curves.bench import TaskSet
from peers import Kept, error, lineup, play, verdicts

AT = (30, 60, 100, 200, 400)
Objective = Callable[[dict[str, object]], float]


@dataclass(frozen=True)
class Task:
    """objective: () -> what answers one study, NaN for a failure; least, median: for the regret."""

    name: str
    space: whet.Space
    objective: Callable[[], Objective]
    least: float
    median: float


def cube(d: int, low: float = 0.0, high: float = 1.0) -> whet.Space:
    """Return a space of d real numbers."""
    return whet.Space(**{f"x{i}": whet.Float(low, high) for i in range(d)})


def places(params: dict[str, object]) -> np.ndarray:
    """Return the numbers of a configuration of `cube`."""
    return np.array(list(params.values()), float)


def sphere(p: dict[str, object]) -> float:
    """Return the squared distance from a place."""
    return float(((places(p) - (0.37, 0.61, 0.23, 0.71)) ** 2).sum())


def rosenbrock(p: dict[str, object]) -> float:
    """Return Rosenbrock's function."""
    x = places(p)
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def cigar(p: dict[str, object]) -> float:
    """Return a long valley aslant."""
    y = places(p) - (0.37, 0.61, 0.33, 0.71, 0.45, 0.55)
    along = y.sum() / math.sqrt(len(y))
    return float(along**2 + 1000 * ((y**2).sum() - along**2))


def edge(p: dict[str, object]) -> float:
    """Return what is best where two numbers are at an end."""
    x = places(p)
    return float(1 - x[0] + x[1] + ((x[2:] - (0.37, 0.61, 0.83)) ** 2).sum())


def waves(p: dict[str, object]) -> float:
    """Return a bowl with ripples."""
    y = 4 * (places(p) - (0.37, 0.61, 0.53))
    return float((y**2 + (1 - np.cos(2 * math.pi * y)) / 2).sum())


MIXED = whet.Space(
    lr=whet.Float(1e-5, 1e-1, log=True),
    width=whet.Int(16, 1024, log=True),
    depth=whet.Int(1, 9),
    optimizer=whet.Choice({"adam": None, "rms": None, "sgd": whet.Space(momentum=whet.Float(0.0, 0.99))}),
)


def mixed(p: dict[str, object]) -> float:
    """Return a made-up loss; the rate that is best depends on the optimizer and the width."""
    w, name = math.log2(p["width"]), p["optimizer"]
    rate = math.log10(p["lr"]) - {"adam": -3.1, "rms": -3.4, "sgd": -1.9}[name] + 0.2 * (w - 7)
    loss = (
        0.5 * rate**2
        + 0.1 * (w - 8.3) ** 2
        + 0.05 * (p["depth"] - 5) ** 2
        + {"adam": 0.1, "rms": 0.3, "sgd": 0.0}[name]
    )
    return float(loss + (2.0 * (p["optimizer.momentum"] - 0.87) ** 2 if name == "sgd" else 0.0))


FORMS: dict[str, tuple[whet.Space, Objective]] = {
    "sphere": (cube(4), sphere),
    "rosenbrock": (cube(4, -2.0, 2.0), rosenbrock),
    "cigar": (cube(6), cigar),
    "edge": (cube(5), edge),
    "waves": (cube(3), waves),
    "mixed": (MIXED, mixed),
}


def least(name: str) -> float:
    """Return the least value of a closed form; of `mixed` over its widths, all else being best."""
    if name != "mixed":
        return 0.0
    return min(0.1 * (math.log2(w) - 8.3) ** 2 for w in range(16, 1025))


def forms() -> Iterator[Task]:
    """Yield the closed forms."""
    for name, (space, value) in FORMS.items():
        rng = np.random.default_rng(0)
        median = float(np.median([value(space.sample(rng)) for _ in range(4000)]))
        yield Task(name, space, lambda value=value: value, least(name), median)


def recorded(folder: Path) -> Iterator[Task]:
    """Yield the tasks of TaskSet."""
    for path in sorted(folder.glob("taskset_*.npz")):
        bench = TaskSet.read(path)
        last = bench.curves[:, -1]
        low = float(last[np.isfinite(last)].min())
        yield Task("taskset " + bench.name, bench.space, lambda bench=bench: _last(bench), low, bench.median)


def _last(bench: TaskSet) -> Objective:
    answer = bench.answers()

    def value(params: dict[str, object]) -> float:
        curve = answer(params)
        return math.nan if curve is None or not math.isfinite(curve[-1]) else float(curve[-1])

    return value


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("WHET_DATA"), help="the folder above hpo_curves")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--search", default="cma,zoom,policy,portfolio,random")
    parser.add_argument("--peers", default="optuna-cma", help="names, or none")
    parser.add_argument("--tasks", default="", help="only those with one of these in their names")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 30 evaluations, closed forms only")
    parser.add_argument("--kept", type=Path, help="a folder: what peers did is kept there and not played again")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.evaluations = 2, 30
    folder = Path(options.data or Path("../shared/data")) / "hpo_curves"
    wanted = options.tasks.split(",")
    tasks = [t for t in forms() if any(w in t.name for w in wanted)]
    if not options.quick:
        tasks += [t for t in recorded(folder) if any(w in t.name for w in wanted)]
    if not tasks:
        raise SystemExit(f"search_numbers: no task with {options.tasks!r} in its name; recorded ones are in {folder}.")
    at = [n for n in AT if n <= options.evaluations] or [options.evaluations]
    players, kept = lineup(options.search, options.peers), Kept(options.kept)
    print(f"{options.seeds} seeds, {options.evaluations} evaluations, regret after {', '.join(map(str, at))}\n")
    print("| task | " + " | ".join(p.name for p in players) + " |\n|" + "---|" * (len(players) + 1))
    found: dict[str, list[np.ndarray]] = {p.name: [] for p in players}  # by task, (seeds, len(at))
    cost: dict[str, list[float]] = {p.name: [] for p in players}
    for task in tasks:
        cells = []
        for p in players:
            played = [
                play(p, f"{task.name} 1", task.space, task.objective(), seed=s, evaluations=options.evaluations, kept=kept)
                for s in p.seeds(options.seeds)
            ]  # fmt: skip
            best = np.fmin.accumulate(np.array([one.values for one in played]), axis=1)[:, [n - 1 for n in at]]
            regrets = np.nan_to_num((best - task.least) / (task.median - task.least), nan=1.0)
            found[p.name].append(regrets)
            cost[p.name].append(1e3 * statistics.mean(one.cpu for one in played) / options.evaluations)
            cells.append(" ".join(f"{r.mean():.2g} ({error(r):.1g})" for r in regrets.T))
        print(f"| {task.name} | " + " | ".join(cells) + " |", flush=True)
    whole = {name: np.array(r) for name, r in found.items()}  # (tasks, seeds, len(at))
    print("| CPU ms a trial | " + " | ".join(f"{statistics.mean(c):.1f}" for c in cost.values()) + " |\n")
    for line in verdicts(
        {n: r[:, :, -1] for n, r in whole.items()}, players, [t.name for t in tasks], f"mean regret after {at[-1]}"
    ):
        print(line)


if __name__ == "__main__":
    main()
