"""The replay of learning curves that benchmarks stand on: who is answered by what, and what is paid, on made-up curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from curves.bench import LCBench, TaskSet
from curves.figures import Results, measure
from curves.play import Ledger, optunas, ours
from schedule_curves import named
from whet import Float, Idle, Space, State, Verdict
from whet.tune.schedule.asha import Asha
from whet.tune.strategy import Start

STEPS = 9


def told(value: float) -> tuple[int, int]:
    """Return (row, step) of a value of `marked` curves."""
    return int(value // 100), round(value % 100)


def marked(rows: int = 60, broken: dict[int, int] | None = None) -> TaskSet:
    """Curves whose values tell their row and step; `broken`: row -> the step from which it is no number."""
    curves = np.array([[100.0 * row + step for step in range(1, STEPS + 1)] for row in range(rows)])
    for row, step in (broken or {}).items():
        curves[row, step - 1 :] = np.nan
    return TaskSet("made up", Space(x=Float(0.0, 1.0)), (np.arange(rows)[:, None] + 0.5) / rows, curves)


def test_a_proposal_is_answered_by_the_nearest_row_not_used_yet() -> None:
    bench = TaskSet("three", Space(x=Float(1.0, 100.0, log=True)), np.array([[0.1], [0.5], [0.9]]), np.eye(3))
    answer = bench.answers()
    # 10 lies at 0.5 on the logarithmic scale, at 0.09 on an even one; 12 at 0.54
    found = [answer({"x": x}) for x in (10.0, 12.0, 99.0, 10.0)]
    assert [None if f is None else int(f.argmax()) for f in found] == [1, 2, 0, None]
    again = bench.answers()({"x": 10.0})
    assert again is not None
    assert again.argmax() == 1, "another study begins with every row"


def test_rows_are_read_on_logarithmic_scales_and_betas_as_one_minus_beta(tmp_path) -> None:
    names = "learning_rate beta1 beta2 epsilon l1 l2 linear_decay exponential_decay".split()
    x = np.array([[1e1, 0.99, 0.999, 1e-10, 1e-8, 1e1, 1e-7, 1e-3]])
    curves = np.array([[3.0, 1.0, 2.0]], np.float32)
    np.savez(tmp_path / "taskset_one.npz", names=np.array(names), x=x, valid=curves, train=curves, test=curves)
    bench = TaskSet.read(tmp_path / "taskset_one.npz")
    place = dict(zip(bench.space, bench.rows[0].round(6), strict=True))
    assert place == {
        "learning_rate": 1.0, "one_minus_beta1": 0.5, "one_minus_beta2": 0.5, "epsilon": 0.0,
        "l1": 0.0, "l2": 1.0, "linear_decay": 0.0, "exponential_decay": 1.0,
    }  # fmt: skip
    assert (bench.name, bench.steps, bench.optimum) == ("one", 3, 1.0)


def test_the_optimum_is_of_all_finite_values_and_the_median_of_the_finite_last_ones() -> None:
    curves = np.array([[0.1, np.inf], [2.0, 3.0], [2.0, 5.0], [-np.inf, 9.0]])
    bench = TaskSet("four", Space(x=Float(0.0, 1.0)), np.zeros((4, 1)), curves)
    assert (bench.optimum, bench.median) == (0.1, 5.0)


WHOLE = [ours("random", "full", n, 0.5) for n in (1, 4)]


class Surrogate:
    """Stands in for the model: an accuracy that is the best at momentum 0.5, and grows with the epochs."""

    largest = 0

    def run(self, names, given):
        assert given["x_cat"].dtype == np.int32
        assert set(given["x_cat"].ravel()) == {7}
        assert given["x_cont"].dtype == np.float32
        self.largest = max(self.largest, len(given["x_cont"]))
        epoch, batch, momentum = given["x_cont"][:, 0], given["x_cont"][:, 1], given["x_cont"][:, 3]
        return [np.stack([epoch, epoch - 10 * np.abs(momentum - 0.5), batch], 1)]


def test_a_surrogate_is_asked_for_whole_curves_in_calls_of_bounded_size() -> None:
    names = {n: Float(0.0, 1.0) for n in LCBench.INPUTS[1:]}
    model = Surrogate()
    bench = LCBench(model, Space(**names), 7, "fitted")
    assert model.largest <= 64 * bench.steps
    assert 51.999 < bench.optimum <= 52.0
    assert 49.0 < bench.median < 50.0  # |momentum - 0.5| is 0.25 in the middle
    curve = bench.answers()(dict.fromkeys(names, 0.2))
    assert curve is not None
    assert np.allclose(curve, np.arange(1, 53) - 3.0)


@pytest.mark.parametrize(
    "play",
    [
        *WHOLE,
        *(ours("random", schedule, n, 0.5) for schedule in ("asha", "median") for n in (1, 4)),
        *(optunas("random", pruner) for pruner in ("halving", "hyperband", "median")),
    ],
)
def test_the_budget_is_spent_to_the_epoch_and_no_epoch_is_paid_twice(play) -> None:
    broken = {row: 1 + row % 5 for row in range(0, 60, 3)}
    bench, budget = marked(broken=broken), 10 * STEPS
    ledger = play(bench, 1, budget)
    assert len(ledger.values) == budget
    assert ledger.spent
    steps: dict[int, list[int]] = {}
    for value in ledger.values:
        if math.isfinite(value):
            row, step = told(value)
            steps.setdefault(row, []).append(step)
    for row, seen in steps.items():
        assert seen == list(range(1, len(seen) + 1)), f"row {row} was paid for at {seen}"
        assert row not in broken or len(seen) < broken[row]
    if play not in WHOLE:
        assert ledger.trials > 15, "what is paused or pruned is not trained on"
    failures = sum(not math.isfinite(v) for v in ledger.values)
    gone = [row for row, at in broken.items() if len(steps.get(row, [])) == at - 1]
    assert 0 < failures <= len(gone), "a failure is paid once, and its trial does not go on"
    assert ledger.trials <= len(steps) + failures


def test_full_trainings_are_counted_out() -> None:
    for play in (ours("random", "full"), ours("sobol", "full", 5)):
        ledger = play(marked(), 0, 10 * STEPS)
        assert len({told(v)[0] for v in ledger.values}) == 10
        assert sorted(told(v)[1] for v in ledger.values) == sorted(10 * [*range(1, STEPS + 1)])


def test_a_study_ends_when_every_row_is_used() -> None:
    for play in (ours("random", "full"), ours("random", "full", 4), optunas("random", "median")):
        ledger = play(marked(rows=3), 0, 10 * STEPS)
        assert ledger.trials == 3
        assert len(ledger.values) <= 3 * STEPS < ledger.budget
        assert len(ledger.regret(marked(rows=3))) == 10 * STEPS


def test_workers_move_side_by_side_on_the_virtual_clock() -> None:
    ledger = ours("random", "full", 2)(marked(), 0, 4 * STEPS)
    rows, steps = zip(*map(told, ledger.values), strict=True)
    assert steps[:6] == (1, 1, 2, 2, 3, 3)
    assert rows[:2] == rows[2:4]
    assert rows[0] != rows[1]
    assert ledger.time == 2 * STEPS, "two workers take half the time"
    assert ours("random", "full", 1)(marked(), 0, 4 * STEPS).time == 4 * STEPS


def test_durations_differ_between_trials_and_reports_come_in_their_order() -> None:
    ledger = ours("random", "full", 2, 1.0)(marked(), 0, 4 * STEPS)
    rows = [told(v)[0] for v in ledger.values]
    first, second = rows[: 2 * STEPS].count(rows[0]), rows[: 2 * STEPS].count(next(r for r in rows if r != rows[0]))
    assert ledger.time != 2 * STEPS
    assert first != second or rows[:4] != [rows[0], rows[1]] * 2


@dataclass(frozen=True)
class OneByOne:
    """Starts a trial when none is running."""

    def pick(self, trials, rng):
        return Idle.WAIT if any(t.state is State.RUNNING for t in trials) else Start()

    def judge(self, trial, trials):
        return Verdict.GO

    def keep(self, trials):
        return set()


def test_who_is_told_to_wait_asks_again_and_a_trial_at_its_end_is_told() -> None:
    ledger = ours("random", OneByOne(), 3)(marked(), 0, 4 * STEPS)
    assert ledger.time == 4 * STEPS, "nothing runs side by side"
    assert [told(v)[1] for v in ledger.values] == 4 * [*range(1, STEPS + 1)]


def test_pairs_are_named_with_their_options() -> None:
    found = named("gp+asha,random+asha:first=3;factor=4,none")
    assert found == {"gp+asha": ("gp", "asha"), "random+asha:first=3;factor=4": ("random", Asha(factor=4, first=3))}
    for wrong in ("gp", "gp+asha+full"):
        with pytest.raises(SystemExit, match=r"not SEARCH\+SCHEDULE"):
            named(wrong)


def test_eight_workers_are_given_different_rows_by_one_study() -> None:
    ledger = ours("random", "asha", 8)(marked(), 0, 8)
    assert len({told(v)[0] for v in ledger.values}) == 8
    assert {told(v)[1] for v in ledger.values} == {1}


def test_regret_is_of_the_best_so_far_between_optimum_and_median() -> None:
    bench = TaskSet("two", Space(x=Float(0.0, 1.0)), np.zeros((3, 1)), np.array([[1.0, 5.0], [4.0, 3.0], [2.0, 9.0]]))
    assert (bench.optimum, bench.median) == (1.0, 5.0)
    ledger = Ledger(6)
    for value in (math.nan, 7.0, 3.0, 4.0, 1.0):
        ledger.pay(value)
    assert ledger.regret(bench).tolist() == [1.0, 1.5, 0.5, 0.5, 0.0, 0.0]
    bench.goal, bench.optimum, bench.median = "max accuracy", 9.0, 5.0
    assert ledger.regret(bench).tolist() == [1.0, 0.5, 0.5, 0.5, 0.5, 0.5]


def test_nothing_can_be_paid_beyond_the_budget() -> None:
    ledger = Ledger(1)
    ledger.pay(1.0)
    with pytest.raises(AssertionError, match="beyond the budget"):
        ledger.pay(1.0)


def test_the_summary_says_when_the_best_peers_regret_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    def falls(after: int):
        def play(bench, seed: int, budget: int) -> Ledger:
            ledger = Ledger(budget)
            for step in range(1, budget + 1):
                ledger.pay(bench.optimum if step >= after else bench.median)
            return ledger

        return play

    players = {"soon": falls(2 * STEPS), "late": falls(25 * STEPS), "never": falls(10**6), "peer": falls(20 * STEPS)}
    results = measure([marked()], players, 2, 30)
    assert isinstance(results, Results)
    assert results.reaches("soon", 0.0) == 2.0
    assert results.reaches("late", 0.5) == 25.0
    lines = results.summary(["soon", "late", "never"], ["never", "peer"])
    assert lines[0] == "mean regret 0.0000 (peer, 30 full trainings) is reached after"
    assert lines[1:] == [
        "- soon: 2.0 full trainings", "- late: 25.0 full trainings", "- never: more than 30 full trainings",
    ]  # fmt: skip
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| made up"))
    assert row == "| made up | " + " | ".join([
        "0.000 0.000 0.000 0.000 (+- 0.000)", "1.000 1.000 1.000 0.000 (+- 0.000)",
        "1.000 1.000 1.000 1.000 (+- 0.000)", "1.000 1.000 0.000 0.000 (+- 0.000)",
    ]) + " |"  # fmt: skip
