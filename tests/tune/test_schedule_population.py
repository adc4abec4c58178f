from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from whet import Choice, Float, Idle, Int, Ordered, Space, State, Store, Study, StudyError, Verdict
from whet import seed as streams
from whet.execute import resolve
from whet.testing import SCHEDULER, SPACES, Play, play
from whet.tune.attempt import Attempt
from whet.tune.codec import unpack
from whet.tune.fsck import fsck
from whet.tune.replay import replay
from whet.tune.schedule import scheduler
from whet.tune.schedule.explore import explore
from whet.tune.schedule.population import Population
from whet.tune.search.random import Random
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Point, Trial, Trials

WORK = Path(__file__).with_name("population_work.py")
LIVE = Space(rate=Float(0.01, 0.9, log=True, live=True), width=Int(1, 9))
GO, PAUSE, STOP = Verdict.GO, Verdict.PAUSE, Verdict.STOP
STATES = {GO: State.RUNNING, PAUSE: State.PAUSED, STOP: State.STOPPED}


@pytest.mark.parametrize("clause", SCHEDULER, ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    "made",
    [
        Population(),
        Population(4, 2, 0.5),
        Population(3, factors=(2.0,), resample=1.0),
        Population(4, 1, explore="model"),
    ],
    ids=repr,
)
def test_contract(made, clause):
    clause(lambda: type(made)(**{f: getattr(made, f) for f in made.__dataclass_fields__}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 1}, "population: size must be a whole number >= 2, got 1"),
        ({"interval": 0.5}, "population: interval must be a whole number >= 1, got 0.5"),
        ({"share": 0.0}, "population: share must be above 0 and at most 0.5, got 0.0"),
        ({"share": 0.6}, "population: share must be above 0 and at most 0.5, got 0.6"),
        ({"share": True}, "population: share must be above 0"),
        ({"factors": ()}, "population: factors must be numbers above 0, got ()"),
        ({"factors": (0.8, -1.0)}, "population: factors must be numbers above 0"),
        ({"explore": "guess"}, 'population: explore must be "perturb" or "model", got \'guess\''),
        ({"resample": 1.5}, "population: resample must be from 0 to 1, got 1.5"),
        ({"resample": float("nan")}, "population: resample must be from 0 to 1, got nan"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_line(options, said):
    with pytest.raises(StudyError) as e:
        Population(**options)
    assert str(e.value).startswith(said)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("space", "steps", "said"),
    [
        (SPACES["mixed"], 9, "no domain is marked live, .* Of the numbers lr, width, mark rates"),
        (Space(a=Choice(["x", "y"])), 9, "no domain is marked live, .* no numbers"),
        (LIVE, 1, "a trial has one step"),
        (
            Space(lr=Float(0, 1, live=True), rule=Choice(["sync"]), workers=Int(1, 4)),
            9,
            "a trial that several workers train",
        ),
    ],
)
def test_where_nothing_may_change_it_is_refused_before_there_is_a_study(space, steps, said):
    for given in ("population", Population()):
        with pytest.raises(StudyError, match=f"population: {said}") as e:
            Study(space, schedule=given, steps=steps)
        assert len(str(e.value).splitlines()) == 1
    assert scheduler("population", LIVE, 9) == Population()


# -- exploring


def test_values_are_moved_by_a_factor_and_stay_in_their_domain():
    space = Space(
        lr=Float(0.1, 1.0, log=True, live=True), p=Float(0.0, 0.5, live=True), n=Int(1, 9, live=True),
        fixed=Float(0, 1), o=Choice({"a": Space(lr=Float(1.0, 2.0, live=True)), "b": Space(lr=Float(5.0, 8.0, live=True))}),
    )  # fmt: skip
    start = {"lr": 0.4, "p": 0.3, "n": 2, "fixed": 0.5, "o": "b", "o.lr": 6.0}
    seen = [explore(space, start, streams.rng(s), factors=(0.5, 3.0), resample=0.0) for s in range(60)]
    assert {p["lr"] for p in seen} == {0.2, 1.0}  # 1.2 is outside
    assert {p["p"] for p in seen} == {0.15, 0.5}
    assert {p["n"] for p in seen} == {1, 6}
    assert {p["o.lr"] for p in seen} == {5.0, 8.0}  # of the branch that is taken
    assert {(p["fixed"], p["o"]) for p in seen} == {(0.5, "b")}
    assert len({tuple(p.values()) for p in seen}) == 16  # each by itself
    near = {explore(space, start | {"n": 3}, streams.rng(s), factors=(0.9, 1.1), resample=0.0)["n"] for s in range(20)}
    assert near == {2, 4}  # a factor that moves no whole number moves it by one


