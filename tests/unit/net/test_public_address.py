"""Only addresses of the public internet are public, and one bad answer refuses them all."""

from __future__ import annotations

import ipaddress
import itertools
import socket

import pytest

from pgagentos.errors import Refused
from pgagentos.net.public_address import (
    METADATA_4,
    METADATA_6,
    NOT_PUBLIC_4,
    NOT_PUBLIC_6,
    PRIVATE_4,
    PRIVATE_6,
    is_private,
    is_public,
    judge_private,
    judge_public,
)
from pgagentos.net.resolver import Address

from . import address_vectors as vectors

PUBLIC = [*vectors.ANTISSRF_ALLOWED, *vectors.NEIGHBOURS]


def ends(block: str) -> list[str]:
    """The first and the last address of a block, and one in the middle."""
    network = ipaddress.ip_network(block)
    return [str(network[0]), str(network[-1]), str(network[network.num_addresses // 2])]


def address(text: str, scope: int = 0) -> Address:
    """A socket address, as the resolver returns it."""
    if ":" in text:
        return socket.AF_INET6, (text, 443, 0, scope)
    return socket.AF_INET, (text, 443)


@pytest.mark.parametrize("block", vectors.ANTISSRF_BLOCKS + vectors.ANTISSRF_INNER_BLOCKS)
def test_a_block_of_the_reference_is_refused_from_end_to_end(block: str) -> None:
    assert [text for text in ends(block) if is_public(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        *vectors.ANTISSRF_REFUSED,
        *vectors.ANTISSRF_ODD,
        *vectors.METADATA,
        *vectors.EMBEDDED,
        *vectors.NO_ADDRESS,
    ],
)
def test_what_is_inside_or_odd_is_not_public(text: str) -> None:
    assert not is_public(text)
    with pytest.raises(Refused):
        judge_public("host.example", [address(text)])


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_public(text: str) -> None:
    assert is_public(text)
    assert judge_public("host.example", [address(text)]) == [address(text)]


@pytest.mark.parametrize("block", [*NOT_PUBLIC_4, *NOT_PUBLIC_6])
def test_our_own_table_is_refused_from_end_to_end(block: str) -> None:
    assert [text for text in ends(block) if is_public(text)] == []


def test_every_block_of_the_reference_is_in_our_table_or_outside_of_global_unicast() -> None:
    ours = [ipaddress.ip_network(block) for block in (*NOT_PUBLIC_4, *NOT_PUBLIC_6)]
    public_6 = ipaddress.ip_network("2000::/3")
    for block in map(ipaddress.ip_network, vectors.ANTISSRF_BLOCKS):
        same = [n for n in ours if n.version == block.version]
        assert (block.version == 6 and not block.overlaps(public_6)) or any(
            block.subnet_of(n)  # type: ignore[arg-type]
            for n in same
        ), block


@pytest.mark.parametrize("block", [*PRIVATE_4, *PRIVATE_6])
def test_an_own_network_is_private(block: str) -> None:
    assert [text for text in ends(block) if not is_private(text)] == []
    assert [text for text in ends(block) if is_public(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        *vectors.METADATA,
        *itertools.chain.from_iterable(map(ends, [*METADATA_4, *METADATA_6])),
        *("0.0.0.0", "169.254.1.1", "fe80::1", "224.0.0.1", "255.255.255.255", "::", "ff02::1"),
        *("192.0.2.1", "198.18.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "127.1", "::1%lo"),
    ],
)
def test_nobody_can_open_a_metadata_service_or_what_is_no_network_of_his_own(text: str) -> None:
    assert not is_private(text)
    with pytest.raises(Refused):
        judge_private("intranet.example", [address(text)])


@pytest.mark.parametrize("bad", ["10.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "127.1"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_bad_answer_among_good_ones_refuses_them_all(bad: str, position: int) -> None:
    answers = [address("8.8.8.8"), address("2606:4700::1111")]
    answers.insert(position, address(bad))
    with pytest.raises(Refused):
        judge_public("host.example", answers)


def test_an_address_that_is_bound_to_an_interface_is_refused() -> None:
    with pytest.raises(Refused):
        judge_public("host.example", [address("2606:4700::1111", scope=2)])


def test_a_refusal_names_neither_host_nor_address() -> None:
    with pytest.raises(Refused) as caught:
        judge_public("db.corp.example", [address("10.1.2.3")])
    assert "corp" not in str(caught.value)
    assert "10." not in str(caught.value)


def test_an_opened_host_may_have_public_and_private_addresses() -> None:
    answers = [address("10.0.0.1"), address("8.8.8.8"), address("fd12::1")]
    assert judge_private("intranet.example", answers) == answers
