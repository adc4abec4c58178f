"""The page in a real browser: everything is drawn, nothing is fetched, nothing complains, nothing overflows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from whet.data.bundled import digits
from whet.data.look import look
from whet.data.table import table
from whet.report import Report, study_report, write_html
from whet.report.looked import look_report
from whet.tune.space import Choice, Float, Space
from whet.tune.trial import Goal, Trials

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

FLAGS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "disable-dev-shm-usage", "force-device-scale-factor=1",
)  # fmt: skip
CLIPPED = """(c) => [...c.querySelectorAll(".main-svg text")].filter((t) => {
    const a = t.getBoundingClientRect(), b = c.querySelector(".main-svg").getBoundingClientRect();
    return t.textContent.trim() && a.width && (a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1);
}).map((t) => t.textContent)"""
DRAWN = "return document.documentElement.dataset.drawn"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def show(browser: Chrome, tmp_path: Path) -> Callable[..., Chrome]:
    """Open a report in a window of this width, wait until it is drawn, and return the browser."""
    from selenium.webdriver.support.ui import WebDriverWait

    def opened(report: Report, width: int = 1400, scheme: str = "light") -> Chrome:
        path = write_html(report, tmp_path / "report.html")
        for log in ("browser", "performance"):
            browser.get_log(log)  # what an earlier page said
        emulate(browser, scheme)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(path.as_uri())
        WebDriverWait(browser, 60).until(lambda b: b.execute_script(DRAWN))
        return browser

    return opened


def emulate(browser: Chrome, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})


def complaints(browser: Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def fetched(browser: Chrome) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    # The browser's own first tab (chrome://...) may still be loading: what counts is what the page asks for.
    urls = [p["request"]["url"] for p in sent if not p["documentURL"].startswith("chrome")]
    assert any(u.startswith("file:") for u in urls), "the log of requests is empty"
    return [u for u in urls if not u.startswith(("file:", "data:", "blob:"))]


def drawn(browser: Chrome) -> list[dict[str, Any]]:
    """What each plot shows: its title, traces given, traces drawn, the size of the picture and of its place."""
    return browser.execute_script(
        """return [...document.querySelectorAll(".canvas")].map((c) => ({
            title: c.getAttribute("aria-label"),
            given: c.data.length,
            marks: c.querySelectorAll(".main-svg .scatterlayer .trace, .main-svg .barlayer .trace, .main-svg .heatmaplayer .hm").length,
            axes: c.querySelectorAll(".main-svg .xtick, .main-svg .annotation").length,
            width: c.querySelector(".main-svg").getBoundingClientRect().width,
            room: c.getBoundingClientRect().width,
            clipped: (CLIPPED)(c),
        }))""".replace("CLIPPED", CLIPPED)
    )


def look_at(browser: Chrome, report: Report) -> None:
    plots = drawn(browser)
    assert len(plots) == sum(len(getattr(b, "figure", {})) > 0 for s in report.sections for b in s.blocks)
    for plot in plots:
        assert plot["marks"] >= plot["given"] > 0, plot
        assert plot["axes"] >= 2, plot
        assert plot["width"] <= plot["room"] + 1, plot
        assert plot["clipped"] == [], plot
    wide, room = browser.execute_script("const d = document.documentElement; return [d.scrollWidth, d.clientWidth]")
    assert wide <= room
    broken = "return [...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    assert complaints(browser) == []
    assert fetched(browser) == []


@pytest.mark.parametrize("width", [400, pytest.param(800, marks=pytest.mark.soak), 1400])
def test_classification_is_drawn_at_any_width(show: Any, study: Any, width: int) -> None:
    report = study.report()
    look_at(show(report, width), report)


@pytest.mark.parametrize("width", [800, pytest.param(1400, marks=pytest.mark.soak)])
def test_regression_is_drawn(show: Any, regression: Any, width: int) -> None:
    report = regression.report()
    look_at(show(report, width, "dark"), report)


def test_1000_trials_are_drawn(show: Any, make: Any) -> None:
    report = make(1000, 2).report()
    look_at(show(report, 1400), report)


def test_long_and_hostile_names_do_no_harm(show: Any, hostile: Report) -> None:
    report = hostile
    for width in (800, 1400):
        browser = show(report, width)
        look_at(browser, report)
        assert browser.execute_script("return window.pwned") is None
        assert browser.execute_script("return document.scripts.length") == 3
        assert (
            browser.execute_script("return document.querySelectorAll('.canvas img, .canvas script, .canvas a').length")
            == 0
        )


def middle_of_a_line(browser: Chrome, canvas: int, trace: int) -> tuple[int, int]:
    """Scroll the plot into view and return where, in the window, the last point of one of its traces is."""
    x, y = browser.execute_script(
        """const c = document.querySelectorAll(".canvas")[arguments[0]], t = c.data.at(arguments[1]), l = c._fullLayout;
        c.scrollIntoView({block: "center"});
        const b = c.getBoundingClientRect();
        return [b.left + l.xaxis._offset + l.xaxis.d2p(t.x.at(-1)), b.top + l.yaxis._offset + l.yaxis.d2p(t.y.at(-1))];""",
        canvas,
        trace,
    )
    return round(x), round(y)


def test_hover_shows_the_configuration_and_a_click_isolates(show: Any, study: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    browser = show(study.report())
    titles = [p["title"] for p in drawn(browser)]
    number = next(i for i, t in enumerate(titles) if "trained for all" in t)
    x, y = middle_of_a_line(browser, number, -1)
    pointer = ActionChains(browser, duration=50)
    pointer.w3c_actions.pointer_action.move_to_location(x - 3, y - 3)
    pointer.w3c_actions.pointer_action.move_to_location(x, y)
    pointer.perform()
    said = "return document.querySelectorAll('.canvas')[arguments[0]].querySelector('.hoverlayer')?.textContent"
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(said, number))
    text = browser.execute_script(said, number)
    best = study.trials.best
    assert f"trial {best.id}" in text
    assert f"optimizer {best.params['optimizer']}" in text
    assert "epoch 27" in text

    opacities = "return document.querySelectorAll('.canvas')[arguments[0]].data.map((t) => t.opacity ?? 1)"
    assert set(browser.execute_script(opacities, number)) == {1}
    pointer = ActionChains(browser, duration=50)
    pointer.w3c_actions.pointer_action.click()
    pointer.perform()
    WebDriverWait(browser, 20).until(lambda b: min(b.execute_script(opacities, number)) < 0.5)
    assert browser.execute_script(opacities, number).count(1) == 1
    assert complaints(browser) == []


def test_the_table_of_trials_sorts_by_number(show: Any, study: Any) -> None:
    browser = show(study.report())
    column = "return [...document.querySelectorAll('table[data-trials] tbody tr')].map((r) => r.cells[arguments[0]].textContent)"
    heads = browser.execute_script(
        "return [...document.querySelectorAll('table[data-trials] th')].map((h) => h.textContent)"
    )
    click = "document.querySelectorAll('table[data-trials] th')[arguments[0]].click()"
    for name in ("trial", "lr", "width"):
        at = heads.index(name)
        for down in (False, True):
            browser.execute_script(click, at)
            cells = browser.execute_script(column, at)
            numbers = [float(c.replace(",", "")) for c in cells if c != "-"]
            assert numbers == sorted(numbers, reverse=down)
            assert cells[len(numbers) :] == ["-"] * (len(cells) - len(numbers))


def test_plots_follow_the_colours_of_the_page(show: Any, study: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    from whet.report.palette import DARK, LIGHT

    browser = show(study.report(), 1000, "light")
    colours = """const c = [...document.querySelectorAll(".canvas")].find((c) => c.data.some((t) => t.line?.width === 3));
        return [c.data.at(-1).line.color, getComputedStyle(document.body).backgroundColor]"""
    assert browser.execute_script(colours) == [LIGHT["accent"], "rgb(255, 255, 255)"]
    emulate(browser, "dark")
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(colours) == [DARK["accent"], "rgb(20, 23, 27)"])


def test_it_prints_light_and_within_the_sheet(show: Any, study: Any) -> None:
    from whet.report.palette import LIGHT

    browser = show(study.report(), 1400, "dark")
    browser.execute_script(
        """window.printed = [];
        addEventListener("beforeprint", () => {
            for (const c of document.querySelectorAll(".canvas"))
                window.printed.push([c.querySelector(".main-svg").getBoundingClientRect().width, c._fullLayout.font.color,
                    (CLIPPED)(c)]);
        })""".replace("CLIPPED", CLIPPED)
    )
    sheet = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True}
    assert len(browser.execute_cdp_cmd("Page.printToPDF", sheet)["data"]) > 20_000
    printed = browser.execute_script("return window.printed")
    assert len(printed) == browser.execute_script("return document.querySelectorAll('.canvas').length") >= 14
    assert all(0 < width <= 660 for width, *_ in printed)
    assert {colour for _, colour, _ in printed} == {LIGHT["muted"]}
    assert [texts for *_, texts in printed if texts] == []
    after = drawn(browser)
    assert max(p["width"] for p in after) > 900
    assert complaints(browser) == []


@pytest.mark.parametrize("name", ["nan", *(pytest.param(n, marks=pytest.mark.soak) for n in ("one step", "perfect"))])
def test_odd_trials_are_drawn_too(show: Any, odd_trials: Any, name: str) -> None:
    space = Space(lr=Float(1e-4, 1.0, log=True), act=Choice(["relu", "gelu"]))
    report = study_report(name, Trials(odd_trials[name], space=space, goals=(Goal("accuracy", "max"),), steps=3))
    look_at(show(report, 800), report)


@pytest.mark.parametrize(("width", "beside"), [(400, 1), (1400, 2)])
def test_what_a_model_expects_is_drawn_two_beside_each_other_where_there_is_room(
    show: Any, study: Any, width: int, beside: int
) -> None:
    from whet.report.block import Section
    from whet.report.landscape import landscape_section
    from whet.report.listing import trial_table
    from whet.tune.landscape import landscape

    found = landscape(study.trials)
    section = landscape_section(found, found.slices(), map=found.slice("lr", "dropout", points=21), whole=True)
    report = Report("digits", (section, Section("trials", "The trials", "", (trial_table(study.trials),))))
    browser = show(report, width, "dark")
    look_at(browser, report)
    tops = browser.execute_script(
        "return [...document.querySelectorAll('.half')].map((f) => Math.round(f.getBoundingClientRect().top))"
    )
    assert len(tops) == len(found.weights) + 4
    assert tops.count(tops[0]) == tops.count(tops[2]) == beside
    # the heat is there, and over a mark of a trial stands its configuration
    pixels = """const hm = document.querySelector(".heatmaplayer .hm image");
        return hm ? hm.getBoundingClientRect().width : 0"""
    assert browser.execute_script(pixels) > 100
    texts = browser.execute_script(
        """return [...document.querySelectorAll(".canvas")][0].data.filter((t) => Array.isArray(t.marker?.symbol))
            .map((t) => t.text).flat()"""
    )
    assert any("optimizer sgd" in t for t in texts)
    assert all(t.startswith("trial ") for t in texts)


# -- a look at data


@pytest.fixture(scope="module")
def looked() -> Report:
    """Digits, of which some bear another label and two are equal."""
    data = digits(seed=1)
    data.train.targets[:12] = (data.train.targets[:12] + 1) % 10
    data.train.parts[0][50] = data.train.parts[0][60]
    return look_report(data, look(data))


ROWS = """const t = [...document.querySelectorAll("[data-sortable] table")].at(-1);
    return [...t.tBodies[0].rows].map((r) => [...r.cells].slice(-HEADS).map((c) => c.textContent))"""


class Listing:
    """The last table of a page, as a person uses it."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser
        self.place = browser.find_elements("css selector", "[data-sortable]")[-1]
        self.heads = [h.text for h in self.place.find_elements("css selector", "th button")]
        self.box = browser.find_elements("css selector", ".filter input")[-1]

    def rows(self) -> list[list[str]]:
        return self.browser.execute_script(ROWS.replace("HEADS", str(len(self.heads))))

    def column(self, name: str) -> list[str]:
        return [row[self.heads.index(name)] for row in self.rows()]

    def said(self) -> str:
        return self.browser.find_elements("css selector", ".filter [role=status]")[-1].text

    def filter(self, text: str, said: str) -> list[list[str]]:
        """Type a filter, wait until the page says what is expected, and return the rows."""
        from selenium.webdriver.common.keys import Keys
        from selenium.webdriver.support.ui import WebDriverWait

        self.box.send_keys(Keys.CONTROL, "a")
        self.box.send_keys(text if text else Keys.DELETE)
        try:
            WebDriverWait(self.browser, 10).until(lambda b: self.said().startswith(said))
        except Exception:
            raise AssertionError(f"{text!r}: {self.said()!r}, expected {said!r}") from None
        return self.rows()


