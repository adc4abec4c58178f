"""Averaging against ensemble-compression when workers talk rarely: every 1, 4, 16 or 32 of 32 epochs, on like and on unlike shards.

K workers have a shard each (local reshuffling) and take steps of their own between two exchanges. MA goes on from the mean of the
weights. EC exchanges the models, teaches their mean output to each of them, and goes on; after the last exchange too. EC-L is one of the
workers' models after that, the one with the lowest loss on the same training images for all (the rule's own choice), EC-G the ensemble of them
all, K times as big. Shards are drawn at random (skew 0), or a part `skew` of the images is dealt sorted by class (1: all of them).

Tuned for each rule, skew and period with eight trials, on a seed and images that are not reported. Half of the trials of each have the
rate fall to a tenth at half and at 80 % of the epochs, half keep it. MA: four rates. EC, judged by EC-L: two rates times two ways to compress:
as many steps as a stretch has at weight 1, or twice as many, at weight 4 where the rate falls (where it does not that is unstable) and 1 where
it does not. EC's compression is extra, with K forward passes over what is relabelled; "seconds" has it, in virtual seconds
(a step takes 1). In brackets: half of the 95 % interval, Student's t over seeds.

"bound" counts the exchanges, at the end or once an epoch, after which the ensemble's loss was at most the members' mean, as it must be (test images).
Targets: EC below MA at the rare exchanges, every 16 epochs and more; the bound always.

The network and images are in `evidence/images.py`; it needs an IDX image set (`--data`, or WHET_DATA).
Run: python benchmarks/distributed/communication.py [--workers 4] [--every 1,4,16,32] [--skews 0,0.5,1] [--epochs 32] [--images 512]
[--seeds 5] [--json FILE] [--kept FILE]
"""

from __future__ import annotations

import copy
import math
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F

from evidence.commands import TUNING, finish, options
from evidence.figures import apart, interval, paired, table
from evidence.images import Images, folder
from evidence.kept import Kept
from evidence.training import end, train
from evidence.tuning import tuned
from whet.distributed.flat import Flat
from whet.distributed.simulate import Simulation
from whet.train.predict import forward

BATCH, IMAGES, HELD_OUT = 32, 512, 1000
RATES = (0.1, 0.2, 0.4, 0.8)
RARE = 16  # epochs between exchanges


def trials(rule: str, every: int) -> list[dict[str, Any]]:
    """Return eight settings of "average" or "ec": the rule, the rate, and whether it falls.

    >>> trials("average", 8)[0]
    {'rule': 'average(every=8)', 'lr': 0.1, 'falls': True}
    >>> trials("ec", 8)[-1]
    {'rule': 'ec(every=8,share=1,weight=1,compress=16)', 'lr': 0.2, 'falls': False}
    """
    found = []
    for falls in (True, False):
        if rule == "average":
            found += [(f"average(every={every})", lr, falls) for lr in RATES]
        else:
            ways = ((1, every), (4 if falls else 1, 2 * every))
            made = [f"ec(every={every},share=1,weight={w},compress={c})" for w, c in ways]
            found += [(one, lr, falls) for one in made for lr in (RATES[1:3] if falls else RATES[:2])]
    return [{"rule": r, "lr": lr, "falls": falls} for r, lr, falls in found]


class Look:
    """Adds to rows of EC what the members and their ensemble are worth: at the last epoch and, when reported, after an exchange."""

    def __init__(self) -> None:
        self.version = -1  # of the weights, when it last looked

    def __call__(self, simulation: Simulation, row: dict[str, Any]) -> None:
        """Look at the members where they are new, or this is the end."""
        server, run = simulation.server, simulation.run
        last, new = row["epoch"] == run.steps, server.held.version != self.version
        if server.models and (last or (new and run.params["report"])):
            self.version = server.held.version
            row |= members(simulation)


def members(simulation: Simulation) -> dict[str, float]:
    """Return the loss and the error in % of the ensemble of the last exchange, and the means of its members'."""
    server, run = simulation.server, simulation.run
    found = {}
    flat = Flat(copy.deepcopy(run.model))  # of its own: the run's parameters are the server's
    said, truth = [], run.valid.targets
    for _, weights in server.models:
        flat.weights.copy_(weights)
        said.append(forward(flat.model, run.valid).double().log_softmax(1))
    together = torch.stack(said).logsumexp(0) - math.log(len(said))  # of the mean of probabilities
    for name, some in (("ensemble", [together]), ("member", said)):
        found[f"{name}_loss"] = fmean(float(F.nll_loss(one, truth)) for one in some)
        found[f"{name}_error"] = fmean(100 * float((one.argmax(1) != truth).double().mean()) for one in some)
    return found


