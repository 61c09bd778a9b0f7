"""What the turns of a chaos run are to do: plans, drawn from one seed.

A plan travels in the user's message (``turn 17: note; fetch, note; sign``), so that the model of
:mod:`chaos.world` needs no memory: groups of calls are separated by semicolons, the parallel calls
of a group by commas.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Who drives a turn, and how often that is drawn.
DRIVERS = {"work": 9, "stepwise": 4, "select": 4, "outside": 4}
#: What a tool call is, and how often it is drawn.
#: note and nap are SQL functions that write a row, nap takes a while; sign needs a person's yes;
#: fetch (GET) and put (PUT) are requests that may be repeated, charge (POST) is one that may not;
#: errand is a tool of outside workers that calls a service, and may not be repeated either.
TOOLS = {"note": 8, "nap": 1, "sign": 2, "fetch": 4, "put": 3, "charge": 3, "errand": 8}
#: A turn that is rolled back has called its services all the same, and nobody can know.
NOT_BY = {"select": {"charge", "errand"}, "stepwise": {"errand"}, "work": {"errand"}}
FUNCTIONS = frozenset({"note", "nap", "sign"})
SERVICES = frozenset({"fetch", "put", "charge", "errand"})
TENANTS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """One turn.

    Args:
        number: unique in the run.
        driver: a key of :data:`DRIVERS`.
        tenant: whose turn it is, from 0.
        groups: the tool calls, reply by reply.
        is_hard: the provider fails more often than one call's patience lasts.
    """

    number: int
    driver: str
    tenant: int
    groups: tuple[tuple[str, ...], ...]
    is_hard: bool = False

    @property
    def content(self) -> str:
        """The user's message."""
        groups = "; ".join(", ".join(group) for group in self.groups)
        return f"turn {self.number}{' hard' if self.is_hard else ''}: {groups}"

    def calls(self) -> list[tuple[str, str]]:
        """The name of each call in the turn (``1.2``: second of the first reply), and its tool."""
        return [
            (f"{reply}.{place}", tool)
            for reply, group in enumerate(self.groups, 1)
            for place, tool in enumerate(group, 1)
        ]

    @property
    def answer(self) -> str:
        """What the model says in the end."""
        return f"done {self.number}"


MESSAGE = re.compile(r"^turn (\d+)( hard)?: (.*)$")


def read(content: str) -> Plan:
    """The plan that a user's message carries; driver and tenant are not in it."""
    found = MESSAGE.match(content)
    if found is None:
        raise ValueError(f"no plan: {content!r}")
    groups = [tuple(group.split(", ")) for group in found[3].split("; ") if group]
    return Plan(int(found[1]), "", 0, tuple(groups), found[2] is not None)


def draw(seed: int, turns: int, drivers: Sequence[str] = (*DRIVERS,)) -> list[list[Plan]]:
    """Draw the turns of a run.

    Args:
        drivers: keys of :data:`DRIVERS`.

    Returns:
        conversations: the turns of each, one after the other by the same driver.
    """
    chance = random.Random(seed)
    conversations: list[list[Plan]] = []
    number = 0
    while number < turns:
        driver = chance.choices(drivers, [DRIVERS[name] for name in drivers])[0]
        tenant = chance.randrange(TENANTS)
        tools = {tool: many for tool, many in TOOLS.items() if tool not in NOT_BY.get(driver, ())}
        conversation = []
        for _ in range(chance.choice((1, 1, 1, 1, 2, 3))):
            number += 1
            groups = tuple(
                tuple(chance.choices([*tools], [*tools.values()], k=chance.choice((1, 1, 1, 2))))
                for _ in range(chance.choice((0, 1, 1, 1, 2)))
            )
            is_hard = driver == "work" and chance.random() < 0.01
            conversation.append(Plan(number, driver, tenant, groups, is_hard))
        conversations.append(conversation)
    return conversations
