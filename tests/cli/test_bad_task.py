"""A person's own code that cannot be used, and trials that fail: said with the line it comes from, never with a traceback."""

from __future__ import annotations

import json

import pytest

SMALL = ("--budget", "2trials", "--epochs", "1", "--workers", "1")
NET = "nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))"


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("import no_such_thing\n", ("does not import", "no_such_thing", "line 1")),
        ("x = 1\n\ny = (\n", ("does not import", "SyntaxError", "line 3")),
        ("x = 1\n", ("defines no Task", "whet new")),
        ("raise SystemExit(4)\n", ("does not import", "line 1")),
    ],
)
def test_files_that_define_no_task(refused, task, text, needed):
    for verb in ("run", "train"):
        refused(verb, task(text=text), needed=("tiny.py", *needed))
    refused("run", "tiny.py:Nothing", needed=("tiny.py",))
    refused("run", "nowhere.py", needed=("nowhere.py", "no such file"))


@pytest.mark.parametrize(
    ("old", "new", "needed"),
    [
        (NET, "None", ("model", "torch.nn.Module", "'NoneType'")),
        (NET, "'a net'", ("model", "torch.nn.Module", "'str'")),
        (NET, "nn.Linear", ("model", "the class Linear")),
        (NET, "nn.Linear(4, 1)", ("outputs (2, 1)", "targets are (2,)", "2 classes")),
        (NET, "nn.Linear(4, 5)", ("outputs (2, 5)", "targets are (2,)")),
        (NET, "nn.Sequential(nn.Linear(4, 2), nn.Flatten(0))", ("outputs (4,)", "targets are (2,)")),
        (NET, "nn.Linear(5, 2)", ("fails on inputs (2, 4)", "2x4 and 5x2")),
        (NET, "nn.Linear(params['wdith'], 2)", ("KeyError: 'wdith'", "tiny.py, line 18")),
        (NET, "open_weights()\n\n\ndef open_weights():\n    raise OSError('no weights of this name')", ("tiny.py, line", "OSError: no weights of this name")),
        ("return Data.from_arrays(", "return x, Data.from_arrays(", ("data(params) returns tuple", "whet.Data")),
        ("steps = 3", "steps = 3\n    goal = 'max acuracy'", ("acuracy", "Did you mean 'accuracy'?")),
        ("steps = 3", "steps = 3\n    goal = 'best accuracy'", ("best accuracy",)),
        ("space = Space(lr=Float(1e-3, 1e-1, log=True), decay=Float(0, 1))", "space = {'lr': 1}", ("space", "whet.Space")),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(refused, task, old, new, needed):
    path = task(old, new)
    for verb in ("run", "tune"):
        refused(verb, path, *SMALL, needed=needed)
    refused("train", path, "--epochs", "1", needed=needed)


def test_a_loss_and_an_optimizer_that_do_not_fit(refused, task):
    path = task(
        more="\n    def loss(self, params):\n        return lambda outputs, targets: (outputs.sum(1) - targets) ** 2\n"
    )
    refused("run", path, *SMALL, needed=("loss", "(2,)", "(2, 2)"))
    path = task(more="\n    def optimizer(self, params, model):\n        return None\n", name="other.py")
    refused("run", path, *SMALL, needed=("optimizer", "None"))


def test_a_skeleton_that_is_wrong_stops_the_recipe_and_writes_nothing(whet, task, tmp_path):
    path = task("nn.Linear(16, 2))", "nn.Linear(16, 2), nn.Softmax(1))")
    said = whet("run", path, *SMALL)
    assert said.code == 1
    assert "FAIL OUT" in said.out
    assert "--force" in said.out
    assert not (tmp_path / "runs").exists()
    assert whet("check", path).code == 1


def test_trials_that_fail_are_recorded_and_the_study_goes_on(whet, task):
    body = """
    def loss(self, params):
        if 0.0 < params["decay"] <= 0.5:
            raise RuntimeError("decay is too small")
        if params["decay"] > 0.8:
            raise MemoryError
        if params["decay"] > 0.65:
            return lambda outputs, targets: outputs.sum() * float("nan")
        return nn.CrossEntropyLoss()

    first = {"lr": 0.01, "decay": 0.0}
"""
    # a skeleton that is wrong is no hindrance when a person says so
    path = task("nn.Linear(16, 2))", "nn.Linear(16, 2), nn.Softmax(1))", more=body)
    # evenly spread trials, as others soon keep away from what fails
    said = whet(
        "run",
        path,
        "--budget",
        "12trials",
        "--epochs",
        "1",
        "--workers",
        "1",
        "--plain",
        "--force",
        "--search",
        "sobol",
    )
    assert said.code == 0, said
    assert "FAIL OUT" in said.out
    assert "failed" in said.out
    assert "decay is too small" in said.out
    shown = json.loads(whet("study", "show", "tiny", "--json").out)
    failed = [t for t in shown["trials"] if t["state"] == "FAILED"]
    kinds = {t["error"]["type"] for t in failed}
    assert {"RuntimeError", "OutOfMemory", "NotFinite"} <= kinds, kinds
    assert any(
        "decay is too small" in t["error"]["traceback"] and "Traceback" in t["error"]["traceback"] for t in failed
    )
    assert any(t["state"] == "DONE" for t in shown["trials"])


def test_when_every_trial_fails_the_commonest_reason_is_said(whet, task):
    body = """
    def batch(self, params):
        import os
        if os.environ.get("WHET_WORKER"):
            raise KeyError("lost in the worker")
        return 32
"""
    said = whet("tune", task(more=body), "--budget", "3trials", "--epochs", "1", "--workers", "1")
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1
    assert "all 3 trials failed" in said.err
    assert "KeyError: 'lost in the worker'" in said.err
    assert "Traceback" not in said.out + said.err


def test_a_search_in_which_nothing_works_any_more_is_given_up_and_goes_on_afterwards(whet, task, tmp_path):
    body = f"""
    def batch(self, params):
        import os
        import time
        from pathlib import Path
        if os.environ.get("WHET_WORKER"):
            data = Path({str(tmp_path / "data")!r})
            time.sleep(0.0 if data.exists() else 0.2)  # so that the owner is in time to see it
            data.read_text()
        return 32
"""
    (tmp_path / "data").write_text("")
    words = ("tune", task(more=body), "--epochs", "1", "--workers", "1", "--search", "random", "--plain", "--budget")
    assert whet(*words, "14trials").code == 0
    (tmp_path / "data").unlink()
    said = whet(*words, "400trials")
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1
    assert "trials failed in a row" in said.err
    assert "FileNotFoundError" in said.err
    assert "run it again: it goes on from here" in said.err
    made = len(json.loads(whet("study", "show", "tiny", "--json").out)["trials"])
    assert made < 200
    (tmp_path / "data").write_text("")
    assert whet(*words, f"{made + 2}trials").code == 0
    shown = json.loads(whet("study", "show", "tiny", "--json").out)["trials"]
    assert [t["state"] for t in shown if t["id"] >= made] == ["DONE", "DONE"]
