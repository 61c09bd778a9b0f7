"""The functions that workers of any language call: claims, fences, replies, failures."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from house import Agent, House, name


def claim(house: House, worker: str = "one", lease: str = "60 seconds") -> dict[str, Any]:
    state = house.call("aos_agent.claim_turn", worker, lease)
    assert state is not None
    return dict(state)


def reply(house: House, turn: UUID, fence: int | None = None, **members: Any) -> dict[str, Any]:
    usage = members.pop("usage", None)
    given = None if usage is None else Jsonb(usage)
    return dict(house.call("aos_agent.record_model_reply", turn, Jsonb(members), given, fence))


def call(tool: str, call_id: str | None = None, arguments: Any = None) -> dict[str, Any]:
    return {"call_id": call_id, "name": tool, "arguments": {} if arguments is None else arguments}


@pytest.fixture
def lone(house: House) -> House:
    """A house whose queue is empty, so that the next claim is of the test's own turn."""
    house.rows("update aos_core.queue set run_after = 'infinity' where worker is null")
    return house


def lose(house: House, turn: UUID) -> None:
    """Let the lease of a claim be over."""
    house.rows(
        "update aos_core.queue set lease_until = clock_timestamp() - interval '1 second'"
        " where run_id = %s",
        turn,
    )


def claim_again(house: House, turn: UUID, worker: str = "two") -> dict[str, Any]:
    """Claim a turn whose worker is gone, without the wait that such a turn gets."""
    assert house.one("select aos_core._release_dead('two')") == 1
    house.rows("update aos_core.queue set run_after = now() where run_id = %s", turn)
    return claim(house, worker)


def test_a_claim_holds_all_that_run_turn_returns_and_what_a_call_needs_besides(
    lone: House,
) -> None:
    agent = lone.agent()
    lone.skill(agent)
    turn = lone.turn(agent, "hi")
    state = claim(lone)
    polled = lone.run(turn)
    assert {key: state[key] for key in polled} == polled
    assert state["status"] == "awaiting_model"
    assert set(state) - set(polled) == {
        "agent", "api_key_env", "base_url", "capabilities", "conversation_id", "driver", "fence",
        "idempotency_key", "lease_until", "models", "note", "options", "stored", "tool_choice",
        "wire_name", "withheld_tools",
    }  # fmt: skip
    assert (state["agent"], state["fence"]) == (agent.name, 1)
    assert state["idempotency_key"] == f"{turn}-1"
    assert (state["driver"], state["api_key_env"]) == ("openai_chat", "OPENAI_API_KEY")
    assert "secret_name" not in str(state)  # what the database stores is the database's


def test_nothing_is_claimed_where_nothing_waits(lone: House) -> None:
    assert lone.call("aos_agent.claim_turn", "one") is None
    lone.turn(lone.agent(runner="database"))
    assert lone.call("aos_agent.claim_turn", "one") is None


def test_a_turn_that_only_fell_to_a_worker_for_want_of_a_key_waits_for_whoever_started_it(
    lone: House,
) -> None:
    turn = lone.turn(lone.agent(runner="auto"))
    assert lone.run(turn)["status"] == "awaiting_model"
    assert lone.call("aos_agent.claim_turn", "one") is None


def test_a_question_to_an_agent_of_outside_workers_waits_for_one(lone: House) -> None:
    agent = lone.agent()
    assert lone.call("aos_agent.ask", agent.name, "hello") is None
    state = claim(lone)
    assert (state["agent"], state["messages"][0]["content"]) == (agent.name, "hello")


def test_a_turn_is_claimed_once(lone: House) -> None:
    turn = lone.turn()
    claim(lone)
    assert lone.call("aos_agent.claim_turn", "two") is None
    lose(lone, turn)
    assert claim_again(lone, turn)["fence"] == 2


def test_a_turn_that_cannot_be_given_to_anybody_keeps_no_worker_from_the_others(
    lone: House,
) -> None:
    """It is too long for a value of the server, for instance; here its persona cannot be read."""
    broken, agent = lone.agent(), lone.agent()
    lone.rows("set session_replication_role = replica")  # no trigger refuses it
    lone.rows(
        'update aos_persona.persona_version as v set params = \'{"history_turns": "many"}\''
        " from aos_agent.agent as a where a.persona_id = v.persona_id and a.agent_id = %s",
        broken.agent_id,
    )
    lone.rows("reset session_replication_role")
    first = lone.call("aos_agent.submit", lone.conversation(broken), "hello")
    assert lone.call("aos_agent.claim_turn", "one") is None
    [(worker, attempt, error)] = lone.rows(
        "select worker, attempt, error from aos_core.queue where run_id = %s", first
    )
    assert (worker, attempt, error["sqlstate"]) == (None, 1, "22P02")
    lone.rows("update aos_core.queue set run_after = now(), attempt = 4 where run_id = %s", first)
    second = lone.call("aos_agent.submit", lone.conversation(agent), "hello")
    assert claim(lone)["turn_id"] == str(second)
    lone.call("aos_agent.claim_turn", "one")  # whichever tenant came first above
    assert lone.status(first) == "failed"
    assert lone.one("select error ->> 'sqlstate' from aos_agent.dead_letter where turn_id = %s",
                    first) == "22P02"  # fmt: skip


