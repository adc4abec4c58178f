"""Rules in the hands of a server: rounds that updates are refused in, workers that come and go, chains that cannot be."""

import math

import pytest
import torch
from lessons import PARAMS, Blobs
from torch import nn

from whet.distributed.delays import Delays
from whet.distributed.flat import Flat
from whet.distributed.named import parse_rule
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle
from whet.distributed.simulate import Simulation
from whet.distributed.update import Held, Update
from whet.errors import UsageError


class Class:
    """A server and `workers` who push numbers."""

    def __init__(self, rule, workers, n=24, shuffle="global"):
        flat = Flat(nn.Linear(1, 1, bias=False))
        flat.weights.zero_()
        optimizer = torch.optim.SGD(flat.parameters, lr=1.0)
        self.server = Server(flat, parse_rule(rule), Sampler(Shuffle(n, 1, workers, shuffle), 1), optimizer=optimizer)
        self.pulled = [torch.full((1,), 100.0 * (w + 1)) for w in range(workers)]
        self.steps = [self.server.join(w) for w in range(workers)]

    def pull(self, *workers):
        for w in workers:
            assert self.server.admits(w)
            assert self.server.pull(w, self.pulled[w]) is not None

    def push(self, worker, value, **more):
        server, self.steps[worker] = self.server, self.steps[worker] + 1
        return server.push(Update(
            worker, self.steps[worker] - 1, torch.tensor([float(value)]), server.local.sends, tickets=server.ledger.at(worker),
            **more,
        ))  # fmt: skip

    @property
    def weight(self):
        return self.server.held.weights.item()


def test_a_refused_gradient_is_not_waited_for_whether_it_comes_first_or_last():
    for first, then in (((0, math.nan), (1, -2.0)), ((1, -2.0), (0, math.nan))):
        pupils = Class("finite + sync", 2)
        pupils.pull(0, 1)
        assert not pupils.push(*first)
        assert pupils.push(*then)  # the round is complete: the other's was refused
        assert pupils.weight == 2.0
        assert pupils.server.merged == 2
        pupils.pull(0, 1)


@pytest.mark.parametrize(
    "rule", ["finite + sync", "sync + finite", "finite + average(every=2)", "finite + ec(every=2)"]
)
def test_training_ends_though_some_of_what_is_sent_is_refused(rule):
    simulation = Simulation(
        Blobs(), PARAMS, rule=parse_rule(rule), workers=4, delays=Delays("gamma", stragglers={1: 2.0})
    )
    work, calls = simulation.parts.loss, iter(range(10**6))

    def broken(outputs, targets):
        return work(outputs, targets) * (float("nan") if next(calls) % 11 == 0 else 1.0)

    object.__setattr__(simulation.parts, "loss", broken)
    points = list(simulation)
    assert [p.step for p in points] == [1, 2, 3, 4]
    assert simulation.server.merged == 60
    assert simulation.server.refused["nan"] > 0
    assert torch.isfinite(simulation.server.held.weights).all()


def test_a_mean_that_is_refused_counts_for_all_that_it_was_made_from():
    pupils = Class("sync + finite", 3)
    pupils.pull(0, 1, 2)
    for worker, value in ((0, 1.0), (1, math.inf), (2, 3.0)):
        assert not pupils.push(worker, value)
    assert (pupils.server.merged, pupils.weight) == (3, 0.0)
    pupils.pull(0, 1, 2)
    for _ in range(12):  # nobody is kept out for what came of all
        for worker in range(3):
            pupils.push(worker, math.nan)
        if pupils.server.merged < 24:
            pupils.pull(0, 1, 2)
    assert pupils.server.ledger.banned == set()


def test_spoilt_weights_are_not_gone_on_from():
    for rule in ("finite + ec(every=1)", "finite + codistil(every=1)", "finite + elastic(every=1)"):
        pupils = Class(rule, 2)
        pupils.pull(0, 1)
        pupils.pulled[0].fill_(math.nan)
        pupils.push(0, math.nan)
        pupils.push(1, 5.0)
        pupils.pull(0)
        assert math.isfinite(pupils.pulled[0].item()), rule


