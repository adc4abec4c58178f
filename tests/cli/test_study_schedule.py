"""A population on the command line: tuned, its winner's schedule shown and written, and followed in one training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from whet import Float, Space, Study
from whet.tune.schedule.population import Population

LIVE = "space = Space(lr=Float(1e-3, 1.0, log=True, live=True), weight_decay=Float(1e-5, 1e-1, log=True, live=True), decay=Float(0, 1))"
TUNE = ("--schedule", "population", "--search", "random", "--workers", "1", "--plain")


@pytest.fixture
def population(whet, task):
    """A study whose best trial comes from others."""
    task("space = Space(lr=Float(1e-3, 1e-1, log=True), decay=Float(0, 1))", LIVE + '\n    goal = "min loss"')
    said = whet("tune", "tiny.py", *TUNE, "--epochs", "6", "--budget", "48epochs", "--seed", "1")
    assert said.code == 0, said
    shown = json.loads(whet("study", "show", "tiny", "--json").out)
    child = max((t for t in shown["trials"] if t["parent"] and t["step"] == 6), key=lambda t: t["id"])
    return child


def test_the_schedule_is_shown_written_and_followed_to_the_same_curve(whet, population, tmp_path):
    id = population["id"]
    said = whet("study", "schedule", "tiny", id, "--out", "best.json")
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines())) <= 80
    assert "each from the weights of the one before" in " ".join(said.out.split())
    assert "whet train tiny.py --seed 1 --schedule best.json" in said.out
    assert "decay=" in said.out  # what never changes
    found = json.loads(whet("study", "schedule", "tiny", id, "--json").out)
    assert {"lr", "weight_decay"} >= set(found["changes"]) != set()
    assert found["torn"] == []
    assert [s["trial"] for s in found["stretches"]][-1] == id
    assert found["stretches"][-2]["trial"] == population["parent"][0]
    assert [p["step"] for p in found["curve"]] == list(range(1, 7))
    said = whet("train", "tiny.py", "--schedule", "best.json", "--seed", "1", "--json")
    assert said.code == 0, said
    again = json.loads(said.out)
    assert again["curve"] == found["curve"]
    assert again["params"] == found["stretches"][-1]["params"]
    other = whet("train", "tiny.py", "--schedule", "best.json", "--plain")
    assert other.code == 0, other
    assert "with --seed 1 the curve is" in " ".join(other.out.split())
    short = whet("train", "tiny.py", "--schedule", "best.json", "--seed", "1", "--epochs", "1", "--plain")
    assert short.code == 0, short
    assert "0 changes of configuration, over 1 epoch in place of 6: the curve is another" in " ".join(short.out.split())
    assert whet("train", "tiny.py", "--schedule", "best.json", "--seed", "1", "--json").out == said.out
    # what was trained of one schedule does not go on under another
    said = whet("train", "tiny.py", "--seed", "1", "--epochs", "6", "--resume")
    assert said.code == 2, said
    assert "was made with" in said.err


def test_the_best_of_a_population_is_to_be_done_again_by_its_schedule(whet, tmp_path):
    def objective(params, run):
        state = run.load() or {"x": 1.0}
        for _ in run:
            state["x"] *= 1 - 0.3 * params["rate"]
            run.report(state["x"] + 0.3 * params["rate"], state)

    space, store = Space(rate=Float(0.01, 1.0, log=True, live=True)), tmp_path / "runs" / "whet.db"
    (tmp_path / "runs").mkdir()
    with Study(space, search="random", schedule=Population(6), steps=20, seed=3, store=store, name="p") as study:
        study.run(objective, budget="120epochs")
        best = study.best
    assert best.parent is not None
    said = whet("study", "best", "p")
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines())) <= 80
    assert f"went on from trial {best.parent[0]} at epoch {best.parent[1]}" in " ".join(said.out.split())
    assert "whet study schedule p --out p.json" in said.out
    assert said.out.splitlines()[-1].strip() == "whet train TASK --schedule p.json"
    assert "--set" not in said.out
    near = whet("study", "compare", "p", best.parent[0], best.id)
    assert near.code == 0, near
    assert "--again" not in near.out  # alone its configuration did not make it
    shown = " ".join(whet("study", "show", "p", best.id).out.split())
    assert f"goes on from trial {best.parent[0]} at epoch {best.parent[1]}" in shown
    assert f"replaces {best.origin['population']['replaces']}" in shown


def test_a_trial_that_comes_from_none_has_one_stretch(whet, population):
    found = json.loads(whet("study", "schedule", "tiny", "0", "--json").out)
    assert len(found["stretches"]) == 1
    assert found["changes"] == []
    assert "it comes from no other trial" in whet("study", "schedule", "tiny", "0").out


def test_what_makes_no_sense_is_refused(whet, refused, task, population):
    whet("study", "schedule", "tiny", "--out", "s.json")
    refused("study", "schedule", "tiny", "--out", "s.json", needed=("--out s.json", "exists", "--force"))
    refused("study", "schedule", "tiny", "999", needed=("trial 999", "no such trial"))
    refused(
        "study", "schedule", "tiny", "--out", "none/s.json", needed=("--out none/s.json: its folder does not exist",)
    )
    refused("train", "tiny.py", "--schedule", "none.json", needed=("--schedule none.json", "cannot be read"))
    refused("train", "tiny.py", "--schedule", "s.json", "--set", "lr=0.1", needed=("--set",))
    refused("train", "tiny.py", "--schedule", "s.json", "--watch", needed=("--watch", "--schedule"))
    refused("train", "tiny.py", "--schedule", "s.json", "--workers", "2", needed=("--workers",))
    refused("train", "digits", "--schedule", "s.json", needed=("--schedule s.json", "epochs 1 to", "another task"))
    refused("train", "tiny.py", "--schedule", "s.json", "--resume", needed=("--resume",))
    made = json.loads(Path("s.json").read_text())
    for change, said in (
        ({"stretches": [{**made["stretches"][0], "first": 1, "last": 0}]}, "steps 1 to 0 end before they begin"),
        ({"seed": "x"}, "seed 'x'"),
    ):
        Path("s.json").write_text(json.dumps({**made, **change}))
        refused("train", "tiny.py", "--schedule", "s.json", needed=("--schedule s.json", said))


def test_a_schedule_that_changes_the_structure_is_refused_before_anything_is_trained(whet, refused, task):
    task(
        "space = Space(lr=Float(1e-3, 1e-1, log=True), decay=Float(0, 1))",
        "space = Space(width=Int(2, 64), note=Int(0, 9), lr=Float(1e-3, 1.0, log=True, live=True))",
    )
    file = Path("tiny.py")
    text = file.read_text().replace("import Data, Float,", "import Data, Float, Int,")
    file.write_text(
        text.replace("nn.Linear(4, 16)", 'nn.Linear(4, params["width"])').replace(
            "nn.Linear(16, 2)", 'nn.Linear(params["width"], 2)'
        )
    )

    def write(width, note):
        values = ({"width": 8, "note": 1, "lr": 0.1}, {"width": width, "note": note, "lr": 0.2})
        rows = [{"first": i, "last": i, "trial": None, "params": p} for i, p in enumerate(values, 1)]
        Path("s.json").write_text(json.dumps({"schedule": 1, "steps": 2, "training": None, "stretches": rows}))

    write(16, 1)
    refused("train", "tiny.py", "--schedule", "s.json", needed=("epochs 2 to 2", "another width makes another model"))
    write(8, 2)  # what is not live, and leaves the structure
    said = whet("train", "tiny.py", "--schedule", "s.json", "--plain")
    assert said.code == 0, said


def test_a_space_without_live_domains_is_refused_with_the_names(refused, task):
    task()
    refused(
        "tune", "tiny.py", *TUNE, "--budget", "9epochs", needed=("no domain is marked live", "lr, decay", "live=True")
    )


def test_a_member_that_the_budget_ended_is_interrupted_wherever_it_is_named(whet, task, tmp_path):
    """17 epochs are two for each of eight members and one more: the best is on its way to the next rung, and nobody works on it."""
    task("space = Space(lr=Float(1e-3, 1e-1, log=True), decay=Float(0, 1))", LIVE)
    said = whet("tune", "tiny.py", *TUNE, "--epochs", "20", "--budget", "17epochs")
    assert said.code == 0, said
    best = json.loads(whet("study", "best", "tiny", "--json").out)
    assert (best["state"], best["interrupted"]) == ("RUNNING", True)
    for words in (["best", "tiny"], ["show", "tiny", "best"], ["schedule", "tiny"], ["show", "tiny", "--state", "interrupted"]):  # fmt: skip
        shown = whet("study", *words)
        assert shown.code == 0, shown
        assert "interrupted" in shown.out.lower(), words
        assert "running" not in shown.out.lower(), words
    page = (tmp_path / "runs" / "tiny" / "report.html").read_text()
    assert "<td>interrupted</td>" in page
    assert "<td>running</td>" not in page
