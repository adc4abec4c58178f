"""Where the mean of weights is worse than what it is the mean of: members that train apart from the same weights, by network and rate.

K members have a shard each (of random images, or `--skew`) and train with momentum 0.9 at a rate that is kept; they meet never. After some of the epochs their error is
taken (the mean over them), and that of the mean of their weights, on held-out training images. What `average(every=...)` saves after one
exchange at that epoch is such a mean. No rule is compared and nothing tuned here: it is how the network of `communication.py --net deep` was found.

Networks, all of width 8 and without batch normalisation but for the last: plain (convolutions one after the other), deep (the residual one of
`communication.py --net deep`), deeper (the same with twice the blocks), normed (deep with batch normalisation after each convolution).
Where a network has batch normalisation the mean has a row for the mean of the members' statistics, as `average` saves them, and one for statistics taken anew
for it, by a pass over all training images. Cells: error in % of the members / of the mean, means over seeds; the ensemble's is in --json.

It needs an IDX image set (`--data`, or WHET_DATA).
Run: python benchmarks/distributed/parting.py [--nets plain,deep,deeper,normed] [--rates 0.01,0.02,0.05] [--looks 8,16,32] [--images 2048]
[--workers 4] [--skew 0] [--seeds 1] [--json FILE] [--kept FILE]
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from evidence.commands import TUNING, finish, options
from evidence.figures import table
from evidence.images import Deep, Images, folder
from evidence.kept import Kept
from evidence.training import shards

BATCH, MOMENTUM, HELD_OUT = 32, 0.9, 1000
ANEW = 128  # images at a time, when statistics are taken anew


class Plain(nn.Module):
    """Six 3x3 convolutions, two each of `width`, 2 * width and 4 * width channels, the first of each of stride 2; the mean over positions; linear."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        wide = (1, width, width, 2 * width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(wide):
            one = nn.Conv2d(before, after, 3, 1 if before == after else 2, 1)
            nn.init.kaiming_normal_(one.weight, nonlinearity="relu")
            nn.init.zeros_(one.bias)
            layers += [one, nn.ReLU()]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, 1, 28, 28) -> (n, 10)."""
        return self.head(self.body(x).mean((2, 3)))


class NormedBlock(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation, beside a shortcut without weights."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after))
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        self.stride, self.grows = stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, before, h, w) -> (n, after, h / stride, w / stride)."""
        short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.grows))
        return F.relu(short + self.second(F.relu(self.first(x))))


class Normed(nn.Module):
    """`Deep` with batch normalisation after each convolution."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width))
        wide = (width, width, width, 2 * width, 2 * width, 4 * width, 4 * width)
        self.blocks = nn.Sequential(*(NormedBlock(a, b, b // a) for a, b in itertools.pairwise(wide)))
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, 1, 28, 28) -> (n, 10)."""
        return self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))


NETS: dict[str, Callable[[], nn.Module]] = {
    "plain": Plain, "deep": Deep, "deeper": partial(Deep, blocks=4), "normed": Normed,
}  # fmt: skip


def layers(net: str) -> int:
    """Return how many layers with weights a network has, without batch normalisation.

    >>> {net: layers(net) for net in NETS}
    {'plain': 7, 'deep': 14, 'deeper': 26, 'normed': 14}
    """
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for m in NETS[net]().modules())


def merged(members: Sequence[nn.Module]) -> nn.Module:
    """Return a network with the mean of the members' weights and of their statistics."""
    found = copy.deepcopy(members[0])
    states = [m.state_dict() for m in members]
    with torch.no_grad():
        for name, value in found.state_dict().items():
            if value.is_floating_point():  # not how many batches were seen
                value.copy_(sum(s[name] for s in states) / len(states))
    return found


def said(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return a network's probabilities (n, 10) in eval mode, and leave it in train mode."""
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(part) for part in inputs.split(250)])
    model.train()
    return out.softmax(1)


def error(probabilities: Tensor, targets: Tensor) -> float:
    """Return how many of (n, 10) probabilities are highest at another class than the target, in %.

    >>> error(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 0]))
    50.0
    """
    return 100 * float((probabilities.argmax(1) != targets).double().mean())


