"""Whoever goes on from a state has made what made it: else one line says what differs, and nothing of an old result is passed off as new."""

import pytest
import torch
from lessons import PARAMS, Blobs
from torch import nn
from torch.optim import SGD, Adam

from whet.distributed.delays import Delays, Network
from whet.distributed.flat import Flat
from whet.distributed.rules.gradient import asynchronous, bounded
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle, by_label
from whet.distributed.simulate import Failure, Simulation
from whet.distributed.together import Together
from whet.distributed.update import Update
from whet.errors import CheckpointError
from whet.train.checkpoint import pack, unpack

MADE = {
    "workers": 3, "steps": 3, "seed": 5, "rule": bounded(3), "delays": Delays("lognormal", stragglers={1: 2.0}),
    "network": Network(latency=0.1), "failures": [Failure(2, 9.0, 14.0)], "shuffle": "global",
}  # fmt: skip


def kept(**changes):
    """Return the state of a simulation that has done an epoch, as a file holds it."""
    simulation = Simulation(Blobs(), PARAMS, **MADE | changes)
    next(iter(simulation))
    return unpack(pack(simulation.state()))


@pytest.fixture(scope="module")
def state():
    return kept()


def test_a_simulation_of_the_same_goes_on(state):
    whole = list(Simulation(Blobs(), PARAMS, **MADE))
    again = Simulation(Blobs(), PARAMS, **MADE)
    again.load(state)
    assert list(again) == whole[1:]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"workers": 2, "failures": []}, "workers 3, and here it is 2"),
        ({"workers": 6}, "workers 3, and here it is 6"),
        ({"steps": 9}, "epochs 3, and here it is 9"),
        ({"seed": 6}, "seed 5, and here it is 6"),
        ({"rule": asynchronous()}, r"rule bounded\(s=3\), and here it is async"),
        ({"delays": Delays("gamma")}, r"delays lognormal, worker 1 2x, and here it is gamma"),
        ({"delays": Delays("lognormal", 0.7, {1: 2.0})}, r"delays .*, and here it is lognormal\(0.7\), worker 1 2x"),
        ({"delays": Delays("x", trace=[[1.0, 2.0]])}, "delays .*, and here it is recorded in x"),
        ({"network": Network()}, "network .*latency=0.1.*latency=0.0"),
        ({"failures": [Failure(2, 9.0)]}, "failures 2@9-14, and here it is 2@9"),
        ({"shuffle": "local"}, "shuffle global, and here it is local"),
    ],
)  # fmt: skip
def test_a_simulation_of_anything_else_is_refused_in_one_line(state, changes, what):
    with pytest.raises(CheckpointError, match=f"was made with {what}.*Go on as it was made, or begin anew"):
        Simulation(Blobs(), PARAMS, **MADE | changes).load(state)


def test_a_state_of_another_format_is_refused_before_it_is_read(state):
    """As an earlier version wrote it: without the number of its format, and without parts that were not there then."""
    old = {"made": {k: v for k, v in state["made"].items() if k != "format"}}
    with pytest.raises(CheckpointError, match=r"written by another version of whet \(format 1, here 4\)"):
        Simulation(Blobs(), PARAMS, **MADE).load({**state, **old})
    simulation = Simulation(Blobs(), PARAMS, **MADE)
    with pytest.raises(CheckpointError, match="written by another version"):
        simulation.server.load({"made": {k: v for k, v in simulation.server.made.items() if k != "format"}})


def test_a_simulation_of_another_configuration_is_refused(state):
    for changes, what in (
        ({"lr": 0.2}, "lr 0.1, and here it is 0.2"),
        ({"momentum": 0.5}, "momentum"),
        ({"lr": None}, "lr"),
    ):
        params = {k: v for k, v in {**PARAMS, **changes}.items() if v is not None}
        with pytest.raises(CheckpointError, match=f"was made with(out)? {what}"):
            Simulation(Blobs(), params, **MADE).load(state)


def test_records_and_shards_of_the_same_name_are_told_apart():
    one = kept(delays=Delays("x", trace=[[1.0, 2.0]]))
    Simulation(Blobs(), PARAMS, **MADE | {"delays": Delays("x", trace=[[1.0, 2.0]])}).load(one)
    with pytest.raises(CheckpointError, match="delays recorded in x"):
        Simulation(Blobs(), PARAMS, **MADE | {"delays": Delays("x", trace=[[1.0, 2.5]])}).load(one)
    probe = Simulation(Blobs(), PARAMS, **MADE)
    targets, made = probe.run.data.train.targets, probe.shuffle

    def parted(skew):
        shards = by_label(targets, 3, skew=skew)
        return Shuffle(made.n, made.batch, 3, "local", made.seed, made.alone, shards)

    with pytest.raises(CheckpointError, match="shards"):
        Simulation(Blobs(), PARAMS, **MADE | {"shuffle": parted(0.0)}).load(kept(shuffle=parted(1.0)))


def test_a_trial_of_another_number_of_workers_is_refused():
    params = {**PARAMS, "rule": "async", "workers": 3}
    first = Together(Blobs(), params, steps=3)
    next(iter(first))
    with pytest.raises(CheckpointError, match="workers 3, and here it is 4"):
        Together(Blobs(), {**params, "workers": 4}, steps=3, resume=first.state())


def served(make):
    torch.manual_seed(0)
    flat = Flat(nn.Linear(3, 2))
    return Server(flat, asynchronous(), Sampler(Shuffle(4, 1), 2), optimizer=make(flat.parameters))


def hooked(make):
    """Return an optimizer that steps on each parameter, since somebody looks at it."""

    def made(parameters):
        found = make(parameters)
        found.register_step_post_hook(lambda *_: None)
        return found

    return made


@pytest.mark.parametrize(
    "make", [lambda p: SGD(p, lr=0.1, momentum=0.9), lambda p: Adam(p, lr=0.1)], ids=["sgd", "adam"]
)
def test_steps_on_the_whole_vector_and_on_each_parameter_do_not_go_on_from_one_another(make):
    for before, now in ((make, hooked(make)), (hooked(make), make)):
        one, other, same = served(before), served(now), served(before)
        one.join(0)
        given = one.pull(0, torch.empty(8))
        one.push(Update(0, 0, torch.ones(8), "gradient", 1, given.version, given.tickets, 1.0, None))
        state = unpack(pack(one.state()))
        with pytest.raises(
            CheckpointError, match=r"was made with steps on (the whole vector|each parameter), and here"
        ):
            other.load(state)
        same.load(state)
        for server in (one, same):
            server.steps.take(torch.full((8,), 0.5))
        assert torch.equal(one.flat.weights, same.flat.weights)