@pytest.mark.parametrize(
    ("worker", "lease", "message"),
    [("", "1 minute", "a worker needs a name"), ("one", "0 seconds", "longer than nothing")],
)
def test_a_claim_wants_a_name_and_a_lease(
    lone: House, worker: str, lease: str, message: str
) -> None:
    with lone.refused("OS001", message):
        lone.call("aos_agent.claim_turn", worker, lease)


def test_the_heartbeat_keeps_a_claim(lone: House) -> None:
    turn = lone.turn()
    state = claim(lone)
    kept = lone.call("aos_agent.extend_claim", turn, state["fence"], "1 hour")
    assert kept["status"] == "claimed"
    assert kept["lease_until"] > state["lease_until"]
    with lone.refused("OS001", "longer than nothing"):
        lone.call("aos_agent.extend_claim", turn, state["fence"], "0 seconds")


def late(house: House, skill: str, turn: UUID) -> dict[str, Any]:
    """All that a worker can report, by name, as a call under fence 1."""
    return {
        "extend_claim": lambda: house.call("aos_agent.extend_claim", turn, 1),
        "release_turn": lambda: house.call("aos_agent.release_turn", turn, 1),
        "record_model_reply": lambda: reply(house, turn, 1, content="late"),
        "fail_turn": lambda: house.call(
            "aos_agent.fail_turn", turn, Jsonb({"kind": "timeout", "message": "late"}), 1
        ),
        "process_tool_call": lambda: house.tool(turn, skill, fence=1),
        "record_tool_result": lambda: house.result(turn, skill, "late", call_id="c1", fence=1),
        "finish_turn": lambda: house.call("aos_agent.finish_turn", turn, "late", 1),
    }


REPORTS = sorted(late(None, "", UUID(int=0)))  # type: ignore[arg-type]


def furnished(house: House) -> tuple[str, UUID]:
    agent = house.agent()
    skill = house.skill(agent)
    return skill, house.turn(agent)


@pytest.mark.parametrize("report", REPORTS)
def test_what_comes_under_a_claim_that_was_lost_is_refused(lone: House, report: str) -> None:
    skill, turn = furnished(lone)
    claim(lone)
    lose(lone, turn)
    claim_again(lone, turn)
    reply(lone, turn, 2, tool_calls=[call(skill, "c1")])
    before = lone.steps(turn, "step_id, status, message::text")
    with lone.refused("OS006", "is not yours any more") as refusal:
        late(lone, skill, turn)[report]()
    assert "another worker" in refusal.hint
    assert lone.steps(turn, "step_id, status, message::text") == before


@pytest.mark.parametrize("report", REPORTS)
def test_what_comes_after_a_cancel_is_refused(lone: House, report: str) -> None:
    skill, turn = furnished(lone)
    claim(lone)
    reply(lone, turn, 1, tool_calls=[call(skill, "c1")])
    lone.call("aos_agent.cancel_turn", turn)
    with lone.refused("OS006", "is not yours any more"):
        late(lone, skill, turn)[report]()
    assert lone.status(turn) == "cancelled"


@pytest.mark.parametrize(
    "report", [r for r in REPORTS if r not in ("extend_claim", "release_turn")]
)
def test_without_a_fence_a_turn_that_a_living_worker_has_is_refused(
    lone: House, report: str
) -> None:
    skill, turn = furnished(lone)
    reports = {
        "record_model_reply": lambda: reply(lone, turn, content="mine"),
        "fail_turn": lambda: lone.call(
            "aos_agent.fail_turn", turn, Jsonb({"kind": "billing", "message": "no money"})
        ),
        "process_tool_call": lambda: lone.tool(turn, skill),
        "record_tool_result": lambda: lone.result(turn, skill, "mine"),
        "finish_turn": lambda: lone.finish(turn),
    }
    claim(lone)
    if report == "record_tool_result":
        reply(lone, turn, 1, tool_calls=[call(skill, "c1")])
    with lone.refused("OS004", "is driven by worker one") as refusal:
        reports[report]()
    assert "fence" in refusal.hint
    lose(lone, turn)
    reports[report]()  # its worker is gone


