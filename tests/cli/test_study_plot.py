"""`whet study plot`: a page beside the report, values as JSON, and what it says when there is nothing to plot."""

from __future__ import annotations

import json
import math
import re
import shlex

import pytest

from whet import Choice, Float, Int, Space, Study
from whet.tune.search.evolution import Evolution
from whet.tune.search.portfolio import Portfolio
from whet.tune.search.zoom import Zoom

SPACE = Space(
    lr=Float(1e-5, 1e-1, log=True),
    optimizer=Choice({"sgd": Space(momentum=Float(0, 0.99)), "adam": None}),
    width=Int(16, 512, log=True),
)


def accuracy(p):
    return 0.95 - 0.03 * (math.log10(p["lr"]) + 2.5) ** 2 - (0.02 if p["optimizer"] == "adam" else 0.0)


@pytest.fixture
def study(tmp_path):
    """A study of 16 trials that a Sobol sequence made, and one of 3."""
    (tmp_path / "runs").mkdir()
    for name, n in (("demo", 16), ("few", 3)):
        with Study(SPACE, goal="max accuracy", search="sobol", store=tmp_path / "runs" / "whet.db", name=name) as made:
            made.run(accuracy, trials=n)
    return tmp_path


def test_a_page_beside_the_report(whet, study):
    said = whet("study", "plot", "demo")
    assert said.code == 0, said
    assert not said.err
    assert max(map(len, said.out.splitlines())) <= 80
    assert "runs/demo/plot.html" in said.out
    assert "lr (" in said.out
    assert "most of what differs is expected along lr (" in " ".join(said.out.split())
    page = (study / "runs" / "demo" / "plot.html").read_text()
    assert page.count('class="plot half"') == 4 + 3  # as the best has momentum; nothing failed
    assert "https://" not in page.partition("<script>")[0]
    assert "Most along lr (" in page
    assert "data-trials" in page
    again = whet("study", "plot", "demo")  # what it made itself is made anew
    assert again.code == 0
    # the command it names is one: the configuration is put before everything else
    words = shlex.split(said.out.split("would try:")[1].replace("\\\n", " "))
    assert words[:4] == ["whet", "study", "enqueue", "demo"]
    assert whet(*words[1:]).code == 0
    with Study.open(study / "runs" / "whet.db", "demo") as opened:
        waiting = opened.trials[16]
    assert "trial 16" in whet("study", "show", "demo", "16").out
    assert set(waiting.params) >= {"lr", "optimizer", "width"}


def test_the_map_one_asks_for_in_a_file_one_names(whet, study):
    said = whet("study", "plot", "demo", "--x", "width", "--y", "momentum", "-o", "my plot.html")
    assert said.code == 0, said
    assert "maps over width and optimizer.momentum" in " ".join(said.out.split())
    assert (study / "my plot.html").exists()
    assert not (study / "runs" / "demo" / "plot.html").exists()
    assert whet("study", "plot", "demo", "-o", "my plot.html", "--force").code == 0


def test_json_has_the_values_and_writes_nothing(whet, study):
    said = whet("study", "plot", "demo", "--json", "--y", "lr")
    assert said.code == 0, said
    found = json.loads(said.out)
    assert not list(study.rglob("*.html"))
    assert found["path"] is None
    assert found["values"] == 16
    names = [d["name"] for d in found["dimensions"]]
    assert names[0] == "lr"
    assert [s["axes"][0]["name"] for s in found["slices"]] == names
    lr = found["slices"][0]
    best = lr["axes"][0]["values"][lr["median"].index(max(lr["median"]))]
    assert math.log10(best) == pytest.approx(-2.5, abs=0.4)
    assert [a["name"] for a in found["map"]["axes"]] == [names[1], "lr"]
    assert len(found["map"]["median"]) == len(found["map"]["axes"][0]["values"])
    written = json.loads(whet("study", "plot", "demo", "--json", "-o", "a.html").out)
    assert written["path"] == "a.html"
    assert (study / "a.html").exists()


