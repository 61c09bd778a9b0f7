"""What ends sessions, processes and the whole server while the turns of a chaos run go on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter

import psycopg

from chaos.drivers import Run
from chaos.plans import TENANTS
from chaos.stage import OPERATOR, user

#: The share of each kind among the kills.
KINDS = {
    "terminate": 28,  # pg_terminate_backend of a driver
    "kill backend": 6,  # kill -9, which makes the server restart all of its sessions
    "immediate shutdown": 6,  # of the server, and a start
    "kill outside worker": 10,  # kill -9
}
#: Cancels beside each kill; they are not counted as kills.
CANCELS = 1
#: Seconds after which the next kill comes even where no turn has ended since.
LONGEST_PAUSE = 3.0


class Killer:
    """Spreads a number of kills over the turns of a run.

    Args:
        run: whose drivers are ended.
        turns: how many turns there are in all.
        kills: how many kills.
        has_outside: whether there are outside workers.
    """

    def __init__(self, run: Run, turns: int, kills: int, has_outside: bool) -> None:
        self.run, self.turns, self.kills = run, turns, kills
        self.chance = random.Random(run.seed + 1)
        self.done: Counter[str] = Counter()
        self.cancelled = 0
        kinds = dict(KINDS)
        if not has_outside:
            del kinds["kill outside worker"]
        self.bag = self.chance.choices([*kinds], [*kinds.values()], k=kills)
        # Each kind comes, however few there are.
        self.bag[: len(kinds)] = list(kinds)[:kills]
        self.chance.shuffle(self.bag)

    def __call__(self) -> None:
        """Kill; the last one comes when nine tenths of the turns are over."""
        for number, kind in enumerate(self.bag):
            self.wait_for_progress(0.9 * self.turns * (number + 1) / (self.kills + 1))
            if self.run.stop.is_set():
                return
            late = time.monotonic() + 30
            while not self.end_somebody(kind) and time.monotonic() < late:
                time.sleep(0.05)
            for _ in range(CANCELS):
                time.sleep(self.chance.uniform(0.1, 0.4))
                self.cancel()

    def wait_for_progress(self, ended: float) -> None:
        """Wait until so many turns are over, or for a while."""
        late = time.monotonic() + LONGEST_PAUSE
        while not self.run.stop.is_set() and time.monotonic() < late:
            with (
                contextlib.suppress(psycopg.Error),
                contextlib.closing(self.run.server.connect()) as admin,
            ):
                row = admin.execute(
                    "select count(*) from aos_core.run where finished_at is not null"
                ).fetchone()
                if row is not None and row[0] >= ended:
                    break
            time.sleep(0.2)
        time.sleep(self.chance.uniform(0, 0.3))  # a kill is to come at any moment

    def end_somebody(self, kind: str) -> bool:
        """Do one kill.

        Returns:
            whether there was anybody to be killed.
        """
        if kind == "immediate shutdown":
            self.run.server.crash()
        elif kind == "kill outside worker":
            if not self.run.outside:
                return False
            self.chance.choice(self.run.outside).kill()
        elif not self.end_backend(kind):
            return False
        self.done[kind] += 1
        return True

    def end_backend(self, kind: str) -> bool:
        """End the backend of one driver.

        Returns:
            whether there was one.
        """
        try:
            logins = [OPERATOR, *map(user, range(TENANTS))]
            pids = self.run.server.backends(*logins)
            if not pids:
                return False
            pid = self.chance.choice(pids)
            if kind == "kill backend":
                os.kill(pid, signal.SIGKILL)
                return True
            function = "pg_cancel_backend" if kind == "cancel" else "pg_terminate_backend"
            with contextlib.closing(self.run.server.connect()) as admin:
                row = admin.execute(f"select {function}(%s)", (pid,)).fetchone()
            return row == (True,)
        except (psycopg.Error, ProcessLookupError):
            return False  # the server is just starting, or the backend has gone

    def cancel(self) -> None:
        """Cancel what one driver is doing."""
        self.cancelled += self.end_backend("cancel")
