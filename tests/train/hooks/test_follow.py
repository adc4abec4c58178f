"""The part of a hook that knows no framework, around a plain loop."""

import math
import os
import signal
import time

import numpy as np
import pytest
import torch
from torch import nn

import whet
from whet.errors import StudyError, UsageError
from whet.train.hooks.follow import Follow
from whet.train.hooks.torch_state import Parts
from whet.tune.schedule.asha import Asha
from whet.tune.trial import Point, State, Verdict


class Loop:
    """A training by hand, in the place of a framework: it goes on from 0 whatever the hook did."""

    def __init__(self, lr: float, *, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 3, gamma=0.5)
        self.x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
        self.y = self.x.sum(1, keepdim=True)

    def fit(self, follow: Follow, epochs: int) -> int:
        """Train; return how many epochs were trained."""
        going, done = follow.begin(Parts(self.model, [self.optimizer], [self.schedule])), 0
        while going and done < epochs:
            self.model.train()
            for rows in torch.randperm(64).split(16):
                self.optimizer.zero_grad()
                nn.functional.mse_loss(self.model(self.x[rows]), self.y[rows]).backward()
                self.optimizer.step()
            self.schedule.step()
            done += 1
            going = follow.point({"val_loss": self.loss(), "epoch": done, "note": "text", "table": torch.zeros(2)})
        follow.close()
        return done

    def loss(self) -> torch.Tensor:
        with torch.no_grad():
            return nn.functional.mse_loss(self.model.eval()(self.x), self.y)


def study(**more):
    return whet.Study(whet.Space(lr=whet.Float(1e-3, 0.1, log=True)), goal="min val_loss", seed=0, **more)


def objective(params, run):
    follow = Follow(run, None, None, True)
    Loop(params["lr"]).fit(follow, run.steps)
    return follow.value


def uninterrupted(lr: float, epochs: int) -> list[float]:
    """Return the curve of a training that nothing interrupts, without a hook."""
    follow = Follow(None, "min val_loss", None, True)
    Loop(lr).fit(follow, epochs)
    return [p.value for p in follow.points]


def test_without_a_study_it_changes_nothing():
    """The same training with and without."""
    loop, losses = Loop(0.05), []
    for _ in range(4):
        loop.model.train()
        for rows in torch.randperm(64).split(16):
            loop.optimizer.zero_grad()
            nn.functional.mse_loss(loop.model(loop.x[rows]), loop.y[rows]).backward()
            loop.optimizer.step()
        loop.schedule.step()
        losses.append(float(loop.loss()))
    assert uninterrupted(0.05, 4) == losses


def test_paused_trials_go_on_bit_for_bit():
    made = study(steps=9, schedule=Asha()).run(objective, trials=9)
    pauses = {t.id for t in made.trials if t.state is State.PAUSED}
    promoted = [t for t in made.trials if t.step > 1]
    assert pauses
    assert promoted
    for trial in made.trials:
        assert [p.value for p in trial.curve] == uninterrupted(trial.params["lr"], 9)[: trial.step]
    assert set(made.trials[0].curve[0].metrics) == {"epoch"}  # what is one number


def test_the_verdict_ends_the_training():
    trained = {}

    def counted(params, run):
        follow = Follow(run, None, None, True)
        trained[run.id] = trained.get(run.id, 0) + Loop(params["lr"]).fit(follow, 100)
        return follow.value

    made = study(steps=4, schedule="asha").run(counted, trials=8)
    assert trained == {t.id: t.step for t in made.trials}


def test_an_interrupted_study_goes_on(tmp_path):
    store = f"sqlite:///{tmp_path}/study.db"
    with study(steps=5, schedule="full", store=store, name="cut") as made:
        made.run(objective, budget="3epochs")
        assert [t.step for t in made.trials] == [3]
    with whet.Study.open(store, "cut") as again:
        again.run(objective, trials=1)
        (trial,) = again.trials
        assert [p.value for p in trial.curve] == uninterrupted(trial.params["lr"], 5)
        assert trial.state is State.DONE


def test_patience_puts_the_best_weights_back():
    follow, loop = Follow(None, "min val_loss", "patience 2", True), Loop(0.1)
    loop.fit(follow, 100)
    assert "no improvement" in follow.why
    assert follow.value == follow.best.value == float(loop.loss())
    assert follow.points[-1].step == follow.best.step + 2


