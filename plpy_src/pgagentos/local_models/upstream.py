"""The OpenAI-compatible server behind the gateway: our own llama.cpp, or any other one."""

from __future__ import annotations

import http.client
import json
import select
import socket
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from .chat_piece import Piece, error_message, streamed_reply, whole_reply
from .wire import WireError

#: Seconds without a byte from the upstream server; a long prompt on one core takes minutes.
READ_SECONDS = 900.0


class ClientGone(Exception):
    """The client closed its connection; nobody waits for the answer any more."""


class Upstream:
    """A client of one OpenAI-compatible server; one connection a request.

    Args:
        base_url: with the path that stands before ``/chat/completions``, as an SDK takes it.
        api_key: sent as bearer token, unless None.
    """

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is not an http or https URL")
        self.base_url = base_url.rstrip("/")
        self._https = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._path = parts.path.rstrip("/")
        self._api_key = api_key

    def open(
        self,
        method: str,
        path: str,
        body: Any = None,
        client: socket.socket | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """Send a request and return the response, its body not yet read.

        The caller closes the response.

        Args:
            method: ``GET`` or ``POST``.
            path: what follows the base URL, for example ``/chat/completions``.
            body: a JSON value, or None.
            client: the socket of our own client. If it closes while we wait, the upstream
                connection is closed too: that is how llama.cpp learns to stop generating.
            headers: sent as they are.

        Raises:
            WireError: the server cannot be reached, or ended the connection.
            ClientGone: *client* closed.
        """
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=READ_SECONDS)
        sent = dict(headers or {})
        if self._api_key is not None:
            sent["Authorization"] = f"Bearer {self._api_key}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        # One request a connection, so the response closes the socket when it is closed.
        sent["Connection"] = "close"
        try:
            connection.request(method, self._path + path, data, sent)
            if client is not None:
                _wait_for_reply(connection.sock, client)
            return connection.getresponse()
        except ClientGone:
            connection.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise WireError(502, f"the upstream server does not answer: {error}") from error

    def ask(self, request: Mapping[str, Any], client: socket.socket | None = None) -> Piece:
        """Ask for a whole chat completion.

        Raises:
            WireError: the server's error, or its absence.
            ClientGone: *client* closed.
        """
        with self.open("POST", "/chat/completions", {**request, "stream": False}, client) as reply:
            return whole_reply(_json_of(reply))

    def stream(
        self, request: Mapping[str, Any], client: socket.socket | None = None
    ) -> Iterator[Piece]:
        """Ask for a streamed chat completion.

        Raises:
            WireError: the server's error, or its absence; at once or in the middle.
            ClientGone: *client* closed.
        """
        asked = {**request, "stream": True, "stream_options": {"include_usage": True}}
        with self.open("POST", "/chat/completions", asked, client) as reply:
            if reply.status != 200:
                _json_of(reply)
            try:
                yield from streamed_reply(reply)
            except (OSError, http.client.HTTPException) as error:
                raise WireError(502, f"the upstream server broke off: {error}") from error


def upstream_error(reply: http.client.HTTPResponse, body: bytes) -> WireError:
    """Build the error that says what an upstream error response said."""
    try:
        message = error_message(json.loads(body))
    except ValueError:
        message = None
    return WireError(
        reply.status,
        message or f"the upstream server answered {reply.status}",
        reply.getheader("Retry-After"),
    )


def _json_of(reply: http.client.HTTPResponse) -> Any:
    try:
        body = reply.read()
    except (OSError, http.client.HTTPException) as error:
        raise WireError(502, f"the upstream server broke off: {error}") from error
    if reply.status != 200:
        raise upstream_error(reply, body)
    try:
        return json.loads(body)
    except ValueError as error:
        raise WireError(502, "the upstream server's reply is not JSON") from error


def check_client(client: socket.socket | None) -> None:
    """Check, without waiting, that the client is still there.

    Raises:
        ClientGone: it closed its connection.
    """
    if client is None or not select.select([client], [], [], 0)[0]:
        return
    try:
        if client.recv(1, socket.MSG_PEEK):
            return
    except ConnectionError as error:
        raise ClientGone from error
    raise ClientGone


def _wait_for_reply(upstream: socket.socket, client: socket.socket) -> None:
    """Wait until *upstream* has something to read.

    Raises:
        ClientGone: *client* closed first.
        TimeoutError: :data:`READ_SECONDS` passed.
    """
    watched = [upstream, client]
    while True:
        ready, _, _ = select.select(watched, [], [], READ_SECONDS)
        if not ready:
            raise TimeoutError(f"no answer within {READ_SECONDS:.0f} seconds")
        if upstream in ready:
            return
        check_client(client)
        watched.remove(client)  # it sent its next request early; its end cannot be seen now
