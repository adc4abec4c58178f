"""The page of a check: what it shows of real checks, of what little there is, and of hostile names; and in a browser."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from whet.checks import Live, check, check_task
from whet.checks.pictures import first_layer
from whet.data.split import Data, Split
from whet.finding import INAPPLICABLE, Finding, Health, NotRun, Severity
from whet.report import Report, check_report, write_html
from whet.report.block import Findings, Pictures, Plot, Table
from whet.report.entering import entering, pictured
from whet.report.learning import dynamics, overfitted, sweep
from whet.report.weights import first_weights, texture
from whet.task import Task
from whet.train.run import Run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

HOSTILE = "<script>window.pwned = 1</script>"


class Squares(Task):
    """Small grey pictures of two classes: which half is brighter."""

    steps = 4

    def data(self, params: Any) -> Data:
        draw = torch.Generator().manual_seed(3)
        y = torch.arange(240) % 2
        x = torch.randn(240, 1, 8, 8, generator=draw)
        x[:, :, :, :4] += 2.0 * (2 * y - 1)[:, None, None, None]
        names = ("right", HOSTILE)
        return Data(Split(x[:160], y[:160]), Split(x[160:], y[160:]), classes=names)

    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2))

    def augment(self, params: Any) -> Any:
        def noisy(x: tuple[Tensor, ...], y: Tensor, generator: torch.Generator) -> tuple[tuple[Tensor, ...], Tensor]:
            return (x[0] + torch.randn(x[0].shape, generator=generator),), y

        return noisy


@pytest.fixture(scope="module")
def healthy() -> Health:
    torch.set_num_threads(1)
    return check_task(Squares(), {"lr": 1e-2}, checks=["RUN", "RNG", "INIT", "ACT", "GRAD", "OF", "IIB", "LRR", "TIME"])


@pytest.fixture(scope="module")
def sick() -> Health:
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3), nn.Softmax(dim=1))
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    return check(net, nn.CrossEntropyLoss(), (x, torch.arange(30) % 3))


def blocks(report: Report, kind: type) -> list[Any]:
    return [b for s in report.sections for b in s.blocks if isinstance(b, kind)]


def test_a_healthy_task_is_shown_whole(healthy: Health) -> None:
    report = check_report("squares", healthy, params={"lr": 1e-2}, command="whet check squares.py")
    assert [s.name for s in report.sections] == ["answer", "entering", "learning", "layers", "measured", "again"]
    assert report.sections[0].sentence.startswith("Healthy: 8 checks, nothing wrong")
    titles = [b.title for b in blocks(report, Plot)]
    assert titles[0].startswith("16 examples are learned by heart: loss ")
    assert any("jitter" in t.lower() or "barely" in t for t in titles)
    assert any(t.startswith("The loss falls at learning rates from ") for t in titles)
    assert any(t.startswith("The gradient reaches 2 layers") for t in titles)
    pictures = blocks(report, Pictures)
    assert [p.title.partition(":")[0] for p in pictures] == [
        "The first examples of a batch, with their targets",
        "The same examples as training sees them, augmented",
        "First-layer weights before any step",
        f"First-layer weights after {healthy.facts['OF']['steps']} steps on a few examples",
    ]
    assert [c for _, c in pictures[0].items] == [c for _, c in pictures[1].items]  # targets stay with their examples
    assert any((a != b).any() for (a, _), (b, _) in zip(pictures[0].items, pictures[1].items, strict=True))
    assert [c.split(":")[0] for _, c in pictures[2].items] == [c.split(":")[0] for _, c in pictures[3].items]
    assert "(targets" not in report.text()
    assert all(len(line) <= 80 for line in report.text().splitlines())


def test_the_pictures_are_what_the_model_was_given(healthy: Health) -> None:
    drawn = healthy.drawn["RUN"]
    train = Squares().data({}).train
    for x, y in zip(drawn["inputs"][0], drawn["targets"], strict=True):
        at = int((train.parts[0] == x).flatten(1).all(1).nonzero()[0])
        assert int(train.targets[at]) == int(y)


def test_findings_carry_their_numbers_and_their_fix(sick: Health) -> None:
    report = check_report("net", sick)
    shown = blocks(report, Findings)[0].findings
    assert [f.severity for f in shown] == sorted((f.severity for f in shown), key=list(Severity).index)
    assert report.sections[0].sentence.startswith("1 FAIL in ")
    page = report.html()
    assert "remove the Softmax from the model; the loss wants raw scores (logits)" in page
    assert 'class="evidence"' in page
    assert "OUT failed before it" in page


def test_series_are_recorded_but_are_no_evidence() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    net[0].weight.data.zero_()  # every input looks the same
    net[0].weight.requires_grad_(False)
    x = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
    health = check(net, nn.CrossEntropyLoss(), (x, torch.arange(24) % 3))
    of = [f for f in health.findings if f.code == "OF"]
    assert of
    assert "curves" in health.facts["OF"]
    assert all(not {"curves", "answers", "sites", "strength"} & set(f.evidence) for f in health.findings)
    assert "are wrong" in " ".join(b.title for b in blocks(check_report("net", health), Table))
    assert "are not learned by heart" in " ".join(b.title for b in blocks(check_report("net", health), Plot))


def test_nothing_at_all_and_what_is_of_no_use_are_shown_too() -> None:
    empty = check_report("nothing", Health())
    assert empty.sections[0].sentence == "Nothing was checked."
    assert "Nothing was checked." in empty.html()
    skipped = Health((), (NotRun("PAD", INAPPLICABLE + "no sequence"), NotRun("A", "ValueError: <b>x</b>")))
    titles = [b.title for b in blocks(check_report("skipped", skipped), Table)]
    assert titles == ["Did not run", "Does not apply"]
    assert "<b>x</b>" not in check_report("skipped", skipped).html()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_that_are_not_finite_are_drawn_around(bad: float) -> None:
    fact = {
        "loss": 1.0, "floor": 0.0, "start": 2.0, "left": 0.5, "warn": 0.01, "n": 4, "steps": 2,
        "tries": [{"optimizer": "SGD", "factor": 1.0, "loss": str(bad)}, {"optimizer": "SGD", "factor": 0.1, "loss": 1.0}],
        "curves": [{"steps": [0, 1], "losses": [2.0, None]}, {"steps": [0, 1], "losses": [2.0, 1.0]}],
    }  # fmt: skip
    plot = overfitted(fact)
    assert plot is not None
    assert plot.figure["data"][-1]["y"] == [2.0, 1.0]  # the best on top
    swept = sweep({"rate": 0.1, "start": 2.0, "sweep": {"low": 1e-3, "high": 1.0, "losses": [2.0, None, None]}})
    assert swept is not None
    assert swept.title.startswith("The sweep shows no range")
    assert "NaN" not in check_report("x", Health(facts={"OF": fact})).html().split("Plotly")[0]


@pytest.mark.parametrize(
    ("shape", "pictures"),
    [
        ((4, 1, 8, 8), True),
        ((4, 8, 8, 3), True),
        ((4, 8, 8), True),
        ((4, 5, 9, 9), True),
        ((4, 30, 3), False),
        ((4, 12), False),
    ],
)
def test_what_is_a_picture_is_drawn_as_one(shape: tuple[int, ...], pictures: bool) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    assert (pictured(values) is not None) is pictures
    section = entering({"inputs": (torch.as_tensor(values),), "targets": torch.zeros(4), "classes": None})
    assert section is not None
    assert isinstance(section.blocks[0], Pictures if pictures else Table)


def test_rows_tokens_and_several_inputs_are_told_in_numbers() -> None:
    inputs = {"age": torch.tensor([[1.5], [2.5]]), "tokens": torch.arange(40).reshape(2, 20)}
    section = entering({"inputs": inputs, "targets": torch.tensor([1, 0]), "classes": ("no", "yes")})
    assert section is not None
    age, tokens = section.blocks
    assert isinstance(age, Table)
    assert isinstance(tokens, Table)
    assert age.rows[0] == ("yes", 1.5)
    assert tokens.rows[1][:3] == ("no", 20, 39)
    assert tokens.rows[1][3].startswith("20 21 22 ")
    half = entering({"inputs": (torch.zeros(2, 3, dtype=torch.bfloat16),), "targets": None, "classes": None})
    assert half is not None


@pytest.mark.parametrize(
    ("turn", "move", "word"),
    [
        (-0.9, 0.5, "Predictions jitter"),
        (0.9, 1e-7, "barely move"),
        (0.5, 0.1, "No jitter"),
        (-0.9, 1e9, "All examples get about the same"),
    ],
)
def test_dynamics_say_how_predictions_go(turn: float, move: float, word: str) -> None:
    found = {
        "steps": [0, 1],
        "values": [[0.1, 0.5], [0.2, 0.9]],
        "targets": [3.0, 1.0],
        "kind": "values",
        "turn": turn,
        "move": move,
        "n": 2,
    }
    plot = dynamics(found)
    assert plot is not None
    assert word in plot.title
    assert plot.figure["data"][0]["y"] == pytest.approx([-2.9, -2.8])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_smooth_weights_and_noise_are_told_apart(seed: int) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(144, 8)
    assert texture(first_layer(layer, (12, 12))).startswith("they look like noise")  # type: ignore[arg-type]
    ramps = torch.linspace(-1, 1, 12)[:, None] * torch.randn(8, 1, 1) + torch.linspace(-1, 1, 12)[None] * torch.randn(
        8, 1, 1
    )
    layer.weight.data = ramps.reshape(8, 144)
    assert texture(first_layer(layer, (12, 12))).startswith("they are smooth")  # type: ignore[arg-type]
    shown = first_weights(first_layer(layer, (12, 12)), "of trial 3")
    assert shown is not None
    assert shown.title.startswith("First-layer weights of trial 3: they are smooth")


@pytest.mark.parametrize("seed", [0, 1])
def test_a_watched_run_is_drawn(seed: int) -> None:
    live = Live(every=2, share=None)
    assert len(list(Run(Squares(), {"lr": 1e-2}, steps=3, seed=seed, callbacks=[live]))) == 3
    record = live.health.facts["JITTER"]["dynamics"]
    assert record["kind"] == "classes"
    assert record["steps"] == sorted(set(record["steps"]))
    assert all(0 <= v <= 1 for row in record["values"] for v in row)
    assert np.mean(record["values"][-1]) > np.mean(record["values"][0])
    titles = [b.title for b in blocks(check_report("run", live.health), Plot)]
    assert titles[0].startswith("The loss goes from ")
    assert len(titles) == 2


# In a browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "no-first-run",
        "disable-background-networking",
    ):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.mark.browser
@pytest.mark.parametrize("width", [420, 1200])
def test_the_page_is_drawn_quietly_at_any_width(browser: Chrome, healthy: Health, tmp_path: Path, width: int) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    finding = Finding("ACT", "WARN", HOSTILE, {"dead": 3, "n": 64, "threshold": 0.5}, HOSTILE, HOSTILE)
    health = Health((finding,), (NotRun("A", HOSTILE),), healthy.facts, healthy.drawn)
    report = check_report(HOSTILE, health, params={HOSTILE: HOSTILE}, command=HOSTILE)
    browser.get_log("browser")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(write_html(report, tmp_path / "check.html").as_uri())
    WebDriverWait(browser, 60).until(lambda b: b.execute_script("return document.documentElement.dataset.drawn"))
    plots = "return [...document.querySelectorAll('.canvas')].map((c) => c.querySelectorAll('.scatterlayer .trace, .barlayer .trace').length)"
    assert browser.execute_script(plots) == [len(b.figure["data"]) for b in blocks(report, Plot)]
    broken = "return [...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    assert browser.execute_script("return document.images.length") == sum(
        len(b.items) for b in blocks(report, Pictures)
    )
    wide, room = browser.execute_script("const d = document.documentElement; return [d.scrollWidth, d.clientWidth]")
    assert wide <= room
    assert browser.execute_script("return window.pwned") is None
    evidence = "return [...document.querySelectorAll('.evidence')].map((e) => e.textContent)"
    assert browser.execute_script(evidence) == ["dead 3, n 64, threshold 0.5"]
    assert [e["message"] for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] == []
