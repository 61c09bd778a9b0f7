"""plpgsql_check finds nothing in our PL/pgSQL: a wrong name shows before anybody calls it."""

from __future__ import annotations

from cluster import Database

_FINDINGS = """
    select p.oid::regprocedure::text, f.message
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
        -- a signature is a promise, also of what a body does not need yet
        and f.message not like 'unused parameter %'
    order by 1, 2
"""

_NO_PG_CRON = "pg_cron need not be there: it is named in texts, and looked for first"

#: what it finds and may find: (function, message) -> why
EXCEPTIONS = {
    ("aos_agent._add_cron_job(text,text,text)", 'schema "cron" does not exist'): _NO_PG_CRON,
    ("aos_agent._cron_jobs(text)", 'relation "cron.job" does not exist'): _NO_PG_CRON,
    ("aos_agent._drop_cron_jobs(bigint[])", 'schema "cron" does not exist'): _NO_PG_CRON,
    ("aos_core._distance(text,text)", "the expression is not SQL injection safe"): (
        "the text is made with %I of the schema that an installed extension lives in"
    ),
    ("aos_sandbox._analyse(text,text)", "text type variable is not sanitized"): (
        "what a model wrote is analysed, by a role that may do nothing else, and never kept"
    ),
    (
        "aos_sandbox._run(text,double precision,integer,integer)",
        "cannot determinate a result of dynamic SQL",
    ): "the function that it calls is made for one query",
    (
        "aos_sandbox._run(text,double precision,integer,integer)",
        'record "v_row" is not assigned yet',
    ): "the function that it calls is made for one query",
}


def test_plpgsql_check_finds_nothing_in_our_functions(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("create extension plpgsql_check")
        [checked] = connection.execute(
            "select count(*) from pg_proc p join pg_language l on l.oid = prolang"
            " where lanname = 'plpgsql' and pronamespace::regnamespace::text like 'aos\\_%'"
        ).fetchone() or (0,)
        findings = connection.execute(_FINDINGS).fetchall()
    assert checked > 0
    assert set(findings) - set(EXCEPTIONS) == set()
    assert set(EXCEPTIONS) - set(findings) == set()  # a reason without a finding is out of date
