"""`whet simulate`: what it shows, what it refuses before anything is simulated, and how it ends when it is interrupted."""

from __future__ import annotations

import json

import pytest

QUICK = ("--epochs", "2", "--workers", "2,4")
INTERRUPTED = """
    calls = 0

    def loss(self, params):
        import os, signal

        def counted(outputs, targets):
            if torch.is_grad_enabled() and len(outputs) > 2:  # a step: two are tried before
                Tiny.calls += 1
                if Tiny.calls == {calls}:
                    os.kill(os.getpid(), signal.SIGINT)
            return nn.functional.cross_entropy(outputs, targets)

        return counted

    def batch(self, params):
        return 4
"""


def small(task, **more):
    return task("    def model", "    def batch(self, params):\n        return 4\n\n    def model", **more)


def told(said):
    """Return the lines without those that say, on a slow machine, how far it is."""
    return [line for line in said.out.splitlines() if " trainings, " not in line]


def test_rules_beside_each_other_after_the_same_epochs_and_at_the_same_time(whet, task):
    said = whet(
        "simulate",
        small(task),
        *QUICK,
        "--straggler",
        "3x",
        "--seeds",
        "2",
        "--rule",
        "sync,dc-asgd,average(every=2)+finite",
    )
    assert said.code == 0, said.err
    assert said.err == ""
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("simulate  14 trainings of 2 epochs; delays gamma, worker 0 3x as slow")
    blocks = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert blocks == ["simulate", "ends", "time", "time", "answer", "next"]
    assert "sequential                1" in said.out
    assert "average(every=2)+finite\n" in said.out  # too long to stand beside its figures
    assert "+- is the standard deviation over 2 seeds" in said.out
    assert "next      whet train tiny.py --workers" in said.out
    again = whet(
        "simulate",
        "tiny.py",
        *QUICK,
        "--straggler",
        "3x",
        "--seeds",
        "2",
        "--rule",
        "sync,dc-asgd,average(every=2)+finite",
    )
    assert told(again) == told(said)


def test_json_holds_all_of_it(whet, task):
    said = whet(
        "simulate", small(task), *QUICK, "--rule", "sync,async", "--lr", "0.01,0.1", "--lr-seeds", "1", "--json",
        "--delays", "lognormal(0.3)", "--fail", "1@5-8", "--bandwidth", "10kB", "--latency", "0.1", "--service", "0.05",
        "--shuffle", "local", "--until", "10",
    )  # fmt: skip
    assert said.code == 0, said.err
    found = json.loads(said.out)
    rows = {(r["rule"], r["workers"]): r for r in found["summary"]}
    assert list(rows) == [("sequential", 1), ("sync", 2), ("async", 2), ("sync", 4), ("async", 4)]
    assert rows["sequential", 1]["speedup"] == 1.0
    assert rows["async", 4]["speedup"] == pytest.approx(rows["sequential", 1]["seconds"] / rows["async", 4]["seconds"])
    rates = {(r["rule"], r["workers"]): r for r in found["rates"]}
    assert set(rates) == set(rows)
    assert all([t["rate"] for t in r["tried"]] == [0.01, 0.1] and r["edge"] for r in rates.values())
    for run in found["runs"]:
        assert run["own"] == {"lr": rates[run["rule"], run["workers"]]["rate"]}
        assert sum(run["histogram"].values()) >= run["curve"][-1]["updates"]
    (moment,) = found["time"]
    assert moment["when"] == "after 10 virtual seconds"
    assert {r["seconds"] for r in moment["rows"]} == {10.0}
    assert found["setting"]["rates chosen on"] == "seed 1"
    assert found["setting"]["fail"] == "1@5-8"
    assert found["notes"][0].startswith("local shuffle may cost accuracy")
    assert "rates chosen on seed 1 and shown on seed 0" in said.err  # lines for a person go there


