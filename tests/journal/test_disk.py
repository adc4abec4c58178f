from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from whet.journal import disk
from whet.journal.disk import NetworkDiskWarning, file_system
from whet.journal.store import Store

LAPTOP = r"""
sysfs /sys sysfs rw,nosuid 0 0
/dev/nvme0n1p2 / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
server:/export/home /home nfs4 rw,vers=4.2,addr=10.0.0.1 0 0
/dev/nvme0n1p3 /home/me/local xfs rw 0 0
//filer/lab /mnt/lab\040data cifs rw,user=me 0 0
me@host:/data /mnt/lab\040data/far fuse.sshfs rw 0 0
odd /mnt/tab\011and\134slash lustre rw 0 0
old:/x /over nfs rw 0 0
/dev/sdb1 /over btrfs rw 0 0
too short
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tmp/s.db", "tmpfs"),
        ("/home/me/runs/s.db", "nfs4"),
        ("/homestead/s.db", ""),
        ("/home/me/local/s.db", "xfs"),
        ("/home/me/locality/s.db", "nfs4"),
        ("/mnt/lab data/s.db", "cifs"),
        ("/mnt/lab data/far/s.db", "fuse.sshfs"),
        ("/mnt/tab\tand\\slash/s.db", "lustre"),
        ("/over/s.db", "btrfs"),
        ("/srv/s.db", ""),
        ("/home", "nfs4"),
    ],
)
def test_the_longest_and_last_mount_point_counts(path, kind):
    assert file_system(Path(path), LAPTOP) == kind


def test_the_root_of_a_container_is_its_own():
    assert file_system(Path("/work/s.db"), "none / 9p rw 0 0\nnone /work 9p rw 0 0") == "9p"
    assert file_system(Path("/srv/s.db"), "none / 9p rw 0 0\nnone /work 9p rw 0 0") == ""
    assert file_system(Path("/srv/s.db"), "") == ""


def test_a_database_on_a_network_disk_is_named_once(tmp_path, monkeypatch):
    table = tmp_path / "mounts"
    shared = tmp_path / "the share"
    shared.mkdir()
    (tmp_path / "link").symlink_to(shared)
    table.write_text(f"/dev/sda1 / ext4 rw 0 0\nsrv:/x {str(shared).replace(' ', chr(92) + '040')} nfs4 rw 0 0\n")
    monkeypatch.setattr(disk, "MOUNTS", table)
    with pytest.warns(NetworkDiskWarning, match=r"network disk \(nfs4\).*one machine.*postgresql://") as told:
        Store(f"{tmp_path}/link/s.db").journal("s").close()
    assert len(told) == 1
    assert len(str(told[0].message).splitlines()) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Store(f"{shared}/s.db").journal("s").close()  # told already
        Store(f"{tmp_path}/near.db").journal("s").close()
        monkeypatch.setattr(disk, "MOUNTS", tmp_path / "no such table")
        Store(f"{shared}/t.db").journal("s").close()


def test_the_warning_is_one_line_on_the_terminal(tmp_path):
    table = tmp_path / "mounts"
    table.write_text(f"srv:/x {tmp_path} nfs rw 0 0\n")
    code = (
        f"from pathlib import Path\nfrom whet.journal import disk\ndisk.MOUNTS = Path({str(table)!r})\n"
        f"from whet.journal.store import Store\nStore({str(tmp_path / 's.db')!r}).journal('s').close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.startswith(f"whet:1: NetworkDiskWarning: {tmp_path}/s.db: lies on a network disk (nfs).")
    assert len(done.stderr.splitlines()) == 1
