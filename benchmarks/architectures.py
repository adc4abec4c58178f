"""Architecture search: evolution beside random search, on an exhaustive table of cells and in real searches over `whet.spaces`.

cells: NAS-Bench-201 (Dong and Yang 2020), 15,625 cells trained on CIFAR-10: the best validation accuracy so far, in percent, beside random search and
the published algorithm of regularised evolution (`peers/of_paper.py`, population 10 and sample 3 as in that paper) at equal evaluations.

mlp: perceptrons (`spaces.mlp`, up to 4 layers, at most 30,000 parameters, and the learning rate of Adam) on the 1,797 digits of scikit-learn.
convnet: networks (`spaces.convnet`, up to 4 layers, at most 20,000 parameters, and the learning rate) on 1,000 training and 1,000 validation pictures of
Fashion-MNIST (`--data`, or WHET_DATA; left out without it). Every trial is trained for the same few epochs, so equal trials are equal epochs. Told
is the least validation loss so far, with the standard error over seeds, and its accuracy.

Run: python benchmarks/architectures.py [--parts cells,mlp,convnet] [--seeds 10] [--trials 60] [--search evolution,random] [--data ../shared/data]
[--kept FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import whet
from peers import error, lineup, play
from search_tables import Table
from whet import spaces
from whet.data.bundled import digits
from whet.data.idx import read_idx
from whet.data.split import Split
from whet.models import Standardize, prior
from whet.seed import key
from whet.train.run import Run
from whet.tune.space import Params

PARTS = ("cells", "mlp", "convnet")
EPOCHS = {"mlp": 4, "convnet": 2}
RATE = whet.Float(5e-4, 3e-2, log=True)
CELLS_AT = (20, 60, 100)


class Architectures(whet.Task):
    """Networks of one kind on one data set."""

    goal = "min loss"
    metrics = ("accuracy",)

    def __init__(self, part: str, data: whet.Data) -> None:
        self.found = data
        self.shape, self.classes = tuple(data.train.inputs.shape[1:]), len(data.classes or ())
        made, most = (
            (spaces.mlp(lr=RATE), 30_000) if part == "mlp" else (spaces.convnet(filters=(8, 16, 32), lr=RATE), 20_000)
        )
        self.space = spaces.within(made, most, self.shape, self.classes)
        self.pixels = Standardize.fit(data.train.inputs)

    def data(self, params: Params) -> whet.Data:
        """Return the data."""
        return self.found

    def model(self, params: Params) -> torch.nn.Module:
        """Return the network of a configuration."""
        known = prior(self.found.train.targets, self.classes)
        return spaces.build(params, self.shape, self.classes, standardize=self.pixels, prior=known)


def pictures(folder: Path, n: int = 1000) -> whet.Data:
    """Return the first `n` training pictures of Fashion-MNIST and the `n` after them, to validate."""
    x = torch.from_numpy(read_idx(folder / "train-images-idx3-ubyte.gz")[: 2 * n, None].copy())
    y = torch.from_numpy(read_idx(folder / "train-labels-idx1-ubyte.gz")[: 2 * n].astype(np.int64))
    names = tuple(map(str, range(10)))
    return whet.Data(Split(x[:n], y[:n]), Split(x[n:], y[n:]), classes=names, source="Fashion-MNIST")


def trained(task: Architectures, seed: int, epochs: int) -> Callable[..., dict[str, float]]:
    """Return the objective: the last point of a training."""

    def objective(params: dict[str, object], run: whet.Attempt) -> dict[str, float]:
        *_, last = Run(task, params, steps=epochs, seed=key(seed, run.id, "train"))
        return {"loss": last.value, "accuracy": last.metrics["accuracy"]}

    return objective


def searched(task: Architectures, part: str, name: str, seed: int, trials: int, kept: Path | None) -> list[list[float]]:
    """Return (loss, accuracy) of every trial of a study, NaN where it failed; from the file when it is there."""
    told = json.dumps([part, name, whet.__version__, seed, trials, EPOCHS[part], task.space.json()], sort_keys=True)
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            if (known := json.loads(line))["key"] == told:
                return list(known["points"])
    with whet.Study(task.space, goal="min loss", search=name, schedule="full", seed=seed) as study:
        study.run(trained(task, seed, EPOCHS[part]), trials=trials)
        points = [
            [float("nan")] * 2 if t.value is None else [t.value, t.curve[-1].metrics["accuracy"]] for t in study.trials
        ]
    if kept is not None:
        with kept.open("a") as file:
            file.write(json.dumps({"key": told, "points": points}) + "\n")
    return points


def cells(folder: Path, search: str, seeds: int, trials: int) -> None:
    """Print the table of the cells."""
    table = Table(folder / "hpo_curves" / "table_nasbench201_cifar10.npz")
    at = [n for n in CELLS_AT if n <= trials] or [trials]
    best, median = -table.best, -table.median
    print(f"cells: {seeds} seeds; the best has {best:.2f} %, the median {median:.2f} %\n")
    print("| cells | " + " | ".join(f"after {n}" for n in at) + " |\n|" + "---|" * (len(at) + 1))
    for player in lineup(search, "aging"):
        played = [play(player, table.key, table.space, table.value, seed=s, evaluations=at[-1]) for s in range(seeds)]
        so_far = np.array([-np.fmin.accumulate(one.values) for one in played])[:, [n - 1 for n in at]]
        said = (f"{v.mean():.2f} ({error(v):.2f})" for v in so_far.T)
        print(f"| {player.name} | " + " | ".join(said) + " |", flush=True)
    print()


def nets(part: str, data: whet.Data, search: str, seeds: int, trials: int, kept: Path | None) -> None:
    """Print the table of one kind of networks."""
    task, names = Architectures(part, data), search.split(",")
    at = sorted({max(1, trials // 3), max(1, 2 * trials // 3), trials})
    print(f"{part}: {seeds} seeds, {trials} trials of {EPOCHS[part]} epochs; {', '.join(task.space)}\n")
    print(f"| {part} | " + " | ".join(f"loss after {n}" for n in at) + " | accuracy of the best | failed |")
    print("|" + "---|" * (len(at) + 3))
    last: dict[str, np.ndarray] = {}
    # seed by seed: a program that is cut off has as many of each
    played = [[searched(task, part, name, s, trials, kept) for name in names] for s in range(seeds)]
    for i, name in enumerate(names):
        found = np.array([one[i] for one in played])  # (seeds, trials, 2)
        so_far = np.fmin.accumulate(found[:, :, 0], axis=1)
        last[name] = so_far[:, -1]
        accuracy = np.array([f[np.nanargmin(f[:, 0]), 1] for f in found])
        said = [f"{v.mean():.4f} ({error(v):.4f})" for v in so_far[:, [n - 1 for n in at]].T]
        failed = np.isnan(found[:, :, 0]).mean()
        print(
            f"| {name} | {' | '.join(said)} | {accuracy.mean():.4f} ({error(accuracy):.4f}) | {failed:.1%} |",
            flush=True,
        )
    print()
    for name in names:
        if name != "random" and "random" in names:
            apart = last[name] - last["random"]
            wins = int((apart < 0).sum())
            print(
                f"{part}: {name} ends {apart.mean():+.4f} (standard error {error(apart):.4f}) beside random,"
                f" lower with {wins} of {seeds} seeds\n"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("WHET_DATA"), help="the folder above hpo_curves and vision"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=60, help="of the real searches; the table has 100 evaluations")
    parser.add_argument("--search", default="evolution,random")
    parser.add_argument("--kept", type=Path, help="a file: every real search is kept there, and not run again")
    parser.add_argument("--quick", action="store_true", help="1 seed, 6 trials")
    options = parser.parse_args()
    if unknown := [p for p in options.parts.split(",") if p not in PARTS]:
        raise SystemExit(f"architectures: no part {unknown[0]!r}. Allowed: {', '.join(PARTS)}.")
    torch.set_num_threads(1)
    seeds, trials = (1, 6) if options.quick else (options.seeds, options.trials)
    folder = Path(options.data or "../shared/data")
    for part in options.parts.split(","):
        needed = {"cells": "hpo_curves/table_nasbench201_cifar10.npz", "convnet": "vision/fashion_mnist"}.get(part, "")
        if needed and not (folder / needed).exists():
            print(f"{part} is left out: no {folder / needed}. Give --data, or WHET_DATA.\n")
        elif part == "cells":
            cells(folder, options.search, seeds, 6 if options.quick else CELLS_AT[-1])
        else:
            data = digits() if part == "mlp" else pictures(folder / needed)
            nets(part, data, options.search, seeds, trials, options.kept)


if __name__ == "__main__":
    main()
