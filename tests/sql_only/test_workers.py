"""Turns are driven from outside: by the guide's cycle, by a worker of a few lines, by pgagentos.worker."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from house import House, name
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, PlayServer, start_play_server
from worker.process import worker_starter, write_tools

from .conftest import OWNER, Site, agent_with_tools

_numbers = itertools.count(1)
GUIDE = Path(__file__).parent.parent / "sql" / "guide.ko.sql"


@pytest.fixture(scope="module")
def play_server() -> Iterator[PlayServer]:
    with start_play_server() as server:
        yield server


@pytest.fixture
def scene(owner: House, play_server: PlayServer) -> Scene:
    """An agent whose provider plays a script."""
    made = make_scene(owner.connection, play_server.play(f"sql-only-{next(_numbers)}"))
    made.set_agent("runner", "external")
    return made


def blocks() -> dict[str, str]:
    """The guide's SQL by the name of its step."""
    return dict(part.split("\n", 1) for part in GUIDE.read_text("utf-8").split("--@ ")[1:])


def test_the_cycle_of_the_guide_runs_word_for_word(owner: House) -> None:
    ids: dict[str, Any] = {}

    def step(step_name: str) -> Any:
        text = blocks()[step_name]
        for placeholder, value in ids.items():
            text = text.replace(f"'{placeholder}'", f"'{value}'")
        cursor = owner.connection.execute(text)
        while cursor.nextset():
            pass
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    # everything but CREATE EXTENSION; the tenant's id is what it is here
    tenant, principal = blocks()["step 1"].split("-- 2.")
    owner.rows(tenant)
    guide_tenant = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    ids[guide_tenant] = owner.one("select tenant_id from aos_auth.tenant where name = 'tech_corp'")
    owner.rows(("-- 2." + principal).replace(f"'{guide_tenant}'", f"'{ids[guide_tenant]}'"))
    for step_name in ("step 2", "step 3", "step 4"):
        step(step_name)
    ids["conversation_id"] = owner.one(
        "select c.conversation_id from aos_agent.conversation c where c.tenant_id = %s",
        ids[guide_tenant],
    )
    step("step 5: input")
    ids["turn_id"] = step("step 5: start")
    payload = step("step 5: poll")
    assert (payload["status"], payload["model"]) == ("awaiting_model", "gpt-4o")
    assert payload["reason"] == "the database has no key for provider openai"
    assert "web_search" in [tool["name"] for tool in payload["tools"]]
    assert step("step 5: tool call")["status"] == "approved"
    assert step("step 5: poll")["status"] == "awaiting_tool"
    assert step("step 5: tool result")["status"] == "recorded"
    assert [m["role"] for m in step("step 5: poll")["messages"]] == ["user", "assistant", "tool"]
    assert step("step 5: answer")["status"] == "completed"
    finished = step("step 5: poll")
    assert (finished["status"], finished["answer"]) == (
        "completed",
        "INNER JOIN을 사용해야 합니다...",
    )


def drive(worker: House, replies: list[dict[str, Any]], tools: dict[str, Any]) -> dict[str, Any]:
    """A worker in twenty lines of psycopg: the model is a list, the tools are values."""
    state = worker.call("aos_agent.claim_turn", name("worker"))
    while "fence" in state:
        turn, fence = state["turn_id"], state["fence"]
        if state["status"] == "awaiting_model":
            worker.call("aos_agent.extend_claim", turn, fence)
            usage = Jsonb({"input_tokens": 100, "output_tokens": 10})
            state = worker.call("aos_agent.record_model_reply", turn, replies.pop(0), usage, fence)
            continue
        for call in state["pending"]:
            if call["status"] != "awaiting_approval":
                result = Jsonb(tools[call["tool_name"]])
                recorded = worker.call(
                    "aos_agent.record_tool_result",
                    turn,
                    call["tool_name"],
                    result,
                    call_id=call["call_id"],
                    fence=fence,
                )
        state = recorded["turn"]
    return dict(state)


