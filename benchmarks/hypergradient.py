"""Search along gradients beside random draws and a Gaussian process: the same task, at equal epochs and at equal CPU time.

The task: 600 training digits, a perceptron of 32 units, 6 epochs of SGD. Searched are 5 real numbers: learning rate, momentum and weight decay, the
strength of noise on the pixels, and the weight of a penalty on large logits. The goal is the validation loss (270 digits). All of it goes the
way of `whet tune` with one worker: whet.tune.worker.train_task in a study in memory.

`hypergradient` goes back through every step of each training (unrolled), `implicit` finds the gradients that the converged training would have. Both have so many
trials (--trials); random and gp go on until they have used as much CPU time as `hypergradient` did with the same seed, proposing included, at most ten times as many.

Printed: the mean best loss over seeds with its standard error after some of the trials, and at equal CPU time; CPU seconds; then the differences to random and gp, seed by seed,
with a 95 % interval (Student's t). Run: python benchmarks/hypergradient.py [--seeds 10] [--trials 25] [--quick] [--kept FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

import whet
import whet.train.loss
from whet.data.split import Split
from whet.tasks import resolve
from whet.tune.search.hypergradient import Hypergradient
from whet.tune.worker import train_task

MOST = 10  # times the trials of the search along gradients
PLAYERS = ("hypergradient", "implicit", "gp", "random")


class Noisy(whet.Task):
    """Digits from few examples, with everything that is searched a real number."""

    name = "noisy"
    goal = "min loss"
    metrics = ("accuracy",)
    space = whet.Space(
        lr=whet.Float(1e-3, 1.0, log=True),
        momentum=whet.Float(0.0, 0.98),
        weight_decay=whet.Float(1e-6, 0.3, log=True),
        noise=whet.Float(0.01, 2.0, log=True),
        penalty=whet.Float(1e-6, 0.1, log=True),
    )

    def __init__(self, seed: int, epochs: int, examples: int) -> None:
        self.seed, self.steps = seed, epochs
        digits = resolve("digits")
        digits.seed = seed
        data = digits.data({})
        some = slice(0, examples)
        self._data = whet.Data(
            Split(data.train.parts[0][some].flatten(1).float() / 16, data.train.targets[some]),
            Split(data.valid.parts[0].flatten(1).float() / 16, data.valid.targets),
            classes=data.classes,
        )

    def data(self, params: Any) -> whet.Data:
        """Return the splits."""
        return self._data

    def model(self, params: Any) -> nn.Module:
        """Return a perceptron."""
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def batch(self, params: Any) -> int:
        """Return the size of a batch."""
        return 60

    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        """Return SGD with momentum and decay."""
        return torch.optim.SGD(
            model.parameters(), lr=params["lr"], momentum=params["momentum"], weight_decay=params["weight_decay"]
        )

    def loss(self, params: Any) -> Any:
        """Return the cross-entropy, with a penalty while training: a validation split is measured without it."""
        return Penalised(params["penalty"])

    def augment(self, params: Any) -> Any:
        """Return noise on the pixels."""
        strength = params["noise"]

        def noisy(inputs: Any, targets: Any, generator: torch.Generator) -> Any:
            return (inputs[0] + strength * torch.randn(inputs[0].shape, generator=generator),), targets

        return noisy


class Penalised(whet.train.loss.Loss):
    """The cross-entropy and a part of the mean square of the logits; `plain` is without it."""

    def __init__(self, weight: Any) -> None:
        super().__init__("cross_entropy")
        object.__setattr__(self, "weight", weight)

    def plain(self) -> whet.train.loss.Loss:
        """Return the cross-entropy alone."""
        return whet.train.loss.Loss("cross_entropy")

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        return super().__call__(outputs, targets) + self.weight * (outputs**2).mean()


def played(player: str, seed: int, *, trials: int, epochs: int, examples: int, cpu: float) -> dict[str, Any]:
    """Return the values of a study's trials in order, NaN for failures, and the CPU seconds used when each had ended; cpu: how long to go on at least."""
    task = Noisy(seed, epochs, examples)
    method = {"hypergradient": "unrolled", "implicit": "implicit"}.get(player, "")
    search = Hypergradient(method=method, seed=seed) if method else player
    with whet.Study(task.space, goal="min loss", search=search, schedule="full", steps=epochs, seed=seed) as study:
        used: list[float] = []
        began = time.process_time()
        while len(used) < trials or (used[-1] < cpu and len(used) < MOST * trials):
            with contextlib.suppress(whet.StudyError):  # that all trials failed so far, as when the first one diverges
                study.run(lambda p, run: train_task(task, p, run), trials=len(used) + 1)
            assert len(study.trials) == len(used) + 1
            used.append(time.process_time() - began)
        values = [math.nan if t.value is None or t.state == "FAILED" else t.value for t in study.trials]
    return {"values": values, "cpu": used}