def part(task: Images, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Train members apart; return at each epoch of "looks" the errors in % of "members", "mean", the mean with statistics "anew", and "ensemble"."""
    data, seed, rows = task.data({"report": False}), int(setting["seed"]), []
    inputs, targets = data.train.inputs, data.train.targets
    torch.manual_seed(seed)
    first = NETS[setting["net"]]()
    own = shards(targets, int(setting["workers"]), seed, float(setting["skew"]))
    members = [copy.deepcopy(first) for _ in own]
    optims = [torch.optim.SGD(m.parameters(), lr=float(setting["lr"]), momentum=MOMENTUM) for m in members]
    order = torch.Generator().manual_seed(seed)
    for epoch in range(1, max(setting["looks"]) + 1):
        total = torch.zeros(())
        for model, optim, shard in zip(members, optims, own, strict=True):
            for batch in shard[torch.randperm(len(shard), generator=order)].split(BATCH):
                loss = F.cross_entropy(model(inputs[batch]), targets[batch])
                optim.zero_grad()
                loss.backward()
                optim.step()
                total += loss.detach()
        if not math.isfinite(float(total)):
            return {"curve": rows, "diverged": True}
        if epoch in setting["looks"]:
            each, mean = [said(m, data.valid.inputs) for m in members], merged(members)
            row = {"epoch": epoch, "members": fmean(error(p, data.valid.targets) for p in each)}
            row["ensemble"] = error(torch.stack(each).mean(0), data.valid.targets)
            row["mean"] = error(said(mean, data.valid.inputs), data.valid.targets)
            update_bn(inputs.split(ANEW), mean)
            row["anew"] = error(said(mean, data.valid.inputs), data.valid.targets)
            rows.append(row)
    return {"curve": rows, "diverged": False}


def at(results: Sequence[Mapping[str, Any]], epoch: int, of: str) -> list[float]:
    """Return what each training had at an epoch; those that had diverged are left out."""
    return [row[of] for r in results for row in r["curve"] if row["epoch"] == epoch]


def cell(results: Sequence[Mapping[str, Any]], epoch: int, of: str) -> str:
    """Return the members' mean error and that of the mean, as text.

    >>> lost = {"curve": [], "diverged": True}
    >>> cell([{"curve": [{"epoch": 8, "members": 26.31, "mean": 29.4}]}, lost], 8, "mean"), cell([lost], 8, "mean")
    ('26.3 / 29.4, 1 div.', '1 div.')
    """
    found = [at(results, epoch, what) for what in ("members", of)]
    lost = len(results) - len(found[0])
    both = [" / ".join(f"{fmean(x):.1f}" for x in found)] if found[0] else []
    return ", ".join(both + ([f"{lost} div."] if lost else []))


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, seeds=1, first=TUNING[0])
    parser.add_argument("--nets", default=",".join(NETS), help=f"some of {', '.join(NETS)}")
    parser.add_argument("--rates", default="0.01,0.02,0.05")
    parser.add_argument(
        "--looks", default="8,16,32", help="epochs after which it is looked; with the last the training ends"
    )
    parser.add_argument("--images", type=int, default=2048, help="trained on, by all members")
    parser.add_argument("--workers", type=int, default=4, help="how many members")
    parser.add_argument("--skew", type=float, default=0.0, help="the part of the images that is dealt sorted by class")
    given = parser.parse_args()
    nets, rates, looks = given.nets.split(","), given.rates.split(","), sorted({int(e) for e in given.looks.split(",")})
    unknown = [n for n in nets if n not in NETS]
    if unknown:
        parser.error(f"--nets: got {unknown[0]!r}, allowed are {', '.join(NETS)}")
    if looks[0] < 1:
        parser.error(f"--looks: got {looks[0]}, allowed are epochs from 1 on")
    place = folder(given.data, "parting")
    task = Images(place, 256, 256) if given.quick else Images(place, given.images, HELD_OUT)
    kept = Kept(given.kept, lambda s: part(task, s))
    if given.quick:
        rates, looks = rates[:1], [1, 2]
    seeds = range(TUNING[0], TUNING[0] + given.seeds)
    print(
        f"{place.name}, {task.sizes[0]} images, {given.workers} members, {len(seeds)} seeds; members / mean, error in %\n"
    )
    rows, found, lines = [], [], []
    for net in nets:
        worse = []
        for rate in rates:
            common = {
                "net": net, "lr": float(rate), "looks": looks, "workers": given.workers, "skew": given.skew, "images": task.sizes,
            }  # fmt: skip
            results = kept.all([{**common, "seed": s} for s in seeds], f"{net} {rate}")
            ways = {"mean": "of members", "anew": "anew"} if net == "normed" else {"mean": ""}
            for way, words in ways.items():
                rows.append([net, layers(net), words, f"{float(rate):g}", *(cell(results, e, way) for e in looks)])
            last = [at(results, looks[-1], what) for what in ("members", "mean")]
            worse += [f"{float(rate):g}"] if last[0] and fmean(last[1]) > fmean(last[0]) else []
            found.append({**common, "results": results})
        lines.append(
            f"{net}: after {looks[-1]} epochs the mean is worse than the members at rate {', '.join(worse) or '-'}"
        )
    print(table(["network", "layers", "statistics", "rate", *(f"{e} epochs" for e in looks)], rows))
    print("\n" + "\n".join(lines))
    finish(given.json, {"data": place.name, "found": found})


if __name__ == "__main__":
    main()
