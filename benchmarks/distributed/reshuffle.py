"""Does it matter that workers reshuffle only their own shard? Global, local and no reshuffling, K = 4 ... 64, like and unlike shards.

Synchronous SGD in batches of `--batch` over all workers together, so a worker's part of it is batch / K, and K changes nothing but who
holds what. Under global reshuffling the same batches follow for every K, up to the order of additions: it is trained once, with K = 4.
Shards are drawn at random, or all images are dealt sorted by class. `average` is the same with K workers that
take an epoch's steps of their own between two exchanges, on batches of batch / K.

Known upper bounds (Meng et al. 2017, arXiv:1709.10432) promise that S epochs of local reshuffling are harmless while S << n / K^2, of global
while S << n; n / K^2 is in the table. The crossover would show as an excess over global that is nil for small K and grows where S
passes n / K^2. One hidden layer of 64, n images, rate constant, tuned with four trials for each rule and K under global reshuffling, on a
seed and images that are not reported. "global" is its test error in %, "excess" the difference to it, "of loss" that of the last epoch's mean training loss. In brackets: half of the 95 % interval, Student's t over seeds, of the
differences between runs of the same seed.

Needs an IDX image set (`--data`, or WHET_DATA).
Run: python benchmarks/distributed/reshuffle.py [--workers 4,8,16,32,64] [--how local,once] [--images 1024] [--epochs 8] [--seeds 5] [--rules sync,average]
[--json FILE] [--kept FILE]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from evidence.commands import TUNING, finish, options
from evidence.figures import Interval, interval, paired, table
from evidence.images import Images, folder
from evidence.kept import Kept
from evidence.training import end, train
from evidence.tuning import tuned
from whet.tune.space import Params

RATES = {"sync": (0.05, 0.1, 0.2, 0.4), "average": (0.0125, 0.025, 0.05, 0.1)}
SKEWS = (0.0, 1.0)  # of the shards: at random, sorted


class Layered(Images):
    """The images with a network of one hidden layer, and a constant rate."""

    def __init__(self, place: Path, train: int, held_out: int) -> None:
        super().__init__(place, train, held_out)

    def model(self, params: Params) -> nn.Module:
        """Return a fresh network."""
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))

    def rate(self, params: Params) -> None:
        """Return no schedule: the rate is constant."""
        return


def harm(excess: Interval) -> str:
    """Return what an interval of the excess over global says.

    >>> harm(Interval(0.5, 0.2, 5)), harm(Interval(0.1, 0.2, 5)), harm(Interval(-0.5, 0.2, 5))
    ('worse', 'same', 'better')
    """
    return "worse" if excess.low > 0 else "better" if excess.high < 0 else "same"


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--workers", default="4,8,16,32,64")
    parser.add_argument("--how", default="local,once")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=128, help="of all workers together")
    parser.add_argument("--rules", default="sync,average")
    given = parser.parse_args()
    place = folder(given.data, "reshuffle")
    n, workers, epochs = given.images, [int(w) for w in given.workers.split(",")], given.epochs
    if given.quick:
        n, workers, epochs = 128, [4], 2
    task = Layered(place, n, 256 if given.quick else 5000)
    kept = Kept(given.kept, lambda s: train(task, s))
    seeds = range(min(2, given.seeds) if given.quick else given.seeds)
    print(f"{place.name}, n = {n} images, S = {epochs} epochs, batches of {given.batch}, {len(seeds)} seeds\n")
    rows, found = [], []
    for rule in given.rules.split(","):
        chosen: dict[str, Any] = {}
        whole: list[dict[str, Any]] = []
        for k in workers:
            batch = max(1, given.batch // k)
            name = rule if rule == "sync" else f"average(every={max(1, n // k // batch)})"
            common = {"rule": name, "workers": k, "batch": batch, "epochs": epochs}
            if not whole or rule != "sync":
                tried = [{**common, "lr": lr} for lr in (RATES[rule][1:2] if given.quick else RATES[rule])]
                chosen = tuned(kept, tried, TUNING[:1], f"tune {rule} {k}").setting
                whole = kept.all([{**chosen, "seed": s, "report": True} for s in seeds], f"{rule} global {k}")
            for how, skew in ((h, s) for s in SKEWS for h in given.how.split(",")):
                settings = [
                    {**common, "lr": chosen["lr"], "shuffle": how, "skew": skew, "seed": s, "report": True}
                    for s in seeds
                ]
                results = kept.all(settings, f"{rule} {how} {skew:g} {k}")
                error, loss = (
                    paired([end(r, of) for r in results], [end(r, of) for r in whole]) for of in ("error", "train_loss")
                )
                rows.append([
                    rule, k, f"{n / k**2:.3g}", "sorted" if skew else "random", how, interval([end(r) for r in whole]), error,
                    f"{loss.mean:+.3f} ({loss.half:.3f})", harm(error),
                ])  # fmt: skip
                found.append({
                    "rule": rule, "workers": k, "how": how, "skew": skew, "lr": chosen["lr"],
                    "test": [end(r) for r in results], "global": [end(r) for r in whole],
                    "train_loss": [end(r, "train_loss") for r in results],
                })  # fmt: skip
    head = ["rule", "K", "n/K^2", "shards", "shuffle", "global", "excess", "of loss", ""]
    print(table(head, rows))
    finish(given.json, {"data": place.name, "n": n, "epochs": epochs, "found": found})


if __name__ == "__main__":
    main()
