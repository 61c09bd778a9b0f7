"""What ``aos_agent.schedule`` and ``aos_agent.unschedule`` take and refuse."""

from __future__ import annotations

import re
from typing import Any

import pytest

from house import Agent, House
from schedule.conftest import Clock, due, shown


@pytest.fixture
def agent(clock: Clock, house: House) -> Agent:
    return house.agent()


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"cron_expression": "every day"}, "has not five fields", r"'0 9 \* \* MON-FRI'"),
        ({"cron_expression": "61 * * * *"}, "bad minute", r"'\*/15 \* \* \* \*'"),
        ({"cron_expression": "0 0 30 2 *"}, "bad day-of-month", "@daily"),
        ({"cron_expression": None}, "needs a cron expression", "SELECT aos_agent.schedule"),
        ({"time_zone": None}, "needs a cron expression and a time zone", "Europe/Berlin"),
        ({"time_zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'", "pg_timezone_names"),
        ({"time_zone": "CET-1CEST"}, "no time zone 'CET-1CEST'", "Europe/Berlin"),
        ({"content": ""}, "message is empty", "content"),
        ({"conversation": "old"}, "new or same, not old", "same: all runs are in one"),
        ({"conversation": None}, "new or same, not NULL", "new: each run"),
        ({"on_missed": "twice"}, "run_once or skip, not twice", "one run later"),
        ({"priority": 101}, "from -100 to 100", "for 0"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_hint(
    house: House, agent: Agent, given: dict[str, Any], message: str, hint: str
) -> None:
    wanted = {"cron_expression": "@daily", "content": "hello"} | given
    with house.refused("OS001", message) as refusal:
        house.call("aos_agent.schedule", agent.name, **wanted)
    assert re.search(hint, refusal.hint), refusal.hint
    assert house.rows("select from aos_agent.schedule") == []


def test_plain_sql_is_refused_in_the_same_words(house: House, agent: Agent) -> None:
    house.call("aos_agent.schedule", agent.name, "@daily", "hello")
    with house.refused("OS001", "bad hour"):
        house.rows("update aos_agent.schedule set cron_expression = '0 25 * * *'")
    with house.refused("OS001", "there is no time zone"):
        house.rows("update aos_agent.schedule set time_zone = 'nowhere'")


def test_an_agent_that_is_not_there_is_told(house: House, clock: Clock) -> None:
    with house.refused("OS002", "there is no agent 'nobody'"):
        house.call("aos_agent.schedule", "nobody", "@daily", "hello")


def test_a_name_that_is_known_changes_its_schedule(house: House, agent: Agent) -> None:
    first = house.call("aos_agent.schedule", agent.name, "0 9 * * *", "hello", name="news")
    second = house.call(
        "aos_agent.schedule", agent.name, "0 10 * * *", "good day", "Asia/Seoul", "news",
        "same", "skip", 5,
    )  # fmt: skip
    assert second == first
    columns = "cron_expression, content, time_zone, conversation, on_missed, priority"
    assert shown(house, first, columns) == (
        "0 10 * * *", "good day", "Asia/Seoul", "same", "skip", 5,
    )  # fmt: skip
    assert due(house, first) == "01-06 01:00"
    without = {house.call("aos_agent.schedule", agent.name, "@daily", "hello") for _ in range(2)}
    assert len(without) == 2


def test_two_tenants_have_schedules_of_one_name(house: House, agent: Agent) -> None:
    other = house.agent()
    mine, his = (
        house.call("aos_agent.schedule", a.name, "@daily", "hello", name="news")
        for a in (agent, other)
    )
    assert mine != his
    with house.refused("OS001", "several tenants have a schedule 'news'"):
        house.call("aos_agent.unschedule", name="news")
    assert house.call("aos_agent.unschedule", his) is True
    assert house.call("aos_agent.unschedule", name="news") is True


def test_which_schedule_goes_has_to_be_said(house: House, agent: Agent) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@daily", "hello", name="news")
    with house.refused("OS001", "which schedule is it"):
        house.call("aos_agent.unschedule")
    assert house.call("aos_agent.unschedule", agent.agent_id) is False
    assert house.call("aos_agent.unschedule", schedule, "other") is False
    assert house.call("aos_agent.unschedule", schedule, "news") is True


def test_turns_outlive_their_schedule(house: House, agent: Agent, clock: Clock) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", "hello")
    clock.forward(hours=1)
    assert house.one("select clock.fire(10)") == 1
    [turn] = shown(house, schedule, "last_turn_id")
    assert house.call("aos_agent.unschedule", schedule) is True
    assert house.rows("select from aos_agent.schedule_run") == []
    assert house.status(turn) == "awaiting_model"
