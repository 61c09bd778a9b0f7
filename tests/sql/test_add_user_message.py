"""aos_agent.add_user_message and aos_agent.open_conversation."""

from __future__ import annotations

from uuid import UUID, uuid4

from house import House


def test_it_returns_the_id_of_the_message(house: House) -> None:
    conversation = house.conversation()
    message = house.say(conversation, "안녕 🙂")
    assert isinstance(message, UUID)
    found = house.rows(
        "select conversation_id, run_id, content from aos_agent.message where message_id = %s",
        message,
    )
    assert found == [(conversation, None, "안녕 🙂")]


def test_it_refuses_an_empty_message(house: House) -> None:
    conversation = house.conversation()
    for content in ("", None):
        with house.refused("OS001", "the message is empty"):
            house.call("aos_agent.add_user_message", conversation, content)


def test_it_refuses_an_unknown_conversation(house: House) -> None:
    for unknown in (uuid4(), None):
        with house.refused("OS002", f"there is no conversation {unknown or 'NULL'}") as refusal:
            house.call("aos_agent.add_user_message", unknown, "hello")
        assert "aos_agent.open_conversation(agent_name)" in refusal.hint


def test_messages_keep_the_order_in_which_they_were_added(house: House) -> None:
    conversation = house.conversation()
    with house.connection.transaction():  # one moment for all of them
        for content in "abc":
            house.say(conversation, content)
    turn = house.start(conversation)
    assert [m["content"] for m in house.run(turn)["messages"]] == ["a", "b", "c"]


def test_open_conversation_gives_it_an_agent_and_a_title(house: House) -> None:
    agent = house.agent()
    conversation = house.call("aos_agent.open_conversation", agent.name, "About joins")
    found = house.rows(
        "select agent_id, tenant_id, title from aos_agent.conversation where conversation_id = %s",
        conversation,
    )
    assert found == [(agent.agent_id, agent.tenant_id, "About joins")]


def test_open_conversation_refuses_an_unknown_agent(house: House) -> None:
    for unknown in ("nobody", None):
        with house.refused("OS002", "there is no agent"):
            house.call("aos_agent.open_conversation", unknown)


def test_open_conversation_refuses_a_name_that_several_tenants_use(house: House) -> None:
    first = house.agent()
    house.agent(name=first.name)
    with house.refused("OS001", "several tenants have an agent"):
        house.call("aos_agent.open_conversation", first.name)


def test_deleting_a_conversation_takes_its_rows_along_and_leaves_the_log(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent, approval="ask")
    turn = house.turn(agent)
    house.tool(turn, skill)
    [[conversation]] = house.rows(
        "select conversation_id from aos_core.run where run_id = %s", turn
    )
    house.rows("delete from aos_agent.conversation where conversation_id = %s", conversation)
    for table in ("aos_core.run", "aos_core.step"):
        assert house.one(f"select count(*) from {table} where run_id = %s", turn) == 0
    assert house.events(turn) == ["turn_started", "approval_requested"]
