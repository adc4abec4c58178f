"""Early stopping with several goals and with bounds: who goes on, who is held to break a bound, and what that is worth."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import Float, Space, Study, StudyError
from whet import seed as streams
from whet.testing import SPACES, Play, play
from whet.tune.dominance import ranks
from whet.tune.goal import parse_goals
from whet.tune.hypervolume import hypervolume
from whet.tune.pareto import targets
from whet.tune.schedule import scheduler
from whet.tune.schedule.asha import Asha
from whet.tune.schedule.freezethaw import FreezeThaw
from whet.tune.schedule.full import Full
from whet.tune.schedule.hyperband import Hyperband
from whet.tune.schedule.limits import Limits
from whet.tune.schedule.median import Median
from whet.tune.schedule.rungs import Line
from whet.tune.schedule.traded import Mark, Traded, net
from whet.tune.search.random import Random
from whet.tune.strategy import Resume
from whet.tune.trial import Bound, Point, State, Trial, Trials, Verdict

SPACE = Space(x=Float(0, 1), y=Float(0, 1))
GOALS = ["min loss", "min ms"]


def trade(space, p, step):
    """The front is y = 0, whatever x is; what ms will be is known from the first step on, the loss falls."""
    return {"loss": p["x"] + p["y"] + 0.2 / step, "ms": 1 + p["y"] - p["x"] ** 0.5}


# -- the order


@pytest.mark.parametrize("seed", range(4))
def test_every_beginning_of_a_net_covers_the_points_as_well_as_its_own_are_apart(seed):
    """Gonzalez 1985: no point is further from the first k than the k-th is from those before it, and that falls with k."""
    rng = streams.rng(seed)
    points = rng.random((40, 2 + seed % 2)) * [100.0, 0.01, 3.0][: 2 + seed % 2]
    order = net(points)
    assert sorted(order) == list(range(40))
    assert order[0] == points[:, 0].argmin()
    at = (points - points.min(0)) / np.ptp(points, axis=0)
    apart = np.linalg.norm(at[:, None] - at[None], axis=2)
    steps = [apart[order[k], order[:k]].min() for k in range(1, 40)]
    assert all(a >= b - 1e-12 for a, b in pairwise(steps))
    for k in range(1, 40):
        assert apart[:, order[:k]].min(1).max() == pytest.approx(steps[k - 1])


def test_a_net_of_equal_points_and_of_points_without_a_goal():
    assert net(np.array([[1.0, 2.0]] * 3)) == [0, 1, 2]
    assert net(np.array([[np.inf, np.inf]] * 2)) == [0, 1]
    assert net(np.array([[1.0, np.inf], [2.0, 3.0], [3.0, 2.0]]))[0] == 0


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=25), st.integers(2, 4)
)
@settings(max_examples=60, deadline=None)
def test_the_best_of_a_rung_are_beaten_by_none_behind_them(said, factor):
    rung, limits = Traded(Limits(), factor), Limits()
    for id, (a, b, failed) in enumerate(said):
        rung.put(id, Mark((np.inf, np.inf) if failed else (float(a), float(b)), (), failed), waits=id % 2 == 0)
    assert limits.known == ()
    places = [rung.place(i) for i in range(len(said))]
    assert sorted(places) == list(range(len(said)))
    for i, (a, b, failed) in enumerate(said):
        for j, (c, d, also) in enumerate(said):
            beats = not failed and (also or (a <= c and b <= d and (a, b) != (c, d)))
            assert not beats or places[i] < places[j]
    assert rung.foremost() == min(range(0, len(said), 2), key=lambda i: places[i])
    assert rung.sound() == any(not f for _, _, f in said)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.sampled_from(["put", "wait", "out"])), max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_line_is_a_sorted_list(moves):
    line, scores, waiting = Line(), {}, set()
    for id, score, what in moves:
        if what == "out":
            if id in scores:
                line.put(id, None)
            scores.pop(id, None)
            waiting.discard(id)
        else:
            line.put(id, float(score), waits=what == "wait")
            scores[id] = float(score)
            (waiting.add if what == "wait" else waiting.discard)(id)
        order = sorted(scores, key=lambda i: (scores[i], i))
        assert [line.place(i) for i in order] == list(range(len(order)))
        assert line.foremost() == next((i for i in order if i in waiting), None)


def test_with_one_goal_a_bound_that_all_keep_changes_nothing():
    for made in (Asha, Hyperband, Median):
        plain = play(Random(), made(), SPACE, steps=9, starts=30, seed=3, objective=trade)
        bound = play(
            Random(), made(), SPACE, steps=9, starts=30, seed=3, objective=trade, goal=["min loss", "ms <= 99"]
        )
        if made is Median:  # of an even number of others it takes the upper middle one, not the mean of both
            continue
        assert [(d.asked, str(d.said)[:20]) for d in plain.decisions] == [
            (d.asked, str(d.said)[:20]) for d in bound.decisions
        ]


# -- what may be held against a trial


def limited(curves, goals):
    """The limits of trials with these curves of (loss, ms)."""
    trials = [
        Trial(i, {}, State.RUNNING, [Point(k, a, metrics={"ms": b}) for k, (a, b) in enumerate(c, 1)])
        for i, c in enumerate(curves)
    ]
    limits = Limits()
    limits.see(Trials(trials, space=SPACE, goals=parse_goals(goals), steps=9))
    return limits


def test_what_never_changes_is_held_at_once_and_what_improves_is_not():
    steady = [[(2.0, 7.0), (1.0, 7.0)]] * 3
    limits = limited(steady, [*GOALS, "ms <= 5", "loss <= 0.5"])
    assert limits.held({"ms": 5.1, "loss": 0.4}) > 0
    assert limits.held({"ms": 4.9, "loss": 0.9}) == 0  # others came from twice as much to as little
    assert limits.held({"ms": 4.9, "loss": 1.1}) > 0
    assert limits.held({"loss": 0.1}) == 0  # what was not reported is not known to be broken
    assert limited(steady[:2], [*GOALS, "ms <= 5"]).held({"ms": 50.0}) == 0  # too little is known


def test_noise_is_no_excuse_beyond_its_size():
    noisy = [[(1.0, 10.0), (1.0, 11.0), (1.0, 9.9)]] * 3
    limits = limited(noisy, ["min loss", "ms <= 10"])
    assert limits.held({"ms": 11.0}) == 0
    assert limits.held({"ms": 11.2}) > 0


@pytest.mark.parametrize("seed", range(3))
def test_nobody_who_was_held_has_kept_the_bound_later(seed):
    """Whatever curves are: what is held now is further beyond than any trial so far ever made good."""
    rng, goals = streams.rng(seed), parse_goals(["min loss", "gain >= 0.5", "loss <= 1"])
    study = Play(SPACE, 20, ["min loss", "gain >= 0.5", "loss <= 1"])
    limits = Limits()
    for id in range(12):
        study.ask()
        study.set(id, params={"x": 0.5, "y": 0.5}, state=State.RUNNING)
        loss, gain = 3.0, float(rng.random())
        for step in range(1, 15):
            loss, gain = loss * float(rng.uniform(0.7, 1.1)), gain + float(rng.normal()) * 0.1
            study.report(id, step, loss, gain=gain)
            limits.see(study.trials)
            again = Limits()
            again.see(study.trials)
            assert again.known == limits.known
            for t in study.trials:
                for i, point in enumerate(t.curve):
                    if limits.held({**point.metrics, "loss": point.value}) > 0:
                        later = [{**p.metrics, "loss": p.value} for p in t.curve[i + 1 :]]
                        broken = [
                            b
                            for b in goals
                            if isinstance(b, Bound) and not b.holds({**point.metrics, "loss": point.value})
                        ]
                        assert not any(all(b.holds(said) for b in broken) for said in later)


def test_a_report_that_was_judged_and_never_written_leaves_nothing_behind():
    study, limits = Play(SPACE, 9, ["min loss", "ms <= 5"]), Limits()
    for id in range(4):
        study.ask()
        study.set(id, state=State.RUNNING)
        study.report(id, 1, 1.0, ms=9.0)
        study.report(id, 2, 1.0, ms=9.0)
    limits.see(study.ahead(0, 3, 1.0, ms=1.0)[1])
    assert limits.held({"ms": 9.0}) == 0
    study.report(0, 3, 1.0, ms=9.0)
    limits.see(study.trials)
    assert limits.held({"ms": 9.0}) > 0


# -- schedulers


@pytest.mark.parametrize("made", [Asha(), Hyperband(), Median(grace=1)], ids=lambda m: type(m).__name__)
def test_with_several_goals_the_front_is_trained_not_only_the_first_goal(made):
    """Half a front's ends are poor in the first goal: in the mean of 5 seeds more hypervolume is trained to the end than when it alone counts."""

    def volume(goals, seed):
        study = play(Random(), made, SPACE, steps=9, starts=60, seed=seed, objective=trade, goal=goals)
        points = [[t.value, t.curve[-1].metrics["ms"]] for t in study.trials if t.state is State.DONE and t.step == 9]
        return hypervolume(np.array(points), np.array([2.0, 1.5])), sum(t.step for t in study.trials)

    both = [volume(GOALS, seed) for seed in range(5)]
    first = [volume(["min loss"], seed) for seed in range(5)]
    assert np.mean([v for v, _ in both]) > np.mean([v for v, _ in first]) + 0.1
    assert np.mean([e for _, e in both]) < 0.75 * 60 * 9  # and still few are trained to the end


