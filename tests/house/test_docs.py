"""Everything a person can type or meet is documented, and the generated pages are what the code says now."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
import typer
import typer.main

import house_rules as house

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("whet_docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs = _generate()


def test_the_generated_pages_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--check"]) == 0, capsys.readouterr().out


def test_every_module_says_what_it_is_for_and_what_is_public() -> None:
    silent = []
    for module, tree in docs.sources().items():
        if not ast.get_docstring(tree):
            silent.append(f"{module}: no docstring")
        has_names = any(not name.startswith("_") for name in docs.defined(tree))
        if has_names and not docs.exported(tree) and not module.startswith("whet.cli") and module != "whet":
            silent.append(f"{module}: no __all__")
    assert not silent, "\n".join(["", *silent])


def _is_protocol(node: ast.ClassDef) -> bool:
    return any("Protocol" in ast.unparse(parent) for parent in node.bases)


def test_every_public_class_and_function_has_a_docstring() -> None:
    silent = []
    for module, tree in docs.sources().items():
        own = docs.defined(tree)
        for name in docs.exported(tree):
            node = own.get(name)
            if node is not None and not ast.get_docstring(node):
                silent.append(f"{module}.{name}")
            for part in node.body if isinstance(node, ast.ClassDef) and not _is_protocol(node) else ():
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_") and not ast.get_docstring(part):
                    if not any(
                        "overload" in ast.unparse(d) or ".setter" in ast.unparse(d) for d in part.decorator_list
                    ):
                        silent.append(f"{module}.{name}.{part.name}")
    assert not silent, "\n".join(["", *silent])


def test_what_people_import_is_shown_by_an_example_that_runs() -> None:
    """A doctest somewhere in whet, or a block of README.md, uses each name that `whet` or one of its rooms passes on.

    Exceptions, protocols and enums are met, not called.
    """
    trees = docs.sources()
    texts = [ast.get_docstring(n) or "" for tree in trees.values() for n in ast.walk(tree) if isinstance(n, DOCUMENTED)]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.lstrip().startswith((">>>", "..."))]
    lines += re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    shown = "\n".join(line for line in lines if not re.match(r"(>>>|\.\.\.) (from|import) ", line))
    unshown, looked = [], 0
    for room, names in docs.rooms().items():
        for name, (_, node) in names.items():
            if node is None or (isinstance(node, ast.ClassDef) and _only_met(node)):
                continue
            looked += 1
            if ">>>" not in (ast.get_docstring(node) or "") and not re.search(rf"\b{name}\b", shown):
                unshown.append(f"{room}.{name}")
    assert looked > 20
    assert not unshown, "\n".join(["", *unshown])


def _only_met(node: ast.ClassDef) -> bool:
    kinds = r"(Error|Exception|Protocol|Enum|NamedTuple|TypedDict|Extra)\b"
    return any(re.search(kinds, ast.unparse(parent)) for parent in node.bases)


def test_every_public_name_is_in_the_reference() -> None:
    import whet

    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    names = {name for names in docs.rooms().values() for name in names}
    assert names >= set(whet.__all__)
    assert [name for name in sorted(names) if f"`{name}`" not in page and f"\n### {name}\n" not in page] == []
    assert [name for name in whet.__all__ if f"\n### {name}\n" not in page] == []


def test_every_finding_code_is_explained() -> None:
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    found, explained = docs.codes(), docs.meanings(page)
    assert len(found) > 10
    assert sorted(found) == sorted(explained)
    assert [code for code, meaning in explained.items() if not meaning] == []


def test_every_flag_and_verb_has_help() -> None:

    silent, seen = [], 0
    for name, command in docs.commands(typer.main.get_command(docs.the_app()), "whet"):
        seen += 1
        if not command.help:
            silent.append(name)
        silent += [f"{name} {p.name}" for p in docs.options(command) if not getattr(p, "help", None)]
    assert seen > 8
    assert not silent, "\n".join(["", *silent])


def test_every_page_and_decision_is_linked_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md") if p.name != "index.md"]
    assert len(pages) > 5
    assert [p for p in pages if f"({p})" not in index] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    lost = []
    for page in [
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "benchmarks" / "README.md",
    ]:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in link and not (page.parent / link).exists():
                lost.append(f"{page.relative_to(ROOT)}: {link}")
    assert not lost, lost


def test_every_constraint_has_a_pin() -> None:
    """What pyproject.toml asks for at run time, for development and for benchmarks is in constraints.txt, and torch is the one tested."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    }
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["dev"], *extras["bench"]]
    names = [re.split(r"[<>=\[; ]", a)[0].lower() for a in asked]
    assert [name for name in names if name not in pins] == []
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text(encoding="utf-8").split()


