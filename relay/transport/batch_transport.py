"""The Linux transport: `recvmmsg` straight into batches, `sendmmsg` straight from the engine's scatter lists.

Nothing is copied or converted per datagram: received payloads land in the rows of `Batch.data`, their sockaddr_in6 in
`Batch.address`, and an `Outgoing`'s pieces are the iovec array that the kernel walks. (An IPv4-only socket has another
sockaddr; its columns are converted by whole slices.) Measured 3.8 to 4.8 us per received and sent pair, of which 3.4
to 4.0 are the kernel's (design trial).
"""

import errno
import socket
import struct
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from relay.addresses import ADDRESS_BYTES
from relay.batch import ROW_BYTES, Batch, Outgoing
from relay.transport import libc
from relay.transport.base import BATCH_ROWS, Receiver, Transport
from relay.transport.moderation import FILL_SHARE

MAX_RECEIVE_ERRORS = 16
"""Errors in a row that one drain reads past (each reports one datagram that could not be delivered)."""
MOST_MEMORY = 6144
"""What a datagram takes of a socket's buffer at most, bookkeeping included, with much to spare (it is 768 to 2,304)."""
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("9I")
"""SK_MEMINFO_* of linux/sock_diag.h: [0] bytes in the receive queue, [8] datagrams dropped since the start."""
_FULL_ERRORS = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
_V4_BYTES = 16
_V4_WORDS = 4
_V4_HOST_WORD = 5
"""The word of an IPv4-mapped address that is the IPv4 host."""
_FAMILY_V4 = np.uint32(2)
_FAMILY_V6 = np.uint32(10)
_MAPPED_WORD = np.uint32(0xFFFF0000)
"""Third word of the host of an IPv4-mapped address: bytes 00 00 FF FF."""
_EARLY_ROWS = int(BATCH_ROWS * FILL_SHARE)


