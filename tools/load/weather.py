"""Network conditions between the crowd and its sockets, both ways, a lane per player: see `tools.lag.link`.

Without conditions nothing here is in the way. With them, what is delayed is copied and waits here, bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relay.batch import ROW_BYTES
from relay.columns import Bytes, Ints
from tools.lag.conditions import Path
from tools.lag.link import Links

MAX_WAITING = 65_536
"""Datagrams that wait for their time in one direction, 80 MB; what comes beyond is lost, and counted. 4,000 players at
30 a second have 24,000 under way with 200 ms of latency."""


@dataclass
class Parcel:
    """Datagrams whose time has come. Axis: n."""

    data: Bytes
    """(n, ROW_BYTES); behind each datagram's end stands anything."""
    length: Ints
    due: npt.NDArray[np.float64]
    player: Ints
    tag: Ints
    """What was given with them, (n,)."""


class Direction:
    """All players' paths in one direction."""

    def __init__(self, paths: Sequence[Path], is_upward: bool, rng: np.random.Generator) -> None:
        """Build a lane per player."""
        self.links = Links([path.up if is_upward else path.down for path in paths], rng)
        self._data = np.zeros((64, ROW_BYTES), np.uint8)
        self._length = np.zeros(64, np.int64)
        self._due = np.full(64, np.inf)
        self._player = np.zeros(64, np.int64)
        self._tag = np.zeros(64, np.int64)
        self.overflowed = 0

    def push(self, player: Ints, data: Bytes, length: Ints, tag: Ints, now: float) -> None:
        """Let datagrams go, in order: they are lost, or wait for their time."""
        which, due = self.links.carry(player, length, now)
        free = self._free(len(which))
        which, due = which[: len(free)], due[: len(free)]
        width = int(length.max(initial=0))  # most rows are a quarter full: what is behind is not copied
        self._data[free, :width] = data[which, :width]
        self._length[free], self._due[free] = length[which], due
        self._player[free], self._tag[free] = player[which], tag[which]

    def pop(self, now: float) -> Parcel:
        """Take what is due, in order of arrival."""
        due = np.flatnonzero(self._due <= now)
        due = due[np.argsort(self._due[due], kind="stable")]
        length = self._length[due]
        width = int(length.max(initial=0))
        data = np.empty((len(due), ROW_BYTES), np.uint8)
        data[:, :width] = self._data[due, :width]
        parcel = Parcel(data, length, self._due[due], self._player[due], self._tag[due])
        self._due[due] = np.inf
        return parcel

    def _free(self, wanted: int) -> Ints:
        """Find free places, as many as wanted or as there may be."""
        free = np.flatnonzero(np.isinf(self._due))
        if len(free) < wanted and len(self._due) < MAX_WAITING:
            grown = min(MAX_WAITING, max(2 * len(self._due), len(self._due) + wanted - len(free)))
            self._grow(grown)
            free = np.flatnonzero(np.isinf(self._due))
        self.overflowed += max(0, wanted - len(free))
        return free[:wanted]

    def _grow(self, rows: int) -> None:
        for name in ("_data", "_length", "_due", "_player", "_tag"):
            old = getattr(self, name)
            new = np.full(rows, np.inf) if name == "_due" else np.zeros((rows, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)
