"""What a proposal costs: ask and tell, CPU milliseconds, after so many trials, beside Optuna with the same trials told.

The space has ten mixed dimensions: four real numbers, three whole ones, three choices. The trials before are random ones. Memory store.
Run: python benchmarks/search_speed.py [--at 100,500,1000,5000] [--repeats 30] [--search tpe,random] [--peers tpe]
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import whet

SPACE = whet.Space(
    a=whet.Float(0, 1),
    b=whet.Float(1e-5, 1e-1, log=True),
    c=whet.Float(0, 1),
    d=whet.Float(-3, 3),
    e=whet.Int(1, 10),
    f=whet.Int(16, 512, log=True),
    g=whet.Int(0, 100),
    h=whet.Choice(["a", "b", "c"]),
    i=whet.Choice(["a", "b", "c", "d", "e"]),
    j=whet.Choice(["x", "y"]),
)

One = Callable[[bool], float]  # one more trial, a random one or not -> CPU milliseconds of ask and tell


def loss(p: dict[str, object]) -> float:
    """Return a loss in which every dimension counts."""
    return float(
        (p["a"] - 0.3) ** 2 + (math.log10(p["b"]) + 3) ** 2 / 4 + p["c"] * p["d"] + abs(p["e"] - 4) / 10
        + math.log(p["f"] / 64) ** 2 + (p["g"] - 70) ** 2 / 5000 + 0.3 * (p["h"] != "b") + 0.2 * (p["i"] != "c") + 0.1 * (p["j"] != "x")
    )  # type: ignore[operator,arg-type]  # fmt: skip


def ours(name: str) -> Iterator[One]:
    """Yield how a study of whet does one more trial."""
    rng = np.random.default_rng(0)
    with whet.Study(SPACE, goal="min loss", search=name, schedule="full") as study:

        def one(random: bool) -> float:
            if random:
                study.enqueue(SPACE.sample(rng))
            began = time.process_time()
            trial = study.ask()
            spent = time.process_time() - began
            value = loss(dict(trial.params))
            began = time.process_time()
            study.tell(trial, value)
            return 1e3 * (spent + time.process_time() - began)

        yield one


def optunas(name: str) -> Iterator[One]:
    """Yield how a study of Optuna does one more trial."""
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    made = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler, "random": optuna.samplers.RandomSampler}
    sampler, chance = made[name](seed=0), optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)

    def one(random: bool) -> float:
        study.sampler = chance if random else sampler
        began = time.process_time()
        trial, p = study.ask(), {}
        for n, x in SPACE.items():
            if isinstance(x, whet.Choice):
                p[n] = trial.suggest_categorical(n, x.options)
            else:
                suggest = trial.suggest_float if isinstance(x, whet.Float) else trial.suggest_int
                p[n] = suggest(n, x.low, x.high, log=x.log)
        spent = time.process_time() - began
        value = loss(p)
        began = time.process_time()
        study.tell(trial, value)
        return 1e3 * (spent + time.process_time() - began)

    yield one


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="100,500,1000,5000")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--search", default="tpe,random")
    parser.add_argument("--peers", default="tpe", help="of Optuna: tpe, gp, random; or none")
    options = parser.parse_args()
    at = [int(n) for n in options.at.split(",")]
    players = {name: ours(name) for name in options.search.split(",")}
    players |= {f"Optuna {n}": optunas(n) for n in options.peers.split(",") if n not in ("", "none")}
    print(f"ask + tell, CPU ms, median (slowest) of {options.repeats} after so many trials\n")
    print("| | " + " | ".join(map(str, at)) + " |\n|" + "---|" * (len(at) + 1))
    for name, made in players.items():
        one, n, cells = next(made), 0, []
        for target in at:
            for _ in range(target - n):
                one(True)
            cost = [one(False) for _ in range(options.repeats)]
            n = target + options.repeats
            cells.append(f"{np.median(cost):.2f} ({max(cost):.1f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
