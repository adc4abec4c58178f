"""What is measured of a model itself: how many parameters it has, and how long it takes for one example."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch import nn

from whet.data.split import Split

__all__ = ["OF_MODEL", "latency", "of_model"]

OF_MODEL = ("parameters", "latency")  # measured when they are asked for

_WARM, _LEAST, _MOST, _SECONDS = 3, 5, 50, 0.03  # calls not counted; counted at least, at most, and for how long


def of_model(names: Iterable[str], model: nn.Module, split: Split, known: float | None = None) -> dict[str, float]:
    """Return what was asked for by name, of `OF_MODEL`. known: the latency, where it was measured before: training does not change it, and a goal should not wander.

    >>> of_model(["loss", "parameters"], nn.Linear(2, 3), Split(torch.zeros(5, 2), torch.zeros(5)))
    {'parameters': 9.0}
    """
    found: dict[str, float] = {}
    if "parameters" in names:
        found["parameters"] = float(sum(p.numel() for p in model.parameters()))
    if "latency" in names:
        found["latency"] = latency(model, split) if known is None else known
    return found


def latency(model: nn.Module, split: Split) -> float:
    """Return the milliseconds a call of `model` takes with the first example of `split`, on its device, in evaluation mode.

    Of 5 to 50 calls, as many as go into 0.03 s, it is the quickest: what else the machine does only ever makes a call slower, so of two models that differ
    the least times differ the most surely. It still depends on the machine and its threads, and is a little different each time.

    >>> one, many = nn.Linear(64, 64), nn.Sequential(*(nn.Linear(64, 64) for _ in range(64)))
    >>> split = Split(torch.zeros(5, 64), torch.zeros(5))
    >>> 0 < latency(one, split) < latency(many, split)
    True
    """
    example = tuple(p[:1] for p in split.parts)
    wait = torch.cuda.synchronize if example[0].is_cuda else _nothing
    training, spans = model.training, list[float]()
    model.eval()
    try:
        with torch.inference_mode():
            for _ in range(_WARM):
                model(*example)
            while len(spans) < _LEAST or (len(spans) < _MOST and sum(spans) < _SECONDS):
                wait()
                began = time.perf_counter()
                model(*example)
                wait()
                spans.append(time.perf_counter() - began)
    finally:
        model.train(training)
    return 1000 * min(spans)


def _nothing() -> None:
    """Wait for nothing: a CPU has done what it was told."""
