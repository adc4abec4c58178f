"""The state of a PyTorch training in another's loop."""

import pytest
import torch
from torch import nn

from whet.train.hooks.torch_state import Parts


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


def test_a_chain_of_schedules_goes_on_with_the_rate_of_the_new_configuration():
    """Also those of its parts that have not begun."""

    def chained(lr):
        sgd = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=lr)
        rates = torch.optim.lr_scheduler
        parts = [rates.LinearLR(sgd, 0.5, total_iters=3), rates.CosineAnnealingLR(sgd, 6)]
        return sgd, rates.SequentialLR(sgd, parts, milestones=[3])

    def curve(sgd, schedule, steps):
        found = []
        for _ in range(steps):
            sgd.step()
            schedule.step()
            found.append(sgd.param_groups[0]["lr"])
        return found

    model = nn.Linear(2, 1)
    sgd, schedule = chained(0.1)
    old = Parts(model, [sgd], [schedule])
    curve(sgd, schedule, 2)
    faster, its = chained(0.2)
    Parts(model, [faster], [its]).restore(old.state())
    assert curve(faster, its, 6) == pytest.approx(curve(*chained(0.2), 8)[2:])
    same, its = chained(0.1)
    Parts(model, [same], [its]).restore(old.state())
    assert curve(same, its, 6) == curve(sgd, schedule, 6)
