"""Datagrams as pcapng blocks: one Enhanced Packet Block each, of raw IP, side by side in one buffer.

A well-kept library (python-pcapng 2.1) takes 18 us to write a packet; a player-tick, which is two packets, costs the
relay 4 to 6. So the three block types that are needed are written here, in numpy, and the tests read them with that
library and with Wireshark's. Layout: draft-ietf-opsawg-pcapng, RFC 791, RFC 8200, RFC 768.

    block header 28 │ IPv4 20 or IPv6 40 │ UDP 8 │ payload │ zeros to a multiple of 4 │ block length 4

A batch is staged at once, for its memory belongs to others: space is made and the payloads are copied into it. All else
is done for many batches together: a batch of one datagram then costs 25 us, and not 88.
"""

import struct
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from relay.addresses import pack_address
from relay.batch import ROW_BYTES
from relay.capture.pieces import Pieces
from relay.columns import Bools, Bytes, Ints, places, windows

SECTION_BLOCK = 0x0A0D0D0A
_INTERFACE_BLOCK = 1
_PACKET_BLOCK = 6
_BYTE_ORDER = 0x1A2B3C4D
_LINK_RAW = 101
"""LINKTYPE_RAW: a packet begins with its IPv4 or IPv6 header."""
_OPTION_END, _OPTION_COMMENT, _OPTION_INTERFACE_NAME, _OPTION_APPLICATION = 0, 1, 2, 4
TRAILER_BYTES = 4
_LENGTHS = np.arange(ROW_BYTES + 1)
"""All lengths that a payload can have; most of a header follows from it, and is looked up."""
_BODY_BYTES = (_LENGTHS + 3 & ~3) + TRAILER_BYTES
"""Bytes of a block behind its headers, by the payload's length."""
STAGE_BYTES = 1 << 20
"""Bytes that wait to be completed. A batch that is larger makes room for itself (256 and 512 KiB cost more)."""

Words = npt.NDArray[np.uint32]
Which = Ints | slice
"""Some datagrams by their places, or all of them: a view, then."""
Addresses = Words
"""(d, 7), see `relay.addresses`."""

_BLOCK_WORDS = 7
"""Words of 32 bits before the IP header: type, size, interface, time high, time low, captured, original."""
_UDP_WORDS = 2
HEADER_V4_BYTES = 4 * (_BLOCK_WORDS + 5 + _UDP_WORDS)
HEADER_V6_BYTES = 4 * (_BLOCK_WORDS + 10 + _UDP_WORDS)
# IP and UDP are in network order; as the little-endian words that they are written as, their constants read like this.
_IPV4_VERSION = 0x0045
"""Version 4 and five words of header; no type of service. The length stands above it."""
_IPV4_NO_FRAGMENTS = 0x0040_0000
_IPV6_VERSION = 0x60
_UDP = 17
_HOPS = 64
"""Of a packet that was just sent, as most systems do it; the real one of a received packet is not known."""
_MAPPED = pack_address("0.0.0.0", 0)[8:20]
"""What the host of an IPv4-mapped address begins with."""
_MAPPED_WORDS = np.frombuffer(_MAPPED, np.uint32)
_NO_HOSTS = np.zeros((0, 4), np.uint32)


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
    """What one batch has in a stage. Axes: d datagrams, k of them IPv6."""

    payload_at: Ints
    """Where each payload begins in `buffer`, (d,); multiples of 4."""
    length: Ints
    """Bytes of each payload, (d,)."""
    port: Words
    """The player's, in network order, (d,)."""
    host_v4: Words
    """The player's, (d,); means nothing where it is IPv6."""
    host_v6: Words
    """The players' of IPv6, (k, 4)."""
    is_v6: Bools
    """Whether the player's address is IPv6, (d,); there are k of them."""
    is_sent: bool
    """By the relay."""
    at_us: int
    """When, microseconds since 1970."""


@dataclass
class Blocks:
    """Packet blocks, side by side. Axes: d datagrams that are still to be completed, k of them IPv6."""

    buffer: Bytes
    """All blocks, (bytes,). A view: the stage writes to it again."""
    payload_at: Ints
    """Where each payload begins in `buffer`, (d,); multiples of 4."""
    length: Ints
    """Bytes of each payload, (d,)."""
    port: Words
    """The player's, in network order, (d,)."""
    host_v4: Words
    """The player's, (d,); means nothing where it is IPv6."""
    host_v6: Words
    """The players' of IPv6, (k, 4)."""
    is_v6: Bools
    """Whether the player's address is IPv6, (d,)."""
    is_sent: Bools
    """Whether the relay sent it, (d,)."""
    time_high: Words
    """Upper 32 bits of when, in microseconds since 1970, (d,)."""
    time_low: Words
    """Lower 32 bits of it, (d,)."""


def most_bytes(num_datagrams: int, num_bytes: int) -> int:
    """Bytes that blocks of datagrams with so many bytes together may have."""
    return num_bytes + num_datagrams * (HEADER_V6_BYTES + 3 + TRAILER_BYTES)


