"""The budgets that hold for a turn: whether it may call its model once more."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .in_flight import InFlight, Snapshot, used_by_others
from .providers.base import Usage

#: The unit of money in this module is 1e-8 US dollars, to which the price of a call is rounded.
UNITS = 100_000_000

_PERIODS = {"turn": "for a turn", "day": "for the day", "month": "for the month", "total": "in all"}


class Limit(NamedTuple):
    """A budget, and what its rows say is used of it.

    Args:
        scope: ``tenant``, ``agent`` or ``conversation``.
        period: ``turn``, ``day``, ``month`` or ``total``.
        agent_name: of the scope ``agent``.
        max_cost: in 1e-8 US dollars, as *used_cost*.
        resets_at: a moment in UTC, as text.
    """

    budget_id: str
    scope: str
    period: str
    agent_name: str | None
    max_tokens: int | None
    max_cost: int | None
    used_tokens: int
    used_cost: int
    resets_at: str | None

    @property
    def is_shared(self) -> bool:
        """Whether turns of other conversations use it too."""
        return self.scope != "conversation" and self.period != "turn"


class Exhausted(NamedTuple):
    """Why a turn may not go on.

    Args:
        details: for programs: which budget it is, and when it starts anew.
    """

    message: str
    hint: str
    details: dict[str, Any]


class Budgets:
    """The budgets of one turn, of a tenant who has some.

    Args:
        in_flight: what turns have used that are not committed yet.
        read: reads the budgets anew, as JSON text; None when the tenant has none any more.
        first: what was read with the turn.
        slots: of *in_flight*, read before that; None when it was not open.
    """

    def __init__(
        self,
        in_flight: InFlight,
        read: Callable[[], str | None],
        first: str,
        slots: bytes | None,
    ) -> None:
        self._in_flight = in_flight
        self._read = read
        self._tokens = self._cost = 0  # used since the last record
        self._slots = slots
        self._is_fresh = slots is not None
        self._limits: list[Limit] = []
        self._take(first, slots or b"")

    def exhausted(self) -> Exhausted | None:
        """What forbids the next model call, or None.

        What was read with the turn serves its first call, unless others have used something since:
        the turn may have waited for its conversation. It is read again before each further one.
        """
        if not self._is_fresh or self._in_flight.read() != self._slots:
            slots = self._in_flight.open(self._database)
            text = self._read()
            if text is None:
                self._limits = []
            else:
                self._take(text, slots)
        self._is_fresh = False
        for limit in self._limits:
            if (found := self._judged(limit)) is not None:
                return found
        return None

    def spend(self, model_id: str, usage: Usage) -> None:
        """Count a reply; turns of other sessions see it at once."""
        tokens = usage.input_tokens + usage.output_tokens
        cost = self._cost_of(model_id, usage)
        self._tokens += tokens
        self._cost += cost
        if any(limit.is_shared for limit in self._limits):
            self._in_flight.open(self._database)
            self._in_flight.add(
                self._transaction, self._snapshot, self._tenant_id, self._agent_id, tokens, cost
            )

    def recorded(self) -> None:
        """What was counted is in the rows now."""
        self._tokens = self._cost = 0

    def outdated(self) -> None:
        """Time has gone by since the budgets were read."""
        self._is_fresh = False

    def _take(self, text: str, slots: bytes) -> None:
        value = json.loads(text)
        self._database: int = int(value["database"])
        self._transaction = int(value["transaction"])
        self._snapshot = Snapshot.parse(value["snapshot"])
        self._tenant_id: str = value["tenant_id"]
        self._agent_id: str = value["agent_id"]
        self._prices: dict[str, list[Any]] = value["prices"]
        self._limits = [_limit(row) for row in value["limits"] or ()]
        self._others = used_by_others(slots, self._snapshot, self._transaction, self._tenant_id)

    def _judged(self, limit: Limit) -> Exhausted | None:
        whose = f'agent "{limit.agent_name}"' if limit.agent_name else f"the {limit.scope}"
        name = f"the budget of {whose} {_PERIODS[limit.period]}"
        details = {"budget_id": limit.budget_id, "resets_at": limit.resets_at}
        tokens, cost = limit.used_tokens + self._tokens, limit.used_cost + self._cost
        for agent_id, others_tokens, others_cost in self._others if limit.is_shared else ():
            if limit.scope == "tenant" or agent_id == self._agent_id:
                tokens += others_tokens
                cost += others_cost
        if limit.max_tokens is not None and tokens >= limit.max_tokens:
            used = f"{tokens} of {limit.max_tokens} tokens"
        elif limit.max_cost is not None and cost >= limit.max_cost:
            used = f"{_dollars(cost)} of {_dollars(limit.max_cost)} US dollars"
        elif limit.max_cost is not None and (model := self._unpriced()) is not None:
            return Exhausted(
                f"{name} is in money, and model {model} has no price",
                "Set input_price and output_price in aos_meta.llm_model_registry; a model that"
                " costs nothing has the prices 0.",
                details,
            )
        else:
            return None
        return Exhausted(f"{name} is used up: {used}", _hint(limit), details)

    def _cost_of(self, model_id: str, usage: Usage) -> int:
        """What ``aos_meta.call_cost`` says, which counts when it is recorded."""
        prices = self._prices.get(model_id)
        if prices is None or prices[1] is None or prices[4] is None:
            return 0
        return cost(prices[1:], usage)

    def _unpriced(self) -> str | None:
        for name, fresh, _, _, output in self._prices.values():
            if fresh is None or output is None:
                return str(name)
        return None


def cost(prices: Sequence[float], usage: Usage) -> int:
    """What a reply costs, in 1e-8 US dollars, as ``aos_meta.call_cost`` says it.

    Args:
        prices: US dollars for a million tokens: of input, of cached input, of input that is written
            to the cache, of output.
    """
    fresh, cached, written, output = map(float, prices)
    rest = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    dollars_for_a_million = (
        rest * fresh
        + usage.cached_tokens * cached
        + usage.cache_write_tokens * written
        + usage.output_tokens * output
    )
    return round(dollars_for_a_million * UNITS / 1_000_000)


def _limit(row: dict[str, Any]) -> Limit:
    max_cost = row["max_cost"]
    return Limit(
        budget_id=row["budget_id"],
        scope=row["scope"],
        period=row["period"],
        agent_name=row["agent_name"],
        max_tokens=row["max_tokens"],
        max_cost=None if max_cost is None else round(max_cost * UNITS),
        used_tokens=row["used_tokens"],
        used_cost=round(row["used_cost"] * UNITS),
        resets_at=row["resets_at"],
    )


def _dollars(units: int) -> str:
    cents, rest = f"{units / UNITS:.8f}".rstrip("0").split(".")
    return f"{cents}.{rest:0<2}"


def _hint(limit: Limit) -> str:
    if limit.period == "turn":
        when = "Each turn has it anew."
    elif limit.resets_at is None:
        when = "A new conversation is not limited by it."
    else:
        when = f"It starts anew at {limit.resets_at}."
    return f"{when} aos_agent.budget_left shows what is left, aos_agent.set_budget raises it."