def test_a_worker_of_a_few_lines_takes_a_turn_through_tools_and_an_approval(
    site: Site, owner: House
) -> None:
    agent = agent_with_tools(site, owner)
    tenant = agent.tenant_id
    user = site.as_(site.person(tenant, "user").role)
    worker = site.as_(site.person(tenant, "worker").role)
    approver = site.as_(site.person(tenant, "approver").role)
    double = owner.function_skill(
        agent, "f(n int) returns int language sql set search_path = pg_catalog as 'select n * 2'"
    )
    outside = owner.skill(agent)
    risky = owner.skill(agent, approval="ask")
    conversation = user.conversation(agent)
    turn = user.call("aos_agent.submit", conversation, "Do all three.")
    asked = [
        {"call_id": "a", "name": double, "arguments": {"n": 21}},
        {"call_id": "b", "name": outside, "arguments": {}},
        {"call_id": "c", "name": risky, "arguments": {"sum": 5}},
    ]
    tools = {outside: {"found": 1}, risky: "sent"}
    state = drive(worker, [{"content": "", "tool_calls": asked}], tools)
    assert state["status"] == "awaiting_approval"
    assert worker.call("aos_agent.claim_turn", "another") is None  # people decide now
    [(step_id,)] = approver.rows(
        "select step_id from aos_agent.pending_approval where turn_id = %s", turn
    )
    assert approver.call("aos_agent.approve_tool_call", step_id, "fine")["status"] == "approved"
    state = drive(worker, [{"content": "All three are done."}], tools)
    assert (state["status"], state["answer"]) == ("completed", "All three are done.")
    assert user.run(turn)["answer"] == "All three are done."
    assert owner.steps(turn, "kind, status, tool_name, message ->> 'content'") == [
        ("model", "completed", None, ""),
        ("tool", "completed", double, "42"),
        ("tool", "completed", outside, '{"found": 1}'),
        ("tool", "completed", risky, "sent"),
        ("model", "completed", None, "All three are done."),
    ]
    assert (
        owner.one("select input_tokens + output_tokens from aos_core.run where run_id = %s", turn)
        == 220
    )
    assert owner.one("select count(*) from aos_core.queue where run_id = %s", turn) == 0
    assert owner.events(turn) == [
        "turn_started",
        "approval_requested",
        "approval_decided",
        "turn_completed",
    ]
    assert owner.rows("select * from aos_core.verify_event_log()") == []


def test_a_function_that_needs_a_yes_runs_after_it_in_the_database(
    site: Site, owner: House
) -> None:
    agent = agent_with_tools(site, owner)
    skill = owner.function_skill(
        agent,
        "f() returns text language sql set search_path = pg_catalog as $$ select 'ran' $$",
        approval="ask",
    )
    turn = owner.turn(agent)
    call = owner.tool(turn, skill)
    assert call["status"] == "awaiting_approval"
    with owner.refused("OS002", "no call of"):
        owner.result(turn, skill, "invented")
    owner.call("aos_agent.approve_tool_call", call["step_id"])
    assert owner.run(turn)["status"] == "awaiting_model"
    assert owner.steps(turn, "message ->> 'content'")[1] == ("ran",)


def test_a_no_ends_the_call_and_the_turn_goes_on(owner: House) -> None:
    agent = owner.agent()
    risky = owner.skill(agent, approval="ask")
    turn = owner.turn(agent)
    call = owner.tool(turn, risky)
    assert (
        owner.call("aos_agent.reject_tool_call", call["step_id"], "too dear")["status"]
        == "rejected"
    )
    assert "too dear" in owner.run(turn)["messages"][-1]["content"]


def test_a_worker_sees_the_turns_of_its_tenant_alone(site: Site, owner: House) -> None:
    agent = owner.agent()
    stranger = site.as_(site.person(owner.tenant(), "worker").role)
    own = site.as_(site.person(agent.tenant_id, "worker").role)
    turn = owner.turn(agent)
    assert stranger.call("aos_agent.claim_turn", name("worker")) is None
    claim = own.call("aos_agent.claim_turn", name("worker"))
    assert claim["turn_id"] == str(turn)
    with stranger.refused("OS006", "is not yours any more"):
        stranger.call("aos_agent.extend_claim", turn, claim["fence"])


def test_a_turn_is_cancelled_under_its_worker(site: Site, owner: House) -> None:
    agent = owner.agent()
    turn = owner.turn(agent)
    worker = site.as_(site.person(agent.tenant_id, "worker").role)
    claim = worker.call("aos_agent.claim_turn", name("worker"))
    assert owner.call("aos_agent.cancel_turn", turn)["status"] == "cancelled"
    with worker.refused("OS006", "is not yours any more"):
        worker.call("aos_agent.record_model_reply", turn, {"content": "late"}, None, claim["fence"])
    assert owner.status(turn) == "cancelled"


def test_a_failure_that_may_pass_puts_the_turn_back_and_in_the_end_it_is_a_dead_letter(
    site: Site, owner: House
) -> None:
    agent = owner.agent()
    turn = owner.turn(agent)
    worker = site.as_(site.person(agent.tenant_id, "worker").role)
    owner.rows("update aos_meta.setting set value = '0.01' where name = 'queue_retry_seconds'")
    owner.rows("update aos_meta.setting set value = '2' where name = 'queue_max_attempts'")
    for expected in ("queued", "failed"):
        claim = None
        while claim is None:
            claim = worker.call("aos_agent.claim_turn", name("worker"))
        failed = worker.call(
            "aos_agent.fail_turn", turn, {"kind": "overloaded", "message": "busy"}, claim["fence"]
        )
        assert failed["status"] == expected
    assert owner.one("select error ->> 'attempts' from aos_core.run where run_id = %s", turn) == "2"
    assert owner.one("select count(*) from aos_agent.dead_letter where turn_id = %s", turn) == 1
    again = owner.call("aos_agent.resubmit", turn)
    assert worker.call("aos_agent.claim_turn", name("worker"))["turn_id"] == str(again)


