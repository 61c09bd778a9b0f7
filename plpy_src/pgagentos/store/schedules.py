"""Statements about schedules and the turns that they start."""

from __future__ import annotations

from typing import NamedTuple

from ..database import Database


class Key(NamedTuple):
    """Which schedule, and in whose name it runs."""

    schedule_id: str
    tenant_id: str
    principal_id: str | None


class Due(NamedTuple):
    """A schedule that is due, locked for the rest of the transaction.

    Args:
        next_run: the moment that it was planned for; seconds since 1970.
        now: by the clock of the database; seconds since 1970.
    """

    schedule_id: str
    tenant_id: str
    agent_id: str
    cron_expression: str
    time_zone: str
    content: str
    conversation: str
    on_missed: str
    priority: int
    next_run: float
    now: float
    principal_is_active: bool


class Previous(NamedTuple):
    """What earlier runs leave to the next one.

    Args:
        conversation_id: the one to go on with; None: a new one.
        unfinished_run_id: the turn that has to end first; None: none has.
    """

    conversation_id: str | None
    unfinished_run_id: str | None


def due(database: Database, most: int) -> list[Key]:
    """The schedules that are due and that whoever acts may see.

    Tenants take turns, in an order of chance: the longest due of each, then the next of each.
    """
    rows = database.rows(
        "select d.schedule_id, d.tenant_id, d.principal_id"
        " from (select s.schedule_id, s.tenant_id, s.principal_id, row_number() over"
        "  (partition by s.tenant_id order by s.next_run_at, s.schedule_id) as place"
        "  from aos_agent.schedule as s"
        "  where s.is_active and s.next_run_at <= (select aos_core._now())) as d"
        " order by d.place, random() limit $1::integer",
        most,
    )
    return [Key(**row) for row in rows]


def lock(database: Database, key: Key) -> Due | None:
    """Lock a schedule that is due; None when another worker has it, or has run it already."""
    rows = database.rows(
        "select s.schedule_id, s.tenant_id, s.agent_id, s.cron_expression, s.time_zone, s.content,"
        " s.conversation, s.on_missed, s.priority,"
        " extract(epoch from s.next_run_at)::float8 as next_run,"
        " extract(epoch from aos_core._now())::float8 as now,"
        " s.principal_id is null or exists (select from aos_auth.principal as p"
        "  where p.principal_id = s.principal_id and p.tenant_id = s.tenant_id and p.is_active)"
        " as principal_is_active"
        " from aos_agent.schedule as s"
        " where s.schedule_id = $1::uuid and s.tenant_id = $2::uuid"
        " and s.is_active and s.next_run_at <= aos_core._now()"
        " for no key update of s skip locked",
        key.schedule_id,
        key.tenant_id,
    )
    return Due(**rows[0]) if rows else None


def previous(database: Database, due: Due) -> Previous:
    """What the last run of a schedule leaves to this one."""
    rows = database.rows(
        "select case when $3::text = 'same' and c.agent_id = $4::uuid then l.conversation_id end"
        " as conversation_id, coalesce(l.unfinished_run_id, case when $3::text = 'same' then"
        "  (select o.run_id from aos_core.run as o"
        "    where o.conversation_id = l.conversation_id and o.tenant_id = l.tenant_id"
        "    and o.finished_at is null order by o.turn_no desc limit 1) end) as unfinished_run_id"
        " from (select r.conversation_id, r.tenant_id,"
        "  case when r.finished_at is null then r.run_id end as unfinished_run_id"
        "  from aos_agent.schedule_run as u"
        "  join aos_core.run as r on r.run_id = u.run_id and r.tenant_id = u.tenant_id"
        "  where u.schedule_id = $1::uuid and u.tenant_id = $2::uuid"
        "  order by u.scheduled_for desc limit 1) as l"
        " join aos_agent.conversation as c"
        " on c.conversation_id = l.conversation_id and c.tenant_id = l.tenant_id",
        due.schedule_id,
        due.tenant_id,
        due.conversation,
        due.agent_id,
    )
    return Previous(**rows[0]) if rows else Previous(None, None)


def open_conversation(database: Database, due: Due) -> str:
    """Open a conversation of a schedule's agent with the principal who acts."""
    rows = database.rows(
        "insert into aos_agent.conversation (agent_id, tenant_id, title)"
        " select $2::uuid, $3::uuid, coalesce(s.name, s.cron_expression)"
        " from aos_agent.schedule as s where s.schedule_id = $1::uuid and s.tenant_id = $3::uuid"
        " returning conversation_id",
        due.schedule_id,
        due.agent_id,
        due.tenant_id,
    )
    return str(rows[0]["conversation_id"])


def lock_conversation(database: Database, conversation_id: str) -> None:
    """Lock a conversation, as a turn does.

    Raises:
        DatabaseError: ``OS004``: a turn is run in it just now.
    """
    database.rows("select aos_agent._lock_conversation($1::uuid, true)", conversation_id)


def submit(database: Database, due: Due, conversation_id: str) -> str:
    """Say a schedule's content in a conversation and queue the turn; returns its identity."""
    rows = database.rows(
        "select aos_agent.submit($1::uuid, $2::text, $3::integer, aos_core._now()) as run_id",
        conversation_id,
        due.content,
        due.priority,
    )
    return str(rows[0]["run_id"])


def add_run(database: Database, due: Due, run_id: str, moment: float) -> None:
    """Keep which turn was started for which moment."""
    database.rows(
        "insert into aos_agent.schedule_run (run_id, tenant_id, schedule_id, scheduled_for)"
        " values ($1::uuid, $2::uuid, $3::uuid, to_timestamp($4::numeric::float8))",
        run_id,
        due.tenant_id,
        due.schedule_id,
        moment,
    )


def close(database: Database, key: Key, status: str, reason: str | None, next_run: float) -> None:
    """Write into the row of a schedule what came of it, and when it is due again.

    Args:
        next_run: seconds since 1970.
    """
    database.rows(
        "update aos_agent.schedule as s set last_status = $3::text, last_reason = $4::text,"
        " last_at = aos_core._now(), next_run_at = to_timestamp($5::numeric::float8)"
        " where s.schedule_id = $1::uuid and s.tenant_id = $2::uuid",
        key.schedule_id,
        key.tenant_id,
        status,
        reason,
        next_run,
    )


def turn_off(database: Database, key: Key, reason: str) -> None:
    """Turn off a schedule that can never be due again, and write why into its row."""
    database.rows(
        "update aos_agent.schedule as s set last_status = 'failed', last_reason = $3::text,"
        " last_at = aos_core._now(), is_active = false"
        " where s.schedule_id = $1::uuid and s.tenant_id = $2::uuid",
        key.schedule_id,
        key.tenant_id,
        reason,
    )


def fire(database: Database) -> int:
    """Start the turns of the schedules that are due; returns how many."""
    return int(database.rows("select aos_agent._fire_schedules() as started")[0]["started"])
