"""What a person hands over to be checked: read as model, loss and batch, or refused in one line that says what to give."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader

from whet.checks.sandbox import sandbox
from whet.checks.subject import examples, tensors
from whet.errors import UsageError, one_line

__all__ = ["arguments", "pair", "parts", "refusal", "watched"]

_TARGETS = ("labels", "label", "targets", "target", "y")


def parts(model: Any, loss: Any, optimizer: Any) -> None:
    """Raise UsageError for what is no model, loss or optimizer.

    >>> parts(nn.Linear(1, 1), nn.MSELoss, None)
    Traceback (most recent call last):
    ...
    whet.errors.UsageError: check: loss is the class MSELoss, not a loss. Give MSELoss().
    """
    if inspect.isclass(model):
        raise UsageError(f"check: model is the class {model.__name__}, not a model. Give {model.__name__}(...).")
    if not isinstance(model, nn.Module):
        raise UsageError(f"check: model must be a torch.nn.Module, got {type(model).__name__}.")
    if inspect.isclass(loss) and issubclass(loss, nn.Module):
        raise UsageError(f"check: loss is the class {loss.__name__}, not a loss. Give {loss.__name__}().")
    if not callable(loss):
        raise UsageError(f"check: loss must be callable as loss(outputs, targets), got {type(loss).__name__}.")
    if optimizer is None or (hasattr(optimizer, "param_groups") and not inspect.isclass(optimizer)):
        return
    got, how = type(optimizer).__name__, ""
    if inspect.isclass(optimizer):
        got, how = f"the class {optimizer.__name__}", f" Give {optimizer.__name__}(model.parameters(), lr=...)."
    elif hasattr(optimizer, "optimizer"):
        how = " Give its .optimizer."
    elif isinstance(optimizer, (list, tuple, dict)):
        how = " Give one at a time."
    raise UsageError(f"check: optimizer must be a torch optimizer, got {got}.{how}")


def watched(model: Any, optimizer: Any) -> None:
    """Raise UsageError for what is no model or optimizer to watch.

    >>> watched(nn.Linear(1, 1), [])
    Traceback (most recent call last):
    ...
    whet.errors.UsageError: Live: optimizer must be a torch.optim.Optimizer, got list. With several of them make one Live for each: Live(model, first), Live(model, second).
    """
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"Live: model must be a torch.nn.Module, got {type(model).__name__}. Give Live(model, optimizer)."
        )
    if not hasattr(optimizer, "register_step_post_hook") or isinstance(optimizer, type):
        raise UsageError(
            f"Live: optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}. With several of them "
            "make one Live for each: Live(model, first), Live(model, second)."
        )


def pair(batch: Any) -> tuple[Any, Any]:
    """Return (inputs, targets) of a batch, arrays as tensors, and a list of numbers for targets too.

    Raises UsageError for what is no pair; a loader or an iterator is not consumed.

    >>> inputs, targets = pair((np.zeros((2, 3)), [0, 1]))
    >>> tuple(inputs.shape), targets.dtype
    ((2, 3), torch.int64)
    >>> pair({"input_ids": 1, "labels": 2})
    Traceback (most recent call last):
    ...
    whet.errors.UsageError: check: batch must be a pair (inputs, targets), got dict. Give ({k: v for k, v in batch.items() if k != 'labels'}, batch['labels']).
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise UsageError(
            f"check: batch must be a pair (inputs, targets), got {type(batch).__name__}{size}. Give {_instead(batch)}."
        )
    inputs, targets = (tree_map(_tensor, part) for part in batch)
    if isinstance(targets, list) and targets and all(isinstance(v, (int, float)) for v in targets):
        targets = torch.tensor(targets)
    return inputs, targets


def _tensor(leaf: Any) -> Any:
    """Return an array of numbers as a tensor of its own, anything else as it is."""
    return torch.tensor(leaf) if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc" else leaf