def test_a_budget_ends_a_turn_before_its_next_model_call(site: Site, owner: House) -> None:
    agent = owner.agent()
    owner.call("aos_agent.set_budget", "day", 100, agent_name=agent.name)
    worker = site.as_(site.person(agent.tenant_id, "worker").role)
    skill = owner.skill(agent)
    turn = owner.turn(agent)
    claim = worker.call("aos_agent.claim_turn", name("worker"))
    state = worker.call(
        "aos_agent.record_model_reply",
        turn,
        {"tool_calls": [{"call_id": "a", "name": skill, "arguments": {}}]},
        Jsonb({"input_tokens": 90, "output_tokens": 20}),
        claim["fence"],
    )
    state = worker.call(
        "aos_agent.record_tool_result", turn, skill, Jsonb(1), call_id="a", fence=claim["fence"]
    )["turn"]
    assert state["status"] == "failed"
    assert state["error"]["sqlstate"] == "OS115"
    assert (
        state["error"]["message"]
        == f'the budget of agent "{agent.name}" for the day is used up: 110 of 100 tokens'
    )
    assert state["error"]["hint"].startswith("It starts anew at ")
    assert owner.rows(
        "select used_tokens, tokens_left from aos_agent.budget_left where agent_id = %s",
        agent.agent_id,
    ) == [(110, 0)]


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (
            {"period": "turn", "max_tokens": 0},
            "the budget of the tenant for a turn is used up: 0 of 0 tokens",
        ),
        (
            {"period": "month", "max_cost": 0},
            "the budget of the tenant for the month is used up: 0.00 of 0.00 US dollars",
        ),
        (
            {"period": "day", "max_cost": "1.5"},
            "the budget of the tenant for the day is in money, and model {model} has no price",
        ),
    ],
)
def test_budgets_say_what_is_used_up(owner: House, budget: dict[str, Any], message: str) -> None:
    unpriced = owner.insert(
        "aos_meta.llm_model_registry",
        "model_id",
        model_name=name("model"),
        provider="openai",
        context_window=8192,
    )
    tenant = owner.tenant()
    agent = owner.agent(tenant, owner.persona(tenant, model_id=unpriced))
    stored = owner.one("select name from aos_auth.tenant where tenant_id = %s", tenant)
    owner.call("aos_agent.set_budget", **budget, tenant_name=stored)
    state = owner.run(owner.turn(agent))
    model = owner.one(
        "select model_name from aos_meta.llm_model_registry where model_id = %s", unpriced
    )
    assert state["error"]["message"] == message.format(model=model)
    assert state["error"]["kind"] == "budget"


def test_ask_says_that_somebody_outside_answers(site: Site, owner: House) -> None:
    agent = owner.agent()
    notices: list[str | None] = []
    owner.connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    assert owner.call("aos_agent.ask", agent.name, "hello") is None
    [notice] = notices
    turn = owner.one("select run_id from aos_core.run where tenant_id = %s", agent.tenant_id)
    assert notice == f"turn {turn} is awaiting_model"
    worker = site.as_(site.person(agent.tenant_id, "worker").role)
    assert worker.call("aos_agent.claim_turn", name("worker"))["turn_id"] == str(turn)


def test_a_turn_that_fell_to_a_worker_may_be_claimed_when_it_was_submitted(
    site: Site, owner: House
) -> None:
    agent = owner.agent(runner="auto")
    worker = site.as_(site.person(agent.tenant_id, "worker").role)
    turn = owner.call("aos_agent.submit", owner.conversation(agent), "hello", dedup_key="once")
    assert worker.call("aos_agent.claim_turn", name("worker"))["turn_id"] == str(turn)


def worker_of(site: Site, scene: Scene) -> str:
    """Connection string of a login that may drive the turns of a scene."""
    person = site.person(UUID(str(scene.tenant_id)), "worker")
    return site.database.conninfo(user=person.role)


