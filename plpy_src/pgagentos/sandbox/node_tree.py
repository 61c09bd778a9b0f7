"""Reads the text that PostgreSQL writes for an analysed query (``src/backend/nodes/outfuncs.c``).

A node is ``{KIND :field value ...}``, a list ``(value ...)``, anything else a word, in which a
backslash protects the next character. ``<>`` is null.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_WORDS = re.compile(r"[(){}]|[^ \n(){}\\]+(?:\\.[^ \n(){}\\]*)*|(?:\\.[^ \n(){}\\]*)+", re.DOTALL)
#: What says nothing about what is run, two thirds of the text: names of columns, the bytes of
#: constants, fields that are null or false, numbers and truth values of some fields. A name that
#: looks like a field is followed by the next field, not by what this expression wants.
_NOISE = re.compile(
    r" :(?:(?:alias|eref) \{ALIAS :aliasname (?:\\.|[^ \\])+"
    r" :colnames (?:<>|\((?:\\.|[^()\\])*\))\}"
    r"|\w+ (?:<>|false)"
    r"|(?:location|var(?:no|attno|typmod|collid|levelsup|nosyn|attnosyn)|const(?:typmod|collid|len)"
    r"|(?:op|input|func)collid|res(?:no|origtbl|origcol)|ressortgroupref|stmt_location|stmt_len"
    r"|rellockmode|funcformat|agglevelsup|aggno|aggtransno|resulttypmod|resultcollid|opfuncid"
    r"|querySource) -?\d+"
    r"|(?:constbyval|constisnull|resjunk|opretset|funcretset|funcvariadic|lateral|inh|inFromCl|canSetTag"
    r"|has(?:Aggs|WindowFuncs|SubLinks|DistinctOn)|groupDistinct|aggstar|aggvariadic) true"
    r"|constvalue \d+ \[[-0-9 ]*\])(?=[ }])",
    re.DOTALL,
)
NULL = "<>"


class Node(NamedTuple):
    """One node.

    Args:
        kind: in capitals, for example ``FUNCEXPR``.
        fields: name -> word, list or node.
    """

    kind: str
    fields: dict[str, Any]


class UnreadableTree(Exception):
    """The text is not of the form that this reader knows."""


def read(text: str) -> Any:
    """The value that the text stands for: a node, a list or a word."""
    words = _WORDS.findall(_NOISE.sub("", text))
    # A stack instead of recursion: (fields or items of what is being read, its kind or None for a
    # list).
    stack: list[tuple[Any, str | None, str | None]] = []
    items: Any = []
    kind: str | None = None
    field: str | None = None
    fresh = False  # the next word is the kind of a node
    for word in words:
        if fresh:
            kind, fresh = word, False
            continue
        if word == "{" or word == "(":
            if kind is not None and field is None:
                raise UnreadableTree("a value without a field")
            stack.append((items, kind, field))
            items, kind, field, fresh = (
                ({}, "", None, True) if word == "{" else ([], None, None, False)
            )
            continue
        if word == "}" or word == ")":
            if not stack or (word == "}") != (kind is not None) or field is not None:
                raise UnreadableTree("an unexpected end")
            value: Any = Node(kind, items) if kind is not None else items
            items, kind, field = stack.pop()
        elif kind is not None and field is None:
            if word[0] != ":":
                raise UnreadableTree(f"a word where a field was expected: {word[:40]}")
            field = word[1:]
            if field in items:
                raise UnreadableTree(f"a field twice: {field}")
            continue
        else:
            value = word
        if kind is None:
            items.append(value)
        else:
            items[field] = value
            field = None
    if stack or kind is not None or len(items) != 1:
        raise UnreadableTree("the text ends too early")
    return items[0]
