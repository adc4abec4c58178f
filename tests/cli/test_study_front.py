"""Several goals on the command line: a task that has them, what the verbs of `whet study` say, and `whet study front`."""

from __future__ import annotations

import json

import pytest

from whet import Float, Int, Space, Study
from whet.report import study_report
from whet.tune.pareto import advance

SMALL = ("--budget", "2trials", "--epochs", "1", "--workers", "1")

SPACE = Space(width=Int(4, 512, log=True), lr=Float(1e-4, 1.0, log=True))


def measured(p):
    return {"accuracy": 1 - 1 / p["width"] - 0.1 * abs(p["lr"] - 0.01), "ms": p["width"] / 100}


@pytest.fixture
def study(tmp_path):
    """A study with two goals and a bound, one with a single goal, and one with goals that were never reported."""
    (tmp_path / "runs").mkdir()
    store = tmp_path / "runs" / "whet.db"
    goals = ["max accuracy", "min ms", "ms <= 4"]
    with Study(SPACE, goal=goals, search="random", schedule="full", store=store, name="two", seed=1) as made:
        made.run(measured, trials=30)
    with Study(SPACE, goal="max accuracy", search="random", schedule="full", store=store, name="one") as made:
        made.run(measured, trials=3)
    with Study(
        SPACE, goal=["max accuracy", "min mb"], search="random", schedule="full", store=store, name="none"
    ) as made:
        made.run(measured, trials=3)
    return tmp_path


def opened(study, name="two"):
    return Study.open(study / "runs" / "whet.db", name)


def test_the_front_as_json_and_lines(whet, study):
    with opened(study) as two:
        expected, volumes = [t.id for t in two.front], advance(two.trials)
    found = json.loads(whet("study", "front", "two", "--json").out)
    assert [t["id"] for t in found["trials"]] == expected
    assert len(expected) > 3
    assert all(t["keeps"] and t["goals"]["ms"] <= 4 and t["goals"]["accuracy"] == t["value"] for t in found["trials"])
    assert found["hypervolume"] == pytest.approx(volumes.volumes[-1][1])
    assert found["reference"] == pytest.approx(volumes.reference)
    said = whet("study", "front", "two")
    assert said.code == 0, said
    assert not said.err
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert f"{len(expected)} trials trade accuracy (" in said.out
    at = next(i for i, line in enumerate(lines) if line.startswith("trial  accuracy"))
    assert [int(line.split()[0]) for line in lines[at + 1 : at + 1 + len(expected)]] == expected


def test_a_reference_of_ones_own(whet, refused, study):
    words = ("study", "front", "two", "--reference", "accuracy=0", "--reference", "ms=4")
    found = json.loads(whet(*words, "--json").out)
    with opened(study) as two:
        assert found["hypervolume"] == advance(two.trials, {"accuracy": 0, "ms": 4}).volumes[-1][1]
    assert "up to accuracy 0, ms 4" in whet(*words).out
    refused("study", "front", "two", "--reference", "acuracy=0", needed=("acuracy", "Did you mean 'accuracy'", "ms"))
    refused("study", "front", "two", "--reference", "ms=four", needed=("ms=four", "GOAL=NUMBER"))
    refused("study", "front", "two", "--reference", "ms=4", needed=("accuracy missing",))
    refused("study", "front", "two", "--reference", "ms=inf", needed=("ms=inf", "finite number"))
    refused("study", "front", "two", "--reference", "ms=4", "--reference", "ms=5", needed=("ms=5", "given twice"))
    words = ("study", "front", "two", "--reference", "accuracy=1", "--reference", "ms=0")
    assert "hypervolume 0 up to accuracy 1, ms 0" in whet(*words).out


def test_the_other_verbs_say_that_there_is_a_front(whet, study):
    with opened(study) as two:
        n = len(two.front)
    for verb in ("best", "show"):
        said = whet("study", verb, "two")
        assert f"{n} trials trade accuracy" in said.out, said
        assert "whet study front two" in said.out
        assert max(map(len, said.out.splitlines())) <= 80
        assert "front" not in whet("study", verb, "one").out
    head = next(line for line in whet("study", "show", "two").out.splitlines() if line.startswith("trial "))
    assert head.split() == ["trial", "state", "accuracy", "ms", "epoch", "configuration", "note"]
    rows = {r["name"]: r for r in json.loads(whet("study", "list", "--json").out)}
    assert (rows["two"]["front"], rows["one"]["front"], rows["none"]["front"]) == (n, None, 0)
    assert rows["two"]["goals"] == ["max accuracy", "min ms", "ms <= 4"]
    said = whet("study", "list").out
    assert "front" in said
    assert max(map(len, said.splitlines())) <= 80


