"""Every decision of real studies made again; and journals that somebody changed, which must be found out."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import whet
from whet import Choice, Float, Idle, Int, Ordered, Space, State, Store, Study, StudyError, Verdict
from whet.tune.budget import Budget
from whet.tune.fsck import fsck
from whet.tune.replay import replay

HERE = Path(__file__).parent
ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}
SPACE = Space(x=Float(0, 1), k=Ordered([1, 2, 4]), o=Choice({"a": Space(y=Int(1, 9)), "b": None}))
SMALL = Space(x=Ordered([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]), k=Int(0, 9))
MADE = ("asked", "proposed", "resumed", "reported")


def proceed(study, trials):
    """Ask and tell, as one worker does; some trials fail, some are told early."""
    while not isinstance(t := study.ask_within(Budget(trials=trials)), Idle):
        for step in range(t.step + 1, study.steps + 1):
            if t.id % 5 == 3:
                study.fail(t, "on purpose", transient=t.id == 3)
                break
            if t.id % 5 == 4 and step == 3:
                study.tell(t, t.params["x"])
                break
            if study.report(t, step, t.params["x"] + t.params["k"] / step, size=t.id) is not Verdict.GO:
                break
        else:
            study.tell(t, t.params["x"], final=1)


def made(search="sobol", schedule="asha", trials=14, space=SPACE, steps=9):
    """Return the events of a study with guesses, failures and a repeated guess."""
    study = Study(space, search=search, schedule=schedule, steps=steps, seed=3)
    study.enqueue({"k": 4})
    study.enqueue({"x": 0.5, "k": 1, "o": "b"})
    study.enqueue({"x": 0.5, "k": 1, "o": "b"}, note="again", again=True)
    proceed(study, trials)
    study.record("test", {"value": 1})
    study.annotate(0, note="a note")
    return study.journal.read()


@pytest.mark.parametrize("schedule", ["asha", "hyperband", "median", "full"])
@pytest.mark.parametrize("search", ["random", "sobol", "grid"])
def test_every_decision_of_one_worker_is_made_again(search, schedule):
    events = made(search, schedule, 40)
    counts = Counter(e.kind for e in events)
    assert {"failed", "told", "enqueued"} <= counts.keys()
    for cold in (False, True):
        redone = replay(events, cold=cold)
        assert not redone.differences
        assert redone.decisions == sum(counts[k] for k in MADE)
        assert redone.trials == 40
        assert str(redone) == f"{redone.decisions} decisions of 40 trials redone: all equal"


def test_a_space_that_is_used_up_and_the_last_promotion():
    study = Study(Space(x=Ordered([0.1, 0.5]), k=Int(1, 2)), search="sobol", schedule="asha", steps=27, seed=1)
    proceed(study, 100)
    events = study.journal.read()
    assert len(study.trials) == 4
    assert any(e.kind == "resumed" and e.data.get("by") == "finish" for e in events)
    assert not replay(events).differences
    study._book.change(lambda w: w.append("asked", 4, {"seen": len(events)}))  # one more than the space has
    assert "the space is used up" in str(replay(study.journal.read()).differences[0])


def test_a_configuration_taken_by_another_worker_in_the_meantime(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    with Study(SPACE, search="random", schedule="full", steps=2, store=url, name="s") as a, Study.open(url, "s") as b:
        said = a.searcher.propose

        class Slow:
            """Another worker takes the very configuration while this one writes it down; twice."""

            times = 0

            def propose(self, trials, rng):
                proposal = said(trials, rng)
                self.times += 1
                if self.times in (1, 3):  # the third is the first that is new after looking again
                    b.enqueue(proposal.params, again=True)
                    b.ask()
                return proposal

        a._asking._searcher = Slow()
        assert a.ask().id == 0
        proposed = {e.trial: e for e in a.journal.read() if e.kind == "proposed"}
        assert proposed[0].data["seen"] == proposed[2].seq, "it did not look again"
        events = a.journal.read()
        assert not replay(events).differences
        guess = next(e for e in events if e.kind == "enqueued")  # complete: its configuration is taken from here on
        # had it not looked again, two trials would have one configuration
        i = proposed[0].seq - 1
        events[i] = changed(proposed[0], params=proposed[1].data["params"], seen=2, draw=0)
        (difference,) = replay(events).differences
        assert str(difference).endswith(f"another: event {guess.seq} took this one in the meantime")


def test_a_trial_that_two_workers_resume(whole):
    i = next(i for i, e in enumerate(whole) if e.kind == "resumed")
    twice = [*whole[: i + 1], whole[i]._replace(seq=whole[i].seq + 1)]  # both had seen the same
    (difference,) = replay(twice).differences
    assert str(difference).endswith("only a paused trial is; this one is RUNNING")


def test_a_moment_that_was_not_seen_is_found_out(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    with Study(SPACE, search="random", schedule="full", steps=2, store=url, name="s") as a, Study.open(url, "s") as b:
        said = a.searcher.propose

        class Slow:
            def propose(self, trials, rng):
                b.record("note", {})
                return said(trials, rng)

        a._asking._searcher = Slow()
        a.ask()
        events = a.journal.read()
    assert [e.kind for e in events] == ["created", "asked", "recorded", "proposed"]
    assert not replay(events).differences
    events[3] = changed(events[3], seen=3)  # a random draw is the same at any moment
    assert str(replay(events).differences[0]).endswith(
        "seen is recorded as 3, redone it is 2: its configuration was still free"
    )


def test_the_fifth_transient_failure_in_a_row_is_final():
    study = Study(SPACE, search="random", schedule="full", steps=2, seed=1)
    for _ in range(5):
        study.fail(study.ask(), "lost", transient=True)
    events = study.journal.read()
    assert [e.data["transient"] for e in events if e.kind == "failed"] == [True, True, True, True, False]
    assert not replay(events).differences
    events[-1] = changed(events[-1], transient=True)
    assert "redone it is False after 5 in a row" in str(replay(events).differences[0])


def test_a_journal_somebody_else_wrote_into_is_found_out():
    events = made(trials=6)
    other = made(trials=9)
    redone = replay(events[:12] + [e for e in other if e.seq > 14])
    assert redone.differences[0].what == "journal"
    assert redone.unread == len(other) - 14


def test_an_empty_journal_and_a_strategy_that_is_not_installed():
    with pytest.raises(StudyError, match="never begun"):
        replay([])
    created, *rest = made(trials=2)
    for search, why in (("theirs", "no strategy 'theirs'"), ("not_there:Search", "cannot be imported")):
        gone = created._replace(data={**created.data, "search": {"name": search, "options": {}}})
        with pytest.raises(StudyError, match=f"{why}.*Install the package"):
            replay([gone, *rest])
    with pytest.raises(StudyError, match="terms of the study cannot be read"):
        replay([created._replace(data={"version": "0"}), *rest])


# -- several processes, some of which are really killed

WORKER = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import processes_work
processes_work.drive(sys.argv[1], "s", int(sys.argv[2]))
"""


