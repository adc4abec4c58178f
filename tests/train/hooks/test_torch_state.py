"""The state of a PyTorch training in another's loop."""

import pytest
import torch
from torch import nn

from whet.train.hooks.torch_state import Parts
from whet.tune.codec import pack, unpack


def test_a_rate_that_warms_up_from_0_goes_on_as_that_of_the_new_configuration():
    def warming(lr):
        sgd = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=lr)
        return sgd, torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: min(1.0, step / 4))

    model = nn.Linear(2, 1)
    sgd, schedule = warming(0.1)
    old = Parts(model, [sgd], [schedule])
    for _ in range(2):
        sgd.step()
        schedule.step()
    faster, its = warming(0.2)
    Parts(model, [faster], [its]).restore(old.state())
    assert faster.param_groups[0]["lr"] == 2 * sgd.param_groups[0]["lr"] == 0.1
    same, its = warming(0.1)
    Parts(model, [same], [its]).restore(old.state())
    assert same.param_groups[0]["lr"] == sgd.param_groups[0]["lr"]


RATES = torch.optim.lr_scheduler
SCHEDULES = {
    "chain": lambda sgd, lr: RATES.SequentialLR(
        sgd, [RATES.LinearLR(sgd, 0.5, total_iters=3), RATES.CosineAnnealingLR(sgd, 6)], milestones=[3]
    ),
    "cycle": lambda sgd, lr: RATES.CyclicLR(sgd, lr / 10, lr, step_size_up=4),
    "one cycle": lambda sgd, lr: RATES.OneCycleLR(sgd, lr, total_steps=9),
    "steps": lambda sgd, lr: RATES.StepLR(sgd, 2),
    "from 0": lambda sgd, lr: RATES.LambdaLR(sgd, lambda step: min(1.0, step / 4)),
}


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_goes_on_with_the_rate_of_the_new_configuration(kind, tensor):
    """As if it had been that from the beginning; also what of a chain has not begun, and where rates are tensors."""

    def scheduled(lr):
        rate = torch.tensor(lr) if tensor else lr
        sgd = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=rate, momentum=0.9)
        return sgd, SCHEDULES[kind](sgd, lr)

    def curve(sgd, schedule, steps):
        found = []
        for _ in range(steps):
            found.append(float(sgd.param_groups[0]["lr"]))
            sgd.step()
            schedule.step()
        return found

    model = nn.Linear(2, 1)
    sgd, schedule = scheduled(0.1)
    old = Parts(model, [sgd], [schedule])
    curve(sgd, schedule, 2)
    state = unpack(pack(old.state()))
    faster, its = scheduled(0.2)
    Parts(model, [faster], [its]).restore(state)
    assert curve(faster, its, 6) == pytest.approx(curve(*scheduled(0.2), 8)[2:])
    same, its = scheduled(0.1)
    Parts(model, [same], [its]).restore(state)
    assert curve(same, its, 6) == curve(sgd, schedule, 6)
