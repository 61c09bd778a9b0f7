"""What is sealed opens only where it belongs, and only with the key that sealed it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from house import House
from kernel.replies import says
from kernel.scene import Scene

NEEDED = "secrets and ticket keys that need it:"


@pytest.fixture
def keys(key_file: Path) -> Iterator[Path]:
    """The server's master key file, which the test may change: it is put back afterwards."""
    before = key_file.read_bytes()
    owner = key_file.stat()
    yield key_file
    key_file.unlink(missing_ok=True)
    write(key_file, before, owner)


def write(file: Path, content: bytes, owner: os.stat_result) -> None:
    file.write_bytes(content)
    os.chown(file, owner.st_uid, owner.st_gid)
    file.chmod(0o600)


def opened(house: House, name: str = "key", tenant: object = None) -> object:
    return house.one("select aos_meta._secret(%s, %s)", name, tenant)


def test_a_value_that_was_moved_to_another_row_is_refused(operator: House) -> None:
    mine, other = operator.tenant(), operator.tenant()
    for name, owner in (("key", mine), ("key", other), ("other", mine), ("key", None)):
        operator.call("aos_meta.set_secret", name, f"{name} of {owner}", owner)
    rows = operator.rows("select secret_id, tenant_id, name, ciphertext from aos_meta.secret")
    for secret_id, tenant, name, ciphertext in rows:
        for other_id, other_tenant, other_name, other_ciphertext in rows:
            operator.rows(
                "update aos_meta.secret set ciphertext = %s where secret_id = %s",
                other_ciphertext,
                secret_id,
            )
            if other_id == secret_id:
                assert opened(operator, name, tenant) == f"{name} of {tenant}"
                continue
            with operator.refused("OS901", "cannot be opened") as refusal:
                opened(operator, name, tenant)
            assert refusal.hint
            assert (other_tenant, other_name) != (tenant, name)
        operator.rows(
            "update aos_meta.secret set ciphertext = %s where secret_id = %s", ciphertext, secret_id
        )


def test_a_row_that_was_renamed_or_given_away_is_refused(operator: House) -> None:
    mine, other = operator.tenant(), operator.tenant()
    operator.call("aos_meta.set_secret", "key", "value", mine)
    operator.rows("update aos_meta.secret set name = 'renamed'")
    with operator.refused("OS901", "cannot be opened"):
        opened(operator, "renamed", mine)
    operator.rows("update aos_meta.secret set name = 'key', tenant_id = %s", other)
    with operator.refused("OS901", "cannot be opened"):
        opened(operator, "key", other)


def test_a_value_that_was_changed_in_any_byte_is_refused(operator: House) -> None:
    operator.call("aos_meta.set_secret", "key", "value")
    [(sealed,)] = operator.rows("select ciphertext from aos_meta.secret")
    shut = []
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 0x01
        operator.rows("update aos_meta.secret set ciphertext = %s", bytes(changed))
        try:
            # a bit of the OpenPGP header may mean nothing; then the value is what it was
            assert opened(operator) == "value"
        except psycopg.Error as error:
            shut.append((error.sqlstate, "value" in str(error)))
    assert set(shut) == {("OS901", False)}
    assert len(shut) >= len(sealed) - 2
    for cut in (b"", sealed[:-1], sealed + b"\0"):
        operator.rows("update aos_meta.secret set ciphertext = %s", cut)
        with operator.refused("OS901", "cannot be opened"):
            opened(operator)


def test_one_value_is_sealed_differently_each_time(operator: House) -> None:
    for name in ("a", "b", "c"):
        operator.call("aos_meta.set_secret", name, "the same value")
    assert operator.one("select count(distinct ciphertext) from aos_meta.secret") == 3


def test_rotation_seals_everything_anew_and_the_old_key_can_go(
    operator: House, keys: Path, rotate: Callable[[Path], str]
) -> None:
    tenant = operator.tenant()
    operator.call("aos_meta.set_secret", "key", "operators")
    operator.call("aos_meta.set_secret", "key", "tenants", tenant)
    signing = operator.call("aos_auth.create_ticket_key", "web")
    rotate(keys)
    assert opened(operator) == "operators"  # the old key still opens
    operator.call("aos_meta.set_secret", "new", "under the new key")
    assert operator.call("aos_meta.rotate_secrets") == 3
    assert operator.call("aos_meta.rotate_secrets") == 0
    lines = keys.read_bytes().splitlines(keepends=True)
    assert len(lines) >= 2
    write(keys, lines[0], keys.stat())
    assert (opened(operator), opened(operator, "key", tenant)) == ("operators", "tenants")
    assert opened(operator, "new") == "under the new key"
    assert operator.one("select count(distinct key_id) from aos_meta.secret") == 1
    assert bytes(operator.one("select aos_auth._ticket_key('web'::text)")).decode() == signing