def test_where_there_is_no_front(whet, study):
    assert "no trial reported accuracy and mb" in whet("study", "front", "none").out
    assert "no trial reported accuracy and mb" in whet("study", "best", "none").out
    assert json.loads(whet("study", "front", "none", "--json").out)["trials"] == []
    one = whet("study", "front", "one").out
    assert "one goal, max accuracy: whet study best one" in one
    assert "hypervolume" not in one
    assert "hypervolume" in whet("study", "front", "one", "--reference", "accuracy=0").out


def test_bounds_that_no_trial_keeps_are_said(whet, study):
    with Study(
        SPACE,
        goal=["max accuracy", "min ms", "ms < 0"],
        schedule="full",
        store=study / "runs" / "whet.db",
        name="broken",
    ) as made:
        made.run(measured, trials=5)
    said = whet("study", "front", "broken").out
    assert "no trial keeps ms < 0" in " ".join(said.split())
    assert "hypervolume" not in said


def test_the_report_has_a_section_when_there_are_several_goals(study):
    with opened(study) as two, opened(study, "one") as one, opened(study, "none") as none:
        report = study_report("two", two.trials)
        (section,) = [s for s in report.sections if s.name == "front"]
        trade, over, table = section.blocks
        assert [row[0] for row in table.rows] == [t.id for t in two.front]
        drawn = {id for trace in trade.figure["data"] for id in trace["customdata"]}
        assert drawn == {t.id for t in two.trials}
        (line,) = [trace for trace in trade.figure["data"] if trace["name"] == "the front"]
        assert sorted(line["customdata"]) == sorted(t.id for t in two.front)
        assert line["x"] == sorted(line["x"])
        assert over.figure["data"][0]["y"][-1] == 100
        assert f"{len(two.front)} trials of 30 are beaten by none in every goal" in report.text()
        assert "The trade-offs" in report.html()
        for other in (one, none):
            assert "front" not in [s.name for s in study_report("x", other.trials).sections]


def test_a_task_with_several_goals_is_tuned(whet, task, tmp_path):
    text = (tmp_path / task()).read_text()
    text = text.replace(
        "decay=Float(0, 1))", 'decay=Float(0, 1), width=Int(1, 64))\n    goal = ["max accuracy", "min parameters"]'
    )
    text = text.replace("Float, Space", "Float, Int, Space").replace("16", 'params["width"]')
    (tmp_path / "sized.py").write_text(text)
    said = whet(
        "tune",
        "sized.py",
        "--budget",
        "5trials",
        "--workers",
        "1",
        "--search",
        "random",
        "--schedule",
        "full",
        "--json",
    )
    assert said.code == 0, said
    found = json.loads(said.out)
    assert found["tune"]["front"]
    assert any(line.startswith("front: ") for line in found["tune"]["lines"])
    trials = json.loads(whet("study", "front", found["study"], "--json").out)["trials"]
    assert [t["id"] for t in trials] == found["tune"]["front"]
    for t in trials:
        assert t["goals"]["parameters"] == 4 * t["params"]["width"] + t["params"]["width"] * 3 + 2
    assert "The trade-offs" in (tmp_path / "runs" / found["study"] / "report.html").read_text()
    assert "only the first" not in said.err
    said = whet("tune", "sized.py", *SMALL, "--search", "zoom", "--name", "zoomed")
    assert (
        "zoom: only the first of 2 goals steers it, max accuracy; gp, forest, tpe and evolution weigh all."
        in " ".join(said.out.split())
    )


def test_a_goal_that_a_run_does_not_report_is_refused(refused, task, tmp_path):
    text = (tmp_path / task()).read_text()
    (tmp_path / "slow.py").write_text(
        text.replace("    steps = 3", '    steps = 3\n    goal = ["max accuracy", "memory <= 5"]')
    )
    before = ("Tiny.goal 'memory <= 5'", "accuracy", "parameters", "latency (milliseconds of one example)")
    refused("tune", "slow.py", "--budget", "2trials", "--workers", "1", needed=before)
    for goals, needed in (
        ("max accuracy, min nothing", ("--goal 'min nothing': no metric 'nothing'. Allowed: accuracy, error,", "latency (milliseconds of one example), train_loss.")),
        ("max acuracy", ("--goal 'max acuracy': no metric 'acuracy'. Did you mean 'accuracy'? Allowed: accuracy,", "r2.")),
        ("max accuracy, latncy <= 5", ("--goal 'latncy <= 5': no metric 'latncy'. Did you mean 'latency'?",)),
    ):  # fmt: skip
        refused("tune", task(), "--goal", goals, "--budget", "2trials", "--workers", "1", needed=needed)


