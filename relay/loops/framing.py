"""Captured datagrams as whole blocks, in one walk: what `relay/capture` does in columns, for the common ones.

A DATA or UPDATE of a session that is known by its pseudonym is complete when the walk has passed it. Everything else
has only its payload copied and is listed: cold datagrams, new sessions, and all of them if texts are to be blanked.
"""

from collections import namedtuple
from typing import Any

import numpy as np

from relay.addresses import ADDRESS_WORDS
from relay.capture.blocks import (
    HEADER_V4_BYTES,
    HEADER_V6_BYTES,
    STAGE_BYTES,
    TRAILER_BYTES,
    Addresses,
    Blocks,
    Framer,
    most_bytes,
)
from relay.capture.memory import BASE, items_of_memory
from relay.capture.pieces import Pieces
from relay.capture.pseudonyms import SESSION_SLOTS, Pseudonyms
from relay.capture.scrub import HOT_BYTES, SESSION_AT
from relay.columns import windows
from relay.loops.arrays import Box
from relay.loops.jit import compiled, inlined

Memory = namedtuple("Memory", "byte quad")
"""The process's memory in bytes and in unaligned words of eight, index 0 at `capture.memory.BASE`."""
Target = namedtuple("Target", "byte word quad")
"""The buffer in bytes, and in unaligned words of four and eight bytes."""
Own = namedtuple("Own", "port host_v4 host_v6 template_v4 template_v6 sum_v4")
"""What `capture.blocks.Framer` knows: the relay's address, and headers by the payload's length."""
Known = namedtuple("Known", "session stand_in hot_bytes")
"""`Pseudonyms`' table, and the bytes of a hot kind's header by kind."""
LEFT = np.dtype(
    [
        ("payload_at", "<i8"),
        ("length", "<i8"),
        ("port", "<u4"),
        ("host", "<u4", 4),
        ("is_v6", "?"),
        ("is_sent", "?"),
        ("at_us", "<i8"),
    ]
)
"""A datagram that is left to be completed, see `capture.blocks.Part`."""

_SLOT_MASK = SESSION_SLOTS - 1
_MAPPED_WORD = 0xFFFF0000
"""Third word of the host of an IPv4-mapped address: bytes 00 00 FF FF."""
_MOST_AROUND = most_bytes(1, 0)
"""Bytes around a payload at most."""
_FIRST_LEFT = 1024
"""Room for datagrams that are left at first; doubled when it is not enough."""
_UDP_SUM = 17 << 8
"""UDP's number in the pseudo header of its checksum, as a little-endian word sees it."""


@compiled
def frame(
    target: Any, used: int, source: Any, memory: Any, own: Any, known: Any, left: Any, num_left: int, moment: Any
) -> Any:
    """Copy datagrams behind what is in the buffer, and complete the common ones.

    Args:
        target, own, known: Boxes of `Target`, `Own`, `Known`.
        used: Bytes in the buffer.
        source: Pointer and length of each piece, (p, 2); the first piece of each datagram, (d + 1,); the players'
            addresses, (d, 7).
        memory: Box of `Memory`.
        left: (n,) `LEFT`, of which the first `num_left` stand; it has room for all that is added.
        moment: (at_us, is_sent).
    Returns: bytes in the buffer, datagrams in `left`; -1 and as many as before if the buffer has no room.
    """
    piece, first, address = source
    at_us, is_sent = moment
    out, o, k, m = target.value, own.value, known.value, memory.value
    most = used + len(address) * _MOST_AROUND
    for number in range(len(piece)):
        most += piece[number, 1]
    if most > len(out.byte):
        return -1, num_left
    for d in range(len(address)):
        is_v6 = address[d, 2] != 0 or address[d, 3] != 0 or address[d, 4] != _MAPPED_WORD
        payload_at = used + (HEADER_V6_BYTES if is_v6 else HEADER_V4_BYTES)
        end = payload_at
        for number in range(first[d], first[d + 1]):
            _copy(out, end, m, piece[number, 0] - BASE, piece[number, 1])
            end += piece[number, 1]
        length = end - payload_at
        padded = payload_at + (length + 3 & ~3)
        while end < padded:
            out.byte[end] = 0
            end += 1
        out.word[padded] = padded + TRAILER_BYTES - used
        if not _is_hot(out, payload_at, length, k) or not _hide_session(out, payload_at, k):
            _leave(left[num_left], payload_at, length, address, d, is_v6, is_sent, at_us)
            num_left += 1
        elif is_v6:
            _write_v6(out, used, payload_at, length, address, d, is_sent, at_us, o)
        else:
            _write_v4(out, used, length, address, d, is_sent, at_us, o)
        used = padded + TRAILER_BYTES
    return used, num_left


