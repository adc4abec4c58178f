"""What a file or a URL holds, told by looking at it, and the study in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from whet.errors import UsageError, nearest
from whet.tune.exchange.carried import Carried

__all__ = ["read"]

_TABLES = (".csv", ".tsv", ".parquet")


def read(
    source: str,
    *,
    study: str = "",
    goal: str = "",
    params: Sequence[str] | None = None,
    value: str | None = None,
) -> Carried:
    """Return the study in a file or database.

    source: an Optuna storage (sqlite:///FILE, postgresql://..., a database or journal file), a document that `whet study
    export` wrote, a CSV or Parquet table. study: which of several; goal, params, value: what a table does not say, as for
    `whet.tune.exchange.table.tabled`.

    Raises UsageError, StudyError or StoreError, naming the source, when it cannot be read.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("lr,loss\\n0.001,0.5\\n0.01,0.25\\n0.1,0.75\\n")
    ...     file.flush()
    ...     carried = read(file.name, goal="min loss")
    >>> carried.space, carried.study(None, "mine").best.value
    (Space(lr=Float(low=0.001, high=0.1, log=True, prior=None, live=False)), 0.25)
    """
    table_only = {"--goal": goal, "--param": params, "--value": value}

    def useless(options: Mapping[str, Any], what: str) -> None:
        for flag, given in options.items():
            if given:
                raise UsageError(f"{flag}: is of no use with {what}, which says so itself. Leave it out.")

    if "://" in source and not source.startswith("sqlite:///"):
        useless(table_only, "a database")
        return _server(source, study)
    path = Path(source.removeprefix("sqlite:///"))
    if not source.strip():
        raise UsageError("import: the source is empty. Give a database, a JSON document or a table.")
    if not path.is_file():
        beside = path.parent.glob("*") if path.parent.is_dir() and not path.is_dir() else ()
        near = nearest(path.name, [p.name for p in beside])
        what = "is a folder" if path.is_dir() else "no such file"
        raise UsageError(f"{path}: {what}.{near} Give a database, a JSON document or a table.")
    try:
        with path.open("rb") as f:
            head = f.read(4096)
    except OSError as e:
        raise UsageError(f"{path}: cannot be read ({e.strerror}).") from None
    if head.startswith(b"SQLite format 3"):
        useless(table_only, "a database")
        from whet.tune.exchange.optuna import translated
        from whet.tune.exchange.optuna_sql import read_database

        url = f"sqlite:///file:{quote(str(path.resolve()))}?mode=ro&uri=true"
        return translated(read_database(url, str(path), study), str(path))
    if path.suffix.lower() in _TABLES or head.startswith(b"PAR1"):
        if study:
            raise UsageError(f"--study {study}: a table holds one study. Leave it out.")
        return _table(path, goal, params, value)
    if head.lstrip().startswith(b"{"):
        useless(table_only, "a study in JSON")
        return _json(path, head, study)
    raise UsageError(
        f"{path}: not a study. Give an Optuna storage, what `whet study export` wrote, or a .csv or .parquet table."
    )


def _server(url: str, study: str) -> Carried:
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    from whet.tune.exchange.optuna import translated
    from whet.tune.exchange.optuna_sql import read_database

    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError(f"{url}: cannot be read as a URL. Use e.g. postgresql://user@host/database.") from None
    if parsed.get_backend_name() not in ("postgresql", "sqlite"):
        raise UsageError(f"{parsed.get_backend_name()}://...: not supported. Use sqlite:///FILE or postgresql://...")
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    where = parsed.set(drivername=parsed.get_backend_name()).render_as_string(hide_password=True)
    return translated(read_database(parsed.render_as_string(hide_password=False), where, study), where)


def _json(path: Path, head: bytes, study: str) -> Carried:
    from whet.journal.event import decode
    from whet.tune.exchange.document import undocumented

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{path}: cannot be read as text ({e}).") from None
    if b'"op_code"' in head.partition(b"\n")[0]:
        from whet.tune.exchange.optuna import translated
        from whet.tune.exchange.optuna_log import read_log

        return translated(read_log(text.splitlines(), str(path), study), str(path))
    try:
        data: Any = decode(text)
    except json.JSONDecodeError as e:
        raise UsageError(
            f"{path}: not JSON (line {e.lineno}: {e.msg}). It may have been cut off; export it again."
        ) from None
    if not isinstance(data, dict):
        raise UsageError(f"{path}: not an exported study. Use what `whet study export --format json` wrote.")
    if study and study != data.get("name"):
        raise UsageError(f"--study {study}: {path} holds one study, {data.get('name')!r}. Leave it out.")
    return undocumented(data, str(path))


def _table(path: Path, goal: str, params: Sequence[str] | None, value: str | None) -> Carried:
    import pandas as pd

    from whet.tune.exchange.table import tabled

    if not goal:
        raise UsageError(
            f'{path}: a table does not say what is better. Use e.g. --goal "min loss" or --goal "max accuracy".'
        )
    try:
        if path.suffix.lower() in (".csv", ".tsv"):
            table = pd.read_csv(
                path, sep="\t" if path.suffix.lower() == ".tsv" else ",", dtype_backend="numpy_nullable"
            )
        else:
            table = pd.read_parquet(path, dtype_backend="numpy_nullable")
    except (ValueError, OSError) as e:
        said = " ".join(str(e).split())
        raise UsageError(f"{path}: cannot be read as a table ({said[:200]}).") from None
    if not len(table):
        raise UsageError(f"{path}: has no rows.")
    return tabled(table, str(path), goal=goal, params=params, value=value)