class BatchTransport(Transport):
    """A non-blocking socket that the loop only watches. Build with `open`."""

    name = "batch"

    @classmethod
    async def open(
        cls, sock: socket.socket, receiver: Receiver, clock: Callable[[], float] = time.monotonic
    ) -> "BatchTransport":
        """Take over a bound socket and start to receive. Raises: OSError where libc lacks the calls."""
        calls = libc.find_mmsg_calls()
        if calls is None:
            raise OSError(errno.ENOSYS, "this system has no recvmmsg and sendmmsg; use the asyncio transport")
        return cls(sock, receiver, calls, clock)

    def __init__(
        self, sock: socket.socket, receiver: Receiver, calls: libc.MmsgCalls, clock: Callable[[], float]
    ) -> None:
        super().__init__(sock, receiver, sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), clock)
        self._socket = sock
        self._fd = sock.fileno()
        self._calls = calls
        is_v4 = sock.family == socket.AF_INET
        self._slots = {batch: _ReceiveSlots(batch, is_v4) for batch in (self._batch, self._spare)}
        self._send_slots = _SendSlots(is_v4)
        self._has_reader = False
        self._kernel_drops = 0
        self._num_staged = 0
        self._ask_rows = self.buffer_bytes[0] // MOST_MEMORY
        """Who read less than this the last time had no full buffer: the kernel need not be asked, at 19 us a tick."""
        self._wait()

    def close(self) -> None:
        """Stop reading and close the socket."""
        if not self._is_closed:
            super().close()
            self._set_reader(False)
            self._socket.close()

    async def wait_closed(self) -> None:
        """Do nothing: `close` closes the socket at once."""

    # --- receiving

    def _on_readable(self) -> None:
        self._set_reader(False)
        self._plan_drain()

    def _wait(self) -> None:
        """Watch the socket while single datagrams matter; otherwise sleep until the beat, or the early drain.

        While one drain after the other finds something, the next one's timer does: to begin and end watching costs
        20 us each (epoll_ctl, and another turn of the loop).
        """
        watches = self._was_empty and self._moderation.needs_wakeup(self._receiver.event_window_s)
        self._set_reader(watches)
        if not watches:
            self._plan_drain()

    def _set_reader(self, on: bool) -> None:
        if on != self._has_reader:
            self._has_reader = on
            if on:
                self._loop.add_reader(self._fd, self._on_readable)
            else:
                self._loop.remove_reader(self._fd)

    def _stage(self) -> None:
        """Read the socket until it is empty or the batch is full. What does not fit stays in the socket's buffer."""
        batch = self._batch
        slots = self._slots[batch]
        start_row = batch.count
        errors = 0
        queued_bytes = self._queued_bytes() if self._num_staged >= self._ask_rows else None
        while batch.count < batch.capacity:
            wanted = min(batch.capacity - batch.count, libc.MAX_CALL)
            got = self._calls.recv(self._fd, slots.header_pointer(batch.count), wanted)
            if got > 0:
                batch.count += got
                if got < wanted:
                    break
            elif -got in (errno.EAGAIN, 0):
                break
            elif -got != errno.EINTR:
                # An ICMP answer to something sent earlier (ECONNREFUSED, EHOSTUNREACH): reading it clears it.
                self.counters["receive_errors"] += 1
                errors += 1
                if errors == MAX_RECEIVE_ERRORS:
                    break
        slots.finish(batch, start_row)
        self._num_staged = batch.count - start_row
        self._fill += queued_bytes if queued_bytes is not None else (batch.count - start_row) * ROW_BYTES

    def _queued_bytes(self) -> int | None:
        """Ask how full the socket's buffer is, and count what the kernel dropped. None where it does not say."""
        try:
            memory = _MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
        except (OSError, struct.error):
            return None  # kernels before 4.12
        self.counters["receive_overflow"] += memory[8] - self._kernel_drops & 0xFFFFFFFF
        self._kernel_drops = memory[8]
        return int(memory[0])

    # --- sending

    def send(self, outgoing: Outgoing) -> None:
        """Send every datagram, or count why one was not sent. Raises nothing.

        Between two chunks the socket is drained, or its buffer overflows while thousands are sent; what came is only
        staged, and the receiver gets it after this call at the earliest.
        """
        if self._is_closed:
            return
        total = len(outgoing)
        pieces = np.ascontiguousarray(outgoing.pieces)
        address = np.ascontiguousarray(outgoing.address)
        for start in range(0, total, libc.MAX_CALL):
            if start:
                self._stage()
            count = min(total - start, libc.MAX_CALL)
            self._send_slots.point_at(
                outgoing.first_piece[start : start + count + 1], pieces, address[start : start + count]
            )
            self._send_chunk(count)
        if self._batch.count >= _EARLY_ROWS:
            self._drain_soon()
        elif self._batch.count:
            self._plan_drain()

    def _send_chunk(self, count: int) -> None:
        """Send the first `count` headers. What the kernel refuses is skipped and counted, the rest still goes.

        While the buffer is full each refusal skips twice as many, for it does not empty between two calls: so a full
        buffer costs ten calls, not a thousand.
        """
        done = sent = 0
        skip = 1
        while done < count:
            result = self._calls.send(self._fd, self._send_slots.header_pointer(done), count - done)
            if result > 0:
                done += result
                sent += result
                skip = 1
            elif -result in _FULL_ERRORS:
                skipped = min(skip, count - done)
                self.counters["send_overflow"] += skipped
                done += skipped
                skip *= 2
            elif -result != errno.EINTR:
                # One destination (EPERM of a firewall, ENETUNREACH, EINVAL): the others are still to be served.
                self.counters["send_errors"] += 1
                done += 1
        self.counters["datagrams_sent"] += sent


