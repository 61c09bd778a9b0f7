"""The page about secrets, on a server with a master key, and what it says of PostgreSQL itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest

from cluster import CHECKOUT, Database, pg_config
from docs.session import Reader, play
from house import House
from stored_secrets.conftest import Traces

PAGE = CHECKOUT / "docs/secrets.md"
PSQL = f"{pg_config('--bindir')}/psql"


def test_the_sql_of_the_page_prints_what_it_shows(
    vault: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text("utf-8")
    reason = "<!-- not run: this server has no master key -->\n"
    assert reason in text
    # this server has one; and $1 stands for the program's parameter
    page = tmp_path / "secrets.md"
    page.write_text(text.replace(reason, "").replace("$1", "'sk-value'"), "utf-8")
    monkeypatch.setattr("docs.session.name", str)
    reader, shown = Reader(), 0
    for step, unseen, printed in play(page, vault, ""):
        assert "ERROR" not in unseen + printed
        if step.shown is not None:
            assert reader.compare(step.shown, printed) is None
            shown += 1
    assert shown == 1
    with vault.connect() as connection:
        rows = connection.execute(
            "select name, hosts from aos_meta.secret order by name"
        ).fetchall()
    assert rows == [
        ("billing_token", ["*.billing.example.net", "billing.example.com"]),
        ("openai_api_key", None),
    ]


def test_the_command_of_the_page_stores_what_it_reads(
    vault: Database, operator: House, traces: Traces
) -> None:
    secret = "sk-typed/0123456789+abc="
    [command] = [
        block.partition("```")[0]
        for block in PAGE.read_text("utf-8").split("```sh\n")
        if block.startswith("read -rs KEY")
    ]
    done = subprocess.run(
        ["bash", "-c", command.replace("psql -X -d mydb", f"{PSQL} -X -d '{vault.conninfo()}'")],
        input=f"{secret}\n",
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("COPY 1\n", "")
    assert operator.one("select aos_meta._secret('openai_api_key', null)") == secret
    assert traces.of(secret) == set()


def test_a_line_of_copy_that_is_none_is_quoted_by_the_server(
    operator: House, traces: Traces
) -> None:
    """The page warns of it: no code of ours runs by then."""
    secret = "sk-broken-line-0123456789"
    statement = "copy aos_meta.secret_input (name, value) from stdin"
    with (
        pytest.raises(psycopg.Error, match="extra data") as caught,
        operator.connection.cursor().copy(statement) as copy,
    ):
        copy.write(f"name\t{secret}\tmore\n")
    assert secret in str(caught.value.diag.context)
    assert traces.of(secret) == {"log"}