def test_a_turn_that_was_given_back_waits_again_as_if_nothing_had_been(lone: House) -> None:
    turn = lone.turn()
    state = claim(lone)
    assert lone.call("aos_agent.release_turn", turn, state["fence"]) == {
        "status": "queued",
        "turn_id": str(turn),
    }
    again = claim(lone, "two")
    assert (again["turn_id"], again["fence"]) == (str(turn), 2)
    assert again["idempotency_key"] == state["idempotency_key"]


def test_a_reply_without_calls_completes_the_turn(lone: House) -> None:
    turn = lone.turn()
    usage = {"input_tokens": 12, "cached_tokens": 2, "output_tokens": 3, "reasoning_tokens": 1}
    state = reply(lone, turn, claim(lone)["fence"], content="Done.", usage=usage, seconds=2.5)
    assert (state["status"], state["answer"], state["steps"]) == ("completed", "Done.", 1)
    assert "fence" not in state
    found = lone.steps(
        turn,
        "status, input_tokens, cached_tokens, output_tokens, reasoning_tokens, cache_write_tokens,"
        " attempts, finished_at - started_at >= interval '2.5 seconds', cost > 0",
    )
    assert found == [("completed", 12, 2, 3, 1, None, 1, True, True)]
    assert lone.rows("select * from aos_core.queue where run_id = %s", turn) == []


def test_a_reply_needs_no_claim(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent)
    turn = lone.turn(agent)
    state = reply(lone, turn, tool_calls=[call(skill, "c1", {"a": 1})])
    assert state["status"] == "awaiting_tool"
    [pending] = state["pending"]
    assert (pending["call_id"], pending["arguments"]) == ("c1", {"a": 1})
    assert pending["idempotency_key"] == f"{turn}-2"
    assert "turn" not in lone.result(turn, skill, "found", call_id="c1")
    assert reply(lone, turn, content="Done.")["status"] == "completed"


def test_the_result_of_the_last_call_brings_the_next_payload(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent)
    turn = lone.turn(agent)
    state = claim(lone)
    fence = state["fence"]
    state = reply(lone, turn, fence, tool_calls=[call(skill, "c1"), call(skill, "c2")])
    assert (state["status"], state["fence"]) == ("awaiting_tool", fence)
    assert "turn" not in lone.result(turn, skill, 1, call_id="c1", fence=fence)
    state = lone.result(turn, skill, 2, call_id="c2", fence=fence)["turn"]
    assert (state["status"], state["fence"]) == ("awaiting_model", fence)
    assert [m["content"] for m in state["messages"][-2:]] == ["1", "2"]
    assert state["idempotency_key"] == f"{turn}-4"


def test_a_report_that_is_sent_twice_is_recorded_once(lone: House) -> None:
    """As by a worker whose connection broke before it heard that the first one had arrived."""
    agent = lone.agent()
    skill = lone.skill(agent)
    turn = lone.turn(agent)
    state = claim(lone)
    members = {
        "tool_calls": [call(skill, "c1")],
        "idempotency_key": state["idempotency_key"],
    }
    first = reply(lone, turn, 1, **members)
    assert reply(lone, turn, 1, **members) == first
    recorded = lone.result(turn, skill, "found", call_id="c1", fence=1)
    assert lone.result(turn, skill, "found", call_id="c1", fence=1) == recorded
    assert lone.steps(turn) == [("model", "completed"), ("tool", "completed")]
    with lone.refused("OS003", "does not wait for the reply"):
        reply(lone, turn, 1, content="x", idempotency_key=f"{turn}-9")


def test_a_reply_in_the_middle_of_calls_is_refused(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent)
    turn = lone.turn(agent)
    reply(lone, turn, tool_calls=[call(skill, "c1")])
    with lone.refused("OS003", "does not wait for a model"):
        reply(lone, turn, content="early")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"content": ""}, "the reply is empty"),
        ({"content": "x", "finish_reason": "done"}, "there is no finish_reason 'done'"),
        ({"content": "x", "model": "no such model"}, "is none of this turn"),
        ({"content": "x", "usage": {"input_tokens": -1}}, "is no number of tokens"),
        ({"content": "x", "usage": {"output_tokens": 1.5}}, "is no number of tokens"),
        ({"content": "x", "usage": {"input_tokens": 1, "cached_tokens": 2}}, "from the cache"),
        ({"tool_calls": {"name": "x"}}, "its tool_calls are a list"),
        ({"tool_calls": [{"arguments": {}}]}, "has no name"),
    ],
)
def test_a_reply_that_cannot_be_used_is_refused(
    lone: House, members: dict[str, Any], message: str
) -> None:
    turn = lone.turn()
    with lone.refused("OS001", message):
        reply(lone, turn, **members)
    assert lone.steps(turn) == []


