"""A tenant with one agent whose provider plays a script: what most tests of turns begin with."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from servers.play_server import Answer, Play

_numbers = itertools.count(1)

Row = dict[str, Any]


@dataclass
class Scene:
    """An agent on a stage of its own.

    Args:
        connection: the session that the test drives.
        play: the script of its provider.
        name: of the tenant, the provider, the model, the persona and the agent.
        warnings: what the session was warned of: primary message and hint.
    """

    connection: psycopg.Connection
    play: Play
    name: str
    tenant_id: str
    warnings: list[tuple[str, str | None]] = field(default_factory=list)

    def says(self, *answers: Answer) -> None:
        """Add answers to the provider's script."""
        self.play.add(*answers)

    def ask(self, content: str = "hello", conversation_id: Any = None) -> str | None:
        """Ask the agent with ``aos_agent.ask``."""
        answer: str | None = self.value(
            "select aos_agent.ask(%s, %s, %s)", self.name, content, conversation_id
        )
        return answer

    def run_turn(self, turn_id: Any) -> Row:
        """Call ``aos_agent.run_turn``."""
        state: Row = self.value("select aos_agent.run_turn(%s)", turn_id)
        return state

    def start(self, content: str = "hello") -> Any:
        """Open a conversation, add a message, start a turn; returns turn_id."""
        conversation_id = self.value("select aos_agent.open_conversation(%s)", self.name)
        self.value("select aos_agent.add_user_message(%s, %s)", conversation_id, content)
        return self.value("select aos_agent.start_turn(%s)", conversation_id)

    def skill(self, definition: str, approval: str = "auto") -> None:
        """Create a function from ``name(arguments) returns ...`` and give it to the agent.

        In the database its name ends with the scene's; the model knows it by *name*.
        """
        name, rest = definition.split("(", 1)
        own = f"{name}_{self.name}"
        self.connection.execute(f"create function public.{own}({rest}")
        self.connection.execute(
            f"alter function public.{own} set search_path = pg_catalog, pg_temp"
        )
        self.value(
            "select aos_skills.register_function(p.oid::regprocedure, %s, 'Does what is wanted.',"
            " %s, %s) from pg_proc as p where p.proname = %s",
            name,
            approval,
            self.tenant_id,
            own,
        )
        self.value("select aos_agent.grant_skill(%s, %s)", self.name, name)

    def let_tools_ask(self) -> None:
        """Let the tools of agents ask agents of their tenant."""
        self.connection.execute("grant usage on schema aos_agent to pgagentos_agent")
        self.connection.execute(
            "grant execute on function aos_agent.ask(text, text, uuid) to pgagentos_agent"
        )

    def set_options(self, **options: Any) -> None:
        """Set the provider's options."""
        self.connection.execute(
            "update aos_meta.provider set options = %s where provider = %s",
            (Jsonb(options), self.name),
        )

    def set_params(self, **params: Any) -> None:
        """Set the persona's params."""
        self.connection.execute(
            "update aos_persona.persona set params = %s where tenant_id = %s",
            (Jsonb(params), self.tenant_id),
        )

    def set_agent(self, column: str, value: Any) -> None:
        """Set one column of the agent."""
        self.connection.execute(
            f"update aos_agent.agent set {column} = %s where tenant_id = %s",
            (value, self.tenant_id),
        )

    def add_fallback(self, base_url: str) -> str:
        """Give the persona a fallback model at another provider; returns the model's name."""
        name = f"{self.name}_fallback"
        add_model(self.connection, name, base_url)
        self.connection.execute(
            "update aos_persona.persona set fallback_model_id = (select model_id from"
            " aos_meta.llm_model_registry where model_name = %s) where tenant_id = %s",
            (name, self.tenant_id),
        )
        return name

    def value(self, query: str, *params: Any) -> Any:
        """Return the first column of the first row."""
        row = self.connection.execute(query, params or None).fetchone()
        assert row is not None
        return row[0]

    def rows(self, query: str, *params: Any) -> list[Row]:
        """Return the rows by column name."""
        return rows(self.connection, query, *params)

    def run(self) -> Row:
        """The latest turn of this scene."""
        return self.rows(
            "select * from aos_core.run where tenant_id = %s"
            " order by started_at desc, run_id desc limit 1",
            self.tenant_id,
        )[0]

    def steps(self, run_id: Any = None) -> list[Row]:
        """The steps of a turn, by default of the latest."""
        return self.rows(
            "select * from aos_core.step where run_id = %s order by step_no",
            run_id or self.run()["run_id"],
        )

    def shape(self) -> list[str]:
        """Kind and status of the latest turn's steps, in short."""
        return [f"{step['kind']} {step['status']}" for step in self.steps()]

    def events(self) -> list[str]:
        """The event types of this scene's turns in order."""
        return [
            row["event_type"]
            for row in self.rows(
                "select event_type from aos_core.event_log where tenant_id = %s"
                " and chain_id <> tenant_id order by created_at",
                self.tenant_id,
            )
        ]

    def tool_results(self, request: int = -1) -> list[str]:
        """The results that a request showed to the model."""
        messages = self.play.bodies()[request]["messages"]
        return [m["content"] for m in messages if m["role"] == "tool"]

    def everything(self) -> str:
        """All rows of this scene that a turn can write, as one text."""
        tables = ("aos_core.run", "aos_core.step", "aos_core.event_log", "aos_agent.message")
        return json.dumps(
            [
                self.rows(
                    f"select to_json(t) as r from {t} as t where tenant_id = %s", self.tenant_id
                )
                for t in tables
            ]
        )


