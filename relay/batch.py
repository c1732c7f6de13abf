"""The engine's two ends: the datagrams that arrived, and the datagrams to send.

Both are columns. A transport fills a `Batch` and hands it to `Engine.receive`; `flush` and `tick` return an `Outgoing`
whose pieces are already the `iovec` array that `sendmmsg` wants.
"""

import ctypes
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from protocol.constants import MAX_DATAGRAM_BYTES
from relay.addresses import ADDRESS_BYTES, ADDRESS_WORDS

ROW_BYTES = 1216
"""Bytes of a batch row: 1,200 and one more, so that a datagram that is too long is seen to be, rounded up to 64."""


class Batch:
    """Received datagrams, row by row. Axis: B = capacity; only the first `count` rows mean anything."""

    def __init__(self, capacity: int) -> None:
        self.data: npt.NDArray[np.uint8] = np.zeros((capacity, ROW_BYTES), np.uint8)
        """Payloads, (B, ROW_BYTES). Bytes behind a row's length are left over from earlier datagrams."""
        self.length: npt.NDArray[np.int32] = np.zeros(capacity, np.int32)
        """Payload bytes, (B,). More than 1,200 if it was longer."""
        self.address: npt.NDArray[np.uint32] = np.zeros((capacity, ADDRESS_WORDS), np.uint32)
        """Source addresses, (B, 7), see `addresses`."""
        self.count = 0

    @property
    def capacity(self) -> int:
        """Rows that fit."""
        return len(self.length)

    def append(self, data: bytes, address: bytes) -> None:
        """Add one datagram. The caller checked that `count < capacity`. `address` is 28 bytes."""
        row = self.count
        kept = min(len(data), MAX_DATAGRAM_BYTES + 1)
        self.data[row, :kept] = np.frombuffer(data, np.uint8, kept)
        self.length[row] = kept
        self.address[row] = np.frombuffer(address, np.uint32)
        self.count = row + 1

    def clear(self) -> None:
        """Forget all rows."""
        self.count = 0


class Outgoing:
    """Datagrams to send. Axes: D datagrams, P pieces of memory; a datagram is a run of pieces.

    Pieces point into arrays of the engine. They are valid until its next call, and `keep` holds every array they
    point into, so memory stays even where the engine has grown it since.
    """

    def __init__(
        self,
        pieces: npt.NDArray[np.uint64],
        first_piece: npt.NDArray[np.int64],
        address: npt.NDArray[np.uint32],
        keep: tuple[npt.NDArray[np.uint8], ...],
        num_bytes: int | None = None,
    ) -> None:
        self.pieces = pieces
        """(P, 2) uint64: pointer and length in bytes; the layout of `struct iovec` on 64-bit systems."""
        self.first_piece = first_piece
        """(D + 1,) int64: datagram d is pieces first_piece[d] up to first_piece[d + 1]."""
        self.address = address
        """(D, 7) uint32: destinations."""
        self.keep = keep
        self._num_bytes = num_bytes

    def __len__(self) -> int:
        """Return D."""
        return len(self.address)

    def num_bytes(self) -> int:
        """Return the payload bytes of all datagrams together."""
        if self._num_bytes is None:
            self._num_bytes = int(self.pieces[:, 1].sum())
        return self._num_bytes

    def datagrams(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (28-byte address, payload) one by one: for transports that send one at a time, and for tests."""
        pieces = self.pieces.tolist()
        first = self.first_piece.tolist()
        addresses = self.address.tobytes()
        for d in range(len(self)):
            payload = b"".join(ctypes.string_at(pointer, length) for pointer, length in pieces[first[d] : first[d + 1]])
            yield addresses[d * ADDRESS_BYTES : (d + 1) * ADDRESS_BYTES], payload
