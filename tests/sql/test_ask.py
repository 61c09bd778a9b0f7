"""aos_agent.ask: what it refuses, and what it says about turns that it cannot run itself."""

from __future__ import annotations

from uuid import uuid4

from house import House


def test_a_turn_that_an_outside_worker_drives_returns_null_and_a_warning(house: House) -> None:
    agent = house.agent()
    notices: list[tuple[str, str, str]] = []
    house.connection.add_notice_handler(
        lambda d: notices.append((d.severity or "", d.message_primary or "", d.message_hint or ""))
    )
    assert house.call("aos_agent.ask", agent.name, "hello") is None
    [[turn, status]] = house.rows(
        "select r.run_id, r.status from aos_core.run r join aos_agent.conversation c"
        " using (conversation_id) where c.agent_id = %s",
        agent.agent_id,
    )
    assert status == "awaiting_model"
    [(severity, message, hint)] = notices
    assert (severity, message) == ("WARNING", f"turn {turn} is awaiting_model")
    assert f"run_turn('{turn}')" in hint
    assert house.run(turn)["messages"] == [{"role": "user", "content": "hello"}]


def test_it_goes_on_with_the_conversation_that_it_is_given(house: House) -> None:
    agent = house.agent()
    conversation = house.conversation(agent)
    house.say(conversation, "before")
    house.call("aos_agent.ask", agent.name, "hello", conversation)
    turn = house.one("select run_id from aos_core.run where conversation_id = %s", conversation)
    assert [m["content"] for m in house.run(turn)["messages"]] == ["before", "hello"]


def test_it_refuses_an_empty_question(house: House) -> None:
    agent = house.agent()
    for content in ("", None):
        with house.refused("OS001", "the message is empty"):
            house.call("aos_agent.ask", agent.name, content)
    assert (
        house.one("select count(*) from aos_agent.conversation where agent_id = %s", agent.agent_id)
        == 0
    )


def test_it_refuses_an_unknown_agent(house: House) -> None:
    for unknown in ("nobody", None):
        with house.refused("OS002", "there is no agent"):
            house.call("aos_agent.ask", unknown, "hello")


def test_it_refuses_a_name_that_several_tenants_use_until_it_is_given_a_conversation(
    house: House,
) -> None:
    first = house.agent()
    conversation = house.conversation(first)
    house.agent(name=first.name)
    with house.refused("OS001", "several tenants have an agent") as refusal:
        house.call("aos_agent.ask", first.name, "hello")
    assert "conversation_id" in refusal.hint
    house.call("aos_agent.ask", first.name, "hello", conversation)
    assert (
        house.one("select count(*) from aos_core.run where conversation_id = %s", conversation) == 1
    )


def test_it_refuses_a_conversation_with_another_agent(house: House) -> None:
    agent = house.agent()
    conversation = house.conversation()
    with house.refused("OS001", f"not with '{agent.name}'"):
        house.call("aos_agent.ask", agent.name, "hello", conversation)


def test_it_refuses_an_unknown_conversation(house: House) -> None:
    agent = house.agent()
    with house.refused("OS002", "there is no conversation"):
        house.call("aos_agent.ask", agent.name, "hello", uuid4())


def test_it_refuses_a_conversation_with_an_unfinished_turn(house: House) -> None:
    agent = house.agent()
    conversation = house.conversation(agent)
    house.say(conversation)
    turn = house.start(conversation)
    with house.refused("OS003", f"turn {turn} of this conversation is not finished"):
        house.call("aos_agent.ask", agent.name, "hello", conversation)
    assert (
        house.one(
            "select count(*) from aos_agent.message where run_id is null and conversation_id = %s",
            conversation,
        )
        == 0
    )


def test_it_refuses_an_agent_that_is_not_active(house: House) -> None:
    agent = house.agent(is_active=False)
    with house.refused("OS003", "is not active"):
        house.call("aos_agent.ask", agent.name, "hello")
