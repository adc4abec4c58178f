"""ACT: the units of every layer react: none is dead, few are saturated, and what comes out varies with the examples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn

from whet.checks.activations import Activations, Site
from whet.checks.initial import quiet
from whet.checks.registry import Fact, Stage
from whet.checks.subject import Subject, tensors
from whet.checks.traced import rounded
from whet.finding import Finding, NotRun, Severity
from whet.seed import key

__all__ = ["Units", "dead", "saturated"]

_MOST = 100  # layers that are told one by one
_SMALLEST = 10  # units of a layer that may be called dead: fewer are dead together by chance once in a thousand times
_OF_VALUES = (nn.Softmax, nn.Softmin, nn.LogSoftmax)


def dead(site: Site) -> tuple[int, float]:
    """Return how many units of a site are dead, and how likely as many are for symmetric random weights.

    Dead: no input in the part where the function has a derivative, not all inputs exactly 0 (weights of 0 are another
    matter). A unit whose weights and bias are as likely as their opposite is dead with a probability of at most 1/2,
    each by itself given the layers before, so the number is at most binomial: its upper tail.

    >>> net = nn.Sequential(nn.Linear(2, 16), nn.ReLU()); net[0].bias.data[:12] = -9
    >>> with Activations(net) as seen:
    ...     _ = net(torch.rand(8, 2))
    >>> count, p = dead(*seen.sites.values()); count >= 12, p < 0.04
    (True, True)
    """
    if site.flat or not site.calls:
        return 0, 1.0
    count = int((site.dead & ~site.zero).sum())
    return count, float(stats.binom.sf(count - 1, site.units, 0.5))


def saturated(site: Site) -> float:
    """Return the share of a tanh's or sigmoid's inputs in its flat part (|tanh| > 0.95, sigmoid beyond 0.025 and 0.975).

    Where all of them lie on one side, as in a gate that starts closed, only those beyond 0.001 or 0.999 count.
    """
    if not site.flat or not site.calls:
        return 0.0
    low, high, total = float(site.low), float(site.high), site.samples * site.units
    one_sided = min(low, high) < 0.05 * (low + high)
    return (float(site.far) if one_sided else low + high) / total


def layer(site: Site) -> dict[str, Any]:
    """Return what enters an activation, and its share of dead units or saturated inputs, as JSON values."""
    n = max(1, site.samples * site.units)
    mean = float(site.total.sum()) / n
    spread = math.sqrt(max(0.0, float(site.square.sum()) / n - mean**2))
    return {"layer": site.layer, "kind": site.kind, "units": site.units, **dict(zip(("mean", "spread"), rounded([mean, spread]), strict=True)),
            "dead": dead(site)[0], "saturated": rounded([saturated(site)])[0]}  # fmt: skip


class Units:
    """FAIL when every unit of a layer is dead, WARN when significantly more than half are, or a layer is saturated, or
    a layer gives the same output for different inputs.

    Dead (ReLU and its kin): no input where the derivative is not 0, over 1,000 inputs a unit in 3 batches or, where
    there is less data, by 6 standard deviations of the inputs. FAIL from 10 units on. WARN above 50 % with a binomial
    p < 1e-3 over all layers together. Saturated: above 85 % of the inputs of a tanh or sigmoid, the model's output
    sigmoid left out (a prior of 1 % is a sigmoid of 0.01), before any step. Constant: the outputs of a layer of torch.nn
    differ by less than 1e-6 of their size between examples while its inputs do; a layer of zeros is left out.

    >>> net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    >>> net[0].bias.data.fill_(-100)[0].item()
    -100.0
    >>> s = Subject(net, nn.CrossEntropyLoss(), (torch.randn(64, 4),), torch.arange(64) % 3)
    >>> [(i.severity.value, i.message) for i in Units().look(s) if isinstance(i, Finding)]
    [('FAIL', 'all 32 units of 1 (ReLU) are dead: 0 for all 64 inputs, with a gradient of 0')]
    """

    code, stage, passes = "ACT", Stage.START, 8
    batches, enough, away, most, share = 3, 1000, 6.0, 0.5, 0.85

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Do a few forward passes and look at what each layer gives out."""
        fresh = subject.optimizer is None or not len(subject.optimizer.state)
        still: dict[str, dict[str, Any]] = {}
        with subject.look(self.code):
            quiet(subject.model)
            seen = Activations(subject.model)
            given = list(self._given(subject))
            for i, inputs in enumerate(given):
                with seen:
                    outputs = subject.forward(inputs) if i else self._constant(subject, inputs, still)
            ends = {t.untyped_storage().data_ptr() for t in tensors(outputs)}
            for site in seen.sites.values():
                at_end = isinstance(site.last, Tensor) and site.last.untyped_storage().data_ptr() in ends
                site.last = at_end
        sites = list(seen.sites.values())
        if not sites and not still:
            yield NotRun(self.code, "no activation function was seen (compiled, scripted or fused ones cannot be)")
            return
        yield from self._judge(subject, sites, still, fresh)

    def _given(self, subject: Subject) -> Iterator[Any]:
        """Yield the inputs of each pass: three batches where data is there, else the sample."""
        if subject.data is None:
            yield (subject.sample or (subject.inputs, subject.targets))[0]
            return
        train = subject.data.train
        size = sum(p[0].numel() for p in train.parts)
        each = max(subject.n, min(512, 1_000_000 // max(1, size)))
        chance = torch.Generator().manual_seed(key(subject.seed, "check", self.code, "batch"))
        order = torch.randperm(len(train), generator=chance)
        for i in range(self.batches):
            index = order[i * each : (i + 1) * each]
            if len(index) > 1 or (i == 0 and len(index)):
                yield train.batch(index)[0]

    def _constant(self, subject: Subject, inputs: Any, still: dict[str, dict[str, Any]]) -> Any:
        """Do one pass, noting into `still` which layers of torch.nn turn different inputs into one output."""

        def watch(label: str) -> Any:
            def hook(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
                x, y = (next(iter(tensors(t)), None) for t in (args, out))
                if x is None or y is None or min(x.ndim, y.ndim) < 1 or len(x) != len(y) or len(y) < 4:
                    return
                weight = getattr(module, "weight", None)
                if not y.is_floating_point() or (isinstance(weight, Tensor) and not bool(weight.any())):
                    return
                apart, size = float((y - y[:1]).abs().max()), float(y.abs().max())
                within = float((x - x[:1]).abs().max()) if x.is_floating_point() else float((x != x[:1]).any())
                nothing = size > 0 and (apart <= 1e-6 * size or (weight is None and apart <= 1e-7 * within))
                if within > 1e-4 * float(x.abs().max()) and (nothing or (size == 0 and weight is not None)):
                    still.setdefault(label, {"apart": apart, "size": size, "inputs_apart": within, "n": len(y)})

            return hook

        handles = [m.register_forward_hook(watch(f"{k or 'the model'} ({type(m).__name__})"))
                   for k, m in subject.model.named_modules() if _layer(m)]  # fmt: skip
        try:
            with torch.no_grad():
                subject.forward(inputs)
        finally:
            for handle in handles:
                handle.remove()
        return subject.forward(inputs)

    def _judge(
        self, subject: Subject, sites: list[Site], still: dict[str, dict[str, Any]], fresh: bool
    ) -> Iterator[Finding | Fact | NotRun]:
        """Turn what was seen into a verdict: at most one finding of each kind, on the first layer that has it."""
        counted = [(s, *dead(s)) for s in sites if not s.flat and s.calls]
        flat = [(s, saturated(s)) for s in sites if s.flat and fresh and not (s.kind == "sigmoid" and s.last)]
        share = max((count / s.units for s, count, _ in counted), default=0.0)
        numbers: dict[str, Any] = {
            "layers": len(sites), "dead_share": share, "saturated_share": max((v for _, v in flat), default=0.0),
            "n": max((s.samples for s in sites), default=subject.n),
        }  # fmt: skip
        worst = max(share, numbers["saturated_share"])
        text = f"at most {worst:.0%} of a layer dead or saturated" if sites else ""
        yield Fact(text, numbers, series={"sites": [layer(s) for s in sites[:_MOST]]})
        for site, count, p in counted:
            sure = site.samples >= self.enough and site.calls >= self.batches
            sure = sure or bool((site.distance()[site.dead & ~site.zero] < -self.away).all())
            evidence = {**numbers, "layer": site.layer, "kind": site.kind, "dead": count, "units": site.units,
                        "samples": site.samples, "threshold": self.most}  # fmt: skip
            fix = f"set the biases before {site.layer} to 0, scale its inputs to about 1, or use nn.LeakyReLU()"
            nothing = "0" if site.kind in ("relu", "relu6", "hardswish") else "flat"
            if count == site.units >= _SMALLEST and sure:
                yield Finding(self.code, Severity.FAIL, _where(subject, site), {**evidence, "threshold": 1.0},
                              f"all {count} units of {site.layer} are dead: {nothing} for all {site.samples} inputs, "
                              "with a gradient of 0", fix)  # fmt: skip
                break
            p = min(1.0, p * len(counted))
            if count > self.most * site.units and p < 1e-3 and sure:
                yield Finding(self.code, Severity.WARN, _where(subject, site), {**evidence, "p": p},
                              f"{count} of {site.units} units of {site.layer} are dead: {nothing} for all {site.samples} inputs",
                              fix)  # fmt: skip
                break
        for site, value in flat:
            if value > self.share:
                yield Finding(
                    self.code, Severity.WARN, _where(subject, site),
                    {**numbers, "layer": site.layer, "kind": site.kind, "saturated": value, "threshold": self.share,
                     "samples": site.samples, "units": site.units},
                    f"{value:.0%} of what enters {site.kind} in {site.layer} lies where it is flat (allowed {self.share:.0%})",
                    "scale what enters: standardise the inputs, nn.init.xavier_uniform_(weight), or a LayerNorm before it",
                )  # fmt: skip
                break
        for label, evidence in list(still.items())[:1]:
            yield Finding(self.code, Severity.WARN, subject.at("model"), {**numbers, **evidence, "layer": label, "threshold": 1e-6},
                          f"{label} gives the same output for {evidence['n']} different inputs (they differ by "
                          f"{evidence['apart']:.1g} of {evidence['size']:.1g})",
                          "look for a norm or softmax over one element, a pooling after InstanceNorm, or tiny weights")  # fmt: skip


def _where(subject: Subject, site: Site) -> str:
    """Return where an activation stands: the user's own line, else the model's place."""
    return f"{site.line} ({site.layer})" if site.line else subject.at("model")


def _layer(module: nn.Module) -> bool:
    """Whether a module is a leaf of torch.nn that computes outputs from inputs and is no activation or lookup."""
    kind = type(module)
    if not kind.__module__.startswith("torch.nn.modules") or next(module.children(), None) is not None:
        return False
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag, nn.Identity)) or "dropout" in kind.__module__:
        return False
    return "activation" not in kind.__module__ or isinstance(module, _OF_VALUES)
