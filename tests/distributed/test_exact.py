"""Identities that hold exactly, and what public implementations of delay compensation do otherwise."""

import pytest
import torch
from lessons import PARAMS, Blobs, Lines

from whet.distributed.delays import Delays
from whet.distributed.ensemble import member_losses
from whet.distributed.named import parse_rule
from whet.distributed.rules.gather import average, sync
from whet.distributed.rules.gradient import asynchronous, bounded, delay_compensated
from whet.distributed.shuffle import Shuffle, by_label
from whet.distributed.simulate import Failure, Simulation
from whet.distributed.update import Held, Update
from whet.train.run import Run

LAWS = {
    "constant": Delays("constant"),
    "exponential": Delays("exponential"),
    "pareto": Delays("pareto"),
    "one slow, one fast": Delays("lognormal", stragglers={0: 7.0, 1: 0.2}),
}


class Even(Blobs):
    """As many examples as any number of workers divides."""

    n = 256


def weights(simulation):
    return simulation.server.held.weights


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.soak), 8])
def test_bounded_by_nothing_at_a_part_of_the_rate_is_synchronous_for_a_net(workers):
    def trained(rule, lr):
        simulation = Simulation(
            Even(), {**PARAMS, "batch": 8, "lr": lr}, rule=rule, workers=workers, steps=2, delays=LAWS["pareto"]
        )
        list(simulation)
        return simulation

    a, b = trained(sync(), 0.08), trained(bounded(0), 0.08 / workers)
    assert torch.allclose(weights(a), weights(b), rtol=0, atol=1e-6)
    assert b.server.held.version == workers * a.server.held.version


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("workers", [1, 2, 5, 16])
def test_the_sum_of_staleness_is_what_the_others_pushed_meanwhile(workers, law):
    """Between two of its own pushes a worker sees every other push, so only what came after its last one is missing. Exactly."""
    simulation = Simulation(
        Lines(), {**PARAMS, "batch": 1, "lr": 0.01}, rule=asynchronous(), workers=workers, delays=LAWS[law], steps=3
    )
    order, push = [], simulation.server.push
    simulation.server.push = lambda update: order.append(update.worker) or push(update)
    list(simulation)
    last = {w: i for i, w in enumerate(order)}
    others = sum(sum(v != w for v in order[: last[w]]) for w in last)
    found = simulation.server.staleness
    assert sum(tau * count for tau, count in found.items()) == others
    assert sum(found.values()) == len(order) == 3 * 64


@pytest.mark.parametrize("law", ["exponential", pytest.param("one slow, one fast", marks=pytest.mark.soak)])
@pytest.mark.parametrize("workers", [pytest.param(3, marks=pytest.mark.soak), 12])
def test_mean_staleness_is_one_less_than_the_workers(workers, law):
    simulation = Simulation(
        Lines(), {**PARAMS, "batch": 1, "lr": 0.01}, rule=asynchronous(), workers=workers, delays=LAWS[law], steps=30
    )
    list(simulation)
    found = simulation.server.staleness
    mean = sum(tau * count for tau, count in found.items()) / sum(found.values())
    assert abs(mean - (workers - 1)) < 0.05 * workers


def test_averaging_after_each_step_is_synchronous_descent():
    """mean(w - eta g_k) = w - eta mean(g_k), for descent without momentum; of one worker it is descent bit for bit."""
    found = []
    for rule in (average(1), sync()):
        simulation = Simulation(Even(), PARAMS, rule=rule, workers=4, steps=2, delays=LAWS["exponential"])
        list(simulation)
        found.append(weights(simulation))
    assert torch.allclose(*found, rtol=0, atol=1e-6)
    run = Run(Even(), PARAMS, steps=2, device="cpu")
    alone = Simulation(Even(), PARAMS, rule=average(1), workers=1, steps=2)
    list(run), list(alone)
    assert torch.equal(weights(alone), torch.cat([p.detach().flatten() for p in run.model.parameters()]))


@pytest.mark.parametrize("rule", ["ec(every=2)", "ec(every=3, share=1, weight=2, compress=4)"])
@pytest.mark.parametrize("task", [Blobs, Lines])
def test_in_every_round_the_ensemble_is_no_worse_than_its_members_on_average(task, rule):
    """With shards of unlike classes, a member that dies in the middle, and one that comes back."""
    run = Run(task(), PARAMS, device="cpu")
    shards = by_label(run.train.targets, 4) if task is Blobs else None
    shuffle = Shuffle(len(run.train), 8, 4, "local", shards=shards)
    simulation = Simulation(
        task(), {**PARAMS, "batch": 8}, rule=parse_rule(rule), workers=4, shuffle=shuffle, delays=LAWS["exponential"],
        failures=[Failure(1, 5.0, 9.0), Failure(2, 12.0)], steps=8,
    )  # fmt: skip
    rounds, apply = [], simulation.server._apply

    def looked(update):
        changed = apply(update)
        if changed:
            rounds.append(member_losses(simulation.run, simulation.server.models))
        return changed

    simulation.server._apply = looked
    list(simulation)
    assert len(rounds) >= 5
    assert all(r.ensemble <= r.mean for r in rounds)
    assert {len(r.each) for r in rounds} >= {3, 4}
    assert max(r.mean - r.ensemble for r in rounds) > 1e-6  # they do differ


# -- delay compensation as others have it: (weights, backup of each worker) -> what is applied


