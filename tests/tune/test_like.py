"""Earlier studies that a study learns from: which, how they are recorded, and what becomes of that later."""

from __future__ import annotations

import multiprocessing

import pytest

from whet import Choice, Const, Float, Int, Ordered, Space, State, Store, Study, StudyError
from whet.tune.earlier import recorded
from whet.tune.exchange.document import document, undocumented
from whet.tune.fsck import fsck
from whet.tune.like import asked
from whet.tune.overlap import carried, shared
from whet.tune.replay import replay
from whet.tune.trial import Trial, Trials

SPACE = Space(x=Float(0, 1), y=Float(0, 1), k=Choice(["a", "b"]))
OTHER = Space(x=Float(0.2, 2), k=Choice(["b", "c"]), z=Int(1, 9))


def value(p):
    return (p["x"] - 0.7) ** 2 + (p.get("y", 0.2) - 0.2) ** 2 + 0.1 * (p["k"] == "a")


def spend(study, n, sign=1.0):
    for _ in range(n):
        trial = study.ask()
        if trial.id % 7 == 5:
            study.fail(trial, "on purpose")
        else:
            study.tell(trial, sign * value(trial.params))


def earlier(store, name="old", n=15, space=SPACE, goal="min loss", **options):
    with Study(space, goal=goal, search="random", schedule="full", store=store, name=name, **options) as study:
        spend(study, n, -1.0 if goal.startswith("max") else 1.0)
    return name


def told(study):
    return [(t.params, t.origin) for t in study.trials]


@pytest.mark.parametrize("search", ["sobol", "gp"])
def test_replay_needs_no_other_study(search, tmp_path):
    store = Store(str(tmp_path / "s.db"))
    earlier(store)
    earlier(store, "wide", space=OTHER, goal="max score", seed=4)
    with Study(SPACE, search=search, schedule="full", store=store, name="new", like="old, wide") as study:
        spend(study, 10)
        first = study.trials.like[0]
        assert (first.name, len(first), first.seq) == ("old", 15, 46)
        advised = [t.origin["like"]["study"] for t in study.trials if "like" in t.origin]
        assert advised[:2] == ["old", "wide"]
    with Study.open(store, "old") as old:  # it grows
        spend(old, 9)
    with Study.open(store, "new") as again:
        assert len(again.trials.like[0]) == 15
        spend(again, 6)
    store.database().delete("old")  # and goes
    store.database().delete("wide")
    with Study.open(store, "new") as again:
        spend(again, 2)
        for cold in (False, True):
            redone = replay(again.journal.read(), cold=cold)
            assert not redone.differences
            assert redone.trials == 18
    assert not fsck(store).findings
    with Study(SPACE, search=search, schedule="full", store=store, name="alone") as alone:
        spend(alone, 3)
        assert all("like" not in t.origin for t in alone.trials)


def test_the_first_trial_is_the_best_of_the_earlier_study(tmp_path):
    store = Store(str(tmp_path / "s.db"))
    earlier(store, goal="max score")
    with Study.open(store, "old") as old:
        best = old.best
    with Study(SPACE, goal="min loss", store=store, name="new", like=["old"]) as study:
        first = study.ask()
        assert dict(first.params) == dict(best.params)
        assert first.origin["like"] == {"study": "old", "trial": best.id}
        assert "like" not in study.ask().origin


def open_it(url, name, like, got):
    with Study(SPACE, search="gp", schedule="full", store=url, name=name, like=like) as study:
        got.put([(x.name, x.seq, [(t.params, t.value) for t in x]) for x in study.trials.like])


def test_other_processes_see_the_same_studies(tmp_path):
    url = str(tmp_path / "s.db")
    earlier(url)
    with Study(SPACE, search="gp", schedule="full", store=url, name="new", like="all") as study:
        here = [(x.name, x.seq, [(t.params, t.value) for t in x]) for x in study.trials.like]
    with Study.open(url, "old") as old:
        spend(old, 3)
    context = multiprocessing.get_context("spawn")
    got = context.Queue()
    for like in ("all", "old", ()):
        process = context.Process(target=open_it, args=(url, "new", like, got))
        process.start()
        assert got.get(timeout=120) == here
        process.join()


