"""Rules beside each other: the baseline, the learning rates, and what is refused before anything is simulated."""

import math

import pytest
from lessons import PARAMS, Blobs, Lines

from whet.distributed.compare import SEQUENTIAL, Case, Outcome, compare
from whet.distributed.delays import Delays, Network
from whet.distributed.rates import Rate, Tried, chosen, settings, tune_rates
from whet.distributed.simulate import Failure, Simulation
from whet.distributed.summary import quickest, reached, summary
from whet.errors import UsageError
from whet.report.rules import best
from whet.train.run import Run
from whet.tune.trial import Point


class Watched(Blobs):
    """Counts the models that are made of it."""

    made = 0

    def model(self, params):
        Watched.made += 1
        return super().model(params)


def test_the_baseline_is_the_plain_run_at_full_speed_whatever_the_others_suffer():
    found = list(compare(
        Blobs(), PARAMS, rules=["sync"], workers=[4], seeds=[3], baseline=True, shuffle="local",
        delays=Delays("constant", stragglers={0: 3.0}), network=Network(latency=0.5), failures=[Failure(1, 4.0)],
    ))  # fmt: skip
    assert [o.case for o in found] == [Case(SEQUENTIAL, 1, 3), Case("sync", 4, 3)]
    assert [p.value for p in found[0].points] == [p.value for p in Run(Blobs(), PARAMS, seed=3, device="cpu")]
    assert [p.cost for p in found[0].points] == [15.0, 30.0, 45.0, 60.0]
    alone, sync = summary(found)
    assert alone.speedup == 1.0
    assert sync.speedup == pytest.approx(60.0 / found[1].points[-1].cost)


def test_own_settings_are_those_of_their_rule_alone():
    given = {("async", 2): {"lr": 0.01}}
    found = {o.case.rule: o for o in compare(Blobs(), PARAMS, rules=["sync", "async"], workers=[2], own=given)}
    for rule, lr in (("sync", PARAMS["lr"]), ("async", 0.01)):
        one = next(iter(compare(Blobs(), {**PARAMS, "lr": lr}, rules=[rule], workers=[2])))
        assert found[rule].points == one.points
    assert found["async"].own == {"lr": 0.01}


