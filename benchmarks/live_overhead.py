"""What the live watch costs over the bare training loop.

    python benchmarks/live_overhead.py [--rounds 7] [--steps 2000] [--threads 1]

The same loop on the same batches from the same weights, once bare and once with `live.step(loss)`, slices of 200 steps in turn,
so that what else the machine does falls on both; CPU seconds of the process. A round's ratio is the sum over its slices; printed are
the median and range over the rounds, and what the watch itself says it spent. The program checks that both end in the same weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from whet.checks.live import Live

SLICE = 200


def mlp() -> tuple[nn.Module, torch.Tensor]:
    """64 - 128 - 128 - 10 on vectors."""
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    ), torch.randn(4096, 64)


def cnn() -> tuple[nn.Module, torch.Tensor]:
    """Two convolutions on pictures of 16 x 16."""
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10),
    )  # fmt: skip
    return model, torch.randn(4096, 1, 16, 16)


class Loop:
    """A training that can be taken on by so many steps at a time."""

    def __init__(self, make: Callable[[], tuple[nn.Module, torch.Tensor]], seed: int, watched: bool) -> None:
        torch.manual_seed(seed)
        self.model, self.x = make()
        self.y = self.x.flatten(1)[:, :10].argmax(1)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.order = torch.randint(0, len(self.x), (100_000, 32))
        self.live = Live(self.model, self.optimizer) if watched else None
        self.at, self.cpu = 0, 0.0

    def take(self, steps: int) -> float:
        """Take so many steps; return their CPU seconds."""
        model, optimizer, live, x, y = self.model, self.optimizer, self.live, self.x, self.y
        began = time.process_time()
        for index in self.order[self.at : self.at + steps]:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[index]), y[index])
            loss.backward()
            optimizer.step()
            if live is not None:
                live.step(loss)
        self.at += steps
        return time.process_time() - began


def compare(name: str, make: Callable[[], tuple[nn.Module, torch.Tensor]], rounds: int, steps: int) -> bool:
    """Print the figures of one model; return whether the median ratio is within the target."""
    ratios, own, looks, per_step = [], [], [], []
    for seed in range(rounds):
        loops = [Loop(make, seed, watched) for watched in (False, True)]
        for loop in loops:
            loop.take(SLICE)  # warms up; the first looks fall into it
        total = [0.0, 0.0]
        for i in range(steps // SLICE):
            for which in (0, 1) if i % 2 else (1, 0):
                total[which] += loops[which].take(SLICE)
        same = zip(*(loop.model.state_dict().values() for loop in loops), strict=True)
        assert all(torch.equal(a, b) for a, b in same), "the watch changed the training"
        live = loops[1].live
        assert live is not None
        assert not live.health.findings, live.health
        ratios.append(total[1] / total[0])
        own.append(live.seconds)
        looks.append(live.health.facts["TREND"]["looks"])
        per_step.append(total[0] / steps)
    print(f"{name:<8}{statistics.median(per_step) * 1e3:>12.3f}{statistics.median(looks):>8.0f}{statistics.median(own) * 1e3:>14.1f}"
          f"{statistics.median(ratios):>10.4f}   {min(ratios):.4f} to {max(ratios):.4f}")  # fmt: skip
    return statistics.median(ratios) <= 1.02


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"watched / bare, median of {args.rounds} rounds of {args.steps} steps, {args.threads} thread(s), torch {torch.__version__}"
    )
    print(f"{'model':<8}{'ms/step':>12}{'looks':>8}{'ms in looks':>14}{'ratio':>10}   range (target <= 1.02)")
    fine = [compare(n, m, args.rounds, args.steps) for n, m in (("MLP", mlp), ("CNN", cnn))]
    print("all within 1.02" if all(fine) else "NOT within 1.02")


if __name__ == "__main__":
    main()
