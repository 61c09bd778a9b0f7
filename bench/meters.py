"""What a turn cost: CPU, WAL, stored bytes, memory, statements, read from the kernel and server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg

from private_cluster import PrivateCluster

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# The table that the tool reads belongs to the task, not to what a contestant stores.
OWN = (
    "c.oid >= 16384 and c.oid not in (select indexrelid from pg_index where indrelid = "
    "to_regclass('public.orders')) and c.oid is distinct from to_regclass('public.orders')"
)
DISK_BYTES = f"""
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c
where c.relkind = 'r' and {OWN}"""
# Exact to the byte where pg_total_relation_size moves in pages of 8 kB: every tuple of tables,
# TOAST tables and B-trees with its 4-byte line pointer. Other index types count as they are.
TUPLE_BYTES = f"""
select coalesce(sum(case
    when c.relkind = 'i' and a.amname <> 'btree' then pg_relation_size(c.oid)
    else (select t.tuple_len + t.dead_tuple_len + 4 * (t.tuple_count + t.dead_tuple_count)
          from pgstattuple(c.oid) t) end), 0)::bigint
from pg_class c join pg_am a on a.oid = c.relam where c.relkind in ('r', 't', 'i') and {OWN}"""
# At a commit the server runs the checks of deferred foreign keys on its own; pg_stat_statements
# takes them for the client's, because no other statement is under way then.
STATEMENTS = """
select left(regexp_replace(s.query, '\\s+', ' ', 'g'), 90), sum(s.calls)::bigint
from pg_stat_statements s join pg_database d on d.oid = s.dbid
where d.datname = current_database() and s.query !~ 'pg_stat_statements'
  and s.query !~ '^SELECT [$0-9]+ FROM ONLY .* FOR KEY SHARE OF x$' group by 1"""
SYNCS = "select wal_sync from pg_stat_wal"
SYNCS_18 = "select sum(fsyncs)::bigint from pg_stat_io where object = 'wal'"


def cpu_seconds(pid: int) -> float:
    """CPU seconds of one process so far, to the nanosecond (proc(5), schedstat); 0 if it ended."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def machine_ticks() -> tuple[int, int]:
    """Clock ticks of all processors so far: busy, and all (proc(5), stat)."""
    with open("/proc/stat") as stat:
        fields = [int(field) for field in stat.readline().split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def private_memory(pid: int) -> dict[str, int]:
    """Memory in kB that this process does not share: anonymous resident, and private dirty.

    VmRSS is no measure of a backend: it grows with the shared buffers that were touched.
    """
    wanted = {"RssAnon", "Private_Dirty"}
    found = {}
    for file in ("status", "smaps_rollup"):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in wanted:
                found[name] = int(rest.split()[0])
    return found


def _stat_fields(pid: int) -> list[str]:
    # The name in parentheses may hold spaces; what follows it starts with field 3, the state.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def _children(parent: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if int(_stat_fields(int(entry))[1]) == parent:
                    found.append(int(entry))
            except OSError:
                continue  # it ended meanwhile
    return found


class ServerMeter:
    """Reads one cluster from outside: over a connection of its own and from /proc."""

    def __init__(self, cluster: PrivateCluster) -> None:
        self.cluster = cluster
        self.admin = self.connect("postgres")
        self.own_backend = self.admin.info.backend_pid

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A superuser's connection that commits each statement."""
        return self.connect_as(database, "postgres")

    def connect_as(self, database: str, user: str) -> psycopg.Connection[Any]:
        """The same of another login."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.cluster.port,
            user=user,
            dbname=database,
            autocommit=True,
        )

    def value(self, sql: str, database: str = "postgres") -> int:
        """The one number that `sql` returns."""
        if database == "postgres":
            return int(self.admin.execute(sql).fetchone()[0])
        with self.connect(database) as connection:
            return int(connection.execute(sql).fetchone()[0])

    def wal_position(self) -> int:
        """Bytes of WAL written since the beginning."""
        return self.value("select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint")

    def cpu_by_process(self) -> dict[int, float]:
        """CPU seconds so far of each process of the cluster, this meter's own backend left out."""
        postmaster = self.cluster.postmaster()
        return {
            pid: cpu_seconds(pid)
            for pid in [postmaster, *_children(postmaster)]
            if pid != self.own_backend
        }

    def cpu_since(self, before: dict[int, float]) -> float:
        """CPU seconds that the cluster used since `before`, by the processes that are there now.

        A backend that ended meanwhile is not counted: contestants keep their connections, so it
        was an autovacuum or a connection that made things ready. The kernel would tell its CPU
        only in clock ticks of 10 ms, more than a turn takes.
        """
        return sum(
            seconds - before.get(pid, 0.0)
            for pid, seconds in self.cpu_by_process().items()
            if seconds > 0
        )

    def backends(self, database: str) -> list[int]:
        """Process ids of the clients' backends in `database`."""
        return [
            row[0]
            for row in self.admin.execute(
                "select pid from pg_stat_activity where datname = %s and "
                "backend_type = 'client backend'",
                (database,),
            )
        ]

    def backends_memory(self, database: str) -> dict[str, int]:
        """Private memory of all clients' backends together, in kB, and how many there are."""
        total = {"backends": 0, "RssAnon": 0, "Private_Dirty": 0}
        for pid in self.backends(database):
            try:
                memory = private_memory(pid)
            except OSError:
                continue  # it ended meanwhile
            for name, kilobytes in (memory | {"backends": 1}).items():
                total[name] += kilobytes
        return total

    def disk_bytes(self, database: str) -> int:
        """Bytes on disk of the contestant's tables, indexes and TOAST tables, in whole pages."""
        return self.value(DISK_BYTES, database)

    def tuple_bytes(self, database: str) -> int:
        """Bytes of the contestant's rows and index entries, without free space in pages."""
        return self.value(TUPLE_BYTES, database)

    def counters(self, database: str) -> dict[str, int]:
        """Transactions of one database and WAL syncs of the cluster so far.

        A backend reports what it did when it ends, so read this after the client has left.
        """
        # Over a new connection: within one session the statistics may be cached.
        with self.connect("postgres") as connection:
            newest = connection.info.server_version >= 180000
            transactions = connection.execute(
                "select xact_commit from pg_stat_database where datname = %s", (database,)
            ).fetchone()[0]
            syncs = connection.execute(SYNCS_18 if newest else SYNCS).fetchone()[0]
        return {"transactions": int(transactions), "wal_syncs": int(syncs)}

    def statements(self, database: str) -> dict[str, int]:
        """Calls of each statement that clients sent to `database` since the last reset."""
        with self.connect(database) as connection:
            return dict(connection.execute(STATEMENTS).fetchall())