def test_the_next_command_has_the_settings_and_the_rate_that_was_chosen(whet, task):
    words = (
        "simulate",
        small(task),
        "--workers",
        "2",
        "--rule",
        "sync",
        "--epochs",
        "1",
        "--no-baseline",
        "--set",
        "decay=0.25",
    )
    said = whet(*words, "--set", "lr=0.01")
    assert (
        said.out.splitlines()[-1]
        == "next      whet train tiny.py --workers 2 --rule sync --set decay=0.25 --set lr=0.01"
    )
    said = whet(*words, "--set", "lr=0.01", "--lr", "0.001,0.1", "--lr-seeds", "1")
    end = said.out.splitlines()[-1]
    assert end.startswith("next      whet train tiny.py --workers 2 --rule sync --set decay=0.25 --set lr=0.")
    assert end.count("lr=") == 1


def test_a_fast_worker_with_a_larger_share_keeps_none_waiting(whet, task):
    words = ("simulate", small(task), "--workers", "3", "--rule", "sync", "--epochs", "2", "--delays", "constant",
             "--straggler", "2:0.5x", "--shuffle", "local")  # fmt: skip
    alike, unlike = (whet(*words, *more, "--json") for more in ((), ("--shares", "2,2,4")))
    seconds = [json.loads(said.out)["summary"][1]["seconds"] for said in (alike, unlike)]
    assert seconds[1] < 0.9 * seconds[0]  # four batches take as long as three did
    assert json.loads(unlike.out)["setting"]["shares"] == "2,2,4"
    assert "shares 1, 1, 2" in unlike.err
    said = whet(*words, "--shares", "2,2,4")
    assert (
        said.out.splitlines()[-1]
        == "next      whet train tiny.py --workers 3 --rule sync --shuffle local --shares 2,2,4"
    )


