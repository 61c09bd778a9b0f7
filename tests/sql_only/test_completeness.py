"""What was left out is missed nowhere: no function, view or policy speaks of it."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from cluster import CHECKOUT, Database
from house import House

_FINDINGS = """
    select distinct p.oid::regprocedure::text, f.message, f.level
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
    left join lateral (
        select distinct tgrelid, tgoldtable, tgnewtable
          from pg_trigger where tgfoid = p.oid and not tgisinternal
    ) t on true
    cross join lateral plpgsql_check_function_tb(
        p.oid, coalesce(t.tgrelid, 0), extra_warnings => true, performance_warnings => false,
        security_warnings => true, oldtable => t.tgoldtable, newtable => t.tgnewtable
    ) f
    where n.nspname like 'aos\\_%'
        and f.message not like 'unused parameter %'
    order by 1, 2
"""

#: what it finds and may find: (function, message) -> why
EXCEPTIONS = {
    (
        "aos_auth._set_access(name,text,boolean)",
        "text type variable is not sanitized",
    ): "the texts are those of aos_auth._access_privileges, a constant",
}


def test_plpgsql_check_misses_nothing(installed: Database) -> None:
    with installed.connect() as admin:
        admin.execute("create extension plpgsql_check")
        try:
            [checked] = admin.execute(
                "select count(*) from pg_proc p join pg_language l on l.oid = prolang"
                " where lanname = 'plpgsql' and pronamespace::regnamespace::text like 'aos\\_%'"
            ).fetchone() or (0,)
            findings = admin.execute(_FINDINGS).fetchall()
        finally:
            admin.execute("drop extension plpgsql_check")
    assert checked > 150
    # an error is a name that is not there; warnings about shared code are for tests/contract
    of_this_edition = "\n".join(
        path.read_text("utf-8") for path in (CHECKOUT / "sql/sql_only").glob("*.sql")
    )
    found = {
        (function, message)
        for function, message, level in findings
        if level == "error" or f"function {function.partition('(')[0]}(" in of_this_edition
    }
    assert found - set(EXCEPTIONS) == set()
    assert set(EXCEPTIONS) - found == set()  # a reason without a finding is out of date


def test_no_function_is_in_python_and_none_names_what_was_left_out(script: Path) -> None:
    text = re.sub(
        r"--[^\n]*|comment on .*?;\n", "", script.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    for gone in (
        "language plpython3u",
        "pg_extension_config_dump",
        "aos_meta.set_secret",
        "aos_auth.begin(",
        "pgagentos_parser'",
        "aos_sandbox._admit",
    ):
        assert gone not in text.replace(
            "'pgagentos_worker', 'pgagentos_user', 'pgagentos_parser'", ""
        ), gone


def test_every_object_has_a_comment(installed: Database) -> None:
    with installed.connect() as admin:
        bare = admin.execute(
            "select p.oid::regprocedure::text from pg_proc p where p.pronamespace::regnamespace::text"
            " like 'aos\\_%' and obj_description(p.oid, 'pg_proc') is null union"
            " select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text"
            " like 'aos\\_%' and c.relkind in ('r', 'p', 'v') and obj_description(c.oid, 'pg_class') is null"
        ).fetchall()
    assert bare == []


def test_every_definer_pins_its_search_path_or_was_bound_when_it_was_made(
    installed: Database,
) -> None:
    with installed.connect() as admin:
        loose = admin.execute(
            "select p.oid::regprocedure::text from pg_proc p where p.pronamespace::regnamespace::text"
            " like 'aos\\_%' and p.prosecdef and p.prosqlbody is null"
            " and not coalesce(p.proconfig::text like '%search\\_path=pg\\_catalog, pg\\_temp%', false)"
        ).fetchall()
    assert loose == []


def test_nothing_is_for_everybody(installed: Database) -> None:
    with installed.connect() as admin:
        public = admin.execute(
            "select p.oid::regprocedure::text from pg_proc p, aclexplode(coalesce(p.proacl,"
            " acldefault('f', p.proowner))) a where p.pronamespace::regnamespace::text like 'aos\\_%'"
            " and a.grantee = 0 union"
            " select c.oid::regclass::text from pg_class c, aclexplode(c.relacl) a"
            " where c.relnamespace::regnamespace::text like 'aos\\_%' and a.grantee = 0 union"
            " select n.nspname from pg_namespace n, aclexplode(n.nspacl) a where n.nspname like 'aos\\_%'"
            " and a.grantee = 0"
        ).fetchall()
    assert public == []


def test_a_replica_can_read_all_of_it(installed: Database) -> None:
    """A standby refuses to read unlogged tables, and row security looks into some of ours."""
    with installed.connect() as admin:
        [kinds] = admin.execute(
            "select array_agg(distinct relpersistence::text) from pg_class c"
            " where c.relnamespace::regnamespace::text like 'aos\\_%'"
        ).fetchone() or ([],)
    assert kinds == ["p"]


#: what row security itself asks, and what names no tenant's rows
WITHOUT_ROW_SECURITY = {"aos_auth.login", "aos_auth.acting"}


def test_row_security_holds_for_the_owner_too(installed: Database) -> None:
    tables = (
        "select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text"
        " like 'aos\\_%' and c.relkind in ('r', 'p') and exists (select from pg_attribute a where"
        " a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)"
    )
    with installed.connect() as admin:
        all_ = {row[0] for row in admin.execute(tables)}
        forced = {
            row[0]
            for row in admin.execute(f"{tables} and c.relrowsecurity and c.relforcerowsecurity")
        }
        given = admin.execute(
            "select c.oid::regclass::text from pg_class c, aclexplode(c.relacl) a where c.oid = any"
            " (%s::regclass[]) and a.grantee <> c.relowner",
            [list(WITHOUT_ROW_SECURITY)],
        ).fetchall()
    assert len(forced) > 25
    assert all_ - forced == WITHOUT_ROW_SECURITY
    assert given == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the build reads, to break."""
    for part in ("sql", "scripts", "pgagentos.control"):
        subprocess.run(["cp", "-r", CHECKOUT / part, tmp_path / part], check=True)
    return tmp_path


