"""Real processes: the same steps as one process, and nothing lost or applied twice, whoever is killed."""

import itertools
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from lessons import PARAMS

from whet.distributed.local.train import Training
from whet.errors import TaskError, UsageError
from whet.journal.checkpoint import outline
from whet.tasks import resolve
from whet.train.run import Run

LESSONS = Path(__file__).with_name("lessons.py")
SEEDS = [0, *(pytest.param(s, marks=pytest.mark.soak) for s in range(1, 20))]


def task(name):
    return resolve(f"{LESSONS}:{name}", seed=0)


def weights(training):
    return torch.cat([p.detach().flatten() for p in training.run.model.parameters()])


def killer(training, which, seed, *, number=signal.SIGKILL):
    """Send a signal to a process of the training at a random instant of its work; return the thread."""

    def strike():
        until = time.monotonic() + 120
        while not training.status.get("merged") and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(random.Random(seed).uniform(0, 1.0))
        try:
            os.kill(training._crew.pool.pids()[which], number)
        except (OSError, AttributeError):
            return  # all was over before

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    return thread


def test_one_worker_is_the_plain_run_bit_for_bit():
    params = {**PARAMS, "optimizer": "momentum", "lr": 0.02}
    run = Run(task("Normed"), params, device="cpu")
    expected = list(run)
    with Training(task("Normed"), params, rule="dc-asgd", workers=1) as training:
        points = list(training)
    assert [p.value for p in points] == [p.value for p in expected]
    for a, b in zip(run.model.state_dict().values(), training.run.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_every_example_is_applied_once_an_epoch():
    with Training(task("Tally"), {}, rule="async", workers=2, steps=3) as training:
        points = list(training)
    assert [p.step for p in points] == [1, 2, 3]
    assert weights(training).tolist() == [3.0] * 120
    assert training.status["merged"] == training.status["version"] == 90
    assert not any(Path(folder).exists() for folder in training.job.temporary)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_worker_loses_nothing_that_was_acknowledged(seed):
    with Training(task("Tally"), {"pause": 0.02}, rule="async", workers=2) as training:
        thread = killer(training, 1 + seed % 2, seed)
        list(training)
        thread.join(5)
    assert weights(training).tolist() == [6.0] * 120
    assert training.deaths[f"worker {seed % 2}"] == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_server_begins_at_its_checkpoint_and_draws_again_what_was_lost(seed):
    with Training(task("Tally"), {"pause": 0.02}, rule="async", workers=2) as training:
        thread = killer(training, 0, seed)
        points = list(training)
        thread.join(5)
    assert weights(training).tolist() == [6.0] * 120
    assert [p.step for p in points] == [1, 2, 3, 4, 5, 6]
    assert training.deaths["server"] == 1
    assert 0 <= training.lost <= 30  # it is written after each epoch, so no more than one


@pytest.mark.soak
@pytest.mark.parametrize(
    "rule", ["sync", "bounded(s=1)", "dc-asgd", "average(every=2)", "ec(every=2)", "elastic(every=2)"]
)
@pytest.mark.parametrize("which", [0, 1])
def test_no_rule_waits_for_the_dead(rule, which):
    with Training(task("Blobs"), PARAMS, rule=rule, workers=2, steps=60) as training:
        thread = killer(training, which, 3)
        points = list(training)
        thread.join(5)
    assert len(points) == 60
    assert points[-1].value > 0.9


def test_a_worker_that_hangs_is_replaced():
    with Training(task("Tally"), {"pause": 0.03}, rule="bounded(s=1)", workers=2, deadline=3.0) as training:
        thread = killer(training, 1, 0, number=signal.SIGSTOP)
        list(training)
        thread.join(5)
        assert training.status["events"].get("late", 0) == 1
    assert training.deaths["worker 0"] == 1  # one that would wake up again is not left beside its successor
    assert weights(training).tolist() == [6.0] * 120


@pytest.mark.soak
def test_a_server_that_hangs_is_replaced():
    with Training(task("Tally"), {"pause": 0.03}, rule="async", workers=2, deadline=5.0) as training:
        thread = killer(training, 0, 0, number=signal.SIGSTOP)
        points = list(training)
        thread.join(5)
    assert training.deaths["server"] == 1
    assert weights(training).tolist() == [6.0] * 120
    assert [p.step for p in points] == [1, 2, 3, 4, 5, 6]
    assert all(a.cost < b.cost for a, b in itertools.pairwise(points))


@pytest.mark.soak
def test_halted_it_goes_on_where_it_was(tmp_path):
    with Training(task("Tally"), {}, rule="async", workers=2, folder=tmp_path) as training:
        for point in training:
            if point.step == 2:
                training.halt()
    done = point.step
    assert 2 <= done < 6
    with Training(task("Tally"), {}, rule="async", workers=2, folder=tmp_path, resume=True) as training:
        points = list(training)
        assert list(training) == []  # and does not begin again
    assert points[0].step == done + 1
    assert weights(training).tolist() == [6.0] * 120
    with Training(task("Tally"), {}, rule="async", workers=1, folder=tmp_path, resume=True) as training:
        assert list(training) == []  # all is done: what is left is to take the weights
    assert weights(training).tolist() == [6.0] * 120
    assert [p.name for p in tmp_path.iterdir()] == ["server.safetensors"]


def test_between_epochs_its_owner_has_turns_to_look_and_to_halt(tmp_path):
    turns, updates = 0, []
    with Training(task("Tally"), {"pause": 0.05}, rule="async", workers=2, folder=tmp_path) as training:
        for event in training.events(0.1):
            turns += event is None
            updates.append(training.look().get("version", 0))
            if updates[-1] > 10:
                training.halt()
    assert turns > 3
    assert updates == sorted(updates)
    assert 10 < training.status["version"] < 60, "halted within an epoch of 30"
    with Training(task("Tally"), {}, rule="async", workers=2, folder=tmp_path, resume=True) as training:
        list(training)
    assert weights(training).tolist() == [6.0] * 120


def test_halted_before_there_is_a_server_it_ends():
    with Training(task("Tally"), {}, rule="async", workers=2) as training:
        training.halt()
        assert [e for e in training.events(0.1) if e is not None] == []


@pytest.mark.soak
def test_what_another_training_left_is_nothing_a_new_one_begins_at(tmp_path):
    left = tmp_path / "server.safetensors"
    left.write_bytes(b"another's")
    with Training(task("Tally"), {}, rule="async", workers=2, folder=tmp_path, steps=1) as training:
        for event in training.events(0.05):
            if event is None:
                assert not left.exists() or left.stat().st_size > 9
    with pytest.raises(UsageError, match="resume: nothing to go on from at"):
        Training(task("Tally"), {}, rule="async", workers=2, folder=tmp_path / "elsewhere", resume=True)


def test_an_epoch_that_was_saved_and_not_read_when_its_owner_died_has_its_point_after_a_resume(tmp_path):
    first, points = Training(task("Tally"), {"pause": 0.005}, rule="async", workers=2, folder=tmp_path), []
    with first:
        for point in first:
            points.append(point)
            until = time.monotonic() + 60
            while outline(tmp_path / "server.safetensors")["merged"] < 60 and time.monotonic() < until:
                time.sleep(0.02)
            break  # its processes are killed
    with Training(task("Tally"), {}, rule="async", workers=2, folder=tmp_path, resume=True) as training:
        points += training
    assert [p.step for p in points] == [1, 2, 3, 4, 5, 6]
    assert [p.value for p in points[:2]] == [-120.0, -240.0]  # with the weights that it had then


@pytest.mark.parametrize("rule", ["codistil(every=2, burn_in=0)", pytest.param("ec(every=2)", marks=pytest.mark.soak)])
def test_members_are_gone_on_with_by_fewer_and_by_more_workers(rule, tmp_path):
    given = {"rule": rule, "steps": 9, "folder": tmp_path}
    points, numbers = [], []
    for workers, end in ((3, 3), (1, 6), (2, 9)):
        with Training(task("Blobs"), PARAMS, workers=workers, resume=bool(points), **given) as training:
            for point in training:
                points.append(point)
                if point.step >= end:
                    training.halt()
        numbers.append([w for w, _ in training.models])
    assert [p.step for p in points] == [*range(1, 10)]
    assert numbers[1] == [0]
    if rule.startswith("codistil"):  # of ec, those that were in the last round
        assert numbers == [[0, 1, 2], [0], [0, 1]]
    assert points[-1].value > 0.9
    with Training(task("Blobs"), PARAMS, workers=1, resume=True, **given) as training:
        assert list(training) == []
    assert [w for w, _ in training.models] == numbers[-1]  # all that there were


@pytest.mark.soak
def test_another_number_of_workers_with_shards_of_their_own_is_one_error(tmp_path):
    given = {"rule": "ec(every=2)", "shuffle": "local", "steps": 1, "folder": tmp_path}
    with Training(task("Blobs"), PARAMS, workers=2, **given) as training:
        list(training)
    with (
        pytest.raises(
            TaskError, match=r"server: .*server.safetensors: .* made with workers 2, and here it is 1\. Go on as"
        ),
        Training(task("Blobs"), PARAMS, workers=1, resume=True, **given) as training,
    ):
        list(training)


@pytest.mark.soak
def test_a_worker_that_was_refused_for_good_trains_again_after_a_resume(tmp_path):
    ill = tmp_path / "ill"
    given = {"rule": "finite(quarantine=2) + async", "steps": 20, "folder": tmp_path / "kept"}
    params = {**PARAMS, "ill": str(ill)}
    with Training(task("Ill"), params, workers=2, **given) as training:
        for _ in training.events(0.05):
            if training.status and not ill.exists():
                ill.write_text(str(training._crew.pool.pids()[1]))
            if training.look().get("refused", {}).get("quarantine"):
                training.halt()
    assert training.status["refused"] == {"nan": 2, "quarantine": 1}
    with Training(task("Ill"), params, workers=1, resume=True, **given) as training:
        until = time.monotonic() + 60
        for _ in training.events(0.2):
            assert time.monotonic() < until, "it waits for nobody"
    assert training.run.step == 20
    ill.unlink()


def test_members_are_those_of_the_last_epoch_and_one_of_them_is_saved():
    with Training(task("Blobs"), PARAMS, rule="ec(every=5)", workers=2, steps=2) as training:
        list(training)
    own = weights(training)
    assert [w for w, _ in training.models] == [0, 1]
    assert sum(torch.equal(own, m) for _, m in training.models) == 1


def test_what_cannot_be_is_refused_before_anything_starts():
    with pytest.raises(UsageError, match="workers: must be >= 1, got 0"):
        Training(task("Blobs"), PARAMS, rule="async", workers=0)
    with pytest.raises(UsageError, match="workers: 300 for 240 training examples"):
        Training(task("Blobs"), PARAMS, rule="async", workers=300)
    with pytest.raises(UsageError, match=r"no rule 'asink'\. Did you mean 'async'\?"):
        Training(task("Blobs"), PARAMS, rule="asink", workers=2)
    with pytest.raises(
        UsageError, match=r"every: processes of one machine exchange at least once in 2\d\d\d steps, got 5000"
    ):
        Training(task("Blobs"), PARAMS, rule="average(every=5000)", workers=2)


def test_an_error_in_a_worker_is_said_in_its_words():
    with (
        pytest.raises(TaskError, match=r"worker .: .*spoilt on purpose"),
        Training(task("Spoilt"), PARAMS, rule="async", workers=2) as training,
    ):
        list(training)
