"""Where a statement names tables: what stands where FROM and JOIN expect one."""

from __future__ import annotations

from collections.abc import Mapping

from . import names
from .lexer import QUOTED, SYMBOL, WORD
from .refusal import QueryRefused, table_not_available
from .token_list import TOO_LARGE, TokenList

_MAX_TABLES = 24
_OPENING, _CLOSING = {"(", "["}, {")", "]"}


class TableNames:
    """The tables that a statement names.

    Args:
        own: names that its own WITH clauses give.

    Raises:
        QueryRefused: there are too many, or a name has too many parts.
    """

    def __init__(self, token_list: TokenList, own: set[str]) -> None:
        self._list = token_list
        self._own = own
        #: place of the first token -> (place after the last, schema, name)
        self.found: dict[int, tuple[int, str | None, str]] = {}
        self._find()

    def _find(self) -> None:
        """Follow the FROM clauses: a name where a table is expected is a table."""
        frames: list[dict[str, object]] = [{"clause": "", "item": False, "of": ""}]
        items = 0
        for place, token in enumerate(self._list.tokens):
            frame = frames[-1]
            if token.kind == SYMBOL and token.text in _OPENING:
                opener = (
                    self._list.tokens[place - 1].text if self._list.kind(place - 1) == WORD else ""
                )
                inner = {"clause": "", "item": False, "of": opener}
                if frame["item"] and token.text == "(":
                    # a subquery, or joined tables in parentheses
                    if not self._list.is_(place + 1, "select", "with", "values"):
                        inner.update(clause="from", item=True)
                    frame["item"] = False
                frames.append(inner)
                continue
            if token.kind == SYMBOL and token.text in _CLOSING:
                frames.pop()
                continue
            if frame["item"]:
                if self._list.is_(place, "lateral", "only"):
                    continue
                if self._list.is_(place, "rows") and self._list.is_(place + 1, "from"):
                    raise QueryRefused("ROWS FROM is not available.")
                if token.kind in (WORD, QUOTED) and not self._list.is_(
                    place, "select", "values", "with"
                ):
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
            raise QueryRefused(TOO_LARGE)

    def _is_from_of_syntax(self, place: int, frame: Mapping[str, object]) -> bool:
        if frame["of"] in ("extract", "trim", "substring") and frame["clause"] == "":
            return True
        return self._list.is_(place - 1, "distinct") and self._list.is_(place - 2, "is", "not")

    def _table_at(self, place: int) -> None:
        parts, end = [self._list.tokens[place].text], place + 1
        while self._list.is_(end, ".") and self._list.is_name(end + 1):
            parts.append(self._list.tokens[end + 1].text)
            end += 2
        if self._list.is_(end, "("):  # a function
            return
        if len(parts) > 2:
            raise table_not_available(parts[-1])
        schema = parts[0] if len(parts) == 2 else None
        if schema is None and parts[-1] in self._own:
            return
        self.found[place] = (end, schema, parts[-1])