def test_a_study_keeps_what_it_began_with(tmp_path):
    store = Store(str(tmp_path / "s.db"))
    earlier(store, "a")
    earlier(store, "b")

    def again(like, name="new"):
        with Study(SPACE, store=store, name=name, like=like) as study:
            return [x.name for x in study.trials.like]

    assert again(["a", "b"]) == ["a", "b"]
    for same in ("b,a", ["b", "a"], "all", ()):
        assert again(same) == ["a", "b"]
    with pytest.raises(
        StudyError, match=r"study 'new': was created with like a, b, not a\. Use the same, another name"
    ):
        again("a")
    again((), "plain")
    with pytest.raises(StudyError, match=r"'plain': was created with nothing that it is like, not a\."):
        again("a", "plain")
    assert again("all", "plain") == []


def test_all_takes_what_overlaps_and_nothing_is_fine(tmp_path):
    store = Store(str(tmp_path / "s.db"))
    with Study(SPACE, store=store, name="first", like="all") as study:
        assert study.trials.like == ()
        assert study.journal.read()[0].data["like"] == []
    earlier(store, "partly", space=OTHER)
    earlier(store, "same")
    earlier(store, "foreign", space=Space(momentum=Float(0, 1), x=Float(2, 3), k=Choice(["c"])), n=0)
    earlier(store, "outside", space=Space(x=Float(0, 3), k=Choice(["a", "d"])).where("x > 1"), n=4)
    earlier(store, "empty", n=0)
    store.journal("never").close()  # its row is there, and no event
    with Study(SPACE, store=store, name="new", like="all") as study:
        assert [x.name for x in study.trials.like] == ["same", "partly"]


def test_of_all_that_overlap_the_ten_nearest(tmp_path):
    store = Store(str(tmp_path / "s.db"))
    for i in range(8):
        earlier(store, f"partly{i}", space=OTHER, n=4)
    for i in range(4):
        earlier(store, f"same{i}", n=2)
    with Study(SPACE, store=store, name="new", like="all") as study:
        names = [x.name for x in study.trials.like]
    assert names == [*(f"same{i}" for i in (3, 2, 1, 0)), *(f"partly{i}" for i in (7, 6, 5, 4, 3, 2))]


