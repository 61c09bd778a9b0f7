"""Those who drive the turns of a chaos run, and the people around them.

Each is a thread (an outside worker a process) that goes on whatever happens to its session: it
connects again and asks the rows what is to be done. What it met on the way is counted.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg

from chaos.plans import TENANTS, Plan
from chaos.stage import OPERATOR, Server, agent, user
from cluster import CHECKOUT

FINAL = ("completed", "failed", "cancelled")
#: Errors that a driver has to expect here: it was ended or cancelled; somebody else has the turn.
EXPECTED = frozenset({"57P01", "57P02", "57P03", "57014", "OS004", "08006", "08001", None})
#: More errors that nobody expected end the run.
MOST_SURPRISES = 20
#: Turns that a submitter has under way at once.
UNDER_WAY = 40
#: Seconds until the turns of a dead outside worker are given to others.
LEASE = 5
#: Seconds for such a worker to stop.
STOP_PATIENCE = 30
#: Seconds of one CALL aos_agent.work, and turns at once.
WORK_SECONDS, CONCURRENCY = 4, 32


class Run:
    """What all drivers of a run share.

    Args:
        server: where they work.
        world_url: where the services are.
        seed: of the run.
    """

    def __init__(self, server: Server, world_url: str, seed: int) -> None:
        self.server = server
        self.world_url = world_url
        self.seed = seed
        self.stop = threading.Event()
        self.turn_ids: dict[int, str] = {}
        self.met: Counter[str] = Counter()
        self.surprises: list[str] = []
        self.outside: list[subprocess.Popen[bytes]] = []

    def keep(self, who: str, login: str, work: Callable[[psycopg.Connection], bool]) -> None:
        """Do *work* again and again until it returns False or the run is over."""
        connection: psycopg.Connection | None = None
        while not self.stop.is_set():
            try:
                if connection is None or connection.closed:
                    connection = self.server.connect(login)
                if not work(connection):
                    break
            except psycopg.Error as error:
                self.met[f"{who} {error.sqlstate or 'connection lost'}"] += 1
                if error.sqlstate not in EXPECTED:
                    self.surprises.append(f"{who}: {error.sqlstate}: {error} {error.diag.context}")
                    if len(self.surprises) > MOST_SURPRISES:
                        self.stop.set()
                    time.sleep(0.5)
                if connection is not None and connection.broken:
                    connection.close()
        if connection is not None:
            connection.close()


def _status(connection: psycopg.Connection, turn_id: str) -> str:
    row = connection.execute(
        "select status from aos_core.run where run_id = %s", (turn_id,)
    ).fetchone()
    assert row is not None, f"turn {turn_id} is not there any more"
    return str(row[0])


def _open(connection: psycopg.Connection, plan: Plan) -> str:
    row = connection.execute("select aos_agent.open_conversation(%s)", (agent(plan),)).fetchone()
    assert row is not None
    return str(row[0])


class Client:
    """Somebody who starts the turns of some conversations and drives each to its end himself.

    Args:
        drive: a statement with the parameter turn_id.
    """

    def __init__(
        self, run: Run, who: str, tenant: int, conversations: Sequence[list[Plan]], drive: str
    ) -> None:
        self.run, self.who, self.tenant, self.drive = run, who, tenant, drive
        self.plans = [(plan, number) for number, c in enumerate(conversations) for plan in c]
        self.opened: dict[int, str] = {}

    def __call__(self) -> None:
        self.run.keep(self.who, user(self.tenant), self.step)

    def step(self, connection: psycopg.Connection) -> bool:
        """Bring the first turn of the list a bit further."""
        if not self.plans:
            return False
        plan, conversation = self.plans[0]
        if plan.number not in self.run.turn_ids:
            self.run.turn_ids[plan.number] = self.started(connection, plan, conversation)
        turn_id = self.run.turn_ids[plan.number]
        try:
            connection.execute(self.drive, (turn_id,))
        finally:
            if not connection.broken and _status(connection, turn_id) in FINAL:
                del self.plans[0]
        if self.plans and self.plans[0][0] is plan:
            time.sleep(0.05)  # it waits for a person, or for whoever has it now
        return True

    def started(self, connection: psycopg.Connection, plan: Plan, conversation: int) -> str:
        """Start a turn, unless an attempt whose end was not heard of has done so."""
        found = connection.execute(
            "select run_id::text from aos_agent.message where content = %s", (plan.content,)
        ).fetchone()
        if found is not None:
            return str(found[0])
        if conversation not in self.opened:
            self.opened[conversation] = _open(connection, plan)
        opened = self.opened[conversation]
        with connection.transaction():
            connection.execute("select aos_agent.add_user_message(%s, %s)", (opened, plan.content))
            row = connection.execute("select aos_agent.start_turn(%s)", (opened,)).fetchone()
        assert row is not None
        return str(row[0])


class Submitter:
    """Somebody who puts the turns of some conversations into the queue, each under a dedup key."""

    def __init__(self, run: Run, tenant: int, conversations: Sequence[list[Plan]]) -> None:
        self.run, self.tenant = run, tenant
        self.waiting = [list(plans) for plans in conversations]
        self.opened: dict[int, str] = {}  # by the number of the first turn
        self.open: list[tuple[Plan, list[Plan], str]] = []

    def __call__(self) -> None:
        self.run.keep("submitter", user(self.tenant), self.step)

    def step(self, connection: psycopg.Connection) -> bool:
        """Look for turns that have ended, and submit the next ones."""
        if not self.waiting and not self.open:
            return False
        ended = {
            row[0]
            for row in connection.execute(
                "select run_id::text from aos_core.run where run_id = any (%s::uuid[])"
                " and status = any (%s)",
                ([self.run.turn_ids[plan.number] for plan, _, _ in self.open], list(FINAL)),
            )
        }
        for entry in list(self.open):
            plan, rest, conversation = entry
            if self.run.turn_ids[plan.number] in ended:
                if rest:
                    self.submit(connection, rest, conversation)
                self.open.remove(entry)
        while self.waiting and len(self.open) < UNDER_WAY:
            plans = self.waiting[0]
            first = plans[0].number
            if first not in self.opened:
                self.opened[first] = _open(connection, plans[0])
            self.submit(connection, plans, self.opened[first])
            del self.waiting[0]
        time.sleep(0.05)
        return True

    def submit(self, connection: psycopg.Connection, plans: list[Plan], conversation: str) -> None:
        """Submit the first of these turns; when that is not heard of, the same is done again."""
        plan = plans[0]
        row = connection.execute(
            "select aos_agent.submit(%s, %s, priority => %s::integer, dedup_key => %s)::text",
            (conversation, plan.content, plan.number % 3, f"chaos {plan.number}"),
        ).fetchone()
        assert row is not None
        self.run.turn_ids[plan.number] = row[0]
        self.open.append((plan, plans[1:], conversation))


class Work:
    """A backend that drives the queue."""

    def __init__(self, run: Run, login: str) -> None:
        self.run, self.login = run, login

    def __call__(self) -> None:
        self.run.keep("work", self.login, self.step)

    def step(self, connection: psycopg.Connection) -> bool:
        """One CALL."""
        connection.execute("call aos_agent.work(%s, %s)", (WORK_SECONDS, CONCURRENCY))
        self.run.met["work ended by itself"] += 1
        return True


class Person:
    """Decides about tool calls: by their arguments, so that it is the same in every run."""

    def __init__(self, run: Run, tenant: int) -> None:
        self.run, self.tenant = run, tenant

    def __call__(self) -> None:
        self.run.keep("person", user(self.tenant), self.step)

    def step(self, connection: psycopg.Connection) -> bool:
        """Decide about all that waits."""
        rows: list[tuple[Any, ...]] = connection.execute(
            "select p.step_id::text, s.tool_name, s.arguments ->> 'turn', s.arguments ->> 'call'"
            " from aos_agent.pending_approval as p"
            " join aos_core.step as s on s.step_id = p.step_id"
        ).fetchall()
        for step_id, tool, turn, call in rows:
            yes = random.Random(repr((self.run.seed, tool, turn, call))).random() < 0.7
            function = "approve" if yes else "reject"
            try:
                connection.execute(f"select aos_agent.{function}_tool_call(%s)", (step_id,))
                self.run.met[f"person: {function} {tool}"] += 1
            except psycopg.errors.Error as error:
                # It was heard of no more that an attempt before has been written down.
                if error.sqlstate != "OS003":
                    raise
        time.sleep(0.1)
        return True


class Outside:
    """An outside worker: a process of its own, started again when it was killed."""

    def __init__(self, run: Run, login: str, file: Path) -> None:
        self.run, self.login, self.file = run, login, file

    def __call__(self) -> None:
        dsn = self.run.server.database.conninfo(user=self.login)
        tools = str(CHECKOUT / "tests/chaos/worker_tools.py")
        options = ["--dsn", dsn, "--lease", str(LEASE), "--tools", tools]
        # Told to abort, it writes down where it stands.
        command = [sys.executable, "-X", "faulthandler", "-m", "pgagentos.worker", *options]
        while not self.run.stop.is_set():
            with (
                self.file.open("w") as output,
                subprocess.Popen(
                    command,
                    cwd=CHECKOUT / "plpy_src",
                    env={**os.environ, "CHAOS_WORLD": self.run.world_url},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                ) as process,
            ):
                self.run.outside.append(process)
                while process.poll() is None and not self.run.stop.wait(0.1):
                    pass
                self.run.outside.remove(process)
                if process.poll() is None:
                    self.end(process)
            self.run.met[f"outside worker ended with {process.returncode}"] += 1
            if process.returncode not in (0, -9):
                time.sleep(0.5)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Let it stop, which gives its turns back."""
        process.terminate()
        try:
            process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            process.wait()
            self.run.surprises.append(
                f"an outside worker did not stop: {self.file.read_text()[-4000:]}"
            )