def test_elastic_workers_go_on_from_their_own_weights_when_the_server_comes_back():
    pupils = Class("elastic(alpha=0.25, every=1)", 2)
    pupils.pull(0, 1)
    pupils.push(0, 8.0)
    again = Class("elastic(alpha=0.25, every=1)", 2)
    again.server.load(pupils.server.state())
    again.server.alone()
    again.pulled[0].fill_(6.0)
    again.server.join(0, own=True)
    again.pull(0)
    assert again.pulled[0].item() == 6.0  # not the centre's 2: it would have lost what it learned


def test_what_was_given_and_not_received_is_given_again():
    pupils = Class("async", 2, n=4)
    pupils.pull(0)
    pupils.pull(0)  # the answer was lost on its way
    pupils.push(0, 0.0)
    for _ in range(3):
        pupils.pull(1)
        pupils.push(1, 0.0)
    assert pupils.server.merged == 4


def test_the_model_of_a_worker_that_left_teaches_nobody_and_is_not_the_best():
    pupils = Class("codistil(every=1)", 2)
    pupils.pull(0, 1)
    pupils.push(0, 5.0, loss=0.1)
    pupils.push(1, 7.0, loss=0.5)
    assert pupils.weight == 5.0
    pupils.server.leave(0)
    pupils.pull(1)
    pupils.push(1, 8.0, loss=0.4)
    assert [w for w, _ in pupils.server.models] == [1]
    assert pupils.weight == 8.0
    pupils.server.rest(1)  # nothing left to do: it is still there
    pupils.steps[0] = pupils.server.join(0)
    pupils.pull(0)
    pupils.push(0, 3.0, loss=0.9)
    assert [w for w, _ in pupils.server.models] == [0, 1]
    assert pupils.weight == 8.0


def test_one_that_was_there_twice_in_a_round_is_one_member():
    pupils = Class("ec(every=1)", 3)
    pupils.pull(0, 1, 2)
    pupils.push(0, 1.0, loss=0.3)
    pupils.server.leave(0)
    pupils.steps[0] = pupils.server.join(0)
    pupils.pull(0)
    pupils.push(0, 2.0, loss=0.3)
    pupils.push(1, 3.0, loss=0.2)
    assert pupils.push(2, 4.0, loss=0.4)
    assert [(w, m.item()) for w, m in pupils.server.models] == [(0, 2.0), (1, 3.0), (2, 4.0)]
    assert pupils.server.merged == 4


def test_statistics_go_with_the_model_that_stands_for_all():
    """Mean statistics of members that differ fit none of them."""
    for rule in ("ec(every=1)", "codistil(every=1)"):
        flat = Flat(nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)))
        server = Server(
            flat, parse_rule(rule), Sampler(Shuffle(8, 1, 2), 1), optimizer=torch.optim.SGD(flat.parameters, lr=1.0)
        )
        for w in (0, 1):
            server.join(w)
            server.pull(w, torch.empty(4))
        for w, loss in ((0, 0.2), (1, 0.7)):
            buffers = torch.tensor([1.0 + w, 2.0 + w, 3.0], dtype=torch.float64)
            server.push(
                Update(
                    w, 0, torch.full((4,), float(w)), "weights", tickets=server.ledger.at(w), loss=loss, buffers=buffers
                )
            )
        server.settle_buffers()
        assert flat.weights.tolist() == [0.0] * 4, rule
        assert flat.model[1].running_mean.item() == 1.0, rule


def test_a_rule_reads_the_rate_by_what_was_merged_wherever_a_shard_stands():
    """With local shuffles a fast worker is in epochs that others are far from; the schedule is the training's, not the shard's."""
    seen = []
    flat = Flat(nn.Linear(1, 1, bias=False))
    sampler = Sampler(Shuffle(8, 1, 2, "local"), 3)
    server = Server(
        flat, parse_rule("async"), sampler, optimizer=torch.optim.SGD(flat.parameters, lr=1.0),
        rate=lambda epochs: seen.append(epochs) or 1.0,
    )  # fmt: skip
    buffer = torch.empty(1)
    steps = {w: server.join(w) for w in (0, 1)}
    for i in range(24):
        w = int(i % 6 == 5)  # worker 0 is five times as fast
        server.pull(w, buffer)
        server.push(Update(w, steps[w], torch.zeros(1), tickets=server.ledger.at(w)))
        steps[w] += 1
    assert seen == [i / 8 for i in range(24)]


