"""What docs/stopping.md shows can be run, and what it tabulates can be read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

from whet import Data, Float, Run, Space, Study, Task
from whet.stop import RUN, STUDY, parse
from whet.tune.budget import Budget

PAGE = (Path(__file__).parents[2] / "docs" / "stopping.md").read_text()
ROWS = re.findall(r"^\| `([^`]+)` \|.*\| (x?)[^|]*\| (x?)[^|]*\|$", PAGE, re.MULTILINE)
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^(whet .*?)(?:\s+#.*)?$", PAGE, re.MULTILINE)


class Tiny(Task):
    space = Space(lr=Float(1e-3, 1e-1, log=True))
    steps = 12

    def data(self, params):
        x = torch.randn(60, 4, generator=torch.Generator().manual_seed(5))
        return Data.from_arrays(x, (x[:, 0] > 0).long(), seed=self.seed)

    def model(self, params):
        return nn.Linear(4, 2)


@pytest.mark.parametrize(("text", "run", "study"), ROWS)
def test_every_row_of_the_table(text, run, study):
    word = text.split()[0]
    assert (word in RUN, word in STUDY) == (bool(run), bool(study))
    parse(text, study=not run)


def test_the_table_has_every_word():
    assert {t.split()[0] for t, _, _ in ROWS} == set(RUN) | set(STUDY)


def test_the_code():
    names = {"run": Run(Tiny(), {"lr": 0.01}), "train": lambda params: params["lr"], "state": None}
    for block in BLOCKS:
        exec(block, names)
    assert names["why"]
    study = Study(Tiny.space, search="random", schedule="full", steps=12).run(names["objective"], trials=1)
    assert study.spent.steps == 6
    assert study.records("ended")


def test_the_commands():
    assert len(COMMANDS) == 5
    for command in COMMANDS:
        words = shlex.split(command)
        given = dict(zip(words[3::2], words[4::2], strict=True))
        if "--stop" in given:
            parse(given["--stop"], "max")
        if "--until" in given:
            parse(given["--until"], "max", study=True)
        Budget.of(given.get("--budget")).priced(given.get("--price"))