@pytest.mark.parametrize(
    ("like", "why"),
    [
        ("odl", r"like 'odl': no such study in .*s.db. Did you mean 'old'\? Studies: foreign, outside, empty, old\."),
        ("new", r"like 'new': is this study itself\. Name an earlier one"),
        ("foreign", r"like 'foreign': searches no hyperparameter that this study does. There: momentum; here: x, y, k\."),
        ("outside", r"like 'outside': none of its 4 trials with a value lies in this space\."),
        ("empty", r"like 'empty': has no trial with a value yet\."),
        (["old", "foreign"], r"like 'foreign': searches no"),
        ("all,old", r"like: 'all' means every study, so it stands alone\."),
        ("old,,", r"like 'old,,': names no study\."),
        ("", r"like '': names no study\."),
        (3, r"like: must be names of studies, or studies, got 3\."),
        ([3.5], r"like: must be names of studies, or studies, got 3\.5\."),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_from_is_said_and_leaves_no_study(like, why, tmp_path):
    store = Store(str(tmp_path / "s.db"))
    earlier(store, "foreign", space=Space(momentum=Float(0, 1)), n=0)
    earlier(store, "outside", space=Space(x=Float(0, 3), k=Choice(["a", "d"])).where("x > 1"), n=4)
    earlier(store, "empty", n=0)
    earlier(store)
    with pytest.raises(StudyError, match=why) as e:
        Study(SPACE, store=store, name="new", like=like)
    assert "\n" not in str(e.value)
    assert "new" not in store.names()


def test_studies_in_memory_are_given_themselves():
    old = Study(SPACE, search="random", name="old")
    spend(old, 6)
    study = Study(SPACE, like=[old, old.trials], name="new")
    assert [(x.name, len(x)) for x in study.trials.like] == [("old", 6), ("", 6)]
    with pytest.raises(StudyError, match="like 'old': a study in memory knows no others by name"):
        Study(SPACE, like="old")


def test_what_is_recorded_of_a_large_study(tmp_path):
    old = Study(Space(x=Float(0, 1)), search="random", schedule="full", steps=5, name="old")
    for i in range(500):
        trial = old.ask()
        if i % 2:
            for step in range(1, 3 if i % 4 == 1 else 6):
                old.report(trial, step, abs(trial.params["x"] - 0.5), extra=1.0)
        if i % 4 == 3:
            old.tell(trial, abs(trial.params["x"] - 0.5))
        if i % 4 == 0:
            old.fail(trial, "on purpose")
    study = Study(Space(x=Float(0, 1)), steps=5, like=old)
    kept = study.trials.like[0]
    failed = [t for t in kept if t.state is State.FAILED]
    ended = [t for t in kept if t.state is State.DONE]
    assert (len(failed), len(ended)) == (100, 125)
    assert all(t.origin["trial"] % 4 == 0 for t in failed)
    assert len(kept) == 100 + 250  # those that have a value, to the last; no curves but their ends
    assert {t.step for t in kept if t.value is not None} == {2, 5}
    assert max(len(t.curve) for t in kept) == 1
    assert [t.id for t in kept] == list(range(len(kept)))
    for i in range(200):
        trial = old.ask()
        old.tell(trial, 7.0 + i)
    some = Study(Space(x=Float(0, 1)), steps=5, like=old).trials.like[0]
    assert sum(t.value is not None for t in some) == 300
    values = sorted(t.value for t in ended)
    assert sorted(t.value for t in some if t.state is State.DONE)[:125] == values
    assert max(t.value for t in some if t.value is not None) == 206.0


def test_a_study_takes_what_it_is_like_along_when_it_is_exported():
    old = Study(SPACE, search="random", name="old")
    spend(old, 6)
    study = Study(SPACE, search="gp", like=old, name="new")
    spend(study, 12)
    moved = undocumented(document(study)).study(None, "moved")
    assert [(x.name, x.seq, [t.params for t in x]) for x in moved.trials.like] == [
        (x.name, x.seq, [t.params for t in x]) for x in study.trials.like
    ]
    a, b = study.ask(), moved.ask()
    assert a.params == b.params


def test_words():
    assert asked("b, a,b") == ("b", "a")
    assert asked(["a,b", "c"]) == ("a", "b", "c")
    assert asked(["all"]) == ("all",)


def test_what_two_spaces_share():
    space = Space(lr=Float(1e-3, 1, log=True), n=Int(1, 8), o=Ordered([1, 2, 4]), c=Choice(["a", 1, True]), k=Const(3))
    assert shared(space, Space(lr=Float(0.5, 9), n=Float(0, 1), o=Float(3, 9), c=Ordered([1, 2]), k=Int(1, 9))) == (
        "lr", "n", "o", "c",
    )  # fmt: skip
    assert shared(space, Space(lr=Float(2, 9), n=Int(9, 12), o=Choice(["1", True]), c=Choice(["b", 1.5]))) == ()
    branches = Space(o=Choice({"sgd": Space(m=Float(0, 1)), "adam": Space(b=Float(0, 1))}))
    assert shared(branches, Space(o=Choice({"sgd": Space(m=Float(2, 3)), "adam": None}))) == ("o",)


def test_what_a_configuration_says_elsewhere():
    space = Space(
        o=Choice({"sgd": Space(m=Float(0, 1)), "adam": Space(b=Float(0, 1))}), n=Int(1, 8), k=Const(3), y=Float(0, 1)
    ).where("n * y < 4")
    assert carried(space, {"o": "sgd", "o.m": 0.5, "n": 2.0}) == {"o": "sgd", "o.m": 0.5, "n": 2, "k": 3}
    assert carried(space, {"o": "adam", "o.m": 0.5, "z": 1}) == {"o": "adam", "k": 3}
    assert carried(space, {"o.m": 0.5}) == {"k": 3}  # no optimizer: nothing hangs on it
    for outside in ({"o": "rms"}, {"o": "sgd", "o.m": 2.0}, {"n": 2.5}, {"n": 9}, {"k": 4}, {"n": 8, "y": 0.5}):
        assert carried(space, outside) is None, outside


def test_children_on_inherited_weights_say_nothing_of_their_configuration_to_a_later_study():
    done = [Trial(i, {"x": i / 9, "y": 0.1, "k": "a"}, State.DONE, value=1.0) for i in range(4)]
    born = [Trial(4 + i, {"x": 1.0, "y": 0.1, "k": "a"}, State.DONE, value=0.0, parent=(i, 2)) for i in range(2)]
    old = Trials([*done, *born], space=SPACE, steps=9, name="old")
    assert [row[0] for row in recorded(old, SPACE)["trials"]] == [0, 1, 2, 3]
