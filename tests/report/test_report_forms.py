"""One report, three forms: text, JSON and a page."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from whet.errors import DataError, StoreError
from whet.report import Report, write_html
from whet.report.block import Code, Facts, Findings, Headline, Pictures, Plot, Prose, Section, Table
from whet.report.page import embed
from whet.report.palette import DARK, LIGHT, paint
from whet.report.picture import data_uri
from whet.report.quantity import Bytes, Seconds, Share, point, show, show_column
from whet.report.text import wide

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Collects what a page refers to, and notices a tag that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.refers: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append(dict(attrs))
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data"):
                self.refers.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def plots(report: Report) -> list[Plot]:
    return [b for s in report.sections for b in s.blocks if isinstance(b, Plot)]


def reports(study: Any, regression: Any) -> list[Report]:
    return [study.report(), regression.report()]


def test_text_is_80_columns_and_the_answer_comes_first(study: Any, regression: Any, make: Any) -> None:
    for report in (*reports(study, regression), make(200, 5).report()):
        text = report.text()
        assert max(wide(line) for line in text.splitlines()) <= 80
        assert all(c.isprintable() or c == "\n" for c in text)
        assert text.isascii()
        first = text.index(report.sections[0].sentence[:40])
        assert first < 200
        for section in report.sections:
            assert f"\n{section.title}\n---" in text


def test_text_says_the_score_its_interval_and_how_to_fix_a_finding(study: Any) -> None:
    text = study.report().text()
    assert "0.978 (95 %: 0.952 to 0.990, 270 examples)" in text
    assert "Fix: whet look digits --drop-duplicates" in text
    assert "whet run digits --budget 60s --seed 0 --fresh" in text


def test_text_wraps_wide_characters_and_drops_control_ones() -> None:
    table = Table(("名前" * 30, "n"), (("値" * 60, 1), ("\x1b[31mred", 2)))
    report = Report("報告" * 50, (Section("a", "A", "文 " * 60, (table, Facts({"長" * 40: "い" * 90}))),))
    assert max(wide(line) for line in report.text().splitlines()) <= 80
    assert "\x1b" not in report.text()


def test_json_is_json_and_holds_every_trial(study: Any, regression: Any) -> None:
    for made in (study, regression):
        data = made.report().json()
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        rows = next(
            b["rows"]
            for s in data["sections"]
            for b in s["blocks"]
            if b["kind"] == "table" and "seconds" in b["columns"]
        )
        assert sorted(r[0] for r in rows) == [t.id for t in made.trials]
    answer = study.report().json()["sections"][0]
    assert answer["blocks"][0]["items"][0]["value"] == {
        "value": 0.9778,
        "low": 0.952,
        "high": 0.99,
        "n": 270,
        "level": 0.95,
    }


def test_the_page_is_whole_and_refers_to_nothing_outside(study: Any, regression: Any) -> None:
    for report in reports(study, regression):
        html = report.html()
        page = Page(html)
        assert page.open == []
        assert all(r.startswith(("#", "data:")) for r in page.refers)
        assert not page.handlers
        assert len(set(page.ids)) == len(page.ids)
        assert {f"#{s.name}" for s in report.sections} <= set(page.refers)
        assert len(page.scripts) == 3
        assert html.count("plotly.js v") == 1
        assert report.html() == html


def test_a_page_without_plots_needs_no_plotly() -> None:
    html = Report(
        "x", (Section("a", "A", "", (Prose("p"), Code("c"), Headline((("n", 1.0, ""),)), Findings(()))),)
    ).html()
    assert len(html) < 40_000


def test_the_page_of_1000_trials_stays_small(make: Any) -> None:
    html = make(1000, 1).report().html()
    script = max(map(len, re.findall(r"<script>(.*?)</script>", html, re.S)))
    assert len(html) - script < 700_000


def test_every_plot_states_its_finding_names_its_axes_and_has_its_numbers(study: Any, regression: Any) -> None:
    for report in reports(study, regression):
        assert len(plots(report)) >= 6
        for plot in plots(report):
            assert len(plot.title.split()) >= 5
            assert len(plot.table.rows) > 0
            assert all(len(r) == len(plot.table.columns) for r in plot.table.rows)
            for name in ("xaxis", "yaxis"):
                axis = plot.figure["layout"][name]
                named = axis.get("visible") is False or axis.get("title", {}).get("text") or axis.get("ticktext")
                assert named, plot.title
                text = axis.get("title", {}).get("text", "")
                assert not text or "class" in text or "(" in text, f"no unit: {text}"


def test_plotly_knows_every_attribute(study: Any, regression: Any) -> None:
    import plotly.graph_objects as go

    for report in reports(study, regression):
        for plot in plots(report):
            figure = paint(dict(plot.figure))
            made = go.Figure(figure)
            assert len(made.data) == len(plot.figure["data"])


def test_plots_name_only_colours_there_are(study: Any, regression: Any) -> None:
    assert LIGHT.keys() == DARK.keys()
    for report in reports(study, regression):
        text = json.dumps([paint(dict(p.figure)) for p in plots(report)])
        assert '"@' not in text


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "muted", "accent", "bad", "doubt"])
def test_texts_can_be_read_on_the_page(palette: dict[str, str], name: str) -> None:
    for ground in ("page", "panel"):
        a, b = sorted((luminance(palette[name]), luminance(palette[ground])))
        assert (b + 0.05) / (a + 0.05) >= 4.5


@pytest.mark.parametrize("shape", [(8, 8), (5, 9, 3), (4, 4, 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_picture_comes_back_as_it_was(shape: tuple[int, ...], seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    data = base64.b64decode(data_uri(array).partition(",")[2])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), array.squeeze())


def test_a_large_picture_is_made_smaller_and_a_wrong_one_refused() -> None:
    data = base64.b64decode(data_uri(np.zeros((500, 250), np.uint8), 100).partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (50, 100)
    for bad in (np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)):
        with pytest.raises(DataError, match="picture: got"):
            data_uri(bad)


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    report = Report("x", (Section("a", "A", "text"),))
    target = tmp_path / "runs" / "x" / "report.html"
    assert write_html(report, target) == target
    assert target.read_text(encoding="utf-8") == report.html()
    again = Report("y", ())
    write_html(again, target)
    assert target.read_text(encoding="utf-8") == again.html()
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]

    with pytest.raises(StoreError, match="cannot write"):
        write_html(report, target / "below_a_file.html")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "kept").touch()
    with pytest.raises(StoreError, match="cannot write"):
        write_html(report, folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "runs"]


def test_making_a_report_imports_neither_plotly_nor_torch() -> None:
    code = (
        "import sys\nfrom whet.report import Report, study_report\nfrom whet.tune.space import Space\nfrom whet.tune.trial import Trials\n"
        "r = study_report('x', Trials([], space=Space()))\nr.text(); r.json()\n"
        "print(sorted({'plotly', 'jinja2', 'torch', 'sklearn', 'pandas', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_numbers_read_well() -> None:
    assert [show(v) for v in (0.1, 1 / 3, 1234567.0, 12.0, -0.5, float("nan"), float("-inf"))] == [
        "0.1", "0.3333", "1.23e6", "12", "-0.5", "nan", "-inf",
    ]  # fmt: skip
    assert [show(v) for v in (Seconds(59.9), Seconds(3599.6), Seconds(0), Share(1), Bytes(999), Bytes(10**13))] == [
        "1 min", "1 h 0 min", "0 ms", "100 %", "999 B", "10 TB",
    ]  # fmt: skip
    assert show(np.float32(0.25)) == "0.25"
    assert show(np.int64(1000)) == "1,000"
    assert show(np.bool_(True)) == "yes"
    assert show_column([52.341, 7.0, float("nan")]) == ["52.34", "7.00", "nan"]
    assert point(3) == "3"


def test_embedded_json_cannot_leave_its_script_element() -> None:
    nasty = "</script><!--<script>\u2028&"
    text = embed({nasty: [nasty, float("inf"), np.float32(0.5)]})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {nasty: [nasty, None, 0.5]}


def test_blocks_render_to_json_and_text() -> None:
    picture = np.zeros((2, 2), np.uint8)
    blocks = (Prose("p"), Facts({"a": picture.shape}), Pictures("t", ((picture, "c"),)), Code("x\n" * 40, folded=True))
    report = Report("r", (Section("a", "A", "", blocks),))
    assert [b["kind"] for b in report.json()["sections"][0]["blocks"]] == ["prose", "facts", "pictures", "code"]
    assert "a  2, 2" in report.text()
