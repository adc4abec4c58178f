"""INP: what enters the first layer with weights is scaled as such layers expect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.registry import Fact, Stage
from whet.checks.subject import Subject, reals, tensors
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity

__all__ = ["Inputs"]

_FIRST = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
_LOOKUP = (nn.Embedding, nn.EmbeddingBag)


class Inputs:
    """WARN when the tensor just before the first layer has a mean outside [-1, 1] or a spread outside [0.1, 3].

    The tensor is caught where it enters the first linear, convolutional or recurrent layer, so scaling done inside
    the model counts. Over all elements, and for images and sequences also over each channel that is not constant.
    Not for token numbers. Constant features are INFO.

    >>> raw = Subject(nn.Linear(2, 1), nn.MSELoss(), (torch.rand(50, 2) * 255,), torch.ones(50, 1))
    >>> [i.code for i in Inputs().look(raw) if isinstance(i, Finding)]
    ['INP']
    """

    code, stage, passes = "INP", Stage.PARTS, 1
    mean, low, high = 1.0, 0.1, 3.0

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Do one forward pass and measure what reaches the first layer."""
        with subject.look(self.code):
            entered, first = _entering(subject)
        if entered is None:
            yield NotRun(self.code, f"{INAPPLICABLE}the inputs are numbers of tokens or categories ({first})" if first else
                         "no linear, convolutional or recurrent layer was found")  # fmt: skip
            return
        x = entered.detach().double()
        mean, spread = float(x.mean()), float(x.std(correction=0))
        numbers: dict[str, Any] = {"mean": mean, "std": spread, "n": len(x), "layer": first, "shape": list(x.shape)}
        still = (x == x[:1]).reshape(len(x), -1).all(0)
        table = all(t.ndim == 2 for t in tensors(subject.inputs))  # the border of a picture may well be constant
        numbers["constant"] = int(still.sum()) if len(x) > 1 and table else 0
        yield Fact(f"inputs {mean:.2g} +- {spread:.2g}", numbers)
        low, high = self._channels(x)
        wrong = [f"mean {v:.3g}" for v in dict.fromkeys((mean, low[0], high[0])) if abs(v) > self.mean]
        wrong += [f"std {v:.3g}" for v in dict.fromkeys((spread, low[1], high[1])) if not self.low <= v <= self.high]
        if wrong and len(x) > 1 and bool(still.all()):
            yield Finding(self.code, Severity.WARN, subject.at("model"), numbers,
                          f"all {len(x)} examples are equal where they enter {first}", "look at what the model is fed")  # fmt: skip
        elif wrong:
            yield Finding(
                self.code, Severity.WARN, subject.at("model"),
                {**numbers, "allowed": {"mean": [-self.mean, self.mean], "std": [self.low, self.high]}},
                f"what enters {first} has {wrong[0]} (allowed: mean within +-{self.mean:g}, std {self.low:g} to {self.high:g})",
                "standardise with the training split's figures: x = (x - mean) / std",
            )  # fmt: skip
        elif numbers["constant"]:
            yield Finding(self.code, Severity.INFO, subject.at("model"), numbers,
                          f"{numbers['constant']} of {still.numel()} inputs have one value in all {len(x)} examples",
                          "drop them if that also holds for the whole training split")  # fmt: skip

    def _channels(self, x: Tensor) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the least and the greatest (mean, std) over channels; of everything when there are no channels."""
        if x.ndim < 4 or x.shape[1] > 16 or len(x) * x[0, 0].numel() < 1000:  # few elements: the figures are noise
            mean, spread = float(x.mean()), float(x.std(correction=0))
            return (mean, spread), (mean, spread)
        by = x.transpose(0, 1).flatten(1)
        means, spreads = by.mean(1), by.std(1, correction=0)
        moving = spreads > 0
        if not bool(moving.any()):
            moving[:] = True
        return (
            (float(means[moving].min()), float(spreads[moving].min())),
            (float(means[moving].max()), float(spreads[moving].max())),
        )


def _entering(subject: Subject) -> tuple[Tensor | None, str]:
    """Return the tensor that first reaches a layer with weights, and that layer's name; None after an embedding."""
    seen: list[tuple[Tensor | None, str]] = []

    numeric = bool(reals(subject.inputs))  # then tables of categories are only a part

    def watch(label: str, looked_up: bool) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            if not seen and looked_up and not numeric:
                seen.append((None, label))
            elif not seen and not looked_up and args and (found := reals(args[0])):
                seen.append((found[0].detach().clone(), label))

        return hook

    handles = [
        module.register_forward_pre_hook(
            watch(f"{label or 'the model'} ({type(module).__name__})", isinstance(module, _LOOKUP))
        )
        for label, module in subject.model.named_modules()
        if isinstance(module, (*_FIRST, *_LOOKUP))
    ]
    try:
        subject.model.eval()
        with torch.no_grad():
            subject.forward()
    finally:
        for handle in handles:
            handle.remove()
    return seen[0] if seen else (None, "")