def test_values_are_drawn_anew_as_often_as_said():
    space = Space(a=Float(0, 1, live=True), b=Float(1e-6, 1.0, log=True, live=True))
    seen = [explore(space, {"a": 0.5, "b": 0.5}, streams.rng(s), factors=(1.0,), resample=0.3) for s in range(2000)]
    for name in "ab":
        # what changes nothing is drawn again, so it is 0.3 of the draws in which a or b is
        assert abs(np.mean([p[name] != 0.5 for p in seen]) - 0.3 / (1 - 0.7**2)) < 0.04
    drawn = [space["b"].encode(p["b"]) for p in seen if p["b"] != 0.5]
    assert abs(np.mean(drawn) - 0.5) < 0.05  # evenly over magnitudes


def test_a_copy_is_never_the_same_and_zero_is_drawn_anew():
    space = Space(a=Float(0.0, 1.0, live=True), b=Float(0.0, 1.0, live=True))
    seen = [explore(space, {"a": 1.0, "b": 0.0}, streams.rng(s), factors=(0.5, 2.0), resample=0.0) for s in range(40)]
    assert {p["a"] for p in seen} == {0.5, 1.0}
    assert len({p["b"] for p in seen}) == 40
    assert explore(space, {"a": 1.0, "b": 0.0}, streams.rng(0), factors=(1.0,), resample=0.0) == {"a": 1.0, "b": 0.0}
    only = Space(a=Float(0.0, 1.0, live=True))
    assert {explore(only, {"a": 1.0}, streams.rng(s), factors=(0.5, 2.0), resample=0.0)["a"] for s in range(9)} == {0.5}


def test_constraints_hold_and_where_none_fits_the_values_stay():
    space = Space(a=Float(0.1, 1.0, live=True), k=Int(1, 9)).where("a * k <= 1")
    for s in range(40):
        space.check(explore(space, {"a": 0.3, "k": 3}, streams.rng(s), factors=(0.8, 1.25), resample=0.2))
    assert explore(space, {"a": 0.3, "k": 3}, streams.rng(0), factors=(2.0,), resample=0.0)["a"] == 0.3


# -- decisions by hand


def start(study, n=1, **origin):
    ids = [study.ask({"population": {"population": 0}}) for _ in range(n)]
    for id in ids:
        study.set(id, params={"rate": 0.1, "width": id + 1}, state=State.RUNNING)
    return ids


def report(made, study, id, step, value):
    judged, trials = study.ahead(id, step, value)
    verdict = made.judge(judged, trials)
    study.report(id, step, value, STATES[verdict])
    return verdict


def pick(made, study, key=0):
    return made.pick(study.trials, streams.rng(key))


def begin(study, said):
    """Do what was said."""
    if isinstance(said, Resume):
        study.set(said.id, state=State.RUNNING)
        return said.id
    id = study.ask(said.origin)
    if said.parent:
        point = study.trials[said.parent[0]].at(said.parent[1])
        study.set(id, parent=said.parent, curve=(Point(point.step, point.value, 0.0),), value=point.value)
    study.set(id, params=said.params or {"rate": 0.1, "width": id + 1}, state=State.RUNNING)
    return id


def test_a_poor_member_is_stopped_and_a_child_of_a_good_one_takes_its_place():
    made, study = Population(4, 2, share=0.25, factors=(0.5,), resample=0.0), Play(LIVE, 8)
    assert pick(made, study).origin == {"population": {"population": 0, "member": 0}}
    start(study, 4)
    assert pick(made, study) is Idle.WAIT  # all seats are taken
    assert [report(made, study, id, 1, v) for id, v in enumerate((4, 1, 3, 2))] == [GO] * 4  # between rungs
    # the first three at the rung: one of four may be stopped, so none of three
    assert [report(made, study, id, 2, v) for id, v in ((1, 1), (3, 2), (0, 4))] == [GO] * 3
    assert report(made, study, 2, 2, 3) is GO  # the third of four
    assert [report(made, study, id, 3, 9) for id in range(4)] == [GO] * 4
    assert [report(made, study, id, 4, v) for id, v in ((1, 1), (3, 2), (2, 3))] == [GO] * 3
    assert {(1, 4)} <= made.keep(study.trials)
    assert report(made, study, 0, 4, 4) is STOP
    said = pick(made, study)
    assert said == Start(
        {"rate": 0.05, "width": 2}, (1, 4),
        {"search": "population", "population": {"population": 0, "member": 0, "replaces": 0, "copied": 1}},
    )  # fmt: skip
    child = begin(study, said)
    assert pick(made, study) is Idle.WAIT
    assert (1, 4) in made.keep(study.trials)  # the child stands on it until it has one of its own
    assert [report(made, study, id, step, 1) for step in (5, 6) for id in (1, 2, 3)] == [GO] * 6
    assert report(made, study, child, 5, 7) is GO
    assert {(1, 4), (1, 6)} <= made.keep(study.trials)  # it may yet fail, or be stopped
    assert report(made, study, child, 6, 7) is STOP  # a child is as any other
    assert (1, 6) in made.keep(study.trials)
    assert (1, 4) not in made.keep(study.trials)
    assert [t.state for t in study.trials] == [State.STOPPED] + [State.RUNNING] * 3 + [State.STOPPED]


