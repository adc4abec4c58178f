from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import Float, Space, State, Study
from whet import seed as streams
from whet.testing import SPACES, Play, play
from whet.tune.replay import replay
from whet.tune.schedule.hyperband import Hyperband
from whet.tune.search.random import Random
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Idle, Trial, Verdict

GO, PAUSE = Verdict.GO, Verdict.PAUSE
STATES = {GO: State.RUNNING, PAUSE: State.PAUSED}

# Table 1 of Li et al., "Hyperband", JMLR 2018: n_i and r_i of every bracket for R = 81 and eta = 3, s from 4 to 0
TABLE = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(27, 3), (9, 9), (3, 27), (1, 81)],
    [(9, 9), (3, 27), (1, 81)],
    [(6, 27), (2, 81)],
    [(5, 81)],
]


def pick(made, study):
    return made.pick(study.trials, streams.rng(0))


def start(study, *brackets):
    """Begin a trial in each of these brackets (None: a trial that names none); return their ids."""
    ids = [study.ask({} if b is None else {"bracket": b}) for b in brackets]
    for id in ids:
        study.set(id, params={"x": 0.0}, state=State.RUNNING)
    return ids


def report(made, study, id, step, value):
    """Judge a report, write it down, and return the verdict."""
    judged, trials = study.ahead(id, step, value)
    verdict = made.judge(judged, trials)
    study.report(id, step, value, STATES[verdict])
    return verdict


def rounds(made, steps, n):
    """Start n trials that are all still running; return their brackets in order."""
    study = Play(SPACES["line"], steps)
    for _ in range(n):
        said = pick(made, study)
        assert said == pick(Hyperband(made.factor, made.first), study)
        assert isinstance(said, Start)
        assert said.params is said.parent is None
        start(study, said.origin["bracket"])
    return [t.origin["bracket"] for t in study.trials]


def test_the_table_of_the_paper():
    assert Hyperband().brackets(81) == tuple((b[0][0], tuple(r for _, r in b)) for b in TABLE)


@pytest.mark.parametrize(
    ("made", "steps", "brackets"),
    [
        (Hyperband(), 1, ((1, (1,)),)),
        (Hyperband(), 2, ((3, (1, 2)), (2, (2,)))),
        (Hyperband(), 9, ((9, (1, 3, 9)), (3, (3, 9)), (3, (9,)))),
        (Hyperband(), 30, ((27, (1, 3, 9, 30)), (9, (3, 9, 30)), (6, (9, 30)), (4, (30,)))),
        (Hyperband(factor=4, first=2), 32, ((16, (2, 8, 32)), (4, (8, 32)), (3, (32,)))),
        (Hyperband(first=50), 27, ((1, (27,)),)),
    ],
)
def test_brackets(made, steps, brackets):
    assert made.brackets(steps) == brackets


def test_the_first_starts_by_hand():
    # Shares 9, 3 and 3. A bracket that has had g of its share n would have had (g + 1) / n with one more:
    #   bracket 0   1/9 2/9 3/9 4/9 5/9 6/9 7/9 8/9 9/9
    #   bracket 1           1/3         2/3         3/3
    #   bracket 2           1/3         2/3         3/3
    # in order of size, the earlier bracket first where they are equal:
    assert rounds(Hyperband(), 9, 15) == [0, 0, 0, 1, 2] * 3


@pytest.mark.parametrize(("made", "steps"), [(Hyperband(), 81), (Hyperband(2), 32), (Hyperband(4, 2), 100)])
def test_after_every_round_each_bracket_has_had_its_share(made, steps):
    shares = [n for n, _ in made.brackets(steps)]
    got = rounds(made, steps, 2 * sum(shares))
    for end in (sum(shares), 2 * sum(shares)):
        assert [Counter(got[:end])[b] * sum(shares) for b in range(len(shares))] == [n * end for n in shares]
    for t in range(1, len(got)):  # and never far from it on the way
        assert all(abs(got[:t].count(b) - t * n / sum(shares)) < 3 for b, n in enumerate(shares))


