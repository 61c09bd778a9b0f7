"""Tickets: what an application signs so that one of its users acts in the database.

A ticket is ``key_id.claims.signature``: the claims are JSON in base64url without padding (RFC 4648,
section 5), the signature is HMAC-SHA-256 (RFC 2104) over ``key_id.claims`` in lower-case
hexadecimal. Both have one spelling, so a ticket has too. The functions here are pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

#: Most seconds between the signing of a ticket and its end.
MOST_SECONDS = 60

_TICKET = re.compile(r"([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{1,2048})\.([0-9a-f]{64})")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Claims(NamedTuple):
    """What a ticket says.

    Args:
        tenant: whose rows its owner sees; a uuid.
        principal: its owner; a uuid.
        exp: when it ends, in seconds since 1970 (the name is that of RFC 7519, section 4.1.4).
        database: the only database that it opens.
    """

    tenant: str
    principal: str
    exp: float
    database: str


class BadTicket(Exception):
    """A ticket is refused; the text says why, for the operator's eyes alone.

    Args:
        key_id: which key it names; None where it has not even the form of a ticket.
    """

    def __init__(self, reason: str, key_id: str | None = None) -> None:
        super().__init__(reason)
        self.key_id = key_id


def sign(key_id: str, key: bytes, claims: Claims) -> str:
    """Make a ticket.

    Args:
        key_id: names the key; letters, digits, ``_`` and ``-``.
        key: the shared secret.
    """
    body = base64.urlsafe_b64encode(json.dumps(claims._asdict()).encode()).rstrip(b"=").decode()
    return f"{key_id}.{body}.{_signature(key, key_id, body)}"


def verify(
    ticket: str | None, key: Callable[[str], bytes | None], database: str, now: float
) -> Claims:
    """Check a ticket.

    Args:
        ticket: what the caller brought.
        key: gives the key of an id; None when there is none.
        database: the name of this database.
        now: seconds since 1970.

    Returns:
        its claims, the uuids in lower case.

    Raises:
        BadTicket: whatever is wrong with it.
    """
    parts = _TICKET.fullmatch(ticket or "")
    if parts is None:
        raise BadTicket("it has not the form key_id.claims.signature")
    key_id, body, signature = parts.groups()
    secret = key(key_id)
    if secret is None:
        raise BadTicket("there is no such key, or its time is over", key_id)
    if not hmac.compare_digest(_signature(secret, key_id, body), signature):
        raise BadTicket("the signature is wrong", key_id)
    claims = _claims(body, key_id)
    if claims.database != database:
        raise BadTicket("it is for another database", key_id)
    if not now < claims.exp:
        raise BadTicket("it has expired", key_id)
    if not claims.exp <= now + MOST_SECONDS:
        raise BadTicket(f"it is valid for more than {MOST_SECONDS} seconds", key_id)
    return claims


def _signature(key: bytes, key_id: str, body: str) -> str:
    return hmac.new(key, f"{key_id}.{body}".encode("ascii"), hashlib.sha256).hexdigest()


def _claims(body: str, key_id: str) -> Claims:
    """Read claims whose signature is right: what is wrong here is the signer's mistake."""

    def refuse(what: str) -> NoReturn:
        raise BadTicket(f"its claims hold {what}", key_id)

    def refuse_constant(constant: str) -> NoReturn:
        refuse(f"{constant}, which is no number")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        return found if len(found) == len(pairs) else refuse("a name twice")

    try:
        # binascii skips characters that it does not know; the pattern lets none through.
        text = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        found = json.loads(text, object_pairs_hook=once, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise BadTicket("its claims are not JSON", key_id) from None
    if not isinstance(found, dict) or set(found) != set(Claims._fields):
        refuse("other names than " + ", ".join(Claims._fields))
    tenant, principal, exp = found["tenant"], found["principal"], found["exp"]
    for value in (tenant, principal):
        if not isinstance(value, str) or _UUID.fullmatch(value) is None:
            refuse("a tenant or a principal that is no uuid")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        refuse("an exp that is no number")
    return Claims(tenant.lower(), principal.lower(), exp, found["database"])
