#!/usr/bin/env python3
"""Follows a conversation: prints the steps of its turns as they are committed. Needs psycopg 3.

python3 examples/watch.py --dsn 'dbname=mydb' CONVERSATION_ID

It ends with the turn that is under way; --on goes on with later ones, until Ctrl-C. LISTEN needs a
session of its own: connect past a pooler that lends sessions for one transaction.
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row

FINAL = {"completed", "failed", "cancelled"}

STEPS = """
    select s.turn_no, s.step_no, s.kind, s.status, s.tool_name, s.arguments::text, s.content
      from aos_core.steps as s
     where s.conversation_id = %s and s.turn_no >= %s
     order by s.turn_no, s.step_no
"""
LAST_TURN = """
    select r.turn_no, r.status, r.error ->> 'message' as problem from aos_core.run as r
     where r.conversation_id = %s order by r.turn_no desc limit 1
"""


class Watch:
    """What was printed of a conversation so far."""

    def __init__(self, connection: psycopg.Connection[Any], conversation_id: UUID) -> None:
        self._connection = connection
        self._conversation_id = conversation_id
        self._printed: dict[tuple[int, int], str] = {}
        self._turn_no = 1  # earlier turns are over
        self._ended = 0

    def print_news(self) -> bool:
        """Print what is new; returns whether the last turn is over."""
        for step in self._connection.execute(STEPS, (self._conversation_id, self._turn_no)):
            key = (step.turn_no, step.step_no)
            if self._printed.get(key) != step.status:
                self._printed[key] = step.status
                print(f"{step.turn_no}.{step.step_no:<3} {describe(step)}", flush=True)
        turn = self._connection.execute(LAST_TURN, (self._conversation_id,)).fetchone()
        if turn is None or turn.status not in FINAL:
            return False
        if self._ended < turn.turn_no:
            self._ended = turn.turn_no
            print(f"{turn.turn_no}     turn {turn.status}{because(turn.problem)}", flush=True)
        self._turn_no = turn.turn_no
        return True


def describe(step: Any) -> str:
    """A step in one line."""
    what = "model" if step.kind == "model" else f"tool {step.tool_name}({step.arguments})"
    said = f": {json.dumps(step.content, ensure_ascii=False)}" if step.content else ""
    return f"{what} {step.status}{said}"


def because(problem: str | None) -> str:
    return "" if problem is None else f": {problem}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow a conversation step by step.")
    parser.add_argument("conversation_id", type=UUID)
    parser.add_argument(
        "--dsn", default="", help="connection string; PGHOST, PGUSER, ... count too"
    )
    parser.add_argument("--on", action="store_true", help="go on after the end of the turn")
    arguments = parser.parse_args()
    with (
        psycopg.connect(arguments.dsn, autocommit=True, row_factory=namedtuple_row) as reader,
        psycopg.connect(arguments.dsn, autocommit=True) as listener,
    ):
        row = reader.execute(
            "select aos_agent.channel_of(%s) as channel", (arguments.conversation_id,)
        ).fetchone()
        assert row is not None
        # First listen, then look: what is committed in between is seen twice, never missed.
        listener.execute(sql.SQL("listen {}").format(sql.Identifier(row.channel)))
        watch = Watch(reader, arguments.conversation_id)
        is_over = watch.print_news()
        if arguments.on or not is_over:
            for _ in listener.notifies():
                if watch.print_news() and not arguments.on:
                    break


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
