"""Whose a schedule is: nobody makes one in the name of another, or changes another's."""

from __future__ import annotations

import psycopg
import pytest

from house import Agent, House
from schedule.conftest import Clock, People, due, end_turns, fire, shown, turns


@pytest.fixture
def agent(clock: Clock, house: House) -> Agent:
    return house.agent()


def test_turns_act_for_the_principal_who_made_the_schedule(
    clock: Clock, house: House, agent: Agent, people: People
) -> None:
    owner = people.login(agent.tenant_id, "user")
    worker = people.login(agent.tenant_id, "worker")
    for conversation in ("new", "same"):
        schedule = owner.house.call(
            "aos_agent.schedule", agent.name, "@hourly", "hello", conversation=conversation
        )
        for _ in range(2):
            clock.forward(hours=1)
            assert fire(worker.house) == 1
            end_turns(house)
        speakers = house.rows(
            "select c.principal_id from aos_agent.schedule_run as u"
            " join aos_core.run as r using (run_id) join aos_agent.conversation as c"
            " using (conversation_id) where u.schedule_id = %s",
            schedule,
        )
        assert speakers == [(owner.principal_id,)] * 2
        # in the record both stand: whose login it was, and for whom it acted
        actors = house.rows(
            "select distinct e.actor from aos_core.event_log as e"
            " join aos_agent.schedule_run as u using (run_id)"
            " where u.schedule_id = %s and e.event_type = 'turn_started'",
            schedule,
        )
        assert actors == [(f"{worker.house.one('select session_user')}/{owner.principal_id}",)]
        owner.house.call("aos_agent.unschedule", schedule)


def test_an_operators_schedule_is_nobodys(clock: Clock, house: House, agent: Agent) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", "hello")
    assert shown(house, schedule, "principal_id") == (None,)
    clock.forward(hours=1)
    assert fire(house) == 1


def test_a_worker_runs_the_schedules_of_its_tenant_alone(
    clock: Clock, house: House, agent: Agent, people: People
) -> None:
    other = house.agent()
    mine = house.call("aos_agent.schedule", agent.name, "@hourly", "hello")
    his = house.call("aos_agent.schedule", other.name, "@hourly", "hello")
    clock.forward(hours=1)
    worker = people.login(agent.tenant_id, "worker")
    assert fire(worker.house) == 1
    assert (turns(house, mine), turns(house, his)) == (["01-05 09:00"], [])
    nobody = people.login(None, "worker")
    assert fire(nobody.house) == 0
    assert fire(house) == 1
    assert turns(house, his) == ["01-05 09:00"]


def test_others_see_a_schedule_and_change_nothing_of_it(
    clock: Clock, house: House, agent: Agent, people: People
) -> None:
    owner = people.login(agent.tenant_id, "user")
    other = people.login(agent.tenant_id, "user", "developer", "worker")
    given = ("aos_agent.schedule", agent.name, "@hourly", "hello")
    schedule = owner.house.call(*given, name="report")
    assert due(other.house, schedule) == "01-05 09:00"
    with other.house.refused("42501", "is somebody else's") as refusal:
        other.house.call("aos_agent.schedule", agent.name, "@daily", "give it away", name="report")
    assert "another name" in refusal.hint
    for named in ({"schedule_id": schedule}, {"name": "report"}):
        with other.house.refused("42501", "is somebody else's"):
            other.house.call("aos_agent.unschedule", **named)
    for column, value in (("content", "give it away"), ("is_active", False), ("name", "mine")):
        changed = other.house.connection.execute(
            f"update aos_agent.schedule set {column} = %s", (value,)
        )
        assert changed.rowcount == 0
    assert shown(house, schedule, "content, cron_expression") == ("hello", "@hourly")
    changed = owner.house.connection.execute("update aos_agent.schedule set content = 'hi'")
    assert changed.rowcount == 1
    assert other.house.call("aos_agent.schedule", agent.name, "@daily", "mine", name="other")
    assert owner.house.call("aos_agent.unschedule", name="report") is True
    assert owner.house.call("aos_agent.unschedule", name="report") is False


def test_an_operator_changes_everybodys_and_it_stays_theirs(
    clock: Clock, house: House, agent: Agent, people: People
) -> None:
    owner = people.login(agent.tenant_id, "user")
    given = ("aos_agent.schedule", agent.name, "@daily", "hello")
    schedule = owner.house.call(*given, name="report")
    assert house.call(*given, name="report") == schedule
    assert shown(house, schedule, "principal_id") == (owner.principal_id,)
    assert house.call("aos_agent.unschedule", name="report") is True


def test_plain_sql_gives_nobody_a_schedule_of_another(
    clock: Clock, house: House, agent: Agent, people: People
) -> None:
    owner = people.login(agent.tenant_id, "user")
    schedule = owner.house.call("aos_agent.schedule", agent.name, "@daily", "hello")
    for statement in (
        "insert into aos_agent.schedule (tenant_id, agent_id, cron_expression, content)"
        " select tenant_id, agent_id, cron_expression, content from aos_agent.schedule",
        "update aos_agent.schedule set principal_id = null",
        "update aos_agent.schedule set next_run_at = now()",
        "delete from aos_agent.schedule",
        "delete from aos_agent.schedule_run",
        "select aos_agent._fire_schedules()",
        "select aos_agent._next_run('@daily', 'UTC', 0)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.house.rows(statement)
    assert due(house, schedule) == "01-06 00:00"


def test_a_schedule_of_a_principal_who_is_not_active_fails(
    clock: Clock, house: House, agent: Agent, people: People
) -> None:
    owner = people.login(agent.tenant_id, "user")
    schedule = owner.house.call("aos_agent.schedule", agent.name, "@hourly", "hello")
    house.rows(
        "update aos_auth.principal set is_active = false where principal_id = %s",
        owner.principal_id,
    )
    clock.forward(hours=1)
    assert fire(house) == 0
    assert shown(house, schedule, "last_status, last_reason") == (
        "failed",
        "the principal who made it is not active",
    )
    house.rows("delete from aos_auth.principal where principal_id = %s", owner.principal_id)
    assert house.rows("select from aos_agent.schedule") == []


def test_changes_are_in_the_event_log_and_runs_are_none(
    clock: Clock, house: House, agent: Agent, people: People
) -> None:
    owner = people.login(agent.tenant_id, "user")
    schedule = owner.house.call("aos_agent.schedule", agent.name, "@hourly", "secret words")
    clock.forward(hours=1)
    fire(house)
    owner.house.rows("update aos_agent.schedule set content = 'other words'")
    owner.house.call("aos_agent.unschedule", schedule)
    events = house.rows(
        "select event_type, detail from aos_core.event_log"
        " where tenant_id = %s and event_type like 'schedule%%' order by event_no",
        agent.tenant_id,
    )
    assert [event for event, _ in events] == [
        "schedule_added",
        "schedule_changed",
        "schedule_removed",
    ]
    assert all(detail["schedule_id"] == str(schedule) for _, detail in events)
    assert events[1][1]["changed"] == ["content"]
    assert "words" not in str(events)


def test_the_auditor_sees_when_and_not_what(
    clock: Clock, house: House, agent: Agent, people: People
) -> None:
    house.call("aos_agent.schedule", agent.name, "@hourly", "secret words")
    auditor = people.login(agent.tenant_id, "auditor")
    assert auditor.house.rows("select cron_expression from aos_agent.schedule") == [("@hourly",)]
    for relation in ("schedule", "schedules"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            auditor.house.rows(f"select content from aos_agent.{relation}")
