"""Rules that apply each gradient as it comes: asynchronous SGD and what mends its delay."""

from __future__ import annotations

from typing import Any

import torch

from whet.distributed.pieces import pieces, room
from whet.distributed.rule import Local, Memory, Rule
from whet.distributed.update import Held, Refused, Update
from whet.errors import UsageError

__all__ = ["accumulate", "asynchronous", "bounded", "delay_compensated", "discount", "weighted"]

Merged = tuple[Memory, Update | Refused | None]


def asynchronous() -> Rule:
    """ASGD: each gradient is applied as it arrives, at whatever weights there are by then.

    w <- w - eta g(w_bak), with w_bak what the worker pulled. The staleness of a push is the number of updates applied between
    its pull and itself. When nothing is dropped and each worker pulls again at once, its mean over all pushes tends to M - 1 for
    M workers of whatever speeds: an identity, since between two of its own pushes a worker sees every other push.
    """
    return Rule("async")


def bounded(s: int) -> Rule:
    """Stale-synchronous: a worker may be at most `s` steps ahead of the slowest that lives.

    A worker at clock c goes on iff min clock >= c - s (Ho et al. 2013, "More effective distributed ML via a stale synchronous
    parallel parameter server"). s = 0 waits for all, as synchronous SGD does, with the gradients added instead of averaged: at
    rate / M it takes the same steps. A worker that died counts no longer. Raises UsageError when s is not a whole number >= 0.
    """
    if not isinstance(s, int) or isinstance(s, bool) or s < 0:
        raise UsageError(f"bounded: s must be a whole number >= 0, got {s!r}. Use e.g. bounded(3).")
    return Rule("bounded", admit=lambda held, worker: ahead(held, worker) <= s, options=(("s", s),))


def ahead(held: Held, worker: int) -> int:
    """Return how many steps `worker` is ahead of the slowest worker that lives."""
    return held.clocks[worker] - held.slowest


def discount() -> Rule:
    """Staleness-aware ASGD: a gradient that is tau updates old counts 1 / tau (Zhang et al. 2016, arXiv:1511.05950).

    w <- w - eta / max(1, tau) g(w_bak).
    """

    def merge(memory: Memory, update: Update | None, held: Held) -> Merged:
        if update is not None and (tau := held.version - update.pulled) > 1:
            update.vector.div_(tau)
        return memory, update

    return Rule("discount", merge=merge, gradients=True)


def accumulate(every: int) -> Rule:
    """Add up the gradients of `every` batches before they are sent: `accumulate(4) + sync`, `accumulate(2) + dc-asgd`.

    g = sum_i n_i g_i / sum_i n_i over the worker's batches, all at the weights it pulled: the gradient of one batch `every` times as big,
    in the memory of a small one, and an exchange for every `every` batches. It is only the worker's part of a rule, for any that merges
    gradients. Raises UsageError when every is not a whole number >= 1.
    """
    return Rule(
        "accumulate", local=Local(steps(every, "accumulate")), gradients=True, options=(("every", every),)
    )  # fmt: skip


def steps(every: Any, name: str) -> int:
    """Return `every` when it is a whole number >= 1; raise UsageError else."""
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise UsageError(f"{name}: every must be a whole number of steps >= 1, got {every!r}. Use e.g. 16.")
    return every


def weighted() -> Rule:
    """Count a gradient by its examples, for workers of unlike batches: g <- g n / mean(n), over the updates so far.

    Synchronous rules weight by examples anyway. With batches of one size it changes nothing.
    """

    def merge(memory: dict[str, int], update: Update | None, held: Held) -> Merged:
        if update is not None:
            memory["n"], memory["updates"] = memory["n"] + update.examples, memory["updates"] + 1
            factor = update.examples * memory["updates"] / memory["n"]
            if factor != 1.0:
                update.vector.mul_(factor)
        return memory, update

    return Rule("weighted", merge=merge, init=lambda held: {"n": 0, "updates": 0}, gradients=True)


def delay_compensated(
    lambda_: float | None = None, *, adaptive: bool = False, decay: float | None = None
) -> Rule:  # fmt: skip
    """DC-ASGD (Zheng et al. 2017, arXiv:1609.08326): the gradient is moved to where the weights are by now.

    g <- g + lambda_t g*g*(w - w_bak), elementwise: a Taylor step with lambda g g^T, diagonal, in place of the Hessian. w_bak is what
    this worker pulled, taken when it pulled. Constant (DC-ASGD-c): lambda_t = lambda_, 0.04 unless given. Adaptive (DC-ASGD-a):
    lambda_t = lambda_ / sqrt(MS + 1e-7), MS <- decay MS + (1 - decay) g*g, lambda_ 2 and decay 0.95 unless given, MS zero at first and
    one for each worker, so that a worker's first update is compensated 1 / sqrt(1 - decay) = 4.5 times as strongly as a steady gradient. With one worker, w = w_bak and it is SGD bit for bit; with lambda_ 0 it is ASGD.

    A mean over b examples makes g*g up to b times smaller, so a good lambda_ of the constant form depends on the batch and on how the
    loss is reduced; the adaptive one less so.

    Momentum and weight decay are the server's optimizer's: they come after, at the present weights, and g is the loss's gradient alone.

    Raises UsageError when lambda_ < 0, or decay is outside [0, 1) or given for the constant form, which has none.

    >>> held = Held(torch.tensor([1.0]), backups={0: torch.tensor([0.5])})
    >>> rule = delay_compensated(0.1)
    >>> rule.merge(rule.init(held), Update(0, 0, torch.tensor([2.0])), held)[1].vector  # 2 + 0.1 * 4 * 0.5
    tensor([2.2000])
    """
    strength = (2.0 if adaptive else 0.04) if lambda_ is None else lambda_
    if not 0 <= strength < float("inf"):
        raise UsageError(
            f"dc-asgd: lambda must be a number >= 0, got {lambda_!r}. Use e.g. {2.0 if adaptive else 0.04}."
        )
    if decay is not None and not adaptive:
        raise UsageError(f"dc-asgd-c: has no decay, got {decay!r}. Use dc-asgd-a, or leave it out.")
    kept = 0.95 if decay is None else decay
    if not 0 <= kept < 1:
        raise UsageError(f"dc-asgd: decay must be in [0, 1), got {decay!r}. Use e.g. 0.95.")

    def merge(memory: dict[str, Any], update: Update | None, held: Held) -> Merged:
        if update is None or strength == 0:
            return memory, update
        g, backup = update.vector, held.backups[update.worker]
        if not adaptive:
            drift = room(g)
            for now, then, part in pieces(held.weights, backup, g):
                moved = torch.sub(now, then, out=drift[: len(part)])
                part.add_(moved.mul_(part).mul_(part), alpha=strength)
            return memory, update
        worker, every = str(update.worker), memory["squares"]
        if worker not in every:
            every[worker] = torch.zeros_like(g)
        squares = every[worker]
        drift, root = room(g), room(g)
        for now, then, part, own in pieces(held.weights, backup, g, squares):
            n = len(part)
            moved = torch.sub(now, then, out=drift[:n]).mul_(part).mul_(part)
            own.mul_(kept).addcmul_(part, part, value=1 - kept)
            part.add_(moved.div_(torch.add(own, 1e-7, out=root[:n]).sqrt_()), alpha=strength)
        return memory, update

    options = (("lambda", strength), *((("decay", kept),) if adaptive else ()))
    return Rule(
        f"dc-asgd-{'a' if adaptive else 'c'}",
        merge=merge,
        init=lambda held: {"squares": {}},
        backup=True,
        gradients=True,
        options=options,
    )
