"""Many workers: what an event costs does not grow with them, and what they hold is what they must."""

import gc
from collections import Counter

import pytest
import torch
from lessons import PARAMS, Blobs, Normed

from whet.distributed.named import parse_rule
from whet.distributed.rule import Local, Rule
from whet.distributed.sampler import Sampler
from whet.distributed.shuffle import Shuffle
from whet.distributed.simulate import Failure, Simulation
from whet.distributed.update import Given, Held, Ticket
from whet.distributed.worker import Parts, Worker
from whet.train.run import Run


class Looks(dict):
    """A dict that counts how often its values are walked through."""

    walks = 0

    def __iter__(self):
        Looks.walks += 1
        return super().__iter__()

    def values(self):
        Looks.walks += 1
        return super().values()


@pytest.mark.parametrize("rule", ["sync", "bounded(s=1)", "average(every=1)"])
def test_who_waits_is_asked_when_the_slowest_moves_and_not_at_every_push(rule):
    """64 workers push 240 times each round of 64: asked at every push, those that wait would answer some 30 times an update."""
    asked = Counter()
    made = parse_rule(rule)

    def admit(held, worker):
        asked[worker] += 1
        return made.admit(held, worker)

    counted = Rule(made.name, merge=made.merge, init=made.init, admit=admit, local=made.local)
    simulation = Simulation(Blobs(), {**PARAMS, "batch": 1}, rule=counted, workers=64, steps=2)
    plain = Simulation(Blobs(), {**PARAMS, "batch": 1}, rule=made, workers=64, steps=2)
    assert list(simulation) == list(plain)
    assert simulation.server.merged == 480
    assert sum(asked.values()) < 5 * 480


def test_the_slowest_clock_is_known_without_looking_at_all_of_them():
    held = Held(torch.zeros(1))
    held.clocks = Looks()
    for w in range(100):
        held.tick(w, 0)
    Looks.walks = 0
    for i in range(3000):
        worker = i * 7 % 100 if i % 3 else i % 10  # some are three times as quick
        held.tick(worker, held.clocks[worker] + 1)
    for w in range(0, 100, 2):
        held.tick(w, None)
    assert Looks.walks == 0
    assert held.slowest == min(held.clocks.values())


def test_a_round_is_not_searched_before_it_may_be_whole():
    simulation = Simulation(Blobs(), {**PARAMS, "batch": 1}, rule=parse_rule("sync"), workers=48, steps=1)
    simulation.server.held.clocks = Looks(simulation.server.held.clocks)
    Looks.walks = 0
    list(simulation)
    rounds = simulation.server.held.version
    assert rounds == 5
    assert Looks.walks <= 60 + 4 * rounds  # once for each worker that rests in the end, and a few for each round


def test_workers_share_a_model_and_have_their_own_weights_and_statistics():
    """What many do in one model is what each does in its own."""
    run = Run(Normed(), {**PARAMS, "optimizer": "momentum"}, device="cpu")
    simulation = Simulation(
        Normed(), {**PARAMS, "optimizer": "momentum"}, rule=parse_rule("average(every=2)"), workers=3
    )
    shuffle = Shuffle(241, 16, 3, "global", 0, run.alone)
    alone = [Worker(w, Parts.of(run), shuffle, local=Local(2, "weights")) for w in range(3)]
    for _ in range(2):
        for w, worker in enumerate(alone):
            given = simulation.server.pull(w, simulation.workers[w].weights) if simulation.workers else None
            if given is None:
                for v in range(3):
                    simulation._join(v)
                for v in range(3):
                    simulation._ask(v)
                given = simulation._given[w]
            worker.flat.weights.copy_(simulation.workers[w].weights)
            a, b = worker.work(given), simulation.workers[w].work(given)
            assert torch.equal(a.vector, b.vector)
            assert torch.equal(a.buffers, b.buffers)
            assert a.loss == b.loss
    assert len({id(seat.stage.flat.model) for seat in simulation.workers.values()}) == 1


def test_a_gradient_is_kept_for_as_long_as_somebody_needs_it():
    """Of 30 workers without a network none is under way when another is merged: 30 vectors pulled, and none sent."""

    def vectors(rule):
        simulation = Simulation(Blobs(), {**PARAMS, "batch": 1}, rule=parse_rule(rule), workers=30, steps=1)
        beats = simulation.beats()
        for _ in range(200):
            next(beats)
        size = simulation.server.flat.size
        gc.collect()
        return sum(type(o) is torch.Tensor and o.shape == (size,) for o in gc.get_objects())

    assert 30 <= vectors("async") <= 30 + 8
    assert 30 < vectors("sync") <= 60 + 8


def test_gradients_of_several_batches_are_added_whatever_lay_in_memory():
    run = Run(Blobs(), PARAMS, device="cpu")
    worker = Worker(0, Parts.of(run), Shuffle(240, 16), local=Local(every=3))
    tickets = tuple(Ticket(0, 0, i) for i in range(3))
    parts = [worker.work(Given(0, (t,))).vector.clone() for t in tickets]
    assert torch.allclose(worker.work(Given(0, tickets)).vector, sum(parts) / 3, atol=1e-6)
    first = worker.flat.weights.clone()
    worker.flat.weights.fill_(float("nan"))
    assert not torch.isfinite(worker.work(Given(0, tickets)).vector).any()
    worker.flat.weights.copy_(first)
    assert torch.allclose(worker.work(Given(0, tickets)).vector, sum(parts) / 3, atol=1e-6)


def test_a_shard_whose_worker_left_passes_to_the_next_one_that_joins():
    sampler = Sampler(Shuffle(40, 2, workers=4, how="local"), epochs=3)
    for w in range(4):
        sampler.join(w)
    assert sampler.orphans == []
    sampler.leave(2)
    sampler.leave(2)
    assert sampler.orphans == [2]
    sampler.join(3)  # again, without having left: it keeps its own
    assert sampler.orphans == [2]
    sampler.join(7)
    assert sampler.orphans == []
    sampler.load(sampler.state())
    sampler.join(9)  # there is none left: it shares
    assert sampler.orphans == []
    assert sampler.next(9).shard == 1


@pytest.mark.parametrize("how", ["local", "once"])
def test_deaths_with_shards_end_too(how):
    simulation = Simulation(
        Blobs(), PARAMS, rule=parse_rule("bounded(s=1)"), workers=4, shuffle=how,
        failures=[Failure(0, 2.5), Failure(1, 3.0, 5.0), Failure(3, 4.0)],
    )  # fmt: skip
    assert list(simulation)[-1].step == 4


@pytest.mark.parametrize("batch", [1, 3, 16, 240, 500])
def test_the_batches_of_an_epoch_are_each_example_once(batch):
    shuffle = Shuffle(240, batch, 5, "local")
    found = [shuffle.indices(Ticket(s, 2, i)) for s in range(5) for i in range(shuffle.batches(s))]
    assert torch.cat(found).sort().values.tolist() == list(range(240))
    assert all(len(f) == min(batch, 48) for f in found)


class Many(Blobs):
    """At least an example for each worker."""

    n = 1200


@pytest.mark.soak
def test_a_thousand_workers():
    """Their staleness is what it must be with a thousand of them, too."""
    simulation = Simulation(
        Many(), {**PARAMS, "batch": 1, "lr": 1e-5}, rule=parse_rule("async"), workers=1000, steps=12
    )
    list(simulation)
    found = simulation.server.staleness
    assert abs(sum(k * v for k, v in found.items()) / sum(found.values()) - 999) < 50
