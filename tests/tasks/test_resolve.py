from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from whet.data.split import Data
from whet.errors import DataError, StudyError, TaskError, UsageError
from whet.seed import rng
from whet.task import Task
from whet.tasks import ImageTask, TableTask, reference, resolve, restore, write_task
from whet.tasks.name import task_name
from whet.tasks.template import TEMPLATE

GOOD = """
    import numpy as np
    from torch import nn
    from whet import Data, Float, Space, Task

    class Mine(Task):
        space = Space(lr=Float(1e-4, 1e-1, log=True))

        def data(self, params):
            return Data.from_arrays(np.eye(4).repeat(10, 0), np.arange(40) // 10, seed=self.seed)

        def model(self, params):
            return nn.Linear(4, 4)
"""


def code(path, text):
    path.write_text(textwrap.dedent(text))
    return str(path)


def csv(path, n=60, seed=0):
    r = np.random.default_rng(seed)
    pd.DataFrame({"x": r.normal(size=n), "town": r.choice(["a", "b"], n), "y": np.arange(n) % 2}).to_csv(
        path, index=False
    )
    return str(path)


class Here(Task):
    def data(self, params):
        return Data.from_arrays(np.eye(4).repeat(10, 0), np.arange(40) // 10, seed=self.seed)

    def model(self, params):
        return torch.nn.Linear(4, 4)


def test_built_in_names():
    task = resolve("digits", seed=2)
    assert isinstance(task, ImageTask)
    assert (task.name, task.seed) == ("digits", 2)
    assert isinstance(resolve("diabetes"), TableTask)


def test_a_table_and_its_name(tmp_path):
    task = resolve(csv(tmp_path / "adult train.csv"), target="y", seed=1)
    assert isinstance(task, TableTask)
    assert task.name == "adult-train"
    assert task.data({}).kind == "classification"
    assert resolve(csv(tmp_path / "a.csv"), target=["y"], kind="regression").data({}).kind == "regression"


def test_a_folder_of_pictures(tmp_path):
    for kind in ("a", "b"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(np.full((6, 6), 10 * i, np.uint8)).save(tmp_path / "pets" / kind / f"{i}.png")
    task = resolve(str(tmp_path / "pets"))
    assert isinstance(task, ImageTask)
    assert task.name == "pets"
    with pytest.raises(DataError, match=r"no target to choose, got 'y'\. Leave --target out"):
        resolve(str(tmp_path / "pets"), target="y")
    with pytest.raises(DataError, match="no kind to choose"):
        resolve(str(tmp_path / "pets"), kind="regression")


def test_a_task_file_with_and_without_a_name(tmp_path):
    path = code(tmp_path / "mine.py", GOOD)
    task = resolve(path, seed=4)
    assert task.name == "mine"
    assert task.seed == 4
    assert type(task).__name__ == "Mine"
    assert resolve(path + ":Mine").name == "mine"
    assert resolve(code(tmp_path / "task.py", GOOD)).name == task_name(tmp_path), "task.py goes by its folder"


def test_a_task_file_imports_its_neighbours_and_two_of_one_name_do_not_meet(tmp_path):
    for n in (3, 5):
        (tmp_path / str(n)).mkdir()
        code(tmp_path / str(n) / f"neighbour{n}.py", f"STEPS = {n}")
        code(tmp_path / str(n) / "mine.py", GOOD.replace("space =", "steps = STEPS; space =").replace(
            "import numpy", f"from neighbour{n} import STEPS\n    import numpy", 1))  # fmt: skip
    before = list(sys.path)
    assert [resolve(str(tmp_path / str(n) / "mine.py")).steps for n in (3, 5)] == [3, 5]
    assert sys.path == before


def test_a_module(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    code(tmp_path / "shop" / "__init__.py", "")
    code(tmp_path / "shop" / "tasks.py", GOOD + "\n    ready = Mine()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve("shop.tasks:Mine").name == "mine"
    assert resolve("shop.tasks:ready", seed=3).seed == 3
    with pytest.raises(TaskError, match=r"no 'Mime' in it\. Did you mean 'Mine'"):
        resolve("shop.tasks:Mime")
    with pytest.raises(TaskError, match=r"shop.nothing: no such module"):
        resolve("shop.nothing:Mine")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nonsense_module", "ModuleNotFoundError: No module named 'nonsense_module' (mine.py, line 1)"),
        ("x = 1\ny = {}['k']", "KeyError: 'k' (mine.py, line 2)"),
        ("def f(:\n  pass", "SyntaxError: invalid syntax (mine.py, line 1)"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("x = 1", "defines no Task"),
        (GOOD + GOOD.replace("Mine", "Other"), "defines 2 tasks (Mine, Other). Say which:"),
        (GOOD.replace("return Data.from_arrays", "return 3 and (lambda *a, **k: [1])"), "data(params) returns list, must return whet.Data"),
        (GOOD.replace("return Data.from_arrays", "return 1 / 0 or Data.from_arrays"), "data(params) fails: ZeroDivisionError: division by zero (mine.py, line 10)"),
        (GOOD.replace("space = Space(lr=Float(1e-4, 1e-1, log=True))", "space = {'lr': 1}"), "not a whet.Space"),
        (GOOD.replace("def model", "def __init__(self, x): pass\n\n        def model"), "Mine() fails: TypeError"),
        (GOOD.replace("log=True", "low=3"), "does not import: TypeError"),
        (GOOD.replace("def data", "def dat"), "data(params) is missing"),
    ],
)  # fmt: skip
def test_task_files_that_cannot_be_used(tmp_path, text, says):
    path = code(tmp_path / "mine.py", text)
    with pytest.raises(TaskError) as e:
        resolve(path)
    assert says in str(e.value)
    assert len(str(e.value).splitlines()) == 1


def test_names_that_lead_nowhere(tmp_path):
    path = code(tmp_path / "mine.py", GOOD + "\n    other = 3\n")
    for text, kind, says in (
        (path + ":Mime", TaskError, "Did you mean 'Mine'"),
        (path + ":other", TaskError, "is a int, not a subclass of whet.Task"),
        (str(tmp_path / "mime.py"), TaskError, "no such file. Did you mean"),
        ("", TaskError, "none given"),
        ("digit", TaskError, "Did you mean 'digits'"),
        (str(tmp_path / "nothing.csv"), DataError, "no such file"),
        ("no_such_module_here:Name", TaskError, "no such module"),
        (str(tmp_path), DataError, "no class folders"),
    ):
        with pytest.raises(kind, match=says):
            resolve(text)


def test_options_that_do_not_fit(tmp_path):
    with pytest.raises(TaskError, match="digits: has its own target, got --target y"):
        resolve("digits", target="y")
    with pytest.raises(TaskError, match="has its own kind"):
        resolve(code(tmp_path / "mine.py", GOOD), kind="regression")
    with pytest.raises(DataError, match="given 2 times"):
        resolve(csv(tmp_path / "a.csv"), target=["x", "y"])
    with pytest.raises(DataError, match="no target was given"):
        resolve(csv(tmp_path / "a.csv"))


def test_a_reference_makes_the_same_task_elsewhere(tmp_path):
    for task in (
        resolve("digits", seed=3),
        resolve(csv(tmp_path / "a.csv"), target="y", kind="regression", seed=2),
        TableTask(csv(tmp_path / "a.csv"), "y", seed=2),
        resolve(code(tmp_path / "mine.py", GOOD), seed=5),
        resolve(code(tmp_path / "mine.py", GOOD) + ":Mine"),
    ):
        wire = json.loads(json.dumps(reference(task)))
        again = restore(wire)
        assert type(again).__name__ == type(task).__name__
        assert (again.name, again.seed) == (task.name, task.seed)
        assert again.space == task.space
        a, b = task.data({}).train, again.data({}).train
        assert np.array_equal(a.ids, b.ids)
        assert all(torch.equal(x, y) for x, y in zip(a.parts, b.parts, strict=True))


def test_goals_in_place_of_its_own_go_with_it():
    task = resolve("digits", goal=["max accuracy", "min latency", "parameters<=1e5"])
    again = restore(json.loads(json.dumps(reference(task))))
    for made in (task, again):
        assert [str(g) for g in made.goals(made.data({}))] == ["max accuracy", "min latency", "parameters <= 100000"]
    assert "goal" not in reference(resolve("digits"))
    with pytest.raises(StudyError, match="must be"):
        resolve("digits", goal=["latency <= 5"])


def test_a_reference_is_absolute_so_another_folder_does_not_matter(tmp_path, monkeypatch):
    csv(tmp_path / "a.csv")
    monkeypatch.chdir(tmp_path)
    assert reference(resolve("a.csv", target="y"))["task"] == str(tmp_path / "a.csv")


def test_what_has_no_reference_says_so():
    assert reference(Here())["task"].endswith(":Here")

    class Local(Here):
        pass

    for task in (Local(), TableTask(pd.DataFrame({"x": range(40), "y": [0, 1] * 20}), "y")):
        with pytest.raises(TaskError, match="cannot make this task again"):
            reference(task)


def test_the_template_runs_as_it_is(tmp_path):
    path = write_task(tmp_path / "new")
    assert path.read_text() == TEMPLATE
    assert all(len(line) <= 120 for line in TEMPLATE.splitlines())
    task = resolve(str(path), seed=1)
    data = task.data({})
    assert task.name == "new"
    assert data.classes == ("malignant", "benign")
    for i in range(5):
        params = task.space.sample(rng(0, i))
        model = task.model(params)
        loss = task.loss(params)(model(*data.train.parts), data.train.targets)
        loss.backward()
        task.optimizer(params, model).step()
        assert loss.isfinite()
    with pytest.raises(UsageError, match="is there already"):
        write_task(tmp_path / "new")
    with pytest.raises(UsageError, match="is a file"):
        write_task(path)


def test_the_template_imports_in_a_bare_interpreter(tmp_path):
    path = write_task(tmp_path)
    done = subprocess.run([sys.executable, "-W", "error", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b c.csv", "b-c"),
        ("x.parquet", "x"),
        ("x.csv.gz", "x"),
        ("pets/", "pets"),
        ("a:b?.csv", "a-b"),
        ("...", "task"),
        ("v1.2", "v1.2"),
    ],
)
def test_names_are_fit_for_folders(text, name):
    assert task_name(text) == name
