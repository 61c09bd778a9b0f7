"""Servers of the embedded default, each in its own process, started once for the session."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_models.server_process import ServerProcess, start_server
from pgagentos.errors import InstallationError
from pgagentos.local_models.__main__ import locate
from pgagentos.local_models.model_file import ModelFile


@pytest.fixture(scope="session")
def embedding_server() -> Iterator[ServerProcess]:
    """A server with the real embedding model and no chat model, bodies of at most 1 MiB."""
    with start_server("--no-chat", "--max-body", str(1 << 20)) as server:
        yield server


@pytest.fixture(scope="session")
def model_file() -> ModelFile:
    """The default model's file: found on this machine, or fetched into the cache."""
    options = argparse.Namespace(model_file=None, size="1.5b", offline=False)
    try:
        return locate(options)
    except InstallationError as error:
        pytest.skip(f"no language model here: {error.message} ({error.detail})")


@pytest.fixture(scope="session")
def model_server(model_file: ModelFile) -> Iterator[ServerProcess]:
    """A server with both real models."""
    with start_server("--model-file", str(model_file.path), "--max-tokens", "128") as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache directory."""
    directory = tmp_path / "cache"
    directory.mkdir()
    return directory
