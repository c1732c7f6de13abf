"""`recvmmsg` and `sendmmsg` of libc: many datagrams per system call, their headers in numpy arrays.

The kernel reads `struct mmsghdr` arrays; here such an array is a numpy record array whose pointer columns are filled by
slices, so a thousand datagrams cost a handful of assignments. 64-bit Linux only: the layout is that of its ABI.
"""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IOVEC_BYTES = 16
"""struct iovec: pointer 8, length 8."""
MMSGHDR = np.dtype(
    {
        "names": ["name", "name_bytes", "iovec", "num_iovecs", "control", "control_bytes", "flags", "length"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
"""struct mmsghdr: msghdr (56 bytes: name, namelen and padding, iov, iovlen, control, controllen, flags and padding),
then msg_len and padding. musl types three fields narrower, with padding that little-endian zeros fill."""
MAX_CALL = 1024
"""Datagrams per call: UIO_MAXIOV of the kernel, which silently takes no more."""
MSG_DONTWAIT = 0x40

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class MmsgCalls:
    """The two calls. Both return the number of datagrams done, or minus errno."""

    recv: Callable[[int, int, int], int]
    """(fd, address of the first mmsghdr, how many)."""
    send: Callable[[int, int, int], int]
    """(fd, address of the first mmsghdr, how many)."""


def find_mmsg_calls() -> MmsgCalls | None:
    """Find both calls in libc; None where they or the layout are missing (not Linux, 32 bit, big-endian)."""
    if sys.platform != "linux" or sys.maxsize < 2**32 or sys.byteorder != "little":
        return None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        recvmmsg, sendmmsg = libc.recvmmsg, libc.sendmmsg
    except (OSError, AttributeError):
        return None
    recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    recvmmsg.restype = sendmmsg.restype = ctypes.c_int

    def recv(fd: int, headers: int, count: int) -> int:
        done = recvmmsg(fd, headers, count, MSG_DONTWAIT, None)
        return int(done) if done >= 0 else -ctypes.get_errno()

    def send(fd: int, headers: int, count: int) -> int:
        done = sendmmsg(fd, headers, count, MSG_DONTWAIT)
        return int(done) if done >= 0 else -ctypes.get_errno()

    return MmsgCalls(recv, send)


def new_headers(count: int) -> Array:
    """Build `count` empty mmsghdrs, MMSGHDR (count,)."""
    return np.zeros(count, MMSGHDR)


def row_pointers(rows: Array) -> npt.NDArray[np.uint64]:
    """Return the memory address of each row of a C-contiguous array: uint64, (rows,).

    They are plain numbers: the caller keeps `rows` alive for as long as they are used.
    """
    start, stride = rows.ctypes.data, rows.strides[0]
    return np.arange(start, start + stride * len(rows), stride, dtype=np.uint64)
