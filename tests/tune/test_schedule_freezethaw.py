from __future__ import annotations

import numpy as np
import pytest

from whet import Float, Idle, Space, StudyError
from whet import seed as streams
from whet.testing import SCHEDULER, SPACES, Play, play
from whet.tune.schedule.freezethaw import FreezeThaw
from whet.tune.search.random import Random
from whet.tune.strategy import Resume, Start
from whet.tune.study import Study
from whet.tune.trial import State, Verdict


@pytest.mark.parametrize("clause", SCHEDULER, ids=lambda c: c.__name__)
@pytest.mark.parametrize("options", [{}, {"share": 0.3, "first": 2}], ids=str)
def test_contract(clause, options):
    clause(lambda: FreezeThaw(**options))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"share": 0}, "freeze-thaw: share must be above 0 and at most 1, got 0"),
        ({"share": 1.5}, "share must be"),
        ({"share": True}, "share must be"),
        ({"first": 0}, "freeze-thaw: first must be a whole number >= 1, got 0"),
        ({"first": 2.0}, "first must be"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError, match=why):
        FreezeThaw(**options)


def basket(curves, steps=27, ended=()):
    """Trials with these values, waiting, or run to the end."""
    study = Play(SPACES["line"], steps)
    for curve in [*ended, *curves]:
        id = study.ask()
        study.set(id, params={"x": 0.01 * id}, state=State.RUNNING)
        for step, value in enumerate(curve, 1):
            study.report(id, step, value)
        if len(curve) == steps:
            study.tell(id, curve[-1])
        else:
            study.set(id, state=State.PAUSED)
    return study


def falls(k, late=1.0):
    return [1 / (1 + 0.3 * late * s) for s in range(k)]


def stuck(k):
    return [1.0 - 0.001 * s for s in range(k)]


def test_the_trial_that_stands_as_those_did_that_fell_goes_on():
    ended = [falls(27, 0.8), stuck(27), falls(27, 0.9), stuck(27), falls(27, 0.7)]
    study = basket([*[stuck(2)] * 8, falls(2, 1.1), stuck(5), stuck(8)], ended=ended)
    assert FreezeThaw(share=0.01).pick(study.trials, streams.rng(0)) == Resume(13)


def test_a_frozen_trial_is_revived_when_the_better_ones_have_got_stuck():
    ended = [[*falls(5), *[falls(5)[-1]] * 22]] * 8 + [falls(27, 0.5)] * 8 + [stuck(27)] * 3
    ahead = [*falls(5), *[falls(5)[-1]] * 12]  # further on, but it has not moved for long
    study = basket([ahead, falls(8, 0.5), *[stuck(2)] * 6], ended=ended)
    assert FreezeThaw(share=0.01).pick(study.trials, streams.rng(0)) == Resume(len(ended) + 1)


def test_new_trials_have_their_share_of_the_steps():
    for share in (0.3, 0.6, 0.9):
        done = play(Random(), FreezeThaw(share=share), SPACES["mixed"], steps=27, starts=60)
        picks = [d for d in done.decisions if d.asked == "pick" and isinstance(d.said, Start)]
        last = next(d for d in reversed(picks) if len(d.trials) < 60)
        steps = [t.step for t in last.trials if t.step]
        assert sum(min(s, 2) for s in steps) / sum(steps) == pytest.approx(share, abs=0.08)


def crew(waiting, running, *, ended=()):
    """Trials with these values: run to the end, waiting, and running now. New ones are due with the default share."""
    study = basket(waiting, ended=ended)
    for curve in running:
        id = study.ask()
        study.set(id, params={"x": 0.01 * id}, state=State.RUNNING)
        for step, value in enumerate(curve, 1):
            study.report(id, step, value)
    return study


ENDED = [falls(27, 0.8), stuck(27), falls(27, 0.9), stuck(27), falls(27, 0.7)]
BEST, ALIKE = falls(5, 1.1), [stuck(2)] * 8


@pytest.mark.parametrize(
    ("waiting", "running", "said"),
    [
        ([*ALIKE, BEST], [stuck(3)], Resume(13)),
        ([*ALIKE, stuck(5)], [BEST], Start()),  # it trains already
        ([*ALIKE, BEST], [], Start()),  # one worker: the share is kept by starting now
    ],
)
def test_the_best_of_all_never_waits_while_others_can_start_the_new_ones(waiting, running, said):
    study = crew(waiting, running, ended=ENDED)
    assert FreezeThaw(share=0.9).pick(study.trials, streams.rng(0)) == said


