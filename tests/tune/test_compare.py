"""Comparing strategies: curves, ranks and tests against references; nothing is trained twice; what cannot be compared is said first."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import whet
from whet.errors import StudyError, UsageError
from whet.execute import resolve
from whet.recipe.summary import history
from whet.report.anytime import improvements
from whet.tune.compare import compare
from whet.tune.compare.line import Line, line
from whet.tune.compare.noise import enough, interval, midranks, signed_ranks
from whet.tune.compare.result import Comparison
from whet.tune.compare.strategies import strategies
from whet.tune.goal import Goal
from whet.tune.search.gp import GP
from whet.tune.search.random import Random
from whet.tune.strategy import Proposal

WORK = Path(__file__).with_name("compare_work.py")
SPACE = whet.Space(x=whet.Float(0, 1), k=whet.Int(1, 3))


def work(name):
    return resolve(f"{WORK}:{name}")


def bowl(p):
    return (p["x"] - 0.3) ** 2 + 0.1 * p["k"]


# --- one study as a line


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("schedule", ["full", "asha", "freeze-thaw"])
def test_a_line_is_the_anytime_curve_of_the_report(seed, schedule):
    with whet.Study(SPACE, search="random", schedule=schedule, steps=9, seed=seed) as study:
        study.run(work("bowl"), budget="60epochs")
        events = list(study.journal.read())
        steps, epochs, _ = improvements(study.trials, history(events))
        found = line(events, study.goals, 9)
        assert found.spent == epochs == study.spent.steps == 60
    assert dict(zip(found.at, found.score, strict=True)) == {at: v for at, _, v, _ in steps}


def test_values_that_were_only_told_count_a_whole_trial_and_failures_count_as_trials():
    with whet.Study(SPACE, search="random", steps=4) as study:
        for value in (3.0, None, 5.0, 1.0):
            trial = study.ask()
            study.fail(trial, "no") if value is None else study.tell(trial, value)
        events, goals = list(study.journal.read()), study.goals
    assert line(events, goals, 4) == Line((4, 12), (3.0, 1.0), 12, False)
    assert line(events, goals, 4, by="trials") == Line((1, 4), (3.0, 1.0), 4, False)


def test_what_a_failed_trial_said_before_does_not_count_nor_what_breaks_a_bound():
    with whet.Study(SPACE, goal=["max a", "ms <= 2"], search="random", schedule="full", steps=2) as study:
        trial = study.ask()
        study.report(trial, 1, 9.0, ms=1.0)
        study.report(trial, 2, math.nan, ms=1.0)
        slow, sound = study.ask(), study.ask()
        study.report(slow, 1, 8.0, ms=3.0)
        study.report(sound, 1, 7.0, ms=2.0)
        found = line(list(study.journal.read()), study.goals, 2)
        assert found == Line((4,), (-7.0,), 4, False)
        assert study.spent.steps == 4


# --- ranks and tests


@pytest.mark.parametrize("seed", range(5))
def test_midranks_are_those_of_scipy(seed):
    x = np.random.default_rng(seed).integers(0, 5, (7, 6)).astype(float)
    np.testing.assert_array_equal(midranks(x), stats.rankdata(x, axis=-1))


@pytest.mark.parametrize("seed", range(10))
def test_without_ties_the_test_is_scipys_exact_one(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 25))
    a, b = rng.normal(size=n), rng.normal(0.5, 1, size=n)
    assert signed_ranks(a, b) == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue)


@pytest.mark.parametrize("seed", range(10))
def test_with_ties_every_way_the_signs_could_fall_is_counted(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, (2, 8)).astype(float)
    d = a - b
    ranks = stats.rankdata(np.abs(d))[d != 0]
    sums = np.array([np.dot(ranks, s) for s in itertools.product([0, 1], repeat=len(ranks))])
    have = ranks[d[d != 0] > 0].sum()
    low = min((sums <= have + 1e-9).mean(), (sums >= have - 1e-9).mean())
    assert signed_ranks(a, b) == pytest.approx(min(1.0, 2 * low))
    assert signed_ranks(b, a) == signed_ranks(a, b)


def test_no_value_at_all_is_worse_than_any():
    a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert signed_ranks(a, [math.inf] * 6) == signed_ranks(a, [x + 1 for x in a]) == 2 / 2**6
    assert signed_ranks([math.inf] * 3, [math.inf] * 3) == 1.0
    assert np.isnan(interval([1.0, math.inf])).all()


def chance(n, k, rng):
    return Comparison(
        Goal("loss", "min"), "trials", tuple(range(n)),
        {f"s{i}": tuple(Line((1,), (float(rng.random()),), 3, False) for _ in range(n)) for i in range(k)},
    )  # fmt: skip


def test_among_equals_a_difference_is_seldom_seen():
    rng = np.random.default_rng(0)
    seen = sum(
        any(p.verdict != "not told apart" for p in chance(10, 4, rng).against.values()) for _ in range(300)
    )  # of 15 expected at most
    assert seen <= 25


@pytest.mark.parametrize("k", [2, 3, 5])
def test_enough_seeds_are_as_few_as_can_tell(k):
    n = enough(k - 1)
    for seeds, told in ((n, "better"), (n - 1, "not told apart")):
        lines = {"random": (Line((1,), (2.0,), 3, False),) * seeds}
        lines |= {"best": tuple(Line((1,), (1.0 + i / 99,), 3, False) for i in range(seeds))}
        lines |= {f"s{i}": lines["random"] for i in range(k - 2)}
        found = Comparison(Goal("loss", "min"), "trials", tuple(range(seeds)), lines)
        assert found.against["best"].verdict == told
        assert (f"{n} are needed" in found.sentence) == (seeds < n)


# --- from studies to a comparison


def test_ranks_values_and_curves_are_those_of_the_studies():
    found = compare(bowl, SPACE, search="sobol,tpe", seeds=4, budget="12trials")
    assert list(found.lines) == ["random", "sobol", "tpe"]
    assert (found.end, found.by, found.seeds) == (12, "trials", (0, 1, 2, 3))
    values = {}
    for name in found.lines:
        for seed in found.seeds:
            study = whet.Study(SPACE, search=name, seed=seed).run(bowl, trials=12)
            values.setdefault(name, []).append(study.best.value)
        np.testing.assert_array_equal(found.values(name)[:, 0], values[name])
    ranks = stats.rankdata(np.array(list(values.values())), axis=0).mean(1)
    assert {r.name: r.rank for r in found.rows} == pytest.approx(dict(zip(found.lines, ranks, strict=True)))
    assert [r.rank for r in found.rows] == sorted(r.rank for r in found.rows)
    curve = found.curve("tpe")
    assert curve.mean[-1] == pytest.approx(np.mean(values["tpe"]))
    assert (np.diff(curve.mean) <= 1e-15).all()
    ahead = found.ahead("tpe")
    assert ahead.mean[-1] == pytest.approx(np.mean(values["random"]) - np.mean(values["tpe"]))
    assert found.against["tpe"].gain == pytest.approx(ahead.mean[-1])
    assert found.json()["values"]["sobol"] == values["sobol"]
    assert max(map(len, str(found).splitlines()[:4])) <= 70


def test_a_strategy_with_nothing_left_to_try_keeps_what_it_has():
    space = whet.Space(k=whet.Int(1, 3), x=whet.Choice(["a", "b"]))
    found = compare(lambda p: p["k"], space, search="grid", seeds=6, budget="40trials")
    assert found.end == 6
    space = whet.Space(x=whet.Float(0, 1))
    found = compare(lambda p: abs(p["x"] - 0.3), space, search="grid", seeds=6, budget="40trials")
    assert found.end == 40
    assert found.lines["grid"][0].spent == 5
    assert found.curve("grid").mean[-1] == pytest.approx(0.05)


class Cut(Exception):
    """Stands for a process that dies."""


@pytest.mark.parametrize("seed", range(3))
def test_an_interrupted_comparison_goes_on_and_trains_nothing_twice(tmp_path, seed):
    whole, calls = compare(bowl, SPACE, search="tpe", seeds=3, budget="10trials"), []
    cut = int(np.random.default_rng(seed).integers(1, 60))

    def watched(p):
        calls.append(p)
        if len(calls) == cut:
            raise KeyboardInterrupt
        return bowl(p)

    with pytest.raises(KeyboardInterrupt):
        compare(watched, SPACE, search="tpe", seeds=3, budget="10trials", store=str(tmp_path / "a.db"))
    found = compare(watched, SPACE, search="tpe", seeds=3, budget="10trials", store=str(tmp_path / "a.db"))
    assert found.lines == whole.lines
    assert len(calls) == 61  # the one that was cut is begun again
    more = compare(watched, SPACE, search="tpe,sobol", seeds=4, budget="10trials", store=str(tmp_path / "a.db"))
    assert len(calls) == 61 + 20 + 40
    assert [x[:3] for x in more.lines.values()][:2] == list(whole.lines.values())


def test_processes_find_what_one_process_finds(tmp_path):
    words = {"search": "tpe", "schedule": "asha,full", "seeds": 2, "steps": 3, "budget": "12epochs"}
    one = compare(work("bowl"), SPACE, **words)
    two = compare(work("bowl"), SPACE, **words, workers=2, store=str(tmp_path / "two.db"))
    assert one.lines == two.lines
    assert list(one.lines) == ["random+asha", "tpe+asha", "tpe+full"]
    assert one.by == "epochs"
    assert one.end == 12


def test_an_objective_that_always_fails_is_said_after_the_first_seed(tmp_path):
    calls = []

    def broken(p):
        calls.append(p)
        raise ValueError("no such thing")

    with pytest.raises(StudyError, match=r"no trial of 2 studies had a value.*ValueError: no such thing"):
        compare(broken, SPACE, search="tpe", seeds=10)
    assert len(calls) <= 2 * 30
    with pytest.raises(StudyError, match="no such thing"):
        compare(work("broken"), SPACE, search="tpe", seeds=3, workers=2, store=str(tmp_path / "a.db"))


# --- what cannot be compared


@dataclass(frozen=True)
class Picky:
    """A searcher that finds fault after some trials."""

    after: int = 0

    def propose(self, trials, rng):
        if len(trials) > self.after:
            raise StudyError("picky: a space without a Choice is beneath it. Add one.")
        return Proposal(trials.space.sample(rng))


@pytest.mark.parametrize("after", [0, 5])
def test_a_searcher_that_refuses_says_so_before_anything_is_trained(after, tmp_path):
    def never(p):
        raise AssertionError("was trained")

    with pytest.raises(StudyError, match=r"Picky.* cannot search this: picky: a space without a Choice"):
        compare(never, SPACE, search=["tpe", Picky(after)], store=str(tmp_path / "a.db"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"search": "gp,tpee"}, "no strategy 'tpee'.*tpe"),
        ({"search": "gp", "schedule": "ashaa"}, "asha"),
        ({"search": "random"}, "^search random: is alone, so there is nothing to compare it with"),
        ({"search": "gp,gp"}, "^search gp: is given twice"),
        ({"search": ["gp", GP()]}, "^search gp: is given twice"),
        ({"search": "gp", "schedule": "full,full"}, "^schedule full: is given twice"),
        ({"search": "gp,"}, "^search 'gp,': has an empty name"),
        ({"search": []}, "an empty name"),
        ({"search": "gp", "seeds": 1}, "^seeds: must be at least 2, got 1"),
        ({"search": "gp", "seeds": [3]}, "at least 2"),
        ({"search": "gp", "seeds": [3, 3]}, "^seeds: 3 is given twice"),
        ({"search": "gp", "seeds": [3, -1]}, "^seeds: each must be a whole number"),
        ({"search": "gp", "seeds": 2.5}, "must be a number of seeds"),
        ({"search": "gp", "budget": "5"}, "of what"),
        ({"search": "gp", "workers": 0}, "at least 1"),
        ({"search": 3}, "search"),
    ],
)
def test_bad_words(words, said):
    with pytest.raises((UsageError, StudyError), match=said):
        compare(bowl, SPACE, **words)


def test_a_schedule_that_refuses_the_space_says_so_before_anything_is_trained(tmp_path):
    def never(p, run):
        raise AssertionError("was trained")

    words = {"search": "tpe", "seeds": 2, "steps": 6, "store": str(tmp_path / "a.db")}
    with pytest.raises(StudyError, match=r"tpe\+population cannot search this: population: no domain is marked live"):
        compare(never, SPACE, **words, schedule="full,population")
    assert not list(tmp_path.iterdir())
    live = whet.Space(x=whet.Float(0.0, 1.0, live=True))
    found = compare(work("bowl"), live, **words, schedule="full,population", budget="12epochs")
    assert list(found.lines) == ["random+full", "tpe+full", "tpe+population"]
    assert found.end == 12


def test_bad_objectives():
    with pytest.raises(UsageError, match="needs its space"):
        compare(bowl, search="tpe")
    with pytest.raises(UsageError, match="must be a Task or a function"):
        compare("digits", SPACE)
    with pytest.raises(UsageError, match="store they can open"):
        compare(work("bowl"), SPACE, search="tpe", seeds=2, workers=2)


def test_objects_have_names_of_their_own_and_the_seed_of_their_study():
    found = strategies(["gp", GP(acquisition="ei"), Random()], "full")
    assert [s.name for s in found] == ["random", "gp", "gp(acquisition=ei)"]
    assert found[2].key == "gp-acquisition-ei-+full"
    assert found[2].seeded(7) == GP(acquisition="ei", seed=7)
    assert found[1].seeded(7) == "gp"


def test_a_task_brings_its_space_its_goal_and_a_split_of_each_seed(tmp_path):
    from whet.tasks import resolve

    task = resolve("diabetes")
    words = {"search": "sobol", "schedule": "full", "seeds": 2, "budget": "4epochs", "steps": 2}
    found = compare(task, **words, store=str(tmp_path / "a.db"))
    assert str(found.goal) == "min rmse"
    assert found.end == 4
    values = found.values("sobol")[:, 0]
    assert values[0] != values[1]
    with whet.Study.open(str(tmp_path / "a.db"), "sobol+full.1") as study:
        assert study.space == task.space
        assert min(p.value for t in study.trials for p in t.curve) == values[1]
    again = compare(resolve("diabetes"), **words, workers=2, store=str(tmp_path / "b" / "b.db"))
    assert again.values("sobol").tolist() == found.values("sobol").tolist()
    with pytest.raises(UsageError, match="has a space of its own"):
        compare(task, SPACE, search="sobol")


def test_a_study_in_which_nothing_works_any_more_ends_the_comparison(tmp_path):
    with pytest.raises(StudyError, match="trials failed in a row, the last one with a configuration") as e:
        compare(
            work("breaks"), SPACE, search="sobol", seeds=2, workers=2, budget="90trials", store=str(tmp_path / "a.db")
        )
    assert str(e.value).startswith("compare: study '")
    assert str(e.value).count("study '") == 1


def test_workers_that_die_change_nothing(tmp_path, monkeypatch):
    signs = tmp_path / "signs"
    signs.mkdir()
    monkeypatch.setenv("WHET_TEST_FLAG", str(signs))
    words = {"search": "sobol", "schedule": "full", "seeds": 2, "steps": 3, "budget": "12epochs"}
    found = compare(work("dies_once"), SPACE, **words, workers=2, store=str(tmp_path / "a.db"))
    assert len(list(signs.iterdir())) == 2
    assert found.lines == compare(work("bowl"), SPACE, **words).lines


def test_a_worker_that_always_dies_is_said(tmp_path):
    with pytest.raises(StudyError, match="compare: "):
        compare(work("dies"), SPACE, search="sobol", seeds=2, workers=2, budget="1trials", store=str(tmp_path / "a.db"))


def test_studies_of_one_budget_that_came_to_different_ends_are_compared_where_all_were():
    lines = {
        "random": tuple(Line((1, 30), (2.0 + s / 9, 0.1), 40, False) for s in range(6)),
        "gp": tuple(Line((1,), (1.0,), 20 + s, False) for s in range(6)),
    }
    found = Comparison(Goal("loss", "min"), "epochs", tuple(range(6)), lines)
    assert found.end == 20
    assert found.against["gp"].verdict == "better"
    assert "after 20 epochs, which every study came to; the furthest came to 40" in found.sentence


def test_a_search_along_gradients_gets_them_and_says_first_where_there_are_none(tmp_path):
    from whet.tasks import resolve

    words = {"search": "hypergradient", "seeds": 2, "budget": "6epochs", "steps": 2}
    found = compare(resolve("diabetes"), **words, schedule="full", store=str(tmp_path / "a.db"))
    assert found.end == 6
    with whet.Study.open(str(tmp_path / "a.db"), "hypergradient+full.0") as study:
        assert any(k.startswith("gradient") for t in study.trials for p in t.curve for k in p.metrics)
    whole = whet.Space(k=whet.Int(1, 3), c=whet.Choice(["a", "b"]))
    with pytest.raises(StudyError, match=r"hypergradient cannot search this: .*no Float"):
        compare(bowl, whole, search="hypergradient", seeds=2)
