"""Moments of cron expressions: time zones, clock changes, leap days, and what cannot be read."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from pgagentos.errors import InstallationError, InvalidInput
from pgagentos.schedule import NICKNAMES, latest_run, next_run

BERLIN = "Europe/Berlin"


def seconds(moment: str, time_zone: str = "UTC", fold: int = 0) -> float:
    """``"2026-01-01 09:00"`` in a time zone, as seconds since 1970; *fold* 1: the second of two."""
    local = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(time_zone), fold=fold)
    return local.timestamp()


def upcoming(expression: str, time_zone: str, after: float, count: int) -> list[str]:
    """The next moments in UTC, in short."""
    found = []
    for _ in range(count):
        after = next_run(expression, time_zone, after)
        found.append(f"{datetime.fromtimestamp(after, timezone.utc):%m-%d %H:%M}")
    return found


def latest(expression: str, time_zone: str, until: float) -> str:
    moment = latest_run(expression, time_zone, until)
    assert moment is not None
    return f"{datetime.fromtimestamp(moment, timezone.utc):%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/15 * * * *", "2026-01-01 09:07", ["01-01 09:15", "01-01 09:30", "01-01 09:45"]),
        ("0 9 * * MON-FRI", "2026-01-02 09:00", ["01-05 09:00", "01-06 09:00"]),
        ("0 0 1 * *", "2026-01-31 12:00", ["02-01 00:00", "03-01 00:00"]),
        ("0 0 L * *", "2026-02-01 00:00", ["02-28 00:00", "03-31 00:00"]),
        ("30 6 * * 1#2", "2026-01-01 00:00", ["01-12 06:30", "02-09 06:30"]),
        ("0 0 29 2 *", "2026-01-01 00:00", ["02-29 00:00", "02-29 00:00"]),
        # as in Debian's cron: either day fits, unless one of the two fields begins with a star
        ("0 0 13 * FRI", "2026-03-01 00:00", ["03-06 00:00", "03-13 00:00", "03-20 00:00"]),
        ("@daily", "2026-12-31 00:00", ["01-01 00:00", "01-02 00:00"]),
    ],
)
def test_a_moment_follows_another(expression: str, after: str, expected: list[str]) -> None:
    assert upcoming(expression, "UTC", seconds(after), len(expected)) == expected


def test_a_leap_day_comes_every_four_years_and_not_in_2100() -> None:
    years = []
    after = seconds("2095-01-01 00:00")
    for _ in range(2):
        after = next_run("0 0 29 2 *", "UTC", after)
        years.append(datetime.fromtimestamp(after, timezone.utc).year)
    assert years == [2096, 2104]


def test_the_moment_itself_is_over() -> None:
    at_nine = seconds("2026-01-01 09:00")
    assert next_run("0 9 * * *", "UTC", at_nine) == at_nine + 86400
    assert latest_run("0 9 * * *", "UTC", at_nine) == at_nine
    assert latest_run("0 9 * * *", "UTC", at_nine - 0.001) == at_nine - 86400


def test_nine_in_berlin_is_another_moment_in_summer() -> None:
    expected = ["03-28 08:00", "03-29 07:00"]
    assert upcoming("0 9 * * *", BERLIN, seconds("2026-03-28 00:00"), 2) == expected
    expected = ["10-24 07:00", "10-25 08:00"]
    assert upcoming("0 9 * * *", BERLIN, seconds("2026-10-24 00:00"), 2) == expected


def test_an_hour_that_is_left_out_in_spring_runs_right_after_it() -> None:
    """On 2026-03-29 the clocks of Berlin go from 02:00 to 03:00."""
    # 02:30 does not exist: it runs at 03:00, which is 01:00 UTC
    expected = ["03-28 01:30", "03-29 01:00", "03-30 00:30"]
    assert upcoming("30 2 * * *", BERLIN, seconds("2026-03-27 12:00"), 3) == expected
    assert latest("30 2 * * *", BERLIN, seconds("2026-03-29 01:00")) == "03-29 01:00"
    assert latest("30 2 * * *", BERLIN, seconds("2026-03-29 00:59")) == "03-28 01:30"
    assert latest("30 2 * * *", BERLIN, seconds("2026-03-29 09:00")) == "03-29 01:00"


def test_an_hour_that_comes_twice_in_autumn_runs_once() -> None:
    """On 2026-10-25 the clocks of Berlin go from 03:00 back to 02:00."""
    expected = ["10-24 00:30", "10-25 00:30", "10-26 01:30"]
    assert upcoming("30 2 * * *", BERLIN, seconds("2026-10-23 12:00"), 3) == expected
    # ten past two for the second time: half past two is over already
    second = seconds("2026-10-25 02:10", BERLIN, fold=1)
    assert upcoming("30 2 * * *", BERLIN, second, 1) == ["10-26 01:30"]
    assert latest("30 2 * * *", BERLIN, second) == "10-25 00:30"


def test_what_runs_each_hour_does_so_through_both_changes() -> None:
    spring = upcoming("0 * * * *", BERLIN, seconds("2026-03-28 23:30"), 4)
    assert spring == ["03-29 00:00", "03-29 01:00", "03-29 02:00", "03-29 03:00"]
    autumn = upcoming("0 * * * *", BERLIN, seconds("2026-10-24 23:30"), 4)
    assert autumn == ["10-25 00:00", "10-25 01:00", "10-25 02:00", "10-25 03:00"]


@pytest.mark.parametrize(
    "expression", ["30 2 * * *", "0,30 1-3 * * *", "0 * * * *", "*/20 2 * * *", "59 23 * * 7"]
)
@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_looking_back_finds_what_looking_forward_found(expression: str, day: str) -> None:
    """From a day before a change of the clocks to a day after it, at each quarter of an hour."""
    start = seconds(f"{day} 00:00") - 86400
    found = [next_run(expression, BERLIN, start - 8 * 86400)]
    while found[-1] < start + 3 * 86400:
        found.append(next_run(expression, BERLIN, found[-1]))
    assert found == sorted(set(found))
    for quarter in range(4 * 48):
        now = start + quarter * 900
        assert latest_run(expression, BERLIN, now) == max(m for m in found if m <= now)
        assert next_run(expression, BERLIN, now) == min(m for m in found if m > now)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "it has not five fields"),
        ("every day", "it has not five fields"),
        ("@reboot", "it has not five fields"),
        ("* * * * * *", "it has not five fields"),
        ("60 * * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 0 32 * *", "bad day-of-month"),
        ("0 0 * 13 *", "bad month"),
        ("0 0 * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("L/2 * * * *", "bad minute"),
        (",".join(["1"] * 101) + " * * * *", "it has more than 200 characters"),
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(expression: str, why: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        next_run(expression, "UTC", 0)
    assert caught.value.message.endswith(f"cannot be read: {why}")
    assert "*/15 * * * *" in (caught.value.hint or "")


def test_a_moment_that_never_comes_is_refused() -> None:
    # a 29th of February that is a Monday, and the last one of its month, and of the first week
    with pytest.raises(InvalidInput, match="never comes"):
        next_run("0 0 */20 * 1L", "UTC", seconds("2026-01-01 00:00"))


def test_every_nickname_can_be_read_in_any_case() -> None:
    for nickname in NICKNAMES:
        assert next_run(nickname, "UTC", 0) == next_run(nickname.upper(), "UTC", 0) > 0


def test_a_time_zone_that_this_machine_does_not_know_is_told() -> None:
    for name in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(InstallationError) as caught:
            next_run("@daily", name, 0)
        assert "tzdata" in (caught.value.hint or "")
