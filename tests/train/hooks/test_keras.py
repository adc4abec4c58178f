"""The hook for Keras 3, in `model.fit` itself, on the backend torch."""

import ast
import doctest
import importlib
import inspect
import itertools
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import whet
from whet.errors import StudyError, UsageError
from whet.tune.schedule.asha import Asha
from whet.tune.schedule.population import Population

pytestmark = pytest.mark.filterwarnings("ignore")
SPACE = whet.Space(lr=whet.Float(1e-3, 0.1, log=True, live=True))


@pytest.fixture(scope="module")
def hooks():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return importlib.import_module("whet.train.hooks.keras")


def training(lr, *, kind="plateau", seed=0):
    """Return a compiled model of Keras with the callbacks it trains with."""
    import keras

    keras.config.set_dtype_policy(kind if kind == "bfloat16" else "float32")
    keras.utils.set_random_seed(seed)
    draw = np.random.default_rng(1)
    x = draw.normal(size=(48, 6)).astype("float32")
    y = x[:, :1] + draw.normal(size=(48, 1)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),  # draws from the backend's own generator
            keras.layers.GaussianNoise(0.1),  # draws from a generator of the layer's
            keras.layers.Dense(1),
        ]
    )
    keras.config.set_dtype_policy("float32")
    plateau, callbacks, rate = None, [], lr
    if kind == "plateau":
        plateau = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=0.3)
        callbacks = [plateau]
    if kind == "by epoch":
        callbacks = [keras.callbacks.LearningRateScheduler(lambda epoch, lr: lr * (0.9 if epoch % 2 else 0.8))]
    if kind == "schedule":
        rate = keras.optimizers.schedules.ExponentialDecay(lr, 4, 0.8)
    sgd = kind in ("schedule", "by epoch")
    optimizer = keras.optimizers.SGD(rate, momentum=0.9) if sgd else keras.optimizers.Adam(rate)
    model.compile(optimizer, "mse", metrics=["mae"])
    parts = SimpleNamespace(model=model, plateau=plateau, optimizer=optimizer, valid=(x[24:], y[24:]))

    def fit(hook=None, *, epochs=4, more=(), **options):
        given = [*callbacks, *more, *([] if hook is None else [hook])]
        options = {"validation_data": parts.valid} | options
        model.evaluate(*parts.valid, verbose=0)
        parts.history = model.fit(x[:24], y[:24], batch_size=6, epochs=epochs, verbose=0, callbacks=given, **options)
        parts.seen = parts.history.history.get("val_loss", [])
        return parts

    parts.fit = fit
    return parts


def same(a, b):
    from keras.ops import convert_to_numpy as as_numpy

    return all(
        np.array_equal(as_numpy(v), as_numpy(w)) for v, w in zip(a.model.variables, b.model.variables, strict=True)
    )


@pytest.mark.parametrize("kind", ["plateau", "by epoch", "schedule", "bfloat16"])
def test_a_paused_trial_goes_on_as_one_that_was_never_paused(hooks, kind):
    done, stretches = {}, []

    def objective(params, run):
        parts = training(params["lr"], kind=kind)
        hook = hooks.Hook(run, plateau=parts.plateau)
        parts.fit(hook)
        stretches.append(len(parts.history.epoch))
        assert parts.history.epoch[-1] + 1 == len(hook.points) == run.last, "trained no more than was asked"
        done[run.id] = parts
        return hook.value

    study = whet.Study(SPACE, goal="min val_loss", search="random", schedule=Asha(2), steps=4, seed=0)
    for steps in range(1, 9):  # a new model for every epoch
        study.run(objective, trials=3, budget=f"{steps} steps")
    assert stretches == [1] * study.spent.steps
    assert len(stretches) > 4
    assert max(len(t.curve) for t in study.trials) == 4 > min(len(t.curve) for t in study.trials)
    for trial in study.trials:
        plain = training(trial.params["lr"], kind=kind).fit(epochs=len(trial.curve))
        assert [p.value for p in trial.curve] == plain.seen
        ours = done[trial.id]
        assert same(plain, ours)
        assert float(ours.optimizer.learning_rate) == float(plain.optimizer.learning_rate)


def test_a_child_goes_on_with_its_own_rate(hooks):
    import keras

    def objective(params, run):
        parts = training(params["lr"], kind="by epoch")
        hook, rates = hooks.Hook(run), {}
        look = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: rates.update({epoch: float(parts.optimizer.learning_rate)})
        )
        parts.fit(hook, more=[look], epochs=3)
        for epoch, rate in rates.items():
            share = math.prod(0.9 if at % 2 else 0.8 for at in range(epoch + 1))
            assert math.isclose(rate, params["lr"] * share, rel_tol=1e-5)
        return hook.value

    study = whet.Study(SPACE, goal="min val_loss", schedule=Population(4, 1), steps=3, seed=0).run(objective, trials=8)
    children = [t for t in study.trials if t.parent is not None]
    assert any(t.params["lr"] != study.trials[t.parent[0]].params["lr"] for t in children)
    assert not any(t.error for t in study.trials)


