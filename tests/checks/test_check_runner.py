"""Order, stages, exceptions, names, and what a batch may look like."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from whet.checks import BUILT_IN, Fact, Stage, Subject, check, examine, lines, names, resolve
from whet.errors import UsageError
from whet.finding import INAPPLICABLE, Finding, Health, NotRun, Severity


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))


def batch(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3


class Says:
    """A check that yields what it is told, or raises it."""

    def __init__(self, code: str, stage: Stage, *items: Any, passes: int = 1) -> None:
        self.code, self.stage, self.items, self.passes = code, stage, items, passes

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


def subject() -> Subject:
    return Subject(net(), nn.CrossEntropyLoss(), (batch()[0],), batch()[1])


def found(code: str, severity: str) -> Finding:
    return Finding(code, Severity(severity), "here", {"v": math.nan}, "wrong", "mend it")


def test_a_fail_stops_later_stages_and_nothing_else() -> None:
    checks = [
        Says("A", Stage.PARTS, found("A", "FAIL"), Fact("a", {"v": math.inf})),
        Says("B", Stage.PARTS, Fact("b")),
        Says("C", Stage.START, Fact("c")),
    ]
    health = examine(subject(), checks)
    assert list(health.facts) == ["A", "B"]
    assert health.not_run == (NotRun("C", "A failed before it"),)
    assert health.facts["A"] == {"v": "inf", "text": "a"}
    assert health.findings[0].evidence == {"v": "nan"}
    assert examine(subject(), [Says("A", Stage.PARTS, found("A", "WARN")), checks[2]]).not_run == ()


def test_an_allowed_code_does_not_run_and_stops_nothing() -> None:
    health = examine(
        subject(), [Says("A", Stage.PARTS, found("A", "FAIL")), Says("C", Stage.START, Fact("c"))], allow=("A",)
    )
    assert health.findings == ()
    assert health.not_run == (NotRun("A", "allowed by the caller"),)
    assert "C" in health.facts


def test_a_check_that_raises_did_not_run_and_the_others_go_on() -> None:
    health = examine(
        subject(), [Says("A", Stage.PARTS, Fact("a"), ValueError("two\nlines")), Says("B", Stage.PARTS, Fact("b"))]
    )
    assert health.not_run == (NotRun("A", "ValueError: two lines"),)
    assert list(health.facts) == ["A", "B"]


def test_a_check_too_dear_for_a_slow_program_does_not_run() -> None:
    def not_run(seconds: float) -> dict[str, str]:
        slow = Says("A", Stage.RUNS, Fact("a", {}, seconds=seconds))
        rest = [Says(str(i), Stage.FIT, Fact("b"), passes=50) for i in range(6)]
        dear = [Says("B", Stage.PARTS, Fact("b"), passes=0), Says("C", Stage.FIT, Fact("c"), passes=150)]
        return {n.code: n.why for n in examine(subject(), [slow, *dear, *rest]).not_run}

    assert not_run(0.1) == {}
    assert not_run(0.5) == {"C": "one step takes 0.5 s and it needs about 150: over 60 s"}
    assert not_run(1.1)["5"] == "one step takes 1.1 s and it needs about 50: with the others over 300 s"
    hopeless = not_run(30.0)
    assert "B" not in hopeless  # it needs no pass
    assert hopeless["C"] == "one step takes 30.0 s, over 10 s: give a smaller model or fewer examples"


def test_checks_come_in_stages_and_by_name() -> None:
    stages = [c.stage for c in resolve()]
    assert stages == sorted(stages)
    assert {c.code for c in resolve()} >= set(BUILT_IN)
    with pytest.raises(UsageError, match=r"no check 'INNIT'. Did you mean 'INIT'"):
        resolve(["INNIT"])


PLUGIN = """
from whet.checks import Fact, Stage
class Mine:
    code, stage, passes = "MINE", Stage.PARTS, 1
    def look(self, subject):
        yield Fact("mine looked", {"n": subject.n})
