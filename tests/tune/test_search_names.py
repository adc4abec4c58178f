from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint

import pytest

from whet.errors import StudyError, WhetError
from whet.tune import named, schedule, search
from whet.tune.schedule import scheduler
from whet.tune.schedule.asha import Asha
from whet.tune.schedule.freezethaw import FreezeThaw
from whet.tune.schedule.full import Full
from whet.tune.schedule.hyperband import Hyperband
from whet.tune.schedule.median import Median
from whet.tune.schedule.race import Race
from whet.tune.search import searcher
from whet.tune.search.auto import Auto
from whet.tune.search.cma import CMA
from whet.tune.search.evolution import Evolution
from whet.tune.search.forest import Forest
from whet.tune.search.gp import GP
from whet.tune.search.grid import Grid
from whet.tune.search.hypergradient import Hypergradient
from whet.tune.search.policy import Policy
from whet.tune.search.portfolio import Portfolio
from whet.tune.search.random import Random
from whet.tune.search.sobol import Sobol
from whet.tune.search.tpe import TPE
from whet.tune.search.trego import TREGO
from whet.tune.search.zoom import Zoom
from whet.tune.space import Float, Space
from whet.tune.strategy import Proposal, Scheduler, Searcher

SPACE = Space(x=Float(0, 1))


@dataclass(frozen=True)
class Mine:
    """A searcher of somebody else."""

    level: float = 0.5
    seed: int = 0

    def propose(self, trials, rng):
        return Proposal({"x": self.level}, {"search": "mine"})


@dataclass(frozen=True)
class Odd:
    what: object = field(default_factory=object)

    def propose(self, trials, rng):
        return Proposal({})


class Loose:
    def propose(self, trials, rng):
        return Proposal({})


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("auto", Auto(seed=5)),
        ("sobol", Sobol(seed=5)),
        ("random", Random()),
        ("grid", Grid(points=5)),
        ("gp", GP(seed=5)),
        ("trego", TREGO(seed=5)),
        ("tpe", TPE(seed=5)),
        ("forest", Forest(seed=5)),
        ("cma", CMA(seed=5)),
        ("zoom", Zoom(seed=5)),
        ("evolution", Evolution(seed=5)),
        ("policy", Policy(seed=5)),
        ("hypergradient", Hypergradient(seed=5)),
        ("portfolio", Portfolio(seed=5)),
    ],
)
def test_searchers_by_name(name, made):
    found = searcher(name, SPACE, 9, seed=5)
    assert found == made
    assert isinstance(found, Searcher)
    assert searcher(search.describe(found), SPACE, 9, seed=77) == made  # a record keeps its own seed


@pytest.mark.parametrize(
    ("name", "steps", "made"),
    [
        ("auto", 1, Full()),
        ("auto", 2, Asha()),
        ("auto", 5, FreezeThaw()),
        ("asha", 1, Asha()),
        ("median", 9, Median()),
        ("race", 9, Race()),
        ("full", 9, Full()),
        ("hyperband", 9, Hyperband()),
        ("freeze-thaw", 9, FreezeThaw()),
    ],
)
def test_schedulers_by_name(name, steps, made):
    found = scheduler(name, SPACE, steps)
    assert found == made
    assert isinstance(found, Scheduler)
    assert scheduler(schedule.describe(found), SPACE, steps) == made


def test_an_object_is_taken_as_it_is():
    made = Sobol(seed=3)
    assert searcher(made, SPACE, 1, seed=9) is made
    assert scheduler(kept := Asha(factor=4), SPACE, 1) is kept


def test_unknown_names_say_what_is_allowed_and_near():
    with pytest.raises(
        StudyError,
        match=r"search: no strategy 'sobel'\. Did you mean 'sobol'\? Allowed: auto, cma, evolution, forest, gp, grid, hypergradient, policy, portfolio, random, sobol, tpe, trego, zoom",
    ):
        searcher("sobel", SPACE, 1)
    with pytest.raises(
        StudyError,
        match=r"schedule: no strategy 'asher'\. Did you mean 'asha'\? Allowed: asha, auto, freeze-thaw, full, hyperband, median",
    ):
        scheduler("asher", SPACE, 1)


