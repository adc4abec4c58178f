"""LOOP: the user's own training step does what a step must: forward in training mode, backward, clip, optimizer, scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from whet.checks.registry import Fact, Stage
from whet.checks.runs import edited
from whet.checks.subject import Subject, tensors
from whet.checks.watch import Cycle, between, cycle, flat, trial, unwatched
from whet.errors import one_line
from whet.finding import Finding, NotRun, Severity

__all__ = ["Loop"]

_LOUD = 2.0**20  # makes any gradient long enough to be clipped


class Loop:
    """Watch the user's own step for three steps of the optimizer.

    FAIL when it raises, never steps the optimizer, never goes backward (no_grad around the forward pass), clears the
    gradients before they are used, or clips them when that has no effect (after the optimizer's step: there the norm
    falls by 100 or more; or before unscale_: the clipped norm follows the loss scale). WARN when the model is in eval
    mode and that matters, the optimizer steps before the backward pass, a scheduler steps before the optimizer, or the
    step edits the batch. INFO when batch norms are held in eval mode.

    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), 0.1)
    >>> def step(batch):
    ...     optimizer.zero_grad()
    ...     torch.nn.functional.mse_loss(net(batch[0]), batch[1]).backward()
    >>> batch = torch.randn(8, 2), torch.randn(8, 1)
    >>> s = Subject(net, torch.nn.MSELoss(), batch[:1], batch[1], optimizer, step=step, given=batch)
    >>> [i.message for i in Loop().look(s) if isinstance(i, Finding)]
    ['the step was called 256 times and never called optimizer.step()']
    """

    code, stage, passes = "LOOP", Stage.STEPS, 8
    steps, drop = 3, 0.01

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Run the step, and yield the first thing that breaks the loop, or all that only hurts it."""
        reason = unwatched(subject, self.code)
        if reason is not None:
            yield reason
            return
        with trial(subject, self.code) as things:
            before = {k: p.detach().clone() for k, p in subject.model.named_parameters()}
            cycles: list[Cycle] = []
            while len(cycles) < self.steps and all(c.stepped and c.error is None for c in cycles):
                cycles.append(cycle(subject, lambda _: subject.given, things))
            now = dict(subject.model.named_parameters())
            changed = sum(k not in now or not torch.equal(now[k].detach(), p) for k, p in before.items())
            clip: dict[str, Any] = {}
            if cycles[-1].stepped and cycles[-1].error is None:
                clip = self._clips(subject, things)
        seen = [f for c in cycles for f in c.forwards]
        numbers: dict[str, Any] = {
            "steps": sum(c.stepped for c in cycles), "calls": sum(c.calls for c in cycles), "forwards": len(seen),
            "training": sum(f.training for f in seen), "changed": changed, "parameters": len(before), "n": subject.n, **clip,
        }  # fmt: skip
        broken = self._broken(subject, cycles, numbers)
        if isinstance(broken, NotRun):
            yield broken
            return
        yield Fact(f"the step changes {changed} of {len(before)} parameters", numbers)
        yield from [broken] if broken is not None else self._hurt(subject, cycles, numbers)

    def _broken(self, subject: Subject, cycles: list[Cycle], numbers: dict[str, Any]) -> Finding | NotRun | None:
        """Return what keeps the step from training."""

        def bad(message: str, fix: str) -> Finding:
            return Finding(self.code, Severity.FAIL, subject.at("step"), numbers, message, fix)

        last = cycles[-1]
        seen = [f for c in cycles for f in c.forwards]
        blind = bool(seen) and not any(f.grad for f in seen)
        no_grad = ("remove torch.no_grad() or inference_mode() from around the model's forward pass",)
        if last.error is not None and blind:
            return bad("the forward pass of the step runs without gradients", *no_grad)
        if last.error is not None:
            got = one_line(f"{type(last.error).__name__}: {last.error}")[:300].rstrip(".")
            return bad(f"the step raises on the batch: {got}",
                       "step((inputs, targets)) must do one step on the batch that check is given")  # fmt: skip
        if last.late and not last.stepped:
            return NotRun(self.code, f"out of time after {last.calls} calls of the step without one of the optimizer's")
        if not last.stepped and numbers["changed"]:
            return NotRun(self.code, "the step changes the weights, but not by the optimizer that check was given")
        if not last.stepped:
            return bad(f"the step was called {last.calls} times and never called optimizer.step()",
                       "optimizer.step() after loss.backward()")  # fmt: skip
        events = [e for c in cycles for e in c.events]
        if blind and "backward" not in events:
            return bad("the forward pass of the step runs without gradients", *no_grad)
        held = {id(p) for g in subject.optimizer.param_groups for p in g["params"]}  # type: ignore[union-attr]
        if not any(id(p) in held for p in subject.model.parameters() if p.requires_grad):
            return NotRun(self.code, "the optimizer holds none of the model's parameters")
        if "backward" not in events:
            return bad(f"{len(cycles)} steps of the optimizer, and no gradient arrived before or between them",
                       "loss.backward() before optimizer.step(); the loss must be computed by the model that check is given")  # fmt: skip
        if any(c.live for c in cycles) and not any(bool(g.any()) for c in cycles for g in c.grads.values()):
            return bad("gradients arrive, and are cleared before the optimizer steps",
                       "optimizer.zero_grad() before loss.backward(), not between it and optimizer.step()")  # fmt: skip
        if not numbers["changed"] and all(float(g["lr"]) == 0 for g in subject.optimizer.param_groups):  # type: ignore[union-attr]
            return bad(f"{len(cycles)} steps change nothing: the learning rate is 0", "set lr above 0")
        if numbers.get("after", 1.0) < self.drop:
            return bad(f"gradients are clipped after the optimizer's step, where it has no effect (norm {numbers['norm']:.2g} at the "
                       f"step, {numbers['norm'] * numbers['after']:.2g} after it)",
                       "clip_grad_norm_ between loss.backward() and optimizer.step()")  # fmt: skip
        if not 0.5 < numbers.get("scaled", 1.0) < 2:
            return bad(f"gradients are clipped while they still carry the loss scale (a scale of a 16th changes the clipped norm by "
                       f"{numbers['scaled']:.2g})",
                       "scaler.unscale_(optimizer) before clip_grad_norm_")  # fmt: skip
        return None

    def _hurt(self, subject: Subject, cycles: list[Cycle], numbers: dict[str, Any]) -> Iterator[Finding]:
        """Yield what makes it train worse."""
        where = subject.at("step")
        # the first cycle may begin in the middle of an accumulation
        late = [c for c in cycles[1:] if c.events and c.events[0] == "step"]
        if late:
            yield Finding(self.code, Severity.WARN, where, numbers,
                          "the optimizer steps before the backward pass: each gradient is used one batch later",
                          "loss.backward(), then optimizer.step()")  # fmt: skip
        learning = [f for c in cycles for f in c.forwards if f.grad]
        if learning and not any(f.training for f in learning):
            apart = self._modes_differ(subject)
            if apart > 0:
                yield Finding(self.code, Severity.WARN, where, {**numbers, "apart": apart},
                              "the model trains in eval mode: dropout is off, batch norms keep their first statistics",
                              "model.train() at the beginning of the step or of every epoch")  # fmt: skip
        else:
            held = sorted({k for f in learning for k in f.frozen})
            if held:
                yield Finding(self.code, Severity.INFO, where, {**numbers, "held": held[:8]},
                              f"{len(held)} batch norms are in eval mode while the model trains: their statistics stay as they are",
                              "fine for a pretrained model; else let model.train() reach them")  # fmt: skip
        early = next((c.early for c in cycles if c.early), ())
        if early:
            yield Finding(self.code, Severity.WARN, where, {**numbers, "schedulers": list(early)},
                          f"{early[0]}.step() comes before optimizer.step(): the first learning rate is skipped",
                          "optimizer.step(), then scheduler.step()")  # fmt: skip
        if any(c.edited for c in cycles):
            with subject.look(self.code):
                model = edited(subject)
            if not model:  # else RUN says so
                yield Finding(self.code, Severity.WARN, where, numbers,
                              "the step changes its batch in place, and with it the data it is a view of",
                              "x = x * 2 in place of x *= 2; clone what must be edited")  # fmt: skip

    def _clips(self, subject: Subject, things: list[Any]) -> dict[str, Any]:
        """Return the gradient's norm when it is too long: at the step, after it, and with a 16th of the loss scale."""

        def loud(part: float) -> Cycle | None:
            with between(things, subject.seed):
                for thing in things:
                    if part != 1 and isinstance(thing, torch.amp.GradScaler) and thing.is_enabled():
                        thing.update(thing.get_scale() * part)
                seen = cycle(subject, lambda _: subject.given, things, scale=_LOUD)
            return seen if seen.stepped and seen.error is None and seen.grads else None

        whole = loud(1.0)
        if whole is None:
            return {}
        norm, after = float(flat(whole.grads).norm()), float(flat(whole.after).norm())
        if not 0 < norm < float("inf"):
            return {}
        found = {"norm": norm} | ({"after": after / norm} if 0 < after < float("inf") else {})
        if any(isinstance(t, torch.amp.GradScaler) and t.is_enabled() for t in things):
            part = loud(1 / 16)
            other = float(flat(part.grads).norm()) if part is not None else 0.0
            found |= {"scaled": other / norm} if 0 < other < float("inf") else {}
        return found

    def _modes_differ(self, subject: Subject) -> float:
        """Return how far the outputs in training mode are from those in eval mode."""
        with subject.look(self.code), torch.no_grad():
            outputs: list[list[Tensor]] = []
            for mode in (True, False):
                subject.model.train(mode)
                with torch.random.fork_rng(devices=[]):
                    outputs.append([t.double() for t in tensors(subject.forward()) if t.is_floating_point()])
        gaps = [float((a - b).abs().max()) for a, b in zip(*outputs, strict=True) if a.shape == b.shape and a.numel()]
        return max(gaps, default=0.0)
