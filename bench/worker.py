"""One contestant in one process: JSON lines in, JSON lines out.

It is started with the contestant's own interpreter and one argument, a JSON object: module and
class below contestants/, options, database, base_url, seed (number of its first turn) and first
(a conversation for one turn at once, or null). Commands, {"command": ..., ...} -> {"ok": ...}:

    setup      create the tables
    prepare    threads: open conversations with these names; their ids for the commands below
    open       clients: connect
    turns      threads, turns, turns_per_thread: by one client, one conversation after the other
    seed       thread, turns: make a conversation longer with copies of its turns
    load       threads, clients, seconds: many clients at once
    memory     resident memory of this process
    quit
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
import resource
import statistics
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from contestants.base import Contestant, Endpoints
from contestants.standard_turn import check_answer, user_text

TURNS_PER_THREAD = 5  # under load


def cpu_seconds() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_kb() -> int:
    """Resident memory of this process, in kB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Worker:
    """Drives one contestant, whether its methods are plain or coroutines."""

    def __init__(self, contestant: Contestant, seed: int) -> None:
        self.contestant = contestant
        self.numbers = itertools.count(seed + 1)
        self.is_open = False
        self.pool: ThreadPoolExecutor | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        if contestant.is_async:
            import uvloop

            self.loop = uvloop.new_event_loop()
            asyncio.set_event_loop(self.loop)

    def wait(self, result: Any) -> Any:
        """The value of what a method of the contestant returned."""
        return self.loop.run_until_complete(result) if self.loop else result

    def do_setup(self) -> None:
        self.contestant.setup()

    def do_prepare(self, threads: list[str]) -> list[str]:
        return self.contestant.prepare(threads)

    def do_open(self, clients: int) -> None:
        self.wait(self.contestant.open(clients))
        self.is_open = True

    def do_turns(self, threads: list[str], turns: int, turns_per_thread: int) -> dict[str, Any]:
        numbers = [next(self.numbers) for _ in range(turns)]
        work = [
            (threads[i // turns_per_thread], user_text(number)) for i, number in enumerate(numbers)
        ]
        nanoseconds: list[int] = []
        answers: list[str] = []
        clock, turn = time.perf_counter_ns, self.contestant.turn

        async def all_turns() -> None:
            for thread, text in work:
                start = clock()
                answers.append(await turn(thread, text))
                nanoseconds.append(clock() - start)

        cpu = cpu_seconds()
        if self.loop:
            self.loop.run_until_complete(all_turns())
        else:
            for thread, text in work:
                start = clock()
                answers.append(turn(thread, text))
                nanoseconds.append(clock() - start)
        cpu = cpu_seconds() - cpu
        for number, answer in zip(numbers, answers, strict=True):
            check_answer(number, answer)
        return {"ns": nanoseconds, "cpu": cpu}

    def do_seed(self, thread: str, turns: int) -> None:
        self.contestant.seed(thread, turns)

    def do_load(self, threads: list[str], clients: int, seconds: float) -> dict[str, Any]:
        """Client n takes the n-th part of `threads`, each for a few turns."""
        share = len(threads) // clients
        latencies: list[float] = []
        lock = threading.Lock()
        start_cpu, start = cpu_seconds(), time.monotonic()
        end = start + seconds

        def next_turn(client: int, number_of_turn: int) -> tuple[str, int]:
            with lock:
                number = next(self.numbers)
            return threads[client * share + number_of_turn // TURNS_PER_THREAD], number

        async def async_client(client: int) -> None:
            for i in itertools.count():
                began = time.monotonic()
                if began >= end:
                    return
                thread, number = next_turn(client, i)
                check_answer(number, await self.contestant.turn(thread, user_text(number)))
                latencies.append(time.monotonic() - began)

        def client_thread(client: int) -> None:
            for i in itertools.count():
                began = time.monotonic()
                if began >= end:
                    return
                thread, number = next_turn(client, i)
                check_answer(number, self.contestant.turn(thread, user_text(number)))
                latencies.append(time.monotonic() - began)

        if self.loop:

            async def all_clients() -> None:
                await asyncio.gather(*map(async_client, range(clients)))

            self.loop.run_until_complete(all_clients())
        else:
            if self.pool is None:  # kept, so that connections that belong to a thread survive
                self.pool = ThreadPoolExecutor(clients)
            list(self.pool.map(client_thread, range(clients)))
        return {
            "turns": len(latencies),
            "elapsed": time.monotonic() - start,
            "cpu": cpu_seconds() - start_cpu,
            "latency": statistics.median(latencies),
        }

    def do_memory(self) -> int:
        return resident_kb()

    def do_quit(self) -> None:
        if self.is_open:  # a worker that only sets up never connected
            self.wait(self.contestant.close())


def main() -> None:
    """Obey commands until "quit" or the end of the input."""
    spec = json.loads(sys.argv[1])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to the error output
    os.environ["OPENAI_API_KEY"] = "sk-mock"  # some clients refuse to start without one

    def answer(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")

    try:
        module = importlib.import_module("contestants." + spec["module"])
        endpoints = Endpoints(base_url=spec["base_url"], **spec["database"])
        worker = Worker(getattr(module, spec["class"])(endpoints, **spec["options"]), spec["seed"])
        if spec["first"]:
            worker.do_open(1)
            worker.do_turns([spec["first"]], 1, 1)
            answer({"ok": {"cpu": cpu_seconds(), "resident_kb": resident_kb()}})
    except Exception as error:
        traceback.print_exc()
        answer({"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    for line in sys.stdin:
        message = json.loads(line)
        command = message.pop("command")
        try:
            answer({"ok": getattr(worker, "do_" + command)(**message)})
        except Exception as error:
            traceback.print_exc()
            sys.stderr.flush()
            answer({"error": f"{type(error).__name__}: {error}"})
        if command == "quit":
            break
    os._exit(0)  # no interpreter shutdown: some peers' background threads would hold it up


if __name__ == "__main__":
    main()
