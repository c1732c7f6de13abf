"""Every link layer that is supported."""

import pytest

from tests.tools.dump.made import LINKS, RELAY, Packet, ipv4, ipv6
from tools.dump.links import LINK_TYPES, NOT_IP

PACKET = Packet(0.0, ("10.0.1.1", 40_000), RELAY, b"payload")


@pytest.mark.parametrize("ip", [ipv4(PACKET), ipv6(PACKET)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", LINKS)
def test_the_ip_packet_is_found_behind_every_link_layer(name: str, ip: bytes) -> None:
    number, frame = LINKS[name]
    at = LINK_TYPES[number][1](frame(ip))
    assert frame(ip)[at : at + len(ip)] == ip


def test_every_link_type_has_a_test_and_a_name() -> None:
    tested = {number for number, _ in LINKS.values()}
    assert set(LINK_TYPES) - tested <= {14, 229}  # the same as 12 and 228
    assert all(name for name, _ in LINK_TYPES.values())


@pytest.mark.parametrize(
    ("number", "frame"),
    [
        (1, bytes(12) + b"\x08\x06" + bytes(28)),
        (1, bytes(12) + b"\x81\x00\x00\x05" * 9 + b"\x08\x00"),
        (1, bytes(12) + b"\x88\x64" + bytes(6) + b"\xc0\x21" + bytes(9)),
        (1, bytes(13)),
        (0, b"\x02\0\0\0"),
        (0, b"\x17\0\0\0\x17"),
        (113, bytes(14) + b"\x08\x06"),
        (276, b"\x08\x06" + bytes(18) + b"\x45"),
        (276, b"\x08\x00" + bytes(18)),
    ],
    ids=[
        "ARP",
        "too many VLAN tags",
        "PPPoE control",
        "cut",
        "cut loopback",
        "AppleTalk",
        "cooked ARP",
        "ARP 2",
        "cut 2",
    ],
)
def test_what_is_not_ip_is_told_apart(number: int, frame: bytes) -> None:
    assert LINK_TYPES[number][1](frame) == NOT_IP


@pytest.mark.parametrize("number", LINK_TYPES)
def test_a_frame_cut_anywhere_is_no_error(number: int) -> None:
    for name, (link_type, frame) in LINKS.items():
        if link_type == number:
            whole = frame(ipv4(PACKET))
            for size in range(len(whole)):
                assert LINK_TYPES[number][1](whole[:size]) <= len(whole), name
