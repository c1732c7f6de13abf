"""Datagrams where they lie in memory: rows of a batch, or the scatter lists of what was sent."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from relay.batch import ROW_BYTES, Batch, Outgoing
from relay.capture.memory import copy_memory
from relay.columns import Bytes, Ints, expand


@dataclass
class Pieces:
    """Datagrams and their pieces. Axes: d datagrams, p pieces; whoever calls keeps the memory alive."""

    iovec: Ints
    """Pointer and length in bytes, (p, 2)."""
    first: Ints
    """Datagram i is pieces first[i] up to first[i + 1], (d + 1,)."""

    def lengths(self) -> Ints:
        """Return the bytes of each datagram, (d,)."""
        length = self.iovec[:, 1]
        return length.copy() if self._is_single() else np.add.reduceat(length, self.first[:-1])

    def of(self, which: Ints) -> "Pieces":
        """Select datagrams by their places, (n,)."""
        count = (self.first[1:] - self.first[:-1])[which]
        datagram, k = expand(count)
        first = np.concatenate([np.zeros(1, np.int64), count.cumsum()])
        return Pieces(self.iovec[self.first[which][datagram] + k], first)

    def begins(self) -> Ints:
        """Return where each datagram begins in memory, (d,)."""
        return self.iovec[self.first[:-1], 0]

    def payload(self, i: int) -> bytes:
        """Return one datagram."""
        one = self.of(np.array([i]))
        target = np.empty(int(one.iovec[:, 1].sum()), np.uint8)
        one.copy_to(target, np.zeros(1, np.int64))
        return target.tobytes()

    def copy_to(self, target: Bytes, target_at: Ints) -> None:
        """Copy each datagram to its place in a buffer, (d,)."""
        pointer, length = self.iovec[:, 0], self.iovec[:, 1]
        if not self._is_single():
            count = self.first[1:] - self.first[:-1]
            before = length.cumsum() - length
            target_at = before + (target_at - before[self.first[:-1]]).repeat(count)
        copy_memory(target, target_at, pointer, length)

    def _is_single(self) -> bool:
        """Tell whether each datagram is one piece, for none is without."""
        return len(self.iovec) == len(self.first) - 1


class BatchRows:
    """Views batches that are used again and again as pieces."""

    def __init__(self) -> None:
        self._pieces: WeakKeyDictionary[Batch, Pieces] = WeakKeyDictionary()

    def of(self, batch: Batch) -> Pieces:
        """View what was received: each row is one piece, and no longer than that, whatever its length says."""
        rows = self._pieces.get(batch) or self._view(batch)
        count = batch.count
        np.minimum(batch.length[:count], ROW_BYTES, out=rows.iovec[:count, 1])
        return Pieces(rows.iovec[:count], rows.first[: count + 1])

    def _view(self, batch: Batch) -> Pieces:
        row = np.arange(batch.capacity + 1)
        pointer = batch.data.ctypes.data + row[:-1] * ROW_BYTES
        rows = self._pieces[batch] = Pieces(np.column_stack([pointer, np.zeros_like(pointer)]), row)
        return rows


def pieces_of_outgoing(outgoing: Outgoing) -> Pieces:
    """View what was sent."""
    return Pieces(np.ascontiguousarray(outgoing.pieces).view(np.int64), outgoing.first_piece)


def pieces_of_bytes(payload: bytes) -> Pieces:
    """View one datagram. The caller keeps it alive."""
    data = np.frombuffer(payload, np.uint8)
    return Pieces(np.array([[data.ctypes.data, len(data)]]), np.array([0, 1]))
