"""Addresses as 28 bytes: the layout that the kernel reads, and what counts as one host."""

import pytest

from relay.addresses import (
    ADDRESS_BYTES,
    ADDRESS_WORDS,
    format_address,
    host_of,
    pack_address,
    unpack_address,
)

EXAMPLES = [
    ("192.0.2.1", 24545, 0),
    ("0.0.0.0", 0, 0),
    ("255.255.255.255", 65535, 0),
    ("2001:db8::1", 24545, 0),
    ("::1", 1, 0),
    ("fe80::1", 65535, 3),
    ("fe80::1", 65535, 0xFFFFFFFF),
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_address_comes_back_as_it_was_packed(example: tuple[str, int, int]) -> None:
    address = pack_address(*example)
    assert len(address) == ADDRESS_BYTES == 4 * ADDRESS_WORDS
    assert unpack_address(address) == example


def test_the_layout_is_that_of_sockaddr_in6() -> None:
    address = pack_address("2001:db8::102", 0x1234, 7)
    assert int.from_bytes(address[0:2], "little") == 10  # AF_INET6 of Linux
    assert address[2:4] == b"\x12\x34"  # network order
    assert address[4:8] == bytes(4)  # the flow label is no part of an address
    assert address[8:24].hex() == "20010db8000000000000000000000102"
    assert int.from_bytes(address[24:28], "little") == 7


def test_an_ipv4_address_and_its_mapped_form_are_one_address() -> None:
    assert pack_address("192.0.2.7", 9) == pack_address("::ffff:192.0.2.7", 9)
    assert unpack_address(pack_address("::ffff:192.0.2.7", 9))[0] == "192.0.2.7"


def test_addresses_differ_by_host_port_and_scope() -> None:
    examples = {pack_address(*example) for example in EXAMPLES}
    assert len(examples) == len(EXAMPLES)


def test_a_scope_in_the_text_is_cut_off() -> None:
    assert pack_address("fe80::1%eth0", 5, 2) == pack_address("fe80::1", 5, 2)


@pytest.mark.parametrize("host", ["localhost", "", "1.2.3", "::1::", "256.0.0.1"])
def test_a_host_that_is_no_number_is_refused(host: str) -> None:
    with pytest.raises(ValueError):
        pack_address(host, 1)


def test_people_read_hosts_and_ports() -> None:
    assert format_address(pack_address("192.0.2.1", 24545)) == "192.0.2.1:24545"
    assert format_address(pack_address("2001:db8::1", 24545)) == "[2001:db8::1]:24545"
    assert format_address(pack_address("fe80::1", 24545, 3)) == "[fe80::1%3]:24545"


def test_a_host_is_an_ipv4_address_whatever_its_port() -> None:
    assert host_of(pack_address("192.0.2.1", 1)) == host_of(pack_address("192.0.2.1", 2))
    assert host_of(pack_address("192.0.2.1", 1)) != host_of(pack_address("192.0.2.2", 1))


def test_a_host_is_the_slash_64_of_an_ipv6_address() -> None:
    host = host_of(pack_address("2001:db8:1:2::1", 1))
    assert host == host_of(pack_address("2001:db8:1:2:ffff:ffff:ffff:ffff", 9))
    assert host != host_of(pack_address("2001:db8:1:3::1", 1))


def test_no_ipv6_network_counts_as_one_with_the_ipv4_addresses() -> None:
    assert host_of(pack_address("::1", 1)) != host_of(pack_address("0.0.0.0", 1))
    assert host_of(pack_address("::5", 1)) != host_of(pack_address("0.0.0.5", 1))