def test_the_bound_decides_who_is_promoted():
    """Nine trials, the three best of which are too slow: who is promoted are the best of the others."""
    study, made = Play(SPACES["line"], 9, ["min loss", "ms <= 5"]), Asha()
    for id in range(9):
        study.ask()
        study.set(id, params={"x": 0.5}, state=State.PAUSED)
        study.report(id, 1, 0.1 * id, State.PAUSED, ms=9.0 if id < 3 else 1.0)
    assert made.pick(study.trials, streams.rng(0)) == Resume(0)  # that ms does not change is not known yet
    for id in (6, 7, 8):
        study.report(id, 2, 0.1 * id, State.RUNNING, ms=1.0)
    for id in (3, 4, 5):
        assert made.pick(study.trials, streams.rng(0)) == Resume(id)
        assert Asha().pick(study.trials, streams.rng(0)) == Resume(id)
        study.set(id, state=State.RUNNING)
    assert made.pick(study.trials, streams.rng(0)) != Resume(0)


def test_median_stops_what_breaks_a_bound_for_sure():
    study, made = Play(SPACES["line"], 9, ["min loss", "ms <= 5"]), Median(grace=1)
    for id in range(7):
        study.ask()
        study.set(id, params={"x": 0.5}, state=State.RUNNING)
        study.report(id, 1, 1.0, ms=1.0)
        study.report(id, 2, 1.0, ms=1.0)
    slow = study.ask()
    study.set(slow, params={"x": 0.5}, state=State.RUNNING)
    study.report(slow, 1, 0.1, ms=9.0)
    for ms, verdict in ((9.0, Verdict.STOP), (4.0, Verdict.GO)):
        judged, trials = study.ahead(slow, 2, 0.1, ms=ms)
        assert made.judge(judged, trials) is verdict
        assert Median(grace=1).judge(judged, trials) is verdict


