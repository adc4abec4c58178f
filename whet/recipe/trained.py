"""What `whet train` saved, as a module again: the model, or the ensemble of the workers' models."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whet.data.split import Kind
from whet.distributed.flat import Flat
from whet.distributed.meaning import Meaning
from whet.distributed.member import parted
from whet.errors import UsageError
from whet.journal.checkpoint import load
from whet.squeeze import Average
from whet.task import Task
from whet.train.checkpoint import unpack
from whet.train.run import Run

__all__ = ["kept", "trained"]


def kept(model: nn.Module, models: Sequence[tuple[int, Tensor]]) -> dict[str, Any]:
    """Return what is saved of members: weights (p,) and statistics (b,) of each; one that has none of its own has those of `model`.

    models: (worker, its model as `whet.distributed.member` lays it).
    """
    flat = Flat(copy.deepcopy(model))
    buffers = torch.empty(flat.buffer_size, dtype=torch.float64)
    flat.read_buffers(buffers)
    parts = [parted(m, flat.size) for _, m in models]
    return {
        "workers": [w for w, _ in models], "weights": [weights.clone() for weights, _ in parts],
        "buffers": [buffers if own is None else own for _, own in parts],
    }  # fmt: skip


def trained(
    task: Task, folder: str | os.PathLike[str], *, members: bool = False
) -> tuple[nn.Module, list[tuple[dict[str, Any], float]]]:
    """Return the model that `whet train` saved in `folder` (RUNS/NAME/train), and what it is made of as `whet.deploy.save` takes it.

    The model is on the CPU, in evaluation mode; with it come (configuration, weight) of each model it is made of. members: instead of the one
    model, the ensemble of the workers' models that a rule such as `ec` or `codistil` leaves, those of the last epoch: a
    `whet.squeeze.Average` with equal weights, whose loss on validation is the one that the training told.

    Raises UsageError when nothing is saved there or the training left no members; CheckpointError when the task no longer makes this model.

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
    models = [_with(run.model, w, b) for w, b in zip(found["weights"], found["buffers"], strict=True)]
    share = 1.0 / len(models)
    model = models[0] if len(models) == 1 else _average(models, Meaning.of(run))
    return model.eval(), [(params, share)] * len(models)


def _average(models: Sequence[nn.Module], meaning: Meaning) -> Average:
    """Return models as one, whose outputs are averaged as the training told."""
    kind: Kind = "regression" if meaning.kind == "numbers" else "classification"
    return Average(models, kind=kind, axis=meaning.axis, labels=meaning.kind == "labels")


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