class Staging(Protocol):
    """Where datagrams wait as blocks until many are written together."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        ...

    def add(self, pieces: Pieces, address: Addresses, is_sent: bool, at_us: int) -> bool:
        """Copy a batch of one datagram and more, unless it must wait until `take` has made room: then False."""
        ...

    def take(self) -> Blocks:
        """Return all that waits, as one; the buffer is written to again at the next `add`."""
        ...


class Stage:
    """Space for blocks whose payloads are there and whose headers are not."""

    def __init__(self) -> None:
        self._buffer = np.empty(STAGE_BYTES, np.uint8)
        self._used = 0
        self._parts: list[Part] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._parts

    def add(self, pieces: Pieces, address: Addresses, is_sent: bool, at_us: int) -> bool:
        """See `Staging`."""
        length = pieces.lengths()
        if not self._has_room(length):
            return False
        has_v6 = address[:, 2:5].tobytes() != _MAPPED * len(length)
        is_v6 = (address[:, 2:5] != _MAPPED_WORDS).any(axis=1) if has_v6 else np.zeros(len(length), np.bool_)
        header = HEADER_V4_BYTES + is_v6 * (HEADER_V6_BYTES - HEADER_V4_BYTES) if has_v6 else HEADER_V4_BYTES
        body = _BODY_BYTES[length]
        size = body + header
        end = size.cumsum()
        end += self._used
        self._used = int(end[-1])
        # the last eight bytes of each block: padding, or what the payload overwrites later, and the block's length
        windows(self._buffer, "<i8")[end - 8] = size << 32
        part = Part(
            payload_at=end - body,
            length=length,
            port=address[:, 0] >> np.uint32(16),
            host_v4=address[:, 5].copy(),
            host_v6=address[is_v6, 2:6] if has_v6 else _NO_HOSTS,
            is_v6=is_v6,
            is_sent=is_sent,
            at_us=at_us,
        )
        self._parts.append(part)
        pieces.copy_to(self._buffer, part.payload_at)
        return True

    def _has_room(self, length: Ints) -> bool:
        """Tell whether datagrams fit behind what waits; if nothing waits, see to it."""
        most = most_bytes(len(length), int(length.sum()))
        if self._used + most > len(self._buffer) and self.is_empty:
            self._buffer = np.empty(most, np.uint8)
        return self._used + most <= len(self._buffer)

    def take(self) -> Blocks:
        """See `Staging`."""
        parts, self._parts = self._parts, []
        used, self._used = self._used, 0
        counts = [len(part.length) for part in parts]
        return Blocks(
            self._buffer[:used],
            payload_at=np.concatenate([part.payload_at for part in parts]),
            length=np.concatenate([part.length for part in parts]),
            port=np.concatenate([part.port for part in parts]),
            host_v4=np.concatenate([part.host_v4 for part in parts]),
            host_v6=np.concatenate([part.host_v6 for part in parts]),
            is_v6=np.concatenate([part.is_v6 for part in parts]),
            is_sent=np.array([part.is_sent for part in parts]).repeat(counts),
            time_high=np.array([part.at_us >> 32 for part in parts], np.uint32).repeat(counts),
            time_low=np.array([part.at_us & 0xFFFFFFFF for part in parts], np.uint32).repeat(counts),
        )


class Framer:
    """Writes the headers of blocks. One per capture: it knows the relay's own address."""

    def __init__(self, host: str, port: int) -> None:
        """Take the address that the relay is bound to. A wildcard stays one: the socket does not tell more."""
        own = np.frombuffer(pack_address(host, port), np.uint32)
        self._port = np.uint32(own[0] >> np.uint32(16))
        self._host_v4 = own[5]
        self._host_v6 = own[2:6].copy()  # writable, like all arrays that a loop is given
        self._template_v4 = _template_v4()
        self._template_v6 = _template_v6()
        ip_sums = self._template_v4[:, _BLOCK_WORDS : _BLOCK_WORDS + 5]
        self._sum_v4 = _halves(ip_sums).sum(axis=1) + _halves(self._host_v4)
        """Sum of an IPv4 header without the player's host, by the payload's length."""

    def own(self) -> tuple[Any, ...]:
        """Return what all headers are made of: `loops.framing.Own`."""
        return self._port, self._host_v4, self._host_v6, self._template_v4, self._template_v6, self._sum_v4

    def write_headers(self, blocks: Blocks) -> None:
        """Write block, IP and UDP headers before all payloads, which must be final: IPv6 sums them up."""
        if not len(blocks.host_v6):
            self._write_v4(blocks, slice(None))
            return
        v4 = places(~blocks.is_v6)
        if len(v4):
            self._write_v4(blocks, v4)
        self._write_v6(blocks, places(blocks.is_v6))

    def _write_v4(self, blocks: Blocks, which: Which) -> None:
        """Write headers of IPv4. UDP then needs no checksum (RFC 768)."""
        length, is_sent, host = blocks.length[which], blocks.is_sent[which], blocks.host_v4[which]
        words = self._template_v4[length]
        ip = words[:, _BLOCK_WORDS:]
        ip[:, 2] |= (_checksums(self._sum_v4[length] + _halves(host)) << 16).astype(np.uint32)
        ip[:, 3] = np.where(is_sent, self._host_v4, host)
        ip[:, 4] = np.where(is_sent, host, self._host_v4)
        ip[:, 5] = self._ports(blocks, which)
        _place(blocks, which, words)

    def _write_v6(self, blocks: Blocks, which: Ints) -> None:
        """Write headers of IPv6, which permits no UDP without a checksum (RFC 8200 8.1)."""
        words = self._template_v6[blocks.length[which]]
        ip = words[:, _BLOCK_WORDS:]
        ports = self._ports(blocks, which)
        total = _halves(blocks.host_v6).sum(axis=1) + _halves(self._host_v6).sum() + _halves(ports)
        total += 2 * ip[:, 11].astype(np.int64) + (_UDP << 8) + _payload_sums(blocks, which)  # length stands in both
        checksum = _checksums(total)
        by_us = blocks.is_sent[which, np.newaxis]
        ip[:, 2:6] = np.where(by_us, self._host_v6, blocks.host_v6)
        ip[:, 6:10] = np.where(by_us, blocks.host_v6, self._host_v6)
        ip[:, 10] = ports
        ip[:, 11] |= (np.where(checksum == 0, 0xFFFF, checksum) << 16).astype(np.uint32)
        _place(blocks, which, words)

    def _ports(self, blocks: Blocks, which: Which) -> Words:
        """Return source and target port as one word, (n,)."""
        ours, theirs, half = self._port, blocks.port[which], np.uint32(16)
        return np.where(blocks.is_sent[which], theirs << half | ours, ours << half | theirs)


