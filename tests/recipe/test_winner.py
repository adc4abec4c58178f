"""The best trial's score is corrected from what trials left, once, and said beside the raw one."""

import numpy as np
import pytest
import torch
from torch import nn

from whet.data.split import Data, Split
from whet.metric import interval
from whet.recipe.finish import squeeze
from whet.recipe.job import Job
from whet.recipe.winner import known, passed, told, worth
from whet.report import study_report
from whet.task import Task
from whet.train.run import Run
from whet.train.scored import goal_metric, loss_metric
from whet.tune.optimism import optimism
from whet.tune.space import Float, Space
from whet.tune.study import Study
from whet.tune.trial import Point, State, Trial, Trials

VALID = 90


class Classes(Task):
    """Two classes, of noise."""

    goal = "max accuracy"
    space = Space(x=Float(0, 1))

    def data(self, params):
        x = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
        y = (x[:, 0] > 0).long()
        return Data(Split(x[:30], y[:30]), Split(x[30:], y[30:]), kind="classification")

    def model(self, params):
        return nn.Linear(4, 2)


class Labels(Classes):
    """Three labels an example, any of which may be true."""

    goal, metrics, steps = "min loss", ("loss",), 1

    def data(self, params):
        x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
        y = (x[:, :3] > 0).float()
        return Data(Split(x[:40], y[:40]), Split(x[40:], y[40:]), kind="classification")

    def model(self, params):
        return nn.Linear(4, 3)

    def loss(self, params):
        return nn.BCEWithLogitsLoss()


class Rows(Labels):
    """A loss that weighs the labels of a whole batch: it is no mean over examples."""

    def loss(self, params):
        return lambda o, t: (nn.functional.binary_cross_entropy_with_logits(o, t, reduction="none") * t).sum() / t.sum()


def searched(outputs: dict[int, np.ndarray], y: np.ndarray) -> Study:
    study = Study(Space(x=Float(0, 1)), goal="max accuracy", search="random", schedule="full", seed=0)

    def objective(params, run):
        for _ in run:
            run.report(float((outputs[run.id].argmax(1) == y).mean()), {"outputs": outputs[run.id]})

    return study.run(objective, trials=len(outputs))


@pytest.mark.parametrize("seed", range(2))
def test_it_is_what_the_outputs_say_and_goes_on_record_once(seed):
    task = Classes()
    data = task.data({})
    y = data.valid.targets.numpy()
    draw = np.random.default_rng(seed)
    outputs = {i: draw.normal(size=(VALID, 2)) + 0.5 * np.eye(2)[y] for i in range(8)}
    with searched(outputs, y) as study:
        assert known(study) is None
        found = worth(study, data, task)
        assert found == optimism(outputs, y, "accuracy", kind="classification", winner=study.best.id)
        assert known(study) == found == worth(study, data, task)
        assert len(study.records("winner")) == 1
        assert told(found, study.trials)[0] == f"less the luck of choosing 1 of 8 trials {found.corrected}"
        report = study_report("s", study.trials, scores={"validation": found.raw}, records={"winner": [found.json()]})
        (section,) = [s for s in report.sections if s.name == "winner"]
        assert f"{found.raw.value:.4g}"[:5] in section.sentence
        assert "less the luck of choosing" in report.sections[0].sentence
        assert report.html()
        trial = study.ask()  # another trial came to the end: what is on record is of others
        study.tell(trial, 0.1)
        assert known(study) is None
        assert worth(study, data, task).trials == 8  # it left no outputs
        assert len(study.records("winner")) == 2


