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

With `--net deep` (14 weight layers, momentum 0.9, 2,048 images) there are four trials each: three rates that are kept and one that falls for MA;
for EC two of these rates and that one, times how long it compresses. "members": MA's own before its last exchange, the mean of their errors:
where MA is above that, the mean of weights is worse than what it is the mean of.

`--settings "average: rate 0.02 kept, 64 epochs; ec: rate 0.02 kept, weight 1, 512 steps"` gives a rule its settings, with which it is not tuned, and epochs of its own;
a rule that is not named there is tuned. Steps are those of a compression.

"bound" counts EC's exchanges, at the end or once an epoch, after which the ensemble's loss was at most the members' mean, as it must be (test images).
Targets: EC below MA at the rare exchanges, every 16 epochs and more; the bound always.

The network and images are in `evidence/images.py`; it needs an IDX image set (`--data`, or WHET_DATA).
Run: python benchmarks/distributed/communication.py [--workers 4] [--every 1,4,16,32] [--skews 0,0.5,1] [--epochs 32] [--net small]
[--rules average,ec] [--images 512] [--settings WORDS] [--seeds 5] [--json FILE] [--kept FILE]
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import partial
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F

from evidence.commands import TUNING, finish, options
from evidence.figures import apart, interval, paired, table
from evidence.fixed import fixed
from evidence.images import Images, folder
from evidence.kept import Kept
from evidence.training import end, has, train
from evidence.tuning import Tuned, tuned
from whet.distributed.flat import Flat
from whet.distributed.simulate import Simulation
from whet.train.predict import forward

BATCH, HELD_OUT = 32, 1000
IMAGES = {"small": 512, "deep": 2048}
RATES = (0.1, 0.2, 0.4, 0.8)
DEEP = ((0.01, False), (0.02, False), (0.05, False), (0.05, True))  # of averaging: the rate, and whether it falls
RARE = 16  # epochs between exchanges
NAMES = {
    "average": {"MA": "error", "members": "member_error"},
    "ec": {"EC-L": "error", "EC members": "member_error", "EC-G": "ensemble_error"},
}


DEEPER = {"net": "deep", "momentum": 0.9}


def deep_trials(rule: str, every: int) -> list[dict[str, Any]]:
    """Return four settings of "average" or "ec" for the deep network, with momentum 0.9.

    >>> [(t["lr"], t["rule"]) for t in deep_trials("ec", 8)][:2]
    [(0.02, 'ec(every=8,share=1,weight=1,compress=8)'), (0.05, 'ec(every=8,share=1,weight=1,compress=4)')]
    """
    if rule == "average":
        found = [(f"average(every={every})", lr, falls) for lr, falls in DEEP]
    else:
        ways = ((0.02, False, 1, every), (0.05, False, 1, every // 2), (0.05, False, 1, every), (0.05, True, 4, every))
        found = [(f"ec(every={every},share=1,weight={w},compress={c})", lr, falls) for lr, falls, w, c in ways]
    return [{**DEEPER, "rule": r, "lr": lr, "falls": falls} for r, lr, falls in found]


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


def given_setting(rule: str, every: int, given: Mapping[str, Any], net: str = "small") -> dict[str, Any]:
    """Return the setting of "average" or "ec" that was given in words (`fixed`), as trials have it.

    >>> given_setting("ec", 8, {"lr": 0.1, "falls": True, "weight": 4.0, "compress": 8})["rule"]
    'ec(every=8,share=1,weight=4,compress=8)'
    """
    own = {k: v for k, v in given.items() if k in ("lr", "falls", "epochs")} | (DEEPER if net == "deep" else {})
    more = f",share=1,weight={given['weight']:g},compress={given['compress']}" if rule == "ec" else ""
    return {**own, "rule": f"{rule}(every={every}{more})"}


class Look:
    """Adds to rows what the members and their ensemble are worth: at the last epoch and, under EC and when reported, after an exchange.

    Members of averaging are the workers' models before its last exchange.
    """

    def __init__(self) -> None:
        self.version = -1  # of the weights, when it last looked

    def __call__(self, simulation: Simulation, row: dict[str, Any]) -> None:
        """Look at the members where they are new, or this is the end."""
        server, run = simulation.server, simulation.run
        last, new = row["epoch"] == run.steps, server.held.version != self.version
        if last or (server.models and new and run.params["report"]):
            self.version = server.held.version
            row |= members(simulation)


def members(simulation: Simulation) -> dict[str, float]:
    """Return the loss and the error in % of the ensemble of the last exchange, and the means of its members'.

    After the last exchange of averaging nobody has pulled its mean: workers still have what they sent.
    """
    server, run = simulation.server, simulation.run
    found = {}
    flat = Flat(copy.deepcopy(run.model))  # of its own: the run's parameters are the server's
    said, truth = [], run.valid.targets
    for weights in [m for _, m in server.models] or [w.weights for _, w in sorted(simulation.workers.items())]:
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
    parser.add_argument("--net", choices=("small", "deep"), default="small", help="deep: 14 weight layers, momentum")
    parser.add_argument("--rules", default="average,ec", help="average, ec, or both")
    parser.add_argument("--images", type=int, help="trained on, by all workers (small: 512, deep: 2048)")
    parser.add_argument(
        "--settings", default="", help="rules' settings in words, with which they are not tuned (above)"
    )
    given = parser.parse_args()
    words = fixed(given.settings)
    place = folder(given.data, "communication")
    task = Images(place, 256, 256) if given.quick else Images(place, given.images or IMAGES[given.net], HELD_OUT)
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
            for rule in given.rules.split(","):
                common = {
                    "workers": k, "epochs": epochs, "batch": BATCH, "shuffle": "local", "skew": skew, "images": task.sizes[0],
                }  # fmt: skip
                where, names = f"{rule} {period} {skew:g}", NAMES[rule]
                if rule in words:
                    own = given_setting(rule, period * batches, words[rule], given.net)
                    best = Tuned({**common, **own}, math.nan, ())
                else:
                    made = (deep_trials if given.net == "deep" else trials)(rule, period * batches)
                    tried = [{**common, **t} for t in made]
                    best = tuned(kept, tried[1:2] if given.quick else tried, TUNING[:1], f"tune {where}")
                asked = [{**best.setting, "seed": s, "report": True} for s in seeds]
                results = kept.all(asked, where, partial(has, of=tuple(names.values())))
                seconds = interval([r["curve"][-1]["seconds"] for r in results]).mean
                for name, what in names.items():
                    ends[name] = [end(r, what) for r in results]
                    kind = best.setting["rule"].partition("weight=")[2].rstrip(")").replace("compress=", " ")
                    rate = f"{best.setting['lr']:g}" + ("" if best.setting["falls"] else ", kept")
                    rate += "" if best.setting["epochs"] == epochs else f", {best.setting['epochs']} epochs"
                    rows.append([
                        f"{skew:g}", period, name, rate, kind, interval(ends[name]),
                        paired(ends[name], ends["MA"]) if name != "MA" and "MA" in ends else "", f"{seconds:.0f}",
                    ])  # fmt: skip
                found.append({
                    "skew": skew, "every": period, "rule": rule, "setting": best.setting, "trials": best.errors,
                    "test": {n: ends[n] for n in names}, "bound": bound(results) if rule == "ec" else (0, 0), "seconds": seconds,
                })  # fmt: skip
            if {"MA", "EC-L"} <= ends.keys() and (period >= RARE or period == max(periods)):
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
