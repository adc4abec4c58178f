"""Rule, workers and the rule's options as hyperparameters of a study."""

import numpy as np
import pytest
import torch
from lessons import PARAMS, Blobs, Normed

from whet.distributed.together import Together, rule_in
from whet.errors import TaskError, UsageError
from whet.train.checkpoint import pack, unpack
from whet.train.early import Early
from whet.train.run import Run
from whet.tune.schedule.asha import Asha
from whet.tune.space import Choice, Float, Int, Space
from whet.tune.study import Study
from whet.tune.trial import State
from whet.tune.worker import rebuild, train_task

SPACE = Space(
    lr=Float(0.02, 0.3, log=True),
    workers=Int(1, 8, log=True),
    rule=Choice({"sync": None, "finite + async": None, "dc-asgd": Space(lambda_=Float(0.1, 4.0, log=True)), "bounded": Space(s=Int(0, 3))}),
)  # fmt: skip
TOGETHER = {**PARAMS, "optimizer": "momentum", "lr": 0.05, "rule": "dc-asgd", "rule.lambda_": 1.25, "workers": 3}


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"lr": 1.0}, ""),
        ({"rule": "sync"}, ""),
        ({"workers": 4}, ""),
        ({"rule": "finite + dc-asgd(lambda=1)", "workers": 4}, "finite + dc-asgd(lambda=1)"),
        ({"rule": "elastic", "rule.alpha": 0.123456789, "rule.every": 5, "workers": 2}, "elastic(alpha=0.123456789, every=5)"),
    ],
)  # fmt: skip
def test_a_configuration_names_its_rule(params, text):
    assert rule_in(params) == text


def test_what_it_cannot_name_is_refused_in_one_line():
    with pytest.raises(TaskError, match=r"rule: 'finite \+ async' cannot take s from its branch"):
        rule_in({"rule": "finite + async", "rule.s": 1, "workers": 2})
    with pytest.raises(UsageError, match=r"no rule 'asink'\. Did you mean 'async'\?"):
        Together(Blobs(), {**PARAMS, "rule": "asink", "workers": 2}, steps=1)
    for workers in (0, 2.5, "many", True):
        with pytest.raises((TaskError, UsageError), match="workers: must be"):
            Together(Blobs(), {**PARAMS, "rule": "async", "workers": workers}, steps=1)


def test_of_one_worker_it_is_the_plain_run():
    params = {**TOGETHER, "workers": 1}
    assert [p.value for p in Together(Normed(), params, steps=3)] == [p.value for p in Run(Normed(), params, steps=3)]


def test_paused_and_resumed_it_takes_the_same_steps_bit_for_bit():
    whole, first = Together(Normed(), TOGETHER, steps=4, seed=2), Together(Normed(), TOGETHER, steps=4, seed=2)
    points = list(whole)
    begun = [next(iter(first)), next(iter(first))]
    second = Together(Normed(), TOGETHER, steps=4, seed=2, resume=unpack(pack(first.state())))
    assert begun + list(second) == points
    for a, b in zip(whole.state()["model"].values(), second.state()["model"].values(), strict=True):
        assert torch.equal(a, b)
    seconds = [p.metrics["seconds"] for p in points]
    assert seconds == sorted(seconds)
    assert all(p.cost == 0 for p in points)


def test_stopped_early_it_has_the_model_of_its_best_point():
    early = Early(Together(Normed(), {**TOGETHER, "lr": 0.4}, steps=12), "patience 2")
    points = list(early)
    assert early.why
    assert len(points) < 12
    assert early.run.evaluate()["accuracy"] == early.best.value == max(p.value for p in points)


def test_a_study_over_rules_pauses_resumes_and_rebuilds_its_trials():
    task = Blobs()
    task.space = SPACE
    study = Study(SPACE, goal="max accuracy", search="random", schedule=Asha(factor=2, first=1), steps=4, seed=1)
    states = {}

    def objective(params, run):
        report = run.report

        def seen(value, state, **more):
            states[run.id, int(state["step"])] = state
            return report(value, state, **more)

        run.report = seen
        return train_task(task, params, run)

    study.run(objective, trials=8)
    assert {t.state for t in study.trials} <= {State.DONE, State.PAUSED, State.STOPPED}
    assert len({t.params["rule"] for t in study.trials}) >= 3
    done = [t for t in study.trials if t.state is State.DONE]
    assert done
    for trial in done:
        assert [p.step for p in trial.curve] == [1, 2, 3, 4]
        model, outputs = rebuild(task, trial, states[trial.id, 4], 4)
        with torch.no_grad():
            assert np.allclose(model(task.data({}).valid.inputs).numpy(), outputs, atol=1e-5)
        whole = list(Together(task, trial.params, steps=4, seed=_seed(task, trial)))
        assert [p.value for p in whole] == [p.value for p in trial.curve]
    assert study.best.value > 0.8


def _seed(task, trial):
    from whet.seed import key

    return key(task.seed, trial.id, "train")
