"""How long a model takes for one example."""

from __future__ import annotations

import time

import torch
from torch import nn

from whet.data.split import Split

__all__ = ["latency"]

_WARM, _LEAST, _MOST, _SECONDS = 3, 5, 50, 0.03  # calls not counted; counted at least, at most, and for how long


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
