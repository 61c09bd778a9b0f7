"""The work of every contestant: the prompt, the tool, the questions and the right answers."""

from __future__ import annotations

import json
from typing import Any

MODEL = "mock-1"
SYSTEM = (
    "You are the support agent of a web shop. Look an order up with the tool lookup_order "
    "before you say anything about it, answer briefly and politely, and never guess."
)
TOOL_DESCRIPTION = "Look up one order by its number and return its status."
ORDER_SQL = "select id, customer, status, total, placed_at from orders where id = %s"
CHAT_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "lookup_order",
            "description": TOOL_DESCRIPTION,
            "parameters": {
                "type": "object",
                "properties": {"order_id": {"type": "integer"}},
                "required": ["order_id"],
            },
        },
    }
]
STATUSES = ("pending", "packed", "shipped", "delivered", "returned")


def order_of(number: int) -> int:
    """The order that turn `number` asks for: a walk all over the table."""
    return (number * 7919) % 100_000 + 1


def user_text(number: int) -> str:
    """What the user says in turn `number`."""
    return (
        f"Hello, could you please tell me where my order #{order_of(number)} is right now, "
        "and whether it will still arrive before the weekend? Thank you very much."
    )


def check_answer(number: int, answer: str) -> None:
    """Raise AssertionError unless `answer` names the order of turn `number` and its status."""
    order = order_of(number)
    if f"no. {order} is currently {STATUSES[order % 5]}." not in answer:
        raise AssertionError(f"wrong answer in turn {number} about order {order}: {answer!r}")


def order_json(row: tuple[Any, ...]) -> str:
    """What the tool returns for a row of ORDER_SQL."""
    order_id, customer, status, total, placed_at = row
    return json.dumps(
        {
            "order_id": order_id,
            "customer": customer,
            "status": status,
            "total": str(total),
            "placed_at": str(placed_at),
        }
    )


def order_of_call(call: dict[str, Any]) -> int:
    """The argument of a tool call in the form of Chat Completions."""
    return int(json.loads(call["function"]["arguments"])["order_id"])
