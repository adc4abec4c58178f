"""The same seed, the same study: whole, interrupted anywhere, in one piece or in many."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from whet import Choice, Data, Float, Idle, Int, Ordered, Space, Split, Store, Study, Task, Verdict
from whet.journal.memory import MemoryJournal
from whet.tune.worker import train_task

SPACE = Space(x=Float(0, 1), k=Ordered([1, 2, 4]), o=Choice({"a": Space(y=Int(1, 9)), "b": None}))


def bare(journal):
    """Return the events without times."""
    return [e.bare for e in journal.read()]


def proceed(study, trials):
    """Ask and tell, as one worker does, until there are as many trials; some fail, some are told early."""
    from whet.tune.budget import Budget

    failing = 1 if type(study.scheduler).__name__ in ("Asha", "Hyperband") else 2
    while not isinstance(t := study.ask_within(Budget(trials=trials)), Idle):
        verdict = Verdict.GO
        for step in range(t.step + 1, study.steps + 1):
            if t.id % 5 == 3 and step == failing:
                study.fail(t, "on purpose")
                break
            if t.id % 5 == 4 and step == 3:
                study.tell(t, t.params["x"])
                break
            verdict = study.report(t, step, t.params["x"] + t.params["k"] / step, size=t.id)
            if verdict is not Verdict.GO:
                break
        else:
            study.tell(t, t.params["x"], final=1)


@pytest.mark.parametrize(
    ("search", "schedule"),
    [("random", "asha"), ("sobol", "full"), ("sobol", "median"), ("random", "full"), ("sobol", "hyperband")],
)
def test_a_study_cut_off_after_any_event_goes_on_as_if_it_had_not_been(search, schedule, monkeypatch):
    terms = {"search": search, "schedule": schedule, "steps": 9, "seed": 3}
    journals = []
    monkeypatch.setattr(Store, "journal", lambda self, name, create=True: journals[-1])

    def begin(events):
        journals.append(MemoryJournal("s"))
        with journals[-1].write() as w:
            for e in events:
                w.append(e.kind, e.trial, json.loads(json.dumps(e.data)))
        study = Study(SPACE, **terms)
        if len(events) < 3:
            for guess in [{"k": 4}, {"o.y": 3}][max(0, len(events) - 1) :]:
                study.enqueue(guess, note="guess")
        proceed(study, 10)
        return bare(journals[-1])

    whole = begin([])
    events = journals[0].read()
    assert {"created", "enqueued", "asked", "proposed", "reported", "told", "failed"} <= {e.kind for e in events}
    for n in range(1, len(events)):
        assert begin(events[:n]) == whole, f"cut off after event {n}: {events[n - 1].bare}"


def test_a_study_reopened_before_every_call_is_the_same(tmp_path):
    def play(url, reopen):
        def opened():
            return Study(SPACE, search="sobol", schedule="asha", steps=9, seed=4, store=url, name="s")

        study = opened()
        while len(study.trials) < 9:
            t = study.ask()
            verdict = Verdict.GO
            while verdict is Verdict.GO and t.step < 9:
                if reopen:
                    study.close()
                    study = opened()
                    t = study.ask()
                verdict = study.report(t, t.step + 1, t.params["x"] + 1 / (t.step + 1))
                t = study.trials[t.id]
            if verdict is Verdict.GO:
                study.tell(t, t.value)
        study.close()
        return bare(Store(url).journal("s"))

    assert play(f"sqlite:///{tmp_path}/a.db", True) == play(f"sqlite:///{tmp_path}/b.db", False)


def test_another_seed_is_another_study():
    asked = [
        [Study(SPACE, search=s, schedule="full", seed=seed).ask().params["x"] for seed in (1, 2)]
        for s in ("random", "sobol")
    ]
    assert len({x for pair in asked for x in pair}) == 4


class Tiny(Task):
    space = Space(lr=Float(1e-3, 1e-1, log=True), width=Int(2, 6), dropout=Float(0, 0.5))
    goal = "max accuracy"
    steps = 3
    seed = 7

    def data(self, params):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(48, 5)).astype("float32")
        y = (x[:, 0] + 0.5 * x[:, 1] > 0).astype("int64")

        def part(a, b):
            return Split(torch.from_numpy(x[a:b]), torch.from_numpy(y[a:b]), np.arange(a, b))

        return Data(part(0, 32), part(32, 48), kind="classification", classes=("no", "yes"))

    def model(self, params):
        return nn.Sequential(
            nn.Linear(5, params["width"]), nn.ReLU(), nn.Dropout(params["dropout"]), nn.Linear(params["width"], 2)
        )


def tuned(schedule, budgets, trials=5):
    task = Tiny()
    study = Study(task.space, goal=task.goal, search="random", schedule=schedule, steps=task.steps, seed=1)
    for budget in budgets:
        study.run(lambda params, run: train_task(task, params, run), trials=trials, budget=budget)
    states = {}
    for t in study.trials:
        checkpoints = study.checkpoints(t.id)
        states[t.id] = (t.step, checkpoints[-1][1])
    return study, states


def flat(state, path=""):
    """Return every leaf of a state by its path."""
    if isinstance(state, dict):
        return {k: v for name, inner in state.items() for k, v in flat(inner, f"{path}.{name}").items()}
    if isinstance(state, (list, tuple)):
        return {k: v for i, inner in enumerate(state) for k, v in flat(inner, f"{path}.{i}").items()}
    return {path: state.tolist() if hasattr(state, "tolist") else state}


def test_training_twice_gives_the_same_weights_and_journal():
    a, states = tuned("asha", [None])
    torch.rand(3)  # the global stream plays no part
    b, again = tuned("asha", [None])
    assert bare(a.journal) == bare(b.journal)
    assert states == again  # a checkpoint's name holds the checksum of its content
    assert len({name for _, name in states.values()}) == len(states) == 5


def test_training_in_pieces_gives_the_same_weights():
    whole, states = tuned("full", [None], trials=2)
    pieces, again = tuned("full", [f"{n}steps" for n in range(1, 7)] + [None], trials=2)
    from whet import Attempt

    for id in (0, 1):
        assert states[id][0] == again[id][0] == 3
        a, b = (flat(Attempt(s, s.trials[id]).load()) for s in (whole, pieces))
        assert a.keys() == b.keys()
        assert {k for k in a if a[k] != b[k]} == set()
    assert pieces.spent.steps == whole.spent.steps == 6
    assert bare(whole.journal) == bare(pieces.journal)
