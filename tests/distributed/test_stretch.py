"""The end of a training whose batches do not divide: nobody trains alone, and no shard is seen more often than another."""

import math
import os
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lessons import PARAMS, Blobs, Lines
from torch import nn

from whet.distributed.delays import Delays
from whet.distributed.flat import Flat
from whet.distributed.local.train import Training
from whet.distributed.named import parse_rule
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle, by_label
from whet.distributed.simulate import Failure, Simulation
from whet.distributed.stretch import few
from whet.distributed.update import Update
from whet.tasks import resolve
from whet.train.checkpoint import pack, unpack

LESSONS = Path(__file__).with_name("lessons.py")
WAITING = ["average(every={0})", "diloco(every={0})", "ec(every={0})", "sync + accumulate(every={0})"]
LOOSE = ["elastic(every={0})", "codistil(every={0})", "accumulate(every={0})"]


def served(rule, workers, batches, how="global", shares=()):
    flat = Flat(nn.Linear(1, 1, bias=False))
    optimizer = torch.optim.SGD(flat.parameters, lr=1.0)
    shuffle = Shuffle(batches, 1, workers, how, shares=shares)
    return Server(flat, parse_rule(rule), Sampler(shuffle, 1), optimizer=optimizer)


def sizes(server, workers, order=lambda there: there):
    """Play it to its end, all that may work working; return what each was given in each round."""
    into, found = {w: torch.zeros(1) for w in range(workers)}, []
    steps = {w: server.join(w) for w in range(workers)}
    while server.merged < server.sampler.limit:
        given = {}
        for w in order(list(range(workers))):
            if w in server.held.clocks and server.admits(w):
                got = server.pull(w, into[w])
                if got is None:
                    server.rest(w)
                else:
                    given[w] = got
        assert given, "nobody has anything to do"
        for w, got in given.items():
            server.push(Update(w, steps[w], into[w], server.local.sends, len(got.tickets), got.version, got.tickets))
            steps[w] += 1
        found.append({w: len(given[w].tickets) for w in sorted(given)})
    return found


