"""A real PostgreSQL server for tests: in a folder of its own, on a free port of this machine, gone afterwards."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

__all__ = ["PostgresServer", "programs"]


@functools.cache
def programs() -> Path | None:
    """Return the folder with `initdb` and `postgres`, the newest version's, or None when there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    found = shutil.which("postgres")
    for folder in [*debian, *([Path(os.path.realpath(found)).parent] if found else [])]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


class PostgresServer:
    """A server that listens on `port` of 127.0.0.1; user "whet" with `password` owns the database "whet".

    PostgreSQL refuses to run as root: then it runs as the user `postgres` of the Debian package.
    """

    password = "a secret/with:signs@"

    def __init__(self, **settings: object) -> None:
        bin = programs()
        if bin is None:
            raise RuntimeError("PostgreSQL's programs are missing. On Debian and Ubuntu: apt-get install postgresql")
        self._bin = bin
        self._user = "postgres" if os.getuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="whet-postgres-"))
        self._data = self._folder / "data"
        if self._user:
            shutil.chown(self._folder, self._user)
        secret = self._folder / "password"
        secret.write_text(self.password)
        if self._user:
            shutil.chown(secret, self._user)
        self._run(
            self._bin / "initdb", "--pgdata", self._data, "--username", "whet", "--pwfile", secret, "--auth", "scram-sha-256",
            "--encoding", "UTF8", "--locale", "C", "--no-sync",
        )  # fmt: skip
        self.port = _free_port()
        self._settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": self.port, "fsync": "off",
            "shared_buffers": "16MB", "max_connections": 60, "log_min_messages": "fatal", **settings,
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.sql("CREATE DATABASE whet", database="postgres")

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [str(c) for c in command], user=self._user, cwd=self._folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def url(self, database: str = "whet", *, user: str = "whet", password: str | None = None) -> str:
        """Return the URL of a database on this server."""
        from urllib.parse import quote

        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def sql(self, text: str, *, database: str = "whet") -> list[tuple]:
        """Run one statement; return its rows."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="whet", password=self.password, dbname=database, autocommit=True
        ) as c:
            cursor = c.execute(text)
            return cursor.fetchall() if cursor.description else []

    def fresh(self, name: str) -> str:
        """Return the URL of a new, empty database."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', database="postgres")
        self.sql(f'CREATE DATABASE "{name}"', database="postgres")
        return self.url(name)

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._process is None
        options = [part for k, v in self._settings.items() for part in ("-c", f"{k}={v}")]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self._data), *options],
                user=self._user, cwd=self._folder, stdout=log, stderr=log,
            )  # fmt: skip
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.02)

    def _answers(self) -> bool:
        import psycopg

        try:
            self.sql("SELECT 1", database="postgres")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, cutting every connection; kill: as a crash does, with nothing written out."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if kill else signal.SIGINT)
        self._process.wait()
        self._process = None

    def restart(self, *, kill: bool = False) -> None:
        """Stop it and start it again."""
        self.stop(kill=kill)
        self.start()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop(kill=True)
        shutil.rmtree(self._folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
