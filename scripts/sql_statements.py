"""SQL text, split into its statements, each with a name to find it by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: what may hide a semicolon: a comment, a literal, a quoted name, a dollar-quoted body
_OPAQUE = re.compile(
    r"--[^\n]*|/\*.*?\*/|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|(\$(?:[A-Za-z_]\w*)?\$).*?\1|;",
    re.DOTALL,
)
_NAME = r"(?P<name>[\w.\"]+)"
#: how a statement begins, and what it is called by
_KINDS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("function", rf"create (?:or replace )?(?:function|procedure) {_NAME}\s*\("),
        ("table", rf"create table {_NAME}"),
        ("view", rf"create view {_NAME}"),
        ("domain", rf"create domain {_NAME}"),
        ("index", rf"create (?:unique )?index {_NAME} on"),
        ("schema", rf"create schema {_NAME}"),
        ("trigger", r"create (?:constraint )?trigger (?P<name>\w+ .*? on [\w.]+)"),
        ("policy", r"create policy (?P<name>\w+ on [\w.]+)"),
        ("comment", r"comment on (?P<name>\w+ [\w.\"]+)"),
        ("constraint", r"alter table [\w.]+\s+add constraint (?P<name>\w+)"),
        ("alter", r"alter (?P<name>(?:function|procedure|table|view|schema) [\w.]+)"),
        ("insert", rf"insert into {_NAME}"),
        ("select", r"select (?P<name>(?:pg_catalog\.)?[\w.]+\('?[^,()']*)"),
        ("grant", r"grant (?P<name>.*)"),
        ("revoke", r"revoke (?P<name>.*)"),
        ("do", r"do (?P<name>)"),
        ("set", r"set local (?P<name>\w+)"),
        ("psql", r"\\(?P<name>\w+)"),
    )
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Args:
        file: where it stands, below sql/.
        text: without the semicolon, with the comments right before it.
        kind: ``function``, ``table``, ...
        name: what is made, or the beginning of what is done.
    """

    file: str
    text: str
    kind: str
    name: str

    @property
    def key(self) -> str:
        """How the edition's files call it."""
        return f"{self.kind} {self.name}"

    @property
    def bare(self) -> str:
        """The text without the comments before it."""
        return _without_comments(self.text)


def _without_comments(text: str) -> str:
    return re.sub(r"\A(?:\s|--[^\n]*\n|/\*.*?\*/)+", "", text, flags=re.DOTALL)


def _pieces(text: str) -> Iterator[str]:
    """The text between the semicolons that end a statement."""
    start = 0
    end = 0
    code = ""
    for found in _OPAQUE.finditer(text):
        code += text[end : found.start()]
        end = found.end()
        if found[0] != ";":
            continue
        # "begin atomic" opens a body whose statements end with semicolons of their own
        if re.search(r"\bbegin atomic\b", code) and not re.search(r"\nend\s*\Z", code):
            code += ";"
            continue
        yield text[start : found.start()]
        start, code = end, ""
    if _without_comments(text[start:] + "\n").strip():
        raise ValueError(f"no semicolon ends {text[start:].strip()[:80]!r}")


def _named(bare: str) -> tuple[str, str]:
    for kind, pattern in _KINDS:
        if found := pattern.match(bare):
            return kind, found["name"].strip()
    return "other", bare[:60]


def split(file: str, text: str) -> list[Statement]:
    """Split the text of a file.

    Raises:
        ValueError: a statement has no end.
    """
    # A psql command ends with its line.
    text = re.sub(r"^(\\.*)$", r"\1;", text, flags=re.MULTILINE)
    statements = []
    blocks = 0
    for piece in _pieces(text):
        kind, name = _named(re.sub(r"\s+", " ", _without_comments(piece)))
        if kind == "do":
            blocks += 1
            name = file if blocks == 1 else f"{file} {blocks}"
        statements.append(Statement(file, piece.strip("\n"), kind, name))
    return statements
