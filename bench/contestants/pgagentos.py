"""pgAgentOS: an agent with one skill, a SQL function; a turn is one SELECT.

It runs as in production: the login is an ordinary role, a principal of its tenant, under row
security; the tool has the rights of the agent's database role; a budget counts what is used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from .sql_only import SqlOnly
from .standard_turn import MODEL, SYSTEM, TOOL_DESCRIPTION

AGENT = "bench"
LOGIN = "bench_app"
# A statement each, as an operator would type them.
SETUP = (
    "create extension pgagentos cascade",
    """
    create function public.lookup_order(order_id integer) returns json language plpgsql stable
    as $$
    begin  -- PL/pgSQL keeps the plan, as the other contestants' prepared statements do
        return (select json_build_object(
                    'order_id', o.id, 'customer', o.customer, 'status', o.status,
                    'total', o.total::text, 'placed_at', o.placed_at::text)
                from public.orders o where o.id = order_id);
    end
    $$
    """,
    "grant select on public.orders to pgagentos_agent",
    f"comment on function public.lookup_order is '{TOOL_DESCRIPTION}'",
    "insert into aos_auth.tenant (name, display_name) values ('bench', 'The benchmark')",
    f"""
    do $$
    begin
        if to_regrole('{LOGIN}') is null then  -- roles outlive the databases of a run
            create role {LOGIN} login;
        end if;
    end
    $$
    """,
    f"""
    insert into aos_auth.principal (tenant_id, db_role)
    select tenant_id, '{LOGIN}' from aos_auth.tenant where name = 'bench'
    """,
    f"select aos_auth.grant_access('{LOGIN}', 'user')",
    """
    insert into aos_agent.budget (tenant_id, period, max_tokens)
    select tenant_id, 'day', 1000000000 from aos_auth.tenant where name = 'bench'
    """,
    """
    insert into aos_meta.provider (provider, driver, base_url)
    values ('bench', 'openai_chat', %(base_url)s)
    """,
    """
    insert into aos_meta.llm_model_registry (model_name, provider, context_window)
    values (%(model)s, 'bench', 1000000)
    """,
    """
    insert into aos_persona.persona (tenant_id, name, system_prompt, model_id, params)
    select t.tenant_id, 'bench', %(system)s, m.model_id, %(params)s
    from aos_auth.tenant t, aos_meta.llm_model_registry m
    where t.name = 'bench' and m.model_name = %(model)s
    """,
    """
    insert into aos_agent.agent (tenant_id, name, persona_id)
    select p.tenant_id, %(agent)s, p.persona_id from aos_persona.persona p where p.name = 'bench'
    """,
    "select aos_skills.register_function('public.lookup_order(integer)'::regprocedure)",
    "select aos_agent.grant_skill(%(agent)s, 'lookup_order')",
)
OPEN = """
insert into aos_agent.conversation (agent_id, tenant_id)
select a.agent_id, a.tenant_id from aos_agent.agent a, generate_series(1, %(count)s)
where a.name = %(agent)s
returning conversation_id::text
"""
# Copies of a conversation's turns: number g is a copy of the turn before it in the cycle of those
# that are there.
SOURCE = """
create temporary table source on commit drop as
select gen.g, r.run_id as old_run_id, aos_core.new_id() as run_id, r.many + gen.g as turn_no,
       r.event_no, r.event_hash
from generate_series(1, %(turns)s) gen (g)
join (select run_id, turn_no, count(*) over () as many, max(event_no) over () as event_no,
             first_value(event_hash) over (order by turn_no desc) as event_hash
      from aos_core.run where conversation_id = %(thread)s) r
  on r.turn_no = (gen.g - 1) %% r.many + 1
"""
COPY = """
insert into {table} ({columns})
select {values} from {table} t join source s on t.run_id = s.old_run_id
order by s.g, t.{order}
"""
# Table, order of its rows in a turn, and which of their columns become something else.
COPIES = (
    (
        "aos_core.run",
        "turn_no",
        {
            "run_id": "s.run_id",
            "turn_no": "s.turn_no",
            # all of them end the chain of events where the last turn that ran did
            "event_no": "s.event_no",
            "event_hash": "s.event_hash",
        },
    ),
    ("aos_agent.message", "message_no", {"message_id": "aos_core.new_id()", "run_id": "s.run_id"}),
    ("aos_core.step", "step_no", {"step_id": "aos_core.new_id()", "run_id": "s.run_id"}),
)
COLUMNS = """
select attname from pg_attribute
where attrelid = %s::regclass and attnum > 0 and not attisdropped
  and attidentity = '' and attgenerated = '' order by attnum
"""


class PgAgentOS(SqlOnly):
    """Options: history_turns, how many earlier turns the model is shown (null: all)."""

    turn_sql = f"select aos_agent.ask('{AGENT}', %(text)s, %(thread)s)"

    def connect_for_turns(self) -> psycopg.Connection[Any]:
        """A connection of the application's login."""
        return psycopg.connect(make_conninfo(self.endpoints.dsn, user=LOGIN), autocommit=True)

    def setup(self) -> None:
        values = {
            "base_url": self.endpoints.base_url,
            "model": MODEL,
            "system": SYSTEM,
            "agent": AGENT,
            "params": json.dumps(self.options),
        }
        with self.connect() as connection:
            for statement in SETUP:
                # Without parameters the server sees the text as it is, with its percent signs.
                connection.execute(statement, values if "%(" in statement else None)

    def prepare(self, threads: Sequence[str]) -> list[str]:
        with self.connect_for_turns() as connection:
            rows = connection.execute(OPEN, {"agent": AGENT, "count": len(threads)}).fetchall()
        return [row[0] for row in rows]

    def seed(self, thread: str, turns: int) -> None:
        values: dict[str, Any] = {"thread": thread, "turns": turns}
        with self.connect() as connection, connection.transaction():
            connection.execute(SOURCE, values)
            for table, order, changed in COPIES:
                names = [row[0] for row in connection.execute(COLUMNS, (table,))]
                connection.execute(
                    sql.SQL(COPY).format(
                        table=sql.SQL(table),
                        order=sql.Identifier(order),
                        columns=sql.SQL(", ").join(map(sql.Identifier, names)),
                        values=sql.SQL(", ").join(
                            sql.SQL(changed[name]) if name in changed else sql.Identifier("t", name)
                            for name in names
                        ),
                    ),
                    values,
                )
