"""Bugs of tasks that are no function of their seed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bugs.case import Bug, task
from task_zoo import Plain, clusters
from whet.data.split import Data
from whet.task import Task


def noise(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng().normal(size=shape)).float()


class OtherData(Plain):
    def data(self, params: Any) -> Data:
        return Data(clusters(400, int(np.random.default_rng().integers(1 << 30))), clusters(150, 2))


class GlobalData(Plain):
    def data(self, params: Any) -> Data:
        order = torch.randperm(400)  # the run's seed decides the split, so each trial has its own
        return Data(clusters(400, 1).take(order[:300]), clusters(400, 1).take(order[300:]))


class OtherWeights(Plain):
    def model(self, params: Any) -> nn.Module:
        model = super().model(params)
        model[2].weight.data += 0.1 * noise(5, 32)  # type: ignore[index]
        return model


class Jitter(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * noise(*x.shape)


class OtherModule(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Jitter(), nn.ReLU(), nn.Linear(32, 5))


class Between(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        return self.last(h + 0.1 * noise(*h.shape))


class OtherInside(Plain):
    def model(self, params: Any) -> nn.Module:
        return Between()


class Puts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone().put_(torch.tensor([0]), 0.1 * noise(1))


class OtherPut(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Puts(), nn.ReLU(), nn.Linear(32, 5))


class OtherLoss(Plain):
    def loss(self, params: Any) -> Any:
        return lambda outputs, targets: nn.functional.cross_entropy(outputs + 0.01 * noise(*outputs.shape), targets)


class OtherGradient(Plain):
    def model(self, params: Any) -> nn.Module:
        model = super().model(params)
        model[2].weight.register_hook(lambda g: g + 0.01 * noise(*g.shape))  # type: ignore[index]
        return model


class Restless(torch.optim.Adam):
    def step(self, closure: Any = None) -> Any:
        done = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(noise(*p.shape), alpha=1e-3)
        return done


class OtherStep(Plain):
    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return Restless(model.parameters(), 1e-3)


class OtherBatch(Plain):
    def augment(self, params: Any) -> Any:
        return lambda inputs, targets, generator: ((inputs[0] + noise(*inputs[0].shape),), targets)


class OtherRate(Plain):
    def rate(self, params: Any) -> Any:
        return lambda epochs: float(np.random.default_rng().random())


class Counts(nn.Module):
    """Remembers in its class how often it was called: the second run does not begin as the first did."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Counts.calls += 1
        return x * (1 + 1e-2 * Counts.calls)


class Remembering(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Counts(), nn.Linear(32, 5))


SICK: list[tuple[type[Task], str, str]] = [
    (OtherData, "", "gives other training examples when called twice"),
    (OtherWeights, "start", "before the first step: 2.weight has other initial weights"),
    (OtherBatch, "batch", "augment gives other examples"),
    (OtherModule, "out", "step 1: module 1 (Jitter) gives other outputs for the same inputs"),
    (OtherInside, "into", "what the model (Between) hands to last is another"),
    (OtherLoss, "loss", "the loss is another for the same outputs"),
    (OtherGradient, "gradient", "the gradient of 2.weight is another for the same loss"),
    (OtherStep, "weight", "Restless takes another step with the same gradients"),
    (OtherRate, "rate", "the learning rate is another"),
    (Remembering, "out", "module 1 (Counts) gives other outputs"),
]


BUGS = [
    Bug("seed", name, "REP", severity, words, partial(task, kind, "REP"), None, "task")
    for kind, name, severity, words in [
        (OtherData, "the data are drawn anew at every call", "FAIL", "other training examples"),
        (GlobalData, "the split depends on the global generator", "WARN", "another state of the global generators"),
        (OtherWeights, "weights from a generator without a seed", "FAIL", "other initial weights"),
        (OtherBatch, "augmentation from a generator without a seed", "FAIL", "augment gives other examples"),
        (OtherModule, "noise without a seed in a module", "FAIL", "gives other outputs for the same inputs"),
        (OtherInside, "noise without a seed between two modules", "FAIL", "is another"),
        (OtherPut, "an operation without a deterministic version", "FAIL WARN", "put_, of which PyTorch"),
        (OtherLoss, "noise without a seed in the loss", "FAIL", "the loss is another for the same outputs"),
        (OtherGradient, "noise without a seed in a gradient hook", "FAIL", "gradient of 2.weight is another"),
        (OtherStep, "noise without a seed in the optimizer", "FAIL", "takes another step with the same gradients"),
        (OtherRate, "a learning rate without a seed", "FAIL", "the learning rate is another"),
        (Remembering, "a class that counts its calls", "FAIL", "module 1 (Counts)"),
    ]
]
