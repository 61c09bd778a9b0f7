"""The tokens of a statement with their parentheses, and how many of anything there may be."""

from __future__ import annotations

from .lexer import QUOTED, SYMBOL, WORD, Token, tokens_of
from .refusal import QueryRefused

#: bytes of a query
MAX_QUERY_BYTES = 8192
_MAX_TOKENS = 2500
_MAX_DEPTH = 40
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
TOO_LARGE = "The query is too large. Ask for less at a time."
_OPENING, _CLOSING = {"(": ")", "[": "]"}, {")", "]"}


class TokenList:
    """The tokens of one statement.

    Raises:
        QueryRefused: it is too long or too deep, or its parentheses do not fit.
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
        self.tokens = tokens_of(query, _MAX_TOKENS)
        while self.tokens and self.tokens[-1] == Token(SYMBOL, ";"):
            self.tokens.pop()
        #: place of a parenthesis or bracket -> place of its partner
        self.partner: dict[int, int] = {}
        self._measure()

    def is_(self, place: int, *texts: str) -> bool:
        """Whether an unquoted word or a symbol stands at a place."""
        if not 0 <= place < len(self.tokens):
            return False
        token = self.tokens[place]
        return token.kind in (WORD, SYMBOL) and token.text in texts

    def is_name(self, place: int) -> bool:
        return 0 <= place < len(self.tokens) and self.tokens[place].kind in (WORD, QUOTED)

    def kind(self, place: int) -> str:
        return self.tokens[place].kind if 0 <= place < len(self.tokens) else ""

    def top_level(self, opening: int) -> list[int]:
        """The places directly inside a pair of parentheses, without those of inner pairs."""
        found, place = [], opening + 1
        while place < self.partner[opening]:
            found.append(place)
            place = self.partner[place] if self.is_(place, "(", "[") else place
            place += 1
        return found

    def _measure(self) -> None:
        """Count what grows faster than its text, and find the partner of each parenthesis."""
        if not self.tokens:
            raise QueryRefused("The query is empty.")
        if not self.is_(0, "select", "with", "values", "("):
            raise QueryRefused(
                "Only one query that reads is possible: SELECT, WITH ... SELECT or VALUES."
            )
        counts: dict[str, int] = {}
        opened: list[int] = []
        for place, token in enumerate(self.tokens):
            if token.kind not in (WORD, SYMBOL):
                continue
            text = token.text
            counts[text] = counts.get(text, 0) + 1
            if text in _OPENING and token.kind == SYMBOL:
                opened.append(place)
                if len(opened) > _MAX_DEPTH:
                    raise QueryRefused("The query is nested too deeply.")
            elif text in _CLOSING:
                if not opened or _OPENING[self.tokens[opened[-1]].text] != text:
                    raise QueryRefused(f"There is a {text} without its partner.")
                start = opened.pop()
                self.partner[start], self.partner[place] = place, start
            elif text == ";":
                raise QueryRefused("Only one statement is possible. Leave out the semicolon.")
        if opened:
            raise QueryRefused("There is a ( without its partner.")
        if counts.get("select", 0) + counts.get("values", 0) > _MAX_SUBQUERIES:
            raise QueryRefused(TOO_LARGE)
        if any(counts.get(text, 0) > most for text, most in _MAX_COUNT.items()):
            raise QueryRefused(TOO_LARGE)