def test_without_the_key_that_sealed_it_a_secret_stays_shut(
    operator: House, keys: Path, rotate: Callable[[Path], str]
) -> None:
    operator.call("aos_meta.set_secret", "key", "value")
    old, key = keys.read_text().splitlines()[0].split(":")
    rotate(keys)
    lines = keys.read_bytes().splitlines(keepends=True)
    write(keys, lines[0], keys.stat())
    with operator.refused("OS901", f"the master key {old} is not in") as refusal:
        opened(operator)
    assert "rotate_secrets" in refusal.hint
    with operator.refused("OS901", f"the master key {old} is not in"):
        operator.call("aos_meta.rotate_secrets")
    # another key under the same id
    write(keys, lines[0] + f"{old}:{'A' * 43}=\n".encode(), keys.stat())
    with operator.refused("OS901", "cannot be opened"):
        opened(operator)
    write(keys, lines[0] + f"{old}:{key}\n".encode(), keys.stat())
    assert opened(operator) == "value"


def test_a_turn_waits_for_a_master_key_that_is_missing(
    scene: Scene, operator: House, keys: Path
) -> None:
    operator.call("aos_meta.set_secret", "model_key", "of-the-operator")
    turn = scene.start()
    away = keys.with_suffix(".away")
    keys.rename(away)
    with operator.refused("OS901", "there is no master key at") as refusal:
        scene.run_turn(turn)
    assert "scripts/master_key" in refusal.hint
    for statement in (
        "select aos_meta.set_secret('a', 'value')",
        "insert into aos_meta.secret_input (name, value) values ('a', 'value')",
        "select aos_meta.rotate_secrets()",
    ):
        with operator.refused("OS901", "there is no master key at"):
            operator.rows(statement)
    away.rename(keys)
    scene.says(says("hello"))
    assert scene.run_turn(turn)["answer"] == "hello"


def test_a_master_key_that_is_open_to_others_is_not_used(operator: House, keys: Path) -> None:
    operator.call("aos_meta.set_secret", "key", "value")
    keys.chmod(0o640)
    with operator.refused("OS901", r"is open to others \(mode 0640\)") as refusal:
        opened(operator)
    assert refusal.hint.startswith(f"chmod 600 {keys}")
    keys.chmod(0o400)
    assert opened(operator) == "value"


def test_the_installation_check_speaks_of_the_master_key_and_shows_none(
    operator: House, keys: Path, rotate: Callable[[Path], str]
) -> None:
    def finding(component: str = "master key") -> tuple[str, str, str | None]:
        [row] = operator.rows(
            "select status, detail, hint from aos_core.check_installation() where component = %s",
            component,
        )
        return row

    first = keys.read_text().splitlines()[0].split(":")[0]
    assert finding() == ("ok", f"{keys}, current key {first}; {NEEDED} 0", None)
    operator.call("aos_meta.set_secret", "anthropic_api_key", "value")
    assert finding("provider anthropic") == (
        "ok",
        "key in the secret anthropic_api_key of the operator",
        None,
    )
    rotate(keys)
    second = keys.read_text().splitlines()[0].split(":")[0]
    status, detail, hint = finding()
    assert (status, detail) == ("ok", f"{keys}, current key {second}; {NEEDED} 1")
    assert "rotate_secrets" in str(hint)
    write(keys, keys.read_bytes().splitlines(keepends=True)[0], keys.stat())
    status, detail, hint = finding()
    assert (status, detail) == ("missing", f"{first} not in {keys}; {NEEDED} 1")
    keys.chmod(0o644)
    status, detail, hint = finding()
    assert status == "missing"
    assert "is open to others" in detail
    keys.unlink()
    status, detail, hint = finding()
    assert (status, detail) == (
        "missing",
        f"there is no master key at {keys}; {NEEDED} 1",
    )
    assert str(hint).startswith("Run scripts/master_key")
    operator.call("aos_meta.drop_secret", "anthropic_api_key")
    status, detail, hint = finding()
    assert (status, detail.endswith(f"{NEEDED} 0")) == ("missing", True)
    assert str(hint).startswith("Only for secrets and ticket keys")
