"""What is wrong with a training by its looks so far. Each verdict must hold at three looks in a row to become an alarm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from whet.checks.motion import gait
from whet.checks.pulse import Pulse
from whet.checks.trend import Blocks, far, slope, slope_interval
from whet.finding import Finding, Severity

__all__ = ["WARM", "verdicts"]

WARM = 500
"""Losses to see before one may say that they do not fall."""
_ENOUGH, _SMALLEST = 1000, 10  # inputs of a unit, units of a layer, before one may say that it is dead


def verdicts(looks: Sequence[Pulse], losses: Blocks, where: str, prior: float | None) -> Iterator[tuple[str, Finding]]:
    """Yield (kind, finding) for all that holds at the last look. prior: the loss of the best constant outputs.

    >>> list(verdicts([Pulse(10, 2.3)], Blocks(), "net", None))
    []
    """
    yield from _loss(looks, losses, where, prior)
    yield from _gradient(looks, losses, where)
    yield from _steps(looks, where)
    yield from _dead(looks, where)
    yield from _motion(looks, losses, where)


def _loss(looks: Sequence[Pulse], losses: Blocks, where: str, prior: float | None) -> Iterator[tuple[str, Finding]]:
    """Diverging: above its beginning by 6 standard deviations and half its size. Not falling: not below the prior (or
    the beginning) by 4 standard errors, and a Theil-Sen slope whose interval holds 0."""
    start, sd, n = losses.first
    last, evidence = looks[-1].loss, {"n": losses.n, "loss": looks[-1].loss, "start": start}
    if prior is not None:
        evidence["prior"] = prior
    if n < losses.opening:
        return
    limit = start + max(6 * sd, 0.5 * abs(start))
    if last > limit:
        yield "diverges", Finding(
            "TREND", Severity.WARN, where, {**evidence, "threshold": limit},
            f"the loss diverges: {last:.3g} at step {losses.n}, {start:.3g} at the beginning",
            "lower the learning rate to a tenth; torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        )  # fmt: skip
        return
    if losses.n < WARM or len(losses.means) < 16:
        return
    means = losses.means[len(losses.means) // 10 + 1 :]
    recent = np.asarray(means[len(means) // 2 :])
    error = math.hypot(
        float(recent.std(ddof=1)) / math.sqrt(len(recent)), 0.0 if prior is not None else sd / math.sqrt(n)
    )
    level, below = float(recent.mean()), start if prior is None else prior
    if level < below - 4 * error - 1e-12:
        return
    low, high = slope_interval(means)
    if high < 0:
        return
    what = "where it began" if prior is None else "what the best constant outputs have"
    yield "flat", Finding(
        "TREND", Severity.WARN, where,
        {**evidence, "level": level, "below": below, "standard_error": error, "threshold": below - 4 * error,
         "slope": slope(means) / losses.size, "slope_low": low / losses.size, "slope_high": high / losses.size},
        f"the loss does not fall: {level:.4g} +- {error:.2g} over the last {len(recent) * losses.size} of {losses.n} steps, "
        f"{below:.4g} is {what}",
        "whet.check(model, loss, batch, optimizer) looks for the cause; try the learning rate times 10 and divided by 10",
    )  # fmt: skip


def _gradient(looks: Sequence[Pulse], losses: Blocks, where: str) -> Iterator[tuple[str, Finding]]:
    """Far from its own history: 6 MAD of log norm, and 100 times larger or 1e4 times smaller, while the loss is high."""
    grads = [p.grad for p in looks]
    before = [math.log(g) for g in grads[:-1] if 0 < g < math.inf]
    if len(before) < 10 or not grads[-1] < math.inf:
        return
    usual = math.exp(median(before))
    deviations = far(before, math.log(max(grads[-1], 1e-45)), least=0.25)
    evidence: dict[str, Any] = {
        "norm": grads[-1],
        "median": usual,
        "deviations": deviations,
        "threshold": 6,
        "n": len(before),
    }
    if deviations > 6 and grads[-1] > 100 * usual and looks[-1].loss >= median(p.loss for p in looks):
        worst = max(looks[-1].grads, key=looks[-1].grads.__getitem__)
        yield "explodes", Finding(
            "GRAD", Severity.WARN, where, {**evidence, "layer": worst},
            f"the gradient explodes: norm {grads[-1]:.2g}, usually {usual:.2g}, most of it in {worst}",
            "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0), or a lower learning rate",
        )  # fmt: skip
    start = losses.first[0]
    if deviations < -6 and grads[-1] < 1e-4 * usual and looks[-1].loss > 0.5 * start > 0:
        yield "vanishes", Finding(
            "GRAD", Severity.WARN, where, evidence,
            f"the gradient vanishes: norm {grads[-1]:.2g}, usually {usual:.2g}, while the loss is {looks[-1].loss:.3g}",
            "look for dead or saturated units (a step that was too large); lower the learning rate and start again",
        )  # fmt: skip


def _steps(looks: Sequence[Pulse], where: str) -> Iterator[tuple[str, Finding]]:
    """Weights that no look so far saw change; updates outside 1e-5 to 1e-1 of the weights."""
    seen = [p for p in looks if p.held]
    if not seen or not looks[-1].held:
        return
    never = set(seen[0].still).intersection(*(p.still for p in seen[1:]))
    numbers: dict[str, Any] = {"looks": len(seen), "n": seen[-1].held, "still": sorted(never)[:8], "threshold": 0}
    if never and len(never) == seen[-1].held:
        yield "still", Finding("PC", Severity.FAIL, where, numbers, f"no step seen so far changed any of {len(never)} weights",
                               "look for a gradient of 0 or None, a learning rate too small for the precision of the weights")  # fmt: skip
    elif never:
        name, more = sorted(never)[0], f" and {len(never) - 1} more" if len(never) > 1 else ""
        yield "some still", Finding("PC", Severity.WARN, where, numbers,
                                    f"no step seen so far changed {name}{more} (of {seen[-1].held} weights)",
                                    "use it in the forward pass, or freeze it: p.requires_grad_(False)")  # fmt: skip
    ratios = list(looks[-1].updates.values())
    if ratios and not 1e-5 <= median(ratios) <= 1e-1:
        ratio = median(ratios)
        yield "ratio", Finding("PC", Severity.INFO, where, {"update_to_weight": ratio, "low": 1e-5, "high": 1e-1, "n": len(ratios)},
                               f"a step changes weights by {ratio:.1g} of their size (usual 1e-05 to 0.1)",
                               "raise the learning rate" if ratio < 1e-5 else "lower the learning rate")  # fmt: skip


def _dead(looks: Sequence[Pulse], where: str) -> Iterator[tuple[str, Finding]]:
    """Units of a ReLU and its kin that were dead at the last looks, three or more, over 1,000 inputs each."""
    for i, site in enumerate(looks[-1].sites):
        if site.flat or site.units < _SMALLEST or int((site.dead & ~site.zero).sum()) <= 0.5 * site.units:
            continue  # the looks before can only make them fewer
        same = [
            p.sites[i]
            for p in looks
            if len(p.sites) > i and (p.sites[i].layer, p.sites[i].units) == (site.layer, site.units)
        ]
        mask, samples, count = torch.ones_like(site.dead), 0, 0
        for other in reversed(same):
            mask, samples, count = mask & other.dead & ~other.zero, samples + other.samples, count + 1
            if count >= 3 and samples >= _ENOUGH:
                break
        else:
            continue
        dead, began = int(mask.sum()), int((same[0].dead & ~same[0].zero).sum())
        evidence = {
            "layer": site.layer,
            "dead": dead,
            "units": site.units,
            "samples": samples,
            "n": samples,
            "began": began,
        }
        at, fix = f"{site.line} ({site.layer})" if site.line else where, "lower the learning rate; nn.LeakyReLU()"
        if dead == site.units:
            yield "all dead", Finding("ACT", Severity.FAIL, at, {**evidence, "threshold": 1.0},
                                      f"all {dead} units of {site.layer} are dead over {samples} inputs: nothing passes any more", fix)  # fmt: skip
            return
        if dead > 0.5 * site.units and dead - began > 0.2 * site.units:
            yield "dead", Finding("ACT", Severity.WARN, at, {**evidence, "threshold": 0.5},
                                  f"{dead} of {site.units} units of {site.layer} are dead over {samples} inputs, {began} at the first look",
                                  fix)  # fmt: skip
            return


def _motion(looks: Sequence[Pulse], losses: Blocks, where: str) -> Iterator[tuple[str, Finding]]:
    """Predictions on a fixed batch that flip back and forth (turn < -0.5, over 1 % of their spread), or barely move."""
    motion = looks[-1].motion
    if not motion:
        return
    evidence = {**motion, "n": sum(bool(p.motion) for p in looks)}
    if gait(motion) == "jitter":
        yield "jitter", Finding("JITTER", Severity.INFO, where, {**evidence, "threshold": -0.5},
                                f"predictions on a fixed batch flip back and forth: a step moves them by {motion['move']:.2g} of "
                                f"their spread and the next one back (cosine {motion['turn']:.2f})",
                                "lower the learning rate to a third, or raise the batch size")  # fmt: skip
    elif gait(motion) == "still" and looks[-1].loss > 0.5 * losses.first[0] > 0:
        yield "barely", Finding("JITTER", Severity.INFO, where, {**evidence, "threshold": 1e-5},
                                f"predictions on a fixed batch barely move: {motion['move']:.1g} of their spread a step",
                                "raise the learning rate by 10")  # fmt: skip
