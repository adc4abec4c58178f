"""`whet study enqueue`, `note` and `tag`: a person's guesses and remarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whet.cli import options as o
from whet.cli.study import shown
from whet.cli.study.shown import StudyName, TrialName, trial_json

__all__ = ["add"]

Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag of the trial; may be repeated.")]


def add(verbs: typer.Typer) -> None:
    """Add the verbs."""
    verbs.command("enqueue", epilog="Example: whet study enqueue digits --set lr=1e-3 --note 'as in the paper'")(
        enqueue
    )
    verbs.command("note", epilog="Example: whet study note digits 12 'diverged late'")(note)
    verbs.command("tag", epilog="Example: whet study tag digits 12 keep baseline")(tag)


def enqueue(
    study: StudyName,
    set: o.Set = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why.")] = "",
    tag: Tags = None,
    again: bool = typer.Option(False, "--again", help="Also when a trial has the same configuration."),
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:
    """Put a guess of yours first in the queue; the rest is drawn.

    Whoever works on the study next tries it: a running `whet tune`, or the next one.
    """
    from whet.cli.job import settings
    from whet.cli.screen import Screen, emit_json
    from whet.errors import SpaceError, StudyError, UsageError
    from whet.recipe.words import configured

    tags = list(dict.fromkeys(_tag(t) for t in tag or ()))
    with shown.opened(runs, store, study) as opened:
        params = settings(opened.space, set)
        if not params:
            raise UsageError(f"enqueue: nothing is set. Use --set NAME=VALUE. Names: {', '.join(opened.space.names)}.")
        try:
            made = opened.enqueue(params, note=note, tags=tags, again=again)
        except SpaceError as e:
            raise UsageError(f"--set {e}") from None
        except StudyError as e:
            raise UsageError(str(e).replace("again=True", "--again")) from None
        if json:
            emit_json(trial_json(made))
            return 0
        screen = Screen()
        given = configured(made.params) or "nothing set"
        left = [n for n in opened.space.names if n not in params]
        screen.block(f"trial {made.id}", [shown.short(f"waits: {given}", 70)])
        if left:
            screen.block("", [shown.short(f"to be filled in, where it applies: {', '.join(left)}", 70)])
        words = shown.task_words(opened)
        how = (
            f"whet tune {words}{shown.goal_words(opened)}{shown.length_words(opened)}"
            + ("" if words == study else f" --name {study}")
            + shown.where(runs, store)
        )
        if words == "TASK":  # not begun by a recipe: only the code that has the objective can go on with it
            how = shown.in_python(shown.place(runs, store), study)
        screen.block("next", ["a process that works on the study takes it next; else", how])
    return 0


def note(
    study: StudyName,
    trial: TrialName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What you think of it; '' takes the note away.")],
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:
    """Write a note on a trial, in place of the one it has."""
    from whet.cli.screen import Screen, emit_json
    from whet.errors import one_line

    with shown.opened(runs, store, study) as opened:
        before = shown.pick(opened, trial)
        made = opened.annotate(before, note=one_line(text))
        if json:
            emit_json(trial_json(made))
            return 0
        screen = Screen()
        screen.block(f"trial {made.id}", [shown.short(made.note, 70) if made.note else "no note any more"])
        if before.note and before.note != made.note:
            screen.block("", [shown.short(f"before: {before.note}", 70)])
        screen.block("next", [shown.again(f"show {study} {made.id}", runs, store)])
    return 0


def tag(
    study: StudyName,
    trial: TrialName,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="One word each.")],
    remove: bool = typer.Option(False, "--remove", help="Take the tags away."),
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:
    """Tag a trial, or take tags away; `show --tag` finds it."""
    from whet.cli.screen import Screen, emit_json
    from whet.errors import UsageError, nearest

    named = [_tag(t) for t in tags]
    with shown.opened(runs, store, study) as opened:
        now = shown.pick(opened, trial)
        if remove:
            for t in named:
                if t not in now.tags:
                    have = ", ".join(now.tags) or "none"
                    raise UsageError(
                        f"tag {t!r}: trial {now.id} has no such tag.{nearest(t, now.tags)} It has: {have}."
                    )
            after = [t for t in now.tags if t not in named]
        else:
            after = list(dict.fromkeys([*now.tags, *named]))
        made = opened.annotate(now, tags=after)
        if json:
            emit_json(trial_json(made))
            return 0
        screen = Screen()
        screen.block(f"trial {made.id}", [" ".join(f"#{t}" for t in made.tags) or "no tags any more"])
        next_ = f"show {study} --tag {named[0]}" if not remove else f"show {study} {made.id}"
        screen.block("next", [shown.again(next_, runs, store)])
    return 0


def _tag(text: str) -> str:
    from whet.errors import UsageError

    if not text.strip("#") or any(c.isspace() for c in text):
        raise UsageError(f"tag {text!r}: must be one word. Use e.g. baseline.")
    return text.lstrip("#")
