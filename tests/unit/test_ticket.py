"""Tickets: what is let in, and that everything else is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from pgagentos.ticket import BadTicket, Claims, sign, verify

KEY = b"0123456789abcdef" * 4
TENANT = "11111111-1111-4111-8111-111111111111"
PRINCIPAL = "22222222-2222-4222-8222-222222222222"
NOW = 1_900_000_000.0
CLAIMS = Claims(TENANT, PRINCIPAL, NOW + 30, "shop")


def check(ticket: str | None, database: str = "shop", now: float = NOW) -> Claims:
    return verify(ticket, {"main": KEY}.get, database, now)


def signed(content: bytes, key_id: str = "main") -> str:
    """A ticket with a right signature over any content."""
    body = base64.urlsafe_b64encode(content).rstrip(b"=").decode()
    text = f"{key_id}.{body}"
    return f"{text}.{hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()}"


def with_claims(**changed: Any) -> str:
    return signed(json.dumps(CLAIMS._asdict() | changed).encode())


def test_what_was_signed_is_let_in() -> None:
    assert check(sign("main", KEY, CLAIMS)) == CLAIMS


def test_a_database_may_have_any_name() -> None:
    for name in ("데이터", 'odd " name', "x.y", ""):
        assert check(with_claims(database=name), database=name).database == name
        as_utf8 = json.dumps(CLAIMS._asdict() | {"database": name}, ensure_ascii=False)
        assert check(signed(as_utf8.encode()), database=name).database == name


def test_uuids_come_out_in_one_spelling() -> None:
    claims = check(with_claims(tenant=TENANT.upper(), principal=PRINCIPAL.upper()))
    assert (claims.tenant, claims.principal) == (TENANT, PRINCIPAL)


@pytest.mark.parametrize("seconds", [0.001, 1, 60])
def test_it_is_let_in_until_its_end(seconds: float) -> None:
    ticket = sign("main", KEY, CLAIMS._replace(exp=NOW + seconds))
    assert check(ticket).exp == NOW + seconds
    with pytest.raises(BadTicket, match="expired"):
        check(ticket, now=NOW + seconds)


@pytest.mark.parametrize(
    ("ticket", "reason"),
    [
        (None, "form"),
        ("", "form"),
        ("main", "form"),
        ("main.e30", "form"),
        (sign("main", KEY, CLAIMS) + "\n", "form"),
        (" " + sign("main", KEY, CLAIMS), "form"),
        (sign("main", KEY, CLAIMS).upper(), "form"),
        (sign("main", KEY, CLAIMS) + ".x", "form"),
        ("m\u00e4in" + sign("main", KEY, CLAIMS)[4:], "form"),
        ("main." + "A" * 2049 + "." + "0" * 64, "form"),
        (sign("main", KEY, CLAIMS).replace(".", "=.", 2).replace("=.", ".", 1), "form"),
        (sign("other", KEY, CLAIMS), "no such key"),
        (sign("main", KEY[:-1], CLAIMS), "signature"),
        (sign("main", b"", CLAIMS), "signature"),
        (sign("main", KEY, CLAIMS._replace(database="other")), "another database"),
        (sign("main", KEY, CLAIMS._replace(database="SHOP")), "another database"),
        (with_claims(database=None), "another database"),
        (with_claims(database=["shop"]), "another database"),
        (sign("main", KEY, CLAIMS._replace(exp=NOW)), "expired"),
        (sign("main", KEY, CLAIMS._replace(exp=-1)), "expired"),
        (sign("main", KEY, CLAIMS._replace(exp=NOW + 60.01)), "more than 60 seconds"),
        (with_claims(exp=10**300), "more than 60 seconds"),
        (signed(b'{"exp":1e999,' + json.dumps(CLAIMS._asdict()).encode()[1:]), "twice"),
        (signed(b'{"tenant":"%s","principal":"%s","database":"shop","exp":1e999}'
                % (TENANT.encode(), PRINCIPAL.encode())), "more than 60 seconds"),
        (with_claims(exp=float("nan")), "no number"),
        (with_claims(exp=float("inf")), "no number"),
        (with_claims(exp=str(NOW + 30)), "no number"),
        (with_claims(exp=True), "no number"),
        (with_claims(exp=None), "no number"),
        (with_claims(tenant=None), "no uuid"),
        (with_claims(principal=None), "no uuid"),
        (with_claims(tenant=TENANT + "\n"), "no uuid"),
        (with_claims(tenant="{" + TENANT + "}"), "no uuid"),
        (with_claims(tenant=TENANT.replace("1", "\u0661")), "no uuid"),
        (with_claims(tenant={"a": 1}), "no uuid"),
        (with_claims(is_operator=True), "other names"),
        (signed(b"{}"), "other names"),
        (signed(b"[]"), "other names"),
        (signed(b'"x"'), "other names"),
        (signed(b""), "form"),
        (signed(b"\xff\xfe"), "not JSON"),
        (signed(b"not json"), "not JSON"),
        (signed(b"[" * 1500), "not JSON"),
        (signed(json.dumps(CLAIMS._asdict()).encode() + b" {}"), "not JSON"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_for_its_reason(ticket: str | None, reason: str) -> None:
    with pytest.raises(BadTicket, match=reason):
        check(ticket)


def test_the_reason_names_the_key_only_where_the_ticket_has_the_form_of_one() -> None:
    with pytest.raises(BadTicket) as caught:
        check(sign("main", b"wrong", CLAIMS))
    assert caught.value.key_id == "main"
    with pytest.raises(BadTicket) as caught:
        check("main.\nERROR: forged line.x")
    assert caught.value.key_id is None


def test_no_reason_quotes_the_ticket() -> None:
    ticket = sign("main", b"wrong", CLAIMS._replace(database="secret-name"))
    with pytest.raises(BadTicket) as caught:
        check(ticket)
    assert not any(part in str(caught.value) for part in ticket.split(".")[1:])


def test_a_ticket_of_which_one_character_was_changed_is_refused() -> None:
    ticket = sign("main", KEY, CLAIMS)
    for place in range(len(ticket)):
        for other in map(chr, range(128)):
            changed = ticket[:place] + other + ticket[place + 1 :]
            if changed != ticket:
                with pytest.raises(BadTicket):
                    check(changed)