def test_a_reply_that_is_no_object_is_refused(lone: House) -> None:
    turn = lone.turn()
    for given in (Jsonb("text"), Jsonb([]), None):
        with lone.refused("OS001", "a reply is an object"):
            lone.call("aos_agent.record_model_reply", turn, given)


def test_arguments_may_be_an_object_or_its_text(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent)
    turn = lone.turn(agent)
    given = ['{"b": 1e0, "a": 2}', {"a": 2}, "", None, " {} ", '{"a": ', "[1]", '{"a": "\\u0000"}']
    reply(
        lone,
        turn,
        tool_calls=[call(skill, f"c{n}") | {"arguments": a} for n, a in enumerate(given)],
    )
    found = lone.steps(turn, "arguments::text")[1:]
    assert [text for (text,) in found] == [
        '{"b": 1e0, "a": 2}', '{"a": 2}', "{}", "{}", "{}",
        '"{\\"a\\": "', '"[1]"', '"{\\"a\\": \\"\\\\u0000\\"}"',
    ]  # fmt: skip


def test_blocks_of_the_vendor_come_back_byte_for_byte(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent)
    turn = lone.turn(agent)
    vendor = '{"driver":"x","signature":"b==",  "a":1.0}'
    calls = [call(skill, "c1") | {"arguments": '{"z": 1.0, "a": 2}'}]
    reply(lone, turn, vendor=vendor, tool_calls=calls)
    lone.result(turn, skill, "found")
    [stored] = claim(lone)["stored"]
    assert (stored["no"], stored["vendor"]) == (1, vendor)
    assert '"arguments":{"z": 1.0, "a": 2}' in stored["message"]


@pytest.mark.parametrize("kind", ["authentication", "billing", "not_found", "invalid_request"])
def test_an_error_that_stays_fails_the_turn_at_once(lone: House, kind: str) -> None:
    turn = lone.turn()
    fence = claim(lone)["fence"]
    error = {"kind": kind, "message": "it says no", "status": 400, "attempts": 1}
    state = lone.call("aos_agent.fail_turn", turn, Jsonb(error), fence)
    assert (state["status"], state["error"]["kind"]) == ("failed", kind)
    assert state["error"]["sqlstate"].startswith("OS10")
    assert lone.steps(turn) == [("model", "failed")]
    assert lone.rows("select * from aos_core.queue where run_id = %s", turn) == []


def test_an_error_that_may_pass_puts_the_turn_off_for_as_long_as_the_provider_says(
    lone: House,
) -> None:
    turn = lone.turn()
    fence = claim(lone)["fence"]
    error = {"kind": "rate_limited", "message": "slowly", "retry_after": 3600}
    state = lone.call("aos_agent.fail_turn", turn, Jsonb(error), fence)
    assert state["status"] == "queued"
    assert lone.one(
        "select run_after > clock_timestamp() + interval '50 minutes' and attempt = 1"
        " and worker is null and error ->> 'kind' = 'rate_limited'"
        " from aos_core.queue where run_id = %s",
        turn,
    )
    assert lone.steps(turn) == []  # it is the same call when it is made again


def test_tokens_of_a_call_that_failed_are_counted(lone: House) -> None:
    turn = lone.turn()
    fence = claim(lone)["fence"]
    error = {
        "kind": "malformed_response",
        "message": "empty twice",
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }
    assert lone.call("aos_agent.fail_turn", turn, Jsonb(error), fence)["status"] == "queued"
    assert lone.steps(turn, "kind, status, input_tokens") == [("model", "failed", 9)]


@pytest.mark.parametrize("error", [{}, {"kind": "tired", "message": "x"}, {"kind": "timeout"}])
def test_an_error_needs_a_kind_and_a_message(lone: House, error: dict[str, Any]) -> None:
    with lone.refused("OS001", "has a kind and a message"):
        lone.call("aos_agent.fail_turn", lone.turn(), Jsonb(error))


def test_a_turn_that_fails_in_the_middle_of_its_calls_closes_them(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent)
    turn = lone.turn(agent)
    fence = claim(lone)["fence"]
    reply(lone, turn, fence, tool_calls=[call(skill, "c1")])
    error = {"kind": "invalid_request", "message": "the tools are broken"}
    assert lone.call("aos_agent.fail_turn", turn, Jsonb(error), fence)["status"] == "failed"
    assert lone.steps(turn) == [("model", "completed"), ("tool", "failed")]


