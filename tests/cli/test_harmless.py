"""What a person named or raised may hold anything: nothing of it drives the terminal, in any verb."""

from __future__ import annotations

import json
import unicodedata

import pandas as pd
import pytest

from whet.errors import harmless, one_line

EVIL = "\\x1b[2J\\x1b]0;owned\\x07up\\r\\x00down\\u202edeppilf\\x9b31m"
NASTY = EVIL.encode().decode("unicode_escape")


def quiet(text: str) -> bool:
    """Whether a terminal would only show a text."""
    return all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (NASTY, "up ?down?deppilf?31m"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x1b]0;a title that never ends", "0;a title that never ends"),
        ("he said â\x80\x9cstopâ\x80\x9d to him", "he said â??stopâ?? to him"),
        ("\x1bcreset", "reset"),
        ("\x1b(0lines\x1b(B", "lines"),
        ("a\ud800b", "a?b"),
        ("naïve 日本 👩\u200d👧", "naïve 日本 👩\u200d👧"),
        ("ab\x08\x7fc", "ab??c"),
    ],
)
def test_harmless(text, shown):
    assert harmless(text) == shown
    assert one_line(text) == " ".join(shown.split())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        noise = ", f'        raise ValueError("{EVIL}")\n        noise = '),
        ("return nn.Seq", f'raise RuntimeError("{EVIL}")\n        return nn.Seq'),
        ("class Tiny(Task):\n", f'def ReLU():\n    raise RuntimeError("{EVIL}")\n\n\nclass Tiny(Task):\n'),
        ("nn.ReLU()", f'type("{EVIL[:-4]}", (nn.Sigmoid,), {{"forward": lambda s, x: 1 / 0}})()'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_what_a_task_raises(whet, task, old, new, flag):
    said = whet("check", task(old, new), *flag)
    assert quiet(said.out + said.err), repr(said)
    assert "owned" not in said.err + (said.out if not flag else "")
    if flag and said.out:
        json.loads(said.out)


def test_columns_classes_and_files(whet, table, tmp_path):
    text = NASTY.replace("\x00", "\x08").replace("\r", "")  # else it is no table
    frame = table(200).rename(columns={"a": f"a{text}"})
    frame["colour"] = frame["colour"].replace("red", f"red{text}")
    frame["label"] = frame["label"].replace("yes", f"yes{text}")
    frame = pd.concat([frame, frame.iloc[:30]])
    name = "data\x1b[31m\u202e.csv"
    frame.to_csv(tmp_path / name, index=False)
    for words in (
        ("look",),
        ("look", "--show", "0-3"),
        ("look", "--where", "id < 9"),
        ("check",),
        ("look", "--json"),
        ("check", "--json"),
    ):
        said = whet(words[0], name, *words[1:], "--target", "label")
        assert said.code in (0, 1), said.err
        assert quiet(said.out + said.err), (words, repr(said.out), repr(said.err))
    said = whet("look", name, "--target", f"lab\x1b[31m\u202e{NASTY}")
    assert said.code == 2
    assert quiet(said.err)


def test_json_says_the_same_as_without_escapes(whet, table, tmp_path):
    table(80).assign(label=lambda f: f["label"].replace("yes", "\u202eyes\x9b")).to_csv(tmp_path / "t.csv", index=False)
    said = whet("look", "t.csv", "--target", "label", "--json")
    assert "\\u202eyes\\u009b" in said.out
    assert "\u202eyes\x9b" in {c["name"] for c in json.loads(said.out)["facts"]["classes"]}


def test_a_name_that_the_terminal_cannot_write_ends_no_command(start, table, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    table(80).assign(label=lambda f: f["label"].replace("yes", "日本")).to_csv(tmp_path / "t.csv", index=False)
    for flag in ((), ("--json",)):
        process = start("look", "t.csv", "--target", "label", *flag)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        if flag:
            assert "日本" in {c["name"] for c in json.loads(out)["facts"]["classes"]}
        else:
            assert "\\u65e5" in out


SCRIPT = "<script>window.pwned = 1</script><img src=x onerror=alert(1)>"


@pytest.mark.parametrize("verb", ["look", "check"])
def test_names_in_a_page_are_text(whet, table, tmp_path, verb):
    frame = table(200).rename(columns={"a": f"a{SCRIPT}"})
    frame["label"] = frame["label"].replace("yes", f"yes{SCRIPT}")
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert whet(verb, "t.csv", "--target", "label", "--html", "page.html").code in (0, 1)
    page = (tmp_path / "page.html").read_text()
    assert "window.pwned" in page
    assert "<script>window" not in page
    assert "<img src=x" not in page


def test_what_is_raised_stands_in_a_page_as_text(whet, task, tmp_path):
    raised = f'raise RuntimeError("{SCRIPT}")'
    made = task("return nn.Seq", f"return type('<b>{SCRIPT}', (nn.Sequential,), {{'forward': lambda s, x: bad()}})(nn.Linear(4, 2)) or nn.Seq",
                more=f"\n\ndef bad():\n    {raised}\n")  # fmt: skip
    assert whet("check", made, "--html", "page.html").code == 1
    page = (tmp_path / "page.html").read_text()
    assert "window.pwned" in page
    assert "<script>window" not in page
    assert "<img src=x" not in page
