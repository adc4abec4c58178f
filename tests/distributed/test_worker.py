"""What a worker does: sums that keep nothing of before, teachers with statistics of their own, ensembles of the very sure."""

import copy
import math

import pytest
import torch
from lessons import PARAMS, Blobs, Lines, Normed
from torch import nn

from whet.data.split import Data, Split
from whet.distributed.ensemble import member_losses
from whet.distributed.flat import Flat
from whet.distributed.member import member
from whet.distributed.rule import Distil, Local
from whet.distributed.rules.gather import sync
from whet.distributed.rules.gradient import accumulate
from whet.distributed.shuffle import Shuffle
from whet.distributed.simulate import Simulation
from whet.distributed.update import Given, Ticket
from whet.distributed.worker import Parts, Worker
from whet.errors import UsageError
from whet.train.run import Run


def made(task, local, **params):
    run = Run(task, {**PARAMS, **params}, device="cpu")
    shuffle = Shuffle(len(run.data.train), run.batch, 1, "global", 0, run.alone)
    return Worker(0, Parts.of(run), shuffle, local=local), run


def given(*batches):
    return Given(0, tuple(Ticket(0, 0, b) for b in batches))


def test_a_gradient_that_was_not_finite_leaves_nothing_for_the_next_stretch():
    worker, _ = made(Blobs(), Local(every=2))
    expected = worker.work(given(2, 3)).vector.clone()
    good = worker.parts.loss
    object.__setattr__(worker.parts, "loss", lambda outputs, targets: good(outputs, targets) * math.nan)
    assert worker.work(given(0, 1)).vector.isnan().any()
    object.__setattr__(worker.parts, "loss", good)
    assert torch.equal(worker.work(given(2, 3)).vector, expected)


@pytest.mark.parametrize("every", [2, 4])
def test_gradients_of_several_batches_are_that_of_the_big_one(every):
    """Batches of 16, `every` at a time: the steps of one worker with the big batch."""
    task = Blobs()
    task.n = 256
    simulation = Simulation(task, PARAMS, rule=accumulate(every), workers=1, steps=3)
    big = Run(task, {**PARAMS, "batch": 16 * every}, steps=3, device="cpu")
    list(simulation), list(big)
    assert simulation.server.held.version == 3 * 16 / every
    flat = torch.cat([p.detach().flatten() for p in big.model.parameters()])
    assert torch.allclose(simulation.server.held.weights, flat, atol=1e-5)


@pytest.mark.parametrize("how", ["global", "local"])
def test_unlike_workers_take_unlike_batches_and_the_step_of_the_big_one(how):
    """Shares 2, 1, 1 of batches of 8 are one batch of 32: three workers, of which the first is twice as fast."""
    task = Blobs()
    task.n = 256
    shuffle = Shuffle(256, 8, 3, how, shares=(2, 1, 1))
    unlike = Simulation(task, {**PARAMS, "batch": 8}, rule=sync(), workers=3, steps=3, shuffle=shuffle)
    list(unlike)
    assert unlike.server.held.version == 3 * 8
    assert [len(s) for s in shuffle.shards] == ([256] if how == "global" else [128, 64, 64])
    if how == "global":
        big = Run(task, {**PARAMS, "batch": 32}, steps=3, device="cpu")
        list(big)
        flat = torch.cat([p.detach().flatten() for p in big.model.parameters()])
        assert torch.allclose(unlike.server.held.weights, flat, atol=1e-5)


def test_a_part_of_a_big_batch_counts_by_its_examples():
    """Batches of 7 of 100 examples: the last has 2, and what it is joined with weighs three and a half times as much."""
    task = Blobs()
    task.n = 100
    simulation = Simulation(task, {**PARAMS, "batch": 7}, rule=sync(), workers=15, steps=2)
    big = Run(task, {**PARAMS, "batch": 100}, steps=2, device="cpu")
    list(simulation), list(big)
    flat = torch.cat([p.detach().flatten() for p in big.model.parameters()])
    assert torch.allclose(simulation.server.held.weights, flat, atol=1e-5)


