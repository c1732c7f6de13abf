"""The sockets of a load: thousands of datagrams in and out per second, in few system calls, with kernel receive times.

One socket carries one player or several. They are connected, so an ICMP answer is an error of that socket. On Linux
`recvmmsg` reads them, and the kernel says when each datagram arrived: a busy generator then measures the relay and not
its own queue. Elsewhere one call per datagram does the same, timed when it is read.
"""

import contextlib
import errno
import select
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relay.batch import ROW_BYTES
from relay.columns import Bytes, Ints
from relay.transport import libc
from relay.transport.sockets import set_buffers

BATCH_ROWS = 4096
"""Datagrams of one pass: a tick of 4,000 players."""
_SO_TIMESTAMPNS = 35
"""Linux: the kernel's time of arrival comes with every datagram (socket(7))."""
_CONTROL = np.dtype([("length", "u8"), ("level", "i4"), ("type", "i4"), ("s", "i8"), ("ns", "i8")])
"""struct cmsghdr and the struct timespec in it."""
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("9I")
FDS_BESIDE_SOCKETS = 64
"""File descriptors that the process needs for all else (chosen)."""


class TooFewFiles(Exception):
    """The system does not permit that many open sockets. The text says how to raise the limit."""


@dataclass
class Arrivals:
    """Datagrams that came. Axis: n. Valid until the next `receive`."""

    data: Bytes
    """(n, ROW_BYTES)"""
    length: Ints
    arrived: npt.NDArray[np.float64]
    """Monotonic seconds, (n,)."""
    socket: Ints
    """Number of the socket each came in on, (n,)."""

    def __len__(self) -> int:
        """Return n."""
        return len(self.length)


