"""Many turns at once: what claims them, keeps the claims, and gives them back in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg

from ..store import worker as statements
from .database import Connections, first_line
from .model_clients import ModelClients
from .progress import Progress
from .tool_file import Functions
from .turn import STOP_SECONDS, ClaimedTurn, Means

#: Statements at a time, besides those that claim and keep claims.
_MOST_CONNECTIONS = 8


class Plan(NamedTuple):
    """How a worker works.

    Args:
        dsn: of the database.
        name: of this worker, as ``aos_agent.queue`` shows it.
        concurrency: most turns at a time.
        lease_seconds: for how long a claim holds without a word from its worker.
        poll_seconds: longest time between two looks at the queue when nothing wakes the worker.
        grace_seconds: how long tool calls may take to end when the worker is told to stop.
        is_once: end when nothing is left to do.
    """

    dsn: str
    name: str
    concurrency: int
    lease_seconds: float
    poll_seconds: float
    grace_seconds: float
    is_once: bool


class Worker:
    """One worker.

    Args:
        functions: the tools.
        environment: where the keys of the providers are.
    """

    def __init__(
        self, plan: Plan, functions: Functions, environment: Mapping[str, str], progress: Progress
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._clients = ModelClients()
        # A connection of its own, so that slow statements of turns never cost a claim.
        self._claims = Connections(plan.dsn, 1, progress.tell)
        self._statements = Connections(
            plan.dsn, min(plan.concurrency, _MOST_CONNECTIONS), progress.tell
        )
        self._means = Means(self._statements, self._clients, functions, environment, progress)
        self._turns: dict[asyncio.Task[None], ClaimedTurn] = {}
        self._wake = asyncio.Event()
        #: ids of turns of which somebody says that they were cancelled
        self._said_cancelled: set[str] = set()
        self._told = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Claim nothing more and give back what is claimed."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until :meth:`stop` is called, or, with *is_once*, until nothing is left to do.

        Raises:
            psycopg.Error: the database refuses this worker, for example for want of a right.
        """
        tell = self._progress.tell
        claiming = asyncio.create_task(self._claim())
        working: list[asyncio.Task[Any]] = [
            claiming,
            *(
                asyncio.create_task(part)
                for part in (
                    self._listen(),
                    self._look_for_cancelled(),
                    self._keep_claims(),
                    self._stopping.wait(),
                )
            ),
        ]
        try:
            ended, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # raises what it ended with
        finally:
            claiming.cancel()
            await asyncio.wait([claiming])
            tell("stopping", turns=len(self._turns))
            await self._let_all_go()  # what keeps the claims goes on meanwhile
            for task in working:
                task.cancel()
            await asyncio.wait(working)
            await self._clients.close()
            await self._statements.close()
            await self._claims.close()
        tell("stopped", worker=self._plan.name)

    async def _claim(self) -> None:
        plan = self._plan
        lease = f"{plan.lease_seconds} seconds"
        # Before Python 3.12 wait_for swallows a cancel that comes together with what it waits for.
        while not self._stopping.is_set():
            self._wake.clear()
            if len(self._turns) >= plan.concurrency:
                await self._wake.wait()
                continue
            claiming = asyncio.ensure_future(self._claims.value(statements.CLAIM, plan.name, lease))
            try:
                state = await asyncio.shield(claiming)
            except asyncio.CancelledError:
                # Told to stop in the middle of a claim: what it brought is given back, too.
                with contextlib.suppress(asyncio.TimeoutError, psycopg.Error):
                    if state := await asyncio.wait_for(claiming, STOP_SECONDS):
                        self._take(state)
                raise
            if state is not None:
                self._take(state)
            elif plan.is_once and not self._turns:
                return
            else:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), plan.poll_seconds)

    def _take(self, state: Mapping[str, Any]) -> None:
        turn = ClaimedTurn(state, self._means)
        self._progress.tell("claimed", turn.turn_id, agent=state.get("agent"), fence=turn.fence)
        task = turn.start()
        self._turns[task] = turn
        task.add_done_callback(self._turn_ended)

    def _turn_ended(self, task: asyncio.Task[None]) -> None:
        del self._turns[task]
        self._wake.set()

    async def _keep_claims(self) -> None:
        """The heartbeat: three in a lease, so that one may be lost."""
        plan = self._plan
        lease = f"{plan.lease_seconds} seconds"
        while True:
            await asyncio.sleep(plan.lease_seconds / 3)
            for turn in list(self._turns.values()):
                # A statement that is on its way has the claim's row locked: nobody takes it.
                if not turn.is_in_statement:
                    await turn.extend(self._claims, lease)

    async def _listen(self) -> None:
        """Be woken when turns arrive, and told when turns are cancelled."""
        while True:
            connection = await self._claims.connect()
            try:
                async with connection:
                    for statement in statements.LISTEN:
                        await connection.execute(statement)
                    # What was sent while nobody listened is found by a look.
                    self._wake.set()
                    self._progress.tell("listening", worker=self._plan.name)
                    async for note in connection.notifies():
                        self._hear(note)
            except psycopg.OperationalError as error:
                self._progress.tell("connection lost", error=first_line(error))

    def _hear(self, note: psycopg.Notify) -> None:
        if note.channel == statements.QUEUE_CHANNEL:
            if note.payload == "external":
                self._wake.set()
            return
        if any(turn.turn_id == note.payload for turn in self._turns.values()):
            self._said_cancelled.add(note.payload)
            self._told.set()

    async def _look_for_cancelled(self) -> None:
        """Drop turns that were cancelled. Anybody can say that of one: its row says the truth."""
        while True:
            await self._told.wait()
            self._told.clear()
            while self._said_cancelled:
                turn_id = self._said_cancelled.pop()
                if await self._claims.value(statements.IS_CANCELLED, turn_id):
                    for turn in list(self._turns.values()):
                        if turn.turn_id == turn_id:
                            turn.let_go("cancelled")

    async def _let_all_go(self) -> None:
        """Give all claims back: within a second, or when tool calls that are on their way end."""
        for turn in list(self._turns.values()):
            turn.let_go("stopping")
        calling = [task for task, turn in self._turns.items() if turn.is_calling_tools]
        if calling:
            await asyncio.wait(calling, timeout=self._plan.grace_seconds)
        for turn in list(self._turns.values()):
            turn.cut_off()
        if self._turns:
            await asyncio.wait(list(self._turns), timeout=2 * STOP_SECONDS)