def test_a_round_trains_what_the_table_says():
    # Every trial is worse than all before it, so none is promoted that later turns out not to be among the best third:
    # the asynchronous form then promotes exactly as many as the synchronous one of the paper.
    made, study = Hyperband(), Play(SPACES["line"], 81)
    while isinstance(said := pick(made, study), Resume) or len(study.trials) < 128:
        if isinstance(said, Resume):
            id = said.id
            study.set(id, state=State.RUNNING)
        else:
            (id,) = start(study, said.origin["bracket"])
        for step in range(study.trials[id].step + 1, 82):
            if report(made, study, id, step, float(id)) is PAUSE:
                break
    reached = Counter((t.origin["bracket"], t.step) for t in study.trials)
    for b, rows in enumerate(TABLE):
        for i, (n, r) in enumerate(rows):
            assert sum(reached[b, later] for _, later in rows[i:]) == n, f"bracket {b}, {r} steps"
    assert sum(reached.values()) == 81 + 27 + 9 + 6 + 5  # nobody stands anywhere else
    spent = [sum(t.step for t in study.trials if t.origin["bracket"] == b) for b in range(5)]
    assert spent == [297, 243, 189, 270, 405]  # as docs/scheduling.md says; 81 + 27 * 2 + 9 * 6 + 3 * 18 + 54 the first


def test_promotions_by_hand():
    # factor 3, 9 steps: bracket 0 has the rungs 1, 3, 9, bracket 1 has 3 and 9, bracket 2 only 9.
    made, study = Hyperband(), Play(SPACES["line"], 9)
    a, b, c, d, e, f, g = start(study, 0, 0, 0, 1, 1, 1, 2)
    assert report(made, study, a, 1, 5.0) is PAUSE  # first of bracket 0 in rung 1
    assert report(made, study, d, 1, 0.1) is GO  # nobody is compared at step 1 in bracket 1 ...
    assert report(made, study, g, 1, 0.1) is GO  # ... nor in bracket 2
    assert (
        report(made, study, b, 1, 4.0) is PAUSE
    )  # two in the rung: floor(2 / 3) = 0. That d and g did better is nothing
    assert report(made, study, c, 1, 6.0) is PAUSE  # three: one place, that of b
    assert pick(made, study) == Resume(b)
    study.set(b, state=State.RUNNING)
    assert [report(made, study, g, step, 9.0) for step in (2, 3, 4, 8, 9)] == [GO] * 5  # to the last step
    assert [report(made, study, d, step, 0.5) for step in (2, 3)] == [GO, PAUSE]  # the first in rung 3 of bracket 1
    assert [report(made, study, b, step, 0.1) for step in (2, 3)] == [GO, PAUSE]  # the first in rung 3 of bracket 0
    assert [report(made, study, e, step, 0.4) for step in (1, 2, 3)] == [
        GO,
        GO,
        PAUSE,
    ]  # two in bracket 1, three in all
    assert pick(made, study) == Start(origin={"bracket": 0})  # 3 of 9, 3 of 3, 1 of 3 were given
    assert [report(made, study, f, step, 0.3) for step in (1, 2, 3)] == [GO, GO, GO]  # the third, and the best: 9 steps
    assert report(made, study, f, 4, 99.0) is GO
    study.set(f, state=State.FAILED, error={"type": "MemoryError", "message": ""})
    assert pick(made, study) == Resume(e)  # its place is that of the next best, who is not b of the other bracket


def test_the_highest_rung_of_all_brackets_comes_first_then_the_best_value():
    made, study = Hyperband(factor=2), Play(SPACES["line"], 8)  # rungs 1 2 4 8, 2 4 8, 4 8, 8
    assert [r for _, r in made.brackets(8)] == [(1, 2, 4, 8), (2, 4, 8), (4, 8), (8,)]
    at = {0: (2, 5.0), 1: (2, 6.0), 2: (2, 4.0), 3: (2, 7.0), 4: (4, 9.0), 5: (4, 8.0)}
    start(study, 0, 0, 1, 1, 2, 2)
    for id, (step, value) in at.items():
        study.report(id, step, value, State.PAUSED)
    resumed = []
    while isinstance(said := pick(made, study), Resume):
        resumed.append(said.id)
        study.set(said.id, state=State.RUNNING)
    assert resumed == [5, 2, 0]  # rung 4 before rung 2, and there 4.0 of bracket 1 before 5.0 of bracket 0


