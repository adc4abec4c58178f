"""The two front doors: `check` for any PyTorch program with one batch, `check_task` for a whole task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from whet.checks.given import arguments, pair, parts, refusal
from whet.checks.inside import read
from whet.checks.registry import Check, names, resolve
from whet.checks.remedy import no_gpu
from whet.checks.runner import Tell, examine
from whet.checks.sandbox import randomness
from whet.checks.sequence import order
from whet.checks.source import name, place
from whet.checks.subject import Subject, call, mapped
from whet.errors import TaskError, UsageError, WhetError, nearest, one_line
from whet.finding import Finding, Health, NotRun, Severity
from whet.seed import key

if TYPE_CHECKING:
    from whet.task import Task

__all__ = ["check", "check_task"]

_BATCH, _SAMPLE = 64, 512


def check(
    model: nn.Module,
    loss: Callable[..., Any],
    batch: tuple[Any, Any],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    allow: Iterable[str] = (),
    step: Callable[[Any], Any] | None = None,
    causal: bool = False,
) -> Health:
    """Check a PyTorch program on one batch: what is wrong, what was measured, what did not run. Nothing is changed.

    batch: (inputs, targets), tensors or NumPy arrays; inputs are one of them, a tuple given as model(*inputs) or a dict given
    as model(**inputs); targets may be None; and loss(outputs, targets) is a number. optimizer: the one that will train the model, if there is one.
    allow: codes of checks whose subject is intended, e.g. ("DEP",) for a model that mixes the batch by design.
    step: your own training step, step((inputs, targets)), of this very model, loss and optimizer; it is tried on copies,
    and what it changes is put back, its scheduler, scaler and counters among it. causal: outputs must not depend on
    later inputs, where the targets do not say so by being the inputs shifted by one.
    The same call gives the same health. Raises UsageError for what is no model, loss or batch, and for an unknown code.

    >>> net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3), nn.Softmax(dim=1))
    >>> health = check(net, nn.CrossEntropyLoss(), (torch.randn(30, 4), torch.arange(30) % 3))
    >>> health.failed, health.findings[0].code, health.findings[0].fix
    (True, 'OUT', 'remove the Softmax from the model; the loss wants raw scores (logits)')
    """
    parts(model, loss, optimizer)
    inputs, targets = pair(batch)
    if step is not None and (not callable(step) or optimizer is None):
        what = "the optimizer it uses: check(model, loss, batch, optimizer, step=step)" if callable(step) else (
            f"to be callable as step((inputs, targets)), got {type(step).__name__}"
        )  # fmt: skip
        raise UsageError(f"check: step needs {what}.")
    allowed = _codes(allow)
    why = refusal(model, inputs)
    checks = resolve()
    if why:
        return Health((), tuple(NotRun(c.code, why) for c in checks))
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    given = mapped(lambda t: t.detach().to(device, copy=True), (inputs, targets))  # a loss may write into its targets
    whole = model if step is not None else getattr(model, "_orig_mod", model)  # compiling is no part of what is checked
    subject = Subject(whole, loss, arguments(given[0]), given[1], optimizer, step=step, given=given, causal=causal)
    return examine(_counted(_outside(_picked(subject))), checks, allow=allowed)


def check_task(
    task: Task,
    params: Mapping[str, Any],
    seed: int = 0,
    *,
    allow: Iterable[str] = (),
    checks: Iterable[str | Check] | None = None,
    causal: bool | None = None,
    tell: Tell | None = None,
) -> Health:
    """Check a task with one configuration: everything `check` does, and what needs more than a batch.

    Uses task.plain(params), so with augmentation and regularisers off, but where it is the training itself that is looked
    at (REP, RES, RNG, MET). The batch is 64 training examples; the loss at
    initialisation is averaged over 512. Only training and validation splits are looked at. The state of the global
    random generators is left as it was. checks: codes or checks of your own, where not all are wanted. causal: outputs must
    not depend on later inputs, where the targets do not say so by being the inputs shifted by one; None: what the task
    says, `task.causal`. tell(code, number, total, left) is called as each begins; left: the seconds that it and those after it
    may take, None until a step was timed. Raises WhetError when the data cannot be had; a task whose model, loss or optimizer
    raises has a finding.

    >>> from whet.data.split import Data, Split
    >>> from whet.task import Task
    >>> class Sign(Task):
    ...     def data(self, params):
    ...         x = torch.linspace(-1, 1, 200)[torch.arange(200) * 37 % 200][:, None]
    ...         y = (x[:, 0] > 0).long()
    ...         return Data(Split(x[:120], y[:120]), Split(x[120:], y[120:]))
    ...     def model(self, params):
    ...         return nn.Linear(1, 2)
    >>> check_task(Sign(), {}, checks=["RUN", "INIT", "DEP"]).facts["DEP"]["text"]
    'examples independent (leak 0)'
    """
    allowed, chosen, plain = _codes(allow), resolve(checks), task.plain(params)
    data = task.data(plain).visible

    def make(number: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        with randomness(seed, "check", "model", number):
            model = task.model(plain)
            if not isinstance(model, nn.Module):
                raise TaskError(
                    f"{name(task)}.model returns {type(model).__name__}, not a torch.nn.Module ({place(type(task).model)}). End it in: return the model."
                )
            return model, task.optimizer(plain, model)

    try:
        model, optimizer = make(seed)
        loss = task.loss(plain)
    except WhetError:
        raise
    except (Exception, SystemExit) as error:
        got = one_line(f"{type(error).__name__}: {error}")
        finding = Finding("RUN", Severity.FAIL, place(task), {"error": got[:300]}, f"making the model raises {got}"[:400],
                          no_gpu(error) or "model, loss and optimizer must be made from these params")  # fmt: skip
        return Health((finding,), tuple(NotRun(c.code, "RUN failed before it") for c in chosen if c.code != "RUN"))
    why = refusal(model, data.train.parts)
    if why:
        return Health((), tuple(NotRun(c.code, why) for c in chosen))
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(key(seed, "check", "batch")))
    inputs, targets = data.train.batch(order[:_BATCH])
    places = {"model": place(model, type(task).model), "loss": place(loss, type(task).loss)}
    subject = Subject(model, loss, inputs, targets, optimizer, seed, data.train.batch(order[:_SAMPLE]), data, make,
                      max(2, min(int(task.batch(plain)), 64)), places, task=task, params=dict(params),
                      causal=bool(task.causal if causal is None else causal))  # fmt: skip
    return examine(_counted(_picked(subject)), chosen, allow=allowed, tell=tell)


def _codes(allow: Iterable[str]) -> tuple[str, ...]:
    """Return the allowed codes; raise UsageError for one that no check has."""
    codes, known = (allow,) if isinstance(allow, str) else tuple(allow), names()
    for code in codes:
        if code not in known:
            raise UsageError(f"allow: no check '{code}'.{nearest(code, known)} There are {', '.join(known)}.")
    return codes


def _counted(subject: Subject) -> Subject:
    """Return the subject with its examples counted along the second dimension, where targets show that time is the first."""
    found = order(subject)
    if found is None or not found.flip:
        return subject
    n, steps = found.inputs.shape[:2]
    return replace(subject, many=n, steps=0 if subject.targets.ndim > 1 else steps)


def _outside(subject: Subject) -> Subject:
    """Return the subject with the loss that its model computes itself read as one of scores and labels, where it can be."""
    try:
        with subject.look("RUN"):
            return read(subject) or subject
    except (Exception, SystemExit):
        return subject  # the check RUN says what is wrong


def _picked(subject: Subject) -> Subject:
    """Return the subject with the part of the outputs that its loss accepts: all, `logits`, or the first of several."""
    try:
        with subject.look("RUN"), torch.no_grad():
            subject.model.eval()
            outputs = call(subject.model, subject.copies())
            choices: list[str | int | None] = [None]
            if isinstance(outputs, Mapping):
                choices += [k for k in ("logits", "prediction", "output", *outputs) if k in outputs]
            elif isinstance(outputs, (tuple, list)) and outputs:
                choices += [0]
            for pick in choices:
                try:
                    subject.cost(outputs if pick is None else outputs[pick])
                except (Exception, SystemExit):
                    continue
                return replace(subject, pick=pick)
    except (Exception, SystemExit):
        return subject  # the check RUN says what is wrong
    return subject
