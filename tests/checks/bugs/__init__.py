"""A catalogue of bugs, seeded into small programs of many families, each with the finding that must name it.

Numbers are those of the list of bugs that the checks were written for; bugs without one are of the project's own.
"""

from __future__ import annotations

from bugs.case import DOORS, Bug, Undetectable, looked

__all__ = ["BY_CHANCE", "DOORS", "Bug", "Undetectable", "catalogue", "looked", "undetectable"]

# What these do is chance: with some seeds such a training goes well all the same, and there is nothing to name. At least
# four of five seeds must show them.
BY_CHANCE = (
    "dense: learning rate 1", "CNN: learning rate 1", "running training: learning rate too high",
    "running training: labels shuffled each step",
)  # fmt: skip


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