"""


def test_a_package_may_bring_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whet_mine.py").write_text(PLUGIN)
    info = tmp_path / "whet_mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: whet-mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[whet.check]\nMINE = whet_mine:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert names()[-1] == "MINE"
        health = check(net(), nn.CrossEntropyLoss(), batch())
        assert health.facts["MINE"] == {"n": 12, "text": "mine looked"}
        assert "mine looked" in " ".join(lines(health))
    finally:
        sys.modules.pop("whet_mine", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": lambda x: x}, "model must be a torch.nn.Module, got function"),
        ({"loss": 3}, "loss must be callable as loss(outputs, targets), got int"),
        ({"batch": torch.zeros(3, 2)}, "batch must be a pair (inputs, targets), got Tensor"),
        ({"batch": (1, 2, 3)}, "got tuple of 3"),
        ({"batch": "xy"}, "got str"),
        ({"optimizer": "adam"}, "optimizer must be a torch optimizer, got str"),
        ({"allow": ("DEPP",)}, "no check 'DEPP'. Did you mean 'DEP'?"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"model": net(), "loss": nn.CrossEntropyLoss(), "batch": batch(), **change}
    with pytest.raises(UsageError) as error:
        check(given["model"], given["loss"], given["batch"], given.get("optimizer"), allow=given.get("allow", ()))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "inputs", "why"),
    [
        (nn.Sequential(nn.LazyLinear(3)), torch.zeros(4, 6), "no shape yet"),
        (net(), torch.zeros(0, 6), "the batch is empty"),
        (net(), "text", "hold no tensor, only str"),
        (net().to("meta"), torch.zeros(4, 6), "meta device"),
    ],
)
def test_what_cannot_be_looked_at_says_why(model: nn.Module, inputs: Any, why: str) -> None:
    health = check(model, nn.CrossEntropyLoss(), (inputs, torch.zeros(4, dtype=torch.int64)))
    assert health.findings == ()
    assert len(health.not_run) == len(resolve())
    assert all(why in n.why for n in health.not_run)


@pytest.mark.parametrize("n", [1, 2])
def test_tiny_batches_are_no_alarm(n: int) -> None:
    health = check(net(), nn.CrossEntropyLoss(), batch(n))
    assert not health.failed
    assert {"OF", "DEP", "SEP"} <= {x.code for x in health.not_run} or n == 2


def test_what_checks_took_counts_where_it_was_more_than_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes are a guess: a check that took 400 s in place of 2 leaves no time for others, which its guess would."""
    clock = [0.0]
    monkeypatch.setattr("whet.checks.runner.time.monotonic", lambda: clock[0])

    class Long(Says):
        def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
            clock[0] += 400.0
            return super().look(subject)

    timed = Says("A", Stage.RUNS, Fact("a", {}, seconds=0.1))
    health = examine(
        subject(), [timed, Long("B", Stage.PARTS, passes=20), Says("C", Stage.FIT), Says("D", Stage.FIT, passes=0)]
    )
    assert [(n.code, n.why.partition(": ")[2]) for n in health.not_run] == [("C", "with the others over 300 s")]


@pytest.mark.parametrize(
    ("seconds", "left"), [(0.1, [None, 8.0, 5.0, 3.0]), (2.0, [None, 60.0, 0.0, 0.0]), (30.0, [None, 0.0, 0.0, 0.0])]
)
def test_how_long_it_may_take_is_said_once_a_step_was_timed(seconds: float, left: list[float | None]) -> None:
    """What there is no time for, what is allowed, and what a failure stops take none."""
    told: list[float | None] = []
    checks = [Says("A", Stage.RUNS, Fact("a", {}, seconds=seconds)), Says("B", Stage.PARTS, passes=30),
              Says("C", Stage.PARTS, passes=20 if seconds < 1 else 40), Says("D", Stage.PARTS, passes=30 if seconds < 1 else 50)]  # fmt: skip
    examine(subject(), checks, tell=lambda code, number, total, rest: told.append(rest))
    assert told == pytest.approx(left)


