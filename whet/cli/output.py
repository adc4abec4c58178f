"""Files that a command is asked for: refused before the work when they cannot be written, and no loss of it when they fail after."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from whet.errors import MissingExtra, StoreError, UsageError, WhetError, one_line

__all__ = ["Kept", "check_file", "check_page"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def check_file(flag: str, path: Path) -> None:
    """Raise UsageError when no file can be made at `path`, by making one beside it for a moment; StoreError on a full disk.

    Folders that are not there yet can be made, so the nearest one that is there is tried.

    >>> check_file("--html", Path(__file__) / "page.html")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    whet.errors.UsageError: --html ...output.py/page.html: cannot be written (Not a directory). Give a file in a folder you may write to.
    """
    folder, name = path.parent, f".{path.name}."
    while not os.path.lexists(folder) and folder != folder.parent:
        folder, name = folder.parent, f".{folder.name}."
    try:
        handle, made = tempfile.mkstemp(prefix=name, dir=folder)
        os.close(handle)
        os.unlink(made)
    except (OSError, ValueError) as e:
        why = e.strerror or str(e) if isinstance(e, OSError) else str(e)
        if isinstance(e, OSError) and e.errno in _FULL:
            raise StoreError(f"{flag} {path}: cannot be written ({why}). Make room, or give another file.") from e
        if isinstance(e, OSError) and e.errno == errno.ENOENT:
            why = "no file can be made there"
        raise UsageError(f"{flag} {path}: cannot be written ({why}). Give a file in a folder you may write to.") from e


def check_page(path: Path | None) -> None:
    """Raise UsageError, before anything is looked at, when a page cannot be written there; MissingExtra when none can be made."""
    if path is None:
        return
    if os.path.isdir(path):  # of a name too long it says no, where Path.is_dir raises
        raise UsageError(f"--html {path}: is a folder. Give a file, e.g. {path / 'page.html'}.")
    if path.suffix != ".html":
        raise UsageError(f"--html {path}: must end in .html. Give e.g. {path.with_suffix('.html')}.")
    check_file("--html", path)
    from importlib.util import find_spec

    for needed in ("jinja2", "plotly"):
        if find_spec(needed) is None:
            raise MissingExtra(f"--html: needs {needed}, which is not installed. Run: pip install {needed}")


class Kept:
    """What went wrong with a file after the work was done, kept until what was found is shown.

    >>> kept = Kept()
    >>> with kept.trying():
    ...     raise StoreError("page.html: cannot be written")
    >>> kept.code(1)  # what was looked at was found wrong, and that is what is told
    1
    """

    def __init__(self) -> None:
        self.error: WhetError | None = None

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        """Keep a WhetError that the body raises."""
        try:
            yield
        except WhetError as e:
            self.error = e

    def code(self, found: int) -> int:
        """Return the exit code of a command that found `found`; raise what was kept where it found nothing wrong."""
        if self.error is None:
            return found
        if not found:
            raise self.error
        print(f"whet: {one_line(str(self.error))}", file=sys.stderr)
        return found
