"""Throw-away PostgreSQL servers that run the extension of this checkout.

A test gets its server from the fixtures in ``conftest.py``; a test that needs one of its own
(another environment, other settings, a server to kill) calls :func:`start_local`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

CHECKOUT = Path(__file__).resolve().parent.parent
TEMPLATE = "pgagentos_template"

#: scripts/cluster lets these through to the server. A key in the tester's shell must not turn a
#: test into a paid call, so they stop here.
_NOT_FOR_TESTS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "PGAGENTOS_MASTER_KEY_FILE",
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server, reached through psycopg.

    Args:
        host: a directory that holds the Unix socket, or an address.
        port: the port, in digits.
        user: a superuser.
        options: further connection options, for instance ``password``.
        home: the directory that :file:`scripts/cluster` knows it by; None for a container.
    """

    host: str
    port: str
    user: str = "postgres"
    options: Mapping[str, str] = field(default_factory=dict)
    home: Path | None = None

    def conninfo(self, dbname: str, **options: str) -> str:
        """Return the connection string for one database; ``options`` win (``user="alice"``)."""
        defaults = {"host": self.host, "port": self.port, "user": self.user, "dbname": dbname}
        return make_conninfo(**{**defaults, **self.options, **options})

    def connect(self, dbname: str = "postgres", **options: str) -> psycopg.Connection:
        """Open an autocommit connection."""
        return psycopg.connect(self.conninfo(dbname, **options), autocommit=True)

    def create_template(self) -> None:
        """Create the database that every other one is cloned from, with the extension in it."""
        with self.connect() as admin:
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
        with self.connect(TEMPLATE) as connection:
            connection.execute("create extension pgagentos cascade")

    @contextmanager
    def database(self, name: str, template: str = TEMPLATE) -> Iterator[Database]:
        """Clone ``template`` under ``name``; drop it at the end, whoever is still connected."""
        with self.connect() as admin:
            admin.execute(
                sql.SQL("create database {} template {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        try:
            yield Database(self, name)
        finally:
            with self.connect() as admin:
                admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True)
class Database:
    """One database of a :class:`Cluster`."""

    cluster: Cluster
    name: str

    def conninfo(self, **options: str) -> str:
        """Return its connection string; ``options`` win (``user="alice"``)."""
        return self.cluster.conninfo(self.name, **options)

    def connect(self, **options: str) -> psycopg.Connection:
        """Open an autocommit connection."""
        return self.cluster.connect(self.name, **options)


def pg_config(option: str) -> str:
    """Ask the pg_config of the server under test, for instance ``pg_config("--bindir")``."""
    program = _output(CHECKOUT / "scripts/find_pg_config")
    return _output(program, option)


def server_major() -> int:
    """Return the major version of the server under test."""
    return int("".join(c if c.isdigit() else " " for c in pg_config("--version")).split()[0])


def stage(directory: Path) -> dict[str, str]:
    """Install the checkout below ``directory`` and return the settings that make a server use it.

    The tests therefore see this checkout, whatever version the machine has installed.

    Raises:
        RuntimeError: ``make install`` failed; the text is its output.
    """
    libdir, sharedir = pg_config("--pkglibdir"), pg_config("--sharedir")
    _borrow_site_packages(Path(libdir) / "pgagentos", Path(f"{directory}{libdir}") / "pgagentos")
    _run("make", "-s", "-C", str(CHECKOUT), "install", f"DESTDIR={directory}")
    settings = {"dynamic_library_path": f"{directory}{libdir}:$libdir"}
    if server_major() >= 18:
        settings["extension_control_path"] = f"{directory}{sharedir}:$system"
    else:  # Debian's patch; from 18 on PostgreSQL has its own setting
        settings["extension_destdir"] = str(directory)
    return settings


def _borrow_site_packages(installed: Path, staged: Path) -> None:
    """Link to the machine's Python packages where they are those of our lock: pip takes seconds."""
    lock = (CHECKOUT / "plpy_src/requirements/backend.lock").read_bytes()
    wanted = hashlib.sha256(lock).hexdigest()
    for site in installed.glob("site-*"):
        stamp = site / ".lock"
        if stamp.is_file() and stamp.read_text().split()[:1] == [wanted]:
            staged.mkdir(parents=True, exist_ok=True)
            (staged / site.name).symlink_to(site)


@contextmanager
def start_local(
    settings: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """Run a private server on a Unix socket; stop and remove it at the end.

    Args:
        settings: lines for its configuration; :func:`stage` returns the ones it needs.
        environment: variables for the server, of those that scripts/cluster lets through.
    """
    # Not under the checkout: the user postgres must reach it, and socket paths must be short.
    with tempfile.TemporaryDirectory(prefix="pgagentos-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        home.chmod(0o755)
        inherited = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_TESTS}
        durability = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        lines = [f"{name}={value}" for name, value in {**durability, **settings}.items()]
        program = str(CHECKOUT / "scripts/cluster")
        _run(program, "start", str(home), *lines, environment={**inherited, **(environment or {})})
        try:
            yield Cluster(host=str(home / "socket"), port="5432", home=home)
        finally:
            _run(program, "stop", str(home))


@contextmanager
def start_container() -> Iterator[Cluster]:
    """Run the image of docker/Dockerfile in the local Docker engine, through testcontainers.

    ``PGAGENTOS_IMAGE`` names an image that is already there; otherwise the checkout is built.
    """
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.image import DockerImage

    image = os.environ.get("PGAGENTOS_IMAGE", "")
    if not image:
        built = DockerImage(
            CHECKOUT,
            dockerfile_path="docker/Dockerfile",
            tag="pgagentos:test",
            clean_up=False,
            buildargs={"SETUP_OPTIONS": "--tests"},
        ).build()
        image = str(built)
    password = hashlib.sha256(os.urandom(16)).hexdigest()
    container = (
        DockerContainer(image).with_env("POSTGRES_PASSWORD", password).with_exposed_ports(5432)
    )
    with container:
        cluster = Cluster(
            host=container.get_container_host_ip(),
            port=str(container.get_exposed_port(5432)),
            options={"password": password},
        )
        _wait_until_it_answers(cluster, container)
        yield cluster


def _wait_until_it_answers(cluster: Cluster, container: DockerContainer) -> None:
    deadline = time.monotonic() + 60.0
    while (refusal := _refusal(cluster)) is not None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the container does not answer: {refusal}\n{container.get_logs()}")
        time.sleep(0.2)


def _refusal(cluster: Cluster) -> psycopg.OperationalError | None:
    try:
        cluster.connect().close()
    except psycopg.OperationalError as error:
        return error
    return None


def docker_engine_answers() -> bool:
    """Say whether a Docker engine can be reached."""
    docker = shutil.which("docker")
    return (
        docker is not None and subprocess.run([docker, "info"], capture_output=True).returncode == 0
    )


def _run(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    # make passes its own flags down to a make that pytest starts below it
    inherited = os.environ if environment is None else environment
    clean = {k: v for k, v in inherited.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    # Output goes to a file: a server started here would keep a pipe open and the reader waiting.
    with tempfile.TemporaryFile("w+") as output:
        status = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=clean
        ).returncode
        output.seek(0)
        text = output.read()
    if status != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with status {status}:\n{text}")
    return text


def _output(*command: str | Path) -> str:
    return _run(*command).strip()