def test_pgagentos_worker_takes_a_turn_through_tools_a_service_and_an_approval(
    site: Site, owner: House, scene: Scene, play_server: PlayServer, tmp_path: Path
) -> None:
    role = site.agent_role(UUID(str(scene.tenant_id)))
    scene.set_agent("db_role", role)
    scene.skill("double(n int) returns int language sql as 'select n * 2'")
    service = play_server.play(f"service-{next(_numbers)}")
    service.add(Answer(body='{"rate": 7}'))
    owner.rows(
        "select aos_skills.register_http_skill('rate', 'Tells the rate.',"
        ' \'{"type": "object", "properties": {"of": {"type": "string"}}}\', \'POST\', %s, tenant_id => %s,'
        " approval => 'ask')",
        f"{service.url}/rate",
        scene.tenant_id,
    )
    port = int(service.url.split(":")[2].split("/")[0])
    owner.rows(
        "select aos_skills.allow_host('127.0.0.1', %s, 'rate', %s, 'http', true)",
        scene.tenant_id,
        port,
    )
    owner.call("aos_agent.grant_skill", scene.name, "rate")
    owner.insert(
        "aos_skills.skill",
        tenant_id=scene.tenant_id,
        name="weather",
        description="Tells the weather.",
        implementation="external",
        parameters={"type": "object"},
    )
    owner.call("aos_agent.grant_skill", scene.name, "weather")
    scene.says(
        calls(
            tool_call("double", {"n": 21}, "a"),
            tool_call("weather", {"city": "Seoul"}, "b"),
            tool_call("rate", {"of": "KRW"}, "c"),
        ),
        says("Everything is known."),
    )
    tools = write_tools(tmp_path, "def weather(city):\n    return 'clear in ' + city\n")
    turn = scene.start("What do you know?")
    with worker_starter(worker_of(site, scene)) as start:
        worker = start("--tools", tools)
        worker.wait_for("waits for a person", turn_id=str(turn))
        assert service.requests() == []
        approver = site.as_(site.person(UUID(str(scene.tenant_id)), "approver").role)
        [(step_id,)] = approver.rows("select step_id from aos_agent.pending_approval")
        approver.call("aos_agent.approve_tool_call", step_id)
        worker.wait_for("completed", turn_id=str(turn))
        assert worker.stop()[0] == 0
    assert scene.run_turn(turn)["answer"] == "Everything is known."
    assert scene.shape() == [
        "model completed",
        "tool completed",
        "tool completed",
        "tool completed",
        "model completed",
    ]
    results = scene.tool_results()
    assert results[:2] == ["42", "clear in Seoul"]
    assert "untrusted" in results[2]
    assert '\\"rate\\": 7' in results[2]
    [request] = service.requests()
    assert json.loads(request.body) == {"of": "KRW"}
    assert request.headers["idempotency-key"] == f"{turn}-4"
    assert owner.rows("select * from aos_core.verify_event_log()") == []


def test_pgagentos_worker_drives_many_turns_of_many_tenants_as_the_operator(
    site: Site, owner: House, play_server: PlayServer
) -> None:
    scenes = []
    for _ in range(3):
        made = make_scene(owner.connection, play_server.play(f"sql-only-{next(_numbers)}"))
        made.set_agent("runner", "external")
        made.says(*[says("yes")] * 3)
        scenes.append(made)
    turns = [scene.start() for scene in scenes for _ in range(3)]
    with worker_starter(site.database.conninfo(user=OWNER)) as start:
        status, errors = start("--once").end()
    assert (status, errors) == (0, "")
    assert {owner.status(turn) for turn in turns} == {"completed"}


def test_a_request_whose_worker_was_lost_waits_for_a_person(site: Site, owner: House) -> None:
    """The worker makes the requests here, and a POST must not be made twice."""
    agent = owner.agent()
    skill = owner.call(
        "aos_skills.register_http_skill", "order", "An order.", Jsonb({"type": "object"}), "POST",
        "http://127.0.0.1/orders", tenant_id=agent.tenant_id,
    )  # fmt: skip
    assert skill is not None
    owner.call("aos_agent.grant_skill", agent.name, "order")
    turn = owner.turn(agent)
    worker = site.as_(site.person(agent.tenant_id, "worker").role)
    fence = worker.call("aos_agent.claim_turn", name("worker"))["fence"]
    wanted = Jsonb({"tool_calls": [{"call_id": "c1", "name": "order", "arguments": {}}]})
    state = worker.call("aos_agent.record_model_reply", turn, wanted, None, fence)
    assert [call["status"] for call in state["pending"]] == ["awaiting_result"]
    assert "http" in state["pending"][0]
    worker.call("aos_agent.release_turn", turn, fence)
    assert worker.call("aos_agent.claim_turn", name("worker")) is None
    [(step_id,)] = owner.rows(
        "select step_id from aos_agent.pending_approval where turn_id = %s", turn
    )
    owner.call("aos_agent.approve_tool_call", step_id)
    state = worker.call("aos_agent.claim_turn", name("worker"))
    assert [call["status"] for call in state["pending"]] == ["awaiting_result"]
    assert state["pending"][0]["idempotency_key"] == f"{turn}-2"
