"""From what the server received or sent to the bytes of a capture: columns in, pcapng blocks out, no I/O.

Nothing is done per datagram but for the cold ones. All of a batch has one time, that of the pass in which the relay
read it or sent it: when a datagram reached the socket is not known.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.constants import Kind
from relay.batch import ROW_BYTES, Batch, Outgoing
from relay.capture.blocks import Addresses, Framer, Stage
from relay.capture.choice import Choice
from relay.capture.memory import copy_pieces, read_heads
from relay.capture.pseudonyms import Pseudonyms
from relay.capture.redact import redact
from relay.capture.scrub import scrub
from relay.columns import Ints, places

_HEAD = np.dtype({"names": ["kind", "session"], "formats": ["u1", "<u8"], "offsets": [0, 4], "itemsize": 12})
"""What DATA and UPDATE begin with alike. A received row has more bytes than that, whatever its length."""
Pieces = npt.NDArray[np.uint64]
"""(p, 2): pointer and length, as in `Outgoing`."""


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

    def on_received(self, batch: Batch, now: float) -> None:
        """Take in a received batch. Copies: the batch may be used again."""
        count = batch.count
        pieces = np.empty((count, 2), np.uint64)
        start = batch.data.ctypes.data
        pieces[:, 0] = np.arange(start, start + count * ROW_BYTES, ROW_BYTES, dtype=np.uint64)
        pieces[:, 1] = np.minimum(batch.length[:count], ROW_BYTES)
        self._take_in(pieces, np.arange(count + 1), batch.address[:count], False, now)

    def on_sent(self, outgoing: Outgoing, now: float) -> None:
        """Take in what was sent. Call before the engine's next call."""
        self._take_in(outgoing.pieces, outgoing.first_piece, outgoing.address, True, now)

    def complete(self) -> None:
        """Write all that was taken in as whole blocks."""
        if self._stage.is_empty:
            return
        blocks = self._stage.take()
        data, update = scrub(blocks, self._pseudonyms, self._redact_text)
        if self._redact_text:
            redact(blocks, data, update)
        self._framer.write_headers(blocks)
        self._write(blocks.buffer.data)

    def _take_in(self, pieces: Pieces, first: Ints, address: Addresses, is_sent: bool, now: float) -> None:
        if self._choice is None:
            self._add(pieces, first, address, is_sent, now)
            return
        which = self._chosen(self._choice, pieces, first, address, is_sent, now)
        for _, payload, to, was_sent, then in self._choice.released:
            data = np.frombuffer(payload, np.uint8)
            self._add(np.array([[data.ctypes.data, len(data)]], np.uint64), np.arange(2), to[None, :], was_sent, then)
        self._choice.released.clear()
        members, first = _select_runs(first, which)
        self._add(pieces[members], first, address[which], is_sent, now)

    def _add(self, pieces: Pieces, first: Ints, address: Addresses, is_sent: bool, now: float) -> None:
        """Copy datagrams that are runs of pieces, as in `Outgoing`, into the stage."""
        if not len(address):
            return
        behind = np.zeros(len(pieces) + 1, np.int64)
        pieces[:, 1].cumsum(out=behind[1:], dtype=np.int64)
        begin = behind[first]
        length = begin[1:] - begin[:-1]
        if not self._stage.has_room(length):
            self.complete()
        part = self._stage.add(length, address, is_sent, round((self._epoch_s + now) * 1e6))
        shift = part.payload_at - begin[:-1]
        if len(pieces) > len(length):
            shift = shift.repeat(first[1:] - first[:-1])
        copy_pieces(part.buffer, behind[:-1] + shift, pieces)

    def _chosen(
        self, choice: Choice, pieces: Pieces, first: Ints, address: Addresses, is_sent: bool, now: float
    ) -> Ints:
        """List the datagrams that are wanted. Their first pieces have 12 bytes: a header, an answer, or a row."""
        if not len(address):
            return np.zeros(0, np.int64)
        heads = read_heads(pieces[first[:-1], 0], _HEAD)
        length = np.add.reduceat(pieces[:, 1], first[:-1])
        kind, least = (Kind.UPDATE, dtypes.UPDATE_HEADER.size) if is_sent else (Kind.DATA, dtypes.DATA_HEADER.size)
        is_hot = (heads["kind"] == int(kind)) & (length >= least)
        wanted = is_hot & choice.of_sessions(heads["session"])
        for i in places(~is_hot).tolist():
            payload = np.empty(int(length[i]), np.uint8)
            run = pieces[first[i] : first[i + 1]]
            copy_pieces(payload, (run[:, 1].cumsum() - run[:, 1]).astype(np.int64), run)
            wanted[i] = choice.wants_cold(payload.tobytes(), address[i], is_sent, now)
        return places(wanted)


def _select_runs(first: Ints, which: Ints) -> tuple[Ints, Ints]:
    """Select runs: `first`, (d + 1,), says where each begins.

    Returns: the members of the selected runs, and where each selected run begins among them, (m + 1,).
    """
    count = (first[1:] - first[:-1])[which]
    begins = np.concatenate([np.zeros(1, np.int64), count.cumsum()])
    members = np.arange(int(begins[-1])) + (first[which] - begins[:-1]).repeat(count)
    return members, begins
