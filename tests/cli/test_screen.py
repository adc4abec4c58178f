"""What a terminal shows: one live region that leaves nothing behind; lines of at most 80 columns without one."""

from __future__ import annotations

import json
import os
import pty
import re
import sys
import threading
import time
from dataclasses import replace

import pytest

from whet.cli.screen import Screen
from whet.recipe import Began, Block, Progress

HALF = Progress(
    "tune", 0.5, "60 s", "2:00 min", 60.0, {"trials": 12345, "finished": 9876, "failed": 120, "epochs": 99999},
    {"trials": 123.456, "epochs": 2345.6}, "0.98333 +- 0.0085 (trial 12344)", "optimizer sgd, momentum 0.912, " * 5,
)  # fmt: skip


class Terminal:
    """A terminal of 80 columns that understands what a live display sends: what it shows, and all it ever showed."""

    def __init__(self) -> None:
        self.lines, self.row, self.column, self.seen = [""], 0, 0, ""

    def feed(self, text: str) -> None:
        for piece in re.findall(r"\x1b\[[?0-9;]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", text):
            if piece == "\r":
                self.column = 0
            elif piece == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif piece.endswith("A"):
                self.seen += "\n".join(self.lines) + "\n"  # a frame is complete when the next one begins
                self.row -= int(piece[2:-1] or 1)
            elif piece == "\x1b[2K":
                self.lines[self.row] = ""
            elif not piece.startswith("\x1b"):
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + piece + line[self.column + len(piece) :]
                self.column += len(piece)
                assert self.column <= 80, self.lines[self.row]
        self.seen += "\n".join(self.lines) + "\n"


