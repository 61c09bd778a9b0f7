"""What sql/sql_only says: build_sql_only.py tells how its files are written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path


class EditionError(Exception):
    """What cannot be built, one problem a line."""


@dataclass(slots=True)
class Edition:
    """What sql/sql_only says."""

    first: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)
    after: dict[str, list[str]] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)
    edits: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def read_edition(directory: Path) -> Edition:
    """Read what the edition says.

    Raises:
        EditionError: a line that is not understood.
    """
    edition = Edition()
    for line in (directory / "left_out.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            key, colon, reason = line.partition(": ")
            if not colon or not reason.strip():
                raise EditionError(f"left_out.txt: no reason is given in {line!r}")
            edition.left_out[key.strip()] = reason.strip()
    for path in sorted(directory.glob("*.sql")):
        for section in re.split(r"^--@ ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            place, _, body = section.partition("\n")
            _add(edition, path.name, place.strip(), body.strip("\n"))
    return edition


def _add(edition: Edition, file: str, place: str, body: str) -> None:
    verb, _, rest = place.partition(" ")
    if place in ("first", "last"):
        getattr(edition, place).append(body)
    elif verb == "after":
        edition.after.setdefault(rest, []).append(body)
    elif place.startswith("instead of "):
        edition.instead[place.removeprefix("instead of ")] = body
    elif verb == "edit":
        pairs = re.findall(r"^--< (.*)\n--> (.*)$", body, re.MULTILINE)
        edition.edits.setdefault(rest, []).extend(pairs)
    else:
        raise EditionError(f"{file}: what is {place!r}?")