def test_a_finding_code_means_one_thing() -> None:
    rooms = {code: {module.split(".")[1] for module in modules} for code, modules in docs.codes().items()}
    assert {code: at for code, at in rooms.items() if len(at) > 1} == {}


# --- the scans themselves ---------------------------------------------------------------------------------------------


def test_the_code_scan_sees_every_way_to_give_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = ast.parse(
        "'BLIND: learns more\\nthan a blind one.\\n\\nMore.'\ndef drop(code, why): return Finding(code, 'WARN', why)\n"
        "class Init:\n    code, stage = 'INIT', 'skeleton'\n"
        "class Blind:\n    code: str = 'BLIND'\n"
        "def f(x):\n    drop('ID', 'x'); drop(code='EMPTY', why='x')\n"
        "    Finding('LEAK' if x else 'TWIN', 'WARN', 'x'); finding.NotRun('ONE-BATCH', 'x'); print('NOT-A-CODE')\n"
    )
    monkeypatch.setattr(docs, "sources", lambda: {"whet.x": tree})
    assert list(docs.codes()) == ["BLIND", "EMPTY", "ID", "INIT", "LEAK", "ONE-BATCH", "TWIN"]
    page = docs.findings("| `ID` | `whet.x` | numbers the rows |\n| `GONE` | `whet.x` | was once |\n")
    assert docs.meanings(page)["ID"] == "numbers the rows"
    assert docs.meanings(page)["INIT"] == ""
    assert docs.meanings(page)["BLIND"] == "Broken: learns more than a blind one."
    assert "GONE" not in page


def test_the_reference_shows_how_each_name_is_called() -> None:
    tree = ast.parse(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass P:\n    '''A.'''\n    x: int\n    y: int = 2\n"
        "class Q:\n    def __init__(self, a, *, b=1): ...\ndef f(x: int) -> str: ...\n"
    )
    calls = {name: docs.signature(node) for name, node in docs.defined(tree).items()}
    assert calls == {"P": "P(x: int, y: int = 2)", "Q": "Q(a, *, b=1)", "f": "f(x: int) -> str"}
    assert docs.prose("One.\n\n>>> f(1)\n'1'\n\nMore.") == "One.\n\n```pycon\n>>> f(1)\n'1'\n```\n\nMore."


def test_the_command_line_page_shows_verbs_flags_and_defaults() -> None:
    app, study = typer.Typer(help="Sharpen."), typer.Typer(help="Look at studies.")
    app.add_typer(study, name="study")

    @app.command()
    def tune(
        task: Annotated[str, typer.Argument(help="What is [bold]learned[/bold].")],
        budget: Annotated[str, typer.Option("--budget", "-b", help="60s | 10epochs")] = "60s",
        plain: Annotated[bool, typer.Option("--plain", help="No colour.")] = False,
        inner: Annotated[str, typer.Option(hidden=True, help="Not for people.")] = "",
    ) -> None:
        """Try many runs."""

    @study.command("list")
    def listing() -> None:
        """Name them."""

    page = docs.cli_page(app)
    assert "## whet tune\n\nTry many runs.\n" in page
    assert "| `TASK` | What is learned. |  |\n" in page
    assert "| `--budget, -b TEXT` | 60s \\| 10epochs | `60s` |\n" in page
    assert "| `--plain` | No colour. |  |\n" in page
    assert "## whet study\n\nLook at studies.\n\nVerbs: `whet study list`\n" in page
    assert "--inner" not in page


def test_the_house_rules_look_at_the_same_package() -> None:
    assert house.PACKAGE == docs.PACKAGE


def test_the_page_of_bugs_shows_what_was_said_of_each_and_of_those_that_nothing_names() -> None:
    from bugs.case import Bug, Undetectable

    seeded = [
        Bug("dense", "a | b", "OUT", "FAIL", "", dict, 3),
        Bug("dense", "c", "REP", "WARN", "", dict, None, "task"),
    ]
    hidden = [Undetectable("shift", "any <name> will do", "the *pictures*", dict, 14)]
    said = {"dense: a | b": {"code": "OUT", "severity": "FAIL", "message": "rows >= 0\n that sum to 1"}}
    page = docs.bugs_page(seeded, hidden, said, {"check": "`check`", "task": "`task`"})
    assert "hold 2 programs" in page
    assert "## Dense\n\nLooked at by `check` and `task`.\n" in page
    assert "| a \\| b | 3 | FAIL `OUT` | rows >= 0 that sum to 1 |\n| c |  |  |  |\n" in page
    assert page.endswith("| shift | 14 | any &lt;name> will do | the \\*pictures\\* |\n")
