"""What a check is, and how its name is found: built in, or brought by a package under `whet.check`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from whet.checks.subject import Subject
from whet.errors import UsageError, nearest
from whet.finding import Finding, NotRun

__all__ = ["BUILT_IN", "Check", "Fact", "Stage", "names", "resolve"]


class Stage(IntEnum):
    """When a check runs. A FAIL in one stage stops the later ones, so one cause gives one finding.

    >>> Stage.PARTS < Stage.FIT
    True
    """

    RUNS = 0  # does the program run at all
    PARTS = 1  # inputs, outputs and loss, each by itself
    START = 2  # the whole at initialisation, its modes
    WIRING = 3  # what depends on what
    STEPS = 4  # a few steps
    NOISE = 5  # what cannot be learned
    FIT = 6  # one batch
    LEARN = 7  # real against blind
    LATER = 8  # capacity, rates, resuming, the same again


@dataclass(frozen=True)
class Fact:
    """What a check measured, healthy or not: numbers (JSON values), and the same as a few words.

    seconds: what one forward and backward pass took, where the check measured that; never recorded. series: what a report
    draws of it, as JSON values (curves, one number a layer), recorded beside the numbers and no evidence of findings;
    drawn: what a report shows and JSON cannot hold (tensors, pictures). Both by name.

    >>> Fact("loss at init 2.31 (expected 2.30 +- 0.02)", {"loss": 2.31}).numbers["loss"]
    2.31
    """

    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    series: Mapping[str, Any] = field(default_factory=dict)
    drawn: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Check(Protocol):
    """One check. It yields a Fact when it looked, a Finding for what is wrong, or a NotRun with the reason.

    passes: about how many forward and backward passes it takes when all is well; slow programs skip dear checks.

    >>> class Counts:
    ...     code, stage, passes = "COUNT", Stage.PARTS, 0
    ...     def look(self, subject):
    ...         yield Fact(f"{subject.n} examples", {"n": subject.n})
    >>> isinstance(Counts(), Check)
    True
    """

    code: str
    stage: Stage
    passes: int

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Look at the subject, and leave no trace on it (use `subject.look`)."""
        ...


BUILT_IN = {
    "RUN": "whet.checks.runs:Runs",
    "INP": "whet.checks.inputs:Inputs",
    "OUT": "whet.checks.outputs:Outputs",
    "LOSS": "whet.checks.objective:Objective",
    "DUP": "whet.checks.overlap:Overlap",
    "RNG": "whet.checks.augmentation:Augmentation",
    "MASK": "whet.checks.masks:Masks",
    "INIT": "whet.checks.initial:Initial",
    "ACT": "whet.checks.units:Units",
    "GRAD": "whet.checks.gradients:Gradients",
    "MODE": "whet.checks.modes:Modes",
    "SEP": "whet.checks.separation:Separation",
    "DEP": "whet.checks.dependence:Dependence",
    "STRAY": "whet.checks.strays:Strays",
    "TIED": "whet.checks.tied:Tied",
    "TIME": "whet.checks.causality:Causality",
    "PAD": "whet.checks.padded:Padding",
    "PC": "whet.checks.updates:Updates",
    "LOOP": "whet.checks.loop:Loop",
    "FG": "whet.checks.fresh:Fresh",
    "ACC": "whet.checks.accumulation:Accumulation",
    "RAND": "whet.checks.noise:RandomTokens",
    "OF": "whet.checks.overfit:Overfit",
    "IIB": "whet.checks.baseline:Baseline",
    "CAP": "whet.checks.capacity:Capacity",
    "LRR": "whet.checks.rates:Rates",
    "MET": "whet.checks.metrics:Metrics",
    "REP": "whet.checks.repeat:Repeat",
    "RES": "whet.checks.resume:Resumes",
}
"""Code of every check of ours, and where it is."""


def names() -> tuple[str, ...]:
    """Return the codes of every check there is, ours and those of installed packages.

    >>> names()[:3]
    ('RUN', 'INP', 'OUT')
    """
    return (*BUILT_IN, *(e.name for e in entry_points(group="whet.check") if e.name not in BUILT_IN))


def resolve(checks: Iterable[str | Check] | None = None) -> tuple[Check, ...]:
    """Return check objects for codes or objects (None: all there are), sorted by stage.

    Raises UsageError for a code that is unknown.

    >>> [c.code for c in resolve(["OF", "RUN"])]
    ['RUN', 'OF']
    """
    found = [c if isinstance(c, Check) else _load(c) for c in (names() if checks is None else checks)]
    return tuple(sorted(found, key=lambda c: c.stage))


def _load(code: str) -> Check:
    """Import the check of that code and make it."""
    if code in BUILT_IN:
        module, _, kind = BUILT_IN[code].partition(":")
        return getattr(import_module(module), kind)()
    for entry in entry_points(group="whet.check"):
        if entry.name == code:
            return entry.load()()
    known = names()
    raise UsageError(f"checks: no check '{code}'.{nearest(code, known)} There are {', '.join(known)}.")
