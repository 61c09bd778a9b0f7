"""The safe ways in leave no trace of a secret, on a server that logs all it can."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from house import House
from kernel.replies import fails, says
from kernel.scene import Scene
from servers.play_server import Answer
from stored_secrets.conftest import ENVIRONMENT_KEY, Traces

_numbers = itertools.count(1)

Login = Callable[..., House]


@pytest.fixture
def secret() -> str:
    """A secret that no other test has put in."""
    return f"Zauberwort+{next(_numbers):02d}/0123456789=abcdef"


def copy_in(house: House, *rows: tuple[Any, ...], columns: str = "name, value") -> None:
    """COPY ... FROM STDIN."""
    with house.connection.cursor().copy(
        f"copy aos_meta.secret_input ({columns}) from stdin"
    ) as copy:
        for row in rows:
            copy.write_row(row)


def bind(house: House, name: str, value: str) -> None:
    """A bound parameter: psycopg sends the statement and its parameters apart."""
    house.rows("select aos_meta.set_secret(%s, %s)", name, value)


def uses(scene: Scene, secret: str) -> str:
    """Let the agent call its provider, which repeats the key in every way; return what is left."""
    scene.says(says(f"The key is {secret}."))
    assert scene.ask() == "The key is [secret]."
    for answer in (
        fails(401, f"Incorrect API key provided: {secret}."),
        Answer(f"<html>Authorization: Bearer {secret}</html>", status=403),
        Answer({"error": {"message": secret, "type": secret, "code": secret}}, is_last=True),
    ):
        scene.says(answer)
        assert scene.ask() is None
    sent = {request.headers["authorization"] for request in scene.play.requests()}
    assert sent == {f"Bearer {secret}"}
    check = scene.rows("select * from aos_core.check_installation()")
    return f"{scene.everything()} {scene.warnings} {check}"


@pytest.mark.parametrize(
    ("put_in", "is_discreet"), [(bind, True), (copy_in, False)], ids=["parameter", "copy"]
)
def test_a_safe_way_in_leaves_no_trace_and_the_provider_gets_the_secret(
    put_in: Callable[..., None],
    is_discreet: bool,
    scene: Scene,
    login: Login,
    traces: Traces,
    secret: str,
) -> None:
    manager = login("secret_manager", tenant_id=scene.tenant_id, is_discreet=is_discreet)
    if put_in is bind:
        bind(manager, "model_key", secret)
    else:
        copy_in(manager, ("model_key", secret))
    assert traces.of(secret) == set()
    assert secret not in uses(scene, secret)
    assert traces.of(secret) == set()


def test_a_key_in_the_environment_leaves_no_trace(scene: Scene, traces: Traces) -> None:
    scene.connection.execute(
        "update aos_meta.provider set secret_name = null, api_key_env = 'OPENAI_API_KEY'"
        " where provider = %s",
        (scene.name,),
    )
    assert ENVIRONMENT_KEY not in uses(scene, ENVIRONMENT_KEY)
    assert traces.of(ENVIRONMENT_KEY) == set()


def test_a_literal_is_logged_and_seen_by_other_sessions(
    operator: House, traces: Traces, secret: str
) -> None:
    """What the docs warn of; and the search finds what is there to be found."""
    operator.connection.execute(f"select aos_meta.set_secret('literal', '{secret}')")
    places = traces.of(secret)
    assert {"log", "pg_stat_activity"} <= places


@pytest.mark.parametrize(
    ("left_on", "value"),
    [
        ("log_parameter_max_length", "-1"),
        ("debug_print_plan", "on"),
        ("auto_explain.log_verbose", "on"),
    ],
)
def test_each_setting_that_the_docs_turn_off_would_log_a_parameter(
    operator: House, login: Login, traces: Traces, secret: str, left_on: str, value: str
) -> None:
    tenant = operator.tenant()
    manager = login("secret_manager", tenant_id=tenant, is_discreet=True)
    role = manager.one("select session_user")
    operator.rows(f"alter role {role} set {left_on} = '{value}'")
    with traces.database.connect(user=role) as connection:
        bind(House(connection), "logged", secret)
    assert traces.of(secret) == {"log"}


@pytest.mark.parametrize(
    ("row", "sqlstate", "message"),
    [
        (("with space", "{}", None, None), "OS001", "the name of a secret"),
        (("late", "{}\n", None, None), "OS001", "begins or ends with white space"),
        (("late", "{}", None, ["https://a.example"]), "OS001", "not the name of a host"),
        (("late", "{}", "00000000-0000-0000-0000-0000000000ff", None), "OS002", "no tenant"),
    ],
    ids=["name", "value", "host", "tenant"],
)
def test_a_row_of_copy_that_is_refused_is_quoted_nowhere_and_takes_the_others_along(
    operator: House,
    traces: Traces,
    secret: str,
    row: tuple[str, str, str | None, list[str] | None],
    sqlstate: str,
    message: str,
) -> None:
    bad = (row[0], row[1].format(secret), *row[2:])
    columns = "name, value, tenant_id, hosts"
    with pytest.raises(psycopg.Error, match=message) as caught:
        copy_in(operator, ("good", secret, None, None), bad, columns=columns)
    assert caught.value.sqlstate == sqlstate
    told = caught.value.diag
    assert told.message_hint
    assert secret not in f"{caught.value} {told.context} {told.message_detail}"
    assert operator.rows("select name from aos_meta.secret") == []
    assert traces.of(secret) == set()


def test_an_insert_with_parameters_works_like_copy(operator: House) -> None:
    operator.rows(
        "insert into aos_meta.secret_input (name, value, hosts)"
        " values (%s, %s, %s), (%s, %s, null)",
        *("a", "first", ["API.example.com", "*.example.org"], "b", "second"),
    )
    assert operator.rows("select name, hosts from aos_meta.secret order by name") == [
        ("a", ["*.example.org", "api.example.com"]),
        ("b", None),
    ]
    assert operator.one("select aos_meta._secret('b', null)") == "second"
    assert operator.rows("select * from aos_meta.secret_input") == []


def test_what_a_failed_copy_has_left_is_not_stored_by_the_next(operator: House) -> None:
    statement = "copy aos_meta.secret_input (name, value) from stdin"
    with (
        pytest.raises(psycopg.Error, match="missing data for column"),
        operator.connection.cursor().copy(statement) as copy,
    ):
        copy.write("left\tbehind\nbroken\n")
    copy_in(operator, ("next", "value"))
    assert operator.rows("select name from aos_meta.secret") == [("next",)]


def test_secrets_that_a_statement_puts_in_by_two_ways_are_refused(operator: House) -> None:
    operator.rows(
        "create function public.another() returns text language sql as $$"
        " insert into aos_meta.secret_input (name, value) values ('inner', 'value');"
        " select 'outer' $$"
    )
    with operator.refused("OS003", "by another way"):
        operator.rows(
            "insert into aos_meta.secret_input (name, value) select public.another(), 'value'"
        )
    assert operator.rows("select name from aos_meta.secret") == []


@pytest.mark.parametrize("value", ["", " padded", "end of line\n", "x" * 65537])
def test_what_is_no_secret_is_refused(operator: House, value: str) -> None:
    with operator.refused("OS001", "the secret"):
        bind(operator, "bad", value)


def test_a_secret_of_every_character_comes_back_as_it_was(operator: House) -> None:
    value = "".join(chr(n) for n in range(1, 0x250)).strip() + "비밀🔑\\.\\N"
    bind(operator, "any", value)
    copy_in(operator, ("copied", value))
    assert operator.rows(
        "select aos_meta._secret('any', null), aos_meta._secret('copied', null)"
    ) == [(value, value)]
