"""Chains of events, and the hands of a superuser who changes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from house import Agent, House

#: Recomputes the hashes of a chain from an entry on, as somebody would who knows how it is done.
#: The entries up to no. {old} get times in January 2020.
REWRITE = """
do $$
declare
    v_event record;
    v_hash bytea;
    v_time timestamptz;
begin
    for v_event in
        select * from aos_core.event_log where chain_id = '{chain}' order by event_no
    loop
        v_time := case when v_event.event_no <= {old} then timestamptz '2020-01-10'
            + v_event.event_no * interval '1 second' else v_event.created_at end;
        if v_event.event_no < {first} then
            v_hash := v_event.hash;
            continue;
        end if;
        v_hash := aos_core._event_hash(v_hash, v_event.event_no, v_time, v_event.chain_id,
            v_event.tenant_id, v_event.run_id, v_event.event_type, v_event.actor, v_event.detail);
        update aos_core.event_log set created_at = v_time, hash = v_hash
         where chain_id = '{chain}' and event_no = v_event.event_no;
    end loop;
end $$
"""
#: Makes the turns and the tenant remember the chain as it is now.
REWRITE_HEAD = """
with last as (
    select * from aos_core.event_log where chain_id = '{chain}' order by event_no desc limit 1),
run as (
    update aos_core.run as r set event_no = l.event_no, event_hash = l.hash from last as l
     where r.run_id = (select run_id from aos_core.run where conversation_id = '{chain}'
                        order by turn_no desc limit 1))
update aos_core.event_head as h set event_no = l.event_no, event_hash = l.hash
  from last as l where h.tenant_id = '{chain}'
"""


@dataclass(frozen=True, slots=True)
class Chains:
    """A tenant with a conversation of two turns, which are four entries.

    Its own chain has five: the tenant, its persona and its agent were added, and two of this test.
    """

    agent: Agent
    conversation: UUID

    @property
    def tenant(self) -> UUID:
        return self.agent.tenant_id


def turn(house: House, conversation: UUID) -> UUID:
    """A whole turn: two entries."""
    house.say(conversation)
    turn_id = house.start(conversation)
    house.finish(turn_id)
    return turn_id


def make_chains(house: House) -> Chains:
    """Make them, with a seal after each turn and one at the end."""
    agent = house.agent()
    conversation = house.conversation(agent)
    for _ in range(2):
        turn(house, conversation)
        house.call("aos_core.seal_event_log")
    for number in range(2):
        log(house, agent.tenant_id, "something_happened", {"number": number, "name": "이름"})
    house.call("aos_core.seal_event_log")
    return Chains(agent, conversation)


def log(
    house: House, tenant: UUID | None, event: str, detail: dict[str, Any] | None = None
) -> None:
    """An event that concerns no conversation."""
    house.call("aos_core._log", tenant, None, None, event, detail)


def problems(house: House, tenant: UUID | None = None) -> list[tuple[UUID, int | None, str]]:
    """What verify_event_log finds."""
    return house.rows("select * from aos_core.verify_event_log(%s)", tenant)


@contextmanager
def unguarded(house: House) -> Iterator[None]:
    """A superuser has switched the triggers off; all that he does is undone at the end."""
    with house.connection.transaction(force_rollback=True):
        tables = house.rows(
            "select c.oid::regclass::text from pg_class as c where c.oid in"
            " ('aos_core.event_log'::regclass, 'aos_core.event_seal'::regclass,"
            " 'aos_core.run'::regclass) or c.oid in (select inhrelid from pg_inherits"
            " where inhparent = 'aos_core.event_log'::regclass)"
        )
        for (table,) in tables:
            house.rows(f"alter table {table} disable trigger user")
        yield
