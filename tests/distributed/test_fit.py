"""What cannot be shared among workers is refused, and what can be is not."""

import pytest
import torch
from lessons import PARAMS, Blobs, Normed, Tally
from torch import nn

from whet.distributed.fit import check_run
from whet.distributed.local.train import Training
from whet.distributed.rules.gradient import asynchronous
from whet.distributed.shuffle import Shuffle
from whet.distributed.simulate import Simulation
from whet.errors import TaskError, UsageError
from whet.train.run import Run


class Words(Blobs):
    sparse = True

    def model(self, params):
        return Bag(self.sparse)


class Bag(nn.Module):
    def __init__(self, sparse):
        super().__init__()
        self.words = nn.EmbeddingBag(9, 3, sparse=sparse, mode="sum")

    def forward(self, x):
        return self.words(x.long().clamp(0, 8))


class Dense(Words):
    sparse = False


class Twice(torch.optim.SGD):
    def step(self, closure):
        closure()
        super().step()


class Calls(Blobs):
    def optimizer(self, params, model):
        return Twice(model.parameters(), lr=0.1)


class Searches(Blobs):
    def optimizer(self, params, model):
        return torch.optim.LBFGS(model.parameters())


def test_a_sparse_gradient_is_found_whatever_makes_it():
    with pytest.raises(TaskError, match=r"Words.model: the gradient of words.weight is sparse.*Leave sparse=True out"):
        check_run(Run(Words(), PARAMS, device="cpu"), asynchronous())


@pytest.mark.parametrize("made", [Words, Searches, Calls])
def test_the_simulator_refuses_what_processes_refuse(made):
    """Else it would show what cannot be trained, and offer the command for it."""
    said = []
    for train in (Training, Simulation):
        rule = "async" if train is Training else asynchronous()
        with pytest.raises(TaskError) as error:
            train(made(), PARAMS, rule=rule, workers=2)
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("task", [Blobs, Normed, Dense, Tally])
def test_looking_changes_nothing(task):
    run, other = (Run(task(), PARAMS, device="cpu") for _ in range(2))
    before = torch.get_rng_state()
    check_run(run, asynchronous())
    assert torch.equal(before, torch.get_rng_state())
    assert all(p.grad is None for p in run.model.parameters())
    for a, b in zip(run.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_shard_of_one_example_is_too_small_for_batch_normalisation():
    with pytest.raises(UsageError, match=r"one example.*at most 5"):
        Shuffle(10, 4, workers=6, how="local", alone=False)
    Shuffle(10, 4, workers=5, how="local", alone=False)
    Shuffle(10, 4, workers=6, how="local")
