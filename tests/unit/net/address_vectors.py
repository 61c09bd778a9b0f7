"""Addresses that a request of a model must not, and may, be sent to.

Sources:

* the ranges that AntiSSRF 1.0.0 recommends to refuse (PyPI microsoft-antissrf, ``IPAddressRanges.
  recommended_v1``; github.com/microsoft/AntiSSRF, config/IPAddressRanges.json), whose own sources
  are the IANA registries named in ``pgagentos.net.public_address``;
* the single addresses and spellings in AntiSSRF's tests (rust/tests/ssrf_payload_test.rs and
  integration_bypass_test.rs, nodejs/tests/UnitTests/AntiSSRFPolicy.Address.test.ts);
* the clouds' documentation of their metadata services;
* cases of our own, in the groups named so.
"""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


#: AntiSSRF's recommended_v1, as published. The tests try both ends of each block.
ANTISSRF_BLOCKS = _words("""
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16
    192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    ::1/128 ::/128 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32
    2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
""")

#: Its blocks that lie inside another one of the list.
ANTISSRF_INNER_BLOCKS = _words("""
    169.254.169.254/32 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32
    192.0.0.171/32 192.88.99.2/32 255.255.255.255/32 2001::/32 2001:1::1/128 2001:1::2/128
    2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28
""")

#: The addresses of its tests.
ANTISSRF_REFUSED = _words("""
    127.0.0.1 127.0.0.2 127.0.0.3 127.1.0.1 127.255.255.255 127.0.0.0 0.0.0.0 0.0.0.1 ::1 0::1
    ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:7F00:1 169.254.169.254 168.63.129.16 192.0.0.192
    100.100.100.200 ::ffff:169.254.169.254 ::ffff:A9FE:A9FE ::ffff:168.63.129.16 ::ffff:A83F:8110
    10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 100.64.0.1
    100.100.100.100 100.127.255.255 198.18.0.1 198.19.255.255 169.254.0.1 169.254.255.255 fe80::1
    224.0.0.1 239.255.255.255 ff02::1 fc00::1 fd00::1 fec0::1 192.0.2.1 198.51.100.1 203.0.113.1
    240.0.0.1 255.255.255.255
""")

#: Its spellings of IPv4 addresses that some readers take; here they are no addresses at all.
ANTISSRF_ODD = _words("""
    2130706433 0x7f000001 0177.0.0.1 0xA9.0xFE.0xA9.0xFE 0xA9FEA9FE 0251.0376.0251.0376 0 127.1
    0xA8.0x3F.0x81.0x10 0x7F.0x0.0x0.0x1
""")

ANTISSRF_ALLOWED = ["8.8.8.8", "1.1.1.1", "208.67.222.222"]

#: Metadata services: AWS, Google Cloud, Oracle Cloud, Alibaba Cloud, Azure, Tencent Cloud.
METADATA = _words("""
    169.254.169.254 fd00:ec2::254 169.254.170.2 fd20:ce::254 fd00:c1::a9fe:a9fe 192.0.0.192
    100.100.100.200 168.63.129.16 169.254.0.23 169.254.169.249
""")

#: Our own: IPv4 addresses inside IPv6 ones, which a translator or a tunnel would unwrap.
EMBEDDED = _words("""
    ::127.0.0.1 ::a9fe:a9fe ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe
    64:ff9b:1::a9fe:a9fe 64:ff9b:1:ffff::10.0.0.1 2002:7f00:1:: 2002:a9fe:a9fe:: 2002:c0a8:101::1
    2001:0:a9fe:a9fe:: 2001:0:0:0:0:0:5601:5601 2a00:1450::5efe:7f00:1 2a00:1450::200:5efe:a9fe:a9fe
    ::ffff:0a00:0001 ::ffff:192.168.1.1 ::ffff:0.0.0.0 ::ffff:100.64.0.1
""")

#: Our own: next to a block's ends, one address outside on each side (where that is public).
NEIGHBOURS = _words("""
    1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
    191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0 192.31.195.255 192.31.197.0 192.52.192.255
    192.52.194.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 192.175.47.255 192.175.49.0
    198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
    2000:: 2001:200:: 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 2003::
    2620:4f:7fff:ffff:ffff:ffff:ffff:ffff 2620:4f:8001:: 3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    3fff:1000:: ::ffff:8.8.8.8 2606:4700::1111 2a00:1450:4001::5efe 2001:4860:4860::8888
""")

#: Our own: what is no address.
NO_ADDRESS = [
    *(
        "",
        " ",
        "localhost",
        "example.com",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.4 ",
        " 1.2.3.4",
    ),
    *(
        "1.2.3.4\n",
        "1.2.3.4\0",
        "01.2.3.4",
        "1.2.3.04",
        "8.8.8.8/32",
        "[2606:4700::1111]",
        "8.8.8.8:80",
    ),
    *(
        "fe80::1%eth0",
        "2606:4700::1111%lo",
        "2606:4700::1111%25lo",
        "::1%1",
        "2606:4700:::1",
        "g::1",
    ),
    *(
        "\uff11.1.1.1",
        "1\u30021\u30021\u30021",
        "\u0661.1.1.1",
        "+1.1.1.1",
        "1e0.1.1.1",
        "0x8.8.8.8",
    ),
]
