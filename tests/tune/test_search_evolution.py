"""Regularised evolution: contracts, tournaments and age, what a mutation changes and keeps, failures, workers, half-trained trials."""

from __future__ import annotations

import math
from collections import Counter, deque

import numpy as np
import pytest

from whet import Choice, Float, Idle, Int, Ordered, Space, StudyError
from whet import seed as streams
from whet.errors import UsedUp
from whet.testing import SEARCHER, SPACES
from whet.tune.search.evolution import Evolution
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.mutation import Mutation
from whet.tune.study import Study
from whet.tune.trial import Bound, Goal, Point, State, Trial, Trials


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(lambda: Evolution(population=8, sample=3))


OTHERS = [
    c for c in SEARCHER if any(word in c.__name__ for word in ("options", "rebuilt", "repeats", "moment", "nothing"))
]


@pytest.mark.parametrize("clause", OTHERS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    "made", [Evolution(), Evolution(population=3, sample=1, start=1, seed=4)], ids=["default", "few"]
)
def test_contract_with_options(clause, made):
    clause(lambda: Evolution(made.population, made.sample, made.start, made.seed))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"population": 1}, "evolution: population must be a whole number >= 2, got 1"),
        ({"population": None}, "population must be"),
        ({"sample": 0}, "evolution: sample must be a whole number >= 1, got 0"),
        ({"sample": True}, "sample must be"),
        ({"population": 4, "sample": 5}, "evolution: sample must be at most population (4), got 5"),
        ({"start": 0}, "evolution: start must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError) as e:
        Evolution(**options)
    assert why in str(e.value)
    assert "\n" not in str(e.value)


def played(space, value, search, *, trials, seed=0, workers=1):
    """A study of so many trials of a function, told in the order they were asked for; NaN fails. Also what had ended when each was asked for."""
    study = Study(space, goal="min loss", search=search, schedule="full", seed=seed)
    running, ended, known = [], set(), []

    def end(trial):
        found = value(trial.params)
        ended.add(trial.id)
        if found != found:
            study.fail(trial, "failed")
        else:
            study.tell(trial, found)

    for _ in range(trials):
        known.append(frozenset(ended))
        found = study.ask()
        assert not isinstance(found, Idle)
        running.append(found)
        if len(running) == workers:
            end(running.pop(0))
    for trial in running:
        end(trial)
    return study, known


CELL = Space(**{f"edge{i}": Choice(["none", "skip", "conv1", "conv3", "pool"]) for i in range(6)})


def cell(p):
    """A made-up loss of a cell: every edge has its own best operation, and two pairs of edges go together."""
    ops = [CELL[n].index(p[n]) for n in CELL]
    apart = sum((op - i) % 5 for i, op in enumerate(ops)) / 24
    return apart + 0.3 * (ops[0] == ops[5]) + 0.2 * (ops[2] != (ops[3] + 4) % 5)


NET = Space(
    lr=Float(1e-5, 1.0, log=True),
    layers=Choice({
        "one": Space(units=Int(4, 64), act=Choice(["relu", "gelu"])),
        "two": Space(units=Int(4, 32), act=Choice(["relu", "gelu", "tanh"]), units2=Int(4, 64)),
        "deep": Space(
            units=Ordered((8, 16, 64)), act=Choice(["tanh", "elu"]), skip=Choice({True: Space(scale=Float(0, 1)), False: None})
        ),
    }),
)  # fmt: skip


# -- who has children


@pytest.mark.parametrize(("population", "sample"), [(6, 1), (6, 3), (6, 6)])
def test_parents_are_drawn_as_the_tournament_says(population, sample):
    """Of P trials, S drawn with replacement: the r-th best wins with the chance ((P - r + 1)^S - (P - r)^S) / P^S."""
    values = [0.5, 0.1, 0.9, 0.3, 0.7, 0.2]
    done = [Trial(i, {"x": 0.1 + i / 10}, State.DONE, value=v) for i, v in enumerate(values)]
    trials, made = Trials(done, space=Space(x=Float(0, 1))), Evolution(population, sample)
    n = 1500
    won = Counter(made.propose(trials, streams.rng(s)).origin["evolution"]["parent"] for s in range(n))
    for rank, id in enumerate(np.argsort(values), 1):
        p = ((population - rank + 1) ** sample - (population - rank) ** sample) / population**sample
        assert won[int(id)] == pytest.approx(n * p, abs=4 * math.sqrt(n * p * (1 - p)) + 1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("workers", [1, 4])
def test_every_parent_is_one_of_the_last_that_had_ended_and_its_child_differs_in_one(seed, workers):
    search = Evolution(population=8, sample=3, seed=seed)
    study, known = played(
        CELL, lambda p: cell(p) if p["edge0"] != "pool" else math.nan, search, trials=90, seed=seed, workers=workers
    )
    bred = [t for t in study.trials if "evolution" in t.origin]
    assert len(bred) >= 75
    for t in bred:
        said = t.origin["evolution"]
        able = sorted(i for i in known[t.id] if study.trials[i].value is not None)
        assert said["parent"] in able[-8:]
        parent = study.trials[said["parent"]].params
        assert [n for n in CELL if t.params[n] != parent[n]] == said["changed"]
    assert sum(len(t.origin["evolution"]["changed"]) == 1 for t in bred) > 0.9 * len(bred)
    parents = {t.origin["evolution"]["parent"] for t in bred}
    assert len(parents) > 10  # whoever is best dies with time
    assert not parents & {t.id for t in study.trials if t.state is State.FAILED}


def test_the_oldest_dies_even_when_it_is_the_best():
    done = [Trial(i, {"x": i / 20}, State.DONE, value=float(i)) for i in range(10)]
    made = Evolution(population=4, sample=2, start=4)
    said = [
        made.propose(Trials(done, space=Space(x=Float(0, 1))), streams.rng(s)).origin["evolution"]["parent"]
        for s in range(150)
    ]
    assert set(said) == {6, 7, 8, 9}
    assert Counter(said).most_common(1)[0][0] == 6


def test_running_waiting_and_failed_trials_are_no_parents_and_paused_and_stopped_ones_are():
    space = Space(x=Float(0, 1))
    states = [State.DONE, State.RUNNING, State.PAUSED, State.FAILED, State.STOPPED, State.RUNNING]
    done = [
        Trial(i, {"x": i / 9}, s, [Point(1, i / 9)], None if s is State.FAILED else i / 9) for i, s in enumerate(states)
    ]
    made = Evolution(population=8, sample=1, start=1)
    shown = Trials([*done, Trial(6)], space=space, steps=3)
    assert {made.propose(shown, streams.rng(s)).origin["evolution"]["parent"] for s in range(60)} == {0, 2, 4}


def test_half_trained_trials_count_as_what_they_are_forecast_to_end_with():
    """Slow learners look worse after a step; those that went on became better."""
    slow, fast = [0.9, 0.5, 0.1], [0.5, 0.45, 0.4]
    done = []
    for i in range(12):
        curve = (slow, fast)[i % 2]
        done.append(
            Trial(
                i,
                {"x": i / 20},
                State.DONE,
                [Point(k + 1, v + i / 1e4) for k, v in enumerate(curve)],
                curve[-1] + i / 1e4,
            )
        )
    done.append(Trial(12, {"x": 0.8}, State.PAUSED, [Point(1, 0.9), Point(2, 0.5)], 0.5))
    done.append(Trial(13, {"x": 0.9}, State.PAUSED, [Point(1, 0.5), Point(2, 0.45)], 0.45))
    made = Evolution(population=2, sample=2, start=2)
    shown = Trials(done, space=Space(x=Float(0, 1)), steps=3)
    won = Counter(made.propose(shown, streams.rng(s)).origin["evolution"]["parent"] for s in range(200))
    assert won[12] == pytest.approx(150, abs=4 * math.sqrt(200 * 0.75 * 0.25))  # wins unless the other is drawn twice


def test_what_breaks_a_bound_has_children_only_when_nothing_that_keeps_it_is_drawn():
    goals = Goal("loss", "min"), Bound("memory", "<=", 4.0)
    done = [
        Trial(i, {"x": i / 9}, State.DONE, [Point(1, -float(i), metrics={"memory": float(i)})], -float(i))
        for i in range(8)
    ]
    made = Evolution(population=8, sample=8)
    shown = Trials(done, space=Space(x=Float(0, 1)), goals=goals)
    won = Counter(made.propose(shown, streams.rng(s)).origin["evolution"]["parent"] for s in range(100))
    assert won.most_common(1)[0][0] == 4  # the best of those that keep it
    assert sum(won[i] for i in (5, 6, 7)) <= 4  # (3 / 8) ** 8 of the draws have none


def test_when_everything_failed_it_goes_on_with_spread_points():
    space = Space(x=Float(0, 1), y=Float(0, 1))
    study, _ = played(space, lambda p: math.nan, Evolution(population=4, sample=2), trials=12)
    assert {t.origin.get("start") for t in study.trials} == {"sobol"}
    study, _ = played(
        space, lambda p: math.nan if p["x"] > 0.5 else 1 - p["x"], Evolution(population=8, sample=4), trials=80
    )
    assert study.best.value < 0.52
    assert sum("evolution" in t.origin for t in study.trials) == 76  # failed ones count for the beginning


# -- what is changed, and what stays


@pytest.mark.parametrize("name", [n for n in SPACES if n != "one point"])
def test_a_mutation_changes_one_value_and_what_hangs_on_it(name):
    space, rng = SPACES[name], np.random.default_rng(0)
    cube = Cube(space)
    mutation = Mutation(cube)
    changed = Counter()
    for _ in range(400):
        before = space.sample(rng)
        row, names = mutation.of(space.encode(before), rng)
        assert len(names) == 1
        after = cube.params(row)
        changed[names[0]] += 1
        apart = {
            n
            for n in {**before, **after}
            if n not in before or n not in after or before[n] != after[n] or type(before[n]) is not type(after[n])
        }
        assert names[0] in apart or isinstance(space.get(names[0]), Float)  # a step of a number at its end may be none
        assert all(n == names[0] or n.startswith(names[0] + ".") for n in apart)
        np.testing.assert_allclose(cube.encode([after])[0], row, atol=1e-12)
    assert set(changed) == {d.name for d in space.dims}


def test_numbers_move_on_their_own_scale_to_values_near_by():
    space = Space(
        lr=Float(1e-6, 1.0, log=True),
        x=Float(0, 10),
        n=Int(1, 4),
        wide=Int(1, 4096, log=True),
        b=Ordered((8, 16, 32, 64, 128)),
    )
    cube = Cube(space)
    mutation, rng = Mutation(cube), np.random.default_rng(0)
    row = space.encode({"lr": 1e-3, "x": 5.0, "n": 2, "wide": 64, "b": 32})
    moves = {n: [] for n in space}
    for _ in range(4000):
        new, (name,) = mutation.of(row, rng)
        moves[name].append(cube.params(new)[name])
    up = {n: np.mean([v > s for v in moves[n]]) for n, s in (("lr", 1e-3), ("x", 5), ("n", 2), ("wide", 64), ("b", 32))}
    assert all(0.42 < u < 0.58 for u in up.values())  # either way alike, on the scale of each
    sizes = np.exp(rng.uniform(math.log(0.05), math.log(0.3), 20_000)) * np.abs(rng.standard_normal(20_000))
    for part in (0.25, 0.5, 0.75):  # in ranges
        want = pytest.approx(np.quantile(sizes, part), rel=0.2)
        assert np.quantile(np.abs(np.log10(moves["lr"]) + 3) / 6, part) == want
        assert np.quantile(np.abs(np.array(moves["x"]) - 5) / 10, part) == want
    assert 2 not in moves["n"]
    assert 64 not in moves["wide"]
    near = np.mean([v in (16, 64) for v in moves["b"]])
    assert 0.6 < near < 1  # mostly the neighbours, now and then further
    assert all(len(m) == pytest.approx(800, abs=120) for m in moves.values())


def test_at_an_end_whole_numbers_move_inwards_and_real_ones_may_stay_for_another_draw():
    space = Space(n=Int(1, 5), b=Ordered((1, 2, 4)))
    cube = Cube(space)
    mutation, rng = Mutation(cube), np.random.default_rng(0)
    seen = Counter()
    for _ in range(400):
        new, (name,) = mutation.of(space.encode({"n": 1, "b": 4}), rng)
        seen[name, cube.params(new)[name]] += 1
    assert ("n", 1) not in seen
    assert ("b", 4) not in seen
    assert seen["n", 2] > seen["n", 3]


def test_another_option_is_drawn_evenly_and_one_value_alone_is_never_changed():
    space = Space(c=Choice(["a", "b", "c", "d"]), only=Choice(["x"]))
    cube = Cube(space)
    mutation, rng = Mutation(cube), np.random.default_rng(0)
    new = [mutation.of(space.encode({"c": "b", "only": "x"}), rng) for _ in range(900)]
    assert {names for _, names in new} == {("c",)}
    counts = Counter(cube.params(row)["c"] for row, _ in new)
    assert set(counts) == {"a", "c", "d"}
    assert all(n == pytest.approx(300, abs=4 * math.sqrt(900 * 2 / 9)) for n in counts.values())


def test_a_change_of_branch_keeps_what_both_branches_share():
    cube = Cube(NET)
    mutation, rng = Mutation(cube), np.random.default_rng(0)
    before = {"lr": 1e-2, "layers": "two", "layers.units": 30, "layers.act": "tanh", "layers.units2": 50}
    found = {"one": [], "deep": []}
    for _ in range(1500):
        row, names = mutation.of(NET.encode(before), rng)
        after = cube.params(row)
        assert after["lr"] == pytest.approx(1e-2) or names == ("lr",)
        if names == ("layers",):
            found[after["layers"]].append(after)
    assert len(found["one"]) > 100
    assert {p["layers.units"] for p in found["one"]} == {30}  # allowed there too
    assert {p["layers.act"] for p in found["one"]} == {"relu", "gelu"}  # there is no tanh: drawn
    assert {p["layers.units"] for p in found["deep"]} == {16}  # the nearest there is
    assert {p["layers.act"] for p in found["deep"]} == {"tanh"}
    assert {p["layers.skip"] for p in found["deep"]} == {True, False}  # new there: drawn
    assert np.std([p["layers.skip.scale"] for p in found["deep"] if p["layers.skip"]]) == pytest.approx(
        12**-0.5, rel=0.2
    )


def test_what_a_branch_brings_with_it_is_drawn_from_its_prior():
    space = Space(o=Choice({"sgd": Space(momentum=Float(0, 1, prior=(0.9, 0.03))), "adam": None}))
    cube = Cube(space)
    mutation, rng = Mutation(cube), np.random.default_rng(0)
    drawn = [cube.params(mutation.of(space.encode({"o": "adam"}), rng)[0])["o.momentum"] for _ in range(200)]
    assert np.mean(drawn) == pytest.approx(0.9, abs=0.02)


# -- whole studies


def published(value, *, population, sample, trials, rng):
    """The algorithm of the paper, as its figure has it: returns the values in order."""
    ops, values, alive = 5, [], deque()

    def add(genes):
        values.append(value({f"edge{i}": CELL["edge0"].options[g] for i, g in enumerate(genes)}))
        alive.append((genes, values[-1]))

    while len(alive) < population:
        add([int(g) for g in rng.integers(ops, size=6)])
    while len(values) < trials:
        drawn = [alive[int(rng.integers(len(alive)))] for _ in range(sample)]
        genes = list(min(drawn, key=lambda m: m[1])[0])
        i = int(rng.integers(6))
        genes[i] = int(rng.choice([g for g in range(ops) if g != genes[i]]))
        add(genes)
        alive.popleft()
    return values


def test_it_does_as_well_as_the_published_algorithm_and_better_than_chance():
    """The same population and sample; ours tries nothing twice, and its first trials are spread."""

    def mean(values):
        return float(np.mean(values)), float(np.std(values) / math.sqrt(len(values)))

    def ours(search):
        return mean([played(CELL, cell, search(s), trials=80, seed=s)[0].best.value for s in range(12)])

    own, chance = ours(lambda s: Evolution(15, 5, 15, seed=s)), ours(lambda s: "random")
    paper = mean([min(published(cell, population=15, sample=5, trials=80, rng=streams.rng(s))) for s in range(200)])
    assert own[0] < paper[0] + 2 * math.hypot(own[1], paper[1])
    assert own[0] < 0.7 * chance[0]
    assert paper[0] < 0.8 * chance[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("workers", [1, 4])
def test_structure_and_numbers_are_searched_together(seed, workers):
    def value(p):
        more = {"one": 0.5, "two": 0.2, "deep": 0.0}[p["layers"]] + 0.2 * (p["layers.act"] != "tanh")
        return (
            (math.log10(p["lr"]) + 2.3) ** 2 / 4
            + abs(math.log2(p["layers.units"]) - 4) / 4
            + more
            + p.get("layers.skip.scale", 0.4)
        )

    def best(search):
        return played(NET, value, search, trials=150, seed=seed, workers=workers)[0].best

    found = best(Evolution(seed=seed))
    assert found.params["layers"] == "deep"
    assert found.params["layers.units"] == 16
    assert found.value < 0.15
    assert found.value < best("random").value


def test_constraints_hold_and_a_best_on_the_edge_of_them_is_found():
    space = Space(a=Int(1, 40), b=Int(1, 40)).where("a * b <= 60")
    study, _ = played(space, lambda p: -p["a"] * p["b"], Evolution(population=10, sample=5), trials=80)
    assert study.best.value <= -58


def test_where_one_change_never_is_allowed_more_are_made():
    space = Space(a=Int(1, 9), b=Int(1, 9)).where("a + b == 10")
    study, _ = played(space, lambda p: abs(p["a"] - 2), Evolution(population=2, sample=1), trials=9)
    assert len({t.params["a"] for t in study.trials}) == 9
    assert any(len(t.origin["evolution"]["changed"]) == 2 for t in study.trials if "evolution" in t.origin)


def test_a_space_is_used_up_to_its_last_configuration():
    space = Space(a=Choice(["x", "y"]), b=Int(1, 3), c=Choice(["only"]))
    study, _ = played(space, lambda p: p["b"], Evolution(population=2, sample=2), trials=6)
    assert len({str(t.params) for t in study.trials}) == 6
    with pytest.raises(UsedUp):
        Evolution(population=2, sample=2).propose(study.trials, streams.rng(0))


def test_what_a_person_tried_has_children():
    study = Study(Space(x=Float(0, 1)), goal="min loss", search=Evolution(population=2, sample=2), schedule="full")
    study.enqueue({"x": 0.123})
    for _ in range(12):
        trial = study.ask()
        study.tell(trial, abs(trial.params["x"] - 0.123))
    assert any(t.origin["evolution"]["parent"] == 0 for t in study.trials if "evolution" in t.origin)
