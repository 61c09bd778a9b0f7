"""The budgets that hold for a turn: whether it may call its model once more."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .in_flight import InFlight, Snapshot, used_by_others
from .price import UNITS

_PERIODS = {"turn": "for a turn", "day": "for the day", "month": "for the month", "total": "in all"}


class Limit(NamedTuple):
    """A budget.

    Args:
        scope: ``tenant``, ``agent`` or ``conversation``.
        period: ``turn``, ``day``, ``month`` or ``total``.
        max_cost: in 1e-8 US dollars.
    """

    budget_id: str
    scope: str
    period: str
    max_tokens: int | None
    max_cost: int | None

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
        open_slots: opens it and reads it.
        read: reads anew what all turns have used, as JSON text.
        first: what was read with the turn, as ``aos_agent._budgets_of`` returns it.
        slots: of *in_flight*, read before that; None when it was not open.

    Attributes:
        reads: what was read in this short transaction, shared with other turns, by tenant and
            agent; None: each turn reads by itself.
    """

    def __init__(
        self,
        in_flight: InFlight,
        open_slots: Callable[[], bytes],
        read: Callable[[], str],
        first: str,
        slots: bytes | None,
        tenant_id: str,
        agent_id: str,
    ) -> None:
        value = json.loads(first)
        self.reads: dict[tuple[str, str], tuple[bytes, dict[str, Any]]] | None = None
        self._in_flight = in_flight
        self._open_slots = open_slots
        self._read = read
        self._slots = slots
        self._tenant_id = tenant_id
        self._agent_id = agent_id
        self._agent_name: str = value["agent_name"]
        self._limits = [_limit(*row) for row in value["limits"] or ()]
        self._unpriced: str | None = value["unpriced"]
        self._tokens = self._cost = 0  # used since the last record
        # what the rows show: by "scope period", tokens and dollars
        self._used: dict[str, Any] = {"turn": value["turn"], **(value["conversation"] or {})}
        self._is_shared = value["shared"] is not None
        self._is_fresh = slots is not None
        if self._is_shared:
            self._take(value["shared"], slots or b"")

    def exhausted(self) -> Exhausted | None:
        """What forbids the next model call, or None.

        What was read with the turn serves its first call, unless others have used something since:
        the turn may have waited for its conversation. What others use too is read again before
        each further one.
        """
        if self._is_shared:
            if not self._is_fresh or self._in_flight.read() != self._slots:
                slots, shared = self._read_anew()
                self._take(shared, slots)
            self._is_fresh = False
        for limit in self._limits:
            tokens, cost = self._used_of(limit)
            if limit.max_tokens is not None and tokens >= limit.max_tokens:
                return self._exhausted(limit, f"{tokens} of {limit.max_tokens} tokens")
            if limit.max_cost is None:
                continue
            if cost >= limit.max_cost:
                used = f"{_dollars(cost)} of {_dollars(limit.max_cost)} US dollars"
                return self._exhausted(limit, used)
            if self._unpriced is not None:
                return self._without_price(limit, self._unpriced)
        return None

    def spend(self, tokens: int, cost: int) -> None:
        """Count a reply; turns of other sessions see it at once.

        Args:
            cost: in 1e-8 US dollars.
        """
        self._tokens += tokens
        self._cost += cost
        if self._is_shared:
            self._in_flight.add(
                self._transaction, self._snapshot, self._tenant_id, self._agent_id, tokens, cost
            )

    def recorded(self) -> None:
        """What was counted is in the rows now.

        Budgets that others use too are read again anyway; those of the turn and its conversation
        nobody else uses meanwhile.
        """
        for key, used in self._used.items():
            if key == "turn" or key.startswith("conversation "):
                tokens, dollars = used
                self._used[key] = (
                    (tokens or 0) + self._tokens,
                    float(dollars or 0) + self._cost / UNITS,
                )
        self._tokens = self._cost = 0

    def outdated(self) -> None:
        """Time has gone by since the budgets were read."""
        self._is_fresh = False

    def _read_anew(self) -> tuple[bytes, dict[str, Any]]:
        """What others use too, and the slots as they were before it was read."""
        key = (self._tenant_id, self._agent_id)
        found = None if self.reads is None else self.reads.get(key)
        if found is None:
            slots = self._in_flight.read() or self._open_slots()
            found = slots, json.loads(self._read())
            if self.reads is not None:
                self.reads[key] = found
        return found

    def _take(self, shared: Mapping[str, Any], slots: bytes) -> None:
        self._transaction = int(shared["transaction"])
        self._snapshot = Snapshot.parse(shared["snapshot"])
        self._used.update(shared)
        self._others = used_by_others(slots, self._snapshot, self._transaction, self._tenant_id)

    def _used_of(self, limit: Limit) -> tuple[int, int]:
        key = "turn" if limit.period == "turn" else f"{limit.scope} {limit.period}"
        tokens, dollars = self._used[key]
        tokens = (tokens or 0) + self._tokens
        cost = round((dollars or 0) * UNITS) + self._cost
        if limit.is_shared:
            for agent_id, others_tokens, others_cost in self._others:
                if limit.scope == "tenant" or agent_id == self._agent_id:
                    tokens += others_tokens
                    cost += others_cost
        return tokens, cost

    def _exhausted(self, limit: Limit, used: str) -> Exhausted:
        details = self._details(limit)
        if limit.period == "turn":
            when = "Each turn has it anew."
        elif limit.period == "total":
            when = "A new conversation is not limited by it."
        else:
            when = f"It starts anew at {details['resets_at']}."
        return Exhausted(
            f"{self._name(limit)} is used up: {used}",
            f"{when} aos_agent.budget_left shows what is left, aos_agent.set_budget raises it.",
            details,
        )

    def _without_price(self, limit: Limit, model: str) -> Exhausted:
        return Exhausted(
            f"{self._name(limit)} is in money, and model {model} has no price",
            "Set input_price and output_price in aos_meta.llm_model_registry; a model that"
            " costs nothing has the prices 0.",
            self._details(limit),
        )

    def _name(self, limit: Limit) -> str:
        whose = f'agent "{self._agent_name}"' if limit.scope == "agent" else f"the {limit.scope}"
        return f"the budget of {whose} {_PERIODS[limit.period]}"

    def _details(self, limit: Limit) -> dict[str, Any]:
        return {"budget_id": limit.budget_id, "resets_at": _next(limit.period)}


def _limit(
    budget_id: str, scope: str, period: str, max_tokens: int | None, max_cost: float | None
) -> Limit:
    units = None if max_cost is None else round(max_cost * UNITS)
    return Limit(budget_id, scope, period, max_tokens, units)


def _dollars(units: int) -> str:
    whole, rest = f"{units / UNITS:.8f}".rstrip("0").split(".")
    return f"{whole}.{rest:0<2}"


def _next(period: str) -> str | None:
    """When the next day or month begins, in UTC."""
    from datetime import datetime, timedelta, timezone

    if period not in ("day", "month"):
        return None
    now = datetime.now(timezone.utc)
    # The 28th and 4 days are always in the next month.
    later = now + timedelta(days=1) if period == "day" else now.replace(day=28) + timedelta(days=4)
    return f"{later:%Y-%m-%d} 00:00 UTC" if period == "day" else f"{later:%Y-%m}-01 00:00 UTC"