def test_who_is_at_the_end_is_never_stopped_and_then_another_population_begins():
    made, study = Population(2, 1, share=0.5), Play(LIVE, 2)
    start(study, 2)
    assert report(made, study, 0, 1, 1.0) is GO
    assert report(made, study, 1, 1, 1.0) is GO  # not poorer than the best
    for id in (0, 1):
        judged, trials = study.ahead(id, 2, float(id))
        assert made.judge(judged, trials) is GO
        study.report(id, 2, float(id))
        study.tell(id, float(id))
    assert pick(made, study).origin == {"population": {"population": 1, "member": 0}}
    assert made.keep(study.trials) == set()


def test_with_fewer_workers_the_one_furthest_behind_goes_on_first_the_best_of_them():
    made, study = Population(3, 1, share=0.34), Play(LIVE, 4)
    begin(study, pick(made, study))
    assert report(made, study, 0, 1, 3.0) is PAUSE  # two are yet to begin
    begin(study, pick(made, study))
    assert report(made, study, 1, 1, 1.0) is PAUSE
    begin(study, pick(made, study))
    assert report(made, study, 2, 1, 2.0) is PAUSE  # 1 comes first
    order = []
    for _ in range(3):
        order.append(begin(study, pick(made, study)))
        report(made, study, order[-1], 2, {0: 3.0, 1: 1.0, 2: 2.0}[order[-1]])
    assert order == [1, 2, 0]  # the poorest last: most is known when it gets there
    assert study.trials[0].state is State.STOPPED


def test_members_are_compared_at_the_same_step():
    made, study = Population(4, 2, share=0.25), Play(LIVE, 20)
    start(study, 4)
    for id in range(3):  # three have come far, and are better there
        for step in range(1, 13):
            assert report(made, study, id, step, 1.0 - 0.05 * step + 0.001 * id) is GO
    assert report(made, study, 3, 1, 0.9) is GO
    assert report(made, study, 3, 2, 0.85) is GO  # the best at step 2, whatever the others have now
    assert report(made, study, 3, 3, 0.99) is GO
    assert report(made, study, 3, 4, 0.99) is STOP
    said = pick(made, study)
    assert said.parent == (0, 4)  # the best of those at step 4, as it was then
    assert all((0, step) in made.keep(study.trials) for step in (4, 6, 8, 10, 12))


def test_a_failed_member_is_replaced_and_nobody_copies_it():
    made, study = Population(4, 2, share=0.5), Play(LIVE, 9)
    start(study, 4)
    study.set(0, state=State.FAILED, error={"type": "ValueError", "message": ""})
    said = pick(made, study)
    assert said == Start(
        origin={"population": {"population": 0, "member": 0, "replaces": 0}}
    )  # there is nobody to copy
    assert begin(study, said) == 4
    assert pick(made, study) is Idle.WAIT
    for id, v in ((1, 1.0), (2, 2.0), (3, 3.0)):
        report(made, study, id, 1, v)
        report(made, study, id, 2, v)
    study.set(1, state=State.FAILED, error={"type": "ValueError", "message": ""})
    study.set(3, state=State.FAILED, error={"type": "ValueError", "message": ""})
    assert pick(made, study) is Idle.WAIT  # 1 was the best of the three there, and it failed
    for step in (1, 2):
        report(made, study, 4, step, 1.5)
    said = pick(made, study)
    assert said.parent == (4, 2)
    assert said.origin["population"]["replaces"] == 1


