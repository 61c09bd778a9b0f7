"""The table of edge cases names the files that hold their tests, all of them and no others."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parent.parent
TEST = re.compile(r"^def test_edge_(\d+(?:_and_\d+)*)_", re.MULTILINE)
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)


def test_the_table_of_edge_cases_is_true() -> None:
    found: dict[int, set[str]] = defaultdict(set)
    for path in TESTS.glob("**/test_*.py"):
        for numbers in TEST.findall(path.read_text("utf-8")):
            for number in numbers.split("_and_"):
                found[int(number)].add(path.relative_to(TESTS).as_posix())
    text = (TESTS / "conformance" / "edge_cases.md").read_text("utf-8")
    table = {
        int(number): set(re.findall(r"`([^`]+\.py)`", files)) for number, files in ROW.findall(text)
    }
    assert set(table) == set(range(1, 33))
    assert {number: files for number, files in table.items() if files} == dict(found)
