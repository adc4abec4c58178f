"""Messages between processes: what was said is what is heard, and what is none is refused, at bounded cost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.distributed.local.frames import LARGEST, Frame, FrameError, Kind, most_tickets, unpack
from whet.distributed.update import Ticket

I64 = st.integers(-(2**63), 2**63 - 1)
TICKETS = st.builds(Ticket, st.integers(0, 2**32 - 1), I64, I64)
JSON = st.recursive(
    st.none() | st.booleans() | I64 | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3), max_leaves=9,
)  # fmt: skip
NUMBERS = st.tuples(st.integers(0, 2**32 - 1), I64, I64, I64, st.floats(allow_nan=False))
FRAMES = st.one_of(
    st.builds(lambda k, n: Frame(k, *n), st.sampled_from([k for k in Kind if k is not Kind.STATUS]), NUMBERS),
    st.builds(lambda n, t: Frame(Kind.GIVEN, *n, tickets=tuple(t)), NUMBERS, st.lists(TICKETS, max_size=40)),
    st.builds(lambda n, s: Frame(Kind.STATUS, *n, status=s), NUMBERS, st.dictionaries(st.text(max_size=9), JSON, max_size=4)),
)  # fmt: skip


@given(FRAMES)
def test_what_is_read_is_what_was_said(frame):
    assert unpack(frame.pack()) == frame


@given(FRAMES, st.data())
def test_a_message_cut_short_or_changed_is_another_one_or_none(frame, data):
    whole = frame.pack()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    for other in (cut, bytes(changed)):
        try:
            heard = unpack(other)
        except FrameError:
            continue
        assert heard != frame or frame.kind is Kind.STATUS  # a status may have spaces to lose


@given(
    st.binary(max_size=300)
    | st.builds(lambda k, b: bytes([k]) + bytes(36) + b, st.integers(0, 20), st.binary(max_size=90))
)
@settings(max_examples=300)
def test_no_bytes_do_worse_than_to_be_refused(data):
    try:
        heard = unpack(data)
    except FrameError:
        return
    assert len(heard.tickets) <= len(data) // 20
    assert heard.kind is Kind.STATUS or heard.pack() == data


@pytest.mark.parametrize("depth", [1_000, LARGEST // 2 - 50])
def test_a_status_of_brackets_in_brackets_is_refused(depth):
    head = Frame(Kind.STATUS).pack()[:-2]
    with pytest.raises(FrameError, match="status is not a JSON object"):
        unpack(head + b"[" * depth + b"]" * depth)


def test_a_message_has_a_bound():
    fits = Frame(Kind.GIVEN, tickets=(Ticket(0, 1, 2),) * most_tickets())
    assert unpack(fits.pack()) == fits
    with pytest.raises(FrameError, match="60017 bytes; allowed are 37 to 60000"):
        unpack(fits._replace(tickets=(Ticket(0, 1, 2),) * (most_tickets() + 1)).pack())
