"""The hook for Lightning, in trainings by Lightning's own trainer."""

import doctest
import logging
import math
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

import whet
from whet.errors import StudyError, UsageError
from whet.tune.schedule.asha import Asha
from whet.tune.schedule.population import Population

pytestmark = pytest.mark.filterwarnings("ignore")
SPACE = whet.Space(lr=whet.Float(1e-3, 0.1, log=True, live=True))


@pytest.fixture(scope="module")
def pl():
    import lightning.pytorch as pl

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return pl


@pytest.fixture(scope="module")
def hooks(pl):
    from whet.train.hooks import lightning

    return lightning


@pytest.fixture(scope="module")
def make(pl):
    """Return what makes a module whose shuffling, dropout, rates and batch statistics all have a state."""

    class Data(pl.LightningDataModule):
        def setup(self, stage):
            x = torch.randn(48, 6, generator=torch.Generator().manual_seed(1))
            y = x[:, :1] + torch.randn(48, 1, generator=torch.Generator().manual_seed(2))
            self.parts = [torch.utils.data.TensorDataset(x[part], y[part]) for part in (slice(24), slice(24, 48))]

        def train_dataloader(self):
            kind = self.trainer.lightning_module.kind
            own = torch.Generator().manual_seed(3) if kind in ("manual", "within") else None
            return torch.utils.data.DataLoader(self.parts[0], 6, shuffle=True, generator=own)  # 4 batches

        def val_dataloader(self):
            return torch.utils.data.DataLoader(self.parts[1], 24)

    class Net(pl.LightningModule):
        def __init__(self, lr, kind):
            super().__init__()
            torch.manual_seed(0)
            self.lr, self.kind, self.automatic_optimization = lr, kind, kind != "manual"
            self.layers = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))
            self.seen, self.began, self.trained, self.extra = [], None, 0, 0

        def loss(self, batch):
            return nn.functional.mse_loss(self.layers(batch[0]), batch[1])

        def on_train_epoch_start(self):
            self.began = self.began or (self.current_epoch, self.global_step)
            if self.kind not in ("within", "halves"):
                torch.rand(1)  # an epoch that begins with a draw

        def training_step(self, batch):
            loss = self.loss(batch)
            self.trained += 1
            if not self.automatic_optimization:
                for part in self.optimizers():
                    part.zero_grad()
                self.manual_backward(loss)
                for part in self.optimizers():
                    part.step()
            self.log("train_loss", loss, on_epoch=True)
            return loss

        def on_train_epoch_end(self):
            self.extra += 1
            if not self.automatic_optimization:
                for part in self.lr_schedulers():
                    part.step()

        def validation_step(self, batch):
            loss = self.loss(batch)
            self.log_dict(
                {"val_loss": loss * (math.nan if self.kind == "nan" else 1), "size": 2.0, "extra": self.extra}
            )
            if not self.trainer.sanity_checking:
                self.seen.append(float(loss))

        def configure_optimizers(self):
            sgd, rate = torch.optim.SGD, torch.optim.lr_scheduler
            if self.kind == "manual":
                several = [sgd(self.layers[i].parameters(), lr=self.lr, momentum=0.9) for i in (0, 3)]
                return several, [rate.StepLR(part, 2, gamma=0.5) for part in several]
            one = sgd(self.parameters(), lr=self.lr, momentum=0.9)
            if self.kind in ("plateau", "within"):
                schedule = rate.ReduceLROnPlateau(one, patience=0, factor=0.5)
                how = {"monitor": "val_loss", "interval": "epoch" if self.kind == "plateau" else "step"}
                if self.kind == "within":
                    how["frequency"] = 3
                return [one], [{"scheduler": schedule} | how]
            return [one], [rate.StepLR(one, 2, gamma=0.5)]

        def on_save_checkpoint(self, checkpoint):
            checkpoint["extra"] = self.extra

        def on_load_checkpoint(self, checkpoint):
            self.extra = checkpoint["extra"]

    def make(lr, kind="", **more):
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        trainer = pl.Trainer(accelerator="cpu", logger=False, **quiet | HOW.get(kind, {}) | more)
        return trainer, Net(lr, kind), Data()

    return make