@pytest.mark.parametrize(("width", "scheme"), [(500, "dark"), (1200, "light")])
def test_a_look_is_drawn_with_its_pictures(show: Any, looked: Report, width: int, scheme: str) -> None:
    browser = show(looked, width, scheme)
    look_at(browser, looked)
    shown = """return ["pictures", "sheet", "pairs", "thumb"].map((c) =>
        [...document.querySelectorAll(`.${c} img`)].filter((i) => i.naturalWidth === 8 && i.getBoundingClientRect().width > 20).length)"""
    pictures, sheet, pairs, thumbs = browser.execute_script(shown)
    assert pictures >= 5
    assert sheet > 150
    assert pairs == 2
    assert thumbs == 200
    seen = browser.find_element("link text", "See them").get_attribute("href").partition("#")[2]
    assert (
        browser.execute_script("return document.getElementById(arguments[0]).querySelectorAll('img').length", seen) > 0
    )


def test_the_examples_are_filtered_by_text_and_by_conditions(show: Any, looked: Report) -> None:
    listing = Listing(show(looked))
    table = looked.sections[-1].blocks[0]
    at = {name: table.columns.index(name) for name in table.columns}
    assert listing.said() == f"{len(table.rows):,} rows, the first 200 drawn"

    def count(test: Callable[[Any], bool]) -> str:
        return f"{sum(map(test, table.rows)):,} of 1,527 rows"

    bright = 0.32
    rows = listing.filter(
        f"brightness > {bright} and label == 3", count(lambda r: r[at["brightness"]] > bright and r[at["label"]] == 3)
    )
    assert rows
    assert all(float(r[at["brightness"]]) > bright and r[at["label"]] == "3" for r in rows)
    listing.filter("split == valid", count(lambda r: r[at["split"]] == "valid"))
    listing.filter(
        'split == "valid" and label >= 8 or id < 5',
        count(lambda r: (r[at["split"]] == "valid" and r[at["label"]] >= 8) or r[at["id"]] < 5),
    )
    listing.filter("label != 0", count(lambda r: r[at["label"]] != 0))
    listing.filter("> 1795", count(lambda r: r[at["id"]] > 1795))
    rows = listing.filter("LOOKS LIKE", count(lambda r: "looks like" in r[at["reason"]]))
    assert rows
    assert all("LABEL" in r[at["suspect"]] for r in rows)
    listing.filter("no such text", "0 of 1,527 rows")
    assert listing.filter("nonsense > 3", 'no column "nonsense"') == []
    assert listing.box.get_attribute("aria-invalid") == "true"
    listing.filter("", "1,527 rows")
    assert len(listing.rows()) == 200
    more = listing.browser.find_elements("css selector", ".more")[-1]
    listing.browser.execute_script("arguments[0].click()", more)
    assert len(listing.rows()) == 400
    assert complaints(listing.browser) == []