def test_patience_within_a_study_survives_a_pause(tmp_path):
    def stopping(params, run):
        follow, loop = Follow(run, None, "patience 2", True), Loop(0.1)
        loop.fit(follow, 100)
        if follow.why:
            assert follow.value == float(loop.loss())
        return follow.value

    full = study(steps=40, schedule="full").run(stopping, trials=1)
    store = f"sqlite:///{tmp_path}/study.db"
    with study(steps=40, schedule="full", store=store, name="cut") as cut:
        for steps in range(1, full.trials[0].step + 1):  # a new training for each step
            cut.run(stopping, budget=f"{steps}epochs")
        cut.run(stopping, trials=1)
        assert cut.trials[0].value == full.trials[0].value
        assert [p.value for p in cut.trials[0].curve] == [p.value for p in full.trials[0].curve]
        assert cut.trials[0].state is State.DONE


def test_a_divergence_fails_the_trial():
    def diverging(params, run):
        follow = Follow(run, None, "diverged 1.5", True)
        for value in (1.0, 2.0, 3.0):
            if not run.curve:
                follow.begin(Parts(nn.Linear(1, 1)))
            if not follow.point({"val_loss": value}):
                break
        follow.close()
        return follow.value

    with pytest.raises(StudyError, match=r"DivergedError: .* more than 1\.5 times the best"):
        study(steps=5, schedule="full").run(diverging, trials=1)
    alone = Follow(None, "min val_loss", "diverged 1.5", True)
    alone.begin(Parts(nn.Linear(1, 1)))
    assert alone.point({"val_loss": 1.0})
    assert not alone.point({"val_loss": math.inf})
    alone.close()  # outside a study it is the caller who reads `why`
    assert "finite" in alone.why


def test_a_value_that_is_not_finite_fails_the_trial():
    def broken(params, run):
        follow = Follow(run, None, None, True)
        follow.begin(Parts(nn.Linear(1, 1)))
        assert not follow.point({"val_loss": math.nan})
        follow.close()
        return follow.value

    with pytest.raises(StudyError, match="NotFinite: val_loss is nan at step 1"):
        study(steps=5).run(broken, trials=1)


def test_a_child_goes_on_with_its_own_rate():
    """What was scheduled keeps its share of the rate it began with."""
    old = Loop(0.1)
    parts = Parts(old.model, [old.optimizer], [old.schedule])
    for _ in range(3):
        old.optimizer.step()
        old.schedule.step()
    assert old.optimizer.param_groups[0]["lr"] == 0.05
    new = Loop(0.02)
    Parts(new.model, [new.optimizer], [new.schedule]).restore(parts.state())
    assert new.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert new.schedule.base_lrs == [0.02]
    for _ in range(3):
        new.optimizer.step()
        new.schedule.step()
    assert new.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)


def test_early_ends_by_the_training_itself_are_on_record():
    def short(params, run):
        follow = Follow(run, None, None, True)
        Loop(params["lr"]).fit(follow, 2)
        return follow.value

    made = study(steps=5, schedule="full").run(short, trials=1)
    assert made.trials[0].state is State.DONE
    assert made.records("ended")[0]["why"] == "the training ended by itself after 2 of 5 steps"
    assert made.records("ended")[0]["step"] == 2


def test_a_step_that_was_begun_when_a_stop_was_asked_for_is_reported():
    def pressing(params, run):
        follow, loop = Follow(run, None, None, True), Loop(params["lr"])
        follow.begin(Parts(loop.model, [loop.optimizer], [loop.schedule]))
        os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C amid the step
        assert not follow.point({"val_loss": 1.0})
        follow.close()

    made = study(steps=5, schedule="full")
    with pytest.raises(KeyboardInterrupt):
        made.run(pressing, trials=1)
    assert made.trials[0].step == 1
    assert not made.records("ended")


@pytest.mark.parametrize(("stop", "step"), [(None, 3), ("patience 1", 2)])
def test_a_trial_that_ends_early_has_its_other_goals_too(stop, step):
    """Those of the weights that remain, though the objective returns one number."""
    values = [(0.5, 7.0), (0.3, 6.0), (0.4, 5.0)]

    def two(params, run):
        follow = Follow(run, None, stop, True)
        follow.begin(Parts(nn.Linear(1, 1)))
        for loss, size in values:
            if not follow.point({"val_loss": loss, "size": size}):
                break
        follow.close()
        return follow.value

    goals = ["min val_loss", "min size"]
    made = whet.Study(whet.Space(lr=whet.Float(0, 1)), goal=goals, steps=5, schedule="full").run(two, trials=1)
    (only,) = made.front
    assert (only.value, only.curve[-1].metrics["size"]) == values[step - 1]