def test_bounds_come_before_the_value():
    made = Population(2, 1, share=0.5)
    study = Play(LIVE, 3, ["min loss", "size <= 5"])
    start(study, 2)
    study.report(0, 1, 1.0, size=9)
    judged, trials = study.ahead(1, 1, 2.0, size=3)
    assert made.judge(judged, trials) is GO
    study.report(1, 1, 2.0, size=3)
    judged, trials = study.ahead(0, 2, 0.5, size=9)
    study.report(1, 2, 1.0, size=3)
    judged, trials = study.ahead(0, 2, 0.5, size=9)
    assert made.judge(judged, trials) is STOP


def test_a_guess_is_a_member():
    study = Study(LIVE, schedule=Population(3, 1), steps=4, search="random")
    study.enqueue({"rate": 0.2})
    trials = [study.ask() for _ in range(3)]
    assert trials[0].origin == {"search": "enqueue"}
    assert [t.origin["population"]["member"] for t in trials[1:]] == [1, 2]
    assert study.ask() is Idle.WAIT


@pytest.mark.parametrize("seed", range(4))
def test_all_members_together_train_the_steps_of_as_many_trials(seed):
    size, steps = 4, 10
    done = play(Random(), Population(size, 1, 0.25), LIVE, steps=steps, starts=60, workers=(1, 3)[seed % 2], seed=seed)
    first = [t for t in done.trials if t.origin["population"]["population"] == 0]
    own = sum(len(t.curve) - (t.parent is not None) for t in first)
    assert own == size * steps
    assert sum(t.state is State.DONE for t in first) == size
    stopped = {t.id for t in first if t.state is State.STOPPED}
    assert stopped == {t.origin["population"]["replaces"] for t in first if t.parent is not None}
    assert stopped
    for t in first:
        if t.parent is not None:
            assert t.params["width"] == done.trials[t.parent[0]].params["width"]  # what is not live is the parent's


# -- in studies


def follow(study, trial):
    """Return [step, rate] of every step of a lineage, by the record."""
    rows, upto = [], trial.step
    while True:
        first = trial.parent[1] + 1 if trial.parent else 1
        rows[:0] = [[k, trial.params["rate"]] for k in range(first, upto + 1)]
        if trial.parent is None:
            return rows
        trial, upto = study.trials[trial.parent[0]], trial.parent[1]


def check(study, size, steps):
    done = [t for t in study.trials if t.state is State.DONE]
    assert len(done) == size
    assert sum(t.parent is not None for t in done) >= 1
    for t in done:
        assert unpack(study.keeping.load(study.checkpoints(t.id)[-1][1]))["story"] == follow(study, t)
    assert study.spent.steps == size * steps
    found = replay(study.journal.read())
    assert not found.differences, found.differences[:3]
    if study.store.url:
        looked = fsck(study.store, [study.name])
        assert str(looked).startswith("clean"), str(looked)


@pytest.mark.parametrize("seed", range(4))
def test_the_winners_weights_are_made_of_its_lineage(seed):
    with Study(LIVE, schedule=Population(5, 2, 0.4), steps=12, seed=seed, search="random") as study:
        study.run(resolve(f"{WORK}:story"), budget="60epochs")
        check(study, 5, 12)


def test_workers_that_are_killed_before_a_child_reports_go_on_from_its_parent(tmp_path, monkeypatch):
    (tmp_path / "flags").mkdir()
    monkeypatch.setenv("WHET_TEST_FLAG", str(tmp_path / "flags"))
    with Study(
        LIVE, schedule=Population(4, 1, 0.5), steps=6, search="random", seed=1, store=f"sqlite:///{tmp_path}/s.db"
    ) as study:
        study.run(resolve(f"{WORK}:killed"), budget="24epochs", workers=2)
        assert len(list((tmp_path / "flags").iterdir())) == 3
        assert not any(e.kind == "repeated" for e in study.journal.read())
        check(study, 4, 6)


def test_a_quota_keeps_what_a_child_may_begin_with(tmp_path):
    def run(quota):
        store = Store(f"sqlite:///{tmp_path}/{quota}.db", quota=quota)
        with Study(LIVE, schedule=Population(4, 1, 0.5), steps=8, search="random", seed=2, store=store) as study:
            study.run(resolve(f"{WORK}:story"), budget="32epochs")
            assert study.files.bytes() <= quota
            check(study, 4, 8)

    run(10_000)  # some 500 bytes each


def test_without_states_it_is_said_that_weights_are_not_shared():
    def forgetful(params, run):
        for step in run:
            run.report(params["rate"] / step)

    study = Study(LIVE, schedule=Population(3, 1, 0.5), steps=4, search="random")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        study.run(forgetful, budget="30epochs")
    assert any("trains from step 1: that one left no state there" in str(w.message) for w in said)


