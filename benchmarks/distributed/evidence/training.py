"""One simulated training: a setting of plain values in, its curve out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from whet.distributed.delays import Delays
from whet.distributed.named import parse_rule
from whet.distributed.shuffle import Shuffle, by_label
from whet.distributed.simulate import Simulation
from whet.task import Task

__all__ = ["end", "has", "shards", "train"]

# Of a simulation; everything else in a setting is a parameter of the task.
OWN = {"rule", "workers", "seed", "epochs", "straggler", "shuffle", "skew", "seconds"}


def train(
    task: Task, setting: Mapping[str, Any], look: Callable[[Simulation, dict[str, Any]], None] = lambda s, row: None
) -> dict[str, Any]:
    """Simulate a training; return its curve: one row an epoch with "error" in %, "loss", "seconds", "updates", "train_loss".

    setting: "rule", by name; "workers"; "seed"; "epochs"; "straggler": how much slower worker 0 is (1); "shuffle" ("global");
    "skew": of shards by label (None: at random); "seconds": virtual ones after which it is given up (none); the rest goes to the
    task. Delays are gamma(100). look: called after each epoch with the simulation and the row, which it may add to.
    """
    params = {k: v for k, v in setting.items() if k not in OWN} | {"epochs": setting["epochs"]}
    workers, slow = int(setting["workers"]), float(setting.get("straggler", 1.0))
    simulation = Simulation(
        task, params, rule=parse_rule(setting["rule"]), workers=workers, steps=int(setting["epochs"]), seed=int(setting["seed"]),
        delays=Delays("gamma", 100.0, stragglers={0: slow} if slow != 1 else None), shuffle=_shuffle(task, params, setting),
    )  # fmt: skip
    curve = []
    for point in simulation:
        found = dict(point.metrics)
        row = {
            "epoch": point.step, "error": 100 * (1 - found.get("accuracy", 0.0)), "loss": point.value,
            "seconds": point.cost, "updates": found["updates"], "train_loss": found["train_loss"],
        }  # fmt: skip
        look(simulation, row)
        curve.append(row)
        if point.cost is not None and point.cost > setting.get("seconds", float("inf")):
            break
    server = simulation.server
    pushes = sum(server.staleness.values())
    return {
        "curve": curve, "diverged": simulation.run.over or not curve,
        "staleness": sum(k * v for k, v in server.staleness.items()) / max(1, pushes),
    }  # fmt: skip


def end(result: Mapping[str, Any], of: str = "error") -> float:
    """Return the last value of a curve; nan when it diverged."""
    return math.nan if result["diverged"] else float(result["curve"][-1][of])


def has(result: Mapping[str, Any], of: Iterable[str]) -> bool:
    """Return whether the last row of a curve has all of these, which none that diverged needs.

    >>> has({"curve": [{"error": 1.0}], "diverged": False}, ["error", "member_error"])
    False
    """
    return result["diverged"] or result["curve"][-1].keys() >= set(of)


def shards(targets: Tensor, workers: int, seed: int, skew: float) -> list[Tensor]:
    """Return the workers' shards: `skew` of the examples sorted by class, the rest at random."""
    return by_label(targets, workers, seed=seed, skew=skew)


def _shuffle(task: Task, params: Mapping[str, Any], setting: Mapping[str, Any]) -> str | Shuffle:
    how, skew = setting.get("shuffle", "global"), setting.get("skew")
    if skew is None or how == "global":
        return str(how)
    data, seed, workers = task.data(params).train, int(setting["seed"]), int(setting["workers"])
    return Shuffle(
        len(data), task.batch(params), workers, how, seed, shards=shards(data.targets, workers, seed, float(skew))
    )