def test_a_damaged_checkpoint_never_gives_another_steps_weights_for_the_best(tmp_path):
    """The best step of the curve stands behind the last whole checkpoint: it is trained again, as it was."""

    def stopping(params, run):
        follow, loop = Follow(run, None, "patience 2", True), Loop(0.05)
        loop.fit(follow, 100)
        if follow.why:
            assert follow.value == follow.best.value == float(loop.loss())
        return follow.value

    (whole,) = study(steps=40, schedule="full").run(stopping, trials=1).trials
    store = f"sqlite:///{tmp_path}/study.db"
    with study(steps=40, schedule="full", store=store, name="cut") as cut:
        best = min(whole.curve, key=lambda p: p.value).step
        cut.run(stopping, budget=f"{best}epochs")
        (_, before), (step, last) = cut.checkpoints(0)
        assert step == best
        (found,) = tmp_path.rglob(last)
        assert before != last
        found.write_bytes(b"damaged")
        with pytest.warns(RuntimeWarning, match="Using the one before"):
            cut.run(stopping, trials=1)
        assert [p.value for p in cut.trials[0].curve] == [p.value for p in whole.curve]
        assert cut.trials[0].value == whole.value


def test_a_criterion_met_as_the_budget_ends_has_the_best_weights_without_states_too(tmp_path):
    def stopping(params, run):
        follow, loop = Follow(run, None, "patience 2", False), Loop(0.05)
        loop.fit(follow, 100)
        if follow.why and not run.interrupted:
            assert follow.value == follow.best.value == float(loop.loss())
        return follow.value

    (whole,) = study(steps=40, schedule="full").run(stopping, trials=1).trials
    with study(steps=40, schedule="full", store=f"sqlite:///{tmp_path}/study.db", name="cut") as cut:
        cut.run(stopping, budget=f"{whole.curve[-2].step}epochs")
        with pytest.warns(RuntimeWarning, match="trains its first steps again"):
            cut.run(stopping, trials=1)
        assert cut.trials[0].value == whole.value


def played(points, stop=None, *, seconds=0.0):
    """Return an objective that reports these metrics, epoch by epoch; the weight is the number of the epoch."""

    def objective(params, run):
        model = nn.Linear(1, 1, bias=False)
        follow = Follow(run, None, stop, True)
        going = follow.begin(Parts(model))
        while going and len(follow.points) < len(points):
            model.weight.data.fill_(len(follow.points) + 1)
            time.sleep(seconds)
            going = follow.point(points[len(follow.points)])
        follow.close()
        if follow.why and run.verdict is Verdict.GO and not run.interrupted:
            assert float(model.weight) == follow.best.step
        return follow.value

    return objective


@pytest.mark.parametrize(
    ("losses", "stop"),
    [((0.5, 0.3, 0.4, 0.6, 0.7), "patience 3"), ((0.5, 0.3, 0.3, 0.4), "patience 2"), ((0.3, 0.3), "patience 1")],
)
def test_the_other_goals_are_those_of_the_weights_that_remain(losses, stop):
    """Also where the criterion is met at the last step, and where a later point is as good."""
    goals = ["min val_loss", "max size"]
    points = [{"val_loss": loss, "size": n} for n, loss in enumerate(losses, 1)]
    made = whet.Study(whet.Space(lr=whet.Float(0, 1)), goal=goals, steps=len(losses), schedule="full")
    made.run(played(points, stop), trials=1)
    (only,) = made.front
    assert (only.value, only.curve[-1].metrics["size"]) == (0.3, losses.index(0.3) + 1)


