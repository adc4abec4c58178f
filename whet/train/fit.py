"""Do the parts of a task fit together? Asked once before the first step, so that a mistake is one line and no traceback."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whet.data.split import Data
from whet.errors import FitError, TaskError, UsageError
from whet.metric import Metric
from whet.train.loss import CLASSES, Loss

__all__ = ["fit_loss", "fit_metrics", "fit_model", "fit_optimizer"]


def fit_model(model: Any, task: str) -> nn.Module:
    """Return `model` when it is an `nn.Module`; raise TaskError else."""
    if isinstance(model, nn.Module):
        return model
    what = f"the class {model.__name__}, not an object of it" if isinstance(model, type) else repr(type(model).__name__)
    raise TaskError(f"{task}.model: must return a torch.nn.Module, got {what}. Return e.g. whet.models.Mlp(...).")


def fit_optimizer(optimizer: Any, task: str) -> torch.optim.Optimizer:
    """Return `optimizer` when it is one whose step takes the gradient that is there; raise TaskError else."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        what = (
            f"the class {optimizer.__name__}, not an object of it"
            if isinstance(optimizer, type)
            else "None"
            if optimizer is None
            else repr(type(optimizer).__name__)
        )
        raise TaskError(
            f"{task}.optimizer: must return a torch optimizer, got {what}. Return e.g. torch.optim.Adam(model.parameters())."
        )
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:  # LBFGS
        raise TaskError(
            f"{task}.optimizer: {type(optimizer).__name__} calls the loss again (its step needs a closure), but a step here takes one "
            "gradient of one batch, its own or its workers'. Use e.g. torch.optim.Adam."
        )
    return optimizer


def fit_loss(model: nn.Module, loss: Callable[[Tensor, Tensor], Any], data: Data, task: str) -> Tensor:
    """Return what the model gives for two training examples, in evaluation mode, when the loss takes that; else raise TaskError.

    The message says the shapes of outputs and targets, the number of classes, and what to change.
    """
    index = torch.arange(min(2, len(data.train)), device=data.train.targets.device)
    inputs, targets = data.train.batch(index)
    name, shapes = type(model).__name__, ", ".join(str(tuple(x.shape)) for x in inputs)
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            outputs = model(*inputs)
    except (RuntimeError, ValueError, IndexError, TypeError) as e:
        raise TaskError(
            f"{task}.model: {name} fails on inputs {shapes} ({', '.join(str(x.dtype) for x in inputs)}): "
            f"{str(e).rstrip('. ')}. Make model(params) fit the data."
        ) from e
    finally:
        model.train(was)
    if not isinstance(outputs, Tensor):
        raise TaskError(
            f"{task}.model: {name} must return a Tensor (n, ...), got {type(outputs).__name__}. "
            "Return the outputs alone, e.g. logits of shape (n, classes)."
        )
    _shapes(outputs, targets, loss, data, task, name)
    _try(outputs, targets, loss, task, name)
    return outputs


def fit_metrics(outputs: Tensor, metrics: Mapping[str, Metric], data: Data, task: str) -> None:
    """Try every metric but the loss, which is the task's own, on the outputs of the first training examples.

    Raises TaskError when outputs and targets do not fit it: before an epoch is trained, and not after.
    """
    for name, measure in metrics.items():
        if name == "loss":
            continue
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # two examples are too few for many a metric
                measure.compute(outputs.float().cpu().numpy(), data.train.targets[: len(outputs)].cpu().numpy())
        except UsageError as e:
            raise FitError(f"{task}.data: tried on {len(outputs)} examples, {e}") from e
        except Exception:
            continue  # of two examples; of all of them it may well be defined


def _shapes(outputs: Tensor, targets: Tensor, loss: Any, data: Data, task: str, name: str) -> None:
    """Raise TaskError when outputs do not fit the targets by shape or range, under a loss that whet knows."""
    got = f"{name} gives outputs {tuple(outputs.shape)}, the targets are {tuple(targets.shape)} ({targets.dtype})"
    if outputs.ndim == 0 or len(outputs) != len(targets):
        raise FitError(f"{task}.model: {got}. Return one row of outputs for each example.")
    if not isinstance(loss, Loss) and not isinstance(loss, nn.CrossEntropyLoss):
        return
    classes = isinstance(loss, nn.CrossEntropyLoss) or loss.named(targets) in CLASSES
    if not classes:
        if data.kind == "classification" and loss.name == "auto":
            raise FitError(
                f"{task}.data: {got}: numbers, but kind is 'classification'. Give Data(..., kind=\"regression\") to predict "
                "them, or targets.long() of shape (n,) for classes."
            )
        if data.kind == "classification":
            raise FitError(f'{task}.loss: {loss} is for numbers, the targets are classes. Use e.g. "cross_entropy".')
        return
    if targets.is_floating_point() and targets.ndim < 2:
        raise FitError(
            f'{task}.loss: {loss} is for classes, the targets are numbers ({targets.dtype}). Use e.g. "mse".'
        )
    if targets.is_floating_point() or targets.ndim > 1 or outputs.ndim > 2:
        return  # class probabilities, or one class a pixel: the trial step below decides
    highest = max(int(s.targets.max()) for s in (data.train, data.valid))
    lowest = min(int(s.targets.min()) for s in (data.train, data.valid))
    count = len(data.classes) if data.classes else highest + 1
    last = f"nn.Linear(..., {count})"
    if outputs.ndim != 2 or outputs.shape[1] < count:
        raise FitError(
            f"{task}.model: {got} with {count} classes: they do not fit. Return logits (n, {count}), e.g. end in {last}."
        )
    if lowest < 0 or highest >= outputs.shape[1]:
        raise FitError(
            f"{task}.data: targets run from {lowest} to {highest}, but {name} has {outputs.shape[1]} outputs "
            f"{tuple(outputs.shape)} for targets {tuple(targets.shape)}. Number the classes from 0 to {outputs.shape[1] - 1}."
        )
    if data.classes and outputs.shape[1] != count:
        raise FitError(
            f"{task}.model: {got} with {count} classes: {outputs.shape[1] - count} outputs too many. End in {last}."
        )


def _try(outputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Any], task: str, name: str) -> None:
    """Raise TaskError when the loss of outputs and targets is no finite-shaped scalar."""
    got = f"outputs {tuple(outputs.shape)} ({outputs.dtype}) and targets {tuple(targets.shape)} ({targets.dtype})"
    try:
        with warnings.catch_warnings():
            # What F.mse_loss says when (n, 1) meets (n,) and becomes (n, n): a loss that never was meant.
            warnings.filterwarnings("error", message="Using a target size")
            value = loss(outputs, targets)
    except (RuntimeError, ValueError, IndexError, TypeError, UserWarning) as e:
        fix = (
            f"Return outputs of shape {tuple(targets.shape)}"
            if targets.is_floating_point()
            else "Return logits (n, classes)"
        )
        raise TaskError(f"{task}.loss: cannot compare {got} of {name}: {e} {fix}.") from e
    if not isinstance(value, Tensor):
        raise TaskError(f"{task}.loss: must return a scalar Tensor, got {type(value).__name__} for {got}.")
    if value.ndim:
        raise TaskError(
            f"{task}.loss: must return one number a batch, got shape {tuple(value.shape)} for {got}. Take its mean()."
        )
