"""A member is its weights and the statistics that were found with them, wherever its model is looked at, given or saved."""

import copy

import pytest
import torch
from answers import Labels
from lessons import PARAMS, Normed

from whet.distributed.ensemble import member_losses
from whet.distributed.flat import Flat
from whet.distributed.local.layout import Layout, memory
from whet.distributed.member import become, member, member_size, parted
from whet.distributed.named import parse_rule
from whet.distributed.simulate import Simulation
from whet.train.checkpoint import pack, unpack
from whet.train.predict import forward

RULES = ["ec(every=3, compress=2)", "codistil(every=3, burn_in=2)"]


def simulated(rule, seed=0, *, task=Normed, steps=3):
    return Simulation(
        task(), {**PARAMS, "lr": 0.3}, rule=parse_rule(rule), workers=3, steps=steps, shuffle="local", seed=seed
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("size", [1, 6, 7])
def test_it_is_taken_apart_as_it_was_put_together(dtype, size):
    """Bit for bit, whatever the bits are, and wherever in other memory it lies."""
    weights = torch.randn(size).to(getattr(torch, dtype))
    buffers = torch.tensor([0.1, -0.0, torch.nan, torch.inf, 2.0**53, 1e-320], dtype=torch.float64)
    vector = member(weights, buffers)
    place = torch.zeros(len(vector) + 1, dtype=vector.dtype)
    place[1:].copy_(vector)
    own, found = parted(place[1:], size)
    assert torch.equal(own, weights)
    assert torch.equal(found.view(torch.int64), buffers.view(torch.int64))
    assert parted(member(weights, None), size)[1] is None


def test_it_is_a_copy_of_the_size_that_is_said():
    flat = Flat(Normed().model({}))
    buffers = torch.empty(flat.buffer_size, dtype=torch.float64)
    flat.read_buffers(buffers)
    vector = member(flat.weights, buffers)
    assert len(vector) == member_size(flat) == flat.size + 2 * flat.buffer_size
    flat.weights.zero_()
    assert vector[: flat.size].any()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("task", [Normed, Labels])
@pytest.mark.parametrize("rule", RULES)
def test_each_member_is_looked_at_as_its_worker_has_it(rule, task, seed):
    """Its worker's model in evaluation mode, with the statistics of that worker: others would be another model's."""
    simulation = simulated(rule, seed, task=task)
    list(simulation)
    run, models = simulation.run, simulation.server.models
    found, buffers = member_losses(run, models), []
    for (worker, model), loss in zip(models, found.each, strict=True):
        seat, flat = simulation.workers[worker], Flat(copy.deepcopy(run.model))
        flat.weights.copy_(seat.weights)
        flat.write_buffers(seat.buffers)
        assert torch.equal(model, member(seat.weights, seat.buffers))
        assert loss == pytest.approx(float(run.loss(forward(flat.model, run.valid), run.valid.targets)), rel=1e-5)
        buffers.append(seat.buffers)
    assert not torch.equal(buffers[0], buffers[1])
    assert found.ensemble <= found.mean


@pytest.mark.parametrize("rule", RULES)
def test_the_servers_model_is_a_member_with_its_statistics(rule):
    simulation = simulated(rule)
    list(simulation)
    simulation.server.settle_buffers()
    own = member(simulation.server.held.weights, simulation.server.statistics.own())
    assert any(torch.equal(own, model) for _, model in simulation.server.models)


def test_a_member_goes_on_from_its_own_statistics_after_a_restart():
    """Where every worker is new, the last compression has nothing but what the server has: each is given its member's, not a mean."""
    simulation = simulated(RULES[0])
    for _ in simulation.beats():
        if simulation.server.closing:
            break
    server = simulation.server
    before = dict(server.models)
    again = simulated(RULES[0]).server
    again.load(unpack(pack(server.state())))
    again.alone()
    for worker in range(3):
        again.join(worker)
    into = torch.empty_like(again.held.weights)
    for worker in range(3):
        given = again.pull(worker, into)
        assert given.closing
        assert torch.equal(member(into, given.buffers), before[worker])


@pytest.mark.parametrize("rule", RULES)
def test_a_simulation_that_is_resumed_has_the_same_members(rule):
    whole = simulated(rule)
    points = list(whole)
    first, second = simulated(rule), simulated(rule)
    for point in first:
        if point.step == 2:
            break
    second.load(unpack(pack(first.state())))
    assert [p.value for p in second] == [p.value for p in points[2:]]
    for (v, a), (w, b) in zip(whole.server.models, second.server.models, strict=True):
        assert v == w
        assert torch.equal(a, b)


@pytest.mark.parametrize("rule", [*RULES, "ec(every=100)", "average(every=100)"])
def test_epochs_that_were_merged_at_once_are_told_one_by_one_also_after_a_pause(rule):
    """A search that pauses a trial between two of them resumes it when nothing is left to train."""
    whole, told = simulated(rule), []
    points = list(whole)
    simulation = simulated(rule)
    while len(told) < 3:
        told.append(next(iter(simulation)))
        state = unpack(pack({"simulation": simulation.state(), "run": simulation.run.state()}))
        simulation = simulated(rule)
        simulation.run.restore(state["run"])
        simulation.load(state["simulation"])
    assert [(p.step, p.value, p.metrics) for p in told] == [(p.step, p.value, p.metrics) for p in points]


def test_a_member_without_statistics_leaves_those_that_are_there():
    flat = Flat(Normed().model({}))
    flat.model[1].running_mean.fill_(3.0)
    become(flat, torch.ones(flat.size))
    assert flat.model[1].running_mean.unique().tolist() == [3.0]
    assert flat.weights.unique().tolist() == [1.0]


def test_what_is_shared_has_room_for_statistics_and_is_counted():
    flat, local = Flat(Normed().model({})), parse_rule(RULES[0]).local
    layout = Layout.of(flat, local, 3)
    vectors, models = 2 + 3, 3 * (1 + 3)
    assert memory(layout) == 4 * (vectors * flat.size + models * member_size(flat))
    areas = layout.areas()
    assert areas["snapshot/models"].size == areas["0/peers"].size == 3 * member_size(flat)
