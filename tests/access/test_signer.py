"""The signers that docs/access.md shows are let in as they stand."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from access.conftest import KEY_ID, Doors, Tenant
from cluster import CHECKOUT
from docs.pages import Block, parts


def shown(language: str) -> str:
    """The one block of the page in this language that defines a signer."""
    [block] = [
        part
        for part in parts(CHECKOUT / "docs/access.md")
        if isinstance(part, Block) and part.language == language and " ticket(key" in part.body
    ]
    return block.body


def sign_in_python(*arguments: Any) -> str:
    names: dict[str, Any] = {}
    exec(shown("python"), names)
    return str(names["ticket"](*arguments))


def sign_in_javascript(*arguments: Any) -> str:
    node = shutil.which("node")
    assert node is not None, "node is missing: scripts/setup --tests installs it"
    program = f"{shown('javascript')}\nconsole.log(ticket(...{json.dumps(arguments)}));"
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


SIGNERS = {"python": sign_in_python, "javascript": sign_in_javascript}


@pytest.mark.parametrize("language", SIGNERS)
def test_the_documented_signer_makes_tickets_that_are_let_in(
    doors: Doors, tenants: tuple[Tenant, Tenant], language: str
) -> None:
    mine = tenants[0]
    given = (KEY_ID, doors.key, str(mine.tenant_id), str(mine.principal_id), doors.database.name)
    app = doors.login("user")
    for seconds in ((), (59,)):
        ticket = SIGNERS[language](*given, *seconds)
        with app.connection.transaction():
            assert app.call("aos_auth.begin", ticket) == mine.tenant_id
            assert app.rows("select tenant_id from aos_auth.tenant") == [(mine.tenant_id,)]
    for seconds in ((-1,), (120,)):
        with app.refused("28000", "invalid ticket"):
            app.call("aos_auth.begin", SIGNERS[language](*given, *seconds))
    with app.refused("28000", "invalid ticket"):
        wrong = (KEY_ID, doors.key[::-1], *given[2:])
        app.call("aos_auth.begin", SIGNERS[language](*wrong))


def test_the_documented_signer_has_ten_lines() -> None:
    lines = [line for line in shown("python").splitlines() if line.strip()]
    assert len(lines) <= 10
