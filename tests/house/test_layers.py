"""The architecture holds, and the checker that says so sees what it must."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import house_rules as house


@pytest.fixture(scope="module")
def modules() -> Mapping[str, house.Module]:
    """whet as it stands, parsed once."""
    return house.load(house.PACKAGE)


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_whet_keeps_the_rule(
    rule: Callable[[Mapping[str, house.Module]], Iterator[str]], modules: Mapping[str, house.Module]
) -> None:
    assert len(modules) > 10
    broken = list(rule(modules))
    assert not broken, "\n".join(["", *broken])


def test_every_layer_entry_names_something(modules: Mapping[str, house.Module]) -> None:
    """An entry nothing stands behind is a slip of the pen, and would let a module go unchecked."""
    entries = [*(e for line in house.LAYERS for e in line.split()), *house.TORCH_FREE, *house.MAY_LOAD_TORCH]
    assert [e for e in entries if f"whet.{e}" not in modules] == []


def plant(folder: Path, files: Mapping[str, str]) -> dict[str, house.Module]:
    """Write a package `whet` of the given files, with an empty __init__.py in each folder that gives none."""
    for name, text in files.items():
        path = folder / "whet" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for parent in {p for f in (folder / "whet").rglob("*.py") for p in f.parents if folder in p.parents}:
        (parent / "__init__.py").touch()
    return house.load(folder / "whet")


SOUND = {
    "errors.py": "class WhetError(Exception): ...\nclass LateError(WhetError): ...\nclass LaterError(LateError): ...\n",
    "journal/__init__.py": "from whet.journal.event import Event as Event\n",
    "journal/event.py": "from ..errors import WhetError\nclass Event: ...\n",
    "tune/space.py": "from whet.errors import WhetError\nfrom typing import Protocol\nclass Domain(Protocol): ...\n",
    "tune/trial.py": "from . import space\nfrom whet import __version__\n",
    "tune/worker.py": "import torch\nfrom whet.tune.space import Domain\nclass A(Domain): ...\nclass B(A): ...\n",
    "train/loss.py": "import torch\nfrom torch import nn\nclass Net(nn.Module): ...\nclass Deep(Net): ...\nclass End(Deep): ...\n",
    "train/run.py": "from whet.train import loss\ndef baseline(a, b, c, d, *, e=1): ...\n",
    "metric.py": "def f():\n    import torch\n",
    "cli/__init__.py": "",
    "cli/main.py": "def main(a, b, c, d, e, f, g, h, i, j, k): ...\n",
    "cli/run.py": "from whet.train import run\n",
    "__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from whet.train.run import baseline\n",
}


def test_a_sound_package_passes(tmp_path: Path) -> None:
    modules = plant(tmp_path, SOUND)
    assert [line for rule in house.RULES for line in rule(modules)] == []


PLANTED = [
    # rule, file, text, what the line must say
    (house.layering, "errors.py", "import whet.journal\n", "whet.journal (layer 1)"),
    (house.layering, "errors.py", "from whet.tune import space\n", "whet.tune.space"),
    (house.layering, "journal/event.py", "from ..tune.space import Domain\n", "whet.tune.space"),
    (house.layering, "journal/__init__.py", "from ..tune.space import Domain\n", "whet.tune.space"),
    (house.layering, "journal/event.py", "def f():\n    from whet.train import run\n", "whet.train.run"),
    (house.layering, "train/loss.py", "from .run import baseline\n", "whet.train.run"),
    (
        house.layering,
        "tune/space.py",
        "import importlib\nimportlib.import_module('whet.tune.worker')\n",
        "whet.tune.worker",
    ),
    (
        house.layering,
        "tune/space.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from whet.train.run import baseline\n",
        "whet.train.run",
    ),
    (house.layering, "metric.py", "from whet import Study\n", "imports from whet itself"),
    (house.layering, "surprise.py", "", "whet.surprise is in no layer"),
    (
        house.cycles,
        "tune/space.py",
        "from whet.tune import trial\n",
        "whet.tune.space -> whet.tune.trial -> whet.tune.space",
    ),
    (house.cycles, "tune/__init__.py", "import whet.train.run\n", ""),
    (house.torch_loads, "errors.py", "import torch.nn as nn\n", "importing whet.errors loads torch"),
    (house.torch_loads, "tune/trial.py", "from whet.train.loss import Net\n", "whet.tune.trial -> whet.train.loss"),
    (
        house.torch_loads,
        "journal/__init__.py",
        "if True:\n    from torch import Tensor\n",
        "importing whet.journal.event loads",
    ),
    (
        house.torch_loads,
        "cli/__init__.py",
        "from whet.train import run\n",
        "whet.cli -> whet.train.run -> whet.train.loss",
    ),
    (house.names, "metric_utils.py", "", "'utils'"),
    (house.names, "metric.py", "class TrialManager: ...\n", "'manager'"),
    (house.names, "metric.py", "class A:\n    def make_common(self): ...\n", "'common'"),
    (house.sizes, "metric.py", "x = 1\n" * 331, "331 lines"),
    (house.signatures, "metric.py", "def f(a, b, c, d, e): ...\n", "5 positional"),
    (house.signatures, "metric.py", "class A:\n    def f(self, a, b, c, d, e): ...\n", "5 positional"),
    (house.signatures, "metric.py", "def f(*, a, b, c, d, e, f, g, h, i, j, k): ...\n", "11 parameters"),
    (house.signatures, "metric.py", "class A:\n    def __init__(self, a, b, c, d, e): ...\n", "5 positional"),
    (house.inheritance, "metric.py", "class A: ...\nclass B(A): ...\nclass C(B): ...\n", "C inherits through 2"),
]


@pytest.mark.parametrize(("rule", "file", "text", "says"), PLANTED)
def test_a_planted_violation_is_seen(
    tmp_path: Path, rule: Callable[[Mapping[str, house.Module]], Iterator[str]], file: str, text: str, says: str
) -> None:
    sound = SOUND
    if (
        rule is house.cycles and file == "tune/__init__.py"
    ):  # a package that imports upwards closes a ring around itself
        sound = {**SOUND, "train/run.py": "from whet.tune.space import Domain\n"}
    lines = list(rule(plant(tmp_path, {**sound, file: text})))
    assert any(says in line for line in lines), lines


def test_a_folder_without_init_is_seen(tmp_path: Path) -> None:
    plant(tmp_path, SOUND)
    (tmp_path / "whet" / "tune" / "__init__.py").unlink()
    assert any("whet.tune has no __init__.py" in line for line in house.layering(house.load(tmp_path / "whet")))


def test_nothing_light_loads_torch_when_run(modules: Mapping[str, house.Module]) -> None:
    """The syntax tree cannot see what other packages import; a fresh process can."""
    light = [n for n in modules if house._is_torch_free(n) and not n.endswith("__main__")]
    assert "whet" in light
    assert "whet.tune.trial" in light
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules: sys.exit(f'importing {name} loaded torch')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *light], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['whet', '--help']\n"
        "from whet.cli import main\n"
        "try:\n"
        "    code = main()\n"
        "except SystemExit as end:\n"
        "    code = end.code\n"
        "sys.exit(code or ('torch was loaded' if 'torch' in sys.modules else 0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
