"""A task with a large model, of many layers, that sleeps between forward and backward pass."""

import time

import torch
from lessons import Blobs
from torch import nn


class Wide(Blobs):
    """width: of its 32 hidden layers; a pass needs little memory beside the weights."""

    def model(self, params):
        width = int(params["width"])
        inner = [nn.Linear(width, width, bias=False) for _ in range(32)]
        return nn.Sequential(nn.Linear(6, width), *inner, nn.Linear(width, 3))

    def loss(self, params):
        def slow(outputs, targets):
            if torch.is_grad_enabled():
                time.sleep(0.2)
            return nn.functional.cross_entropy(outputs, targets)

        return slow

    def optimizer(self, params, model):
        return torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
