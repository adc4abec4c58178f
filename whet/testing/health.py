"""For tests of one's own: a task that is not healthy is a failed assertion, with the findings in words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from whet.checks import check_task
from whet.finding import Finding, Health, Severity
from whet.task import Task
from whet.tune.space import Params

__all__ = ["assert_healthy"]


def assert_healthy(task: Task | Health, params: Params | None = None, *, allow: Iterable[str] = ()) -> None:
    """Raise AssertionError with every FAIL and WARN of the checks of a task, in words; what is only worth knowing passes.

    Where not one check could run that is an AssertionError too, with the reason.

    task: or a Health that was had otherwise, as from `whet.check(model, loss, batch)`, `whet.checks.loader`,
    `whet.checks.metric_over` or `whet.checks.same`; params: the configuration, when None the task's `first`, else the
    middle of its space; allow: codes of what is meant. The same task gives the same verdict each time.

    >>> from torch import nn
    >>> from whet import check
    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3), nn.Softmax(dim=1))
    >>> assert_healthy(check(net, nn.CrossEntropyLoss(), (torch.randn(30, 4), torch.arange(30) % 3)))
    Traceback (most recent call last):
    ...
    AssertionError: 1 finding
      FAIL OUT Sequential: outputs are probabilities (rows >= 0 that sum to 1): a softmax before a loss that applies its own; ...
    """
    allowed = (allow,) if isinstance(allow, str) else tuple(allow)
    if isinstance(task, Health):
        health = task
    else:
        health = check_task(task, _configuration(task) if params is None else params, task.seed, allow=allowed)
    if not health.findings and not health.facts and health.not_run:
        raise AssertionError(f"nothing was checked: {health.not_run[0].why}")
    serious = [f for f in health.findings if f.severity is not Severity.INFO and f.code not in allowed]
    if serious:
        raise AssertionError(_words(serious))


def _configuration(task: Task) -> Params:
    """Return the configuration to look at when none is given."""
    own = getattr(task, "first", None)
    if own is not None:
        return dict(own)
    middle = task.space.decode([0.5] * len(task.space.dims))
    return middle if task.space.allows(middle) else task.space.sample(np.random.default_rng(0))


def _words(findings: list[Finding]) -> str:
    """Return findings one a line, their fixes below them."""
    count = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    return "\n".join([count, *(f"  {f.severity} {f.code} {f.where}: {f.message}\n    fix: {f.fix}" for f in findings)])
