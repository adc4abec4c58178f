"""The closer looks: each on sick data it must flag and on healthy data it must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from whet.data.bundled import digits
from whet.data.look import look
from whet.data.seen.columns import absent_beyond, absent_with, counts_rows, missing_together, same_columns
from whet.data.seen.confident import confident
from whet.data.seen.drift import drift
from whet.data.seen.lone import lone_scores, stands_out
from whet.data.seen.near import hashes, near_pictures, near_rows
from whet.data.seen.nearby import near_duplicates
from whet.data.seen.null import Scaled, null_finding, null_labels, scaled_together
from whet.data.seen.odd import odd_columns
from whet.data.seen.outliers import far_examples, lone_distance
from whet.data.seen.sequences import near_sequences
from whet.data.seen.shift import column_p
from whet.data.seen.tails import tails
from whet.data.seen.view import view
from whet.data.split import Data, Split
from whet.data.table import table
from whet.metric.holm import holm

SEEDS = [0, 1, 2]


def pair(x, y, first, **more):
    """Data whose first examples are training and whose others are validation."""
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    ids = np.arange(len(y))
    return Data(Split(x[:first], y[:first], ids[:first]), Split(x[first:], y[first:], ids[first:]), **more)


# -- labels


def probabilities(n, k, seed, noise):
    """Probabilities that know the true class, and labels of which a share is wrong."""
    draw = np.random.default_rng(seed)
    true = draw.integers(0, k, n)
    scores = draw.normal(size=(n, k)) + 4 * np.eye(k)[true]
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    wrong = draw.random(n) < noise
    return p, np.where(wrong, (true + draw.integers(1, k, n)) % k, true), wrong


@pytest.mark.parametrize("seed", SEEDS)
def test_confident_learning_finds_flipped_labels_and_their_rate(seed):
    p, y, wrong = probabilities(3000, 5, seed, 0.1)
    c = confident(p, y)
    assert wrong[c.suspects].mean() > 0.9
    assert wrong[c.suspects].sum() > 0.8 * wrong.sum()
    assert c.interval[0] < c.rate < c.interval[1]
    assert abs(c.rate - 0.1) < 0.03
    assert (np.diff(c.score) >= 0).all()
    assert c.joint.sum() == 3000
    assert np.array_equal(c.joint.sum(1), np.bincount(y))
    clean, y, _ = probabilities(3000, 5, seed, 0.0)
    assert len(confident(clean, y).suspects) < 60


@pytest.mark.parametrize("seed", SEEDS)
def test_suspects_are_those_of_cleanlab(seed):
    cleanlab = pytest.importorskip("cleanlab.filter")
    for noise, k in ((0.0, 3), (0.03, 10), (0.2, 4)):
        p, y, _ = probabilities(800, k, seed, noise)
        theirs = cleanlab.find_label_issues(y, p, n_jobs=1)
        ours = np.zeros(len(y), bool)
        ours[confident(p, y).suspects] = True
        assert (ours == theirs).mean() > 0.999


# -- tails


DRAWN = {
    "normal": lambda r, n: r.normal(size=n),
    "log-normal": lambda r, n: r.lognormal(size=n),
    "uniform": lambda r, n: r.random(n),
    "Cauchy": lambda r, n: r.standard_cauchy(n),
    "counts": lambda r, n: r.poisson(3, n).astype(float),
    "mostly zero": lambda r, n: np.where(r.random(n) < 0.9, 0, r.lognormal(3, 1, n)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_tails_of_healthy_columns_are_no_outliers(name):
    found = [bool(tails(DRAWN[name](np.random.default_rng(s), n))) for s in range(20) for n in (100, 2000)]
    assert sum(found) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_gross_errors_and_placeholders_are_outliers(seed):
    x = np.random.default_rng(seed).normal(size=1000)
    x[7], x[9] = 20.0, np.nan
    (end,) = tails(x)
    assert end.index.tolist() == [7]
    x = np.random.default_rng(seed).lognormal(3, 1, 2000)
    x[:15] = 9999.0
    (end,) = tails(x)
    assert set(range(15)) <= set(end.index.tolist())
    assert end.p < 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_far_example_and_a_blank_picture_are_named(seed):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(500, 4)).astype(np.float32)
    assert not far_examples(view(pair(x, np.arange(500) % 2, 400))).findings
    x[450] = 60.0
    out = far_examples(view(pair(x, np.arange(500) % 2, 400)))
    assert out.examples[0].split == "valid"
    assert out.examples[0].id == 450
    pixels = draw.integers(0, 256, (120, 1, 8, 8), dtype=np.uint8)
    pixels[5] = 9
    blank = next(f for f in far_examples(view(pair(pixels, np.arange(120) % 2, 100))).findings if f.code == "BLANK")
    assert blank.evidence["ids"] == [["train", 5]]


def test_the_distance_to_neighbours_is_that_of_brute_force():
    x = np.random.default_rng(0).normal(size=(60, 3))
    d = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), 1)
    assert np.allclose(lone_distance(x, k=2), d[:, 2], atol=1e-4)
    close = 7.3 + 1e-4 * np.random.default_rng(0).normal(size=(200, 2))
    assert not lone_distance(close, k=150).any(), "rounding is no distance"


# -- near duplicates


@pytest.mark.parametrize("seed", SEEDS)
def test_near_pictures_are_found_and_others_are_not(seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.interpolate(torch.rand(300, 1, 14, 14, generator=draw), (28, 28), mode="bilinear")
    assert not len(near_pictures(x, x.flatten(1).numpy()))
    x[200:210] = (0.95 * x[:10] + 0.01 * torch.rand(10, 1, 28, 28, generator=draw)).clamp(0, 1)
    found = near_pictures(x, x.flatten(1).numpy())
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) >= {(i, 200 + i) for i in range(1, 9)}
    assert all(j - i == 200 for i, j in zip(found.first, found.second, strict=True))
    data = pair((255 * x).to(torch.uint8), np.arange(300) % 2, 200)
    finding = near_duplicates(view(data), np.arange(300)).findings[0]
    assert finding.severity == "WARN"
    assert finding.evidence["across"] >= 8


def test_hashes_do_not_mind_brightness():
    x = torch.rand(5, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    assert np.bitwise_count(hashes(x) ^ hashes(0.5 * x + 0.2)).max() <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_near_rows_are_more_than_chance(seed):
    draw = np.random.default_rng(seed)
    for x in (draw.normal(size=(2000, 4)), draw.lognormal(size=(2000, 5)), draw.random((3000, 3))):
        assert not near_duplicates(
            view(pair(x.astype(np.float32), np.arange(len(x)) % 2, 1500)), np.arange(len(x))
        ).findings
    x = draw.normal(size=(2000, 6))
    x[1900:] = x[:100] + 1e-4 * draw.normal(size=(100, 6))
    found = near_rows(x, np.zeros((2000, 1), int))
    assert len(found) == 100
    assert isinstance(near_rows(draw.integers(0, 3, (500, 5)).astype(float), np.zeros((500, 0), int)), str)


def test_near_sequences():
    x = np.random.default_rng(0).integers(1, 30, (200, 60))
    assert not len(near_sequences(x))
    x[150] = np.roll(x[3], 2)
    assert near_sequences(x).second.tolist() == [150]
    assert isinstance(near_sequences(x[:, :8]), str)


# -- shift


def test_holm_is_as_written_down():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.parametrize("seed", SEEDS)
def test_shift_is_seen_where_it_is(seed):
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(900, 5)).astype(np.float32), draw.integers(0, 2, 900)
    assert not drift(view(pair(x, y, 600))).findings
    x[600:, 2] += 0.7
    (finding,) = drift(view(pair(x, y, 600))).findings
    assert "column 2" in finding.evidence["columns"]
    assert finding.evidence["p"] < 1e-3
    x[600:, 2] -= 0.7
    x[600:, 1] = x[600:, 0]  # each column by itself is as before
    (finding,) = drift(view(pair(x, y, 600))).findings
    assert list(finding.evidence["columns"]) == ["all together (classifier)"]


def test_a_category_that_grows():
    a, b = np.repeat([0, 1, 2], [100, 100, 3]), np.repeat([0, 1, 2], [100, 30, 1])
    assert column_p(a, b, ordered=False)[1] < 1e-3
    assert column_p(a, a[::2], ordered=False)[1] > 0.5


# -- columns


@pytest.mark.parametrize("seed", SEEDS)
def test_columns_that_repeat_count_or_know_too_much(seed):
    draw = np.random.default_rng(seed)
    n = 1000
    y = draw.choice(["no", "yes", "may"], n)
    frame = pd.DataFrame({"a": draw.normal(size=n), "b": draw.normal(size=n), "c": draw.choice(list("xyz"), n), "y": y})
    assert not [f for f in look(table(frame, "y", seed=seed)).findings if f.severity == "WARN"]
    frame["fahrenheit"] = 32 + 1.8 * frame["a"]
    frame["letter"] = frame["c"].str.upper()
    frame["visit"] = 5 * np.arange(n) + 100
    frame["gone"] = np.where(y == "may", np.nan, draw.normal(size=n))
    frame["gone too"] = frame["gone"] * draw.normal(size=n)
    frame["late"] = np.searchsorted(["may", "no", "yes"], y) * 3 + draw.normal(size=n) * 0.6
    found = {(f.code, f.where): f for f in look(table(frame, "y", seed=seed)).findings}
    assert found["REDUNDANT", "columns"].evidence["pairs"] == [["a", "fahrenheit"], ["c", "letter"]]
    assert found["COUNTER", "visit"].severity == "WARN"
    assert found["MISSING-TOGETHER", "columns"].evidence["groups"] == [["gone", "gone too"]]
    assert "exactly when the target is 'may'" in found["LEAK", "gone"].message


@pytest.mark.parametrize("seed", SEEDS)
def test_a_column_that_nearly_gives_the_target_away(seed):
    draw = np.random.default_rng(seed)
    y = np.arange(600) % 2
    x = draw.normal(size=(600, 4))
    x[:, 1] += 0.5 * y
    x[:, 3] = 2.0 * y + 0.35 * draw.normal(size=600)
    scores = lone_scores(x, y, classes=True)
    assert stands_out(scores) == [3]
    leak = [f for f in odd_columns(view(pair(x.astype(np.float32), y, 500))).findings if f.code == "LEAK"]
    assert [f.where for f in leak] == ["column 3"]
    assert stands_out(lone_scores(x[:, :3], y, classes=True)) == []


def test_values_of_columns():
    rows = np.arange(50)
    assert counts_rows(np.random.default_rng(0).normal(size=50), rows) == ""
    assert counts_rows(-3.0 * rows, rows) == "steps"
    assert counts_rows(np.repeat(rows[:25], 2), rows) == ""
    mask = np.zeros((100, 3), bool)
    mask[:20, :2] = mask[50:80, 2] = True
    assert missing_together(mask) == [[0, 1]]
    y = np.repeat([0, 1], 50)
    assert absent_with(y == 0, y).exactly
    assert not absent_with((y == 0) & (np.arange(100) % 2 == 0), y).exactly
    assert absent_with(np.arange(100) < 3, y) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_columns_missing_at_one_end_of_a_real_target(seed):
    from scipy import stats

    rng = np.random.default_rng(seed)
    y = rng.normal(size=400)
    high, low = y > np.quantile(y, 0.8), y < np.quantile(y, 0.3)
    exactly = absent_beyond(high, y)
    assert (exactly.above, exactly.exactly, exactly.bound) == (True, True, y[high].min())
    some = low & (rng.random(400) < 0.5)
    partly = absent_beyond(some, y)
    assert (partly.above, partly.exactly, partly.n) == (False, False, some.sum())
    r = int((y <= y[some].max()).sum())  # all the missing ones among the r lowest: a hypergeometric draw
    assert partly.p == pytest.approx(2 * stats.hypergeom(400, r, some.sum()).pmf(some.sum()), rel=1e-6)
    assert absent_beyond(rng.random(400) < 0.2, y) is None
    most = (
        np.argsort(np.argsort(rng.normal(size=4000))) < 3600
    )  # far more likely than not by the ranks, and yet no leak
    assert absent_beyond(most & (rng.random(4000) < 0.5), np.where(most, 0.0, 5.0) + rng.random(4000)) is None
    frame = pd.DataFrame({"x": rng.normal(size=400), "late": np.where(high, np.nan, 1 + rng.random(400)), "y": y})
    (found,) = [f for f in look(table(frame, "y")).findings if f.code == "LEAK"]
    assert found.where == "late"
    assert "exactly when the target is" in found.message
    assert found.message.endswith("rows)")
    x = np.random.default_rng(1).normal(size=(80, 3))
    assert same_columns(x, np.zeros((80, 1), int)) == []
    assert same_columns(np.c_[x[:, 0], x[:, 0] + 0.01 * x[:, 1]], np.zeros((80, 0), int)) == []


# -- preparation


@pytest.mark.parametrize("seed", SEEDS)
def test_selection_before_the_split_is_seen_and_a_scaler_is_not(seed):
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(80, 300)), np.arange(80) % 2

    def select(x, y):
        return x[:, np.argsort(-np.abs(x[y == 1].mean(0) - x[y == 0].mean(0)))[:8]]

    sick = null_labels(x, y, select, shuffles=8, seed=seed)
    assert null_finding(sick).evidence["p"] < 1e-3
    assert sick.interval[0] > 0
    for healthy in (None, lambda x, y: (x - x.mean(0)) / x.std(0)):
        null = null_labels(x[:, :20], y, healthy, shuffles=8, seed=seed)
        assert null_finding(null) is None
        assert null.interval[0] < 0
    target = null_labels(
        x, x[:, 0], lambda x, y: x[:, np.argsort(-np.abs(x.T @ (y - y.mean())))[:8]], classes=False, shuffles=8
    )
    assert target.p < 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scaler_fitted_on_both_splits_is_seen(seed):
    x = np.random.default_rng(seed).lognormal(size=(300, 3)).astype(np.float32)
    both = (x - x.mean(0)) / x.std(0)
    assert scaled_together(both[:200], both[200:]) == [Scaled("mean 0 and deviation 1", (0, 1, 2), 1e-5)]
    mean, std = x[:200].mean(0), x[:200].std(0)
    assert scaled_together((x[:200] - mean) / std, (x[200:] - mean) / std) == []
    assert scaled_together(x[:200], x[200:]) == []
    found = {f.code for f in look(pair(both, np.arange(300) % 2, 200)).findings}
    assert "SCALED" in found


# -- the whole


@pytest.mark.parametrize("seed", SEEDS)
def test_flipped_digits_warn_and_come_first(seed):
    data = digits(seed=seed)
    y, draw = data.train.targets, np.random.default_rng(seed)
    wrong = draw.random(len(y)) < 0.1
    y[wrong] = (y[wrong] + torch.from_numpy(draw.integers(1, 10, int(wrong.sum())))) % 10
    seen = look(data)
    label = next(f for f in seen.findings if f.code == "LABEL")
    assert label.severity == "WARN"
    first = [e for e in seen.examples if e.code == "LABEL"][:40]
    assert np.mean([e.split == "train" and wrong[e.index] for e in first]) > 0.9
    assert all(int(data.train.ids[e.index]) == e.id for e in first if e.split == "train")


def test_the_seal_holds_and_what_was_not_run_is_said():
    opened = []
    data = digits()
    guarded = Data(data.train, data.valid, classes=data.classes, sealed=lambda: opened.append(1), meta=data.meta)
    seen = look(guarded)
    assert not opened
    assert seen.facts["looked_at"] == {"n": 1527, "part": False, "kind": "pictures"}
    numbers = look(
        pair(
            np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32),
            np.random.default_rng(1).normal(size=60),
            40,
            kind="regression",
        )
    )
    assert "LABEL" in {n.code for n in numbers.not_run}
    assert any(line.startswith("not run LABEL") for line in numbers.lines())


def test_odd_inputs_do_not_raise():
    nan = torch.full((60, 3), float("nan"))
    look(pair(nan, np.arange(60) % 2, 40))
    look(pair(torch.zeros(60, 3, 5), np.arange(60) % 2, 40))
    look(pair(torch.zeros(3, 2), np.arange(3) % 2, 2))
    look(pair(torch.randint(0, 9, (60, 30)), np.arange(60) % 2, 40))


def test_few_values_beside_one_that_most_are_stand_out_of_themselves_only():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        pixel = np.zeros(1500)
        pixel[rng.choice(1500, 12, replace=False)] = rng.integers(1, 12, 12)
        assert tails(pixel) == []
        count = np.where(rng.random(3000) < 0.9, 0.0, rng.integers(1, 9, 3000))
        assert tails(count) == []
        count[[5, 77]] = 9999
        (end,) = tails(count)
        assert sorted(end.index.tolist()) == [5, 77]
        gain = np.where(rng.random(20_000) < 0.08, rng.lognormal(8, 0.8, 20_000).round(), 0.0)
        assert tails(gain) == []
        gain[rng.choice(20_000, 80, replace=False)] = 999_999  # a twentieth of those that are not 0
        (end,) = tails(gain)
        assert set(gain[end.index]) == {999_999}


RARE = {
    "counts of mean 0.3": lambda r, n: r.poisson(0.3, n),
    "counts of mean 0.5": lambda r, n: r.poisson(0.5, n),
    "a flag": lambda r, n: r.random(n) < 0.1,
    "an even flag": lambda r, n: r.random(n) < 0.5,
    "counts with more zeros": lambda r, n: np.where(r.random(n) < 0.6, 0, r.poisson(3, n)),
    "negative binomial": lambda r, n: r.negative_binomial(0.5, 0.5, n),
    "geometric": lambda r, n: r.geometric(0.8, n) - 1,
    "amounts with more zeros": lambda r, n: np.where(r.random(n) < 0.55, 0, r.exponential(3, n).round(1)),
}


@pytest.mark.parametrize("name", RARE)
@pytest.mark.parametrize("n", [800, 2000, 10_000])
def test_placeholders_stand_out_of_counts_that_are_mostly_zero(name, n):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = RARE[name](rng, n).astype(float)
        assert tails(x) == []
        at = rng.choice(n, 1 if "flag" in name else 3, replace=False)
        x[at] = 99 if "flag" in name else 999
        (end,) = tails(x)
        assert sorted(end.index.tolist()) == sorted(at.tolist())


def test_outliers_of_a_table_are_as_they_were_read():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(100, 5, 1500), "flat": 0.0, "y": ["a", "b"] * 750})
    frame.loc[rng.choice(1500, 5, replace=False), "flat"] = 3.5
    frame.loc[[40, 41], "size"] = [1e6, 4e5]
    frame.loc[42, "size"] = np.nan
    for seed in range(3):
        data = table(frame, "y", seed=seed)
        seen = look(data)
        shown = {i for i in (40, 41) if i in {*data.train.ids, *data.valid.ids}}
        assert {e.id: e.reason for e in seen.examples if e.code == "OUTLIER"} == {
            i: {40: "size 1e+06", 41: "size 400000"}[i] for i in shown
        }
        assert [list(f.evidence["axes"]) for f in seen.findings if f.code == "OUTLIER"] == [["size"]] * bool(shown)


def test_a_number_that_codes_a_category_is_redundant():
    rng = np.random.default_rng(0)
    grade = rng.integers(0, 6, 400)
    codes = np.stack([(grade * 5) % 7 + 2, rng.integers(0, 6, 400)], 1)
    numbers = np.stack([grade * 1.5, rng.integers(0, 6, 400), rng.normal(size=400)], 1).astype(np.float32)
    assert same_columns(numbers, codes) == [(0, 3)]
    codes[7, 0] = codes[codes[:, 0] != codes[7, 0]][0, 0]  # one row apart
    assert same_columns(numbers, codes) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_range_that_was_fitted_on_both_splits_is_seen(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(300, 6))
    x[:, 5] = (rng.random(300) < 0.002) * 1.0  # a rare flag
    x[:, 4] = np.clip(rng.normal(0.5, 0.4, 300), 0, 1)  # a share
    low, high = x[:, :4].min(0), x[:, :4].max(0)
    both = x.copy()
    both[:, :4] = (x[:, :4] - low) / (high - low)
    held = [j for j in range(4) if {x[:, j].argmin(), x[:, j].argmax()} & set(range(200, 300))]
    ways = [Scaled("the range 0 to 1", tuple(held), 1e-6)] if held else []
    assert scaled_together(both[:200], both[200:]) == ways
    both[:, :4] = 2 * both[:, :4] - 1
    assert scaled_together(both[:200], both[200:]) == [replace(way, how="the range -1 to 1") for way in ways]
    low, high = x[:200, :4].min(0), x[:200, :4].max(0)
    both[:, :4] = (x[:, :4] - low) / (high - low)
    assert scaled_together(both[:200], both[200:]) == []
    (told,) = [f for f in look(Data(*halves(x))).findings if f.code == "SCALED"] if held else [None]
    assert told is None or "the range 0 to 1 over training and validation together" in told.message


def test_columns_scaled_in_different_ways_are_named_apart():
    x = np.random.default_rng(0).normal(size=(300, 5))
    x[250:] *= 3  # the ends lie in validation
    z = (x - x.mean(0)) / x.std(0)
    z[:, 3] = (x[:, 3] - x[:, 3].min()) / np.ptp(x[:, 3])
    z[:, 4] = 2 * (x[:, 4] - x[:, 4].min()) / np.ptp(x[:, 4]) - 1
    found = [f for f in look(pair(z.astype(np.float32), np.arange(300) % 2, 200)).findings if f.code == "SCALED"]
    after = "over training and validation together, not over training"
    assert [(f.message, f.evidence["columns"], f.evidence["threshold"]) for f in found] == [
        (f"3 columns have mean 0 and deviation 1 {after}: column 0, column 1, column 2", 3, 1e-5),
        (f"1 column has the range 0 to 1 {after}: column 3", 1, 1e-6),
        (f"1 column has the range -1 to 1 {after}: column 4", 1, 1e-6),
    ]


def halves(x):
    """Return x, each column scaled to 0 to 1 over all of it, as two splits."""
    z = torch.from_numpy(((x[:, :4] - x[:, :4].min(0)) / np.ptp(x[:, :4], 0)).astype(np.float32))
    y = torch.arange(len(z)) % 2
    return Split(z[:200], y[:200]), Split(z[200:], y[200:])
