"""Backwards through every step of a training: the gradient of where it ends by the hyperparameters it went by."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from whet.train.batches import sizes
from whet.train.callback import Callback
from whet.train.hypergradient.lifted import Lifted, quietly
from whet.train.hypergradient.outer import Outer, statistics
from whet.train.hypergradient.update import KINDS, updated
from whet.train.run import Run, generator
from whet.train.stream import stream

__all__ = ["Recorder", "size_of", "unrolled"]

_BACK = 4.0  # epochs of training that going back through the steps of one costs (measured 1 to 5)


@dataclass
class _Step:
    """What a step began with: inputs and targets as they were trained on, weights, states of the optimizer, and the generators of chance."""

    inputs: tuple[Tensor, ...]
    targets: Tensor
    weights: dict[str, Tensor]
    states: dict[str, dict[str, Tensor]]
    chance: tuple[Tensor, Any, Any]  # of PyTorch, NumPy and Python
    chance_there: Tensor | None  # of the device, when it has its own
    augment: Tensor | None  # of the augmentation, when it is made again


class Recorder(Callback):
    """Notes what each step of an epoch began with."""

    def __init__(self) -> None:
        self.steps: list[_Step] = []
        self.wanted = range(0)  # steps of the epoch
        self.again = False  # whether batches are augmented again, for the gradient by its strength
        self._generator: torch.Generator | None = None
        self._order = torch.zeros(0, dtype=torch.int64)
        self._sizes: list[int] = []
        self._at = self._examples = 0

    def begin(self, run: Run, wanted: range) -> None:
        """Get ready for the next epoch of `run`; wanted: which of its steps to note."""
        self.steps, self.wanted, self._at, self._examples = [], wanted, 0, 0
        order = torch.randperm(len(run.train), generator=generator("cpu", run.seed, "order", run.step))
        self._order = order.to(run.device)
        self._sizes = sizes(len(run.train), run.batch, alone=run.alone)
        self._generator = generator(run.device, run.seed, "augment", run.step) if self.again else None

    def batch(self, run: Run, inputs: tuple[Tensor, ...], targets: Tensor) -> None:
        """Note what there is before a step."""
        if self._at >= self.wanted.stop:
            return
        before = None
        if self._generator is not None:
            assert run.augment is not None
            before = self._generator.get_state()
            raw = run.train.batch(self._order[self._examples : self._examples + self._sizes[self._at]])
            self._examples += len(raw[1])
            run.augment(*raw, self._generator)  # draws what the run has drawn
            inputs, targets = run.train.batch(self._order[self._examples - len(raw[1]) : self._examples])
        self._at += 1
        if self._at - 1 not in self.wanted:
            return
        states = {
            n: {k: v.clone() for k, v in run.optimizer.state[p].items() if isinstance(v, Tensor)}
            for n, p in run.model.named_parameters()
            if p in run.optimizer.state
        }
        cuda = torch.cuda.get_rng_state(run.device) if run.device.type == "cuda" else None
        weights = {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}
        self.steps.append(
            _Step(
                inputs,
                targets,
                weights,
                states,
                (torch.get_rng_state(), np.random.get_state(), random.getstate()),
                cuda,
                before,
            )
        )


def unrolled(
    run: Run, states: Sequence[Mapping[str, Any]], lifted: Lifted, end: Outer, *, memory: int
) -> tuple[dict[str, float], float]:
    """Return the gradient of `end` by hyperparameters, through all epochs between `states`, of which it is the last; and what it cost, in epochs of training.

    run: whose recorder is its one callback; states: of a training, after each epoch. Each epoch is trained again from its beginning, to the bit,
    while every step's beginning is noted; then its steps are gone through backwards. Memory: `states`; weights, optimizer and examples of every step of one
    epoch, or of a part of it, when they exceed `memory` bytes, and then an epoch is trained again for each part; the graph of one step. Time: some four times that of the epochs beside training
    them again.

    What `end` depends on through the running averages of batch normalisation is a part of it; initial weights and averages are constants.
    """
    recorder = run.callbacks[0]
    assert isinstance(recorder, Recorder)
    recorder.again = lifted.augment is not None and run.augment is not None
    back, cost = _Back(run.model, lifted, end), 0.0
    factor = run.rate or (lambda _: 1.0)
    count = len(sizes(len(run.train), run.batch, alone=run.alone))
    each = size_of([states[-1]["model"], states[-1]["optimizer"]]) + size_of(run.train.parts) * run.batch // len(
        run.train
    )
    most = max(1, memory // max(1, each))
    chance = torch.Generator(run.device)
    for state in reversed(states[:-1]):
        cost += _BACK
        for last in range(count, 0, -most):
            run.restore({**state, "callbacks": [None]})
            recorder.begin(run, range(max(0, last - most), last))
            epoch = run.step
            next(iter(run))
            run.model.train()
            cost += 1.0
            with stream(0, "hypergradient", device=run.device), quietly():
                for i in reversed(recorder.wanted):
                    back.step(recorder.steps.pop(), factor(epoch + i / count), chance)
    recorder.wanted = range(0)
    return back.slopes, cost


def size_of(state: Any) -> int:
    """Return the bytes of the tensors in a state.

    >>> size_of({"a": torch.zeros(3), "b": [torch.zeros(2), 1]})
    20
    """
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(size_of(v) for v in state.values())
    return sum(size_of(v) for v in state) if isinstance(state, (list, tuple)) else 0


class _Back:
    """The slopes of the end by what a step ends with, taken back to what it began with, one step after the other."""

    def __init__(self, model: nn.Module, lifted: Lifted, end: Outer) -> None:
        self._model, self._lifted = model, lifted
        self._weights, self._states = dict(end.weights), {}  # type: ignore[var-annotated]
        self._averages = dict(end.statistics)
        self._watched = {n: pair for n, pair in statistics(model).items() if n in self._averages}
        self.slopes = dict(end.direct)

    def step(self, at: _Step, factor: float, chance: torch.Generator) -> None:
        """Go back through one step."""
        lifted = self._lifted
        inputs, targets = at.inputs, at.targets
        if at.augment is not None:
            assert lifted.augment is not None
            chance.set_state(at.augment)
            inputs, targets = lifted.augment(inputs, targets, chance)
        torch.set_rng_state(at.chance[0])
        np.random.set_state(at.chance[1])
        random.setstate(at.chance[2])
        if at.chance_there is not None:
            torch.cuda.set_rng_state(at.chance_there, inputs[0].device)
        weights = {n: w.requires_grad_() for n, w in at.weights.items()}
        smooth = KINDS[lifted.kind]
        moments = {n: {k: v.requires_grad_() for k, v in s.items() if k in smooth} for n, s in at.states.items()}
        with _Statistics(self._watched) as seen:
            loss = lifted.loss(functional_call(self._model, weights, inputs), targets)
        names = list(weights)
        gradients = torch.autograd.grad(loss, [weights[n] for n in names], create_graph=True, allow_unused=True)
        settings = lifted.settings(factor)
        ends: list[Tensor] = []
        slopes: list[Tensor] = []
        still: dict[str, Tensor] = {}  # of weights that took no step
        for name, g in zip(names, gradients, strict=True):
            by = self._weights.get(name)
            if g is None or name not in settings:
                if by is not None:
                    still[name] = by
                continue
            new, state = updated(
                lifted.kind,
                settings[name],
                weights[name],
                g,
                state={**at.states.get(name, {}), **moments.get(name, {})},
            )
            if by is not None:
                ends.append(new)
                slopes.append(by)
            for k, v in self._states.get(name, {}).items():
                if k in state:
                    ends.append(state[k])
                    slopes.append(v)
        for name, (module, what) in self._watched.items():
            assert module.momentum is not None
            ends.append(seen.of[module, what])
            slopes.append(self._averages[name] * module.momentum)
            self._averages[name] = self._averages[name] * (1 - module.momentum)
        pairs = [(e, s) for e, s in zip(ends, slopes, strict=True) if e.requires_grad]
        flat = [(n, k, v) for n, s in moments.items() for k, v in s.items()]
        leaves = [*(weights[n] for n in names), *(v for _, _, v in flat), *lifted.values.values()]
        if not pairs:
            return
        found = torch.autograd.grad([e for e, _ in pairs], leaves, [s for _, s in pairs], allow_unused=True)
        by_weights, rest = found[: len(names)], found[len(names) :]
        self._weights = {n: g for n, g in zip(names, by_weights, strict=True) if g is not None}
        for name, g in still.items():
            self._weights[name] = self._weights[name] + g if name in self._weights else g
        self._states = {}
        for (n, k, _), g in zip(flat, rest, strict=False):
            if g is not None:
                self._states.setdefault(n, {})[k] = g
        for name, g in zip(lifted.values, rest[len(flat) :], strict=True):
            if g is not None:
                self.slopes[name] = self.slopes.get(name, 0.0) + float(g)


class _Statistics:
    """Means and variances of the batch that batch normalisations see in a forward pass, as functions of the weights."""

    def __init__(self, watched: Mapping[str, tuple[nn.Module, str]]) -> None:
        self._modules = {module for module, _ in watched.values()}
        self.of: dict[tuple[nn.Module, str], Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> _Statistics:
        self._handles = [m.register_forward_pre_hook(self._look) for m in self._modules]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _look(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        x = args[0]
        over = [d for d in range(x.ndim) if d != 1]
        self.of[module, "mean"], self.of[module, "var"] = x.mean(over), x.var(over)
