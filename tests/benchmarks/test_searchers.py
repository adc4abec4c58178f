"""The benchmarks of searchers: each program at its smallest, and what it measures with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import search_crash
import search_models
import search_tables

ROOT = Path(__file__).parents[2]


def run(program: str, *args: object) -> str:
    """Run a benchmark; return what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / program), *map(str, args)], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder with one table: 3 x 2 configurations of which one is missing, three runs each."""
    folder = tmp_path / "hpo_curves"
    folder.mkdir()
    space = {"lr": [0.1, 0.01, 0.001], "kind": ["a", "b"]}
    index = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]]
    value = np.array([[5, 7, 6], [4, 4, 4], [1, 3, 2], [9, 9, 9], [8, np.nan, 8]], float)  # means 6, 4, 2, 9, 8
    np.savez(folder / "table_small.npz", space=json.dumps(space), index=index, value=value, goal="min")
    return tmp_path


def test_a_table_knows_its_optimum_and_what_it_lacks(tables: Path) -> None:
    table = search_tables.Table(tables / "hpo_curves" / "table_small.npz")
    assert (table.name, table.best, table.median) == ("small", 2.0, 6.0)
    assert table.value({"lr": 0.001, "kind": "a"}) == 8.0
    assert np.isnan(table.value({"lr": 0.001, "kind": "b"}))
    found = table.regret([float("nan"), 6.0, 9.0, 4.0, 2.0])  # (best so far - 2) / (6 - 2); 1 while there is none
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0, 0.5, 0.0])


def test_tables_are_played_to_the_optimum(tables: Path) -> None:
    out = run(
        "search_tables.py", "--data", tables, "--seeds", 2, "--evaluations", 6, "--search", "gp,random",
        "--peers", "optuna-random",
    )  # fmt: skip
    row = next(line for line in out.splitlines() if line.startswith("| small |"))
    assert row.split("|")[2:4] == [" 0.0000 (0.0000) ", " 0.0000 (0.0000) "]  # six different configurations are all


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"no table_\*\.npz"):
        run("search_tables.py", "--data", tmp_path)


def test_half_of_the_crash_region_raises_and_its_least_loss_is_right() -> None:
    rng = np.random.default_rng(0)
    values = np.array([search_crash.loss(search_crash.SPACE.sample(rng)) for _ in range(3000)])
    assert 0.45 < np.isnan(values).mean() < 0.55
    assert np.nanmin(values) >= search_crash.LEAST
    edge = {"width": 2048, "batch": 8, "depth": 17, "lr": 1e-3, "dropout": 0.2, "optimizer": "adam"}
    assert search_crash.loss(edge) == pytest.approx(search_crash.LEAST)
    assert np.isnan(search_crash.loss({**edge, "depth": 18}))
    assert search_crash.loss({**edge, "width": 1024}) > search_crash.LEAST


def test_the_crash_program_runs() -> None:
    out = run("search_crash.py", "--seeds", 1, "--evaluations", 15, "--search", "gp,random", "--peers", "none")
    assert "| gp | " in out
    assert "target under 20%" in out


def test_the_cost_program_runs() -> None:
    out = run("search_cost.py", "--seeds", 1, "--at", "20", "--asks", 3, "--search", "gp", "--peers", "optuna-tpe")
    rows = [line.split("|")[1:-1] for line in out.splitlines() if line.startswith(("| gp", "| optuna"))]
    assert [(row[0].strip(), row[-1].strip()) for row in rows] == [("gp", "3"), ("optuna-tpe", "3")]
    assert all(float(cell) > 0 for row in rows for cell in row[2:6])


def test_the_models_program_runs_without_data_and_says_what_it_lacks(tmp_path: Path) -> None:
    out = run(
        "search_models.py", "--seeds", 1, "--evaluations", 5, "--search", "random", "--peers", "none",
        "--tasks", "logistic digits", "--data", tmp_path,
    )  # fmt: skip
    assert "California housing is left out" in out
    assert "| logistic digits | 8 |" in out


def test_every_model_can_be_made_from_every_branch() -> None:
    rng = np.random.default_rng(0)
    for task in search_models.tasks(Path("/nowhere"), None):
        x, y, splits = task.data()
        fit = splits[0][0][:60]
        few = np.unique(np.concatenate([fit, *(np.flatnonzero(y == c)[:2] for c in np.unique(y)[:20])]))
        seen: set[tuple[str, ...]] = set()
        for _ in range(40):  # each of at most 8 branches comes with near certainty
            params = task.space.sample(rng)
            if (branch := tuple(params)) not in seen:
                seen.add(branch)
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of convergence
                    task.make(params).fit(x[few], y[few])


def test_a_value_is_kept_and_not_measured_again(tmp_path: Path) -> None:
    calls = []

    def make(params: dict) -> object:
        calls.append(params)
        if params["c"] > 1:
            raise ValueError("too large")
        return search_models.LogisticRegression(C=params["c"])

    def task() -> search_models.Task:
        space = search_models.Space(c=search_models.Float(0.1, 2))
        return search_models.Task("t", space, search_models.wine, make, search_models.wrong, tmp_path)

    first = task()
    value, failed = first.value({"c": 0.5}), first.value({"c": 1.5})
    n = len(calls)
    again = task()
    assert again.value({"c": 0.5}) == value
    assert np.isnan(failed)
    assert np.isnan(again.value({"c": 1.5}))
    assert len(calls) == n
    again.value({"c": 0.6})
    assert len(calls) > n


def test_fronts_are_played_and_kept(tmp_path: Path) -> None:
    """A whole table is its front; a second run plays nothing, as the file says."""
    folder = tmp_path / "hpo_curves"
    folder.mkdir()
    space = {"n_units_1": [16, 32], "n_units_2": [16, 32]}
    index = [[0, 0], [0, 1], [1, 0]]
    np.savez(
        folder / "table_small.npz",
        space=json.dumps(space),
        index=index,
        value=np.array([[3.0], [2.0], [1.0]]),
        goal="min",
    )
    words = ("search_front.py", "--data", tmp_path, "--quick", "--kept", tmp_path / "kept")
    out = run(*words, "--players", "tpe,optuna-motpe,optuna-nsga2")
    row = next(line for line in out.splitlines() if line.startswith("| small |"))
    assert row.split("|")[2].split()[2] == "0.0000"  # all three after 15 trials
    assert out.count("tpe misses") == 2
    lines = (tmp_path / "kept").read_text()
    assert len(lines.splitlines()) == 3
    assert run(*words, "--players", "tpe,optuna-motpe,optuna-nsga2") == out
    assert (tmp_path / "kept").read_text() == lines
