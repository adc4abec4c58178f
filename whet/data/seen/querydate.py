"""Dates in a filter: columns of dates, in whatever format, become times, and so do the texts they are compared with."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from whet.data.column import as_dates, kind_of
from whet.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["date_form", "dated"]

_OF_VALUES = {"between": 2, "isin": 1}  # so many values are compared; after them comes whether the ends count


def date_form(column: pd.Series) -> str | None:
    """Return the format of a column of dates, as reading a table finds it; None for other columns.

    >>> import pandas as pd
    >>> date_form(pd.Series(["31.12.2023", "01.02.2024"])), date_form(pd.Series([1.0, 2.0]))
    ('%d.%m.%Y', None)
    """
    import pandas as pd

    types = pd.api.types
    if not (types.is_string_dtype(column) or types.is_object_dtype(column) or types.is_datetime64_any_dtype(column)):
        return None
    kind, form = kind_of(column)
    return form if kind == "date" else None


def dated(
    tree: ast.Expression, plain: str, frame: pd.DataFrame, where: Callable[[str], str]
) -> tuple[str, Mapping[str, pd.Series], Mapping[str, pd.Timestamp | list[pd.Timestamp]]]:
    """Return an expression that compares dates as dates: its text, the columns that are times now, and the times (lists) it names.

    tree: of the expression `plain` on the columns of `frame`. A text may be in ISO form (2024-03-01) or the column's own; where
    day and month could be either way round, months come first, as when the table is read. A column whose
    .str is asked for stays text. where: begins the error for a column.

    Raises UsageError for what is compared with dates and is no date in either form.

    >>> import pandas as pd
    >>> text = "day > '1.2.2024'"
    >>> plain, _, times = dated(ast.parse(text, mode="eval"), text, pd.DataFrame({"day": ["31.12.2023", "3.2.2024"]}), str)
    >>> plain, str(times["date_0"])
    ('day > date_0', '2024-02-01 00:00:00')
    """
    as_text = {n.value.id for n in ast.walk(tree) if _is_str(n) and isinstance(n.value, ast.Name)}  # type: ignore[attr-defined]
    forms = {str(n): f for n in frame.columns if n not in as_text and (f := date_form(frame[n])) is not None}
    if not forms:
        return plain, {}, {}
    times: dict[str, pd.Timestamp | list[pd.Timestamp]] = {}
    names = (n for i in range(10**6) if (n := f"date_{i}") not in frame.columns)

    class Named(ast.NodeTransformer):
        """Puts a name in the place of each of the constants that were found, and of a list of them."""

        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            return _put(_time(node)) if node in found else node

        def visit_List(self, node: ast.List | ast.Tuple) -> ast.AST:
            every = [_time(e) for e in node.elts if isinstance(e, ast.Constant) and e in found]
            # The whole list: pandas takes a list of one name for the name.
            return _put(every) if every and len(every) == len(node.elts) else self.generic_visit(node)

        visit_Tuple = visit_List

    def _time(node: ast.Constant) -> pd.Timestamp:
        return _moment(node.value, forms[found[node]], where(found[node]))

    def _put(value: pd.Timestamp | list[pd.Timestamp]) -> ast.Name:
        name = next(names)
        times[name] = value
        return ast.Name(name, ast.Load())

    found = {value: name for name, value in _compared(tree, forms)}
    plain = ast.unparse(Named().visit(tree))
    return plain, {n: as_dates(frame[n], form) for n, form in forms.items()}, times


def _is_str(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "str"


def _compared(tree: ast.AST, dates: Mapping[str, str]) -> Iterator[tuple[str, ast.Constant]]:
    """Yield (column, text) for each text that a column of dates is compared with."""
    for node in ast.walk(tree):
        sides: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _OF_VALUES:
            values = node.args[: _OF_VALUES[node.func.attr]]
            sides = [node.func.value, *values, *(k.value for k in node.keywords if k.arg != "inclusive")]
        name = next((s.id for s in sides if isinstance(s, ast.Name) and s.id in dates), None)
        if name is None:
            continue
        for side in sides:
            for value in side.elts if isinstance(side, (ast.List, ast.Tuple)) else [side]:
                if isinstance(value, ast.Constant):
                    yield name, value


def _moment(value: object, form: str, where: str) -> pd.Timestamp:
    import pandas as pd

    for one in ("ISO8601", form) if isinstance(value, str) else ():
        at = pd.to_datetime(pd.Series([value]), format=one, errors="coerce", utc=True).dt.tz_convert(None)[0]
        if not pd.isna(at):
            return at
    own = "" if form == "ISO8601" else f", or as in the data, {form}"
    text = "; what is no date counts as missing: ask .isna()" if isinstance(value, str) else ""
    raise UsageError(f"{where} holds dates, got {value!r}. Write '2024-03-01'{own}{text}.")
