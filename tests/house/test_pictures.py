"""The pictures of the pages are what their program draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_picture_of_gp_is_what_the_model_believes_now() -> None:
    spec = importlib.util.spec_from_file_location("whet_docs_draw", DOCS / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    s = draw.believed()
    text, kept = draw.gp(s), (DOCS / "pictures" / "gp.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(kept)
    number = r"-?\d+(?:\.\d+)?"
    assert re.sub(number, "#", text) == re.sub(number, "#", kept), "run python docs/draw.py"
    old, new = (np.array(re.findall(number, t), float) for t in (kept, text))
    assert np.abs(old - new).max() < 2.0, "run python docs/draw.py"  # pixels: other processors round otherwise
    # what the page says of it
    x = np.array(s.axes[0].values)
    true = np.array([draw.truth(v) for v in x])
    assert ((s.low <= true) & (true <= s.high)).all()
    assert len(draw.TRIED) == 5
