"""Checks of a program that is to be trained: verdicts with numbers, and no trace left behind.

`check(model, loss, batch)` looks at any PyTorch program, `check_task(task, params)` at a whole task, and `lines`
puts the outcome in words. Codes, in the order in which they run (a FAIL stops the later stages):

| code | stage | what must hold |
|---|---|---|
| RUN | runs | the program computes a finite loss with a gradient, and leaves its inputs alone |
| INP | parts | what enters the first layer is scaled |
| OUT | parts | the outputs can take the values that the loss expects |
| LOSS | parts | the loss falls for right answers, has a gradient, repeats itself, hides no softmax |
| DUP | parts | no validation example is also a training example |
| RNG | parts | augmentation draws its chance from its generator, anew for every example and epoch |
| MASK | parts | augmentation moves a mask with its picture |
| INIT | start | the loss at initialisation is that of knowing the targets' shares and nothing else |
| ACT | start | no layer is dead or saturated, and what it gives out varies with the examples |
| GRAD | start | the gradient is finite, reaches every layer at about the same strength, and tells units apart |
| MODE | start | eval mode reaches every module and repeats itself; training mode moves statistics |
| SEP | wiring | a target steers the outputs of its own example alone |
| DEP | wiring | an output depends on its own example alone |
| STRAY | wiring | what has a gradient is a parameter of the model |
| TIED | wiring | weights that were meant to be one are one |
| TIME | wiring | an output does not see the step that it is to predict, nor later ones |
| PAD | wiring | padding has no part in the loss |
| PC | steps | three steps change every parameter that is to learn |
| LOOP | steps | your training step does all that a step must, in order |
| FG | steps | the gradient that the optimizer uses is of its own batch alone |
| ACC | steps | accumulated gradients are those of all their examples together |
| RAND | noise | random tokens cannot be learned |
| OF | fit | a few examples are learned by heart |
| IIB | learn | held-out loss beats that of a model that never sees the inputs |
| CAP | later | a wider model reaches a training loss that is no higher |
| LRR | later | the learning rate lies where the loss falls and does not yet diverge |
| MET | later | the metric is that of all predictions together, however they are batched |
| REP | later | the same seed twice gives the same data, loss, gradients and weights |
| RES | later | a run that is saved and resumed takes the steps that it would have taken |

`Live` watches a training while it runs and reports TREND, GRAD, PC, ACT and JITTER. Three helpers look at code of your own: `loader` at a DataLoader (RNG, ORDER), `metric_over` at an evaluation (MET),
`same` at a vectorised function beside its plain loop (SAME).
"""

from __future__ import annotations

from whet.checks.evaluation import metric_over
from whet.checks.live import Live
from whet.checks.loaders import loader
from whet.checks.registry import BUILT_IN, Check, Fact, Stage, names, resolve
from whet.checks.runner import examine
from whet.checks.sandbox import sandbox
from whet.checks.skeleton import check, check_task
from whet.checks.subject import Subject
from whet.checks.vectorised import same
from whet.checks.words import lines

__all__ = [
    "BUILT_IN", "Check", "Fact", "Live", "Stage", "Subject", "check", "check_task", "examine", "lines", "loader",
    "metric_over", "names", "resolve", "same", "sandbox",
]  # fmt: skip