def refusal(checkout: Path) -> str:
    """Build in a copy; the build has to fail."""
    done = subprocess.run(
        [sys.executable, checkout / "scripts/build_sql_only.py", checkout / "out.sql"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert not (checkout / "out.sql").exists()
    return done.stderr


def append(checkout: Path, file: str, text: str) -> None:
    path = checkout / "sql" / file
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_the_build_asks_about_each_function_in_python(checkout: Path) -> None:
    append(
        checkout,
        "aos_core/view.sql",
        "\ncreate function aos_core.think(a text) returns text\n    language plpython3u\nas $$\nreturn a\n$$;\n",
    )
    text = refusal(checkout)
    assert "function aos_core.think (aos_core/view.sql) is in plpython3u" in text
    assert "--@ instead of function aos_core.think" in text


def test_a_function_in_python_cannot_hide_in_a_file_that_is_left_out(checkout: Path) -> None:
    append(
        checkout,
        "aos_meta/secret.sql",
        "\ncreate function aos_meta._new(a text) returns text\n    language plpython3u\nas $$\nreturn a\n$$;\n",
    )
    assert "function aos_meta._new (aos_meta/secret.sql) is in plpython3u" in refusal(checkout)


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "sql_only/left_out.txt",
            "function aos_agent.work: the database calls no model",
            "function aos_agent.work: ",
            "no reason is given in 'function aos_agent.work: '",
        ),
        (
            "sql_only/left_out.txt",
            "function aos_agent.work:",
            "function aos_agent.works:",
            "speaks of 'function aos_agent.works'",
        ),
        (
            "sql_only/agent.sql",
            "--@ instead of function aos_agent.ask",
            "--@ instead of function aos_agent.asks",
            "speaks of 'function aos_agent.asks'",
        ),
        (
            "sql_only/identity.sql",
            "--< hint = 'Begin a ticket",
            "--< hint = 'Begin another ticket",
            'speaks of "function aos_auth._require: hint',
        ),
        (
            "aos_agent/start_turn.sql",
            "create function aos_agent.run_turn(turn_id uuid, nowait boolean default false)",
            "create function aos_agent.run_turn(turn_id uuid, nowait boolean default true)",
            "function aos_agent.run_turn: the one below sql/sql_only has not the arguments and result",
        ),
        (
            "aos_agent/policies.sql",
            "to pgagentos_approver, pgagentos_operator;",
            "to pgagentos_kernel;",
            "a grant to pgagentos_kernel, who is not in this edition",
        ),
        (
            "aos_agent/transcript.sql",
            "create view",
            "alter schema aos_agent owner to pgagentos_kernel;\ncreate view",
            "names pgagentos_kernel",
        ),
    ],
)
def test_the_build_fails_when_both_sides_part(
    checkout: Path, file: str, old: str, new: str, expected: str
) -> None:
    path = checkout / "sql" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert expected in refusal(checkout)


def test_make_writes_the_file_that_is_named_after_the_version(script: Path) -> None:
    subprocess.run(["make", "-s", "-C", CHECKOUT, "sql-only"], check=True, capture_output=True)
    [made] = CHECKOUT.glob("pgagentos-*-sql-only.sql")
    assert made.read_text(encoding="utf-8") == script.read_text(encoding="utf-8")
    ignored = (CHECKOUT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert any(fnmatch(f"/{made.name}", pattern) for pattern in ignored)


def test_the_privileges_of_every_access_can_be_given(installed: Database) -> None:
    """They are texts: each of them is run once, by whoever may."""
    with installed.connect() as admin:
        admin.execute("create role taker nologin")
        house = House(admin)
        try:
            for access in ("developer", "approver", "auditor", "worker", "user"):
                house.rows("select aos_auth._set_access('taker', %s, true)", access)
                assert house.one("select has_schema_privilege('taker', 'aos_agent', 'usage')")
                house.rows("select aos_auth._set_access('taker', %s, false)", access)
            assert (
                house.one("select count(*) from pg_shdepend where refobjid = 'taker'::regrole") == 0
            )
        finally:
            admin.execute("drop role taker")
