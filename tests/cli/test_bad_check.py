"""`whet check` and `whet look` of what cannot be looked at, and of what takes long: one line, the right exit code, JSON alone."""

from __future__ import annotations

import json
import time

import pytest

from whet.cli.screen import Screen, only_json
from whet.recipe.block import Progress

NET = "nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))"
DATA = "Data.from_arrays(x, (x[:, 0] + x[:, 1] + noise > 0).long(), seed=self.seed)"


@pytest.mark.parametrize("verb", ["look", "check"])
@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("", ("missing argument 'TASK|PATH'",)),
        ("digits extra", ("extra",)),
        ("digits --sed 3", ("--sed", "Did you mean '--seed'?")),
        ("digits --seed -1", ("--seed", "at least 0, got -1")),
        ("digits --seed two", ("--seed", "a whole number, got 'two'")),
        ("digits --target label", ("--target label", "Leave --target out")),
        ("digtis", ("digtis", "Did you mean 'digits'?")),
        ("nowhere.py", ("nowhere.py", "no such file")),
        ("no.such:Thing", ("no.such", "no such module")),
    ],
)
def test_words(refused, verb, words, needed):
    refused(verb, *words.split(), needed=needed)


@pytest.mark.parametrize(
    ("old", "new", "needed"),
    [
        (NET, "nn.Sequential(nn.LazyLinear(2))", ("tiny.py: nothing of it could be checked", "0.weight has no shape yet")),
        (NET, "nn.Linear(4, 2, device='meta')", ("tiny.py: nothing of it could be checked", "meta device")),
        (DATA, "Data.from_arrays(x[:0], x[:0, 0].long())", ("there are no examples", "at least 10")),
        (DATA, "Data.from_arrays(x[:1], x[:1, 0].long().abs())", ("1 example is too few to divide",)),
        (DATA, "Data(iter([1]), iter([2]))", ("train is list_iterator, not a whet.Split", "default_collate")),
        (DATA, "Data.from_arrays([{}] * 120, x[:, 0])", ("list is no array of numbers",)),
    ],
)  # fmt: skip
def test_nothing_to_look_at(whet, refused, task, old, new, needed):
    refused("check", task(old, new), needed=needed, out=True)  # how far it is, where it takes long
    said = whet("check", task(old, new), "--json")
    assert (said.code, said.out) == (2, "")


def test_what_the_code_prints_does_not_spoil_the_json(whet, task):
    path = task(
        "import torch\n",
        "import torch\nprint('imported')\n",
        more="\n    def loss(self, params):\n        print('made')\n        return None\n",
    )
    for verb in ("look", "check"):
        said = whet(verb, path, "--json")
        assert isinstance(json.loads(said.out), dict)
        assert "imported" in said.err
    assert json.loads(said.out)["findings"][0]["code"] == "RUN"
    assert said.code == 1


def test_only_json_lets_other_text_through_when_it_is_not_wanted(capsys):
    for wanted in (True, False):
        with only_json(wanted):
            print("text")
        assert capsys.readouterr() == (("", "text\n") if wanted else ("text\n", ""))


def test_progress_comes_from_a_thread_and_only_when_it_takes_long(capsys, monkeypatch):
    monkeypatch.setattr("whet.cli.screen._TICK", 0.01)

    def look():
        return Progress("check", 0.5, "OF: check 14", "27", None, best="7 s so far")

    with Screen(plain=True).watching(look):
        pass
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("whet.cli.screen._EVERY", 0.0)
    with Screen(quiet=True).watching(look):
        ends = time.monotonic() + 20
        while not (said := capsys.readouterr()).err and time.monotonic() < ends:
            time.sleep(0.01)
    assert said.out == ""
    assert said.err.splitlines()[0] == "          OF: check 14 of 27, 7 s so far"