@pytest.mark.parametrize("seed", range(3))
def test_freeze_thaw_goes_on_with_what_may_keep_its_bounds(seed):
    """The best break the bound. Of the epochs after the first mark most go to those that keep it, without the bound next to none."""

    def slow(space, p, step):
        return {"loss": p["x"] + 1 / step, "ms": 10 - 10 * p["x"]}

    goals = ["min loss", "ms <= 5"]
    shares = []
    for goal in (goals, "min loss"):
        study = play(
            Random(), FreezeThaw(), SPACES["line"], steps=9, starts=40, seed=seed, objective=slow, goal=goal, workers=2
        )
        looked = Trials(tuple(study.trials), space=study.space, goals=parse_goals(goals), steps=9)
        more = [(t.step - 1, looked.keeps(t)) for t in looked if t.step > 1]
        shares.append(sum(n for n, keeps in more if keeps) / sum(n for n, _ in more))
        if goal is goals:
            assert study.trials.keeps(study.trials.best)
    assert shares[0] > 0.5 > 0.2 > shares[1]


def test_who_cannot_serve_several_goals_is_refused_in_one_line(tmp_path):
    why = "schedule 'freeze-thaw': goes by one goal, got 2: min loss and min ms. Use asha, hyperband, median or full, or make the others bounds"
    store = tmp_path / "whet.db"
    for schedule in ("freeze-thaw", FreezeThaw(share=0.5)):
        with pytest.raises(StudyError, match=why):
            Study(SPACE, goal=GOALS, schedule=schedule, steps=9, store=store, name="two")
    with Study(SPACE, goal=["min loss", "ms <= 5"], schedule="freeze-thaw", steps=9, store=store, name="one"):
        pass
    from whet.journal.store import Store

    assert Store.of(store).names() == ["one"]  # nothing is left of what was refused