def test_watched_after_every_event_and_stopped_in_the_middle_of_an_epoch():
    seen = []
    found = list(compare(
        Blobs(), PARAMS, rules=["async", "sync"], workers=[3], watch=lambda case, epochs: seen.append((case.rule, epochs)),
        stopping=lambda: seen[-1][0] == "sync" and seen[-1][1] > 1.2,
    ))  # fmt: skip
    assert [o.case.rule for o in found] == ["async"]
    assert seen[-1] == ("sync", pytest.approx(1.4))  # seven rounds of three: the first past 1.2 epochs of 15 batches
    parts = {epochs for rule, epochs in seen if rule == "async"}
    assert len(parts) > 50  # of 60 batches


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rules": ["sync", "asink"]}, "Did you mean 'async'?"),
        ({"rules": ["bounded"]}, "needs s"),
        ({"rules": ["dc-asgd(lambda=-1)"]}, "lambda must be a number >= 0"),
        ({"workers": [2, 61]}, "workers: 61 for 60 batches (4 epochs of 15)"),
        ({"workers": [2, 241], "shuffle": "local"}, "241 for 240 training examples"),
        ({"shuffle": "nonsense"}, "Allowed: global, local, once"),
        ({"delays": Delays(stragglers={4: 3.0})}, "straggler: there is no worker 4 among 4: they are 0 to 3"),
        ({"failures": [Failure(7, 1.0)]}, "fail: there is no worker 7"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_anything_is(given, said):
    Watched.made = 0
    events = []
    with pytest.raises(UsageError) as error:
        compare(
            Watched(), PARAMS, **{"rules": ["async"], "workers": [4], **given},
            watch=lambda case, epochs: events.append(case),
        )  # fmt: skip
    assert said in str(error.value)
    assert not events
    assert Watched.made <= 8  # it was looked at, not trained by workers


def test_the_rate_that_is_best_on_seeds_of_its_own_is_chosen_for_each_rule():
    """Added gradients of four workers need a quarter of the rate that their mean needs: the same list gives unlike answers."""
    rates, seeds = [0.05, 0.2, 0.8, 3.2], [1000, 1001]
    found = tune_rates(
        Lines(), {**PARAMS, "batch": 4}, rules=["sync", "bounded(0)"], workers=[4], rates=rates[::-1], seeds=seeds,
        delays=Delays("constant"), steps=2, baseline=True,
    )  # fmt: skip
    assert set(found) == {("sync", 4), ("bounded(0)", 4), (SEQUENTIAL, 1)}
    assert found["sync", 4].rate > found["bounded(0)", 4].rate
    for (rule, workers), rate in found.items():
        assert [t.rate for t in rate.tried] == rates
        assert {t.n for t in rate.tried} == {2}
        values = {}
        for lr in rates:
            ends = compare(
                Lines(), {**PARAMS, "batch": 4, "lr": lr}, rules=["async" if rule == SEQUENTIAL else rule],
                workers=[workers], seeds=seeds, delays=Delays("constant"), steps=2,
            )  # fmt: skip
            ends = [o.points[-1].value if o.complete else math.inf for o in ends]
            values[lr] = sum(ends) / len(ends)
        assert rate.rate == min(rates, key=lambda lr: values[lr]), rule
    assert settings(found)["sync", 4] == {"lr": found["sync", 4].rate}


def test_a_rate_at_the_end_of_the_list_is_marked_and_one_that_diverges_comes_last():
    low, middle, high = Tried(0.1, 0.5, 2, 0), Tried(0.2, 0.4, 2, 0), Tried(0.4, 0.1, 2, 1)
    assert chosen([low, middle, high], "min") == Rate(0.2, (low, middle, high), "")
    assert chosen([low, middle, high], "max").edge == "lowest"
    assert chosen([low, middle], "min").edge == "highest"
    assert chosen([middle], "min").edge == ""
    gone = [Tried(r, math.nan, 2, 2) for r in (0.1, 0.2)]
    assert chosen(gone, "min")[0] == 0.1


@pytest.mark.parametrize("rates", [[], [0.0], [0.1, -1], [math.nan], [math.inf]])
def test_rates_that_are_none(rates):
    with pytest.raises(UsageError, match="numbers above 0"):
        tune_rates(Blobs(), PARAMS, rules=["sync"], workers=[2], rates=rates)


def test_a_rate_that_another_hyperparameter_overrides_is_refused():
    with pytest.raises(UsageError, match=r"Use name='optimizer\.lr'"):
        tune_rates(Blobs(), {"optimizer": "sgd", "optimizer.lr": 0.1}, rules=["sync"], workers=[2], rates=[0.1])
    with pytest.raises(UsageError, match="need a seed"):
        tune_rates(Blobs(), PARAMS, rules=["sync"], workers=[2], rates=[0.1], seeds=[])


def test_at_equal_time_each_shows_what_it_had_found_by_then():
    def run(rule, seed, costs, values):
        points = tuple(Point(i + 1, v, c, {"updates": 1.0}) for i, (c, v) in enumerate(zip(costs, values, strict=True)))
        return Outcome(Case(rule, 2, seed), points, 0.0, {}, all(map(math.isfinite, values)))

    found = [
        run("slow", 0, [10.0, 20.0, 30.0], [0.5, 0.4, 0.3]), run("slow", 1, [12.0, 24.0, 36.0], [0.7, 0.6, 0.5]),
        run("quick", 0, [5.0, 10.0, 15.0], [0.9, 0.8, 0.7]), run("quick", 1, [5.0, 8.0], [0.9, math.nan]),
    ]  # fmt: skip
    assert quickest(found) == 15.0
    slow, quick = reached(found, 15.0)
    assert (slow.epochs, slow.value, slow.n, slow.diverged) == (pytest.approx((1.5 + 1.25) / 2), 0.6, 2, 0)
    assert slow.spread == pytest.approx(0.1414, abs=1e-4)
    assert (quick.epochs, quick.value, quick.diverged) == (2.5, 0.7, 1)
    early = reached(found, 4.0)[0]
    assert early.epochs == pytest.approx((0.4 + 4 / 12) / 2)
    assert math.isnan(early.value)


def test_seeds_that_diverge_and_seeds_whose_workers_die_are_told_apart():
    failures = [Failure(0, 5.0), Failure(1, 5.0)]
    (dead,) = compare(Blobs(), PARAMS, rules=["async"], workers=[2], failures=failures)
    assert (dead.complete, dead.died, len(dead.points)) == (False, True, 0)
    (gone,) = compare(Blobs(), {**PARAMS, "lr": 1e30}, rules=["async"], workers=[2])
    assert (gone.complete, gone.died) == (False, False)
    ended = Outcome(Case("async", 2, 1), (Point(4, 0.5, 9.0, {"updates": 9.0}),), 1.0, {}, True)
    (row,) = summary([dead, gone, ended])
    assert (row.n, row.diverged, row.died, row.ended, row.value) == (3, 1, 1, 1, 0.5)
    assert best([row], "max") is None  # it did not come to its end with every seed
    two, four = compare(Blobs(), PARAMS, rules=["async"], workers=[2, 4], failures=[*failures, Failure(3, 2.0, 4.0)])
    assert two.points == dead.points  # a worker that it has not does not die, nor join
    assert four.complete
    rates = tune_rates(Blobs(), PARAMS, rules=["async"], workers=[2], rates=[0.1, 0.2], seeds=[7], failures=failures)
    assert [(t.diverged, t.died, t.ended) for t in rates["async", 2].tried] == [(0, 1, 0)] * 2


def test_the_same_case_is_the_simulation_itself():
    one = next(iter(compare(Blobs(), PARAMS, rules=["dc-asgd"], workers=[3], seeds=[2])))
    from whet.distributed.named import parse_rule

    simulation = Simulation(Blobs(), PARAMS, rule=parse_rule("dc-asgd"), workers=3, seed=2)
    assert list(one.points) == list(simulation)
    assert one.histogram == dict(simulation.server.staleness)