def test_a_trial_goes_on_only_where_it_would_be_the_next_to_be_resumed():
    def two(bracket, value):
        study = Play(SPACES["line"], 8)
        for id in start(study, bracket, bracket):
            study.report(id, 2, value, State.PAUSED)  # one of the two may go on to step 4
        return study

    made = Hyperband(factor=2)
    for value, verdict in ((5.0, GO), (0.5, PAUSE), (1.0, PAUSE)):  # 1.0: equal, and older
        study = two(1, value)
        for id, own in zip(start(study, 0, 0), (3.0, 1.0), strict=True):
            study.report(id, 1, own)
        report(made, study, 2, 2, 3.0)
        assert report(made, study, 3, 2, 1.0) is verdict
        assert pick(made, study) == Resume(0)
    study = two(1, 5.0)
    mine, other, cut = start(study, 0, 0, 3)
    study.report(other, 2, 3.0, State.PAUSED)
    study.set(cut, state=State.PAUSED)  # interrupted before its first step, in another bracket
    study.report(mine, 1, 1.0)
    assert report(made, study, mine, 2, 1.0) is PAUSE  # the better of two, but not the next
    assert pick(made, study) == Resume(cut)
    study.set(cut, state=State.RUNNING)
    assert pick(made, study) == Resume(mine)


def rounds_after(study, made, n):
    """Start n more trials and return their brackets in order."""
    got = []
    while len(got) < n:
        said = pick(made, study)
        if isinstance(said, Resume):
            study.set(said.id, state=State.RUNNING)
        else:
            got.append(said.origin["bracket"])
            start(study, got[-1])
    return got


def test_who_names_no_bracket_is_compared_in_the_first_and_is_nobodys_share():
    made, study = Hyperband(), Play(SPACES["line"], 9)
    odd = ["0", 1.0, True, -1, 3, None]
    for id, (said, value) in enumerate(zip(odd, [6, 5, 4, 3, 2, 1], strict=True)):
        study.ask({"search": "enqueue", "bracket": said})
        study.set(id, params={"x": 0.0}, state=State.RUNNING)
        verdict = report(made, study, id, 1, value)
        assert verdict is (GO if id >= 2 else PAUSE)  # all are in one rung: the best of three, of four ...
    assert rounds_after(study, made, 5) == [0, 0, 0, 1, 2]  # as if there were none


def test_finish_takes_the_best_of_the_highest_rung_of_all_brackets():
    made, study = Hyperband(), Play(SPACES["line"], 9)
    assert made.finish(study.trials) is Idle.DONE
    a, b, c = start(study, 0, 0, 1)
    report(made, study, a, 1, 1.0)
    report(made, study, b, 1, 2.0)
    assert made.finish(study.trials) is Idle.WAIT
    for step in (1, 2, 3):
        report(made, study, c, step, 9.0)
    assert made.finish(study.trials) == Resume(c)  # in a higher rung
    study.report(b, 3, 8.0, State.PAUSED)
    assert made.finish(study.trials) == Resume(b)  # better, in the same one
    study.report(b, 4, 8.0, State.PAUSED)
    study.set(c, state=State.FAILED, error={"type": "ValueError", "message": ""})
    assert made.finish(study.trials) == Resume(a)  # b is interrupted, which is for `pick` to resume
    (d,) = start(study, 2)
    study.tell(d, 5.0)
    assert made.finish(study.trials) is Idle.DONE


def rank(made, trials, t, k):
    """Return (score, id) of trial t at rung k of its bracket, None when it did not reach it; from the definition."""
    score, at = trials.goal.score, made.brackets(trials.steps)[home(made, trials, t)][1][k]
    if t.state is State.FAILED:
        return (math.inf, t.id) if k == 0 or t.step >= at else None
    points = [p.value for p in t.curve if p.step >= at] or ([t.value] if t.state is State.DONE else [])
    return (score(points[0]), t.id) if points else None


def home(made, trials, t):
    said = t.origin.get("bracket")
    return said if said in range(len(made.brackets(trials.steps))) else 0


