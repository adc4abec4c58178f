"""RNG and ORDER for a DataLoader: workers that repeat each other's random numbers, and labels that come sorted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from whet.checks.augmentation import kinds
from whet.checks.runner import plain
from whet.checks.sandbox import randomness
from whet.checks.source import place
from whet.checks.subject import examples, rows, tensors
from whet.checks.trace import digest
from whet.errors import UsageError, one_line
from whet.finding import Finding, Health, NotRun, Severity
from whet.seed import rng

__all__ = ["first_batch", "loader", "runs"]

_CHANCE = 1e-6  # of draws being alike by chance, below which they count as repeated


def loader(dataloader: DataLoader[Any], *, seed: int = 0, most: int = 5000) -> Health:
    """Return whether a training DataLoader shuffles, and whether its workers draw random numbers of their own.

    RNG: one example is fetched over and over through a loader with the same dataset, workers and worker_init_fn. FAIL
    when examples differ within a worker, so there is chance, but two workers give the same sequence, or a second epoch
    gives that of the first: a generator that is stored in the dataset is copied to every worker, in every epoch. By
    chance this must be less likely than 1e-6. ORDER: WARN when the labels of up to `most` examples come in longer runs
    than shuffled ones would (z > 4), or the first batch has other shares of the classes than all (p < 1e-4); for a
    loader of training examples, and classes or a number as the last tensor of a batch.

    The dataset's workers are started some times; the global generators of this process and the loader's own stay as they
    were, but not what a dataset without workers draws from. Raises UsageError for what is no DataLoader.

    >>> from torch.utils.data import TensorDataset
    >>> data = TensorDataset(torch.arange(200.0)[:, None], torch.arange(200) // 20)
    >>> loader(DataLoader(data, batch_size=16, shuffle=True)).findings
    ()
    >>> [f.code for f in loader(DataLoader(data, batch_size=16)).findings]
    ['ORDER']
    """
    if not isinstance(dataloader, DataLoader):
        raise UsageError(f"loader: give a torch.utils.data.DataLoader, got {type(dataloader).__name__}.")
    findings: list[Finding] = []
    skipped: list[NotRun] = []
    facts: dict[str, Any] = {}
    samplers = (dataloader.sampler, getattr(dataloader.batch_sampler, "sampler", None))
    drawn = (dataloader.generator, *(getattr(s, "generator", None) for s in samplers))
    own = list({id(g): g for g in drawn if g is not None}.values())
    states = [g.get_state() for g in own]
    for look in (_order, _repeats):
        code = "ORDER" if look is _order else "RNG"
        try:
            with randomness(seed, "check", "loader", code):
                found = look(dataloader, most, seed)
        except Exception as error:  # a dataset may raise anything
            found = NotRun(code, one_line(f"{type(error).__name__}: {error}")[:300])
        finally:
            for generator, state in zip(own, states, strict=True):
                generator.set_state(state)
        if isinstance(found, NotRun):
            skipped.append(found)
            continue
        facts[code], finding = plain(found[0]), found[1]
        findings += [finding] if finding is not None else []
    return Health(tuple(findings), tuple(skipped), facts)


def _order(dataloader: DataLoader[Any], most: int, seed: int) -> tuple[dict[str, Any], Finding | None] | NotRun:
    """Judge the order of the labels of one epoch."""
    labels, first = [], 0
    for batch in dataloader:
        found = _labels(batch)
        if found is None:
            return NotRun("ORDER", "the batches do not end in one label an example")
        labels.append(found)
        first = first or len(found)
        if sum(map(len, labels)) >= most:
            break
    y = np.concatenate(labels) if labels else np.zeros(0)
    if y.dtype.kind == "f" and len(np.unique(y)) > 2:
        y = y > np.median(y)
    y = np.unique(y, return_inverse=True)[1]
    classes = int(y.max(initial=0)) + 1
    if len(y) < 20 or classes < 2 or len(y) <= first:
        return NotRun("ORDER", f"{len(y)} labels of {classes} kind(s) in one epoch are too few to have an order")
    z, p = runs(y), first_batch(y, first, seed=seed)
    numbers: dict[str, Any] = {"z": z, "z_threshold": 4.0, "p": p, "p_threshold": 1e-4, "n": len(y), "batch": first,
                               "classes": classes, "text": f"labels come in {'shuffled' if z <= 4 else 'sorted'} order (z {z:.1f})"}  # fmt: skip
    if z <= 4 and p >= 1e-4:
        return numbers, None
    said = (f"labels come in runs, as if sorted (runs test z {z:.1f} of {len(y)} labels, shuffled at most 4)" if z > 4 else
            f"the first batch of {first} has other classes than the rest (p {p:.1g})")  # fmt: skip
    least = min(statistics.NormalDist().cdf(-z), p)
    return numbers, Finding("ORDER", Severity.WARN, place(dataloader.dataset), {**numbers, "p": least}, said,
                            "DataLoader(..., shuffle=True) for training")  # fmt: skip


def _labels(batch: Any) -> np.ndarray | None:
    """Return the labels (n,) of a batch: the last of several tensors, or what a dict calls so."""
    if isinstance(batch, Mapping):
        found = next((batch[k] for k in ("labels", "label", "targets", "target", "y") if k in batch), None)
    else:
        found = batch[-1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else None
    if not isinstance(found, Tensor) or found.ndim == 0 or found.numel() != len(found) or found.is_complex():
        return None
    return found.detach().cpu().reshape(-1).numpy()


def runs(labels: np.ndarray) -> float:
    """Return by how many standard deviations labels (n,) change less often than shuffled ones (Barton & David 1957).

    >>> runs(np.repeat(np.arange(5), 20)) > 15, abs(runs(np.random.default_rng(0).permutation(100) % 5)) < 4
    (True, True)
    """
    n, counts = len(labels), np.unique(labels, return_counts=True)[1].astype(float)
    two, three = (counts**2).sum(), (counts**3).sum()
    expected = (n * (n + 1) - two) / n
    variance = (two * (two + n * (n + 1)) - 2 * n * three - n**3) / (n**2 * (n - 1))
    changes = 1 + int((labels[1:] != labels[:-1]).sum())
    return float((expected - changes) / math.sqrt(variance)) if variance > 0 else 0.0


def first_batch(labels: np.ndarray, size: int, *, seed: int = 0, times: int = 50_000) -> float:
    """Return the p-value that the first `size` labels have other shares than all: chi-square against random batches.

    By drawing `times` batches without replacement, since rare classes make the chi-square distribution itself wrong.

    >>> first_batch(np.repeat(np.arange(4), 25), 20) < 1e-4 < first_batch(np.arange(100) % 4, 20)
    True
    """
    counts = np.bincount(labels)
    counts, keep = counts[counts > 0], np.cumsum(counts > 0) - 1
    expected = size * counts / counts.sum()
    seen = np.bincount(keep[labels[:size]], minlength=len(counts))
    times = int(max(1000, min(times, 20_000_000 // len(counts))))
    drawn = rng(seed, "check", "ORDER").multivariate_hypergeometric(counts, size, size=times, method="marginals")
    distance = ((drawn - expected) ** 2 / expected).sum(1)
    return float((1 + (distance >= ((seen - expected) ** 2 / expected).sum() - 1e-9).sum()) / (1 + times))


def _repeats(dataloader: DataLoader[Any], most: int, seed: int) -> tuple[dict[str, Any], Finding | None] | NotRun:
    """Fetch one example many times, through the same workers, in two epochs."""
    dataset, workers = dataloader.dataset, dataloader.num_workers
    if isinstance(dataset, IterableDataset) or dataloader.batch_size is None:
        return NotRun("RNG", "an iterable dataset, or a loader without batches, gives no example twice at will")
    lanes, each, places = max(1, workers), 3, len(dataset)  # type: ignore[arg-type]
    if not places:
        return NotRun("RNG", "the dataset is empty")
    size = min(dataloader.batch_size, 16)
    numbers: dict[str, Any] = {}
    for index in {0: 0, places // 2: 0, places - 1: 0}:  # augmentation may leave one example alone
        generator = None
        if dataloader.generator is not None:  # a copy: the loader's own goes on from where it is
            generator = torch.Generator()
            generator.set_state(dataloader.generator.get_state())
        again: DataLoader[Any] = DataLoader(
            dataset, size, sampler=[index] * (size * each * lanes), num_workers=workers, collate_fn=dataloader.collate_fn,
            worker_init_fn=dataloader.worker_init_fn, generator=generator, timeout=dataloader.timeout,
            multiprocessing_context=dataloader.multiprocessing_context, persistent_workers=dataloader.persistent_workers,
        )  # fmt: skip
        epochs = [[_examples(batch, size) for batch in again] for _ in range(2)]  # a batch goes to the workers in turn
        numbers = _count(epochs, lanes)
        if numbers["unique"] > 1:
            break
    numbers |= {"workers": workers, "threshold": _CHANCE}
    numbers["text"] = (
        f"{numbers['unique']} different of {numbers['n']} draws" if numbers["unique"] > 1 else "nothing random"
    )
    sure = numbers["unique"] > 1 and numbers["p"] < _CHANCE
    if not sure or not (numbers["workers_alike"] or numbers["epochs_alike"]):
        return numbers, None
    who = " and ".join(
        w for w, found in (("its workers", numbers["workers_alike"]), ("its epochs", numbers["epochs_alike"])) if found
    )
    return numbers, Finding(
        "RNG", Severity.FAIL, place(dataset), numbers,
        f"the random numbers of {who} repeat: {numbers['unique']} different of {numbers['n']} draws of one example with {workers} workers",
        "draw from torch's or NumPy's global generator, which every worker seeds anew, or seed your own in worker_init_fn "
        "with torch.initial_seed()",
    )  # fmt: skip


def _count(epochs: list[list[list[bytes]]], lanes: int) -> dict[str, Any]:
    """Return what the draws of every worker in every epoch have in common."""
    streams = [[list(chain(*batches[lane::lanes])) for lane in range(lanes)] for batches in epochs]
    first = streams[0][0]
    return {
        "n": sum(len(s) for epoch in streams for s in epoch),
        "unique": len({o for epoch in streams for s in epoch for o in s}),
        "workers_alike": lanes > 1 and any(a == b for i, a in enumerate(streams[0]) for b in streams[0][:i]),
        "epochs_alike": streams[0] == streams[1],
        "p": kinds(first) ** len(first) * max(1, lanes * (lanes - 1) // 2),
    }  # fmt: skip


def _examples(batch: Any, size: int) -> list[bytes]:
    """Return a digest of every one of `size` examples of a batch; of the whole where a collate function hides them."""
    if isinstance(batch, list) and len(batch) == size and examples(batch) != size:
        return [_digest(example) for example in batch]
    if examples(batch) != size:
        return [_digest(batch)]
    return [_digest(rows(batch, torch.tensor([i]), size)) for i in range(size)]


def _digest(thing: Any) -> bytes:
    """Return a digest of the tensors in a thing, of its text where it holds none."""
    return digest(tensors(thing) or torch.tensor(list(repr(thing).encode()), dtype=torch.uint8))
