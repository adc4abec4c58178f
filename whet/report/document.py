"""A report: a title and sections, rendered as text for a terminal, JSON for a program, one HTML file for people."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.errors import StoreError
from whet.report.block import Section

__all__ = ["Report", "write_html"]


@dataclass(frozen=True)
class Report:
    """What was done and found, as a value.

    title: what it is about; subtitle: one line below it; sections: in the order of reading.

    >>> report = Report("digits", (Section("answer", "The answer", "Accuracy is 0.978."),))
    >>> print(report.text())
    digits
    ======
    <BLANKLINE>
    The answer
    ----------
    Accuracy is 0.978.
    <BLANKLINE>
    >>> report.json()["sections"][0]["name"], "<h1>digits</h1>" in report.html()
    ('answer', True)
    """

    title: str
    sections: tuple[Section, ...]
    subtitle: str = ""

    def text(self) -> str:
        """Return the report as plain text, at most 80 columns wide."""
        from whet.report.text import render

        return render(self.title, self.subtitle, self.sections)

    def json(self) -> dict[str, Any]:
        """Return everything the report shows, in numbers, as JSON values; what is not finite is None."""
        sections = [s.json() for s in self.sections]
        return {"title": self.title, "subtitle": self.subtitle, "sections": sections}

    def html(self) -> str:
        """Return the report as one HTML page that needs no network; the same report gives the same bytes.

        Raises MissingExtra when plotly or jinja2 is not installed.
        """
        from whet.report.page import render

        return render(self.title, self.subtitle, self.sections)


def write_html(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write the page to `path` whole or not at all, making its folder; return the path.

    Raises StoreError when it cannot be written.

    >>> with tempfile.TemporaryDirectory() as d:
    ...     write_html(Report("digits", ()), Path(d) / "runs" / "report.html").name
    'report.html'
    """
    target = Path(path)
    page = report.html()
    new = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(new, 0o666 & ~mask)  # a temporary file is private, a report is not
        os.replace(new, target)
    except OSError as e:
        if new and os.path.exists(new):
            os.unlink(new)
        raise StoreError(f"report: cannot write {target}: {e.strerror or e}. Give a folder you may write to.") from e
    return target
