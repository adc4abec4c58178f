"""`whet` shows the same names to a program, to a type checker and to completion."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import whet


def test_the_lists_are_one_list() -> None:
    tree = ast.parse(Path(whet.__file__).read_text(encoding="utf-8"))
    typed = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("whet."):
            for alias in node.names:
                assert alias.asname == alias.name, "type checkers only re-export `X as X`"
                typed[alias.name] = node.module
    assert typed == whet._HOME
    assert sorted(whet._HOME) == sorted(whet.__all__)


@pytest.mark.parametrize("name", whet.__all__)
def test_the_name_is_where_it_is_said_to_be(name: str) -> None:
    value = getattr(whet, name)
    assert value is getattr(import_module(whet._HOME[name]), name)
    assert name in dir(whet)
    assert name in import_module(whet._HOME[name]).__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'whet' has no attribute 'Stduy'"):
        _ = whet.Stduy  # type: ignore[attr-defined]


def test_check_is_the_function_whatever_was_imported_first() -> None:
    code = "import whet.checks, whet.cli, whet\nassert callable(whet.check), whet.check\nassert whet.checks.check is whet.check\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_importing_whet_imports_none_of_its_modules() -> None:
    code = "import sys, whet\nprint([m for m in sys.modules if m.startswith('whet.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
