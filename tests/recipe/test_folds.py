"""Cross-validated studies: a fold is a training of its own, the value is the mean so far, and what was cut off goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from whet.data.folds import deal, pooled
from whet.data.split import Data, Split
from whet.errors import StudyError, UsageError
from whet.execute import place
from whet.metric import metric
from whet.recipe.block import Block
from whet.recipe.folds import Crossed, judged, objective, train_folds
from whet.recipe.job import Job
from whet.recipe.steps import recipe, tuned
from whet.recipe.tuning import score
from whet.recipe.winner import known, outputs_of
from whet.seed import key
from whet.stop.gain import NOISE
from whet.task import Task
from whet.tasks import resolve
from whet.train.run import Run
from whet.tune.budget import Budget
from whet.tune.curve import Curve
from whet.tune.replay import replay
from whet.tune.schedule.race import Race
from whet.tune.space import Float, Space
from whet.tune.study import Study
from whet.tune.trial import Point, State, Trial, Trials, Verdict
from whet.tune.worker import training_seed


class Few(Task):
    """Noisy classes of 120 visible examples; the model scales its inputs by the training part of its fold."""

    space = Space(lr=Float(1e-4, 1.0, log=True), flip=Float(0, 1))
    steps = 2

    def data(self, params):
        draw = torch.Generator().manual_seed(7)
        x = torch.randn(140, 5, generator=draw) * 3 + 1
        y = (x[:, 0] + 2 * torch.randn(140, generator=draw) > 1).long()
        return Data.from_arrays(x, y, seed=self.seed)

    def model(self, params):
        seen = self.data(params).train.inputs
        norm = nn.BatchNorm1d(5, affine=False, momentum=0.0)
        norm.running_mean, norm.running_var = seen.mean(0), seen.var(0)
        return nn.Sequential(norm.eval(), nn.Linear(5, 2))


def study(k: int, schedule: str = "full", store: str | None = None) -> Study:
    return Study(Few.space, goal="max accuracy", search="random", schedule=schedule, steps=k, seed=0, store=store)


def crossed(k: int, *, epochs: int = 2, stop: str = ""):
    known_ = Crossed(Few(), k)
    return lambda params, run: train_folds(known_, params, run, epochs=epochs, stop=stop)


@pytest.mark.parametrize("seed", range(2))
def test_a_fold_is_the_training_on_the_others_by_hand(seed):
    task = Few()
    task.seed = seed
    s = Study(Few.space, goal="max accuracy", search="random", schedule="full", steps=3, seed=seed)
    folds = Crossed(task, 3)
    s.run(lambda params, run: train_folds(folds, params, run, epochs=2), trials=2)
    whole, trial = pooled(task.data({})), s.trials[1]
    scores, outputs = [], np.empty((len(whole), 2), np.float32)
    for i, fold in enumerate(deal(task.data({}), 3, seed=seed)):
        train, valid = whole.take(fold.train), whole.take(fold.valid)

        class One(Few):
            def data(self, params, train=train, valid=valid):
                return Data(train, valid, classes=("0", "1"))

        run = Run(One(), trial.params, steps=2, seed=key(training_seed(seed, 1), "fold", i + 1))
        scores.append([p.value for p in run][-1])
        outputs[fold.valid] = run.outputs
        assert trial.curve[i].value == pytest.approx(np.mean(scores))
    np.testing.assert_array_equal(outputs_of(s, 1)[1], outputs)
    shares = [len(f.valid) / len(whole) for f in deal(task.data({}), 3, seed=seed)]
    assert metric("accuracy").compute(outputs, whole.targets.numpy()) == pytest.approx(np.dot(scores, shares))


def test_a_trial_that_was_cut_off_goes_on_with_its_next_fold():
    once, again = study(4), study(4)
    once.run(crossed(4), trials=1)
    trained = []
    folds = Crossed(Few(), 4)

    def cut(params, run):
        whole = folds.fold

        def counted(params, deal_, step):
            trained.append(step)
            if step == 3 and trained.count(3) == 1:
                raise KeyboardInterrupt
            return whole(params, deal_, step)

        folds.fold = counted
        try:
            train_folds(folds, params, run, epochs=2)
        finally:
            folds.fold = whole

    with pytest.raises(KeyboardInterrupt):
        again.run(cut, trials=1)
    again.run(cut, trials=1)
    assert trained == [1, 2, 3, 3, 4]
    assert [p.value for p in again.trials[0].curve] == [p.value for p in once.trials[0].curve]
    np.testing.assert_array_equal(outputs_of(again, 0)[1], outputs_of(once, 0)[1])


def test_what_one_fold_knows_does_not_reach_another():
    """Pictures are scaled by statistics that the task keeps: those of each fold are of its own training part."""
    task = resolve("digits")
    task.model(task.first)  # it knows the statistics of its own training part now
    folds = Crossed(task, 3)
    for step in (1, 2, 3):
        of, fold = folds.fold(task.first, 0, step)
        seen = of.data(task.first).train.parts[0]
        assert len(seen) == len(fold.train)
        norm = next(m for m in of.model(task.first).modules() if type(m).__name__ == "Standardize")
        assert float(norm.mean.reshape(-1)[0]) == pytest.approx(float(seen.double().mean()), rel=1e-5)


def test_a_fold_ends_early_when_its_criterion_says_so_and_the_next_one_is_trained():
    s = study(3)
    s.run(crossed(3, epochs=30, stop="patience 2"), trials=1)
    assert s.trials[0].state is State.DONE
    assert s.trials[0].step == 3
    diverging = study(3)
    diverging.run(crossed(3, epochs=30, stop="diverged | patience 2"), trials=1)
    assert diverging.trials[0].state in (State.DONE, State.FAILED)


def test_a_race_pairs_trials_on_the_same_folds_only():
    """A trial on another deal, however good, is not who the others are held against."""
    goal_of = {"space": Space(x=Float(0, 1)), "steps": 6}

    def trial(id, values, tags=(), state=State.DONE):
        return Trial(id, {"x": 0.5}, state, tuple(Point(i + 1, v) for i, v in enumerate(values)), values[-1], tags=tags)

    bad = trial(2, [0.5, 0.51, 0.52, 0.51], state=State.RUNNING)
    other = trial(1, [0.1] * 6, tags=("rerace", "deal-1"))
    assert (
        Race().judge(bad, Trials([trial(0, [0.1, 0.11, 0.1, 0.12, 0.1, 0.1]), other, bad], **goal_of)) is Verdict.STOP
    )
    assert Race().judge(bad, Trials([trial(0, [0.6] * 6, state=State.RUNNING), other, bad], **goal_of)) is Verdict.GO


def job(tmp_path, task=None, **options) -> Job:
    given = {"budget": Budget(trials=6), "steps": 2, "folds": 5, "search": "random", "schedule": "race"} | options
    return Job(task or resolve("diabetes"), runs=tmp_path, workers=1, **given)


def blocks(job: Job) -> dict[str, Block]:
    return {b.step: b for b in tuned(job) if isinstance(b, Block)}


def test_a_search_says_what_the_winner_is_worth_over_all_examples(tmp_path):
    j = job(tmp_path)
    found = blocks(j)
    said = " ".join(found["tune"].lines)
    assert "race" in said
    assert "folds in" in said
    assert "cross-validated rmse" in said
    with Study.open(j.store, j.name) as s:
        best, data = s.best, j.data()
        seen = judged(s, data, best)
        assert len(seen.valid) == len(data.train) + len(data.valid) == len(outputs_of(s, best.id)[1])
        honest = known(s)
        raw = metric("rmse").compute(outputs_of(s, best.id)[1], seen.valid.targets.numpy())
        assert honest.raw.value == pytest.approx(raw)
        assert honest.raw.n == len(seen.valid)
        assert honest.trials == sum(t.state is State.DONE for t in s.trials) >= 2
        assert s.records("task")[0]["folds"] == 5
    assert (j.folder / "report.html").exists()


def test_a_race_of_the_best_is_over_fresh_deals(tmp_path):
    j = job(tmp_path, budget=Budget(trials=14), rerace=0.5, schedule="full", folds=3)
    blocks(j)
    with Study.open(j.store, j.name) as s:
        again = [t for t in s.trials if "rerace" in t.tags]
        assert again
        for t in again:
            deal_ = next(int(x.removeprefix("deal-")) for x in t.tags if x.startswith("deal-"))
            assert t.note.endswith(f"fresh folds {deal_}")
            assert deal_ >= 1
            kept = outputs_of(s, t.id)[0]
            folds = deal(j.data(), 3, seed=0, again=deal_)
            sizes = [len(f.valid) for f in folds]
            assert sum(sizes) == len(np.unique(kept["at"]))
        raced = s.records("raced")
        assert "fresh deal" in raced[-1]["lines"][0]


def test_a_budget_in_epochs_buys_folds(tmp_path):
    j = job(tmp_path, budget=Budget.of("21epochs"), steps=2)
    assert j.limits.steps == 10
    blocks(j)
    with Study.open(j.store, j.name) as s:
        assert s.spent.steps <= 10
    with pytest.raises(UsageError, match="a fold trains 2 epochs"):
        job(tmp_path, budget=Budget.of("1epochs"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 1}, "--folds: must be at least 2, got 1"),
        ({"schedule": "population"}, "--schedule population: goes on from another"),
        ({"schedule": "freeze-thaw"}, "--schedule freeze-thaw: forecasts"),
        ({"search": "hypergradient"}, "--search hypergradient: goes by the gradient of one training"),
        ({"price": "0.1/epoch"}, "with --folds a step is a fold"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, options, said):
    with pytest.raises(UsageError, match=said) as raised:
        job(tmp_path, **options)
    assert "\n" not in str(raised.value)


def test_the_whole_recipe_needs_a_model(tmp_path):
    with pytest.raises(UsageError, match="leave no model"):
        list(recipe(job(tmp_path)))
    assert not (tmp_path / "diabetes").exists()


def test_a_study_keeps_its_folds_and_its_epochs(tmp_path):
    blocks(job(tmp_path, budget=Budget(trials=1)))
    for options, said in (
        ({"folds": 4}, "was created with --folds 5, not with --folds 4"),
        ({"folds": None, "steps": 5, "schedule": "auto"}, "was created with --folds 5, not without --folds"),
        ({"steps": 3}, "trains 2 epochs a fold, not 3"),
    ):
        with pytest.raises(StudyError, match=said):
            blocks(job(tmp_path, budget=Budget(trials=2), **options))


def test_workers_find_the_same(tmp_path):
    """Two processes and one train the same trials to the same values, but for what more threads of one process round otherwise."""
    values = []
    for name, workers in (("one", 1), ("two", 2)):
        j = job(tmp_path, name=name, budget=Budget(trials=4), schedule="full", start=place("processes", workers))
        blocks(j)
        with Study.open(j.store, name) as s:
            values.append({t.id: [p.value for p in t.curve] for t in s.trials})
    assert values[0].keys() == values[1].keys()
    assert all(values[0][i] == pytest.approx(values[1][i], rel=1e-4) for i in values[0])


def test_the_objective_is_made_by_name():
    train = objective({"task": "diabetes", "seed": 0}, folds=3, epochs=1)
    s = Study(resolve("diabetes").space, goal="min rmse", search="random", schedule="full", steps=3).run(
        train, trials=1
    )
    assert s.best.step == 3


def test_the_examples_of_a_trial_are_those_of_its_folds():
    s = study(4)
    s.record("task", {"folds": 4})
    data = Few().data({})
    folds = deal(data, 4, seed=0)
    trial = Trial(0, {}, State.STOPPED, (Point(1, 0.5), Point(2, 0.5)), 0.5)
    seen = judged(s, data, trial).valid
    expected = pooled(data).ids[np.sort(np.concatenate([folds[0].valid, folds[1].valid]))]
    assert isinstance(seen, Split)
    np.testing.assert_array_equal(seen.ids, expected)


def test_the_noise_of_the_last_value_is_that_over_all_examples():
    """What `--until gain` goes by: of a share, the width of Wilson's interval over everybody that was held out."""
    s, folds = study(3), Crossed(Few(), 3)
    s.run(lambda params, run: train_folds(folds, params, run, epochs=1, noise=True), trials=1)
    first, *_, last = s.trials[0].curve
    y = pooled(Few().data({})).targets.numpy()
    share = metric("accuracy").compute(outputs_of(s, 0)[1], y)
    assert NOISE not in first.metrics
    assert last.metrics[NOISE] == pytest.approx((share * (1 - share) / len(y)) ** 0.5, rel=0.05)