def promotable(made, trials, t, k):
    """Whether trial t is among the best floor(n / factor) of the n that reached rung k of its bracket."""
    peers = [u for u in trials if home(made, trials, u) == home(made, trials, t)]
    ranked = sorted(r for u in peers if (r := rank(made, trials, u, k)) is not None)
    return rank(made, trials, t, k) in ranked[: len(ranked) // made.factor]


def definition(made, trials):
    """Return what `pick` must say, worked out from the definition without any cache."""
    shares = made.brackets(trials.steps)
    free = []
    for t in trials:
        if t.state is not State.PAUSED:
            continue
        rungs = shares[home(made, trials, t)][1]
        before = t.curve[-2].step if len(t.curve) > 1 else 0
        here = [k for k, r in enumerate(rungs) if before < r <= t.step]
        if not here or here[-1] == len(rungs) - 1:
            return Resume(t.id)
        k = here[-1]
        if promotable(made, trials, t, k):
            free.append((-rungs[k], *rank(made, trials, t, k)))
    if free:
        return Resume(min(free)[2])
    given = Counter(t.origin.get("bracket") for t in trials)
    b = min(range(len(shares)), key=lambda b: ((given[b] + 1) * math.lcm(*(n for n, _ in shares)) // shares[b][0], b))
    return Start(origin={"bracket": b})


@settings(max_examples=80, deadline=None)
@given(
    moves=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4), st.integers(1, 4)), max_size=70),
    factor=st.integers(2, 4),
    first=st.integers(1, 3),
    steps=st.integers(1, 20),
    goal=st.sampled_from(["min loss", "max score"]),
)
def test_any_history_is_decided_by_the_definition(moves, factor, first, steps, goal):
    made, study = Hyperband(factor, first), Play(SPACES["line"], steps, goal)
    for which, value, stride in moves:
        said = pick(made, study)
        assert said == definition(made, study.trials)
        assert said == pick(Hyperband(factor, first), study)
        busy = [t.id for t in study.trials if t.state is State.RUNNING]
        if which == 8:  # a person's guess, or one from elsewhere
            start(study, None)
            continue
        if (len(busy) < 3 and which < 4) or not busy:
            if isinstance(said, Resume):
                study.set(said.id, state=State.RUNNING)
            else:
                start(study, said.origin["bracket"])
            continue
        id = busy[which % len(busy)]
        step = study.trials[id].step + stride
        if which == 7 and value == 0:
            study.set(id, state=State.FAILED, error={"type": "ValueError", "message": ""})
        elif which == 6 and value == 1:
            study.set(id, state=State.PAUSED)
        elif step >= steps or (which == 5 and value == 2):
            study.tell(id, float(value))
        else:
            judged, trials = study.ahead(id, step, float(value))
            verdict = made.judge(judged, trials)
            assert verdict is Hyperband(factor, first).judge(judged, trials)
            # GO at a rung exactly when a pause there would be followed by a resume of the same trial
            after = Play(SPACES["line"], steps, goal)
            for t in study.trials:
                after.ask(t.origin)
                after.set(t.id, state=t.state, curve=t.curve, value=t.value)
            after.report(id, step, float(value), State.PAUSED)
            before = judged.curve[-2].step if len(judged.curve) > 1 else 0
            arrived = any(before < r <= step for r in made.brackets(steps)[home(made, trials, judged)][1])
            same = definition(made, after.trials) == Resume(id)
            assert verdict is (GO if same or not arrived else PAUSE)
            study.report(id, step, float(value), STATES[verdict])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("workers", [1, 4])
def test_no_trial_is_trained_beyond_its_promotion(seed, workers):
    made = Hyperband()
    done = play(Random(), made, SPACES["mixed"], steps=27, starts=46, workers=workers, crash=0.01, seed=seed)
    assert [Counter(t.origin["bracket"] for t in done.trials)[b] for b in range(4)] == [27, 9, 6, 4]
    allowed = {t.id: made.brackets(27)[t.origin["bracket"]][1][0] for t in done.trials}
    for d in done.decisions:  # in the order in which they were made
        if d.asked == "judge":
            assert d.trial.step <= allowed[d.trial.id]
        t = (
            d.trial
            if d.asked == "judge" and d.said is GO
            else d.trials[d.said.id]
            if isinstance(d.said, Resume)
            else None
        )
        if t is None or t.step not in (rungs := made.brackets(27)[t.origin["bracket"]][1])[:-1]:
            continue
        k = rungs.index(t.step)
        assert d.asked == "finish" or promotable(made, d.trials, t, k)
        allowed[t.id] = rungs[k + 1]
    for t in done.trials:
        assert t.step == allowed[t.id] or (t.state is State.FAILED and t.step < allowed[t.id])
        assert [p.step for p in t.curve] == list(range(1, t.step + 1))  # each epoch once
        assert t.state is {27: State.DONE}.get(t.step, State.PAUSED) or t.state is State.FAILED
    assert sum(t.step == 27 for t in done.trials) >= 4


