"""What to write so that a pass which raises or is not finite would work: found by trying, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.subject import Subject, answer, mapped, tensors

__all__ = ["for_loss", "for_model", "no_gpu", "not_finite"]

_FITS = "loss(model(inputs), targets) must run on one batch"
_TARGETS: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("targets.long()", lambda t: t.long() if _whole(t) else t),
    ("targets.float()", lambda t: t.float()),
    ("targets.squeeze(1)", lambda t: t.squeeze(1)),
    ("targets.squeeze(1).long()", lambda t: t.squeeze(1).long() if _whole(t) else t),
    ("targets.unsqueeze(1)", lambda t: t.unsqueeze(1)),
    ("targets.unsqueeze(1).float()", lambda t: t.unsqueeze(1).float()),
)


def for_model(subject: Subject, error: BaseException) -> str:
    """Return how to mend a forward pass that raised `error`.

    >>> s = Subject(nn.Linear(2, 1), nn.MSELoss(), (torch.ones(4, 2, dtype=torch.int64),), torch.ones(4, 1))
    >>> for_model(s, RuntimeError("mat1 and mat2 must have the same dtype"))
    'give it inputs of the dtype of its weights: inputs.float()'
    """
    weight = next((p for p in subject.model.parameters() if p.is_floating_point()), None)
    if "more than 1 value per channel" in str(error):
        return "give two examples or more, and drop a last batch of one: DataLoader(..., drop_last=True)"
    for module in subject.model.modules():
        if isinstance(error, IndexError) and isinstance(module, nn.Embedding):
            least, most = _range(t for t in tensors(subject.inputs) if not t.is_floating_point())
            if least < 0 or most >= module.num_embeddings:
                return (
                    f"the inputs hold numbers from {least} to {most}: nn.Embedding({max(most + 1, 1)}, ...) holds them"
                    + (", and counting begins at 0" if least < 0 else "")
                )
    if weight is not None and any(t.dtype is not weight.dtype for t in tensors(subject.inputs)):
        with suppress(Exception, SystemExit), torch.no_grad():
            subject.forward(mapped(lambda t: t.to(weight.dtype), subject.inputs))
            kind = str(weight.dtype).removeprefix("torch.")
            cast = {"float32": "float", "float64": "double"}.get(kind, f"to(torch.{kind})".removesuffix("()"))
            return f"give it inputs of the dtype of its weights: inputs.{cast}{'()' if '(' not in cast else ''}"
    if without := no_gpu(error):
        return without
    return _FITS


def for_loss(subject: Subject, outputs: Any, error: BaseException) -> tuple[str, str]:
    """Return what else is to be said of a loss that raised `error`, and how to mend it.

    >>> s = Subject(nn.Linear(2, 3), nn.CrossEntropyLoss(), (torch.ones(4, 2),), torch.ones(4))
    >>> for_loss(s, torch.zeros(4, 3), RuntimeError("expected target dtype to be Long"))
    ('', 'give it targets.long()')
    """
    targets = subject.targets
    if isinstance(targets, Tensor) and targets.numel():
        kind = answer(outputs, targets)
        if kind is not None and kind.kind == "classes":
            least, most = _range([targets])
            if most >= kind.count:
                return f", class numbers up to {most} for {kind.count} outputs", f"give the model {most + 1} outputs"
            if least < 0:
                said = f", class numbers from {least}"
                return said, f"count classes from 0; leave {least} out of the loss with ignore_index={least}"
        for words, change in _TARGETS:
            with suppress(Exception, SystemExit), torch.no_grad():
                subject.cost(outputs, change(targets))
                return "", f"give it {words}"
    return "", f"make both fit; {_FITS}"


def not_finite(subject: Subject, outputs: Any) -> str:
    """Return where the first values are that are not finite: inputs, targets, weights, outputs; "" when all are.

    >>> s = Subject(nn.Linear(2, 1), nn.MSELoss(), (torch.tensor([[1.0, float("nan")]]),), torch.ones(1, 1))
    >>> not_finite(s, None)
    '1 of 2 values of the inputs'
    """
    weights = [(k, p) for k, p in subject.model.named_parameters()]
    for name, tree in (
        ("the inputs", subject.inputs),
        ("the targets", subject.targets),
        *weights,
        ("the outputs", outputs),
    ):
        found = [t.detach() for t in tensors(tree) if t.is_floating_point() and not t.is_sparse]
        bad = sum(int((~torch.isfinite(t)).sum()) for t in found)
        if bad:
            return f"{bad} of {sum(t.numel() for t in found)} values of {name}"
    return ""


def _whole(t: Tensor) -> bool:
    return not t.is_floating_point() or bool((t == t.round()).all())


def _range(found: Iterable[Tensor]) -> tuple[int, int]:
    """Return the least and the greatest number in some tensors."""
    held = [t for t in found if t.numel()]
    return min((int(t.min()) for t in held), default=0), max((int(t.max()) for t in held), default=0)


def no_gpu(error: BaseException) -> str:
    """Return what to do where a program wants a GPU and the machine has none; "" elsewhere."""
    if torch.cuda.is_available() or not any(sign in str(error).lower() for sign in ("cuda", "gpu", "nvidia")):
        return ""
    return "this machine has no GPU: run the check where the model can run, or make it one that also runs on the CPU"
