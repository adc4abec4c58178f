"""Every searcher and scheduler has a page that says what there is to say, and whose examples run."""

from __future__ import annotations

import dataclasses
import importlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest

from whet.cli.main import main
from whet.tune.schedule import NAMES as SCHEDULERS
from whet.tune.search import NAMES as SEARCHERS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
HEADINGS = ["When to use it", "Parameters", "How it works", "Paper", "What was changed"]
ALL: dict[str, Mapping[str, str]] = {"search": SEARCHERS.known, "schedule": SCHEDULERS.known}
PAGES = [f"{kind}/{name}.md" for kind, known in ALL.items() for name in {"auto": "", **known}]
OVERVIEWS = {"search": "searching.md", "schedule": "scheduling.md"}


def wrong(kind: str, name: str, page: str) -> list[str]:
    """Return what the page of a strategy lacks, or says that is not so."""
    found = []
    if not page.startswith(f"# {name}: "):
        found.append("the title is not the name and what it does")
    if (headings := re.findall(r"^## (.*)$", page, re.M)) != HEADINGS:
        found.append(f"the headings are {headings}")
    if f"](../pictures/{kind}-{name}.svg)" not in page:
        found.append("no picture")
    if name != "auto" and f"--{kind} {name} " not in page:
        found.append("no command line")
    part = re.search(r"^## Parameters\n(.*?)^## ", page, re.S | re.M)
    listed = {m[1]: m[2] for m in re.finditer(r"^\| `(\w+)` \| (.*?) \|", part[1] if part else "", re.M)}
    has = fields(kind, name)
    if list(listed) != list(has):
        found.append(f"the parameters are {list(listed)}, the fields {list(has)}")
    elif not has and not (part and part[1].lstrip().startswith("None")):
        found.append("does not say that there are no parameters")
    for field, default in has.items():  # what None stands for is told in words
        said = listed.get(field, "").strip("`")
        shown = f'"{default}"' if isinstance(default, str) else str(default)
        if default is not None and not re.match(rf"{re.escape(shown)}(?![\d.])", said):
            found.append(f"{field} has the default {default!r}, not {said}")
    return found


def fields(kind: str, name: str) -> dict[str, object]:
    """Return the fields of a strategy and their defaults."""
    if name not in ALL[kind]:  # what `auto` is for now: a name for another
        return {}
    module, _, made = ALL[kind][name].partition(":")
    return {f.name: f.default for f in dataclasses.fields(getattr(importlib.import_module(module), made))}


@pytest.mark.parametrize("page", PAGES)
def test_a_strategy_has_a_page_with_everything(page: str) -> None:
    kind, _, file = page.partition("/")
    text = (DOCS / page).read_text(encoding="utf-8")
    assert wrong(kind, file.removesuffix(".md"), text) == []
    assert (DOCS / "pictures" / f"{kind}-{file.removesuffix('.md')}.svg").exists()


def test_no_page_is_left_of_a_strategy_that_is_gone() -> None:
    assert {p.relative_to(DOCS).as_posix() for kind in ALL for p in (DOCS / kind).glob("*")} == set(PAGES)


@pytest.mark.parametrize("kind", ALL)
def test_the_overview_links_every_page_and_names_every_option(kind: str) -> None:
    overview = (DOCS / OVERVIEWS[kind]).read_text(encoding="utf-8")
    assert [name for name in ("auto", *ALL[kind]) if f"| [`{name}`]({kind}/{name}.md) |" not in overview] == []
    row = re.search(r"^\| (?:\[options\]\(#options\)|options) \| (.*) \|$", overview, re.M)
    head = re.search(r"^\|  ?\|( `[\w-]+` \|)+$", overview, re.M)
    assert row
    assert head
    cells = dict(zip(re.findall(r"`([\w-]+)`", head[0]), row[1].split(" | "), strict=True))
    options = {n: list(fields(kind, n)) for n in ALL[kind] if n != "auto"}
    assert {n: re.findall(r"`(\w+)`", cell) for n, cell in cells.items()} == options


@pytest.mark.parametrize("page", [*PAGES, *OVERVIEWS.values()])
def test_the_examples_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    assert blocks
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}  # a later block of a page may use what an earlier one made
    for block in blocks:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(block, page, "exec"), names)
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M):
        if not language:
            assert [line for line in block.splitlines() if not understood(line)] == []


def understood(line: str) -> bool:
    """Return whether a command line has a verb, options and names that there are; only its help is shown."""
    program, *words = line.split()
    named = all(name in ("auto", *ALL[kind]) for kind, name in re.findall(r"--(search|schedule) (\S+)", line))
    return program == "whet" and named and main([*words, "--help"]) == 0


def test_a_command_line_that_would_be_refused_is_seen() -> None:
    assert understood("whet tune digits --search gp --budget 60trials")
    assert not understood("whet tune digits --serch gp")
    assert not understood("whet tun digits")
    assert not understood("whet tune digits --search pg")


@pytest.mark.parametrize("kind", ["search", "schedule"])
def test_the_help_names_them_all(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.replace("-\n", "-").split()).replace("- ", "-")
    said = words.split(f"--{kind} NAME")[1].split("[env var")[0]
    assert [name for name in ALL[kind] if name not in re.findall(r"[a-z-]+", said)] == []


# --- the scan itself --------------------------------------------------------------------------------------------------


def test_the_scan_sees_what_a_page_lacks() -> None:
    page = (DOCS / "search" / "gp.md").read_text(encoding="utf-8")
    assert wrong("search", "gp", page) == []
    assert wrong("search", "gp", page.replace("# gp:", "# GP:")) == ["the title is not the name and what it does"]
    assert "headings" in wrong("search", "gp", page.replace("## Paper", "## Papers"))[0]
    assert wrong("search", "gp", page.replace("search-gp.svg", "gp.svg")) == ["no picture"]
    assert wrong("search", "gp", page.replace("--search gp", "--search tpe")) == ["no command line"]
    assert "['acquisition', 'seed', 'warp']" in wrong("search", "gp", page.replace("| `start` |", "| start |"))[0]
    assert wrong("search", "gp", page.replace('| `"log-ei"` |', '| `"ei"` |')) == [
        "acquisition has the default 'log-ei', not \"ei\""
    ]
    tpe = (DOCS / "search" / "tpe.md").read_text(encoding="utf-8")
    assert wrong("search", "tpe", tpe.replace("| 0.25 |", "| 0.255 |")) == ["share has the default 0.25, not 0.255"]
    full = (DOCS / "schedule" / "full.md").read_text(encoding="utf-8")
    assert wrong("schedule", "full", full.replace("None.", "Some.")) == ["does not say that there are no parameters"]
