"""Copying runs of memory that a list of pieces names: what `sendmmsg` does with them, for a buffer of our own."""

from typing import Any

import numpy as np
import numpy.typing as npt

from relay.batch import ROW_BYTES
from relay.columns import Bytes, Ints, places, windows

_NOTHING = 15
_POWER = np.array([_NOTHING, *(length.bit_length() - 1 for length in range(1, ROW_BYTES + 1))])
"""Exponent of the largest power of two that a length holds; no datagram is longer than a batch's row."""


class _Memory:
    """A stretch of this process's memory as numpy sees it: items of one type, one beginning at every byte."""

    def __init__(self, start: int, count: int, typestr: str) -> None:
        self.__array_interface__ = {
            "data": (start, True),
            "shape": (count,),
            "typestr": typestr,
            "strides": (1,),
            "version": 3,
        }


def copy_pieces(target: Bytes, target_at: Ints, pieces: npt.NDArray[np.uint64]) -> None:
    """Copy pieces of memory into a buffer.

    A piece of 300 bytes is copied as its first 256 bytes and its last 256: so whatever the lengths, there are two
    gathers per power of two and none per length. Measured 0.10 us for a datagram of two pieces and 320 bytes; byte by
    byte, or in words of eight, it is ten times that.

    Args:
        target_at: Where each piece goes, (p,).
        pieces: Pointer and length, up to ROW_BYTES, of each, (p, 2); at least one. The caller keeps all alive.
    """
    length = pieces[:, 1].astype(np.int64)
    pointer = pieces[:, 0].astype(np.int64)
    base = int(pointer.min())
    span = int((pointer + length).max()) - base
    pointer -= base
    power = _POWER[length]
    for exponent in np.bincount(power).nonzero()[0].tolist():
        if exponent == _NOTHING:
            continue
        size = 1 << exponent
        which = places(power == exponent)
        source = _items(base, span, size)
        to = windows(target, f"V{size}")
        at, there, beyond = pointer[which], target_at[which], length[which] - size
        to[there] = source[at]
        to[there + beyond] = source[at + beyond]


def read_heads(pointer: npt.NDArray[np.uint64], dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
    """Read a record at each address, (n,). New array. The caller sees to it that so many bytes are there."""
    if not len(pointer):
        return np.zeros(0, dtype)
    at = pointer.astype(np.int64)
    base = int(at.min())
    raw = _items(base, int(at.max()) - base + dtype.itemsize, dtype.itemsize)[at - base]
    return np.ascontiguousarray(raw).view(dtype)


def _items(base: int, span: int, size: int) -> npt.NDArray[Any]:
    return np.asarray(_Memory(base, span - size + 1, f"|V{size}"))
