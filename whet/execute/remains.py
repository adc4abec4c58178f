"""A folder that goes when a process ends, however it ends: also when it is killed, and can remove nothing itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

__all__ = ["Remains"]

_WAIT_AND_REMOVE = (
    'read -r _; rm -rf -- "$1"'  # nothing is ever said to it: the read ends with the process at the other end
)


class Remains:
    """A shell that waits for this process to end, and then removes `folder`; `clear` removes it now.

    It has a session of its own, so that what ends this process (Ctrl-C, its terminal, a signal to its group) leaves it to its work.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> left = Remains(folder); folder.exists(), left.clear(), folder.exists()
    (True, None, False)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _WAIT_AND_REMOVE, "sh", str(folder.absolute())],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
        )  # fmt: skip

    def clear(self) -> None:
        """Remove the folder now; nothing is left to be done later."""
        shutil.rmtree(self.folder, ignore_errors=True)
        assert self._shell.stdin is not None
        self._shell.kill()
        self._shell.wait()
        self._shell.stdin.close()
