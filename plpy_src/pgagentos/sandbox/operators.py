"""The operators of ``pg_catalog`` that a query may use: left type, name, right type.

As with functions, an operator whose one call can take long has a stand-in in aos_sandbox and is not
here: LIKE, regular expressions, ordering of text, multiplication and division of numeric, everything
on json, containment and comparison of arrays and jsonb.
"""

from __future__ import annotations

_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
_ORDERED = "bool date time timetz interval uuid inet macaddr anyenum anyrange bpchar numeric timestamp timestamptz int2 int4 int8 float4 float8"
_MIXED = (("int2", "int4", "int8"), ("float4", "float8"), ("date", "timestamp", "timestamptz"))


def _operators() -> frozenset[str]:
    found: set[str] = set()
    for type_name in _ORDERED.split():
        found.update(f"{type_name} {name} {type_name}" for name in _COMPARISONS)
    for family in _MIXED:
        found.update(f"{a} {name} {b}" for a in family for b in family for name in _COMPARISONS)
    for type_name in ("text", "bytea"):  # equality looks at the lengths first
        found.update(f"{type_name} {name} {type_name}" for name in ("=", "<>"))
    integers, floats = _MIXED[0], _MIXED[1]
    for family, names in ((integers, "+-*/"), (floats, "+-*/")):
        found.update(f"{a} {name} {b}" for a in family for b in family for name in names)
    for a in integers:
        found.update(f"{a} {name} {a}" for name in "%&|#")
        found.update(f"{a} {name} int4" for name in ("<<", ">>"))
    for a in (*integers, *floats, "numeric"):
        found.update(f" {name} {a}" for name in ("+", "-", "@"))
    found.update(f" ~ {a}" for a in integers)
    found.update(_REST)
    return frozenset(found)


_REST = (
    "numeric + numeric", "numeric - numeric", "float8 ^ float8", " |/ float8", " ||/ float8",
    "date + int4", "int4 + date", "date - int4", "date - date", "date + interval", "interval + date",
    "date - interval", "date + time", "time + date", "date + timetz", "timetz + date",
    "timestamp + interval", "interval + timestamp", "timestamp - interval", "timestamp - timestamp",
    "timestamptz + interval", "interval + timestamptz", "timestamptz - interval", "timestamptz - timestamptz",
    "time + interval", "interval + time", "time - interval", "time - time",
    "timetz + interval", "interval + timetz", "timetz - interval",
    "interval + interval", "interval - interval", " - interval",
    "interval * float8", "float8 * interval", "interval / float8",
    "text || text", "text || anynonarray", "anynonarray || text", "bytea || bytea", "text ^@ text",
    "anycompatiblearray || anycompatiblearray", "anycompatible || anycompatiblearray",
    "anycompatiblearray || anycompatible",
    "jsonb -> text", "jsonb -> int4", "jsonb ->> text", "jsonb ->> int4", "jsonb #> _text", "jsonb #>> _text",
    "jsonb ? text", "jsonb ?| _text", "jsonb ?& _text", "jsonb || jsonb", "jsonb - text", "jsonb - int4",
    "jsonb - _text", "jsonb #- _text",
    "anyrange @> anyelement", "anyelement <@ anyrange", "anyrange @> anyrange", "anyrange <@ anyrange",
    "anyrange && anyrange", "anyrange << anyrange", "anyrange >> anyrange", "anyrange -|- anyrange",
    "anyrange * anyrange", "anyrange + anyrange", "anyrange - anyrange",
    "inet << inet", "inet <<= inet", "inet >> inet", "inet >>= inet", "inet && inet",
)  # fmt: skip

OPERATORS = _operators()

#: what ORDER BY, GROUP BY, DISTINCT, UNION and windows compare with: the server chooses these itself
SORT_NAMES = frozenset({"=", "<", ">"})
SORT_TYPES = frozenset((*_ORDERED.split(), "text", "bytea", "jsonb", "anyarray", "record"))

#: operators of the extension vector
VECTOR_OPERATORS = frozenset({"<->", "<#>", "<=>", "<+>"})
