from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import whet
from whet.errors import TaskError, UsageError
from whet.execute import refer, resolve

WORK = Path(__file__).with_name("execute_work.py")
ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}


@pytest.fixture(scope="module")
def work():
    return sys.modules[resolve(f"{WORK}:Holder").__module__]


def test_a_function_of_a_module_and_back():
    assert refer(json.dumps) == "json:dumps"
    assert resolve("json:dumps") is json.dumps
    assert resolve("json.decoder:JSONDecoder.decode") is json.JSONDecoder.decode
    assert refer(json.JSONDecoder) == "json.decoder:JSONDecoder"


def test_a_function_of_a_file_and_back(work):
    reference = refer(work.square)
    assert reference == f"{WORK}:square"
    assert resolve(reference) is work.square  # loaded once
    assert refer(work.Holder.static) == f"{WORK}:Holder.static"


def test_a_function_of_a_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from whet.execute import refer\ndef f(): pass\nif __name__ == '__main__': print(refer(f))\n")
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=ENV).stdout
    assert said == f"{script}:f\n"
    said = subprocess.run(
        [sys.executable, "-c", "from whet.execute import refer\ndef f(): pass\nrefer(f)"],
        capture_output=True,
        text=True,
    ).stderr
    assert "it is in no file" in said


def closure():
    def inner():
        pass

    return inner


@functools.lru_cache
def wrapped():
    pass


def shadowed():
    pass


hidden, shadowed = shadowed, 3


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (lambda: 1, "it is a lambda"),
        (closure(), "defined inside a function"),
        (functools.partial(json.dumps, indent=1), "not a function"),
        (json.JSONDecoder().decode, "something else"),
        (hidden, "something else"),
        (3, "not a function"),
    ],
)
def test_what_has_no_name_is_refused_with_the_reason(target, why):
    with pytest.raises(UsageError, match=why) as e:
        refer(target)
    assert len(str(e.value).splitlines()) == 1
    assert "workers=1" in str(e.value)


@pytest.mark.parametrize(
    ("reference", "match"),
    [
        (f"{WORK}:sqare", "has no 'sqare'. Did you mean 'square'"),
        (f"{WORK}:Holder.missing", "has no 'Holder.missing'"),
        ("/no/such/file.py:f", "no such file"),
        ("no.such.module:f", "does not import: ModuleNotFoundError"),
        ("json:dupms", "Did you mean 'dumps'"),
    ],
)
def test_what_is_not_there(reference, match):
    with pytest.raises(TaskError, match=match) as e:
        resolve(reference)
    assert len(str(e.value).splitlines()) == 1


def test_a_text_without_a_name():
    with pytest.raises(UsageError, match=r"use package.module:name"):
        resolve("json")


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("x = 1\ny = (\n", "line 2.*SyntaxError"),
        ("x = 1\n\nraise RuntimeError('two\\nlines')", "line 3: does not import: RuntimeError: two lines"),
        ("import no_such_module_at_all", "line 1.*ModuleNotFoundError"),
    ],
)
def test_a_file_that_does_not_import_is_named_with_its_line(code, match, tmp_path):
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(TaskError, match=match) as e:
        resolve(f"{tmp_path}/bad.py:x")
    assert len(str(e.value).splitlines()) == 1


def test_two_files_of_one_name_are_two_modules(tmp_path):
    for n in (1, 2):
        (tmp_path / str(n)).mkdir()
        (tmp_path / str(n) / "task.py").write_text(f"from neighbour{n} import value\n")
        (tmp_path / str(n) / f"neighbour{n}.py").write_text(f"value = {n}\n")
    assert [resolve(f"{tmp_path}/{n}/task.py:value") for n in (1, 2)] == [1, 2]
