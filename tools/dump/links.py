"""Where the IP packet begins behind the header of each link layer (https://www.tcpdump.org/linktypes.html)."""

import struct
from collections.abc import Callable

NOT_IP = -1
"""Instead of an offset: another protocol, or too short to tell."""

_ETHERTYPES_IP = frozenset({0x0800, 0x86DD})
_ETHERTYPES_VLAN = frozenset({0x8100, 0x88A8, 0x9100})
_ETHERTYPE_PPPOE = 0x8864
_MAX_VLAN_TAGS = 3
"""More than two tags do not occur; a bound for what the wire says (chosen)."""
_U16 = struct.Struct(">H")

FindIp = Callable[[bytes], int]
"""Packet -> offset of its IP header, or NOT_IP."""


def _ethernet(data: bytes) -> int:
    if data[12:14] in (b"\x08\x00", b"\x86\xdd"):
        return 14
    return _behind_ethertype(data, 12)


def _behind_ethertype(data: bytes, at: int) -> int:
    """Pass over VLAN tags and PPPoE. `at`: of the first ethertype."""
    for _ in range(1 + _MAX_VLAN_TAGS):
        if at + 2 > len(data):
            return NOT_IP
        (ethertype,) = _U16.unpack_from(data, at)
        if ethertype in _ETHERTYPES_IP:
            return at + 2
        if ethertype == _ETHERTYPE_PPPOE:
            return at + 10 if data[at + 8 : at + 10] in (b"\x00\x21", b"\x00\x57") else NOT_IP
        if ethertype not in _ETHERTYPES_VLAN:
            return NOT_IP
        at += 4
    return NOT_IP


def _loopback(data: bytes) -> int:
    # The four bytes are an address family in the capturing machine's order, and for IPv6 each system has its own
    # number: the version in the IP header tells more.
    return 4 if len(data) > 4 and data[4] >> 4 in (4, 6) else NOT_IP


def _linux_cooked(data: bytes) -> int:
    return _behind_ethertype(data, 14)


def _linux_cooked_2(data: bytes) -> int:
    return 20 if data[:2] in (b"\x08\x00", b"\x86\xdd") and len(data) > 20 else NOT_IP


def _raw(data: bytes) -> int:
    return 0


LINK_TYPES: dict[int, tuple[str, FindIp]] = {
    0: ("loopback of BSD, macOS and Npcap", _loopback),
    1: ("Ethernet", _ethernet),
    12: ("raw IP", _raw),
    14: ("raw IP of OpenBSD", _raw),
    101: ("raw IP", _raw),
    108: ("loopback of OpenBSD", _loopback),
    113: ("Linux cooked", _linux_cooked),
    228: ("raw IPv4", _raw),
    229: ("raw IPv6", _raw),
    276: ("Linux cooked, version 2", _linux_cooked_2),
}
"""Number -> its name, and how to find the IP packet."""

RAW_IP = 101
"""What a live capture without link layer has."""
