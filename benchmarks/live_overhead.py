"""What the live watch costs over the bare training loop.

    python benchmarks/live_overhead.py [--rounds 9] [--steps 300 2000] [--threads 1]

The same loop on the same batches from the same weights, once bare and once with `live.step(loss)`, in slices of 20 steps that take
turns (A B B A ...), so that what else the machine does falls on both. All steps count, the first look with them; one round before the
first is not counted. A round's ratio is the sum over its slices, in CPU seconds of the process (the figure that is judged: another
program's turn is not in it) and in seconds by the clock; printed are the median and range over the rounds, and what the watch itself
says that it spent. The program checks that both end in the same weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from whet.checks.live import Live

SLICE = 20


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
        self.at = 0

    def take(self, steps: int) -> tuple[float, float]:
        """Take so many steps; return their CPU seconds and their seconds."""
        model, optimizer, live, x, y = self.model, self.optimizer, self.live, self.x, self.y
        began, cpu = time.perf_counter(), time.process_time()
        for index in self.order[self.at : self.at + steps]:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[index]), y[index])
            loss.backward()
            optimizer.step()
            if live is not None:
                live.step(loss)
        self.at += steps
        return time.process_time() - cpu, time.perf_counter() - began


def compare(name: str, make: Callable[[], tuple[nn.Module, torch.Tensor]], rounds: int, steps: int) -> bool:
    """Print the figures of one model; return whether the median ratio of CPU seconds is within the target."""
    ratios, walls, own, looks, per_step = [], [], [], [], []
    for seed in range(-1, rounds):
        loops = [Loop(make, seed + 1, watched) for watched in (False, True)]
        cpu, wall = [0.0, 0.0], [0.0, 0.0]
        for i in range(steps // SLICE):
            for which in (0, 1) if i % 2 else (1, 0):
                took = loops[which].take(SLICE)
                cpu[which], wall[which] = cpu[which] + took[0], wall[which] + took[1]
        same = zip(*(loop.model.state_dict().values() for loop in loops), strict=True)
        assert all(torch.equal(a, b) for a, b in same), "the watch changed the training"
        live = loops[1].live
        assert live is not None
        assert not live.health.findings, live.health
        if seed >= 0:
            ratios.append(cpu[1] / cpu[0])
            walls.append(wall[1] / wall[0])
            own.append(live.seconds / wall[0])
            looks.append(live.health.facts["TREND"]["looks"])
            per_step.append(cpu[0] / steps)
    print(f"{name:<6}{steps:>7}{statistics.median(per_step) * 1e3:>10.3f}{statistics.median(looks):>7.0f}{statistics.median(own):>10.2%}"
          f"{statistics.median(ratios):>9.4f}   {min(ratios):.3f} to {max(ratios):.3f}"
          f"{statistics.median(walls):>9.4f}   {min(walls):.3f} to {max(walls):.3f}", flush=True)  # fmt: skip
    return statistics.median(ratios) <= 1.02


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, nargs="+", default=[300, 2000])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"watched / bare, median of {args.rounds} rounds, {args.threads} thread(s), torch {torch.__version__}; target <= 1.02"
    )
    print(f"{'model':<6}{'steps':>7}{'ms/step':>10}{'looks':>7}{'in looks':>10}{'CPU':>9}{'':17}{'wall':>9}")
    fine = [compare(n, m, args.rounds, s) for n, m in (("MLP", mlp), ("CNN", cnn)) for s in args.steps]
    print("all within 1.02" if all(fine) else "NOT within 1.02")


if __name__ == "__main__":
    main()
