"""What the simulator costs as workers are added: CPU time of one merged batch, and memory of one worker.

A perceptron 32-64-10 (2,762 weights) on 48,000 made-up examples, batches of 2; every rule of the list trains on 1, 10, 100, 1,000
and 4,000 simulated workers of gamma-distributed speed with one 3x straggler, until `--batches` a worker were merged, at least 3,000 in all. Each
case is a process of its own with one thread. Per merged batch: `time.process_time()`, so other load counts little, with the batches
merged in the first tenth left out; a plain training step of the same model (`whet.train.run.Run`) stands beside it. Per worker:
what the process grew by, at its highest, from before the workers joined, over the workers; the formula counts 4 bytes a weight for the
vectors a worker has: what it pulled, and what it sent for as long as the rule keeps it. Up to 100 workers a page more or less
decides, so no memory is shown.
Run: python benchmarks/distributed_scale.py [--workers 1,10,100,1000,4000] [--rule sync,async,...] [--batches 3]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn

from whet.data.split import Data, Split
from whet.distributed.delays import Delays
from whet.distributed.named import parse_rule, split
from whet.distributed.simulate import Simulation
from whet.task import Task
from whet.train.run import Run

RULES = "sync,async,bounded(s=3),dc-asgd,average(every=1),elastic(every=1)"
# weights a worker: pulled, sent or its own, and what the rule remembers of it
VECTORS = {"sync": 2, "async": 1, "bounded": 1, "dc-asgd-a": 2, "average": 1, "elastic": 2}


class Wide(Task):
    """Enough examples for thousands of workers, and a step that costs little beside what the simulator does."""

    steps = 50

    def data(self, params):
        g = torch.Generator().manual_seed(0)
        x, y = torch.randn(48_100, 32, generator=g), torch.randint(0, 10, (48_100,), generator=g)
        return Data(Split(x[:-100], y[:-100]), Split(x[-100:], y[-100:]))

    def model(self, params):
        return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))


PARAMS = {"optimizer": "sgd", "lr": 1e-3, "batch": 2}


def kilobytes() -> int:
    """Return how much of the machine's memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def simulated(rule: str, workers: int, batches: int) -> dict[str, float]:
    """Return CPU milliseconds a merged batch and bytes a worker."""
    torch.set_num_threads(1)
    simulation = Simulation(
        Wide(), PARAMS, rule=parse_rule(rule), workers=workers, delays=Delays("gamma", stragglers={0: 3.0})
    )
    server, wanted = simulation.server, max(3_000, workers * batches)
    before = kilobytes()
    first = began = 0.0
    most = before
    for event, _ in enumerate(simulation.beats()):
        if event % 97 == 0:
            most = max(most, kilobytes())
        if not began and server.merged >= wanted / 10:
            first, began = server.merged, time.process_time()
        if server.merged >= wanted:
            break
    spent = time.process_time() - began
    return {"ms": 1e3 * spent / (server.merged - first), "bytes": 1024 * (most - before) / workers}


def plain() -> float:
    """Return the CPU milliseconds of a step of a plain training."""
    torch.set_num_threads(1)
    run = Run(Wide(), {**PARAMS, "batch": 2}, steps=1, device="cpu")
    began = time.process_time()
    list(run)
    return 1e3 * (time.process_time() - began) / 24_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,10,100,1000,4000")
    parser.add_argument("--rule", default=RULES)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        rule, workers = given.one.rsplit(":", 1)
        print(json.dumps(simulated(rule, int(workers), given.batches)))
        return
    print(f"a plain training step: {plain():.3f} ms of CPU\n")
    print(f"{'rule':<18} {'workers':>7} {'ms a batch':>10} {'batches/s':>9} {'bytes a worker':>14} {'formula':>8}")
    size = sum(p.numel() for p in Wide().model({}).parameters())
    for rule in filter(None, split(given.rule, ",")):
        for workers in (int(w) for w in given.workers.split(",")):
            command = [sys.executable, __file__, "--one", f"{rule}:{workers}", "--batches", str(given.batches)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            held = f"{found['bytes']:,.0f}" if workers > 100 else ""
            vectors = VECTORS.get(parse_rule(rule).name)
            formula = f"{4 * size * vectors:,}" if vectors and held else ""
            print(
                f"{rule:<18} {workers:>7,} {found['ms']:>10.3f} {1e3 / found['ms']:>9,.0f} {held:>14} {formula:>8}",
                flush=True,
            )


if __name__ == "__main__":
    main()
