"""``aos_agent.install_worker`` writes jobs of the real pg_cron, or says what is in the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from psycopg import sql

from cluster import TEMPLATE, Cluster, Database, start_local
from house import House, house, name

__all__ = ["house"]  # a fixture

WORK = "CALL aos_agent.work(55, 64)"


@pytest.fixture(scope="module")
def cluster(staged: dict[str, str]) -> Iterator[Cluster]:
    """A server whose pg_cron keeps its jobs in the database "home"."""
    with start_local({**staged, "cron.database_name": "home"}) as started:
        started.create_template()
        yield started


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[Database]:
    with cluster.database("home") as made:
        with made.connect() as connection:
            connection.execute("create extension pg_cron")
        yield made


@dataclass
class Login:
    """A session of its own with what it was warned of."""

    house: House
    role: str
    warnings: list[tuple[str, str]]

    def install(self, *arguments: int) -> list[tuple[str, str, str]]:
        """Call install_worker; returns name, schedule and command of the jobs."""
        given = ", ".join(map(str, arguments))
        return self.house.rows(
            f"select job_name, schedule, command from aos_agent.install_worker({given})"
        )


@contextmanager
def login(
    database: Database, *access: str, principal: bool = True, cron: bool = True
) -> Iterator[Login]:
    """A role with access that may make jobs, for a principal of a new tenant."""
    role = name("worker")
    identifier = sql.Identifier(role)
    with database.connect() as admin:
        house = House(admin)
        house.rows(f"create role {role} login")
        for kind in access:
            house.call("aos_auth.grant_access", role, kind)
        if principal:
            house.insert("aos_auth.principal", tenant_id=house.tenant(), db_role=role)
        if cron:
            house.rows(f"grant usage on schema cron to {role}")
        try:
            with database.connect(user=role) as connection:
                warnings: list[tuple[str, str]] = []
                connection.add_notice_handler(
                    lambda n: warnings.append((n.message_primary or "", n.message_hint or ""))
                )
                yield Login(House(connection), role, warnings)
        finally:
            if house.one("select to_regclass('cron.job') is not null"):
                house.rows("select cron.unschedule(jobid) from cron.job where username = %s", role)
            admin.execute(sql.SQL("drop owned by {}").format(identifier))
            admin.execute(sql.SQL("drop role {}").format(identifier))


def test_a_worker_is_a_job_a_minute_that_calls_work(database: Database) -> None:
    with login(database, "worker") as worker:
        assert worker.install() == [("pgagentos worker 1", "* * * * *", WORK)]
        jobs = worker.house.rows(
            "select jobname, command, database, username, active from cron.job"
        )
        assert jobs == [("pgagentos worker 1", WORK, "home", worker.role, True)]
        assert worker.warnings == []


def test_called_again_it_changes_the_jobs_it_has_made(database: Database) -> None:
    with login(database, "worker") as worker:
        first = [job for job, _, _ in worker.install(3)]
        assert first == ["pgagentos worker 1", "pgagentos worker 2", "pgagentos worker 3"]
        ids = worker.house.rows("select jobid from cron.job order by jobname")
        assert len(worker.install(3)) == 3
        assert worker.house.rows("select jobid from cron.job order by jobname") == ids
        assert worker.install(2, 50, 100) == [
            ("pgagentos worker 1", "* * * * *", "CALL aos_agent.work(50, 100)"),
            ("pgagentos worker 2", "* * * * *", "CALL aos_agent.work(50, 100)"),
        ]
        assert worker.house.rows("select jobid from cron.job order by jobname") == ids[:2]


def test_taking_the_workers_away_leaves_all_other_jobs(database: Database) -> None:
    with login(database, "worker") as worker, login(database, "worker") as other:
        worker.install(2)
        other.install(1)
        worker.house.rows("select cron.schedule('pgagentos worker of mine', '@daily', 'select 1')")
        assert worker.house.call("aos_agent.uninstall_worker") == 2
        assert worker.house.call("aos_agent.uninstall_worker") == 0
        assert worker.house.rows("select jobname from cron.job") == [("pgagentos worker of mine",)]
        assert other.house.rows("select jobname from cron.job") == [("pgagentos worker 1",)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "1 to 100 workers"),
        ((101,), "1 to 100 workers"),
        ((1, 0), "from 1 to 59"),
        ((1, 60), "from 1 to 59"),
        ((1, 55, 0), "from 1 to 1000"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    house: House, arguments: tuple[int, ...], message: str
) -> None:
    with house.refused("OS001", message):
        house.call("aos_agent.install_worker", *arguments)
    with house.refused("OS001", message):
        house.call("aos_agent.install_worker", *(None if a < 1 else a for a in arguments))


def test_only_workers_and_operators_install_workers(database: Database) -> None:
    with login(database, "user", "developer") as person:
        for call in ("install_worker()", "uninstall_worker()", "install_maintenance()"):
            with person.house.refused("42501", "permission denied"):
                person.house.rows(f"select * from aos_agent.{call}")
    with login(database, "worker") as worker, worker.house.refused("42501", "permission denied"):
        worker.house.rows("select * from aos_agent.install_maintenance()")


def test_a_role_that_may_make_no_jobs_is_told_what_it_needs(
    database: Database, house: House
) -> None:
    with login(database, "worker", cron=False) as worker:
        with worker.house.refused("42501", "may not make jobs of pg_cron") as refusal:
            worker.install()
        assert refusal.hint == f"A superuser: GRANT USAGE ON SCHEMA cron TO {worker.role};"
        assert worker.house.call("aos_agent.uninstall_worker") == 0
        house.rows(refusal.hint.partition(": ")[2])
        assert len(worker.install()) == 1


def test_a_role_that_cannot_log_in_makes_no_job(database: Database, house: House) -> None:
    with login(database, "worker") as worker:
        house.rows(f"alter role {worker.role} nologin")
        with worker.house.refused("OS001", "cannot log in") as refusal:
            worker.install()
        assert "LOGIN" in refusal.hint


def test_a_role_that_is_nobody_would_find_no_turns(database: Database) -> None:
    with login(database, "worker", principal=False) as worker:
        with worker.house.refused("42501", "would find no turns") as refusal:
            worker.install()
        assert "db_role of a principal" in refusal.hint
    with login(database, "operator", principal=False) as operator:
        assert len(operator.install()) == 1


@pytest.mark.parametrize(
    ("setting", "is_told"),
    [
        ("alter role {role} set statement_timeout = '30s'", "30s"),
        ("alter role {role} in database home set statement_timeout = 20000", "20000 ms"),
        ("alter database home set statement_timeout = '1min'", "1min"),
        ("alter role {role} set statement_timeout = '2min'", None),
        ("alter role {role} set statement_timeout = 0", None),
    ],
)
def test_a_statement_timeout_that_ends_every_worker_is_told(
    database: Database, house: House, setting: str, is_told: str | None
) -> None:
    with login(database, "worker") as worker:
        house.rows(setting.format(role=worker.role))
        try:
            worker.install()
            if is_told is None:
                assert worker.warnings == []
                return
            [(message, hint)] = worker.warnings
            assert message == f"statement_timeout ends the workers of {worker.role} after {is_told}"
            house.rows(hint)
            worker.warnings.clear()
            worker.install()
            assert worker.warnings == []
        finally:
            house.rows("alter database home reset statement_timeout")


def test_the_nearest_statement_timeout_counts(database: Database, house: House) -> None:
    with login(database, "worker") as worker:
        house.rows("alter database home set statement_timeout = '10s'")
        house.rows(f"alter role {worker.role} set statement_timeout = 0")
        try:
            worker.install()
            assert worker.warnings == []
        finally:
            house.rows("alter database home reset statement_timeout")


def test_in_another_database_the_hint_is_the_statement_to_run(
    cluster: Cluster, database: Database, house: House
) -> None:
    with (
        cluster.database("elsewhere") as elsewhere,
        login(elsewhere, "operator", principal=False, cron=False) as operator,
    ):
        # who may not read the setting is told both ways
        with operator.house.refused("OS901", "not an extension of this database") as refusal:
            operator.install()
        assert "cron.database_name says where it is" in refusal.hint
        house.rows(f"grant pg_read_all_settings to {operator.role}")
        with operator.house.refused("OS901", "keeps its jobs in the database home") as refusal:
            operator.install()
        found = re.search(r"SELECT cron\.schedule_in_database.*;", refusal.hint)
        assert found
        house.rows(found[0])
        assert house.rows(
            "select jobname, schedule, command, username from cron.job where database = 'elsewhere'"
        ) == [("pgagentos worker 1 of elsewhere", "* * * * *", WORK, operator.role)]
        house.rows("select cron.unschedule(jobid) from cron.job where database = 'elsewhere'")
        assert operator.house.call("aos_agent.uninstall_worker") == 0


def test_where_the_extension_was_not_made_the_hint_says_so(
    cluster: Cluster, database: Database, house: House
) -> None:
    house.rows("drop extension pg_cron")
    try:
        with house.refused("OS901", "not an extension of this database") as refusal:
            house.call("aos_agent.install_worker")
        assert refusal.hint == "A superuser: CREATE EXTENSION pg_cron;"
    finally:
        house.rows("create extension pg_cron")


def test_a_server_that_has_not_loaded_pg_cron_is_told_how(staged: dict[str, str]) -> None:
    with start_local({**staged, "shared_preload_libraries": ""}) as started:
        started.create_template()
        with started.connect(TEMPLATE) as connection:
            house = House(connection)
            with house.refused("OS901", "pg_cron is not loaded") as refusal:
                house.call("aos_agent.install_worker")
            assert f"cron.database_name = '{TEMPLATE}'" in refusal.hint
            assert "docs/workers.md" in refusal.hint
            assert house.call("aos_agent.uninstall_worker") == 0


def test_maintenance_is_jobs_that_an_operator_may_run(database: Database) -> None:
    with login(database, "operator", principal=False) as operator:
        house = operator.house
        jobs = house.rows("select job_name, schedule, command from aos_agent.install_maintenance()")
        assert {job for job, _, _ in jobs} == {
            "pgagentos seal event log", "pgagentos months of event log", "pgagentos retention",
            "pgagentos clean queue", "pgagentos compact usage", "pgagentos history of pg_cron",
        }  # fmt: skip
        assert house.rows("select * from aos_agent.install_maintenance()") == house.rows(
            "select jobid, jobname::text, schedule, command from cron.job order by jobid"
        )
        for _, _, command in jobs:
            house.rows(command)  # as the job will, with the same rights
        assert len(operator.install()) == 1
        assert house.call("aos_agent.uninstall_maintenance") == len(jobs)
        assert house.rows("select jobname from cron.job") == [("pgagentos worker 1",)]


def test_old_runs_of_jobs_are_forgotten_and_new_ones_kept(database: Database, house: House) -> None:
    with login(database, "operator", principal=False) as operator:
        for days, where in ((8, "home"), (6, "home"), (8, "elsewhere")):
            house.rows(
                "insert into cron.job_run_details (runid, database, username, end_time)"
                " values (nextval('cron.runid_seq'), %s, %s, now() - make_interval(days => %s))",
                where, operator.role, days,
            )  # fmt: skip
        [command] = operator.house.rows(
            "select command from aos_agent.install_maintenance() where job_name ~ 'history'"
        )
        operator.house.rows(*command)
        left = operator.house.rows(
            "select database, (now()::date - end_time::date) from cron.job_run_details order by 1"
        )
        assert left == [("elsewhere", 8), ("home", 6)]
        house.rows("delete from cron.job_run_details")
