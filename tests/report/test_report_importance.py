"""The section of what matters: it states its findings, in words and in numbers, and says when it cannot tell."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whet.report import Report, study_report
from whet.report.block import Plot, Section, Table
from whet.report.importance import importance_section, in_short, sentence, weighed
from whet.report.landscape import landscape_section
from whet.tune.importance import importance
from whet.tune.landscape import landscape
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


def mattered(trials: Trials) -> Section | None:
    found = weighed(trials)
    return None if found is None else importance_section(found)


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


def section_of(trials: Trials, name: str) -> str:
    return next(s.sentence for s in study_report("x", trials).sections if s.name == name)


def test_the_model_expects_and_only_this_says_what_matters() -> None:
    """A process fitted to noise expects something as well. Two sections of one report must not say the opposite of each other."""
    rng = np.random.default_rng(3)

    def almost(p: Any) -> float:
        return accuracy(p) * 0.02 + float(rng.normal())

    found = [made(n, almost) for n in (20, 25, 30, 40)]
    said = [(section_of(t, "landscape"), section_of(t, "importance")) for t in found]
    assert all(b.startswith("Cannot tell what matters") for _, b in said)
    assert all("matters most" not in a for a, _ in said)
    surely = [a for a, _ in said if "The best is expected near" in a]
    assert surely, "the process was not sure of anything in any of them, so this shows nothing"
    assert all(a.endswith("That may be chance: see What matters.") for a in surely)
    assert section_of(made(12), "landscape").endswith(" With 12 trials that may be chance.")
    sure = section_of(made(), "landscape")
    assert sure.startswith("The best is expected near lr 0.00")
    assert "most of what differs is expected along lr (" in sure
    assert "see What matters" not in sure.partition("then")[0]


def test_a_plot_of_its_own_names_the_command_that_tells_what_may_be_chance() -> None:
    trials = made()
    found, whole = landscape(trials), importance(trials)
    unsure = replace(whole, parts=tuple(replace(p, verdict="cannot tell") for p in whole.parts))
    said = landscape_section(found, found.slices(), whole=True, matter=unsure)
    assert said.sentence.endswith(" That may be chance: whet study importance tells more.")


def test_shares_in_tables_are_told_to_a_tenth_of_a_percent() -> None:
    section = importance_section(importance(made(), pairs=True))
    tables = [b if isinstance(b, Table) else b.table for b in section.blocks[1:3]]
    cells = [c for t in tables for row in t.rows for c in row if isinstance(c, float)]
    assert len(cells) > 10
    assert all(c == round(c, 3) for c in cells)