def test_alone_it_stops_where_kerass_early_stopping_does_and_has_the_same_weights(hooks):
    import keras

    hook = hooks.Hook(goal="min val_loss", stop="patience 3")
    ours = training(0.03, kind="schedule").fit(hook, epochs=60)
    early = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    theirs = training(0.03, kind="schedule").fit(epochs=60, more=[early])
    assert ours.seen == theirs.seen
    assert len(ours.seen) == hook.best.step + 3 < 60
    assert "no improvement" in hook.why
    assert all(map(np.array_equal, ours.model.get_weights(), theirs.model.get_weights()))
    assert hook.value == hook.best.value == min(ours.seen) < ours.seen[-1]
    loss, _ = ours.model.evaluate(*ours.valid, verbose=0, batch_size=6)
    assert math.isclose(loss, hook.value, rel_tol=1e-6)
    with pytest.raises(UsageError, match="Make one for each training"):
        ours.fit(hook)
    assert len(ours.fit(epochs=2).history.epoch) == 2, "another fit begins where it is told to"


def test_where_kerass_early_stopping_brings_the_best_weights_back_the_value_is_theirs(hooks):
    import keras

    def objective(params, run):
        hook = hooks.Hook(run)
        early = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
        ours = training(0.03, kind="schedule").fit(hook, epochs=run.steps, more=[early])
        loss, _ = ours.model.evaluate(*ours.valid, verbose=0, batch_size=6)
        assert math.isclose(loss, hook.value, rel_tol=1e-6)
        assert hook.value == hook.best.value < ours.seen[-1]
        reported.extend(run.curve)
        return hook.value

    reported = []
    study = whet.Study(SPACE, goal=["min val_loss", "max val_mae"], schedule="full", steps=60).run(objective, trials=1)
    (only,) = study.front
    best = min(reported, key=lambda p: p.value)
    assert (only.value, only.curve[-1].metrics) == (best.value, best.metrics)


def test_what_is_logged_is_reported_and_what_is_not_is_named(hooks):
    def objective(params, run):
        hook = hooks.Hook(run, every=2)
        training(params["lr"]).fit(hook, epochs=4, validation_freq=2)
        return hook.value

    study = whet.Study(SPACE, goal=["min val_mae", "val_loss <= 100"], schedule="full", steps=2, seed=0)
    study.run(objective, trials=2)
    assert [len(t.curve) for t in study.trials] == [2, 2]
    assert {"val_loss", "loss", "mae"} <= set(study.best.curve[-1].metrics)
    with pytest.raises(UsageError, match=r"reports no val_loss, got learning_rate, loss, mae\."):
        training(0.1).fit(hooks.Hook(goal="min val_loss"), validation_data=None)


def test_a_loss_that_is_no_number_fails_the_trial_at_once(hooks):
    trained = []

    def objective(params, run):
        hook = hooks.Hook(run)
        parts = training(math.inf).fit(hook)
        trained.append(len(parts.seen))
        return hook.value

    study = whet.Study(SPACE, goal="min val_loss", schedule="full", steps=4, seed=0)
    with pytest.raises(StudyError, match="val_loss is nan at step 1"):
        study.run(objective, trials=1)
    assert trained == [1]


@pytest.mark.parametrize("save", [True, False])
def test_a_search_that_was_cut_goes_on(hooks, save, tmp_path):
    epochs = itertools.count()

    def objective(params, run):
        parts = training(params["lr"])
        hook = hooks.Hook(run, save=save, plateau=parts.plateau)
        parts.fit(hook)
        for _ in parts.history.epoch:
            next(epochs)
        return hook.value

    def study():
        store, whole = f"sqlite:///{tmp_path}/s.db", {"schedule": "full", "search": "random", "steps": 4, "seed": 0}
        return whet.Study(SPACE, goal="min val_loss", store=store, name="s", **whole)

    study().run(objective, budget="6 steps")
    again = study().run(objective, trials=2)
    assert next(epochs) == 8 + (0 if save else 2)
    for trial in again.trials:
        assert [p.value for p in trial.curve] == training(trial.params["lr"]).fit().seen


def test_a_trial_with_nothing_left_to_do_trains_nothing(hooks):
    class Over:
        curve, ended, goals, over, last, steps = [], "", whet.Study(SPACE, goal="min val_loss").goals, True, 4, 4

        def load(self):
            return None

        def __iter__(self):
            return iter(())

        def end(self, why):
            raise AssertionError(why)

    parts, plain = training(0.1), training(0.1)
    assert parts.fit(hooks.Hook(Over())).history.epoch == []
    assert same(parts, plain)


def test_what_it_imports_beside_keras_loads_no_torch(hooks):
    tree = ast.parse(inspect.getsource(hooks))
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert any(name.startswith("whet.train") for name in names)
    assert not any("torch" in ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)))
    code = f"import sys, {', '.join(sorted(names - {'__future__'}))}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_its_example_runs(hooks):
    found = doctest.testmod(hooks)
    assert found.failed == 0 < found.attempted