def test_two_that_ask_at_once_do_not_replace_the_same_member(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    with Study(LIVE, schedule=Population(3, 1, 0.4), steps=4, search="random", store=url) as one:
        trials = [one.ask() for _ in range(3)]
        for t, v in zip(trials, (1.0, 2.0, 3.0), strict=True):
            verdict = one.report(t, 1, v)
        assert verdict is STOP
        with Study.open(url, "study") as two:
            decide = two._asking._decide

            def slow(moment, budget):
                said = decide(moment, budget)
                if len(one.trials) == 3:
                    assert one.ask().parent == (0, 1)  # between the decision and its event
                return said

            two._asking._decide = slow
            assert two.ask() is Idle.WAIT
        assert [t.parent for t in one.trials] == [None, None, None, (0, 1)]


def test_a_finite_space_that_is_tried_out_still_has_children():
    space = Space(k=Int(1, 3, live=True), o=Ordered([1, 2]))
    study = Study(space, schedule=Population(6, 1, 0.34), steps=5, search="grid")

    def objective(params, run):
        run.load()
        for step in run:
            run.report(params["k"] + params["o"] / step, {"k": 1})

    study.run(objective, budget="30epochs")
    assert len(study.trials) > 6
    assert any(t.parent is not None for t in study.trials)
    assert not replay(study.journal.read()).differences


def test_a_child_goes_on_from_its_parent_where_its_own_checkpoint_is_damaged(tmp_path):
    with Study(
        LIVE, schedule=Population(2, 1, 0.5), steps=4, search="random", store=f"sqlite:///{tmp_path}/s.db"
    ) as study:
        trials = [study.ask(), study.ask()]
        for t in trials:
            run = Attempt(study, t)
            for _ in run:
                run.report(float(t.id), {"of": t.id})
        child = study.ask()
        assert child.parent == (0, 1)
        run = Attempt(study, child)
        assert run.load() == {"of": 0}
        for _ in run:
            run.report(0.0, {"of": 2})
            break
        (_, own) = study._book.history.progress[child.id].checkpoints[-1]
        (study.files.folder / own).write_bytes(b"damaged")
        again = Attempt(study, study.trials[child.id])
        with pytest.warns(RuntimeWarning, match="Using the one before it"):
            assert again.load() == {"of": 0}


def test_trials_of_another_study_take_seats():
    trials = Trials([Trial(i, {"rate": 0.1}, State.DONE, (Point(4, 1.0),), 1.0) for i in range(5)], space=LIVE, steps=4)
    said = Population(2).pick(trials, streams.rng(0))
    assert said.origin["population"] == {"population": 2, "member": 1}


def test_who_came_to_its_end_early_is_nobodys_model_there():
    """A criterion ended it: its weights are not trained on, and at later rungs it has none at all."""

    def objective(params, run):
        state = run.load() or {"ended": False, "steps": 0}
        if state["ended"]:  # as a task does: the criterion's state is part of the checkpoint
            run.end("patience")
        for step in run:
            state = {"ended": params["rate"] < 0.3 and step >= 4, "steps": state["steps"] + 1}
            run.report(params["rate"] / step, state)
            if state["ended"] and run.verdict is GO:
                run.end("patience")
        return params["rate"] / state["steps"]

    for interval in (1, 2):
        made = Population(4, interval, 0.5)
        study = Study(LIVE, schedule=made, search="random", steps=10, seed=1)
        study.run(objective, trials=24)
        ended = {int(r["trial"]) for r in study.records("ended")}
        children = [t for t in study.trials if t.parent is not None]
        assert ended
        assert children
        assert all(len(t.curve) > 1 and t.curve[1].cost > 0 for t in children)  # each has trained something
        assert all(t.parent[1] < 4 for t in children if t.parent[0] in ended)
        assert not replay(study.journal.read()).differences


@pytest.mark.parametrize("seed", range(3))
def test_children_that_all_fail_at_once_do_not_go_on_for_ever(seed):
    """They take no step, so a budget of epochs would never be spent; the seats stay empty, and another population begins."""

    def objective(params, run):
        state = run.load() or []
        if run.trial.parent is not None:
            raise ValueError("a child")
        for step in run:
            state = [*state, step]
            run.report(params["rate"] + 1 / step, state)

    study = Study(LIVE, search="random", schedule=Population(4, 2), steps=8, seed=seed)
    study.run(objective, budget="60epochs")
    assert study.spent.steps == 60
    failed = [t for t in study.trials if t.state is State.FAILED]
    assert failed
    assert all(t.parent is not None for t in failed)
    assert len(failed) <= 5 * (len(study.trials) - len(failed))
