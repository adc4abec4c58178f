"""The pictures of the pages are what their program draws, from what the strategies do now."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest

from whet.tune.space import Params

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = DOCS / "pictures"


@pytest.fixture(scope="module")
def draw() -> ModuleType:
    if str(DOCS) not in sys.path:
        sys.path.append(str(DOCS))  # where the parts of the program are
    spec = importlib.util.spec_from_file_location("whet_docs_draw", DOCS / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_is_what_the_code_does_now(draw: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw.main(["--check"]) == 0, capsys.readouterr().out
    made = {name for name, _ in draw.pictures(kept=True)}
    assert {path.name for path in PICTURES.iterdir()} == made
    for name in made:
        text = (PICTURES / name).read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert len(text) < 60_000
        assert "prefers-color-scheme:dark" in text


def test_the_check_sees_a_picture_that_is_old_and_one_that_is_missing(
    draw: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = list(draw.pictures(kept=True))
    for name, text in made[1:]:
        (tmp_path / name).write_text(text.replace(">27<", ">28<") if name == "schedule-asha.svg" else text)
    monkeypatch.setattr(draw, "PICTURES", tmp_path)
    monkeypatch.setattr(draw, "pictures", lambda *, kept: iter(made))
    assert draw.main(["--check"]) == 1
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [made[0][0], "schedule-asha.svg"]


def test_pictures_are_the_same_up_to_two_pixels_and_not_beyond(draw: ModuleType) -> None:
    assert draw.same('<a x="1.0"/>', '<a x="2.9"/>')
    assert not draw.same('<a x="1.0"/>', '<a x="3.0"/>')
    assert not draw.same('<a x="1.0"/>', '<b x="1.0"/>')
    assert not draw.same("<a>26</a>", "<a>27</a>")  # what is written is no place
    assert not draw.same('<a x="1.0"/>', '<a x="1.0" y="1.0"/>')


def test_proposals_on_record_stand_only_when_they_come_out_again(draw: ModuleType) -> None:
    from drawing import searchers  # type: ignore[import-not-found, unused-ignore]

    before: list[Params] = searchers.recorded(PICTURES / "search-tpe.svg")
    assert len(before) == 40
    four = [*before[:36], *({"rate": 0.5, "dropout": 0.5} for _ in range(4))]
    assert searchers.proposed("tpe", four) is four  # a tenth may be rounded otherwise elsewhere
    five = [*before[:35], *({"rate": 0.5, "dropout": 0.5} for _ in range(5))]
    assert searchers.proposed("tpe", five) is not five
    assert searchers.proposed("tpe", before[:39]) != before[:39]


def test_contours_are_where_the_function_has_the_level(draw: ModuleType) -> None:
    from drawing import searchers, svg  # type: ignore[import-not-found, unused-ignore]

    grid = np.linspace(0, 1, 61)
    bowl = (grid[:, None] - 0.5) ** 2 + (grid[None] - 0.5) ** 2
    path = searchers.region(bowl, 0.09)
    assert path.count("M") == 1
    points = np.array([[float(c) for c in p.split()] for p in path.strip("MZ").split("L")])
    u, v = (points[:, 0] - svg.LEFT) / svg.PLOT_W, 1 - (points[:, 1] - svg.TOP) / svg.PLOT_H
    assert np.hypot(u - 0.5, v - 0.5) == pytest.approx(0.3, abs=0.01)
    assert searchers.region(bowl, 0.4).count("M") == 1  # cut off at the edges, and closed along them
    assert searchers.region(-bowl, -0.09).count("M") == 2  # a hole, and the edges


def test_what_the_page_of_gp_says_of_its_picture_holds(draw: ModuleType) -> None:
    from drawing import believed  # type: ignore[import-not-found, unused-ignore]

    s = believed.believed()
    true = np.array([believed.truth(v) for v in s.axes[0].values])
    assert ((s.low <= true) & (true <= s.high)).all()
    assert len(believed.TRIED) == 5
