"""`whet train --workers N --rule NAME`: real processes, from the words to what is saved."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from whet import deploy
from whet.errors import UsageError
from whet.journal.checkpoint import load
from whet.metric import metric
from whet.recipe.trained import trained
from whet.tasks import resolve
from whet.train.checkpoint import unpack
from whet.train.predict import predict

SLOW = """
    def augment(self, params):
        import time

        def move(inputs, targets, generator):
            time.sleep({})
            return inputs, targets

        return move
"""
PLACE = Path("runs") / "tiny" / "train"


def wait(until, process, seconds: float = 180) -> None:
    """Wait for something that must come while the process lives."""
    end = time.monotonic() + seconds
    while not until():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that live, oldest first."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(name))
    return sorted(found)


def saved(folder: Path) -> dict:
    return unpack(load(folder / "last.safetensors"))


def test_one_worker_takes_the_steps_of_a_run_on_its_own_bit_for_bit(whet, task, tmp_path):
    name = task()
    words = ("train", name, "--set", "lr=0.01", "--json")
    alone = json.loads(whet(*words, "--runs", "alone").out)
    said = whet(*words, "--rule", "async")
    assert said.code == 0, said
    found = json.loads(said.out)
    assert [p["value"] for p in found["curve"]] == [p["value"] for p in alone["curve"]]
    assert found["distributed"]["mean_staleness"] == 0
    one, other = saved(tmp_path / "alone" / "tiny" / "train"), saved(tmp_path / PLACE)
    for a, b in zip(one["run"]["model"].values(), other["run"]["model"].values(), strict=True):
        assert torch.equal(a, b)
    assert max(map(len, said.err.splitlines())) <= 80


def test_one_exchange_in_all_is_said_before_anything_is_trained_and_is_of_all(whet, task):
    said = whet("train", task(), "--workers", "2", "--rule", "diloco", "--json")
    assert said.code == 0, said
    first = " ".join(said.err[: said.err.index(" epochs,")].split())
    assert "diloco: 2 workers take 500 steps each between two exchanges, but there are" in first
    found = json.loads(said.out)["distributed"]
    assert [w["updates"] for w in found["each"].values()] == [1, 1]
    assert "exchange once" in found["once"]
    assert max(map(len, said.err.splitlines())) <= 80


def test_all_members_are_saved_and_deployed_together(whet, task, tmp_path):
    """The ensemble that is read back has the loss that was told, also when it runs without PyTorch; one process leaves none."""
    name = task(MODEL, MODEL.replace(", nn.ReLU()", ", nn.BatchNorm1d(16), nn.ReLU()"))
    words = ("train", name, "--workers", "2", "--shuffle", "local", "--set", "lr=0.05", "--json")
    said = whet(*words, "--rule", "ec(every=2)")
    assert said.code == 0, said
    assert "all members beside it, to deploy together" in " ".join(said.err.split())
    found = json.loads(said.out)
    told = found["distributed"]["ensemble"]
    made = resolve(str(name))
    data = made.data(found["params"])

    def loss(outputs):
        return float(nn.functional.cross_entropy(torch.as_tensor(outputs), data.valid.targets))

    one, of = trained(made, tmp_path / PLACE)
    assert of == [(found["params"], 1.0)]
    assert metric("accuracy").compute(predict(one, data.valid), data.valid.targets.numpy()) == found["value"]
    assert loss(predict(one, data.valid)) == pytest.approx(told["each"][told["saved"]], abs=1e-5)
    together, of = trained(made, tmp_path / PLACE, members=True)
    assert of == [(found["params"], 0.5)] * 2
    assert loss(predict(together, data.valid)) == pytest.approx(told["loss"], abs=1e-5)
    assert [loss(predict(m, data.valid)) for m in together.models] == pytest.approx([*told["each"].values()], abs=1e-5)
    page = (Path(__file__).parents[2] / "docs" / "distributing.md").read_text(encoding="utf-8")
    (code,) = re.findall(
        r"```python\n(.*?)```", page.partition("## Deploying all members")[2].partition("\n## ")[0], re.S
    )
    done: dict = {}
    exec(code.replace('"digits"', repr(str(name))).replace("runs/digits", "runs/tiny"), done)  # as the page says
    assert loss(done["outputs"]) == pytest.approx(told["loss"], abs=1e-5)
    again = deploy.load("runs/tiny/ensemble").model(made.model)
    assert loss(predict(again, data.valid)) == pytest.approx(told["loss"], abs=1e-5)

    assert whet(*words[:2], *words[6:]).code == 0
    with pytest.raises(UsageError, match="has no members: it was trained on one process"):
        trained(made, tmp_path / PLACE, members=True)
    with pytest.raises(UsageError, match="nothing is saved there"):
        trained(made, tmp_path / "nowhere")


@pytest.mark.soak
def test_members_and_their_ensemble_are_told_and_shown(whet, tmp_path):
    said = whet("train", "digits", "--workers", "2", "--rule", "ec(every=5)", "--shuffle", "local", "--epochs", "2",
                "--html", "page.html", "--json")  # fmt: skip
    assert said.code == 0, said
    found = json.loads(said.out)["distributed"]
    assert (found["workers"], found["rule"].split("(")[0], found["shuffle"]) == (2, "ec", "local")
    assert found["updates"] == 8
    members = found["ensemble"]
    assert members["loss"] <= members["mean"]
    assert set(members["each"]) == {"0", "1"}
    assert str(members["saved"]) in members["each"]
    assert "ensemble of 2: loss" in said.err
    assert f"saved: the model of worker {members['saved']}" in said.err
    assert "local shuffle is safe: 2 epochs are well below n / K^2" in said.err
    assert "batch normalisation" in said.err
    assert max(map(len, said.err.splitlines())) <= 80
    page = (tmp_path / "page.html").read_text()
    assert "on 2 workers" in page
    assert "The members together" in page


def test_ctrl_c_saves_what_is_merged_and_resume_goes_on_whoever_is_killed(start, whet, task, refused, tmp_path):
    name = task("steps = 3", "steps = 30", more=SLOW.format(0.05))
    words = ("train", name, "--workers", "2", "--rule", "dc-asgd", "--set", "lr=0.01", "--json")
    process = start(*words)
    wait((tmp_path / PLACE / "last.safetensors").exists, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "saving what is merged" in err
    assert "--resume goes on from here" in err
    part = json.loads(out)
    assert part["interrupted"]
    assert 1 <= part["step"] < 30

    for other in (("--rule", "async"), ("--workers", "3"), ("--shuffle", "local"), ("--set", "decay=0.1")):
        refused(*words, *other, "--resume", needed=("was made with", "Give the same, or leave --resume out"), out=True)
    refused("train", name, "--set", "lr=0.01", "--resume", needed=("was made with rule",), out=True)

    process = start(*words, "--resume")
    first = (tmp_path / PLACE / "last.safetensors").stat().st_mtime_ns
    wait(lambda: (tmp_path / PLACE / "last.safetensors").stat().st_mtime_ns > first, process)
    # beside what workers are forked from there is what clears the memory when their owner is gone
    (forks,) = (c for c in children(process.pid) if b"whet.execute.fork" in Path(f"/proc/{c}/cmdline").read_bytes())
    _server, *workers = children(forks)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "worker 1 died once and was replaced" in err
    whole = json.loads(out)
    assert whole["step"] == 30
    assert [p["step"] for p in whole["curve"]] == list(range(1, 31))
    found = whole["distributed"]
    assert found["deaths"] == {"worker 1": 1}
    assert found["lost"] == 0
    # each batch of each epoch once, over both stretches and whoever died
    assert found["updates"] == 30 * 3
    again = json.loads(whet(*words, "--resume").out)
    assert again["curve"] == whole["curve"], "there is nothing left to do"
    assert again["distributed"]["deaths"] == {"worker 1": 1}


def test_a_criterion_ends_it_with_the_best_epoch(whet, task, tmp_path):
    name = task("steps = 3", "steps = 60")
    said = whet(
        "train", name, "--workers", "2", "--stop", "patience 2", "--set", "lr=0.1", "--plain", "--shuffle", "local"
    )
    assert said.code == 0, said
    assert "local shuffle may cost accuracy" in said.out.split("epochs/s")[0].replace("\n          ", " "), (
        "before it is done"
    )
    back = re.search(r"stopped after epoch (\d+), back to (\d+)", said.out)
    assert back, said.out
    state = saved(tmp_path / PLACE)
    assert state["run"]["step"] == int(back[2]) <= int(back[1]) < 60
    # one line an epoch, and what follows
    assert len(re.findall(r"\d+ of 60 epochs.*accuracy", said.out)) >= int(back[1])
    # with no criterion it goes on from the last epoch, not from the best: none comes twice
    said = whet("train", name, "--workers", "2", "--set", "lr=0.1", "--plain", "--shuffle", "local", "--resume")
    assert said.code == 0, said
    assert [p[0] for p in saved(tmp_path / PLACE)["points"]] == list(range(1, 61))


NAMED = (
    "decay=Float(0, 1))",
    "decay=Float(0, 1), workers=Int(2, 4), shuffle=Const('local'), "
    "rule=Choice({'sync': None, 'bounded': Space(s=Int(0, 4)), 'average': Space(every=Int(1, 6))}))",
)


def named(task, **more):
    """Return a task whose configurations name their rule and workers."""
    path = task(*NAMED, **more)
    path.write_text(path.read_text().replace("import Data,", "import Choice, Const, Data, Int,"))
    return path


def test_a_configuration_that_names_a_rule_and_workers_is_trained_by_them(whet, task, refused, tmp_path):
    name = named(task)
    words = ("train", name, "--set", "lr=0.01", "--json")
    said = whet(*words, "--set", "rule=average", "--set", "every=3", "--set", "workers=3")
    assert said.code == 0, said
    found = json.loads(said.out)
    team = found["distributed"]
    assert (team["workers"], team["rule"], team["shuffle"]) == (3, "average(every=3)", "local")
    assert set(team["each"]) <= {"0", "1", "2"}
    assert (found["params"]["rule"], found["params"]["rule.every"]) == ("average", 3)
    # it is what the same words as options train
    same = whet(
        *words[:-1],
        "--set",
        "workers=3",
        "--workers",
        "3",
        "--rule",
        "average(every=3)",
        "--shuffle",
        "local",
        "--json",
    )
    assert [p["value"] for p in json.loads(same.out)["curve"]] == [p["value"] for p in found["curve"]]
    # options go before it, and another one does not go on from what it left
    other = json.loads(whet(*words, "--set", "rule=average", "--workers", "2", "--rule", "async").out)
    assert (other["distributed"]["workers"], other["distributed"]["rule"]) == (2, "async")
    assert other["params"]["workers"] == 2
    assert [k for k in other["params"] if k.startswith("rule")] == ["rule"]
    refused(*words, "--set", "rule=average", "--resume", needed=("was made with params",), out=True)
    refused(*words, "--watch", needed=("--watch", "or the rule and workers of the configuration"), out=True)
    refused(*words, "--set", "workers=4", "--shares", "1,2", needed=("--shares 1,2: 2 shares for 4 workers",), out=True)


def test_a_configuration_with_a_rule_that_is_none_is_refused(refused, task):
    name = named(task)
    name.write_text(name.read_text().replace("'sync': None", "'synk': None"))
    refused("train", name, "--set", "rule=synk", needed=("no rule 'synk'", "Did you mean 'sync'?"))


@pytest.mark.soak
def test_a_training_with_shares_goes_on_with_the_same(whet, refused, start, task, tmp_path):
    name = task("steps = 3", "steps = 30", more=SLOW.format(0.02))
    words = ("train", name, "--workers", "2", "--shares", "2,1", "--shuffle", "local", "--set", "lr=0.01", "--json")
    process = start(*words)
    wait((tmp_path / PLACE / "last.safetensors").exists, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    for other in ("1,2", "1,1"):
        changed = [other if w == "2,1" else w for w in words]
        refused(
            *changed,
            "--resume",
            needed=("was made with shares [2, 1]", "Give the same, or leave --resume out"),
            out=True,
        )
    said = whet(*[w if w != "2,1" else "4,2" for w in words], "--resume")  # the same ratio
    assert said.code == 0, said
    found = json.loads(said.out)
    assert found["distributed"]["shares"] == [2, 1]
    assert [p["step"] for p in found["curve"]] == list(range(1, 31))
    each = found["distributed"]["each"]
    assert "of shares 2, 1" in said.err
    assert found["distributed"]["updates"] < 30 * 3  # a worker of share 2 sends one for two batches
    assert set(each) <= {"0", "1"}


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("--workers 0", ("--workers", "at least 1, got 0")),
        ("--workers -1", ("--workers", "at least 1, got -1")),
        ("--workers abc", ("--workers", "a whole number, got 'abc'")),
        ("--workers 100000", ("--workers", "100000")),
        ("--workers 2 --rule asinc", ("'asinc'", "Did you mean 'async'?", "dc-asgd")),
        ("--workers 2 --rule dc-asgd(s=3)", ("dc-asgd", "no option 's'", "Allowed: lambda, decay")),
        ("--workers 2 --rule dc-asgd(lambda=-1)", ("dc-asgd", "lambda", ">= 0, got -1")),
        ("--workers 2 --rule bounded(s=x)", ("bounded", "s", "Use a number")),
        ("--rule bounded", ("bounded", "needs s")),
        ("--workers 2 --rule=", ("rule", "NAME(option=value)")),
        ("--workers 2 --shuffle lokal", ("--shuffle lokal", "Did you mean 'local'?", "global, local, once")),
        ("--workers 3 --shares 1,2", ("--shares 1,2: 2 shares for 3 workers", "such as 1,1,2")),
        ("--workers 2 --shares 1,0", ("--shares 1,0: must be above 0, got 0",)),
        ("--workers 2 --shares one,two", ("--shares one,two: one is no number",)),
        ("--workers 2 --shares 1,2 --on torch", ("shares: --on torch gives all workers the same",)),
        ("--shares 1,2", ("--shares 1,2: is about several workers", "--workers N or --rule NAME")),
        ("--workers 2 --stages 3 --on torch", ("--stages 3", "divide --workers 2")),
        ("--workers 2 --stages 0", ("--stages 0: must be at least 1",)),
        ("--shuffle local", ("--shuffle local", "several workers", "--workers N or --rule NAME")),
        ("--workers 1 --on processes", ("--on processes", "several workers")),
        ("--workers 2 --on proceses", ("--on proceses", "Did you mean 'processes'?")),
        ("--workers 2 --on processes://head:1", ("takes no address",)),
        ("--workers 2 --watch", ("--watch", "one process")),
        ("--html page.html", ("--html", "--watch")),
    ],
)  # fmt: skip
def test_words(refused, words, needed):
    refused("train", "digits", *words.split(), needed=needed)


def test_nothing_to_go_on_from(refused):
    refused(
        "train",
        "diabetes",
        "--workers",
        "2",
        "--resume",
        needed=("nothing to go on from", "Leave --resume out"),
        out=True,
    )


MODEL = "        return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))"


@pytest.mark.parametrize(
    ("old", "new", "more", "needed"),
    [
        ("x = torch.randn(120, 4", "x = torch.randn(120, 4", "", ("workers: 85 for 84 training examples",)),
        (MODEL, MODEL.replace(", nn.ReLU()", ", nn.BatchNorm1d(16), nn.ReLU()"), "", ("batch normalisation", "at most 42")),
        (
            MODEL,
            "        class Bag(nn.Module):\n"
            "            def __init__(self):\n"
            "                super().__init__()\n"
            "                self.words = nn.Embedding(9, 2, sparse=True)\n"
            "            def forward(self, x):\n"
            "                return self.words(x[:, 0].long().clamp(0, 8))\n"
            "        return Bag()",
            "    def optimizer(self, params, model):\n        return torch.optim.SparseAdam(model.parameters())\n",
            ("Tiny.model", "words.weight", "is sparse", "sparse=True"),
        ),
        (
            MODEL,
            "        return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2), Half())",
            "\nclass Half(nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.scale = nn.Parameter(torch.ones(2, dtype=torch.float64))\n"
            "    def forward(self, x):\n"
            "        return x * self.scale.float()\n",
            ("parameters of several kinds", "float32", "float64", "model.float()"),
        ),
        (
            MODEL,
            MODEL,
            "    def optimizer(self, params, model):\n        return torch.optim.LBFGS(model.parameters())\n",
            ("Tiny.optimizer: LBFGS calls the loss again",),
        ),
        (
            MODEL,
            MODEL,
            "    def optimizer(self, params, model):\n"
            "        class Twice(torch.optim.SGD):\n"
            "            def step(self, closure):\n"
            "                closure()\n"
            "                return super().step()\n"
            "        return Twice(model.parameters(), lr=0.1)\n",
            ("Tiny.optimizer: Twice calls the loss again", "closure", "its workers'"),
        ),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_shared(refused, task, old, new, more, needed):
    many = 85 if "workers: 85 for" in needed[0] else 50 if "at most 42" in needed else 2
    refused("train", task(old, new, more=more), "--workers", many, "--shuffle", "local", needed=needed, out=True)


@pytest.mark.parametrize("method", ["data", pytest.param("model", marks=pytest.mark.soak)])
def test_a_task_that_fails_in_the_workers_alone(refused, task, method):
    start = f"    def {method}(self, params):\n"
    name = task(
        start, start + '        import os\n        if "WHET_WORKER" in os.environ:\n            open("nowhere")\n'
    )
    refused("train", name, "--workers", "2", needed=("No such file", "nowhere"), out=True)


def test_a_task_that_no_other_process_finds(tmp_path):
    from whet.errors import TaskError
    from whet.recipe.job import Job
    from whet.recipe.many import Team, train_many
    from whet.tasks import resolve

    class Local(type(resolve("diabetes"))):
        pass

    made = Local("diabetes")
    with pytest.raises(TaskError, match="another process cannot make this task again"):
        list(train_many(Job(made, runs=tmp_path), dict(Job(made).first), Team(2)))
