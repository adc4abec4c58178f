"""The hook for Ignite, in trainings by Ignite's own engines."""

import doctest
import importlib
import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import whet
from whet.errors import StudyError, UsageError
from whet.tune.schedule.asha import Asha
from whet.tune.schedule.population import Population

pytestmark = pytest.mark.filterwarnings("ignore")
SPACE = whet.Space(lr=whet.Float(1e-3, 0.1, log=True, live=True))


def training(lr, *, kind="torch", seed=0):
    """Return a trainer by Ignite with all it consists of; every validation's loss goes into `seen`."""
    from ignite.engine import DeterministicEngine, Engine, Events, create_supervised_evaluator
    from ignite.handlers import CosineAnnealingScheduler
    from ignite.metrics import Loss, MeanAbsoluteError

    torch.manual_seed(seed)
    x = torch.randn(48, 6, generator=torch.Generator().manual_seed(1))
    y = x[:, :1] + torch.randn(48, 1, generator=torch.Generator().manual_seed(2))
    train, valid = (torch.utils.data.TensorDataset(x[part], y[part]) for part in (slice(24), slice(24, 48)))

    def noisy(rows):  # draws as it is fetched, as an augmentation does
        x, y = torch.utils.data.default_collate(rows)
        return x + 0.1 * torch.randn(x.shape), y

    loader = torch.utils.data.DataLoader(train, 6, shuffle=True, collate_fn=noisy)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)

    def step(engine, batch):
        model.train()
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()

    trainer = (DeterministicEngine if kind == "seeded" else Engine)(step)
    evaluator = create_supervised_evaluator(model, {"loss": Loss(nn.MSELoss()), "mae": MeanAbsoluteError()})
    seen, when = [], Events.EPOCH_STARTED if kind == "early" else Events.EPOCH_COMPLETED
    if kind == "within":
        when = Events.ITERATION_COMPLETED(every=2)

    @trainer.on(when)
    def validate():
        evaluator.run(loader)  # of two runs in a row the last counts
        evaluator.run(torch.utils.data.DataLoader(valid, 24))
        seen.append(evaluator.state.metrics["loss"])

    if kind == "ignite":
        schedule = CosineAnnealingScheduler(optimizer, "lr", lr, lr / 10, 24)
        trainer.add_event_handler(Events.ITERATION_STARTED, schedule)
    else:
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    parts = SimpleNamespace(trainer=trainer, evaluator=evaluator, model=model, optimizer=optimizer, schedule=schedule)
    parts.valid, parts.seen, parts.loader = (x[24:], y[24:]), seen, loader

    def fit(hook=None, epochs=4 if kind == "within" else 8):
        if hook is not None:
            hook.attach(trainer, evaluator, model, optimizer, schedules=schedule)
        if kind != "ignite":  # behind the hook: it must see what this does
            trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: schedule.step())
        evaluator.run(loader)  # not part of the training
        # "long": an epoch is not a whole pass through the loader
        trainer.run(loader, max_epochs=epochs, epoch_length=3 if kind == "long" else None)
        evaluator.run(loader)
        return parts

    parts.fit = fit
    return parts


@pytest.fixture(scope="module")
def hooks():
    return importlib.import_module("whet.train.hooks.ignite")


def same(a, b):
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


@pytest.mark.parametrize("kind", ["torch", "ignite", "seeded", "within", "long"])
def test_a_paused_trial_goes_on_as_one_that_was_never_paused(hooks, kind):
    done, stretches = {}, []

    def objective(params, run):
        hook = hooks.Hook(run)
        at = run.last
        parts = training(params["lr"], kind=kind).fit(hook)
        stretches.append((run.id, at, len(parts.seen)))
        assert len(hook.points) == run.last, "trained no more than was asked"
        done[run.id] = parts
        return hook.value

    study = whet.Study(SPACE, goal="min loss", search="random", schedule=Asha(2), steps=8, seed=0)
    study.run(objective, trials=6)
    assert len(stretches) > len(study.trials), "some were paused and resumed"
    assert max(len(t.curve) for t in study.trials) == 8 > min(len(t.curve) for t in study.trials)
    for trial in study.trials:
        plain = training(trial.params["lr"], kind=kind).fit()
        assert [p.value for p in trial.curve] == plain.seen[: len(trial.curve)]
        if len(trial.curve) == 8:
            assert same(plain.model, done[trial.id].model)
            assert done[trial.id].trainer.state.iteration == plain.trainer.state.iteration
            assert done[trial.id].trainer.state.epoch == plain.trainer.state.epoch
            assert done[trial.id].optimizer.param_groups[0]["lr"] == plain.optimizer.param_groups[0]["lr"]
    assert sum(n for *_, n in stretches) == study.spent.steps, "no step was trained twice, none beyond the verdict"