@inlined
def _copy(target: Any, to: int, memory: Any, at: int, count: int) -> None:
    """Copy bytes, eight at a time; the last eight of a piece overlap the ones before."""
    if count < 8:
        for k in range(count):
            target.byte[to + k] = memory.byte[at + k]
        return
    for k in range(0, count - 7, 8):
        target.quad[to + k] = memory.quad[at + k]
    target.quad[to + count - 8] = memory.quad[at + count - 8]


@inlined
def _is_hot(target: Any, payload_at: int, length: int, known: Any) -> bool:
    """Tell whether a payload is DATA or UPDATE with a whole header, and nothing else in it is to be replaced."""
    return length > 0 and known.hot_bytes[target.byte[payload_at]] <= length


@inlined
def _hide_session(target: Any, payload_at: int, known: Any) -> bool:
    """Replace the session by its pseudonym, if it is known."""
    session = target.quad[payload_at + SESSION_AT]
    slot = np.int64(session & np.uint64(_SLOT_MASK))
    is_known = known.session[slot] == session
    if is_known:
        target.quad[payload_at + SESSION_AT] = known.stand_in[slot]
    return is_known


@inlined
def _leave(
    left: Any, payload_at: int, length: int, address: Any, d: int, is_v6: bool, is_sent: bool, at_us: int
) -> None:
    """Note a datagram that is left to be completed."""
    left.payload_at, left.length, left.port = payload_at, length, address[d, 0] >> 16
    for k in range(4):
        left.host[k] = address[d, 2 + k]
    left.is_v6, left.is_sent, left.at_us = is_v6, is_sent, at_us


@inlined
def _write_block_header(target: Any, used: int, templates: Any, length: int, at_us: int) -> None:
    """Write what the length says, and the time."""
    for k in range(templates.shape[1]):
        target.word[used + 4 * k] = templates[length, k]
    target.word[used + 12] = at_us >> 32
    target.word[used + 16] = at_us & 0xFFFFFFFF


@inlined
def _ports(address: Any, d: int, is_sent: bool, own: Any) -> int:
    """Source and target port as one word."""
    theirs, ours = np.int64(address[d, 0]) >> 16, np.int64(own.port)
    return theirs << 16 | ours if is_sent else ours << 16 | theirs


@inlined
def _write_v4(target: Any, used: int, length: int, address: Any, d: int, is_sent: bool, at_us: int, own: Any) -> None:
    """Write the headers of IPv4, as `Framer` does."""
    _write_block_header(target, used, own.template_v4, length, at_us)
    host = np.int64(address[d, 5])
    ip = used + HEADER_V4_BYTES - 28
    target.word[ip + 8] |= np.uint32(_checksum(own.sum_v4[length] + _halves(host)) << 16)
    target.word[ip + 12] = own.host_v4 if is_sent else host
    target.word[ip + 16] = host if is_sent else own.host_v4
    target.word[ip + 20] = _ports(address, d, is_sent, own)


