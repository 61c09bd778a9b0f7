"""Short words for what the tests of budgets do."""

from __future__ import annotations

from typing import Any

from kernel.scene import Scene


def budget(scene: Scene, period: str, **given: Any) -> Any:
    """Set a budget of the scene's tenant, or of what *given* names; returns budget_id."""
    named = {"period": period, "tenant_name": scene.name, **given}
    arguments = ", ".join(f"{name} => %({name})s" for name in named)
    row = scene.connection.execute(f"select aos_agent.set_budget({arguments})", named).fetchone()
    assert row is not None
    return row[0]


def error(scene: Scene) -> dict[str, Any]:
    """The error of the latest turn."""
    found: dict[str, Any] = scene.run()["error"]
    return found


def left(scene: Scene) -> dict[str, Any]:
    """The one budget of the scene, with what is left of it."""
    [found] = scene.rows(
        "select * from aos_agent.budget_left where tenant_id = %s", scene.tenant_id
    )
    return found


def counted(scene: Scene) -> tuple[int, Any]:
    """Tokens and US dollars that the ledger says the tenant has used."""
    [found] = scene.rows(
        "select coalesce(sum(tokens), 0)::int as tokens, coalesce(sum(cost), 0) as cost"
        " from aos_agent.usage where tenant_id = %s",
        scene.tenant_id,
    )
    return found["tokens"], found["cost"]


def requests(scene: Scene) -> int:
    """How many requests the model has got."""
    return len(scene.play.requests())