@pytest.mark.parametrize("shares", [(1, 2), (1, 0, 1), (1, 1.5, 1), (1, True, 1)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(
        UsageError, match=r"shares: needs a whole number >= 1 for each of 3 workers.*Use e\.g\. \(2, 1, 1\)"
    ):
        Shuffle(30, 2, 3, shares=shares)


def test_every_worker_has_a_shard_whatever_the_shares():
    for shares in ((1, 50), (50, 1, 1), (3, 1, 2)):
        shards = Shuffle(60, 4, len(shares), "local", shares=shares).shards
        assert sorted(torch.cat(shards).tolist()) == list(range(60))
        assert all(abs(len(s) - 60 * k / sum(shares)) < 3 for s, k in zip(shards, shares, strict=True))


def test_a_teacher_with_batch_normalisation_says_what_its_owner_says():
    """Statistics go with the weights: with those of another model a teacher would say something else."""
    trained, run = made(Normed(), Local(every=15, sends="weights"), lr=0.2)
    update = trained.work(given(*range(15)))
    distil = Distil(1.0, 1.0, 1)
    pupil, _ = made(Normed(), Local(1, "weights", "own", peers=True, distil=distil), lr=0.2)
    inputs = run.train.batch(torch.arange(100))[0]
    own = copy.deepcopy(trained.flat.model).eval()
    with torch.no_grad():
        truth = own(*inputs).softmax(1)
    one = member(update.vector, update.buffers)
    assert torch.equal(pupil._taught([(1, one)], inputs), truth)
    assert torch.equal(
        pupil._taught([(1, one)], (inputs[0][:1],)), own(inputs[0][:1]).softmax(1)
    )  # whatever the batch is


class Images(Blobs):
    """With a convolution whose weights lie channels last."""

    def data(self, params):
        g = torch.Generator().manual_seed(1)
        x, y = torch.randn(60, 3, 4, 4, generator=g), torch.arange(60) % 3
        return Data(Split(x[:40], y[:40]), Split(x[40:], y[40:]), classes=("a", "b", "c"))

    def model(self, params):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
        return net.to(memory_format=torch.channels_last)


def test_a_member_is_read_as_its_owner_wrote_it_however_its_weights_lie():
    trained, run = made(Images(), Local(every=2, sends="weights"))
    trained.work(given(0, 1))
    inputs = run.train.batch(torch.arange(30))[0]
    pupil, _ = made(Images(), Local(1, "weights", "own", peers=True, distil=Distil()))
    with torch.no_grad():
        truth = trained.flat.model(*inputs).softmax(1)
        found = nn.functional.cross_entropy(trained.flat.model(run.valid.inputs), run.valid.targets)
    assert torch.allclose(pupil._taught([(1, trained.flat.weights)], inputs), truth, atol=1e-6)
    assert member_losses(run, [(0, trained.flat.weights)]).each == pytest.approx((float(found),), rel=1e-5)


def test_looking_at_the_members_changes_neither_them_nor_the_run():
    run = Run(Blobs(), PARAMS, device="cpu")
    flat = Flat(run.model)
    members = [(w, torch.full_like(flat.weights, 0.1 * w)) for w in range(3)]
    before = flat.weights.clone()
    member_losses(run, members)
    assert [m.unique().tolist() for _, m in members] == [[pytest.approx(0.1 * w)] for w in range(3)]
    assert torch.equal(flat.weights, before)
    flat.weights.zero_()
    assert not any(p.any() for p in run.model.parameters())  # they still are one


@pytest.mark.parametrize("seed", range(5))
def test_an_ensemble_of_the_very_sure_is_no_worse_than_they_are(seed):
    """Members whose probabilities underflow: cut off at a least probability the bound would not hold."""
    run = Run(Blobs(), PARAMS, device="cpu")
    g = torch.Generator().manual_seed(seed)
    size = Flat(copy.deepcopy(run.model)).size
    for scale in (0.5, 3.0, 6.0, 20.0):
        members = [(w, scale * torch.randn(size, generator=g)) for w in range(3)]
        found = member_losses(run, members)
        assert found.ensemble <= found.mean * (1 + 1e-12)
        for (_, weights), loss in zip(members, found.each, strict=True):
            model = copy.deepcopy(run.model).double()
            nn.utils.vector_to_parameters(weights.double(), model.parameters())
            with torch.no_grad():
                true = nn.functional.cross_entropy(model(run.valid.inputs.double()), run.valid.targets)
            assert loss == pytest.approx(float(true), rel=1e-4)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_an_ensemble_of_numbers_is_no_worse_than_its_members(scale):
    run = Run(Lines(), PARAMS, device="cpu")
    g = torch.Generator().manual_seed(1)
    found = member_losses(run, [(w, scale * torch.randn(2, generator=g)) for w in range(5)])
    assert found.ensemble <= found.mean
