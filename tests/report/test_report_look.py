"""A look at the data as a report: what is shown, in three forms, whatever the data and however they are named."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from whet.data.bundled import diabetes, digits
from whet.data.look import Look, look
from whet.data.seen.outcome import Example
from whet.data.split import Data, Split
from whet.data.table import table
from whet.finding import Finding
from whet.report import Report
from whet.report.beside import Pairs, Sheet
from whet.report.block import Findings, Pictures, Plot, Section, Table
from whet.report.distribution import Target, category_plot, number_plot
from whet.report.gallery import Gallery
from whet.report.line import line_plot, moments
from whet.report.looked import look_report
from whet.report.quantity import Share, show
from whet.report.suspects import anchor, suspects
from whet.report.text import wide

EVIL = "<script>window.pwned=1</script><img src=x onerror=alert(1)>\"'&%{x}\u2028"


def blocks(report: Report, kind: type) -> list[Any]:
    return [b for s in report.sections for b in s.blocks if isinstance(b, kind)]


def names(report: Report) -> list[str]:
    return [s.name for s in report.sections]


def well(report: Report) -> str:
    """Assert that all forms can be made, and return the page."""
    data = report.json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert max(wide(line) for line in report.text().splitlines()) <= 80
    page = report.html()
    assert page == report.html()
    return page


@pytest.fixture(scope="module")
def doubtful() -> tuple[Data, Look]:
    """Digits of which 30 bear the next digit's label, two are equal and two nearly so."""
    data = digits(seed=3)
    data.train.targets[:30] = (data.train.targets[:30] + 1) % 10
    x = data.train.parts[0]
    x[100] = x[200]
    data.train.targets[100], data.train.targets[200] = 1, 2
    x[300] = x[400]
    x[300, 0, 0, 0] += 9
    return data, look(data)


def test_pictures_are_shown_by_finding_by_pair_and_by_class(doubtful: tuple[Data, Look]) -> None:
    data, found = doubtful
    report = look_report(data, found)
    assert names(report) == ["there", "found", "suspects", "twins", "sheets", "columns", "examples"]
    labels = next(b for b in blocks(report, Pictures) if b.name == anchor("LABEL"))
    # the worst first, and each picture is the example that its caption names
    worst = sorted((e for e in found.examples if e.code == "LABEL"), key=lambda e: -e.score)
    for (picture, caption), e in zip(labels.items, worst, strict=False):
        assert caption.startswith(f"{e.split} {e.id} '{e.label}'")
        assert np.array_equal(picture, getattr(data, e.split).parts[0][e.index, 0].numpy())
    equal = next(b for b in blocks(report, Pairs) if b.name == anchor("DUPLICATE"))
    first = equal.items[0]
    assert first.differ
    assert {first.first.label, first.second.label} == {"1", "2"}
    assert np.array_equal(first.first.picture, first.second.picture)
    links = blocks(report, Findings)[0].links
    page = well(report)
    for code in ("LABEL", "DUPLICATE"):
        assert f'href="#{links[code]}"' in page
        assert f'id="{links[code]}"' in page
    assert "Targets differ." in page


@pytest.mark.parametrize("seed", [0, 1])
def test_sheets_show_the_typical_the_farthest_the_ends_and_the_suspicious_of_a_class(seed: int) -> None:
    data = digits(seed=seed)
    odd = Example(
        "LABEL", "train", int(data.train.ids[4]), 4, str(int(data.train.targets[4])), "looks like 'x', so", 1.0
    )
    sheets = blocks(look_report(data, Look(look(data).facts, (), (odd,))), Sheet)
    assert [s.title.partition(":")[0] for s in sheets] == list(data.classes or ())
    mine = next(s for s in sheets if s.title.startswith(f"{odd.label}:"))
    strips = dict(mine.strips)
    assert list(strips) == ["typical", "farthest", "at an end", "suspicious"]
    assert strips["suspicious"][0][1] == f"train {odd.id}, looks like 'x'"
    pixels = torch.cat([data.train.parts[0], data.valid.parts[0]]).float().mean((1, 2, 3))
    y = torch.cat([data.train.targets, data.valid.targets])
    darkest = pixels[y == int(odd.label)].min()
    dark = next(p for p, caption in strips["at an end"] if "darkest" in caption)
    assert dark.mean() == pytest.approx(float(darkest))


