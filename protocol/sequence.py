"""Serial-number arithmetic and ack bits, for one value and for arrays (SPEC 5).

A sequence number on the wire is the low 16 bits of one that counts up from 1. Both ends keep the whole number
("extended") and rebuild it from the 16 bits by nearness to the newest they know. Nothing else may compare
16-bit numbers.
"""

import numpy as np
import numpy.typing as npt

from protocol.constants import ACK_BITS, WINDOW

_HALF = 1 << 15
_MASK = (1 << 16) - 1


def extend(low: int, near: int) -> int:
    """Rebuild a whole number from its low 16 bits.

    Args:
        low: The 16 bits from the wire.
        near: A whole number known to be less than 32,768 away.
    Returns: The number with these low bits that is nearest to `near`. Below 0 when `near` is small: the caller's
        check against the lowest permitted number refuses it.
    """
    return near + ((low - near + _HALF) & _MASK) - _HALF


def extend_array(low: npt.NDArray[np.uint16], near: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Array form of `extend`: low uint16 (n,), near int64 (n,), result int64 (n,), a new array."""
    return near + ((low.astype(np.int64) - near + _HALF) & _MASK) - _HALF


class ReceiveWindow:
    """Which of the peer's datagrams have arrived: the newest and a mask of the 64 up to it."""

    def __init__(self) -> None:
        self.newest = 0
        """Extended sequence number of the newest datagram accepted; 0 = none yet."""
        self._mask = 0

    def check(self, seq: int) -> bool | None:
        """Tell whether a datagram may be accepted: True new, False a duplicate, None too old to know."""
        behind = self.newest - seq
        if behind >= WINDOW or seq < 1:
            return None
        return behind < 0 or not self._mask >> behind & 1

    def accept(self, seq: int) -> None:
        """Record a datagram that `check` permitted. The caller does this last, after every other check."""
        ahead = seq - self.newest
        if ahead > 0:
            self._mask = (self._mask << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
            self.newest = seq
        else:
            self._mask |= 1 << -ahead

    def ack_bits(self) -> int:
        """Bit i set = datagram newest - 1 - i has arrived; `newest` itself is implied (SPEC 5)."""
        return self._mask >> 1 & ((1 << ACK_BITS) - 1)


def acked_seqs(ack: int, bits: int) -> list[int]:
    """List the extended numbers that an ack reports, newest first.

    Args:
        ack: Extended number of the newest datagram that the peer received.
        bits: Bit i means ack - 1 - i.
    """
    return [ack] + [ack - 1 - i for i in range(ACK_BITS) if bits >> i & 1 and ack - 1 - i >= 1]