class Wire:
    """Connected UDP sockets to one relay."""

    def __init__(self, address: tuple[Any, ...], family: int, num_sockets: int) -> None:
        """Open the sockets. Raises: TooFewFiles; OSError if there is no route."""
        raise_file_limit(num_sockets + FDS_BESIDE_SOCKETS)
        self._calls = libc.find_mmsg_calls()
        self.counters: Counter[str] = Counter()
        """send_overflow, send_errors, receive_errors; datagrams_up, bytes_up, datagrams_down, bytes_down."""
        self._address, self._family = address, family
        self._poller = select.epoll() if hasattr(select, "epoll") else None
        self._sockets: list[socket.socket] = []
        self._by_fd: dict[int, int] = {}
        for _ in range(num_sockets):
            self._sockets.append(self._open())
            self._watch(len(self._sockets) - 1)
        self._data = np.zeros((BATCH_ROWS, ROW_BYTES), np.uint8)
        self._length = np.zeros(BATCH_ROWS, np.int64)
        self._arrived = np.zeros(BATCH_ROWS, np.float64)
        self._number = np.zeros(BATCH_ROWS, np.int64)
        self._clocks_apart_s = 0.0
        self._control = np.zeros(BATCH_ROWS, _CONTROL)
        self._iovec = np.empty((BATCH_ROWS, 2), np.uint64)
        self._iovec[:, 0], self._iovec[:, 1] = libc.row_pointers(self._data), ROW_BYTES
        self._headers = libc.new_headers(BATCH_ROWS)
        self._headers["iovec"], self._headers["num_iovecs"] = libc.row_pointers(self._iovec), 1
        self._headers["control"] = self._control.ctypes.data + np.arange(BATCH_ROWS) * _CONTROL.itemsize

    def __len__(self) -> int:
        """Return how many sockets there are."""
        return len(self._sockets)

    def close(self) -> None:
        """Close all sockets."""
        if self._poller is not None:
            self._poller.close()
        for sock in self._sockets:
            sock.close()

    def local_address(self, number: int) -> tuple[str, int]:
        """Return host and port of a socket."""
        host, port = self._sockets[number].getsockname()[:2]
        return str(host), int(port)

    def reopen(self, number: int) -> None:
        """Replace a socket by one with another port: what a NAT does that rebinds."""
        self._forget(number)
        self._sockets[number] = self._open()
        self._watch(number)

    # --- receiving

    def receive(self) -> Arrivals:
        """Read what has arrived, up to BATCH_ROWS datagrams."""
        count = 0
        self._clocks_apart_s = clocks_apart_s()
        for number in self._readable():
            if count == BATCH_ROWS:
                break
            count = self._read(number, count)
        self.counters["datagrams_down"] += count
        self.counters["bytes_down"] += int(self._length[:count].sum())
        return Arrivals(self._data[:count], self._length[:count], self._arrived[:count], self._number[:count])

    def _readable(self) -> list[int]:
        if self._poller is not None:
            return [self._by_fd[fd] for fd, _ in self._poller.poll(0, max(1, len(self._sockets)))]
        ready, _, _ = select.select(self._sockets, [], [], 0)
        return [self._by_fd[sock.fileno()] for sock in ready]

    def _read(self, number: int, count: int) -> int:
        """Read one socket into the rows from `count` on. Returns the new count."""
        if self._calls is None:
            return self._read_plainly(number, count)
        fd = self._sockets[number].fileno()
        while count < BATCH_ROWS:
            wanted = min(libc.MAX_CALL, BATCH_ROWS - count)
            self._headers["control_bytes"][count : count + wanted] = _CONTROL.itemsize
            got = self._calls.recv(fd, int(self._headers.ctypes.data) + count * libc.MMSGHDR.itemsize, wanted)
            if got <= 0:
                if got and -got not in (errno.EAGAIN, errno.EINTR):
                    self.counters["receive_errors"] += 1
                break
            new = slice(count, count + got)
            self._length[new] = self._headers["length"][new]
            stamps = self._control[new]
            is_stamped = self._headers["control_bytes"][new] > 0
            stamped_s = stamps["s"] + stamps["ns"] / 1e9 - self._clocks_apart_s
            self._arrived[new] = np.where(is_stamped, stamped_s, time.monotonic())
            self._number[new] = number
            count += got
            if got < wanted:
                break
        return count

    def _read_plainly(self, number: int, count: int) -> int:
        while count < BATCH_ROWS:
            try:
                size = self._sockets[number].recv_into(self._data[count], ROW_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.counters["receive_errors"] += 1
                break
            self._length[count], self._arrived[count], self._number[count] = size, time.monotonic(), number
            count += 1
        return count

    # --- sending

    def send(self, number: Ints, data: Bytes, length: Ints) -> None:
        """Send datagrams, (n, ROW_BYTES), from the sockets of these numbers, (n,). What the kernel refuses is lost."""
        self.counters["datagrams_up"] += len(number)
        self.counters["bytes_up"] += int(length.sum())
        if self._calls is None:
            self._send_plainly(number, data, length)
            return
        order = np.argsort(number, kind="stable")
        iovec = np.empty((len(order), 2), np.uint64)
        iovec[:, 0] = libc.row_pointers(data)[order]
        iovec[:, 1] = length[order]
        headers = libc.new_headers(len(order))
        headers["iovec"], headers["num_iovecs"] = libc.row_pointers(iovec), 1
        ordered = number[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        ends = np.append(starts[1:], len(order))
        pointer = int(headers.ctypes.data)
        for start, end in zip(starts.tolist(), ends.tolist()):
            self._send_run(self._sockets[ordered[start]].fileno(), pointer, start, end)

    def _send_run(self, fd: int, pointer: int, start: int, end: int) -> None:
        assert self._calls is not None
        while start < end:
            count = min(libc.MAX_CALL, end - start)
            sent = self._calls.send(fd, pointer + start * libc.MMSGHDR.itemsize, count)
            if sent > 0:
                start += sent
            else:
                self.counters["send_overflow" if -sent in (errno.EAGAIN, errno.ENOBUFS) else "send_errors"] += 1
                start += 1

    def _send_plainly(self, number: Ints, data: Bytes, length: Ints) -> None:
        for which, row, size in zip(number.tolist(), data, length.tolist()):
            try:
                self._sockets[which].send(row[:size].tobytes())
            except BlockingIOError:
                self.counters["send_overflow"] += 1
            except OSError:
                self.counters["send_errors"] += 1

    def send_one(self, number: int, payload: bytes) -> None:
        """Send one datagram."""
        self.counters["datagrams_up"] += 1
        self.counters["bytes_up"] += len(payload)
        try:
            self._sockets[number].send(payload)
        except OSError:
            self.counters["send_errors"] += 1

    # --- what is full

    def receive_overflow(self) -> int:
        """Count datagrams that the kernel dropped because a socket's buffer was full. 0 where it does not say."""
        return sum(self._overflow_of(number) for number in range(len(self._sockets))) + self.counters["overflow_before"]

    def _overflow_of(self, number: int) -> int:
        with contextlib.suppress(OSError, struct.error):
            memory = self._sockets[number].getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
            return int(_MEMINFO.unpack(memory)[8])
        return 0

    def receive_buffer_bytes(self) -> int:
        """Return the size of a receive buffer, as the system granted it."""
        return self._sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    # --- opening

    def _open(self) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        set_buffers(sock)
        sock.setblocking(False)
        if sys.platform == "linux":
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.connect(self._address)
        return sock

    def _watch(self, number: int) -> None:
        fd = self._sockets[number].fileno()
        self._by_fd[fd] = number
        if self._poller is not None:
            self._poller.register(fd, select.EPOLLIN)

    def _forget(self, number: int) -> None:
        self.counters["overflow_before"] += self._overflow_of(number)
        fd = self._sockets[number].fileno()
        if self._poller is not None:
            self._poller.unregister(fd)
        del self._by_fd[fd]
        self._sockets[number].close()


def clocks_apart_s() -> float:
    """Tell by how much the kernel's clock of arrivals is ahead of the monotonic one.

    The tightest of three looks: between two looks at clocks a busy process may be put aside for many milliseconds.
    """
    looks = [(time.monotonic(), time.time(), time.monotonic()) for _ in range(3)]
    before, real, after = min(looks, key=lambda look: look[2] - look[0])
    return real - (before + after) / 2


def raise_file_limit(needed: int) -> None:
    """Raise the process's limit of open files as far as needed.

    Raises: TooFewFiles if the system does not permit it.
    """
    try:
        import resource
    except ImportError:
        return  # Windows has none that matters here
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed <= soft or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise TooFewFiles(
            f"{needed} open files are needed and {hard} permitted: raise the limit with `ulimit -n {needed}` "
            "(as root), or let several players share a socket with --per-socket"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
