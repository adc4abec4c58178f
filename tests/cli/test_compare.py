"""`whet compare`: what it says and writes, that it goes on, and every wrong word."""

from __future__ import annotations

import json
import signal
import time

import pytest

from whet.tune.compare.line import line
from whet.tune.study import Study

SMALL = ("--seeds", "2", "--budget", "4epochs", "--epochs", "2", "--workers", "1", "--plain")
SLOW = """
    def augment(self, params):
        import time

        def move(inputs, targets, generator):
            time.sleep(0.02)
            return inputs, targets

        return move
"""


def test_strategies_are_compared_and_the_same_command_has_nothing_left_to_do(whet, task, tmp_path):
    task()
    said = whet("compare", "tiny.py", "--search", "sobol,tpe", *SMALL)
    assert said.code == 0, said
    assert not said.err
    assert max(map(len, said.out.splitlines())) <= 80
    assert "random, sobol, tpe with 2 seeds each: 6 studies of 4 epochs" in said.out
    assert "With 2 seeds no difference can pass for more than noise" in " ".join(said.out.split())
    assert "--seeds 7: the same command" in said.out  # as many as the answer says are needed
    page = (tmp_path / "runs" / "compare-tiny" / "report.html").read_text()
    assert "Strategies on tiny" in page
    found = json.loads(whet("compare", "tiny.py", "--search", "sobol,tpe", *SMALL[:-1], "--json").out)
    assert (found["baseline"], found["end"], found["by"], found["seeds"]) == ("random", 4, "epochs", [0, 1])
    store = tmp_path / "runs" / "compare-tiny" / "whet.db"
    for name, values in found["values"].items():
        for seed, value in zip(found["seeds"], values, strict=True):
            with Study.open(str(store), f"{name}+auto.{seed}") as study:
                assert study.spent.steps == 4
                assert max(p.value for t in study.trials for p in t.curve) == value
                mine = line(list(study.journal.read()), study.goals, study.steps)
            assert -mine.score[-1] == value
    more = json.loads(
        whet("compare", "tiny.py", "--search", "sobol", "--seeds", "3", *SMALL[2:-1], "--json").out
    )  # another seed, one strategy less
    assert more["seeds"] == [0, 1, 2]
    assert more["values"]["sobol"][:2] == found["values"]["sobol"]
    assert set(more["values"]) == {"random", "sobol"}


def test_a_study_of_it_is_what_tune_makes_of_the_same_seed(whet, task, tmp_path):
    task()
    assert whet("compare", "tiny.py", "--search", "sobol", *SMALL).code == 0
    with Study.open(str(tmp_path / "runs" / "compare-tiny" / "whet.db"), "sobol+auto.1") as study:
        mine = [(t.params, [p.value for p in t.curve]) for t in study.trials]
    words = ("--search", "sobol", "--budget", "6epochs", "--epochs", "2", "--workers", "1", "--seed", "1", "--json")
    assert whet("tune", "tiny.py", *words).code == 0
    with Study.open(str(tmp_path / "runs" / "whet.db"), "tiny") as study:
        points = [t.params for t in study.trials if t.origin.get("search") == "sobol"]
    assert points[: len(mine)] == [p for p, _ in mine][: len(points)]


def test_ctrl_c_shows_what_is_whole_and_the_same_command_goes_on(start, whet, task, tmp_path):
    task(more=SLOW)
    words = ("compare", "tiny.py", "--search", "sobol", "--seeds", "3", "--budget", "8epochs", "--epochs", "2", "--workers", "1", "--plain")  # fmt: skip
    process = start(*words)
    store = tmp_path / "runs" / "compare-tiny" / "whet.db"

    def steps() -> int:
        if not store.exists():
            return 0
        try:
            with Study.open(str(store), "sobol+auto.1") as study:
                return study.spent.steps or 0
        except Exception:  # not made yet
            return 0

    end = time.monotonic() + 120
    while steps() < 2:
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert "the same command again goes on from here" in out
    assert "3 of 6 studies are through, 1 of 3 seeds whole" in out or "4 of 6" in out
    said = whet(*words[:-1], "--json")
    assert said.code == 0, said
    found = json.loads(said.out)
    assert found["seeds"] == [0, 1, 2]
    for seed in found["seeds"]:
        with Study.open(str(store), f"sobol+auto.{seed}") as study:
            assert study.spent.steps == 8


def test_another_task_or_another_folder_is_not_taken_for_it(whet, refused, task, tmp_path):
    task()
    assert whet("compare", "tiny.py", "--search", "sobol", *SMALL).code == 0
    again = ("compare", "tiny.py", "--search", "sobol", "--seeds", "2", "--budget", "4epochs", "--workers", "1")
    refused(*again, "--epochs", "3", needed=("2 steps, not 3", "--fresh"))
    task("120, 4", "121, 4")
    changed = (tmp_path / "tiny.py").read_text().replace("randn(120", "randn(121")
    (tmp_path / "tiny.py").write_text(changed)
    refused(*again, "--epochs", "2", needed=("the data: not the same as when it began", "--fresh"))
    said = whet(*again, "--epochs", "2", "--fresh", "--json")
    assert said.code == 0, said
    (tmp_path / "runs" / "mine").mkdir()
    (tmp_path / "runs" / "mine" / "thesis.txt").write_text("years of work")
    refused(*again, "--epochs", "2", "--name", "mine", "--fresh", needed=("holds something that is no comparison",))
    assert (tmp_path / "runs" / "mine" / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("--search", "tpee"), ("--search: no strategy 'tpee'", "tpe")),
        (("--search", "random"), ("--search random: is alone, so there is nothing",)),
        (("--search", "gp,gp"), ("--search gp: is given twice",)),
        (("--search", "gp,,tpe"), ("--search 'gp,,tpe': has an empty name",)),
        (("--search", ""), ("--search '': has an empty name",)),
        (("--schedule", ""), ("--schedule '': has an empty name", "full,asha")),
        (("--search", "gp", "--schedule", "ashaa"), ("asha",)),
        (("--search", "gp", "--schedule", "asha,asha"), ("--schedule asha: is given twice",)),
        (("--search", "gp", "--seeds", "1"), ("at least 2, got 1",)),
        (("--search", "gp", "--seeds", "-3"), ("at least 2, got -3",)),
        (("--search", "gp", "--seed", "-3"), ("--seed", "at least 0")),
        (("--search", "gp", "--budget", "40"), ("40 of what",)),
        (("--search", "gp", "--epochs", "0"), ("--epochs", "at least 1")),
        (("--search", "gp", "--workers", "0"), ("--workers", "at least 1")),
        (("--search", "gp", "--stop", "patients 5"), ("patien",)),
        (("--search", "gp", "--quota", "much"), ("quota",)),
        (("--search", "gp", "--name", "../x"), ("name",)),
        (("--search",), ("--search",)),
    ],
)
def test_wrong_words_are_said_in_one_line_and_nothing_is_written(refused, task, words, needed):
    task()
    refused("compare", "tiny.py", *words, needed=needed)


def test_wrong_tasks_are_said_before_any_study_is_made(refused, task):
    refused("compare", "nothing.py", "--search", "gp", needed=("nothing.py",))
    task("nn.Linear(4, 16)", "nn.Linear(5, 16)")
    refused("compare", "tiny.py", "--search", "gp", needed=("Tiny.model",))
