"""Checks of a program that is to be trained: verdicts with numbers, and no trace left behind.

`check(model, loss, batch)` looks at any PyTorch program, `check_task(task, params)` at a whole task, and `lines`
puts the outcome in words. Codes, in the order in which they run (a FAIL stops the later stages):

| code | stage | what must hold |
|---|---|---|
| RUN | runs | the program computes a finite loss with a gradient, and leaves its inputs alone |
| INP | parts | what enters the first layer is scaled |
| OUT | parts | the outputs can take the values that the loss expects |
| LOSS | parts | the loss falls for right answers, has a gradient, repeats itself, hides no softmax |
| INIT | start | the loss at initialisation is that of knowing the targets' shares and nothing else |
| ACT | start | no layer is dead or saturated, and what it gives out varies with the examples |
| GRAD | start | the gradient is finite, reaches every layer at about the same strength, and tells units apart |
| MODE | start | eval mode reaches every module and repeats itself |
| SEP | wiring | a target steers the outputs of its own example alone |
| DEP | wiring | an output depends on its own example alone |
| PC | steps | three steps change every parameter that is to learn |
| OF | fit | a few examples are learned by heart |
| IIB | learn | held-out loss beats that of a model that never sees the inputs |
"""

from __future__ import annotations

from whet.checks.registry import BUILT_IN, Check, Fact, Stage, names, resolve
from whet.checks.runner import examine
from whet.checks.sandbox import sandbox
from whet.checks.skeleton import check, check_task
from whet.checks.subject import Subject
from whet.checks.words import lines

__all__ = [
    "BUILT_IN", "Check", "Fact", "Stage", "Subject", "check", "check_task", "examine", "lines", "names", "resolve", "sandbox",
]  # fmt: skip
