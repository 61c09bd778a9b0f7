"""A superuser who switches the triggers off can change everything, and it shows."""

from __future__ import annotations

import pytest

from audit.chains import REWRITE, REWRITE_HEAD, Chains, make_chains, problems, unguarded
from cluster import Database
from house import House

CHAIN = "chain_id = '{conversation}'"
CHANGE = "update aos_core.event_log set {change} where " + CHAIN + " and event_no = {no}"
DELETE = "delete from aos_core.event_log where " + CHAIN
RECOMPUTE = REWRITE.replace("{chain}", "{conversation}").replace("{old}", "0")
REMEMBER = REWRITE_HEAD.replace("{chain}", "{conversation}")
COPY = (
    "insert into aos_core.event_log select (jsonb_populate_record(e, '{{{change}}}')).*"
    " from aos_core.event_log as e where " + CHAIN + " and event_no = {no}"
)


def change(text: str, no: int = 2) -> str:
    return CHANGE.replace("{change}", text).replace("{no}", str(no))


def copy(text: str, no: int = 2) -> str:
    return COPY.replace("{change}", text).replace("{no}", str(no))


def recompute(first: int) -> str:
    return RECOMPUTE.replace("{first}", str(first))


#: what is done -> (statements, what is found of the conversation's chain: entry, beginning)
OF_A_CONVERSATION: dict[str, tuple[list[str], list[tuple[int, str]]]] = {
    "another type": ([change("event_type = 'turn_failed'")], [(2, "altered: its hash")]),
    "another actor": ([change("actor = 'somebody else'")], [(2, "altered: its hash")]),
    "another turn": ([change("run_id = gen_random_uuid()")], [(2, "altered: its hash")]),
    "no turn": ([change("run_id = null")], [(2, "altered: its hash")]),
    "another detail": ([change("detail = '{{}}'")], [(2, "altered: its hash")]),
    "a microsecond later": (
        [change("created_at = created_at + interval '1 microsecond'")],
        [(2, "altered: its hash")],
    ),
    "another hash": (
        [change("hash = sha256('x')")],
        [(2, "altered: its hash"), (2, "altered: seal 1"), (3, "altered: its hash")],
    ),
    "another actor, with the hash of that": (
        [
            change(
                "actor = 'x', hash = aos_core._event_hash((select p.hash from aos_core.event_log"
                " as p where p.chain_id = e.chain_id and p.event_no = 1), event_no, created_at,"
                " chain_id, tenant_id, run_id, event_type, 'x', detail)"
            ).replace("event_log set", "event_log as e set", 1)
        ],
        [(2, "altered: seal 1"), (3, "altered: its hash")],
    ),
    "another actor in the last entry, with all hashes after it": (
        [change("actor = 'x'", 4), recompute(4)],
        [(4, "altered: its hash is not that of the head"), (4, "altered: seal 2")],
    ),
    "another actor, with all hashes after it and in the turn": (
        [change("actor = 'x'", 4), recompute(4), REMEMBER],
        [(4, "altered: seal 2")],
    ),
    "the first entry is gone": (
        [DELETE + " and event_no = 1"],
        [(2, "missing: entries 1 to 1")],
    ),
    "two entries are gone": (
        [DELETE + " and event_no in (2, 3)"],
        [(2, "missing: seal 1"), (4, "missing: entries 2 to 3")],
    ),
    "the last one is gone": (
        [DELETE + " and event_no = 4"],
        [(3, "missing: entries 4 to 4, the last"), (4, "missing: seal 2")],
    ),
    "the last one is gone, from the turn too": (
        [DELETE + " and event_no = 4", REMEMBER],
        [(4, "missing: seal 2")],
    ),
    "all are gone": (
        [DELETE],
        [(2, "missing: seal 1"), (4, "missing: entries 1 to 4"), (4, "missing: seal 2")],
    ),
    "all are gone with their turns": (
        [DELETE, "delete from aos_agent.conversation where conversation_id = '{conversation}'"],
        [(2, "missing: seal 1"), (4, "missing: seal 2")],
    ),
    "the turns are gone": (
        ["delete from aos_agent.conversation where conversation_id = '{conversation}'"],
        [(4, "missing: the head of this chain")],
    ),
    "the last turn is gone": (
        [
            "delete from aos_agent.message where conversation_id = '{conversation}'",
            "delete from aos_core.run where conversation_id = '{conversation}' and turn_no = 2",
        ],
        [(4, "inserted: the chain ended at 2")],
    ),
    "one more at the end": (
        [copy('"event_no": 5', 4), recompute(5)],
        [(5, "inserted: the chain ended at 4")],
    ),
    "one more in between": (
        [copy('"created_at": "2020-01-01", "actor": "x"')],
        [(2, "altered: its hash"), (2, "inserted: there are two")],
    ),
    "one more far behind": (
        [copy('"event_no": 9', 4)],
        [(9, "inserted: the chain ended at 4"), (9, "missing: entries 5 to 8")],
    ),
    "two have changed places": (
        [
            change("event_no = 1002"),
            change("event_no = 2", 3),
            change("event_no = 3", 1002),
        ],
        [
            (2, "altered: its hash"),
            (2, "altered: seal 1"),
            (3, "altered: its hash"),
            (4, "altered: its hash"),
        ],
    ),
}

