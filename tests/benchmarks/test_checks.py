"""The benchmark of checks: its programs, what counts, its adapters, and the program at its smallest."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest

import checks
from checking import TOOLS, Outcome, Program, detected, healthy, interval, named, score, seeded
from checking.causes import CAUSES
from checking.loop import bare, heard
from checking.of_traincheck import optimizer_of
from checking.programs import FIXED

ROOT = Path(__file__).parents[2]
ALL = {p.name: p for p in (*seeded(), *healthy())}


def test_every_bug_has_its_program_without_the_bug() -> None:
    bugs = seeded()
    assert len(bugs) >= 60
    assert {p.fixed for p in bugs} == set(FIXED)
    assert all(ALL[p.fixed].bug is None for p in bugs)
    assert len(ALL) == len(bugs) + len(healthy())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["dense", "multi-task", "zoo: named", "zoo: pair", "zoo: gru of tokens"])
def test_a_program_is_the_same_with_the_same_seed_and_trains(name: str, seed: int) -> None:
    one, two = ALL[name].ready(seed), ALL[name].ready(seed)
    losses = [r.loss(r.call(), r.targets) for r in (one, two)]
    assert torch.equal(*losses)
    assert not torch.equal(losses[0], (r := ALL[name].ready(seed + 2)).loss(r.call(), r.targets))
    losses[0].backward()
    one.optimizer.step()
    assert one.loss(one.call(), one.targets) != losses[0]


def test_the_plain_loop_tells_a_bug_that_stops_it_from_one_that_does_not() -> None:
    assert bare(ALL["dense: too few outputs"], 0).alarms.keys() == {"raises IndexError"}
    assert bare(ALL["dense: softmax before ce"], 0).alarms == {}
    assert bare(ALL["dense"], 1).alarms == {}


def test_warnings_are_alarms_but_for_those_of_the_harness() -> None:
    import warnings

    alarms: dict[str, str] = {}
    with heard(alarms, "workers"):
        warnings.warn("size 3 is not size 4", UserWarning, stacklevel=1)
        warnings.warn("size 5 is not size 6", UserWarning, stacklevel=1)
        warnings.warn("few workers", UserWarning, stacklevel=1)
    assert alarms == {"warns UserWarning: size # is not size #": "size 3 is not size 4"}


def test_only_what_the_program_without_the_bug_does_not_raise_is_a_detection() -> None:
    bug = Outcome({"A": "a", "B": "b"}, {"C": "c"})
    assert detected(bug, [Outcome({"A": "x"}), Outcome()]) == {"B": "b"}
    assert detected(bug, [Outcome({"A": "x"}, {"B": "read"})]) == {"B": "b"}
    assert detected(bug, [Outcome({"A": "x"}, {"B": "read"})], read=True) == {"C": "c"}


def test_counts_by_hand() -> None:
    good = Program("good", dict)
    bad = [
        Program(name, dict, ALL["dense: detached"].bug, "good") for name in ("loud", "found", "odd", "missed", "usual")
    ]
    programs = [good, *bad]
    loop = {(p.name, s): Outcome() for p in programs for s in (0, 1)}
    loop["loud", 0] = loop["loud", 1] = Outcome({"raises E": "e"})
    said = dict(loop)
    said["found", 0] = Outcome({"PC": "no gradient reaches 2 of 4 parameters"}, seconds=3.0)
    said["found", 1] = Outcome({"PC": "no gradient reaches 2 of 4 parameters"})
    said["odd", 0] = said["found", 0]
    said["odd", 1] = Outcome({"PC": "something is odd"})
    said["usual", 0] = said["usual", 1] = Outcome({"X": "x"})
    said["good", 1] = Outcome({"X": "x"})
    said["missed", 1] = Outcome(not_run="cannot")
    said["missed", 0] = said["found", 0]
    s = score(said, loop, programs, named)
    assert (s.bugs, s.detected, s.silent, s.silent_detected, s.named) == (5, 3, 4, 2, 1)
    assert (s.healthy, s.false) == (1, {"good": {"X"}})
    assert s.missed == {"missed", "usual"}
    assert s.nameless == {"loud", "odd"}
    assert s.not_run == {"cannot": {"missed"}}
    assert max(s.seconds) == 3.0


@pytest.mark.parametrize(("hits", "of"), [(0, 7), (3, 7), (7, 7), (40, 196)])
def test_the_interval_is_wilsons(hits: int, of: int) -> None:
    low, high = binomtest(hits, of).proportion_ci(method="wilson")
    assert interval(hits, of) == pytest.approx((low, high), abs=1e-4)


def test_every_pattern_of_causes_is_of_some_bug() -> None:
    for words, titles in CAUSES:
        re.compile(words)
        assert any(re.search(titles, p.name) for p in seeded()), titles


@pytest.mark.parametrize("tool", ["check", "live"])
def test_whets_own_adapters(tool: str) -> None:
    look = TOOLS[tool].adapter()
    assert look(ALL["dense: detached"], 0).alarms.keys() == {"PC"}
    assert look(ALL["dense"], 0).alarms == {}


def test_an_optimizer_is_remade_for_the_parameters_it_held() -> None:
    ready = ALL["dense: optimizer of the head"].ready(0)
    model = ALL["dense"].ready(1).model
    optimizer = optimizer_of(ready, [2, 3], model)
    assert type(optimizer) is torch.optim.Adam
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in model[2].parameters()]
    assert optimizer_of(ready, [], model) is ready.optimizer


PEERS = [  # tool, a bug it finds, the alarm; on the program without the bug it says nothing
    ("trainproof", "dense: clamped loss", "TP-ZERO-GRAD"),
    ("trainproof-compare", "dense: learning rate 1e-7", "TP-IMPROVE-DEFICIT"),
    ("trainproof", "language model: targets that are not shifted", "TP-OBJ-LABEL-SHIFT-DOUBLE"),
    ("torchtest", "dense: optimizer of the head", "VariablesChangeException"),
    ("lightning", "dense: log of negative inputs", "raises RuntimeError"),
]


@pytest.mark.parametrize(("tool", "bug", "alarm"), PEERS)
def test_what_a_peer_finds(tool: str, bug: str, alarm: str) -> None:
    if importlib.util.find_spec(TOOLS[tool].package) is None:
        pytest.skip(f"needs {TOOLS[tool].package} (the extra bench)")
    look, fixed = TOOLS[tool].adapter(), ALL[ALL[bug].fixed]
    assert alarm in look(ALL[bug], 0, fixed=fixed, usual=Outcome()).alarms
    assert look(fixed, 0, fixed=fixed, usual=Outcome()).alarms == {}


@pytest.mark.soak
def test_the_program_goes_on_from_what_it_kept(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "checks.py"), *words, "--tools", "loop,check"], check=False,
            capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    first = run("--quick", "--keep", "kept.jsonl", "--json", "all.json")
    assert first.returncode == 0, first.stderr
    assert "3 bugs, 2 healthy programs, 1 seed(s)" in first.stdout
    assert "| whet.check | 3/3 = 1.00 (0.44 to 1.00) | 2/2 = 1.00" in first.stdout
    assert len(json.loads((tmp_path / "all.json").read_text())) == 10
    kept = (tmp_path / "kept.jsonl").read_text()
    again = run("--quick", "--keep", "kept.jsonl")
    assert again.stdout == first.stdout
    assert (tmp_path / "kept.jsonl").read_text() == kept
    assert run("--only", "no such program").stderr.startswith("--only: no program has 'no such program' in its name")


def test_the_sample_and_the_order_of_the_jobs() -> None:
    programs = checks.chosen(list(ALL.values()), "dense", quick=False)
    todo = checks.jobs(programs, ["traincheck", "loop", "check"], 2)
    slow = [k for k in todo if k[0] == "traincheck"]
    assert todo[-len(slow) :] == slow
    assert {s for _, _, s in slow} == {0}
    assert 4 <= sum(ALL[name].bug is not None for _, name, _ in slow) <= 12
    assert all(ALL[name].fixed == "dense" for _, name, _ in slow if ALL[name].bug)
    assert [k[2] for k in todo if k[0] == "loop"] == [0] * len(programs) + [1] * len(programs)


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    monkeypatch.setattr(torch, "set_warn_always", lambda on: None)  # it would hold for the tests that follow
    monkeypatch.setitem(TOOLS, "torchtest", replace(TOOLS["torchtest"], package="no-such-package"))
    monkeypatch.setattr(sys, "argv", ["checks.py", "--quick", "--tools", "loop,torchtest"])
    checks.main()
    assert "torchtest is left out: no-such-package is not installed" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["checks.py", "--tools", "loop,chek"])
    with pytest.raises(SystemExit, match="no tool 'chek'"):
        checks.main()