def test_the_examples_are_sorted_by_keyboard_and_what_is_filtered_stays_so(show: Any, looked: Report) -> None:
    from selenium.webdriver.common.keys import Keys

    listing = Listing(show(looked, 1200, "dark"))
    table = looked.sections[-1].blocks[0]
    contrast = sorted(r[table.columns.index("contrast")] for r in table.rows)
    head = listing.place.find_elements("css selector", "th")[1 + listing.heads.index("contrast")]
    button = head.find_element("css selector", "button")
    button.send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(c) for c in listing.column("contrast")] == pytest.approx(contrast[:200])
    button.send_keys(Keys.SPACE)
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(c) for c in listing.column("contrast")] == pytest.approx(contrast[::-1][:200])
    listing.filter("label == 7", "15")
    assert set(listing.column("label")) == {"7"}
    found = [float(c) for c in listing.column("contrast")]
    assert found == sorted(found, reverse=True)
    # every row keeps its own picture
    picture = """const r = [...document.querySelectorAll("[data-sortable]")].at(-1).querySelector("tbody tr");
        const c = Object.assign(document.createElement("canvas"), {width: 8, height: 8}).getContext("2d");
        c.drawImage(r.querySelector("img"), 0, 0); return [...c.getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 0)"""
    row = next(i for i, r in enumerate(table.rows) if str(r[1]) == listing.column("id")[0])
    assert listing.browser.execute_script(picture) == table.pictures[row].ravel().tolist()


