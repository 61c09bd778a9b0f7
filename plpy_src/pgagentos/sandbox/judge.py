"""Judges the tree that the server's parser made of a query: what is not on a positive list is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from . import functions, node_kinds
from .node_kinds import NODE_KINDS
from .node_tree import NULL, Node
from .refusal import (
    QueryRefused,
    column_not_available,
    construct_not_available,
    function_not_available,
    operator_not_available,
    table_not_available,
    type_not_available,
)

#: function calls and operators in one query
_MAX_CALLS = 400
#: Comparisons of long values in one row, neither of them a constant: each may read two long values from disk
#: without looking at a cancel.
_MAX_LONG_COMPARISONS = 8
#: types whose values are never long, by their identifiers, which are the same in every PostgreSQL: bool, int8, int2,
#: int4, float4, float8, date, time, timestamp, timestamptz, interval, timetz, numeric, uuid
_SHORT_TYPES = frozenset("16 20 21 23 700 701 1082 1083 1114 1184 1186 1266 1700 2950".split())
#: combinations of columns that GROUPING SETS, CUBE and ROLLUP ask for
_MAX_GROUPINGS = 64
_ZERO = frozenset({NULL, "false", "0", "b", "0.0000"})
_CONSTANT_KINDS = frozenset(
    {"CONST", "RELABELTYPE", "FUNCEXPR", "OPEXPR", "COERCEVIAIO", "ARRAYEXPR", "NAMEDARGEXPR"}
)


class Relation(NamedTuple):
    """A table of the allow-list, as the catalogue has it now.

    Args:
        name: for texts.
        columns: numbers of the columns that may be read; None for all.
    """

    name: str
    columns: frozenset[int] | None


class Objects(NamedTuple):
    """Object identifiers that the catalogue has to explain."""

    functions: frozenset[str]
    operators: frozenset[str]
    types: frozenset[str]


class Explained(NamedTuple):
    """What the catalogue says of one function, operator or type.

    Args:
        name: bare, for texts.
        is_allowed: on a positive list.
        is_sortable: an operator that ORDER BY and the like may use.
        is_of_text: an operator that compares two values which may be long, without a bound.
        signature: of a stand-in: ``name(types)``, for an operator ``name``.
    """

    name: str
    is_allowed: bool
    is_sortable: bool = False
    signature: str = ""
    is_of_text: bool = False


class Judge:
    """Walks one tree and collects what it uses.

    Args:
        relations: the tables that the query may read, by object identifier.

    Raises:
        QueryRefused: the tree has a node or a field that is not known, or that a query may not have.
    """

    def __init__(self, tree: Any, relations: Mapping[str, Relation]) -> None:
        self._relations = relations
        self._functions: list[tuple[str, Node]] = []
        self._operators: list[tuple[str, Node]] = []
        self._sort_operators: set[str] = set()
        self._in_range: set[str] = set()
        self._types: set[str] = set()
        self._read_by_text: set[str] = set()
        self._groupings = 1
        self._long_arguments = 0
        #: the tables, once for each time that the query names them
        self.entries: list[str] = []
        #: whether more rows may come up than the tables hold
        self.makes_rows = False
        self._special: dict[tuple[str, str], Callable[[Any, Node], None]] = {
            ("QUERY", "commandType"): self._command,
            ("QUERY", "rteperminfos"): self._walk_into,
            ("QUERY", "hasTargetSRFs"): self._rows,
            ("QUERY", "hasRecursive"): self._rows,
            ("RANGETBLENTRY", "rtekind"): self._entry,
            ("RANGETBLENTRY", "relid"): self._nothing,
            ("RANGETBLENTRY", "relkind"): self._nothing,
            ("RANGETBLENTRY", "joinaliasvars"): self._join_columns,
            ("RANGETBLENTRY", "requiredPerms"): self._permissions,
            ("RANGETBLENTRY", "selectedCols"): self._columns,
            ("RTEPERMISSIONINFO", "relid"): self._relation,
            ("RTEPERMISSIONINFO", "requiredPerms"): self._permissions,
            ("RTEPERMISSIONINFO", "selectedCols"): self._columns,
            ("GROUPINGSET", "content"): self._grouping,
            ("PARAM", "paramkind"): self._parameter,
            ("COERCEVIAIO", "resulttype"): self._conversion,
            ("COLLATEEXPR", "collOid"): self._collation,
            ("SQLVALUEFUNCTION", "op"): self._value_function,
            ("MINMAXEXPR", "minmaxtype"): self._extreme,
        }
        self._pending: list[Any] = [tree]
        while self._pending:
            self._visit(self._pending.pop())
        if len(self._functions) + len(self._operators) > _MAX_CALLS:
            raise QueryRefused("The query is too large. Ask for less at a time.")

    @property
    def objects(self) -> Objects:
        """What :meth:`decide` has to have explained."""
        return Objects(
            frozenset(oid for oid, _ in self._functions) | self._in_range,
            frozenset(oid for oid, _ in self._operators) | self._sort_operators,
            frozenset(self._types),
        )

    def decide(
        self,
        explained_functions: Mapping[str, Explained],
        explained_operators: Mapping[str, Explained],
        explained_types: Mapping[str, Explained],
        rows_of_tables: Collection[str],
    ) -> None:
        """Compare what the query uses with the positive lists.

        Args:
            rows_of_tables: types of the rows of the tables that the query may read as a whole.

        Raises:
            QueryRefused: something is not on them.
        """
        for oid in self._types:
            kind = explained_types.get(oid)
            if oid not in rows_of_tables and (kind is None or not kind.is_allowed):
                raise type_not_available(kind.name if kind else "of a value")
        if self._read_by_text & set(rows_of_tables):
            raise construct_not_available("text read as a row of a table")
        for oid, node in self._functions:
            function = explained_functions.get(oid)
            if function is None or not function.is_allowed:
                raise function_not_available(function.name if function else "")
            self._check_pattern(function, node)
        for oid in self._in_range:
            function = explained_functions.get(oid)
            if function is None or function.name != functions.IN_RANGE:
                raise construct_not_available("a window with RANGE of this type")
        comparisons = self._long_arguments
        for oid, node in self._operators:
            operator = explained_operators.get(oid)
            if operator is None or not operator.is_allowed:
                raise operator_not_available(operator.name if operator else "")
            self._check_pattern(operator, node)
            comparisons += operator.is_of_text and not any(map(_is_constant, node.fields["args"]))
        if comparisons > _MAX_LONG_COMPARISONS:
            raise QueryRefused("The query is too large. Ask for less at a time.")
        for oid in self._sort_operators:
            operator = explained_operators.get(oid)
            if operator is None or not operator.is_sortable:
                raise QueryRefused(
                    "The query sorts or groups by a value whose type has no order here. Cast it, for example x::text."
                )

    @staticmethod
    def _check_pattern(function: Explained, node: Node) -> None:
        if function.signature in functions.WITH_PATTERN and not _is_constant(
            node.fields["args"][1:]
        ):
            raise QueryRefused("A regular expression must be a constant.")

    def _visit(self, value: Any) -> None:
        if isinstance(value, list):
            self._pending.extend(v for v in value if not isinstance(v, str))
            return
        if not isinstance(value, Node):
            return
        known = NODE_KINDS.get(value.kind)
        if known is None:
            raise construct_not_available(f"node {value.kind}")
        for field, content in value.fields.items():
            action = known.get(field)
            if action == "_":
                continue
            if action is None:
                raise construct_not_available(f"field {value.kind}.{field}")
            self._field(action, field, content, value)

    def _field(self, action: str, field: str, content: Any, node: Node) -> None:
        if action == "n":
            if not isinstance(content, str):
                self._pending.append(content)
        elif action == "t":
            self._types.add(_word(content))
        elif action == "l":
            if isinstance(content, list):
                self._types.update(content[1:])
        elif action == "0":
            if (
                content[0] if isinstance(content, list) and len(content) == 1 else content
            ) not in _ZERO:
                raise construct_not_available(f"{node.kind}.{field} = {content!r:.60}")
        elif action == "o":
            self._operators.append((_word(content), node))
        elif action in ("f", "a"):
            self._functions.append((_word(content), node))
        elif action == "s":
            if content != "0":
                self._sort_operators.add(_word(content))
        elif action == "r":
            if content != "0":
                self._in_range.add(_word(content))
        else:
            self._special[node.kind, field](content, node)

    def _nothing(self, content: Any, node: Node) -> None:
        pass

    def _rows(self, content: Any, node: Node) -> None:
        self.makes_rows = self.makes_rows or content != "false"

    def _walk_into(self, content: Any, node: Node) -> None:
        self._pending.append(content)

    def _command(self, content: Any, node: Node) -> None:
        if content != node_kinds.SELECT:
            raise QueryRefused("Only reading is possible.")

    def _entry(self, content: Any, node: Node) -> None:
        if content == node_kinds.RELATION:
            self._relation(node.fields.get("relid"), node)
            self.entries.append(node.fields["relid"])
            if node.fields.get("relkind") not in ("r", "p", "v", "m"):
                raise construct_not_available("a relation that is no table")
        elif content in (node_kinds.FUNCTION, node_kinds.VALUES):
            self.makes_rows = True
        elif content not in (
            node_kinds.SUBQUERY,
            node_kinds.JOIN,
            node_kinds.CTE,
            node_kinds.GROUP,
        ):
            raise construct_not_available(f"range table entry of kind {content}")
        if content != node_kinds.RELATION and node.fields.get("relid", "0") != "0":
            raise construct_not_available("a view that is open")

    def _relation(self, content: Any, node: Node) -> None:
        if content not in self._relations:
            raise table_not_available("of the query", f"relation {content}")

    def _permissions(self, content: Any, node: Node) -> None:
        if content not in ("0", node_kinds.SELECT_PERMISSION):
            raise construct_not_available("a permission other than SELECT")

    def _columns(self, content: Any, node: Node) -> None:
        relation = self._relations.get(node.fields.get("relid", ""))
        if relation is None or relation.columns is None:
            return
        for member in content[1:]:
            if int(member) - node_kinds.COLUMN_OFFSET not in relation.columns:
                raise column_not_available("of the query")

    def _join_columns(self, content: Any, node: Node) -> None:
        """All columns of both sides, whether the query uses them or not: plain ones say nothing."""
        if isinstance(content, list):
            self._pending.extend(c for c in content if isinstance(c, Node) and c.kind != "VAR")

    def _grouping(self, content: Any, node: Node) -> None:
        if isinstance(content, list):
            if content and content[0] in ("i", "o", "b"):
                return
            combinations = {node_kinds.ROLLUP: len(content) + 1, node_kinds.CUBE: 2 ** len(content)}
            self._groupings *= combinations.get(node.fields.get("kind", ""), max(1, len(content)))
            if self._groupings > _MAX_GROUPINGS:
                raise QueryRefused("The query has too many grouping sets.")
            self._pending.append(content)

    def _parameter(self, content: Any, node: Node) -> None:
        if content != node_kinds.SUBLINK_PARAMETER:
            raise construct_not_available("a parameter")

    def _conversion(self, content: Any, node: Node) -> None:
        self._types.add(_word(content))
        self._read_by_text.add(content)

    def _extreme(self, content: Any, node: Node) -> None:
        """GREATEST and LEAST compare one argument after the other."""
        self._types.add(_word(content))
        if content not in _SHORT_TYPES:
            self._long_arguments += len(node.fields["args"]) - 1

    def _collation(self, content: Any, node: Node) -> None:
        if content not in node_kinds.COLLATIONS:
            raise construct_not_available("a collation")

    def _value_function(self, content: Any, node: Node) -> None:
        if int(content) > node_kinds.LAST_TIME_FUNCTION:
            raise QueryRefused(
                "Names of the current user, role, schema and database are not available."
            )


def _word(content: Any) -> str:
    if not isinstance(content, str) or not content.isdigit():
        raise construct_not_available("an object identifier of another form")
    return content


def _is_constant(node: Any) -> bool:
    """Whether an expression has no columns, subqueries or parameters."""
    if isinstance(node, list):
        return all(map(_is_constant, node))
    if not isinstance(node, Node):
        return True
    if node.kind not in _CONSTANT_KINDS:
        return False
    return all(_is_constant(node.fields.get(name)) for name in ("arg", "args", "elements"))