def drivers(
    run: Run, conversations: Sequence[list[Plan]], directory: Path
) -> list[Callable[[], None]]:
    """All who take part in a run.

    Args:
        directory: where outside workers write what they print.
    """
    of = {
        (name, tenant): [c for c in conversations if (c[0].driver, c[0].tenant) == (name, tenant)]
        for name in ("select", "stepwise", "work", "outside")
        for tenant in range(TENANTS)
    }
    cast: list[Callable[[], None]] = []
    for tenant in range(TENANTS):
        for who, drive in (
            ("select", "select aos_agent.run_turn(%s)"),
            ("stepwise", "call aos_agent.run_turn_stepwise(%s)"),
        ):
            mine = of[who, tenant]
            half = len(mine) // 2
            cast += [
                Client(run, who, tenant, part, drive) for part in (mine[:half], mine[half:]) if part
            ]
        cast.append(Submitter(run, tenant, of["work", tenant] + of["outside", tenant]))
        cast.append(Person(run, tenant))
    cast += [Work(run, OPERATOR), Work(run, OPERATOR), Work(run, user(0))]
    if any(of["outside", tenant] for tenant in range(TENANTS)):
        cast += [Outside(run, OPERATOR, directory / f"worker_{n}.log") for n in (1, 2)]
    return cast
