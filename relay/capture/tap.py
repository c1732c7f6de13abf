"""From what the server received or sent to the bytes of a capture: columns in, pcapng blocks out, no I/O.

Nothing is done per datagram but for the cold ones. All of a batch has one time, that of the pass in which the relay
read it or sent it: when a datagram reached the socket is not known.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from protocol import dtypes
from protocol.constants import Kind
from relay.batch import ROW_BYTES, Batch, Outgoing
from relay.capture.blocks import Addresses, Framer, Stage
from relay.capture.choice import Choice
from relay.capture.memory import copy_memory, read_heads
from relay.capture.pseudonyms import Pseudonyms
from relay.capture.redact import redact
from relay.capture.scrub import scrub
from relay.columns import Ints, expand, places

_HEAD = np.dtype({"names": ["kind", "session"], "formats": ["u1", "<u8"], "offsets": [0, 4], "itemsize": 12})
"""What DATA and UPDATE begin with alike. A received row has more bytes than that, whatever its length."""
COLD_PER_S = 6_000
"""Cold datagrams per second that are looked into, as many at once: 2,000 HELLO, their CHALLENGEs, and as many joins."""


@dataclass
class Pieces:
    """Datagrams where they lie in memory. Axes: d datagrams, p pieces; whoever calls keeps them alive."""

    pointer: Ints
    """(p,)"""
    length: Ints
    """Bytes, (p,)."""
    first: Ints | None = None
    """Datagram i is pieces first[i] up to first[i + 1], (d + 1,). None: each is one piece."""

    def lengths(self) -> Ints:
        """Return the bytes of each datagram, (d,)."""
        return self.length if self.first is None else np.add.reduceat(self.length, self.first[:-1])

    def of(self, which: Ints) -> "Pieces":
        """Select datagrams by their places, (n,)."""
        if self.first is None:
            return Pieces(self.pointer[which], self.length[which])
        count = (self.first[1:] - self.first[:-1])[which]
        datagram, k = expand(count)
        members = self.first[which][datagram] + k
        first = np.concatenate([np.zeros(1, np.int64), count.cumsum()])
        return Pieces(self.pointer[members], self.length[members], first)

    def begins(self) -> Ints:
        """Return where each datagram begins in memory, (d,)."""
        return self.pointer if self.first is None else self.pointer[self.first[:-1]]

    def payload(self, i: int) -> bytes:
        """Return one datagram."""
        one = self.of(np.array([i]))
        target = np.empty(int(one.length.sum()), np.uint8)
        copy_memory(target, one.length.cumsum() - one.length, one.pointer, one.length)
        return target.tobytes()


class Tap:
    """Stages batches, and completes them many at a time."""

    def __init__(
        self,
        framer: Framer,
        pseudonyms: Pseudonyms,
        write: Callable[[memoryview], None],
        *,
        epoch_s: float,
        choice: Choice | None = None,
        redact_text: bool = False,
    ) -> None:
        """Build a tap.

        Args:
            write: Takes whole blocks; the memory is used again when it returns.
            epoch_s: Seconds since 1970 at which the relay's monotonic clock was 0.
            choice: Which datagrams; None for all.
        """
        self._framer = framer
        self._pseudonyms = pseudonyms
        self._write = write
        self._epoch_s = epoch_s
        self._choice = choice
        self._redact_text = redact_text
        self._stage = Stage()
        self._cold_left = float(COLD_PER_S)
        self._now = 0.0

    def on_received(self, batch: Batch, now: float) -> None:
        """Take in a received batch. Copies: the batch may be used again."""
        count, start = batch.count, batch.data.ctypes.data
        pointer = np.arange(start, start + count * ROW_BYTES, ROW_BYTES)
        length = np.minimum(batch.length[:count], ROW_BYTES).astype(np.int64)
        self._take_in(Pieces(pointer, length), batch.address[:count], False, now)

    def on_sent(self, outgoing: Outgoing, now: float) -> None:
        """Take in what was sent. Call before the engine's next call."""
        numbers = np.ascontiguousarray(outgoing.pieces).view(np.int64)
        pieces = Pieces(numbers[:, 0], numbers[:, 1], outgoing.first_piece)
        self._take_in(pieces, outgoing.address, True, now)

    def complete(self) -> None:
        """Write all that was taken in as whole blocks."""
        if self._stage.is_empty:
            return
        blocks = self._stage.take()
        self._cold_left -= scrub(blocks, self._pseudonyms, self._redact_text, max(0, int(self._cold_left)))
        if self._redact_text:
            redact(blocks)
        self._framer.write_headers(blocks)
        self._write(blocks.buffer.data)

    def _take_in(self, pieces: Pieces, address: Addresses, is_sent: bool, now: float) -> None:
        if not len(address):
            return
        if self._choice is None:
            self._add(pieces, address, is_sent, now)
            return
        which = self._chosen(self._choice, pieces, address, is_sent, now)
        for _, payload, to, was_sent, then in self._choice.released:
            data = np.frombuffer(payload, np.uint8)
            self._add(Pieces(np.array([data.ctypes.data]), np.array([len(data)])), to[np.newaxis], was_sent, then)
        self._choice.released.clear()
        if len(which):
            self._add(pieces.of(which), address[which], is_sent, now)

    def _add(self, pieces: Pieces, address: Addresses, is_sent: bool, now: float) -> None:
        """Copy datagrams into the stage; there is at least one."""
        length = pieces.lengths()
        self._cold_left = min(float(COLD_PER_S), max(0.0, self._cold_left) + max(0.0, now - self._now) * COLD_PER_S)
        self._now = now
        if not self._stage.has_room(len(length), int(length.sum())):
            self.complete()
        part = self._stage.add(length, address, is_sent, round((self._epoch_s + now) * 1e6))
        target_at = part.payload_at
        if pieces.first is not None:
            count = pieces.first[1:] - pieces.first[:-1]
            before = pieces.length.cumsum() - pieces.length
            target_at = before + (target_at - before[pieces.first[:-1]]).repeat(count)
        copy_memory(part.buffer, target_at, pieces.pointer, pieces.length)

    def _chosen(self, choice: Choice, pieces: Pieces, address: Addresses, is_sent: bool, now: float) -> Ints:
        """List the datagrams that are wanted. Their first pieces have 12 bytes: a header, an answer, or a row."""
        heads = read_heads(pieces.begins(), _HEAD)
        kind, least = (Kind.UPDATE, dtypes.UPDATE_HEADER.size) if is_sent else (Kind.DATA, dtypes.DATA_HEADER.size)
        is_hot = (heads["kind"] == int(kind)) & (pieces.lengths() >= least)
        wanted = is_hot & choice.of_sessions(heads["session"])
        for i in places(~is_hot).tolist():
            wanted[i] = choice.wants_cold(pieces.payload(i), address[i], is_sent, now)
        return places(wanted)
