#!/usr/bin/env python3
"""Write the edition of pgAgentOS that is one SQL script: no extension, no PL/Python, no superuser.

Usage: scripts/build_sql_only.py OUTPUT

It is made of the same files in the same order as the extension. What such a database cannot have is
left out or replaced, and sql/sql_only says what and why:

* ``left_out.txt``: one ``kind name: reason`` a line.
* ``*.sql``: sections, each under a line that says where it goes. ``--@ instead of KIND NAME`` takes
  the place of a statement, ``--@ after FILE`` follows a file, ``--@ first`` and ``--@ last`` stand
  at both ends. ``--@ edit KIND NAME`` changes words of a statement that stays and
  ``--@ edit everywhere`` those of all: the lines after it are pairs of ``--< old`` and ``--> new``.

What PL/Python functions there are is looked for in all files: one that is neither replaced nor on
the list is an error, and so is an entry of the list, a section or a change that meets nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sql_only_edition import Edition, EditionError, read_edition
from sql_statements import Statement, split

ROOT = Path(__file__).resolve().parent.parent
EDITION = ROOT / "sql" / "sql_only"

#: who is given what by sql/aos_auth/access_role.sql; the owner of the schemas is the operator, and
#: there are no secrets to manage
_ACCESSES = ("developer", "approver", "auditor", "worker", "user")
_NOT_HERE = ("operator", "secret_manager")
_ROLE = re.compile(r"\bpgagentos_([a-z_]+)\b")


_PRIVILEGES = """\
-- What the extension grants to its group roles.
create function aos_auth._access_privileges() returns table (accesses text[], privilege text)
    language sql immutable set search_path = pg_catalog, pg_temp
begin atomic
    select v.accesses, v.privilege from (values
        {rows}) as v (accesses, privilege);
