"""Messages of any length arrive as they were sent, with the files that came along, and what is no message is refused."""

from __future__ import annotations

import os
import socket
import struct
import sys

import pytest

from whet.execute.parcel import receive, send

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere nothing is forked")


@pytest.fixture
def ends():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with a, b:
        yield a, b


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("size", [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 200_000, 3_000_000])
def test_it_arrives_as_it_was_sent_with_its_files_and_leaves_none_open(ends, size):
    a, b = ends
    before, inside = open_files(), os.pipe()
    data = os.urandom(size)
    send(a, data, list(inside))
    send(a, b"next")
    found, files = receive(b, 2)
    assert found == data
    for mine, theirs in zip(inside, files, strict=True):
        assert os.path.sameopenfile(mine, theirs)
        os.close(mine)
        os.close(theirs)
    assert receive(b, 2) == (b"next", [])
    a.close()
    assert receive(b, 2) == (b"", [])
    assert open_files() == before - 1  # the end that was closed


@pytest.mark.parametrize(
    "bad",
    [b"s", struct.pack("<cQ", b"s", 5) + b"four", struct.pack("<cQ", b"l", 5), struct.pack("<cQ", b"x", 4) + b"four",
     struct.pack("<cQ", b"s", 70_000) + b"x" * 70_000],
    ids=["no head", "too short", "no file", "no kind", "cut off"],
)  # fmt: skip
def test_what_is_no_message_is_refused_and_its_files_are_closed(ends, bad):
    a, b = ends
    inside = os.pipe()
    before = open_files()
    socket.send_fds(a, [bad], [] if bad[:1] == b"l" else list(inside))
    with pytest.raises(OSError, match="came to harm"):
        receive(b, 2)
    assert open_files() == before
    for file in inside:
        os.close(file)


@pytest.mark.parametrize("said", [4, 6, 1 << 40])
def test_a_file_of_another_length_than_it_says_is_refused(ends, said):
    a, b = ends
    before = open_files()
    with open(os.memfd_create("other"), "wb") as memory:
        memory.write(b"12345")
        memory.flush()
        socket.send_fds(a, [struct.pack("<cQ", b"l", said)], [memory.fileno()])
    with pytest.raises(OSError, match="came to harm"):
        receive(b, 0)
    assert open_files() == before
