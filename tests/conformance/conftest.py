"""The recording server of the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers.recording_server import RecordingServer, start_recording_server


@pytest.fixture(scope="session")
def recording_server() -> Iterator[RecordingServer]:
    """A server that keeps what arrives; nobody else talks to it."""
    with start_recording_server() as server:
        yield server