def test_around_another_trial(whet, study):
    with Study.open(study / "runs" / "whet.db", "demo") as opened:
        adam = next(t.id for t in opened.trials if t.params["optimizer"] == "adam")
    found = json.loads(whet("study", "plot", "demo", "--json", "--around", adam).out)
    assert found["around"]["optimizer"] == "adam"
    assert "optimizer.momentum" not in [d["name"] for d in found["dimensions"]]
    ahead = json.loads(whet("study", "plot", "demo", "--json", "--around", "next").out)
    assert ahead["around"] == ahead["next"]["params"]


def test_the_next_of_a_gp_study_is_what_it_asks(whet, tmp_path):
    (tmp_path / "runs").mkdir()
    place = tmp_path / "runs" / "whet.db"
    with Study(SPACE, goal="max accuracy", search="gp", store=place, name="gp", seed=3) as made:
        made.run(accuracy, trials=12)
    found = json.loads(whet("study", "plot", "gp", "--json").out)
    with Study.open(place, "gp") as opened:
        assert dict(opened.ask().params) == found["next"]["params"]


def test_what_cannot_be_plotted(refused, study):
    refused("study", "plot", "few", needed=("study 'few': 3 of 3 trials have a value", "at least 4"))
    refused("study", "plot", "dmo", needed=("Did you mean 'demo'?",))
    refused("study", "plot", "demo", "--x", "widht", needed=("--x widht", "Did you mean 'width'?", "Allowed: lr"))
    refused("study", "plot", "demo", "--y", "widht", needed=("--y widht",))
    refused("study", "plot", "demo", "--x", "lr", "--y", "lr", needed=("--y lr: is --x too", "width"))
    refused("study", "plot", "demo", "--around", "99", needed=("trial 99", "0 to 15"))
    refused("study", "plot", "demo", "--around", "bset", needed=("Did you mean 'best'?", "best, next, and 0 to 15"))
    refused("study", "plot", "demo", "--around", "nxt", needed=("best or next", "Did you mean 'next'?"))
    with Study.open(study / "runs" / "whet.db", "demo") as opened:
        adam = next(t.id for t in opened.trials if t.params["optimizer"] == "adam")
    words = ("study", "plot", "demo", "--x", "momentum", "--around", adam)
    refused(*words, needed=("--x momentum", "only with optimizer sgd", f"trial {adam} has adam", "--around"))


def test_where_the_page_cannot_go(refused, study):
    (study / "there.html").write_text("mine")
    (study / "folder.html").mkdir()
    refused("study", "plot", "demo", "-o", "there.html", needed=("-o there.html: exists", "--force"))
    assert (study / "there.html").read_text() == "mine"
    refused("study", "plot", "demo", "-o", "folder.html", needed=("is a folder",))
    refused("study", "plot", "demo", "-o", "no/a.html", needed=("no/a.html", "folder does not exist"))
    refused("study", "plot", "demo", "-o", "a.png", needed=("-o a.png", ".html"))


def test_one_dimension_has_no_map(whet, refused, tmp_path):
    (tmp_path / "runs").mkdir()
    with Study(Space(x=Float(0, 1)), store=tmp_path / "runs" / "whet.db", name="one", search="random") as made:
        made.run(lambda p: (p["x"] - 0.5) ** 2, trials=8)
    said = whet("study", "plot", "one")
    assert said.code == 0, said
    assert "map" not in said.out
    assert json.loads(whet("study", "plot", "one", "--json").out)["map"] is None
    refused("study", "plot", "one", "--x", "x", needed=("--x x: a map needs two dimensions",))


def test_the_way_of_a_searcher_that_records_one_is_drawn_too(whet, tmp_path):
    search = Portfolio([Evolution(population=6, sample=3), Zoom(trials=4)], least=0.4)
    with Study(
        SPACE, goal="max accuracy", search=search, store=f"sqlite:///{tmp_path / 'runs' / 'whet.db'}", name="way"
    ) as made:
        made.run(accuracy, trials=40)
    said = whet("study", "plot", "way")
    assert said.code == 0, said
    text = " ".join(said.out.split())
    assert "of 40 trials and " in text
    assert " passes" in text
    assert re.search(r"the best, (is|trial \d+, is) ", text)
    page = (tmp_path / "runs" / "way" / "plot.html").read_text()
    assert "How the search went" in page
    assert "A line leads from a parent to its child" in page
    went = json.loads(whet("study", "plot", "way", "--json").out)["went"]
    assert [len(p["table"]["rows"]) > 0 for p in went] == [True] * 3
