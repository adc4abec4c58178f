"""The command line as a person uses it: in an empty folder, with words in and an exit code, lines and files out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from whet.cli import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--budget", "2trials", "--epochs", "1", "--workers", "1")

TASK = """
import torch
from torch import nn

from whet import Data, Float, Space, Task


class Tiny(Task):
    space = Space(lr=Float(1e-3, 1e-1, log=True), decay=Float(0, 1))
    steps = 3

    def data(self, params):
        x = torch.randn(120, 4, generator=torch.Generator().manual_seed(5))
        noise = torch.randn(120, generator=torch.Generator().manual_seed(6))
        return Data.from_arrays(x, (x[:, 0] + x[:, 1] + noise > 0).long(), seed=self.seed)

    def model(self, params):
        return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
"""


class Said(NamedTuple):
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def listing(folder: Path) -> set[str]:
    """Return every file and folder, caches of Python aside."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if "__pycache__" not in p.parts}


@pytest.fixture
def whet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Said]]:
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("WHET_")]:
        monkeypatch.delenv(name)
    threads = torch.get_num_threads()

    def call(*words: object) -> Said:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["whet", *map(str, words)])
        code = main([str(w) for w in words])
        return Said(code, *capfd.readouterr())

    yield call
    torch.set_num_threads(threads)


@pytest.fixture
def refused(whet: Callable[..., Said], tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail: one line on standard error that has every one of `needed`, and nothing written."""

    def call(*words: object, needed: tuple[str, ...] = (), code: int = 2, out: bool = False) -> str:
        before = listing(tmp_path)
        said = whet(*words)
        assert said.code == code, said
        assert len(said.err.strip().splitlines()) == 1, said.err
        assert said.err.startswith("whet: "), said.err
        assert "Traceback" not in said.out + said.err
        assert out or not said.out, said.out
        assert listing(tmp_path) == before, "half-written"
        for part in needed:
            assert part in said.err, (part, said.err)
        return said.err

    return call


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Path]:
    """Write the tiny task, with pieces of its text changed."""

    def write(old: str = "", new: str = "", *, name: str = "tiny.py", more: str = "", text: str = "") -> Path:
        path = tmp_path / name
        assert old in TASK
        path.write_text((text or TASK.replace(old, new, 1) if old else text or TASK) + more)
        return Path(name)

    return write


@pytest.fixture
def table() -> Callable[..., pd.DataFrame]:
    """Return a small table with numbers, words and a target of two classes."""

    def make(n: int = 80, seed: int = 0) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        a = rng.normal(size=n)
        label = np.where(a + rng.normal(size=n) > 0, "yes", "no")
        return pd.DataFrame({"a": a, "colour": rng.choice(["red", "green"], n), "label": label})

    return make


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a piece of code in a process of its own, in the empty folder."""

    def call(code: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)

    return call


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command as a process of its own, in a group of its own; what is left of it is killed at the end."""
    begun: list[subprocess.Popen[str]] = []

    def call(*words: object, **options: object) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("WHET_") and k != "CI"}
        env = {**clean, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        words = (sys.executable, "-m", "whet", *map(str, words))
        begun.append(subprocess.Popen(words, cwd=tmp_path, env=env, start_new_session=True, **{**pipes, **options}))
        return begun[-1]

    yield call
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()
