"""The state of a training in files: one for each stage, and one that names them, which makes them count all at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from whet.distributed.collective.kept import read, write
from whet.distributed.collective.place import Place
from whet.errors import CheckpointError
from whet.journal.checkpoint import load, save
from whet.train.checkpoint import pack, unpack

__all__ = ["about", "fill", "restore", "store"]


def store(path: Path, module: nn.Module, model: nn.Module, optimizer: torch.optim.Optimizer, *, place: Place, values: Mapping[str, Any]) -> None:  # fmt: skip
    """Write what every process has; all of them must call it. The first copy of each stage writes its part, then process 0 the file at `path`.

    module: what this process holds of `model`; values: plain ones, the same everywhere; "version" names the parts. The buffers of all
    copies are kept, (M, b) float64.
    """
    buffers = _buffers(module)
    own = read(list(buffers.values()), place.device)
    every = [torch.empty_like(own) for _ in range(place.replicas)]
    dist.all_gather(every, own, group=place.copies)
    if place.replica == 0:
        names = {id(p): n for n, p in model.named_parameters()}
        held = {names[id(p)]: p for p in module.parameters() if id(p) in names}
        names = {id(b): n for n, b in model.named_buffers()}
        part = {
            "parameters": {n: p.detach() for n, p in held.items()},
            "optimizer": {n: dict(optimizer.state[p]) for n, p in held.items() if p in optimizer.state},
            "settings": [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups],
            "buffers": [names.get(id(b), "") for b in buffers.values()],
            "values": torch.stack(every),
        }
        save(_part(path, values["version"], place.stage), pack(part))
    dist.barrier(group=place.words)
    if place.rank == 0:
        parts = [_part(path, values["version"], s).name for s in range(place.stages)]
        save(path, pack({**values, "parts": parts, "replicas": place.replicas}))
        for old in path.parent.glob(f"{path.stem}-*{path.suffix}"):
            if old.name not in parts:
                old.unlink(missing_ok=True)


def restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, *, place: Place) -> dict[str, Any]:
    """Set a model and its optimizer from what `store` wrote; return what it was about.

    Each copy takes its own buffers back; when there are more or fewer copies than there were, their mean. Raises CheckpointError when the files do
    not fit the model.
    """
    found, parts = _read(path)
    parameters = dict(model.named_parameters())
    number = {id(p): i for i, p in enumerate(p for g in optimizer.param_groups for p in g["params"])}
    states: dict[int, Any] = {}
    row = place.replica if found["replicas"] == place.replicas else None
    for part in parts:
        _fill(model, part, row)
        states |= {number[id(parameters[n])]: s for n, s in part["optimizer"].items()}
    whole = copy.deepcopy(optimizer.state_dict())
    for group, settings in zip(whole["param_groups"], parts[0]["settings"], strict=True):
        group.update(settings)
    optimizer.load_state_dict({**whole, "state": states})
    return found


def fill(path: Path, model: nn.Module) -> dict[str, Any]:
    """Set a model's weights from what `store` wrote, and its buffers from their mean over the copies; return what it was about."""
    found, parts = _read(path)
    for part in parts:
        _fill(model, part, None)
    return found


def about(path: Path) -> tuple[int, int]:
    """Return the version and the batches merged of a checkpoint, (0, 0) when there is none."""
    if not path.exists():
        return 0, 0
    found = unpack(load(path))
    return int(found["version"]), int(found["merged"])


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    found = unpack(load(path))
    return found, [unpack(load(path.with_name(Path(name).name))) for name in found["parts"]]


def _fill(model: nn.Module, part: Mapping[str, Any], row: int | None) -> None:
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    try:
        with torch.no_grad():
            for name, value in part["parameters"].items():
                if parameters[name].shape != value.shape:
                    raise KeyError(f"{name} {tuple(parameters[name].shape)}, was {tuple(value.shape)}")
                parameters[name].copy_(value)
        values: Tensor = part["values"]
        own = values.mean(0) if row is None and len(values) > 1 else values[row or 0]
        write([buffers[n] for n in part["buffers"]], own)
    except (KeyError, RuntimeError) as e:
        raise CheckpointError(
            f"resume: the state does not fit {type(model).__name__}: {e}. Resume with the structure it was saved from."
        ) from e


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    return {n: b for n, b in module.named_buffers() if not b.is_complex()}


def _part(path: Path, version: int, stage: int) -> Path:
    return path.with_name(f"{path.stem}-{version}-{stage}{path.suffix}")