def rows(connection: psycopg.Connection, query: str, *params: Any) -> list[Row]:
    """Return the rows by column name."""
    cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
    return cursor.execute(query, params or None).fetchall()


def add_model(
    connection: psycopg.Connection,
    name: str,
    base_url: str,
    driver: str = "openai_chat",
    api_key_env: str | None = None,
    wire_name: str | None = None,
) -> None:
    """Add a provider with one model, both of that name; a million tokens cost 2 and 8 dollars."""
    connection.execute(
        "insert into aos_meta.provider (provider, driver, base_url, api_key_env, options)"
        """ values (%s, %s, %s, %s, '{"timeout_seconds": 30}')""",
        (name, driver, base_url, api_key_env),
    )
    connection.execute(
        "insert into aos_meta.llm_model_registry (model_name, wire_name, provider, context_window,"
        " input_price, cached_input_price, output_price) values (%s, %s, %s, 100000, 2, 1, 8)",
        (name, wire_name, name),
    )


def make_scene(
    connection: psycopg.Connection,
    play: Play,
    driver: str = "openai_chat",
    base_url: str | None = None,
    api_key_env: str | None = None,
    wire_name: str | None = None,
) -> Scene:
    """Make a tenant, a provider, a model, a persona and an agent, all of one name.

    Args:
        base_url: of the provider, by default the play's.
    """
    name = f"scene_{next(_numbers)}"
    add_model(connection, name, base_url or play.url, driver, api_key_env, wire_name)
    row = connection.execute(
        "with t as (insert into aos_auth.tenant (name) values (%(n)s) returning tenant_id),"
        " p as (insert into aos_persona.persona (tenant_id, name, system_prompt, model_id)"
        "   select t.tenant_id, %(n)s, 'You are on a stage.', m.model_id"
        "     from t, aos_meta.llm_model_registry as m where m.model_name = %(n)s"
        "   returning persona_id, tenant_id)"
        " insert into aos_agent.agent (tenant_id, name, persona_id)"
        " select p.tenant_id, %(n)s, p.persona_id from p returning tenant_id::text",
        {"n": name},
    ).fetchone()
    assert row is not None
    scene = Scene(connection, play, name, row[0])
    connection.add_notice_handler(
        lambda notice: (
            scene.warnings.append((notice.message_primary or "", notice.message_hint))
            if notice.severity_nonlocalized == "WARNING"
            else None
        )
    )
    return scene
