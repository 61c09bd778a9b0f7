"""Command line of the outside worker."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AgentOSError

if TYPE_CHECKING:
    from .pool import Plan
    from .tool_file import Functions

DESCRIPTION = """\
Drives turns of agents whose runner is external: calls their models with the keys of this
environment, runs their tools, and records all of it in the database.
"""
EPILOG = """\
The key of a provider is taken from the environment variable that its row names
(aos_meta.provider.api_key_env), for example OPENAI_API_KEY.

Stop it with SIGTERM or Ctrl-C: it lets tool calls end, gives its turns back, and another worker
goes on with them. A second signal ends it without a word.
"""
MISSING = "pip install 'psycopg[binary]' openai anthropic requests"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        import httpx2  # noqa: F401
        import psycopg
        import requests  # noqa: F401
    except ImportError as error:
        _complain(f"the package {error.name} is missing", f"Install what it needs: {MISSING}")
        return 2
    from .pool import Plan
    from .tool_file import load_tools

    plan = Plan(
        dsn=given.dsn,
        name=given.name,
        concurrency=given.concurrency,
        lease_seconds=given.lease,
        poll_seconds=given.poll,
        grace_seconds=given.grace,
        is_once=given.once,
    )
    try:
        functions = load_tools(given.tools) if given.tools else {}
        # Not asyncio.run, which would wait in the end for tools that still run in threads.
        asyncio.new_event_loop().run_until_complete(_work(plan, functions, _form(given)))
    except AgentOSError as error:
        _complain(error.message, error.hint)
        return 2
    except psycopg.Error as error:
        _complain(error.diag.message_primary or str(error).strip(), error.diag.message_hint)
        return 1
    return 0


async def _work(plan: Plan, functions: Functions, form: str) -> None:
    from .database import open_connection
    from .pool import Worker
    from .progress import Progress

    # A wrong dsn is an error at once; a server that goes away later is waited for.
    await (await open_connection(plan.dsn)).close()
    loop = asyncio.get_running_loop()
    # Tools may block; what looks up host names is in there, too.
    loop.set_default_executor(ThreadPoolExecutor(2 * plan.concurrency + 8))
    worker = Worker(plan, functions, os.environ, Progress(form))  # type: ignore[arg-type]

    def stop() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, lambda received, _frame: os._exit(128 + received))
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await worker.run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pgagentos.worker",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dsn",
        default="",
        help="the database: postgresql://worker@host/db, or key=value pairs; what it leaves out"
        " comes from PGHOST, PGUSER and the rest",
    )
    parser.add_argument(
        "--tools", type=Path, metavar="FILE.py", help="functions with the names of external skills"
    )
    parser.add_argument(
        "--concurrency", type=_count, default=16, metavar="N", help="most turns at a time (16)"
    )
    parser.add_argument(
        "--lease",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="when others take over the turns of a worker that says nothing any more (60)",
    )
    parser.add_argument(
        "--poll",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="longest time between two looks at the queue (5)",
    )
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=8.0,
        metavar="SECONDS",
        help="how long tool calls may take to end when it is told to stop (8)",
    )
    parser.add_argument(
        "--name",
        default=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}",
        help="of this worker in aos_agent.queue; no other may have it (host, process, chance)",
    )
    parser.add_argument("--once", action="store_true", help="end when no turn waits any more")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--quiet", action="store_true", help="print nothing but errors")
    form.add_argument("--json", action="store_true", help="print one JSON object an event")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("between 1 and 1000")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError("between 0.1 and 86400 seconds")
    return seconds


def _form(given: argparse.Namespace) -> str:
    return "quiet" if given.quiet else "json" if given.json else "lines"


def _complain(message: str, hint: str | None) -> None:
    print(f"pgagentos.worker: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # a tool that still runs in a thread would keep the process
