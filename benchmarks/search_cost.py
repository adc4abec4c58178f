"""What asking and telling cost when there are many trials already: CPU ms of one ask and its tell.

10 mixed dimensions (4 numbers, 2 of them logarithmic; 3 whole numbers, 1 logarithmic; 3 categories), one BLAS thread. A
study in memory is given n finished trials, drawn at random, with values of a smooth function with noise, then asks and
tells `--asks` times, in time.process_time(). The first of them, in which a player takes in all trials at once and fits
its model from nothing, stands in a column of its own: a study that runs from the start never meets it. Later fits count.
Per n the asks of all seeds are taken together; a player whose first ask takes more than a second does fewer, as shown.
Run: python benchmarks/search_cost.py [--seeds 3] [--at 100,500,1000,5000] [--search gp] [--slow-upto 1000]
"""

from __future__ import annotations

import argparse
import math
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import whet
from peers import Player, lineup

SPACE = whet.Space(
    lr=whet.Float(1e-5, 1e-1, log=True),
    decay=whet.Float(1e-6, 1e-1, log=True),
    dropout=whet.Float(0.0, 0.8),
    momentum=whet.Float(0.0, 0.99),
    width=whet.Int(8, 1024, log=True),
    depth=whet.Int(1, 10),
    patience=whet.Int(1, 30),
    optimizer=whet.Choice(["sgd", "adam", "rmsprop"]),
    activation=whet.Choice(["relu", "gelu", "tanh", "silu"]),
    norm=whet.Choice(["none", "batch", "layer"]),
)
SLOW = ("optuna-gp", "smac")
SECONDS = 30.0  # CPU of one player at one n with one seed, about


def value(params: dict[str, object], rng: np.random.Generator) -> float:
    """Return the value of a configuration: smooth in the numbers, with effects of the categories, and noise of 0.1."""
    return (
        0.5 * (math.log10(params["lr"]) + 3) ** 2
        + 0.1 * (math.log10(params["decay"]) + 4) ** 2
        + (params["dropout"] - 0.3) ** 2
        + 0.2 * abs(math.log2(params["width"] / 256))
        + 0.1 * abs(params["depth"] - 4)
        + 0.3 * (params["optimizer"] == "sgd") * (1 - params["momentum"])
        + 0.2 * (params["norm"] == "none")
        + 0.1 * float(rng.standard_normal())
    )


def ours(search: str, seed: int, n: int, rng: np.random.Generator) -> tuple[object, object]:
    """Return (ask, tell) of a study of whet that holds n trials."""
    from whet.tune.trial import State, Trial

    study = whet.Study(SPACE, goal="min loss", search=search, schedule="full", seed=seed)
    drawn = [SPACE.sample(rng) for _ in range(n)]
    study.add([Trial(i, p, State.DONE, value=value(p, rng), origin={"search": "random"}) for i, p in enumerate(drawn)])
    return (lambda: (t := study.ask(), t.params)), lambda trial, v: study.tell(trial, v)


def optunas(player: Player, seed: int, n: int, rng: np.random.Generator) -> tuple[object, object]:
    """Return (ask, tell) of a study of Optuna that holds n trials."""
    import optuna

    from peers.of_optuna import distribution

    turn = player.begin(SPACE, seed, n)
    distributions = {name: distribution(domain) for name, domain in SPACE.items()}
    for _ in range(n):
        p = SPACE.sample(rng)
        turn.study.add_trial(optuna.trial.create_trial(params=p, distributions=distributions, value=value(p, rng)))
    return (lambda: (None, turn.ask())), lambda _, v: turn.tell(v)


def others(player: Player, seed: int, n: int, rng: np.random.Generator) -> tuple[object, object]:
    """Return (ask, tell) of a peer that played n trials from the start: its history is its own, not random."""
    turn = player.begin(SPACE, seed, n + 1_000)
    for _ in range(n):
        turn.tell(value(turn.ask(), rng))
    return (lambda: (None, turn.ask())), lambda _, v: turn.tell(v)


def measure(player: Player, seed: int, n: int, asks: int) -> list[float]:
    """Return the CPU ms of each ask and its tell after n trials."""
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if player.ours:
            ask, tell = ours(player.name, seed, n, rng)
        else:
            ask, tell = (optunas if player.name.startswith("optuna") else others)(player, seed, n, rng)
        spent: list[float] = []
        while len(spent) <= asks and (len(spent) < 3 or sum(spent) < 1e3 * SECONDS):
            began = time.process_time()
            trial, params = ask()
            asked = time.process_time() - began
            v = value(dict(params), rng)
            began = time.process_time()
            tell(trial, v)
            spent.append(1e3 * (asked + time.process_time() - began))
    return spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--at", default="100,500,1000,5000", help="how many trials there are before")
    parser.add_argument("--asks", type=int, default=30)
    parser.add_argument("--search", default="gp,random")
    parser.add_argument("--peers", default="optuna-tpe,optuna-gp", help="names, or none")
    parser.add_argument(
        "--slow-upto", type=int, default=1000, help="the most trials before that optuna-gp and smac are asked with"
    )
    options = parser.parse_args()
    players = lineup(options.search, options.peers)
    print(f"{options.seeds} seeds, {len(SPACE)} dimensions, load {os.getloadavg()[0]:.1f}\n")
    print("| player | trials before | median | p99 | max | first | asks |\n|---|---|---|---|---|---|---|")
    for n in (int(x) for x in options.at.split(",")):
        for p in players:
            if p.name in SLOW and n > options.slow_upto:
                continue
            rows = [measure(p, seed, n, options.asks) for seed in p.seeds(options.seeds)]
            later = np.array([ms for row in rows for ms in row[1:]])
            print(
                f"| {p.name} | {n:,} | {np.median(later):.1f} | {np.quantile(later, 0.99):.1f} | {later.max():.1f} |"
                f" {np.median([row[0] for row in rows]):.1f} | {len(later)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
