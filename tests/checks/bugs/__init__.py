"""A catalogue of bugs, seeded into small programs of many families, each with the finding that must name it.

Numbers are those of the list of bugs that the checks were written for; bugs without one are of the project's own.
"""

from __future__ import annotations

from bugs.case import DOORS, Bug, Undetectable, looked

__all__ = ["DOORS", "Bug", "Undetectable", "catalogue", "looked", "undetectable"]


def catalogue() -> list[Bug]:
    """Return all bugs, by family."""
    from bugs import (
        ahead,
        around,
        augments,
        dense,
        language,
        living,
        pictures,
        repeats,
        resumes,
        sequences,
        several,
        steps,
        whole,
    )

    modules = (
        dense,
        pictures,
        sequences,
        language,
        several,
        ahead,
        steps,
        whole,
        augments,
        repeats,
        resumes,
        around,
        living,
    )
    return [b for module in modules for b in module.BUGS]


def undetectable() -> list[Undetectable]:
    """Return the bugs that no check can name."""
    from bugs.hidden import UNDETECTABLE

    return list(UNDETECTABLE)