def test_nothing_found_is_said_and_nothing_empty_is_shown() -> None:
    data = digits()
    report = look_report(data, Look({}))
    assert "Nothing was found wrong." in report.text()
    assert names(report) == ["there", "found", "sheets", "columns", "examples"]
    assert blocks(report, Findings) == []
    well(report)


def test_the_table_of_examples_has_the_suspicious_ones_first(doubtful: tuple[Data, Look]) -> None:
    data, found = doubtful
    listing = blocks(look_report(data, found), Table)[-1]
    assert listing.sortable
    assert len(listing.rows) == len(data.train) + len(data.valid)
    suspect = [row[listing.columns.index("suspect")] != "" for row in listing.rows]
    assert suspect == sorted(suspect, reverse=True)
    assert sum(suspect) == len({(e.split, e.index) for e in found.examples})
    at = {name: listing.columns.index(name) for name in ("split", "id", "label")}
    row = listing.rows[500]
    split = getattr(data, row[at["split"]])
    i = int(np.flatnonzero(split.ids == row[at["id"]])[0])
    assert int(split.targets[i]) == row[at["label"]]
    assert np.array_equal(listing.pictures[500], split.parts[0][i, 0].numpy())


def test_an_example_with_several_reasons_is_shown_once() -> None:
    data = digits()
    odd = [
        Example("OUTLIER", "train", int(data.train.ids[4]), 4, "4", why, s) for why, s in (("dark", 2.0), ("far", 3.0))
    ]
    block = suspects(Gallery.of(data, odd), odd)[0]
    assert block.title == "OUTLIER: 1 example"
    assert isinstance(block, Pictures)
    assert [c for _, c in block.items] == [f"train {data.train.ids[4]} '4': far; dark"]


def test_copies_are_not_said_to_be_apart() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=120), "b": rng.normal(size=120), "y": ["u", "v"] * 60})
    data = table(pd.concat([frame, frame.iloc[:20]], ignore_index=True), "y")
    (copies,) = blocks(look_report(data, look(data)), Pairs)
    assert copies.items
    assert {item.remark for item in copies.items} == {""}


def test_of_very_many_examples_all_suspicious_ones_and_every_so_manieth_other_are_listed(monkeypatch: Any) -> None:
    monkeypatch.setattr("whet.report.gallery._CELLS", 700)
    data = digits()
    odd = [Example("LABEL", "valid", int(data.valid.ids[i]), i, "0", "odd", 1.0) for i in (3, 200)]
    listing = Gallery.of(data, odd).listing()
    assert len(listing.rows) == 100
    assert [row[1] for row in listing.rows[:2]] == [data.valid.ids[3], data.valid.ids[200]]
    assert {row[0] for row in listing.rows} == {"train", "valid"}
    assert listing.note.startswith("100 of 1,527 examples")


def test_a_table_is_shown_as_rows_and_its_columns_as_distributions() -> None:
    rng = np.random.default_rng(0)
    n = 400
    frame = pd.DataFrame(
        {"age": rng.normal(40, 9, n).round(1), "town": rng.choice(["A", "B", None], n), "noise": rng.normal(size=n)}
    )
    frame.loc[::5, "age"] = np.nan
    frame["bought"] = np.where(frame["town"] == "A", "yes", "no")
    frame.loc[7, "noise"] = 1e5
    data = table(frame, "bought", seed=1)
    report = look_report(data, look(data))
    assert "bought" not in blocks(report, Table)[-1].columns
    titles = {p.title.partition(":")[0]: p for p in blocks(report, Plot)}
    assert {"age", "town", "noise"} <= set(titles)
    missing = pd.concat(list(data.raw.values()))["age"].isna().mean()
    assert f"{show(Share(missing))} missing" in titles["age"].title
    assert "outer steps" in titles["noise"].note
    columns = next(t for t in blocks(report, Table) if "relation to the target" in t.columns)
    strength = {row[0]: row[-1] for row in columns.rows}
    assert max(strength, key=lambda k: strength[k]) == "town"
    assert strength["town"] > 0.9 > 0.2 > strength["noise"]
    well(report)


