"""A catalogue of bugs, seeded into small programs of many families, each with the finding that must name it.

Numbers are those of the list of bugs that the checks were written for; bugs without one are of the project's own.
"""

from __future__ import annotations

from bugs.case import Bug

__all__ = ["Bug", "catalogue"]


def catalogue() -> list[Bug]:
    """Return all bugs, by family."""
    from bugs import dense, language, pictures, sequences, several

    return [b for module in (dense, pictures, sequences, language, several) for b in module.BUGS]
