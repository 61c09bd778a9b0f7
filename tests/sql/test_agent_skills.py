"""aos_agent.grant_skill, revoke_skill and the view effective_skill: what an agent can use."""

from __future__ import annotations

import pytest

from house import Agent, House


def effective(house: House, agent: Agent, columns: str = "name") -> list[tuple[object, ...]]:
    return house.rows(
        f"select {columns} from aos_agent.effective_skill where agent_id = %s order by name",
        agent.agent_id,
    )


def test_an_agent_that_was_given_none_has_the_skills_of_its_role(house: House) -> None:
    names = [name for (name,) in effective(house, house.agent())]
    assert names == ["describe_schema", "memory_recall", "memory_store", "web_search"]


def test_from_its_first_own_skill_on_it_has_only_its_own(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    assert effective(house, agent) == [(skill,)]


def test_without_its_last_own_skill_it_has_those_of_its_role_again(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    house.call("aos_agent.revoke_skill", agent.name, skill)
    assert len(effective(house, agent)) == 4


def test_another_role_brings_other_skills(house: House) -> None:
    house.insert("aos_auth.role", role_name="librarian")
    skill = house.skill()
    house.rows(
        "insert into aos_skills.role_skill (role_name, skill_id)"
        " select 'librarian', skill_id from aos_skills.skill where name = %s",
        skill,
    )
    assert effective(house, house.agent(role_name="librarian")) == [(skill,)]


@pytest.mark.parametrize(
    ("skill_says", "grant_says", "approval", "on_call"),
    [
        ("auto", None, "auto", "awaiting_result"),
        ("ask", None, "ask", "awaiting_approval"),
        ("never", None, "never", "denied"),
        ("ask", "auto", "auto", "awaiting_result"),
        ("auto", "ask", "ask", "awaiting_approval"),
        ("auto", "never", "never", "denied"),
    ],
)
def test_what_the_agent_was_given_overrides_what_the_skill_says(
    house: House, skill_says: str, grant_says: str | None, approval: str, on_call: str
) -> None:
    agent = house.agent()
    skill = house.skill(approval=skill_says)
    house.call("aos_agent.grant_skill", agent.name, skill, grant_says)
    assert effective(house, agent, "approval, on_call") == [(approval, on_call)]


def test_the_role_overrides_what_the_skill_says(house: House) -> None:
    house.insert("aos_auth.role", role_name="careful")
    skill = house.skill()
    house.rows(
        "insert into aos_skills.role_skill (role_name, skill_id, approval)"
        " select 'careful', skill_id, 'ask' from aos_skills.skill where name = %s",
        skill,
    )
    agent = house.agent(role_name="careful")
    assert effective(house, agent, "name, approval") == [(skill, "ask")]


def test_a_function_skill_runs_at_once(house: House) -> None:
    agent = house.agent()
    house.function_skill(agent, "f() returns int language sql return 1")
    assert effective(house, agent, "on_call") == [("run",)]


def test_inactive_skills_are_left_out(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    house.rows("update aos_skills.skill set is_active = false where name = %s", skill)
    assert effective(house, agent) == []


def test_a_skill_of_another_tenant_is_left_out_even_when_its_row_says_otherwise(
    house: House,
) -> None:
    agent = house.agent()
    foreign = house.skill(tenant_id=house.tenant())
    house.rows(
        "insert into aos_agent.agent_skill (agent_id, tenant_id, skill_id)"
        " select %s, %s, skill_id from aos_skills.skill where name = %s",
        agent.agent_id,
        agent.tenant_id,
        foreign,
    )
    assert effective(house, agent) == []


def test_a_tenants_own_skill_hides_a_shared_one_of_the_same_name(house: House) -> None:
    agent = house.agent()
    shared = house.skill(agent)
    house.skill(name=shared, tenant_id=agent.tenant_id, description="Ours.")
    house.call("aos_agent.grant_skill", agent.name, shared)
    assert effective(house, agent, "name, description") == [(shared, "Ours.")]
    # the other tenants keep the shared one
    other = house.agent()
    house.call("aos_agent.grant_skill", other.name, shared)
    assert effective(house, other, "name, description") == [(shared, "Does something.")]


def test_granting_again_changes_the_approval(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    house.call("aos_agent.grant_skill", agent.name, skill, "ask")
    assert effective(house, agent, "approval") == [("ask",)]
    house.call("aos_agent.grant_skill", agent.name, skill)
    assert effective(house, agent, "approval") == [("auto",)]


def test_granting_refuses_what_is_not_there(house: House) -> None:
    agent = house.agent()
    foreign = house.skill(tenant_id=house.tenant())
    for unknown in ("no_such_skill", foreign):
        with house.refused("OS002", "there is no skill") as refusal:
            house.call("aos_agent.grant_skill", agent.name, unknown)
        assert "register_function" in refusal.hint
    with house.refused("OS002", "there is no agent"):
        house.call("aos_agent.grant_skill", "nobody", "web_search")
    with house.refused("23514", "agent_skill_approval_is_known"):
        house.call("aos_agent.grant_skill", agent.name, "web_search", "maybe")


def test_revoking_refuses_what_was_not_granted(house: House) -> None:
    agent = house.agent()
    with house.refused("OS002", "was not given a skill 'web_search'") as refusal:
        house.call("aos_agent.revoke_skill", agent.name, "web_search")
    assert "role_skill" in refusal.hint
    with house.refused("OS002", "there is no agent"):
        house.call("aos_agent.revoke_skill", "nobody", "web_search")


def test_giving_a_table_names_the_privileges_that_are_missing_and_no_more(house: House) -> None:
    agent = house.agent()
    hints: list[str] = []
    house.connection.add_notice_handler(lambda notice: hints.append(notice.message_hint or ""))
    house.rows('create table shelf (shelf_id int, "Odd name" text, secret text)')
    give = "select aos_agent.grant_table(%s, 'shelf', %s::text[])"
    for columns, missing in [
        (None, "GRANT SELECT ON public.shelf TO pgagentos_agent;"),
        (
            ["shelf_id", "Odd name"],
            'GRANT SELECT (shelf_id, "Odd name") ON public.shelf TO pgagentos_agent;',
        ),
    ]:
        house.rows(give, agent.name, columns)
        assert hints.pop() == missing
    house.rows(missing)
    house.rows(give, agent.name, ["shelf_id", "Odd name"])
    assert hints == []
    house.rows(give, agent.name, ["shelf_id", "secret"])
    assert hints == ["GRANT SELECT (secret) ON public.shelf TO pgagentos_agent;"]
    house.rows("drop table shelf")