@pytest.mark.parametrize(
    ("waiting", "running", "judged", "verdict"),
    [
        ([], [stuck(4)], falls(4, 1.1), Verdict.GO),
        ([], [], falls(4, 1.1), Verdict.PAUSE),  # one worker
        ([BEST], [stuck(4)], stuck(4), Verdict.PAUSE),
        ([], [falls(4, 1.4)], falls(4, 1.1), Verdict.PAUSE),
    ],
)
def test_the_best_of_all_is_not_paused_at_a_mark_for_new_ones(waiting, running, judged, verdict):
    study = crew([*ALIKE, *waiting], [*running, judged], ended=ENDED)
    last = len(study.trials) - 1
    assert FreezeThaw(share=0.9).judge(*study.ahead(last, 5, judged[-1] - 0.05)) is verdict


def test_what_diverges_is_stopped_for_good_once_there_is_something_to_compare_with():
    ended = [falls(27)] * 5
    study = basket([falls(2)] * 6, ended=ended)
    id = study.ask()
    study.set(id, params={"x": 0.9}, state=State.RUNNING)
    study.report(id, 1, 1.0)
    for value, verdict in ((4.5, Verdict.STOP), (3.0, Verdict.PAUSE)):  # the best has gained 0.89: 3 times that is 2.67
        assert FreezeThaw().judge(*study.ahead(id, 2, value)) is verdict
    few = basket([falls(2)] * 3)
    id = few.ask()
    few.set(id, params={"x": 0.9}, state=State.RUNNING)
    few.report(id, 1, 1.0)
    assert FreezeThaw().judge(*few.ahead(id, 2, 1e6)) is Verdict.PAUSE


def curve(x, step):
    """Half of the space stays where it is; the best are at 0.7; some fall late."""
    if x < 0.45:
        return 1.0
    late = 3 if 0.6 < x < 0.65 else 0
    return 0.1 + 2 * abs(x - 0.7) + 0.8 * np.exp(-max(0, step - late) / 4)


@pytest.mark.parametrize("seed", range(3))
def test_it_reaches_further_with_as_many_steps_than_training_everything(seed):
    found = {}
    for schedule in ("freeze-thaw", "full"):
        with Study(
            Space(x=Float(0, 1)), goal="min loss", search="random", schedule=schedule, steps=27, seed=seed
        ) as study:
            spent = 0
            while spent < 6 * 27 and not isinstance(trial := study.ask(), Idle):
                for step in range(trial.step + 1, 28):
                    spent += 1
                    if study.report(trial, step, curve(trial.params["x"], step)) is not Verdict.GO:
                        break
                    if step == 27:
                        study.tell(trial, curve(trial.params["x"], step))
            found[schedule] = min(t.value for t in study.trials if t.value is not None)
            if schedule == "freeze-thaw":
                assert len(study.trials) > 30
                assert sum(t.step for t in study.trials if t.params.get("x", 0) < 0.45) < 0.5 * spent
    assert found["freeze-thaw"] < 0.25
    assert found["freeze-thaw"] <= found["full"] + 0.02


def test_when_no_more_may_start_trials_go_on_until_curves_are_known_and_nothing_is_gained():
    """Three are trained to the end in any case; then those that stand as some did that fell go on, and what is stuck does not."""
    few = basket([falls(2), falls(3, 0.9), stuck(2)], ended=[falls(27)] * 2)
    assert FreezeThaw().finish(few.trials) == Resume(3)
    hope = basket(
        [falls(5, 1.3), *[stuck(5)] * 3], ended=[falls(27, 0.5 + 0.1 * i) for i in range(4)] + [stuck(27)] * 2
    )
    assert FreezeThaw().finish(hope.trials) == Resume(6)
    none = basket([stuck(5)] * 4, ended=[falls(27)] * 4 + [stuck(27)] * 4)
    assert FreezeThaw().finish(none.trials) is Idle.DONE
    running = none.ask()
    none.set(running, params={"x": 0.5}, state=State.RUNNING)
    assert FreezeThaw().finish(none.trials) is Idle.WAIT
