"""The clients by which requests of models leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgagentos.net.public_address import judge_private, judge_public

if TYPE_CHECKING:
    import ssl

    from pgagentos.net.client import Client


class Clients(NamedTuple):
    """The ways out.

    Neither keeps a connection: each serves the one call that it was judged for, and a request that
    may have been acted on is never sent again over a new one.

    Args:
        public: connects to public addresses only.
        private: also to those of the organisation's own network.
    """

    public: Client
    private: Client


def make_clients(tls_context: ssl.SSLContext | None = None) -> Clients:
    """The clients of a session.

    Args:
        tls_context: trust for https; None uses the system's authorities.
    """
    from pgagentos.net.client import Client  # the outside worker brings a client of its own

    return Clients(
        Client(judge=judge_public, tls_context=tls_context, max_idle=0),
        Client(judge=judge_private, tls_context=tls_context, max_idle=0),
    )
