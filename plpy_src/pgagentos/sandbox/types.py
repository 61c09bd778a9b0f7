"""The types that a query may have values of, by their names in ``pg_type`` and in SQL.

Not here, on purpose: ``reg*`` and ``oid`` (their input and output read the catalogue), ``xml`` (libxml does
not look at a cancel), ``refcursor``, ``jsonpath``, ``tsvector`` (parsing does not either), geometry (its
operators take the square of their input), everything ``pg_*``, internal and pseudo types.
"""

from __future__ import annotations

#: ``pg_type.typname`` of scalar types of ``pg_catalog``
SCALARS = frozenset(
    "bool int2 int4 int8 float4 float8 numeric text varchar bpchar bytea date time timetz timestamp"
    " timestamptz interval uuid json jsonb inet cidr macaddr int4range int8range numrange daterange"
    " tsrange tstzrange".split()
)
#: types that expressions have by themselves: rows, and literals that nothing has given a type yet
FROM_EXPRESSIONS = frozenset({"record", "_record", "unknown"})

#: words that a cast may name; two words are one type only in these pairs
SQL_NAMES = frozenset(
    "bool boolean smallint int integer bigint int2 int4 int8 real float float4 float8 decimal dec numeric text"
    " varchar char character bpchar bytea date time timetz timestamp timestamptz interval uuid json jsonb inet"
    " cidr macaddr int4range int8range numrange daterange tsrange tstzrange".split()
)
SECOND_WORDS = {"double": "precision", "character": "varying", "char": "varying"}
#: types of the extension vector
VECTOR_TYPES = frozenset({"vector", "halfvec", "sparsevec"})