HOW = {
    "within": {"val_check_interval": 3},
    "halves": {"val_check_interval": 0.5},
    "rare": {"check_val_every_n_epoch": 2},
    "iterations": {"max_epochs": -1, "max_steps": 16},
}
MORE = [pytest.param(kind, marks=pytest.mark.soak) for kind in ("iterations", "rare")]
EPOCHS = {"halves": 2, "rare": 8}  # what 4 validations are


def study(**more):
    return whet.Study(SPACE, seed=0, **{"goal": "min val_loss", "steps": 4} | more)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("kind", ["", "plateau", "manual", "within", "halves", *MORE])
def test_a_paused_trial_is_bit_for_bit_one_that_was_never_paused(make, hooks, pl, kind):
    ended, trained = {}, []

    def fit(lr, *callbacks, **more):
        watch = pl.callbacks.EarlyStopping("val_loss", patience=9)
        more = {"max_epochs": EPOCHS.get(kind, 4)} | HOW.get(kind, {}) | more
        trainer, module, data = make(lr, kind, callbacks=[*callbacks, watch], **more)
        trainer.fit(module, datamodule=data)
        return trainer, module, watch

    def objective(params, run):
        hook, before = hooks.Hook(run), len(run.curve)
        ended[run.id] = _, module, _ = fit(params["lr"], hook)
        trained.append((run.last - before, module.trained, module.began or (0, 0), before))
        return hook.value

    found = study(search="random", schedule=Asha(2)).run(objective, trials=8)
    assert len(trained) > len(found.trials), "some were paused and went on"
    assert max(trial.step for trial in found.trials) == 4 > min(trial.step for trial in found.trials)
    for trial in found.trials:
        # in the middle of an epoch the study ends, not the trainer
        trainer, module, watch = fit(trial.params["lr"], **{"max_steps": 15} if kind == "within" else {})
        assert module.seen[: trial.step] == [point.value for point in trial.curve]
        if trial.step == 4:
            own = ended[trial.id]
            assert same(own[1], module)
            assert (own[0].global_step, own[0].current_epoch) == (trainer.global_step, trainer.current_epoch)
            assert own[1].extra == module.extra
            assert own[2].state_dict() == watch.state_dict()
    if kind not in ("within", "halves", "rare"):
        updates = 8 if kind == "manual" else 4  # two optimizers
        for steps, batches, began, before in trained:
            assert (batches, began) == (4 * steps, (before, updates * before))


@pytest.mark.parametrize("kind", ["", "within"])
def test_alone_it_stops_where_lightnings_early_stopping_does_and_has_the_best_weights(make, hooks, pl, tmp_path, kind):
    hook = hooks.Hook(goal="min val_loss", stop="patience 2")
    trainer, module, data = make(0.05, kind, max_epochs=40, callbacks=[hook], min_epochs=30)
    trainer.validate(module, datamodule=data, verbose=False)  # not part of the training
    trainer.fit(module, datamodule=data)
    assert trainer.validate(module, datamodule=data, verbose=False)[0]["val_loss"] == hook.value
    theirs = [pl.callbacks.EarlyStopping("val_loss", patience=2)]
    theirs.append(pl.callbacks.ModelCheckpoint(tmp_path, monitor="val_loss"))
    plain, other, data = make(0.05, kind, max_epochs=40, callbacks=theirs, enable_checkpointing=True)
    plain.validate(other, datamodule=data, verbose=False)
    plain.fit(other, datamodule=data)
    assert [point.value for point in hook.points] == other.seen[1:]
    assert hook.value == hook.best.value == float(theirs[1].best_model_score)
    assert (trainer.current_epoch, trainer.global_step) == (plain.current_epoch, plain.global_step)
    other.load_state_dict(torch.load(theirs[1].best_model_path)["state_dict"])
    assert same(module, other)
    assert hook.why.startswith("no improvement")
    with pytest.raises(UsageError, match="was used for a training already"):
        trainer.fit(module, datamodule=data)