def test_a_metric_may_have_any_name():
    names = ["val/acc", "gradient.x", "trial", "self", "value", "cost", "state", "step", "id", "metrics", "run"]
    point = {"val_loss": 0.5} | dict.fromkeys(names, 1.0)
    made = study(steps=5, schedule="full").run(played([point]), trials=1)
    assert {"val/acc", "gradient.x", "step", "id", "metrics", "run"} <= set(made.trials[0].curve[0].metrics)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "number",
    [
        0.5, True, np.float32(0.5), np.array(0.5), np.array([0.5]), torch.tensor(0.5, dtype=torch.bfloat16), torch.tensor([[0.5]]),
        torch.tensor(0.5, requires_grad=True) * 1,
    ],
)  # fmt: skip
def test_what_is_one_number_is_a_metric_whatever_its_type(number):
    follow = Follow(None, "min val_loss", None, True)
    others = {"none": None, "several": np.ones(2), "huge": 10**400, "complex": 1j, "text": "0.5"}
    follow.begin(Parts(nn.Linear(1, 1)))
    follow.point({"val_loss": number, "other": number} | others)
    (point,) = follow.points
    assert point.value in (0.5, 1.0)
    assert point.metrics == {"other": point.value}


def test_cost_and_time_count_what_was_before_a_pause(tmp_path):
    """A step costs 1, as everywhere; seconds are those of training, however often it was paused."""
    points = [{"val_loss": 1.0 / n} for n in range(1, 9)]
    for stop, steps in (("cost 4", 4), ("time 0.2s", 5)):
        slow = played(points, stop, seconds=0.05)
        with study(steps=8, schedule="full", store=f"sqlite:///{tmp_path}/study.db", name=stop[:4]) as cut:
            for most in range(1, 9):
                cut.run(slow, budget=f"{most}epochs")
            ended = cut.records("ended")[0]
            assert ended["trial"] == 0
            assert 2 <= ended["step"] <= steps


def test_a_child_that_gets_worse_ends_with_the_weights_that_it_began_with(tmp_path):
    """Of its parent's weights those where it began are its own first point."""
    losses = [0.9, 0.8, 0.85, 0.86, 0.87, 0.88]
    points = [{"val_loss": loss} for loss in losses]
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2)

    class Child:
        """What stands at its parent's second step."""

        curve, ended, remains, over, last, steps = [Point(2, 0.8)], "", None, False, 2, 6
        goals = whet.Study(whet.Space(lr=whet.Float(0, 1)), goal="min val_loss").goals

        def load(self):
            return {"training": Parts(model).state(), "best": {"step": 1, "weights": {"weight": torch.ones(1, 1)}}}

        def __iter__(self):
            return iter(range(3, 7))

        def report(self, value, state, **metrics):
            assert state["best"]["step"] == 2

        def end(self, why):
            Child.over = True

    follow, own = Follow(Child(), None, "patience 2", True), nn.Linear(1, 1, bias=False)
    assert follow.begin(Parts(own))
    for n in (3, 4):
        nn.init.constant_(own.weight, n)
        follow.point(points[n - 1])
    follow.close()
    assert follow.why
    assert (follow.value, float(own.weight)) == (0.8, 2)


def test_a_state_of_something_else_is_refused_in_one_line(tmp_path):
    def plain(params, run):
        for step in run:
            run.report(1.0, {"epoch": step})

    with study(steps=5, schedule="full", store=f"sqlite:///{tmp_path}/study.db", name="cut") as cut:
        cut.run(plain, budget="2epochs")
        with pytest.raises(StudyError, match="checkpoint is none of a hook's"):
            cut.run(objective, trials=1)


def test_what_is_refused():
    with pytest.raises(UsageError, match=r'needs the goal, e.g. goal="min val_loss"'):
        Follow(None, None, None, True)
    follow = Follow(None, "max val_acuracy", None, True)
    follow.begin(Parts(nn.Linear(1, 1)))
    with pytest.raises(UsageError, match=r"no val_acuracy, got val_accuracy, val_loss. Did you mean 'val_accuracy'"):
        follow.point({"val_loss": 1.0, "val_accuracy": 0.5})
    with pytest.raises(UsageError, match="for each training"):
        follow.begin(Parts(nn.Linear(1, 1)))

    with pytest.warns(RuntimeWarning, match="`stop` was never asked"):
        Loop(0.1).fit(Follow(None, "min val_loss", "patience 2", True), 0)

    def backwards(params, run):
        Follow(run, "max val_loss", None, True)

    with pytest.raises(StudyError, match="has not the direction of the study's"):
        study(steps=2).run(backwards, trials=1)

    def silent(params, run):
        Loop(params["lr"]).fit(Follow(run, None, None, True), 0)

    with pytest.raises(StudyError, match="nothing was validated"):
        study(steps=2).run(silent, trials=1)
