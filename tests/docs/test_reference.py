"""docs/reference.md is what the database says of itself (``scripts/build_reference``)."""

from __future__ import annotations

import psycopg
import pytest

from cluster import CHECKOUT
from docs.reference import page

PAGE = CHECKOUT / "docs/reference.md"


def test_the_reference_is_current(
    connection: psycopg.Connection, request: pytest.FixtureRequest
) -> None:
    written = page(connection)
    if request.config.getoption("--write-snapshot"):
        PAGE.write_text(written, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8").splitlines() == written.splitlines()


def test_every_object_of_the_reference_has_a_comment(connection: psycopg.Connection) -> None:
    assert "\nNone\n" not in page(connection)
