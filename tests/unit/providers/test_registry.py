"""Drivers by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pgagentos
from pgagentos.errors import InvalidInput
from pgagentos.providers.registry import NAMES, driver

PACKAGE_PARENT = Path(pgagentos.__file__).parent.parent


@pytest.mark.parametrize("name", NAMES)
def test_every_driver_has_its_two_functions(name: str) -> None:
    found = driver(name)
    assert callable(found.to_wire)
    assert callable(found.from_wire)


@pytest.mark.parametrize("name", ["", "openai", "wire", "os", "../x"])
def test_an_unknown_name_is_an_error_that_lists_the_names(name: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        driver(name)
    assert all(known in (raised.value.hint or "") for known in NAMES)


def loaded_by(*names: str) -> set[str]:
    """The modules that a fresh interpreter holds after asking for these drivers."""
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE_PARENT)!r})\n"
        "from pgagentos.providers.registry import driver\n"
        f"for name in {names!r}: driver(name)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_only_the_driver_that_is_asked_for_is_imported() -> None:
    assert "pgagentos.providers.openai_chat" not in loaded_by()
    loaded = loaded_by("openai_chat")
    assert "pgagentos.providers.openai_chat" in loaded
    assert "pgagentos.providers.anthropic" not in loaded


def test_no_driver_imports_an_sdk_threads_or_encryption() -> None:
    heavy = {"openai", "anthropic", "google.genai", "ollama", "httpx2", "pydantic", "asyncio"}
    assert not loaded_by(*NAMES) & (heavy | {"threading", "ssl", "hashlib", "email", "http.client"})