@pytest.fixture
def terminal(monkeypatch):
    """Make standard output a terminal; return it, fed with everything that is printed."""
    master, slave = pty.openpty()
    for name in ("CI", "NO_COLOR", "WHET_PLAIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    screen = Terminal()

    def read() -> None:
        while True:
            try:
                data = os.read(master, 1 << 16)
            except OSError:
                return
            screen.feed(data.decode())

    reader = threading.Thread(target=read)
    reader.start()
    out = os.fdopen(slave, "w", encoding="utf-8")

    def finish() -> Terminal:
        if not out.closed:
            out.flush()
            time.sleep(0.1)  # what is left in the pipe of a terminal is dropped when it closes
            out.close()
            reader.join()
            os.close(master)
        return screen

    yield out, finish
    finish()


def steps():
    yield Began("data")
    yield Block("data", ("1,797 examples",))
    yield Began("tune", "grid: 12 points")
    yield HALF
    yield HALF
    yield Block("tune", ("12 trials", "best trial 3"))
    yield Began("squeeze")
    yield Block("squeeze", ("an ensemble",))


def test_the_live_region_shows_how_far_things_are_and_leaves_nothing(terminal, monkeypatch):
    out, finish = terminal
    monkeypatch.setattr(sys, "stdout", out)
    screen = Screen()
    assert screen.live
    events = steps()
    blocks = screen.show(events)
    shown = finish()
    assert list(blocks) == ["data", "tune", "squeeze"]
    assert [line.rstrip() for line in shown.lines if line.strip()] == [
        "data      1,797 examples", "tune      grid: 12 points", "tune      12 trials", "          best trial 3",
        "squeeze   an ensemble",
    ]  # fmt: skip
    for part in (
        "[############------------] 60 s of 2:00 min   1:00 min left",
        "best 0.98333 +- 0.0085",
        "trying optimizer sgd",
        "123 trials/s",
    ):
        assert part in shown.seen, part


def test_a_notice_and_an_error_leave_no_half_of_the_region_behind(terminal, monkeypatch):
    out, finish = terminal
    monkeypatch.setattr(sys, "stdout", out)
    screen = Screen()

    def broken():
        yield HALF
        screen.notice("whet: finishing")
        yield HALF
        raise ValueError("the end")

    with pytest.raises(ValueError, match="the end"):
        screen.show(broken())
    assert [line.rstrip() for line in finish().lines if line.strip()] == ["whet: finishing"]


def test_the_recipe_in_a_terminal(terminal, whet, tmp_path, monkeypatch):
    out, finish = terminal
    with monkeypatch.context() as m:
        m.setattr(sys, "stdout", out)
        said = whet("run", "diabetes", "--budget", "4trials", "--epochs", "2", "--workers", "1")
    assert said.code == 0, said
    shown = finish()
    lines = [line.rstrip() for line in shown.lines]
    assert re.search(r"\[#*-*\] \d of 4 trials", shown.seen)
    # what it is trying shows only while a trial runs, which four short ones may do between two pictures
    assert re.search(r"best [\d.]+ \+- [\d.]+ \(trial \d\)", shown.seen)
    assert {p.name for p in (tmp_path / "runs" / "diabetes").iterdir()} >= {"model", "report.html"}
    assert not any("[" in line or line.endswith("...") for line in lines), lines
    names = [line.split()[0] for line in lines if line and line[0] != " "]
    assert names == "data check tune squeeze test export report made next".split()
    assert all(line[:10].endswith(" ") for line in lines if line), "aligned"


def test_lines_without_a_terminal_fit_and_keep_what_matters_most(capsys, monkeypatch):
    monkeypatch.setattr("whet.cli.screen._EVERY", 0.0)
    screen = Screen()
    assert not screen.live
    screen.show(steps())
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "60 s of 2:00 min, 12,345 trials, best 0.98333 +- 0.0085 (trial 12344)" in out
    small = Progress("train", 0.1, "1", "10 epochs", 9.0, {}, {"epochs": 2.5}, "accuracy 0.91", "lr 1")
    screen.show(event for event in [small])
    assert "1 of 10 epochs, 9 s left, 2.5 epochs/s, accuracy 0.91" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_no_live_region_where_nobody_looks(terminal, monkeypatch, name, value):
    out, _ = terminal
    monkeypatch.setattr(sys, "stdout", out)
    assert Screen().live
    assert not Screen(plain=True).live
    monkeypatch.setenv(name, value)
    assert not Screen().live


def test_json_keeps_a_list_of_numbers_on_one_line_and_every_value(capsys):
    from whet.cli.screen import emit_json

    value = {
        "losses": [2.5, 1.25, None], "none": [], "pairs": [[1, 2], [3, 4]], "odd": ["a, b", "[x]", "[ ", "line\nbreak ]", "{"],
        "deep": [{"a": [1]}, 2],
    }  # fmt: skip
    emit_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert '  "losses": [2.5, 1.25, null],\n' in out
    assert "    [1, 2],\n" in out


def test_checking_says_how_long_it_may_still_take() -> None:
    from whet.cli.check import _Far

    far = _Far()
    assert far.look().seconds is None
    far.tell("OF", 23, 29, 60.0)
    left = far.look().seconds
    assert left is not None
    assert 30 < left <= 60


FAR = Progress("train", 0.1, "1", "9 epochs", None, best="accuracy 0.5", rows=("worker 0 ▁█ fast",), told=True)


def test_rows_stand_below_the_bar_where_there_is_a_picture(terminal, monkeypatch):
    out, finish = terminal
    monkeypatch.setattr(sys, "stdout", out)
    Screen().show(e for e in (FAR, FAR))
    assert "\n          worker 0 ▁█ fast" in finish().seen


def test_what_is_worth_a_line_has_one_where_there_is_none(capsys, monkeypatch):
    monkeypatch.setenv("CI", "1")
    Screen().show(e for e in (FAR, HALF, replace(FAR, spent="2")))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["1 of 9 epochs, accuracy 0.5", "2 of 9 epochs, accuracy 0.5"], "and the rest only now and then"


def test_a_line_that_says_nothing_new_is_not_printed_again_but_rarely_that_it_does_not(capsys, monkeypatch):
    """Ten minutes of a trial of which nothing is heard, looked at four times a second."""
    monkeypatch.setenv("CI", "1")
    clock = [1000.0]
    monkeypatch.setattr("whet.cli.screen.time.monotonic", lambda: clock[0])
    same = Progress("tune", 0.1, "4", "40 trials", None, {"trials": 4, "failed": 0}, best="0.5 (trial 3)")

    def events():
        yield Began("tune")
        for _ in range(4 * 600):
            clock[0] += 0.25
            yield same
        clock[0] += 5.0
        yield replace(same, spent="5")
        clock[0] += 5.0
        yield replace(same, spent="5")

    Screen().show(events())
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "4 of 40 trials, 0 finished, 0 failed, best 0.5 (trial 3)",
        *(f"4 of 40 trials, 0 failed, best 0.5 (trial 3), nothing new for {n} min" for n in ("1:00", "2:00", "4:00", "8:00")),
        "5 of 40 trials, 0 finished, 0 failed, best 0.5 (trial 3)",
    ]  # fmt: skip


def test_bars_are_drawn_with_what_the_stream_can_write(tmp_path, monkeypatch):
    with open(tmp_path / "out", "w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        Screen().block("train", ["staleness 0 ▁▂▇█ 3"])
    assert (tmp_path / "out").read_text() == "train     staleness 0 _.*# 3\n"
