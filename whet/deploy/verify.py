"""Hold an exported model against its source on real inputs, and time both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from whet.data.split import Inputs
from whet.deploy.deployed import Deployed
from whet.deploy.export import at_rest, weights_hash
from whet.deploy.tolerance import RTOL, distance
from whet.errors import DataError, ExportError, one_line

__all__ = ["Verified", "latency", "verify"]

BATCHES = (1, 7, 32)  # odd and even, and the lonely one
FEW = 5  # batches of each size but the largest, which goes through all examples
WARM, CALLS, SECONDS = 5, 200, 0.2  # of a latency: calls not counted; at most so many, or so long, counted


@dataclass(frozen=True)
class Verified:
    """What came of the comparison.

    equal: whether outputs agree within the tolerance, are finite, and the file names the weights of this model; why: what
    is wrong when not. n: examples compared, in batches of each of `batches`. max_abs, max_rel, worst, atol: see
    `whet.deploy.tolerance.Distance`, the worst over all batch sizes; rtol: 1e-4. agreement: share of examples whose
    predicted class is the same (None for regression). bytes: size of the file. latency: milliseconds a call, per runtime
    ("onnxruntime", "torch") and batch size, on one thread: medians; calls: the least number of calls behind a median.

    >>> sizes, times = (1, 32), {"torch": {1: 0.06, 32: 0.5}}
    >>> Verified(True, "", 270, sizes, 4e-8, 1e-8, 0.03, 1e-4, 1e-5, 1.0, 24_357, times, 112).tolerance
    '0.0001 of the distance from the mean output + 1e-05'
    """

    equal: bool
    why: str
    n: int
    batches: tuple[int, ...]
    max_abs: float
    max_rel: float
    worst: float
    rtol: float
    atol: float
    agreement: float | None
    bytes: int
    latency: Mapping[str, Mapping[int, float]]
    calls: int

    @property
    def tolerance(self) -> str:
        """The tolerance in words."""
        return f"{self.rtol:g} of the distance from the mean output + {self.atol:.2g}"

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        times = {runtime: {str(b): ms for b, ms in each.items()} for runtime, each in self.latency.items()}
        numbers = {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()}
        return numbers | {"latency": times, "batches": list(self.batches), "tolerance": self.tolerance}


def verify(
    path: str | os.PathLike[str],
    model: nn.Module,
    inputs: Inputs,
    *,
    batches: Sequence[int] = BATCHES,
    timed: bool = True,
) -> Verified:
    """Compare the exported model at `path` with `model` on `inputs`, real examples (n, ...) or a tuple of such.

    All examples are compared in batches of the largest of `batches`, the first few in the others. The tolerance is
    that of `whet.deploy.tolerance.distance`. timed: also measure latencies, some 0.8 s. The model is left as it was.
    Raises ExportError when the file is missing, damaged or cannot run on these inputs, DataError without examples.

    >>> import tempfile
    >>> from whet.deploy.export import export
    >>> model, x = nn.Linear(3, 2), torch.randn(50, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = export(model, x, Path(folder) / "m.onnx", classes=["a", "b"])
    ...     ours, other = verify(done.path, model, x, timed=False), verify(done.path, nn.Linear(3, 2), x, timed=False)
    >>> ours.equal, ours.agreement, other.equal
    (True, 1.0, False)
    """
    at = Path(path)
    parts = tuple(p.detach().to("cpu") for p in (inputs if isinstance(inputs, tuple) else (inputs,)))
    if len(parts[0]) == 0:
        raise DataError("verify: no examples to compare on. Give at least one.")
    deployed = Deployed(at, threads=1)
    try:
        onnx.checker.check_model(str(at), full_check=True)
    except Exception as error:
        raise ExportError(f"{at}: is not a valid ONNX model: {one_line(str(error))[:300]}") from error
    sizes = tuple(sorted({min(int(b), len(parts[0])) for b in batches if b >= 1} or {1}))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with at_rest(model) as still, torch.no_grad():

            def source(batch: tuple[Tensor, ...]) -> np.ndarray:
                return still(*batch).numpy()

            def target(batch: tuple[Tensor, ...]) -> np.ndarray:
                return deployed(tuple(p.numpy() for p in batch), batch=len(batch[0]))

            found = [compare(source, target, parts, size, everything=size == sizes[-1], where=at) for size in sizes]
            weights = weights_hash(still)
            times, calls = latency({"onnxruntime": target, "torch": source}, parts) if timed else ({}, 0)
    finally:
        torch.set_num_threads(threads)
    apart = max((distance(got, want) for got, want in found), key=lambda d: d.worst)
    got, want = found[-1]
    classify = deployed.meta.get("kind") == "classification" and want.ndim == 2 and want.shape[1] > 1
    agreement = float(np.mean(got.argmax(1) == want.argmax(1))) if classify else None
    why = ""
    if not (np.isfinite(got).all() and np.isfinite(want).all()):
        why = "outputs are not finite"
    elif not apart.equal:
        why = f"outputs differ by up to {apart.max_abs:.2g}, {apart.worst:.2g} times what rounding explains"
    elif deployed.meta.get("weights", weights) != weights:
        why = "the file was made from other weights than this model's"
    return Verified(
        not why, why, len(parts[0]), sizes, apart.max_abs, apart.max_rel, apart.worst, RTOL, apart.atol, agreement,
        at.stat().st_size, times, calls,
    )  # fmt: skip


Answer = Callable[[tuple[Tensor, ...]], np.ndarray]


def compare(
    source: Answer, target: Answer, parts: tuple[Tensor, ...], size: int, *, everything: bool, where: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Return (exported, source) outputs of the examples in batches of `size`; of all examples, or of the first few."""
    n = len(parts[0]) if everything else min(len(parts[0]), size * FEW)
    got, want = [], []
    for start in range(0, n, size):
        batch = tuple(p[start : min(start + size, n)] for p in parts)
        want.append(source(batch))
        try:
            got.append(target(batch))
        except DataError as error:
            raise ExportError(f"{where}: is not this model: {error}") from error
        except Exception as error:  # the runtime's exceptions share no public type
            raise ExportError(f"{where}: fails on a batch of {len(batch[0])}: {one_line(str(error))[:300]}") from error
        if got[-1].shape != want[-1].shape:
            shapes = f"{got[-1].shape} instead of {want[-1].shape}"
            raise ExportError(f"{where}: is not this model: it answers with shape {shapes}.")
    return np.concatenate(got), np.concatenate(want)


def latency(
    runs: Mapping[str, Answer], parts: tuple[Tensor, ...], sizes: Sequence[int] = (1, 32)
) -> tuple[dict[str, dict[int, float]], int]:
    """Return per name and batch size the median milliseconds of a call, and the least number of calls behind one.

    Each is called 5 times unmeasured, then until 0.2 s are spent or 200 calls made, at least 5 times. Examples are
    repeated where there are fewer than the batch size. Threads are the caller's to set.

    >>> times, calls = latency({"nothing": lambda batch: batch[0].numpy()}, (torch.zeros(3, 2),))
    >>> sorted(times["nothing"]), calls
    ([1, 32], 200)
    """
    times: dict[str, dict[int, float]] = {name: {} for name in runs}
    least = CALLS
    for size in sizes:
        batch = tuple(p[torch.arange(size) % len(p)] for p in parts)
        for name, run in runs.items():
            for _ in range(WARM):
                run(batch)
            spans: list[float] = []
            while len(spans) < CALLS and (len(spans) < 5 or sum(spans) < SECONDS):
                began = time.perf_counter()
                run(batch)
                spans.append(time.perf_counter() - began)
            times[name][size] = 1000 * float(np.median(spans))
            least = min(least, len(spans))
    return times, least