def test_hostile_names_classes_and_texts_stay_text() -> None:
    n = 60
    frame = pd.DataFrame(
        {
            EVIL: np.arange(n) % 7,
            "b": [EVIL, "x", "y"] * 20,
            "label": np.arange(n) * 1.5,
            "y": [EVIL + "1", EVIL + "2"] * 30,
        }
    )
    data = table(frame, "y", seed=0, name=EVIL)
    e = Example(EVIL, "train", int(data.train.ids[0]), 0, EVIL, EVIL, 1.0)
    pair = {"pairs": [["train", int(data.train.ids[0]), "train", int(data.train.ids[1])]]}
    found = look(data)
    hostile = Look(found.facts, (*found.findings, Finding(EVIL, "WARN", EVIL, pair, EVIL, EVIL)), (e,), found.not_run)
    for report in (look_report(data, hostile), look_report(data, found)):
        page = well(report)
        assert page.count("<script") == 3
        assert "<img src=x" not in page
        assert "onerror=alert(1)>" not in page


def test_a_column_of_the_users_own_may_bear_any_name() -> None:
    n = 80
    own = {
        c: np.arange(n) % (i + 2)
        for i, c in enumerate(("split", "id", "index", "label", "suspect", "reason", "missing"))
    }
    data = table(pd.DataFrame(own | {"y": np.arange(n) % 2}), "y", seed=0)
    report = look_report(data, look(data))
    assert {"split_", "id_", "label_"} <= set(blocks(report, Table)[-1].columns)
    well(report)


def test_200_columns_are_listed_and_the_most_related_are_drawn() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 200)).astype(np.float32)
    data = Data.from_arrays(x, x[:, 150] + x[:, 33] + 0.1 * rng.normal(size=300))
    report = look_report(data, look(data))
    drawn = [p.title.partition(":")[0] for p in blocks(report, Plot)[1:]]
    assert len(drawn) == 24
    assert set(drawn[:2]) == {"column 150", "column 33"}
    listing = blocks(report, Table)[-1]
    assert {"column 150", "column 33"} <= set(listing.columns)
    assert len(listing.columns) < 50
    assert "160 of 200 columns are left out" in listing.note
    assert len(well(report)) < 10e6


def test_a_class_that_validation_lacks_is_shown_too() -> None:
    rng = np.random.default_rng(2)
    x, y = torch.tensor(rng.normal(size=(90, 4)), dtype=torch.float32), torch.arange(90) % 3
    valid = torch.flatten((y < 2).nonzero())[:20]
    data = Data(Split(x, y), Split(x[valid] + 1, y[valid]), classes=("a", "b", "never in valid"))
    report = look_report(data, look(data))
    assert any("never in valid: 30 examples" in t.title for t in blocks(report, Table))
    well(report)


def test_several_targets_at_once() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 3))
    data = Data.from_arrays(x, np.c_[x[:, 0], -x[:, 1], rng.normal(size=120)], kind="regression")
    report = look_report(data, look(data))
    assert "3 numbers to predict" in report.sections[0].sentence
    assert [p.title[:9] for p in report.sections[0].blocks if isinstance(p, Plot)] == [
        "target 0:",
        "target 1:",
        "target 2:",
    ]
    well(report)


@pytest.mark.parametrize(
    "inputs",
    [
        torch.randint(1, 50, (60, 12), generator=torch.Generator().manual_seed(0)),
        torch.randn(60, 5, 7, generator=torch.Generator().manual_seed(0)),
        torch.rand(60, 3, 9, 6, generator=torch.Generator().manual_seed(0)),
        torch.rand(60, 4, 6, 6, generator=torch.Generator().manual_seed(0)),
        (torch.randn(60, 2), torch.randint(0, 4, (60, 3))),
        torch.full((60, 3), float("nan")),
    ],
    ids=["sequences", "series", "colour", "four channels", "two parts", "nothing but NaN"],
)
def test_inputs_of_any_shape(inputs: Any) -> None:
    data = Data.from_arrays(inputs, torch.arange(60) % 2)
    report = look_report(data, look(data))
    assert {"there", "found", "examples"} <= set(names(report))
    well(report)


def test_what_could_not_be_looked_at_is_said_with_the_reason() -> None:
    data = diabetes()
    found = look(data)
    report = look_report(data, found)
    shown = next(t for t in blocks(report, Table) if t.title == "What could not be looked at")
    assert [tuple(r) for r in shown.rows] == [(n.code, n.why) for n in found.not_run]
    assert len(shown.rows) == 2


