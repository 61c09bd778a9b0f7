"""The file in which backends tell one another what their open transactions have used."""

from __future__ import annotations

import stat
from pathlib import Path
from uuid import uuid4

import pytest

from pgagentos.in_flight import InFlight, Snapshot, used_by_others

TENANT, OTHER = str(uuid4()), str(uuid4())
AGENT, COLLEAGUE = str(uuid4()), str(uuid4())
#: All transactions before 100 are over but 90 and 95.
NOW = Snapshot(100, frozenset({90, 95}))


@pytest.fixture(autouse=True)
def data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a backend would work."""
    (tmp_path / "pg_stat_tmp").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened() -> InFlight:
    backend = InFlight()
    backend.open(5)
    return backend


@pytest.mark.parametrize(
    ("text", "snapshot"),
    [
        ("90:100:90,95", NOW),
        ("100:100:", Snapshot(100, frozenset())),
        ("99:100:99", Snapshot(100, frozenset({99}))),
    ],
)
def test_a_snapshot_is_read_as_the_server_writes_it(text: str, snapshot: Snapshot) -> None:
    read = Snapshot.parse(text)
    assert (read.end, read.running) == (snapshot.end, snapshot.running)


def test_a_snapshot_knows_which_transactions_are_over() -> None:
    assert [NOW.is_over(t) for t in (0, 89, 90, 94, 95, 99, 100, 101)] == [
        *(True, True, False, True, False, True, False, False)
    ]


def test_nothing_is_read_before_the_file_is_opened() -> None:
    assert InFlight().read() is None


def test_only_the_owner_of_the_server_can_read_the_file(data_directory: Path) -> None:
    opened()
    mode = (data_directory / "pg_stat_tmp/pgagentos_5").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_backend_sees_what_the_others_have_used() -> None:
    one, two = opened(), opened()
    one.add(90, NOW, TENANT, AGENT, 10, 3)
    one.add(90, NOW, TENANT, AGENT, 5, 4)
    two.add(95, NOW, TENANT, COLLEAGUE, 1, 2)
    two.add(95, NOW, OTHER, COLLEAGUE, 100, 100)
    slots = one.read()
    assert slots == two.read()
    assert slots is not None
    assert used_by_others(slots, NOW, 95, TENANT) == [(AGENT, 15, 7)]
    assert used_by_others(slots, NOW, 90, TENANT) == [(COLLEAGUE, 1, 2)]
    assert used_by_others(slots, NOW, 90, str(uuid4())) == []


def test_a_transaction_that_is_over_does_not_count() -> None:
    one, two = opened(), opened()
    one.add(90, NOW, TENANT, AGENT, 10, 3)
    slots = two.read() or b""
    later = Snapshot(101, frozenset({95}))
    assert used_by_others(slots, NOW, 95, TENANT) == [(AGENT, 10, 3)]
    assert used_by_others(slots, later, 95, TENANT) == []


def test_the_slot_of_a_transaction_that_is_over_is_used_again() -> None:
    one, two = opened(), opened()
    one.add(90, NOW, TENANT, AGENT, 10, 3)
    later = Snapshot(101, frozenset({95}))
    two.add(95, later, OTHER, COLLEAGUE, 1, 1)
    slots = two.read() or b""
    assert used_by_others(slots, NOW, 0, TENANT) == []
    assert used_by_others(slots, NOW, 0, OTHER) == [(COLLEAGUE, 1, 1)]
    one.add(90, NOW, TENANT, AGENT, 10, 3)  # too late: the slot is another's now
    assert two.read() == slots


def test_the_file_grows_when_all_slots_are_taken() -> None:
    backends = [opened() for _ in range(3)]
    start = Snapshot(1, frozenset())
    for transaction in range(1, 1001):
        backends[transaction % 3].add(transaction, start, TENANT, AGENT, 1, 2)
    for backend in backends:
        found = used_by_others(backend.read() or b"", start, 7, TENANT)
        assert found == [(AGENT, 1, 2)] * 999