def test_a_child_goes_on_with_its_own_rate(hooks):
    loaded = {}

    def objective(params, run):
        parts = training(params["lr"], kind="ignite")
        loaded[run.id] = run.load() is not None
        from ignite.engine import Events

        @parts.trainer.on(Events.ITERATION_COMPLETED)
        def look(engine):
            share = 0.55 + 0.45 * math.cos(math.pi * ((engine.state.iteration - 1) % 24) / 24)
            assert math.isclose(parts.optimizer.param_groups[0]["lr"], params["lr"] * share, rel_tol=1e-9)

        hook = hooks.Hook(run)
        parts.fit(hook)
        return hook.value

    study = whet.Study(SPACE, goal="min loss", schedule=Population(4, 2), steps=8, seed=0).run(objective, trials=8)
    children = [t for t in study.trials if t.parent is not None]
    assert any(t.params["lr"] != study.trials[t.parent[0]].params["lr"] for t in children)
    assert all(loaded[t.id] for t in children)


def test_alone_it_stops_where_ignites_early_stopping_does_and_has_the_best_weights(hooks):
    from ignite.engine import Events
    from ignite.handlers import EarlyStopping

    hook = hooks.Hook(goal="min loss", stop="patience 3")
    ours, theirs = training(0.03).fit(hook, 60), training(0.03)
    stopper = EarlyStopping(3, lambda engine: -engine.state.metrics["loss"], theirs.trainer)
    best = {}

    @theirs.trainer.on(Events.EPOCH_COMPLETED)
    def look():
        stopper(theirs.evaluator)
        if theirs.seen[-1] == min(theirs.seen):
            best.update({k: v.clone() for k, v in theirs.model.state_dict().items()})

    theirs.fit(epochs=60)
    assert ours.seen == theirs.seen
    assert all(torch.equal(best[k], v) for k, v in ours.model.state_dict().items())
    assert "no improvement" in hook.why
    assert hook.value == hook.best.value == min(ours.seen) < ours.seen[-1]
    assert len(ours.seen) == hook.best.step + 3 < 60
    with torch.no_grad():
        x, y = ours.valid
        assert math.isclose(nn.functional.mse_loss(ours.model.eval()(x), y).item(), hook.value, rel_tol=1e-6)


def test_what_the_evaluator_has_is_reported_and_what_it_has_not_is_named(hooks):
    def objective(params, run):
        hook = hooks.Hook(run)
        training(params["lr"]).fit(hook, 2)
        return hook.value

    study = whet.Study(SPACE, goal=["min mae", "loss <= 100"], schedule="full", steps=2, seed=0)
    study.run(objective, trials=2)
    assert [set(p.metrics) for p in study.best.curve] == [{"loss"}] * 2
    with pytest.raises(UsageError, match=r"reports no accuracy, got loss, mae"):
        training(0.1).fit(hooks.Hook(goal="max accuracy"))
    with pytest.raises(UsageError, match="ran on EPOCH_STARTED"):
        training(0.1, kind="early").fit(hooks.Hook(goal="min loss"))


def test_a_loss_that_is_no_number_fails_the_trial_at_once(hooks):
    trained = []

    def objective(params, run):
        hook = hooks.Hook(run)
        parts = training(1e20)
        trained.append(parts.seen)
        parts.fit(hook)
        return hook.value

    study = whet.Study(SPACE, goal="min loss", schedule="full", steps=8, seed=0)
    with pytest.raises(StudyError, match="loss is nan at step 1"):
        study.run(objective, trials=1)
    assert study.trials[0].state.name == "FAILED"
    assert len(trained[0]) == 1


@pytest.mark.parametrize("save", [True, False])
def test_a_search_that_was_cut_goes_on(hooks, save, tmp_path):
    epochs = itertools.count()

    def objective(params, run):
        hook = hooks.Hook(run, save=save)
        parts = training(params["lr"])
        try:
            parts.fit(hook)
        finally:
            for _ in parts.seen:
                next(epochs)
        return hook.value

    store, whole = f"sqlite:///{tmp_path}/s.db", {"schedule": "full", "search": "random", "steps": 8, "seed": 0}
    whet.Study(SPACE, goal="min loss", store=store, name="s", **whole).run(objective, budget="11 steps")
    again = whet.Study(SPACE, goal="min loss", store=store, name="s", **whole).run(objective, trials=2)
    assert next(epochs) == 16 + (0 if save else 3)
    for trial in again.trials:
        assert [p.value for p in trial.curve] == training(trial.params["lr"]).fit().seen


def test_its_example_runs(hooks):
    assert doctest.testmod(hooks).failed == 0 < doctest.testmod(hooks).attempted