def test_the_test_split_stays_sealed() -> None:
    opened: list[int] = []
    d = digits()
    data = Data(d.train, d.valid, classes=d.classes, sealed=lambda: opened.append(1), meta=d.meta)  # type: ignore[arg-type,return-value]
    look_report(data, look(data)).html()
    assert not opened


def test_a_number_column_that_is_mostly_one_value() -> None:
    rng = np.random.default_rng(0)
    x = np.where(rng.random(500) < 0.9, 0.0, rng.integers(1, 30_000, 500))
    y = (x > 0).astype(int)
    plot = number_plot("gain", x, x[:50], Target(y, ("no", "yes"), 0.5))
    assert plot is not None
    assert "0 is the commonest" in plot.title
    below = plot.figure["data"][-1]
    assert below["y"][0] == 0
    assert below["y"][-1] == 100
    assert sum(plot.figure["data"][0]["y"]) == pytest.approx(100)


def test_no_value_at_all_is_no_plot() -> None:
    assert number_plot("x", np.full(9, np.nan), np.full(3, np.nan)) is None
    assert category_plot("x", np.array([None] * 4, dtype=object), np.array([None], dtype=object)) is None
    assert show(Target(np.array([0.0, 1.0]), None, 0.1).along([np.array([0, 1])])) == "mean target, 0.5"


def test_a_series_is_drawn_along_its_time_and_a_thinned_one_keeps_its_ends() -> None:
    n = 5000
    rng = np.random.default_rng(0)
    y = np.sin(np.arange(n) / 200) + 0.1 * rng.normal(size=n)
    y[1234], y[77] = 50.0, np.nan
    when = pd.date_range("2020-01-01", periods=n, freq="h")
    assert moments(pd.DataFrame({"t": when.astype(str)}), ["t"])[5] == "2020-01-01T05:00:00"
    plot = line_plot("load", [str(t) for t in when], y, 4000, odd=[1234, 77])
    line, marks = plot.figure["data"]
    assert len(line["x"]) <= 2000
    assert max(v for v in line["y"] if v is not None) == 50.0
    assert min(v for v in line["y"] if v is not None) == np.nanmin(y)
    assert marks["y"] == [50.0]
    assert plot.figure["layout"]["shapes"][0]["x0"] == str(when[4000])
    well(Report("series", (Section("a", "A", "", (plot,)),)))


def test_a_series_has_its_section_between_what_was_found_and_its_parts() -> None:
    n = 200
    frame = pd.DataFrame(
        {
            "day": pd.date_range("2021-03-01", periods=n).astype(str),
            "rain": np.arange(n) % 9 * 1.0,
            "y": np.arange(n) * 0.5,
        }
    )
    data = table(frame, "y", kind="regression", seed=0)
    assert "series" in data.meta
    report = look_report(data, look(data))
    section = next(s for s in report.sections if s.name == "series")
    assert [b.title.partition(":")[0] for b in section.blocks if isinstance(b, Plot)][:2] == ["y", "rain"]
    assert section.blocks[0].figure["data"][0]["x"][0] == f"{data.raw['train']['day'].iloc[0]}T00:00:00"
    well(report)


def test_the_report_of_a_run_shows_what_was_suspicious(doubtful: tuple[Data, Look]) -> None:
    from whet.recipe.summary import _look
    from whet.report.dataset import dataset

    data, found = doubtful
    section = dataset(_look(data, found))
    names = {b.name for b in section.blocks if isinstance(b, (Pictures, Pairs))} - {""}
    assert {anchor("LABEL"), anchor("DUPLICATE")} <= names
    links = next(b for b in section.blocks if isinstance(b, Findings)).links
    assert set(links.values()) == names
    labels = next(b for b in section.blocks if isinstance(b, Pictures) and b.name == anchor("LABEL"))
    assert len(labels.items) == 12
    well(Report("run", (section,)))


def test_labels_that_do_not_count_are_no_class() -> None:
    """Below 0, as -100 is for PyTorch's losses."""
    every = torch.arange(60)
    for x in (torch.rand(60, 3), torch.rand(60, 1, 8, 8)):
        for y, n in ((torch.full((60,), -100), 0), (torch.where(every % 3 == 0, -100, every % 2), 2)):
            data = Data(Split(x[:40], y[:40]), Split(x[40:], y[40:]), kind="classification")
            report = look_report(data, look(data))
            assert f"60 examples in {n} classes" in report.text()
            well(report)
