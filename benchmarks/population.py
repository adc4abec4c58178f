"""Population training: the toy problem of its paper, and two data sets against random search and ASHA at equal epochs.

The toy (Jaderberg et al. 2017, figure 2): the value is 1.2 - a^2 - b^2 (most 1.2), but a member trains on 1.2 - h a^2 - g b^2 and only h and g are
hyperparameters. Two members, one begins with h = 1, g = 0, the other the other way round, so either alone gets one of a and b right. Without copying
(explore only: each member perturbs its own h and g), or without perturbing (exploit only), it stays so; with neither it is a grid.

Data: a perceptron on the 8x8 digits and on a part of Fashion-MNIST; learning rate, decay, dropout, momentum and label smoothing are live. Every method has
the epochs of 8 trainings. Told are the validation loss of the best trial and the loss of its model on a test split that no method saw.

Run: python benchmarks/population.py [--data ../shared/data] [--seeds 10] [--epochs 20] [--sets toy,digits,fashion] [--kept FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

import whet
from peers import error
from whet import Choice, Data, Float, Ordered, Space, Split, Study, Task
from whet.data.idx import read_idx
from whet.models import Mlp
from whet.seed import rng
from whet.tune.attempt import Attempt
from whet.tune.codec import unpack
from whet.tune.schedule.population import Population
from whet.tune.worker import rebuild, train_task

METHODS = ("random", "asha", "population", "pb2")
TOYS = ("population", "exploit only", "explore only", "grid")
SIZE = 8
STEPS, EVERY = 100, 4  # of the toy
BEGIN = [0.9, 0.85]  # not the same, or neither member is the better one
LIVE = Space(h=Float(0.0, 1.0, live=True), g=Float(0.0, 1.0, live=True))


class Perceptron(Task):
    """A perceptron with two hidden layers, whose structure is fixed."""

    goal = "min loss"
    space = Space(
        optimizer=Choice(
            {"sgd": Space(lr=Float(1e-3, 1.0, log=True, live=True), momentum=Float(0.0, 0.98, live=True))}
        ),
        weight_decay=Float(1e-6, 1e-1, log=True, live=True),
        dropout=Float(0.0, 0.6, live=True),
        label_smoothing=Float(0.0, 0.1, live=True),
        batch=Ordered([32, 64, 128]),
    )

    def __init__(self, folder: Path, which: str) -> None:
        self.folder, self.which = folder, which

    def data(self, params: Mapping[str, Any]) -> Data:
        """Return 1,078 and 359 of the digits, or 2,000 and 1,500 of Fashion-MNIST."""
        x, y, (train, valid, _) = arrays(self.folder, self.which, self.seed)
        return Data(Split(x[train], y[train]), Split(x[valid], y[valid]), classes=tuple(map(str, range(10))))

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        x, _, _ = arrays(self.folder, self.which, self.seed)
        return Mlp(x.shape[1], 10, width=64, depth=2, dropout=params["dropout"])


@cache
def arrays(folder: Path, which: str, seed: int) -> tuple[torch.Tensor, torch.Tensor, tuple[np.ndarray, ...]]:
    """Return inputs (n, pixels) in [0, 1], classes (n,), and which are for training, validation and test."""
    if which == "digits":
        from sklearn.datasets import load_digits

        bunch = load_digits()
        x, y, sizes = bunch.data / 16.0, bunch.target, (1078, 359, 360)
    else:
        at = folder / "vision" / "fashion_mnist"
        x = read_idx(next(at.glob("t10k-images*"))).reshape(-1, 784) / 255.0
        y, sizes = read_idx(next(at.glob("t10k-labels*"))), (2000, 1500, 4000)
    order = rng(seed, which, "split").permutation(len(y))
    ends = np.cumsum(sizes)
    parts = (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] : ends[2]])
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(np.asarray(y), dtype=torch.int64), parts


def trained(folder: Path, which: str, method: str, seed: int, epochs: int) -> dict[str, float]:
    """Return what a method found: the best trial's loss on validation, and its model's on the test split."""
    task = Perceptron(folder, which)
    task.seed, task.steps = seed, epochs
    schedule: Any = {
        "random": "full",
        "asha": "asha",
        "population": Population(SIZE),
        "pb2": Population(SIZE, explore="model"),
    }[method]
    with Study(task.space, goal="min loss", search="random", schedule=schedule, steps=epochs, seed=seed) as study:
        study.run(lambda p, run: train_task(task, p, run), budget=f"{SIZE * epochs}epochs")
        best = study.best
        state = unpack(study.keeping.load(study.checkpoints(best.id)[-1][1]))
        model, _ = rebuild(task, best, state, epochs)
        x, y, (_, _, test) = arrays(folder, which, seed)
        with torch.inference_mode():
            outputs = model(x[test])
            loss = float(nn.functional.cross_entropy(outputs, y[test]))
            right = float((outputs.argmax(1) == y[test]).double().mean())
        assert best.value is not None
        assert best.step == epochs
        return {"valid": best.value, "test": loss, "right": right, "epochs": float(study.spent.steps or 0)}


def quadratic(params: Mapping[str, Any], run: Attempt, *, wander: int | None = None) -> None:
    """Train on the surrogate, report the value; wander: the seed to perturb the own hyperparameters with, which nobody copies."""
    state = run.load() or {"at": BEGIN, "by": [params["h"], params["g"]]}
    by = state["by"] if wander is not None else [params["h"], params["g"]]
    for step in run:
        if wander is not None and step % EVERY == 0:
            draw = rng(wander, run.id, step, "wander")
            by = [
                float(draw.random()) if draw.random() < 0.25 else min(1.0, b * float(draw.choice([0.8, 1.25])))
                for b in by
            ]
        at = [a - 0.02 * 2 * b * a for a, b in zip(state["at"], by, strict=True)]
        state = {"at": at, "by": by}
        run.report(1.2 - sum(a * a for a in at), state)


def toy(method: str, seed: int) -> dict[str, float]:
    """Return the best value of two members after 200 steps."""
    members = Population(
        2, EVERY, 0.5, *{"population": ((0.8, 1.25), 0.25), "exploit only": ((1.0,), 0.0)}.get(method, ())
    )
    schedule: Any = members if method in ("population", "exploit only") else "full"
    with Study(LIVE, goal="max value", search="random", schedule=schedule, steps=STEPS, seed=seed) as study:
        study.enqueue({"h": 1.0, "g": 0.0})
        study.enqueue({"h": 0.0, "g": 1.0})
        wander = seed if method == "explore only" else None
        study.run(lambda p, run: quadratic(p, run, wander=wander), budget=f"{2 * STEPS}epochs")
        assert study.best.value is not None
        return {"value": study.best.value, "epochs": float(study.spent.steps or 0)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("WHET_DATA"), help="the folder above vision")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20, help="of one training")
    parser.add_argument("--sets", default="toy,digits,fashion")
    parser.add_argument("--kept", type=Path, help="a file of JSON lines: what is in it is not measured again")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 4 epochs, without fashion")
    options = parser.parse_args()
    seeds, epochs = (2, 4) if options.quick else (options.seeds, options.epochs)
    folder = Path(options.data or "../shared/data")
    sets = [s for s in options.sets.split(",") if not (options.quick and s == "fashion")]
    if "fashion" in sets and not (folder / "vision" / "fashion_mnist").is_dir():
        raise SystemExit(f"population: no vision/fashion_mnist in {folder}. Give --data, or --sets toy,digits.")
    lines = options.kept.read_text().splitlines() if options.kept and options.kept.exists() else []
    known: dict[str, dict[str, float]] = {line["key"]: line["found"] for line in map(json.loads, lines)}

    def once(key: str, act: Callable[[], dict[str, float]]) -> dict[str, float]:
        if key not in known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                known[key] = act()
            if options.kept:
                with options.kept.open("a") as file:
                    file.write(json.dumps({"key": key, "found": known[key]}) + "\n")
        return known[key]

    if "toy" in sets:
        print(f"The toy problem, {seeds} seeds: the best value after {STEPS} steps (1.2 is the most), and its least\n")
        print("| method | mean (standard error) | least | most |\n|---|---|---|---|")
        for method in TOYS:
            found = np.array(
                [
                    once(f"toy {method} {s} {whet.__version__}", lambda m=method, s=s: toy(m, s))["value"]
                    for s in range(seeds)
                ]
            )  # type: ignore[misc]
            print(
                f"| {method} | {found.mean():.4f} ({error(found):.4f}) | {found.min():.4f} | {found.max():.4f} |",
                flush=True,
            )
    for which in (s for s in sets if s != "toy"):
        print(
            f"\n{which}, {seeds} seeds, {SIZE * epochs} epochs each, trainings of {epochs}: loss of the best (standard error)\n"
        )
        print(
            "| method | validation | test | test accuracy | better on test than random | than asha |\n|---|---|---|---|---|---|"
        )
        rows: dict[str, list[dict[str, float]]] = {m: [] for m in METHODS}
        for seed in range(seeds):
            for m in METHODS:
                key = f"{which} {m} {seed} {epochs} {whet.__version__}"
                rows[m].append(once(key, lambda m=m, seed=seed, which=which: trained(folder, which, m, seed, epochs)))  # type: ignore[misc]
        for m in METHODS:
            valid, test, right = (np.array([r[k] for r in rows[m]]) for k in ("valid", "test", "right"))
            wins = [
                sum(a["test"] < b["test"] for a, b in zip(rows[m], rows[other], strict=True))
                for other in ("random", "asha")
            ]
            beside = " | ".join(f"{w} of {seeds}" for w in wins)
            print(
                f"| {m} | {valid.mean():.4f} ({error(valid):.4f}) | {test.mean():.4f} ({error(test):.4f}) | {right.mean():.4f} | {beside} |",
                flush=True,
            )
        for one, other in (("population", "random"), ("population", "asha"), ("pb2", "population")):
            apart = [a["test"] - b["test"] for a, b in zip(rows[one], rows[other], strict=True)]
            print(
                f"\n{one} beside {other}: test loss {statistics.mean(apart):+.4f} (standard error {error(np.array(apart)):.4f})"
            )


if __name__ == "__main__":
    main()
