"""Thousands of turns under all drivers, while everything that can be killed is killed.

The size of the run and its seed come from the environment: ``PGAGENTOS_CHAOS_TURNS``,
``PGAGENTOS_CHAOS_KILLS``, ``PGAGENTOS_CHAOS_SEED``. To find out whose a fault is,
``PGAGENTOS_CHAOS_DRIVERS`` names those that take part (``select,stepwise,work,outside``).
docs/crash_recovery.md says what is promised.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chaos import stage
from chaos.checks import Findings, check
from chaos.drivers import Run, drivers
from chaos.killers import Killer
from chaos.outside_world import OutsideWorld, start_world
from chaos.plans import DRIVERS, Plan, draw
from cluster import start_local

TURNS = int(os.environ.get("PGAGENTOS_CHAOS_TURNS", "2000"))
KILLS = int(os.environ.get("PGAGENTOS_CHAOS_KILLS", "54"))
SEED = int(os.environ.get("PGAGENTOS_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
CAST = os.environ.get("PGAGENTOS_CHAOS_DRIVERS", ",".join(DRIVERS)).split(",")
#: Seconds after which a run that makes no progress is given up; more than a slow machine needs.
PATIENCE = 240.0


@pytest.fixture
def world() -> Iterator[OutsideWorld]:
    """The model and the services, in a process of their own."""
    with (
        tempfile.TemporaryDirectory(prefix="pgagentos-chaos-") as directory,
        start_world(SEED, Path(directory)) as started,
    ):
        yield started


@pytest.fixture
def server(staged: dict[str, str], world: OutsideWorld) -> Iterator[stage.Server]:
    """A server whose commits outlive its death."""
    settings = {
        **staged,
        "synchronous_commit": "on",
        # The machine goes on, so what was written to files is there after any kill.
        "fsync": "off",
        "full_page_writes": "off",
        "max_connections": "60",
    }
    with start_local(settings) as cluster:
        cluster.create_template()
        with cluster.database("chaos") as database:
            stage.build(database, world.url)
            yield stage.Server(database, settings)


def wait_for_the_end(run: Run, turns: int) -> None:
    """Wait until all turns are over, or nothing has ended for a long time."""
    ended, late = -1, time.monotonic() + PATIENCE
    while time.monotonic() < late and not run.stop.is_set():
        with contextlib.closing(run.server.connect()) as admin:
            row = admin.execute(
                "select count(*) from aos_core.run where finished_at is not null"
            ).fetchone()
        assert row is not None
        if row[0] > ended:
            ended, late = row[0], time.monotonic() + PATIENCE
        if ended >= turns:
            return
        time.sleep(0.2)


def test_no_turn_is_lost_or_doubled_whatever_is_killed(
    server: stage.Server, world: OutsideWorld
) -> None:
    conversations = draw(SEED, TURNS, CAST)
    plans = [plan for conversation in conversations for plan in conversation]
    print(f"\nchaos: seed {SEED}, {len(plans)} turns in {len(conversations)} conversations")
    run = Run(server, world.url, SEED)
    has_outside = any(plan.driver == "outside" for plan in plans)
    killer = Killer(run, len(plans), KILLS, has_outside)
    threads = [
        threading.Thread(target=member, daemon=True)
        for member in drivers(run, conversations, world.log.parent)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        killer()
        killed = time.monotonic() - began
        wait_for_the_end(run, len(plans))
        seconds = time.monotonic() - began
    finally:
        run.stop.set()
        for thread in threads:
            thread.join(60)
    with contextlib.closing(server.connect()) as admin:
        findings = check(admin, plans, run.turn_ids, world.log)
        see_that_the_checks_see(admin, plans, run.turn_ids, world.log)
    report(run, killer, findings, seconds, killed, Counter(plan.driver for plan in plans))
    findings.expect(not run.surprises, f"errors that nobody expected: {run.surprises[:5]}")
    findings.expect(killer.done.total() == KILLS, f"only {killer.done.total()} of {KILLS} kills")
    problems = "\n".join(findings.problems[:30])
    assert not findings.problems, f"seed {SEED}: {len(findings.problems)} problems\n{problems}"


def see_that_the_checks_see(
    admin: psycopg.Connection, plans: list[Plan], turn_ids: dict[int, str], log: Path
) -> None:
    """One effect too many, one turn too few, one key too many: each is found."""
    before = check(admin, plans, turn_ids, log)
    missing = dict(turn_ids)
    missing.popitem()
    assert check(admin, plans, missing, log).figures["lost"] > before.figures["lost"]
    entry = json.loads(log.read_text().splitlines()[0])
    with log.open("a") as lines:
        lines.write(json.dumps({**entry, "key": f"{entry['key']}0"}) + "\n")
    other_key = check(admin, plans, turn_ids, log)
    assert len(other_key.problems) > len(before.problems)
    admin.execute("insert into ledger select * from ledger limit 1")
    doubled = check(admin, plans, turn_ids, log)
    assert doubled.figures["doubled"] == before.figures["doubled"] + 1


def report(
    run: Run, killer: Killer, findings: Findings, seconds: float, killed: float, by: Counter[str]
) -> None:
    """Print the figures."""
    print(f"chaos: {by.total()} turns in {seconds:.0f} s, kills in the first {killed:.0f} s: {by}")
    print(f"chaos: {killer.done.total()} kills: {dict(killer.done)}, {killer.cancelled} cancels")
    for what, figure in findings.figures.items():
        print(f"chaos: {what}: {figure}")
    for what, many in sorted(run.met.items()):
        print(f"chaos: met {many} x {what}")
