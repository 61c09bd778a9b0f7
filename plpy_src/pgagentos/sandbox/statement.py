"""What a model wrote, understood well enough to be written anew.

The text that the server gets is put together from the tokens: no comment, no unusual literal and no
unqualified table gets there. Names that lead outside are refused here, before the server looks at
them, so that it makes no difference whether they exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from . import functions, names, operators, types
from .lexer import NUMBER, QUOTED, STRING, SYMBOL, WORD, Token, tokens_of
from .refusal import QueryRefused, function_not_available, table_not_available, type_not_available

#: bytes of a query
MAX_QUERY_BYTES = 8192
_MAX_TOKENS = 2500
_MAX_DEPTH = 40
_MAX_TABLES = 24
_MAX_SUBQUERIES = 32
#: word or symbol -> how many a query may have
_MAX_COUNT = {
    ",": 600,
    "and": 200,
    "or": 200,
    "when": 100,
    "case": 50,
    "union": 16,
    "intersect": 16,
    "except": 16,
    "*": 60,
}
_TOO_LARGE = "The query is too large. Ask for less at a time."
_OPENING, _CLOSING = {"(": ")", "[": "]"}, {")", "]"}


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


class Statement:
    """One SELECT, VALUES or WITH statement.

    Raises:
        QueryRefused: it is something else, is too large, or names what is never available.
    """

    def __init__(self, query: str) -> None:
        if (
            len(query) > MAX_QUERY_BYTES
            or len(query.encode("utf-8", "surrogatepass")) > MAX_QUERY_BYTES
        ):
            raise QueryRefused(
                f"The query is longer than {MAX_QUERY_BYTES} bytes. Ask for less at a time."
            )
        if "\0" in query or any("\ud800" <= c <= "\udfff" for c in query):
            raise QueryRefused("The query has a character that is not text.")
        tokens = tokens_of(query, _MAX_TOKENS)
        while tokens and tokens[-1] == Token(SYMBOL, ";"):
            tokens.pop()
        self._tokens = tokens
        self._partner: dict[int, int] = {}
        self._in_type: set[int] = set()
        self._own_tables: set[str] = set()
        self._column_lists: set[int] = set()
        #: place of the first token -> (place after the last, schema, name)
        self._tables: dict[int, tuple[int, str | None, str]] = {}
        self._types: dict[int, tuple[int, str]] = {}
        self._functions: list[tuple[int, str | None, str]] = []
        self._measure()
        self._find_own_tables()
        self._find_types()
        self._find_functions()
        self._find_tables()
        self._refuse_forbidden()

    def _is(self, place: int, *texts: str) -> bool:
        """Whether an unquoted word or a symbol stands at a place."""
        if not 0 <= place < len(self._tokens):
            return False
        token = self._tokens[place]
        return token.kind in (WORD, SYMBOL) and token.text in texts

    def _is_name(self, place: int) -> bool:
        return 0 <= place < len(self._tokens) and self._tokens[place].kind in (WORD, QUOTED)

    def _kind(self, place: int) -> str:
        return self._tokens[place].kind if 0 <= place < len(self._tokens) else ""

    def _measure(self) -> None:
        """Count what grows faster than its text, and find the partner of each parenthesis."""
        if not self._tokens:
            raise QueryRefused("The query is empty.")
        if not self._is(0, "select", "with", "values", "("):
            raise QueryRefused(
                "Only one query that reads is possible: SELECT, WITH ... SELECT or VALUES."
            )
        counts: dict[str, int] = {}
        opened: list[int] = []
        for place, token in enumerate(self._tokens):
            if token.kind not in (WORD, SYMBOL):
                continue
            text = token.text
            counts[text] = counts.get(text, 0) + 1
            if text in _OPENING and token.kind == SYMBOL:
                opened.append(place)
                if len(opened) > _MAX_DEPTH:
                    raise QueryRefused("The query is nested too deeply.")
            elif text in _CLOSING:
                if not opened or _OPENING[self._tokens[opened[-1]].text] != text:
                    raise QueryRefused(f"There is a {text} without its partner.")
                start = opened.pop()
                self._partner[start], self._partner[place] = place, start
            elif text == ";":
                raise QueryRefused("Only one statement is possible. Leave out the semicolon.")
        if opened:
            raise QueryRefused("There is a ( without its partner.")
        if counts.get("select", 0) + counts.get("values", 0) > _MAX_SUBQUERIES:
            raise QueryRefused(_TOO_LARGE)
        if any(counts.get(text, 0) > most for text, most in _MAX_COUNT.items()):
            raise QueryRefused(_TOO_LARGE)

    def _find_own_tables(self) -> None:
        """Names that WITH gives, and aliases with a list of columns: neither is a function."""
        for place, token in enumerate(self._tokens):
            if token != (WORD, "as"):
                continue
            start = place + 1
            if self._is(start, "not"):
                start += 1
            if self._is(start, "materialized"):
                start += 1
            if self._is(start, "(") and (self._is(start + 1, *names.QUERY_STARTS)):
                before = place - 1
                if self._is(before, ")"):
                    before = self._partner[before] - 1
                if self._is_name(before):
                    self._own_tables.add(self._tokens[before].text)
                    self._column_lists.add(before)

    def _find_types(self) -> None:
        for place, token in enumerate(self._tokens):
            if token == (SYMBOL, "::"):
                self._type_at(place + 1)
            elif token == (WORD, "cast") and self._is(place + 1, "("):
                separators = [
                    inner for inner in self._top_level(place + 1) if self._is(inner, "as")
                ]
                if len(separators) != 1:
                    raise QueryRefused("There is a syntax error at or near cast.")
                end = self._type_at(separators[0] + 1)
                if end != self._partner[place + 1]:
                    raise type_not_available(self._tokens[separators[0] + 1].text)
            elif token.kind == STRING and place > 0:
                self._check_before_string(place)

    def _check_before_string(self, place: int) -> None:
        """A name right before a string is the type of that string, unless it is a word of grammar."""
        before = place - 1
        if self._is(before, ")"):
            before = self._partner[before] - 1
            if not self._is_name(before) or self._tokens[before].text not in types.SQL_NAMES:
                raise QueryRefused("There is a syntax error at or near a string.")
        if not self._is_name(before) or before in self._in_type:
            return
        token = self._tokens[before]
        if token.kind == WORD and token.text in names.BEFORE_STRING:
            return
        if self._is(before, "precision") and self._is(before - 1, "double"):
            self._type_at(before - 1)
            return
        if self._is(before - 1, "."):
            raise type_not_available(token.text)
        self._type_at(before)

    def _type_at(self, place: int) -> int:
        """Note the type that begins here; return the place after it."""
        start = place
        if self._is(place, "pg_catalog") and self._is(place + 1, "."):
            self._in_type.update((place, place + 1))
            place += 2
        if not self._is_name(place):
            raise QueryRefused("A cast lacks the name of a type.")
        name = self._tokens[place].text
        self._in_type.add(place)
        end = place + 1
        if self._is(end, "."):  # a type of some schema: known by its last name
            if not self._is_name(end + 1) or self._is(end + 2, "."):
                raise type_not_available(name)
            self._in_type.update((end, end + 1))
            self._types[start] = (end + 2, f"{name}.{self._tokens[end + 1].text}")
            return self._after_modifiers(end + 2)
        second = types.SECOND_WORDS.get(name)
        if second is not None and self._is(end, second):
            self._in_type.add(end)
            end += 1
        elif name not in types.SQL_NAMES:
            self._types[start] = (end, name)
        return self._after_modifiers(end)

    def _after_modifiers(self, end: int) -> int:
        if self._is(end, "("):
            end = self._partner[end] + 1
        if (
            self._is(end, "with", "without")
            and self._is(end + 1, "time")
            and self._is(end + 2, "zone")
        ):
            self._in_type.update((end, end + 1, end + 2))
            end += 3
        while self._is(end, "["):
            end = self._partner[end] + 1
        return end

    def _top_level(self, opening: int) -> list[int]:
        """The places directly inside a pair of parentheses, without those of inner pairs."""
        found, place = [], opening + 1
        while place < self._partner[opening]:
            found.append(place)
            place = self._partner[place] if self._is(place, "(", "[") else place
            place += 1
        return found

    def _find_functions(self) -> None:
        for place, token in enumerate(self._tokens):
            if (
                token.kind not in (WORD, QUOTED)
                or not self._is(place + 1, "(")
                or place in self._in_type
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
            if self._is(place - 1, "."):
                if not self._is_name(place - 2) or self._is(place - 3, "."):
                    raise function_not_available(token.text)
                schema = self._tokens[place - 2].text
            if token.kind == WORD and token.text in functions.GRAMMAR and schema is None:
                continue
            self._functions.append((place, schema, token.text))

    def _is_alias(self, place: int) -> bool:
        """Whether a name with a list of columns is an alias: ``from f(x) as t (a, b)``."""
        before = place - 1
        if self._is(before, "as", ")", "]") or self._kind(before) in (STRING, NUMBER, QUOTED):
            return True
        if self._kind(before) != WORD:
            return False
        word = self._tokens[before].text
        # from orders o (a, b): a plain name before it, which follows a comma, a dot or a word of FROM
        return word == "ordinality" or (
            word not in names.BEFORE_PARENTHESIS
            and self._is(before - 1, "from", "join", ",", ".", "only", "lateral")
        )

    def _find_tables(self) -> None:
        """Follow the FROM clauses: a name where a table is expected is a table."""
        frames: list[dict[str, object]] = [{"clause": "", "item": False, "of": ""}]
        items = 0
        for place, token in enumerate(self._tokens):
            frame = frames[-1]
            if token.kind == SYMBOL and token.text in _OPENING:
                opener = self._tokens[place - 1].text if self._kind(place - 1) == WORD else ""
                inner = {"clause": "", "item": False, "of": opener}
                if frame["item"] and token.text == "(":
                    # a subquery, or joined tables in parentheses
                    if not self._is(place + 1, "select", "with", "values"):
                        inner.update(clause="from", item=True)
                    frame["item"] = False
                frames.append(inner)
                continue
            if token.kind == SYMBOL and token.text in _CLOSING:
                frames.pop()
                continue
            if frame["item"]:
                if self._is(place, "lateral", "only"):
                    continue
                if self._is(place, "rows") and self._is(place + 1, "from"):
                    raise QueryRefused("ROWS FROM is not available.")
                if token.kind in (WORD, QUOTED) and not self._is(place, "select", "values", "with"):
                    items += 1
                    frame["item"] = False
                    self._table_at(place)
                    continue
            if token.kind == SYMBOL and token.text == "," and frame["clause"] == "from":
                frame["item"] = True
            if token.kind != WORD:
                continue
            if token.text == "select":
                frame.update(clause="select", item=False)
            elif token.text == "from" and not self._is_from_of_syntax(place, frame):
                frame.update(clause="from", item=True)
            elif token.text == "join" and frame["clause"] == "from":
                frame["item"] = True
            elif token.text in names.AFTER_FROM and frame["clause"] == "from":
                frame.update(clause="rest", item=False)
        if items > _MAX_TABLES:
            raise QueryRefused(_TOO_LARGE)

    def _is_from_of_syntax(self, place: int, frame: Mapping[str, object]) -> bool:
        if frame["of"] in ("extract", "trim", "substring") and frame["clause"] == "":
            return True
        return self._is(place - 1, "distinct") and self._is(place - 2, "is", "not")

    def _table_at(self, place: int) -> None:
        parts, end = [self._tokens[place].text], place + 1
        while self._is(end, ".") and self._is_name(end + 1):
            parts.append(self._tokens[end + 1].text)
            end += 2
        if self._is(end, "("):  # a function
            return
        if len(parts) > 2:
            raise table_not_available(parts[-1])
        schema = parts[0] if len(parts) == 2 else None
        if schema is None and parts[-1] in self._own_tables:
            return
        self._tables[place] = (end, schema, parts[-1])

    def _refuse_forbidden(self) -> None:
        of_tables = {p for start, (end, _, _) in self._tables.items() for p in range(start, end)}
        for place, token in enumerate(self._tokens):
            if token.kind not in (WORD, QUOTED) or place in of_tables:
                continue
            name = token.text.lower()
            if token.kind == WORD and name in names.FORBIDDEN_WORDS:
                raise QueryRefused(names.FORBIDDEN_WORDS[name])
            if (
                token.kind == WORD
                and name == "for"
                and self._is(place + 1, "update", "share", "no", "key")
            ):
                raise QueryRefused("Locking rows is not available.")
            if (
                token.kind == WORD
                and name == "collate"
                and not (
                    self._kind(place + 1) == QUOTED
                    and self._tokens[place + 1].text in ("C", "POSIX")
                )
            ):
                raise QueryRefused('COLLATE is not available, except COLLATE "C".')
            if place in self._in_type or self._is(place + 1, "("):
                continue
            if name == "pg_catalog" and self._is(place + 1, "."):
                continue
            if name in names.FORBIDDEN or name.startswith(names.FORBIDDEN_PREFIX):
                raise QueryRefused(f"The name {token.text} is not available.")

    def names(self) -> Names:
        """What has to be looked up before :meth:`written_anew`."""
        words = frozenset(t.text.lower() for t in self._tokens if t.kind in (WORD, QUOTED, SYMBOL))
        return Names(
            tuple(dict.fromkeys((schema, name) for _, schema, name in self._tables.values())),
            tuple(dict.fromkeys(name for _, name in self._types.values())),
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
        return " ".join(_Writer(self, surroundings).write(0, len(self._tokens)))

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


class _Writer:
    """Writes tokens as text, with names in full."""

    def __init__(self, statement: Statement, surroundings: Surroundings) -> None:
        self._statement = statement
        self._tokens: Sequence[Token] = statement._tokens
        self._partner = statement._partner
        self._surroundings = surroundings
        self._functions = {place: (schema, name) for place, schema, name in statement._functions}
        self._syntax: dict[str, Callable[[int], list[str]]] = {
            "position": self._position,
            "trim": self._trim,
            "substring": self._substring,
        }

    def write(self, start: int, end: int) -> list[str]:
        """The words of the tokens from *start* up to *end*."""
        out: list[str] = []
        place = start
        while place < end:
            place = self._step(place, out)
        return out

    def _step(self, place: int, out: list[str]) -> int:
        statement, token = self._statement, self._tokens[place]
        table = statement._tables.get(place)
        if table is not None:
            self._write_table(place, table, out)
            return table[0]
        type_name = statement._types.get(place)
        if type_name is not None:
            out.append(self._type(type_name[1]))
            return type_name[0]
        if place in self._functions:
            self._write_function(place, out)
            return place + 1
        if token.kind == WORD and token.text in self._syntax and statement._is(place + 1, "("):
            out.extend(self._syntax[token.text](place + 1))
            return self._partner[place + 1] + 1
        if token.kind == STRING:
            out.append("'" + token.text.replace("'", "''") + "'")
        elif token.kind == QUOTED:
            out.append(quoted(token.text))
        elif (
            token.kind == SYMBOL
            and token.text in operators.VECTOR_OPERATORS
            and self._surroundings.vector_schema
        ):
            out.append(f"operator({quoted(self._surroundings.vector_schema)}.{token.text})")
        else:
            out.append(token.text)
        return place + 1

    def _write_table(self, place: int, table: tuple[int, str | None, str], out: list[str]) -> None:
        end, schema, name = table
        found = self._surroundings.tables.get((schema, name))
        if found is None:
            raise table_not_available(name)
        full = f"{quoted(found.schema)}.{quoted(found.name)}"
        if found.columns is None:
            out.append(full)
            return
        if self._statement._is(place - 1, "only"):
            raise QueryRefused("ONLY is not available for this table.")
        columns = ", ".join(map(quoted, found.columns))
        out.append(f"(select {columns} from {full})")
        following = self._statement._is(end, "as") or (
            self._statement._is_name(end) and not self._statement._is(end, *names.AFTER_TABLE)
        )
        if not following:
            out.append(f"as {quoted(found.name)}")

    def _type(self, name: str) -> str:
        found = self._surroundings.types.get(name)
        if found is None:
            raise type_not_available(name.rpartition(".")[2])
        return f"{quoted(found[0])}.{quoted(found[1])}"

    def _write_function(self, place: int, out: list[str]) -> None:
        schema, name = self._functions[place]
        if schema is not None:
            del out[-2:]  # the schema and the dot: a stand-in must be found first
        own = self._surroundings.functions.get(name)
        if own is None and name in functions.VECTOR_FUNCTIONS:
            own = self._surroundings.vector_schema
        token = self._tokens[place]
        text = quoted(name) if token.kind == QUOTED else name
        out.append(
            f"{quoted(own)}.{quoted(name)}" if own is not None and schema != "pg_catalog" else text
        )

    def _parts(self, opening: int, *separators: str) -> list[tuple[str, int, int]]:
        """The arguments of a function with words between them: (word before it, start, end)."""
        parts, word, start = [], "", opening + 1
        for place in self._statement._top_level(opening):
            if self._statement._is(place, *separators):
                parts.append((word, start, place))
                word, start = self._tokens[place].text, place + 1
        parts.append((word, start, self._partner[opening]))
        return parts

    def _arguments(self, name: str, *spans: tuple[int, int]) -> list[str]:
        out = [name, "("]
        for number, (start, end) in enumerate(spans):
            if number:
                out.append(",")
            out += ["(", *self.write(start, end), ")"]
        return [*out, ")"]

    def _position(self, opening: int) -> list[str]:
        parts = self._parts(opening, "in")
        if len(parts) != 2:
            raise QueryRefused("Write position(a in b), or strpos(b, a).")
        return self._arguments("strpos", parts[1][1:], parts[0][1:])

    def _trim(self, opening: int) -> list[str]:
        name, start = "btrim", opening + 1
        for word, meant in (("both", "btrim"), ("leading", "ltrim"), ("trailing", "rtrim")):
            if self._statement._is(start, word):
                name, start = meant, start + 1
        parts = self._parts(opening, "from", ",")
        parts[0] = ("", start, parts[0][2])
        if len(parts) == 1:
            return self._arguments(name, parts[0][1:])
        if len(parts) != 2:
            raise QueryRefused("Write trim(x), or btrim(x, characters).")
        characters, subject = parts[0][1:], parts[1][1:]
        if parts[1][0] == ",":
            characters, subject = subject, characters
        if characters[0] == characters[1]:  # trim(from x)
            return self._arguments(name, subject)
        return self._arguments(name, subject, characters)

    def _substring(self, opening: int) -> list[str]:
        parts = self._parts(opening, "from", "for", ",")
        spans = {word: (start, end) for word, start, end in parts[1:]}
        subject = parts[0][1:]
        if "," in spans or len(spans) != len(parts) - 1:
            return self._arguments("substring", *(part[1:] for part in parts))
        if not spans:
            raise QueryRefused("Write substring(x from start for length).")
        if "from" not in spans:
            out = self._arguments("substring", subject)
            return [*out[:-1], ",", "1", ",", "(", *self.write(*spans["for"]), ")", ")"]
        return self._arguments(
            "substring", subject, spans["from"], *([spans["for"]] if "for" in spans else [])
        )


def quoted(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'