def test_recorded_times_are_used(whet, task, tmp_path):
    (tmp_path / "times.txt").write_text("# seconds\n2, 2 2\n4\n")
    said = whet(
        "simulate", small(task), "--workers", "2", "--epochs", "1", "--rule", "sync", "--delays", "times.txt", "--json"
    )
    alone, sync = json.loads(said.out)["summary"]
    assert alone["seconds"] == 2.0 * alone["updates"]
    assert sync["seconds"] == 4.0 * sync["updates"]
    (tmp_path / "one.txt").write_text("1\n2\n3\n")
    said = whet(
        "simulate",
        "tiny.py",
        "--workers",
        "1",
        "--epochs",
        "1",
        "--rule",
        "sync",
        "--delays",
        "one.txt",
        "--json",
        "--no-baseline",
    )
    (only,) = json.loads(said.out)["summary"]
    assert only["seconds"] == pytest.approx(2.0 * only["updates"], abs=3.0)


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("--rule synk", ("no rule 'synk'", "Did you mean 'sync'?")),
        ("--rule bounded", ("bounded: needs s", "bounded(s=3)")),
        ("--rule sync,bounded(t=3)", ("no option 't'",)),
        ("--rule dc-asgd(lambda=-1)", ("lambda must be a number >= 0",)),
        ("--rule average+ec", ("average and ec both say",)),
        ("--rule ,", ("--rule: is empty", "--rule sync,dc-asgd")),
        ("--workers 0", ("--workers: must be at least 1, got 0",)),
        ("--workers 2,x", ("--workers x: must be whole numbers",)),
        ("--workers 2,1000", ("workers: 1000 for 84 training examples",)),
        ("--workers 2,80", ("workers: 80 for 63 batches (3 epochs of 21)", "Give fewer workers")),
        ("--straggler abc", ("--straggler abc", "3x")),
        ("--straggler -1", ("--straggler -1: must be a factor above 0",)),
        ("--straggler 0", ("--straggler 0: must be a factor above 0",)),
        ("--straggler x:3", ("--straggler x:3", "WORKER:FACTOR")),
        ("--straggler 4:3x", ("no worker 4 among 4: they are 0 to 3",)),
        ("--straggler 1:3x,1:2", ("worker 1 is given twice",)),
        ("--delays gama", ("delays: got 'gama'", "Did you mean 'gamma'?")),
        ("--delays gamma(-3)", ("--delays", "gamma(SHAPE)")),
        ("--delays pareto(0.5)", ("shape of pareto must be > 1",)),
        ("--delays times.txt", ("or a file of seconds",)),
        ("--delays .", ("--delays .: is a folder",)),
        ("--delays tiny.py", ("--delays tiny.py: line 2", "seconds above 0")),
        ("--delays empty.txt", ("--delays empty.txt: is empty",)),
        ("--delays raw.bin", ("--delays raw.bin: is no text",)),
        ("--bandwidth 0", ('--bandwidth "0"', "above 0")),
        ("--bandwidth -1", ('--bandwidth "-1"', "above 0")),
        ("--bandwidth nan", ('--bandwidth "nan"', "cannot be read")),
        ("--latency -1", ("--latency -1: must be seconds, 0 or more",)),
        ("--service soon", ("--service soon: must be seconds",)),
        ("--fail 2", ("--fail 2: must be WORKER@SECOND",)),
        ("--fail 2@9-3", ("--fail 2@9-3", "must come back after")),
        ("--fail 9@3", ("fail: there is no worker 9",)),
        ("--fail 2@3-9,2@5-20", ("fail 2@5-20: worker 2 died at 3 and comes back at 9", "Give one failure, 2@3-20")),
        ("--fail 2@5,2@9-20", ("fail 2@9-20: worker 2 died at 5 and never comes back", "Give one failure, 2@5.")),
        ("--rule average(4,8)", ("average: 8 has no name",)),
        ("--shuffle globl", ("--shuffle globl", "Did you mean 'global'?", "Use global, local, once")),
        ("--shares 1,2", ("--shares 1,2: 2 shares for 4 workers", "such as 1,1,1,2")),
        ("--shares 1,1,1,2 --workers 4,8", ("4 shares for 8 workers",)),
        ("--shares 1,1,1,0", ("--shares 1,1,1,0: must be above 0, got 0",)),
        ("--shares 1,1,1,x", ("x is no number",)),
        ("--seeds 0", ("--seeds: must be at least 1, got 0",)),
        ("--seed -1", ("--seed: must be at least 0, got -1",)),
        ("--lr-seeds 0", ("--lr-seeds: must be at least 1",)),
        ("--epochs 0", ("--epochs: must be at least 1, got 0",)),
        ("--lr 0,1", ("--lr 0: must be learning rates above 0",)),
        ("--lr 0.01,7", ("--lr: lr", "got 7")),
        ("--until 0", ("--until 0: must be seconds above 0",)),
        ("--until soon", ("--until soon",)),
        ("--set lrr=1", ("--set lrr", "no such hyperparameter")),
        ("--html page.txt", ("--html page.txt", "must end in .html")),
    ],
)  # fmt: skip
def test_words(refused, task, tmp_path, words, needed):
    small(
        task, more=INTERRUPTED.format(calls=1).partition("    def batch")[0]
    )  # a training would be interrupted at once
    (tmp_path / "empty.txt").write_text("\n# nothing\n")
    (tmp_path / "raw.bin").write_bytes(b"\xff\xfe\x00\x01")
    refused("simulate", "tiny.py", *words.split(), needed=needed)


@pytest.mark.parametrize("words", ["tiny.py:Missing", "no.csv", "other.py"])
def test_a_task_that_cannot_be_made(refused, task, tmp_path, words):
    small(task)
    (tmp_path / "other.py").write_text("1 / 0\n")
    refused("simulate", words, needed=(words.partition(":")[0],))


def test_a_task_without_a_learning_rate_has_none_to_choose(refused, task):
    task("lr=Float(1e-3, 1e-1, log=True), ", "")
    refused("simulate", "tiny.py", "--lr", "0.1,0.2", needed=("--lr: lr: no such hyperparameter", "Allowed: decay"))


@pytest.mark.parametrize(("calls", "done"), [(50, 1), (5, 0)])
def test_ctrl_c_shows_what_is_finished(whet, task, calls, done):
    path = task(more=INTERRUPTED.format(calls=calls))
    said = whet("simulate", path, "--epochs", "2", "--workers", "2", "--rule", "sync,async")  # 42 batches each
    assert said.code == 130
    assert "showing what is finished; Ctrl-C again stops at once" in said.err
    shown = f"{done} of 3 trainings were finished" if done else "before a training was finished"
    assert f"stopped   {shown}" in said.out
    assert ("sequential                1" in said.out) == bool(done)
    assert "next" not in said.out


