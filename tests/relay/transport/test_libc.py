"""The two calls and the layout of what the kernel reads."""

import ctypes
import errno
import sys

import numpy as np
import pytest

from relay.transport import libc

linux_only = pytest.mark.skipif(libc.find_mmsg_calls() is None, reason="needs recvmmsg and sendmmsg")


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("iovec", ctypes.c_void_p),
        ("num_iovecs", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint))


@pytest.mark.skipif(sys.maxsize < 2**32, reason="layout of 64-bit systems")
def test_the_record_type_has_the_layout_of_the_c_struct() -> None:
    assert libc.MMSGHDR.itemsize == ctypes.sizeof(_Mmsghdr)
    assert libc.MMSGHDR.fields is not None
    for name, *_ in _Msghdr._fields_:
        assert libc.MMSGHDR.fields[name][1] == getattr(_Msghdr, name).offset
        assert libc.MMSGHDR.fields[name][0].itemsize == getattr(_Msghdr, name).size
    assert libc.MMSGHDR.fields["length"][1] == _Mmsghdr.length.offset


def test_row_pointers_are_the_addresses_of_the_rows() -> None:
    rows = np.zeros((3, 5), np.uint32)
    rows[2, 0] = 7
    pointers = libc.row_pointers(rows)
    assert pointers.dtype == np.uint64 and pointers.shape == (3,)
    assert ctypes.c_uint32.from_address(int(pointers[2])).value == 7
    assert len(libc.row_pointers(rows[:0])) == 0


@linux_only
def test_a_refused_call_returns_minus_errno() -> None:
    calls = libc.find_mmsg_calls()
    assert calls is not None
    headers = libc.new_headers(1)
    assert calls.recv(-1, headers.ctypes.data, 1) == -errno.EBADF
    assert calls.send(-1, headers.ctypes.data, 1) == -errno.EBADF
