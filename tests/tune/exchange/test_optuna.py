"""Studies of the real Optuna, in its database and its journal file, read without it."""

from __future__ import annotations

import json
import sqlite3
import warnings

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from whet import (
    Choice,
    Const,
    Float,
    Idle,
    Int,
    Ordered,
    Space,
    State,
    Store,
    StoreError,
    Study,
    StudyError,
    UsageError,
)
from whet.tune.account import accounts
from whet.tune.exchange import read
from whet.tune.exchange.distribution import domain

optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    trial.suggest_int("width", 16, 128, step=16)
    trial.suggest_float("drop", 0.0, 0.5, step=0.1)
    trial.suggest_int("batch/size", 8, 256, log=True)
    if trial.number == 3:
        raise RuntimeError("bad luck")
    optimizer = trial.suggest_categorical("opt", ["sgd", "adam", None])
    layers = trial.suggest_int("layers", 1, 3)
    for i in range(1, layers):
        trial.suggest_int(f"units{i}", 4, 64)
    if optimizer == "sgd":
        trial.suggest_float("momentum", 0, 0.99)
        if trial.suggest_categorical("nesterov", [True, False]):
            trial.suggest_float("damp", 0, 1)
    trial.set_user_attr("mood", "fine")
    for step in range(4):
        trial.report(lr + 1 / (step + 1), step)
        if trial.number % 5 == 4 and step == 1:
            raise optuna.TrialPruned
    return lr + 0.25