def test_one_step_is_one_bracket():
    done = play(Random(), Hyperband(), SPACES["mixed"], starts=9, workers=2)
    assert [t.state for t in done.trials] == [State.DONE] * 9
    assert {t.origin["bracket"] for t in done.trials} == {0}


def test_to_minimise_and_to_maximise_is_the_same():
    low, high = (play(Random(), Hyperband(), SPACES["mixed"], steps=9, starts=30, goal=g) for g in ("min a", "max a"))
    assert [(t.step, t.state, t.origin) for t in low.trials] == [(t.step, t.state, t.origin) for t in high.trials]


def test_checkpoints_of_closed_trials_are_let_go():
    done = play(Random(), Hyperband(), SPACES["mixed"], steps=9, starts=30, crash=0.05, seed=1)
    kept = Hyperband().keep(done.trials)
    assert kept == {(t.id, t.step) for t in done.trials if t.state is State.PAUSED}
    assert kept


LINE = Space(x=Float(0, 1))


def objective(params, run):
    state = run.load() or 0
    for step in run:
        state += 1
        assert state == step
        if 0.1 < params["x"] < 0.2:
            raise ValueError("no")
        run.report((params["x"] - 0.3) ** 2 + 1 / step, state)


def test_a_study_with_trials_of_every_kind(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    elsewhere = [
        Trial(0, {"x": 0.9}, State.DONE, value=1.5),
        Trial(1, {"x": 0.8}, State.PAUSED, origin={"bracket": 7}),
        Trial(2, {"x": 0.7}, State.FAILED, error={"type": "ValueError", "message": "no"}),
    ]
    with Study(LINE, search="random", schedule="hyperband", steps=9, seed=3, store=url, name="s") as study:
        study.add(elsewhere)
        study.enqueue({"x": 0.5})
        study.run(objective, trials=12)
        study.enqueue({"x": 0.55})
    with Study.open(url, "s") as study:  # the scheduler is rebuilt, and goes on where the other was
        study.run(objective, trials=32)
        trials, events = study.trials, study.journal.read()
    assert [t.id for t in trials if t.origin.get("search") == "enqueue"] == [3, 15]
    own = [t for t in trials if t.origin.get("search") == "random"]
    assert [t.origin["bracket"] for t in own] == rounds(Hyperband(), 9, 30)
    assert all(t.step == 9 for t in own if t.origin["bracket"] == 2 and t.state is not State.FAILED)
    assert {t.step for t in own if t.origin["bracket"] == 1 and t.state is not State.FAILED} == {3, 9}
    assert {t.step for t in own if t.origin["bracket"] == 0 and t.state is not State.FAILED} == {1, 3, 9}
    assert trials[1].step >= 1  # the paused one was gone on with
    assert sum(t.state is State.FAILED for t in own) >= 1
    redone = replay(events, cold=True)
    assert str(redone).endswith("all equal"), redone.differences[:3]


@pytest.mark.soak
def test_several_workers_share_the_brackets(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    with Study(LINE, search="random", schedule="hyperband", steps=9, seed=3, store=url, name="s") as study:
        study.run(objective, trials=30, workers=3)
        trials, events, spent = study.trials, study.journal.read(), study.spent
    # two that ask at once may join the same bracket; those that come next make up for it
    counts = Counter(t.origin["bracket"] for t in trials)
    assert counts.total() == 30
    assert all(abs(counts[b] - share) <= 2 for b, share in enumerate((18, 6, 6)))
    assert str(replay(events)).endswith("all equal")
    assert spent.steps == sum(t.step for t in trials)


def test_a_trial_that_names_another_bracket_later_moves_there():
    made, study = Hyperband(), Play(SPACES["line"], 9)
    ids = start(study, 0, 0, 0)
    assert pick(made, study) == Start(origin={"bracket": 1})  # 3 of 9, 0 of 3 and 0 of 3 were given
    assert [report(made, study, id, 1, float(id)) for id in ids] == [PAUSE] * 3
    assert pick(made, study) == Resume(0)  # the best of three
    study.set(0, origin={"bracket": 1})  # e.g. by a searcher that has brackets of its own
    assert pick(made, study) == Resume(0)  # paused where nobody is compared
    study.set(0, state=State.RUNNING)
    assert pick(made, study) == Start(origin={"bracket": 0})  # 2 of 9, 1 of 3, 0 of 3; of two in a rung none may go on
    assert pick(Hyperband(), study) == Start(origin={"bracket": 0})