def test_a_trial_that_was_run_again_is_no_rival_of_itself():
    """The wins of both are one configuration's, those of another stay its own."""
    y = Classes().data({}).valid.targets.numpy()
    draw = np.random.default_rng(0)
    outputs = {i: draw.normal(size=(VALID, 2)) + 0.3 * np.eye(2)[y] for i in range(4)}
    study = Study(Space(x=Float(0, 1)), goal="max accuracy", search="random", schedule="full", seed=0)

    def objective(params, run):
        for _ in run:
            run.report(float((outputs[run.id].argmax(1) == y).mean()), {"outputs": outputs[run.id]})

    study.run(objective, trials=3)
    study.enqueue(study.trials[1].params, tags=["rerace"], again=True)
    study.run(objective, trials=4)
    plain = optimism(outputs, y, "accuracy", kind="classification", winner=study.best.id)
    shares, found = dict(plain.wins), worth(study, Classes().data({}), Classes())
    whose = study.best.id if study.best.id in (1, 3) else 1
    assert shares[1] > 0
    assert shares[3] > 0
    assert dict(found.wins) == pytest.approx({0: shares[0], 2: shares[2], whose: shares[1] + shares[3]}, abs=1e-3)
    assert found.corrected == plain.corrected


def test_without_outputs_nothing_is_said():
    with Study(Space(x=Float(0, 1)), goal="max accuracy", search="random") as study:
        study.run(lambda params: params["x"], trials=3)
        assert worth(study, Classes().data({}), Classes()) is None
        assert told(None, study.trials) == []
        assert study.records("winner") == []


@pytest.mark.parametrize("task", [Labels(), Rows()])
def test_the_loss_is_the_tasks_own(task):
    """Several labels an example: the interval is around what the run reported, not around a softmax or a squared error."""
    run = Run(task, {"lr": 0.01}, steps=1, seed=0)
    (point,) = run
    data = run.data
    found = interval(goal_metric(task, {}, data, run.outputs), run.outputs, data.valid.targets.numpy(), kind=data.kind)
    assert found.value == pytest.approx(point.value, rel=1e-5)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("seed", range(2))
def test_the_loss_of_each_is_known_where_the_whole_is_their_mean(seed):
    draw = np.random.default_rng(seed)
    o, t = draw.normal(size=(20, 3)).astype("float32"), draw.integers(0, 2, (20, 3)).astype("float32")
    mean = loss_metric(nn.BCEWithLogitsLoss(), o, t)
    each = nn.BCEWithLogitsLoss(reduction="none")(torch.from_numpy(o), torch.from_numpy(t)).mean(1).numpy()
    assert mean.each(o, t) == pytest.approx(each, rel=1e-5)
    assert loss_metric(Rows().loss({}), o, t).each is None
    assert loss_metric(nn.CrossEntropyLoss(), draw.normal(size=(9, 5, 4)), draw.integers(0, 5, (9, 4))).each is None


def test_a_trial_that_was_better_earlier_is_told_of():
    curve = (Point(1, 0.5), Point(2, 0.1), Point(3, 0.3))
    trial = Trial(0, {}, State.DONE, curve, 0.3)
    trials = Trials([trial], space=Space(), steps=3)
    assert passed(trial, trials, 0.05).startswith("trial 0 was better at epoch 2: loss 0.1.")
    assert passed(trial, trials, 0.15) == ""
    assert (
        passed(Trial(0, {}, State.DONE, curve, 0.1), trials, 0.05) == ""
    )  # the value is that of its best epoch already


@pytest.mark.parametrize(("limit", "able"), [(5, {1, 2}), (0, {0, 1, 2})])
def test_the_model_that_goes_on_keeps_the_bounds(tmp_path, limit, able):
    """The most accurate trial breaks one; when all do it is chosen as if there were none."""
    task = Classes()
    job = Job(task, runs=tmp_path)
    data = task.data({})
    y = data.valid.targets.numpy()
    outputs = {i: 4.0 * np.eye(2)[np.where(np.arange(VALID) < wrong, 1 - y, y)] for i, wrong in enumerate((0, 20, 30))}
    with Study(task.space, goal=["max accuracy", f"ms <= {limit}"], search="random", schedule="full", seed=0) as study:

        def objective(params, run):
            for step in run:
                score = float((outputs[run.id].argmax(1) == y).mean())
                run.report(score, {"outputs": outputs[run.id], "step": step}, ms=9.0 if run.id == 0 else 4.0)

        study.run(objective, trials=3)
        block, chosen = squeeze(job, study, data)
        assert {i for i, _, _ in chosen.members} <= able
        assert block.data["single"] == min(able) == study.best.id
