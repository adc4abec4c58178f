"""A loss that the model computes itself, read from what it returns: which outputs, which labels, which loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from whet.checks.subject import Answer, Subject, answer, call

__all__ = ["Read", "alone", "held", "read"]

_LABELS = ("labels", "label", "targets", "target", "y")
_SCORES = ("logits", "scores", "prediction", "predictions", "output", "outputs")


@dataclass(frozen=True)
class Read:
    """A loss of outputs and labels that is what the model computes; shift: outputs answer the labels one step later."""

    name: str
    kind: Answer | None
    shift: bool = False

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss."""
        if self.shift:
            return F.cross_entropy(outputs[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        if self.kind is not None and self.kind.kind == "classes":
            return F.cross_entropy(outputs.movedim(self.kind.axis, 1), labels)
        function: Callable[..., Tensor] = getattr(F, self.name)
        return function(outputs, labels.reshape(outputs.shape))


def alone(subject: Subject) -> bool:
    """Whether the loss is a number that the model returns, and nothing else of the outputs has a part in it.

    Inside a `look` only.

    >>> class Own(torch.nn.Linear):
    ...     def forward(self, x):
    ...         return {"loss": super().forward(x).square().mean(), "scores": x}
    >>> alone(Subject(Own(2, 1), lambda o, t: o["loss"], (torch.ones(4, 2),), None))
    True
    """
    subject.model.eval()
    with torch.no_grad():
        outputs = subject.forward()
        losses = [v for _, v in held(outputs) if v.numel() == 1]
        return any(float(v) == float(subject.cost(outputs)) for v in losses)


def held(outputs: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a mapping or an object by name; what the scores are usually called comes first."""
    if isinstance(outputs, Mapping):
        items = list(outputs.items())
    elif is_dataclass(outputs) and not isinstance(outputs, type):
        items = [(f.name, getattr(outputs, f.name)) for f in fields(outputs)]
    else:
        return
    items.sort(key=lambda item: item[0] not in _SCORES)
    yield from ((k, v) for k, v in items if isinstance(k, str) and isinstance(v, Tensor))


def read(subject: Subject) -> Subject | None:
    """Return the same program with its loss outside: the scores picked, the labels as targets. None when it cannot be read.

    The loss that is read has the same value and the same gradient for every parameter. Labels that the model does not
    need are no longer among its inputs. Inside a `look` only.

    >>> class Labelled(torch.nn.Linear):
    ...     def forward(self, x, labels):
    ...         scores = super().forward(x)
    ...         return {"loss": F.cross_entropy(scores, labels), "logits": scores}
    >>> inputs = {"x": torch.randn(6, 2), "labels": torch.arange(6) % 3}
    >>> found = read(Subject(Labelled(2, 3), lambda o, t: o["loss"], inputs, None))
    >>> found.pick, found.loss.name, found.targets.tolist()
    ('logits', 'cross_entropy', [0, 1, 2, 0, 1, 2])
    """
    if subject.pick is not None or subject.data is not None or not alone(subject):
        return None
    subject.model.eval()
    outputs = subject.forward()
    loss = subject.cost(outputs)
    weights = [p for p in subject.model.parameters() if p.requires_grad]
    wanted = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    for pick, scores in held(outputs):
        if not scores.is_floating_point() or scores.ndim < 1 or not scores.requires_grad:
            continue
        for key, labels in _labels(subject):
            for loss_of in _losses(scores, labels):
                value = loss_of(scores, labels)
                if not torch.isclose(value.detach(), loss.detach(), rtol=1e-4, atol=1e-7):
                    continue
                got = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
                if all(_same(a, b) for a, b in zip(wanted, got, strict=True)):
                    places = {**subject.places, "loss": subject.at("model")}
                    inputs = _without(subject, key, pick, scores)
                    return replace(subject, inputs=inputs, targets=labels, loss=loss_of, pick=pick, places=places)
    return None


def _labels(subject: Subject) -> Iterator[tuple[Any, Tensor]]:
    """Yield what may be the labels: the targets, and inputs by name (the usual names first) or place."""
    if isinstance(subject.targets, Tensor):
        yield None, subject.targets
    inputs = subject.inputs
    items = list(inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs))
    items.sort(key=lambda item: item[0] not in _LABELS)
    yield from ((k, v) for k, v in items if isinstance(v, Tensor))


def _losses(scores: Tensor, labels: Tensor) -> Iterator[Read]:
    """Yield the losses that these shapes allow."""
    whole = not labels.is_floating_point() and labels.dtype is not torch.bool
    kind = answer(scores, labels)
    if kind is not None and kind.kind == "classes" and _within(labels, kind.count):
        yield Read("cross_entropy", kind)
    if whole and scores.ndim == 3 and scores.shape[:2] == labels.shape and _within(labels, scores.shape[2]):
        yield Read("cross_entropy", kind, shift=True)
    if labels.is_floating_point() and labels.numel() == scores.numel():
        yield from (Read(name, kind) for name in ("mse_loss", "l1_loss", "smooth_l1_loss"))
        if bool(((labels >= 0) & (labels <= 1)).all()):
            yield Read("binary_cross_entropy_with_logits", kind)


def _within(labels: Tensor, count: int) -> bool:
    """Whether all are class numbers, or -100, which cross-entropy leaves out: others must not be tried (on a GPU they end the program)."""
    return bool((((labels >= 0) & (labels < count)) | (labels == -100)).all())


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two gradients are one; none at all and 0 are."""
    if a is None or b is None:
        return not any(t is not None and bool(t.any()) for t in (a, b))
    return bool((a - b).norm() <= 1e-3 * a.norm() + 1e-9)


def _without(subject: Subject, key: Any, pick: str, scores: Tensor) -> Any:
    """Return the inputs without the labels, where the model gives the same scores without them."""
    if isinstance(subject.inputs, Mapping):
        name = key if key is not None else next((k for k in _LABELS if k in subject.inputs), None)
        fewer: Any = {k: v for k, v in subject.inputs.items() if k != name}
    elif key is not None and key == len(subject.inputs) - 1:
        fewer = subject.inputs[:-1]
    else:
        return subject.inputs
    try:
        with torch.no_grad():
            again = dict(held(call(subject.model, subject.copies(fewer)))).get(pick)
    except Exception:  # it wants its labels
        return subject.inputs
    same = again is not None and again.shape == scores.shape and bool(torch.equal(again, scores.detach()))
    return fewer if same else subject.inputs