def error(x: np.ndarray) -> float:
    """Return the standard error of the mean."""
    return float(x.std(ddof=1) / math.sqrt(len(x))) if len(x) > 1 else math.nan


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--quick", action="store_true", help="two seeds, few trials: to see that it runs")
    parser.add_argument("--kept", type=Path, help="a file: what was played is kept there and not played again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds, trials, epochs, examples = (2, 6, 2, 120) if options.quick else (options.seeds, options.trials, 6, 600)
    found = gather(range(seeds), trials=trials, epochs=epochs, examples=examples, kept=options.kept)
    show(found, seeds, trials)


def gather(seeds: range, *, trials: int, epochs: int, examples: int, kept: Path | None) -> dict[tuple[str, int], Any]:
    """Return what every player did with every seed."""
    known = {}
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            data = json.loads(line)
            known[tuple(data["of"])] = data["played"]
    found = {}
    for seed in seeds:
        cpu = 0.0
        for player in PLAYERS:
            of = (player, seed, trials, epochs, examples)
            if of not in known:
                most = 0.0 if player in ("hypergradient", "implicit") else cpu
                known[of] = played(player, seed, trials=trials, epochs=epochs, examples=examples, cpu=most)
                if kept is not None:
                    with kept.open("a") as file:
                        file.write(json.dumps({"of": of, "played": known[of]}) + "\n")
            found[player, seed] = known[of]
            if player == "hypergradient":
                cpu = found[player, seed]["cpu"][-1]
    return found


def show(found: dict[tuple[str, int], Any], seeds: int, trials: int) -> None:
    """Print the table, and who was better."""
    at = [max(1, trials // 4), trials // 2, trials]
    print(f"{seeds} seeds, {trials} trials of equal length; best validation loss\n")
    print(f"| player | {' | '.join(f'after {n}' for n in at)} | at equal CPU | trials then | CPU s of {trials} |")
    print("|---" * (len(at) + 4) + "|")
    same: dict[str, np.ndarray] = {}
    equal: dict[str, np.ndarray] = {}
    for player in PLAYERS:
        rows = [np.minimum.accumulate(np.nan_to_num(found[player, s]["values"], nan=np.inf)) for s in range(seeds)]
        cells = [np.array([r[n - 1] for r in rows]) for n in at]
        budgets = [found["hypergradient", s]["cpu"][-1] for s in range(seeds)]
        done = [max(1, int(np.searchsorted(found[player, s]["cpu"], budgets[s], side="right"))) for s in range(seeds)]
        same[player], equal[player] = cells[-1], np.array([r[n - 1] for r, n in zip(rows, done, strict=True)])
        cpu = np.mean([found[player, s]["cpu"][trials - 1] for s in range(seeds)])
        texts = [f"{c.mean():.4f} (+- {error(c):.4f})" for c in [*cells, equal[player]]]
        print(f"| {player} | {' | '.join(texts)} | {np.mean(done):.0f} | {cpu:.1f} |")
    from scipy import stats

    print()
    for what, of in (("equal epochs", same), ("equal CPU", equal)):
        for other in ("random", "gp"):
            apart = of["hypergradient"] - of[other]
            wide = stats.t.ppf(0.975, seeds - 1) * error(apart) if seeds > 1 else math.nan
            better = "better" if apart.mean() + wide < 0 else "worse" if apart.mean() - wide > 0 else "not told apart"
            print(
                f"At {what}, hypergradient - {other}: {apart.mean():+.4f} ({apart.mean() - wide:+.4f} to {apart.mean() + wide:+.4f}), "
                f"better with {int((apart < 0).sum())} of {seeds} seeds: {better}."
            )


if __name__ == "__main__":
    main()
