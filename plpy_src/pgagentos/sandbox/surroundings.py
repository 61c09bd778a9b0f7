"""What the names of a statement mean for an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Table(NamedTuple):
    """A table that the agent may read.

    Args:
        schema: its schema.
        name: its name.
        columns: the columns that the agent may read; None for all.
    """

    schema: str
    name: str
    columns: tuple[str, ...] | None


class Names(NamedTuple):
    """The names that a statement uses, to be looked up before it is written anew.

    Args:
        tables: schema (or None) and name.
        types: types that are not built in.
        words: every name, for error texts.
        has_other_functions: whether there are functions that are not built in.
        has_vectors: whether there is something of the extension vector.
    """

    tables: tuple[tuple[str | None, str], ...]
    types: tuple[str, ...]
    words: frozenset[str]
    has_other_functions: bool
    has_vectors: bool


class Surroundings(NamedTuple):
    """What the names of a statement mean for this agent.

    Args:
        tables: what :attr:`Names.tables` means, without those that are not available.
        types: what :attr:`Names.types` means: schema and name.
        functions: the operator's additions by bare name: schema.
        vector_schema: where the extension vector is, None when it is not installed.
    """

    tables: Mapping[tuple[str | None, str], Table]
    types: Mapping[str, tuple[str, str]]
    functions: Mapping[str, str]
    vector_schema: str | None
