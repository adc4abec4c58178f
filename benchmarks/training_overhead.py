"""What `Run` costs over a hand-written PyTorch loop that does the same epochs and the same evaluation.

    python benchmarks/training_overhead.py [--data DIR] [--rounds 5] [--threads 1]

Both train the same model from the same weights on the same order of the same batches, and the program checks that they end
in the same weights. They take turns epoch by epoch, and whoever goes first alternates, so that what else the machine does
falls on both; a round's ratio is the median over its pairs of epochs, printed are the median and range over the rounds. --data (or WHET_DATA) is a folder with vision/fashion_mnist, or a folder with the four IDX files.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import itertools
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from whet.data.split import Data, Split
from whet.models import Convnet, Mlp, Standardize, prior
from whet.seed import key
from whet.task import Task
from whet.train.run import Run

Clock = tuple[float, float]  # CPU seconds, wall seconds


class Digits(Task):
    """scikit-learn's digits as 64 numbers, and an MLP."""

    def data(self, params):
        x, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = torch.tensor(x[order], dtype=torch.float32), torch.tensor(y[order])
        return Data(Split(x[:1257], y[:1257]), Split(x[1257:1527], y[1257:1527]), classes=tuple("0123456789"))

    def model(self, params):
        train = self.data(params).train
        return Mlp(64, 10, standardize=Standardize.fit(train.inputs), prior=prior(train.targets, 10))


class Images(Task):
    """The IDX image set in `folder`, its first 6,000 training images, and a small convolutional net."""

    def __init__(self, folder: Path) -> None:
        x, y = (read(folder / f"train-{n}-ubyte.gz") for n in ("images-idx3", "labels-idx1"))
        x, y = torch.from_numpy(x)[:, None], torch.from_numpy(y).long()
        names = tuple(map(str, range(10)))
        self.all = Data(Split(x[:5000], y[:5000]), Split(x[5000:6000], y[5000:6000]), classes=names)

    def data(self, params):
        return self.all

    def model(self, params):
        train = self.all.train
        standardize = Standardize.fit(train.inputs)
        return Convnet((1, 28, 28), 10, width=8, standardize=standardize, prior=prior(train.targets, 10))


def read(path: Path) -> np.ndarray:
    """Return the array of a gzipped IDX file of bytes."""
    raw = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(raw, ">i4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy()


def by_hand(task: Task, params: dict, model: nn.Module) -> Iterator[tuple[float, float, float]]:
    """Train `model` with a plain loop; yield training loss, validation loss and accuracy after each epoch."""
    data = task.data(params)
    x, y, vx, vy = data.train.inputs, data.train.targets, data.valid.inputs, data.valid.targets
    optimizer = task.optimizer(params, model)
    batch, n = task.batch(params), len(x)
    for epoch in itertools.count():
        model.train()
        order = torch.randperm(n, generator=torch.Generator().manual_seed(key(0, "order", epoch)))
        total = torch.zeros(())
        for i in range(0, n, batch):
            index = order[i : i + batch]
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x[index]), y[index])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(index)
        model.eval()
        with torch.inference_mode():
            outputs = torch.cat([model(vx[i : i + 1024]) for i in range(0, len(vx), 1024)])
            loss, accuracy = functional.cross_entropy(outputs, vy), (outputs.argmax(1) == vy).float().mean()
        yield float(total) / n, float(loss), float(accuracy)


def timed(epochs: Iterator[object]) -> Clock:
    """Take one epoch; return its CPU and wall seconds."""
    start = time.process_time(), time.perf_counter()
    next(epochs)
    return time.process_time() - start[0], time.perf_counter() - start[1]


def compare(name: str, task: Task, params: dict, pairs: int, rounds: int) -> bool:
    """Print the ratios for one task; return whether both medians over the rounds are within the target."""
    cpu, wall, hand = [], [], []
    for _ in range(rounds):
        run = Run(task, params, steps=pairs + 1, seed=0, device="cpu")
        model = copy.deepcopy(run.model)
        ours, theirs = iter(run), by_hand(task, params, model)
        next(ours), next(theirs)  # the first epoch warms up
        times = []
        for i in range(pairs):
            a = timed(ours if i % 2 else theirs)
            b = timed(theirs if i % 2 else ours)
            times.append((a, b) if i % 2 else (b, a))
        same = zip(model.state_dict().values(), run.model.state_dict().values(), strict=True)
        assert all(torch.equal(p, q) for p, q in same), "the two did not do the same"
        cpu.append(statistics.median(o[0] / t[0] for o, t in times))
        wall.append(statistics.median(o[1] / t[1] for o, t in times))
        hand.append(statistics.median(t[1] for _, t in times))
    print(
        f"{name:<28}{pairs:>6}{statistics.median(hand) * 1e3:>12.1f}{statistics.median(cpu):>12.3f}"
        f"{statistics.median(wall):>12.3f}   {min(wall):.3f} to {max(wall):.3f}"
    )
    return statistics.median(cpu) <= 1.05 and statistics.median(wall) <= 1.05


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("WHET_DATA", ""), help="folder with real data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"Run / loop by hand, median of {args.rounds} rounds, {args.threads} thread(s), torch {torch.__version__}")
    print(f"{'task':<28}{'pairs':>6}{'ms/epoch':>12}{'CPU ratio':>12}{'wall ratio':>12}   range (target <= 1.05)")
    fine = [compare("digits, MLP, batch 32", Digits(), {}, 40, args.rounds)]
    fine.append(compare("digits, MLP, batch 128", Digits(), {"batch": 128}, 100, args.rounds))
    sgd = {"optimizer": "sgd", "optimizer.momentum": 0.9, "lr": 0.1, "weight_decay": 1e-4}
    fine.append(compare("digits, MLP, sgd, batch 32", Digits(), sgd, 40, args.rounds))
    folder = Path(args.data)
    folder = folder / "vision" / "fashion_mnist" if (folder / "vision").is_dir() else folder
    if args.data and (folder / "train-images-idx3-ubyte.gz").exists():
        fine.append(compare("IDX images, CNN, batch 64", Images(folder), {"batch": 64}, 4, args.rounds))
    else:
        print("IDX images: not run. Give --data or WHET_DATA, a folder with the four IDX files.")
    print("all within 1.05" if all(fine) else "NOT within 1.05")


if __name__ == "__main__":
    main()
