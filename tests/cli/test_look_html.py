"""`whet look --html FILE`: a page beside the lines or the JSON, or one line that says why there is none."""

from __future__ import annotations

import json

import pytest

from whet.cli.screen import Screen


def test_the_page_is_written_where_it_is_wanted_and_its_path_is_said(whet, tmp_path):
    said = whet("look", "diabetes", "--html", "made/here/look.html")
    assert said.code == 0
    page = (tmp_path / "made/here/look.html").read_text(encoding="utf-8")
    assert "<h1>A look at diabetes</h1>" in page
    assert "page      made/here/look.html\nnext      whet check diabetes\n" in said.out
    assert said.err == ""


def test_json_and_the_page_go_together(whet, tmp_path):
    said = whet("look", "digits", "--json", "--html", "look.html")
    found = json.loads(said.out)
    assert found["html"] == "look.html"
    assert found["facts"]["examples"] == 1797
    assert (tmp_path / "look.html").stat().st_size > 1e6
    assert "html" not in json.loads(whet("look", "diabetes", "--json").out)


@pytest.mark.parametrize(
    ("path", "words"),
    [("look.txt", ("--html look.txt", ".html", "look.html")), ("folder.html", ("--html folder.html", "is a folder"))],
)
def test_what_cannot_be_a_page_is_refused_before_anything_is_loaded(whet, tmp_path, path, words):
    (tmp_path / "folder.html").mkdir()
    said = whet("look", "no-such-data", "--html", path)
    assert said.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert all(word in said.err for word in words)


def test_a_page_that_cannot_be_written_is_said_in_one_line(whet, tmp_path):
    (tmp_path / "file").write_text("")
    said = whet("look", "diabetes", "--html", "file/look.html")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "file/look.html" in said.err


def test_plain_lines_say_how_far_a_long_look_is(monkeypatch, capsys):
    clock = iter([0.0, *(6.0 * k for k in range(1, 40))])
    monkeypatch.setattr("whet.cli.screen.time.monotonic", lambda: next(clock))
    with Screen(plain=True).telling("look") as told:
        told("NEAR-DUPLICATE", 0.0)
        told("LABEL", 0.5)
    first, second = capsys.readouterr().out.splitlines()
    assert first.split(", ") == ["          0% of all looks", "now NEAR-DUPLICATE"]
    parts = second.strip().split(", ")
    assert (parts[0], parts[-1]) == ("50% of all looks", "now LABEL")
    assert parts[1].endswith(" s left")
