"""What a model wrote, understood well enough to be written anew.

The text that the server gets is put together from the tokens: no comment, no unusual literal and no
unqualified table gets there. Names that lead outside are refused here, before the server looks at
them, so that it makes no difference whether they exist.
"""

from __future__ import annotations

from . import functions, names, types
from .lexer import NUMBER, QUOTED, STRING, SYMBOL, WORD
from .refusal import QueryRefused, function_not_available
from .surroundings import Names, Surroundings
from .table_names import TableNames
from .token_list import TokenList
from .type_names import TypeNames
from .writer import Parts, Writer


class Statement:
    """One SELECT, VALUES or WITH statement.

    Raises:
        QueryRefused: it is something else, is too large, or names what is never available.
    """

    def __init__(self, query: str) -> None:
        self._list = TokenList(query)
        self._own_tables: set[str] = set()
        self._column_lists: set[int] = set()
        #: place, schema and name
        self._functions: list[tuple[int, str | None, str]] = []
        self._find_own_tables()
        self._types = TypeNames(self._list)
        self._find_functions()
        self._tables = TableNames(self._list, self._own_tables)
        self._refuse_forbidden()

    def _find_own_tables(self) -> None:
        """Names that WITH gives, and aliases with a list of columns: neither is a function."""
        for place, token in enumerate(self._list.tokens):
            if token != (WORD, "as"):
                continue
            start = place + 1
            if self._list.is_(start, "not"):
                start += 1
            if self._list.is_(start, "materialized"):
                start += 1
            if self._list.is_(start, "(") and (self._list.is_(start + 1, *names.QUERY_STARTS)):
                before = place - 1
                if self._list.is_(before, ")"):
                    before = self._list.partner[before] - 1
                if self._list.is_name(before):
                    self._own_tables.add(self._list.tokens[before].text)
                    self._column_lists.add(before)

    def _find_functions(self) -> None:
        for place, token in enumerate(self._list.tokens):
            if (
                token.kind not in (WORD, QUOTED)
                or not self._list.is_(place + 1, "(")
                or place in self._types.places
            ):
                continue
            if place in self._column_lists or (
                token.kind == WORD and token.text in names.BEFORE_PARENTHESIS
            ):
                continue
            if self._is_alias(place):
                self._column_lists.add(place)
                continue
            schema = None
            if self._list.is_(place - 1, "."):
                if not self._list.is_name(place - 2) or self._list.is_(place - 3, "."):
                    raise function_not_available(token.text)
                schema = self._list.tokens[place - 2].text
            if token.kind == WORD and token.text in functions.GRAMMAR and schema is None:
                continue
            self._functions.append((place, schema, token.text))

    def _is_alias(self, place: int) -> bool:
        """Whether a name with a list of columns is an alias: ``from f(x) as t (a, b)``."""
        before = place - 1
        if self._list.is_(before, "as", ")", "]") or self._list.kind(before) in (
            STRING,
            NUMBER,
            QUOTED,
        ):
            return True
        if self._list.kind(before) != WORD:
            return False
        word = self._list.tokens[before].text
        # from orders o (a, b): a plain name before it, which follows a comma, a dot or a word of
        # FROM
        return word == "ordinality" or (
            word not in names.BEFORE_PARENTHESIS
            and self._list.is_(before - 1, "from", "join", ",", ".", "only", "lateral")
        )

    def _refuse_forbidden(self) -> None:
        of_tables = {
            p for start, (end, _, _) in self._tables.found.items() for p in range(start, end)
        }
        for place, token in enumerate(self._list.tokens):
            if token.kind not in (WORD, QUOTED) or place in of_tables:
                continue
            name = token.text.lower()
            if token.kind == WORD and name in names.FORBIDDEN_WORDS:
                raise QueryRefused(names.FORBIDDEN_WORDS[name])
            if (
                token.kind == WORD
                and name == "for"
                and self._list.is_(place + 1, "update", "share", "no", "key")
            ):
                raise QueryRefused("Locking rows is not available.")
            if (
                token.kind == WORD
                and name == "collate"
                and not (
                    self._list.kind(place + 1) == QUOTED
                    and self._list.tokens[place + 1].text in ("C", "POSIX")
                )
            ):
                raise QueryRefused('COLLATE is not available, except COLLATE "C".')
            if place in self._types.places or self._list.is_(place + 1, "("):
                continue
            if name == "pg_catalog" and self._list.is_(place + 1, "."):
                continue
            if name in names.FORBIDDEN or name.startswith(names.FORBIDDEN_PREFIX):
                raise QueryRefused(f"The name {token.text} is not available.")

    def names(self) -> Names:
        """What has to be looked up before :meth:`written_anew`."""
        words = frozenset(
            t.text.lower() for t in self._list.tokens if t.kind in (WORD, QUOTED, SYMBOL)
        )
        return Names(
            tuple(dict.fromkeys((schema, name) for _, schema, name in self._tables.found.values())),
            tuple(dict.fromkeys(name for _, name in self._types.others.values())),
            words,
            any(not _is_built_in(name) for _, _, name in self._functions),
            not words.isdisjoint(functions.OF_VECTOR | types.VECTOR_TYPES),
        )

    def written_anew(self, surroundings: Surroundings) -> str:
        """The statement in words that mean the same to everybody.

        Raises:
            QueryRefused: it names a table, type or function that is not available.
        """
        self._check_functions(surroundings)
        parts = Parts(
            self._list,
            self._tables.found,
            self._types.others,
            {place: (schema, name) for place, schema, name in self._functions},
        )
        return Writer(parts, surroundings).text()

    def _check_functions(self, surroundings: Surroundings) -> None:
        for _, schema, name in self._functions:
            if schema not in (None, "pg_catalog") and surroundings.functions.get(name) != schema:
                raise function_not_available(name)
            if (
                not _is_built_in(name)
                and name not in surroundings.functions
                and not (surroundings.vector_schema and name in functions.VECTOR_FUNCTIONS)
            ):
                raise function_not_available(name)


def _is_built_in(name: str) -> bool:
    return name in functions.NAMES or name in functions.STAND_INS or name in types.SQL_NAMES