@pytest.mark.parametrize("batches", [430, 129, 128, 64, 65, 71, 63, 9, 4])
@pytest.mark.parametrize("rule", WAITING)
def test_every_round_is_of_all_and_there_are_as_many_as_ever(rule, batches):
    found = sizes(served(rule.format(16), 4, batches), 4)
    assert len(found) == -(-batches // 64)
    assert all(set(each) == {0, 1, 2, 3} for each in found)
    assert all(max(each.values()) - min(each.values()) <= 1 for each in found)
    assert sum(sum(each.values()) for each in found) == batches
    for each in found[:-2]:
        assert set(each.values()) == {16}
    least = min(min(each.values()) for each in found)
    assert least >= (8 if batches > 64 else batches // 4)  # half a round at least


@pytest.mark.parametrize("how", ["global", "local"])
@pytest.mark.parametrize("batches", [430, 71, 9])
@pytest.mark.parametrize("rule", WAITING)
def test_what_each_is_given_does_not_depend_on_who_asks_first(rule, batches, how):
    found = [
        sizes(served(rule.format(8), 4, batches, how), 4, order)
        for order in (lambda x: x, lambda x: x[::-1], lambda x: [2, 0, 3, 1])
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("rule", LOOSE)
@pytest.mark.parametrize("batches", [430, 129, 71, 9])
@pytest.mark.parametrize("speed", [3.0, 1.0])
def test_those_that_wait_for_nobody_have_a_last_stretch_each(rule, batches, speed):
    """As long as they are fast: in proportion to what each has sent, and no longer than any."""
    server, given = served(rule.format(16), 4, batches), {w: [] for w in range(4)}
    into, steps = torch.zeros(1), {w: server.join(w) for w in range(4)}
    draw = torch.Generator().manual_seed(batches)
    while server.merged < batches:
        w = int(torch.multinomial(torch.tensor([speed, 3.0, 3.0, 3.0]), 1, generator=draw))
        if server.ledger.at(w):
            server.push(Update(w, steps[w], into.clone(), server.local.sends, 1, 0, server.ledger.at(w)))
            steps[w] += 1
        elif server.waiting(w) and (got := server.pull(w, into)):
            given[w].append(len(got.tickets))
    assert sum(map(sum, given.values())) == batches
    last = {w: own[-1] for w, own in given.items()}
    assert sum(last.values()) >= min(batches, 49)  # it is planned as soon as a stretch of each is more than is left
    assert max(last.values()) <= 16
    sent = {w: max(1, len(own) - 1) for w, own in given.items()}
    for a in last:
        for b in last:
            if sent[a] <= sent[b]:
                assert last[a] <= last[b] + 1
    if batches < 64:
        assert set(last.values()) == {2, 3}


def test_unlike_workers_have_unlike_parts():
    found = sizes(served("average(every=4)", 3, 43, shares=(2, 1, 1)), 3)
    assert found == [{0: 8, 1: 4, 2: 4}, {0: 7, 1: 4, 2: 4}, {0: 6, 1: 3, 2: 3}]


@pytest.mark.parametrize("rule", ["average(every=7)", "ec(every=7)", "diloco(every=500)"])
@pytest.mark.parametrize("task", [Blobs, Lines])
def test_with_shards_of_unlike_sizes_each_example_has_its_turn_in_each_epoch(task, rule):
    """60 batches of 16 in shards of 4, 4, 4 and 3: what is left at the end is unlike, and no shard begins another epoch."""
    run = Simulation(task(), PARAMS, rule=parse_rule("async"), workers=1).run
    n = len(run.data.train)
    cut = [
        torch.arange(a, b) for a, b in ((0, n // 4), (n // 4, n // 2), (n // 2, 3 * n // 4 + 1), (3 * n // 4 + 1, n))
    ]
    shuffle = Shuffle(n, 3, 4, "local", shards=cut)
    simulation = Simulation(
        task(), {**PARAMS, "batch": 3, "lr": 0.01}, rule=parse_rule(rule), workers=4, shuffle=shuffle, steps=3
    )
    seen, apply = [], simulation.server._apply
    simulation.server._apply = lambda update: seen.extend(update.tickets if update else ()) or apply(update)
    list(simulation)
    assert sorted(seen) == [(s, e, b) for s in range(4) for e in range(3) for b in range(shuffle.batches(s))]


def test_the_members_of_an_ensemble_are_all_workers_however_many_batches_there_are():
    for steps in (1, 2, 3):
        simulation = Simulation(Blobs(), PARAMS, rule=parse_rule("ec(every=2)"), workers=4, steps=steps)
        list(simulation)
        assert [w for w, _ in simulation.server.models] == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.soak) for s in range(1, 10))])
@pytest.mark.parametrize("rule", [r.format(7) for r in WAITING + LOOSE])
@pytest.mark.parametrize("how", ["global", "local"])
def test_whoever_dies_or_comes_near_the_end_all_is_merged_once(rule, how, seed):
    """Three rounds, of 60 batches or 64: deaths and arrivals in all of them, and a checkpoint between two events."""
    g = torch.Generator().manual_seed(seed)
    at = (20 * torch.rand(6, generator=g)).tolist()
    failures = [
        Failure(0, at[0], at[0] + 3),
        Failure(1, at[1]),
        Failure(2, at[2], at[2] + at[3]),
        Failure(3, at[4] + 8),
    ]

    def make():
        return Simulation(
            Blobs(), {**PARAMS, "lr": 0.01}, rule=parse_rule(rule), workers=4, delays=Delays("exponential"), failures=failures,
            shuffle=how, seed=seed,
        )  # fmt: skip

    whole, first, second = make(), make(), make()
    seen, apply = [], whole.server._apply
    whole.server._apply = lambda update: seen.extend(update.tickets if update else ()) or apply(update)
    points = list(whole)
    assert points[-1].step == 4
    assert len(seen) == len(set(seen)) == whole.server.sampler.limit
    if not whole.server.rule.gathers:  # nor does it matter whose shard it is
        assert set(whole.server.sampler.passes) <= {4.0}
    for _ in range(int(at[5] * 2)):
        first._next()
    second.load(unpack(pack(first.state())))
    list(second)
    assert torch.equal(whole.server.held.weights, second.server.held.weights)


def skewed(failures=(), *, rule, how):
    """Four workers whose shards hold mostly one class each, 320 batches of three: ten rounds of eight each."""
    task, params = Blobs(), {**PARAMS, "batch": 3, "lr": 0.01}
    train = task.data(params).train
    shards = by_label(train.targets, 4, skew=0.8) if how == "local" else None
    return Simulation(
        task, params, rule=parse_rule(rule), workers=4, delays=Delays("gamma"), failures=failures,
        shuffle=Shuffle(len(train), 3, 4, how, shards=shards),
    )  # fmt: skip


def exchanges(simulation):
    """Play it; return of each exchange its time, how many batches of it are whose, and who was there; and all tickets that were merged."""
    server, whose, found, seen = simulation.server, {}, [], []
    pull, apply = server.pull, server._apply

    def pulled(worker, into):
        given = pull(worker, into)
        whose.update(dict.fromkeys(given.tickets if given else (), worker))
        return given

    def applied(update):
        if update is not None and update.tickets:
            seen.extend(update.tickets)
            found.append((simulation.clock, Counter(whose[t] for t in update.tickets), set(server.held.here)))
        return apply(update)

    server.pull, server._apply = pulled, applied
    list(simulation)
    return found, seen


@pytest.mark.parametrize("how", ["local", pytest.param("global", marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    "rule",
    ["average(every=8)", *(pytest.param(r.format(8), marks=pytest.mark.soak) for r in WAITING[1:])],
)
def test_who_dies_in_the_last_third_and_comes_back_has_a_part_in_the_last_exchange(rule, how):
    """It dies between any two updates and is away for two steps; what is drawn is what would be drawn without that."""
    simulation = skewed(rule=rule, how=how)
    times, arrived = [], simulation._arrived
    simulation._arrived = lambda worker: times.append(simulation.clock) or arrived(worker)
    whole, expected = exchanges(simulation)
    instants = [(a + b) / 2 for a, b in pairwise(times) if a > 2 / 3 * simulation.clock]
    assert len(instants) > 10
    for at in instants:
        simulation = skewed([Failure(2, at, at + 2)], rule=rule, how=how)
        found, seen = exchanges(simulation)
        assert sorted(seen) == sorted(expected)
        last, there = found[-1][1:]
        assert there <= set(last), at  # it may have died after its part
        assert set(last) == {0, 1, 2, 3}
        assert max(last.values()) <= 8
        assert len(found) <= len(whole) + 2


def test_what_is_left_when_it_dies_in_the_last_round_is_divided_among_all_that_are_there():
    """Of its eight batches three are kept for it, enough for another round of the others when it stays away."""
    at = exchanges(skewed(rule="average(every=8)", how="local"))[0][-1][0]
    found, seen = exchanges(skewed([Failure(2, at - 0.7)], rule="average(every=8)", how="local"))
    assert len(seen) == len(set(seen)) == 320
    assert [sum(who.values()) for _, who, _ in found[-3:]] == [24, 5, 3]
    assert all(set(who) == {0, 1, 3} for _, who, _ in found[-3:])


@pytest.mark.soak
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_process_that_is_killed_in_the_round_before_the_last_is_a_member_of_the_last(part):
    """Of 80 batches each of four has 8, 6 and 6; each takes a quarter of a second."""
    task, rule, due = resolve(f"{LESSONS}:Drowsy", seed=0), "ec(every=8, compress=1)", None
    with Training(task, {**PARAMS, "batch": 3}, rule=rule, workers=4, steps=1, shuffle="local") as training:
        for _ in training.events(0.02):
            now = time.monotonic()
            if due is None and training.look().get("merged", 0) >= 32:
                due = now + part * 6 * 0.25
            if due is not None and now > due:
                os.kill(training._crew.pool.pids()[3], signal.SIGKILL)
                due = math.inf
    assert training.deaths == {"worker 2": 1}
    assert [w for w, _ in training.models] == [0, 1, 2, 3]
    assert training.status["passes"] == [1.0] * 4


def test_after_a_restart_a_part_is_kept_for_those_that_were_there():
    server = served("average(every=500)", 4, 40)
    for w in range(4):
        server.join(w)
    server.pull(0, torch.zeros(1))
    again = served("average(every=500)", 4, 40)
    again.load(unpack(pack(server.state(workers=False))))
    again.alone()
    into = torch.zeros(1)
    again.join(2)
    assert len(again.pull(2, into).tickets) == 10
    again.join(0)
    assert len(again.pull(0, into).tickets) == 10
    for w, step in ((2, 0), (0, 0)):  # the others do not come back: what was kept for them is divided
        again.push(Update(w, step, into.clone(), "weights", 10, 0, again.ledger.at(w)))
    assert [len(again.pull(w, into).tickets) for w in (0, 2)] == [10, 10]


def test_who_comes_late_has_a_part_of_what_is_not_begun_and_what_was_not_received_is_given_again():
    server, into = served("average(every=20)", 4, 40), torch.zeros(1)
    for w in range(2):
        server.join(w)
    first = server.pull(0, into)
    assert len(first.tickets) == 20
    again = server.pull(0, into)
    assert sorted(again.tickets) == sorted(first.tickets)
    server.join(2)
    assert [len(server.pull(w, into).tickets) for w in (2, 1)] == [10, 10]


@pytest.mark.parametrize(
    ("rule", "steps"), [
        ("average(every=7)", 3), ("ec(every=4)", 2), ("diloco", 2),
        *(pytest.param(*x, marks=pytest.mark.soak) for x in (("sync", 3), ("diloco(every=11)", 3), ("ec(every=50)", 3), ("average(every=1)", 1))),
    ],
)  # fmt: skip
def test_processes_divide_it_as_the_simulator_does_bit_for_bit(rule, steps):
    """Of three workers each has a shard of 16 batches an epoch, which no stretch of theirs divides."""
    task = resolve(f"{LESSONS}:Blobs", seed=0)
    params = {**PARAMS, "batch": 5}
    simulation = Simulation(task, params, rule=parse_rule(rule), workers=3, steps=steps, shuffle="local")
    expected = list(simulation)
    with Training(task, params, rule=rule, workers=3, steps=steps, shuffle="local") as training:
        points = list(training)
    assert [p.value for p in points] == [p.value for p in expected]
    assert torch.equal(
        torch.cat([p.detach().flatten() for p in training.run.model.parameters()]), simulation.server.flat.weights
    )
    assert training.status["passes"] == simulation.server.sampler.passes == [float(steps)] * 3
    assert training.status["lent"] == 0


def test_in_processes_a_slow_workers_shard_is_seen_as_often_as_the_others():
    with Training(
        resolve(f"{LESSONS}:Tally", seed=0), {}, rule="async", workers=3, steps=4, shuffle="local"
    ) as training:
        list(training)
    assert torch.cat([p.detach().flatten() for p in training.run.model.parameters()]).tolist() == [4.0] * 120
    assert training.status["passes"] == [4.0] * 3


# -- shards of unlike workers


@pytest.mark.parametrize("how", ["local", "once"])
@pytest.mark.parametrize("rule", ["async", "dc-asgd", "bounded(s=3)", "elastic(every=5)", "codistil(every=5)"])
def test_a_slow_workers_shard_is_seen_as_often_as_the_others(rule, how):
    """In each epoch each batch of each shard once, though one of four workers is three times as slow."""
    simulation = Simulation(
        Blobs(), {**PARAMS, "batch": 4, "lr": 0.01}, rule=parse_rule(rule), workers=4, shuffle=how, steps=6,
        delays=Delays("gamma", stragglers={0: 3.0}),
    )  # fmt: skip
    seen, apply = [], simulation.server._apply
    simulation.server._apply = lambda update: seen.extend(update.tickets if update else ()) or apply(update)
    list(simulation)
    assert sorted(seen) == [(s, e, b) for s in range(4) for e in range(6) for b in range(15)]
    assert simulation.server.sampler.passes == [6.0] * 4


def test_a_worker_draws_from_its_own_shard_as_long_as_there_is_some():
    """So locality is given up for what a slow worker leaves, and for nothing else."""
    sampler = Sampler(Shuffle(40, 1, 4, "local"), 2)
    for w in range(4):
        sampler.join(w)
    drawn = [sampler.next(w, lend=True).shard for w in (0, 1, 2, 3) for _ in range(10)]
    assert drawn == [s for s in range(4) for _ in range(10)]
    assert [sampler.next(3, lend=True)[:2] for _ in range(11)] == [(3, 1)] * 10 + [(0, 1)]


def test_the_shard_of_one_that_is_gone_is_drawn_by_the_others():
    simulation = Simulation(
        Blobs(),
        {**PARAMS, "batch": 4},
        rule=parse_rule("async"),
        workers=4,
        shuffle="local",
        steps=4,
        failures=[Failure(2, 7.5)],
    )
    seen, apply = Counter(), simulation.server._apply
    simulation.server._apply = lambda update: seen.update(update.tickets if update else ()) or apply(update)
    list(simulation)
    assert Counter(t.shard for t in seen) == dict.fromkeys(range(4), 60)
    assert set(seen.values()) == {1}


# -- said before


def test_it_is_said_when_there_is_one_exchange_at_most_and_what_would_be_better():
    said = few(parse_rule("diloco"), 4, 430)
    assert "\n" not in said
    assert "430" in said
    better = parse_rule("diloco(" + said.partition("Set e.g. ")[2].partition(",")[0] + ")")
    assert few(better, 4, 430) == ""
    assert len(sizes(served(str(better), 4, 430), 4)) >= 10
    for batches in (4, 7, 8, 75, 1999):  # where there are so few, the best there is
        some = few(parse_rule("ec(every=500)"), 4, batches).partition("Set e.g. every=")[2].partition(",")[0]
        assert len(sizes(served(f"ec(every={some})", 4, batches), 4)) >= min(10, batches // 8 + 1)
    assert few(parse_rule("average(every=20)"), 3, 60) == "" != few(parse_rule("average(every=20)"), 3, 60, (2, 1, 1))
    for rule, workers, batches in (("sync", 4, 2), ("diloco", 1, 5), ("average(every=5)", 4, 20), ("async", 8, 3)):
        assert few(parse_rule(rule), workers, batches) == ""
