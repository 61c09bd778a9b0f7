"""Words of SQL that decide what the name beside them is."""

from __future__ import annotations

#: what may stand before a parenthesis without being a function
BEFORE_PARENTHESIS = frozenset(
    "and any all array as asc between by case cast cross cube desc distinct else end except exists fetch filter"
    " for from full group grouping having ilike in inner intersect is join lateral left like limit materialized"
    " natural not offset on or order outer over partition recursive returning right rollup row select sets similar"
    " some symmetric then to union using values when where window with within".split()
)
#: what may stand before a string without being the name of its type
BEFORE_STRING = frozenset(
    "and any all between both by case distinct else escape filter for from having ilike in is leading like limit"
    " not offset on or over select similar some symmetric asymmetric then to trailing union when where zone".split()
)
#: what may follow a table in FROM and is not its alias
AFTER_TABLE = frozenset(
    "cross except fetch for full group having inner intersect join left limit natural offset on order right"
    " tablesample union using where window".split()
)
#: what ends the FROM clause
AFTER_FROM = frozenset(
    "where group having order limit offset fetch window union intersect except for".split()
)
#: what a common table expression begins with
QUERY_STARTS = frozenset({"select", "with", "values", "("})

#: names that lead into the catalogue from any place
FORBIDDEN = frozenset(
    "regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole"
    " regtype refcursor aclitem information_schema oid oidvector".split()
)
FORBIDDEN_PREFIX = "pg_"

#: words that are never part of a query here -> what the model is told
FORBIDDEN_WORDS = {
    "into": "SELECT INTO is not available.",
    "tablesample": "TABLESAMPLE is not available.",
    "operator": "OPERATOR(...) is not available.",
    "variadic": "VARIADIC is not available.",
}
