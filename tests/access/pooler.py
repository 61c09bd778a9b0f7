"""The real pgbouncer in front of a test's database, pooling by transaction."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from cluster import Database

#: pgbouncer listens on a Unix socket in a directory of its own: this number only names the socket.
PORT = "6432"


@dataclass(frozen=True, slots=True)
class Pooler:
    """A running pgbouncer.

    Args:
        version: its own, for example (1, 18).
        host: the directory of its socket.
        database: whose sessions it pools.
    """

    version: tuple[int, ...]
    host: str
    database: Database

    def connect(self, user: str, **options: object) -> psycopg.Connection:
        """Open a client's connection; transactions begin by themselves and end explicitly."""
        return psycopg.connect(
            host=self.host, port=PORT, user=user, dbname=self.database.name, **options
        )


def program() -> str:
    """The pgbouncer of this machine (Debian: the package pgbouncer)."""
    found = shutil.which(
        "pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    )
    assert found is not None, "pgbouncer is missing: scripts/setup --tests installs it"
    return found


def version() -> tuple[int, ...]:
    """The version of :func:`program`."""
    told = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in told.stdout.split()[1].split(".")[:2])


@contextmanager
def start_pooler(database: Database, *users: str, **settings: str) -> Iterator[Pooler]:
    """Run pgbouncer with one server connection for each user; end it by its process id.

    Args:
        users: the roles that may log in.
        settings: more lines of its configuration.
    """
    with tempfile.TemporaryDirectory(prefix="pgagentos-pool-") as directory:
        home = Path(directory)
        home.chmod(0o755)
        (home / "users.txt").write_text("".join(f'"{user}" ""\n' for user in users))
        lines = {
            "listen_addr": "",
            "listen_port": PORT,
            "unix_socket_dir": str(home / "socket"),
            "auth_type": "trust",
            "auth_file": str(home / "users.txt"),
            "pool_mode": "transaction",
            "default_pool_size": "1",
            "server_lifetime": "86400",
            "logfile": str(home / "socket/pgbouncer.log"),
            **settings,
        }
        server = database.cluster
        (home / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in lines.items())
        )
        (home / "socket").mkdir(mode=0o777)
        (home / "socket").chmod(0o777)
        # It refuses to run as root; the server's socket is the user postgres's alone.
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        process = subprocess.Popen(
            [program(), "-q", str(home / "pgbouncer.ini")],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **(as_user if os.geteuid() == 0 else {}),  # type: ignore[arg-type]
        )
        try:
            pooler = Pooler(version(), str(home / "socket"), database)
            _wait_until_it_answers(pooler, users[0], process, home / "socket/pgbouncer.log")
            yield pooler
        finally:
            # Its own signals to stop differ by version, and a job in the background ignores some.
            process.kill()
            process.wait(timeout=30)


def _wait_until_it_answers(
    pooler: Pooler, user: str, process: subprocess.Popen[bytes], log: Path
) -> None:
    deadline = time.monotonic() + 30.0
    while True:
        try:
            pooler.connect(user).close()
            return
        except psycopg.OperationalError as refusal:
            said = log.read_text() if log.exists() else ""
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"pgbouncer does not answer: {refusal}\n{said}") from None
        time.sleep(0.05)
