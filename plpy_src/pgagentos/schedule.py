"""When the schedules of agents are due, and the turns that they start."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from .database import Database, DatabaseError
from .errors import AgentOSError, InstallationError, InvalidInput
from .identity import Identities
from .store import schedules
from .store.schedules import Due, Previous

if TYPE_CHECKING:
    from cronsim import CronSim

#: what crontab(5) calls them -> as five fields
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

#: Later than this, in seconds, a moment was missed. A restart of the server, or the seconds between
#: two workers, make none.
GRACE = 300

#: A long list of fields would take long to read at each run.
MAX_CHARACTERS = 200

#: Clocks are moved by less than this.
_AROUND_A_CLOCK_CHANGE = timedelta(hours=3)


class Outcome(NamedTuple):
    """What came of a schedule that was due.

    Args:
        status: ``started``, ``skipped`` or ``failed``.
        reason: why, for people; None where there is nothing to say.
    """

    status: str
    reason: str | None


def next_run(expression: str, time_zone: str, after: float) -> float:
    """The first moment of a cron expression after another moment.

    Args:
        expression: five fields, as in crontab(5), or one of :data:`NICKNAMES`.
        time_zone: a name of the IANA time zone database, in which the fields are meant.
        after: seconds since 1970.

    Raises:
        InvalidInput: the expression cannot be read, or no moment will ever fit it.
        InstallationError: this server's Python does not know the time zone.
    """
    for moment in _moments(expression, _local(after, time_zone)):
        # While the clock goes back, a local time says two moments, and the first may be over.
        if moment.timestamp() > after:
            return moment.timestamp()
    raise InvalidInput(
        f"the cron expression {expression!r} never comes", hint="It has no moment in 50 years."
    )


def latest_run(expression: str, time_zone: str, until: float) -> float | None:
    """The last moment of a cron expression that is over, or just now; None in the last 50 years.

    Args:
        expression: as for :func:`next_run`.
        time_zone: as for :func:`next_run`.
        until: seconds since 1970.
    """
    start = _local(until, time_zone)
    before, after = start - _AROUND_A_CLOCK_CHANGE, start + _AROUND_A_CLOCK_CHANGE
    if before.utcoffset() != after.utcoffset():
        start = after
    # With a fraction of a second, the second itself counts as over.
    for moment in _moments(expression, start.replace(microsecond=1), reverse=True):
        if moment.timestamp() <= until:
            return moment.timestamp()
    return None


def fire(database: Database, identities: Identities, most: int) -> int:
    """Start a turn of each schedule that is due, in the name of the principal who made it.

    What goes wrong with one schedule is written into its row and stops no other.

    Args:
        most: at most so many schedules.

    Returns:
        how many turns were started.
    """
    started = 0
    for key in schedules.due(database, most):
        with identities.acting(key.tenant_id, key.principal_id):
            due = schedules.lock(database, key)
            if due is None:  # another worker has it
                continue
            try:
                latest = latest_run(due.cron_expression, due.time_zone, due.now)
                following = next_run(due.cron_expression, due.time_zone, due.now)
            except AgentOSError as error:  # it could be read once: a time zone was taken away
                schedules.turn_off(database, key, error.message)
                continue
            # Not the latest when the time zone has got new rules.
            outcome = _run(database, due, max(latest or due.next_run, due.next_run))
            if outcome is not None:
                schedules.close(database, key, *outcome, following)
                started += outcome.status == "started"
    return started


def _run(database: Database, due: Due, moment: float) -> Outcome | None:
    """Start the turn of a schedule, or say why not; None: to be tried again at once."""
    missed = moment > due.next_run or due.now - moment > GRACE
    if due.on_missed == "skip" and due.now - moment > GRACE:
        return Outcome("skipped", f"nobody was there to run it since {_utc(due.next_run)}")
    if not due.principal_is_active:
        return Outcome("failed", "the principal who made it is not active")
    previous = schedules.previous(database, due)
    if previous.unfinished_run_id is not None:
        return Outcome("skipped", f"turn {previous.unfinished_run_id} is not finished")
    try:
        with database.savepoint():
            _submit(database, due, previous, moment)
    except DatabaseError as error:
        if error.sqlstate[:2] in ("40", "53"):  # a deadlock, a full disk: of the moment
            return None
        return Outcome("skipped" if error.sqlstate == "OS004" else "failed", error.message)
    return Outcome("started", f"one run for all since {_utc(due.next_run)}" if missed else None)


def _submit(database: Database, due: Due, previous: Previous, moment: float) -> None:
    conversation_id = previous.conversation_id
    if conversation_id is None:
        conversation_id = schedules.open_conversation(database, due)
    else:
        # Not to wait for whoever talks with the agent there just now.
        schedules.lock_conversation(database, conversation_id)
    run_id = schedules.submit(database, due, conversation_id)
    schedules.add_run(database, due, run_id, moment)


def _moments(expression: str, start: datetime, *, reverse: bool = False) -> CronSim:
    from cronsim import CronSim, CronSimError

    if len(expression) > MAX_CHARACTERS:
        raise _unreadable(expression[:20] + "...", f"it has more than {MAX_CHARACTERS} characters")
    fields = NICKNAMES.get(expression.strip().lower(), expression)
    if len(fields.split()) != 5:
        raise _unreadable(expression, "it has not five fields")
    try:
        return CronSim(fields, start, reverse)
    except CronSimError as error:
        raise _unreadable(expression, str(error)[:1].lower() + str(error)[1:]) from None


def _unreadable(expression: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"the cron expression {expression!r} cannot be read: {why}",
        hint="Five fields: minute, hour, day of the month, month, day of the week. For example"
        " '0 9 * * MON-FRI' (at nine on working days), '*/15 * * * *' (each quarter of an hour),"
        " '@daily'.",
    )


def _local(moment: float, time_zone: str) -> datetime:
    if time_zone == "UTC":
        return datetime.fromtimestamp(moment, timezone.utc)
    from zoneinfo import ZoneInfo

    try:
        return datetime.fromtimestamp(moment, ZoneInfo(time_zone))
    except (KeyError, ValueError, OSError):
        raise InstallationError(
            f"the server's Python does not know the time zone {time_zone!r}",
            hint="Install the operating system's tzdata, or use another time zone, such as UTC.",
        ) from None


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
