"""A study as one JSON document that holds everything, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from whet.errors import StudyError, WhetError
from whet.tune import earlier
from whet.tune.account import Account, accounts, version
from whet.tune.exchange.carried import Carried
from whet.tune.imported import recorded, revived
from whet.tune.space import Space

if TYPE_CHECKING:
    from whet.tune.study import Study

__all__ = ["FORMAT", "document", "undocumented"]

FORMAT = 1


def document(study: Study) -> dict[str, Any]:
    """Return the whole study as JSON values: space, goals, trials with curves, errors, notes, and the work on each.

    >>> from whet.tune.space import Float
    >>> from whet.tune.study import Study
    >>> study = Study(Space(x=Float(0, 1)), search="random")
    >>> study.tell(study.ask(), 0.5)
    >>> undocumented(document(study)).trials == tuple(study.trials)
    True
    """
    events = study.journal.read()
    work, created = accounts(events), events[0]
    spent, trials = study.spent, study.trials
    return {
        "whet_study": FORMAT, "name": study.name, "version": version(events), "created": created.at,
        **{k: created.data[k] for k in ("goals", "steps", "seed", "space", "search", "schedule", "asked")},
        **({"like": created.data["like"]} if "like" in created.data else {}),
        "spent": asdict(spent),
        "records": [[e.data["topic"], e.data["data"]] for e in events if e.kind == "recorded"],
        "trials": [{"id": t.id, **recorded(t), "account": asdict(work.get(t.id, Account()))} for t in trials],
    }  # fmt: skip


def undocumented(data: Mapping[str, Any], source: str = "a document") -> Carried:
    """Return the study of a document; raise StudyError when it cannot be read."""
    if data.get("whet_study") != FORMAT:
        have = data.get("whet_study")
        why = "it has no whet_study" if have is None else f"its format is {have!r}, this whet reads {FORMAT}"
        raise StudyError(f"{source}: not an exported study ({why}). Use what `whet study export --format json` wrote.")
    try:
        work = {
            int(t["id"]): Account(**{**t["account"], "workers": tuple(t["account"]["workers"])})
            for t in data["trials"]
            if t.get("account")
        }
        trials = tuple(revived(int(t["id"]), t) for t in data["trials"])
        if [t.id for t in trials] != list(range(len(trials))):
            raise ValueError("its trials are not numbered 0, 1, 2 ...")
        return Carried(
            source, Space.from_json(data["space"]), tuple(data["goals"]), int(data["steps"]), trials, int(data["seed"]),
            data["search"], data["schedule"], work, tuple((topic, record) for topic, record in data["records"]),
            like=tuple(earlier.revived(x) for x in data.get("like", ())),
            lost=("the checkpoints: trials that go on begin again",) if any(t.curve for t in trials) else (),
        )  # fmt: skip
    except WhetError as e:
        raise StudyError(f"{source}: {e}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        what = f"{e} is missing" if isinstance(e, KeyError) else str(e)
        raise StudyError(f"{source}: damaged, or changed by hand ({what}). Export it again.") from None