def _template(header_bytes: int) -> Words:
    """Make the headers of all lengths, (lengths, words), with what the block's header can know."""
    words = np.zeros((len(_LENGTHS), header_bytes // 4), np.uint32)
    words[:, 0] = _PACKET_BLOCK
    words[:, 1] = _BODY_BYTES + header_bytes  # [2]: 0, the only interface; [3], [4]: the time
    words[:, 5] = words[:, 6] = _LENGTHS + (header_bytes - 4 * _BLOCK_WORDS)
    return words


def _template_v4() -> Words:
    """Make the headers of IPv4 without hosts, ports and checksum."""
    words = _template(HEADER_V4_BYTES)
    ip = words[:, _BLOCK_WORDS:]
    ip[:, 0] = _swapped(_LENGTHS + 20 + 8) << 16 | _IPV4_VERSION
    ip[:, 1] = _IPV4_NO_FRAGMENTS
    ip[:, 2] = _UDP << 8 | _HOPS
    ip[:, 6] = _swapped(_LENGTHS + 8)
    return words


def _template_v6() -> Words:
    """Make the headers of IPv6 without hosts, ports and UDP's checksum."""
    words = _template(HEADER_V6_BYTES)
    ip = words[:, _BLOCK_WORDS:]
    ip[:, 0] = _IPV6_VERSION
    ip[:, 1] = _swapped(_LENGTHS + 8) | _UDP << 16 | _HOPS << 24
    ip[:, 11] = _swapped(_LENGTHS + 8)
    return words


def _place(blocks: Blocks, which: Which, words: Words) -> None:
    """Write headers before their payloads."""
    words[:, 3] = blocks.time_high[which]
    words[:, 4] = blocks.time_low[which]
    size = 4 * words.shape[1]
    windows(blocks.buffer, f"V{size}")[blocks.payload_at[which] - size] = words.view(f"V{size}")[:, 0]


def _payload_sums(blocks: Blocks, which: Ints) -> Ints:
    """Sum the 16-bit words of payloads, (n,): two at a time, for payloads begin at multiples of 4 and end in zeros."""
    length = blocks.length[which]
    start = blocks.payload_at[which] >> 2
    # the last datagram is followed by its trailer, so every bound is an index
    bounds = np.column_stack([start, start + (length + 3 >> 2)]).reshape(-1)
    pairs = np.add.reduceat(blocks.buffer.view("<u4"), bounds, dtype=np.int64)[::2]
    return np.where(length > 0, (pairs & 0xFFFF) + (pairs >> 16 & 0xFFFF) + (pairs >> 32), 0)


def _halves(words: Words) -> Ints:
    """Add the two 16-bit halves of each word; same shape."""
    return (words & np.uint32(0xFFFF)).astype(np.int64) + (words >> np.uint32(16))


def _swapped(numbers: Ints) -> Ints:
    """Turn 16-bit numbers into network order."""
    return (numbers & 0xFF) << 8 | numbers >> 8


def _checksums(total: Ints) -> Ints:
    """Turn sums of 16-bit words into the Internet checksum, which is the same in either byte order (RFC 1071)."""
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
