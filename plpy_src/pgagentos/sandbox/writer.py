"""Writes a statement anew: names in full, syntax that hides a function as the call that it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from . import functions, names, operators
from .lexer import QUOTED, STRING, SYMBOL, WORD
from .refusal import QueryRefused, table_not_available, type_not_available
from .surroundings import Surroundings
from .token_list import TokenList


class Parts(NamedTuple):
    """A statement and what was found in it, by the place of the first token.

    Args:
        tables: place after the last token, schema and name.
        types: place after the last token and name.
        functions: schema and name.
    """

    token_list: TokenList
    tables: Mapping[int, tuple[int, str | None, str]]
    types: Mapping[int, tuple[int, str]]
    functions: Mapping[int, tuple[str | None, str]]


class Writer:
    """Writes tokens as text, with names in full."""

    def __init__(self, parts: Parts, surroundings: Surroundings) -> None:
        self._parts = parts
        self._list = parts.token_list
        self._surroundings = surroundings
        self._syntax: dict[str, Callable[[int], list[str]]] = {
            "position": self._position,
            "trim": self._trim,
            "substring": self._substring,
        }

    def text(self) -> str:
        """The whole statement."""
        return " ".join(self._words(0, len(self._list.tokens)))

    def _words(self, start: int, end: int) -> list[str]:
        """The words of the tokens from *start* up to *end*."""
        out: list[str] = []
        place = start
        while place < end:
            place = self._step(place, out)
        return out

    def _step(self, place: int, out: list[str]) -> int:
        token = self._list.tokens[place]
        table = self._parts.tables.get(place)
        if table is not None:
            self._write_table(place, table, out)
            return table[0]
        type_name = self._parts.types.get(place)
        if type_name is not None:
            out.append(self._type(type_name[1]))
            return type_name[0]
        if place in self._parts.functions:
            self._write_function(place, out)
            if token.text in functions.SQUARES and self._list.is_(place + 1, "("):
                out.extend(self._squares(place + 1))
                return self._list.partner[place + 1] + 1
            return place + 1
        if token.kind == WORD and token.text in self._syntax and self._list.is_(place + 1, "("):
            out.extend(self._syntax[token.text](place + 1))
            return self._list.partner[place + 1] + 1
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
        if self._list.is_(place - 1, "only"):
            raise QueryRefused("ONLY is not available for this table.")
        columns = ", ".join(map(quoted, found.columns))
        out.append(f"(select {columns} from {full})")
        following = self._list.is_(end, "as") or (
            self._list.is_name(end) and not self._list.is_(end, *names.AFTER_TABLE)
        )
        if not following:
            out.append(f"as {quoted(found.name)}")

    def _type(self, name: str) -> str:
        found = self._surroundings.types.get(name)
        if found is None:
            raise type_not_available(name.rpartition(".")[2])
        return f"{quoted(found[0])}.{quoted(found[1])}"

    def _write_function(self, place: int, out: list[str]) -> None:
        schema, name = self._parts.functions[place]
        if schema is not None:
            del out[-2:]  # the schema and the dot: a stand-in must be found first
        own = self._surroundings.functions.get(name)
        if own is None and name in functions.VECTOR_FUNCTIONS:
            own = self._surroundings.vector_schema
        token = self._list.tokens[place]
        text = quoted(name) if token.kind == QUOTED else name
        out.append(
            f"{quoted(own)}.{quoted(name)}" if own is not None and schema != "pg_catalog" else text
        )

    def _arguments_of(self, opening: int, *separators: str) -> list[tuple[str, int, int]]:
        """The arguments of a function with words between them: (word before it, start, end)."""
        parts, word, start = [], "", opening + 1
        for place in self._list.top_level(opening):
            if self._list.is_(place, *separators):
                parts.append((word, start, place))
                word, start = self._list.tokens[place].text, place + 1
        parts.append((word, start, self._list.partner[opening]))
        return parts

    def _arguments(self, name: str, *spans: tuple[int, int]) -> list[str]:
        out = [name, "("]
        for number, (start, end) in enumerate(spans):
            if number:
                out.append(",")
            out += ["(", *self._words(start, end), ")"]
        return [*out, ")"]

    def _squares(self, opening: int) -> list[str]:
        """The argument of a variance or deviation: it is squared, so it must not be long."""
        start, end = opening + 1, self._list.partner[opening]
        if self._list.is_(start, "distinct", "all"):
            start += 1
        ordered = [p for p in self._list.top_level(opening) if self._list.is_(p, "order")]
        stop = ordered[0] if ordered else end
        before, after = self._words(opening + 1, start), self._words(stop, end)
        return [
            "(",
            *before,
            "aos_sandbox._bounded",
            "(",
            *self._words(start, stop),
            ")",
            *after,
            ")",
        ]

    def _position(self, opening: int) -> list[str]:
        parts = self._arguments_of(opening, "in")
        if len(parts) != 2:
            raise QueryRefused("Write position(a in b), or strpos(b, a).")
        return self._arguments('"position"', parts[1][1:], parts[0][1:])

    def _trim(self, opening: int) -> list[str]:
        name, start = "btrim", opening + 1
        for word, meant in (("both", "btrim"), ("leading", "ltrim"), ("trailing", "rtrim")):
            if self._list.is_(start, word):
                name, start = meant, start + 1
        parts = self._arguments_of(opening, "from", ",")
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
        parts = self._arguments_of(opening, "from", "for", ",")
        spans = {word: (start, end) for word, start, end in parts[1:]}
        subject = parts[0][1:]
        if "," in spans or len(spans) != len(parts) - 1:
            return self._arguments("substring", *(part[1:] for part in parts))
        if not spans:
            raise QueryRefused("Write substring(x from start for length).")
        if "from" not in spans:
            out = self._arguments("substring", subject)
            return [*out[:-1], ",", "1", ",", "(", *self._words(*spans["for"]), ")", ")"]
        return self._arguments(
            "substring", subject, spans["from"], *([spans["for"]] if "for" in spans else [])
        )


def quoted(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'
