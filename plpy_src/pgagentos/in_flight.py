"""What turns have used whose transactions are not committed yet: a small file that backends share.

PostgreSQL shows a row to other sessions when it is committed. A turn may make many model calls
before that, and a budget must see them: each backend writes what it has used into a slot of its
own, and nobody waits for anybody. A slot names its transaction; once that one has ended, its rows
say what was used, or, rolled back, that nothing was.

The file lies in ``pg_stat_tmp``, the server's directory for what is of no use after a restart:
no backup holds it, and only the server's user can read it.
"""

from __future__ import annotations

import os
import struct

#: transaction, tokens, cost in 1e-8 US dollars, tenant, agent; 56 bytes
_SLOT = struct.Struct("<QQQ16s16s")
_TENANT_AT = 24
_OWNER = struct.Struct("<Q")
_USE = struct.Struct("<QQ")
_FIRST_SLOTS = 64


class Snapshot:
    """Which transactions are over, as ``pg_current_snapshot()`` says it.

    Args:
        end: all transactions from this one on are not.
        running: those before it that are not.
    """

    def __init__(self, end: int, running: frozenset[int]) -> None:
        self.end = end
        self.running = running

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read ``xmin:xmax:xip_list`` (PostgreSQL manual, section 9.27.7)."""
        _, end, running = text.split(":")
        return cls(int(end), frozenset(map(int, running.split(","))) if running else frozenset())

    def is_over(self, transaction: int) -> bool:
        """Whether its rows, if it was committed, are visible in the snapshot."""
        return transaction < self.end and transaction not in self.running


class InFlight:
    """This backend's view of the file."""

    def __init__(self) -> None:
        self._file = -1
        self._map: memoryview | None = None
        self._slots: dict[tuple[bytes, bytes], int] = {}
        self._transaction = 0

    def read(self) -> bytes | None:
        """The slots as they are now; None before :meth:`open`.

        A snapshot that is taken afterwards shows the rows of each transaction that is missing here.
        """
        if self._map is None:
            return None
        size = os.fstat(self._file).st_size
        if size != len(self._map):
            self._map = _mapped(self._file, size)
        return bytes(self._map)

    def open(self, database: int) -> bytes:
        """Open the file of a database, by its OID, and read it."""
        if self._map is None:
            path = f"pg_stat_tmp/pgagentos_{database}"  # a backend works in the data directory
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with _Locked(self._file):
                size = os.fstat(self._file).st_size
                if not size:
                    size = _FIRST_SLOTS * _SLOT.size
                    os.ftruncate(self._file, size)
            self._map = _mapped(self._file, size)
        return self.read() or b""

    def add(
        self,
        transaction: int,
        snapshot: Snapshot,
        tenant_id: str,
        agent_id: str,
        tokens: int,
        cost: int,
    ) -> None:
        """Add to what this transaction has used.

        Args:
            snapshot: tells which slots are free.
            cost: in 1e-8 US dollars.
        """
        key = (_bytes_of(tenant_id), _bytes_of(agent_id))
        if transaction != self._transaction:
            self._transaction = transaction
            self._slots.clear()
        offset = self._slots.get(key)
        if offset is None:
            offset = self._slots[key] = self._claim(transaction, snapshot, key)
        assert self._map is not None
        owner, used_tokens, used_cost, *_ = _SLOT.unpack_from(self._map, offset)
        if owner == transaction:  # else it is over, and its slot another's
            _USE.pack_into(self._map, offset + 8, used_tokens + tokens, used_cost + cost)

    def _claim(self, transaction: int, snapshot: Snapshot, key: tuple[bytes, bytes]) -> int:
        with _Locked(self._file):
            size = os.fstat(self._file).st_size
            assert self._map is not None
            if size != len(self._map):
                self._map = _mapped(self._file, size)
            for offset in range(0, size, _SLOT.size):
                (owner,) = _OWNER.unpack_from(self._map, offset)
                if snapshot.is_over(owner):
                    break
            else:
                offset = size
                os.ftruncate(self._file, 2 * size)
                self._map = _mapped(self._file, 2 * size)
            _SLOT.pack_into(self._map, offset, transaction, 0, 0, *key)
        return offset


def used_by_others(
    slots: bytes, snapshot: Snapshot, transaction: int, tenant_id: str
) -> list[tuple[str, int, int]]:
    """What other transactions of a tenant have used that are not over.

    Args:
        slots: read before the snapshot was taken.
        transaction: the own one.

    Returns:
        ``(agent_id, tokens, cost in 1e-8 US dollars)`` each.
    """
    tenant = _bytes_of(tenant_id)
    found = []
    at = slots.find(tenant)
    while at >= 0:
        offset = at - _TENANT_AT
        if offset % _SLOT.size == 0:
            owner, tokens, cost, _, agent = _SLOT.unpack_from(slots, offset)
            if owner != transaction and not snapshot.is_over(owner):
                found.append((_uuid_of(agent), tokens, cost))
        at = slots.find(tenant, at + 1)
    return found


def _bytes_of(uuid: str) -> bytes:
    return bytes.fromhex(uuid.replace("-", ""))


def _uuid_of(value: bytes) -> str:
    h = value.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class _Locked:
    """The file's lock, held for the moment that it takes to claim a slot."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> None:
        import fcntl

        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        import fcntl

        fcntl.flock(self._file, fcntl.LOCK_UN)


def _mapped(file: int, size: int) -> memoryview:
    import mmap

    return memoryview(mmap.mmap(file, size))
