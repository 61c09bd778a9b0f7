"""When schedules run: moments, time zones, what was missed, what overlaps. A clock stands still."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import Database
from house import Agent, House
from schedule.conftest import Clock, due, end_turns, fire, shown, turns


@pytest.fixture
def agent(clock: Clock, house: House) -> Agent:
    """An agent that a worker outside answers for; its turns are none before one is due."""
    return house.agent()


def test_a_schedule_is_due_at_its_next_moment_and_then_starts_a_turn(
    clock: Clock, house: House, agent: Agent
) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "0 9 * * *", "What is new?")
    assert due(house, schedule) == "01-05 09:00"
    clock.set("2026-01-05 08:59:59")
    assert fire(house) == 0
    clock.set("2026-01-05 09:00:00")
    assert fire(house) == 1
    assert (turns(house, schedule), due(house, schedule)) == (["01-05 09:00"], "01-06 09:00")
    said = house.one(
        "select m.content from aos_agent.message as m join aos_agent.schedule_run as u"
        " using (run_id) where u.schedule_id = %s",
        schedule,
    )
    assert said == "What is new?"
    assert fire(house) == 0  # the moment is over


def test_tenants_take_turns_however_much_one_of_them_is_behind(
    clock: Clock, house: House, agent: Agent
) -> None:
    for number in range(30):
        house.call("aos_agent.schedule", agent.name, "30 8 * * *", f"{number}")
    others = [house.agent() for _ in range(3)]
    late = [house.call("aos_agent.schedule", o.name, "0 9 * * *", "hello") for o in others]
    clock.set("2026-01-05 09:00")
    assert fire(house, 4) == 4
    assert [turns(house, schedule) for schedule in late] == [["01-05 09:00"]] * 3
    assert fire(house, 40) == 29


def test_the_view_shows_what_came_of_it(clock: Clock, house: House, agent: Agent) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", "hello", name="news")
    columns = "name, agent_name, last_status, last_reason, last_answer, last_run_at is null"
    assert shown(house, schedule, columns) == ("news", agent.name, None, None, None, True)
    clock.set("2026-01-05 09:00:01")
    fire(house)
    assert shown(house, schedule, columns) == (
        "news",
        agent.name,
        "awaiting_model",
        None,
        None,
        False,
    )
    end_turns(house)
    [turn] = shown(house, schedule, "last_turn_id")
    assert shown(house, schedule, "last_status, last_answer") == ("completed", f"answer of {turn}")
    # while the next turn thinks, the last answer is still there
    clock.forward(hours=1)
    fire(house)
    assert shown(house, schedule, "last_status, last_answer") == (
        "awaiting_model",
        f"answer of {turn}",
    )
    assert shown(house, schedule, "last_turn_id") != (turn,)


def test_a_time_zone_moves_with_its_summer_time(clock: Clock, house: House, agent: Agent) -> None:
    """Night of 29 March 2026 in Berlin: 02:30 does not exist; 25 October: it comes twice."""
    clock.set("2026-03-28 12:00")
    schedule = house.call(
        "aos_agent.schedule", agent.name, "30 2 * * *", "hello", time_zone="europe/berlin"
    )
    assert shown(house, schedule, "time_zone") == ("Europe/Berlin",)
    assert due(house, schedule) == "03-29 01:00"  # 03:00 in Berlin
    clock.set("2026-03-29 01:00:00")
    assert fire(house) == 1
    end_turns(house)
    assert due(house, schedule) == "03-30 00:30"
    clock.set("2026-10-25 00:30:00")
    assert fire(house) == 1
    end_turns(house)
    for moment in ("2026-10-25 00:30:01", "2026-10-25 01:30:00", "2026-10-25 01:30:01"):
        clock.set(moment)
        assert fire(house) == 0
    assert due(house, schedule) == "10-26 01:30"
    assert turns(house, schedule) == ["03-29 01:00", "10-25 00:30"]


def test_a_leap_day_comes_in_leap_years(clock: Clock, house: House, agent: Agent) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "0 12 29 2 *", "hello")
    for year in (2028, 2032):
        assert shown(house, schedule, "next_run_at::date::text") == (f"{year}-02-29",)
        clock.set(f"{year}-02-29 12:00:05")
        assert fire(house) == 1
        end_turns(house)


def test_missed_moments_make_one_run(clock: Clock, house: House, agent: Agent) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "*/10 * * * *", "hello")
    clock.set("2026-01-05 13:57:00")  # nobody was there for hours
    assert fire(house) == 1
    assert turns(house, schedule) == ["01-05 13:50"]
    assert due(house, schedule) == "01-05 14:00"
    [reason] = shown(house, schedule, "last_reason")
    assert reason == "one run for all since 2026-01-05 08:10 UTC"


def test_missed_moments_are_left_out_where_that_is_wanted(
    clock: Clock, house: House, agent: Agent
) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "0 9 * * *", "hello", on_missed="skip")
    clock.set("2026-01-07 11:00:00")
    assert fire(house) == 0
    assert due(house, schedule) == "01-08 09:00"
    assert shown(house, schedule, "last_status, last_reason") == (
        "skipped",
        "nobody was there to run it since 2026-01-05 09:00 UTC",
    )
    clock.set("2026-01-08 09:00:00")
    assert fire(house) == 1


def test_a_worker_that_comes_a_little_late_has_missed_nothing(
    clock: Clock, house: House, agent: Agent
) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "0 9 * * *", "hello", on_missed="skip")
    clock.set("2026-01-05 09:05:00")
    assert fire(house) == 1
    assert shown(house, schedule, "last_reason") == (None,)
    end_turns(house)
    clock.set("2026-01-06 09:05:00.5")
    assert fire(house) == 0
    assert shown(house, schedule, "last_status") == ("skipped",)


def test_of_several_missed_moments_one_that_is_hardly_over_is_run(
    clock: Clock, house: House, agent: Agent
) -> None:
    schedule = house.call(
        "aos_agent.schedule", agent.name, "*/10 * * * *", "hello", on_missed="skip"
    )
    clock.set("2026-01-05 13:51:00")
    assert fire(house) == 1
    assert turns(house, schedule) == ["01-05 13:50"]


@pytest.mark.parametrize("conversation", ["new", "same"])
def test_a_run_is_skipped_while_the_last_one_is_not_finished(
    clock: Clock, house: House, agent: Agent, conversation: str
) -> None:
    schedule = house.call(
        "aos_agent.schedule", agent.name, "@hourly", "hello", conversation=conversation
    )
    clock.set("2026-01-05 09:00:00")
    assert fire(house) == 1
    [turn] = shown(house, schedule, "last_turn_id")
    clock.set("2026-01-05 10:00:00")
    assert fire(house) == 0
    assert shown(house, schedule, "last_status, last_reason") == (
        "skipped",
        f"turn {turn} is not finished",
    )
    assert due(house, schedule) == "01-05 11:00"
    end_turns(house)
    assert fire(house) == 0  # what was skipped does not come back
    clock.set("2026-01-05 11:00:00")
    assert fire(house) == 1
    assert turns(house, schedule) == ["01-05 09:00", "01-05 11:00"]


def test_each_run_opens_a_conversation_or_all_share_one(
    clock: Clock, house: House, agent: Agent
) -> None:
    for conversation, expected in (("new", 3), ("same", 1)):
        schedule = house.call(
            "aos_agent.schedule", agent.name, "@hourly", "hello", conversation=conversation
        )
        for _ in range(3):
            clock.forward(hours=1)
            fire(house)
            end_turns(house)
        opened = house.one(
            "select count(distinct r.conversation_id) from aos_core.run as r"
            " join aos_agent.schedule_run as u using (run_id) where u.schedule_id = %s",
            schedule,
        )
        assert opened == expected
        house.call("aos_agent.unschedule", schedule)


def test_the_shared_conversation_is_opened_anew_when_it_was_deleted(
    clock: Clock, house: House, agent: Agent
) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", "hello", conversation="same")
    clock.forward(hours=1)
    fire(house)
    end_turns(house)
    house.rows("delete from aos_agent.conversation where agent_id = %s", agent.agent_id)
    assert turns(house, schedule) == []
    assert shown(house, schedule, "last_status, last_answer") == ("started", None)
    clock.forward(hours=1)
    assert fire(house) == 1


def test_another_agent_does_not_go_on_in_the_conversation_of_the_first(
    clock: Clock, house: House, agent: Agent
) -> None:
    given = {"content": "hello", "name": "moved", "conversation": "same"}
    other = house.agent(agent.tenant_id, agent.persona_id)
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", **given)
    clock.forward(hours=1)
    fire(house)
    end_turns(house)
    assert house.call("aos_agent.schedule", other.name, "@hourly", **given) == schedule
    clock.forward(hours=1)
    assert fire(house) == 1
    agents = house.rows(
        "select c.agent_id from aos_agent.schedule_run as u join aos_core.run as r using (run_id)"
        " join aos_agent.conversation as c using (conversation_id)"
        " where u.schedule_id = %s order by u.scheduled_for",
        schedule,
    )
    assert agents == [(agent.agent_id,), (other.agent_id,)]


def test_a_conversation_in_which_somebody_runs_a_turn_is_not_waited_for(
    clock: Clock, house: House, agent: Agent, database: Database
) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", "hello", conversation="same")
    clock.forward(hours=1)
    fire(house)
    end_turns(house)
    clock.forward(hours=1)
    with database.connect() as other, other.transaction():
        other.execute(
            "select from aos_agent.conversation where agent_id = %s for no key update",
            (agent.agent_id,),
        )
        house.rows("set lock_timeout = '30s'")  # a wait is a failure, not a hang
        assert fire(house) == 0
    [status, reason] = shown(house, schedule, "last_status, last_reason")
    assert status == "skipped"
    assert "is busy with another turn" in reason


def test_an_agent_that_cannot_run_stops_no_other_schedule(
    clock: Clock, house: House, agent: Agent
) -> None:
    idle = house.agent(agent.tenant_id, agent.persona_id, is_active=False)
    broken = house.call("aos_agent.schedule", idle.name, "@hourly", "hello")
    works = house.call("aos_agent.schedule", agent.name, "@hourly", "hello")
    clock.forward(hours=1)
    assert fire(house) == 1
    assert shown(house, broken, "last_status, last_reason") == (
        "failed",
        f"agent '{idle.name}' is not active",
    )
    assert due(house, broken) == due(house, works) == "01-05 10:00"
    # not a trace is left of what failed
    assert house.rows("select from aos_agent.conversation where agent_id = %s", idle.agent_id) == []
    house.rows("update aos_agent.agent set is_active = true where agent_id = %s", idle.agent_id)
    end_turns(house)
    clock.forward(hours=1)
    assert fire(house) == 2
    assert shown(house, broken, "last_reason") == (None,)


def test_a_time_zone_that_was_taken_away_turns_the_schedule_off(
    clock: Clock, house: House, agent: Agent
) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", "hello")
    # as an update of the operating system may leave it
    house.rows("alter table aos_agent.schedule disable trigger plan_schedule")
    house.rows("update aos_agent.schedule set time_zone = 'Mars/Olympus'")
    house.rows("alter table aos_agent.schedule enable trigger plan_schedule")
    clock.forward(hours=2)
    assert fire(house) == 0
    status, reason, next_run = shown(house, schedule, "last_status, last_reason, next_run_at")
    assert (status, next_run) == ("failed", None)
    assert "'Mars/Olympus'" in reason
    assert fire(house) == 0


def test_a_schedule_that_was_turned_off_goes_on_as_if_nothing_was_missed(
    clock: Clock, house: House, agent: Agent
) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", "hello")
    house.rows("update aos_agent.schedule set is_active = false")
    assert shown(house, schedule, "next_run_at") == (None,)
    clock.forward(hours=5)
    assert fire(house) == 0
    house.rows("update aos_agent.schedule set is_active = true")
    assert fire(house) == 0
    assert due(house, schedule) == "01-05 14:00"


def test_another_expression_counts_from_the_change_on(
    clock: Clock, house: House, agent: Agent
) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", "hello", name="changed")
    clock.set("2026-01-05 10:20:00")
    house.rows("update aos_agent.schedule set content = 'good day'")
    assert due(house, schedule) == "01-05 09:00"  # what is said changes no moment
    house.rows("update aos_agent.schedule set cron_expression = '30 * * * *'")
    assert due(house, schedule) == "01-05 10:30"
    again = house.call("aos_agent.schedule", agent.name, "45 * * * *", "hello", name="changed")
    assert (again, due(house, schedule)) == (schedule, "01-05 10:45")


def test_a_clock_that_is_set_back_repeats_no_moment(
    clock: Clock, house: House, agent: Agent
) -> None:
    schedule = house.call("aos_agent.schedule", agent.name, "@hourly", "hello")
    clock.set("2026-01-05 12:00:00")
    assert fire(house) == 1
    end_turns(house)
    clock.set("2026-01-05 10:30:00")
    assert fire(house) == 0
    assert turns(house, schedule) == ["01-05 12:00"]
    assert due(house, schedule) == "01-05 13:00"


def test_at_most_so_many_run_at_once_the_longest_due_first(
    clock: Clock, house: House, agent: Agent
) -> None:
    late = [house.call("aos_agent.schedule", agent.name, "30 8 * * *", "hello") for _ in range(2)]
    later = house.call("aos_agent.schedule", agent.name, "45 8 * * *", "hello")
    clock.set("2026-01-05 08:50:00")
    assert fire(house, 2) == 2
    assert [turns(house, s) for s in (*late, later)] == [["01-05 08:30"], ["01-05 08:30"], []]
    assert fire(house, 2) == 1


def test_two_workers_at_once_start_each_turn_once(
    clock: Clock, house: House, agent: Agent, database: Database
) -> None:
    schedules = [
        house.call("aos_agent.schedule", agent.name, "@hourly", "hello") for _ in range(20)
    ]
    clock.forward(hours=1)

    def work() -> int:
        with database.connect() as connection:
            return sum(fire(House(connection), 3) for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        started = [f.result() for f in [pool.submit(work) for _ in range(4)]]
    assert sum(started) == 20
    assert [turns(house, s) for s in schedules] == [["01-05 09:00"]] * 20


def test_a_schedule_that_another_worker_has_is_passed_over(
    clock: Clock, house: House, agent: Agent, database: Database
) -> None:
    house.call("aos_agent.schedule", agent.name, "@hourly", "hello")
    clock.forward(hours=1)
    house.rows("set lock_timeout = '30s'")
    with database.connect() as other, other.transaction():
        assert fire(House(other)) == 1
        assert fire(house) == 0
    assert fire(house) == 0
