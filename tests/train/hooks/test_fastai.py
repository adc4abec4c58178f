"""The hook for fastai's Learner, with real learners."""

import doctest
import importlib

import pytest
import torch
from torch import nn

import whet
from whet.errors import UsageError
from whet.tune.schedule.population import Population

pytestmark = pytest.mark.filterwarnings("ignore")  # of other frameworks


@pytest.fixture(scope="module")
def fa():
    return importlib.import_module("whet.train.hooks.fastai")


def rows(count: int, seed: int, *, noisy: bool = False) -> list[tuple]:
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return (Noisy if noisy else list)(zip(x, x.sum(1, keepdim=True), strict=True))


class Noisy(list):
    """Examples whose reading draws random numbers."""

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x + 0.1 * torch.randn(4), y


def spread(out, y):
    return (out - y).abs().max()


def loss(out, y):
    """A loss of fastai's own kind of tensor, as some of its losses give."""
    from fastai.torch_core import TensorBase

    return TensorBase(nn.functional.mse_loss(out, y))


def halve(callback):
    for group in callback.opt.hypers if callback.opt else ():  # not yet when it only validates
        group["lr"] /= 2


def learner(*cbs, train=None, torch_loader=False, wrapped=False, halved=False, folder=None):
    from fastai.basics import Callback, DataLoader, DataLoaders, Learner, OptimWrapper
    from fastai.callback.progress import ProgressCallback
    from fastai.callback.schedule import LRFinder  # noqa: F401  # gives learners fit_one_cycle and lr_find
    from fastai.torch_core import set_seed

    set_seed(0)  # Python's too: fastai's loaders draw from it
    train = train if train is not None else rows(40, 1, noisy=True)
    if torch_loader:
        loader = torch.utils.data.DataLoader(train, 8, shuffle=True, generator=torch.Generator().manual_seed(5))
    else:
        loader = DataLoader(train, bs=8, shuffle=True)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
    more = {"opt_func": lambda params, **kw: OptimWrapper(params, torch.optim.AdamW, **kw)} if wrapped else {}
    dls = DataLoaders(loader, DataLoader(rows(16, 2), bs=8))
    made = Learner(dls, net, loss, metrics=spread, cbs=list(cbs), path=folder, **more)
    if halved:  # once an epoch
        made.add_cb(Callback(after_epoch=halve))
    made.logger = lambda row: None
    return made.remove_cb(ProgressCallback)


def study(goal="min valid_loss", **more):
    space = whet.Space(lr=whet.Float(1e-3, 0.1, log=True, live=True))
    return whet.Study(space, goal=goal, seed=0, **more)


def objective_of(fa, kept=None, fit="fit_one_cycle", **settings):
    """Return an objective; what it trained goes into `kept`: per call the trial, its steps before, and the learner."""

    def objective(params, run):
        hook = fa.Hook(run)
        made, before = learner(hook, **settings), run.trial.step
        made.validate()  # is no step
        getattr(made, fit)(run.steps, params["lr"])
        if kept is not None:
            kept.append((run.id, before, made))
        return hook.value

    return objective


def curve(trial) -> list[tuple]:
    return [(p.step, p.value, p.metrics["spread"], p.metrics["train_loss"]) for p in trial.curve]


