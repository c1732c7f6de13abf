"""What the loops share: serial numbers, shifts of 64-bit masks that may be as wide as the mask, and copying bytes."""

from typing import Any

import numpy as np

from relay.loops.jit import inlined

_HALF = 1 << 15
_LOW = (1 << 16) - 1
_MASK_BITS = 64


@inlined
def extend(low: int, near: int) -> int:
    """Rebuild a whole number from its low 16 bits, as `protocol.sequence.extend`."""
    return near + ((np.int64(low) - near + _HALF) & _LOW) - _HALF


@inlined
def shifted_up(mask: np.uint64, by: int) -> np.uint64:
    """Shift towards higher bits; by 64 or more nothing is left, where the machine's own shift would wrap round."""
    return mask << np.uint64(by) if by < _MASK_BITS else np.uint64(0)


@inlined
def has_bit(mask: np.uint64, bit: int) -> bool:
    """Tell whether a bit is set; one beyond the mask is not."""
    return bit < _MASK_BITS and (mask >> np.uint64(bit)) & np.uint64(1) != 0


@inlined
def count_bits(mask: int) -> int:
    """Count the bits that are set in a number of 64 bits at most."""
    count = 0
    left = np.uint64(mask)
    while left != 0:
        left &= left - np.uint64(1)
        count += 1
    return count


@inlined
def lowest_bit(mask: np.uint64) -> int:
    """Number of the lowest bit that is set; the mask must not be 0."""
    bit = 0
    while not (mask >> np.uint64(bit)) & np.uint64(1):
        bit += 1
    return bit


@inlined
def copy_bytes(target: Any, to: int, source: Any, at: int, count: int) -> None:
    """Copy `count` bytes of one array into another."""
    for k in range(count):
        target[to + k] = source[at + k]
