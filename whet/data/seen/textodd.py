"""BLANK, ODD-TEXT: texts without a word, and texts that came in broken or do not belong: markup, wrong decoding, another script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import numpy as np

from whet.data.seen.outcome import Example, Outcome
from whet.data.seen.text import Texts
from whet.data.seen.view import View
from whet.finding import Finding, Severity

__all__ = ["garbled", "odd_texts", "scripts", "unfamiliar"]

SHARE = 0.01  # of the texts: from here on a warning
MAIN = 0.9  # of the texts are in the main script, else there is none
ALPHA = 1e-3
LISTED, BEGINNING = 100, 20_000
TAGS = "a|b|i|u|p|s|br|hr|em|li|ul|ol|td|tr|th|h[1-6]|div|pre|img|sub|sup|code|font|form|span|body|head|html|link|meta|table|title|style"
TAGS += "|strong|center|script|iframe|section|article|blockquote"  # not <unk> or <user>: these are meant
MARKUP = re.compile(
    rf"</?(?:{TAGS})(?:\s[^<>]{{0,200}})?/?>|<!--|&(?:amp|lt|gt|quot|apos|nbsp|#\d{{1,6}}|#x[0-9a-f]{{1,5}});", re.I
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
BEYOND = re.compile(
    r"[\x80-\xff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{2,}"
)
SCRIPTS = (
    ("Latin", 0x41, 0x24F), ("Greek", 0x370, 0x3FF), ("Cyrillic", 0x400, 0x52F), ("Armenian", 0x530, 0x58F),
    ("Hebrew", 0x590, 0x5FF), ("Arabic", 0x600, 0x7BF), ("Indic", 0x900, 0xDFF), ("Thai", 0xE00, 0xEFF),
    ("Georgian", 0x10A0, 0x10FF), ("Hangul", 0x1100, 0x11FF), ("Latin", 0x1E00, 0x1EFF), ("Greek", 0x1F00, 0x1FFF),
    ("kana", 0x3040, 0x30FF), ("Han", 0x3400, 0x9FFF), ("Hangul", 0xAC00, 0xD7AF), ("Han", 0xF900, 0xFAFF),
)  # fmt: skip
TOGETHER = {"kana": "Han"}  # Japanese is written in both


def garbled(text: str) -> str:
    """Return the first trace of a wrong decoding in `text`, or "": UTF-8 read as Windows-1252 or Latin-1, or U+FFFD.

    A run of letters beyond ASCII counts when its bytes in Windows-1252 are UTF-8 for Latin, Greek, Cyrillic or punctuation.

    >>> garbled("caf\\u00c3\\u00a9"), garbled("caf\\u00e9 \\u00bbgro\\u00df\\u00ab") == ""
    ('Ã©', True)
    """
    if text.isascii():
        return ""
    if "\ufffd" in text:
        return "\ufffd"
    for run in BEYOND.finditer(text):
        data = b"".join(c.encode("cp1252", "ignore") or (c.encode("latin-1") if c < "\u0100" else b"?") for c in run[0])
        for at in range(len(data) - 1):
            size = 2 if 0xC3 <= data[at] < 0xD5 or data[at] == 0xC2 else 3 if data[at] == 0xE2 else 0
            try:
                said = data[at : at + size].decode("utf-8") if size else ""
            except UnicodeDecodeError:
                continue
            if said and ("\xa0" <= said < "\u0530" or "\u2000" <= said < "\u2200"):
                return run[0][at : at + size]
    return ""


def scripts(text: str) -> dict[str, int]:
    """Return how many letters of each script `text` has in its beginning.

    >>> scripts("abc \\u0434\\u0430 1"), scripts("\\u6771\\u306e")
    ({'Latin': 3, 'Cyrillic': 2}, {'Han': 2})
    """
    text = text[:BEGINNING]
    if text.isascii():
        letters = sum(c.isalpha() for c in text)
        return {"Latin": letters} if letters else {}
    found: dict[str, int] = {}
    for c in text:
        if c.isalpha():
            at = ord(c)
            name = next((n for n, low, high in SCRIPTS if low <= at <= high), "another script")
            name = TOGETHER.get(name, name)
            found[name] = found.get(name, 0) + 1
    return found


def unfamiliar(texts: Texts) -> np.ndarray:
    """Return (n,) bool: texts of mostly unknown words, far more than the share of unknown words makes by chance.

    Unknown: in fewer than two training texts, the text itself left out. Over half of the words, and binomially below 1e-3 over all texts.

    >>> common = [f"the {a} saw the {b} and the {a}" for a in ("cat", "dog", "fox") for b in ("cow", "pig", "hen")] * 6
    >>> odd = "wir haben gestern einen sehr langen Brief von unserer alten Tante bekommen und gelesen"
    >>> np.flatnonzero(unfamiliar(Texts("t", [*common, odd], np.zeros(55, bool), np.zeros(55, bool)))).tolist()
    [54]
    """
    from scipy.stats import binom

    sizes = np.array([len(w) for w in texts.words])
    count = np.round(texts.unknown * sizes)
    usual = (count.sum() + 1) / (sizes.sum() + 2)
    p = binom.sf(count - 1, np.maximum(sizes, 1), usual)
    # Words that nobody else uses come together, as in names: such collections have no unfamiliar texts.
    spread = float(np.quantile(texts.unknown, 0.9)) < 0.4 if len(texts) else False
    return (texts.unknown > 0.5) & (p < ALPHA / max(1, len(texts))) & spread


def odd_texts(v: View) -> Outcome:
    """Return findings on texts that hold nothing (BLANK) or are odd (ODD-TEXT): one of each a column, with what and how many.

    ODD-TEXT is a WARN from 1 % of the texts on, else INFO.

    >>> odd_texts(View("table", None, np.zeros(3), np.zeros(3, bool), np.arange(3), np.arange(3), False, np.zeros((3, 1)),
    ...     ("x",), np.zeros((3, 0)), (), texts=(Texts("t", ["fine", "a <br/> b", " "], np.zeros(3, bool), np.zeros(3, bool)),))).facts
    {'odd texts': {'t': {'blank': 1, 'markup': 1}}}
    """
    findings: list[Finding] = []
    examples: list[Example] = []
    facts: dict[str, dict[str, int]] = {}
    for t in v.texts:
        reasons = _reasons(t)
        blank = np.flatnonzero((t.length == 0) & ~t.missing)
        counts = {"blank": len(blank)} if len(blank) else {}
        counts |= {kind: len(found) for kind, found in reasons.items() if found}
        facts[t.name] = counts
        if len(blank):
            shown = [Example("BLANK", *v.name(i), int(v.index[i]), v.label(i), "no word", 1.0) for i in blank[:LISTED]]
            examples += shown
            text = f"{len(blank):,} of {len(v):,} texts have no word: " + _named(shown)
            evidence = {"n": len(blank), "of": len(v), "ids": [[e.split, e.id] for e in shown[:20]]}
            fix = "look at the source; delete them or leave them missing"
            findings.append(Finding("BLANK", _severity(len(blank), len(v)), t.name, evidence, text, fix))
        odd: dict[int, list[str]] = {}
        for found in reasons.values():
            for i, why in found.items():
                odd.setdefault(i, []).append(why)
        if odd:
            shown = [Example("ODD-TEXT", *v.name(i), int(v.index[i]), v.label(i), "; ".join(odd[i]), float(len(odd[i])))
                     for i in _first(reasons)]  # fmt: skip
            examples += shown
            said = ", ".join(f"{kind} {len(found):,}" for kind, found in reasons.items() if found)
            text = f"{len(odd):,} of {len(v):,} texts are odd ({said}): {_named(shown)}"
            evidence = {"n": len(odd), "of": len(v), "kinds": {k: len(f) for k, f in reasons.items() if f}, "threshold": SHARE,
                        "ids": [[e.split, e.id] for e in shown[:20]]}  # fmt: skip
            fix = "read them; decode as UTF-8, strip markup (html.unescape), or drop what does not belong"
            findings.append(Finding("ODD-TEXT", _severity(len(odd), len(v)), t.name, evidence, text, fix))
    return Outcome({"odd texts": facts} if v.texts else {}, tuple(findings), tuple(examples))


def _severity(n: int, of: int) -> Severity:
    return Severity.WARN if n >= SHARE * of else Severity.INFO


def _named(examples: list[Example]) -> str:
    return ", ".join(f"{e.split} {e.id} ({e.reason})" for e in examples[:3]) + (", ..." if len(examples) > 3 else "")


def _first(reasons: dict[str, dict[int, str]]) -> list[int]:
    """Return the texts to show: a few of every kind, in turn."""
    lists = [list(found) for found in reasons.values() if found]
    turns = [each[k] for k in range(max(map(len, lists))) for each in lists if k < len(each)]
    return list(dict.fromkeys(turns))[:LISTED]


def _reasons(t: Texts) -> dict[str, dict[int, str]]:
    """Return by kind of oddness which texts show it and how."""

    def search(find: Callable[[str], str], said: str) -> dict[int, str]:
        return {i: said.format(what) for i, s in enumerate(t.strings) if s and (what := find(s))}

    def match(pattern: re.Pattern[str]) -> Callable[[str], str]:
        return lambda s: found[0][:20] if (found := pattern.search(s)) else ""

    found = {
        "wrong decoding": search(garbled, "wrongly decoded: {}"),
        "markup": search(match(MARKUP), "markup: {}"),
        "control characters": search(
            lambda s: f"U+{ord(c[0]):04X}" if (c := CONTROL.search(s)) else "", "control character {}"
        ),
        "another script": _foreign(t),
    }
    gone = {i for kind in found.values() for i in kind}
    strange = [int(i) for i in np.flatnonzero(unfamiliar(t)) if int(i) not in gone]
    found["unknown words"] = {i: f"{t.unknown[i]:.0%} of its words are unknown" for i in strange}
    return found


def _foreign(t: Texts) -> dict[int, str]:
    each = [scripts(unicodedata.normalize("NFC", s)) for s in t.strings]
    main = [max(found, key=lambda k: found[k]) if sum(found.values()) >= 5 else "" for found in each]
    known = [m for m in main if m]
    if not known:
        return {}
    usual = max(set(known), key=lambda m: (known.count(m), m))
    if known.count(usual) < MAIN * len(known):
        return {}
    return {i: f"in {m}" if m != "another script" else m for i, m in enumerate(main)
            if m and m != usual and each[i][m] > 0.5 * sum(each[i].values())}  # fmt: skip
