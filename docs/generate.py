"""Write the pages that follow from the code: reference.md, cli.md, findings.md, bugs.md. `--check` only says which are out of date.

reference.md: what people import, with signature and docstring, read from the syntax tree, so nothing is imported.
cli.md: every verb and flag, from the Typer app. findings.md: every finding code in the code; what it means comes from
the docstring of a module that reads `CODE: what a healthy program does.`, else it is written by hand in the page's last
column, and kept. bugs.md: the catalogue in tests/checks/bugs, with what was said of each bug when tests last asked.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import importlib
import io
import re
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PACKAGE = ROOT / "whet"

Defined = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


# --- what is public ---------------------------------------------------------------------------------------------------


@functools.cache
def sources(package: Path = PACKAGE) -> dict[str, ast.Module]:
    """Return the syntax tree of each module whose name has no leading underscore, keyed by dotted name."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        if not any(part.startswith("_") for part in parts):
            trees[".".join(parts)] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return trees


def exported(tree: ast.Module) -> list[str]:
    """Return the module's `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def defined(tree: ast.Module) -> dict[str, Defined]:
    """Return the classes and functions of the module's top level; of overloads the last, which has the docstring."""
    return {node.name: node for node in tree.body if isinstance(node, Defined)}


def methods(node: Defined) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the public methods of a class that have a docstring."""
    for part in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_"):
            if ast.get_docstring(part):
                yield part


# --- reference.md -----------------------------------------------------------------------------------------------------


def signature(node: Defined) -> str:
    """Return how the function or class is called."""
    if isinstance(node, ast.ClassDef):
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                args = ast.unparse(part.args)
                return f"{node.name}({re.sub(r'^self(, )?', '', args)})"
        fields = [
            ast.unparse(part).split(" = field(")[0] + (" = ..." if " = field(" in ast.unparse(part) else "")
            for part in node.body
            if isinstance(part, ast.AnnAssign) and not ast.unparse(part.target).startswith("_")
        ]
        frozen = any("dataclass" in ast.unparse(d) for d in node.decorator_list)
        return f"{node.name}({', '.join(fields)})" if frozen else f"class {node.name}"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def prose(text: str) -> str:
    """Return a docstring as Markdown: its doctests become blocks of code."""
    lines, out, inside = text.splitlines(), [], False
    for line in lines:
        if not inside and line.lstrip().startswith(">>>"):
            out += ["", "```pycon"] if out and out[-1] else ["```pycon"]
            inside = True
        elif inside and not line.strip():
            out.append("```")
            inside = False
        out.append(line.strip() if inside and line.lstrip().startswith(">>>") else line)
    return "\n".join([*out, "```"] if inside else out)


def trace(name: str, module: str, trees: Mapping[str, ast.Module]) -> str:
    """Return the module that defines `name`, which `module` defines or imports."""
    for node in ast.walk(trees[module]):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module in trees
            and name in [a.asname or a.name for a in node.names]
        ):
            return trace(name, node.module, trees)
    return module


def rooms() -> dict[str, dict[str, tuple[str, Defined | None]]]:
    """Return what people import: for each room its public names, with the module that defines each and its definition.

    The rooms are `whet`, the modules right below it, and every package. A deeper module's names are that package's own
    affair unless the package passes them on. The definition is None for a constant or a type alias.
    """
    trees = sources()
    found: dict[str, dict[str, tuple[str, Defined | None]]] = {}
    for module, tree in trees.items():
        is_package = (PACKAGE.parent / Path(*module.split("."), "__init__.py")).exists()
        if not (is_package or module.count(".") == 1) or module.startswith("whet.cli"):
            continue
        for name in exported(tree):
            home = trace(name, module, trees)
            found.setdefault(module, {})[name] = (home, defined(trees[home]).get(name))
    return found


def entry(name: str, node: Defined) -> str:
    """Return the section of one public class or function."""
    parts = [f"\n### {name}\n\n```python\n{signature(node)}\n```\n\n{prose(ast.get_docstring(node) or '')}\n"]
    rows = []
    for method in methods(node):
        first = (ast.get_docstring(method) or "").splitlines()[0]
        is_value = any(ast.unparse(d).split(".")[-1] in ("property", "cached_property") for d in method.decorator_list)
        call = method.name if is_value else re.sub(r"\((self|cls)(, )?", "(", signature(method), count=1)
        rows.append(f"- `{call}`: {first}")
    if rows:
        parts.append("\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def reference() -> str:
    """Return the text of reference.md."""
    trees, told = sources(), set()
    parts = [
        "# Reference\n\nWhat one imports, room by room, from the docstrings. Each name stands where it is first met.\n"
    ]
    for room, names in rooms().items():
        about = (ast.get_docstring(trees[room]) or "").split("\n\n")[0]
        parts.append(f"\n## {room}\n\n{about}\n")
        new = {n: node for n, (home, node) in names.items() if node is not None and (home, n) not in told}
        told |= {(home, n) for n, (home, _) in names.items()}
        parts += [entry(name, node) for name, node in new.items()]
        rest = [f"`{name}`" for name in names if name not in new]
        if rest:
            parts.append("\nAlso here: " + ", ".join(rest) + "\n")
    return "".join(parts)


# --- cli.md -----------------------------------------------------------------------------------------------------------


def flat(text: object) -> str:
    """Return help text on one line, without Rich's markup, safe inside a table."""
    text = re.sub(r"(?<!\\)\[/?[a-z ]+\](?!\()", "", str(text or "")).replace("\\[", "[")
    return " ".join(text.split()).replace("|", "\\|")


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield (full name, command) of a command and of all below it that are not hidden."""
    yield name, command
    for part, sub in getattr(command, "commands", {}).items():
        if not getattr(sub, "hidden", False):
            yield from commands(sub, f"{name} {part}")


def options(command: Any) -> list[Any]:
    """Return the parameters a person can give, but --help."""
    return [p for p in command.params if not getattr(p, "hidden", False) and "--help" not in p.opts]


def spelling(parameter: Any) -> str:
    """Return how a parameter is written, e.g. `--budget TEXT` or `TASK`."""
    if parameter.param_type_name == "argument":
        return f"`{flat(parameter.metavar or parameter.name.upper())}`"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    is_switch = getattr(parameter, "is_flag", False)
    annotation = parameter.type_descriptor.annotation
    kind = getattr((typing.get_args(annotation) or [annotation])[0], "__name__", "value").upper().replace("STR", "TEXT")
    return f"`{names}`" if is_switch else f"`{names} {flat(parameter.metavar or kind)}`"


def cli() -> str | None:
    """Return the text of cli.md, or None while there is no command line."""
    if not (PACKAGE / "cli" / "__init__.py").exists():
        return None
    return cli_page(the_app())


def the_app() -> Any:
    """Return whet's Typer app with all its verbs, which its `main` adds when it is first called."""
    sys.path.insert(0, str(ROOT))  # whet may not be installed
    door = importlib.import_module("whet.cli.main")
    if not door.app.registered_commands:
        with contextlib.redirect_stdout(io.StringIO()):
            door.main(["--version"])
    return door.app