def test_ctrl_c_while_rates_are_chosen(whet, task):
    path = task(more=INTERRUPTED.format(calls=110))
    said = whet("simulate", path, "--epochs", "2", "--workers", "2", "--rule", "sync", "--lr", "0.01,0.1", "--json")
    found = json.loads(said.out)
    assert said.code == 130
    assert found["interrupted"] is True
    assert found["summary"] == found["runs"] == []


def test_no_rule_that_comes_to_its_end_is_found_wrong(whet, task):
    path = small(task)
    path.write_text(path.read_text().replace("lr=Float(1e-3, 1e-1, log=True)", "lr=Float(1e-3, 1e30, log=True)"))
    said = whet("simulate", path, "--workers", "2", "--rule", "async", "--set", "lr=1e25", "--epochs", "1")
    assert said.code == 1, said
    assert "diverged" in said.out
    assert "no rule comes to its end" in " ".join(said.out.split())
    assert "next" not in said.out


def test_a_rule_whose_workers_all_die_is_not_said_to_diverge(whet, task):
    """What died with two workers goes on with four, and a list of rates has nothing to choose from."""
    words = ("simulate", small(task), "--workers", "2", "--rule", "async", "--epochs", "2", "--fail", "0@3,1@4")
    said = whet(*words, "--lr", "0.01,0.1", "--lr-seeds", "1", "--seeds", "2", "--html", "page.html")
    assert said.code == 1, said
    assert "diverged" not in said.out
    shown = " ".join(said.out.split())
    assert "async 2 all workers died - - " in shown
    assert "0.01: all workers died" in shown
    assert "no rule comes to its end with every seed: all workers died." in shown
    found = json.loads(whet(*words, "--workers", "2,4", "--json").out)
    rows = {(r["rule"], r["workers"]): (r["diverged"], r["died"]) for r in found["summary"]}
    assert rows == {("sequential", 1): (0, 0), ("async", 2): (0, 1), ("async", 4): (0, 0)}
    assert [r["died"] for r in found["runs"]] == [False, True, False]


def test_what_is_shared_has_no_rule_of_its_own(whet, task):
    """A configuration that names a rule and workers is simulated by those that are asked for."""
    path = small(task)
    path.write_text(
        path.read_text()
        .replace("decay=Float(0, 1))", "decay=Float(0, 1), workers=Int(2, 8), rule=Choice({'sync': None, 'bounded': Space(s=Int(1, 4))}))")
        .replace("import Data,", "import Choice, Data, Int,")
    )  # fmt: skip
    words = (
        "--workers",
        "2",
        "--rule",
        "async",
        "--epochs",
        "1",
        "--set",
        "rule=bounded",
        "--set",
        "s=2",
        "--set",
        "lr=0.01",
    )
    found = json.loads(whet("simulate", path, *words, "--json").out)
    assert set(found["params"]) == {"lr", "decay"}


def test_more_workers_than_an_epoch_has_batches_is_said(whet, task):
    said = whet("simulate", small(task), "--workers", "30", "--rule", "sync", "--epochs", "2", "--no-baseline")
    assert said.code == 0
    assert "an epoch has 21 batches, fewer than 30 workers" in said.out
    assert "sequential" not in said.out


def test_one_exchange_in_all_is_said_before_anything_is_simulated(whet, task):
    words = ("--workers", "2", "--rule", "diloco,sync", "--shuffle", "local", "--no-baseline", "--epochs", "2")
    said = whet("simulate", task(), *words).out
    first = said[: said.index("ends  ")]
    assert "diloco: 2 workers take 500 steps each between two exchanges" in " ".join(first.split())
    assert "sync: a worker that is through" not in " ".join(said.split())


def test_the_page_is_written_beside_the_tables(whet, task, tmp_path):
    said = whet("simulate", small(task), *QUICK, "--rule", "sync,async", "--seeds", "2", "--html", "made/page.html")
    assert said.code == 0
    page = (tmp_path / "made/page.html").read_text(encoding="utf-8")
    assert "<h1>Simulation of tiny</h1>" in page
    assert "page      made/page.html\nnext      whet train" in said.out
