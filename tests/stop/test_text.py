from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.errors import UsageError
from whet.stop import (
    All,
    Any,
    Cost,
    Diverged,
    Gain,
    Patience,
    Steps,
    Target,
    Time,
    curve,
    divergence,
    needs_noise,
    parse,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
above = st.floats(min_value=1e-300, allow_infinity=False, allow_nan=False)
whole = st.integers(1, 10**9)
names = st.sampled_from(["", "loss", "f1", "train_loss"])


def leaves(better, study):
    both = [
        st.builds(Patience, whole, st.just(better), above | st.just(0.0)), st.builds(Target, finite, st.just(better)),
        st.builds(Cost, above), st.builds(Time, above),
    ]  # fmt: skip
    directed = st.sampled_from([("min", "loss"), ("max", "f1"), ("max", "loss"), ("min", "mine.of-x")])
    one = [
        st.builds(Steps, whole), st.builds(Diverged, st.none() | above.map(lambda x: 1.5 + x), names),
        directed.flatmap(lambda d: st.builds(Patience, whole, st.just(d[0]), above, st.just(d[1]))),
        directed.flatmap(lambda d: st.builds(Target, finite, st.just(d[0]), st.just(d[1]))),
    ]  # fmt: skip
    many = [st.builds(Steps, whole, st.just("trial")), st.builds(Gain, st.none() | above, st.just(better))]
    return st.one_of(*both, *(many if study else one))


def trees(better, study):
    return st.recursive(
        leaves(better, study),
        lambda inner: st.tuples(inner, inner, st.booleans()).map(lambda t: t[0] | t[1] if t[2] else t[0] & t[1]),
        max_leaves=8,
    )


@pytest.mark.parametrize("study", [False, True])
@pytest.mark.parametrize("better", ["min", "max"])
def test_the_text_of_a_criterion_parses_back_to_it(better, study):
    @given(trees(better, study))
    def check(criterion):
        again = parse(str(criterion), better, study=study)
        assert again == criterion
        assert str(again) == str(criterion)

    check()


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from("target patience 3 0.5 | & ( ) of delta time 10m f1".split())).map(" ".join)
)
def test_any_other_text_is_refused_in_one_line_or_read(text):
    try:
        parse(text, "max")
    except UsageError as e:
        said = str(e)
    else:
        return
    assert len(said.splitlines()) == 1
    assert said.startswith('stop "')


def test_and_binds_tighter_and_parentheses_bind_tightest():
    a, b, c = Steps(1), Steps(2), Steps(3)
    assert parse("steps 1 | steps 2 & steps 3") == Any((a, All((b, c))))
    assert parse("(steps 1 | steps 2) & steps 3") == All((Any((a, b)), c))
    assert parse("steps 1 and steps 2 or epochs 3") == Any((All((a, b)), c))
    assert parse("((steps 1))") == a
    assert parse("steps 1|steps 2|steps 3") == (a | b | c) == Any((a, b, c))
    assert str((a | b) & c) == "(steps 1 | steps 2) & steps 3"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1h30m", 5400), ("1h 30m", 5400), ("10 min", 600), ("1.5h", 5400)]
)
def test_durations(text, seconds):
    assert parse(f"time {text}") == Time(seconds)
    assert parse(f"time {text} | steps 3") == Time(seconds) | Steps(3)


def test_the_direction_is_the_goals_but_for_another_metric():
    assert parse("target 0.9", "max") == Target(0.9, "max")
    assert parse("patience 3 of loss", "max") == Patience(3, "min", metric="loss")
    assert parse("patience 3 of train_loss", "max") == Patience(3, "min", metric="train_loss")
    assert parse("patience 3 of max mine") == Patience(3, "max", metric="mine")
    assert parse("diverged 10 of mine", "max") == Diverged(10, "mine")


def test_never():
    assert parse("never")(curve(*range(99))) is None
    assert str(Any(())) == str(All(())) == str(parse("never")) == "never"


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("patiance 5", "'patiance'. Did you mean 'patience'?"), ("patience", "got nothing"), ("patience 2.5", "whole number"),
        ("patience -1", "above 0"), ("patience 5 delta", "delta needs a number"), ("patience 5 delta x", "got 'x'"),
        ("patience 5 delta -1", "delta"), ("target", "got nothing"), ("target high", "got 'high'"), ("target 1e999", "finite"),
        ("target nan", "got 'nan'"), ("steps 0", "above 0"), ("cost 0", "> 0"), ("time", "got nothing"), ("time 5x", "'5x'"),
        ("time 0s", "> 0"), ("diverged 1", "> 1"), ("(steps 3", '"(" without ")"'), ("steps 3)", '")" without "("'),
        ("steps 3 steps 4", "got 'steps' where | or &"), ("steps 3 |", "missing at the end"), ("& steps 3", "missing before '&'"),
        ("()", "missing before ')'"), ("", "is empty"), ("  ", "is empty"), ("patience 3 of", "metric is missing"),
        ("patience 3 of mine", "of min mine"), ("gain", "whole study (--until)"), ("trials 5", "whole study (--until)"), ("5", "'5'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text, needed):
    with pytest.raises(UsageError) as e:
        parse(text)
    assert needed in str(e.value)
    assert f'stop "{text}"' in str(e.value) or not text.strip()


@pytest.mark.parametrize("text", ["steps 3", "diverged", "gain -1", "gain 0", "patience 3 of loss"])
def test_a_study_has_its_own_words(text):
    with pytest.raises(UsageError, match="until"):
        parse(text, study=True, what="until")


def test_a_function_of_ones_own_has_no_text():
    with pytest.raises(UsageError, match="cannot be written as text"):
        str(Steps(3) | (lambda curve: None))


def test_reasons_speak_of_trials_in_a_study():
    assert parse("patience 2", study=True)(curve(1, 2, 3)) == "no improvement on 1 in 2 trials"
    assert parse("trials 3", study=True)(curve(1, 2, 3)) == "3 trials ended"


def test_which_part_was_a_divergence():
    points = curve(1, 20)
    assert divergence(parse("diverged 10"), points)
    assert divergence(parse("steps 2 | diverged 10"), points)
    assert divergence(parse("steps 2 & diverged 10"), points)
    assert divergence(parse("steps 3 & diverged 10"), points) is None
    assert divergence(parse("steps 2"), points) is None
    assert divergence(parse("diverged"), curve(1, math.nan))


def test_who_needs_to_know_the_noise():
    assert needs_noise(parse("trials 9 | (gain & patience 3)", study=True))
    assert not needs_noise(parse("trials 9 | gain 0.1", study=True))