def crowd(url, trials, workers, kills, rnd, study, guesses):
    """Run worker processes until nothing is left, killing one after so many more events, at random."""

    def begin():
        return subprocess.Popen([sys.executable, "-c", WORKER, url, str(trials)], env=ENV)

    crew = [begin() for _ in range(workers)]
    try:
        for n in range(kills):
            until = study.trials.seq + rnd.randint(1, 12)
            while study.trials.seq < until and any(p.poll() is None for p in crew):
                pass
            i = rnd.randrange(workers)
            crew[i].send_signal(signal.SIGKILL)
            crew[i].wait()
            crew[i] = begin()
            if n % 2:
                study.enqueue({"k": guesses[n % len(guesses)]}, note="guess", again=True)
        assert [p.wait(timeout=120) for p in crew] == [0] * workers
    finally:
        for p in crew:
            p.kill()
            p.wait()


def undisturbed(url, trials, search, schedule, space, kills, seed=0, workers=4):
    with Study(space, search=search, schedule=schedule, steps=9, seed=seed, store=url, name="s") as study:
        guesses = space["k"].values if space is SPACE else range(10)
        study.enqueue({"k": guesses[2]})
        crowd(url, trials, workers, kills, random.Random(seed), study, guesses)
        events = study.journal.read()
        assert len({e.who for e in events}) > 1
        assert not any(t.state is State.RUNNING for t in study.trials)  # a guess that came too late waits
        for cold in (False, True):
            redone = replay(events, cold=cold)
            assert not redone.differences, [str(d) for d in redone.differences]
        assert redone.decisions > 2 * trials
        left = fsck(url, repair=True)
        assert not left.findings, left.findings
        return events