def fill(storage):
    """Make three studies: one of everything, one of two objectives, one that is empty."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(storage=storage, study_name="main", sampler=optuna.samplers.RandomSampler(seed=2))
        study.set_user_attr("who", "me")
        study.optimize(objective, n_trials=24, catch=(RuntimeError,))
        study.enqueue_trial({"lr": 0.01, "opt": "adam", "nowhere": 3})
        two = optuna.create_study(storage=storage, study_name="two", directions=["minimize", "maximize"])
        two.set_metric_names(["loss", "hit rate"])
        for x in (0.25, 0.5):
            t = two.ask({"x": FloatDistribution(0, 1)})
            two.tell(t, [x, 1 - x])
        two.ask({"x": FloatDistribution(0, 1)})  # goes on running for ever
        empty = optuna.create_study(storage=storage, study_name="empty", direction="maximize")
    return study, two, empty


def fill_from(studies, url):
    for study in studies:
        optuna.copy_study(from_study_name=study.study_name, from_storage=study._storage, to_storage=url)


@pytest.fixture(scope="module", params=["database", "journal"])
def place(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "database":
        path = folder / "optuna.db"
        made = fill(None)  # in memory, then copied: a database takes a second for every few trials
        fill_from(made, f"sqlite:///{path}")
        return (*made[:2], path)
    path = folder / "optuna.log"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    return (*fill(optuna.storages.JournalStorage(backend))[:2], path)


def test_every_trial_is_carried_over_with_its_values_and_curve(place, tmp_path):
    source, _, path = place
    carried = read(str(path), study="main")
    study = carried.study(tmp_path / "w.db", "s")
    theirs = source.trials
    assert len(study.trials) == len(theirs) == 25
    assert [str(g) for g in study.goals] == ["min value"]
    assert study.steps == 4
    back = {new: old for old, new in NAMES.items()}
    states = {"COMPLETE": State.DONE, "PRUNED": State.STOPPED, "FAIL": State.FAILED, "WAITING": State.WAITING}
    work = accounts(study.journal.read())
    for mine, other in zip(study.trials, theirs, strict=True):
        assert mine.origin.get("number") == other.number
        assert mine.state is states[other.state.name]
        params = {back.get(k, k): v for k, v in mine.params.items()}
        if other.state.name in ("COMPLETE", "PRUNED"):
            assert params == pytest.approx(other.params)
            assert list(mine.params) == [NAMES.get(k, k) for k in params]
            study.space.check(mine.params)
            assert [(p.step, p.value) for p in mine.curve] == [(s + 1, v) for s, v in other.intermediate_values.items()]
            assert mine.value == other.value
            assert mine.cost == len(mine.curve)
            assert mine.origin["user"] == other.user_attrs
            duration = (other.datetime_complete - other.datetime_start).total_seconds()
            assert work[mine.id].seconds == pytest.approx(duration, abs=1e-3)
            assert work[mine.id].began == pytest.approx(other.datetime_start.timestamp(), abs=1e-3)
    failed = study.trials[3]
    assert failed.error["type"] == "Failed"
    assert failed.params["lr"] == theirs[3].params["lr"]  # what it had got to is kept, the rest made whole
    assert study.trials[24].params == {"lr": 0.01, "opt": "adam"}
    best = study.best
    assert (best.value, best.origin["number"]) == (source.best_value, source.best_trial.number)
    assert study.records("optuna") == [{"user": {"who": "me"}}]
    assert study.spent.trials == 0


NAMES = {
    "batch/size": "batch_size", "momentum": "opt.momentum", "nesterov": "opt.nesterov", "damp": "opt.nesterov.damp",
    "units1": "layers.units1", "units2": "layers.units2",
}  # fmt: skip


def test_distributions_become_a_space_with_branches(place):
    carried = read(str(place[2]), study="main")
    assert carried.space == Space(
        lr=Float(1e-5, 1e-1, log=True),
        width=Ordered(range(16, 129, 16)),
        drop=Ordered([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        batch_size=Int(8, 256, log=True),
        opt=Choice({"sgd": Space(momentum=Float(0, 0.99), nesterov=Choice({True: Space(damp=Float(0, 1)), False: None})),
                    "adam": None, None: None}),
        layers=Choice({1: None, 2: Space(units1=Int(4, 64)), 3: Space(units1=Int(4, 64), units2=Int(4, 64))}),
    )  # fmt: skip
    said = " / ".join(carried.said)
    for part in (
        "momentum exists only with opt 'sgd': it is opt.momentum here",
        "batch/size is called batch_size here",
        "units2 exists only with layers 3",
        "layers became a choice of its values",
        "steps began at 0: 1 was added to each",
        "1 trial ended before every parameter was chosen",
    ):
        assert part in said, (part, said)
    assert carried.lost == ("a waiting trial's value of nowhere, which no trial has had yet",)


def test_it_is_gone_on_with_and_searchers_know_what_was_tried(place, tmp_path):
    with read(str(place[2]), study="main").study(tmp_path / "w.db", "s", search="random", schedule="full"):
        pass
    with Study.open(tmp_path / "w.db", "s") as study:
        first = study.ask()
        assert (first.id, first.params["lr"], first.params["opt"]) == (24, 0.01, "adam")  # what was waiting there
        study.tell(first, 0.001)
        second = study.ask()
        assert second.id == 25
        study.space.check(second.params)
        assert study.best.id == 24


def test_several_objectives_become_goals_and_metrics(place):
    carried = read(str(place[2]), study="two")
    assert carried.goals == ("min loss", "max hit_rate")
    assert "objectives are called loss, hit_rate here" in carried.said
    assert [(t.value, dict(t.curve[-1].metrics)) for t in carried.trials[:2]] == [
        (0.25, {"hit_rate": 0.75}),
        (0.5, {"hit_rate": 0.5}),
    ]
    running = carried.trials[2]
    assert (running.state, running.error["type"]) == (State.FAILED, "WorkerLost")
    assert any("RUNNING: FAILED here as WorkerLost" in s for s in carried.said)


def test_which_study_is_meant_must_be_clear(place):
    with pytest.raises(StudyError, match=r"holds 3 studies: main, two, empty. Say which with --study NAME"):
        read(str(place[2]))
    with pytest.raises(StudyError, match=r"'mian': not in .* Did you mean 'main'\?"):
        read(str(place[2]), study="mian")
    empty = read(str(place[2]), study="empty")
    assert (empty.goals, len(empty.trials), list(empty.space)) == (("max value",), 0, [])


def test_nothing_is_written_to_the_source(tmp_path):
    path = tmp_path / "o.db"
    optuna.create_study(storage=f"sqlite:///{path}", study_name="s").add_trial(create_trial(value=1.0))
    path.chmod(0o444)
    before = path.read_bytes()
    assert len(read(f"sqlite:///{path}").trials) == 1
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["o.db"]


# -- what a define-by-run program may do


def trial(params, value=1.0, state=TrialState.COMPLETE, **more):
    distributions = {k: d for k, (_, d) in params.items()}
    return create_trial(
        state=state, value=value, params={k: v for k, (v, _) in params.items()}, distributions=distributions, **more
    )


def made(tmp_path, *trials, **more):
    path = tmp_path / "o.db"
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="s", **more)
    for t in trials:
        study.add_trial(t)
    return read(str(path))


def test_a_distribution_that_changed_becomes_the_union(tmp_path):
    x = [FloatDistribution(0.1, 1, log=True), FloatDistribution(0.5, 2, log=True), FloatDistribution(0.5, 3, log=True)]
    n, c = [IntDistribution(1, 4), IntDistribution(2, 9)], CategoricalDistribution(["a", "b"])
    s = [IntDistribution(0, 4, step=2), IntDistribution(0, 6, step=3)]
    carried = made(
        tmp_path,
        trial({"x": (0.1, x[0]), "n": (1, n[0]), "c": ("a", c), "s": (2, s[0])}),
        trial({"x": (2.0, x[1]), "n": (9, n[1]), "c": ("b", c), "s": (3, s[1])}),
        trial({"x": (3.0, x[2]), "n": (9, n[1]), "c": ("b", c), "s": (0, s[1])}),
    )
    assert carried.space == Space(
        x=Float(0.1, 3, log=True), n=Int(1, 9), c=Choice(["a", "b"]), s=Ordered([0, 2, 3, 4, 6])
    )
    assert any(s.startswith("x: its distribution changed 2 times") for s in carried.said)
    assert [t.params["x"] for t in carried.trials] == [0.1, 2.0, 3.0]
    mixed = [json.dumps({"name": f"{k}Distribution", "attributes": a}) for k, a in (
        ("Float", {"low": 0.5, "high": 1, "log": True}), ("Int", {"low": 1, "high": 7, "log": False}))]  # fmt: skip
    assert domain("x", mixed, [9.0])[0] == Float(0.5, 9)


def test_a_parameter_that_nothing_explains_is_filled_in_and_said(tmp_path):
    d, c = FloatDistribution(0, 1), CategoricalDistribution(["a", "b"])
    carried = made(
        tmp_path, trial({"c": ("a", c), "x": (0.3, d)}), trial({"c": ("a", c)}), trial({"c": ("b", c), "x": (0.1, d)})
    )
    assert [t.params["x"] for t in carried.trials] == [0.3, 0.5, 0.1]
    assert carried.said[0].startswith("x: 1 of 3 trials have no value, and no choice explains which: the middle")


def test_values_that_are_not_finite(tmp_path):
    inf, nan = float("inf"), float("nan")
    carried = made(
        tmp_path, trial({}, inf), trial({}, 2.0, intermediate_values={1: nan, 2: inf, 3: 5.0}), trial({}, 3.0),
    )  # fmt: skip
    assert [t.state for t in carried.trials] == [State.FAILED, State.DONE, State.DONE]
    assert carried.trials[0].error["message"] == "value is inf"
    assert [(p.step, p.value) for p in carried.trials[1].curve] == [(3, 5.0)]
    assert carried.lost == ("an intermediate value that is not finite (2 times)",)
    assert [p.step for p in carried.trials[2].curve] == [3]  # told at the end, which is the last step


def test_options_that_are_no_scalars_and_steps_without_end(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        c = CategoricalDistribution([(3, 3), (5, 5), "none", None, True])
        carried = made(
            tmp_path,
            trial(
                {"k": ((5, 5), c), "f": (0.5, FloatDistribution(0, 1, step=1e-6)), "one": (2, IntDistribution(2, 2))}
            ),
        )
    assert carried.space == Space(k=Choice(["[3, 3]", "[5, 5]", "none", None, True]), f=Float(0, 1), one=Const(2))
    assert carried.trials[0].params == {"k": "[5, 5]", "f": 0.5, "one": 2}
    assert any("more than 1000 steps" in s for s in carried.said)


def test_constraints_become_goals(tmp_path):
    path = tmp_path / "o.db"
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="s", sampler=sampler)
    study.add_trial(create_trial(value=1.0, system_attrs={"constraints": [-1.0, 2.0]}))
    carried = read(str(path))
    assert carried.goals == ("min value", "constraint0 <= 0", "constraint1 <= 0")
    assert dict(carried.trials[0].curve[-1].metrics) == {"constraint0": -1.0, "constraint1": 2.0}


def test_distributions_of_earlier_versions_are_known():
    def old(name, **attributes):
        return domain("x", [json.dumps({"name": name, "attributes": attributes})], [])[0]

    assert old("UniformDistribution", low=0, high=1) == Float(0, 1)
    assert old("LogUniformDistribution", low=0.1, high=1) == Float(0.1, 1, log=True)
    assert old("DiscreteUniformDistribution", low=0, high=1, q=0.5) == Ordered([0.0, 0.5, 1.0])
    assert old("IntUniformDistribution", low=0, high=4, step=2) == Ordered([0, 2, 4])
    assert old("IntLogUniformDistribution", low=1, high=8, step=1) == Int(1, 8, log=True)


# -- sources that are no studies


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("a.db", None, UsageError, "no such file"),
        ("a.db", b"SQLite format 3\0" + b"x" * 200, StoreError, "cannot be read"),
        ("a.txt", b"hello", UsageError, "not a study"),
        ("a.json", b'{"a": ', UsageError, "not JSON"),
        ("a.json", b'{"a": 1}', StudyError, "it has no whet_study"),
        ("a.log", b'{"op_code": 0, "study_name": "s", "directions": [1]}\n{"op_code": 77}\n', StudyError, "line 2"),
        ("a.log", b'{"op_code": 4, "study_id": 0}\n{"no\n{"op_code": 2}\n', StudyError, "line 2 is not JSON"),
    ],
)
def test_what_is_no_study_is_named(tmp_path, name, content, error, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=said) as e:
        read(str(path))
    assert name in str(e.value)


def test_other_databases_are_told_apart(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as c:
        c.execute("create table birds (name)")
    c.close()
    with pytest.raises(StudyError, match=r"not an Optuna storage \(its tables: birds"):
        read(str(tmp_path / "x.db"))
    Study(Space(x=Float(0, 1)), store=tmp_path / "w.db").close()
    with pytest.raises(StudyError, match=r"is a whet database\. Use `whet study export"):
        read(str(tmp_path / "w.db"))
    with pytest.raises(UsageError, match="mysql"):
        read("mysql://me:secret@host/db")
    with pytest.raises(UsageError, match=r"is a folder"):
        read(str(tmp_path))


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "o.log"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="s")
    study.tell(study.ask({"x": FloatDistribution(0, 1)}), 1.0)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "stu')
    assert len(read(str(path)).trials) == 1


def test_a_name_that_is_taken_is_refused_and_nothing_changes(tmp_path):
    carried = made(tmp_path, trial({"x": (0.3, FloatDistribution(0, 1))}))
    carried.study(tmp_path / "w.db", "s").close()
    with pytest.raises(StudyError, match="exists already, with 1 trials"):
        carried.study(tmp_path / "w.db", "s")
    with Study.open(Store(str(tmp_path / "w.db")), "s") as study:
        assert len(study.trials) == 1
        assert not isinstance(study.ask(), Idle)
