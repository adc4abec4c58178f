"""IIB: after a short training the model does better on held-out examples than one that never sees the inputs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.dynamics import Dynamics
from whet.checks.floor import best_constant, linked
from whet.checks.registry import Fact, Stage
from whet.checks.sandbox import sandbox
from whet.checks.subject import Answer, Subject
from whet.data.split import Data, Split
from whet.errors import TaskError
from whet.finding import Finding, NotRun, Severity

__all__ = ["Baseline"]


class Baseline:
    """WARN when the paired gain over the input-blind baseline on held-out examples is not above z = 3.

    Gain of an example: its loss under the best constant output of the training targets, minus its loss under the
    trained model. The constant is what training on constant inputs converges to, so the blind model need not be
    trained, and it is at its best. The model is looked at after 30, 100 and 300 steps, stopping at the first that
    is enough, and the threshold carries that choice (Bonferroni: 3.32 for three looks). A first training with the
    task's own optimizer that shows nothing is followed by a second with another seed and Adam(1e-3): data without
    a signal and a bug look the same, hence WARN.

    >>> from whet.data.split import Split
    >>> from whet.task import Task
    >>> class Sign(Task):
    ...     def data(self, params):
    ...         x = torch.linspace(-1, 1, 200)[torch.arange(200) * 37 % 200][:, None]
    ...         y = (x[:, 0] > 0).long()
    ...         return Data(Split(x[:120], y[:120]), Split(x[120:], y[120:]))
    ...     def model(self, params):
    ...         return nn.Linear(1, 2)
    >>> from whet.checks.skeleton import check_task
    >>> health = check_task(Sign(), {}, checks=["IIB"])
    >>> health.findings, health.facts["IIB"]["n"]
    ((), 80)
    """

    code, stage, passes = "IIB", Stage.LEARN, 100
    looks, most, least, z = (30, 100, 300), 1000, 20, 3.0

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Train freshly made models for up to 300 steps on the training split."""
        data, make = subject.data, subject.make
        if data is None or make is None:
            yield NotRun(
                self.code, "needs held-out examples and fresh models, not one batch: use check_task(task, params)"
            )
            return
        if len(data.valid) < self.least:
            yield NotRun(
                self.code, f"{len(data.valid)} validation examples are too few to compare on (at least {self.least})"
            )
            return
        tail = statistics.NormalDist().cdf(-self.z) / len(self.looks)
        threshold = -statistics.NormalDist().inv_cdf(tail)
        best: dict[str, Any] = {}
        with subject.look(self.code):
            for attempt in range(2):
                found = self._train(subject, data, attempt, threshold)
                if isinstance(found, NotRun):
                    yield found
                    return
                dynamics = found.pop("dynamics")
                if not best or found["z"] > best["z"]:
                    best, series = found, {"dynamics": dynamics}
                if best["z"] > threshold:
                    break
        best["threshold"] = threshold
        verb = "beats" if best["z"] > threshold else "does not beat"
        yield Fact(f"{verb} the input-blind baseline (z {best['z']:.0f})", best, series=series)
        if best["z"] <= threshold:
            yield Finding(
                self.code, Severity.WARN, subject.at("model"), best,
                f"after {best['steps']} steps, twice, held-out loss {best['loss']:.4g} is not below the {best['blind']:.4g} of a "
                f"model that never sees the inputs (z {best['z']:.1f}, needs {threshold:.1f}, n {best['n']})",
                "check that inputs and targets belong together (shuffled apart, joined by the wrong key), and that the "
                "inputs say anything about the target",
            )  # fmt: skip

    def _train(self, subject: Subject, data: Data, attempt: int, threshold: float) -> dict[str, Any] | NotRun:
        """Return the best of the looks of one training."""
        assert subject.make is not None
        model, optimizer = subject.make(subject.seed + attempt)
        if attempt:
            optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
        draw = torch.Generator().manual_seed(subject.seed + attempt)
        valid = data.valid.take(torch.randperm(len(data.valid), generator=draw)[: self.most])
        with sandbox(model, seed=(subject.seed, "check", self.code, attempt)):  # float32
            outputs = self._outputs(subject, model, valid)
        with torch.no_grad():
            free, outputs, kind = linked(subject, outputs, valid.targets)
        if kind is None:
            return NotRun(self.code, "no input-blind model is known for this pair of outputs and targets")
        blind = free.each(
            self._blind(free, outputs, data.train.targets, kind).expand_as(outputs).contiguous(), valid.targets
        )
        best: dict[str, Any] = {}
        fixed = valid.take(torch.arange(min(64, len(valid))))
        dynamics, (free, seen, _) = Dynamics(fixed.targets, kind), linked(subject, outputs[: len(fixed)], fixed.targets)
        dynamics.note(0, seen)
        order: list[int] = []
        with sandbox(model, seed=(subject.seed, "check", self.code, attempt)):  # float32, randomness of its own
            for step in range(1, self.looks[-1] + 1):
                model.train()
                size = min(subject.batch, len(data.train))
                if len(order) < size:
                    order = torch.randperm(len(data.train), generator=draw).tolist()
                index, order = torch.tensor(order[:size]), order[size:]
                inputs, targets = data.train.batch(index)
                self._step(subject, model, optimizer, inputs, targets)
                if Dynamics.wanted(step, self.looks):
                    dynamics.note(step, linked(subject, self._outputs(subject, model, fixed), fixed.targets)[1])
                if step not in self.looks:
                    continue
                losses = subject.each(self._outputs(subject, model, valid), valid.targets)
                gain = (blind - losses)[torch.isfinite(blind)]
                spread = float(gain.std()) / math.sqrt(len(gain))
                z = float(gain.mean()) / spread if math.isfinite(spread) and spread > 0 else -math.inf
                if not best or z > best["z"]:
                    best = {"z": z, "loss": float(losses.mean()), "blind": float(blind.mean()), "steps": step,
                            "n": len(gain), "gain": float(gain.mean()), "optimizer": type(optimizer).__name__}  # fmt: skip
                if z > threshold:
                    break
        return {**best, "dynamics": dynamics.json()}

    def _blind(self, subject: Subject, outputs: Tensor, targets: Tensor, kind: Answer) -> Tensor:
        """Return the best constant output for the training targets."""
        known = targets[: max(self.most, min(20_000, 20_000_000 // max(1, outputs[0].numel())))].to(outputs.device)
        like = torch.zeros(1, *outputs.shape[1:], dtype=outputs.dtype, device=outputs.device)
        return best_constant(subject.cost, like.expand(len(known), *outputs.shape[1:]), known, kind)

    def _outputs(self, subject: Subject, model: nn.Module, split: Split) -> Tensor:
        """Return the outputs for a split in eval mode, computed 250 examples at a time."""
        model.eval()
        with torch.no_grad():
            chunks = torch.arange(len(split)).split(250)
            parts = [subject.forward(split.batch(index)[0], model) for index in chunks]
            if not isinstance(parts[0], Tensor):
                raise TaskError(f"the model returns a {type(parts[0]).__name__}, and one tensor is compared")
            return torch.cat(parts)

    def _step(
        self,
        subject: Subject,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        inputs: tuple[Tensor, ...],
        targets: Tensor,
    ) -> None:
        """Do one step of training."""

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = subject.cost(subject.forward(inputs, model), targets)
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]
