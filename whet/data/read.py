"""Read a table file: CSV in its dialects, or Parquet. What is guessed (separator, header row) is stated as a finding."""

from __future__ import annotations

import csv
import gzip
import warnings
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from whet.errors import DataError
from whet.finding import Finding, Severity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MISSING", "TEXT", "read"]

MISSING = ("?", "NA", "N/A", "na", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A", "")
TEXT = (".csv", ".tsv", ".txt", ".data")
PARQUET = (".parquet", ".pq")
SEPARATORS = (",", ";", "\t", "|")
LONGEST = 1 << 26  # characters of a field: Python's own limit of 131,072 is less than a long text
CHECKED = 200_000  # records whose number of fields is counted; pandas looks at the rest


def read(path: str | Path, target: str | None = None) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """Return the table in a CSV or Parquet file, and what was guessed while reading it.

    Columns of a file without a header row are named c1, c2, ... A `target` found in the first row settles that there is a
    header. '?', 'NA', 'null' and empty fields are missing values. A `.gz` after `.csv` is unpacked.

    Raises DataError: missing, empty or binary file, unknown ending, ragged lines, duplicated column names.

    >>> import tempfile, pathlib
    >>> p = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = p.write_text("age,kind\\n3,a\\n?,b\\n")
    >>> frame, findings = read(p)
    >>> list(frame.columns), int(frame["age"].isna().sum())
    (['age', 'kind'], 1)
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file.{_beside(path)} Give a CSV or Parquet file.")
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a table. Give a CSV or Parquet file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes). Give a table with a header row and at least 10 rows.")
    end = Path(path.name.removesuffix(".gz")).suffix.lower()
    if end in PARQUET:
        return _parquet(path), ()
    if end in TEXT:
        return _text(path, target)
    raise DataError(
        f"{path}: cannot read '{end or 'no ending'}'. Allowed: {' '.join(TEXT + PARQUET)}. Convert it, e.g. to CSV."
    )


def _beside(path: Path) -> str:
    from whet.errors import nearest

    names = [p.name for p in islice(path.parent.iterdir(), 1000)] if path.parent.is_dir() else []
    return nearest(path.name, names)


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = [str(n) for n in pq.read_schema(path).names]
        _no_duplicates(path, names)
        frame = pd.read_parquet(path)
    except (pa.ArrowException, OSError) as e:
        raise DataError(f"{path}: not a Parquet file that can be read ({e}). Write it again, or use CSV.") from None
    frame.columns = [str(c) for c in frame.columns]
    if frame.empty:
        raise DataError(f"{path}: the table has {len(frame)} rows and {frame.shape[1]} columns. Give at least 10 rows.")
    return frame.reset_index(drop=True)


def _bytes(path: Path, size: int) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as f:
            return f.read(size)
    except (OSError, EOFError) as e:
        raise DataError(f"{path}: cannot be read ({e}).") from None


def _open(path: Path, encoding: str) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return open(path, encoding=encoding, newline="")


def _encoding(path: Path, head: bytes) -> str:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if b"\0" in head or head[:4] in (b"PK\x03\x04", b"PAR1", b"%PDF", b"\x89PNG") or head[:2] == b"\x1f\x8b":
        raise DataError(
            f"{path}: not a CSV file: it is binary (starts with {head[:4].hex(' ')}). Give a text table, or name a Parquet "
            "file .parquet."
        )
    try:
        with _open(path, "utf-8") as f:
            while f.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig" if head[:3] == b"\xef\xbb\xbf" else "utf-8"


def _separator(lines: list[str]) -> tuple[str, int]:
    """Return the separator, and how many fields most lines have with it."""
    best = (0.0, 0, ",")
    for sep in SEPARATORS:
        rows = [len(r) for r in csv.reader(lines, delimiter=sep, skipinitialspace=True) if r]
        fields, times = Counter(rows).most_common(1)[0] if rows else (0, 0)
        if fields > 1:
            best = max(best, (times / len(rows), fields, sep))
    return best[2], best[1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def has_header(rows: list[list[str]], target: str | None = None) -> tuple[bool, str]:
    """Return whether the first of `rows` names the columns, and why it is thought so.

    >>> has_header([["age", "kind"], ["3", "a"], ["4", "b"]])
    (True, "'age' stands over numbers")
    >>> has_header([["39", "State-gov"], ["50", "Private"]])
    (False, "'39' in the first row is a number")
    """
    first, rest = [c.strip() for c in rows[0]], rows[1:]
    if target is not None and target in first and not _is_number(target):  # a number may be the column's position
        return True, "the target is in the first row"
    if first == [str(i) for i in range(len(first))]:
        return True, "the first row counts the columns"
    for i, cell in enumerate(first):
        column = [r[i].strip() for r in rest if i < len(r) and r[i].strip() not in MISSING]
        if cell in MISSING or not column:
            continue
        share = sum(_is_number(v) for v in column) / len(column)
        if not _is_number(cell) and share > 0.8:
            return True, f"'{cell}' stands over numbers"
    for i, cell in enumerate(first):
        if cell not in MISSING and _is_number(cell):
            return False, f"'{cell}' in the first row is a number"
        if any(i < len(r) and r[i].strip() == cell for r in rest) and cell not in MISSING:
            return False, f"'{cell}' in the first row is also a value below it"
    return True, "no cell of the first row is a number or occurs below it"


def _no_duplicates(path: Path, names: list[str]) -> None:
    for name, times in Counter(n for n in names if n).items():
        if times > 1:
            where = ", ".join(str(i + 1) for i, n in enumerate(names) if n == name)
            raise DataError(f"{path}: column '{name}' appears {times} times (columns {where}). Rename all but one.")


def _text(path: Path, target: str | None) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    import pandas as pd

    head = _bytes(path, 1 << 16)
    if not head.strip():
        raise DataError(f"{path}: the file is empty (white space only). Give a table with a header row and rows.")
    encoding = _encoding(path, head)
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
    with _open(path, encoding) as f:
        lines = list(islice(f, 200))
        sep, fields = _separator(lines)
        if fields < 2:
            raise DataError(
                f"{path}: found one column only; no ',', ';', tab or '|' divides its lines. Give a target and at least one "
                "other column."
            )
        f.seek(0)
        reader = csv.reader(f, delimiter=sep, skipinitialspace=True)
        rows = []
        count = 0
        try:
            for row in islice(reader, CHECKED):
                if not row:
                    continue
                if count < 200:
                    rows.append(row)
                if len(row) != len(rows[0]):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} fields, but the first line has {len(rows[0])}. Give "
                        f"every line the same number of fields; quote fields that hold '{sep}'."
                    )
                count += 1
        except csv.Error as e:
            raise DataError(f"{path}, line {reader.line_num}: not CSV ({e}). Check the quotes.") from None
    header, why = has_header(rows, target)
    if header:
        _no_duplicates(path, [c.strip() for c in rows[0]])
        if count < 2:
            raise DataError(f"{path}: there is a header row but no rows under it. Give at least 10 rows.")
        names = [c.strip() or f"unnamed{i + 1}" for i, c in enumerate(rows[0])]
    else:
        names = [f"c{i + 1}" for i in range(len(rows[0]))]
    try:
        with warnings.catch_warnings():  # a line too long past the checked ones is cut off with a warning only
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path, sep=sep, header=0 if header else None, names=names, index_col=False, skipinitialspace=True,
                na_values=list(MISSING), encoding=encoding, low_memory=False,
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.ParserWarning) as e:
        raise DataError(f"{path}: not CSV ({e}). Give every line {len(names)} fields.") from None
    findings = []
    if not header:
        evidence = {"columns": len(names), "first": rows[0][:5]}
        text = f"no header row ({why}), so the columns are named c1 to c{len(names)}"
        findings.append(Finding("HEADER", Severity.INFO, path.name, evidence, text, "put a first line with names"))
    if sep != "," or encoding == "latin-1":
        text = f"read with separator {sep!r} and encoding {encoding}"
        findings.append(Finding("DIALECT", Severity.INFO, path.name, {}, text, "save as UTF-8 with commas if wrong"))
    return frame, tuple(findings)
