"""Bugs in what stands around a model: data loaders, evaluations, functions made fast."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bugs.case import Bug, Program

__all__ = [
    "BUGS", "MODEL", "Noisy", "batches", "distances", "drops_the_last", "hits", "labelled", "last_batch_only", "mean_of_f1",
    "mean_of_losses", "mean_of_means", "root_of_means", "running_mean", "slow_distances", "slow_running_mean", "vectors",
]  # fmt: skip


class Noisy(Dataset[Any]):
    """Adds noise of one of several generators to its examples."""

    def __init__(self, way: str, n: int = 120) -> None:
        self.way, self.n = way, n
        self.own = np.random.default_rng(0)
        self.labels = torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        x = torch.full((4,), float(i))
        if self.way == "own":
            x = x + torch.from_numpy(self.own.normal(size=4)).float()
        elif self.way == "fixed":
            x = x + torch.from_numpy(np.random.default_rng(i).normal(size=4)).float()
        elif self.way == "coin":
            x = -x if self.own.random() < 0.5 else x
        elif self.way == "numpy":
            x = x + torch.from_numpy(np.random.normal(size=4)).float()
        elif self.way == "torch":
            x = x + torch.randn(4)
        return x, self.labels[i]


def labelled(y: Tensor, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.zeros(len(y), 1), y), batch_size=32, **options)


with torch.random.fork_rng():  # the same whoever draws before
    torch.manual_seed(0)
    MODEL = nn.Linear(8, 1).requires_grad_(False)


def batches(seed: int, sizes: tuple[int, ...] = (32, 32, 5)) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    made = [torch.randn(n, 8, generator=draw) for n in sizes]
    return [(x, (x[:, 0] + torch.randn(len(x), generator=draw) > 0).float()) for x in made]


def hits(x: Tensor, y: Tensor) -> Tensor:
    return ((MODEL(x).squeeze(1) > 0) == (y > 0)).float()


def mean_of_means(loader: Iterable[Any]) -> float:
    found = [float(hits(x, y).mean()) for x, y in loader]
    return sum(found) / len(found)


def mean_of_losses(loader: Iterable[Any]) -> float:
    found = [float(nn.functional.binary_cross_entropy_with_logits(MODEL(x).squeeze(1), y)) for x, y in loader]
    return sum(found) / len(found)


def last_batch_only(loader: Iterable[Any]) -> float:
    value = 0.0
    for x, y in loader:
        value = float(hits(x, y).mean())
    return value


def root_of_means(loader: Iterable[Any]) -> float:
    total = count = 0.0
    for x, y in loader:
        total += float((MODEL(x).squeeze(1) - y).square().mean().sqrt()) * len(y)
        count += len(y)
    return total / count


def mean_of_f1(loader: Iterable[Any]) -> float:
    found = [f1_score(y.numpy(), (MODEL(x).squeeze(1) > 0).numpy(), zero_division=0.0) for x, y in loader]
    return sum(found) / len(found)


def drops_the_last(loader: Iterable[Any]) -> float:
    kept = [hits(x, y) for x, y in loader if len(y) > 1]
    return float(torch.cat(kept).mean())


def vectors(n: int, dtype: torch.dtype, generator: torch.Generator) -> tuple[Any, ...]:
    return (torch.randn(n, 3, generator=generator, dtype=dtype), torch.randn(n, 3, generator=generator, dtype=dtype))


def slow_distances(x: Tensor, y: Tensor) -> Tensor:
    rows = [torch.stack([((a - b) ** 2).sum() for b in y]) for a in x]
    return torch.stack(rows) if rows else x.new_zeros(0, 0)


def distances(x: Tensor, y: Tensor) -> Tensor:
    return ((x[:, None] - y[None]) ** 2).sum(2)


def slow_running_mean(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([x[: i + 1].mean(0) for i in range(len(x))]) if len(x) else x.clone()


def running_mean(x: Tensor, y: Tensor) -> Tensor:
    return x.cumsum(0) / torch.arange(1, len(x) + 1, dtype=x.dtype)[:, None]


def loaded(way: str, workers: int) -> Program:
    return {"dataloader": DataLoader(Noisy(way), batch_size=16, shuffle=True, num_workers=workers)}


def sorted_labels(y: Tensor) -> Program:
    return {"dataloader": labelled(y)}


def evaluated(evaluate: Any) -> Program:
    return {"evaluate": evaluate, "batches": batches(0)}


def beside(vectorised: Any, loop: Any) -> Program:
    return {"vectorised": vectorised, "loop": loop, "make_inputs": vectors}


def transposed(x: Tensor, y: Tensor) -> Tensor:
    return distances(y, x)


def one_divisor(x: Tensor, y: Tensor) -> Tensor:
    return x.cumsum(0) / len(x)


def in_double(x: Tensor, y: Tensor) -> Tensor:
    return distances(x, y).double()


BUGS = [
    Bug("data loader", "a generator stored in the data set, two workers", "RNG", "FAIL", "its workers and its epochs repeat", partial(loaded, "own", 2), 35, "loader"),
    Bug("data loader", "flips by such a generator", "RNG", "FAIL", "its workers and its epochs repeat", partial(loaded, "coin", 2), 35, "loader"),
    Bug("data loader", "such a generator, one worker", "RNG", "FAIL", "its epochs repeat", partial(loaded, "own", 1), 35, "loader"),
    Bug("data loader", "sorted labels, not shuffled", "ORDER", "WARN", "", partial(sorted_labels, torch.arange(600) // 60), 36, "loader"),
    Bug("data loader", "sorted values, not shuffled", "ORDER", "WARN", "", partial(sorted_labels, torch.arange(600).float()), 36, "loader"),
    Bug("evaluation", "mean of the batches' accuracies", "MET", "FAIL", "mean of the batches' means", partial(evaluated, mean_of_means), 45, "metric"),
    Bug("evaluation", "mean of the batches' losses", "MET", "FAIL", "mean of the batches' means", partial(evaluated, mean_of_losses), 45, "metric"),
    Bug("evaluation", "mean of the batches' F1 scores", "MET", "FAIL", "mean of the batches' means", partial(evaluated, mean_of_f1), 45, "metric"),
    Bug("evaluation", "the last batch alone", "MET", "FAIL", "", partial(evaluated, last_batch_only), None, "metric"),
    Bug("evaluation", "mean of roots in place of the root of the mean", "MET", "FAIL", "", partial(evaluated, root_of_means), None, "metric"),
    Bug("evaluation", "batches of one example are left out", "MET", "FAIL", "", partial(evaluated, drops_the_last), None, "metric"),
    Bug("fast function", "arguments exchanged", "SAME", "FAIL", "[0, 1] is", partial(beside, transposed, slow_distances), None, "same"),
    Bug("fast function", "one divisor for every step", "SAME", "FAIL", "[0, 0] is", partial(beside, one_divisor, slow_running_mean), None, "same"),
    Bug("fast function", "another precision", "SAME", "FAIL", "float64 in place of float32", partial(beside, in_double, slow_distances), None, "same"),
]  # fmt: skip