def test_an_approved_skill_of_the_database_has_run_when_the_turn_is_claimed(lone: House) -> None:
    agent = lone.agent()
    skill = lone.function_skill(agent, "f() returns text language sql return 'ran'", approval="ask")
    turn = lone.turn(agent)
    state = reply(lone, turn, claim(lone)["fence"], tool_calls=[call(skill, "c1")])
    assert state["status"] == "awaiting_approval"
    assert "fence" not in state  # people decide now
    assert lone.call("aos_agent.claim_turn", "one") is None
    lone.call("aos_agent.approve_tool_call", UUID(state["pending"][0]["step_id"]))
    state = claim(lone)
    assert (state["status"], state["fence"]) == ("awaiting_model", 2)
    assert state["messages"][-1]["content"] == "ran"


def test_a_call_that_nobody_approves_in_time_lets_the_turn_go_on(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent, approval="ask")
    turn = lone.turn(agent)
    reply(lone, turn, claim(lone)["fence"], tool_calls=[call(skill, "c1")])
    lone.rows(
        "update aos_core.approval set requested_at = now() - interval '2 days',"
        " expires_at = now() - interval '1 day'"
    )
    lone.rows("update aos_core.queue set run_after = now() where run_id = %s", turn)
    assert "in time" in claim(lone)["messages"][-1]["content"]


def test_an_error_of_a_tool_is_told_to_the_model(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent)
    turn = lone.turn(agent)
    lone.tool(turn, skill)
    recorded = lone.result(turn, skill, "no such city", is_error=True)
    assert recorded["turn_status"] == "awaiting_model"
    assert lone.steps(turn, "status, error")[1] == ("failed", {"message": "no such city"})
    message = lone.run(turn)["messages"][-1]
    assert (message["content"], message["is_error"]) == ("no such city", True)


def test_finishing_by_hand_takes_a_turn_out_of_the_queue(lone: House) -> None:
    turn = lone.turn()
    lone.finish(turn)
    assert lone.rows("select * from aos_core.queue where run_id = %s", turn) == []
    assert lone.call("aos_agent.claim_turn", "one") is None


def test_a_worker_sees_the_turns_of_its_tenant_alone(lone: House) -> None:
    mine, other = lone.agent(), lone.agent()
    role = name("worker")
    lone.rows(f"create role {role} login in role pgagentos_worker")
    lone.insert("aos_auth.principal", tenant_id=mine.tenant_id, db_role=role)
    foreign, own = lone.turn(other), lone.turn(mine)
    lone.rows(f"set session authorization {role}")
    try:
        assert claim(lone)["turn_id"] == str(own)
        assert lone.call("aos_agent.claim_turn", "one") is None
        with lone.refused("OS002", "there is no turn"):
            reply(lone, foreign, content="x")
    finally:
        lone.rows("reset session authorization")


def test_the_tools_of_the_last_call_are_withheld_and_named_all_the_same(lone: House) -> None:
    agent: Agent = lone.agent(max_model_calls=1)
    skill = lone.skill(agent)
    lone.turn(agent)
    state = claim(lone)
    assert (state["tools"], state["tool_choice"]) == ([], "none")
    assert [tool["name"] for tool in state["withheld_tools"]] == [skill]
    assert "no tool calls left" in state["note"]


def test_tokens_count_at_the_provider_of_the_model_that_answered(lone: House) -> None:
    tenant_id = lone.tenant()
    other = lone.one(
        "select model_name from aos_meta.llm_model_registry where provider = 'anthropic' limit 1"
    )
    persona = lone.persona(tenant_id, fallback_model_id=lone.model(other))
    lone.rows(
        "update aos_meta.provider set tokens_per_minute = 1000"
        " where provider in ('openai', 'anthropic')"
    )
    turn = lone.turn(lone.agent(tenant_id, persona))
    usage = {"input_tokens": 700, "output_tokens": 0}
    reply(lone, turn, claim(lone)["fence"], content="Done.", model=other, usage=usage)
    had = lone.rows(
        "select scope, tokens from aos_core.rate_bucket where scope_id = %s and scope like %s"
        " order by scope",
        str(tenant_id),
        "tenant of %",
    )
    assert [(scope, round(tokens or 0)) for scope, tokens in had] == [
        ("tenant of anthropic", 700),
        ("tenant of openai", 0),
    ]
    lone.rows("update aos_meta.provider set tokens_per_minute = null")
