"""What a process leaves behind is removed, however it ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import whet
from whet.execute.remains import Remains

ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}


@pytest.mark.parametrize("how", ["-SIGKILL", "-SIGTERM", "group", "itself", "cleared"])
def test_a_folder_goes_with_its_process(how, tmp_path):
    folder = tmp_path / "it's \n here"
    folder.mkdir()
    (folder / "memory").write_bytes(b"much")
    code = """
        import os, sys
        from pathlib import Path
        from whet.execute.remains import Remains
        left = Remains(Path(sys.argv[1]))
        print("made", flush=True)
        input()
        if sys.argv[2] == "cleared":
            left.clear()
        os._exit(3)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(folder), how], env=ENV, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "made\n"
        shells = psutil.Process(process.pid).children()
        assert folder.exists()
        if how.startswith("-"):
            process.send_signal(getattr(signal, how[1:]))
        elif how == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.stdin.write("\n")
            process.stdin.flush()
        process.wait(60)
        _, left = psutil.wait_procs(shells, 60)
    assert not left
    assert not folder.exists()
    assert tmp_path.exists()


def test_while_its_process_lives_it_stays(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    left = Remains(folder)
    time.sleep(0.2)  # a shell takes milliseconds
    assert folder.exists()
    left.clear()
    assert not folder.exists()
    assert left._shell.returncode == -signal.SIGKILL  # it was waiting
