"""The compression that ends a training: its arithmetic, who is in it, and that it is done once whoever dies."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lessons import PARAMS, Blobs, Lines, Normed
from torch import nn

from whet.distributed.delays import Delays
from whet.distributed.desk import Desk
from whet.distributed.flat import Flat
from whet.distributed.named import parse_rule
from whet.distributed.rule import Distil, Local
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle
from whet.distributed.simulate import Failure, Simulation
from whet.errors import UsageError
from whet.seed import key
from whet.train.checkpoint import pack, unpack

LESSONS = Path(__file__).with_name("lessons.py")
RULE = "ec(every=5, share=0.5, weight=2, compress=3)"
SEEDS = [0, *(pytest.param(s, marks=pytest.mark.soak) for s in range(1, 10))]


def simulated(task=Blobs, rule=RULE, *, steps=4, workers=3, params=PARAMS, shuffle="local", **more):
    return Simulation(task(), params, rule=parse_rule(rule), workers=workers, steps=steps, shuffle=shuffle, **more)


def until_it_closes(simulation):
    """Take the events before the compression that ends the training; return the members of the last exchange, and the points."""
    points = []
    for point in simulation.beats():
        points += [point] if point is not None else []
        if simulation.server.closing:
            break
    return dict(simulation.server.models), points


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("task", [Blobs, Lines])
def test_each_member_is_its_model_of_the_last_exchange_after_steps_on_what_the_ensemble_says(task, seed):
    params = {**PARAMS, "rate": "step", "rate.every": 3}  # the rate falls to a tenth before the end
    simulation = simulated(task, params=params, seed=seed)
    before, _ = until_it_closes(simulation)
    list(simulation)
    parts, shuffle, after = simulation.parts, simulation.shuffle, dict(simulation.server.models)
    assert sorted(after) == sorted(before) == [0, 1, 2]
    flat, classes = Flat(parts.model()), task is Blobs

    def says(weights, inputs):
        flat.weights.copy_(weights)
        out = flat.model(*inputs)
        return out.softmax(1) if classes else out

    for worker, weights in before.items():
        own = shuffle.shards[worker]
        order = torch.randperm(len(own), generator=torch.Generator().manual_seed(key(seed, "relabel", worker, "last")))
        own = own[order][: round(0.5 * len(own))][: 3 * shuffle.batch]
        inputs, targets = parts.train.batch(own)
        with torch.no_grad():
            taught = torch.stack([says(m, inputs) for m in before.values()]).mean(0)
        flat.weights.copy_(weights)
        optimizer = torch.optim.SGD(flat.parameters, lr=PARAMS["lr"] * parts.rate(4.0))
        for i in range(3):
            at = torch.arange(16 * i, 16 * i + 16) % len(own)
            flat.gradient.zero_()
            out = flat.model(*(x[at[: len(own)]] for x in inputs))
            t, y = taught[at[: len(own)]], targets[at[: len(own)]]
            agrees = F.cross_entropy(out, t) if classes else F.mse_loss(out, t)
            (parts.loss(out, y) + 2 * agrees).backward()
            optimizer.step()
        assert torch.allclose(flat.weights, after[worker], rtol=0, atol=1e-6)
        assert not torch.allclose(weights, after[worker], rtol=0, atol=1e-4)
    assert parts.rate(4.0) == pytest.approx(0.1)


def test_the_model_that_is_delivered_is_the_best_of_all_on_the_same_examples():
    simulation = simulated(params={**PARAMS, "lr": 0.3}, workers=4, seed=2)
    points = list(simulation)
    parts, flat, losses = simulation.parts, Flat(simulation.parts.model()), {}
    order = torch.randperm(240, generator=torch.Generator().manual_seed(key(2, "compared")))
    inputs, targets = parts.train.batch(order[: min(120, 4 * 16 * 3)])  # half of all are relabelled in a round
    for worker, weights in simulation.server.models:
        flat.weights.copy_(weights)
        with torch.no_grad():
            losses[worker] = float(parts.loss(flat.model(*inputs), targets))
    best = min(losses, key=losses.get)
    assert torch.equal(simulation.server.held.weights, dict(simulation.server.models)[best])
    assert len(set(losses.values())) == 4
    goal = simulation.run.goal.name
    assert points[-1].value == simulation.run.evaluate()[goal]  # it is what the last point is of


def test_it_costs_its_steps_its_teachers_and_the_look_at_the_members_and_counts_as_no_batch():
    def last(rule):
        return list(simulated(rule=rule, delays=Delays("constant")))[-1]

    ended, train = last(RULE), last("average(every=5)")
    rounds = 20 * 3 // 15  # batches over those of a round
    relabelled = 2.5  # batches: of a shard of 80 the half, by 3 models
    compressions = rounds * (3 + 3 * relabelled / 3)  # between rounds, and the last
    assert ended.cost - train.cost == pytest.approx(compressions + 120 / 16 / 3)
    assert ended.metrics["updates"] == train.metrics["updates"] + 1
    simulation = simulated()
    list(simulation)
    assert simulation.server.merged == simulation.server.sampler.limit == 60


def test_the_loss_of_the_last_epoch_is_that_of_its_batches():
    whole, first = simulated(), simulated()
    points = list(whole)
    until_it_closes(first)
    assert points[-1].metrics["train_loss"] == first.server.mean_loss()


def test_the_last_epoch_is_shown_once_and_after_it():
    simulation = simulated(Normed)
    assert [p.step for p in until_it_closes(simulation)[1]] == [1, 2, 3]
    assert [p.step for p in simulation] == [4]
    assert simulation.server.done
    assert not simulation.server.closing
    assert list(simulation) == []


@pytest.mark.parametrize("events", [0, 2, 4])
def test_resumed_in_it_it_takes_the_same_steps_bit_for_bit(events):
    params = {**PARAMS, "optimizer": "momentum"}
    whole, first, second = (simulated(Normed, params=params, workers=4) for _ in range(3))
    for simulation in (whole, first):
        until_it_closes(simulation)
        for _ in range(events):
            simulation._next()
    second.load(unpack(pack(first.state())))
    assert list(whole) == list(second)
    for (v, a), (w, b) in zip(whole.server.models, second.server.models, strict=True):
        assert v == w
        assert torch.equal(a, b)


def test_who_dies_in_it_is_left_out_and_who_rests_takes_part():
    probe = simulated(Blobs, "ec(every=1, compress=4)", steps=2, workers=7, shuffle="global", delays=Delays("constant"))
    rest, rested = probe.server.rest, []
    probe.server.rest = lambda worker: rested.append(worker) or rest(worker)
    before, _ = until_it_closes(probe)
    assert len(rested) == 5  # 30 batches, 7 a round: two workers take the last ones
    began = probe.clock
    list(probe)
    assert [w for w, _ in probe.server.models] == list(range(7))
    again = simulated(
        Blobs, "ec(every=1, compress=4)", steps=2, workers=7, shuffle="global", delays=Delays("constant"),
        failures=[Failure(3, began + 0.001, began + 0.002), Failure(5, began + 0.001)],
    )  # fmt: skip
    points = list(again)
    assert [p.step for p in points] == [1, 2]
    assert [w for w, _ in again.server.models] == [0, 1, 2, 3, 4, 6]
    after = dict(probe.server.models) | {3: before[3]}  # who came in its place has nothing to do, and is there
    for worker, weights in again.server.models:
        assert torch.equal(weights, after[worker]), worker


def test_all_dead_in_it_ends_with_what_was_merged():
    probe = simulated(workers=2, delays=Delays("constant"))
    before, _ = until_it_closes(probe)
    failures = [Failure(w, probe.clock + 0.001) for w in (0, 1)]
    simulation = simulated(workers=2, delays=Delays("constant"), failures=failures)
    assert [p.step for p in simulation] == [1, 2, 3, 4]
    assert {w: m.tolist() for w, m in simulation.server.models} == {w: m.tolist() for w, m in before.items()}


@pytest.mark.parametrize("rule", ["ec(every=2)", "codistil(every=2)", "average(every=2)"])
def test_one_alone_and_other_rules_have_none(rule):
    simulation = simulated(rule=rule, workers=1 if rule.startswith("ec") else 2)
    kinds = []
    pull = simulation.server.pull

    def watched(worker, into):
        given = pull(worker, into)
        kinds.append(given is not None and given.closing)
        return given

    simulation.server.pull = watched
    assert [p.step for p in simulation] == [1, 2, 3, 4]
    assert kinds
    assert not any(kinds)


def test_where_there_is_nothing_to_compress_there_is_no_such_end():
    for local in ({"distil": Distil(steps=1)}, {"peers": True}, {"peers": True, "distil": Distil(steps=0)}):
        with pytest.raises(
            UsageError, match="closes=True needs peers=True, sends='weights' and a distil with steps >= 1"
        ):
            Local(sends="weights", closes=True, **local)


def test_a_refused_member_stays_as_it_was_and_the_training_ends():
    simulation = simulated(rule="finite + " + RULE)
    before, _ = until_it_closes(simulation)
    work, calls = simulation.parts.loss, iter(range(10**6))

    def broken(outputs, targets):
        return work(outputs, targets) * (math.nan if next(calls) == 0 else 1.0)

    object.__setattr__(simulation.parts, "loss", broken)
    assert [p.step for p in simulation] == [4]
    assert simulation.server.refused["nan"] == 1
    same = [w for w, m in simulation.server.models if torch.equal(m, before[w])]
    assert len(same) == 1
    assert len(simulation.server.models) == 3
    assert torch.isfinite(simulation.server.held.weights).all()


# -- at the server and its desk


class Table:
    """A desk whose workers answer when they are told to."""

    def __init__(self, *, workers=3, state=None, epoch=0, together=1, rule="ec(every=1)"):
        flat = Flat(nn.Linear(1, 1, bias=False))
        flat.weights.zero_()
        shuffle = Shuffle(6, 1, workers, "local")
        self.server = Server(
            flat, parse_rule(rule), Sampler(shuffle, 1), optimizer=torch.optim.SGD(flat.parameters, lr=1.0)
        )
        if state is not None:
            self.server.load(unpack(pack(state)))
            self.server.alone()
        self.now, self.given, self.shown, self.kept, self.clients = 0.0, {}, [], [], {}
        self.weights = {w: torch.zeros(1) for w in range(workers)}
        self.desk = Desk(
            self.server, self, workers=workers, epoch=epoch, deadline=10.0, clock=lambda: self.now, together=together
        )

    def into(self, worker):
        return self.weights[worker]

    def give(self, client, given):
        self.given[client.worker] = given

    def drop(self, client):
        self.given.pop(client.worker, None)

    def merged(self):
        self.kept.append(self.server.state())

    def whole(self, epoch):
        self.shown.append((epoch, float(self.server.held.weights)))

    def join(self, *workers):
        for w in workers:
            self.clients[w] = self.desk.hello(w, own=False)
            self.desk.ask(self.clients[w])

    def push(self, worker, value, loss=0.5):
        client, given = self.clients[worker], self.given.pop(worker)
        self.weights[worker].fill_(value)
        self.desk.push(
            client, client.step, self.weights[worker], torch.empty(0), examples=1, pulled=given.version, loss=loss
        )

    def closing(self):
        """Work until all is merged; return who is at the compression that ends it."""
        self.join(*range(len(self.weights)))
        for _ in range(2):
            for w in self.weights:
                self.push(w, 10.0 * (w + 1), loss=0.1 * w)
        return sorted(w for w, given in self.given.items() if given.closing)


def test_what_is_shown_last_is_what_comes_of_it():
    table = Table()
    assert table.closing() == [0, 1, 2]
    assert table.shown == []
    assert not table.desk.finished
    assert [float(table.weights[w]) for w in range(3)] == [10.0, 20.0, 30.0]
    for w, loss in ((2, 0.4), (0, 0.9), (1, 0.6)):
        assert table.shown == []
        table.push(w, w + 1.0, loss)
    assert table.shown == [(1, 3.0)]
    assert table.desk.finished
    assert table.given == {}
    assert [(w, float(m)) for w, m in table.server.models] == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_one_that_hangs_in_it_is_waited_for_until_its_deadline_once():
    table = Table()
    table.closing()
    table.push(0, 1.0, 0.9)
    table.push(2, 3.0, 0.4)
    table.now = 9.0
    assert table.desk.expire() == []
    assert table.shown == []
    table.now = 11.0
    assert [c.worker for c in table.desk.expire()] == [1]
    assert table.shown == [(1, 3.0)]
    assert [w for w, _ in table.server.models] == [0, 2]
    table.join(1)
    assert table.given == {}
    assert table.desk.finished


def test_who_comes_in_the_place_of_one_that_died_in_it_is_not_waited_for():
    table = Table()
    table.closing()
    table.desk.leave(table.clients[1])
    table.join(1)
    assert 1 not in table.given
    table.push(0, 1.0, 0.9)
    assert not table.desk.finished
    table.push(2, 3.0, 0.4)
    assert table.desk.finished
    assert table.shown == [(1, 3.0)]


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_a_server_that_comes_back_in_it_has_it_done_anew_by_all(answered):
    table = Table()
    table.closing()
    for w in range(answered):
        table.push(w, w + 1.0)
    later = Table(state=table.server.state(), epoch=1, together=3)
    assert not later.desk.finished
    later.join(0, 1)
    assert later.given == {}  # the first does not go ahead without the others
    later.join(2)
    assert sorted(later.given) == [0, 1, 2]
    assert [float(later.weights[w]) for w in range(3)] == [10.0, 20.0, 30.0]
    for w in range(3):
        later.push(w, w + 1.0, 0.5 - 0.1 * w)
    assert later.shown == [(1, 3.0)]
    assert [(w, float(m)) for w, m in later.server.models] == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_when_all_are_refused_for_good_it_ends_with_what_was_merged():
    table = Table(rule="finite(quarantine=1) + ec(every=1)")
    table.join(0, 1, 2)
    for values in ((10.0, 20.0, 30.0), (math.nan,) * 3, (math.nan,) * 3):  # the third is in it
        for w, value in enumerate(values):
            assert not table.desk.finished
            table.push(w, value, loss=0.1 * w)
    assert table.server.ledger.banned == {0, 1, 2}
    assert table.shown == [(1, 10.0)]
    table.desk.leave(table.clients[0])
    assert table.desk.finished


def test_a_training_that_is_over_does_not_do_it_again():
    table = Table()
    table.closing()
    for w in range(3):
        table.push(w, w + 1.0)
    table.desk.seen(1)
    later = Table(state=table.server.state(), epoch=1)
    assert later.desk.finished
    assert later.desk.over
    later.join(0, 1, 2)
    assert later.given == {}
    assert float(later.server.held.weights) == float(table.server.held.weights)


def test_a_training_that_goes_on_ends_with_another():
    table = Table()
    table.closing()
    for w in range(3):
        table.push(w, w + 1.0)
    table.desk.seen(1)
    longer = Table(state=table.server.state())
    longer.server.sampler.limit *= 2
    assert not longer.desk.finished
    assert not longer.server.closing
    assert longer.closing() == [0, 1, 2]


def test_a_checkpoint_is_written_when_all_is_merged_and_when_it_is_over(tmp_path):
    from whet.distributed.keeper import Keeper

    table = Table()
    keeper = Keeper(table.server, tmp_path / "server.safetensors", often=1e9)
    keeper.begin(resume=False)
    wrote = []
    keeper.write = lambda: wrote.append((table.server.merged, table.server.whole))
    table.merged = keeper.after
    table.closing()
    assert wrote == [(6, 0)]
    for w in range(3):
        table.push(w, w + 1.0)
    assert wrote == [(6, 0), (6, 1)]
