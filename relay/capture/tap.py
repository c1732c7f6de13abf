"""From what the server received or sent to the bytes of a capture: columns in, pcapng blocks out, no I/O.

Nothing is done per datagram but for the cold ones. All of a batch has one time, that of the pass in which the relay
read it or sent it: when a datagram reached the socket is not known.
"""

from collections.abc import Callable

import numpy as np

from protocol import dtypes
from protocol.constants import Kind
from relay.batch import Batch, Outgoing
from relay.capture.blocks import Addresses, Framer, Stage, Staging
from relay.capture.choice import Choice
from relay.capture.memory import read_heads
from relay.capture.pieces import BatchRows, Pieces, pieces_of_bytes, pieces_of_outgoing
from relay.capture.pseudonyms import Pseudonyms
from relay.capture.redact import redact
from relay.capture.scrub import scrub
from relay.columns import Ints, places

_HEAD = np.dtype({"names": ["kind", "session"], "formats": ["u1", "<u8"], "offsets": [0, 4], "itemsize": 12})
"""What DATA and UPDATE begin with alike. A received row has more bytes than that, whatever its length."""
COLD_PER_S = 6_000
"""Cold datagrams per second that are looked into, as many at once: 2,000 HELLO, their CHALLENGEs, and as many joins."""


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
        stage: Staging | None = None,
    ) -> None:
        """Build a tap.

        Args:
            write: Takes whole blocks; the memory is used again when it returns.
            epoch_s: Seconds since 1970 at which the relay's monotonic clock was 0.
            choice: Which datagrams; None for all.
            stage: Where they wait; None for `Stage`.
        """
        self._framer = framer
        self._pseudonyms = pseudonyms
        self._write = write
        self._epoch_s = epoch_s
        self._choice = choice
        self._redact_text = redact_text
        self._stage = stage or Stage()
        self._rows = BatchRows()
        self._cold_left = float(COLD_PER_S)
        self._now = 0.0

    def on_received(self, batch: Batch, now: float) -> None:
        """Take in a received batch. Copies: the batch may be used again."""
        self._take_in(self._rows.of(batch), batch.address[: batch.count], False, now)

    def on_sent(self, outgoing: Outgoing, now: float) -> None:
        """Take in what was sent. Call before the engine's next call."""
        self._take_in(pieces_of_outgoing(outgoing), outgoing.address, True, now)

    def complete(self) -> None:
        """Write all that was taken in as whole blocks."""
        if self._stage.is_empty:
            return
        blocks = self._stage.take()
        if len(blocks.length):
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
            self._add(pieces_of_bytes(payload), to[np.newaxis], was_sent, then)
        self._choice.released.clear()
        if len(which):
            self._add(pieces.of(which), address[which], is_sent, now)

    def _add(self, pieces: Pieces, address: Addresses, is_sent: bool, now: float) -> None:
        """Copy datagrams into the stage; there is at least one."""
        self._cold_left = min(float(COLD_PER_S), max(0.0, self._cold_left) + max(0.0, now - self._now) * COLD_PER_S)
        self._now = max(self._now, now)  # what was held back is of before
        at_us = round((self._epoch_s + now) * 1e6)
        if not self._stage.add(pieces, address, is_sent, at_us):
            self.complete()
            self._stage.add(pieces, address, is_sent, at_us)

    def _chosen(self, choice: Choice, pieces: Pieces, address: Addresses, is_sent: bool, now: float) -> Ints:
        """List the datagrams that are wanted. Their first pieces have 12 bytes: a header, an answer, or a row."""
        heads = read_heads(pieces.begins(), _HEAD)
        kind, least = (Kind.UPDATE, dtypes.UPDATE_HEADER.size) if is_sent else (Kind.DATA, dtypes.DATA_HEADER.size)
        is_hot = (heads["kind"] == int(kind)) & (pieces.lengths() >= least)
        wanted = is_hot & choice.of_sessions(heads["session"])
        for i in places(~is_hot).tolist():
            wanted[i] = choice.wants_cold(pieces.payload(i), address[i], is_sent, now)
        return places(wanted)