class Ours:
    """The paper's rule: what this worker pulled, taken at its pull."""

    def __init__(self, rule, w):
        self.rule, self.held, self.w = rule, Held(w), w
        self.memory = rule.init(self.held)

    def pull(self, worker):
        self.held.backups[worker] = self.w.clone()

    def push(self, worker, g):
        self.memory, out = self.rule.merge(self.memory, Update(worker, 0, g.clone()), self.held)
        self.w.sub_(out.vector, alpha=0.1)


class Port:
    """w <- w - eta (g + strength g g (w - backup)), with the backup taken when and for whom `backup` says."""

    def __init__(self, w, strength, *, backup):
        self.w, self.strength, self.kind = w, strength, backup
        self.backups = {}

    def pull(self, worker):
        if self.kind == "pull":
            self.backups[worker] = self.w.clone()

    def push(self, worker, g):
        key = None if self.kind == "shared" else worker
        first = self.w if self.kind == "shared" else torch.zeros_like(self.w)
        before = self.w.clone()
        self.w.sub_(g + self.strength * g * g * (self.w - self.backups.get(key, first)), alpha=0.1)
        if self.kind == "shared":  # MXNet's DCASGD: the weights before the step, one for all workers
            self.backups[None] = before
        elif self.kind == "push":  # TensorFlow contrib, Multiverso: the weights after it, zeros at first
            self.backups[worker] = self.w.clone()


def played(server, turns, seed=0):
    g = torch.Generator().manual_seed(seed)
    for what, worker in turns:
        if what == "pull":
            server.pull(worker)
        else:
            server.push(worker, torch.randn(6, generator=g))
    return server.w


def start():
    return torch.linspace(-1, 1, 6)


ALONE = [("pull", 0), ("push", 0)] * 4
AT_ONCE = [("pull", 0), ("pull", 1), *[("push", 0), ("pull", 0), ("push", 1), ("pull", 1)] * 3]
LATER = [("pull", 0), ("pull", 1), ("push", 0), ("push", 1), ("pull", 0), ("pull", 1), ("push", 1), ("push", 0)]


def descent(turns):
    g, w = torch.Generator().manual_seed(0), start()
    for what, _ in turns:
        if what == "push":
            w.sub_(torch.randn(6, generator=g), alpha=0.1)
    return w


def test_the_papers_rule_is_ours_and_alone_it_is_descent():
    for turns in (ALONE, AT_ONCE, LATER):
        for strength in (0.04, 1.0):
            ours = played(Ours(delay_compensated(strength), start()), turns)
            assert torch.allclose(ours, played(Port(start(), strength, backup="pull"), turns), atol=1e-7)
    for rule in (delay_compensated(0.5), delay_compensated(adaptive=True)):
        assert torch.equal(played(Ours(rule, start()), ALONE), descent(ALONE))


def differ(a, b):
    return float((a - b).abs().max()) > 1e-4


def test_one_backup_for_all_from_before_the_step_is_not_it_even_alone():
    port = played(Port(start(), 0.04, backup="shared"), ALONE)
    assert differ(port, descent(ALONE))
    assert differ(port, played(Ours(delay_compensated(0.04), start()), ALONE))


def test_a_backup_of_zeros_is_not_it_from_the_first_step_on():
    once = ALONE[:2]
    assert differ(played(Port(start(), 2.0, backup="push"), once), descent(once))
    assert torch.equal(played(Ours(delay_compensated(2.0), start()), once), descent(once))


def test_a_backup_taken_at_the_push_is_it_only_where_a_pull_follows_at_once():
    """From the first backups on (they begin as zeros): equal when each pulls at once, wrong when another came between."""

    def settled(turns):
        ours, port = Ours(delay_compensated(0.5), start()), Port(start(), 0.5, backup="push")
        for worker in (0, 1):
            port.backups[worker] = port.w.clone()
        return played(ours, turns), played(port, turns)

    assert not differ(*settled(AT_ONCE))
    assert differ(*settled(LATER))


def test_a_strength_that_cannot_be_set_is_ours_at_one_alone():
    port = played(Port(start(), 1.0, backup="pull"), AT_ONCE)
    assert not differ(played(Ours(delay_compensated(1.0), start()), AT_ONCE), port)
    assert differ(played(Ours(delay_compensated(0.04), start()), AT_ONCE), port)


def test_the_constant_form_at_the_strength_of_the_adaptive_one_is_neither():
    port = played(Port(start(), 2.0, backup="pull"), AT_ONCE)
    for rule in (delay_compensated(), delay_compensated(adaptive=True)):
        assert differ(played(Ours(rule, start()), AT_ONCE), port)


def test_the_adaptive_form_has_a_square_root_and_a_mean_square_for_each_worker():
    class Adaptive(Ours):
        def __init__(self, w, power, *, shared):
            self.w, self.power, self.shared, self.squares, self.backups = w, power, shared, {}, {}

        def pull(self, worker):
            self.backups[worker] = self.w.clone()

        def push(self, worker, g):
            key = None if self.shared else worker
            self.squares[key] = 0.95 * self.squares.get(key, torch.zeros(6)) + 0.05 * g * g
            strength = 2.0 / (self.squares[key] + 1e-7) ** self.power
            self.w.sub_(g + strength * g * g * (self.w - self.backups[worker]), alpha=0.1)

    ours = played(Ours(delay_compensated(adaptive=True), start()), AT_ONCE)
    assert torch.allclose(ours, played(Adaptive(start(), 0.5, shared=False), AT_ONCE), atol=1e-5)
    assert differ(ours, played(Adaptive(start(), 1.0, shared=False), AT_ONCE))
    assert differ(ours, played(Adaptive(start(), 0.5, shared=True), AT_ONCE))
