"""The server of a chaos run, and what is in its database before the first turn."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from chaos.plans import FUNCTIONS, TENANTS, Plan
from cluster import CHECKOUT, Database

#: The login that may claim the turns of all tenants.
OPERATOR = "chaos_operator"
#: A turn is claimed, and its claim lost, more often here than anywhere else.
MAX_ATTEMPTS = 20

_FUNCTION = (
    "create function public.chaos_{tool}(turn integer, call text) returns text language plpgsql"
    " set search_path = pg_catalog, pg_temp as $$begin"
    " insert into public.ledger (turn, call, tool) values (turn, call, '{tool}');"
    " {rest} return 'written'; end$$"
)
_PARAMETERS = (
    '{"type": "object", "required": ["turn", "call"], "additionalProperties": false,'
    ' "properties": {"turn": {"type": "integer"}, "call": {"type": "string"}}}'
)
_METHODS = {"fetch": "GET", "put": "PUT", "charge": "POST"}


def user(tenant: int) -> str:
    """The login of a tenant: it talks with the agents, works, and decides about tool calls."""
    return f"chaos_user_{tenant}"


def agent(plan: Plan) -> str:
    """The agent that a turn is of."""
    return f"{'outside' if plan.driver == 'outside' else 'inside'}_{plan.tenant}"


def build(database: Database, world_url: str) -> None:
    """Make tenants, agents, their tools, the ledger and the logins.

    Args:
        world_url: where :mod:`chaos.world` listens.
    """
    with database.connect() as admin:
        run = admin.execute
        run("create table public.ledger (turn integer, call text, tool text)")
        run("grant insert on public.ledger to pgagentos_agent")
        for tool in sorted(FUNCTIONS):
            rest = "perform pg_catalog.pg_sleep(0.08);" if tool == "nap" else ""
            run(_FUNCTION.format(tool=tool, rest=rest))
        run(
            "insert into aos_meta.provider (provider, driver, base_url)"
            " values ('chaos', 'openai_chat', %s)",
            (f"{world_url}/v1",),
        )
        run(
            "insert into aos_meta.llm_model_registry (model_name, provider, context_window)"
            " values ('chaos', 'chaos', 100000)"
        )
        run(
            "insert into aos_meta.setting (name, value) values ('queue_max_attempts', %s)"
            " on conflict (name) do update set value = excluded.value",
            (str(MAX_ATTEMPTS),),
        )
        run(f"create role {OPERATOR} login")
        run("select aos_auth.grant_access(%s, 'operator')", (OPERATOR,))
        for tenant in range(TENANTS):
            _build_tenant(admin, tenant, world_url)


def _build_tenant(admin: psycopg.Connection, tenant: int, world_url: str) -> None:
    row = admin.execute(
        "insert into aos_auth.tenant (name) values (%s) returning tenant_id::text",
        (f"chaos_{tenant}",),
    ).fetchone()
    assert row is not None
    tenant_id = row[0]
    admin.execute(f"create role {user(tenant)} login")
    admin.execute(
        "insert into aos_auth.principal (tenant_id, db_role) values (%s, %s)",
        (tenant_id, user(tenant)),
    )
    for access in ("user", "worker", "approver"):
        admin.execute("select aos_auth.grant_access(%s, %s)", (user(tenant), access))
    for runner, name in (("database", f"inside_{tenant}"), ("external", f"outside_{tenant}")):
        admin.execute(
            "with p as (insert into aos_persona.persona (tenant_id, name, system_prompt, model_id)"
            "  select %(t)s::uuid, %(n)s, 'Do as you are told.', model_id"
            "    from aos_meta.llm_model_registry where model_name = 'chaos'"
            "  returning persona_id)"
            " insert into aos_agent.agent (tenant_id, name, persona_id, runner)"
            " select %(t)s::uuid, %(n)s, persona_id, %(r)s from p",
            {"t": tenant_id, "n": name, "r": runner},
        )
    address = urlsplit(world_url)
    for tool in sorted(FUNCTIONS):
        admin.execute(
            "select aos_skills.register_function(%s::regprocedure, %s, 'Writes a row.', %s, %s)",
            (
                f"public.chaos_{tool}(integer, text)",
                tool,
                "ask" if tool == "sign" else "auto",
                tenant_id,
            ),
        )
    for tool, method in _METHODS.items():
        admin.execute(
            "select aos_skills.register_http_skill(%s, 'Calls a service.', %s, %s, %s,"
            " tenant_id => %s)",
            (tool, _PARAMETERS, method, f"{world_url}/service/{tool}", tenant_id),
        )
        admin.execute(
            "select aos_skills.allow_host('127.0.0.1', %s, %s, %s, 'http', true)",
            (tenant_id, tool, address.port),
        )
    admin.execute(
        "insert into aos_skills.skill (tenant_id, name, description, implementation, parameters)"
        " values (%s, 'errand', 'Calls a service.', 'external', %s)",
        (tenant_id, _PARAMETERS),
    )
    admin.execute("select aos_agent.grant_skill(%s, 'errand')", (f"outside_{tenant}",))
    for tool in (*sorted(FUNCTIONS), *_METHODS):
        for name in (f"inside_{tenant}", f"outside_{tenant}"):
            admin.execute("select aos_agent.grant_skill(%s, %s)", (name, tool))


@dataclass(frozen=True)
class Server:
    """The server under test, which is killed and comes back.

    Args:
        database: where the turns are.
        settings: lines of its configuration, given again at each start.
    """

    database: Database
    settings: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The directory that :file:`scripts/cluster` knows it by."""
        assert self.database.cluster.home is not None
        return self.database.cluster.home

    def connect(self, login: str = "postgres", patience: float = 60.0) -> psycopg.Connection:
        """Open an autocommit connection, as soon as the server lets somebody in.

        Args:
            patience: seconds after which it is given up.
        """
        late = time.monotonic() + patience
        while True:
            try:
                return self.database.connect(user=login)
            except psycopg.OperationalError:
                if time.monotonic() > late:
                    raise
                time.sleep(0.1)

    def crash(self) -> None:
        """Stop the server as a power cut does, and start it again."""
        pid_file = self.home / "data/postmaster.pid"
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)  # immediate shutdown
        late = time.monotonic() + 60
        while pid_file.exists():
            if time.monotonic() > late:
                raise RuntimeError("the server does not stop")
            time.sleep(0.02)
        lines = [f"{name}={value}" for name, value in self.settings.items()]
        subprocess.run(
            [CHECKOUT / "scripts/cluster", "start", self.home, *lines],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def backends(self, *logins: str) -> list[int]:
        """The backends of these logins, by process id."""
        with contextlib.closing(self.connect()) as admin:
            rows: list[tuple[Any, ...]] = admin.execute(
                "select pid from pg_stat_activity where usename = any (%s)"
                " and backend_type = 'client backend'",
                (list(logins),),
            ).fetchall()
        return [pid for (pid,) in rows]