def test_a_study_that_was_begun_with_it_can_be_opened(tmp_path, monkeypatch):
    store = tmp_path / "whet.db"
    monkeypatch.setattr(FreezeThaw, "one_goal", False)
    with Study(SPACE, goal=GOALS, schedule="freeze-thaw", steps=9, store=store, name="old"):
        pass
    monkeypatch.undo()
    with Study.open(store, "old") as old, Study(SPACE, goal=GOALS, steps=9, store=store, name="old") as again:
        assert isinstance(old.scheduler, FreezeThaw)
        assert isinstance(again.scheduler, FreezeThaw)


def test_auto_is_hyperband_when_there_are_several_goals():
    for goals, steps, made in (
        (GOALS, 9, Hyperband),
        (GOALS, 3, Asha),
        (GOALS, 1, Full),
        (["min loss", "ms <= 5"], 9, FreezeThaw),
    ):
        assert isinstance(scheduler("auto", SPACE, steps, parse_goals(goals)), made)
    with Study(SPACE, goal=GOALS, steps=9) as study:
        assert isinstance(study.scheduler, Hyperband)
        assert len(targets(study.trials)) == 2


@pytest.mark.parametrize("schedule", ["asha", "hyperband", "median", "full"])
def test_a_real_study_with_three_goals_and_a_bound(schedule):
    def objective(params, run):
        for step in run:
            run.report(
                params["x"] + 1 / step, ms=1 - params["x"] + params["y"], mb=abs(params["y"] - 0.5), acc=1 - 1 / step
            )

    goals = [*GOALS, "min mb", "acc >= 0.85", "ms <= 1.2"]
    with Study(SPACE, goal=goals, search="random", schedule=schedule, steps=9, seed=1) as study:
        study.run(objective, trials=30)
        trials = study.trials
        assert len(study.front) > 0
        assert all(trials.keeps(t) for t in study.front)
        steps = sum(t.step for t in trials)
        assert steps == 270 if schedule == "full" else steps < 230
        # who is on the front of all that were trained is on that of the trained who are near it
        done = [t for t in trials if trials.reach(t) == 9 and trials.keeps(t)]
        scores = np.array([[t.value, *(t.curve[-1].metrics[n] for n in ("ms", "mb"))] for t in done])
        assert {t.id for t in study.front} == {t.id for t, r in zip(done, ranks(scores), strict=True) if r == 0}


def test_the_bound_that_is_advised_is_on_the_right_side():
    with pytest.raises(StudyError, match=r'such as "accuracy >= 5"'):
        Study(SPACE, goal=["min loss", "max accuracy"], schedule="freeze-thaw", steps=9)
    with pytest.raises(StudyError, match=r'such as "ms <= 5"'):
        Study(SPACE, goal=["max accuracy", "min ms"], schedule="race", steps=9)
