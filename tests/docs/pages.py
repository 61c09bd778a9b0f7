"""The project's documents, read as a test reads them: blocks, and what comments say about them.

Comments in a document that a reader does not see tell how its SQL is to be run:

* ``<!-- new database -->``: the document itself creates the extension.
* ``<!-- the model calls NAME {"a": 1} -->``, ``<!-- the model says TEXT -->``: what the scripted
  model answers, call by call, through the document.
* ``<!-- fill in TEXT: QUERY -->``: from here on the quoted placeholder ``'TEXT'`` stands for what
  the query returns.
* ``<!-- unseen: SQL -->``: is run, but not shown.
* ``<!-- not run: REASON -->``: the next block is left alone.

A block ``sql`` is run by psql. The block ``text`` after it is what psql prints, where ``...``
stands for anything, and ids, moments and the width of columns may differ. A block ``json`` after it
is the value that it returns; ``"..."`` stands for any value, and as a key for any further members.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster import CHECKOUT

PAGES = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("*.md")])

_PART = re.compile(
    r"^(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=fence)\s*$|<!--(?P<note>.*?)-->",
    re.DOTALL | re.MULTILINE,
)
_NOTE = re.compile(
    r"(?P<verb>new database|the model calls|the model says|fill in|unseen:|not run:)"
    r"\s*(?P<rest>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block; *line* is that of its fence."""

    language: str
    body: str
    line: int


@dataclass(frozen=True)
class Note:
    """A comment for the test: its verb and what follows it."""

    verb: str
    rest: str


def name(path: Path) -> str:
    """Return the path as people write it."""
    return str(path.relative_to(CHECKOUT))


def parts(path: Path) -> Iterator[Block | Note]:
    """Yield blocks and notes in their order."""
    text = path.read_text(encoding="utf-8")
    for match in _PART.finditer(text):
        if match["fence"]:
            line = text.count("\n", 0, match.start()) + 1
            yield Block(match["language"], match["body"], line)
        elif note := _NOTE.fullmatch(match["note"].strip()):
            yield Note(note["verb"].rstrip(":"), note["rest"].strip())


def prose(path: Path) -> str:
    """Return the text without its fenced blocks and its comments."""
    return _PART.sub("", path.read_text(encoding="utf-8"))


def played(path: Path) -> list[tuple[str, str, dict[str, object]]]:
    """Return what the model of a document does, act by act.

    Returns:
        ``("says", text, {})`` or ``("calls", name, arguments)`` each.
    """
    acts: list[tuple[str, str, dict[str, object]]] = []
    for part in parts(path):
        if isinstance(part, Note) and part.verb == "the model says":
            acts.append(("says", part.rest, {}))
        elif isinstance(part, Note) and part.verb == "the model calls":
            tool, _, arguments = part.rest.partition(" ")
            acts.append(("calls", tool, json.loads(arguments or "{}")))
    return acts
