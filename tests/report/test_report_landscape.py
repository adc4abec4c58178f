"""The pictures of what a model expects: they say what the values say, state their finding, and are there when they should be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from whet.report import Report, study_report
from whet.report.block import Plot
from whet.report.frame import Frame
from whet.report.landscape import expected, landscape_section
from whet.report.maps import maps
from whet.report.marks import word
from whet.report.slices import slice_plot
from whet.tune.landscape import landscape
from whet.tune.space import Choice, Float, Int, Ordered, Space
from whet.tune.trial import Goal, State, Trial, Trials

SPACE = Space(
    lr=Float(1e-5, 1.0, log=True),
    act=Choice(["relu", "gelu"]),
    width=Int(8, 512, log=True),
    batch=Ordered([16, 32, 64]),
    drop=Float(0.0, 0.5),
)


def loss(p: Any) -> float:
    return 0.1 + (math.log10(p["lr"]) + 2.5) ** 2 + (0.5 if p["act"] == "relu" else 0.0)


def made(n: int = 30, *, failing: bool = False, f: Any = loss, space: Space = SPACE, better: str = "min") -> Trials:
    rng = np.random.default_rng(4)
    found = []
    for id in range(n):
        p = space.sample(rng)
        wrong = failing and p["lr"] > 0.1
        value = f(p) if not wrong or id % 2 else None  # one may fail after it has reported
        found.append(Trial(id, p, State.FAILED if wrong else State.DONE, value=value))
    return Trials(found, space=space, goals=(Goal("loss", better),))  # type: ignore[arg-type]


def plots(section: Any) -> list[Plot]:
    return [b for b in section.blocks if isinstance(b, Plot)]


@pytest.mark.parametrize(("n", "there"), [(7, False), (8, True), (300, True), (301, False)])
def test_it_is_there_from_8_trials_to_300(n: int, there: bool) -> None:
    names = [s.name for s in study_report("x", made(n)).sections]
    assert ("landscape" in names) == there


def test_trials_that_are_no_configurations_leave_the_section_out() -> None:
    trials = list(made(12))
    trials[3] = Trial(3, {"unknown": object(), "lr": "x"}, State.DONE, value=0.5)
    assert expected(Trials(trials, space=SPACE)) is None


def test_a_report_has_four_slices_and_two_maps_with_their_findings() -> None:
    found = landscape(made())
    section = expected(made())
    assert section is not None
    drawn = plots(section)
    names = list(found.weights)
    assert names[0] == "lr"
    titles = [p.title for p in drawn]
    assert len(drawn) == 6
    best = found.slice("lr")
    at = best.axes[0].values[best.best[0]]
    assert math.log10(at) == pytest.approx(-2.5, abs=0.3)  # type: ignore[arg-type]
    assert titles[0].startswith(
        f"Most along lr ({found.weights['lr']:.0%}".replace("%", " %") + f"): best near {word(at)}; next try "
    )
    assert section.sentence.startswith(f"The best is expected near lr {word(at)}")
    assert "; most of what differs is expected along lr (" in section.sentence
    act = next(t for t in titles if t.startswith("act ("))
    assert "best with gelu" in act
    flat = [t for p, t in zip(drawn[:4], titles[:4], strict=True) if not found.slice(names[drawn.index(p)]).clear]
    assert flat
    assert all("no difference that the model is sure of" in t for t in flat)
    assert titles[4].startswith(" and ".join(names[:2]) + " together: best expected loss")
    assert titles[5].startswith("Most worth trying near")
    prose = section.blocks[0].json()["text"]
    assert "Gaussian process" in prose
    assert "30 trials with a value" in prose
    assert "cross failed" not in prose
    assert "a cross failed" in expected(made(failing=True)).blocks[0].json()["text"]  # type: ignore[union-attr]


def test_the_picture_is_the_values() -> None:
    trials = made(failing=True)
    found = landscape(trials)
    s = found.slice("lr")
    frame = Frame.of(trials.goal, [s])
    plot = slice_plot(s, frame, first=True, best=trials.best.id)  # type: ignore[union-attr]
    data = plot.figure["data"]
    line = next(t for t in data if t["mode"] == "lines" and t["line"]["color"] == "@accent")
    assert line["x"] == s.axes[0].places.tolist()
    low, high = plot.figure["layout"]["yaxis"]["range"]
    inside = [(y, v) for y, v in zip(line["y"], s.median, strict=True) if low < frame.line(v) < high]
    assert len(inside) > 50
    assert all(y == pytest.approx(v) for y, v in inside)  # what is outside is brought to the edge
    ids = [i for t in data for i in t.get("customdata", ())]
    assert sorted(ids) == [t.id for t in trials]  # every trial once
    crosses = next(t for t in data if "x-thin" in t.get("marker", {}).get("symbol", ()))
    assert sorted(crosses["customdata"]) == [t.id for t in trials if t.state is State.FAILED]
    assert set(crosses["y"]) == {frame.rail}
    strip = [t for t in data if t.get("yaxis") == "y2"]
    assert [t["y"] for t in strip] == [pytest.approx(s.worth.tolist()), pytest.approx(s.failing.tolist())]  # type: ignore[union-attr]
    following = data[-3]
    assert following["marker"]["symbol"] == "diamond"
    assert following["x"] == [s.next.places[0]]  # type: ignore[union-attr]
    # the table behind it: the ends and what lies between
    rows = plot.table.rows
    assert rows[0][1] == pytest.approx(s.median[0])
    assert rows[-1][1:4] == [pytest.approx(v[-1]) for v in (s.median, s.low, s.high)]
    assert plot.table.columns == ("lr", "expected loss", "from", "to", "worth trying", "chance of failing")


@pytest.mark.parametrize("name", ["act", "batch"])
def test_few_values_have_whiskers(name: str) -> None:
    found = landscape(made())
    s = found.slice(name)
    plot = slice_plot(s, Frame.of(s.goal, [s]))
    first = plot.figure["data"][0]
    assert first["x"] == s.axes[0].places.tolist()
    np.testing.assert_allclose(np.array(first["y"]) + first["error_y"]["array"], s.high, rtol=1e-6)
    np.testing.assert_allclose(np.array(first["y"]) - first["error_y"]["arrayminus"], s.low, rtol=1e-6)


def test_maps_show_what_is_expected_the_doubt_and_what_is_worth_trying() -> None:
    found = landscape(made(40, failing=True))
    s = found.slice("lr", "act", points=9)
    mean, doubt, worth, failing = maps(s)
    z = np.array(mean.figure["data"][0]["z"])  # rows are the second axis, 1 is the best
    assert z.shape == (2, 9)
    assert np.unravel_index(z.argmax(), z.shape) == s.best[::-1]
    np.testing.assert_allclose(doubt.figure["data"][0]["z"], (s.high - s.low).T / 2)
    np.testing.assert_allclose(worth.figure["data"][0]["z"], s.worth.T)
    np.testing.assert_allclose(failing.figure["data"][0]["z"], s.failing.T)  # type: ignore[union-attr]
    assert failing.title.startswith("Most likely to fail near lr 1")
    assert doubt.title.startswith("Least sure near")
    calm = maps(landscape(made()).slice("lr", "act", points=9))
    assert len(calm) == 3
    assert [p.title for p in maps(s, all=False)] == [mean.title, worth.title]


def test_holes_of_a_constraint_are_not_drawn() -> None:
    space = Space(a=Int(1, 6), b=Float(0, 1)).where("a * b <= 3")
    trials = made(20, space=space, f=lambda p: p["a"] + p["b"])
    s = landscape(trials).slice("a", "b", points=11)
    for plot in maps(s):
        z = np.array(plot.figure["data"][0]["z"], dtype=float)
        assert (np.isnan(z) == ~s.allowed.T).all()
        assert np.isnan(z).any()
    line = landscape(trials, around={"a": 6, "b": 0.2}).slice("b")
    band = slice_plot(line, Frame.of(line.goal, [line])).figure["data"][0]
    assert max(x for x in band["x"] if x is not None) == pytest.approx(0.5)


def test_the_axis_is_that_of_the_metric() -> None:
    # shares near 1 are drawn by what they lack, the better end on top; failed trials stand at the worse end
    space = Space(lr=Float(1e-5, 1.0, log=True))
    trials = made(30, space=space, better="max", f=lambda p: 0.995 - 0.05 * (math.log10(p["lr"]) + 2.5) ** 2)
    trials = Trials(list(trials), space=space, goals=(Goal("accuracy", "max"),))
    s = landscape(trials).slice("lr")
    frame = Frame.of(trials.goal, [s])
    assert frame.scale.kind == "lack"
    bottom, top = frame.axis()["range"]
    assert bottom > top
    assert frame.rail == pytest.approx(10**bottom, rel=0.5)
    losses = landscape(made(30)).slice("lr")
    under = Frame.of(losses.goal, [losses])
    assert under.axis()["range"][0] < under.line(float(losses.median.min()))
    assert under.rail > float(losses.median.min())
    assert under.place(math.inf) < math.inf
    assert under.place(-math.inf) > -math.inf


def test_one_far_worse_trial_does_not_flatten_the_picture() -> None:
    trials = list(made(30, f=lambda p: 1 + (math.log10(p["lr"]) + 2.5) ** 2 / 9))
    trials[5] = Trial(5, trials[5].params, State.DONE, value=1e6)
    s = landscape(Trials(trials, space=SPACE)).slice("lr")
    frame = Frame.of(s.goal, [s])
    assert (frame.scale.kind, frame.high < 4) == ("linear", True)
    assert "2 worse trials outside the picture." in slice_plot(s, frame).note
    # what is expected is always in it, however bad
    assert min(frame.line(v) for v in s.median) > frame.low
    assert max(frame.line(v) for v in s.median) < frame.high
    section = expected(Trials(trials, space=SPACE))
    assert section is not None
    assert "no worse than that" in section.blocks[0].json()["text"]


def test_text_page_and_json_have_it_all() -> None:
    found = landscape(made(failing=True))
    section = landscape_section(found, found.slices(), whole=True)
    report = Report("x", (section,))
    text, page = report.text(), report.html()
    for plot in plots(section):
        assert plot.title[:40] in text
    assert max(map(len, text.splitlines())) <= 80
    assert page.count('class="plot half"') == len(plots(section)) == 9
    assert report.json()["sections"][0]["blocks"][1]["table"]["rows"]


def test_names_that_are_markup_stay_text() -> None:
    evil = "<img src=x onerror=alert(1)>"
    space = Space(act=Choice([evil, evil + "b"]), lr=Float(1e-4, 1.0, log=True))
    trials = [
        Trial(k, {"act": [evil, evil + "b"][k % 2], "lr": 10 ** (-k / 5)}, State.DONE, value=k % 2 + k / 9)
        for k in range(20)
    ]
    goal = Goal(evil, "max")
    found = landscape(Trials(trials, space=space, goals=(goal,)))
    page = Report("x", (landscape_section(found, found.slices(), whole=True),)).html()
    assert "<img src=x" not in page
    for plot in plots(landscape_section(found, found.slices(), whole=True)):
        assert "<img" not in str([t.get("text") for t in plot.figure["data"]])
        assert "<img" not in str(plot.figure["layout"])
