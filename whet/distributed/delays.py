"""How long things take in the simulator: drawn times of a step, stragglers, failures, and the network."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whet.errors import UsageError, nearest
from whet.seed import rng

__all__ = ["Delays", "Network"]

NAMES = ("constant", "exponential", "gamma", "lognormal", "pareto")


@dataclass(frozen=True)
class Delays:
    """Times of one step, in virtual seconds, with mean 1 for a worker of speed 1.

    name: constant; gamma(shape), 100 unless given, as a cluster of like machines; exponential; lognormal(sigma), 0.5 unless given;
    pareto(alpha), 2.5 unless given, heavy-tailed stragglers; or a recorded trace. stragglers: factor by worker number; a
    worker that is 3x as slow has 3. trace: recorded seconds, one sequence for each worker, walked through again and again; more
    workers than sequences share them, each from a place of its own.

    Each worker has a stream of its own, keyed by (seed, worker, step): no draw depends on the order of events.

    >>> Delays("constant", stragglers={1: 3.0}).seconds(0, 1, 5)
    3.0
    """

    name: str = "gamma"
    shape: float | None = None
    stragglers: Mapping[int, float] | None = None
    trace: Sequence[Sequence[float]] | None = None

    def __post_init__(self) -> None:
        if self.trace is None and self.name not in NAMES:
            raise UsageError(
                f"delays: got {self.name!r}. Allowed: {', '.join(NAMES)}, or a file of seconds.{nearest(self.name, NAMES)}"
            )
        least = 1.0 if self.name == "pareto" else 0.0
        if self.shape is not None and not self.shape > least:
            raise UsageError(f"delays: the shape of {self.name} must be > {least:g}, got {self.shape!r}.")
        for worker, factor in (self.stragglers or {}).items():
            if not 0 < factor < float("inf"):
                raise UsageError(f"straggler: worker {worker}: the factor must be > 0, got {factor!r}. Use e.g. 3.")

    def __str__(self) -> str:
        if self.trace is not None:
            text = f"recorded in {self.name} ({zlib.crc32(repr([list(t) for t in self.trace]).encode()):08x})"
        else:
            text = self.name + (f"({self.shape:g})" if self.shape is not None else "")
        return text + "".join(f", worker {w} {f:g}x" for w, f in sorted((self.stragglers or {}).items()))

    def factor(self, worker: int) -> float:
        """Return how many times as long as others a worker takes.

        >>> Delays(stragglers={1: 3.0}).factor(1), Delays().factor(1)
        (3.0, 1.0)
        """
        return float(self.stragglers.get(worker, 1.0)) if self.stragglers else 1.0

    def seconds(self, seed: int, worker: int, step: int) -> float:
        """Return how long a worker's step takes."""
        factor = self.factor(worker)
        if self.trace is not None:
            own, start = self.trace[worker % len(self.trace)], 0
            if worker >= len(self.trace):  # else those who share a record would go in step
                start = int(rng(seed, "delay", worker).integers(len(own)))
            return float(own[(start + step) % len(own)]) * factor
        if self.name == "constant":
            return factor
        draw = rng(seed, "delay", worker, step)
        match self.name:
            case "gamma":
                k = self.shape or 100.0
                value = draw.gamma(k) / k
            case "exponential":
                value = draw.exponential()
            case "lognormal":
                s = self.shape or 0.5
                value = draw.lognormal(-s * s / 2, s)
            case _:
                a = self.shape or 2.5
                value = (1 + draw.pareto(a)) * (a - 1) / a
        return float(value) * factor


@dataclass(frozen=True)
class Network:
    """What pulling and pushing cost.

    bandwidth: bytes a virtual second, each way, of each worker's link (infinite unless given); latency: virtual seconds of
    a message; service: virtual seconds in which the server merges one update, one after the other.
    """

    bandwidth: float = float("inf")
    latency: float = 0.0
    service: float = 0.0

    def __post_init__(self) -> None:
        if not self.bandwidth > 0 or self.latency < 0 or self.service < 0:
            raise UsageError(
                f"network: needs bandwidth > 0, latency >= 0 and service >= 0, got {self.bandwidth!r}, {self.latency!r} "
                f"and {self.service!r}."
            )

    def seconds(self, size: float) -> float:
        """Return how long a message of `size` bytes is under way."""
        return self.latency + size / self.bandwidth
