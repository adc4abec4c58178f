"""The rules of the house, checked over the syntax tree: layers, cycles, torch-free modules, names, sizes, signatures.

Run as a program it looks at whet/ and prints what breaks a rule (exit code 1) and what is close to it.
The tests beside it run the same functions, on whet/ and on small packages that break each rule on purpose.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve()
PACKAGE = HERE.parents[2] / "whet"

# Imports point down or stay within a line; the longest matching prefix decides (tune.worker before tune).
LAYERS = (
    "errors seed finding units",
    "journal metric stop execute",
    "tune.number tune.constraint tune.domain tune.layout tune.drawn tune.space tune.overlap tune.curve tune.goal tune.trial tune.strategy tune.follow tune.forecast tune.named",
    "tune.dominance tune.hypervolume tune.pareto",
    "tune.search tune.schedule data",
    "models spaces train.loss train.optim train.rate",
    "task",
    "train tune",  # tune.study and what it is made of
    "checks distributed",
    "tasks",
    "tune.worker tune.compare squeeze distributed.local distributed.cluster distributed.collective",
    "deploy report",
    "recipe",
    "testing cli __main__",
)
# Search is tested in milliseconds and `whet --help` is quick because these load no torch when they are imported.
TORCH_FREE = "errors seed finding units metric stop journal execute tune spaces cli.main __main__".split()
MAY_LOAD_TORCH = ["tune.worker"]
BRING_TORCH = {"torch", "onnxscript", "torchmetrics", "torchvision", "kornia", "captum", "torchao", "torch_pruning"}

FORBIDDEN = set("base abstract manager factory util helper common misc engine connector".split())
OPEN_TO_INHERIT = {"Task", "Callback"}  # made to be filled in by users
LONG, TOO_LONG = 300, 330
MOST_PARAMETERS, MOST_POSITIONAL = 10, 4


@dataclass(frozen=True)
class Import:
    """One import: the dotted name it reaches, where, and whether it runs when the module is imported."""

    target: str
    line: int
    at_import: bool  # not inside a function
    typing: bool  # under `if TYPE_CHECKING:`


@dataclass(frozen=True)
class Module:
    """A parsed module."""

    name: str
    path: Path
    tree: ast.Module
    lines: int
    imports: list[Import] = field(default_factory=list)

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def at(self, line: int) -> str:
        return f"{self.path}:{line}"


def load(package: Path) -> dict[str, Module]:
    """Parse every module of `package` (a folder) and resolve its imports; keyed by dotted name."""
    modules: dict[str, Module] = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, ast.parse(text, str(path)), text.count("\n"))
    for module in modules.values():
        module.imports.extend(_imports(module, modules))
    return modules


def _imports(module: Module, modules: Mapping[str, Module]) -> Iterator[Import]:
    def walk(node: ast.AST, at_import: bool, typing: bool) -> Iterator[Import]:
        for target in _targets(node, module, modules):
            yield Import(target, node.lineno, at_import, typing)  # type: ignore[attr-defined]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            at_import = False
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from walk(child, at_import, True)
            for child in node.orelse:
                yield from walk(child, at_import, typing)
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child, at_import, typing)

    return walk(module.tree, True, False)


def _targets(node: ast.AST, module: Module, modules: Mapping[str, Module]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if node.level:
            home = module.name.split(".")
            home = home[: len(home) - node.level + module.is_package]
            source = ".".join([*home, source] if source else home)
        for alias in node.names:
            whole = f"{source}.{alias.name}"
            # `from whet import __version__` is the one name the root defines by itself.
            if alias.name == "__version__" and "." not in source:
                continue
            yield whole if whole in modules else source
    elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            yield node.args[0].value


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _prefix(name: str, entries: Sequence[str]) -> str | None:
    """Return the longest entry that is `name` (dotted, without the package) or a parent of it."""
    fits = [e for e in entries if name == e or name.startswith(e + ".")]
    return max(fits, key=len, default=None)


def layer(name: str, layers: Sequence[str] = LAYERS) -> int | None:
    """Return the layer of the module `name` (with its package), or None when the table does not hold it.

    A package without an entry of its own stands where the highest of its members stands.

    >>> layer("whet.errors"), layer("whet.tune.search.random") == layer("whet.data.load"), layer("whet.nowhere")
    (0, True, None)
    """
    rows = {entry: row for row, line in enumerate(layers) for entry in line.split()}
    inner = name.partition(".")[2]
    if not inner:
        return len(layers)
    entry = _prefix(inner, list(rows))
    if entry is not None:
        return rows[entry]
    members = [row for e, row in rows.items() if e.startswith(inner + ".")]
    return max(members, default=None)


def layering(modules: Mapping[str, Module], layers: Sequence[str] = LAYERS) -> Iterator[str]:
    """Yield a line for each import that points up, each module without a layer, each folder without __init__.py."""
    root = next(iter(modules)).split(".")[0]
    for module in modules.values():
        for parent in _ancestors(module.name):
            if parent not in modules:
                yield f"{module.at(1)}: {parent} has no __init__.py"
        own = layer(module.name, layers)
        if own is None:
            yield f"{module.at(1)}: {module.name} is in no layer; add it to LAYERS in tests/house/house_rules.py"
            continue
        if module.name == root:
            continue
        for found in module.imports:
            if found.target.split(".")[0] != root:
                continue
            if found.target == root:
                yield f"{module.at(found.line)}: imports from {root} itself; import from the module the name lives in"
                continue
            other = layer(found.target, layers)
            if other is not None and other > own:
                yield (
                    f"{module.at(found.line)}: {module.name} (layer {own}) imports {found.target} (layer {other}), "
                    "which stands above it"
                )


def _runtime(module: Module, modules: Mapping[str, Module]) -> dict[str, int]:
    """Return what importing `module` imports of the package, with the line; the packages around a target run too."""
    edges: dict[str, int] = {}
    own = {module.name, *_ancestors(module.name)}
    for found in module.imports:
        if not found.at_import or found.typing:
            continue
        for name in [*_ancestors(found.target), found.target]:
            if name in modules and name not in own:
                edges.setdefault(name, found.line)
    return edges


def cycles(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield a line for each group of modules that import each other when they are imported.

    Types may name each other within a layer (a Choice holds spaces, a Space holds choices): that imports nothing.
    """
    root = next(iter(modules)).split(".")[0]
    graph = {name: _runtime(m, modules) for name, m in modules.items() if name != root}
    reported: set[str] = set()
    for start in graph:
        if start in reported:
            continue
        # Breadth first from start back to start: the shortest cycle through it.
        before: dict[str, str] = {}
        queue = [start]
        while queue:
            name = queue.pop(0)
            for follower in graph.get(name, {}):
                if follower not in before:
                    before[follower] = name
                    queue.append(follower)
        if start not in before:
            continue
        path = [start]
        while not (path[-1] == start and len(path) > 1):
            path.append(before[path[-1]])
        path.reverse()
        reported.update(path)
        line = graph[path[0]][path[1]]
        yield f"{modules[path[0]].at(line)}: import cycle {' -> '.join(path)}"


