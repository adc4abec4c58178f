from __future__ import annotations

import os
import subprocess
import sys

from whet.journal.process import dead, who


def test_a_process_is_dead_when_it_ended():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = who(child.pid) + "#suffix"
    assert not dead(name)
    child.stdin.close()
    # it has ended but nobody has asked for its exit code: a zombie does not work
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert dead(name)
    child.wait()
    assert dead(name)


def test_a_number_that_is_used_again_is_another_process():
    host, boot, pid, start = who().split("/")
    assert dead(f"{host}/{boot}/{pid}/{int(start) - 1}")


def test_what_nobody_here_can_tell_is_not_dead():
    host, boot, pid, _start = who().split("/")
    assert not dead(f"elsewhere/{boot}/{pid}/1")
    assert not dead(f"{host}/another-boot/{pid}/1")
    assert not dead("")
    assert not dead("anything at all")
