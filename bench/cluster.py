"""A private PostgreSQL cluster in its default durability, thrown away at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

SETTINGS = """
# fsync, synchronous_commit and full_page_writes stay at their defaults (on)
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 300
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = none
# rare checkpoints, so that full-page images do not fall on whoever runs right after one
checkpoint_timeout = 30min
max_wal_size = 8GB
"""


def bin_folder() -> Path:
    """Where the server of $PG_CONFIG (default: pg_config on the path) keeps its programs."""
    pg_config = os.environ.get("PG_CONFIG", "pg_config")
    done = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """One server on an ephemeral loopback port; a context manager.

    Args:
        parent: folder for the data. It must lie on a disk: on a memory file system a commit
            costs nothing, and those who commit often would look too good.
    """

    def __init__(self, parent: Path) -> None:
        self.parent = parent
        self.port = free_port()
        self.folder = Path()

    def __enter__(self) -> Cluster:
        self.parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="pgagentos-bench-", dir=self.parent))
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self.folder, "postgres", "postgres")
        try:
            self._run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-E", "UTF8",
                      "--no-sync")
            with (self.data / "postgresql.conf").open("a") as conf:
                conf.write(SETTINGS.format(port=self.port, folder=self.folder))
            self._run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "start")
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def postmaster(self) -> int:
        """The process id of the server."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def _run(self, program: str, *args: str | Path) -> None:
        command = [str(bin_folder() / program), *map(str, args)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
