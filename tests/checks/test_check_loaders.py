"""`loader`: workers that repeat random numbers (bug 35), labels that come sorted (bug 36)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from bugs.around import Noisy, labelled
from task_zoo import only
from whet.checks import loader
from whet.checks.loaders import first_batch, runs
from whet.errors import UsageError
from whet.finding import Severity


def again(worker: int) -> None:
    """Give the generator of a worker's copy of the dataset a seed of its own."""
    info = torch.utils.data.get_worker_info()
    assert info is not None
    info.dataset.own = np.random.default_rng(torch.initial_seed())  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["own", "coin"])
def test_a_generator_stored_in_the_dataset_is_copied_to_every_worker(way: str) -> None:
    found = only(loader(DataLoader(Noisy(way), batch_size=16, shuffle=True, num_workers=2)))
    assert (found.code, found.severity) == ("RNG", Severity.FAIL)
    assert found.evidence["workers_alike"] is True
    assert found.evidence["epochs_alike"] is True
    assert found.evidence["unique"] <= found.evidence["n"] / 4
    assert "its workers and its epochs repeat" in found.message
    assert "around.py:" in found.where


def test_one_worker_repeats_its_epochs_only() -> None:
    found = only(loader(DataLoader(Noisy("own"), batch_size=16, shuffle=True, num_workers=1)))
    assert (found.evidence["workers_alike"], found.evidence["epochs_alike"]) == (False, True)


@pytest.mark.parametrize(("way", "init"), [("numpy", None), ("own", again), ("fixed", None)])
def test_healthy_workers(way: str, init: Any) -> None:
    health = loader(DataLoader(Noisy(way), batch_size=16, shuffle=True, num_workers=2, worker_init_fn=init))
    assert health.findings == ()
    assert health.facts["RNG"]["workers"] == 2
    assert (health.facts["RNG"]["unique"] > 1) is (way != "fixed")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("way", ["own", "coin", "numpy", "torch", "fixed"])
def test_without_workers_all_are_healthy(way: str, seed: int) -> None:
    assert loader(DataLoader(Noisy(way), batch_size=16, shuffle=True), seed=seed).findings == ()


# -- order


SORTED = [
    torch.arange(600) // 60,
    torch.arange(600) // 300,
    torch.arange(600) // 20 % 10,  # blocks
    (torch.arange(600) < 30).long(),
    torch.arange(600).float(),
    torch.cat([torch.zeros(40), torch.randint(0, 4, (560,), generator=torch.Generator().manual_seed(0))]),
]


@pytest.mark.parametrize("y", SORTED)
def test_sorted_labels_that_are_not_shuffled(y: Tensor) -> None:
    found = only(loader(labelled(y)))
    assert (found.code, found.severity) == ("ORDER", Severity.WARN)
    assert found.evidence["z"] > 4 or found.evidence["p"] < 1e-4
    assert found.fix.startswith("DataLoader(..., shuffle=True)")


def test_a_first_batch_of_its_own_is_enough() -> None:
    rest = torch.randint(0, 10, (3000,), generator=torch.Generator().manual_seed(1))
    y = torch.cat([torch.arange(32) % 2, rest])  # in turn, so there are no runs
    found = only(loader(labelled(y)))
    assert found.evidence["z"] < 4
    assert "the first batch of 32 has other classes" in found.message


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("y", SORTED)
def test_shuffled_labels_are_healthy(y: Tensor, seed: int) -> None:
    assert loader(labelled(y, shuffle=True), seed=seed).findings == ()


@pytest.mark.parametrize("seed", range(5))
def test_a_weighted_sampler_is_healthy(seed: int) -> None:
    y = (torch.arange(600) < 30).long()
    weights = torch.where(y == 1, 20.0, 1.0)
    assert loader(labelled(y, sampler=WeightedRandomSampler(weights.tolist(), 600)), seed=seed).findings == ()


def test_the_z_is_that_of_random_orders() -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    found = np.array([runs(draw.permutation(labels)) for _ in range(4000)])
    assert found.mean() == pytest.approx(0, abs=4 / math.sqrt(4000))
    assert found.std() == pytest.approx(1, abs=0.05)


def test_the_p_value_is_no_smaller_than_it_says() -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3], [300, 150, 40, 10])  # rare classes, where the chi-square distribution is wrong
    p = np.array([first_batch(draw.permutation(labels), 32, seed=s, times=2000) for s in range(500)])
    for alpha in (0.5, 0.1, 0.02):
        assert (p < alpha).mean() <= alpha + 4 * math.sqrt(alpha / 500)


# -- what there is beside that


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter((torch.zeros(2), torch.tensor(i % 3)) for i in range(100))


class Raises(Dataset[Any]):
    def __len__(self) -> int:
        return 50

    def __getitem__(self, i: int) -> Any:
        raise KeyError("no such file")


def test_what_cannot_be_looked_at_says_why() -> None:
    streamed = loader(DataLoader(Stream(), batch_size=10))
    assert [(x.code, "iterable" in x.why) for x in streamed.not_run] == [("RNG", True)]
    health = loader(DataLoader(TensorDataset(torch.zeros(50, 3)), batch_size=10))
    assert [x.code for x in health.not_run] == ["ORDER"]
    broken = loader(DataLoader(Raises(), batch_size=10))
    assert {x.code for x in broken.not_run} == {"ORDER", "RNG"}
    assert "no such file" in broken.not_run[0].why
    with pytest.raises(UsageError, match="got list"):
        loader([1, 2])  # type: ignore[arg-type]


def test_the_generators_stay_as_they_were() -> None:
    own = torch.Generator().manual_seed(4)
    torch.manual_seed(2)
    before = torch.get_rng_state(), own.get_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    loader(DataLoader(Noisy("torch"), batch_size=16, shuffle=True, generator=own))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(own.get_state(), before[1])
    assert (np.random.get_state()[1] == before[2]).all()  # type: ignore[index]