def test_what_is_missing_stands_last_and_hostile_cells_stay_text(show: Any) -> None:
    import pandas as pd

    evil = "<img src=x onerror='window.pwned=1'>"
    n = 1500
    frame = pd.DataFrame({
        evil: [None if i % 3 == 0 else (i * 7) % 100 for i in range(n)], "text": [evil, "a, b", "don't"] * 500, "y": [evil + "0", "b"] * 750,
    })  # fmt: skip
    data = table(frame, "y", seed=0)
    report = look_report(data, look(data))
    browser = show(report, 800)
    look_at(browser, report)
    listing = Listing(browser)
    shown = len(report.sections[-1].blocks[0].rows)
    big = sum((row[3] or 0) > 90 for row in report.sections[-1].blocks[0].rows)
    listing.filter(f"{evil} > 90", f"{big:,} of {shown:,} rows")
    assert all(float(c) > 90 for c in listing.column(evil))
    at = report.sections[-1].blocks[0].columns.index("text")
    held = sum(row[at] == "don't" for row in report.sections[-1].blocks[0].rows)
    listing.filter("don't", f"{held:,} of {shown:,} rows")
    listing.filter("", f"{shown:,} rows")
    button = listing.place.find_elements("css selector", "th button")[listing.heads.index(evil)]
    for _ in range(2):
        browser.execute_script("arguments[0].click()", button)
        cells = listing.column(evil)
        assert "-" not in cells
    assert browser.execute_script("return window.pwned") is None
    assert browser.execute_script("return [...document.querySelectorAll('[data-sortable] td img')].length") == 0


def test_the_trials_are_filtered_too(show: Any, study: Any) -> None:
    browser = show(study.report())
    browser.execute_script("document.querySelector('table[data-trials]').closest('details').open = true")
    box = browser.execute_script(
        "return document.querySelector('table[data-trials]').closest('details').querySelector('.filter input')"
    )
    box.send_keys("optimizer == sgd and lr > 0.01")
    rows = "return [...document.querySelectorAll('table[data-trials] tbody tr')].map((r) => Number(r.cells[0].textContent))"
    wanted = {t.id for t in study.trials if t.params.get("optimizer") == "sgd" and t.params["lr"] > 0.01}
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10).until(lambda b: set(b.execute_script(rows)) == wanted)
    assert wanted
    assert complaints(browser) == []