@inlined
def _write_v6(
    target: Any, used: int, payload_at: int, length: int, address: Any, d: int, is_sent: bool, at_us: int, own: Any
) -> None:
    """Write the headers of IPv6, as `Framer` does."""
    _write_block_header(target, used, own.template_v6, length, at_us)
    ip = used + HEADER_V6_BYTES - 48
    ports = _ports(address, d, is_sent, own)
    udp_length = np.int64(target.word[ip + 44])
    total = _halves(ports) + 2 * udp_length + _UDP_SUM
    for k in range(4):
        ours, theirs = np.int64(own.host_v6[k]), np.int64(address[d, 2 + k])
        target.word[ip + 8 + 4 * k] = ours if is_sent else theirs
        target.word[ip + 24 + 4 * k] = theirs if is_sent else ours
        total += _halves(ours) + _halves(theirs)
    for k in range(payload_at, payload_at + length, 4):
        total += _halves(np.int64(target.word[k]))
    checksum = _checksum(total)
    target.word[ip + 40] = ports
    target.word[ip + 44] = udp_length | (checksum if checksum != 0 else 0xFFFF) << 16


@inlined
def _halves(word: int) -> int:
    """Add the two 16-bit halves of a word."""
    return (word & 0xFFFF) + (word >> 16)


@inlined
def _checksum(total: int) -> int:
    """Turn a sum of 16-bit words into the Internet checksum (RFC 1071)."""
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class LoopStage:
    """`relay.capture.blocks.Staging` with the loop above."""

    def __init__(self, framer: Framer, pseudonyms: Pseudonyms, leave_all: bool = False) -> None:
        """Build an empty stage; the loop is compiled, or loaded, before this returns.

        Args:
            pseudonyms: Whoever completes what is left adds new sessions to it.
            leave_all: Complete nothing.
        """
        hot_bytes = np.full_like(HOT_BYTES, np.iinfo(np.int64).max) if leave_all else HOT_BYTES
        self._own = Box(Own(*framer.own()))
        self._known = Box(Known(pseudonyms.session, pseudonyms.stand_in, hot_bytes))
        self._memory = Box(Memory(items_of_memory("|u1"), items_of_memory("<u8")))
        self._left = np.zeros(_FIRST_LEFT, LEFT)
        self._used = self._num_left = 0
        self._make_buffer(STAGE_BYTES)
        nobody = np.zeros((0, ADDRESS_WORDS), np.uint32)
        self.add(Pieces(np.zeros((0, 2), np.int64), np.zeros(1, np.int64)), nobody, False, 0)

    @property
    def is_empty(self) -> bool:
        """See `Staging`."""
        return self._used == 0

    def add(self, pieces: Pieces, address: Addresses, is_sent: bool, at_us: int) -> bool:
        """See `Staging`."""
        if self._num_left + len(address) > len(self._left):
            self._left = np.concatenate([self._left, np.zeros(self._num_left + len(address), LEFT)])
        if not self._frame(pieces, address, is_sent, at_us):
            if not self.is_empty:
                return False
            self._make_buffer(most_bytes(len(address), int(pieces.iovec[:, 1].sum())))
            self._frame(pieces, address, is_sent, at_us)
        return True

    def _frame(self, pieces: Pieces, address: Addresses, is_sent: bool, at_us: int) -> bool:
        """Call the loop, always with the same types. Returns: whether there was room."""
        used, self._num_left = frame(
            self._target,
            self._used,
            (pieces.iovec, pieces.first, address if address.flags.writeable else address.copy()),
            self._memory,
            self._own,
            self._known,
            self._left,
            self._num_left,
            (at_us, is_sent),
        )
        self._used = max(used, self._used)
        return used >= 0

    def take(self) -> Blocks:
        """See `Staging`."""
        left = self._left[: self._num_left]
        buffer = self._buffer[: self._used]
        self._used = self._num_left = 0
        is_v6, host, at_us = left["is_v6"].copy(), left["host"], left["at_us"]
        return Blocks(
            buffer,
            payload_at=left["payload_at"].copy(),
            length=left["length"].copy(),
            port=left["port"].copy(),
            host_v4=host[:, 3].copy(),
            host_v6=host[is_v6],
            is_v6=is_v6,
            is_sent=left["is_sent"].copy(),
            time_high=(at_us >> 32).astype(np.uint32),
            time_low=(at_us & 0xFFFFFFFF).astype(np.uint32),
        )

    def _make_buffer(self, num_bytes: int) -> None:
        self._buffer = np.empty(num_bytes, np.uint8)
        self._target = Box(Target(self._buffer, windows(self._buffer, "<u4"), windows(self._buffer, "<u8")))