class _Names:
    """Socket addresses of one family, as the kernel has them, and the columns of them that change.

    The columns are looked up once: to find a field of a record array takes numpy 1 us, and several on cold caches.
    """

    def __init__(self, table: npt.NDArray[np.uint32], host_word: int) -> None:
        self.table = table
        """(n, words), one sockaddr each."""
        self.port: npt.NDArray[np.uint16] = table.view(np.uint16)[:, 1]
        """In network order, (n,): the second half of the first word."""
        self.host = table[:, host_word]
        """Of IPv4, (n,)."""

    @classmethod
    def v4(cls, rows: int) -> "_Names":
        """Make empty sockaddr_in: family and port, host, eight bytes of nothing."""
        names = cls(np.zeros((rows, _V4_WORDS), np.uint32), 1)
        names.table[:, 0] = _FAMILY_V4
        return names

    @classmethod
    def mapped(cls, table: npt.NDArray[np.uint32]) -> "_Names":
        """Take over empty sockaddr_in6, in which IPv4 addresses are to stand."""
        table[:, 0], table[:, 4] = _FAMILY_V6, _MAPPED_WORD
        return cls(table, _V4_HOST_WORD)


class _SendSlots:
    """The mmsghdrs of a call that sends: pointed at other datagrams each time."""

    def __init__(self, is_v4: bool) -> None:
        headers = libc.new_headers(libc.MAX_CALL)
        headers["name_bytes"] = _V4_BYTES if is_v4 else ADDRESS_BYTES
        self._name, self._iovec, self._num_iovecs = headers["name"], headers["iovec"], headers["num_iovecs"]
        self._v4 = _Names.v4(libc.MAX_CALL) if is_v4 else None
        if self._v4 is not None:
            self._name[:] = libc.row_pointers(self._v4.table)
        self._first_header = int(headers.ctypes.data)
        self._headers = headers

    def header_pointer(self, place: int) -> int:
        """Return the memory address of an mmsghdr."""
        return self._first_header + place * libc.MMSGHDR.itemsize

    def point_at(
        self, first_piece: npt.NDArray[np.int64], pieces: npt.NDArray[np.uint64], address: npt.NDArray[np.uint32]
    ) -> None:
        """Point the first n mmsghdrs at n datagrams: first_piece (n + 1,), pieces (p, 2), address (n, 7)."""
        count = len(address)
        if self._v4 is not None:
            self._v4.port[:count] = address.view(np.uint16)[:, 1]
            self._v4.host[:count] = address[:, _V4_HOST_WORD]
        else:
            self._name[:count] = libc.row_pointers(address)
        self._iovec[:count] = pieces.ctypes.data + first_piece[:-1] * libc.IOVEC_BYTES
        self._num_iovecs[:count] = first_piece[1:] - first_piece[:-1]


class _ReceiveSlots:
    """The mmsghdrs of one batch: each points at its row of data and of addresses, for good."""

    def __init__(self, batch: Batch, is_v4: bool) -> None:
        rows = batch.capacity
        self._v4 = (_Names.v4(rows), _Names.mapped(batch.address)) if is_v4 else None
        name = self._v4[0].table if self._v4 is not None else batch.address
        self._iovec = np.empty((rows, 2), np.uint64)
        self._iovec[:, 0] = libc.row_pointers(batch.data)
        self._iovec[:, 1] = ROW_BYTES
        headers = libc.new_headers(rows)
        headers["name"] = libc.row_pointers(name)
        headers["iovec"] = libc.row_pointers(self._iovec)
        headers["num_iovecs"] = 1
        self._length, self._name_bytes = headers["length"], headers["name_bytes"]
        self._name_bytes[:] = self._full_name = name.strides[0]
        self._first_header = int(headers.ctypes.data)
        self._headers = headers

    def header_pointer(self, row: int) -> int:
        """Return the memory address of a row's mmsghdr."""
        return self._first_header + row * libc.MMSGHDR.itemsize

    def finish(self, batch: Batch, start_row: int) -> None:
        """Complete the columns of `batch` for the rows from `start_row` on, which the kernel has just filled."""
        new = slice(start_row, batch.count)
        # A datagram cut by the kernel has ROW_BYTES, more than MAX_DATAGRAM_BYTES, so the engine sees it is too long.
        batch.length[new] = self._length[new]
        self._name_bytes[new] = self._full_name
        if self._v4 is not None:
            theirs, mapped = self._v4
            mapped.port[new], mapped.host[new] = theirs.port[new], theirs.host[new]
        else:
            batch.address[new, 1] = 0  # the flow label, which a path may change (RFC 6437)
