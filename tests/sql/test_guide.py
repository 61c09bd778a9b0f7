"""The user's guide, word for word: guide.ko.sql holds its SQL; only its ids are filled in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cluster import Cluster, Database, pg_config

GUIDE = Path(__file__).with_name("guide.ko.sql")
QUESTION = "조인을 최적화하려면 어떻게 해야 하나요?"
ANSWER = "INNER JOIN을 사용해야 합니다..."
TENANT = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"

#: runs one block of the guide and returns the value of its last statement, as text
Run = Callable[[str], str | None]


def blocks() -> dict[str, str]:
    """Return the guide's SQL by the name of its step."""
    parts = GUIDE.read_text(encoding="utf-8").split("--@ ")[1:]
    named = dict(part.split("\n", 1) for part in parts)
    # plpython3u comes along with CASCADE: the one addition to the guide
    named["install"] = named["install"].replace("pgagentos;", "pgagentos CASCADE;")
    return named


class Guide:
    """A reader of the guide: types its blocks and fills in the ids that he was given."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._blocks = blocks()
        self._ids: dict[str, str] = {}

    def step(self, name: str) -> str | None:
        text = self._blocks[name]
        for placeholder, value in self._ids.items():
            text = text.replace(f"'{placeholder}'", f"'{value}'")
        return self._run(text)

    def ask(self, text: str) -> str:
        value = self._run(text)
        assert value is not None
        return value

    def prepare(self) -> None:
        """Install, and steps 1 to 4."""
        self.step("install")
        tenant, principal = self._blocks["step 1"].split("-- 2.")
        self._run(tenant)
        self._ids[TENANT] = self.ask(
            "select tenant_id from aos_auth.tenant where name = 'tech_corp'"
        )
        self._run(("-- 2." + principal).replace(f"'{TENANT}'", f"'{self._ids[TENANT]}'"))
        for name in ("step 2", "step 3", "step 4"):
            self.step(name)
        self._ids["conversation_id"] = self.ask(
            "select conversation_id from aos_agent.conversation"
        )

    def start(self) -> None:
        self.step("step 5: input")
        turn_id = self.step("step 5: start")
        assert turn_id is not None
        self._ids["turn_id"] = turn_id

    def poll(self) -> dict[str, Any]:
        return self._json("step 5: poll")

    def answer(self) -> dict[str, Any]:
        return self._json("step 5: answer")

    def tool_call(self) -> dict[str, Any]:
        return self._json("step 5: tool call")

    def tool_result(self) -> dict[str, Any]:
        return self._json("step 5: tool result")

    def _json(self, name: str) -> dict[str, Any]:
        value = json.loads(self.step(name) or "null")
        assert isinstance(value, dict)
        return value


def through_psql(database: Database) -> Run:
    """Type the text into the real psql."""

    def run(text: str) -> str | None:
        psql = [f"{pg_config('--bindir')}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(
            [*psql, "-d", database.conninfo()],
            input=text.encode(),
            capture_output=True,
            env={"PGCLIENTENCODING": "UTF8", "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, done.stderr.decode()
        lines = done.stdout.decode().splitlines()
        return lines[-1] if lines else None

    return run


def through_psycopg(connection: psycopg.Connection) -> Run:
    """Send the text statement by statement over a driver."""

    def run(text: str) -> str | None:
        cursor = connection.execute(text)
        while cursor.nextset():
            pass
        row = cursor.fetchone() if cursor.description else None
        if row is None:
            return None
        return json.dumps(row[0]) if isinstance(row[0], dict) else str(row[0])

    return run


@pytest.fixture(params=["psql", "psycopg"])
def guide(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Guide]:
    """A reader in an empty database."""
    with cluster.database(f"guide_{request.param}", template="template1") as database:
        if request.param == "psql":
            yield Guide(through_psql(database))
        else:
            with database.connect() as connection:
                yield Guide(through_psycopg(connection))


def test_the_guide_goes_from_the_installation_to_the_answer(guide: Guide) -> None:
    guide.prepare()
    guide.start()

    payload = guide.poll()
    assert payload["status"] == "awaiting_model"
    assert payload["messages"] == [{"role": "user", "content": QUESTION}]
    assert payload["system_prompt"].startswith("당신은 PostgreSQL 데이터베이스 관리자입니다. \n")
    assert payload["model"] == "gpt-4o"
    assert "web_search" in [tool["name"] for tool in payload["tools"]]
    assert all(set(tool) == {"name", "description", "parameters"} for tool in payload["tools"])

    call = guide.tool_call()
    assert call["status"] == "approved"
    assert guide.poll()["status"] == "awaiting_tool"
    guide.tool_result()

    payload = guide.poll()
    assert payload["status"] == "awaiting_model"
    call_id = call["call_id"]
    asked = {"query": "postgres join optimization"}
    assert payload["messages"] == [
        {"role": "user", "content": QUESTION},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"call_id": call_id, "name": "web_search", "arguments": asked}],
        },
        {"role": "tool", "call_id": call_id, "content": '{"result": "..."}'},
    ]

    assert guide.answer()["status"] == "completed"
    finished = guide.poll()
    assert (finished["status"], finished["answer"]) == ("completed", ANSWER)


def test_a_model_that_wants_to_talk_answers_at_once(guide: Guide) -> None:
    guide.prepare()
    guide.start()
    guide.poll()
    guide.answer()
    assert guide.poll()["answer"] == ANSWER


def test_a_worker_need_not_poll_between_its_reports(guide: Guide) -> None:
    guide.prepare()
    guide.start()
    for _ in range(3):
        assert guide.tool_call()["status"] == "approved"
        assert guide.tool_result()["turn_status"] == "awaiting_model"
    guide.answer()
    assert guide.poll()["answer"] == ANSWER
    assert guide.ask("select model_calls from aos_core.run") == "4"


def test_the_loop_goes_on_until_the_agent_answers(guide: Guide) -> None:
    guide.prepare()
    guide.start()
    for searches in range(4):
        payload = guide.poll()
        assert (payload["status"], len(payload["messages"])) == ("awaiting_model", 1 + 2 * searches)
        guide.tool_call()
        guide.tool_result()
    guide.answer()
    assert guide.poll()["status"] == "completed"


def test_the_next_question_of_the_conversation_comes_with_what_was_said(guide: Guide) -> None:
    guide.prepare()
    guide.start()
    guide.answer()
    guide.start()
    said = [(message["role"], message["content"]) for message in guide.poll()["messages"]]
    assert said == [("user", QUESTION), ("assistant", ANSWER), ("user", QUESTION)]


def test_the_korean_words_are_stored_as_they_were_typed(guide: Guide) -> None:
    guide.prepare()
    guide.start()
    guide.answer()
    assert guide.ask("select content from aos_agent.message") == QUESTION
    assert guide.ask("select message ->> 'content' from aos_core.step") == ANSWER
    prompt = "select encode(convert_to(system_prompt, 'UTF8'), 'hex') from aos_persona.persona"
    stored = bytes.fromhex(guide.ask(prompt)).decode()
    assert stored in blocks()["step 3"]
    assert stored.count("\n") == 2


def test_a_finished_turn_takes_no_further_reports(guide: Guide) -> None:
    guide.prepare()
    guide.start()
    guide.answer()
    for step in (guide.answer, guide.tool_call, guide.tool_result):
        with pytest.raises((psycopg.Error, AssertionError), match="is already completed"):
            step()
