"""The tokens of a SQL statement, by the rules of PostgreSQL's ``src/backend/parser/scan.l``.

Kinds of literals that nobody needs for a query, and that are easy to get wrong, are refused:
``U&``, ``B``, ``X``, ``N`` and dollar-quoted strings, parameters, numbers in other bases.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .refusal import QueryRefused

#: Longest identifier that the server does not cut off (NAMEDATALEN - 1), in bytes.
_MAX_IDENTIFIER_BYTES = 63

WORD, QUOTED, STRING, NUMBER, SYMBOL = "word", "quoted", "string", "number", "symbol"

_WORD = re.compile(r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*")
_ESCAPE_STRING = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
_OPERATOR = re.compile(r"[~!@#^&|`?+\-*/%<>=]+")
#: the usual: a word that no string or U& follows, a number that ends, punctuation, a string, or
#: space
_PLAIN = re.compile(
    r"([A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)(?![A-Za-z0-9_$\x80-\U0010ffff'&])"
    r"|((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_$.\x80-\U0010ffff])"
    r"|(::?|[,()\[\].;])|'((?:[^']|'')*)'|(?:[ \t\n\r\f\v]+|--[^\n\r]*)+"
)
_BLOCK_MARK = re.compile(r"/\*|\*/")
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL
)
_SIMPLE_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class Token(NamedTuple):
    """One token.

    Args:
        kind: :data:`WORD`, :data:`QUOTED`, :data:`STRING`, :data:`NUMBER` or :data:`SYMBOL`.
        text: a word folded to lower case, the content of quotes, a number or symbol as it is.
    """

    kind: str
    text: str


def tokens_of(query: str, max_tokens: int) -> list[Token]:
    """Take a statement apart.

    Raises:
        QueryRefused: it has something that no query needs, or more than *max_tokens* tokens.
    """
    tokens: list[Token] = []
    position, end = 0, len(query)
    while position < end:
        match = _PLAIN.match(query, position)
        if match is None:
            token, position = _unusual(query, position)
            if token is None:
                continue
        else:
            position = match.end()
            word, number, punctuation, string = match.groups()
            if word is not None:
                token = Token(WORD, _name(word.translate(_FOLD)))
            elif punctuation is not None:
                token = Token(SYMBOL, punctuation)
            elif number is not None:
                token = Token(NUMBER, number)
            elif string is not None:
                token = Token(STRING, string.replace("''", "'"))
            else:
                continue
        if token.kind == STRING and tokens and tokens[-1].kind == STRING:
            raise QueryRefused("Write a string in one piece.")
        tokens.append(token)
        if len(tokens) > max_tokens:
            raise QueryRefused("The query is too long. Ask for less at a time.")
    return tokens


def _unusual(query: str, position: int) -> tuple[Token | None, int]:
    """What the one expression of the usual tokens does not know."""
    character = query[position]
    if query.startswith("/*", position):
        return None, _end_of_comment(query, position)
    word = _WORD.match(query, position)
    if word:
        return _word_or_string(query, word)
    if character == "'":
        raise QueryRefused("A string is not closed.")
    if character == '"':
        match = _QUOTED.match(query, position)
        if match is None:
            raise QueryRefused("A quoted name is empty or not closed.")
        return Token(QUOTED, _name(match[1].replace('""', '"'))), match.end()
    if character in "0123456789":
        raise QueryRefused("A number is followed by letters. Write a space between them.")
    operator = _OPERATOR.match(query, position)
    if operator:
        text = _operator(operator[0])
        return Token(SYMBOL, text), position + len(text)
    raise QueryRefused(f"The character {character!r} cannot stand here.")


def _word_or_string(query: str, word: re.Match[str]) -> tuple[Token, int]:
    text, position = word[0], word.end()
    following = query[position : position + 1]
    if following == "'":
        if text not in ("e", "E"):
            # B'1', X'f' and N'x' are literals of their own; any other word is a name before a
            # string.
            if text.lower() in ("b", "x", "n"):
                raise QueryRefused(
                    "Strings with a letter in front are not available, except E'...'."
                )
            return Token(WORD, _name(text.translate(_FOLD))), position
        match = _ESCAPE_STRING.match(query, position)
        if match is None:
            raise QueryRefused("A string is not closed.")
        return Token(STRING, _unescaped(match[1])), match.end()
    if text in ("u", "U") and re.match(r"&['\"]", query[position : position + 2]):
        raise QueryRefused("Strings and names with U& are not available.")
    return Token(WORD, _name(text.translate(_FOLD))), position


def _name(name: str) -> str:
    if len(name.encode("utf-8")) > _MAX_IDENTIFIER_BYTES:
        raise QueryRefused("A name is longer than 63 bytes.")
    return name


def _unescaped(text: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        octal, hexadecimal, short, long, other = match.groups()
        if other is not None:
            return _SIMPLE_ESCAPES.get(other, other)
        value = int(octal, 8) if octal else int(hexadecimal or short or long, 16)
        # A byte beyond ASCII is half a character; a surrogate is half of one too.
        if (
            value == 0
            or ((octal or hexadecimal) and value > 127)
            or 0xD800 <= value <= 0xDFFF
            or value > 0x10FFFF
        ):
            raise QueryRefused("A string has an escape that is not available.")
        return chr(value)

    return _ESCAPE.sub(replaced, text.replace("''", "'"))


def _operator(run: str) -> str:
    """The operator at the start of a run of operator characters: a comment ends it."""
    for mark in ("--", "/*"):
        place = run.find(mark)
        if place > 0:
            run = run[:place]
    # A longer operator ends in + or - only when it has a character that no operator of the
    # standard has.
    if len(run) > 1 and not any(c in "~!@#%^&|`?" for c in run):
        while len(run) > 1 and run[-1] in "+-":
            run = run[:-1]
    return run


def _end_of_comment(query: str, position: int) -> int:
    depth = 0
    for mark in _BLOCK_MARK.finditer(query, position):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    raise QueryRefused("A comment is not closed.")