def test_workers_within_a_training_train_each_fold():
    """A configuration with a rule and workers is trained by them, fold by fold."""
    s, folds = Study(Few.space, goal="max accuracy", schedule="full", steps=2), Crossed(Few(), 2)
    s.run(lambda p, run: train_folds(folds, {**p, "rule": "async", "workers": 2}, run, epochs=1), trials=1)
    assert s.trials[0].state is State.DONE
    assert s.trials[0].curve[-1].metrics["seconds"] > 0


def test_several_goals_go_on_rungs(tmp_path):
    task = resolve("diabetes", goal=["min rmse", "min parameters"])
    blocks(j := job(tmp_path, task, schedule="auto", budget=Budget(trials=4)))
    with Study.open(j.store, j.name) as s:
        assert type(s.scheduler).__name__ == "Asha"
        assert all(t.curve[-1].metrics["parameters"] > 0 for t in s.trials if t.curve)


def test_the_score_is_of_the_folds_whose_outputs_are_there(tmp_path):
    """A trial that was looked at a fold ago, while it went on: as the picture of a search does."""
    j = job(tmp_path, schedule="full", budget=Budget(trials=1))
    blocks(j)
    with Study.open(j.store, j.name) as s:
        now = s.trials[0]
        before = replace(now, curve=Curve(tuple(now.curve)[:-1]))
        assert before.step == now.step - 1
        data = j.data()
        assert score(s, before, data, j.task) == score(s, now, data, j.task)


@pytest.mark.parametrize("schedule", ["race", "asha"])
def test_what_was_decided_can_be_decided_again(tmp_path, schedule):
    j = job(tmp_path, schedule=schedule, budget=Budget(trials=8), rerace=0.3)
    blocks(j)
    with Study.open(j.store, j.name) as s:
        assert not replay(s.journal.read()).differences
