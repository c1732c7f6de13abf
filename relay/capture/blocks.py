"""Datagrams as pcapng blocks: one Enhanced Packet Block each, of raw IP, side by side in one buffer.

A well-kept library (python-pcapng 2.1) takes 18 us to write a packet; a player-tick, which is two packets, costs the
relay 5. So the three block types that are needed are written here, in numpy, and the tests read them with that library
and with Wireshark's. Layout: draft-ietf-opsawg-pcapng, RFC 791, RFC 8200, RFC 768.

    block header 28 │ IPv4 20 or IPv6 40 │ UDP 8 │ payload │ zeros to a multiple of 4 │ block length 4

A batch is staged at once, for its memory belongs to others: space is made and the payloads are copied into it. All else
is done for many batches together, or a relay that handles 250 small batches a second would spend a tenth more on it.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relay.addresses import pack_address
from relay.columns import Bools, Bytes, Ints, places, windows

SECTION_BLOCK = 0x0A0D0D0A
_INTERFACE_BLOCK = 1
_PACKET_BLOCK = 6
_BYTE_ORDER = 0x1A2B3C4D
_LINK_RAW = 101
"""LINKTYPE_RAW: a packet begins with its IPv4 or IPv6 header."""
_OPTION_END, _OPTION_COMMENT, _OPTION_INTERFACE_NAME, _OPTION_APPLICATION = 0, 1, 2, 4
_UDP = 17
_HOPS = 64
"""Of a packet that was just sent, as most systems do it; the real one of a received packet is not known."""
_TRAILER_BYTES = 4
STAGE_BYTES = 1 << 20
"""Bytes that wait to be completed. A batch that does not fit makes room for itself (chosen: fits a core's cache)."""

Addresses = npt.NDArray[np.uint32]
"""(d, 7), see `relay.addresses`."""

_BLOCK = [(name, "<u4") for name in ("type", "size", "interface", "time_high", "time_low", "captured", "original")]
_UDP_FIELDS = [("source_port", "<u2"), ("target_port", "<u2"), ("udp_length", ">u2"), ("udp_checksum", ">u2")]
_V4_FIELDS = [
    *[("version", "u1"), ("service", "u1"), ("length", ">u2"), ("id", ">u2"), ("fragment", ">u2")],
    *[("hops", "u1"), ("protocol", "u1"), ("checksum", ">u2"), ("source", "<u4", (1,)), ("target", "<u4", (1,))],
]
_V6_FIELDS = [
    *[("version", ">u4"), ("length", ">u2"), ("protocol", "u1"), ("hops", "u1")],
    *[("source", "<u4", (4,)), ("target", "<u4", (4,))],
]
HEADER_V4 = np.dtype([*_BLOCK, *_V4_FIELDS, *_UDP_FIELDS])
HEADER_V6 = np.dtype([*_BLOCK, *_V6_FIELDS, *_UDP_FIELDS])
"""Hosts and ports are copied as they are in an address: in network order, whatever number that makes here."""
_BLOCK_BYTES = 28
_MAPPED = np.frombuffer(pack_address("0.0.0.0", 0)[8:20], np.uint32)
"""The first three words of an IPv4-mapped host."""


def build_file_head(application: str, comment: str) -> bytes:
    """Build what a capture file begins with: section header and interface description."""
    options = _option(_OPTION_COMMENT, comment) + _option(_OPTION_APPLICATION, application) + _option(_OPTION_END, "")
    section = _block(SECTION_BLOCK, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1) + options)
    options = _option(_OPTION_INTERFACE_NAME, "tickrelay") + _option(_OPTION_END, "")
    return section + _block(_INTERFACE_BLOCK, struct.pack("<HHI", _LINK_RAW, 0, 0) + options)


def _option(code: int, text: str) -> bytes:
    data = text.encode()
    return struct.pack("<HH", code, len(data)) + data + bytes(-len(data) % 4)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", 12 + len(body))  # type, size, body, size
    return struct.pack("<I", kind) + size + body + size


@dataclass
class Part:
    """What one batch has in a stage. Axis: d datagrams."""

    buffer: Bytes
    payload_at: Ints
    """Where each payload begins in `buffer`, (d,). Always even."""
    length: Ints
    """Bytes of each payload, (d,)."""
    address: Addresses
    """The players'."""
    is_v6: Bools
    is_sent: bool
    """By the relay."""
    at_us: int
    """When, microseconds since 1970."""


@dataclass
class Blocks:
    """Packet blocks, side by side. Axis: d datagrams."""

    buffer: Bytes
    payload_at: Ints
    """Where each payload begins in `buffer`, (d,). Always even."""
    length: Ints
    """Bytes of each payload, (d,)."""
    address: Addresses
    """The player's."""
    is_v6: Bools
    is_sent: Bools
    """By the relay, (d,)."""
    at_us: Ints
    """When, microseconds since 1970, (d,)."""


