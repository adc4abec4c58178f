"""The task of the page on architectures, tuned as the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architectures.md"


def test_the_task_of_the_page_is_tuned_by_evolution(whet, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    task = next(b for b in blocks if "(Task)" in b)
    Path("task.py").write_text(task, encoding="utf-8")
    words = (
        "--name",
        "built",
        "--search",
        "evolution",
        "--schedule",
        "full",
        "--budget",
        "12trials",
        "--epochs",
        "1",
        "--workers",
        "1",
    )
    said = whet("tune", "task.py", *words)
    assert said.code == 0, said.err
    shown = whet("study", "show", "built", "--json")
    trials = json.loads(shown.out)["trials"]
    assert len(trials) == 12
    bred = [t for t in trials if "evolution" in t["origin"]]
    assert bred
    assert all(t["params"]["layer1"] == "dense" for t in trials)


def test_the_other_examples_of_the_page_run():
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S):
        exec(compile(block, str(PAGE), "exec"), {"__name__": "page"})
