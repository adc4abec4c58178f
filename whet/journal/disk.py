"""Whether a file lies on a network disk, where SQLite's locks cannot be trusted between machines."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

__all__ = ["NetworkDiskWarning", "file_system", "warn_of_network"]

MOUNTS = Path("/proc/self/mounts")
# What is shared between machines, as the second word of a mount table names it (fuse.x: a file system in user space).
_SHARED = frozenset(
    "9p afs beegfs ceph cifs davfs fuse.davfs2 fuse.gcsfuse fuse.glusterfs fuse.juicefs fuse.moosefs fuse.rclone "
    "fuse.s3fs fuse.sshfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2 smb2 smb3 smbfs vboxsf "
    "virtiofs wekafs".split()
)
_told: set[str] = set()


class NetworkDiskWarning(UserWarning):
    """A database in a file lies where other machines may open it too."""


def file_system(path: Path, table: str) -> str:
    """Return the kind of file system `path` (absolute) lies on by a mount table ("" when it tells nothing).

    The longest mount point that holds the path counts, and of equal ones the last: it was mounted over the others. The
    root tells nothing: whatever it is made of, a machine (or container) has it for itself.

    >>> file_system(Path("/home/me/my runs/s.db"), "/dev/sda1 / ext4 rw 0 0\\nsrv:/x /home/me/my\\\\040runs nfs4 rw 0 0")
    'nfs4'
    """
    best, found = -1, ""
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        # a blank, tab, newline or backslash in a name is written as its octal number
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[1])
        inside = point == "/" or str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, found = len(point), fields[2] if point != "/" else ""
    return found


def warn_of_network(path: Path) -> None:
    """Warn once a process when the database file `path` lies on a network disk."""
    place = Path(os.path.realpath(path.parent)) / path.name
    try:
        kind = file_system(place, MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:  # a system without such a table
        return
    if kind not in _SHARED or str(place) in _told:
        return
    _told.add(str(place))
    told = (
        f"{path}: lies on a network disk ({kind}). SQLite is for the processes of one machine; "
        "for several use a PostgreSQL server: --store postgresql://USER@HOST/NAME."
    )
    # not the line of whet it comes from, which would be shown below it: the mistake is in no code
    warnings.warn_explicit(told, NetworkDiskWarning, filename="whet", lineno=1)
