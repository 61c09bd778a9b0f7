"""aos_auth.begin: the owner of a ticket acts for one transaction, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from access.conftest import KEY_ID, Doors, Tenant
from cluster import Cluster
from house import House, name
from stored_secrets.conftest import make_master_key


def seen(house: House) -> list[str]:
    """The tenants whose rows this session sees, by all that a user may read."""
    found = set()
    for table in (
        "aos_auth.tenant",
        "aos_agent.agent",
        "aos_agent.conversation",
        "aos_agent.message",
    ):
        found |= {str(row) for (row,) in house.rows(f"select distinct tenant_id from {table}")}
    return sorted(found)


def sign(key: str, claims: dict[str, Any], key_id: str = KEY_ID) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    text = f"{key_id}.{body}"
    return f"{text}.{hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()}"


def claims_for(doors: Doors, of: Tenant, **changed: Any) -> dict[str, Any]:
    return {
        "tenant": str(of.tenant_id),
        "principal": str(of.principal_id),
        "database": doors.database.name,
        "exp": time.time() + 30,
    } | changed


@pytest.fixture
def app(doors: Doors) -> House:
    """A pooled application's session, which is nobody by itself."""
    return doors.login("user")


def test_its_owner_sees_his_tenant_and_nothing_else(
    doors: Doors, app: House, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    with app.connection.transaction():
        assert app.call("aos_auth.begin", doors.ticket(mine)) == mine.tenant_id
        assert seen(app) == [str(mine.tenant_id)]
        assert app.call("aos_auth.tenant_id") == mine.tenant_id
        assert app.call("aos_auth.principal_id") == mine.principal_id
        assert app.call("aos_auth.actor").endswith(f"/{mine.principal_id}")
        said = app.say(mine.conversation_id, "with a ticket")
        with app.refused("OS002", "there is no conversation"), app.connection.transaction():
            app.say(other.conversation_id)
    assert doors.house.one(
        "select tenant_id from aos_agent.message where message_id = %s", said
    ) == (mine.tenant_id)


def test_without_one_nobody_acts(app: House, tenants: tuple[Tenant, Tenant]) -> None:
    assert seen(app) == []
    assert app.call("aos_auth.tenant_id") is None
    with app.refused("OS002", "there is no conversation"):
        app.say(tenants[0].conversation_id)


def test_it_ends_with_its_transaction(
    doors: Doors, app: House, tenants: tuple[Tenant, Tenant]
) -> None:
    ticket = doors.ticket(tenants[0])
    for end in ("commit", "rollback", "prepare transaction 'x'", "select 1/0", "abort and chain"):
        app.rows("begin")
        app.call("aos_auth.begin", ticket)
        assert seen(app) == [str(tenants[0].tenant_id)]
        if end == "select 1/0":
            with app.refused("22012", "division by zero"):
                app.rows(end)
            app.rows("rollback")
        elif end.startswith("prepare"):
            with app.refused("55000", "prepared transactions are disabled"):
                app.rows(end)
        else:
            app.rows(end)
        assert seen(app) == [], end
        app.rows("rollback")
    # a transaction of its own ends at once
    app.call("aos_auth.begin", ticket)
    assert seen(app) == []


def test_a_savepoint_neither_ends_nor_changes_it(
    doors: Doors, app: House, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    with app.connection.transaction():
        app.rows("savepoint here")
        app.call("aos_auth.begin", doors.ticket(mine))
        app.rows("rollback to savepoint here")
        assert seen(app) == [str(mine.tenant_id)]
        with app.refused("28000", "another identity was set"), app.connection.transaction():
            app.call("aos_auth.begin", doors.ticket(other))
        assert seen(app) == [str(mine.tenant_id)]
        app.call("aos_auth.begin", doors.ticket(mine))  # the same owner again


def test_a_second_principal_of_the_tenant_is_another_identity(
    doors: Doors, app: House, tenants: tuple[Tenant, Tenant]
) -> None:
    mine = tenants[0]
    second = doors.house.insert("aos_auth.principal", "principal_id", tenant_id=mine.tenant_id)
    with app.refused("28000", "another identity was set"), app.connection.transaction():
        app.call("aos_auth.begin", doors.ticket(mine))
        app.call("aos_auth.begin", doors.house.call("aos_auth.issue_ticket", second))


def test_it_opens_a_read_only_transaction_too(
    doors: Doors, app: House, tenants: tuple[Tenant, Tenant]
) -> None:
    app.rows("begin transaction isolation level serializable, read only, deferrable")
    app.call("aos_auth.begin", doors.ticket(tenants[0]))
    assert seen(app) == [str(tenants[0].tenant_id)]
    app.rows("commit")


def test_it_wins_over_the_logins_own_principal(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    own = doors.login("user", principal_of=mine)
    with own.connection.transaction():
        assert seen(own) == [str(mine.tenant_id)]
        own.call("aos_auth.begin", doors.ticket(other))
        assert seen(own) == [str(other.tenant_id)]
    assert seen(own) == [str(mine.tenant_id)]


def bad_tickets() -> dict[str, Callable[[Doors, Tenant, Tenant], str | None]]:
    def tampered(doors: Doors, mine: Tenant, other: Tenant) -> str:
        key_id, body, signature = doors.ticket(mine).split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        forged = sign("", claims | {"tenant": str(other.tenant_id)})
        return f"{key_id}.{forged.split('.')[1]}.{signature}"

    def signs(**changed: Any) -> Callable[[Doors, Tenant, Tenant], str]:
        return lambda d, m, _: sign(d.key, claims_for(d, m, **changed))

    return {
        "no ticket": lambda *_: None,
        "a word": lambda *_: "ticket",
        "an unknown key": lambda d, m, _: sign(d.key, claims_for(d, m), "unknown"),
        "a wrong key": lambda d, m, _: sign(d.key[::-1], claims_for(d, m)),
        "tampered": tampered,
        "expired": signs(exp=time.time() - 1),
        "too long": signs(exp=time.time() + 3600),
        "another database": signs(database="postgres"),
        "an unknown tenant": signs(tenant="00000000-0000-4000-8000-000000000000"),
        "the tenant of all": signs(tenant="00000000-0000-0000-0000-000000000000"),
        "another tenant's principal": lambda d, m, o: sign(
            d.key, claims_for(d, m, principal=str(o.principal_id))
        ),
        "more claims": signs(is_operator=True),
        "no claims": lambda d, *_: sign(d.key, {}),
    }


@pytest.mark.parametrize("kind", bad_tickets())
def test_every_other_ticket_is_refused_with_one_error(
    doors: Doors, app: House, tenants: tuple[Tenant, Tenant], kind: str
) -> None:
    ticket = bad_tickets()[kind](doors, *tenants)
    heard: list[str] = []
    app.connection.add_notice_handler(lambda notice: heard.append(str(notice.message_primary)))
    app.rows("set client_min_messages = debug5")
    with pytest.raises(psycopg.Error) as caught, app.connection.transaction():
        app.call("aos_auth.begin", ticket)
    app.rows("reset client_min_messages")
    diagnosis = caught.value.diag
    assert (caught.value.sqlstate, diagnosis.message_primary, diagnosis.message_detail) == (
        "28000",
        "pgagentos: invalid ticket",
        None,
    )
    assert diagnosis.message_hint == (
        "Get a new one. Why this one was refused is in the server's log."
    )
    assert [text for text in heard if "ticket_refused" in text] == []
    assert seen(app) == []


def log_lines(cluster: Cluster) -> list[dict[str, Any]]:
    """The structured lines about tickets in the server's log."""
    assert cluster.home is not None
    text = (cluster.home / "server.log").read_text()
    return [
        json.loads(line.partition("LOG:  ")[2])
        for line in text.splitlines()
        if '"ticket_refused"' in line and "LOG:  {" in line
    ]


def test_the_reason_stands_in_one_line_of_the_servers_log(
    cluster: Cluster, doors: Doors, app: House, tenants: tuple[Tenant, Tenant]
) -> None:
    for kind, reason, key_id in (
        ("expired", "it has expired", KEY_ID),
        ("no ticket", "it has not the form key_id.claims.signature", None),
        (
            "another tenant's principal",
            "its tenant or its principal is not there or not active",
            KEY_ID,
        ),
    ):
        before = len(log_lines(cluster))
        with app.refused("28000", "invalid ticket"):
            app.call("aos_auth.begin", bad_tickets()[kind](doors, *tenants))
        [line] = log_lines(cluster)[before:]
        assert line["reason"].startswith(reason)
        assert line.get("key_id") == key_id


def test_a_ticket_is_no_good_in_another_database(
    cluster: Cluster, doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    """Not even in a copy of this one, which has the same key and the same tenant."""
    ticket = doors.ticket(tenants[0])
    doors.house.connection.close()  # nobody may be connected to what is copied
    with (
        cluster.database(name("copy"), template=doors.database.name) as copy,
        copy.connect() as connection,
        House(connection).refused("28000", "invalid ticket"),
    ):
        House(connection).call("aos_auth.begin", ticket)
    doors.house = doors.session("postgres")
    assert doors.house.call("aos_auth.begin", ticket) == tenants[0].tenant_id


@pytest.mark.parametrize("table", ["tenant", "principal"])
def test_who_was_deactivated_gets_in_no_more(
    doors: Doors, app: House, tenants: tuple[Tenant, Tenant], table: str
) -> None:
    mine = tenants[0]
    ticket = doors.ticket(mine)
    doors.house.rows(
        f"update aos_auth.{table} set is_active = false where tenant_id = %s", mine.tenant_id
    )
    with app.refused("28000", "invalid ticket"):
        app.call("aos_auth.begin", ticket)
    with doors.house.refused("OS003", "is not active"):
        doors.ticket(mine)
    doors.house.rows(
        f"update aos_auth.{table} set is_active = true where tenant_id = %s", mine.tenant_id
    )
    assert app.call("aos_auth.begin", ticket) == mine.tenant_id


def test_what_a_dropped_key_signed_is_refused(
    doors: Doors, app: House, tenants: tuple[Tenant, Tenant]
) -> None:
    key_id = name("key")
    key = doors.house.call("aos_auth.create_ticket_key", key_id)
    ticket = sign(key, claims_for(doors, tenants[0]), key_id)
    assert app.call("aos_auth.begin", ticket) == tenants[0].tenant_id
    doors.house.call("aos_auth.drop_ticket_key", key_id)
    with app.refused("28000", "invalid ticket"):
        app.call("aos_auth.begin", ticket)


def test_a_key_ends_at_its_time(doors: Doors, app: House, tenants: tuple[Tenant, Tenant]) -> None:
    key_id = name("key")
    soon = doors.house.one("select now() + interval '1 hour'")
    key = doors.house.call("aos_auth.create_ticket_key", key_id, soon)
    ticket = sign(key, claims_for(doors, tenants[0]), key_id)
    assert app.call("aos_auth.begin", ticket) == tenants[0].tenant_id
    doors.house.rows(
        "update aos_auth.ticket_key set created_at = '2000-01-01', not_after = '2000-01-02'"
        " where key_id = %s",
        key_id,
    )
    with app.refused("28000", "invalid ticket"):
        app.call("aos_auth.begin", ticket)


def test_nothing_shows_a_key_again(doors: Doors) -> None:
    key_id = name("key")
    key = doors.house.call("aos_auth.create_ticket_key", key_id)
    stored = doors.house.one(
        "select t::text from aos_auth.ticket_key as t where key_id = %s", key_id
    )
    assert len(key) == 64
    assert key not in stored
    assert key.encode().hex() not in stored
    operator = doors.login("operator")
    assert (key_id,) in operator.rows("select key_id from aos_auth.ticket_key")
    with operator.refused("42501", "permission denied"):
        operator.rows("select ciphertext from aos_auth.ticket_key")


def test_a_rotation_of_the_master_key_keeps_the_ticket_keys(
    key_file: Path, doors: Doors, app: House, tenants: tuple[Tenant, Tenant]
) -> None:
    used = "select distinct master_key_id from aos_auth.ticket_key"
    before = doors.house.rows(used)
    keys = doors.house.one("select count(*) from aos_auth.ticket_key")
    make_master_key(key_file, "rotate")
    assert doors.house.call("aos_meta.rotate_secrets") == keys
    assert len(doors.house.rows(used)) == 1
    assert doors.house.rows(used) != before
    assert doors.house.call("aos_meta.rotate_secrets") == 0
    ticket = sign(doors.key, claims_for(doors, tenants[0]))
    assert app.call("aos_auth.begin", ticket) == tenants[0].tenant_id


@pytest.mark.parametrize("key_id", ["", "with.dot", "w s", "x" * 65, None, "a\n"])
def test_a_key_has_a_plain_name(doors: Doors, key_id: str | None) -> None:
    with doors.house.refused("OS001", "the id of a ticket key is"):
        doors.house.call("aos_auth.create_ticket_key", key_id)


def test_a_key_is_not_replaced(doors: Doors) -> None:
    with doors.house.refused("OS001", "there is a ticket key 'main' already"):
        doors.house.call("aos_auth.create_ticket_key", KEY_ID)
    with doors.house.refused("OS001", "would end before it begins"):
        doors.house.call("aos_auth.create_ticket_key", "past", doors.house.one("select now()"))
    with doors.house.refused("OS002", "there is no ticket key 'gone'"):
        doors.house.call("aos_auth.drop_ticket_key", "gone")


@pytest.mark.parametrize("seconds", [0, -1, 61, None])
def test_a_ticket_lasts_a_minute_at_most(
    doors: Doors, tenants: tuple[Tenant, Tenant], seconds: int | None
) -> None:
    with doors.house.refused("OS001", "valid for 1 to 60 seconds"):
        doors.house.call("aos_auth.issue_ticket", tenants[0].principal_id, seconds)


def test_only_operators_make_keys_and_tickets(doors: Doors, tenants: tuple[Tenant, Tenant]) -> None:
    everything_else = doors.login(
        "secret_manager", "approver", "developer", "auditor", "worker", "user",
        principal_of=tenants[0],
    )  # fmt: skip
    for function, argument in (
        ("create_ticket_key", "mine"),
        ("drop_ticket_key", KEY_ID),
        ("issue_ticket", tenants[0].principal_id),
    ):
        with everything_else.refused("42501", f"permission denied for function {function}"):
            everything_else.call(f"aos_auth.{function}", argument)
    operator = doors.login("operator")
    ticket = operator.call("aos_auth.issue_ticket", tenants[0].principal_id)
    assert operator.call("aos_auth.begin", ticket) == tenants[0].tenant_id


@pytest.mark.parametrize("who", ["superuser", "operator"])
def test_an_operator_with_a_ticket_is_limited_in_all_that_the_kernel_does(
    doors: Doors, tenants: tuple[Tenant, Tenant], who: str
) -> None:
    mine, other = tenants
    house = House(doors.database.connect()) if who == "superuser" else doors.login("operator")
    doors.sessions.append(house.connection)
    with house.connection.transaction(force_rollback=True):
        house.call("aos_auth.begin", doors.ticket(mine))
        for refusal, function, arguments in (
            ("42501", "aos_auth.create_ticket_key", ("mine",)),
            ("42501", "aos_auth.drop_ticket_key", (KEY_ID,)),
            ("42501", "aos_auth.issue_ticket", (other.principal_id,)),
            ("42501", "aos_auth.grant_access", (doors.role(), "user")),
            ("42501", "aos_auth.revoke_access", (doors.role("user"), "user")),
            ("42501", "aos_auth.register_agent_role", (doors.role(), mine.tenant_id)),
            ("42501", "aos_meta.rotate_secrets", ()),
            ("42501", "aos_meta.set_secret", ("name", "value")),
            ("42501", "aos_agent.grant_skill", (mine.agent.name, "web_search")),
            ("OS002", "aos_agent.add_user_message", (other.conversation_id, "hello")),
            ("OS002", "aos_agent.start_turn", (other.conversation_id,)),
            ("OS002", "aos_agent.open_conversation", (other.agent.name,)),
            ("OS002", "aos_agent.ask", (other.agent.name, "hello")),
        ):
            with house.refused(refusal, ""), house.connection.transaction():
                house.call(function, *arguments)
        house.say(mine.conversation_id)
        if who == "operator":
            assert seen(house) == [str(mine.tenant_id)]
    assert str(other.tenant_id) in seen(house)


def test_another_login_is_no_way_out_of_a_ticket(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    role = doors.role("user")
    superuser = doors.session("postgres")
    with superuser.connection.transaction():
        superuser.call("aos_auth.begin", doors.ticket(mine))
        for statement in (
            f"set local session authorization {role}",
            "set local session authorization default",
            f"set local role {role}",
            "reset role",
        ):
            superuser.rows(statement)
            assert superuser.call("aos_auth.tenant_id") == mine.tenant_id
            with superuser.refused("OS002", "no conversation"), superuser.connection.transaction():
                superuser.say(other.conversation_id)


def test_statements_in_one_string_count_as_one_transaction(
    doors: Doors, app: House, tenants: tuple[Tenant, Tenant]
) -> None:
    """As docs/access.md says: PostgreSQL gives them one time of start; they are one client's."""
    mine, other = tenants
    cursor = app.connection.execute(
        f"begin; select aos_auth.begin('{doors.ticket(mine)}'); commit;select aos_auth.tenant_id()"
    )
    while cursor.nextset():
        pass
    assert cursor.fetchone() == (mine.tenant_id,)
    assert seen(app) == []
    with app.refused("28000", "another identity was set"):
        app.rows(
            f"begin; select aos_auth.begin('{doors.ticket(mine)}'); commit;"
            f"begin; select aos_auth.begin('{doors.ticket(other)}'); commit"
        )
    app.rows("rollback")
    assert seen(app) == []


def test_roles_of_a_tickets_owner_open_what_the_login_may_call(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    mine = tenants[0]
    app = doors.login("user", "developer")

    def grant_skill() -> None:
        with app.connection.transaction():
            app.call("aos_auth.begin", doors.ticket(mine))
            app.call("aos_agent.grant_skill", mine.agent.name, "web_search")

    with app.refused("42501", "the principal of this ticket has not the role developer"):
        grant_skill()
    given = {"principal_id": mine.principal_id, "tenant_id": mine.tenant_id}
    doors.house.insert("aos_auth.role_grant", **given, role_name="developer")
    grant_skill()
    doors.house.rows(
        "update aos_auth.role_grant set granted_at = '2000-01-01', expires_at = '2000-01-02'"
        " where principal_id = %s",
        mine.principal_id,
    )
    with app.refused("42501", "has not the role developer"):
        grant_skill()


def test_a_ticket_cannot_be_begun_inside_a_turn(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    house = doors.house
    skill = house.function_skill(
        mine.agent, "f(ticket text) returns uuid language sql return aos_auth.begin(ticket)"
    )
    house.rows(f"grant execute on function public.{skill} to pgagentos_agent")
    turn = house.start(mine.conversation_id)
    refused = house.tool(turn, skill, {"ticket": doors.ticket(other)})
    assert refused["status"] == "failed"
    assert "permission denied for schema aos_auth" in refused["result"] or (
        "permission denied for function begin" in refused["result"]
    )
    house.rows("grant execute on function aos_auth.begin(text) to pgagentos_agent")
    try:
        refused = house.tool(turn, skill, {"ticket": doors.ticket(other)}, call_id="again")
        assert refused["status"] == "failed"
        assert "another identity was set in this transaction" in refused["result"]
    finally:
        house.rows("revoke execute on function aos_auth.begin(text) from pgagentos_agent")
