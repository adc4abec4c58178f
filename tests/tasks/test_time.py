"""A task over a series: from words to a task, to another process, and to a model that predicts what comes next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from whet.cli.options import again
from whet.data import apply_encoding
from whet.data.series_lags import lag_rows, last_values
from whet.deploy import bundle
from whet.errors import DataError, TaskError
from whet.tasks import TableTask, reference, resolve, restore


def csv(folder: Path, n: int = 120) -> str:
    y = np.cumsum(np.random.default_rng(0).normal(size=n)).round(3)
    path = folder / "walk.csv"
    pd.DataFrame({"when": pd.date_range("2024-01-01", periods=n).astype(str), "y": y}).to_csv(path, index=False)
    return str(path)


def test_the_column_of_times_travels_with_the_task(tmp_path: Path) -> None:
    path = csv(tmp_path)
    for time, series in ((None, True), ("when", True), ("none", False)):
        task = resolve(path, target="y", time=time)
        assert ("series" in task.data({}).meta) is series
        known = reference(task)
        assert known.get("time") == time
        same = restore(known).data({})
        assert torch.equal(same.train.targets, task.data({}).train.targets)
        assert reference(TableTask(path, "y", time=time)) == known
    assert "time" not in reference(resolve(path, target="y"))  # as studies before there was one have it
    assert again("a.csv", ["y"], None, "none") == "a.csv --target y --time none"


def test_what_has_no_time_says_so(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="Leave --time out"):
        resolve("digits", time="when")
    with pytest.raises(TaskError, match="Leave --time out"):
        resolve(str(tmp_path), time="when")
    with pytest.raises(DataError, match="no column 'then'"):
        resolve(csv(tmp_path), target="y", time="then")


def test_an_exported_model_predicts_the_next_step(tmp_path: Path) -> None:
    path = csv(tmp_path)
    task = TableTask(path, "y")
    data = task.data({})
    torch.manual_seed(0)
    params = {"net": "linear"}
    model = task.model(params).eval()
    done, _ = bundle.save(
        tmp_path / "model", model, data.valid.inputs, task=path, members=[(params, 1.0)], meta=data.meta
    )
    meta = bundle.load(done.folder).meta
    history = pd.read_csv(path)
    rows = lag_rows(history, meta["series"])
    inputs = apply_encoding(meta["encoding"], rows.iloc[[-1]])
    out = done.deployed()(tuple(p.numpy() for p in inputs))
    with torch.no_grad():
        assert np.allclose(out, model(*inputs).numpy(), atol=1e-5)


def test_the_verbs_take_the_option(tmp_path: Path) -> None:
    from whet.cli.main import app, main

    path = csv(tmp_path)
    main(["--version"])  # adds the verbs
    seen = CliRunner().invoke(app, ["look", path, "--target", "y", "--time", "none"])
    assert "LOOKAHEAD" in seen.output
    assert "--time none" in seen.output.split("next")[-1]
    seen = CliRunner().invoke(app, ["look", path, "--target", "y"])
    assert "series 2024-01-01" in seen.output


def test_the_last_value_is_read_from_the_inputs(tmp_path: Path) -> None:
    data = TableTask(csv(tmp_path), "y").data({})
    y = pd.read_csv(tmp_path / "walk.csv").y.to_numpy()
    for split in (data.train, data.valid, data.sealed()):
        assert np.allclose(last_values(data, split), y[split.ids - 1], atol=1e-5)
