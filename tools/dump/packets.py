"""From packets to datagrams: link layer, IPv4 or IPv6, fragments put together, UDP.

Whatever is no UDP datagram is skipped and counted by what it was: a capture of a whole machine has much of it.
"""

import struct
from collections import Counter
from typing import NamedTuple

from tools.dump.captures import Frame
from tools.dump.datagrams import Datagram, Endpoint, Flow
from tools.dump.links import LINK_TYPES, NOT_IP

MAX_UNFINISHED = 256
"""Datagrams kept of which fragments are missing; the oldest is given up (chosen: a relay's traffic has none)."""
MAX_FLOWS = 1_000_000
"""Pairs of addresses remembered; then all are forgotten and learned anew (a scan of ports makes many)."""

_UDP = 17
_UDP_HEADER = struct.Struct(">HHHH")
"""Source port, target port, length with this header, checksum."""
_MORE_FRAGMENTS, _FRAGMENT_OFFSET = 0x2000, 0x1FFF
_IS_FRAGMENT = _MORE_FRAGMENTS | _FRAGMENT_OFFSET
_V4_WITHOUT_OPTIONS = 0x45
_PLAIN_HEADERS = struct.Struct(">2xH2xHxB2x8s4sH2x")
"""IPv4 without options and UDP: total length, fragment, protocol, both addresses; both ports, UDP length."""
_V4_FRAGMENT = struct.Struct(">HH")
_V6_OPTIONS = frozenset({0, 43, 60})
"""IPv6 headers between the first and UDP with a length in units of 8: hop-by-hop, routing, destination."""
_V6_FRAGMENT = 44
_V6_HEADER_BYTES = 40


class _Packet(NamedTuple):
    """The payload of an IP packet, or of one fragment."""

    addresses: bytes
    """Source and target: 8 or 32 bytes."""
    protocol: int
    payload: bytes
    missing_bytes: int
    """Bytes that the capture cut off the end of the payload."""
    identification: int = 0
    offset: int = 0
    """Of this fragment's payload in the whole."""
    has_more: bool = False


class _Unfinished:
    """The fragments of one packet that have come so far."""

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        """Offset -> payload."""
        self.size: int | None = None
        """Of the whole; None until the last fragment came."""

    def add(self, packet: _Packet) -> bytes | None:
        """Take a fragment. Returns: the whole payload once all are here."""
        self.parts.setdefault(packet.offset, packet.payload)
        if not packet.has_more:
            self.size = packet.offset + len(packet.payload)
        whole = b""
        for offset in sorted(self.parts):
            if offset > len(whole):
                return None
            whole += self.parts[offset][len(whole) - offset :]
        return whole if self.size is not None and len(whole) >= self.size else None