def cli_page(app: Any) -> str:
    """Return the page of a Typer app."""
    import typer.main

    parts = ["# Command line\n\nThe same as `whet VERB --help` says, on one page.\n"]
    for name, command in commands(typer.main.get_command(app), "whet"):
        parts.append(f"\n## {name}\n\n{flat(command.help)}\n")
        subs = [f"`{name} {s}`" for s, c in getattr(command, "commands", {}).items() if not getattr(c, "hidden", False)]
        if subs:
            parts.append("\nVerbs: " + ", ".join(subs) + "\n")
        rows = []
        for p in options(command):
            default = "" if p.default is None or callable(p.default) or p.default in ("", (), []) else f"`{p.default}`"
            if getattr(p, "is_flag", False) and p.default in (None, False):
                default = ""
            rows.append(f"| {spelling(p)} | {flat(getattr(p, 'help', ''))} | {default} |")
        if rows:
            parts.append("\n| | what it does | default |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "".join(parts)


# --- findings.md ------------------------------------------------------------------------------------------------------

FINDINGS = """# Findings

What `whet look`, `whet check` and `whet run` may report. FAIL is impossible in a correct program, WARN is statistical, INFO is
worth knowing. Each finding shows the numbers behind it and what to do; `whet.check(..., allow=("CODE",))` silences one.
A row that begins with "Broken" tells what a healthy program does.

| code | from | what it means |
|---|---|---|
"""


def codes() -> dict[str, list[str]]:
    """Return the modules that report each finding code.

    A code is a string given to Finding or NotRun, or to a function's parameter `code`, or a class's attribute `code`.
    """
    found: dict[str, set[str]] = {}
    for module, tree in sources().items():
        places = {"Finding": 0, "NotRun": 0}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [a.arg for a in [*node.args.posonlyargs, *node.args.args] if a.arg not in ("self", "cls")]
                if "code" in names:
                    places[node.name] = names.index("code")
        for node in ast.walk(tree):
            given: list[ast.expr] = []
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).split(".")[-1]
                if name in places:
                    given = node.args[places[name] : places[name] + 1]
                    given += [k.value for k in node.keywords if k.arg == "code"]
            elif isinstance(node, ast.ClassDef):
                for part in node.body:
                    target = part.targets[0] if isinstance(part, ast.Assign) else getattr(part, "target", None)
                    value = getattr(part, "value", None)
                    if isinstance(target, ast.Tuple) and isinstance(
                        value, ast.Tuple
                    ):  # code, stage = "INIT", Stage.START
                        pairs = list(zip(target.elts, value.elts, strict=False))
                    else:
                        pairs = [(target, value)]
                    given += [v for t, v in pairs if isinstance(t, ast.Name) and t.id == "code" and v is not None]
            for value in given:
                for leaf in [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]:
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                        found.setdefault(leaf.value, set()).add(module)
    return {code: sorted(modules) for code, modules in sorted(found.items())}


