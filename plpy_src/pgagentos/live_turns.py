"""Which turns backends drive whose rows nobody else can see yet: a small file that backends share.

``SELECT aos_agent.run_turn`` writes its steps in one transaction. What it is doing meanwhile, each
backend writes into a place of its own, with one system call and no lock. Unlike
``application_name``, which is anybody's to set, the file is the kernel's alone. It lies in
``pg_stat_tmp``, the server's directory for what is of no use after a restart: no backup holds it,
and only the server's user can read it.

A backend that is killed leaves its place as it was. So a place names its process and when that
began; ``pg_stat_activity`` knows whether it is there still.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

PATH = "pg_stat_tmp/pgagentos_live"  # a backend works in the data directory

#: Most turns of one backend, each run by a tool of the one before, that are shown.
DEPTH = 4
_PLACE = 1024
#: count of writes, process, when it began in microseconds since 2000, turns
_HEAD = struct.Struct("<IIqI")
#: turn, conversation, tenant, agent, since when, step and since when, number of the step, is it a
#: tool call, bytes of the tool's name, the name
_TURN = struct.Struct("<16s16s16s16sddIBB64s")
#: the count of writes once more, at the very end: a place that is just being written has two
_TAIL = struct.Struct("<I")
_TAIL_AT = _PLACE - _TAIL.size


class LiveTurn(NamedTuple):
    """What a backend says of a turn.

    Args:
        pid: of the process.
        backend_start: when that began, in microseconds since 2000-01-01 UTC.
        kind: of the step: ``model`` or ``tool``.
        tool_name: of a tool call.
        step_since: Unix time, as *turn_since*.
    """

    pid: int
    backend_start: int
    turn_id: str
    conversation_id: str
    tenant_id: str
    agent_id: str
    step_no: int
    kind: str
    tool_name: str | None
    step_since: float
    turn_since: float


class Place:
    """A backend's own place in the file.

    Args:
        number: of the backend; no other has the same at the same time.
        pid: of the process.
        backend_start: see :class:`LiveTurn`.
    """

    def __init__(self, number: int, pid: int, backend_start: int) -> None:
        self._at = number * _PLACE
        self._owner = (pid, backend_start)
        self._file = -1
        self._writes = 0
        self._turns: list[tuple[bytes, bytes, bytes, bytes, float]] = []
        self._steps: list[bytes] = []

    def begin(self, turn_id: str, conversation_id: str, tenant_id: str, agent_id: str) -> None:
        """A turn begins; others of this backend go on below it."""
        ids = (turn_id, conversation_id, tenant_id, agent_id)
        a, b, c, d = (bytes.fromhex(one.replace("-", "")) for one in ids)
        self._turns.append((a, b, c, d, time.time()))

    def step(self, step_no: int, tool_name: str | None) -> None:
        """The innermost turn begins a step.

        Args:
            tool_name: of a tool call, None of a model call.
        """
        name = b"" if tool_name is None else tool_name.encode()[:64]
        *ids, since = self._turns[-1]
        record = _TURN.pack(
            *ids, since, time.time(), step_no, tool_name is not None, len(name), name
        )
        self._steps[len(self._turns) - 1 :] = [record]
        self._write()

    def end(self) -> None:
        """The innermost turn is over."""
        self._turns.pop()
        if len(self._steps) > len(self._turns):
            self._steps.pop()
            self._write()

    def _write(self) -> None:
        self._writes = (self._writes + 1) & 0xFFFFFFFF
        shown = self._steps[:DEPTH]
        head = _HEAD.pack(self._writes, *self._owner, len(shown))
        place = b"".join((head, *shown)).ljust(_TAIL_AT, b"\0") + _TAIL.pack(self._writes)
        try:
            if self._file < 0:
                self._file = os.open(PATH, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Not mapped: that would cost the first turn of a session more than it ever saves.
            os.pwrite(self._file, place, self._at)
        except OSError:
            pass  # a full disk: no turn ends for the view of it


def read() -> Iterator[LiveTurn]:
    """What all backends say, also those of other databases, and those that are gone."""
    try:
        with open(PATH, "rb", buffering=0) as file:
            data = file.read() or b""
            for at in range(0, len(data) - _PLACE + 1, _PLACE):
                place = data[at : at + _PLACE]
                for _ in range(10):
                    if _HEAD.unpack_from(place)[0] == _TAIL.unpack_from(place, _TAIL_AT)[0]:
                        yield from _turns_of(place)
                        break
                    place = os.pread(file.fileno(), _PLACE, at)  # it was just being written
    except FileNotFoundError:
        return


def _turns_of(place: bytes) -> Iterator[LiveTurn]:
    _, pid, backend_start, count = _HEAD.unpack_from(place)
    for number in range(min(count, DEPTH)):
        turn, conversation, tenant, agent, *rest = _TURN.unpack_from(
            place, _HEAD.size + number * _TURN.size
        )
        turn_since, step_since, step_no, is_tool, size, name = rest
        yield LiveTurn(
            pid,
            backend_start,
            turn.hex(),
            conversation.hex(),
            tenant.hex(),
            agent.hex(),
            step_no,
            "tool" if is_tool else "model",
            name[:size].decode(errors="replace") if is_tool else None,
            step_since,
            turn_since,
        )