end;
comment on function aos_auth._access_privileges() is
    'Which accesses come with which privilege, as GRANT says it.';"""


def _signature(function: str) -> str:
    """What callers rely on: name, arguments, result."""
    head = re.split(r"\n\s*language\s|\slanguage\s", function, maxsplit=1)[0]
    return re.sub(r"\s+", " ", head).replace("create or replace ", "create ").strip().lower()


def _objects(text: str) -> Iterator[str]:
    """The parts of a list that commas part, not those inside parentheses."""
    depth = 0
    part = ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            yield part.strip()
            part = ""
        else:
            part += character
    yield part.strip()


def _bare_name(named: str) -> str:
    return named.partition("(")[0].strip()


class Build:
    """The script, as it grows.

    Args:
        edition: what is different in it.
    """

    def __init__(self, edition: Edition) -> None:
        self._edition = edition
        self._met: set[str] = set()
        self._gone: set[str] = set()
        self._privileges: list[tuple[list[str], str]] = []
        self._problems: list[str] = []
        self._parts: list[str] = []

    def script(self, files: Iterable[tuple[str, str]], version: str) -> str:
        """Join the files.

        Args:
            files: name below sql/ and text, in the order of the extension.

        Raises:
            EditionError: something has no place in this edition.
        """
        statements = {file: split(file, text) for file, text in files}
        self._look_for_what_is_gone(statement for all_ in statements.values() for statement in all_)
        self._parts += self._edition.first
        for file, parts in statements.items():
            if f"file {file}" in self._edition.left_out:
                self._met.add(f"file {file}")
                continue
            kept = [text for statement in parts for text in self._kept(statement)]
            for section in self._edition.after.get(file, ()):
                self._met.add(file)
                kept += self._section(file, section)
            if kept:
                self._parts.append(f"-- {file}\n" + "\n".join(kept))
        self._parts.append(self._privileges_function())
        self._parts += self._edition.last
        self._look_for_what_was_not_met()
        if self._problems:
            raise EditionError("\n".join(self._problems))
        return "\n\n".join(self._parts).replace("@version@", version) + "\n"

    def _look_for_what_is_gone(self, statements: Iterable[Statement]) -> None:
        left_out = self._edition.left_out
        for statement in statements:
            key, file = statement.key, f"file {statement.file}"
            named = key in left_out
            self._met |= {key} & left_out.keys()
            in_python = statement.kind == "function" and "language plpython3u" in statement.bare
            if in_python and not named and key not in self._edition.instead:
                self._problems.append(
                    f"{key} ({statement.file}) is in plpython3u: write a section"
                    f' "--@ instead of {key}" below sql/sql_only, or give the reason for leaving it'
                    " out in left_out.txt"
                )
            if (named or file in left_out) and statement.kind in ("function", "table", "view"):
                self._gone.add(statement.name)

    def _kept(self, statement: Statement) -> Iterator[str]:
        key, bare = statement.key, re.sub(r"\s+", " ", statement.bare)
        if key in self._edition.instead:
            self._met.add(key)
            yield from self._section(statement.file, self._edition.instead[key], statement)
        elif statement.kind == "grant":
            self._grant(statement.file, bare)
        elif not self._is_left_out(statement) and "pg_extension_config_dump(" not in bare:
            text = self._edited(statement)
            if statement.kind == "select":  # its result is nobody's to read
                call = re.sub(r"\Aselect\b", "perform", statement.bare)
                text = text.replace(statement.bare, f"do $do$ begin {call}; end $do$")
            yield text + ";"

    def _is_left_out(self, statement: Statement) -> bool:
        if statement.kind == "comment" and self._has_own_comment(statement.name):
            return True
        return statement.key in self._edition.left_out or (
            statement.kind in ("comment", "alter", "revoke") and self._is_about_gone(statement)
        )

    def _is_about_gone(self, statement: Statement) -> bool:
        named = set(re.findall(r"\b\w+\.\w+", statement.name))
        return bool(named) and named <= self._gone

    def _has_own_comment(self, name: str) -> bool:
        kind, _, object_name = name.partition(" ")
        own = self._edition.instead.get(f"{kind} {object_name}", "")
        return f"comment on {kind} {object_name}" in own

    def _section(self, file: str, text: str, original: Statement | None = None) -> Iterator[str]:
        """The statements of a section; its grants are collected as all others are."""
        for statement in split(file, text + "\n"):
            if statement.kind == "grant":
                self._grant(file, re.sub(r"\s+", " ", statement.bare))
                continue
            if (
                original is not None
                and original.kind == "function"
                and statement.key == original.key
                and _signature(statement.bare) != _signature(original.bare)
            ):
                self._problems.append(
                    f"{statement.key}: the one below sql/sql_only has not the arguments and result"
                    f" of the one in {original.file}"
                )
            yield statement.text + ";"

    def _edited(self, statement: Statement) -> str:
        text = statement.text
        if statement.kind == "policy":
            text = re.sub(r"\bto pgagentos_kernel\b", "to current_user", text)
        if statement.kind == "do":
            for name in self._gone:  # rows of lists of tables
                text = re.sub(rf"\n *\('{re.escape(name)}',[^\n]*\)(,?)(?=\n)", "", text)
            text = re.sub(r",(\n\s*loop\n)", r"\1", text)
        for place in (statement.key, "everywhere"):
            for old, new in self._edition.edits.get(place, ()):
                if old in text:
                    self._met.add(f"{place}: {old}")
                    text = text.replace(old, new)
        code = re.sub(r"--[^\n]*", "", text)
        roles = {f"pgagentos_{role}" for role in _ROLE.findall(code)}
        # In the body of a function a name may be a value; as the object of a statement it must be.
        if statement.kind not in ("function", "view", "comment") and roles:
            self._problems.append(
                f"{statement.key} ({statement.file}) names {', '.join(sorted(roles))}"
            )
        elif statement.kind in ("function", "view") and "'pgagentos_kernel'" in code.replace(
            "('pgagentos_kernel', ", ""
        ):
            self._problems.append(f"{statement.key} ({statement.file}) asks for pgagentos_kernel")
        return text

    def _grant(self, file: str, text: str) -> None:
        """Keep a grant for whoever is given the access."""
        found = re.fullmatch(
            r"grant (.+?) on ((?:function|procedure|schema|table) )?(.+) to (.+)", text
        )
        if found is None:
            self._problems.append(f"{file}: which grant is {text!r}?")
            return
        privilege, kind, objects, roles = found.groups()
        kept = [o for o in _objects(objects) if _bare_name(o) not in self._gone]
        if not kept:
            return
        accesses = []
        for role in re.split(r",\s*", roles):
            name = role.removeprefix("pgagentos_")
            if name in _ACCESSES:
                accesses.append(name)
            elif name not in _NOT_HERE:
                self._problems.append(
                    f"{file}: a grant to {role}, who is not in this edition: {text}"
                )
        if accesses:
            self._privileges.append((accesses, f"{privilege} on {kind or ''}{', '.join(kept)}"))

    def _privileges_function(self) -> str:
        rows = ",\n        ".join(
            "(array[{}], '{}')".format(
                ", ".join(f"'{access}'" for access in accesses), privilege.replace("'", "''")
            )
            for accesses, privilege in self._privileges
        )
        return _PRIVILEGES.format(rows=rows)

    def _look_for_what_was_not_met(self) -> None:
        edition = self._edition
        wanted = [*edition.left_out, *edition.instead, *edition.after]
        wanted += [f"{place}: {old}" for place, pairs in edition.edits.items() for old, _ in pairs]
        self._problems += [
            f"sql/sql_only speaks of {what!r}, which is not in the files of the extension"
            for what in wanted
            if what not in self._met
        ]


def sources() -> list[tuple[str, str]]:
    """The files of the extension in its order: name below sql/ and text."""
    listed = subprocess.run(
        [ROOT / "scripts" / "sql_order"], check=True, capture_output=True, text=True
    ).stdout.split()
    return [
        (name.removeprefix("sql/"), (ROOT / name).read_text(encoding="utf-8")) for name in listed
    ]


def version() -> str:
    """The version that the control file names."""
    control = (ROOT / "pgagentos.control").read_text(encoding="utf-8")
    found = re.search(r"^default_version *= *'([^']*)'", control, re.MULTILINE)
    if found is None:
        raise EditionError("pgagentos.control names no default_version")
    return found[1]


def main() -> int:
    """Write the script; return 1 if it cannot be."""
    try:
        script = Build(read_edition(EDITION)).script(sources(), version())
    except EditionError as error:
        for line in str(error).splitlines():
            print(f"scripts/build_sql_only.py: {line}", file=sys.stderr)
        return 1
    Path(sys.argv[1]).write_text(script, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
