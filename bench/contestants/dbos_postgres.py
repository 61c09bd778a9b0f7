"""The hand-written worker as a DBOS durable workflow: each model call, tool call and insert is a
DBOS step, so that a crashed turn resumes where it stopped."""

from __future__ import annotations

import json
from typing import Any

from .standard_turn import CHAT_TOOLS, MODEL, SYSTEM
from .thin import Thin


class DBOSThin(Thin):
    """Tables, seeding, history and tool are Thin's."""

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "bench", "system_database_url": self.endpoints.dsn, "log_level": "ERROR"}

    def setup(self) -> None:
        super().setup()
        from dbos import DBOS

        DBOS(config=self.config)
        DBOS.launch()
        DBOS.destroy()

    def open(self, clients: int) -> None:
        super().open(clients)
        from dbos import DBOS

        self.dbos = DBOS
        DBOS(config=self.config)

        @DBOS.step()
        def begin(thread: str, text: str) -> int:
            before = len(self.load(thread))
            self.add(thread, {"role": "user", "content": text})
            return before

        @DBOS.step()
        def call_model(thread: str) -> dict[str, Any]:
            # The history is read again instead of being a step's argument or result, so that
            # DBOS does not store it a second time.
            messages = [{"role": "system", "content": SYSTEM}, *self.load(thread)]
            reply = self.client.chat.completions.create(
                model=MODEL, messages=messages, tools=CHAT_TOOLS
            )
            message = dict(reply.choices[0].message.model_dump(exclude_none=True))
            self.add(thread, message)
            return message

        @DBOS.step()
        def run_tool(thread: str, call: str) -> None:
            self.add(thread, self.look_up(json.loads(call)))

        @DBOS.workflow()
        def turn(thread: str, text: str) -> Any:
            begin(thread, text)
            while True:
                message = call_model(thread)
                if not message.get("tool_calls"):
                    return message["content"]
                for call in message["tool_calls"]:
                    run_tool(thread, json.dumps(call))

        self.workflow = turn
        DBOS.launch()

    def turn(self, thread: str, text: str) -> Any:
        return self.workflow(thread, text)

    def close(self) -> None:
        self.dbos.destroy()
        super().close()
