"""The task file that cleans: it runs as it stands, for every kind of task, and its steps are those proposed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from whet.data import Data, Split, look
from whet.data.seen.proposal import proposals
from whet.errors import UsageError
from whet.tasks import resolve
from whet.tasks.cleaned import clean_file, cleaned_task, write_clean

OWN = """
    import numpy as np
    from torch import nn
    from whet import Data, Float, Space, Task

    class Mine(Task):
        space = Space(lr=Float(1e-4, 1e-1, log=True))
        steps = 5

        def data(self, params):
            x = np.random.default_rng(0).normal(size=(120, 3))
            x[60:90] = x[:30]
            y = (x[:, 0] > 0).astype(int)
            return Data.from_arrays(x, y, seed=self.seed)

        def model(self, params):
            return nn.Linear(3, 2)

    class Other(Mine):
        pass

    ready = Mine()
"""


def cleaned(path, task, text, **more):
    """Write the clean task of `text`, and return it with what was proposed."""
    steps = proposals(task.data({}), look(task.data({})))
    write_clean(task, steps, path, command=f"whet look {text}", **more)
    return resolve(str(path)), steps


def left(task):
    return {f.code for f in look(task.data({})).findings}


def messy_table(path, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(300, 3)).round(4)
    y = np.where(x[:, 0] + rng.normal(size=300) > 0, "yes", "no")
    frame = pd.DataFrame(x, columns=["a", "b", 'c "d"']).assign(
        **{"paid late": y == "yes", "town": rng.choice(list("pqr"), 300), "y": y}
    )
    pd.concat([frame, frame.iloc[:40]]).to_csv(path, index=False)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_table(tmp_path, seed):
    messy_table(tmp_path / "t.csv", seed)
    task = resolve(str(tmp_path / "t.csv"), target="y", seed=seed)
    assert {"LEAK", "DUPLICATE"} <= left(task)
    new, steps = cleaned(tmp_path / "t_clean.py", task, "t.csv --target y")
    assert [p.step for p in steps if p.live] == ["drop_columns", "drop_duplicates"]
    assert not {"LEAK", "DUPLICATE"} & left(new)
    assert new.name == "t_clean", "a study of its own"
    data = new.data({})
    assert data is new.data({}), "cleaned once"
    assert new.model(new.first)(*data.valid.parts).shape == (len(data.valid), 2)
    assert "paid late" not in data.features
    again = resolve(str(tmp_path / "t_clean.py"), seed=5).data({})
    assert len(again.meta["cleaned"]) == 2, "another division is cleaned as well"


def test_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(160):
        (tmp_path / "pets" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (8, 8)).astype(np.uint8) // (1 if i % 2 else 3)
        pixels = np.zeros_like(pixels) if i in (10, 50) else pixels
        for copy in ("", "_copy") if i < 60 else ("",):
            Image.fromarray(pixels).save(tmp_path / "pets" / "ab"[i % 2] / f"{i:03d}{copy}.png")
    task = resolve(str(tmp_path / "pets"))
    assert {"BLANK", "DUPLICATE"} <= left(task)
    new, _ = cleaned(tmp_path / "pets_clean.py", task, "pets")
    assert not {"BLANK", "DUPLICATE"} & left(new)
    for split in (new.data({}).train, new.data({}).valid):
        assert (split.inputs.float().flatten(1).std(1) > 1).all()


@pytest.mark.parametrize("name", ["mine.py:Mine", "mine.py:ready", "shop.tasks:Mine", "shop.tasks:ready"])
def test_a_task_of_ones_own(tmp_path, monkeypatch, name):
    (tmp_path / "mine.py").write_text(textwrap.dedent(OWN))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "tasks.py").write_text(textwrap.dedent(OWN))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    task = resolve(name)
    new, steps = cleaned(tmp_path / "mine_clean.py", task, name)
    assert any(p.step == "drop_duplicates" and p.live for p in steps)
    assert "DUPLICATE" not in left(new)
    assert (new.name, new.steps) == ("mine_clean", 5)
    assert new.model({}).weight.shape == (2, 3)
    for module in [m for m in sys.modules if m.startswith("shop")]:
        monkeypatch.delitem(sys.modules, module)


def test_another_process_makes_the_same_task(tmp_path):
    messy_table(tmp_path / "t.csv", 0)
    new, _ = cleaned(tmp_path / "t_clean.py", resolve(str(tmp_path / "t.csv"), target="y"), "t.csv")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    code = "from whet.tasks import restore; d = restore({'task': %r, 'seed': 0}).data({}); print(len(d.train), int(d.train.ids.sum()))"
    said = subprocess.run(
        [sys.executable, "-c", code % str(tmp_path / "t_clean.py")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=env,
    )
    train = new.data({}).train
    assert said.stdout.split() == [str(len(train)), str(int(train.ids.sum()))]


def test_what_needs_a_person_is_written_as_comments_that_can_be_uncommented(tmp_path):
    task = resolve("digits")
    data = task.data({})
    train = data.train.targets.clone()
    flipped = list(range(0, 600, 20))
    train[flipped] = (train[flipped] + 1) % 10
    noisy = Data(
        Split(data.train.inputs, train, data.train.ids),
        data.valid,
        classes=data.classes,
        sealed=data.sealed,
        meta=data.meta,
    )
    steps = proposals(noisy, look(noisy))
    label = next(p for p in steps if p.code == "LABEL")
    assert not label.live
    text = cleaned_task(task, steps, tmp_path / "d.py", command="whet look digits")
    assert "# see: whet look digits --show " in text
    spaces: dict[str, object] = {"__file__": str(tmp_path / "d.py")}
    exec(text, spaces)  # it imports, and as it stands changes nothing
    assert spaces["cleaned"](noisy) is noisy
    line = next(x for x in text.splitlines() if x.strip().startswith("# ") and ': ("' in x)
    exec(text.replace(line, line.replace("# ", "", 1)), spaces)
    changed = spaces["cleaned"](noisy)
    assert int((changed.train.targets != train).sum() + (changed.valid.targets != data.valid.targets).sum()) == 1
    assert changed.meta["cleaned"][0]["what"] == "relabel"


def test_clean_data_has_nothing_proposed():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 4))
    data = Data.from_arrays(x, (x.sum(1) + 3 * rng.normal(size=300) > 0).astype(int))
    assert proposals(data, look(data)) == []


def test_a_contradiction_is_for_a_person(tmp_path):
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(200, 6)).astype(np.float32)), torch.from_numpy(rng.integers(0, 2, 200))
    x[:10], y[:10] = x[10:20], 1 - y[10:20]
    data = Data(Split(x, y), Split(x[50:100] + 9, y[50:100]), classes=("a", "b"))
    found = proposals(data, look(data))
    assert [(p.step, p.live, len(p.items)) for p in found if p.code == "DUPLICATE"] == [("drop", False, 20)]
    assert all(literal.startswith('"train:') for p in found for literal, _ in p.items), (
        "ids meet: they carry their split"
    )


def test_where_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = resolve("digits")
    assert clean_file(task).name == "digits_clean.py"
    (tmp_path / "folder.py").mkdir()
    for path, needed in (
        ("a.txt", r"a\.txt: a task file ends in \.py\. Name it a\.py"), ("folder.py", "is a folder"), ("no/a.py", "its folder is not there"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=needed):
            write_clean(task, [], tmp_path / path, command="x")
    (tmp_path / "a.py").write_text("mine")
    with pytest.raises(UsageError, match="--yes overwrites it"):
        write_clean(task, [], tmp_path / "a.py", command="x")
    write_clean(task, [], tmp_path / "a.py", command="x", overwrite=True)
    with pytest.raises(UsageError, match="is the task that was looked at"):
        write_clean(resolve("a.py"), [], tmp_path / "a.py", command="x", overwrite=True)
