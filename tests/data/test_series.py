"""A table in time becomes a series that never looks ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from whet.data import apply_encoding, clean, table
from whet.data.series_lags import calendar, lag_rows, lagged, last_values
from whet.data.series_step import Step, find_step
from whet.errors import DataError

SEEDS = (0, 1, 2)


def walk(n: int = 200, seed: int = 0, freq: str = "h", start: str = "2024-01-01") -> pd.DataFrame:
    r = np.random.default_rng(seed)
    t = np.arange(n)
    return pd.DataFrame({
        "when": pd.date_range(start, periods=n, freq=freq).astype(str),
        "wind": r.normal(size=n).round(3),
        "sky": r.choice(["clear", "rain"], n),
        "load": (np.sin(t * 2 * np.pi / 24) + np.cumsum(r.normal(size=n)) / 10).round(4),
    })  # fmt: skip


def codes(data) -> list[str]:
    return [f.code for f in data.findings]


def test_inputs_are_the_past_and_the_target_is_the_next_value() -> None:
    for seed in SEEDS:
        frame = walk(seed=seed)
        data = table(frame, "load")
        assert data.kind == "regression"
        assert codes(data)[0] == "SERIES"
        entry = {c["name"]: c["parts"][0] for c in data.meta["encoding"]["columns"] if c["kind"] == "number"}
        for split in (data.train, data.valid):
            for name, lag in (("load", 1), ("load", 24), ("wind", 1), ("wind", 3)):
                part = entry[f"{name} t-{lag}"]
                column = split.parts[0][:, data.features.index(f"{name} t-{lag}")].numpy()
                past = frame[name].to_numpy()[split.ids - lag]
                assert np.allclose(column * part["std"] + part["mean"], past, atol=1e-4)
            assert np.allclose(split.targets.numpy(), frame["load"].to_numpy()[split.ids], atol=1e-6)


def test_nothing_of_training_is_later_than_the_first_validation_target() -> None:
    for seed in SEEDS:
        frame = walk(300, seed)
        data = table(frame, "load")
        test = data.sealed()
        assert data.train.ids.max() < data.valid.ids.min() <= data.valid.ids.max() < test.ids.min()
        assert [len(data.train), len(data.valid), len(test)] == list(data.meta["examples"].values())
        # every lag is at least one step, so inputs are older than their own target
        assert min(min(v) for v in data.meta["series"]["lags"].values()) >= 1


def test_what_comes_later_changes_nothing_before_it() -> None:
    for seed in SEEDS:
        frame = walk(300, seed)
        data = table(frame, "load")
        later = frame.copy()
        first = data.valid.ids.min()
        draw = np.random.default_rng(seed + 100)
        later.loc[first:, "load"] = draw.normal(50, 20, len(frame) - first)
        later.loc[first:, "wind"] = draw.normal(-9, 9, len(frame) - first)
        later.loc[first:, "sky"] = "hail"
        other = table(later, "load")
        assert other.meta["encoding"] == data.meta["encoding"]
        assert other.meta["series"] == data.meta["series"]
        for a, b in zip(data.train.parts, other.train.parts, strict=True):
            assert torch.equal(a, b)
        assert torch.equal(data.train.targets, other.train.targets)
        last = data.valid.ids.max()  # and the validation inputs do not depend on the test rows
        changed = frame.copy()
        changed.loc[last + 1 :, "load"] = -7.0
        for a, b in zip(data.valid.parts, table(changed, "load").valid.parts, strict=True):
            assert torch.equal(a, b)


def test_gaps_leave_lags_in_step_and_are_filled_from_before() -> None:
    values, places = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 4, 5])
    assert lagged(values, places, places, 1).tolist()[1:] == [1.0, 2.0, 3.0]
    assert np.isnan(lagged(values, places, places, 1)[0])
    assert lagged(values, places, np.array([6]), 2).tolist() == [3.0]
    r = np.random.default_rng(3)
    places = np.sort(r.choice(200, 120, replace=False))
    values = np.where(r.random(120) < 0.2, np.nan, r.normal(size=120))
    for lag in (1, 5):
        got = lagged(values, places, places, lag)
        for i, at in enumerate(places):  # the plain loop
            before = [v for v, p in zip(values, places, strict=True) if p <= at - lag and np.isfinite(v)]
            assert (np.isnan(got[i]) and not before) or got[i] == before[-1]


@pytest.mark.parametrize(
    ("times", "text", "places"),
    [
        (pd.date_range("2024-01-31", periods=30, freq="ME"), "month", 29),
        (pd.date_range("2000-01-01", periods=30, freq="QS"), "3 months", 29),
        (pd.date_range("2000-01-01", periods=30, freq="YS"), "year", 29),
        (pd.date_range("2024-01-01", periods=30, freq="B"), "weekday", 29),
        (pd.date_range("2024-01-01", periods=30, freq="7D"), "week", 29),
        (pd.date_range("2024-01-01", periods=30, freq="10min"), "10 minutes", 29),
        (pd.date_range("2024-01-01", periods=30, freq="D").delete([5, 6]), "day", 29),
    ],
)
def test_steps(times: pd.DatetimeIndex, text: str, places: int) -> None:
    when = times.to_numpy().astype("datetime64[us]")
    step, share = find_step(when)
    assert str(step) == text
    assert share > 0.9
    assert step.places(when)[-1] == places
    assert Step.of(step.json()) == step
    after = np.append(when, step.after(when[-1]))
    assert step.places(after)[-1] == places + 1


def test_a_clock_that_is_late_by_a_little_keeps_its_step() -> None:
    for seed in SEEDS:
        r = np.random.default_rng(seed)
        seconds = np.arange(500) * 60_000 + r.integers(0, 2000, 500)
        step, _ = find_step(np.datetime64("2024-01-01", "us") + seconds * np.timedelta64(1000, "us"))
        assert 58 <= step.size <= 62


def test_dates_in_parts_and_numbers_and_months() -> None:
    n = 100
    when = pd.date_range("2024-01-01", periods=n, freq="h")
    r = np.random.default_rng(0)
    y = r.normal(size=n)
    parts = pd.DataFrame(
        {"No": range(n), "year": when.year, "month": when.month, "day": when.day, "hour": when.hour, "y": y}
    )
    data = table(parts, "y")
    assert data.meta["series"]["time"] == ["year", "month", "day", "hour"]
    assert not any(f.startswith("No") for f in data.features)
    months = pd.DataFrame({"Month": pd.period_range("1990-01", periods=n, freq="M").astype(str), "y": y})
    assert table(months, "y").meta["series"]["step"] == {"unit": "month", "size": 1.0}
    numbers = pd.DataFrame({"t": np.arange(n) * 0.5, "y": y})
    assert "SERIES" not in codes(table(numbers, "y"))  # a number that rises may be anything
    assert table(numbers, "y", time="t").meta["series"]["step"] == {"unit": "number", "size": 0.5}
    assert table(parts, "y", time="year, month,day,hour").meta["series"]["time"] == ["year", "month", "day", "hour"]


def test_tables_that_are_no_series_stay_tables() -> None:
    r = np.random.default_rng(0)
    frame = walk(120)
    assert "SERIES" not in codes(table(frame.sample(frac=1, random_state=1), "load"))  # in no order
    assert "SERIES" not in codes(table(frame.assign(load=r.choice(["a", "b"], 120)), "load"))  # classes
    some = frame.assign(when=np.sort(r.integers(0, 10**9, 120)).astype("datetime64[s]").astype(str))
    assert codes(table(some, "load")).count("SERIES") == 0  # rising, not regular
    # several people on the same days
    many = pd.concat([frame.assign(who=w) for w in "abc"]).sort_values("when", kind="stable").reset_index(drop=True)
    assert "SERIES" not in codes(table(many, "load"))


def test_none_divides_by_chance_and_says_what_that_means() -> None:
    frame = walk()
    found = {f.code: f for f in table(frame, "load", time="none").findings}
    assert found["LOOKAHEAD"].severity == "WARN"
    assert "SERIES" not in found
    assert "LOOKAHEAD" not in codes(table(frame, "load"))
    classes = frame.assign(sick=np.random.default_rng(0).choice(["a", "b"], 200))
    assert "LOOKAHEAD" in codes(table(classes, "sick"))
    mixed = frame.sample(frac=1, random_state=0)
    assert "LOOKAHEAD" not in codes(table(mixed, "load"))


def test_unsorted_repeated_and_turned_times_are_put_right_and_said() -> None:
    frame = walk(200)
    plain = table(frame, "load")
    mixed = table(frame.sample(frac=1, random_state=3).reset_index(drop=True), "load", time="when")
    assert torch.equal(mixed.train.targets, plain.train.targets)
    assert torch.equal(mixed.valid.parts[0], plain.valid.parts[0])
    assert {"UNSORTED", "SERIES"} <= set(codes(mixed))
    turned = table(frame.iloc[::-1].reset_index(drop=True), "load")
    assert torch.equal(turned.train.targets, plain.train.targets)
    assert next(f for f in turned.findings if f.code == "UNSORTED").severity == "INFO"
    twice = pd.concat([frame.iloc[:50], frame.iloc[49:]], ignore_index=True)
    twice.loc[49, "load"] = 1e6  # the row before its correction
    data = table(twice, "load")
    assert "SAME-TIME" in codes(data)
    assert torch.equal(data.train.targets, plain.train.targets)
    lost = frame.copy()
    lost.loc[[20, 30], "when"] = None
    assert "NO-TIME" in codes(table(lost, "load", time="when"))
    some = frame.assign(t=np.cumsum(np.random.default_rng(0).exponential(size=200)))
    assert "IRREGULAR" in codes(table(some, "load", time="t"))


@pytest.mark.parametrize(
    ("frame", "time", "words"),
    [
        (walk(2), "when", "series of 2 rows"),
        (walk(15), "when", "at least 20"),
        (walk(), "wen", "no column 'wen'. Did you mean 'when'?"),
        (walk(), "load", "is the target"),
        (walk(), "sky", "no dates or numbers"),
        (walk().assign(when="2024-01-01"), "when", "the same in all 200 rows"),
        (walk().assign(when=None), "when", "no dates or numbers"),
        (pd.concat([walk(), walk()]), "when", "several series"),
        (walk().assign(load="high"), "when", "predicts numbers"),
        (walk().assign(load=3.0), "when", "is constant"),
        (walk(), "wind,sky", "are not year, month"),
        (walk().assign(load=[0.0] * 170 + [1.5, 2.5] * 15), "when", "the same in all"),
    ],
)
def test_bad_input_is_one_line(frame: pd.DataFrame, time: str, words: str) -> None:
    with pytest.raises(DataError) as error:
        table(frame, "load", time=time, name="walk.csv")
    assert words in str(error.value)
    assert str(error.value).startswith("walk.csv")
    assert "\n" not in str(error.value)


def test_classes_cannot_be_asked_of_a_series() -> None:
    with pytest.raises(DataError, match="predicts numbers"):
        table(walk(), "load", time="when", kind="classification")


def test_the_plan_makes_the_inputs_of_the_next_step() -> None:
    frame = walk(300)
    data = table(frame, "load")
    plan, encoding = data.meta["series"], data.meta["encoding"]
    rows = lag_rows(frame, plan)
    assert len(rows) == 301
    inputs = apply_encoding(encoding, rows.iloc[data.sealed().ids])
    assert all(torch.equal(a, b) for a, b in zip(inputs, data.sealed().parts, strict=True))
    tail = lag_rows(frame.iloc[-60:], plan).iloc[[-1]].reset_index(drop=True)  # the end of the past is enough
    assert tail.equals(rows.iloc[[-1]].reset_index(drop=True))
    assert tail["load t-1"][0] == frame["load"].iloc[-1]
    with pytest.raises(DataError, match="must rise"):
        lag_rows(frame.iloc[::-1], plan)
    with pytest.raises(DataError, match="no column 'wind'"):
        lag_rows(frame.drop(columns="wind"), plan)


def test_the_calendar_turns_round_once_a_cycle() -> None:
    when = np.arange("2024-01-01", "2024-01-15", dtype="datetime64[h]").astype("datetime64[us]")
    columns = calendar(when, ["day", "week"])
    for cycle, steps in (("day", 24), ("week", 168)):
        sin, cos = columns[f"{cycle} sin"], columns[f"{cycle} cos"]
        assert np.allclose(sin**2 + cos**2, 1)
        assert np.allclose(sin[steps:], sin[:-steps], atol=1e-9)
        assert abs(sin[0]) < 1e-9  # a Monday, at midnight


def test_a_few_missing_times_and_times_that_repeat_are_still_rows_in_time() -> None:
    rng = np.random.default_rng(0)
    day = pd.Series(pd.date_range("2021-01-01", periods=400).astype(str))
    frame = pd.DataFrame({"day": day, "x": rng.normal(size=400), "y": rng.normal(size=400)})
    frame.loc[7, "day"] = None
    assert {"SERIES", "NO-TIME"} <= {f.code for f in table(frame, "y").findings}
    several = pd.DataFrame({"day": day.repeat(3).to_numpy(), "x": rng.normal(size=1200), "y": rng.normal(size=1200)})
    (found,) = [f for f in table(several, "y").findings if f.code == "LOOKAHEAD"]
    assert (found.where, found.severity) == ("day", "INFO")
    mixed = several.sample(frac=1, random_state=0)
    assert not [f for f in table(mixed, "y").findings if f.code in ("LOOKAHEAD", "SERIES")]


def test_text_in_a_series_is_said_to_be_left_out_and_no_lag_of_it_is_made() -> None:
    rng = np.random.default_rng(0)
    words = "the old red fox runs far away today".split()
    frame = pd.DataFrame({"day": pd.date_range("2021-01-01", periods=300).astype(str), "y": rng.normal(size=300)})
    frame["note"] = [" ".join(rng.choice(words, 6)) for _ in range(300)]
    data = table(frame, "y")
    assert not any(name.startswith("note") for name in data.features)
    assert [f.where for f in data.findings if f.code in ("TEXT", "EMPTY")] == []
    assert any("not note" in f.message for f in data.findings)


def test_without_the_last_value_among_the_inputs_there_is_no_such_rule() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"day": pd.date_range("2021-01-01", periods=300).astype(str), "y": rng.normal(size=300)})
    data = table(frame, "y")
    assert last_values(data, data.valid) is not None
    assert last_values(clean.drop_columns(data, ["y t-1"], why="x"), data.valid) is None


def test_the_last_value_is_not_cut_off() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"day": pd.date_range("2021-01-01", periods=400).astype(str), "y": rng.normal(size=400)})
    frame.loc[[100, 300, 380], "y"] = [1e4, 3e4, -5e4]  # of train, valid and test
    frame.loc[200, "y"] = np.nan
    data = table(frame, "y")
    known = frame["y"].ffill().shift(1).to_numpy()
    for split in (data.train, data.valid, data.sealed()):
        assert np.allclose(last_values(data, split), known[split.ids], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("column", ["load", "wind", "sky"])
def test_blanking_is_the_same_as_never_having_had_the_value(seed: int, column: str) -> None:
    frame = walk(seed=seed).assign(other=np.random.default_rng(seed).normal(size=200))
    frame.loc[5, ["load", "wind"]] = np.nan
    data = table(frame, "load")
    rng = np.random.default_rng(seed)
    ids = rng.choice(data.raw["history"].index, 6, replace=False)
    bare = frame.copy()
    bare.loc[ids, column] = np.nan if column != "sky" else None
    cleaned = clean.blank(data, ids.tolist(), column=None if column == "load" else column, why="wrong")
    plan = data.meta["series"]  # season and lags stay as they were found
    inputs = lag_rows(bare, plan)
    gone = set(ids) if column == "load" else set()
    for before, after in ((data.train, cleaned.train), (data.valid, cleaned.valid), (data.sealed(), cleaned.sealed())):
        assert after.ids.tolist() == [i for i in before.ids if i not in gone]
        made = apply_encoding(cleaned.meta["encoding"], inputs.iloc[after.ids])
        assert all(torch.equal(a, b) for a, b in zip(after.parts, made, strict=True))
        assert np.array_equal(after.targets, frame["load"].to_numpy(np.float32)[after.ids])
    assert cleaned.raw["history"][column].isna().sum() == bare[column][: len(data.raw["history"])].isna().sum()
    record = cleaned.meta["cleaned"][-1]
    assert sorted(i for own in record["ids"].values() for i in own) == sorted(
        i for i in ids if frame[column].notna()[i]
    )
    assert clean.examples_in(cleaned) == clean.examples_in(data)
    assert cleaned.meta["examples"]["train"] == len(cleaned.train)
    assert len(data.raw["history"]) == len(cleaned.raw["history"])  # and data as it was
    assert data.raw["history"][column].equals(frame[column][: len(data.raw["history"])])


def test_what_cannot_be_blanked_is_refused() -> None:
    frame = walk()
    data = table(frame, "load")
    assert clean.blank(data, [], why="x") is data
    for call, said in [
        (lambda: clean.drop(data, [50], why="x"), "is a series: .* clean.blank"),
        (lambda: clean.blank(data, [200], why="x"), "blank 200: no row has this id"),
        (lambda: clean.blank(data.visible, [50], why="x"), "needs the data with its test split, not .visible"),
        (lambda: clean.blank(data, ["soon"], why="x"), "names no example"),
        (lambda: clean.blank(data, [50], column="lod", why="x"), "no column 'lod' .*'load'"),
        (lambda: clean.blank(data, [50], why="x", of=7), "the ids are of 7"),
        (lambda: clean.blank(data, ["0-150"], why="x"), "would leave"),
        (lambda: clean.blank(clean.drop_columns(data, ["load t-2"], why="x"), [50], why="x"), "then drop columns"),
        (lambda: clean.blank(table(frame, "load", time="none"), [50], why="x"), "is no series"),
    ]:
        with pytest.raises(DataError, match=said) as told:
            call()
        assert "\n" not in str(told.value)


def test_ids_of_the_test_split_stay_and_are_counted() -> None:
    frame = walk()
    data = table(frame, "load")
    cleaned = clean.blank(data, [50, "198-199"], why="wrong")
    assert data.findings == cleaned.findings[:-1]
    said = cleaned.findings[-1].message
    assert said == "1 value of `load` made missing (1 example less, 2 not visible): wrong"
    alone = clean.blank(data, [50], why="wrong")
    for one, other in ((cleaned.train, alone.train), (cleaned.valid, alone.valid), (cleaned.sealed(), alone.sealed())):
        assert one.ids.tolist() == other.ids.tolist()
        assert all(torch.equal(a, b) for a, b in zip(one.parts, other.parts, strict=True))
        assert torch.equal(one.targets, other.targets)
    record = cleaned.meta["cleaned"][-1]
    assert (record["n"], record["not_visible"]) == (1, ["198", "199"])
    none = clean.blank(data, [199], why="wrong")
    assert none.findings[-1].message == "0 values of `load` made missing (1 not visible): wrong"
    assert none.sealed().ids.tolist() == data.sealed().ids.tolist()
    assert clean.examples_in(none) == clean.examples_in(cleaned) == clean.examples_in(data)


def test_of_a_long_table_out_of_order_not_all_dates_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from whet.data import series_time

    read: list[int] = []
    as_dates = series_time.as_dates
    monkeypatch.setattr(
        series_time, "as_dates", lambda column, form: read.append(len(column)) or as_dates(column, form)
    )
    day = pd.Series(pd.date_range("2021-01-01", periods=30_000, freq="min").strftime("%d.%m.%Y %H:%M"))
    frame = pd.DataFrame({"when": day, "y": np.arange(30_000.0)})
    mixed = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    assert series_time.find_clock(mixed, "y", None, "t.csv") is None
    assert series_time.in_order(mixed, "y") is None
    assert sum(read) <= 4000
    late = np.arange(30_000)
    late[9000:9250] = late[9000:9250][::-1]  # under 1 %, together
    for given in (frame, frame.iloc[late].reset_index(drop=True), frame[::-1].reset_index(drop=True)):
        assert series_time.find_clock(given, "y", None, "t.csv") is not None
        assert series_time.in_order(given, "y") == "when"
