"""What a turn's budgets leave it."""

from __future__ import annotations

from ..database import Database


def use(database: Database, run_id: str) -> str | None:
    """The budgets of a turn and what is used of them, as JSON text; None when there are none."""
    rows = database.rows("select aos_agent._budget_use($1::uuid) as use", run_id)
    text: str | None = rows[0]["use"]
    return text


def end_over_budget(database: Database, run_id: str) -> bool:
    """End a turn that is driven from outside when a budget leaves it nothing.

    Returns:
        whether it was ended.
    """
    rows = database.rows("select aos_agent._end_over_budget($1::uuid) as ended", run_id)
    return bool(rows[0]["ended"])
