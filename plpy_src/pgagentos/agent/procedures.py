"""What ``CALL`` runs: one turn step by step, or the turns of the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .. import schedule, ticket_desk
from ..errors import InvalidInput
from ..net.wait import SLICE
from ..store import queue, turns
from ..store.identities import require
from .committing import LEASE, Driver

if TYPE_CHECKING:
    from .session import Session

#: Seconds between two looks into the queue while there is room for more turns, and with nothing to
#: do at all.
CLAIM_INTERVAL, IDLE_CLAIM_INTERVAL = 0.05, 0.2
#: Room for so many turns is filled at once, as long as the queue has more than were asked for: few
#: at a time, so that they do not come back all together and wait for each other.
ENOUGH_ROOM = 8
#: Seconds between two looks at the schedules and the rate limits.
SCHEDULE_INTERVAL = 1.0
#: Most schedules that one look starts turns of.
MOST_SCHEDULES = 100


def run_turn_stepwise(session: Session, run_id: str, nowait: bool, ticket: str | None) -> str:
    """Take a turn as far as it can go, and commit before each act and after each step.

    Args:
        run_id: the turn.
        nowait: fail at once when somebody else drives it.
        ticket: of whoever calls, where the login is nobody's own.

    Returns:
        JSON text, as :func:`pgagentos.agent.driver.run_turn`.

    Raises:
        DatabaseError: for example ``OS002`` no such turn, ``OS004`` somebody else drives it.
    """
    database, identities = session.database, session.identities
    with database.status.named(), database.own_transactions() as transactions:
        driver = Driver(session, transactions, puts_off=False)
        if ticket is not None:
            ticket_desk.begin(database, identities, ticket)
        status = turns.lock(database, run_id, nowait)
        if status in ("awaiting_approval", "awaiting_tool"):
            status = turns.go_on(database, run_id)
        elif status == "awaiting_model":
            turns.end_over_budget(database, run_id)
        if status not in ("queued", "running"):
            return turns.state(database, run_id)
        # The lock of the turn ends with this transaction; from the claim on it is the session's.
        try:
            claim = queue.claim_turn(database, run_id, driver.name, LEASE, nowait)
        except BaseException as error:
            raise driver.stopped(error) from None
        # A ticket holds for one transaction. Whoever could claim the turn may drive it to its end.
        with identities.acting(claim.tenant_id, claim.principal_id):
            try:
                driver.claims[run_id] = claim
                transactions.commit()
                driver.begin([claim])
                while driver.claims:
                    driver.run_once(SLICE)
            except BaseException as error:
                raise driver.stopped(error) from None
            if driver.failure is not None:
                raise driver.failure
            return turns.state(database, run_id)


def work(session: Session, max_seconds: int, concurrency: int) -> int:
    """Drive the turns of the queue.

    Args:
        max_seconds: after that no turn and no step is begun; what runs is waited for.
        concurrency: most turns at a time.

    Returns:
        how many turns have left this driver: finished, put off, or waiting for a person.

    Raises:
        InvalidInput: a limit is not positive.
    """
    if max_seconds < 1 or concurrency < 1:
        raise InvalidInput(
            "max_seconds and concurrency are at least 1",
            hint="CALL aos_agent.work(max_seconds => 55, concurrency => 64);",
        )
    database = session.database
    until = time.monotonic() + max_seconds
    next_claim = next_schedule = 0.0
    more_wait = False
    with database.status.named(), database.own_transactions() as transactions:
        require(database, "worker")
        driver = Driver(session, transactions, puts_off=True)
        driver.show()  # before it has anything: by the name nobody interrupts it (cancel.sql)
        try:
            while driver.claims or not driver.is_closing:
                now = time.monotonic()
                if now >= until:
                    driver.close()
                if now >= next_schedule and not driver.is_closing:
                    next_schedule = now + SCHEDULE_INTERVAL
                    schedule.fire(database, session.identities, MOST_SCHEDULES)
                    driver.rate_limits.look()
                room = concurrency - len(driver.claims)
                is_enough = more_wait and room >= min(concurrency, ENOUGH_ROOM)
                if room and (now >= next_claim or is_enough) and not driver.is_closing:
                    more_wait = driver.claim(room)
                    next_claim = now + (CLAIM_INTERVAL if driver.claims else IDLE_CLAIM_INTERVAL)
                driver.run_once(SLICE)
        except BaseException as error:
            raise driver.stopped(error) from None
        return driver.ended
