"""Queued signals as columns in memory of their own, which loops fill and `loops.delivery` empties."""

from collections import namedtuple

import numpy as np

from relay.columns import Bytes
from relay.loops.arrays import Box
from relay.signals import Encoded

Queue = namedtuple("Queue", "receiver receiver_id position pointer length batch batch_signals counts")
"""Pairs of signal and receiver, as `signals.Encoded`, but with the address of the section; the batch that each came
with, ascending; by batch how many signals it had; (3,) how many pairs, batches with pairs, and signals there are."""
_PAIRS, _BATCHES, _SIGNALS = range(3)
_FIRST_PAIRS = 1024
"""Room for pairs at first; doubled when it is not enough."""


class PairQueue:
    """The queue of `LoopStages`: see `signals.Queue`."""

    def __init__(self) -> None:
        self._counts = np.zeros(3, np.int64)
        self._data: list[Bytes] = []
        types = ("i8", "u8", "i8", "u8", "i8", "i8", "i8")
        self._queue = Queue._make([*(np.zeros(_FIRST_PAIRS, dtype) for dtype in types), self._counts])
        self.box = Box(self._queue)

    @property
    def num_signals(self) -> int:
        """See `signals.Queue`."""
        return int(self._counts[_SIGNALS])

    def put(self, encoded: Encoded) -> None:
        """See `signals.Queue`."""
        begin, batch, count = int(self._counts[_PAIRS]), int(self._counts[_BATCHES]), len(encoded.receiver)
        self._counts[_SIGNALS] += encoded.num_signals
        if not count:
            return
        self._make_room(begin + count)
        q, end = self._queue, begin + count
        q.receiver[begin:end], q.receiver_id[begin:end] = encoded.receiver, encoded.receiver_id
        q.position[begin:end], q.length[begin:end] = encoded.position, encoded.length
        q.pointer[begin:end], q.batch[begin:end] = encoded.pointers(), batch
        q.batch_signals[batch] = encoded.num_signals  # no more batches than pairs
        self._counts[_PAIRS], self._counts[_BATCHES] = end, batch + 1
        self._data.append(encoded.data)

    def _make_room(self, num_pairs: int) -> None:
        """Grow the columns until they hold so many pairs."""
        rows = len(self._queue.receiver)
        if num_pairs <= rows:
            return
        more = max(num_pairs, 2 * rows) - rows
        grown = (np.concatenate([column, np.zeros(more, column.dtype)]) for column in self._queue[:-1])
        self._queue = Queue._make([*grown, self._counts])
        self.box = Box(self._queue)

    def data(self) -> list[Bytes]:
        """Return what the pairs point into."""
        return list(self._data)

    def tidy(self) -> None:
        """Forget what no pair points into any more."""
        if not self._counts[_PAIRS]:
            self._data.clear()
