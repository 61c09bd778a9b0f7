"""A turn that a budget leaves nothing ends before its next model call, and says which it was."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest

from budget.stage import budget, counted, error, left, requests
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene

#: A reply of the play uses 10 + 5 tokens, which cost (10 * 2 + 5 * 8) / 1e6 dollars.
TOKENS = 15
COST = Decimal("0.00006")


def scoped(scene: Scene, scope: str, conversation_id: Any) -> dict[str, Any]:
    """The arguments of set_budget that name a scope."""
    if scope == "agent":
        return {"agent_name": scene.name}
    return {"conversation_id": conversation_id} if scope == "conversation" else {}


@pytest.mark.parametrize("limit", [{"max_tokens": 2 * TOKENS}, {"max_cost": 2 * COST}], ids=str)
@pytest.mark.parametrize(
    ("scope", "period"),
    [
        ("tenant", "day"),
        ("tenant", "month"),
        ("agent", "day"),
        ("agent", "month"),
        ("conversation", "day"),
        ("conversation", "month"),
        ("conversation", "total"),
    ],
)
def test_a_budget_ends_the_turn_that_finds_it_used_up(
    scene: Scene, scope: str, period: str, limit: dict[str, Any]
) -> None:
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", scene.name)
    budget_id = budget(scene, period, **scoped(scene, scope, conversation_id), **limit)
    scene.says(says("one"), says("two"), says("never said"))
    assert scene.ask("first", conversation_id) == "one"
    assert scene.ask("second", conversation_id) == "two"
    assert scene.ask("third", conversation_id) is None
    assert requests(scene) == 2
    assert scene.run()["status"] == "failed"
    whose = f'agent "{scene.name}"' if scope == "agent" else f"the {scope}"
    when = {"day": "for the day", "month": "for the month", "total": "in all"}[period]
    used = "30 of 30 tokens" if "max_tokens" in limit else "0.00012 of 0.00012 US dollars"
    found = error(scene)
    assert found["message"] == f"the budget of {whose} {when} is used up: {used}"
    assert (found["sqlstate"], found["kind"]) == ("OS115", "budget")
    assert found["budget_id"] == str(budget_id)
    resets = scene.value(
        "select to_char(resets_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"')"
        " from aos_agent.budget_left where budget_id = %s",
        budget_id,
    )
    assert found["resets_at"] == resets
    if period == "total":
        assert "A new conversation is not limited by it." in found["hint"]
    else:
        assert f"It starts anew at {resets}." in found["hint"]
    # The caller of ask is told, too.
    assert found["message"] in scene.warnings[-1][0]
    assert scene.events()[-1] == "turn_failed"


@pytest.mark.parametrize("scope", ["tenant", "agent", "conversation"])
def test_a_budget_for_a_turn_stops_it_between_its_calls_and_the_next_turn_has_it_anew(
    scene: Scene, scope: str
) -> None:
    scene.skill("one() returns int language sql return 1")
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", scene.name)
    budget(scene, "turn", **scoped(scene, scope, conversation_id), max_tokens=TOKENS + 1)
    scene.says(*[calls(tool_call("one"))] * 2, says("from the second turn"))
    assert scene.ask("first", conversation_id) is None
    whose = f'agent "{scene.name}"' if scope == "agent" else f"the {scope}"
    assert error(scene)["message"] == (
        f"the budget of {whose} for a turn is used up: 30 of 16 tokens"
    )
    assert error(scene)["resets_at"] is None
    assert requests(scene) == 2
    # What the turn did stays recorded.
    assert scene.shape() == ["model completed", "tool completed"] * 2
    assert scene.ask("second", conversation_id) == "from the second turn"


def test_a_shared_budget_stops_a_turn_between_its_calls(scene: Scene) -> None:
    scene.skill("one() returns int language sql return 1")
    budget(scene, "day", max_tokens=2 * TOKENS)
    scene.says(*[calls(tool_call("one"))] * 3)
    assert scene.ask() is None
    assert error(scene)["kind"] == "budget"
    assert requests(scene) == 2
    assert counted(scene) == (2 * TOKENS, 2 * COST)


def test_a_budget_of_nothing_lets_no_model_be_called(scene: Scene) -> None:
    budget(scene, "month", max_tokens=0)
    assert scene.ask() is None
    assert requests(scene) == 0
    assert "0 of 0 tokens" in error(scene)["message"]


def test_the_strictest_of_several_budgets_stops_the_turn(scene: Scene) -> None:
    budget(scene, "month", max_tokens=1_000_000)
    budget(scene, "day", max_tokens=TOKENS)
    scene.says(says("one"))
    assert scene.ask() == "one"
    assert scene.ask() is None
    assert "for the day" in error(scene)["message"]


def test_a_budget_of_one_agent_or_conversation_leaves_others_alone(scene: Scene) -> None:
    scene.connection.execute(
        "insert into aos_agent.agent (tenant_id, name, persona_id)"
        " select tenant_id, name || '_other', persona_id from aos_agent.agent where name = %s",
        (scene.name,),
    )
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", f"{scene.name}_other")
    budget(scene, "day", agent_name=scene.name, max_tokens=0)
    budget(scene, "total", conversation_id=conversation_id, max_tokens=0)
    scene.says(says("from the other"))
    assert scene.ask() is None
    assert (
        scene.value("select aos_agent.ask(%s, 'x', %s)", scene.name + "_other", conversation_id)
        is None
    )
    assert (
        scene.value("select aos_agent.ask(%s, 'hello')", scene.name + "_other") == "from the other"
    )


def test_a_budget_that_is_raised_or_taken_away_lets_turns_go_on(scene: Scene) -> None:
    budget_id = budget(scene, "day", max_tokens=0)
    assert scene.ask() is None
    scene.says(says("raised"), says("without"))
    assert budget(scene, "day", max_tokens=TOKENS) == budget_id
    assert scene.ask() == "raised"
    assert scene.ask() is None
    assert budget(scene, "day") is None
    assert scene.ask() == "without"


def test_a_model_without_prices_is_not_called_under_a_budget_in_money(scene: Scene) -> None:
    scene.connection.execute(
        "update aos_meta.llm_model_registry set output_price = null where model_name = %s",
        (scene.name,),
    )
    budget(scene, "month", max_cost=100)
    assert scene.ask() is None
    assert requests(scene) == 0
    found = error(scene)
    assert found["message"] == (
        f"the budget of the tenant for the month is in money, and model {scene.name} has no price"
    )
    assert found["sqlstate"] == "OS115"
    assert "Set input_price and output_price in aos_meta.llm_model_registry" in found["hint"]
    scene.connection.execute(
        "update aos_meta.llm_model_registry set input_price = 0, output_price = 0"
        " where model_name = %s",
        (scene.name,),
    )
    scene.says(says("for nothing"))
    assert scene.ask() == "for nothing"


def test_a_model_without_prices_counts_its_tokens_under_a_budget_in_tokens(scene: Scene) -> None:
    scene.connection.execute(
        "update aos_meta.llm_model_registry set input_price = null, output_price = null"
        " where model_name = %s",
        (scene.name,),
    )
    budget(scene, "month", max_tokens=100)
    scene.says(says("one"))
    assert scene.ask() == "one"
    assert counted(scene) == (TOKENS, 0)


def test_a_fallback_model_without_prices_is_refused_before_anything_is_spent(
    scene: Scene, play_server: Any
) -> None:
    name = scene.add_fallback(scene.play.url)
    scene.connection.execute(
        "update aos_meta.llm_model_registry set input_price = null where model_name = %s", (name,)
    )
    budget(scene, "month", max_cost=100)
    assert scene.ask() is None
    assert f"model {name} has no price" in error(scene)["message"]
    assert requests(scene) == 0


def test_replies_that_were_of_no_use_are_counted(scene: Scene) -> None:
    budget(scene, "day", max_tokens=1000)
    scene.says(says(""), says(""))
    assert scene.ask() is None
    assert scene.run()["error"]["kind"] == "malformed_response"
    assert counted(scene) == (2 * TOKENS, 2 * COST)
    assert left(scene)["tokens_left"] == 1000 - 2 * TOKENS


def test_the_cost_that_is_judged_is_the_cost_that_is_recorded(scene: Scene) -> None:
    """Also with cached tokens, in the middle of a turn, before anything is recorded."""
    scene.skill("one() returns int language sql return 1")
    scene.connection.execute(
        "update aos_meta.llm_model_registry set input_price = 1.23, cached_input_price = 0.123,"
        " output_price = 4.567 where model_name = %s",
        (scene.name,),
    )
    budget(scene, "day", max_cost=0)
    usage = {"prompt_tokens": 1001, "completion_tokens": 77, "total_tokens": 1078}
    usage_cached = {**usage, "prompt_tokens_details": {"cached_tokens": 333}}
    answer = calls(tool_call("one"))
    answer.body["usage"] = usage_cached
    exact = (668 * Decimal("1.23") + 333 * Decimal("0.123") + 77 * Decimal("4.567")) / 1_000_000
    exact = round(exact, 8)
    budget(scene, "day", max_cost=exact)
    scene.says(answer)
    assert scene.ask() is None
    assert error(scene)["message"].endswith(f"{exact} of {exact} US dollars")
    assert counted(scene)[1] == scene.run()["cost"] == exact
    assert requests(scene) == 1


def test_budget_left_says_what_is_left(scene: Scene) -> None:
    budget(scene, "day", max_tokens=100, max_cost=1)
    scene.says(says("one"))
    scene.ask()
    found = left(scene)
    assert (found["used_tokens"], found["tokens_left"]) == (TOKENS, 85)
    assert (found["used_cost"], found["cost_left"]) == (COST, 1 - COST)
    assert scene.value(
        "select starts_at = d at time zone 'UTC' and resets_at = (d + '1 day') at time zone 'UTC'"
        " from aos_agent.budget_left, date_trunc('day', clock_timestamp() at time zone 'UTC') as d"
        " where budget_id = %s",
        found["budget_id"],
    )


def test_budget_left_says_nothing_about_what_is_not_limited(scene: Scene) -> None:
    budget(scene, "day", max_tokens=100)
    assert (left(scene)["max_cost"], left(scene)["cost_left"]) == (None, None)
    assert budget(scene, "day", max_cost=1) == left(scene)["budget_id"]
    assert (left(scene)["max_tokens"], left(scene)["tokens_left"]) == (None, None)


def test_budget_left_never_goes_below_zero(scene: Scene) -> None:
    budget(scene, "day", max_tokens=1)
    scene.says(says("one"))
    scene.ask()
    assert (left(scene)["used_tokens"], left(scene)["tokens_left"]) == (TOKENS, 0)


@pytest.mark.parametrize("session_zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_days_and_months_are_those_of_utc(scene: Scene, session_zone: str) -> None:
    scene.connection.execute(f"set time zone '{session_zone}'")
    budget(scene, "month", max_tokens=100)
    scene.says(says("one"))
    scene.ask()
    assert scene.value(
        "select day = (clock_timestamp() at time zone 'UTC')::date from aos_agent.usage"
        " where tenant_id = %s",
        scene.tenant_id,
    )
    assert left(scene)["used_tokens"] == TOKENS
    scene.connection.execute("set time zone 'UTC'")
    assert left(scene)["resets_at"].day == 1
    assert left(scene)["starts_at"].day == 1


@pytest.mark.parametrize(("period", "used"), [("day", 0), ("month", 7)])
def test_what_was_used_before_the_period_does_not_count(
    scene: Scene, period: str, used: int
) -> None:
    """7 tokens of the first of this month, 1000 of the month before."""
    budget(scene, period, max_tokens=100)
    scene.connection.execute(
        "insert into aos_agent.usage (tenant_id, agent_id, day, tokens, cost)"
        " select a.tenant_id, a.agent_id, d, t, 0 from aos_agent.agent as a,"
        " (select date_trunc('month', clock_timestamp() at time zone 'UTC')::date as first) as m,"
        " lateral (values (m.first - 1, 1000), (m.first, 7)) as v (d, t) where a.name = %s",
        (scene.name,),
    )
    if scene.value("select extract(day from clock_timestamp() at time zone 'UTC')") == 1:
        used = 7
    assert left(scene)["used_tokens"] == used


def test_set_budget_names_what_is_missing(scene: Scene) -> None:
    for arguments, sqlstate in [
        ("'day', 5", "OS001"),
        (f"'year', 5, tenant_name => '{scene.name}'", "OS001"),
        (f"null, 5, tenant_name => '{scene.name}'", "OS001"),
        ("'day', 5, tenant_name => 'nobody'", "OS002"),
        ("'day', 5, agent_name => 'nobody'", "OS002"),
        (f"'day', 5, agent_name => 'nobody', tenant_name => '{scene.name}'", "OS002"),
        ("'day', 5, conversation_id => gen_random_uuid()", "OS002"),
    ]:
        with pytest.raises(psycopg.Error) as caught:
            scene.value(f"select aos_agent.set_budget({arguments})")
        assert caught.value.sqlstate == sqlstate, arguments
        assert caught.value.diag.message_hint, arguments