def test_a_study_that_was_cut_goes_on_and_trains_nothing_twice(make, hooks, pl):
    """Also where the process ended between the last step and the objective's return: then nothing is left to train."""
    trained = []

    def objective(params, run):
        hook = hooks.Hook(run, stop="target -1")
        trainer, module, data = make(params["lr"], max_epochs=run.steps, callbacks=[hook, *asked])
        trainer.fit(module, datamodule=data)
        trained.append(module.trained)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return hook.value

    def press(trainer, *_):  # Ctrl-C in the third epoch, which is trained to its end
        if trainer.global_step == 9:
            os.kill(os.getpid(), signal.SIGINT)

    asked = [pl.callbacks.LambdaCallback(on_train_batch_start=press)]
    cut, whole = study(schedule="full"), study(schedule="full")
    with pytest.raises(KeyboardInterrupt):
        cut.run(objective, trials=2)
    asked = []
    with pytest.raises(KeyboardInterrupt):
        cut.run(objective, trials=2)
    cut.run(objective, trials=2)
    assert trained == [12, 4, 0, 16]
    whole.run(objective, trials=2)
    assert [t.curve[-1].value for t in cut.trials] == [t.value for t in cut.trials] == [t.value for t in whole.trials]


def test_a_child_goes_on_with_its_own_rate(make, hooks):
    seen = {}

    def objective(params, run):
        hook = hooks.Hook(run)
        trainer, module, data = make(params["lr"], max_epochs=run.steps, callbacks=[hook])
        trainer.fit(module, datamodule=data)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        assert math.isclose(rate, params["lr"] * 0.5 ** (trainer.current_epoch // 2))
        seen[run.id] = module.began
        return hook.value

    found = study(schedule=Population(4, 1)).run(objective, trials=8)
    children = [trial for trial in found.trials if trial.parent is not None and trial.state.name == "DONE"]
    assert any(trial.params["lr"] != found.trials[trial.parent[0]].params["lr"] for trial in children)
    assert all(seen[trial.id][0] >= trial.parent[1] for trial in children), "they began where the parent stood"


def test_metrics_goals_and_failures(make, hooks, pl):
    def objective(params, run):
        hook = hooks.Hook(run)
        trainer, module, data = make(params["lr"], kind, max_epochs=3, callbacks=[hook])
        trainer.fit(module, datamodule=data)
        return hook.value

    kind = ""
    found = study(goal=["min val_loss", "size <= 1", "min train_loss_epoch"], schedule="full").run(objective, trials=1)
    assert {"size", "train_loss_epoch", "extra"} <= set(found.trials[0].curve[0].metrics)
    assert [point.metrics["extra"] for point in found.trials[0].curve[:3]] == [0, 1, 2]
    assert found.records("ended")[0]["why"] == "the training ended by itself after 3 of 4 steps"
    with pytest.raises(StudyError, match=r"the training reports no accuracy, got .*val_loss"):
        study(goal="max accuracy").run(objective, trials=1)
    kind = "nan"
    with pytest.raises(StudyError, match="nan"):
        study().run(objective, trials=1)
    trainer, module, _ = make(0.1, devices=2)
    with pytest.raises(UsageError, match=r"one process, got 2. Use Trainer\(devices=1\)"):
        hooks.Hook(goal="min val_loss").setup(trainer, module, "fit")


@pytest.mark.soak
def test_it_is_also_of_the_package_with_the_former_name():
    code = "import pytorch_lightning as pl; from whet.train.hooks import lightning; print(lightning.Hook.__bases__[0] is pl.Callback)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_examples(hooks):
    assert doctest.testmod(hooks) == (0, 9)