def test_one_batch_cannot_tell_about_held_out_examples() -> None:
    health = check(net(), nn.CrossEntropyLoss(), batch())
    reasons = {x.code: x.why for x in health.not_run}
    assert set(reasons) == {
        "TIME", "PAD", "LOOP", "FG", "ACC", "RAND", "IIB", "DUP", "RNG", "MASK", "CAP", "LRR", "MET", "REP", "RES",
    }  # fmt: skip
    assert "check_task" in reasons["IIB"]


def test_a_trained_model_is_not_held_to_its_beginning() -> None:
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    health = check(model, nn.CrossEntropyLoss(), (x, y), optimizer)
    assert not [f for f in health.findings if f.severity is not Severity.INFO]
    assert "INIT" in [x.code for x in health.not_run]


def test_lines_are_narrow_and_group_what_did_not_run() -> None:
    sick = nn.Sequential(*net(), nn.Softmax(1))
    said = lines(check(sick, nn.CrossEntropyLoss(), batch()))
    assert max(map(len, said)) <= 76
    assert any(s.startswith("FAIL OUT Sequential: ") for s in said)
    assert "  fix: remove the Softmax from the model; the loss wants raw scores (logits)" in said
    assert said[0].startswith("1 FAIL in ")
    told = " ".join(" ".join(said).split())
    assert "did not run: DUP (needs a training and a validation split: use check_task(task, params)); RNG (" in told
    assert (
        "; INIT ACT GRAD MODE SEP DEP STRAY TIED TIME PAD PC LOOP FG ACC RAND OF IIB CAP LRR MET REP RES (OUT failed before it)"
    ) in told
    assert lines(Health()) == ["nothing was checked"]


@pytest.mark.parametrize(
    ("severities", "words"),
    [
        ("", "healthy: 2 checks, nothing wrong"),
        ("INFO INFO", "healthy: 2 checks, nothing wrong, 2 worth knowing"),
        ("WARN", "1 WARN in 2 checks"),
        ("INFO WARN FAIL FAIL", "2 FAIL, 1 WARN in 2 checks, 1 INFO"),
    ],
)
def test_the_outcome_comes_first_and_the_worst_finding_next(severities: str, words: str) -> None:
    health = Health(tuple(found("A", s) for s in severities.split()), facts={"A": {"text": "a"}, "B": {"text": "b"}})
    said = lines(health)
    assert said[0] == words
    named = [s.partition(" ")[0] for s in said if s.startswith(("FAIL", "WARN", "INFO"))]
    assert named == sorted(severities.split(), key=["FAIL", "WARN", "INFO"].index)
    assert said[-1] == "measured: a, b"


def test_what_does_not_apply_takes_one_short_line_apart_from_what_could_not_run() -> None:
    loop = INAPPLICABLE + "the step is whet's own"
    health = Health((), (NotRun("LOOP", loop), NotRun("A", "ValueError: x"), NotRun("FG", loop)), {"B": {"text": "b"}})
    assert lines(health)[2:] == ["did not run: A (ValueError: x)", "not applicable: LOOP FG (the step is whet's own)"]
    assert health.json()["not_run"][0] == {"code": "LOOP", "why": "does not apply: the step is whet's own"}
    assert [n.applies for n in health.not_run] == [False, True, False]
    assert str(health.not_run[0]) == "LOOP does not apply: the step is whet's own"


@pytest.mark.parametrize("name", ["whet_task.py", "whetstone.py", "torch_task.py"])
def test_a_file_whose_name_begins_like_ours_is_the_users(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whet.checks import source

    beside = Path(source.__file__).parents[2] / name
    assert source.near(str(beside), 3).endswith(f"{name}:3")
