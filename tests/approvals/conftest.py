"""An agent that may pay with somebody's yes, and people with access of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest

from access.conftest import Doors, cluster, doors, key_file, ticket_key
from house import House, name
from kernel.conftest import in_background, play, play_server
from kernel.replies import calls, says, tool_call
from kernel.scene import Row, Scene, make_scene
from servers.play_server import Play

__all__ = ["cluster", "doors", "in_background", "key_file", "play", "play_server", "ticket_key"]

PAY = (
    "pay(amount numeric) returns text language sql begin atomic"
    " insert into public.paid (amount) values (amount) returning 'paid ' || amount; end"
)


@dataclass(slots=True)
class Till:
    """An agent whose skill ``pay`` needs a yes.

    Args:
        scene: it, in an operator's session.
        doors: what other sessions are opened with.
    """

    scene: Scene
    doors: Doors

    def asked(self, *amounts: Any) -> list[UUID]:
        """Let the model ask for payments; returns the steps that wait. Text is raw arguments."""
        wanted = [
            tool_call("pay", a if isinstance(a, str) else {"amount": a}) for a in amounts or (7,)
        ]
        self.scene.says(calls(*wanted))
        self.scene.ask("pay")
        return [row["step_id"] for row in self.pending()]

    def pending(self) -> list[Row]:
        """The calls that wait, in the order of the model."""
        return self.scene.rows(
            "select s.step_no, p.* from aos_agent.pending_approval as p"
            " join aos_core.step as s using (step_id) where p.tenant_id = %s"
            " order by s.started_at, s.step_no",
            self.scene.tenant_id,
        )

    def go_on(self) -> Row:
        """Run the latest turn further; the model answers ``done``."""
        self.scene.says(says("done"))
        return self.scene.run_turn(self.scene.run()["run_id"])

    def paid(self) -> list[str]:
        """What was really paid."""
        rows = self.scene.rows("select amount::text from public.paid order by amount")
        return [row["amount"] for row in rows]

    def approvals(self) -> list[Row]:
        """The decisions of the latest turn."""
        return self.scene.rows(
            "select a.* from aos_core.approval as a join aos_core.step as s using (step_id)"
            " where s.run_id = %s order by s.step_no",
            self.scene.run()["run_id"],
        )

    def decided(self) -> list[Row]:
        """The events about decisions."""
        return self.scene.rows(
            "select event_no, actor, detail from aos_core.event_log where tenant_id = %s"
            " and event_type = 'approval_decided' order by event_no",
            self.scene.tenant_id,
        )

    def principal(self, *roles: str, db_role: str | None = None) -> UUID:
        """Make a principal of the tenant, with roles by role_grant."""
        house = self.doors.house
        tenant_id = self.scene.tenant_id
        principal_id = house.insert(
            "aos_auth.principal", "principal_id", tenant_id=tenant_id, db_role=db_role
        )
        for role in roles:
            self.grant(principal_id, role)
        return UUID(str(principal_id))

    def grant(self, principal_id: UUID, role: str, **columns: Any) -> None:
        """Give a principal a role; one that does not exist is made."""
        house = self.doors.house
        house.rows("insert into aos_auth.role (role_name) values (%s) on conflict do nothing", role)
        house.insert(
            "aos_auth.role_grant",
            principal_id=principal_id,
            tenant_id=self.scene.tenant_id,
            role_name=role,
            **columns,
        )

    def login(self, *access: str, roles: tuple[str, ...] = ()) -> House:
        """Log in as a principal of the tenant."""
        role = self.doors.role(*access)
        self.principal(*roles, db_role=role)
        return self.doors.session(role)


def decide(house: House, step_id: Any, verb: str = "approve", note: str | None = None) -> Row:
    """Approve or reject a call."""
    answer: Row = house.call(f"aos_agent.{verb}_tool_call", step_id, note)
    return answer


def refusal(house: House, step_id: Any, verb: str = "approve") -> psycopg.Error:
    """Expect an error of a decision."""
    with pytest.raises(psycopg.Error) as caught:
        decide(house, step_id, verb)
    return caught.value


def make_till(doors: Doors, play: Play) -> Till:
    """Make a tenant with an agent that may pay."""
    scene = make_scene(doors.house.connection, play)
    scene.skill(PAY, approval="ask")
    return Till(scene, doors)


@pytest.fixture
def till(doors: Doors, play: Play) -> Till:
    """A till of this test alone."""
    house = doors.house
    house.rows("drop table if exists public.paid cascade")
    house.rows("create table public.paid (amount numeric)")
    house.rows("grant select, insert on public.paid to pgagentos_agent")
    return make_till(doors, play)


@pytest.fixture
def other_till(till: Till, play_server: Any) -> Till:
    """Another tenant's till."""
    return make_till(till.doors, play_server.play(name("play")))