def test_a_fast_worker_of_a_rule_with_own_steps_reads_the_same_schedule():
    seen = []
    simulation = Simulation(
        Blobs(), {**PARAMS, "batch": 12}, rule=parse_rule("codistil(every=1, burn_in=10000)"), workers=2, shuffle="local",
        delays=Delays("constant", stragglers={0: 5.0}),
    )  # fmt: skip
    object.__setattr__(simulation.parts, "rate", lambda epochs: seen.append(epochs) or 1.0)
    list(simulation)
    assert len(seen) == 80
    assert max(seen) < 4.0  # four epochs are trained; the fast shard alone is in its seventh by then


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dc-asgd + average(every=4)", "dc-asgd-a is for gradients, and under average workers send weights"),
        ("weighted + elastic", "weighted is for gradients, and under elastic workers send weights"),
        ("clip(norm=1) + ec", "clip is for gradients, and under ec workers send weights"),
        ("sync + dc-asgd", "dc-asgd-a stands behind sync, which makes one update of all: it cannot know whose"),
        ("sync + average(every=2)", "average stands behind sync"),
        ("sync + sync", "sync stands behind sync"),
        ("accumulate(every=2) + elastic", "accumulate and elastic both say what a worker does between exchanges"),
    ],
)
def test_chains_that_cannot_be_are_refused_in_one_line(text, says):
    with pytest.raises(UsageError) as error:
        parse_rule(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "finite(huge=50, quarantine=3)", "elastic(alpha=0.123456789, every=10)", "bounded(s=1000000)", "finite(huge=inf, quarantine=10)",
        "diloco(every=2000000, lr=0.7, momentum=0.9)", "accumulate(every=4) + finite + sync", "dc-asgd-c(lambda=1e-07)",
    ],
)  # fmt: skip
def test_a_rule_in_words_is_the_rule_in_full(text):
    assert str(parse_rule(text)) == text


def test_the_first_option_may_stand_without_its_name_and_others_in_any_order():
    assert str(parse_rule("average(4)")) == "average(every=4)"
    assert str(parse_rule("dc-asgd(1, decay=0.9)")) == str(parse_rule("dc-asgd(decay=0.9, lambda=1)"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dc-asgd-c(decay=0.9)", "dc-asgd-c: has no decay, got 0.9. Use dc-asgd-a"),
        ("clip(norm=inf)", "norm must be > 0"),
        ("diloco(lr=inf)", "needs lr > 0"),
        ("clip(norm=True)", "norm: must be a number, got True"),
        ("finite(quarantine=2.5)", "a whole number quarantine >= 1"),
        ("ec(every=2.5, compress=1)", "ec: every must be a whole number of steps >= 1, got 2.5"),
        (
            "dc-asgd(1, 2)",
            "2 has no name, and only the first option may stand without one (lambda). Allowed: lambda=NUMBER, decay=NUMBER",
        ),
        ("elastic(every=4, .2)", "elastic: .2 has no name, and only the first option"),
        ("average(4, 8)", "average: 8 has no name"),
        ("average(4, every=8)", "average: every is given twice, 4 and 8. Give it once."),
        ("dc-asgd(lambda=1, lambda=3)", "lambda is given twice, 1 and 3"),
    ],
)
def test_options_that_mean_nothing_or_two_things_are_refused(text, says):
    with pytest.raises(UsageError) as error:
        parse_rule(text)
    assert says in str(error.value)


def test_held_knows_who_is_there_though_nothing_is_left_to_do():
    pupils = Class("sync", 2, n=2)
    pupils.pull(0, 1)
    pupils.push(0, 1.0)
    pupils.push(1, 1.0)
    assert pupils.server.pull(0, pupils.pulled[0]) is None
    pupils.server.rest(0)
    assert (set(pupils.server.held.clocks), pupils.server.held.here) == ({1}, {0, 1})
    pupils.server.leave(0)
    assert pupils.server.held.here == {1}
    assert isinstance(pupils.server.held, Held)
