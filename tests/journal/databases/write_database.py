"""Write the study that the tests of older formats open: `python write_database.py DB JSON`, run once for each format.

The database of a format is made by the code that had that format and never again: tests open it with today's code and
compare what they see with the JSON beside it.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import whet
from whet.journal.event import FORMAT
from whet.tune.trial import Idle, State, Trial

NAME = "bowl"
SPACE = whet.Space(x=whet.Float(-2, 2), lr=whet.Float(1e-4, 1.0, log=True), kind=whet.Choice(["round", "flat"]))
IMPORTS = "imports"
HOLDER = "elsewhere/00000000-1/100/200#abcdef01"  # of the lease that stays: a process of another machine


def loss(params, step):
    return round((params["x"] - 0.5) ** 2 + params["lr"] / step + (params["kind"] == "flat") / 8, 12)


def plain(trial: Trial) -> dict:
    """Return a trial as JSON, whatever its curve is made of."""
    names = "id state value step parent origin error cost tags note".split()
    found = {n: getattr(trial, n) for n in names}
    found["params"] = dict(trial.params)
    found["curve"] = [[p.step, p.value, p.cost, dict(p.metrics)] for p in trial.curve]
    return json.loads(json.dumps(found, default=list))


def go_on(study: whet.Study, count: int) -> None:
    """Ask and report until `count` trials more are no longer running."""
    for _ in range(count):
        trial = study.ask()
        assert not isinstance(trial, Idle), trial
        for step in range(trial.step + 1, study.steps + 1):
            value = loss(trial.params, step)
            if study.report(trial, step, value, latency=step / 4) is not whet.Verdict.GO:
                break
        else:
            study.tell(trial, value)


def running(study: whet.Study) -> Trial:
    """Return a trial that has just reported and is to be trained on."""
    while True:
        trial = study.ask()
        step = trial.step + 1
        if study.report(trial, step, loss(trial.params, step)) is whet.Verdict.GO and step < study.steps:
            return study.trials[trial.id]


def add_imports(database: str) -> list[dict]:
    """Write a second study, of what came with format 2: trials made elsewhere; return its trials."""
    with whet.Study.open(database, NAME) as study:
        elsewhere = [t for t in study.trials if t.state in (State.DONE, State.FAILED, State.PAUSED)][:8]
    with whet.Study(
        SPACE, goal=["min loss", "latency <= 5"], search="random", schedule="asha", steps=9, seed=8,
        store=database, name=IMPORTS,
    ) as study:  # fmt: skip
        study.add(elsewhere)
        go_on(study, 3)
        return [plain(t) for t in study.trials]


def main(database: str, expected: str) -> None:
    Path(database).unlink(missing_ok=True)
    study = whet.Study(
        SPACE, goal=["min loss", "latency <= 5"], search="random", schedule="asha", steps=9, seed=7,
        store=database, name=NAME,
    )  # fmt: skip
    study.record("looked", {"rows": 1797, "none": None, "far": float("inf")})
    study.enqueue({"x": 0.25}, note="a guess with ünïcödé ☃")
    go_on(study, 14)
    study.fail(running(study), "RuntimeError: out of memory")
    broken = running(study)
    study.report(broken, broken.step + 1, float("nan"))
    again = running(study)
    study.report(again, again.step, 9.0)  # a step that had to be trained again only adds its cost
    study.fail(again, "worker was killed", transient=True)
    go_on(study, 3)
    study.annotate(1, note="look here", tags=["odd", "slow"])
    study.annotate(2, tags=["kept"])
    study.enqueue({"kind": "flat", "lr": 0.5}, note="for tomorrow")
    study.record("looked", {"rows": 1796})
    study.journal.spend("one", 12.5)
    study.journal.spend("two", 7.25)
    study.ask()  # takes the guess, and its worker disappears
    running(study)
    study.enqueue({"x": 1.0}, note="nobody has asked for this one")
    imports = add_imports(database) if FORMAT >= 2 else []
    with sqlite3.connect(
        database
    ) as c:  # nothing of the machine it was made on, and the same times whenever it is made
        c.execute("update events set at = 1700000000.0 + seq, who = ?", (HOLDER.split("#")[0],))
        c.execute("update studies set at = 1700000000.0")
        c.execute("update leases set worker = ?, beat = 3", (HOLDER,))
    c.close()
    study._closed = True  # keep the leases: as if the process had been killed
    study.journal.close()
    study = whet.Study.open(database, NAME)
    assert {t.state for t in study.trials} == set(State) - {State.STOPPED}
    seen = {
        "trials": [plain(t) for t in study.trials],
        "leases": [list(lease) for lease in study.journal.leases().values()],
        "spent": study.journal.spent(),
        "looked": [{**r, "far": str(r.get("far"))} for r in study.records("looked")],
        "imports": imports,
        "events": [[e.seq, e.kind, e.trial] for e in study.journal.read()],
    }
    study.journal.close()
    with sqlite3.connect(database) as c:
        c.execute("pragma wal_checkpoint(truncate)")
    c.close()
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in seen.items())
    Path(expected).write_text("{\n" + rows + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
