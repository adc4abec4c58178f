"""The section of what matters: it states its findings, in words and in numbers, and says when it cannot tell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from whet.report import Report, study_report
from whet.report.block import Plot, Table
from whet.report.importance import importance_section, in_short, mattered, sentence
from whet.tune.importance import importance
from whet.tune.space import Choice, Float, Int, Space
from whet.tune.trial import Goal, State, Trial, Trials

SPACE = Space(
    lr=Float(1e-5, 1.0, log=True),
    act=Choice(["relu", "gelu", "silu"]),
    opt=Choice({"sgd": Space(momentum=Float(0, 1)), "adam": None}),
    width=Int(8, 512, log=True),
)


def accuracy(p: Any) -> float:
    return 0.97 - 0.02 * (math.log10(p["lr"]) + 2.5) ** 2 - (0.06 if p["act"] == "relu" else 0.0)


def made(n: int = 80, f: Any = accuracy, *, failing: bool = False) -> Trials:
    rng = np.random.default_rng(4)
    found = []
    for id in range(n):
        p = SPACE.sample(rng)
        wrong = failing and id % 10 == 3
        found.append(Trial(id, p, State.FAILED if wrong else State.DONE, value=None if wrong else f(p)))
    return Trials(found, space=SPACE, goals=(Goal("accuracy", "max"),))


@pytest.mark.parametrize(("n", "there"), [(19, False), (20, True)])
def test_it_is_there_from_20_trials(n: int, there: bool) -> None:
    assert (mattered(made(n)) is not None) == there


def test_it_says_what_matters_and_what_does_not() -> None:
    section = mattered(made())
    assert section is not None
    assert section.sentence.startswith("lr matters most (")
    assert "then act (" in section.sentence
    assert "width" in section.sentence.partition("; ")[2]
    assert "not matter" in section.sentence
    plots = [b for b in section.blocks if isinstance(b, Plot)]
    shares, curves = plots[0], plots[1:]
    row = shares.table.rows[0]
    assert (row[0], row[6], row[7]) == ("lr", "matters", "everywhere")
    assert row[2] <= row[1] <= row[3] <= 1.0
    assert next(r for r in shares.table.rows if r[0] == "opt.momentum")[7] == "with opt sgd, 50 % of the space"
    assert [c.title.partition(" (")[0] for c in curves][:2] == ["lr", "act"]
    assert "best on average near 0.0" in curves[0].title
    assert "best on average with " in curves[1].title
    assert "relu" not in curves[1].title
    together = next(b for b in section.blocks if isinstance(b, Table))
    assert "three or more together" in together.note


def test_the_page_holds_it_and_its_numbers_are_those_of_the_text() -> None:
    report = Report("x", (importance_section(importance(made(), pairs=True)),))
    assert "lr matters most" in report.text()
    assert "lr matters most" in report.html()


def test_of_noise_it_says_that_it_cannot_tell() -> None:
    rng = np.random.default_rng(0)
    section = mattered(made(60, lambda p: float(rng.random())))
    assert section is not None
    assert section.sentence.startswith("Cannot tell what matters: from 60 trials the model does not predict accuracy")
    assert "take the shares for nothing" in section.json()["blocks"][0]["text"]


def test_near_the_top_and_failed_ones_are_said() -> None:
    found = importance(made(200, failing=True), top=0.3)
    assert "among the best 30 %" in sentence(found)
    text = importance_section(found).json()["blocks"][0]["text"]
    assert "Only the best 30 % tell" in text
    assert "nothing of the 20 that failed" in text


def test_in_short_only_what_is_known_is_said() -> None:
    rng = np.random.default_rng(0)
    assert in_short(made()).startswith("lr matters most (")
    assert in_short(made(60, lambda p: float(rng.random()))) == ""
    assert in_short(made(19)) == in_short(made(401)) == in_short(made(30, lambda p: 0.5)) == ""


def test_trials_that_are_no_configurations_leave_the_section_out() -> None:
    trials = list(made(30))
    trials[3] = Trial(3, {"unknown": object(), "lr": "x"}, State.DONE, value=0.5)  # type: ignore[dict-item]
    assert mattered(Trials(trials, space=SPACE)) is None
    names = [s.name for s in study_report("x", made(30)).sections]
    assert names.index("importance") == names.index("landscape") + 1
