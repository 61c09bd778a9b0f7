"""CREATE EXTENSION: where it works, and what it says where it does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from cluster import Cluster


@contextmanager
def bare_database(cluster: Cluster, name: str, encoding: str) -> Iterator[psycopg.Connection]:
    """A connection to a database without the extension."""
    with cluster.connect() as admin:
        admin.execute(
            sql.SQL(
                "create database {} template template0 encoding {} lc_collate 'C' lc_ctype 'C'"
            ).format(sql.Identifier(name), sql.Literal(encoding))
        )
    try:
        with cluster.connect(name) as connection:
            yield connection
    finally:
        with cluster.connect() as admin:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_KR"])
def test_a_database_that_cannot_hold_every_answer_is_refused(
    cluster: Cluster, encoding: str
) -> None:
    with (
        bare_database(cluster, f"encoding_{encoding.lower()}", encoding) as connection,
        pytest.raises(psycopg.errors.FeatureNotSupported) as caught,
    ):
        connection.execute("create extension pgagentos cascade")
    message = caught.value.diag.message_primary or ""
    assert re.search(f"needs a database in the encoding UTF8, this one has {encoding}", message)
    assert "ENCODING 'UTF8'" in (caught.value.diag.message_hint or "")


def test_it_works_whatever_the_search_path_is_and_again_after_a_drop(cluster: Cluster) -> None:
    with bare_database(cluster, "odd_places", "UTF8") as connection:
        connection.execute('create schema "Odd Name"')
        connection.execute('create extension vector schema "Odd Name"')
        connection.execute('create extension pgcrypto schema "Odd Name"')
        connection.execute('set search_path = nowhere, "Odd Name"')
        for _ in range(2):
            connection.execute("create extension pgagentos cascade")
            cursor = connection.execute(
                "select count(*) from aos_core.check_installation() where component = 'python'"
            )
            assert cursor.fetchall() == [(1,)]
            connection.execute("drop extension pgagentos")