def _is_torch_free(name: str) -> bool:
    inner = name.partition(".")[2]
    return not inner or (_prefix(inner, TORCH_FREE) is not None and _prefix(inner, MAY_LOAD_TORCH) is None)


def torch_loads(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield a line for each torch-free module whose import loads torch, with the chain of imports that does it."""
    for name in modules:
        if not _is_torch_free(name):
            continue
        before: dict[str, str] = {}
        queue = [n for n in [*_ancestors(name), name] if n in modules]
        seen = set(queue)
        while queue:
            module = modules[queue.pop(0)]
            loads = [
                f for f in module.imports if f.at_import and not f.typing and f.target.split(".")[0] in BRING_TORCH
            ]
            if loads:
                chain = [module.name]
                while chain[-1] in before:
                    chain.append(before[chain[-1]])
                yield (
                    f"{module.at(loads[0].line)}: importing {name} loads {loads[0].target.split('.')[0]} "
                    f"({' -> '.join(reversed(chain))})"
                )
                break
            for follower in _runtime(module, modules):
                if follower not in seen:
                    seen.add(follower)
                    before[follower] = module.name
                    queue.append(follower)


def words(name: str) -> list[str]:
    """Return the words of a name in snake or camel case, in lower case.

    >>> words("HTMLReport_v2"), words("make_helpers"), words("baseline")
    (['html', 'report', 'v', '2'], ['make', 'helpers'], ['baseline'])
    """
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def _bad_words(name: str) -> list[str]:
    return [w for w in words(name) if w in FORBIDDEN or (w.endswith("s") and w[:-1] in FORBIDDEN)]


def names(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield a line for each module, class or function with a word in its name that says nothing."""
    for module in modules.values():
        for word in _bad_words(module.name.split(".")[-1]):
            yield f"{module.at(1)}: module name {module.name!r} holds {word!r}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                for word in _bad_words(node.name):
                    yield f"{module.at(node.lineno)}: {node.name!r} holds {word!r}; say what it is"


def sizes(modules: Mapping[str, Module], limit: int = TOO_LONG) -> Iterator[str]:
    """Yield a line for each module longer than `limit` lines."""
    for module in modules.values():
        if module.lines > limit:
            yield f"{module.at(1)}: {module.lines} lines, aim at {LONG} at most; it has two subjects: split it"


def signatures(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield a line for each public function or method with too many parameters, or too many positional ones."""

    def functions(
        body: Sequence[ast.stmt], method: bool
    ) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node, method
            elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from functions(node.body, True)
            elif isinstance(node, ast.If | ast.Try):
                yield from functions(node.body, method)

    for module in modules.values():
        inner = module.name.split(".")[1:]
        # A verb's flags are its parameters; whoever types them names each.
        if inner[:1] == ["cli"] or any(p.startswith("_") for p in inner):
            continue
        for node, method in functions(module.tree.body, False):
            if node.name.startswith("_") and node.name not in ("__init__", "__call__"):
                continue
            positional = [a.arg for a in [*node.args.posonlyargs, *node.args.args]]
            static = any("staticmethod" in ast.unparse(d) for d in node.decorator_list)
            if method and not static:
                positional = positional[1:]
            total = len(positional) + len(node.args.kwonlyargs)
            if total > MOST_PARAMETERS:
                yield f"{module.at(node.lineno)}: {node.name} has {total} parameters, at most {MOST_PARAMETERS}"
            if len(positional) > MOST_POSITIONAL:
                yield (
                    f"{module.at(node.lineno)}: {node.name} has {len(positional)} positional parameters, at most "
                    f"{MOST_POSITIONAL}; make the rest keyword-only with *"
                )


def inheritance(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield a line for each class that inherits from a class of the package that itself inherits from one.

    What is made to be inherited from does not count: Task, Callback, exceptions, protocols, enums, named tuples, nn.Module.
    """
    classes = {
        (module.name, node.name): node
        for module in modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    homes: dict[str, str] = {}
    for module_name, name in classes:
        homes.setdefault(name, module_name)
    Key = tuple[str, str]

    def parents(key: Key) -> Iterator[Key]:
        """The classes `key` names, in its own module or the first that defines one; ("", name) for one from outside."""
        for node in classes[key].bases:
            name = ast.unparse(node).split("[")[0].split(".")[-1]
            yield (key[0], name) if (key[0], name) in classes else (homes.get(name, ""), name)

    def exempt(key: Key, seen: frozenset[Key] = frozenset()) -> bool:
        name = key[1]
        if name in OPEN_TO_INHERIT or name in ("Protocol", "NamedTuple", "TypedDict", "Module"):
            return True
        if name.endswith(("Enum", "Flag", "Error", "Exception", "Warning")):
            return True
        return key in classes and key not in seen and any(exempt(p, seen | {key}) for p in parents(key))

    def depth(key: Key, seen: frozenset[Key] = frozenset()) -> int:
        if key in seen:
            return 0
        inner = (p for p in parents(key) if p in classes and not exempt(p))
        return max((1 + depth(p, seen | {key}) for p in inner), default=0)

    for key, node in classes.items():
        if not exempt(key) and depth(key) > 1:
            at = modules[key[0]].at(node.lineno)
            yield f"{at}: {key[1]} inherits through {depth(key)} classes of the package, at most 1"


RULES = (layering, cycles, torch_loads, names, sizes, signatures, inheritance)


def main() -> int:
    modules = load(PACKAGE)
    broken = [line for rule in RULES for line in rule(modules)]
    for line in sizes(modules, LONG):
        if line not in broken:
            print(f"note: {line}")
    for line in broken:
        print(line)
    print(f"house rules: {len(modules)} modules, {len(broken)} broken")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
