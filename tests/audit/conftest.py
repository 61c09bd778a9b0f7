"""What the tests of the audit share: a scene whose turns run in the database, and the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster import Cluster
from house import house
from kernel.conftest import in_background, play, play_server, scene

__all__ = ["house", "in_background", "play", "play_server", "scene"]  # fixtures

#: Returns the lines of JSON that the server has logged since the test began.
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def logged(cluster: Cluster) -> Callable[[], str]:
    """The text that the server has logged since the test began."""
    assert cluster.home is not None, "these tests read a local server's log"
    file = cluster.home / "server.log"
    begin = file.stat().st_size

    def read() -> str:
        with file.open("rb") as opened:
            opened.seek(begin)
            return opened.read().decode()

    return read


@pytest.fixture
def lines(logged: Callable[[], str]) -> Lines:
    """The lines of JSON among them."""

    def read() -> list[dict[str, Any]]:
        found = (line.partition("LOG:  {") for line in logged().splitlines())
        return [json.loads("{" + text) for _, mark, text in found if mark]

    return read
