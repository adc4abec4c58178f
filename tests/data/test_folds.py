"""Folds: dealt once each, in proportion, forward in time; and nothing that is held out has a say in how a fold is prepared."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import StratifiedKFold

from whet.data.bundled import diabetes, digits
from whet.data.clean import drop, drop_columns
from whet.data.folds import deal, folded, pooled
from whet.data.series import series, series_again
from whet.data.series_time import find_clock
from whet.data.split import Data, Split
from whet.data.table import table
from whet.errors import DataError


def frame(n: int, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=n)
    return pd.DataFrame({
        "x": np.where(draw.random(n) < 0.1, np.nan, 3 * x + 5), "colour": draw.choice(["red", "blue", "green"], n),
        "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(draw.integers(0, 999, n), "D"),
        "y": np.where(x + 0.3 * draw.normal(size=n) > 0, "yes", "no"),
    })  # fmt: skip


def parts(split: Split) -> list[np.ndarray]:
    return [p.numpy() for p in split.parts]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [2, 5, 10])
def test_each_example_is_held_out_once_and_classes_are_spread(seed, k):
    data = digits(seed=seed)
    folds, y = deal(data, k, seed=seed), pooled(data).targets.numpy()
    held = np.concatenate([f.valid for f in folds])
    assert sorted(held) == list(range(len(y)))
    assert all(sorted([*f.train, *f.valid]) == list(range(len(y))) for f in folds)
    counts = np.array([np.bincount(y[f.valid], minlength=10) for f in folds])
    reference = np.array(
        [np.bincount(y[v], minlength=10) for _, v in StratifiedKFold(k, shuffle=True, random_state=seed).split(y, y)]
    )
    assert (np.ptp(counts, axis=0) <= np.maximum(np.ptp(reference, axis=0), 1)).all()
    assert np.ptp(counts.sum(1)) <= 1


def test_the_same_seed_deals_the_same_and_another_deal_is_another():
    data = diabetes()
    first, again, other = (np.concatenate([f.valid for f in deal(data, 5, seed=3, again=a)]) for a in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("seed", range(3))
def test_rows_held_out_have_no_say_in_how_a_table_is_prepared(seed):
    """The same table with other values in the rows that a fold holds out: its training part is the same to the bit."""
    rows = frame(200, seed)
    data = table(rows, "y", seed=seed)
    fold = deal(data, 4, seed=seed)[1]
    changed = rows.copy()
    out = pooled(data).ids[fold.valid]
    changed.loc[out, "x"] = 1e6
    changed.loc[out, "colour"] = "violet"
    changed.loc[out, "when"] = pd.Timestamp("1999-01-01")
    other = table(changed, "y", seed=seed)
    assert (pooled(other).ids == pooled(data).ids).all()
    a, b = folded(data, fold), folded(other, fold)
    assert a.meta["encoding"] == b.meta["encoding"]
    for mine, theirs in zip(parts(a.train), parts(b.train), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert data.meta["encoding"] != other.meta["encoding"]  # the task's own training part has such rows


def test_a_regression_is_scaled_by_the_targets_of_the_training_part():
    data = diabetes()
    for fold in deal(data, 4):
        made = folded(data, fold)
        y = pooled(data).targets.numpy()[fold.train]
        assert made.meta["target"]["mean"] == pytest.approx(y.mean(), rel=1e-6)
        assert made.meta["target"]["std"] == pytest.approx(y.std(), rel=1e-6)
        assert made.sealed is None


def test_what_was_cleaned_stays_clean():
    data = drop_columns(drop(table(frame(200), "y"), [3, 17], why="wrong"), ["colour"], why="known too late")
    folds = deal(data, 4)
    assert not {3, 17} & set(pooled(data).ids)
    assert all("colour" not in folded(data, f).features for f in folds)


def test_a_series_goes_forward_and_later_rows_have_no_say():
    n = 300
    values = np.sin(np.arange(n) / 4) + np.random.default_rng(0).normal(0, 0.1, n)
    rows = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=n).astype(str), "y": values})
    data = series(rows, "y", find_clock(rows, "y", None, "t.csv"))
    whole = pooled(data)
    for fold in deal(data, 4):
        assert fold.train[-1] + 1 == fold.valid[0]
        made, source = folded(data, fold), data.sealed.rows
        assert (made.train.ids == whole.ids[fold.train]).all()
        assert (made.valid.ids == whole.ids[fold.valid]).all()
        np.testing.assert_array_equal(made.valid.targets, whole.targets[fold.valid])
        at = np.concatenate([source.parts["train"], source.parts["valid"]])
        changed = source.frame.copy()
        changed.loc[at[fold.train[-1]] + 1 :, "y"] = np.arange(len(changed) - at[fold.train[-1]] - 1) % 3 * 1e5
        other = series_again(replace(source, frame=changed), at[fold.train], at[fold.valid])
        np.testing.assert_array_equal(made.train.inputs, other.train.inputs)
        assert made.meta["encoding"] == other.meta["encoding"]
        assert made.meta["series"]["lags"] == other.meta["series"]["lags"]


@pytest.mark.parametrize(
    ("make", "k", "said"),
    [
        (diabetes, 1, "folds: must be at least 2, got 1"),
        (diabetes, 200, "376 visible examples, too few for 200 folds. Give at most 188"),
        (lambda: Data.from_arrays(np.random.default_rng(0).normal(size=(40, 2)), np.r_[np.zeros(39, int), 1]), 3,
         "one visible example of class '1'"),
    ],
)  # fmt: skip
def test_what_cannot_be_dealt_is_refused_in_a_line(make, k, said):
    with pytest.raises(DataError, match=said) as raised:
        deal(make(), k)
    assert "\n" not in str(raised.value)


def test_inputs_that_the_training_part_standardised_are_refused():
    draw = np.random.default_rng(0)
    data = Data.from_arrays(draw.normal(3, 2, (90, 4)), draw.integers(0, 2, 90))
    fold = deal(data, 3)[0]
    folded(data, fold)
    mean, std = data.train.inputs.mean(0), data.train.inputs.std(0, correction=0)
    scaled = [Split((s.inputs - mean) / std, s.targets, s.ids) for s in (data.train, data.valid)]
    with pytest.raises(DataError, match="standardised by the training part"):
        folded(Data(*scaled), fold)


def test_targets_that_have_several_positions_are_dealt_by_chance():
    y = torch.randint(0, 3, (60, 7), generator=torch.Generator().manual_seed(0))
    data = Data(Split(torch.zeros(40, 7), y[:40]), Split(torch.zeros(20, 7), y[40:]))
    assert sorted(np.concatenate([f.valid for f in deal(data, 4)])) == list(range(60))
