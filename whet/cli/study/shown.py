"""What the verbs of `whet study` share: how a study is opened, and how trials and tables are shown."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli import options as o
from whet.cli.place import place as place
from whet.cli.place import told as told
from whet.cli.place import where as where
from whet.errors import harmless, one_line

if TYPE_CHECKING:
    from whet.journal.store import Store
    from whet.tune.study import Study
    from whet.tune.trial import Trial, Trials

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]
TrialName = Annotated[str, typer.Argument(metavar="TRIAL", help="The trial's number, or best.")]

WIDTH = 80  # columns of a terminal that everything must fit in


def opened(runs: Path, url: str | None, name: str) -> Study:
    """Return the study; raise StudyError, with the nearest name, when there is none."""
    from whet.tune.study import Study

    return Study.open(place(runs, url), name)


GoalName = Annotated[
    str, typer.Option("--goal", metavar="NAME", help="Of several goals the one it is about (default: the first).")
]


def viewed(trials: Trials, goal: str) -> Trials:
    """Return the trials with the goal that `--goal` names as the first; raise UsageError when there is none of this name."""
    from whet.errors import StudyError, UsageError
    from whet.tune.pareto import in_view_of

    try:
        return in_view_of(trials, goal) if goal else trials
    except StudyError as e:
        raise UsageError(f"--{e}") from None


def pick(study: Study, text: str, *also: str) -> Trial:
    """Return the trial that a word names; raise UsageError or StudyError when there is none.

    also: other words that the caller takes, which an error names too.
    """
    from whet.errors import UsageError, nearest

    if text == "best":
        return study.best
    try:
        id = int(text)
    except ValueError:
        words = ("best", *also)
        raise UsageError(
            f"trial {text!r}: must be a trial's number, or {' or '.join(words)}.{nearest(text, words)}"
            f" Allowed: {_ids(study, *words)}."
        ) from None
    return study.trials.get(id)


def _ids(study: Study, *words: str) -> str:
    n = len(study.trials)
    return f"{', '.join(words)}, and 0 to {n - 1}" if n else "none yet"


def again(verb: str, runs: Path, url: str | None) -> str:
    """Return a command to type next, with the place of the study when it is not the usual one."""
    return f"whet study {verb}{where(runs, url)}"


def in_python(kept: Store, name: str) -> str:
    """Return how a program opens the study; a password is not repeated on the screen."""
    url = 'os.environ["WHET_STORE"]' if told(kept.url or "").startswith('"$') else repr(kept.url)
    return f"in Python: whet.Study.open({url}, {name!r})"


def task_words(study: Study) -> str:
    """Return the words that name the study's task."""
    records = study.records("task")
    if not records:
        return "TASK"
    known = records[-1]["reference"]
    file, colon, name = str(known["task"]).partition(".py:")
    path, here = Path(file + (".py" if colon else "")), Path.cwd()
    task = str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
    target = known.get("target")
    words = o.again(
        task + (f":{name}" if colon else ""), [target] if target else None, known.get("kind"), known.get("time")
    )
    return words + (f" --seed {known['seed']}" if known.get("seed") else "")  # another seed is another split


def epoch_words(study: Study) -> str:
    """Return the option that trains for as many epochs as a trial of the study, or a fold of one; "" for a study of no task."""
    records = study.records("task")
    if not records:
        return ""
    return f" --epochs {records[-1]['epochs'] if records[-1].get('folds') else study.steps}"


def length_words(study: Study) -> str:
    """Return the options that make trials as long as the study's are, without which it is another study."""
    records = study.records("task")
    if not records:
        return ""
    k = records[-1].get("folds")
    return f"{f' --folds {k}' if k else ''}{epoch_words(study)}"


def goal_words(study: Study) -> str:
    """Return the option that gives the study's task its goals, "" when they are the task's own."""
    records = study.records("task")
    given = records[-1]["reference"].get("goal") if records else None
    return f" --goal {shlex.quote(', '.join(given))}" if given else ""


def continued(words: Sequence[str]) -> list[str]:
    """Return the pieces of a command on lines of a terminal, to be copied together."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 3 <= 70:
            lines[-1] += f" {word}"
        else:
            lines[-1] += " \\"
            lines.append(f"  {word}")
    return lines


def settings(params: Iterable[tuple[str, Any]]) -> list[str]:
    """Return a configuration as --set options."""
    return ["--set " + shlex.quote(f"{k}={v}") for k, v in params]


def state_of(study: Study, trial: Trial) -> str:
    """Return where a trial stands: INTERRUPTED for one that would be running, if anybody worked on it, as when the budget ended on its way."""
    return "INTERRUPTED" if trial.id in study.interrupted else trial.state.value


def trial_json(t: Trial) -> dict[str, Any]:
    """Return a trial as JSON values."""
    return {
        "id": t.id, "state": t.state.value, "value": t.value, "step": t.step, "params": dict(t.params), "origin": dict(t.origin),
        "cost": t.cost, "parent": t.parent, "error": t.error, "tags": list(t.tags), "note": t.note,
        "curve": [{"step": p.step, "value": p.value, "cost": p.cost, **p.metrics} for p in t.curve],
    }  # fmt: skip


def cell(value: Any) -> str:
    """Return a value as a cell of a table."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def table(head: list[str], rows: list[list[str]], *, cut: str = "") -> None:
    """Print columns as wide as they need, numbers to the right; the column `cut` gives way when it is too much."""
    if not rows:
        return
    lines = [head, *rows]
    widths = [max(len(r[i]) for r in lines) for i in range(len(head))]
    if cut in head:
        at = head.index(cut)
        room = WIDTH - sum(widths) + widths[at] - 2 * (len(widths) - 1)
        widths[at] = min(widths[at], max(8, room))
    right = [all(_numeric(r[i]) for r in rows) for i in range(len(head))]
    for r in lines:
        cells = [c.rjust(w) if at else short(c, w).ljust(w) for c, w, at in zip(r, widths, right, strict=True)]
        print(harmless("  ".join(cells).rstrip()))


def _numeric(text: str) -> bool:
    return text == "-" or text.replace(".", "").replace("-", "").replace("+", "").replace("e", "").isdigit()


def short(text: str, width: int) -> str:
    """Return a text cut to `width` columns.

    >>> short("a long story", 8)
    'a lon...'
    """
    text = one_line(text)
    return text if len(text) <= width else text[: max(0, width - 3)].rstrip(" ,") + "..."


def moment(at: float | None) -> str:
    """Return a time as people write it."""
    import datetime

    return "-" if at is None else datetime.datetime.fromtimestamp(at).isoformat(" ", "minutes")


def check_page(path: Path, force: bool) -> None:
    """Raise UsageError when the page cannot be written to `path`."""
    from whet.cli.output import check_file
    from whet.errors import UsageError

    if path.is_dir():
        raise UsageError(f"-o {path}: is a folder. Give a file.")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"-o {path}: no such format. Allowed: .html.")
    if path.exists() and not force:
        raise UsageError(f"-o {path}: exists. Give another file, or --force to replace it.")
    if not path.parent.is_dir():
        raise UsageError(f"-o {path}: its folder does not exist. Make it, or give another file.")
    check_file("-o", path)
