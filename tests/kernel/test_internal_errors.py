"""What nobody foresaw ends a statement with a clear error that quotes nothing."""

from __future__ import annotations

import psycopg
import pytest

SECRET = "Zauberwort"

#: As a SQL function of another version might call the kernel.
CALLER = """create function pg_temp.call(name text, arguments text[]) returns text
    language plpython3u as $$ return GD['pgagentos'](plpy, name, *arguments) $$"""


def provoke(connection: psycopg.Connection, name: str, *arguments: str) -> psycopg.Error:
    connection.execute("select aos_core._load()")
    connection.execute(CALLER)
    with pytest.raises(psycopg.Error) as caught:
        connection.execute("select pg_temp.call(%s, %s)", (name, list(arguments)))
    connection.execute("drop function pg_temp.call")
    return caught.value


@pytest.mark.parametrize(
    ("name", "arguments", "cause"),
    [
        ("agent.ask", (SECRET,), "TypeError"),
        ("agent.unknown", (SECRET,), "KeyError"),
        ("auth.begin", (SECRET, SECRET), "TypeError"),
    ],
    ids=["signature", "name", "too many"],
)
def test_an_unforeseen_exception_names_its_class_and_its_place_and_quotes_nothing(
    connection: psycopg.Connection, name: str, arguments: tuple[str, ...], cause: str
) -> None:
    error = provoke(connection, name, *arguments)
    diag = error.diag
    assert error.sqlstate == "XX000"
    assert str(diag.message_primary).endswith(f"internal error in {name}: {cause}")
    assert str(diag.message_detail).startswith("entry.py:")
    assert "reconnect" in str(diag.message_hint)
    for part in (diag.message_primary, diag.message_detail, diag.message_hint, diag.context):
        assert SECRET not in str(part)


def test_the_session_goes_on_after_an_unforeseen_exception(connection: psycopg.Connection) -> None:
    provoke(connection, "agent.ask")
    row = connection.execute("select aos_meta.has_api_key('openai')").fetchone()
    assert row is not None
