"""Which addresses a request of a model may be sent to.

A host name that a model, or whoever talks to it, chooses may lead anywhere: to this machine, to the
network around it, to the cloud's metadata service that hands out keys. So the addresses that a name
led to are judged before anything connects, all of them, by the tables below.

The tables are written out. ``ipaddress.is_global`` is no substitute: Python 3.11 calls 192.0.0.192,
64:ff9b::a9fe:a9fe, 2002:a9fe:a9fe::, 224.0.0.1 and 168.63.129.16 global, other releases do not.

Sources: the IANA registries "IPv4 Special-Purpose Address Space" and "IPv6 Special-Purpose Address
Space" (https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry,
both as of 2025-10-09), the documents named in each line, the clouds' own documentation.
"""

from __future__ import annotations

import socket

from pgagentos.errors import Refused
from pgagentos.net.resolver import Address

#: Blocks that are not the public internet.
NOT_PUBLIC_4 = {
    "0.0.0.0/8": "this network (RFC 791)",
    "10.0.0.0/8": "private use (RFC 1918)",
    "100.64.0.0/10": "shared address space of providers (RFC 6598)",
    "127.0.0.0/8": "loopback (RFC 1122)",
    "168.63.129.16/32": "Azure's platform service (Microsoft: What is IP address 168.63.129.16?)",
    "169.254.0.0/16": "link local, the clouds' metadata services (RFC 3927)",
    "172.16.0.0/12": "private use (RFC 1918)",
    "192.0.0.0/24": "protocol assignments, Oracle's old metadata service (RFC 6890)",
    "192.0.2.0/24": "documentation (RFC 5737)",
    "192.31.196.0/24": "AS112 (RFC 7535)",
    "192.52.193.0/24": "multicast tunnels (RFC 7450)",
    "192.88.99.0/24": "6to4 relays, given up (RFC 7526)",
    "192.168.0.0/16": "private use (RFC 1918)",
    "192.175.48.0/24": "AS112 (RFC 7534)",
    "198.18.0.0/15": "benchmarks (RFC 2544)",
    "198.51.100.0/24": "documentation (RFC 5737)",
    "203.0.113.0/24": "documentation (RFC 5737)",
    "224.0.0.0/4": "multicast (RFC 5771)",
    "240.0.0.0/4": "reserved, and broadcast (RFC 1112, RFC 8190)",
}
#: Of IPv6 only this block is global unicast (RFC 4291, 2.4); the rest is refused as a whole: ::/96,
#: 64:ff9b::/96 and 64:ff9b:1::/48, which lead to IPv4 addresses, 100::/64, 5f00::/16, fc00::/7,
#: fe80::/10, fec0::/10, ff00::/8 and all that nobody has been given yet.
PUBLIC_6 = "2000::/3"
#: Blocks inside it that are not the public internet, or lead to an IPv4 address.
NOT_PUBLIC_6 = {
    "2001::/23": "protocol assignments, with Teredo 2001::/32 (RFC 2928, RFC 4380)",
    "2001:db8::/32": "documentation (RFC 3849)",
    "2002::/16": "6to4, leads to an IPv4 address (RFC 3056)",
    "2620:4f:8000::/48": "AS112 (RFC 7534)",
    "3fff::/20": "documentation (RFC 9637)",
}
#: What an operator can open for one host: the organisation's own network and this machine.
PRIVATE_4 = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
PRIVATE_6 = ("::1/128", "fc00::/7")
#: Metadata services inside those blocks; nobody can open them.
METADATA_4 = {"100.100.100.200/32": "Alibaba Cloud"}
METADATA_6 = {
    "fd00:ec2::/32": "AWS",
    "fd20:ce::/32": "Google Cloud",
    "fd00:c1::/32": "Oracle Cloud",
}

_MAPPED_PREFIX = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291, 2.5.5.2
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")  # RFC 5214, 6.1: leads to an IPv4 address

_Block = tuple[int, int]  # (number of the network, bits behind it)


def _block(text: str) -> _Block:
    network, _, length = text.partition("/")
    packed = socket.inet_pton(socket.AF_INET6 if ":" in network else socket.AF_INET, network)
    host_bits = len(packed) * 8 - int(length)
    return int.from_bytes(packed, "big") >> host_bits, host_bits


_not_public = {4: list(map(_block, NOT_PUBLIC_4)), 16: list(map(_block, NOT_PUBLIC_6))}
_private = {4: list(map(_block, PRIVATE_4)), 16: list(map(_block, PRIVATE_6))}
_metadata = {4: list(map(_block, METADATA_4)), 16: list(map(_block, METADATA_6))}
_public_6 = [_block(PUBLIC_6)]


def is_public(address: str) -> bool:
    """True when the address belongs to the public internet.

    Args:
        address: as name services write it. What is not exactly an IPv4 address of four decimal
            numbers or an IPv6 address without a zone is not public: nothing is guessed at.
    """
    packed = _packed(address)
    if packed is None or _is_in(packed, _not_public):
        return False
    return len(packed) == 4 or (_is_in(packed, {16: _public_6}) and packed[8:12] not in _ISATAP)


def is_private(address: str) -> bool:
    """True when the address is one of an own network or of this machine, and no metadata service.

    Args:
        address: see :func:`is_public`.
    """
    packed = _packed(address)
    return packed is not None and _is_in(packed, _private) and not _is_in(packed, _metadata)


def judge_public(host: str, addresses: list[Address]) -> list[Address]:
    """A :data:`pgagentos.net.stream.Judge`: every address has to be public.

    One that is not refuses them all: a name with a public and an inner address is an attack, or a
    mistake whose outcome would depend on the order of the answers.

    Raises:
        Refused: not all are; the message names no address.
    """
    return _judged(addresses, is_private_allowed=False)


def judge_private(host: str, addresses: list[Address]) -> list[Address]:
    """A judge for hosts that an operator has opened: every address has to be public or private.

    Raises:
        Refused: one is neither.
    """
    return _judged(addresses, is_private_allowed=True)


def _judged(addresses: list[Address], *, is_private_allowed: bool) -> list[Address]:
    for _, sockaddr in addresses:
        address = str(sockaddr[0])
        # An IPv6 socket address ends with its scope: other than 0, it is bound to one interface.
        has_scope = len(sockaddr) == 4 and sockaddr[3] != 0
        is_good = is_public(address) or (is_private_allowed and is_private(address))
        if has_scope or not is_good:
            raise Refused("the address of the host is not public")
    return addresses


def _packed(address: str) -> bytes | None:
    """The bytes of an address, an IPv4 address inside IPv6 unwrapped; None for what is none."""
    try:
        # Strict, unlike inet_aton and getaddrinfo: no 127.1, no 0x7f.1, no 0177.0.0.1, no zone.
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):
        return None
    return packed[12:] if packed.startswith(_MAPPED_PREFIX) else packed


def _is_in(packed: bytes, blocks: dict[int, list[_Block]]) -> bool:
    number = int.from_bytes(packed, "big")
    return any(number >> bits == network for network, bits in blocks.get(len(packed), ()))