def _instead(batch: Any) -> str:
    """Return what to give in place of something that is no pair."""
    if isinstance(batch, Mapping):
        target = next((k for k in _TARGETS if k in batch), None)
        if target is None:
            return "(inputs, targets), where inputs may be a dict of the model's arguments"
        return f"({{k: v for k, v in batch.items() if k != {target!r}}}, batch[{target!r}])"
    if isinstance(batch, DataLoader):
        return "next(iter(loader))"
    if isinstance(batch, Iterator):
        return "next(batch)"
    if isinstance(batch, torch.utils.data.Dataset):
        return "next(iter(DataLoader(dataset, batch_size=64, shuffle=True)))"
    if isinstance(batch, (Tensor, np.ndarray)) or (isinstance(batch, (tuple, list)) and len(batch) == 1):
        return "(x, y), or (x, None) where there are no targets"
    if isinstance(batch, (tuple, list)) and len(batch) > 2:
        if all(isinstance(item, (tuple, list)) and len(item) == 2 for item in batch):
            return "torch.utils.data.default_collate(batch)"
        return "((x1, x2), y): what the model is called with, then what the loss compares with"
    names = list(vars(batch)) if is_dataclass(batch) or type(batch).__module__ not in ("builtins", "torch") else []
    return f"(batch.{names[0]}, batch.{names[1]})" if len(names) == 2 else "(x, y)"


def arguments(inputs: Any) -> Any:
    """Return inputs as positional (a tuple) or keyword (a dict) arguments of the model.

    >>> arguments(3), arguments([1, 2]), arguments({"x": 1})
    ((3,), (1, 2), {'x': 1})
    """
    if isinstance(inputs, Mapping):
        return dict(inputs)
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


def refusal(model: nn.Module, inputs: Any) -> str:
    """Return why nothing can be looked at, or "" when something can.

    >>> refusal(nn.Linear(2, 1), torch.zeros(0, 2))
    'the batch is empty'
    """
    lazy = [k for k, p in model.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        return f"{lazy[0]} has no shape yet: call the model once on a batch first"
    if any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
        return "a scripted or traced model cannot be put back as it was: give the one it was made from"
    if _meta((*model.parameters(), *model.buffers())):
        return "the model's weights are on the meta device: they have no values"
    if _packed(inputs):
        return "a PackedSequence cannot be taken apart into examples: give the padded tensor and its lengths, and pack in the model"
    found = tensors(inputs)
    if not found:
        kinds = sorted({type(v).__name__ for v in (inputs if isinstance(inputs, (tuple, list)) else (inputs,))})
        return f"the batch's inputs hold no tensor, only {', '.join(kinds)}: give tensors, or a tuple or dict of them"
    odd = next((t for t in found if t.is_nested or t.layout is not torch.strided), None)
    if odd is not None:
        kind = "nested" if odd.is_nested else "sparse"
        dense = "a padded tensor and its lengths" if odd.is_nested else "x.to_dense()"
        return f"the inputs are a {kind} tensor, which cannot be taken apart into examples: give {dense}"
    if _meta(found):
        return "the batch's inputs are on the meta device: they have no values"
    if not any(t.ndim for t in found):
        return "the batch's inputs are single numbers, with no dimension that counts examples"
    if examples(inputs) == 0:
        return "the batch is empty"
    try:
        with sandbox(model):
            model.eval()
            model.train()
    except Exception as error:  # an exported program has one mode for good
        got = one_line(f"{type(error).__name__}: {error}")[:120]
        return f"the model cannot change between training and evaluation ({got}): give the one it was made from"
    return ""


def _meta(found: Iterable[Tensor]) -> bool:
    return any(t.is_meta for t in found)


def _packed(inputs: Any) -> bool:
    """Whether a PackedSequence is among the arguments; as a tuple of four tensors it would pass for four of them."""
    if isinstance(inputs, PackedSequence):
        return True
    values = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, (tuple, list)) else ()
    return any(isinstance(v, PackedSequence) for v in values)
