"""What is learned: a small residual network, on a part of an image set in IDX files, with its validation and test parts apart."""

from __future__ import annotations

import itertools
import os
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whet.data.idx import read_idx
from whet.data.split import Data, Split
from whet.seed import key
from whet.task import Task
from whet.train.rate import Constant, Rate
from whet.tune.space import Params

__all__ = ["Deep", "Images", "Residual", "falling", "folder"]

TRAIN, HELD_OUT = 4000, 5000


def folder(given: Path | None, program: str) -> Path:
    """Return the folder with the four IDX files under `given`, WHET_DATA or ../shared/data.

    Where they are not, the program says so and ends, with an error when the folder was named.
    """
    named = given or os.environ.get("WHET_DATA")
    root = Path(named or "../shared/data")
    for place in (root, root / "vision" / "fashion_mnist"):
        if list(place.glob("train-images*")):
            return place
    said = (
        f"{program}: no IDX files (train-images-idx3-ubyte.gz and three more) in {root} or {root}/vision/fashion_mnist. "
        "Give --data FOLDER, or set WHET_DATA."
    )
    if named:
        raise SystemExit(said)
    print(said)
    raise SystemExit(0)


class Images(Task):
    """An IDX image set: 4,000 of its training images, and 5,000 others of them to tune on or 5,000 test images to report.

    Params: "report": whether the second split is of test images (else of held-out training images); "lr"; "batch";
    "epochs", at half and at 80 % of which the rate falls to a tenth, unless "falls" is False; "warmup": epochs of a linear rise (0);
    "momentum" (0); "net": "deep" for `Deep`, else `Residual`; "width" (8). The images are the same for all seeds.
    """

    goal = "min loss"
    metrics = ("loss", "accuracy")

    def __init__(self, place: Path, train: int = TRAIN, held_out: int = HELD_OUT) -> None:
        self.place, self.sizes = place, (train, held_out)

    def data(self, params: Params) -> Data:
        """Return the two splits, pixels standardised by the training set's mean and spread."""
        return _data(self.place, *self.sizes, bool(params["report"]))

    def model(self, params: Params) -> nn.Module:
        """Return a fresh network."""
        return (Deep if params.get("net") == "deep" else Residual)(int(params.get("width", 8)))

    def optimizer(self, params: Params, model: nn.Module) -> torch.optim.Optimizer:
        """Return SGD, with momentum when the params say so."""
        return torch.optim.SGD(
            model.parameters(), lr=float(params["lr"]), momentum=float(params.get("momentum", 0.0)), fused=True
        )

    def rate(self, params: Params) -> Rate:
        """Return the schedule."""
        if not params.get("falls", True):
            return Constant(float(params.get("warmup", 0.0)))
        return falling(float(params["epochs"]), float(params.get("warmup", 0.0)))


def falling(epochs: float, warmup: float = 0.0) -> Rate:
    """Return the factor on the rate: 1, from half of `epochs` on 0.1, from 80 % on 0.01; after a linear rise over `warmup` epochs.

    >>> [falling(10)(e) for e in (0, 5, 8)], round(falling(10, 2)(1), 2)
    ([1.0, 0.1, 0.01], 0.5)
    """

    def factor(done: float) -> float:
        rise = min(1.0, (done + 1e-3) / warmup) if warmup else 1.0
        return rise * (0.01 if done >= 0.8 * epochs else 0.1 if done >= 0.5 * epochs else 1.0)

    return factor


@cache
def _data(place: Path, train: int, held_out: int, report: bool) -> Data:
    def read(split: str) -> Split:
        images, labels = (next(iter(sorted(place.glob(f"{split}-{what}*")))) for what in ("images", "labels"))
        return Split(torch.from_numpy(read_idx(images))[:, None], torch.from_numpy(read_idx(labels)).long())

    whole = read("train")
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(key("images")))
    first = whole.take(order[:train])
    second = read("t10k").take(torch.arange(held_out)) if report else whole.take(order[train : train + held_out])
    mean, spread = first.inputs.float().mean(), first.inputs.float().std()
    scaled = [Split((s.inputs.float() - mean) / spread, s.targets, s.ids) for s in (first, second)]
    return Data(*scaled, classes=tuple(str(c) for c in range(int(whole.targets.max()) + 1)), source=place.name)


class Block(nn.Module):
    """Two 3x3 convolutions, the second of which begins at zero, beside a shortcut without weights."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1)
        self.second = nn.Conv2d(after, after, 3, 1, 1)
        nn.init.zeros_(self.second.weight)
        self.stride, self.grows = stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, before, h, w) -> (n, after, h / stride, w / stride)."""
        short = x[:, :, :: self.stride, :: self.stride] if self.stride > 1 else x
        if self.grows:
            short = F.pad(short, (0, 0, 0, 0, 0, self.grows))
        return F.relu(short + self.second(F.relu(self.first(x))))


class Residual(nn.Module):
    """A residual network of six weight layers for images of 28x28, without batch normalisation: nothing but weights to merge.

    A 5x5 stem of stride 4, two blocks of `width` channels at 7x7 and 2 * width at 4x4, a linear layer. Shortcuts are strided and
    padded with zeros, as in the CIFAR networks of He et al. 2016.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 5, 4, 1)
        self.blocks = nn.Sequential(Block(width, width, 1), Block(width, 2 * width, 2))
        self.head = nn.Linear(2 * width * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, 1, 28, 28) -> (n, 10)."""
        return self.head(self.blocks(F.relu(self.stem(x))).flatten(1))


class Deep(nn.Module):
    """A residual network of 14 weight layers for images of 28x28, without batch normalisation: deep enough that members part.

    A 3x3 stem of stride 2, two blocks (or `blocks`) each of `width` channels at 14x14, 2 * width at 7x7 and 4 * width at 4x4, the mean
    over positions, a linear layer.
    """

    def __init__(self, width: int = 8, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, 2, 1)
        wide = [width, *(w for w in (width, 2 * width, 4 * width) for _ in range(blocks))]
        self.blocks = nn.Sequential(*(Block(a, b, b // a) for a, b in itertools.pairwise(wide)))
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, 1, 28, 28) -> (n, 10)."""
        return self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))
