"""A constraint between values, written as an expression: parsed once, never handed to `eval`."""

from __future__ import annotations

import ast
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from whet.errors import SpaceError, nearest

__all__ = ["Constraint"]

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_LONGEST = 2000  # characters of a constraint
_ALLOWED = "names, numbers, text, + - * / // % **, comparisons, in, and, or, not"


class Constraint:
    """A condition a configuration must meet, such as "width * depth <= 2048".

    Allowed: the names of the space (`optimizer.momentum` with its dot), numbers, text, arithmetic, comparisons, `in`,
    `and`, `or`, `not`. A constraint that mentions a name which a configuration does not have holds for it.

    >>> c = Constraint("width * depth <= 2048", ["width", "depth"])
    >>> c.holds({"width": 1024, "depth": 2}), c.holds({"width": 1024, "depth": 3}), c.holds({"width": 4096})
    (True, False, True)
    """

    def __init__(self, text: str, names: Iterable[str]) -> None:
        self.text = text
        self._known = set(names)
        self.names: set[str] = set()
        if len(text) > _LONGEST:
            raise SpaceError(
                f'constraint "{text[:60]}...": at most {_LONGEST} characters, got {len(text)}. Use several.'
            )
        try:
            tree = ast.parse(text.strip(), mode="eval")
            self._run = self._compile(tree.body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            if isinstance(e, SpaceError):
                raise
            raise SpaceError(f'constraint "{text}": cannot be read ({e}). Use e.g. "width * depth <= 2048".') from None
        if not self.names:
            raise SpaceError(f'constraint "{text}": names no hyperparameter. Use e.g. "width * depth <= 2048".')

    def holds(self, params: Mapping[str, Any], prefix: str = "") -> bool:
        """Return whether `params` meet the condition; raise SpaceError when it cannot be computed.

        prefix: what stands before each name, for the constraint of a branch ("optimizer.").
        """
        if any(prefix + n not in params for n in self.names):
            return True
        try:
            return bool(self._run({n: params[prefix + n] for n in self.names}))
        except (TypeError, ArithmeticError, ValueError, RecursionError) as e:
            raise SpaceError(f'constraint "{self.text}": cannot be computed for {dict(params)}: {e}.') from None

    def _refuse(self, node: ast.AST) -> SpaceError:
        return SpaceError(f'constraint "{self.text}": `{ast.unparse(node)}` is not allowed. Allowed: {_ALLOWED}.')

    def _name(self, node: ast.expr) -> str:
        dotted = ast.unparse(node)
        if dotted not in self._known:
            known = ", ".join(sorted(self._known)) or "none"
            raise SpaceError(
                f'constraint "{self.text}": no hyperparameter `{dotted}`.{nearest(dotted, self._known)} Known: {known}.'
            )
        self.names.add(dotted)
        return dotted

    def _compile(self, node: ast.expr) -> Callable[[Mapping[str, Any]], Any]:
        match node:
            case ast.Constant(value=value) if isinstance(value, (int, float, str, bool)) or value is None:
                return lambda p: value
            case ast.Name() | ast.Attribute():
                name = self._name(node)
                return lambda p: p[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                act, a, b = _BINARY[type(op)], self._compile(left), self._compile(right)
                if isinstance(op, ast.Pow) and not (isinstance(right, ast.Constant) and right.value in (2, 3, 0.5)):
                    raise self._refuse(node)  # 9 ** 9 ** 9 would hang
                return lambda p: act(_number(a(p)), _number(b(p)))
            case ast.UnaryOp(op=ast.USub(), operand=x):
                f = self._compile(x)
                return lambda p: -_number(f(p))
            case ast.UnaryOp(op=ast.Not(), operand=x):
                f = self._compile(x)
                return lambda p: not f(p)
            case ast.BoolOp(op=op, values=values):
                parts = [self._compile(v) for v in values]
                every = all if isinstance(op, ast.And) else any
                return lambda p: every(f(p) for f in parts)
            case ast.Tuple(elts=elts) | ast.List(elts=elts):
                parts = [self._compile(v) for v in elts]
                return lambda p: [f(p) for f in parts]
            case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(o) in _COMPARE for o in ops):
                terms = [self._compile(v) for v in [left, *rest]]
                acts = [_COMPARE[type(o)] for o in ops]
                return lambda p: all(act(a, b) for act, (a, b) in zip(acts, pairs([f(p) for f in terms]), strict=True))
        raise self._refuse(node)


def _number(value: Any) -> Any:
    """Return `value` when it is a number: text times a number is text without end."""
    if not isinstance(value, (int, float)):
        raise TypeError(f"arithmetic needs numbers, got {value!r}")
    return value


def pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    """Return the neighbours of a list, in order."""
    return list(itertools.pairwise(values))
