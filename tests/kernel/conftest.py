"""The servers that turns of these tests talk to, and a scene for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest
from cluster import Database
from servers.play_server import Play, PlayServer, start_play_server
from servers.scripted_provider import ollama_front, script, scripted_provider

from kernel.background import Background, run_in_background
from kernel.scene import Scene, make_scene

__all__ = ["ollama_front", "script", "scripted_provider"]  # fixtures

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def play_server() -> Iterator[PlayServer]:
    """One server for all scripts."""
    with start_play_server() as server:
        yield server


@pytest.fixture
def play(play_server: PlayServer) -> Play:
    """A script for this test alone."""
    return play_server.play(f"play-{next(_numbers)}")


@pytest.fixture
def scene(connection: psycopg.Connection, play: Play) -> Scene:
    """An agent for this test alone, on the wire of chat completions."""
    return make_scene(connection, play)


@pytest.fixture
def in_background(database: Database) -> Iterator[Background]:
    """Run something in a thread, for example a turn in a session of its own."""
    with run_in_background(database) as submit:
        yield submit
