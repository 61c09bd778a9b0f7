"""Every error that pgAgentOS raises on purpose, with its SQLSTATE and the hint that goes with it.

* AgentOSError
  x InvalidInput            OS001  an argument cannot be used as it is
  x NotFound                OS002  the row that was named is not there (or not visible)
  x (raised in SQL)         OS003  the row is not in a state that allows this
  x (raised in SQL)         OS004  another session drives a turn of this conversation
  x Refused                 OS005  a model asked for what the rules of safety forbid
  x ClaimLost               OS006  a turn is driven by somebody else by now, or cancelled
  x TicketError             28000  a ticket is not valid, or not here
  + ProviderError           OS1xx  a model provider did not give a usable answer (see its kinds)
  x (no exception)          OS112-OS116  a turn ended without an answer (see TURN_FAILURES)
  x InstallationError       OS901  a part of the installation is missing

Two more groups have no class: OS003 and OS004, which SQL raises, and OS112 to OS116, which are
written to the row of a turn that failed. docs/errors.md lists all codes.

SQLSTATE class ``OS`` is private: by PostgreSQL's ``errcodes.txt`` the classes that begin with 0-4
and A-H belong to the SQL standard, so no standard class can ever collide with it.
"""

from __future__ import annotations

from typing import ClassVar


class AgentOSError(Exception):
    """Base of all errors that pgAgentOS raises on purpose.

    Args:
        message: what happened, one sentence in lower case, no full stop.
        hint: what the reader can do about it, full sentences; None when there is nothing to say.
        detail: facts that help to find the cause.
    """

    sqlstate = "OS000"

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class InvalidInput(AgentOSError):
    """An argument cannot be used as it is."""

    sqlstate = "OS001"


class NotFound(AgentOSError):
    """The row that was named is not there, or not visible to the caller."""

    sqlstate = "OS002"


class Refused(AgentOSError):
    """A model asked for what the rules of safety forbid.

    Args:
        message: a fixed text that tells the model what to do instead, and nothing about the inside.
    """

    sqlstate = "OS005"


class ClaimLost(AgentOSError):
    """A turn is driven by somebody else by now, or cancelled: what came of it here is too late."""

    sqlstate = "OS006"


class TicketError(AgentOSError):
    """A ticket is not valid, or not here. (28000: invalid authorization specification.)"""

    sqlstate = "28000"


class InstallationError(AgentOSError):
    """A part of the installation is missing or does not fit."""

    sqlstate = "OS901"


class ProviderError(AgentOSError):
    """A model provider did not give a usable answer.

    Args:
        kind: one of :data:`KINDS`.
        message: what happened; never holds a key, a header or a request body.
        status: HTTP status, or None when no response arrived.
        retry_after: seconds that the provider asked to wait, or None.
        code: the provider's own error code, or None.
        provider: name of the provider, filled in by the caller.
    """

    #: kind -> (SQLSTATE, is a retry of the same request worth it)
    KINDS: ClassVar[dict[str, tuple[str, bool]]] = {
        "authentication": ("OS101", False),  # 401, 403, missing key
        "billing": ("OS102", False),  # 402, insufficient_quota
        "not_found": ("OS103", False),  # 404: unknown model or path
        "invalid_request": ("OS104", False),  # other 4xx
        "context_overflow": ("OS105", False),  # the prompt does not fit the model
        "rate_limited": ("OS106", True),  # 429
        "overloaded": ("OS107", True),  # 529, 503
        "server_error": ("OS108", True),  # other 5xx, 408, 409
        "timeout": ("OS109", True),  # no answer within the time allowed
        "connection": ("OS110", True),  # refused, reset, name not resolved, TLS
        "malformed_response": ("OS111", True),  # 200 that is not what the API documents
    }

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        code: str | None = None,
        provider: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.sqlstate, self.is_retryable = self.KINDS[kind]
        self.status = status
        self.retry_after = retry_after
        self.code = code
        self.provider = provider


#: Why a turn can end as ``failed`` without an error of a provider: kind -> SQLSTATE. Nothing is
#: raised then; the turn's row says it.
TURN_FAILURES = {
    "length": "OS112",  # the reply was cut off before its first word
    "content_filter": "OS113",  # the provider or the model refused
    "iteration_limit": "OS114",  # the model still wants tools after its last call
    "token_limit": "OS114",  # agent.max_turn_tokens is used up
    "budget": "OS115",  # a row of aos_agent.budget leaves nothing for the next model call
    "abandoned": "OS116",  # whoever drove it was lost again and again, and it got no further
}