def meanings(page: str) -> dict[str, str]:
    """Return what a findings page says of each code."""
    rows = (re.match(r"\| `([^`]+)` \| [^|]* \| (.*) \|$", line) for line in page.splitlines())
    return {row[1]: row[2].strip() for row in rows if row}


def expectations() -> dict[str, str]:
    """Return what each check expects, from module docstrings that read `CODE: what a healthy program does.`"""
    found, trees = {}, sources()
    for code, modules in codes().items():
        for module in modules:
            about = flat((ast.get_docstring(trees[module]) or "").split("\n\n")[0])
            if about.startswith(f"{code}: "):
                found[code] = "Broken: " + about.removeprefix(f"{code}: ")
    return found


def findings(page: str) -> str:
    """Return the text of findings.md; what `page`, the present one, says of a code is kept."""
    known = meanings(page) | expectations()
    rows = (
        f"| `{code}` | {', '.join(f'`{m}`' for m in at)} | {known.get(code, '')} |\n" for code, at in codes().items()
    )
    return FINDINGS + "".join(rows)


# --- bugs.md ----------------------------------------------------------------------------------------------------------

BUGS = """# Bugs, and what names them

The tests hold {n} programs with a bug each, of {families} kinds. Every one is looked at, and the finding in its row must appear, with
at most one FAIL beside INFO and WARN: one cause, one finding. The numbers are those of the list of fifty bugs that the
checks were written for; bugs without one were met on the way. What a finding's code means is in [Findings](findings.md). The
programs stand in [tests/checks/bugs](../tests/checks/bugs), by kind.

At the end are [{hidden} bugs that no check can name](#what-no-check-can-name), and what shows them to a person.
"""

HIDDEN = """
## What no check can name

These are correct programs, of something else than was meant. A test holds every check to be silent on them, so a row leaves
this list on the day one is not.

| bug | no. | why nothing names it | what shows it |
|---|---|---|---|
"""


def cell(text: object) -> str:
    """Return text for a cell of a table: one line, its marks shown as they are."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def bugs() -> str:
    """Return the text of bugs.md, from the catalogue and from what was said of each bug."""
    for folder in (ROOT, ROOT / "tests" / "checks"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    catalogue, told = importlib.import_module("bugs"), importlib.import_module("bugs.told").told()
    doors = {k: v[0] for k, v in catalogue.DOORS.items()}
    return bugs_page(catalogue.catalogue(), catalogue.undetectable(), told, doors, catalogue.BY_CHANCE)


def bugs_page(
    seeded: list[Any],
    hidden: list[Any],
    told: Mapping[str, Mapping[str, str]],
    doors: Mapping[str, str],
    by_chance: Sequence[str] = (),
) -> str:
    """Return the page of bugs, by family in the order of the catalogue, and of those that nothing names."""
    families: dict[str, list[Any]] = {}
    for bug in seeded:
        families.setdefault(bug.family, []).append(bug)
    parts = [BUGS.format(n=len(seeded), families=len(families), hidden=len(hidden))]
    for family, some in families.items():
        by = " and ".join(dict.fromkeys(doors[bug.how] for bug in some))
        parts.append(
            f"\n## {family[0].upper()}{family[1:]}\n\nLooked at by {by}.\n\n| bug | no. | finding | what it says |\n|---|---|---|---|\n"
        )
        for bug in some:
            said = told.get(bug.title, {"code": "", "severity": "", "message": ""})
            finding = f"{said['severity']} `{said['code']}`" if said["code"] else ""
            finding += ", with 4 seeds of 5" if bug.title in by_chance else ""
            parts.append(f"| {cell(bug.name)} | {bug.number or ''} | {finding} | {cell(said['message'])} |\n")
    parts.append(HIDDEN)
    for bug in hidden:
        parts.append(f"| {cell(bug.name)} | {bug.number or ''} | {cell(bug.why)} | {cell(bug.look_at)} |\n")
    return "".join(parts)


# ----------------------------------------------------------------------------------------------------------------------


def pages() -> dict[Path, str]:
    """Return the text each generated page should have."""
    page = DOCS / "findings.md"
    made = {
        DOCS / "reference.md": reference(),
        DOCS / "cli.md": cli(),
        page: findings(page.read_text(encoding="utf-8") if page.exists() else ""),
        DOCS / "bugs.md": bugs(),
    }
    return {path: text for path, text in made.items() if text is not None}


def main(arguments: list[str]) -> int:
    stale = False
    for path, text in pages().items():
        now = path.read_text(encoding="utf-8") if path.exists() else ""
        if now == text:
            continue
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
            continue
        stale = True
        print(f"{path.relative_to(ROOT)} is out of date; run `make docs`")
        for line in list(
            difflib.unified_diff(now.splitlines(), text.splitlines(), "written", "code", n=0, lineterm="")
        )[:20]:
            print("   ", line)
    for code, meaning in meanings(findings((DOCS / "findings.md").read_text(encoding="utf-8"))).items():
        if not meaning:
            stale = True
            print(f"docs/findings.md: say what {code} means, in its last column")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
