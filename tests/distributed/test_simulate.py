"""The simulator: identities that hold whatever is drawn, and the same numbers every time."""

import math

import numpy as np
import pytest
import torch
from lessons import PARAMS, Blobs, Lines, Normed

from whet.distributed.delays import Delays, Network
from whet.distributed.rule import chain
from whet.distributed.rules.elastic import elastic
from whet.distributed.rules.ensemble import codistil, ensemble_compress
from whet.distributed.rules.gather import average, diloco, sync
from whet.distributed.rules.gradient import asynchronous, bounded, delay_compensated, discount, weighted
from whet.distributed.rules.guard import clip, finite
from whet.distributed.simulate import Failure, Simulation
from whet.errors import UsageError
from whet.train.checkpoint import pack, unpack
from whet.train.run import Run

RULES = {
    "async": asynchronous,
    "bounded": lambda: bounded(2),
    "discount": discount,
    "dc-asgd-c": lambda: delay_compensated(0.5),
    "dc-asgd-a": lambda: delay_compensated(adaptive=True),
    "sync": sync,
    "average": lambda: average(3),
    "diloco": lambda: diloco(3),
    "elastic": lambda: elastic(0.2, every=3),
    "ec": lambda: ensemble_compress(3),
    "codistil": lambda: codistil(3, burn_in=5),
    "guarded": lambda: chain(finite(), clip(5.0), weighted(), delay_compensated(0.5)),
}
TIMES = {
    "gamma": Delays("gamma"),
    "straggler": Delays("gamma", stragglers={0: 3.0}),
    "pareto": Delays("pareto"),
}


def weights(simulation):
    return simulation.server.held.weights


def staleness(simulation):
    found = simulation.server.staleness
    return sum(k * v for k, v in found.items()) / sum(found.values())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("rule", ["async", "bounded", "discount", "dc-asgd-c", "dc-asgd-a", "sync", "average"])