def bound(results: list[dict[str, Any]]) -> tuple[int, int]:
    """Return how often the ensemble's loss was at most the members' mean, and how often it was looked at."""
    seen = [row for r in results for row in r["curve"] if "ensemble_loss" in row]
    return sum(row["ensemble_loss"] <= row["member_loss"] + 1e-6 for row in seen), len(seen)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--every", default="1,4,16,32", help="epochs between exchanges")
    parser.add_argument("--skews", default="0,0.5,1", help="parts of the images that are dealt sorted by class")
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--images", type=int, default=IMAGES, help="trained on, by all workers")
    given = parser.parse_args()
    place = folder(given.data, "communication")
    task = Images(place, 256, 256) if given.quick else Images(place, given.images, HELD_OUT)
    kept = Kept(given.kept, lambda s: train(task, s, Look()))
    k, epochs, periods = given.workers, given.epochs, [int(e) for e in given.every.split(",")]
    if given.quick:
        epochs, periods = 2, [1]
    seeds = range(min(2, given.seeds) if given.quick else given.seeds)
    batches = -(-task.sizes[0] // k // BATCH)  # of a shard, in an epoch
    print(f"{place.name}, {task.sizes[0]} images, {k} workers, {epochs} epochs, {len(seeds)} seeds\n")
    rows, found, lines = [], [], []
    for skew in (float(x) for x in given.skews.split(",")):
        for period in periods:
            ends: dict[str, list[float]] = {}
            for rule in ("average", "ec"):
                common = {
                    "workers": k, "epochs": epochs, "batch": BATCH, "shuffle": "local", "skew": skew, "images": task.sizes[0],
                }  # fmt: skip
                tried = [{**common, **t} for t in trials(rule, period * batches)]
                tried = tried[1:2] if given.quick else tried
                where = f"{rule} {period} {skew:g}"
                best = tuned(kept, tried, TUNING[:1], f"tune {where}")
                results = kept.all([{**best.setting, "seed": s, "report": True} for s in seeds], where)
                seconds = interval([r["curve"][-1]["seconds"] for r in results]).mean
                names = {"MA": "error"} if rule == "average" else {
                    "EC-L": "error", "EC members": "member_error", "EC-G": "ensemble_error"}  # fmt: skip
                for name, what in names.items():
                    ends[name] = [end(r, what) for r in results]
                    kind = best.setting["rule"].partition("weight=")[2].rstrip(")").replace("compress=", " ")
                    rate = f"{best.setting['lr']:g}" + ("" if best.setting["falls"] else ", kept")
                    rows.append([
                        f"{skew:g}", period, name, rate, kind, interval(ends[name]),
                        "" if name == "MA" else paired(ends[name], ends["MA"]), f"{seconds:.0f}",
                    ])  # fmt: skip
                found.append({
                    "skew": skew, "every": period, "rule": rule, "setting": best.setting, "trials": best.errors,
                    "test": {n: ends[n] for n in names}, "bound": bound(results), "seconds": seconds,
                })  # fmt: skip
            if period >= RARE or period == max(periods):
                ma = interval(ends["MA"])
                for name in ("EC-L", "EC-G"):
                    own = interval(ends[name])
                    state = "met" if own.mean < ma.mean else "missed"
                    clear = "apart" if apart(own, ma) else "overlapping"
                    lines.append(
                        f"skew {skew:g}, every {period} epochs: {name} {own} below MA {ma}: {state}, intervals {clear}"
                    )
    print(table(["skew", "every", "model", "rate", "weight, steps", "test error %", "- MA", "seconds"], rows))
    held, looked = (sum(f["bound"][i] for f in found) for i in (0, 1))
    print("\n" + "\n".join(lines))
    print(
        f"bound: ensemble loss <= mean member loss in {held} of {looked} looks: {'met' if held == looked else 'missed'}"
    )
    finish(given.json, {"data": place.name, "workers": k, "epochs": epochs, "found": found})


if __name__ == "__main__":
    main()
