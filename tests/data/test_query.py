"""Filters and ids as a person types them: pandas' answers, and nothing that is not a question."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from whet.data import Data, Split
from whet.data.seen.pick import pick
from whet.data.seen.query import choose, names_in, order, where
from whet.errors import UsageError, WhetError


def some(seed=0, n=300):
    rng = np.random.default_rng(seed)
    text = pd.Series(rng.choice(["Good day", "bad\nday", "", "x"], n)).where(rng.random(n) > 0.1)
    return pd.DataFrame(
        {
            "index": np.arange(n)[::-1], "length": rng.integers(0, 400, n), "label": rng.choice(list("abc"), n),
            "hours-per-week": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 9, n)), "class": rng.integers(0, 4, n),
            "text": text, "when": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
            "kind": pd.Categorical(rng.choice(["u", "v"], n)), "ok": rng.random(n) < 0.5,
        }
    )  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("expression", "mask"),
    [
        ("length > 200 and label == 'b'", lambda t: (t.length > 200) & (t.label == "b")),
        ("length > 200 & label == 'b' | ok", lambda t: ((t.length > 200) & (t.label == "b")) | t.ok),
        ("50 < length <= 100", lambda t: (t.length > 50) & (t.length <= 100)),
        ("not (label in ['a', 'c'])", lambda t: ~t.label.isin(["a", "c"])),
        ("`hours-per-week` * 2 > 80", lambda t: t["hours-per-week"] * 2 > 80),
        ("`hours-per-week`.isna() or `class` == 3", lambda t: t["hours-per-week"].isna() | (t["class"] == 3)),
        ("text.str.lower().str.contains('day')", lambda t: t.text.str.lower().str.contains("day", na=False)),
        ("text.str.len() > 3", lambda t: t.text.str.len() > 3),
        ("when >= '2021-02-01'", lambda t: t.when >= "2021-02-01"),
        ("kind == 'u' and ok", lambda t: (t.kind == "u") & t.ok),
        ("index < 10 & when > '2020-06-01'", lambda t: (t["index"] < 10) & (t.when > "2020-06-01")),
        ("when > '2021-06-01' & length > 300", lambda t: (t.when > "2021-06-01") & (t.length > 300)),
        ("ok | when > '2021-06-01'&length > 300", lambda t: t.ok | ((t.when > "2021-06-01") & (t.length > 300))),
        ("label == 'a&b' | text == 'x|y' | index == 3", lambda t: t["index"] == 3),
        ("index < 10", lambda t: t["index"] < 10),
        ("length.between(10, 20)", lambda t: t.length.between(10, 20)),
        ("length % 7 == 0", lambda t: t.length % 7 == 0),
        ("label == 'it`s' or label == \"@a\" or length > -1", lambda t: t.length > -1),
    ],
)  # fmt: skip
def test_a_filter_is_what_pandas_says(expression, mask, seed):
    table = some(seed)
    assert np.array_equal(where(table, expression), mask(table).fillna(False).to_numpy(bool))


@pytest.mark.parametrize(
    ("expression", "needed"),
    [
        ("lenght > 3", "no such column 'lenght'. Did you mean 'length'?"),
        ("lenght > 3", "Columns: index, length, label"),
        ("label == a", "A text goes in quotes"),
        ("hours-per-week > 3", "Write `hours-per-week`, in backticks"),
        ("class == 2", "Write `class`, in backticks"),
        ("`hours per week` > 3", "Did you mean 'hours-per-week'?"),
        ("`length > 3", "a ` is opened and not closed"),
        ("label == 'a", "a ' is opened and not closed"),
        ("length = 3", "Write =="),
        ("length ==", "cannot be read"),
        ("length > 3 && ok", "write and, or"),
        ("(length > 3", "never closed"),
        ("", "is empty"),
        ("length > 3 or " * 200 + "ok", "at most 2,000"),
        ("length", "gives values of type int64, a filter gives true or false"),
        ("length + 1", "a filter gives true or false"),
        ("3 > 2", "names no column"),
        ("length > 'x'", "Compare columns with values of their kind"),
        ("length.str.contains('x')", "AttributeError"),
        ("label == None", "Write x.isna()"),
        ("length ** 9 > 2", "** is not allowed"),
        ("ilevel_0 > 2", "no such column 'ilevel_0'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line(expression, needed):
    with pytest.raises(UsageError) as e:
        where(some(), expression)
    assert needed in str(e.value)
    assert str(e.value).startswith("--where")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "expression",
    [
        "@pd.read_csv('x')", "@length > 3", "length.__class__", "().__class__.__bases__", "__import__('os').system('touch {0}')",
        "length.to_csv('{0}')", "length.to_pickle('{0}')", "length.map(print)", "length.apply(print)", "eval('1')", "sin(length) > 0",
        "length.values", "length.pipe(print)", "text.str.__class__", "text.str.decode('x')", "[x for x in length]", "lambda: 0",
        "(x := 3)", "x = 3", "length; ok", "f'{length}'", "length[0]", "length if ok else ok", "`length`.__class__", "'{}'.format(length)",
        "`a`b` > 3", "length.str.cat.__globals__", "open('{0}', 'w')", "print(length)", "length > (yield)", "*length", "b'x' == label",
        "`@x` > 3", "`__import__('os')`", "ok > 1j",
    ],
)  # fmt: skip
def test_nothing_but_questions_is_answered(expression, tmp_path):
    with pytest.raises(UsageError):
        where(some(), expression.replace("{0}", str(tmp_path / "file")))
    assert not list(tmp_path.iterdir())


def test_sorting_and_choosing():
    table = some()
    assert np.array_equal(table.length.to_numpy()[order(table, "-length")], np.sort(table.length)[::-1])
    assert pd.isna(table["hours-per-week"].iloc[order(table, "-hours-per-week")].iloc[-1]), "missing values come last"
    ties = order(table, "class")
    assert all(a < b for a, b in pairwise(ties) if table["class"][a] == table["class"][b]), "stable"
    mixed = pd.DataFrame({"x": [3, "a", 1]})
    assert sorted(order(mixed, "x").tolist()) == [0, 1, 2]
    assert choose("ok, hours-per-week,ok", list(table.columns)) == ["ok", "hours-per-week"]
    assert names_in("`hours-per-week` > 3 and ok", list(table.columns)) == {"hours-per-week", "ok"}
    for call in (lambda: order(table, "-lenght"), lambda: choose("lenght", list(table.columns))):
        with pytest.raises(UsageError, match=r"no such column. Did you mean 'length'\?"):
            call()


def split(*ids):
    return Split(torch.zeros(len(ids), 1), torch.zeros(len(ids), dtype=torch.int64), np.array(ids))


def test_ids_name_examples_wherever_they_are():
    data = Data(split(4, 9, 2), split(7, 3))
    assert pick(data, "9,3,9").at == (1, 4)
    assert pick(data, "2-7").at == (2, 4, 0, 3), "in the order of the ids, across the splits"
    assert pick(data, "valid:2-7, train:9").at == (4, 3, 1)
    assert pick(data, [4, "5", "0-999999999999"]).at == (0, 2, 4, 3, 1)
    assert pick(data, [4, "5"]).absent == ("5",)
    assert pick(Data(split(1, 1), split(2)), [1]).at == (0, 1), "an example that was taken twice"


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("x", "'x': names no example"), ("", "'nothing': names no example"), ("1,,2", "'nothing'"), ("-3", "'-3'"), ("3-", "'3-'"),
        ("test:3", "'test:3'"), ("9-3", "ends before it begins. Write 3-9."), ("2", "both splits have this id. Write train:2 or valid:2."),
        ("0-5", "Write train:0-5 or valid:0-5."), ("1.5", "'1.5'"),
    ],
)  # fmt: skip
def test_ids_that_name_nothing(words, needed):
    with pytest.raises(WhetError) as e:
        pick(Data(split(1, 2), split(2, 3)), words, what="--show")
    assert needed in str(e.value)
    assert str(e.value).startswith("--show")


FORMS = ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d-%b-%Y", "%d.%m.%Y %H:%M"]


@pytest.mark.parametrize("form", FORMS)
def test_dates_are_compared_as_dates(form):
    days = pd.date_range("2023-06-01", periods=400)
    frame = pd.DataFrame({"when": days.strftime(form), "my day": days.strftime("%d.%m.%Y"), "v": range(400)})
    frame.loc[7, "when"] = None
    there = np.arange(400) != 7
    own = days[200].strftime(form)
    for said, wanted in [
        ("when > '2024-03-01'", days > "2024-03-01"),
        (f"when >= '{own}'", days >= days[200]),
        (f"v < 300 & when > '{days[250].strftime(form)}'", (np.arange(400) < 300) & (days > days[250])),
        ("'2024-01-05' <= when < '2024-02'", (days >= "2024-01-05") & (days < "2024-02-01")),
        ("when.between('2024-01-01', '2024-01-31') and v % 2 == 0", (days >= "2024-01-01") & (days <= "2024-01-31") & (np.arange(400) % 2 == 0)),
        ("when in ['2024-01-05', '2024-01-06']", (days == "2024-01-05") | (days == "2024-01-06")),
        ("when == `my day`", np.ones(400, bool)),
        ("`my day` == '05.01.2024' and when.notna()", days == "2024-01-05"),
    ]:  # fmt: skip
        assert (where(frame, said) == wanted & there).all(), said
    assert where(frame, "when.isna()").sum() == 1
    assert where(frame, "`my day`.str.startswith('05.')").sum() == 13
    assert order(frame, "-when").tolist() == [*range(399, 7, -1), *range(6, -1, -1), 7]


def test_a_list_may_hold_one_date():
    days = pd.date_range("2024-01-01", periods=60)
    frame = pd.DataFrame({"when": days.strftime("%d.%m.%Y"), "other": days[::-1].strftime("%Y-%m-%d")})
    one, two = days == "2024-02-01", (days == "2024-02-01") | (days == "2024-02-03")
    for said, wanted in [
        ("when in ['2024-02-01']", one),
        ("when in ('1.2.2024',)", one),
        ("when not in ['2024-02-01']", ~one),
        ("when.isin(['2024-02-01'])", one),
        ("when not in ['2024-02-01', '3.2.2024']", ~two),
        ("when.isin(('2024-02-01', '3.2.2024'))", two),
        ("when in ['2024-02-01'] | other in ['2024-01-01']", one | (np.arange(60) == 59)),
        ("when in []", np.zeros(60, bool)),
    ]:
        assert (where(frame, said) == wanted).all(), said


def test_whether_the_ends_count_is_no_date():
    days = pd.date_range("2024-01-01", periods=60)
    frame = pd.DataFrame({"when": days.strftime("%d.%m.%Y")})
    for said in ("'neither'", "inclusive='neither'"):
        found = where(frame, f"when.between('2024-02-01', '2024-02-03', {said})")
        assert days[found].strftime("%d").tolist() == ["02"], said


def test_text_among_dates_is_missing():
    frame = pd.DataFrame({"my day": [*pd.date_range("2024-01-01", periods=59).astype(str), "unknown"]})
    with pytest.raises(
        UsageError, match=r"my day holds dates, got 'unknown'. .* no date counts as missing: .*\.isna\(\)"
    ):
        where(frame, "`my day` != 'unknown'")
    assert where(frame, "`my day`.isna()").nonzero()[0].tolist() == [59]


def test_what_is_no_date_is_refused_in_one_line():
    frame = pd.DataFrame({"my day": ["31.12.2023", "01.02.2024"]})
    for said in ("`my day` > 'soon'", "`my day` > 2024", "`my day` in ['2024-01-01', 'soon']"):
        with pytest.raises(UsageError, match=r"my day holds dates, got .*%d.%m.%Y") as told:
            where(frame, said)
        assert "\n" not in str(told.value)
