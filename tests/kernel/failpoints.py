"""Stops a backend at a chosen point of a turn, with nothing but what a superuser may install.

Two kinds of points. *Between* statements: a profile function of Python (``sys.setprofile``) sees
each call of the kernel into the server, before and after, and what the kernel changes in its own
process. There the backend stands still in Python, where no signal is acted upon, until one has
arrived. *Inside* statements: a restrictive policy on every table sees each statement that reads or
writes one, also those inside functions. There the backend waits for an advisory lock, where a
signal ends it at once.

A session arms one point by its number. Points are counted from the arming on, so that the first
number that is never reached is the end of the turn.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

#: The advisory lock that a backend waits for inside a statement.
LOCK = 7_001
#: Seconds until a test gives up; more than the slowest machine needs.
PATIENCE = 60.0

_INSTALL = """
create schema failpoint;
grant usage on schema failpoint to public;

create function failpoint.arm(place text, number integer, file text) returns void
    language plpython3u security definer as $python$
import ctypes, os, sys, time
server = ctypes.PyDLL(None)
flags = [ctypes.c_int.in_dll(server, name) for name in ('QueryCancelPending', 'ProcDiePending')]
GD['failpoint'] = point = {'place': place, 'number': number, 'count': 0, 'labels': []}
#: what the kernel changes in its process, besides calls of the server
OWN = ('backend_user.py', 'deadline.py', 'memory.py', 'identity.py', 'own_transactions.py',
    'server_log.py', 'backend_status.py')
TAKEN = ('execute', 'prepare', 'subtransaction', 'cursor', 'commit', 'rollback', 'setrlimit')

def label(frame, event, what):
    code = frame.f_code
    file = code.co_filename.rpartition('/')[2]
    return '%s:%d %s %s %s' % (file, frame.f_lineno, code.co_name, event, what)

def profile(frame, event, argument):
    if event in ('call', 'return'):
        file = frame.f_code.co_filename
        if '/pgagentos/' not in file or file.rpartition('/')[2] not in OWN:
            return
        what = ''
    else:
        what = getattr(argument, '__name__', '')
        if what not in TAKEN or '/pgagentos/' not in frame.f_code.co_filename:
            return
    point['count'] += 1
    point['labels'].append(label(frame, event, what))
    if point['count'] == point['number']:
        with open(file_name, 'w') as reached:
            reached.write(point['labels'][-1])
        until = time.monotonic() + 60
        while not any(flag.value for flag in flags) and time.monotonic() < until:
            time.sleep(0.0005)

file_name = file
sys.setprofile(profile if place == 'between' else None)
$python$;

create function failpoint.disarm() returns text[]
    language plpython3u security definer as $python$
import sys
sys.setprofile(None)
point = GD.pop('failpoint', None)
return point['labels'] if point else []
$python$;

create function failpoint._is_here(place text) returns boolean
    language plpython3u volatile as $python$
point = GD.get('failpoint')
if point is None or point['place'] != 'inside':
    return False
point['count'] += 1
point['labels'].append(place)
return point['count'] == point['number']
$python$;

create function failpoint.pass(place text) returns boolean
    language plpgsql volatile security definer as $$
begin
    if failpoint._is_here(place) then
        perform pg_catalog.pg_advisory_xact_lock_shared(:lock);
    end if;
    return true;
end
$$;

do $$
declare
    v_table regclass;
begin
    for v_table in
        select c.oid from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
         where c.relrowsecurity and c.relkind in ('r', 'p') and n.nspname ~ '^aos_'
            or c.oid = any ((:tables)::regclass[])
    loop
        execute format('alter table %s enable row level security', v_table);
        if v_table = any ((:tables)::regclass[]) then
            execute format('create policy everything on %s using (true)', v_table);
        end if;
        execute format('create policy failpoint on %s as restrictive'
            ' using ((select failpoint.pass(%L)))', v_table, v_table);
    end loop;
end
$$;
"""


def install(admin: psycopg.Connection, *tables: str) -> None:
    """Make the schema failpoint, and policies on the tables of the kernel and on *tables*."""
    names = sql.Literal(list(tables)).as_string(admin)
    admin.execute(_INSTALL.replace(":lock", str(LOCK)).replace(":tables", names))


@dataclass(frozen=True, slots=True)
class Point:
    """One point that a session is to stop at.

    Args:
        place: ``between`` or ``inside``.
        number: which of them, from 1.
        file: where a backend that stands between statements leaves word.
    """

    place: str
    number: int
    file: Path

    def arm(self, session: psycopg.Connection) -> None:
        """Let a session stop there."""
        self.file.unlink(missing_ok=True)
        session.execute(
            "select failpoint.arm(%s, %s, %s)", (self.place, self.number, str(self.file))
        )

    def is_reached(self, observer: psycopg.Connection, pid: int) -> bool:
        """Whether the backend stands there now."""
        if self.place == "between":
            return self.file.exists()
        row = observer.execute(
            "select exists (select from pg_locks where pid = %s and locktype = 'advisory'"
            " and not granted)",
            (pid,),
        ).fetchone()
        return row == (True,)


def disarm(session: psycopg.Connection) -> list[str]:
    """Let a session run freely again; return what it has passed."""
    row = session.execute("select failpoint.disarm()").fetchone()
    assert row is not None
    passed: list[str] = row[0]
    return passed


def wait_until_reached(
    point: Point, observer: psycopg.Connection, pid: int, turn: Future[Any]
) -> bool:
    """Wait until the backend stands at the point, or its work is done without it."""
    until = time.monotonic() + PATIENCE
    while not point.is_reached(observer, pid):
        if turn.done():
            return point.is_reached(observer, pid)
        assert time.monotonic() < until, f"never reached, never done: {point}"
        time.sleep(0.001)
    return True


@dataclass(frozen=True, slots=True)
class Process:
    """What a backend holds of its process: the cap on its memory, its timers."""

    data_limit: str
    timers: str


def process_of(pid: int) -> Process:
    """Look at a backend from outside."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return Process(
        next(line for line in limits if line.startswith("Max data size")),
        Path(f"/proc/{pid}/timers").read_text(),
    )
