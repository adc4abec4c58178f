"""Saved models: what is loaded is what was saved, damage is found, and a failure leaves the older one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from whet.deploy import Bundle, load, save
from whet.deploy.bundle import CARD, GRAPH, WEIGHTS
from whet.errors import ExportError
from whet.models import Mlp
from whet.squeeze import Average

X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))


def build(params: Mapping[str, Any]) -> nn.Module:
    return Mlp(4, 3, width=params["width"], depth=params["depth"], norm="batch")


def keep(folder: Path, seed: int = 0, **more: Any) -> tuple[nn.Module, Bundle]:
    torch.manual_seed(seed)
    params = {"width": 8, "depth": 2}
    model = build(params)
    model(X)
    options = {"classes": ["a", "b", "c"], "meta": {"encoding": {}}, "metrics": {"accuracy": 0.9}} | more
    bundle, done = save(folder, model, X, task="my.py:Mine", members=[(params, 1.0)], **options)
    assert done.path == folder / GRAPH
    return model.eval(), bundle


def test_one_model_comes_back(tmp_path: Path) -> None:
    model, bundle = keep(tmp_path / "runs" / "model")
    assert sorted(p.name for p in bundle.folder.iterdir()) == sorted([CARD, GRAPH, WEIGHTS])
    again = load(bundle.folder)
    assert again == bundle
    assert (again.task, again.classes, again.kind) == ("my.py:Mine", ("a", "b", "c"), "classification")
    assert (again.metrics, again.meta) == ({"accuracy": 0.9}, {"encoding": {}})
    loaded = again.model(build)
    assert not loaded.training
    assert torch.equal(loaded(X), model(X))
    np.testing.assert_allclose(again.deployed()(X), model(X).detach(), rtol=1e-4, atol=1e-5)


def test_an_ensemble_comes_back(tmp_path: Path) -> None:
    members = [({"width": 4 * (i + 1), "depth": i}, i + 1.0) for i in range(3)]
    model = Average([build(p) for p, _ in members], [w for _, w in members], kind="classification")
    model(X)
    bundle, _ = save(tmp_path / "m", model, X, task="t", members=members, classes=["a", "b", "c"])
    assert torch.equal(load(bundle.folder).model(build)(X), model.eval()(X))


@pytest.mark.parametrize("sure", [1.0, 30.0, 100.0])
@pytest.mark.parametrize("labels", [1, 3])
def test_an_ensemble_of_labels_comes_back(tmp_path: Path, labels: int, sure: float) -> None:
    """Also of models that are very sure: log(sigmoid(x)), as an exporter would write it, is minus infinity there."""
    models = [nn.Linear(4, labels) for _ in range(3)]
    for model in models:
        model.weight.data.mul_(sure)
    average = Average(models, kind="classification", labels=True).eval()
    bundle, _ = save(tmp_path / "m", average, X, task="t", members=[({}, 1 / 3)] * 3)
    again = load(bundle.folder).model(lambda _: nn.Linear(4, labels))
    assert torch.equal(again(X), average(X))
    np.testing.assert_allclose(bundle.deployed()(X), average(X).detach(), rtol=1e-4, atol=1e-4)


def test_tied_weights_come_back(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.relu(self.a(x)))

    model = Tied()
    bundle, _ = save(tmp_path / "m", model, X, task="t", members=[({}, 1.0)])
    loaded = bundle.model(lambda _: Tied())
    assert isinstance(loaded, Tied)
    assert loaded.a.weight is loaded.b.weight
    assert torch.equal(loaded(X), model(X))


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS, CARD])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_is_found(tmp_path: Path, name: str, damage: str) -> None:
    _, bundle = keep(tmp_path / "m")
    file = bundle.folder / name
    data = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    else:
        data[len(data) // 2] ^= 0x80
        file.write_bytes(data if damage == "flip" else data[: len(data) // 2])
    with pytest.raises(ExportError) as caught:
        load(bundle.folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_that_changed_is_found(tmp_path: Path) -> None:
    _, bundle = keep(tmp_path / "m")
    with pytest.raises(ExportError, match=r"my\.py:Mine.* no longer makes this model"):
        bundle.model(lambda params: Mlp(4, 3, width=16))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    _, bundle = keep(tmp_path / "m")
    card = json.loads((bundle.folder / CARD).read_text())
    (bundle.folder / CARD).write_text(json.dumps(card | {"format": 99}))
    with pytest.raises(ExportError, match="newer whet"):
        load(bundle.folder)


def test_the_older_one_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    old, _ = keep(tmp_path / "m", 0)
    for bad in ({"metrics": {"x": object()}}, {"meta": {"x": float("inf")}}):
        with pytest.raises(ExportError, match="not JSON"):
            keep(tmp_path / "m", 1, **bad)
        assert torch.equal(load(tmp_path / "m").model(build)(X), old(X))
    new, _ = keep(tmp_path / "m", 1)
    assert torch.equal(load(tmp_path / "m").model(build)(X), new(X))
    assert not torch.equal(new(X), old(X))
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportError, match="is not a saved model"):
        keep(tmp_path / "thesis")
    with pytest.raises(ExportError, match="is not a saved model"):
        load(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "years of work"
