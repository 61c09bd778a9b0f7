"""Where a statement names types: a literal of a type is read while the statement is analysed."""

from __future__ import annotations

from . import names, types
from .lexer import STRING, SYMBOL, WORD
from .refusal import QueryRefused, type_not_available
from .token_list import TokenList


class TypeNames:
    """The types that a statement names.

    Raises:
        QueryRefused: something stands where a type must, and is none.
    """

    def __init__(self, token_list: TokenList) -> None:
        self._list = token_list
        #: the places of all tokens that are part of a type's name
        self.places: set[int] = set()
        #: types that are not built in: place of the first token -> (place after the last, name)
        self.others: dict[int, tuple[int, str]] = {}
        self._find()

    def _find(self) -> None:
        for place, token in enumerate(self._list.tokens):
            if token == (SYMBOL, "::"):
                self._type_at(place + 1)
            elif token == (WORD, "cast") and self._list.is_(place + 1, "("):
                separators = [
                    inner
                    for inner in self._list.top_level(place + 1)
                    if self._list.is_(inner, "as")
                ]
                if len(separators) != 1:
                    raise QueryRefused("There is a syntax error at or near cast.")
                end = self._type_at(separators[0] + 1)
                if end != self._list.partner[place + 1]:
                    raise type_not_available(self._list.tokens[separators[0] + 1].text)
            elif token.kind == STRING and place > 0:
                self._check_before_string(place)

    def _check_before_string(self, place: int) -> None:
        """A name right before a string is its type, unless it is a word of grammar."""
        before = place - 1
        if self._list.is_(before, ")"):
            before = self._list.partner[before] - 1
            if (
                not self._list.is_name(before)
                or self._list.tokens[before].text not in types.SQL_NAMES
            ):
                raise QueryRefused("There is a syntax error at or near a string.")
        if not self._list.is_name(before) or before in self.places:
            return
        token = self._list.tokens[before]
        if token.kind == WORD and token.text in names.BEFORE_STRING:
            return
        if self._list.is_(before, "precision") and self._list.is_(before - 1, "double"):
            self._type_at(before - 1)
            return
        if self._list.is_(before - 1, "."):
            raise type_not_available(token.text)
        self._type_at(before)

    def _type_at(self, place: int) -> int:
        """Note the type that begins here; return the place after it."""
        start = place
        if self._list.is_(place, "pg_catalog") and self._list.is_(place + 1, "."):
            self.places.update((place, place + 1))
            place += 2
        if not self._list.is_name(place):
            raise QueryRefused("A cast lacks the name of a type.")
        name = self._list.tokens[place].text
        self.places.add(place)
        end = place + 1
        if self._list.is_(end, "."):  # a type of some schema: known by its last name
            if not self._list.is_name(end + 1) or self._list.is_(end + 2, "."):
                raise type_not_available(name)
            self.places.update((end, end + 1))
            self.others[start] = (end + 2, f"{name}.{self._list.tokens[end + 1].text}")
            return self._after_modifiers(end + 2)
        second = types.SECOND_WORDS.get(name)
        if second is not None and self._list.is_(end, second):
            self.places.add(end)
            end += 1
        elif name not in types.SQL_NAMES:
            self.others[start] = (end, name)
        return self._after_modifiers(end)

    def _after_modifiers(self, end: int) -> int:
        if self._list.is_(end, "("):
            end = self._list.partner[end] + 1
        if (
            self._list.is_(end, "with", "without")
            and self._list.is_(end + 1, "time")
            and self._list.is_(end + 2, "zone")
        ):
            self.places.update((end, end + 1, end + 2))
            end += 3
        while self._list.is_(end, "["):
            end = self._list.partner[end] + 1
        return end
