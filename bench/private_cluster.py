"""A private PostgreSQL cluster in its default durability, thrown away at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
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


CHECKOUT = Path(__file__).resolve().parent.parent
# The Python of every backend sees the server's environment, so nothing gets there by chance.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


def bin_folder() -> Path:
    """Where the server that the extension is built for keeps its programs."""
    pg_config = subprocess.run(
        [CHECKOUT / "scripts" / "find_pg_config"], capture_output=True, text=True, check=True
    ).stdout.strip()
    done = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def stage(folder: Path) -> dict[str, str]:
    """Install this checkout below `folder`, as the tests do; the settings that make it found."""
    sys.path.append(str(CHECKOUT / "tests"))
    from cluster import stage as stage_checkout

    return dict(stage_checkout(folder))


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PrivateCluster:
    """One server on an ephemeral loopback port; a context manager.

    Args:
        parent: folder for the data. It must lie on a disk: on a memory file system a commit
            costs nothing, and those who commit often would look too good.
        staged: run the extension of this checkout, whatever the machine has installed.
    """

    def __init__(self, parent: Path, staged: bool) -> None:
        self.parent = parent
        self.staged = staged
        self.port = free_port()
        self.folder = Path()

    def __enter__(self) -> PrivateCluster:
        self.parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="pgagentos-bench-", dir=self.parent))
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self.folder, "postgres", "postgres")
        try:
            self._run(
                "initdb",
                "-D",
                self.data,
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale",
                "C.UTF-8",
                "--no-sync",
            )
            lines = SETTINGS.format(port=self.port, folder=self.folder)
            if self.staged:
                for name, value in stage(self.folder / "stage").items():
                    lines += f"{name} = '{value}'\n"
            with (self.data / "postgresql.conf").open("a") as conf:
                conf.write(lines)
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
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", env=ENVIRONMENT)