#: what is done -> (statement, what is found of the seals: beginning)
OF_SEALS: dict[str, tuple[str, list[str]]] = {
    "another head": (
        "update aos_core.event_seal set hashes[1] = sha256('x') where seal_no = 2 and {mine}",
        ["altered: seal 2 names", "altered: the digest of seal 2"],
    ),
    "another number": (
        "update aos_core.event_seal set event_nos[1] = 3 where seal_no = 2 and {mine}",
        ["altered: seal 2 names", "altered: the digest of seal 2"],
    ),
    "another time": (
        "update aos_core.event_seal set sealed_at = sealed_at - interval '1 day'"
        " where seal_no = 2 and {mine}",
        ["altered: the digest of seal 2"],
    ),
    "another digest": (
        "update aos_core.event_seal set digest = sha256('x') where seal_no = 2 and {mine}",
        ["altered: the digest of seal 2", "altered: the digest of seal 3"],
    ),
    "one is gone": (
        "delete from aos_core.event_seal where seal_no = 2 and {mine}",
        ["missing: seals 2 to 2"],
    ),
    "the first is gone": (
        "delete from aos_core.event_seal where seal_no = 1 and {mine}",
        ["missing: seals 1 to 1"],
    ),
}


@pytest.fixture(scope="module")
def chains(database: Database) -> Chains:
    """Chains that all tests of this module change, each for itself."""
    with database.connect() as connection:
        return make_chains(House(connection))


@pytest.mark.parametrize("what", OF_A_CONVERSATION)
def test_a_change_of_a_chain_is_found_and_told_by_entry(
    house: House, chains: Chains, what: str
) -> None:
    statements, expected = OF_A_CONVERSATION[what]
    with unguarded(house):
        assert problems(house) == []
        for statement in statements:
            house.rows(statement.format(conversation=chains.conversation))
        found = sorted(problems(house), key=lambda row: (row[1] or 0, row[2]))
        assert [chain for chain, _, _ in found] == [chains.conversation] * len(expected)
        begins = [
            (no, text[: len(begin)])
            for (_, no, text), (_, begin) in zip(found, expected, strict=True)
        ]
        assert begins == expected
        # of this tenant, and of no other
        assert len(problems(house, chains.tenant)) == len(expected)
        assert problems(house, house.tenant()) == []


@pytest.mark.parametrize("what", OF_SEALS)
def test_a_change_of_the_seals_is_found(house: House, chains: Chains, what: str) -> None:
    statement, expected = OF_SEALS[what]
    with unguarded(house):
        house.rows(statement.format(mine=f"tenant_id = '{chains.tenant}'"))
        found = sorted(text for _, _, text in problems(house, chains.tenant))
        assert [text[: len(begin)] for text, begin in zip(found, expected, strict=True)] == expected


def test_a_change_of_the_tenants_own_chain_is_found(house: House, chains: Chains) -> None:
    with unguarded(house):
        house.rows(
            "delete from aos_core.event_log where chain_id = %s and event_no = 5", chains.tenant
        )
        assert problems(house) == [
            (chains.tenant, 4, "missing: entries 5 to 5, the last of the chain"),
            (chains.tenant, 5, "missing: seal 3 names this entry"),
        ]


def test_a_deletion_that_is_recorded_is_no_problem_and_neither_is_the_chain_that_it_leaves(
    house: House, chains: Chains
) -> None:
    with house.connection.transaction(force_rollback=True):
        house.rows(
            "delete from aos_agent.conversation where conversation_id = %s", chains.conversation
        )
        assert problems(house) == []
        [[detail]] = house.rows(
            "select detail from aos_core.event_log where event_type = 'conversation_deleted'"
            " and chain_id = %s",
            chains.tenant,
        )
        assert detail["conversation_id"] == str(chains.conversation)
        assert (detail["turns"], detail["event_no"]) == (2, 4)
        house.rows("set constraints all immediate")
        with unguarded(house):
            house.rows(
                "delete from aos_core.event_log where chain_id = %s and event_no = 4",
                chains.conversation,
            )
            assert [(no, text[:20]) for _, no, text in problems(house)] == [
                (3, "missing: entries 4 t"),
                (4, "missing: seal 2 name"),
            ]


def test_who_rewrites_everything_is_given_away_by_the_digest_that_was_logged_elsewhere(
    house: House, chains: Chains
) -> None:
    digests = "select digest from aos_core.event_seal where tenant_id = %s order by seal_no"
    before = house.rows(digests, chains.tenant)
    with unguarded(house):
        house.rows(
            "update aos_core.event_log set actor = 'x' where chain_id = %s and event_no = 4",
            chains.conversation,
        )
        house.rows(recompute(4).format(conversation=chains.conversation))
        house.rows(REMEMBER.format(conversation=chains.conversation))
        house.rows(
            "update aos_core.event_seal as s set hashes[1] = e.hash from aos_core.event_log as e"
            " where e.chain_id = s.chain_ids[1] and e.event_no = s.event_nos[1]"
            " and s.tenant_id = %s",
            chains.tenant,
        )
        for number in (1, 2, 3):
            house.rows(
                "update aos_core.event_seal as s set digest = aos_core._seal_digest("
                "(select p.digest from aos_core.event_seal as p where p.tenant_id = s.tenant_id"
                " and p.seal_no = s.seal_no - 1), s) where s.tenant_id = %s and s.seal_no = %s",
                chains.tenant,
                number,
            )
        assert problems(house) == []
        after = house.rows(digests, chains.tenant)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]
