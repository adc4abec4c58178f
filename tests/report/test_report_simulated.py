"""The page of a simulation: what its tables and pictures hold, whatever the rules are called and however they end."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from whet.distributed.compare import SEQUENTIAL, Case, Outcome
from whet.distributed.rates import Rate, Tried
from whet.distributed.summary import summary
from whet.report.block import Plot, Table
from whet.report.quantity import Id
from whet.report.simulated import sentence, simulation_report
from whet.tune.trial import Point

RULES = ["sync", "async", "dc-asgd", "bounded(s=2)", "elastic(alpha=0.2,every=4)", "finite+<b>ec</b>"]


def outcome(rule, workers, seed, *, speed, ends=3, last=None):
    values = [0.5 + 0.1 * e + 0.01 * seed for e in range(ends)]
    if last is not None:
        values[-1] = last
    points = tuple(
        Point(e + 1, v, cost=(e + 1) * 100.0 / speed, metrics={"updates": 10.0 * (e + 1)}) for e, v in enumerate(values)
    )
    stale = workers - 1 if rule != "sync" else 0
    return Outcome(Case(rule, workers, seed), points, float(stale), {}, ends == 3 and last is None, {stale: 30})


def report(**more):
    found = [outcome(SEQUENTIAL, 1, s, speed=1) for s in range(2)]
    found += [outcome(r, w, s, speed=w * (1 + i)) for w in (2, 8) for i, r in enumerate(RULES) for s in range(2)]
    return simulation_report("digits", found, metric="accuracy", better="max", params={"lr": 0.1}, **more)


def parts(made, kind):
    return [b for section in made.sections for b in section.blocks if isinstance(b, kind)]


def test_each_rule_is_drawn_in_one_way_of_its_own_and_has_a_legend():
    looks = {}
    for plot in parts(report(), Plot):
        assert plot.figure["layout"]["showlegend"]
        named = [t for t in plot.figure["data"] if t.get("showlegend", True)]
        assert len(named) >= len(RULES)
        for trace in named:
            if "legendgroup" in trace:
                line, mark = trace["line"], trace["marker"]
                look = (line["color"], line["dash"], mark["symbol"])
                assert looks.setdefault(trace["legendgroup"], look) == look
    assert len(set(looks.values())) == len(RULES) + 1


def test_the_pictures_hold_curves_bands_and_staleness():
    made = report()
    assert [s.name for s in made.sections] == ["answer", "more-workers", "workers-2", "workers-8", "again"]
    eight = next(s for s in made.sections if s.name == "workers-8")
    epochs, seconds, updates, stale = eight.blocks
    sync = [t for t in epochs.figure["data"] if t["legendgroup"] == "sync"]
    band, line = sync
    assert line["x"] == [1.0, 2.0, 3.0]
    assert line["y"] == pytest.approx([0.505, 0.605, 0.705])
    assert band["fill"] == "toself"
    assert band["y"][0] == pytest.approx(0.505 - 0.005 * math.sqrt(2))
    assert next(t for t in seconds.figure["data"] if t["legendgroup"] == "sync" and "fill" not in t)["x"] == [
        12.5,
        25.0,
        37.5,
    ]
    assert next(t for t in updates.figure["data"] if t["legendgroup"] == "sync" and "fill" not in t)["x"] == [
        10.0,
        20.0,
        30.0,
    ]
    assert stale.figure["layout"]["shapes"][0]["x0"] == 7
    assert next(t["name"] for t in stale.figure["data"]) == "sync"
    late = next(t for t in stale.figure["data"] if t["legendgroup"] == "async")
    assert late["y"][7] == 1.0
    assert "7.00 updates old" in stale.title


def test_the_tables_say_the_same_as_the_command():
    rates = {("sync", 2): Rate(0.1, (Tried(0.1, 0.7, 2, 0), Tried(0.2, math.nan, 2, 2)), "lowest")}
    tables = parts(report(rates=rates, until=40.0), Table)
    ends, time, chosen = tables
    assert ends.columns[:3] == ("rule", "workers", "accuracy")
    rows = {(r[0], int(r[1])): r for r in ends.rows}
    assert rows["async", 8][5] == pytest.approx(16.0)
    assert "after 40 virtual seconds" in time.title
    assert {(r[0], int(r[1])): round(r[2], 2) for r in time.rows}["sync", 2] == 0.8
    assert chosen.rows[0][2:] == (0.1, "lowest", 0.7, None)


def test_hostile_names_seeds_that_diverge_and_a_rule_that_never_ended_make_a_page_too():
    found = [
        outcome("finite+<b>ec</b>", 4, 0, speed=4), outcome("finite+<b>ec</b>", 4, 1, speed=4, last=math.nan),
        outcome("async", 4, 0, speed=4, ends=1, last=math.nan), outcome("sync", 4, 0, speed=1, ends=0),
    ]  # fmt: skip
    made = simulation_report("x", found, metric="loss", better="min", params={})
    page = made.html()
    assert "<b>ec</b>" not in page
    assert "NaN" not in json.dumps(made.json())
    assert "no rule comes to its end" in sentence(summary(found[2:]), "loss", "min")
    assert "seconds" in made.text()
    alone = [outcome(SEQUENTIAL, 1, 0, speed=1)]
    assert simulation_report("x", alone, metric="loss", better="min", params={}).html()
    with pytest.raises(ValueError, match="no outcome"):
        simulation_report("x", [], metric="loss", better="min", params={})


def test_where_everybody_died_there_is_a_column_for_it():
    gone = [replace(outcome("sync", 2, s, speed=1, ends=1), complete=False, died=s < 2) for s in range(3)]
    made = simulation_report("digits", gone, metric="accuracy", better="max", params={})
    table = parts(made, Table)[0]
    assert dict(zip(table.columns[-3:], table.rows[0][-3:], strict=True)) == {
        "seeds": Id(3), "diverged": Id(1), "all workers died": Id(2)
    }  # fmt: skip
    assert sentence(summary(gone), "accuracy", "max").endswith("with every seed: all workers died in 2 of 3 trainings.")
    assert "all workers died" not in parts(report(), Table)[0].columns