@pytest.mark.parametrize("given", [3, None, Mine, Full(), Loose(), Odd()])
def test_what_is_no_searcher_is_refused_in_one_line(given):
    with pytest.raises(StudyError, match="search: ") as e:
        searcher(given, SPACE, 1)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Sobol(seed=-1), "sobol: seed must be a whole number >= 0, got -1"),
        (lambda: Grid(points=0), "grid: points must be a whole number >= 1, got 0"),
        (lambda: Grid(points=2.5), "grid: points"),
        (lambda: Asha(factor=1), "asha: factor must be a whole number >= 2, got 1"),
        (lambda: Asha(first=True), "asha: first"),
        (lambda: Hyperband(factor=1.5), "hyperband: factor must be a whole number >= 2, got 1.5"),
        (lambda: Hyperband(first=0), "hyperband: first must be a whole number >= 1, got 0"),
        (lambda: Median(grace=-1), "median: grace must be a whole number >= 0"),
        (lambda: Median(least=0), "median: least must be a whole number >= 1"),
        (
            lambda: search.rebuild({"name": "grid", "options": {"ponts": 3}}),
            "no option 'ponts'. Did you mean 'points'?",
        ),
        (lambda: search.rebuild({"name": "os:system", "options": {}}), "is not a dataclass with `propose`"),
        (lambda: search.rebuild({"name": "subprocess:Popen", "options": {"args": "true"}}), "is not a dataclass"),
        (lambda: search.rebuild({"name": "no.such.module:X", "options": {}}), "cannot be imported"),
        (lambda: search.rebuild({"name": 3}), "a name must be text"),
        (
            lambda: search.rebuild({"name": "gp:5"}),
            "search 'gp:5': a name takes no options. Use gp, or in Python whet.tune.search.gp.GP(...) with its options.",
        ),
    ],
)
def test_bad_options_and_records_are_refused(make, text):
    with pytest.raises(StudyError) as e:
        make()
    assert text in str(e.value)


def test_a_searcher_of_ones_own_is_recorded_by_where_it_is():
    record = search.describe(Mine(level=0.25))
    assert record == {"name": f"{__name__}:Mine", "options": {"level": 0.25, "seed": 0}}
    assert search.rebuild(record) == Mine(level=0.25)


def test_other_packages_add_names_that_are_looked_up_only_when_needed(monkeypatch):
    asked = []

    def points(group):
        asked.append(group)
        return [EntryPoint("mine", f"{__name__}:Mine", group)] if group == "whet.search" else []

    monkeypatch.setattr(named, "entry_points", points)
    assert searcher("sobol", SPACE, 1, seed=1) == Sobol(seed=1)
    assert asked == []
    made = searcher("mine", SPACE, 1, seed=4)
    assert made == Mine(seed=4)
    assert search.describe(made) == {"name": "mine", "options": {"level": 0.5, "seed": 4}}
    assert search.rebuild(search.describe(made)) == made
    with pytest.raises(WhetError, match="Did you mean 'mine'"):
        searcher("mines", SPACE, 1)


def test_importing_strategies_loads_neither_scipy_nor_torch():
    code = (
        "import sys, whet.tune.search.sobol, whet.tune.search.grid, whet.tune.search.random\n"
        "import whet.tune.schedule.asha, whet.tune.schedule.hyperband, whet.tune.schedule.median, whet.tune.schedule.full\n"
        "import whet.tune.schedule.freezethaw\n"
        "bad = [m for m in ('scipy', 'torch', 'pandas', 'sklearn', 'pytest') if m in sys.modules]\n"
        "sys.exit(', '.join(bad) or 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_contract_suites_need_no_pytest():
    code = "import sys, whet.testing\nsys.exit('pytest' in sys.modules or 'hypothesis' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
