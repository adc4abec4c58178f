"""Filter and sort rows by what a person types: pandas' own query language, of columns and comparisons only."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from whet.data.column import as_dates
from whet.data.seen.querydate import date_form, dated
from whet.errors import UsageError, nearest, one_line

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["choose", "names_in", "order", "where"]

LONGEST = 2000  # characters of an expression

_NODES = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Invert, ast.BinOp, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt,
    ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.Attribute,
    ast.Call, ast.keyword,
)  # fmt: skip
_OPERATORS = {
    ast.Pow: "**",
    ast.BitXor: "^",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.MatMult: "@",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
_OF_TEXT = frozenset("contains startswith endswith lower upper strip len count fullmatch match".split())
_OF_ANY = frozenset("isna notna isin between abs".split())


def where(table: pd.DataFrame, expression: str, *, what: str = "--where") -> np.ndarray:
    """Return which rows of `table` satisfy `expression`, (n,) bool; a missing value satisfies only != and .isna().

    Columns, numbers, texts and lists; + - * / // %, comparisons, in, and, or, not (also & | ~); the methods .isna()
    .notna() .isin() .between() .abs() and, of text, .str.contains() and its like. A column whose name is no plain word goes
    in backticks. A column of dates is compared as dates (see `whet.data.seen.querydate`). The expression is read before pandas
    sees it, so that it cannot call or reach anything else.

    Raises UsageError, in one line, for all that cannot be read, an unknown column, and what is no filter.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"length": [1, 5, 9], "a b": ["x", "y", "y"]})
    >>> where(table, "length > 2 and `a b` == 'y'").tolist()
    [False, True, True]
    """
    import pandas as pd

    plain, stand_ins, tree = _read(expression, list(map(str, table.columns)), what)
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    if not used:
        raise UsageError(f"{what} {expression!r}: names no column. Compare one, e.g. {_example(table)}.")
    frame = pd.DataFrame({n: table[stand_ins.get(n, n)].reset_index(drop=True) for n in used})
    plain, dates, moments = dated(tree, plain, frame, lambda n: f"{what} {expression!r}: {stand_ins.get(n, n)}")
    frame = frame.assign(**dates)
    try:
        found = frame.eval(plain, engine="python", resolvers=[dict(moments)])
    except Exception as e:  # pandas raises many kinds for what two columns cannot do together
        told = one_line(str(e))
        for stand_in, name in stand_ins.items():
            told = told.replace(stand_in, name)
        raise UsageError(
            f"{what} {expression!r}: {type(e).__name__}: {told[:200]}. Compare columns with values of their kind."
        ) from None
    kind = getattr(found, "dtype", None)
    if isinstance(found, pd.Series) and str(kind) == "object" and found.map(_truth).all():
        found = found.map(lambda v: isinstance(v, (bool, np.bool_)) and bool(v))
    elif not isinstance(found, pd.Series) or not pd.api.types.is_bool_dtype(found):
        got = f"values of type {kind}" if kind is not None else f"{found!r}"
        raise UsageError(
            f"{what} {expression!r}: gives {got}, a filter gives true or false. Compare something, e.g. {_example(table)}."
        )
    return np.asarray(found.fillna(False).to_numpy(dtype=bool))


def _truth(value: object) -> bool:
    return value is None or value != value or isinstance(value, (bool, np.bool_))


def names_in(expression: str, columns: Sequence[str], *, what: str = "--where") -> set[str]:
    """Return the columns that an expression names; raise UsageError for what `where` would refuse unread.

    >>> sorted(names_in("a > 2 and `b c`.isna()", ["a", "b c", "d"]))
    ['a', 'b c']
    """
    _, stand_ins, tree = _read(expression, columns, what)
    return {stand_ins.get(n.id, n.id) for n in ast.walk(tree) if isinstance(n, ast.Name)}


def order(table: pd.DataFrame, by: str, *, what: str = "--sort") -> np.ndarray:
    """Return the positions of the rows sorted by a column, (n,); "-column": the largest first. Missing values come last.

    Dates are sorted as dates, as they are read. Raises UsageError for an unknown column.

    >>> import pandas as pd
    >>> order(pd.DataFrame({"x": [2.0, None, 3.0, 2.0]}), "-x").tolist()
    [2, 0, 3, 1]
    """
    columns = list(map(str, table.columns))
    falling = by.startswith("-") and by not in columns
    name = by[1:] if falling else by
    _known(name, columns, what)
    column = table[name].reset_index(drop=True)
    if (form := date_form(column)) is not None:
        column = as_dates(column, form)
    try:
        found = column.sort_values(ascending=not falling, kind="stable", na_position="last")
    except TypeError:  # numbers among texts
        found = column.astype(str).sort_values(ascending=not falling, kind="stable")
    return found.index.to_numpy()


def choose(names: str, columns: Sequence[str], *, what: str = "--columns") -> list[str]:
    """Return the columns that a text names, with commas between.

    >>> choose("id, label", ["split", "id", "label"])
    ['id', 'label']
    """
    found = list(dict.fromkeys(n.strip().strip("`") for n in names.split(",")))
    for name in found:
        _known(name, columns, what)
    return found


def _known(name: str, columns: Sequence[str], what: str) -> None:
    if name not in columns:
        raise UsageError(f"{what} {name!r}: no such column.{nearest(name, columns)} Columns: {_list(columns)}.")


def _list(columns: Sequence[str]) -> str:
    return ", ".join(columns[:40]) + (f", ... ({len(columns) - 40} more)" if len(columns) > 40 else "")


def _example(table: pd.DataFrame) -> str:
    name = next((c for c in ("length", "brightness", "missing", "index") if c in table.columns), str(table.columns[0]))
    return f"`{name}` > 0" if not name.isidentifier() else f"{name} > 0"


def _read(expression: str, columns: Sequence[str], what: str) -> tuple[str, dict[str, str], ast.Expression]:
    """Return the expression with plain words for columns, {word: column}, and its tree, after everything in it was allowed."""
    said = f"{what} {expression!r}"
    if not expression.strip():
        raise UsageError(f"{what}: is empty. Compare a column, e.g. label == 3.")
    if len(expression) > LONGEST:
        raise UsageError(f"{what}: {len(expression):,} characters, at most {LONGEST:,}.")
    parts = list(_pieces(expression, said))
    bare = "".join(text for kind, text in parts if kind == "code")
    if "@" in bare:
        raise UsageError(f"{said}: @ reads variables, and there are none here, only columns. Write the value itself.")
    quoted = list(dict.fromkeys(text for kind, text in parts if kind == "column"))
    for name in quoted:
        _known(name, columns, said)
    words = iter(w for i in range(10**6) if (w := f"column_{i}") not in columns and w not in bare)
    stand_ins = {next(words): name for name in quoted}
    back = {name: word for word, name in stand_ins.items()}
    plain = "".join(f" {back[t]} " if k == "column" else _joined(t) if k == "code" else t for k, t in parts)
    plain = " ".join(plain.split("\n")).strip()
    try:
        tree = ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise UsageError(f"{said}: cannot be read{_why(bare, columns, e)}") from None
    for node in ast.walk(tree):
        _allow(node, said)
    _names(tree, stand_ins, columns, said)
    return plain, stand_ins, tree


def _joined(code: str) -> str:
    """Return code with & and | as the words: pandas reads them as and, or, and Python, which gives the tree, binds them tighter."""
    return re.sub(r"(?<!\|)\|(?!\|)", " or ", re.sub("(?<!&)&(?!&)", " and ", code))


def _pieces(text: str, said: str) -> Iterator[tuple[str, str]]:
    """Yield ("code", ...), ("text", ...) with its quotes, and ("column", ...) without its backticks."""
    at = 0
    while at < len(text):
        quote = text[at]
        if quote not in "'\"`":
            end = next((i for i in range(at, len(text)) if text[i] in "'\"`"), len(text))
            yield "code", text[at:end]
            at = end
            continue
        end = at + 1
        while end < len(text) and text[end] != quote:
            end += 2 if text[end] == "\\" and quote != "`" else 1
        if end >= len(text):
            raise UsageError(f"{said}: a {quote} is opened and not closed.")
        yield ("column", text[at + 1 : end]) if quote == "`" else ("text", text[at : end + 1])
        at = end + 1


def _why(bare: str, columns: Sequence[str], error: BaseException) -> str:
    """Return what a syntax error most likely is about, as the end of a sentence."""
    loose = bare.replace("==", "").replace("!=", "").replace("<=", "").replace(">=", "")
    if "=" in loose and "(" not in loose:
        return ": = does not compare. Write ==."
    if word := next((c for c in columns if keyword.iskeyword(c) and c in bare.split()), None):
        return f": {word} is a word of the language. Write `{word}`, in backticks."
    if "&&" in bare or "||" in bare:
        return ": write and, or."
    told = f" ({error.msg})" if isinstance(error, SyntaxError) and error.msg else ""
    return f'{told}. Write comparisons, e.g. "length > 200 and label == 3"; a text in quotes.'


def _allow(node: ast.AST, said: str) -> None:
    if isinstance(node, ast.Attribute):
        if node.attr not in {"str", *_OF_TEXT, *_OF_ANY}:
            allowed = ", ".join(f".{m}()" for m in sorted(_OF_ANY)) + ", .str.contains() and the like"
            raise UsageError(f"{said}: .{node.attr} is not allowed. Allowed: {allowed}.")
    elif isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Attribute) or node.func.attr == "str":
            raise UsageError(
                f"{said}: {ast.unparse(node.func)}() cannot be called here. Compare columns; write x.abs() for abs(x)."
            )
    elif isinstance(node, ast.Constant):
        if not isinstance(node.value, (int, float, str, bool)):
            raise UsageError(f"{said}: {ast.unparse(node)} compares with nothing. Write x.isna() or x.notna().")
    elif not isinstance(node, _NODES):
        shown = ast.unparse(node) if hasattr(node, "lineno") else ""  # operators have no text of their own
        what = f"`{shown}`" if shown else _OPERATORS.get(type(node), type(node).__name__.lower())
        raise UsageError(
            f"{said}: {what} is not allowed. Allowed: columns, values, + - * / // %, comparisons, in, and, or, not."
        )


def _names(tree: ast.AST, stand_ins: dict[str, str], columns: Sequence[str], said: str) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in stand_ins and node.id not in columns:
            odd = next((c for c in columns if not c.isidentifier() and node.id in c and c in said), None)
            if odd is not None:
                raise UsageError(f"{said}: no such column {node.id!r}. Write `{odd}`, in backticks.")
            raise UsageError(
                f"{said}: no such column {node.id!r}.{nearest(node.id, columns)} A text goes in quotes. Columns: {_list(columns)}."
            )
