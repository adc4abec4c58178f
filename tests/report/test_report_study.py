"""What a study's report says, and that nothing missing, broken or hostile makes it fail."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from whet.finding import Health
from whet.metric import Interval
from whet.report import Judged, Look, Report, study_report
from whet.report.answer import interval_plot
from whet.report.anytime import anytime, improvements
from whet.report.belief import failures
from whet.report.calibration import calibration
from whet.report.confusion import confusion
from whet.report.curves import curves, window
from whet.report.dataset import balance, spread
from whet.report.ensemble import path_plot
from whet.report.listing import ranked, thinned
from whet.report.model import hardest
from whet.report.parallel import parallel, ticks
from whet.report.passes import passes_plot
from whet.report.residuals import residuals
from whet.report.scale import Scale, round_ticks
from whet.tune.space import Choice, Const, Dim, Float, Int, Ordered, Space
from whet.tune.trial import Goal, Point, State, Trial, Trials, parse_goals

SPACE = Space(lr=Float(1e-4, 1.0, log=True), act=Choice(["relu", "gelu"]))
NAN = float("nan")


def three_forms(report: Report) -> str:
    """Render every form; return the page."""
    assert report.text()
    json.dumps(report.json(), allow_nan=False)
    return report.html()


def done(id: int, value: float, steps: int = 2, **changes: Any) -> Trial:
    curve = tuple(Point(k, value, 0.1) for k in range(1, steps + 1))
    return replace(Trial(id, {"lr": 0.01, "act": "relu"}, State.DONE, curve, value, cost=0.1 * steps), **changes)


def failed(id: int, message: str = "CUDA out of memory, 12 MiB") -> Trial:
    return Trial(id, {"lr": 0.01, "act": "relu"}, State.FAILED, error={"type": "RuntimeError", "message": message})


# -- whatever is missing


ODD = (
    "none",
    "waiting",
    "running",
    "all failed",
    "failed without a word",
    "one",
    "one step",
    "nan",
    "only nan",
    "equal",
    "told without a curve",
    "perfect",
    "child",
    "foreign",
    "huge",
)


@pytest.mark.parametrize("better", ["min", "max"])
@pytest.mark.parametrize("name", ODD)
def test_any_trials_make_a_report(odd_trials: Any, name: str, better: str) -> None:
    assert set(ODD) == set(odd_trials)
    for goal in ("accuracy", "loss"):
        trials = Trials(odd_trials[name], space=SPACE, goals=(Goal(goal, better),), steps=3)  # type: ignore[arg-type]
        history = [(t.id, p.step, NAN) for t in trials for p in t.curve] + [(99, 1, 0.0), (0, 77, 1.0)]
        for told in ((), history):
            three_forms(study_report("x", trials, history=told))


def test_when_all_failed_the_commonest_reason_is_said_first() -> None:
    trials = Trials([*(failed(k, f"loss is nan at batch {k}") for k in range(3)), failed(3, "other")], space=SPACE)
    report = study_report("x", trials)
    assert report.sections[0].sentence == (
        "There is no result: 4 of 4 trials failed, most often with RuntimeError: loss is nan at batch 0."
    )
    assert [(len(g), r) for r, g in failures(trials)] == [
        (3, "RuntimeError: loss is nan at batch 0"),
        (1, "RuntimeError: other"),
    ]


def test_a_space_without_dimensions_and_a_configuration_of_one() -> None:
    trials = Trials([done(k, 0.5 + k / 10, params={"depth": 3}) for k in range(4)], space=Space(depth=Const(3)))
    assert parallel(trials) is None
    three_forms(study_report("x", trials))


EMPTY = np.zeros(0)
LOGITS = np.random.default_rng(0).normal(size=(60, 3))
NAMES = ("a", "b", "c")
JUDGED = {
    "empty": Judged(np.zeros((0, 3)), EMPTY, NAMES),
    "empty regression": Judged(EMPTY, EMPTY),
    "all nan": Judged(np.full((5, 3), NAN), np.zeros(5), NAMES),
    "some nan": Judged(np.where(np.arange(60)[:, None] % 2, LOGITS, NAN), np.arange(60) % 3, NAMES),
    "not a class": Judged(LOGITS, np.arange(60) - 30, NAMES),
    "no names": Judged(LOGITS, np.arange(60) % 3, ()),
    "two classes, one logit": Judged(LOGITS[:, 0], np.arange(60) % 2, ("no", "yes")),
    "two classes, one column": Judged(LOGITS[:, :1], np.arange(60) % 2, ("no", "yes")),
    "one class": Judged(LOGITS[:, :1] * 0 - 1, np.zeros(60), ("only",)),
    "infinite log-probability": Judged(np.log(np.eye(3)[np.arange(60) % 3] + 1e-300), np.arange(60) % 3, NAMES),
    "regression, a column": Judged(LOGITS[:, :1], LOGITS[:, 1]),
    "regression, two columns": Judged(LOGITS[:, :2], LOGITS[:, 1:]),
    "regression, one": Judged(np.ones(1), np.ones(1)),
    "regression, constant": Judged(np.ones(30), np.ones(30)),
    "few pictures": Judged(LOGITS, np.arange(60) % 3, NAMES, pictures=np.zeros((3, 4, 4), np.uint8)),
    "float pictures": Judged(LOGITS, np.arange(60) % 3, NAMES, pictures=np.zeros((60, 4, 4))),
    "colour pictures": Judged(LOGITS, np.arange(60) % 3, NAMES, pictures=[np.zeros((4, 5, 3), np.uint8)] * 60),
    "200 classes": Judged(
        np.random.default_rng(1).normal(size=(900, 200)),
        np.arange(900) % 200,
        [f"class number {k} " * 9 for k in range(200)],
    ),
}


@pytest.mark.parametrize("name", JUDGED)
def test_any_outputs_make_a_report(name: str) -> None:
    with np.errstate(all="raise"):
        report = study_report("x", Trials([], space=SPACE), judged=JUDGED[name])
    three_forms(report)


LOOKS = {
    "nothing": Look(),
    "facts": Look({"examples": 3, "bytes": None, "nested": {"a": [1, 2]}}),
    "empty targets": Look(targets={"train": EMPTY}, classes=NAMES),
    "empty numbers": Look(targets={"train": EMPTY}),
    "nan numbers": Look(targets={"train": np.array([NAN, 1.0, 2.0])}),
    "one number": Look(targets={"train": np.array([5.0])}),
    "unseen class": Look(targets={"train": np.array([0, 0])}, classes=NAMES),
    "no classes": Look(targets={"train": np.array([0, 0])}, classes=()),
    "1,500 classes": Look(targets={"train": np.arange(1500)}, classes=[str(k) for k in range(1500)]),
    "not pictures": Look(
        samples=[
            (np.zeros((3, 3)), "float"),
            (np.zeros((0, 3), np.uint8), "empty"),
            (np.zeros((3, 3, 4), np.uint8), "alpha"),
        ]
    ),
    "ragged columns": Look(columns=[{"name": "a", "missing": 0.5}, {"name": "b" * 300, "values": ["x" * 90] * 9}]),
    "600 columns": Look(columns=[{"name": f"c{k}"} for k in range(600)]),
}


@pytest.mark.parametrize("name", LOOKS)
def test_any_look_makes_a_report(name: str) -> None:
    three_forms(study_report("x", Trials([], space=SPACE), look=LOOKS[name]))


@pytest.mark.parametrize(
    "more",
    [
        {"scores": {"test": Interval(NAN, NAN, NAN, 0), "validation": Interval(0.5, 0.5, 0.5, 1)}},
        {"scores": {"test": Interval(0.5, 0.4, 0.6, 9)}},
        {"squeezed": {"members": []}},
        {"squeezed": {"members": [{"trial": 77, "weight": None}, {"trial": None}], "path": [NAN, None, 0.5], "single": NAN}},
        {"squeezed": {"path": [], "weights": "?"}},
        {"records": {"unsealed": [{"why": "a"}, {"why": "b", "host": None}], "export": [{}], "environment": []}},
        {"records": {"environment": [{"versions": {}, "gpu": None, "seed": 0}]}},
        {"health": Health()},
        {"commands": {"again": ""}},
    ],
)  # fmt: skip
def test_records_with_holes_make_a_report(more: dict[str, Any]) -> None:
    three_forms(study_report("x", Trials([done(0, 0.5)], space=SPACE), **more))


# -- hostile and long names


@pytest.fixture(scope="module")
def nasty_page(hostile: Report) -> str:
    return three_forms(hostile)


def test_what_a_user_named_is_inert_in_the_page(nasty_page: str) -> None:
    lowered = nasty_page.lower()
    assert "<script>alert" not in lowered
    assert "<img src=x" not in lowered
    assert "&lt;script&gt;alert(1)" in lowered
    assert (
        lowered.count("<script") == lowered.count("</script>") + lowered.count("<script\\")
        or lowered.count("</script>") == 3
    )


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [s for v in value.values() for s in strings(v)]
    if isinstance(value, list | tuple):
        return [s for v in value for s in strings(v)]
    return [value] if isinstance(value, str) else []


def test_labels_inside_plots_hold_no_markup_and_no_template_of_a_user(hostile: Report) -> None:
    for section in hostile.sections:
        for block in section.blocks:
            for text in strings(getattr(block, "figure", {})):
                plain = text.replace("<br>", "").replace("<extra></extra>", "")
                assert "<" not in plain, text
                assert len(text) < 200


# -- what it says


def test_the_best_so_far_is_what_it_would_be_counted_by_hand(some_trials: Any) -> None:
    for seed, better in ((0, "max"), (1, "min"), (2, "max")):
        trials, history = some_trials(50, seed, better)
        steps, epochs, clock = improvements(trials, history)
        assert epochs == sum(t.step for t in trials)
        assert clock == pytest.approx(sum(p.cost for t in trials for p in t.curve))
        values = [trials[i].at(s).value for i, s, _ in history if trials[i].state is not State.FAILED]
        assert steps[-1][2] == (max if better == "max" else min)(values)
        scores = [trials.goal.score(s[2]) for s in steps]
        assert scores == sorted(set(scores), reverse=True)


def test_a_failed_trial_leads_nowhere_and_a_childs_inheritance_costs_nothing() -> None:
    lucky = replace(failed(0), curve=(Point(1, 9.0, 1.0),), value=9.0)
    child = done(2, 0.6, 3, parent=(1, 2))
    trials = Trials([lucky, done(1, 0.5), child], space=SPACE, goals=(Goal("accuracy", "max"),))
    steps, epochs, _ = improvements(trials, [(0, 1, 1.0), (1, 1, 2.0), (1, 2, 3.0), (2, 2, 3.0), (2, 3, 4.0)])
    assert [s[2] for s in steps] == [0.5, 0.6]
    assert epochs == 1 + 2 + 1


def test_the_ranking_begins_with_the_studys_best(some_trials: Any) -> None:
    for seed in range(4):
        for better in ("min", "max"):
            trials, _ = some_trials(40, seed, better)
            order = ranked(trials)
            assert order[0] == trials.best
            assert sorted(t.id for t in order) == list(range(len(trials)))
            assert [t.state for t in order[-sum(t.state is State.FAILED for t in trials) :]].count(State.DONE) == 0


@pytest.mark.parametrize(("n", "most"), [(5, 10), (10, 10), (11, 10), (1000, 150), (7, 1)])
def test_thinning_keeps_the_best_and_the_order(n: int, most: int) -> None:
    order = [Trial(k) for k in range(n)]
    kept = [t.id for t in thinned(order, most)]
    assert len(kept) == min(n, most)
    assert kept == sorted(set(kept))
    assert kept[: max(1, most // 3)] == list(range(min(n, max(1, most // 3))))


def test_1000_trials_are_thinned_and_it_is_said(some_trials: Any) -> None:
    trials, _ = some_trials(1000, 4)
    for plot in (curves(trials), parallel(trials)):
        assert plot is not None
        assert len(plot.figure["data"]) == 150
        assert "Drawn: 150" in plot.note


def test_parallel_coordinates_find_what_matters_and_nothing_in_noise(some_trials: Any) -> None:
    trials, _ = some_trials(1000, 1)
    plot = parallel(trials)
    assert plot is not None
    assert "lr" in plot.title
    rng = np.random.default_rng(0)
    space = Space(**{f"x{k}": Float(0, 1) for k in range(6)})
    blind = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        noise = Trials([done(k, float(rng.random()), params=space.sample(rng)) for k in range(100)], space=space)
        found = parallel(noise)
        assert found is not None
        blind += found.title.startswith("No single")
    assert blind >= 17


def test_parallel_coordinates_put_values_where_their_axis_says(study: Any) -> None:
    plot = parallel(study.trials)
    assert plot is not None
    best = plot.figure["data"][-1]
    assert best["meta"] == study.trials.best.id
    expected = study.trials.space.encode(study.trials.best.params)
    known = np.isfinite(expected)
    assert np.allclose(np.array(best["y"][:-1])[known], expected[known])
    assert all(y < 0 for y, ok in zip(best["y"][:-1], known, strict=True) if not ok)
    traces = plot.figure["data"]
    by_value = sorted(traces, key=lambda t: study.trials[t["meta"]].value)
    assert [t["y"][-1] for t in by_value] == sorted(t["y"][-1] for t in traces)


@pytest.mark.parametrize(
    ("domain", "texts"),
    [
        (Int(16, 512, log=True), ["16", "32", "64", "128", "256", "512"]),
        (Int(1, 4), ["1", "2", "3", "4"]),
        (Float(0.0, 0.6), ["0", "0.2", "0.4", "0.6"]),
        (Float(0.2, 0.3, log=True), ["0.2", "0.2449", "0.3"]),
        (Ordered([1024, True, "x"]), ["1024", "True", "x"]),
        (Choice([None, "<b>"]), ["None", "&lt;b&gt;"]),
    ],
)
def test_ticks_are_round_and_lie_where_they_should(domain: Any, texts: list[str]) -> None:
    found = ticks(Dim("x", domain))
    assert [t for _, t in found] == texts
    assert all(0 <= y <= 1 for y, _ in found)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 7.9), (1e-9, 3e-9), (52, 160), (0, 1e12), (0.97, 0.98)])
def test_round_ticks_stay_inside(low: float, high: float) -> None:
    found = round_ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-9 * abs(low) <= v <= high + 1e-9 * abs(high) for v in found)


def test_scales_draw_better_values_higher() -> None:
    for goal, values in (
        (Goal("accuracy", "max"), [0.1, 0.9, 0.97, 0.99, 1.0]),
        (Goal("accuracy", "max"), [0.2, 0.5]),
        (Goal("loss", "min"), [1e-4, 0.1, 5.0]),
        (Goal("rmse", "min"), [50.0, 60.0]),
        (Goal("r2", "max"), [-3.0, 0.95]),
    ):
        scale = Scale.of(goal, values)
        order = sorted(values, key=goal.score, reverse=True)
        heights = [scale.height(v) for v in order]
        assert heights == sorted(heights)
        assert (heights[0], heights[-1]) == (0.0, 1.0)
        assert all(min(values) <= t <= max(values) for t in scale.ticks())
    assert Scale.of(Goal("r2", "max"), [-3.0, 0.95]).kind == "linear"


def test_the_window_shows_the_better_side_whole() -> None:
    rng = np.random.default_rng(0)
    values = [*rng.uniform(1, 2, 95).tolist(), 500.0, 700.0]
    low, high, outside = window(values, "min") or (0, 0, 0)
    assert low < min(values)
    assert 2 <= high < 3
    assert outside == 2
    low, high, outside = window([-v for v in values], "max") or (0, 0, 0)
    assert high > max(-v for v in values)
    assert outside == 2
    assert window(values[:95], "min") is None


def test_the_confusion_matrix_is_scikit_learns() -> None:
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        truth, outputs = rng.integers(0, 4, 200), rng.normal(size=(200, 4))
        plot = confusion(Judged(outputs, truth, list("abcd")))
        assert plot is not None
        wrong, right = (t["text"] for t in plot.figure["data"])
        drawn = [
            [int(a or 0) + int(b or 0) for a, b in zip(r, s, strict=True)] for r, s in zip(wrong, right, strict=True)
        ]
        expected = confusion_matrix(truth, outputs.argmax(1))
        assert np.array_equal(drawn, expected)
        off = expected - np.diag(np.diag(expected))
        assert plot.table.rows[0][2] == off.max()
        assert f"{off.max()} of its" in plot.title


def test_the_confusion_of_many_classes_shows_those_with_most_mistakes() -> None:
    truth = np.arange(600) % 60
    outputs = np.eye(60)[truth] * 9
    outputs[truth == 41] = np.eye(60)[7] * 9
    plot = confusion(Judged(outputs, truth, [f"c{k}" for k in range(60)]))
    assert plot is not None
    assert plot.title == "c41 is most often mistaken for c7: 10 of its 10 examples"
    assert {"c41", "c7"} <= set(plot.figure["layout"]["xaxis"]["ticktext"])
    assert "20 of 60 classes" in plot.note


def test_calibration_knows_an_honest_model_from_a_boaster() -> None:
    for seed in (0, 1, 2):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 1.5, (4000, 3))
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        truth = (p.cumsum(1) < rng.random((4000, 1))).sum(1)
        honest, boaster = calibration(Judged(logits, truth, NAMES)), calibration(Judged(logits * 4, truth, NAMES))
        assert honest is not None
        assert boaster is not None
        assert "about as often" in honest.title
        assert "surer than it is right" in boaster.title
    assert calibration(Judged(LOGITS[:10], np.zeros(10), NAMES)) is None


def test_residuals_and_the_hardest_examples_of_a_regression() -> None:
    truth = np.arange(40.0)
    outputs = truth + np.where(np.arange(40) == 7, 30, 1)
    judged = Judged(outputs, truth, ids=np.arange(40) + 100)
    plot = residuals(judged)
    assert plot is not None
    assert plot.title.startswith("Half of the predictions are within 1 of the truth")
    table = hardest(judged, 3)
    assert table is not None
    assert table.rows[0] == (107, 7.0, 37.0, -30.0)  # type: ignore[union-attr]
    assert len(residuals(Judged(np.zeros(9000), np.arange(9000.0))).figure["data"][0]["x"]) == 2000  # type: ignore[union-attr]


def test_the_hardest_example_is_the_one_least_believed() -> None:
    outputs = np.array([[3.0, 0.0], [0.0, 5.0], [1.0, 0.0]])
    pictures = np.stack([np.full((2, 2), k, np.uint8) for k in range(3)])
    found = hardest(Judged(outputs, np.array([0, 0, 0]), ("cat", "dog"), [10, 11, 12], pictures), 2)
    assert found is not None
    assert [c for _, c in found.items] == ["11: cat, taken for dog", "12: cat, but unsure (73.1 %)"]  # type: ignore[union-attr]
    assert found.items[0][0][0, 0] == 1  # type: ignore[union-attr]


def test_titles_follow_the_numbers() -> None:
    goal = Goal("accuracy", "max")

    def titled(test: Interval, valid: Interval) -> str:
        plot = interval_plot({"validation": valid, "test": test}, goal)
        assert plot is not None
        return plot.title

    assert "agrees" in titled(Interval(0.97, 0.95, 0.99, 100), Interval(0.98, 0.96, 0.99, 100))
    assert "worse" in titled(Interval(0.90, 0.88, 0.92, 100), Interval(0.98, 0.96, 0.99, 100))
    assert "better" in titled(Interval(0.99, 0.985, 1.0, 100), Interval(0.95, 0.94, 0.96, 100))
    gain, none = path_plot([0.9, 0.95], goal, 0.9), path_plot([0.9, 0.9], goal, 0.9)
    assert gain is not None
    assert none is not None
    assert "takes accuracy from 0.9 to 0.95" in gain.title
    assert "does not improve" in none.title
    even = balance({"train": np.repeat([0, 1, 2], 10)}, NAMES)
    assert even is not None
    assert even.title == "The 3 classes are balanced: 10 to 10 examples each"
    half = spread({"train": np.arange(101.0)})
    assert half is not None
    assert half.title == "Half of the targets lie between 25 and 75"


def test_the_report_counts_the_openings_of_the_test_split() -> None:
    trials = Trials([done(0, 0.5)], space=SPACE)
    for n, text in ((0, "has not been opened"), (1, "was opened once"), (3, "was opened 3 times")):
        belief = study_report(
            "x", trials, records={"unsealed": [{"why": "w"}, {"data": {"why": "x"}, "at": 1.0}, {"why": "y"}][:n]}
        ).sections[1]
        assert text in belief.sentence
        if n == 3:
            assert [r[0] for r in belief.blocks[-1].rows] == ["w", "x", "y"]  # type: ignore[union-attr]


def test_sections_come_in_the_order_of_reading_and_only_where_there_is_something(study: Any) -> None:
    names = [s.name for s in study.report().sections]
    assert names == ["answer", "belief", "happened", "landscape", "importance", "data", "model", "ensemble", "again"]
    assert [s.name for s in study.report(look=None, judged=None, squeezed=None).sections] == [
        "answer",
        "belief",
        "happened",
        "landscape",
        "importance",
        "again",
    ]


def zoomed(goal: str = "min") -> Trials:
    """A study of three passes over a rate, a whole number and a choice with a branch."""
    space = Space(lr=Float(1e-4, 1.0, log=True), n=Int(1, 4), o=Choice({"sgd": Space(m=Float(0, 1)), "adam": None}))
    ranges = {"lr": [1e-3, 0.1], "n": [2, 3], "o": ["sgd"], "o.m": [0.25, 0.75]}
    said = [
        {"pass": 0},
        {"pass": 0},
        {"pass": 1, "since": 0, "around": 1, "ranges": ranges},
        {"pass": 1},
        {"pass": 2, "since": 4},
    ]
    rows = [(1e-4, 1, "adam"), (0.01, 2, "sgd"), (0.02, 3, "sgd"), (0.05, 2, "sgd"), (1.0, 4, "adam")]
    trials = []
    for i, (z, (lr, n, o)) in enumerate(zip(said, rows, strict=True)):
        params = {"lr": lr, "n": n, "o": o, **({"o.m": 0.5} if o == "sgd" else {})}
        trials.append(Trial(i, params, State.DONE, (Point(1, i / 10),), i / 10, origin={"search": "zoom", "zoom": z}))
    return Trials(trials, space=space, goals=(Goal("loss", goal),))  # type: ignore[arg-type]


def test_passes_are_drawn_where_their_ranges_are() -> None:
    plot = passes_plot(zoomed("max"))
    assert plot is not None
    assert plot.title == "3 passes"  # the last one has the whole space again
    assert "began anew" in plot.note
    bands = [s for s in plot.figure["layout"]["shapes"] if s["type"] == "rect"]
    by = {k: [b for b in bands if b["yref"] == f"y{k}"] for k in ("", "2", "3")}
    assert [(b["x0"], b["x1"]) for b in by[""]] == [(-0.5, 1.5), (1.5, 3.5), (3.5, 4.5)]
    assert [(b["y0"], b["y1"]) for b in by["2"]] == [(0.0, 1.0), (0.25, 0.75), (0.0, 1.0)]  # whole cells
    assert by[""][1]["y0"] == pytest.approx(0.25)
    assert by[""][1]["y1"] == pytest.approx(0.75)
    assert len(by["3"]) == 3
    dots = plot.figure["data"]
    assert [len(d["x"]) for d in dots] == [5, 5, 3]  # only trials that took the branch
    assert dots[0]["y"] == pytest.approx([0.0, 0.5, 0.575, 0.675, 1.0], abs=1e-3)
    assert plot.table.columns == ("pass", "trials", "best loss", "around trial", "lr", "n", "o", "o.m")
    assert plot.table.rows[1] == (1, 2, 0.3, 1, "0.001 to 0.1", "2 to 3", "sgd", "0.25 to 0.75")
    three_forms(study_report("zoomed", zoomed()))
    assert "3 passes" in study_report("zoomed", zoomed()).text()


def test_other_searches_and_records_of_other_spaces_have_no_passes() -> None:
    assert passes_plot(Trials([done(0, 1.0), done(1, 2.0)], space=SPACE)) is None
    odd = [
        done(i, 1.0, origin={"zoom": z})
        for i, z in enumerate(({"pass": 0}, {"pass": 1, "since": 0, "ranges": {"width": [1, 2]}}))
    ]
    assert passes_plot(Trials(odd, space=SPACE)) is not None
    odd[1] = done(1, 1.0, origin={"zoom": {"pass": 1, "since": 0, "ranges": {"lr": ["low", None]}}})
    three_forms(study_report("odd", Trials(odd, space=SPACE)))


def test_what_breaks_a_bound_is_no_new_best():
    """Unless every trial breaks it, as the best of a study is chosen."""

    def told(*said, goals=("min loss", "ms <= 5")):
        done = [
            Trial(i, {"x": i / 9}, State.DONE, (Point(1, loss, metrics={"ms": ms}),), loss)
            for i, (loss, ms) in enumerate(said)
        ]
        return Trials(done, space=Space(x=Float(0, 1)), goals=parse_goals(list(goals)))

    trials = told((0.1, 9.0), (0.5, 2.0), (0.4, 3.0))
    assert [s[3] for s in improvements(trials, [(i, 1, 0.0) for i in range(3)])[0]] == [1, 2]
    plot = anytime(trials)
    assert plot.title.startswith("Best loss 0.4, first seen after 3 of 3 epochs")
    assert "What breaks a bound is left out." in plot.note
    assert "ended at" not in plot.note
    for others in (told((0.1, 9.0), (0.5, 8.0)), told((0.1, 9.0), (0.5, 2.0), goals=["min loss"])):
        assert anytime(others).title.startswith("Best loss 0.1")
        assert "bound" not in anytime(others).note


def test_a_bound_that_no_trial_keeps_is_said():
    def sentence(ms, goals=("min loss", "ms <= 5", "loss < 1")):
        done = [Trial(0, {"x": 0.5}, State.DONE, (Point(1, 0.5, metrics={"ms": ms}),), 0.5)]
        return (
            study_report("s", Trials(done, space=Space(x=Float(0, 1)), goals=parse_goals(list(goals))))
            .sections[0]
            .sentence
        )

    assert sentence(9.0).endswith("No trial keeps ms <= 5 and loss < 1; the best is chosen by loss alone.")
    assert "keeps" not in sentence(3.0)
    assert "keeps" not in sentence(9.0, ("min loss",))


def test_all_goals_are_below_the_title() -> None:
    goals = (Goal("accuracy", "max"), Goal("latency", "min"))
    done = [Trial(0, {"lr": 0.1}, State.DONE, (Point(1, 0.9, metrics={"latency": 2.0}),), 0.9)]
    made = study_report("x", Trials(done, space=Space(lr=Float(0, 1)), goals=goals))
    assert made.subtitle.startswith("max accuracy, min latency over 1 dimension")


def test_the_title_of_the_curves_counts_every_trial() -> None:
    def trial(id: int, state: State, steps: int) -> Trial:
        return Trial(id, {"lr": 0.1}, state, tuple(Point(s, 1.0 / s) for s in range(1, steps + 1)), 1.0 / steps)

    states = [(State.PAUSED, 6), (State.RUNNING, 5), (State.PAUSED, 3), (State.STOPPED, 3)]
    trials = Trials([trial(i, *s) for i, s in enumerate(states)], space=Space(lr=Float(0, 1)), steps=27)
    plot = curves(trials)
    assert plot is not None
    assert plot.title == "1 of 4 trials was trained for 6 of 27 epochs; 2 stopped earlier, at 3; 1 is on the way, at 5"
