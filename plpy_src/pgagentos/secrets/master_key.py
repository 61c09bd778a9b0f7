"""The master key: a file that only the server's user can read, outside the data directory.

Whoever has a copy of the database (a dump, a base backup, a replica's disk) has the sealed secrets;
without this file they are noise. So the file is not where such copies are taken from, and its path
comes from the server's environment: a setting would be anybody's to set.

Each line is ``key_id:key``, the key being 32 random bytes in base64. The first line seals; the
others only open what they have sealed. Empty lines and lines that begin with ``#`` are skipped.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import stat
from typing import NamedTuple, NoReturn

from ..errors import InstallationError

VARIABLE = "PGAGENTOS_MASTER_KEY_FILE"
DEFAULT_FILE = "/etc/pgagentos/master.key"

#: Bytes of one key.
KEY_BYTES = 32

#: Most bytes of the file: several hundred keys.
FILE_BYTES = 1 << 16

_LINE = re.compile(r"([A-Za-z0-9_.-]{1,64}):([A-Za-z0-9+/]+={0,2})")


class MasterKey(NamedTuple):
    """One line of the file.

    Args:
        key_id: its name, which is stored beside what it has sealed.
        key: base64 of 32 random bytes; as it stands it is the passphrase.
    """

    key_id: str
    key: str

    def __repr__(self) -> str:
        """Leave the key out: a repr ends up in messages and logs."""
        return f"MasterKey({self.key_id!r})"


def path() -> str:
    """Where the file is: named by the server's environment, or the documented default."""
    return os.environ.get(VARIABLE) or DEFAULT_FILE


def find(key_id: str | None) -> MasterKey:
    """The master key of that id, or the current one.

    It is read anew each time: what was taken out of the file can open nothing any more.

    Raises:
        InstallationError: the file is missing, open to others, or has no such key.
    """
    keys = read()
    if key_id is None:
        return keys[0]
    for key in keys:
        if key.key_id == key_id:
            return key
    raise InstallationError(
        f"the master key {key_id} is not in {path()}",
        hint="Put its line back, below the first one. SELECT aos_meta.rotate_secrets() seals"
        " everything with the first one; until then the others are needed.",
    )


def read() -> list[MasterKey]:
    """All keys of the file, the current one first.

    Raises:
        InstallationError: the file is missing, open to others, or not what it should be.
    """
    file = path()
    # NONBLOCK: a pipe in its place must not hang the session.
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        _refuse_unopened(file, error)
    try:
        _check(file, os.fstat(descriptor))
        content = os.read(descriptor, FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    return _parse(file, content)


def _refuse_unopened(file: str, error: OSError) -> NoReturn:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        raise InstallationError(
            f"there is no master key at {file}",
            hint=f"Run scripts/master_key on the server; {VARIABLE} in the server's environment"
            " names another place. Or keep keys in the server's environment: docs/secrets.md.",
        ) from None
    if error.errno == errno.EACCES:
        raise InstallationError(
            f"the server's user may not read the master key {file}",
            hint=f"{_give(file)} Its directories must let that user through.",
        ) from None
    raise InstallationError(
        f"the master key {file} cannot be opened: {os.strerror(error.errno or 0)}"
    ) from None


def _check(file: str, status: os.stat_result) -> None:
    """Refuse a file that somebody else could have read, written or put there."""
    if not stat.S_ISREG(status.st_mode):
        raise InstallationError(
            f"the master key {file} is not a regular file",
            hint=f"{VARIABLE} has to name the file itself.",
        )
    if status.st_uid != os.geteuid():
        raise InstallationError(
            f"the master key {file} does not belong to the server's user", hint=_give(file)
        )
    if status.st_mode & 0o077:
        raise InstallationError(
            f"the master key {file} is open to others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 600 {file}; and make a new key if somebody may have read it.",
        )
    # A backend's working directory is the data directory (src/backend/utils/init/miscinit.c,
    # ChangeToDataDir); the setting itself is not shown to everybody.
    data_directory = os.path.realpath(os.getcwd())
    if os.path.commonpath((os.path.realpath(file), data_directory)) == data_directory:
        raise InstallationError(
            f"the master key {file} is in the data directory",
            hint="Every base backup would carry the key together with what it protects. Move it,"
            f" for example to {DEFAULT_FILE}.",
        )


def _parse(file: str, content: bytes) -> list[MasterKey]:
    """Read the lines; an error names the line and never shows it."""
    if len(content) > FILE_BYTES:
        raise InstallationError(
            f"the master key {file} is larger than {FILE_BYTES} bytes",
            hint=f"{VARIABLE} has to name the file that scripts/master_key made.",
        )
    keys: list[MasterKey] = []
    for number, line in enumerate(content.decode("latin-1").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None or not _is_key(match[2]):
            raise InstallationError(
                f"line {number} of the master key {file} is not key_id:key",
                hint=f"A key is the base64 of {KEY_BYTES} random bytes; scripts/master_key rotate"
                " writes such a line.",
            )
        if any(key.key_id == match[1] for key in keys):
            raise InstallationError(
                f"line {number} of the master key {file} repeats the id of another line",
                hint="Each key has an id of its own.",
            )
        keys.append(MasterKey(match[1], match[2]))
    if not keys:
        raise InstallationError(
            f"the master key {file} holds no key", hint="Run scripts/master_key rotate."
        )
    return keys


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except ValueError:
        return False


def _give(file: str) -> str:
    return f"chown it to the server's user and chmod 600 {file}, or run scripts/master_key."