def test_the_decisions_of_killed_processes_are_made_again(tmp_path):
    undisturbed(f"sqlite:///{tmp_path}/s.db", 24, "sobol", "asha", SMALL, kills=3, workers=3)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("space", [SPACE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("schedule", ["asha", "hyperband", "median", "full"])
@pytest.mark.parametrize("search", ["random", "sobol", "grid"])
def test_the_decisions_of_four_processes_killed_fifty_times(search, schedule, space, seed, tmp_path):
    undisturbed(f"sqlite:///{tmp_path}/s.db", 120, search, schedule, space, kills=50, seed=seed)


# -- journals that somebody changed


def found(events):
    try:
        return bool(replay(events).differences)
    except StudyError as e:
        return "first event is missing" in str(e)


def changed(event, **data):
    return event._replace(data={**event.data, **data})


def other(value):
    """Return a value of the same kind that is not the same."""
    if isinstance(value, str):
        return "b" if value == "a" else "a"
    return value + 1 if isinstance(value, int) else value / 2 + 0.1


def tamper(events, how, i):
    """Return the events with event `i` changed, or None when this change does not apply to it."""
    e, events = events[i], list(events)
    reported = e.kind == "reported"
    match how:
        case "params" if e.kind == "proposed":
            name = sorted(e.data["params"])[i % len(e.data["params"])]
            events[i] = changed(e, params={**e.data["params"], name: other(e.data["params"][name])})
        case "origin" if e.kind == "proposed":
            events[i] = changed(e, origin={**e.data["origin"], "index": -1})
        case "draw" if e.kind == "proposed":
            events[i] = changed(e, draw=e.data["draw"] + 1)
        case "start" if e.kind == "asked":
            events[i] = changed(e, origin={"search": "theirs"})
        case "verdict" if reported:
            events[i] = changed(e, verdict={"GO": "PAUSE", "PAUSE": "STOP", "STOP": "GO"}[e.data.get("verdict", "GO")])
        case "seen" if e.kind in ("proposed", "reported"):
            events[i] = changed(e, seen=e.data.get("seen", e.seq - 1) - 1)
        case "seen ahead" if "seen" in e.data:
            events[i] = changed(e, seen=e.data["seen"] + 1)
        case "step" if reported:
            events[i] = changed(e, step=e.data["step"] + 100)
        case "trial" if e.trial is not None:
            events[i] = e._replace(trial=e.trial + 1)
        case "kind" if e.trial is not None:
            events[i] = e._replace(kind={"told": "resumed", "reported": "repeated"}.get(e.kind, "told"))
        case "remove" if i < len(events) - 1:
            del events[i]
        case "double":
            events.insert(i, e)
        case "remove and renumber" if e.kind not in ("recorded", "noted"):
            del events[i]
            events = [x._replace(seq=n) for n, x in enumerate(events, 1)]
        case "swap" if i + 1 < len(events):
            events[i : i + 2] = [events[i + 1]._replace(seq=e.seq), e._replace(seq=e.seq + 1)]
        case "seed" if e.kind == "created":
            events[i] = changed(e, seed=e.data["seed"] + 1, search={"name": "sobol", "options": {"seed": 99}})
        case "steps" if e.kind == "created":
            events[i] = changed(e, steps=27)
        case "schedule" if e.kind == "created":
            events[i] = changed(e, schedule={"name": "full", "options": {}})
        case "a lost failure" if e.kind == "failed":
            events[i] = changed(e, transient=not e.data["transient"])
        # what is evidence, not decision: found only when a decision rests on it
        case "value" if reported or e.kind == "told":
            events[i] = changed(e, value=e.data["value"] + 10)
        case "cost" if reported:
            events[i] = changed(e, cost=e.data.get("cost", 1.0) + 1)
        case "seen before" if e.kind in ("asked", "resumed") and e.data["seen"] > 1:
            events[i] = changed(e, seen=e.data["seen"] - 1)
        case "cut off":
            del events[i + 1 :]
        case _:
            return None
    return events


ALWAYS = (
    "params",
    "origin",
    "draw",
    "start",
    "verdict",
    "seen",
    "seen ahead",
    "step",
    "kind",
    "remove",
    "double",
    "schedule",
    "seed",
    "steps",
)
BY_NATURE = ("value", "cost", "seen before", "cut off", "swap", "trial", "remove and renumber", "a lost failure")


@pytest.fixture(scope="module")
def whole():
    events = made(trials=12)
    assert {"resumed", "failed", "told", "enqueued", "recorded", "noted"} <= {e.kind for e in events}
    return events


@pytest.mark.parametrize("how", ALWAYS)
def test_every_change_of_a_decision_is_found(how, whole):
    tried = 0
    for i in range(len(whole)):
        events = tamper(whole, how, i)
        if events is not None:
            tried += 1
            assert found(events), f"{how} of event {i + 1} {whole[i].bare} was not found"
    assert tried


def test_what_cannot_be_found_rests_on_no_decision(whole):
    """Changes of what was measured are found only where a decision rests on it: each that is not leaves all decisions."""
    missed = Counter()
    for how in BY_NATURE:
        for i in range(len(whole)):
            events = tamper(whole, how, i)
            if events is not None and not found(events):
                missed[how] += 1
                kinds = {whole[i].kind, whole[min(i + 1, len(whole) - 1)].kind}
                match how:
                    case "swap":
                        assert not kinds & {"reported", "proposed"}, (i, kinds)
                    case "trial":
                        assert whole[i].kind == "noted", whole[i].bare
                    case "remove and renumber":
                        # a report says no more what it had seen: that is the event before it
                        later = {e.kind for e in whole[i + 1 :]}
                        assert not later & {"asked", "proposed", "resumed"}, whole[i].bare
    assert missed["cut off"] == len(whole), "a beginning of a true journal is a true journal"
    assert missed["cost"], "no decision of these strategies rests on cost"
    assert missed["value"] < sum(e.kind in ("reported", "told") for e in whole)


@settings(max_examples=150)
@given(st.data())
def test_rubbish_is_a_difference_and_never_a_crash(whole, data):
    events = list(whole)
    i = data.draw(st.integers(0, len(events) - 1))
    e = events[i]
    name = data.draw(st.sampled_from(sorted(e.data)))
    value = data.draw(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([]), st.just({}))
    )
    damaged = dict(e.data)
    if data.draw(st.booleans()):
        del damaged[name]
    else:
        damaged[name] = value
    events[i] = e._replace(data=damaged, trial=data.draw(st.sampled_from([e.trial, None, -1, 10**9])))
    try:
        json.dumps(replay(events).json())
    except StudyError:
        assert i == 0


def test_a_difference_says_what_and_where(whole):
    at = next(i for i, e in enumerate(whole) if e.kind == "proposed")
    redone = replay(tamper(whole, "verdict", next(i for i, e in enumerate(whole) if e.kind == "reported")))
    assert str(redone.differences[0]).startswith("event ")
    assert "verdict is recorded as STOP, redone it is PAUSE" in str(redone.differences[0])
    assert "difference" in str(redone)
    events = [*whole[:at], changed(whole[at], params={**whole[at].data["params"], "x": 0.25}), *whole[at + 1 :]]
    text = str(replay(events).differences[0])
    assert text.startswith(f"event {at + 1}, trial 0: params is recorded as x=0.25, redone it is x=0.")
    assert "k=" not in text, "what is equal is not shown"


def test_replay_of_a_store_reads_what_a_study_wrote(tmp_path):
    with Study(SPACE, search="random", schedule="asha", steps=9, store=f"{tmp_path}/s.db", name="s") as study:
        proceed(study, 12)
    journal = Store(f"{tmp_path}/s.db").journal("s", create=False)
    assert not replay(journal.read(), cold=True).differences
    journal.close()
