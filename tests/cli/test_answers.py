"""`--rule ec` and `codistil` for what is no class an example: several labels are trained by real processes, what has no mean is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

ANSWERS = Path(__file__).resolve().parents[1] / "distributed" / "answers.py"


@pytest.fixture
def answers(tmp_path: Path) -> str:
    shutil.copy(ANSWERS, tmp_path)
    return "answers.py"


@pytest.mark.parametrize(("kind", "rule"), [("Labels", "ec(every=3)"), ("Last", "codistil(every=2, burn_in=2)")])
def test_several_labels_and_classes_of_positions_are_trained(whet, answers, kind, rule):
    said = whet("train", f"{answers}:{kind}", "--workers", "2", "--rule", rule, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)["distributed"]["ensemble"]
    assert found["loss"] <= found["mean"]
    assert "each member's own statistics are saved" in said.err


@pytest.mark.parametrize("rule", ["ec", "codistil"])
@pytest.mark.parametrize("kind", ["Wide", "Chances"])
def test_what_has_no_mean_is_refused_before_anything_is_trained(refused, answers, kind, rule):
    needed = (kind, "models", "teach each other", "or train with a rule that averages no outputs")
    for words in (("train",), ("simulate", "--no-baseline")):
        refused(*words, f"{answers}:{kind}", "--workers", "2", "--rule", rule, needed=needed)


def test_a_search_says_why_no_trial_could_be(whet, answers, tmp_path):
    task = tmp_path / answers
    more = "\n    space = Space(lr=Float(0.01, 0.1), workers=Const(2), rule=Choice(['ec']))\n"
    text = task.read_text().replace('    """A mean and a spread', f'    {more}    """A mean and a spread')
    task.write_text(
        text.replace("from torch import nn\n", "from torch import nn\n\nfrom whet import Choice, Const, Float, Space\n")
    )
    said = whet("tune", f"{answers}:Wide", "--budget", "2trials", "--workers", "1")
    assert said.code == 2
    assert "all 2 trials failed" in said.err
    assert "TaskError: Wide.model: where models teach each other" in said.err