def test_one_worker_is_the_plain_run_bit_for_bit(rule, optimizer, seed):
    params = {**PARAMS, "optimizer": optimizer, "lr": 0.02, "schedule": "cosine", "weight_decay": 1e-3}
    run = Run(Normed(), params, seed=seed, device="cpu")
    expected = list(run)
    made = average(1) if rule == "average" else RULES[rule]()
    simulation = Simulation(Normed(), params, rule=made, workers=1, seed=seed)
    points = list(simulation)
    assert [p.value for p in points] == [p.value for p in expected]
    assert [p.metrics["train_loss"] for p in points] == pytest.approx([p.metrics["train_loss"] for p in expected])
    for a, b in zip(run.model.state_dict().values(), simulation.run.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("workers", [2, 5])
def test_no_strength_is_asynchronous_bit_for_bit(workers):
    found = [
        Simulation(Blobs(), PARAMS, rule=rule, workers=workers, delays=TIMES["pareto"])
        for rule in (asynchronous(), delay_compensated(0.0), delay_compensated(0.0, adaptive=True))
    ]
    for simulation in found:
        list(simulation)
    assert torch.equal(weights(found[0]), weights(found[1]))
    assert torch.equal(weights(found[0]), weights(found[2]))


@pytest.mark.parametrize("workers", [2, 4])
def test_bounded_by_nothing_at_a_part_of_the_rate_is_synchronous(workers):
    a = Simulation(Lines(), {**PARAMS, "batch": 4}, rule=sync(), workers=workers, delays=TIMES["gamma"])
    b = Simulation(
        Lines(), {**PARAMS, "batch": 4, "lr": PARAMS["lr"] / workers}, rule=bounded(0), workers=workers,
        delays=TIMES["gamma"],
    )  # fmt: skip
    list(a), list(b)
    assert torch.allclose(weights(a), weights(b), atol=1e-6)
    assert set(a.server.staleness) == {0}


@pytest.mark.parametrize(
    "times", ["pareto", *(pytest.param(t, marks=pytest.mark.soak) for t in ("gamma", "straggler"))]
)
@pytest.mark.parametrize("workers", [2, 4, 8])
def test_mean_staleness_is_one_less_than_the_workers_whatever_their_speeds(workers, times):
    simulation = Simulation(
        Lines(), {**PARAMS, "batch": 1}, rule=asynchronous(), workers=workers, delays=TIMES[times], steps=20
    )
    list(simulation)
    assert abs(staleness(simulation) - (workers - 1)) < 0.05 * workers


def test_synchronous_workers_take_the_step_of_the_big_batch():
    """Four workers with a quarter of the batch each, of unlike sizes at the end, are one worker with the whole batch."""
    task = Blobs()
    task.n = 256
    small = Simulation(task, {**PARAMS, "batch": 8}, rule=sync(), workers=4, steps=3)
    big = Run(task, {**PARAMS, "batch": 32}, steps=3, device="cpu")
    list(small), list(big)
    flat = torch.cat([p.detach().flatten() for p in big.model.parameters()])
    assert torch.allclose(weights(small), flat, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_numbers_every_time(rule):
    def once():
        simulation = Simulation(Normed(), PARAMS, rule=RULES[rule](), workers=5, delays=TIMES["straggler"], seed=3)
        return list(simulation), weights(simulation).clone(), dict(simulation.server.staleness)

    (a, wa, sa), (b, wb, sb) = once(), once()
    assert a == b
    assert torch.equal(wa, wb)
    assert sa == sb
    assert [p.step for p in a] == [1, 2, 3, 4]
    assert all(np.isfinite(p.value) for p in a)


@pytest.mark.parametrize("events", [7, 40])
@pytest.mark.parametrize("rule", RULES)
def test_resumed_in_the_middle_it_takes_the_same_steps_bit_for_bit(rule, events):
    def make():
        return Simulation(
            Normed(), {**PARAMS, "optimizer": "momentum"}, rule=RULES[rule](), workers=4, delays=TIMES["straggler"],
            failures=[Failure(1, 9.0, 15.0)],
        )  # fmt: skip

    whole, first, second = make(), make(), make()
    for simulation in (whole, first):
        for _ in range(events):
            simulation._next()
    second.load(unpack(pack(first.state())))
    assert list(whole) == list(second)
    assert torch.equal(weights(whole), weights(second))
    assert whole.server.staleness == second.server.staleness


def test_a_straggler_holds_up_the_synchronous_and_not_the_asynchronous():
    times = {}
    for rule in (sync(), asynchronous()):
        simulation = Simulation(Blobs(), PARAMS, rule=rule, workers=4, delays=Delays("constant", stragglers={0: 3.0}))
        times[rule.name] = list(simulation)[-1].cost
    # 60 steps at 1 + 1 + 1 + 1/3 a second, against rounds of four that take 3 seconds
    assert times["sync"] == 45.0
    assert times["async"] == pytest.approx(60 / (3 + 1 / 3), abs=2.0)


@pytest.mark.parametrize("rule", RULES)
def test_a_worker_that_dies_and_one_that_joins_lose_nothing_that_was_merged(rule):
    """Every batch of every epoch is merged once and once only, whoever dies."""
    simulation = Simulation(
        Blobs(), PARAMS, rule=RULES[rule](), workers=4, delays=TIMES["pareto"],
        failures=[Failure(0, 2.5), Failure(2, 4.2, 6.0), Failure(3, 7.7, 7.8), Failure(2, 9.1)],
    )  # fmt: skip
    seen = []
    apply = simulation.server._apply

    def recorded(update):
        changed = apply(update)
        if changed:
            seen.extend(update.tickets)
        return changed

    simulation.server._apply = recorded
    points = list(simulation)
    assert points[-1].step == 4
    assert sorted(seen) == [(0, e, b) for e in range(4) for b in range(15)]


def test_all_dead_ends_the_simulation_without_a_loop():
    simulation = Simulation(
        Blobs(), PARAMS, rule=asynchronous(), workers=2, failures=[Failure(0, 3.0), Failure(1, 3.0)]
    )
    assert not simulation.died
    assert len(list(simulation)) < 4
    assert simulation.died
    assert simulation.server.held.clocks == {}


@pytest.mark.parametrize("seed", range(6))
def test_whatever_failures_are_taken_the_simulation_ends(seed):
    """Those of one worker follow each other or are refused: none dies that is not there, and none joins that is."""
    rng = np.random.default_rng(seed)
    rule = RULES[["async", "sync", "average"][seed % 3]]
    taken = 0
    while taken < 8:
        failures = [
            Failure(int(w), float(at), float(at + rng.integers(1, 9)) if rng.random() < 0.5 else math.inf)
            for w, at in zip(rng.integers(0, 3, 4), rng.integers(0, 12, 4), strict=True)
        ]

        def make(failures=failures):
            return Simulation(Blobs(), PARAMS, rule=rule(), workers=3, failures=failures, steps=2)

        pairs = [(a, b) for i, a in enumerate(failures) for b in failures[:i] if a.worker == b.worker]
        if any(max(a.at, b.at) < min(a.back, b.back) for a, b in pairs):
            with pytest.raises(UsageError, match="cannot die at"):
                make()
            continue
        simulation, again = make(), make([failures[i] for i in rng.permutation(4)])
        points = list(simulation)
        assert points == list(again)
        assert simulation.died == (len(points) < 2), failures
        lost = {f.worker for f in failures if math.isinf(f.back)}
        assert len(lost) == 3 or not simulation.died, failures
        taken += 1


@pytest.mark.parametrize(
    ("failures", "says"),
    [
        ([Failure(2, 3.0, 9.0), Failure(2, 5.0, 20.0)], "fail 2@5-20: worker 2 died at 3 and comes back at 9"),
        ([Failure(2, 5.0, 20.0), Failure(2, 3.0, 9.0)], "Give one failure, 2@3-20, or let it die again at 9 or later"),
        ([Failure(1, 3.0), Failure(1, 5.0)], "fail 1@5: worker 1 died at 3 and never comes back"),
        ([Failure(4, 3.0)], "there is no worker 4 among 4"),
        ([Failure(1, -1.0)], "fail 1@-1: a worker dies at second 0 or later"),
        ([Failure(1, 5.0, 5.0)], "comes back after that"),
        ([Failure(1, math.nan)], "dies at second 0 or later"),
    ],
)
def test_failures_that_cannot_be(failures, says):
    with pytest.raises(UsageError) as error:
        Simulation(Blobs(), PARAMS, rule=asynchronous(), workers=4, failures=failures)
    assert says in str(error.value)


def test_one_may_die_again_in_the_moment_it_comes_back():
    whole, halves = (
        Simulation(Blobs(), PARAMS, rule=average(3), workers=4, failures=f, delays=TIMES["straggler"])
        for f in ([Failure(2, 3.0, 9.0)], [Failure(2, 5.0, 9.0), Failure(2, 3.0, 5.0)])
    )
    assert [p.value for p in whole][-1] == pytest.approx([p.value for p in halves][-1], abs=0.1)
    assert whole.server.merged == halves.server.merged == 60


def test_a_worker_that_sends_nonsense_is_kept_out():
    simulation = Simulation(Blobs(), PARAMS, rule=chain(finite(), asynchronous()), workers=3)
    work = simulation.parts.loss
    calls = iter(range(10**6))

    def broken(outputs, targets):
        return work(outputs, targets) * (float("nan") if next(calls) % 3 == 0 else 1.0)

    object.__setattr__(simulation.parts, "loss", broken)
    points = list(simulation)
    assert points[-1].value > 0.8
    assert simulation.server.refused["nan"] + simulation.server.refused["quarantine"] >= 10
    assert torch.isfinite(weights(simulation)).all()


def test_a_slow_network_and_a_busy_server_take_their_time():
    size = 4 * (6 * 12 + 12 + 12 * 3 + 3)
    plain = Simulation(Blobs(), PARAMS, rule=asynchronous(), workers=1, delays=Delays("constant"))
    slow = Simulation(
        Blobs(), PARAMS, rule=asynchronous(), workers=1, delays=Delays("constant"),
        network=Network(bandwidth=size, latency=0.5, service=0.25),
    )  # fmt: skip
    assert list(plain)[-1].cost == 60.0
    assert list(slow)[-1].cost == pytest.approx(60 * (1 + 2 * 1.5 + 0.25))
    busy = Simulation(
        Blobs(), PARAMS, rule=asynchronous(), workers=8, delays=Delays("constant"), network=Network(service=1.0)
    )
    assert list(busy)[-1].cost == pytest.approx(61.0)  # one update a second is all it can merge


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", [Blobs, Lines])
def test_an_ensemble_is_no_worse_than_its_members_on_average(task, seed):
    """The loss is convex in the outputs, so this holds for the mean of outputs by Jensen's inequality."""
    simulation = Simulation(task(), PARAMS, rule=ensemble_compress(2), workers=4, seed=seed)
    for _ in simulation:
        from whet.distributed.ensemble import member_losses

        found = member_losses(simulation.run, simulation.server.models)
        assert found.ensemble <= found.mean + 1e-6


def test_delays_have_the_mean_they_promise_and_depend_on_no_order():
    for name in ("gamma", "exponential", "lognormal", "pareto"):
        d = Delays(name)
        draws = [d.seconds(0, 1, i) for i in range(4000)]
        assert np.mean(draws) == pytest.approx(1.0, abs=0.06), name
        assert d.seconds(0, 1, 77) == draws[77]
    assert Delays(trace=[[1.0, 2.0], [5.0]]).seconds(0, 0, 3) == 2.0
    assert Delays(trace=[[1.0, 2.0], [5.0]]).seconds(0, 1, 3) == 5.0
