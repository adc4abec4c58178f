"""Steps on one vector are the steps on a model's parameters, and only then taken so."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adadelta, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop

from whet.distributed.flat import Flat
from whet.distributed.step import Steps

MAKERS = {
    "plain": lambda p: SGD(p, lr=0.0137),
    "decay": lambda p: SGD(p, lr=0.0137, weight_decay=0.0123),
    "momentum": lambda p: SGD(p, lr=0.0137, momentum=0.87, dampening=0.13, weight_decay=0.01),
    "nesterov": lambda p: SGD(p, lr=0.0137, momentum=0.87, nesterov=True),
    "adam": lambda p: Adam(p, lr=0.0137, weight_decay=0.0123),
    "amsgrad": lambda p: Adam(p, lr=0.0137, amsgrad=True),
    "adamw": lambda p: AdamW(p, lr=0.0137),
    "foreach": lambda p: AdamW(p, lr=0.0137, foreach=True),
    "rmsprop": lambda p: RMSprop(p, lr=0.0137, momentum=0.9, centered=True),
    "adadelta": lambda p: Adadelta(p),
    "adamax": lambda p: Adamax(p, lr=0.0137),
    "nadam": lambda p: NAdam(p, lr=0.0137),
    "radam": lambda p: RAdam(p, lr=0.0137),
    "rprop": lambda p: Rprop(p),
}


def odd():
    """A model whose tensors end in the middle of what a vector instruction takes, one of them channels-last."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(17, 33), nn.Linear(33, 7), nn.Linear(7, 1, bias=False)
    )
    return net.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_steps_on_one_vector_are_those_on_each_parameter(name, dtype):
    plain = odd().to(dtype)
    flat = Flat(copy.deepcopy(plain))
    each = MAKERS[name](list(plain.parameters()))
    steps = Steps(flat, MAKERS[name](flat.parameters))
    assert steps.whole
    generator = torch.Generator().manual_seed(0)
    for i in range(20):
        flat.gradient.copy_(torch.randn(flat.size, generator=generator, dtype=dtype) * 10.0 ** (i % 5 - 3))
        for p, view in zip(plain.parameters(), flat.parameters, strict=True):
            p.grad = view.grad.clone()
        if i == 10:
            each.param_groups[0]["lr"] = steps.optimizer.param_groups[0]["lr"] = 0.001
        each.step()
        steps.take(flat.gradient)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), flat.model.parameters(), strict=True))


def test_an_optimizer_of_equal_groups_is_of_one_vector_and_of_unlike_ones_is_not():
    def groups(flat, *decays):
        return SGD([{"params": [p], "weight_decay": d} for p, d in zip(flat.parameters, decays, strict=True)], lr=0.5)

    flat = Flat(nn.Linear(2, 1))
    assert Steps(flat, groups(flat, 0.1, 0.1)).whole
    unlike = Steps(flat, groups(flat, 0.1, 0.0))
    assert not unlike.whole
    before = flat.weights.clone()
    unlike.take(torch.ones(3))
    assert torch.allclose(flat.weights, before - 0.5 * (1 + torch.tensor([0.1, 0.1, 0.0]) * before))


def hooked(flat):
    made = SGD(flat.parameters, lr=0.5)
    made.register_step_post_hook(lambda *_: None)
    return made


def begun(flat):
    made = SGD(flat.parameters, lr=0.5, momentum=0.9)
    flat.point(torch.ones(3))
    made.step()
    return made


class Own(SGD):
    """What it does between two steps is its own affair."""


@pytest.mark.parametrize(
    "make",
    [hooked, begun, lambda f: Own(f.parameters, lr=0.5), lambda f: SGD(f.parameters[:1], lr=0.5),
     lambda f: SGD(f.parameters, lr=0.5, fused=True)],
    ids=["hooks", "begun", "own kind", "some parameters", "fused"],
)  # fmt: skip
def test_what_might_step_otherwise_steps_on_the_parameters_it_was_given(make):
    flat = Flat(nn.Linear(2, 1))
    optimizer = make(flat)
    steps = Steps(flat, optimizer)
    assert not steps.whole
    assert steps.optimizer is optimizer
    before = flat.weights.clone()
    steps.take(torch.ones(3))
    assert not torch.equal(flat.weights[:2], before[:2])


def test_half_precision_rounds_in_another_order_and_stays_with_its_parameters():
    flat = Flat(nn.Linear(2, 1).bfloat16())
    assert not Steps(flat, SGD(flat.parameters, lr=0.5)).whole