class PacketReader:
    """Reads packets into datagrams. It remembers fragments and flows."""

    def __init__(self) -> None:
        self.num_packets = 0
        self.skipped: Counter[str] = Counter()
        """Packets that gave no datagram, by what they were. `finish` adds what never became whole."""
        self._flows: dict[bytes, Flow] = {}
        self._unfinished: dict[tuple[bytes, int], _Unfinished] = {}

    def read(self, frame: Frame) -> Datagram | None:
        """Read one packet. Returns: its datagram; None, counted, if it has none. Raises: nothing."""
        self.num_packets += 1
        link = LINK_TYPES.get(frame.link_type)
        if link is None:
            self._skip(f"link type {frame.link_type}, which is not supported")
            return None
        at = link[1](frame.data)
        if at == NOT_IP or at >= len(frame.data):
            self._skip("not IP")
            return None
        if frame.data[at] == _V4_WITHOUT_OPTIONS and (datagram := self._read_plain(frame, at)) is not None:
            return datagram
        version = frame.data[at] >> 4
        packet = _read_v4(frame.data, at) if version == 4 else _read_v6(frame.data, at) if version == 6 else "not IP"
        if isinstance(packet, str):
            self._skip(packet)
            return None
        if packet.offset or packet.has_more:
            return self._read_fragment(frame.time_s, packet)
        return self._read_udp(frame.time_s, packet)

    def _read_plain(self, frame: Frame, at: int) -> Datagram | None:
        """Read what nearly every packet is: a whole UDP datagram in IPv4 without options, fragments or cuts.

        It saves a quarter of the time that a large capture takes. Returns: None for anything else, which is then read
        with care.
        """
        data = frame.data
        if len(data) < at + _PLAIN_HEADERS.size:
            return None
        total_bytes, fragment, protocol, addresses, ports, udp_bytes = _PLAIN_HEADERS.unpack_from(data, at)
        end = at + total_bytes
        if (
            protocol != _UDP
            or fragment & _IS_FRAGMENT
            or udp_bytes != total_bytes - 20
            or udp_bytes < 8
            or end > len(data)
        ):
            return None
        flow = self._flows.get(addresses + ports) or self.flow(addresses, ports)
        return Datagram(self.num_packets, frame.time_s, flow, data[at + _PLAIN_HEADERS.size : end])

    def finish(self) -> None:
        """Count what is still waiting for its fragments."""
        for unfinished in self._unfinished.values():
            self._give_up(unfinished)
        self._unfinished.clear()

    def flow(self, addresses: bytes, ports: bytes) -> Flow:
        """Return the one Flow of a pair: 4 + 4 or 16 + 16 bytes, and 2 + 2 bytes of ports."""
        key = addresses + ports
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= MAX_FLOWS:
                self._flows.clear()
            half = len(addresses) // 2
            flow = Flow(
                Endpoint(addresses[:half], int.from_bytes(ports[:2], "big")),
                Endpoint(addresses[half:], int.from_bytes(ports[2:], "big")),
            )
            self._flows[key] = flow
        return flow

    def _skip(self, why: str, count: int = 1) -> None:
        self.skipped[why] += count

    def _read_udp(self, time_s: float, packet: _Packet) -> Datagram | None:
        payload = packet.payload
        if packet.protocol != _UDP:
            self._skip("not UDP")
            return None
        if len(payload) < _UDP_HEADER.size:
            self._skip("cut off before its UDP header ends")
            return None
        length = _UDP_HEADER.unpack_from(payload)[2]
        if length < _UDP_HEADER.size or length > len(payload) + packet.missing_bytes:
            self._skip("UDP length does not fit")
            return None
        data = payload[_UDP_HEADER.size : length]
        missing_bytes = length - _UDP_HEADER.size - len(data)
        return Datagram(self.num_packets, time_s, self.flow(packet.addresses, payload[:4]), data, missing_bytes)

    def _read_fragment(self, time_s: float, packet: _Packet) -> Datagram | None:
        if packet.protocol != _UDP:
            self._skip("not UDP")
            return None
        if packet.missing_bytes:
            self._skip("IP fragment that the capture cut off")
            return None
        key = packet.addresses, packet.identification
        unfinished = self._unfinished.get(key)
        if unfinished is None:
            if len(self._unfinished) >= MAX_UNFINISHED:
                self._give_up(self._unfinished.pop(next(iter(self._unfinished))))
            unfinished = self._unfinished[key] = _Unfinished()
        payload = unfinished.add(packet)
        if payload is None:
            return None
        del self._unfinished[key]
        return self._read_udp(time_s, packet._replace(payload=payload))

    def _give_up(self, unfinished: _Unfinished) -> None:
        self._skip("IP fragment of a datagram that never became whole", len(unfinished.parts))


def _read_v4(data: bytes, at: int) -> _Packet | str:
    """Read an IPv4 header. Returns: the packet, or why there is none."""
    if len(data) < at + 20:
        return "cut off before its IP header ends"
    header_bytes = (data[at] & 15) * 4
    total_bytes = data[at + 2] << 8 | data[at + 3]
    if total_bytes == 0:  # the system leaves the length to the network card
        total_bytes = len(data) - at
    if header_bytes < 20 or total_bytes < header_bytes:
        return "IP lengths do not fit"
    begin, end = at + header_bytes, at + total_bytes
    identification, fragment = _V4_FRAGMENT.unpack_from(data, at + 4)
    return _Packet(
        data[at + 12 : at + 20],
        data[at + 9],
        data[begin:end],
        max(0, end - max(begin, len(data))),
        identification,
        (fragment & _FRAGMENT_OFFSET) * 8,
        bool(fragment & _MORE_FRAGMENTS),
    )


def _read_v6(data: bytes, at: int) -> _Packet | str:
    """Read an IPv6 header and those behind it. Returns: the packet, or why there is none."""
    begin = at + _V6_HEADER_BYTES
    if len(data) < begin:
        return "cut off before its IP header ends"
    payload_bytes = data[at + 4] << 8 | data[at + 5]
    end = begin + payload_bytes if payload_bytes else len(data)
    protocol, identification, offset, has_more = data[at + 6], 0, 0, False
    while protocol in _V6_OPTIONS or protocol == _V6_FRAGMENT:
        if begin + 8 > min(end, len(data)):
            return "cut off before its IP header ends"
        size = 8
        if protocol == _V6_FRAGMENT:
            fragment, identification = struct.unpack_from(">HI", data, begin + 2)
            offset, has_more = fragment & ~7, bool(fragment & 1)
        else:
            size += data[begin + 1] * 8
        protocol, begin = data[begin], begin + size
    addresses = data[at + 8 : at + _V6_HEADER_BYTES]
    missing_bytes = max(0, end - max(begin, len(data)))
    return _Packet(addresses, protocol, data[begin:end], missing_bytes, identification, offset, has_more)
