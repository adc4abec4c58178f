"""The benchmark of two goals under early stopping: what is paid, and what counts, on made-up curves."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

import front_stopping
from front_stopping import CORNER, MARKS, Ledger, Trade, ours, played, theirs, weights
from whet import Float, Int, Space
from whet.tune.hypervolume import hypervolume

SPACE = Space(num_layers=Int(1, 4), max_units=Int(64, 1024, log=True), learning_rate=Float(1e-4, 1e-1, log=True))


class MadeUp(Trade):
    """Larger networks and middling rates are better; curves rise and fall by a hair at the end."""

    steps = 9

    def __init__(self) -> None:
        super().__init__(None, SPACE, 0, "made up")

    def _curves(self, units: np.ndarray) -> np.ndarray:
        top = 60 + 30 * units[:, 1] - 40 * (units[:, 2] - 0.5) ** 2
        steps = np.arange(1, self.steps + 1)
        return top[:, None] * (1 - 0.5 / steps) - 0.1 * (steps == self.steps)


@pytest.fixture(scope="module")
def trade() -> MadeUp:
    return MadeUp()


@pytest.mark.parametrize(("layers", "units"), [(1, 64), (4, 1024), (3, 100)])
def test_the_size_is_that_of_the_funnel(layers: int, units: int) -> None:
    step = (units - 2) / layers
    widths = [32, *(round(units - i * step) for i in range(layers)), 2]
    net = torch.nn.Sequential(*(torch.nn.Linear(a, b) for a, b in pairwise(widths)))
    assert weights({"num_layers": layers, "max_units": units}) == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    "name", ["random+asha", "tpe+hyperband", "evolution+asha", "random+full@first", "optuna-motpe"]
)
def test_a_budget_is_spent_to_the_epoch(trade: MadeUp, name: str) -> None:
    ledger = (theirs if name.startswith("optuna") else ours)(trade, name, 1, 95)
    assert ledger.spent
    assert len(ledger.points) == 95
    missed = ledger.missed()
    assert len(missed) == MARKS
    assert all(0 <= b <= a <= 1 for a, b in pairwise(missed))
    full = name == "random+full@first" or name.startswith("optuna")
    assert ledger.trials == 11 if full else ledger.trials > 11


def test_every_report_counts_as_far_as_it_was_paid(trade: MadeUp) -> None:
    ledger = Ledger(trade, 20)
    for step in range(20):
        ledger.pay(trade.median + step, 4.0)
    found = trade.points(np.array([trade.median + 9]), np.array([4.0]))
    assert ledger.missed()[MARKS // 2 - 1] == pytest.approx(1 - hypervolume(found, CORNER) / trade.whole)
    with pytest.raises(AssertionError):
        ledger.pay(1.0, 1.0)


def test_plays_are_kept(trade: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept"
    found = played(trade, "random+asha", 0, budget=45, kept=kept)
    monkeypatch.setattr(front_stopping, "ours", None)
    assert played(trade, "random+asha", 0, budget=45, kept=kept) == found
    assert len(kept.read_text().splitlines()) == 1


def test_optuna_cannot_stop_a_trial_of_two_goals() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    trial = study.ask()
    for said in (lambda: trial.report(0.5, 1), trial.should_prune):
        with pytest.raises(NotImplementedError):
            said()
