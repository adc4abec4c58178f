"""A person's part in a study at the command line: guesses, notes, tags, comparing, looking closer."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest

from whet import Choice, Float, Int, Space, Study
from whet.tune.space import Ordered

SPACE = Space(
    lr=Float(1e-4, 1, log=True), layers=Int(1, 4),
    opt=Choice({"sgd": Space(momentum=Float(0, 0.99)), "adam": None}), size=Ordered(["1", "2", "big"]),
)  # fmt: skip


@pytest.fixture
def study(tmp_path):
    """A study of six trials: two finished, one stopped, one failed, one paused or running, one a repetition."""
    (tmp_path / "runs").mkdir()
    with Study(
        SPACE,
        goal="max accuracy",
        steps=4,
        seed=1,
        search="random",
        schedule="full",
        store=tmp_path / "runs" / "whet.db",
        name="demo",
    ) as made:
        rng = np.random.default_rng(0)
        for i in range(4):
            t = made.ask()
            if i == 2:
                try:
                    raise ValueError("the width is odd")
                except ValueError as e:
                    made.fail(t, e)
                continue
            for step in (1, 2, 3, 4):
                made.report(t, step, 0.5 + 0.1 * step - 0.05 * i + rng.normal(0, 0.005), loss=1 / step)
            made.tell(t, 0.9 - 0.05 * i)
        made.report(made.ask(), 1, 0.4)
    return tmp_path


def lines(said):
    assert said.code == 0, said
    assert not said.err
    assert max(map(len, said.out.splitlines()), default=0) <= 80, max(said.out.splitlines(), key=len)
    return said.out


# -- guesses


def test_a_guess_waits_for_the_next_worker(whet, study):
    out = lines(
        whet(
            "study",
            "enqueue",
            "demo",
            "--set",
            "lr=1e-3",
            "--set",
            "momentum=.5",
            "--note",
            "as in the paper",
            "--tag",
            "mine",
        )
    )
    assert "trial 5   waits: lr 0.001, momentum 0.5" in out
    assert "to be filled in, where it applies: layers, opt, size" in out
    assert "next " in out
    made = json.loads(whet("study", "show", "demo", "5", "--json").out)
    assert (made["state"], made["params"], made["note"], made["tags"]) == (
        "WAITING", {"lr": 0.001, "opt.momentum": 0.5}, "as in the paper", ["mine"]
    )  # fmt: skip
    with Study.open(study / "runs" / "whet.db", "demo") as opened:
        opened.release(4)
        first = opened.ask()  # what was interrupted, then the guess
        second = opened.ask()
        assert (first.id, second.id, second.params["opt"]) == (4, 5, "sgd")


def test_words_that_look_like_numbers_can_be_options(whet, study):
    made = json.loads(whet("study", "enqueue", "demo", "--set", "size=1", "--json").out)
    assert made["params"] == {"size": "1"}


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["--set", "lt=1"], ("--set lt: no such hyperparameter", "Allowed: lr, layers")),
        (["--set", "layrs=1"], ("Did you mean 'layers'?",)),
        (["--set", "lr=7"], ("--set lr: got 7, allowed a number from 0.0001 to 1",)),
        (["--set", "layers=1.5"], ("--set layers: got 1.5, allowed a whole number from 1 to 4",)),
        (["--set", "opt=adm"], ("got 'adm', allowed 'sgd', 'adam'. Did you mean 'adam'?",)),
        (["--set", "opt=adam", "--set", "momentum=.5"], ("does not exist in this branch",)),
        (["--set", "lr"], ("use NAME=VALUE",)),
        (["--note", "x"], ("nothing is set. Use --set NAME=VALUE. Names: lr, layers",)),
        (["--tag", "two words"], ("must be one word",)),
    ],
)
def test_a_guess_that_cannot_be_read(refused, study, words, needed):
    refused("study", "enqueue", "demo", *words, needed=needed)


def test_a_guess_that_exists_is_taken_only_again(whet, refused, study):
    best = json.loads(whet("study", "best", "demo", "--json").out)
    words = shlex.split(whet("study", "best", "demo").out.split("next")[1].replace("\\\n", " "))
    sets = words[words.index("--set") :]
    said = refused(
        "study",
        "enqueue",
        "demo",
        *sets,
        needed=(f"trial {best['id']} has it already (DONE, 0.9)", "--again to repeat it"),
    )
    assert "again=True" not in said
    made = json.loads(whet("study", "enqueue", "demo", *sets, "--again", "--json").out)
    assert made["params"] == best["params"]
    refused("study", "enqueue", "demo", *sets, needed=("has it already",))


# -- notes and tags


def test_notes_and_tags_are_shown_and_found(whet, study):
    assert "looks odd" in lines(whet("study", "note", "demo", "3", "looks\n odd"))
    assert "before: looks odd" in lines(whet("study", "note", "demo", "3", "fine after all"))
    assert "#keep #base" in lines(whet("study", "tag", "demo", "3", "keep", "#base", "keep"))
    assert "#keep" in lines(whet("study", "show", "demo", "--tag", "keep"))
    found = json.loads(whet("study", "show", "demo", "--tag", "keep", "--tag", "base", "--json").out)["trials"]
    assert [(t["id"], t["note"], t["tags"]) for t in found] == [(3, "fine after all", ["keep", "base"])]
    assert lines(whet("study", "tag", "demo", "3", "keep", "--remove")).startswith("trial 3   #base")
    assert "no note any more" in lines(whet("study", "note", "demo", "3", ""))
    assert json.loads(whet("study", "tag", "demo", "best", "top", "--json").out)["tags"] == ["top"]


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["note", "demo", "9", "x"], ("trial 9: no such trial; have 0 to 4",)),
        (["note", "demo", "first", "x"], ("trial 'first': must be a trial's number, or best", "0 to 4")),
        (["note", "dmo", "1", "x"], ("study 'dmo'", "Did you mean 'demo'?")),
        (["tag", "demo", "1", "kep", "--remove"], ("trial 1 has no such tag", "It has: none")),
        (["show", "demo", "--tag", "kep"], ("no trial has this tag", "Tags: none yet")),
        (["show", "demo", "--state", "FINISHED"], ("no such state", "Allowed: WAITING, RUNNING")),
        (
            ["show", "demo", "--state", "intrrupted"],
            ("--state intrrupted: no such state. Did you mean 'INTERRUPTED'?",),
        ),
        (["show", "demo", "--sort", "layrs"], ("Did you mean 'layers'?",)),
        (["compare", "demo", "0", "0"], ("is compared with itself",)),
        (["compare", "demo", "0", "best"], ("trials 0 and best: are the same one. Give two trials.",)),
        (["compare", "demo", "0", "2"], ("trial 2: has no value to compare", "the width is odd")),
        (["rename", "demo", "a/b"], ("study name 'a/b'",)),
        (["rename", "dem", "x"], ("Did you mean 'demo'?",)),
        (["delete", "demo"], ("5 trials, ", "Say --yes")),
        (["export", "demo", "--to", "x.xlsx"], ("no such format", "Allowed: csv, json, parquet")),
        (["export", "demo", "--format", "jsn"], ("Did you mean 'json'?",)),
        (["import", "nothing.db", "--name", "x"], ("nothing.db: no such file",)),
        (["import", "nothing.db", "--name", "demo"], ("there is a study of this name", "whet study delete demo")),
        (["import", "nothing.db", "--name", "a/b"], ("study name 'a/b'",)),
        (["list", "--store", "mysql://x/y"], ("not supported",)),
        (["list", "--runs", "nowhere"], ("no such study database",)),
    ],
)
def test_what_the_words_get_wrong(refused, study, words, needed):
    refused("study", *words, needed=needed)


# -- looking


def test_the_list_says_at_a_glance_how_studies_stand(whet, study):
    out = lines(whet("study", "list"))
    assert "demo   interrupted       5" in out
    assert "max accuracy" in out
    row = json.loads(whet("study", "list", "--json").out)[0]
    assert (row["state"], row["workers"], row["failed"], row["best"]) == ("interrupted", 0, 1, 0.9)
    with Study.open(study / "runs" / "whet.db", "demo") as opened:
        opened.ask()
        row = json.loads(whet("study", "list", "--json").out)[0]
        assert (row["state"], row["workers"]) == ("running", 1)


def test_trials_can_be_chosen_and_sorted(whet, study):
    def ids(*words):
        return [t["id"] for t in json.loads(whet("study", "show", "demo", *words, "--json").out)["trials"]]

    assert ids() == [0, 1, 3, 4, 2]
    assert ids("--sort", "id") == [0, 1, 2, 3, 4]
    assert ids("--sort", "-id") == [4, 3, 2, 1, 0]
    assert ids("--sort", "value") == [4, 3, 1, 0, 2]
    assert ids("--sort=-value") == [0, 1, 3, 4, 2]  # what has none comes last
    assert ids("--state", "done", "--sort", "id") == [0, 1, 3]
    assert ids("--state", "FAILED", "--state", "RUNNING", "--sort", "id") == [2, 4]
    by_momentum = ids("--sort", "opt.momentum")
    assert sorted(by_momentum) == [0, 1, 2, 3, 4]
    assert ids("--sort", "momentum") == by_momentum
    params = [
        t["params"].get("opt.momentum")
        for t in json.loads(whet("study", "show", "demo", "--sort", "momentum", "--json").out)["trials"]
    ]
    known = [p for p in params if p is not None]
    assert known == sorted(known) == params[: len(known)]
    assert "no trial is like that" in lines(whet("study", "show", "demo", "--state", "PAUSED"))


def test_one_trial_is_shown_wholly(whet, study):
    out = lines(whet("study", "show", "demo", "0"))
    for part in (
        "trial 0   accuracy 0.9 after 4 epochs, DONE",
        "settings  lr ",
        "origin    search random",
        "  epoch  accuracy",
        "process ",
    ):
        assert part in out, part
    failed = whet("study", "show", "demo", "2").out
    assert "error     ValueError: the width is odd" in failed
    assert "\nTraceback (most recent call last):\n  File" in failed  # as Python prints it
    assert "study compare" not in failed  # there is nothing to compare
    assert "no value yet after 0 epochs, FAILED" in failed
    data = json.loads(whet("study", "show", "demo", "0", "--json").out)
    assert data["seconds"] > 0
    assert len(data["curve"]) == 4
    assert data["workers"]
    assert data["began"] <= data["ended"]


# -- comparing


def test_two_trials_side_by_side(whet, study):
    out = lines(whet("study", "compare", "demo", "1", "best"))
    assert out.startswith("verdict   ")
    assert "noise from the curves' jitter" in out
    assert "at epoch 4: max accuracy 0.85 and 0.9" in out
    assert "trial 0 at every epoch both reported" in out
    assert "A trial 1, B trial 0, * both" in out
    assert "next " in out
    data = json.loads(whet("study", "compare", "demo", "1", "best", "--json").out)
    assert (data["a"], data["b"], data["worth"]["source"]) == (1, 0, "jitter")
    assert data["worth"]["gain"] == pytest.approx(0.05)
    assert data["no_examples"] == "the study has no task on record, so its validation examples are not known"


def test_a_real_study_is_compared_on_its_validation_examples(whet, task, tmp_path):
    from whet.tasks import reference, resolve
    from whet.tune.worker import objective

    (tmp_path / "runs").mkdir()
    known = reference(resolve(str(task())))
    made = Study(
        resolve("tiny.py").space, goal="max accuracy", steps=2, search="random", schedule="full", name="tiny",
        store=tmp_path / "runs" / "whet.db",
    )  # fmt: skip
    with made:
        made.record("task", {"reference": known})
        made.run(objective(known), trials=2)
    data = json.loads(whet("study", "compare", "tiny", "0", "1", "--json").out)
    assert data["worth"]["source"] == "examples", data
    assert "validation examples, paired" in data["worth"]["how"]
    assert data["worth"]["low"] <= data["worth"]["gain"] <= data["worth"]["high"]
    assert data["worth"]["gain"] == pytest.approx(data["values"][1] - data["values"][0])
    assert data["no_examples"] == ""
    lines(whet("study", "compare", "tiny", "0", "1"))
    task(old="torch.randn(120, 4", new="torch.randn(90, 4")  # the data are not what they were
    said = json.loads(whet("study", "compare", "tiny", "0", "1", "--json").out)
    assert said["worth"]["source"] != "examples"
    assert said["no_examples"]


def test_who_made_each_stands_beside_what_differs(whet, tmp_path):
    (tmp_path / "runs").mkdir()
    space = Space(x=Float(0, 1))
    with Study(space, search="sobol", schedule="full", name="two", store=tmp_path / "runs" / "whet.db") as made:
        made.enqueue({"x": 0.25})
        made.run(lambda p: p["x"] ** 2, trials=3)
    out = lines(whet("study", "compare", "two", "0", "1"))
    assert any(line.split() == ["made", "by", "a", "person", "sobol"] for line in out.splitlines())
    assert "made by" not in lines(whet("study", "compare", "two", "1", "2"))


def test_other_data_of_the_same_size_are_not_taken_for_those_of_the_study(whet, task):
    task()
    words = ("tune", "tiny.py", "--budget", "2trials", "--epochs", "1", "--workers", "1", "--search", "random", "--schedule", "full")  # fmt: skip
    assert whet(*words).code == 0
    said = json.loads(whet("study", "compare", "tiny", "0", "1", "--json").out)
    assert (said["worth"]["source"], said["no_examples"]) == ("examples", "")
    task(old="manual_seed(6)", new="manual_seed(7)")
    said = json.loads(whet("study", "compare", "tiny", "0", "1", "--json").out)
    assert said["worth"]["source"] != "examples"
    assert said["no_examples"] == "the data changed since"


def test_settings_that_differ_have_the_digits_that_tell_them_apart(whet, tmp_path):
    (tmp_path / "runs").mkdir()
    with Study(Space(x=Float(0, 1)), search="random", store=tmp_path / "runs" / "whet.db", name="near") as made:
        for x in (0.002, 0.00200001):
            made.enqueue({"x": x})
        made.run(lambda p: p["x"], trials=2)
    said = whet("study", "compare", "near", "0", "1")
    assert said.code == 0, said
    row = next(line.split() for line in said.out.splitlines() if line.split()[:1] == ["x"])
    assert row == ["x", "0.002", "0.00200001"]
