"""What a turn's budgets leave it."""

from __future__ import annotations

from ..budget import Budgets
from ..database import Database, Row
from ..in_flight import InFlight


def of_turn(database: Database, in_flight: InFlight, slots: bytes | None, row: Row) -> Budgets:
    """The budgets of a turn.

    Args:
        slots: of *in_flight*, read before the row was.
        row: its context, of which ``budgets`` is not null.
    """
    tenant_id, agent_id = row["tenant_id"], row["agent_id"]

    def read() -> str:
        rows = database.rows(
            "select aos_agent._shared_use($1::uuid, $2::uuid) as used", tenant_id, agent_id
        )
        return str(rows[0]["used"])

    def open_slots() -> bytes:
        rows = database.rows(
            "select d.oid::bigint as oid from pg_catalog.pg_database as d"
            " where d.datname = pg_catalog.current_database()"
        )
        return in_flight.open(int(rows[0]["oid"]))

    return Budgets(in_flight, open_slots, read, row["budgets"], slots, tenant_id, agent_id)


def of_outside_turn(database: Database, in_flight: InFlight, run_id: str) -> Budgets:
    """The budgets of a turn that is driven from outside."""
    slots = in_flight.read()
    rows = database.rows(
        "select r.tenant_id, a.agent_id,"
        " aos_agent._budgets_of(r.tenant_id, a.agent_id, a.name, r.conversation_id, v.model_id,"
        " v.fallback_model_id, r.input_tokens + r.output_tokens, r.cost) as budgets"
        " from aos_core.run as r"
        " join aos_agent.conversation as c"
        " on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id"
        " join aos_agent.agent as a on a.agent_id = c.agent_id and a.tenant_id = c.tenant_id"
        " join aos_persona.persona_version as v"
        " on v.persona_version_id = r.persona_version_id and v.tenant_id = r.tenant_id"
        " where r.run_id = $1::uuid",
        run_id,
    )
    return of_turn(database, in_flight, slots, rows[0])
