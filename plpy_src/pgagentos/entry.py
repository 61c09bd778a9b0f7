"""The border to SQL: what SQL may call, and the only place where errors become SQLSTATEs.

A PL/Python function calls :func:`call` with its own ``plpy`` and the name of an entry point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .agent.session import Session, load_drivers
from .database import DatabaseError
from .errors import AgentOSError
from .gateways.plpy import BackendInterrupts, PlpyDatabase
from .net.wait import Interrupted


class _Backend(NamedTuple):
    """What this backend keeps from call to call."""

    session: Session
    interrupts: BackendInterrupts


_backend: _Backend | None = None


def _run_turn(session: Session, turn_id: str, nowait: bool) -> str:
    load_drivers()
    from .agent import driver

    with session.database.unrestricted():  # a tool may run a turn
        return driver.run_turn(session, turn_id, nowait)


def _ask(session: Session, agent_name: str, content: str, conversation: str | None) -> str | None:
    load_drivers()
    from .agent import driver

    with session.database.unrestricted():
        return driver.ask(session, agent_name, content, conversation)


def _run_turn_stepwise(
    session: Session, turn_id: str, nowait: bool, ticket: str | None, state: str | None
) -> list[str]:
    load_drivers()
    from .agent import procedures

    return [procedures.run_turn_stepwise(session, turn_id, nowait, ticket)]


def _work(session: Session, max_seconds: int, concurrency: int, turns: int | None) -> list[int]:
    load_drivers()
    from .agent import procedures

    return [procedures.work(session, max_seconds, concurrency)]


def _turns_of_backends(session: Session) -> list[tuple[Any, ...]]:
    from .live_turns import read

    return [tuple(turn) for turn in read()]


def _run_skill(
    session: Session, run_id: str, tool_name: str, arguments: str, key: str
) -> tuple[str, str]:
    load_drivers()
    from .agent import driver

    return driver.run_skill(session, run_id, tool_name, arguments, key)


def _over_budget(session: Session, run_id: str) -> str | None:
    load_drivers()
    from .agent import driver

    return driver.over_budget(session, run_id)


#: what row security is told where an operator acts: all tenants
ALL_TENANTS = "00000000-0000-0000-0000-000000000000"


def _visible_tenant(session: Session) -> str | None:
    identity = session.identities.current()
    return ALL_TENANTS if identity.is_operator else identity.tenant_id


def _tenant_id(session: Session) -> str | None:
    return session.identities.current().tenant_id


def _principal_id(session: Session) -> str | None:
    return session.identities.current().principal_id


def _identity_source(session: Session) -> str:
    return session.identities.current().source


def _begin(session: Session, ticket: str | None) -> str:
    from .ticket_desk import begin

    return begin(session.database, session.identities, ticket)


def _sign_ticket(session: Session, tenant_id: str, principal_id: str, seconds: int) -> str:
    from .ticket_desk import issue

    return issue(session.database, tenant_id, principal_id, seconds)


def _has_api_key(session: Session, provider: str, tenant_id: str | None) -> bool:
    from .store.registry import has_api_key

    return has_api_key(session.database, provider, tenant_id)


def _master_key(session: Session, key_id: str | None) -> tuple[str, str]:
    from .secrets.master_key import find

    return find(key_id)


def _open_secret_input(session: Session, statement: str) -> None:
    from .secrets.master_key import find
    from .secrets.secret_input import of_session

    find(None)  # raises: better before the first row than after the last
    of_session().begin(statement)


def _keep_secret_input(session: Session, trigger: Mapping[str, Any]) -> None:
    from .secrets.secret_input import of_session

    of_session().keep(trigger["new"])


def _take_secret_input(session: Session) -> list[dict[str, Any]]:
    from .secrets.secret_input import of_session

    return of_session().take()


def _sql_query(session: Session, agent_name: str, query: str) -> str:
    from .skills import sql_query
    from .store.identities import require
    from .store.sandbox import find_agent

    require(session.database, "developer")
    agent_id, tenant_id = find_agent(session.database, agent_name)
    identities = session.identities
    with identities.acting(tenant_id, identities.current().principal_id):
        return sql_query.run(session.database, query, agent_id, tenant_id)[1]


def _embed(session: Session, content: str, input_type: str) -> str:
    from .embedding import embed
    from .store.identities import require

    require(session.database, "developer")  # it costs money
    return embed(session.database, session.carrier, content, input_type)


def _argument_error(session: Session, schema: str, arguments: str) -> str | None:
    from .skills.arguments import argument_error

    return argument_error(schema, arguments)


def _next_run(session: Session, expression: str, time_zone: str, after: float) -> float:
    from .schedule import next_run

    return next_run(expression, time_zone, after)


def _fire_schedules(session: Session, most: int) -> int:
    from .schedule import fire

    return fire(session.database, session.identities, most)


def _check_installation(session: Session) -> list[tuple[str, str, str, str | None]]:
    from .installation import check

    return check(session.database)


#: Name in SQL -> function. A contract test compares the names with the bodies of the functions.
ENTRY_POINTS: dict[str, Callable[..., Any]] = {
    "agent.run_turn": _run_turn,
    "agent.ask": _ask,
    "agent.run_turn_stepwise": _run_turn_stepwise,
    "agent.work": _work,
    "agent.turns_of_backends": _turns_of_backends,
    "agent.sql_query": _sql_query,
    "agent.run_skill": _run_skill,
    "agent.over_budget": _over_budget,
    "agent.next_run": _next_run,
    "agent.fire_schedules": _fire_schedules,
    "auth.visible_tenant": _visible_tenant,
    "auth.tenant_id": _tenant_id,
    "auth.principal_id": _principal_id,
    "auth.identity_source": _identity_source,
    "auth.begin": _begin,
    "auth.sign_ticket": _sign_ticket,
    "meta.has_api_key": _has_api_key,
    "meta.embed": _embed,
    "meta.master_key": _master_key,
    "meta.open_secret_input": _open_secret_input,
    "meta.keep_secret_input": _keep_secret_input,
    "meta.take_secret_input": _take_secret_input,
    "skills.argument_error": _argument_error,
    "core.check_installation": _check_installation,
}


def call(plpy: Any, name: str, *arguments: Any) -> Any:
    """Run an entry point for a PL/Python function.

    Args:
        plpy: the module that PL/Python gives to a function's body.
        name: a key of :data:`ENTRY_POINTS`.
        arguments: as PL/Python passes them.

    Returns:
        what the entry point returns, for PL/Python to convert.

    Raises:
        plpy.Error: with the SQLSTATE of whatever went wrong; ``XX000`` when nobody foresaw it.
    """
    global _backend
    if _backend is None:
        database = PlpyDatabase(plpy)
        _backend = _Backend(Session(database), database.interrupts)
    try:
        return ENTRY_POINTS[name](_backend.session, *arguments)
    except AgentOSError as error:
        raise _to_sql(plpy, error.sqlstate, error.message, error.hint, error.detail) from None
    except DatabaseError as error:
        raise _as_it_was(plpy, error) from None
    except Interrupted as interrupted:
        original = getattr(interrupted, "original", None)
        if original is None:
            # All frames of libraries are left: now the server may act on its flag.
            try:
                _backend.interrupts.act()
            except Interrupted as acted:
                original = getattr(acted, "original", None)
        if original is not None:
            raise original from None
        raise _to_sql(plpy, "57014", "canceling statement due to user request") from None
    except (plpy.Error, plpy.SPIError, plpy.Fatal):
        raise  # the server's own, for example from leaving a savepoint
    except Exception as error:
        # Its text may quote a body or a key, so only its class and its place go out.
        raise _to_sql(
            plpy,
            "XX000",
            f"internal error in {name}: {type(error).__name__}",
            "If pgagentos was installed anew while this session was open, reconnect. Otherwise this"
            " is a defect of pgAgentOS.",
            _place_of(error),
        ) from None


def _as_it_was(plpy: Any, error: DatabaseError) -> BaseException:
    """The server's own error; one of ours loses the name of PL/Python's exception class."""
    if error.sqlstate[:2] == "OS":
        spidata = getattr(error.original, "spidata", None) or (None,) * 4
        return _to_sql(plpy, error.sqlstate, error.message, spidata[2], spidata[1])
    return error.original


def _place_of(error: BaseException) -> str:
    """Files, lines and functions that led to the error; PL/Python itself names no files."""
    places = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        file = code.co_filename.rpartition("/")[2]
        places.append(f"{file}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return ", ".join(places)


def _to_sql(
    plpy: Any, sqlstate: str, message: str, hint: str | None = None, detail: str | None = None
) -> BaseException:
    # PL/Python begins the text with the class of the exception: one that is called pgagentos, in
    # the module __main__ whose name it leaves out, reads well.
    kind = type("pgagentos", (plpy.Error,), {"__module__": "__main__"})
    exception: BaseException = kind(message)
    for name, value in (("sqlstate", sqlstate), ("hint", hint), ("detail", detail)):
        if value is not None:
            setattr(exception, name, value)
    return exception
