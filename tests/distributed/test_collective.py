"""PyTorch's own collectives: the steps of one process on the union of the batches, and a death that costs no more than an epoch."""

import itertools
import math
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from lessons import PARAMS
from torch import nn

from whet.distributed.collective.cut import cut, parted, passed
from whet.distributed.collective.state import about
from whet.distributed.collective.train import Training
from whet.distributed.local.train import Training as Processes
from whet.distributed.rules.gather import sync
from whet.distributed.sampler import Sampler
from whet.distributed.shuffle import Shuffle
from whet.distributed.simulate import Simulation
from whet.errors import TaskError, UsageError
from whet.models import Convnet, Mlp
from whet.tasks import resolve
from whet.train.run import Run

LESSONS = Path(__file__).with_name("lessons.py")
SEEDS = [0, *(pytest.param(s, marks=pytest.mark.soak) for s in range(1, 5))]
soak = pytest.mark.soak
MOMENTUM = {**PARAMS, "optimizer": "momentum", "lr": 0.05}


def task(name):
    return resolve(f"{LESSONS}:{name}", seed=0)


def apart(one, other):
    """Return the largest difference between two models' weights and buffers."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def union(name, params, *, copies, shuffle, seed, steps):
    """Return the model of one process that takes a step on the batches of each round together, and how many steps these were."""
    run = Run(task(name), params, seed=seed, device="cpu")
    deal = Shuffle(len(run.train), run.batch, copies, shuffle, seed, run.alone)
    sampler, rates = Sampler(deal, steps), [g["lr"] for g in run.optimizer.param_groups]
    for k in range(copies):
        sampler.join(k)
    for count in itertools.count():
        tickets = [t for t in [sampler.next(k) for k in range(copies)] if t is not None]
        if not tickets:
            return run.model, count
        for group, lr in zip(run.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr * run.rate(deal.progress(tickets[0]))
        inputs, targets = run.train.batch(torch.cat([deal.indices(t) for t in tickets]))
        run.optimizer.zero_grad()
        run.loss(run.model(*inputs), targets).backward()
        run.optimizer.step()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("workers", "stages", "shuffle", "batch"),
    [
        pytest.param(
            4, 2, "global", 50, marks=soak
        ),  # hybrid; 4 batches of 50 and one of 40, so a copy has nothing at the end
        pytest.param(3, 1, "local", 17, marks=soak),  # 80 each: 4 batches of 17 and one of 12
        pytest.param(4, 1, "once", 50, marks=soak),
        pytest.param(2, 2, "global", 17, marks=soak),
        pytest.param(3, 3, "local", 1, marks=soak),  # as many microbatches as examples
    ],
)
def test_a_step_is_that_of_one_process_on_the_union_of_the_batches(workers, stages, shuffle, batch, seed):
    name = "Deep" if stages > 2 else "Blobs"
    params = {**MOMENTUM, "batch": batch, "rate": "cosine"}
    model, count = union(name, params, copies=workers // stages, shuffle=shuffle, seed=seed, steps=3)
    with Training(task(name), params, workers=workers, stages=stages, steps=3, seed=seed, shuffle=shuffle) as training:
        points = list(training)
    assert apart(training.run.model, model) < 1e-5
    assert [p.step for p in points] == [1, 2, 3]
    assert training.status["version"] == points[-1].metrics["updates"] == count
    assert not training._place.meet.exists()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "workers", "batch"),
    [
        ("Normed", 2, 20),  # 241 examples: 12 batches and a single example, which joins the last
        # rounds that begin in one epoch and end in the next; the last is of three, and which three decides statistics that are each worker's own
        pytest.param("Blobs", 5, 20, marks=soak),
        pytest.param("Dropped", 2, 20, marks=soak),
    ],
)
def test_halted_and_resumed_it_takes_the_steps_of_the_rule_sync(name, workers, batch, seed, tmp_path):
    params = {**MOMENTUM, "batch": batch}
    simulated = Simulation(task(name), params, rule=sync(), workers=workers, seed=seed)
    expected = list(simulated)
    with Training(task(name), params, workers=workers, seed=seed, folder=tmp_path) as training:
        points = []
        for point in training:
            points.append(point)
            if point.step == 2:
                training.halt()
    assert 2 <= len(points) < 4
    with Training(task(name), params, workers=workers, seed=seed, folder=tmp_path, resume=True) as training:
        points += training
    assert [p.step for p in points] == [1, 2, 3, 4]
    assert apart(training.run.model, simulated.run.model) < 1e-5
    for a, b in zip(points, expected, strict=True):
        assert dict(a.metrics) == pytest.approx(dict(b.metrics), rel=1e-4)
    assert training.status["merged"] == simulated.server.merged
    assert not training._place.meet.exists()


# -- deaths


def killer(training, which, *, after=3, number=signal.SIGKILL, seed=0):
    """Send a signal to a worker a little after its `after`-th step; return the thread."""

    def strike():
        until = time.monotonic() + 300
        while training.status["version"] < after and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(random.Random(seed).uniform(0, 0.05))
        try:
            os.kill(training._pool.pids()[which], number)
        except (OSError, AttributeError):
            return  # all was over before

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=soak)])
def test_layers_take_the_steps_of_one_process_whoever_dies(workers, seed):
    """It dies in the second epoch, and with hybrid workers, of which each round takes two batches, in the third."""
    params = {**MOMENTUM, "batch": 17, "rate": "cosine"}
    model, count = union("Slow", params, copies=workers // 2, shuffle="global", seed=seed, steps=3)
    with Training(task("Slow"), params, workers=workers, stages=2, steps=3, seed=seed) as training:
        thread = killer(training, seed % workers, after=20, seed=seed)
        points = list(training)
        thread.join(5)
    assert training.deaths == {f"worker {seed % workers}": 1}
    assert [p.step for p in points] == [1, 2, 3]
    assert training.status["version"] == count
    assert apart(training.run.model, model) < 1e-5


@soak
@pytest.mark.parametrize("seed", range(10))
def test_a_worker_that_dies_costs_no_more_than_what_came_after_the_checkpoint(seed):
    with Training(task("Tally"), {"pause": 0.02}, workers=2) as training:
        thread = killer(training, seed % 2, after=20, seed=seed)  # 15 steps an epoch
        points = list(training)
        thread.join(5)
    assert [p.step for p in points] == [1, 2, 3, 4, 5, 6]
    # its weights count how often each example was applied; gradients are sums here, and two batches of 4 are halved to a mean
    assert training.run.model.seen.tolist() == [3.0] * 120
    assert training.deaths == {f"worker {seed % 2}": 1}
    assert 0 <= training.lost <= 15
    assert training.status["drawn_again"] == 2 * training.lost
    assert points[-1].metrics["updates"] == 90


@soak
def test_an_owner_that_knows_how_far_it_was_hears_of_an_epoch_that_was_saved_and_that_it_has_not_read(tmp_path):
    points = []
    with Training(task("Tally"), {"pause": 0.01}, workers=2, folder=tmp_path) as training:
        for point in training:
            points.append(point)
            until = time.monotonic() + 60
            while about(tmp_path / "collective.safetensors")[1] < 60 and time.monotonic() < until:
                time.sleep(0.02)
            break  # its processes are killed
    with Training(task("Tally"), {}, workers=2, folder=tmp_path, resume=True) as training:
        training.run.step = points[-1].step
        points += training
    assert [p.step for p in points] == [1, 2, 3, 4, 5, 6]
    assert training.run.model.seen.tolist() == [3.0] * 120  # of the mean of two


@soak
def test_what_an_earlier_training_left_is_not_gone_on_from(tmp_path):
    (tmp_path / "collective.safetensors").write_bytes(b"of something else")
    with Training(task("Tally"), {"pause": 0.05}, workers=2, steps=2, folder=tmp_path) as training:
        thread = killer(training, 1, after=1)  # before its own first checkpoint
        points = list(training)
        thread.join(5)
    assert len(points) == 2
    assert training.run.model.seen.tolist() == [1.0] * 120
    assert training.deaths == {"worker 1": 1}
    with (
        pytest.raises(TaskError, match="resume: shuffle local had 1 shards, now 2"),
        Training(task("Tally"), {}, workers=2, shuffle="local", folder=tmp_path, resume=True) as training,
    ):
        list(training)


@soak
def test_weights_that_are_not_finite_end_it():
    with Training(task("Blobs"), {**PARAMS, "lr": 1e30}, workers=2) as training:
        points = list(training)
    assert len(points) == 1
    assert math.isnan(points[0].value)
    assert training.run.over


@soak
@pytest.mark.parametrize("stages", [1, 2])
def test_a_worker_that_hangs_is_replaced(stages):
    with Training(task("Slow"), MOMENTUM, workers=2, stages=stages, steps=6) as training:
        training.deadline = 20.0
        thread = killer(training, 1, number=signal.SIGSTOP)
        points = list(training)
        thread.join(5)
    assert [p.step for p in points] == [1, 2, 3, 4, 5, 6]
    assert training.deaths == {"worker 1": 1}
    model, _ = union(
        "Slow", {**MOMENTUM, "rate": "cosine", "rate.floor": 1.0}, copies=2 // stages, shuffle="global", seed=0, steps=6
    )
    assert apart(training.run.model, model) < 1e-5


@soak
@pytest.mark.parametrize(("name", "workers", "stages"), [("Normed", 2, 1), ("Dropped", 3, 1), ("Deep", 4, 2)])
def test_halted_it_goes_on_where_it_was_bit_for_bit(name, workers, stages, tmp_path):
    def made(folder, *, resume=False):
        params = {**MOMENTUM, "rate": "cosine"}
        return Training(task(name), params, workers=workers, stages=stages, folder=folder, resume=resume)

    with made(None) as training:
        expected = list(training)
        whole = training.run.model
    with made(tmp_path) as training:
        for point in training:
            if point.step == 2:
                training.halt()
    assert 2 <= point.step < 4
    with made(tmp_path, resume=True) as training:
        points = list(training)
    assert [p.step for p in points] == list(range(point.step + 1, 5))
    assert points[-1].value == expected[-1].value
    assert apart(training.run.model, whole) == 0
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert len(kept) == 1 + stages  # the file that names the parts, and these


# -- what cannot be


def test_what_cannot_be_is_refused_before_anything_starts():
    with pytest.raises(UsageError, match=r"rule dc-asgd: --on torch has sync only\. Use --rule sync"):
        Training(task("Blobs"), PARAMS, rule="dc-asgd", workers=2)
    with pytest.raises(UsageError, match="must be a multiple of stages, both >= 1, got workers=3 and stages=2"):
        Training(task("Blobs"), PARAMS, workers=3, stages=2)
    with pytest.raises(UsageError, match="workers=0"):
        Training(task("Blobs"), PARAMS, workers=0)
    with pytest.raises(UsageError, match="workers: 300 for 240 training examples"):
        Training(task("Blobs"), PARAMS, workers=300)
    with pytest.raises(UsageError, match=r"/proc/none: cannot be used for checkpoints \(.*\)\. Give another folder"):
        Training(task("Blobs"), PARAMS, workers=2, folder=Path("/proc/none"))


def test_a_folder_is_one_trainings_on_this_channel_and_the_other(tmp_path):
    with Training(task("Blobs"), PARAMS, workers=2, folder=tmp_path) as first:
        for another in (Training, Processes):
            with pytest.raises(UsageError, match="another training is using it"):
                another(task("Blobs"), PARAMS, rule="sync", workers=2, folder=tmp_path)
        assert first.job.checkpoint == str(tmp_path / "collective.safetensors")
    with (
        Processes(task("Blobs"), PARAMS, rule="sync", workers=2, folder=tmp_path),
        pytest.raises(UsageError, match="another training is using it"),
    ):
        Training(task("Blobs"), PARAMS, workers=2, folder=tmp_path)
    with Training(task("Blobs"), PARAMS, workers=2) as temporary:
        folders = [Path(f) for f in temporary.job.temporary]
        assert Path(temporary.job.checkpoint).parent in folders
        assert not temporary.job.checkpoint.startswith("/dev/shm")
    assert not any(f.exists() for f in folders)


@soak
@pytest.mark.parametrize(("name", "stages", "said"), [
    ("Spoilt", 1, r"^worker .: RuntimeError: spoilt on purpose"),
    ("Spoilt", 2, r"^worker .: RuntimeError: spoilt on purpose"),
    ("Lines", 2, r"^model: Sequential cannot be cut into stages: a cut needs"),
])  # fmt: skip
def test_an_error_in_a_worker_is_said_in_its_words(name, stages, said):
    with (
        pytest.raises(TaskError, match=said),
        Training(task(name), {**PARAMS, "batch": 32}, workers=2, stages=stages) as training,
    ):
        list(training)


# -- cuts


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        x = self.first(x)
        return self.second(x if x.sum() > 0 else -x)


class Dense(nn.Module):
    """What goes in is added to what comes out; the first two layers stand one behind the other but share their weights."""

    def __init__(self):
        super().__init__()
        self.shared, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return x + self.last(self.shared(self.shared(x).relu()))


@pytest.mark.parametrize("stages", [2, 3])
@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (
            Mlp(3, 2, categories=(4, 3), depth=3, width=8, norm="batch"),
            (torch.randn(5, 3), torch.randint(0, 3, (5, 2))),
        ),
        (Convnet((3, 16, 16), 5, depth=2, width=8), (torch.randint(0, 255, (4, 3, 16, 16), dtype=torch.uint8),)),
    ],
    ids=["table", "pictures"],
)
def test_the_parts_one_after_the_other_are_the_model(model, inputs, stages):
    model.train()
    parts = parted(cut(model, inputs, stages), stages)
    own = [{id(p) for p in part.parameters()} for part in parts]
    assert all(own)
    assert set().union(*own) == {id(p) for p in model.parameters()}
    assert sum(map(len, own)) == len(list(model.parameters()))  # nothing stands in two of them
    between = passed(parts, inputs, model)
    before = [b.clone() for b in model.buffers()]
    expected, x = model(*inputs), inputs
    for b, value in zip(model.buffers(), before, strict=True):
        b.copy_(value)
    for part, shape in zip(parts, between[1:], strict=True):
        x = (part(*x),)
        assert x[0].is_contiguous()
        assert x[0].shape == shape[0].shape
    assert torch.allclose(x[0], expected, atol=1e-6)


def test_cuts_are_where_the_parts_cost_about_the_same():
    net = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(6)), nn.Linear(64, 2))
    parts = parted(cut(net, (torch.zeros(8, 64),), 3), 3)
    assert [len(list(p.parameters())) // 2 for p in parts] == [2, 2, 3]


@pytest.mark.parametrize(
    ("model", "stages", "said"),
    [
        (
            Branch(),
            2,
            r"^model: Branch cannot be cut into 2 stages: torch\.export cannot trace it \(.*\)\. Use --stages 1",
        ),
        (Dense(), 2, r"^model: Dense cannot be cut into stages: a cut needs a place where one tensor passes"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), 3, "can be cut into at most 2 stages, got 3"),
    ],
    ids=["branch", "dense", "short"],
)
def test_a_model_that_cannot_be_cut_is_refused_with_the_reason(model, stages, said, capfd):
    with pytest.raises(TaskError, match=said) as e:
        cut(model, (torch.randn(3, 4),), stages)
    assert "\n" not in str(e.value)
    assert capfd.readouterr() == ("", "")
