"""The hook for the Trainer of transformers, with real trainers."""

import doctest
import gc
import importlib

import pytest
import torch
from torch import nn

import whet
from whet.errors import UsageError
from whet.tune.schedule.population import Population

pytestmark = pytest.mark.filterwarnings("ignore")  # of other frameworks


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))

    def forward(self, x=None, labels=None):
        out = self.layers(x).squeeze(-1)
        return {"loss": nn.functional.mse_loss(out, labels), "logits": out}


def rows(count: int, seed: int) -> list[dict]:
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return [{"x": a, "labels": a.sum()} for a in x]


class Noisy(torch.utils.data.Dataset):
    """Examples whose reading draws random numbers."""

    def __init__(self) -> None:
        self.rows = rows(40, 1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict:
        return self.rows[i] | {"x": self.rows[i]["x"] + 0.1 * torch.randn(4)}


@pytest.fixture(scope="module")
def hf():
    module = importlib.import_module("whet.train.hooks.huggingface")
    importlib.import_module("transformers").Trainer  # imports what it stands on
    gc.freeze()  # every training collects, which takes longer here than the training
    yield module
    gc.unfreeze()


def spread(outcome) -> dict:
    return {"spread": float(abs(outcome.predictions - outcome.label_ids).max())}


def trainer(folder, hook, epochs, *, lr=0.05, train=None, valid=None, more=(), **settings):
    import transformers

    given = {"eval_strategy": "epoch", "save_strategy": "no", "lr_scheduler_type": "cosine"} | settings
    args = transformers.TrainingArguments(
        str(folder), num_train_epochs=epochs, learning_rate=lr, per_device_train_batch_size=8, report_to="none",
        disable_tqdm=True, logging_strategy="no", use_cpu=True, **given,
    )  # fmt: skip
    transformers.set_seed(0)
    return transformers.Trainer(
        Net(), args, train_dataset=train or Noisy(), eval_dataset=valid or rows(16, 2), callbacks=[*more, hook],
        compute_metrics=spread,
    )  # fmt: skip


def study(goal="min eval_loss", **more):
    space = whet.Space(lr=whet.Float(1e-3, 0.3, log=True, live=True))
    return whet.Study(space, goal=goal, seed=0, **more)


def objective_of(hf, folder, kept=None, **settings):
    """Return an objective; what it trained goes into `kept`: per call the trial, the steps trained, and the trainer."""

    def objective(params, run):
        hook = hf.Hook(run)
        made = trainer(folder, hook, run.steps, lr=params["lr"], **settings)
        before = run.trial.step
        made.train()
        if kept is not None:
            kept.append((run.id, before, made))
        return hook.value

    return objective


def curve(trial) -> list[tuple]:
    return [(p.step, p.value, p.metrics["eval_spread"], p.metrics["epoch"]) for p in trial.curve]


AMID = {"eval_strategy": "steps", "eval_steps": 3, "max_steps": 12}  # of an epoch: it has 5 steps
DRAWN = {"accelerator_config": {"use_seedable_sampler": False}}  # the order of the examples is, by the common generator
PLATEAU = {
    "lr_scheduler_type": "reduce_lr_on_plateau",
    "metric_for_best_model": "loss",
    "lr_scheduler_kwargs": {"patience": 0, "threshold": 0.9},
}


@pytest.mark.parametrize(
    "settings",
    [{}, DRAWN | {"gradient_accumulation_steps": 2}, DRAWN | AMID | PLATEAU | {"train": rows(40, 1)}],
    ids=["epochs", "accumulation", "amid an epoch"],
)
def test_a_trial_that_was_paused_goes_on_bit_by_bit(hf, tmp_path, settings):
    kept, last = [], []
    paused = study(schedule="asha", steps=4).run(objective_of(hf, tmp_path, kept, **settings), trials=3)
    number, made = next((i, made) for i, before, made in kept if before)
    trial = paused.trials[number]
    whole = study(schedule="full", steps=4)
    whole.enqueue(trial.params)
    whole.run(objective_of(hf, tmp_path, last, **settings), trials=1)
    assert trial.step == 4
    assert curve(trial) == curve(whole.trials[0])
    other = last[0][2]
    assert (made.state.global_step, made.state.epoch) == (other.state.global_step, other.state.epoch)
    for a, b in zip(made.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_verdict_ends_the_training_at_its_step(hf, tmp_path):
    kept = []
    stopped = study(schedule="asha", steps=4).run(objective_of(hf, tmp_path, kept), trials=3)
    trained = sum(made.state.global_step // 5 - before for _, before, made in kept)
    assert trained == stopped.spent.steps < 12


def test_alone_it_stops_like_the_trainers_own_early_stopping_and_brings_the_best_weights_back(hf, tmp_path):
    import transformers

    hook = hf.Hook(goal="min eval_loss", stop="patience 2")
    ours = trainer(tmp_path, hook, 12, lr=0.2)
    ours.train()
    steps = ours.state.global_step
    assert 3 * 5 <= steps < 12 * 5
    assert ours.evaluate()["eval_loss"] == hook.value == hook.best.value
    assert len(hook.points) == steps // 5  # the evaluation afterwards was no step
    assert hook.why

    beside = hf.Hook(goal="min eval_loss")  # a hook that only looks on
    settings = {"load_best_model_at_end": True, "save_strategy": "epoch", "metric_for_best_model": "loss"}
    own = transformers.EarlyStoppingCallback(early_stopping_patience=2)
    theirs = trainer(tmp_path, beside, 12, lr=0.2, more=[own], **settings)
    theirs.train()
    assert theirs.state.global_step == steps
    assert theirs.evaluate()["eval_loss"] == beside.value == hook.value


def test_where_the_trainer_loads_its_best_weights_the_other_goals_are_theirs(hf, tmp_path):
    settings = {"load_best_model_at_end": True, "save_strategy": "epoch", "metric_for_best_model": "loss"}

    def objective(params, run):
        hook = hf.Hook(run)
        trainer(tmp_path, hook, run.steps, lr=0.2, lr_scheduler_type="constant", **settings).train()
        reported.extend(run.curve)
        return hook.value

    reported = []
    made = study(["min eval_loss", "max eval_spread"], schedule="full", steps=6).run(objective, trials=1)
    best = min(reported, key=lambda p: p.value)
    assert best is not reported[-1]
    (only,) = made.front
    assert (only.value, only.curve[-1].metrics) == (best.value, best.metrics)


def test_a_metric_that_is_missing_is_refused_with_those_there_are(hf, tmp_path):
    hook = hf.Hook(goal="min eval_los")
    made = trainer(tmp_path, hook, 2)
    with pytest.raises(UsageError, match=r"no eval_los, got .*eval_loss.*eval_spread") as e:
        made.train()
    assert "\n" not in str(e.value)
    assert made.state.global_step == 5


def test_a_trial_that_could_not_go_on_amid_an_epoch_is_refused(hf, tmp_path):
    settings = {"gradient_accumulation_steps": 2, "eval_strategy": "steps", "eval_steps": 2}  # an epoch has 5 batches
    with pytest.raises(whet.WhetError, match=r"5 batches is no whole number of 2 .* save=False"):
        study(schedule="full", steps=4).run(objective_of(hf, tmp_path, **settings), trials=1)
    alone = trainer(tmp_path, hf.Hook(goal="min eval_loss"), 2, **settings)
    assert alone.train().global_step == 6


def test_one_value_of_several_evaluation_sets_and_others_as_goals(hf, tmp_path):
    goals = ["min eval_far_loss", "eval_near_spread <= 100"]
    sets = {"near": rows(16, 2), "far": rows(16, 3)}
    found = study(goals, schedule="full", steps=2).run(
        objective_of(hf, tmp_path, valid=sets, eval_on_start=True), trials=1
    )
    assert [p.step for p in found.best.curve] == [1, 2]
    assert {"eval_near_loss", "eval_near_spread", "eval_far_spread"} <= set(found.best.curve[-1].metrics)


def test_a_loss_that_is_no_number_fails_the_trial(hf, tmp_path):
    kept = []
    bad = [{"x": torch.zeros(4), "labels": torch.tensor(float("nan"))}] * 8
    found = study(schedule="full", steps=4)
    with pytest.raises(whet.WhetError, match="eval_loss is nan at step 1"):
        found.run(objective_of(hf, tmp_path, kept, train=bad), trials=1)
    assert found.trials[0].state is whet.State.FAILED
    assert kept[0][2].state.global_step == 1


def test_a_study_that_was_cut_goes_on(hf, tmp_path):
    kept, last = [], []
    cut = study(schedule="full", steps=4).run(objective_of(hf, tmp_path, kept), trials=1, budget="2 steps")
    assert cut.trials[0].step == 2
    cut.run(objective_of(hf, tmp_path, kept), trials=1, budget="9 steps")
    whole = study(schedule="full", steps=4).run(objective_of(hf, tmp_path, last), trials=1)
    assert [made.state.global_step for *_, made in kept] == [10, 20]
    assert curve(cut.trials[0]) == curve(whole.trials[0])


def test_a_child_goes_on_from_its_parents_weights_with_its_own_rate(hf, tmp_path):
    rates = []

    def objective(params, run):
        hook = hf.Hook(run)
        made = trainer(tmp_path, hook, run.steps, lr=params["lr"], lr_scheduler_type="constant")
        made.train()
        rates.append((params["lr"], {group["lr"] for group in made.optimizer.param_groups}))
        return hook.value

    found = study(schedule=Population(size=4), steps=4).run(objective, budget="16 steps")
    assert any(trial.parent is not None for trial in found.trials)
    assert all(group == {lr} for lr, group in rates)


def test_where_all_steps_are_done_nothing_is_trained(hf, tmp_path):
    made = []

    def objective(params, run):
        hook = hf.Hook(run)
        made.append(trainer(tmp_path, hook, run.steps, lr=params["lr"]))
        made[-1].train()
        if len(made) == 1:  # all is reported, and the process ends before the study is told
            raise KeyboardInterrupt
        return hook.value

    cut = study(schedule="full", steps=2)
    with pytest.raises(KeyboardInterrupt):
        cut.run(objective, trials=1)
    cut.run(objective, trials=1)
    first, again = made
    assert [m.state.global_step for m in made] == [10, 10]
    assert again.state.log_history[0]["train_runtime"] is not None  # no step, no evaluation
    assert cut.best.value == cut.best.curve[-1].value
    for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_example_runs(hf):
    found = doctest.testmod(hf)
    assert found.attempted > 5
    assert found.failed == 0