class Stage:
    """Space for blocks that are not complete yet."""

    def __init__(self) -> None:
        self._buffer = np.empty(STAGE_BYTES, np.uint8)
        self._used = 0
        self._parts: list[Part] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._parts

    def has_room(self, length: Ints) -> bool:
        """Tell whether datagrams of these lengths still fit."""
        return self._used + int(length.sum()) + len(length) * (HEADER_V6.itemsize + 3 + _TRAILER_BYTES) <= len(
            self._buffer
        )

    def add(self, length: Ints, address: Addresses, is_sent: bool, at_us: int) -> Part:
        """Make space for a batch. The caller copies the payloads to where the result says, before its next call."""
        is_v6 = (address[:, 4] != _MAPPED[2]) | (address[:, 3] != _MAPPED[1]) | (address[:, 2] != _MAPPED[0])
        header = HEADER_V4.itemsize + is_v6 * (HEADER_V6.itemsize - HEADER_V4.itemsize)
        size = header + (length + 3 & ~3) + _TRAILER_BYTES
        end = size.cumsum() + self._used
        self._used = int(end[-1])
        if self._used > len(self._buffer):  # only if nothing waits: see has_room
            self._buffer = np.empty(self._used, np.uint8)
        # the last eight bytes of each block: padding, or what the payload overwrites later, and the block's length
        windows(self._buffer, "<u8")[end - 8] = size.astype(np.uint64) << np.uint64(32)
        part = Part(self._buffer, end - size + header, length, address.copy(), is_v6, is_sent, at_us)
        self._parts.append(part)
        return part

    def take(self) -> Blocks:
        """Return all that waits, as one; the buffer may be written to again after the next `add`."""
        parts, self._parts = self._parts, []
        used, self._used = self._used, 0
        counts = [len(part.length) for part in parts]
        return Blocks(
            self._buffer[:used],
            payload_at=np.concatenate([part.payload_at for part in parts]),
            length=np.concatenate([part.length for part in parts]),
            address=np.concatenate([part.address for part in parts]),
            is_v6=np.concatenate([part.is_v6 for part in parts]),
            is_sent=np.array([part.is_sent for part in parts]).repeat(counts),
            at_us=np.array([part.at_us for part in parts]).repeat(counts),
        )


class Framer:
    """Writes the headers of blocks. One per capture: it knows the relay's own address."""

    def __init__(self, host: str, port: int) -> None:
        """Take the address that the relay is bound to. A wildcard stays one: the socket does not tell more."""
        self._own = np.frombuffer(pack_address(host, port), np.uint32)

    def write_headers(self, blocks: Blocks) -> None:
        """Write block, IP and UDP headers before all payloads, which must be final: IPv6 sums them up."""
        for header_type, which in ((HEADER_V4, places(~blocks.is_v6)), (HEADER_V6, places(blocks.is_v6))):
            if not len(which):
                continue
            headers = self._headers(header_type, blocks, which)
            if header_type is HEADER_V4:
                headers["checksum"] = _ipv4_checksums(headers)
            else:
                headers["udp_checksum"] = _udp_checksums(headers, blocks, which)
            size = header_type.itemsize
            windows(blocks.buffer, f"V{size}")[blocks.payload_at[which] - size] = headers.view(f"V{size}")

    def _headers(self, header_type: np.dtype[np.void], blocks: Blocks, which: Ints) -> npt.NDArray[np.void]:
        """Fill everything but the checksums."""
        length, at_us, is_sent = blocks.length[which], blocks.at_us[which], blocks.is_sent[which]
        is_v4 = header_type is HEADER_V4
        ip_bytes = header_type.itemsize - _BLOCK_BYTES
        headers = np.zeros(len(which), header_type)
        headers["type"] = _PACKET_BLOCK
        headers["size"] = header_type.itemsize + (length + 3 & ~3) + _TRAILER_BYTES
        headers["time_high"], headers["time_low"] = at_us >> 32, at_us & 0xFFFFFFFF
        headers["captured"] = headers["original"] = ip_bytes + length
        headers["version"] = 0x45 if is_v4 else 6 << 28
        headers["length"] = length + (ip_bytes if is_v4 else 8)
        if is_v4:
            headers["fragment"] = 0x4000  # do not fragment
        headers["protocol"], headers["hops"] = _UDP, _HOPS
        headers["udp_length"] = 8 + length
        theirs = blocks.address[which]
        host = slice(5, 6) if is_v4 else slice(2, 6)
        by_us = is_sent[:, np.newaxis]
        headers["source"] = np.where(by_us, self._own[host], theirs[:, host])
        headers["target"] = np.where(by_us, theirs[:, host], self._own[host])
        own_port, port = self._own[0] >> 16, theirs[:, 0] >> 16
        headers["source_port"] = np.where(is_sent, own_port, port)
        headers["target_port"] = np.where(is_sent, port, own_port)
        return headers


def _ipv4_checksums(headers: npt.NDArray[np.void]) -> Ints:
    """Sum the words of each IPv4 header; UDP then needs no checksum (RFC 768)."""
    octets = headers.view(np.uint8).reshape(len(headers), -1)
    words = octets[:, _BLOCK_BYTES : HEADER_V4.itemsize - 8].copy().view(">u2")
    return _folded(words.sum(axis=1, dtype=np.int64))


def _udp_checksums(headers: npt.NDArray[np.void], blocks: Blocks, which: Ints) -> Ints:
    """Sum pseudo-header, UDP header and payload: IPv6 permits no datagram without (RFC 8200 8.1)."""
    octets = headers.view(np.uint8).reshape(len(headers), -1)
    words = octets[:, _BLOCK_BYTES + 8 :].copy().view(">u2")  # both hosts and the UDP header
    total = words.sum(axis=1, dtype=np.int64) + headers["udp_length"] + _UDP
    start = blocks.payload_at[which] >> 1
    bounds = np.column_stack([start, start + (blocks.length[which] + 1 >> 1)]).reshape(-1)
    # behind an odd payload stands a zero; behind the last datagram is its trailer, so every bound is an index
    sums = np.add.reduceat(blocks.buffer.view(">u2"), bounds, dtype=np.int64)[::2]
    checksum = _folded(total + np.where(blocks.length[which] > 0, sums, 0))
    return np.where(checksum == 0, 0xFFFF, checksum)


def _folded(total: Ints) -> Ints:
    """Turn sums of 16-bit words into the Internet checksum (RFC 1071)."""
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
