"""What `whet train` saved, as a module again: the model, or the ensemble of the workers' models."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whet.distributed.flat import Flat
from whet.errors import UsageError
from whet.journal.checkpoint import load
from whet.squeeze import Average
from whet.task import Task
from whet.train.checkpoint import unpack
from whet.train.run import Run

__all__ = ["kept", "trained"]


def kept(model: nn.Module, models: Sequence[tuple[int, Tensor]]) -> dict[str, Any]:
    """Return what is saved of members: their weights (p,) each, and the statistics of `model`, which all of them are looked at with.

    models: (worker, weights as a `Flat` lays them).
    """
    flat = Flat(copy.deepcopy(model))
    buffers = torch.empty(flat.buffer_size, dtype=torch.float64)
    flat.read_buffers(buffers)
    return {"workers": [w for w, _ in models], "weights": [m.clone() for _, m in models], "buffers": buffers}


def trained(
    task: Task, folder: str | os.PathLike[str], *, members: bool = False
) -> tuple[nn.Module, list[tuple[dict[str, Any], float]]]:
    """Return the model that `whet train` saved in `folder` (RUNS/NAME/train), and what it is made of as `whet.deploy.save` takes it.

    The model is on the CPU, in evaluation mode; with it come (configuration, weight) of each model it is made of. members: instead of the one
    model, the ensemble of the workers' models that a rule such as `ec` or `codistil` leaves, those of the last epoch: a
    `whet.squeeze.Average` with equal weights, whose loss on validation is the one that the training told.

    Raises UsageError when nothing is saved there, the training left no members, or outputs are several labels, whose probabilities
    `Average` does not know; CheckpointError when the task no longer makes this model.

    >>> import tempfile
    >>> from whet.recipe.job import Job
    >>> from whet.recipe.single import train_once
    >>> from whet.tasks import resolve
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     job = Job(resolve("diabetes"), runs=Path(runs), steps=2)
    ...     *_, block = train_once(job, {"lr": 0.01, "net": "linear"})
    ...     model, made = trained(resolve("diabetes"), job.folder / "train")
    >>> type(model).__name__, model.training, made
    ('Mlp', False, [({'lr': 0.01, 'net': 'linear'}, 1.0)])
    """
    path = Path(folder) / "last.safetensors"
    if not path.is_file():
        raise UsageError(f"{path}: nothing is saved there. Train first (whet train), and give RUNS/NAME/train.")
    saved = unpack(load(path))
    what: Mapping[str, Any] = saved["what"]
    params = dict(what["params"])
    state = {**saved["run"], "callbacks": []}  # who watched it is not asked
    run = Run(task, params, steps=what["steps"], seed=what["seed"], device="cpu", resume=state)
    if not members:
        return run.model.eval(), [(params, 1.0)]
    found = saved.get("members")
    if not found:
        how = f"under {what['rule']}, whose workers leave one model" if what.get("rule") else "on one process"
        raise UsageError(
            f"{path}: has no members: it was trained {how}. Leave members out, or train with e.g. --workers 4 --rule ec."
        )
    targets = run.data.train.targets
    if run.data.kind == "classification" and targets.is_floating_point() and targets.ndim > 1:
        raise UsageError(
            f"{path}: targets are several labels {tuple(targets.shape[1:])}, and an ensemble averages probabilities of "
            "one class. Leave members out."
        )
    models = [_with(run.model, weights, found["buffers"]) for weights in found["weights"]]
    share = 1.0 / len(models)
    model = models[0] if len(models) == 1 else Average(models, kind=run.data.kind)
    return model.eval(), [(params, share)] * len(models)


def _with(model: nn.Module, weights: Tensor, buffers: Tensor) -> nn.Module:
    """Return a copy of `model` with the trained weights (p,) and the statistics (b,) in the place of its own."""
    own = copy.deepcopy(model)
    flat = Flat(copy.deepcopy(model))
    flat.weights.copy_(weights)
    flat.write_buffers(buffers)
    own.load_state_dict(
        flat.model.state_dict()
    )  # copied: a model whose parameters are views of one vector saves all of it
    return own