def test_goals_of_the_command_line_with_a_scheduler_that_stops_early(whet, refused, task):
    """`--goal` in place of the task's own, a latency among them; the same command goes on, another one is refused; workers know it too."""
    task()
    words = (
        "tune",
        "tiny.py",
        "--goal",
        "max accuracy, min latency",
        "--goal",
        "parameters <= 1e6",
        "--search",
        "random",
    )
    words += ("--schedule", "asha", "--workers", "2", "--epochs", "3", "--json")
    said = whet(*words, "--budget", "6trials")
    assert said.code == 0, said
    shown = json.loads(whet("study", "show", "tiny", "--json").out)
    trials = [t for t in shown["trials"] if t["curve"]]
    assert len(trials) == 6
    for t in trials:
        times = {p["latency"] for p in t["curve"]}
        assert len(times) == 1  # measured once, kept while it was paused
        assert 0 < times.pop() < 1000
    assert any(t["state"] == "PAUSED" for t in trials)
    front = json.loads(whet("study", "front", "tiny", "--json").out)
    assert front["goals"] == ["max accuracy", "min latency", "parameters <= 1e+06"]
    assert front["trials"]
    assert whet(*words, "--budget", "7trials").code == 0
    refused(
        "tune", "tiny.py", "--budget", "9trials", "--workers", "1", needed=("max accuracy and min latency", "--fresh")
    )
    said = whet("study", "enqueue", "tiny", "--set", "lr=0.01")
    assert "--goal 'max accuracy, min latency, parameters <= 1e+06'" in " ".join(said.out.replace("\\", "").split())


def test_goals_that_cannot_be_read_or_served(refused, task):
    task()
    few = ("--budget", "2trials", "--workers", "1")
    refused("tune", "tiny.py", *few, "--goal", "accuracy", needed=("--goal", "accuracy", "max NAME"))
    refused("tune", "tiny.py", *few, "--goal", "latency <= 5", needed=("--goal", "the first must be"))
    refused("tune", "tiny.py", *few, "--goal", "max accuracy, min size", needed=("min size", "parameters"))
    several = ("--goal", "max accuracy, min latency", "--schedule", "freeze-thaw")
    refused("tune", "tiny.py", *few, *several, needed=("--schedule", "freeze-thaw", "one goal", "asha"))
    refused("run", "tiny.py", *few, *several, needed=("--schedule", "freeze-thaw", "one goal", "asha"))


def test_what_matters_for_another_goal(whet, refused, study):
    found = json.loads(whet("study", "importance", "two", "--goal", "ms", "--json").out)
    assert found["goal"] == "min ms"
    assert found["parts"][0]["name"] == "width"
    said = whet("study", "importance", "two", "--goal", "ms")
    assert said.out.startswith("matters   width matters most (")
    assert "whet study plot two --goal ms" in said.out
    drawn = json.loads(whet("study", "plot", "two", "--goal", "ms", "--json").out)
    assert drawn["goal"] == "min ms"
    assert drawn["dimensions"][0]["name"] == "width"
    page = whet("study", "plot", "two", "--goal", "ms", "-o", "ms.html")
    assert page.code == 0, page
    assert "min ms over 2 dimensions" in (study / "ms.html").read_text()
    for verb in ("importance", "plot"):
        refused("study", verb, "two", "--goal", "mb", needed=("--goal mb", "accuracy, ms"))


def test_with_one_goal_too(whet, tmp_path):
    store = tmp_path / "runs" / "whet.db"
    store.parent.mkdir(exist_ok=True)
    with Study(Space(x=Float(0, 1)), goal=["min loss", "ms <= 5"], store=f"sqlite:///{store}", name="one") as study:
        for ms in (9.0, 7.0):
            trial = study.ask()
            study.tell(trial, trial.params["x"], ms=ms)
    assert "no trial keeps ms <= 5; the best is chosen by loss alone" in whet("study", "best", "one").out