@pytest.mark.parametrize(
    "settings",
    [{}, {"torch_loader": True, "wrapped": True}, {"fit": "fit", "halved": True}],
    ids=["one cycle", "of torch", "halved rate"],
)
def test_a_trial_that_was_paused_goes_on_bit_by_bit(fa, settings):
    kept, last = [], []
    paused = study(schedule="asha", steps=4).run(objective_of(fa, kept, **settings), trials=3)
    number, made = next((i, made) for i, before, made in kept if before)
    trial = paused.trials[number]
    whole = study(schedule="full", steps=4)
    whole.enqueue(trial.params)
    whole.run(objective_of(fa, last, **settings), trials=1)
    assert trial.step == 4
    assert curve(trial) == curve(whole.trials[0])
    other = last[0][2]
    assert (made.epoch, made.train_iter, made.pct_train) == (other.epoch, other.train_iter, other.pct_train)
    for a, b in zip(made.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert [dict(h) for h in made.opt.hypers] == [dict(h) for h in other.opt.hypers]


def test_a_verdict_ends_the_training_at_its_step(fa):
    kept = []
    stopped = study(schedule="asha", steps=4).run(objective_of(fa, kept), trials=3)
    trained = sum(made.train_iter // 5 - before for _, before, made in kept)
    assert trained == stopped.spent.steps < 12


def test_alone_it_stops_like_fastais_own_early_stopping_and_brings_the_best_weights_back(fa, tmp_path):
    from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback

    hook = fa.Hook(goal="min valid_loss", stop="patience 2")
    ours = learner(hook)
    ours.fit(20, 0.1)
    assert 3 <= len(hook.points) == ours.train_iter // 5 < 20
    trained = len(hook.points)
    assert ours.validate()[0] == hook.value == hook.best.value
    assert len(hook.points) == trained  # the validation afterwards was no step
    assert hook.why

    beside = fa.Hook(goal="min valid_loss")  # a hook that only looks on
    theirs = learner(beside, EarlyStoppingCallback(patience=2), SaveModelCallback(), folder=tmp_path)
    theirs.fit(20, 0.1)
    assert len(beside.points) == len(hook.points)
    assert theirs.validate()[0] == beside.value == hook.value


def test_where_the_learner_loads_its_best_weights_the_other_goals_are_theirs(fa, tmp_path):
    from fastai.callback.tracker import SaveModelCallback

    def objective(params, run):
        hook = fa.Hook(run)
        learner(hook, SaveModelCallback(), folder=tmp_path).fit(run.steps, 0.1)
        reported.extend(run.curve)
        return hook.value

    reported = []
    made = study(["min valid_loss", "max spread"], schedule="full", steps=8).run(objective, trials=1)
    best = min(reported, key=lambda p: p.value)
    assert best is not reported[-1]
    (only,) = made.front
    assert (only.value, only.curve[-1].metrics) == (best.value, best.metrics)


def test_a_metric_that_is_missing_is_refused_with_those_there_are(fa):
    made = learner(fa.Hook(goal="min valid_los"))
    with pytest.raises(UsageError, match="no valid_los, got spread, train_loss, valid_loss") as e:
        made.fit(2)
    assert "\n" not in str(e.value)
    assert made.train_iter == 5


def test_what_cannot_be_followed_is_refused(fa, monkeypatch):
    made = learner(fa.Hook(goal="min valid_loss"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="in one process, got 2"):
        made.fit(1)
    monkeypatch.delenv("WORLD_SIZE")
    made.fit(1)
    with pytest.raises(UsageError, match="was used for a training already"):
        made.fit(1)
    made = learner(fa.Hook(goal="min valid_loss"))
    made.remove_cb(made.recorder)
    with pytest.raises(UsageError, match="Recorder has, got none"):
        made.fit(1)


def test_other_metrics_are_goals(fa):
    goals = ["min valid_loss", "spread <= 100"]
    found = study(goals, schedule="full", steps=2).run(objective_of(fa), trials=1)
    assert [p.step for p in found.best.curve] == [1, 2]


def test_a_loss_that_is_no_number_fails_the_trial(fa):
    kept = []
    bad = [(torch.zeros(4), torch.full((1,), float("nan")))] * 8
    found = study(schedule="full", steps=4)
    with pytest.raises(whet.WhetError, match="valid_loss is nan at step 1"):
        found.run(objective_of(fa, kept, train=bad), trials=1)
    assert found.trials[0].state is whet.State.FAILED
    assert kept[0][2].train_iter == 1


def test_a_study_that_was_cut_goes_on(fa):
    kept, last = [], []
    cut = study(schedule="full", steps=4).run(objective_of(fa, kept), trials=1, budget="2 steps")
    assert cut.trials[0].step == 2
    cut.run(objective_of(fa, kept), trials=1, budget="9 steps")
    whole = study(schedule="full", steps=4).run(objective_of(fa, last), trials=1)
    assert [made.train_iter for *_, made in kept] == [10, 20]
    assert curve(cut.trials[0]) == curve(whole.trials[0])


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_child_goes_on_from_its_parents_weights_with_its_own_rate(fa, wrapped):
    rates = []

    def objective(params, run):
        hook = fa.Hook(run)
        made = learner(hook, wrapped=wrapped)
        made.fit(run.steps, params["lr"])
        rates.append((params["lr"], {group["lr"] for group in made.opt.hypers}))
        return hook.value

    found = study(schedule=Population(size=4), steps=4).run(objective, budget="16 steps")
    assert any(trial.parent is not None for trial in found.trials)
    assert all(group == {lr} for lr, group in rates)


def test_where_all_steps_are_done_nothing_is_trained(fa):
    made = []

    def objective(params, run):
        hook = fa.Hook(run)
        made.append(learner(hook))
        made[-1].fit(run.steps, params["lr"])
        if len(made) == 1:  # all is reported, and the process ends before the study is told
            raise KeyboardInterrupt
        return hook.value

    cut = study(schedule="full", steps=2)
    with pytest.raises(KeyboardInterrupt):
        cut.run(objective, trials=1)
    cut.run(objective, trials=1)
    first, again = made
    assert again.recorder.losses == []
    assert cut.best.value == cut.best.curve[-1].value
    for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_search_for_the_rate_is_no_training(fa):
    hook = fa.Hook(goal="min valid_loss")
    made = learner(hook)
    made.lr_find(num_it=10, show_plot=False)
    assert not hook.points
    made.fit(2)
    assert len(hook.points) == 2


def test_the_example_runs(fa):
    found = doctest.testmod(fa)
    assert found.attempted > 5
    assert found.failed == 0
