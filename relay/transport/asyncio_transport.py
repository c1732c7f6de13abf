"""The transport that works on every loop: one `datagram_received` and one `sendto` per datagram.

Slower than the batch transport (7 to 10 us per pair instead of 4 in the design trial) but at home on Windows, macOS
and uvloop alike. Only the way in and out differs: received datagrams are staged into the same batches.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

from relay.addresses import pack_address, unpack_address
from relay.batch import Outgoing
from relay.transport.base import BATCH_ROWS, Receiver, Transport
from relay.transport.moderation import FILL_SHARE
from relay.transport.sockets import resume_reading

MAX_WRITE_BUFFER_BYTES = 1024 * 1024
"""Bytes that the loop may hold for a full socket before datagrams are dropped: about a tick of 1,000 players. More
would only arrive late."""
CACHED_ADDRESSES = 16_384
"""Addresses whose other form is remembered, in each direction: 4 us saved per datagram, about 8 MB when full. The
least recently used is forgotten, so a flood from made-up addresses costs time but no memory."""
CLOSE_WITHIN_S = 1.0
"""How long a closing socket may take to send what the loop holds."""
_EARLY_ROWS = int(BATCH_ROWS * FILL_SHARE)


class _Endpoint(Protocol):
    """What every loop's datagram transport can do; asyncio types it in two halves."""

    def sendto(self, data: bytes, addr: tuple[Any, ...]) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class AsyncioTransport(Transport, asyncio.DatagramProtocol):
    """A datagram endpoint of the running loop behind the common face. Build with `open`."""

    name = "asyncio"
    _endpoint: "_Endpoint"

    @classmethod
    async def open(
        cls, sock: socket.socket, receiver: Receiver, clock: Callable[[], float] = time.monotonic
    ) -> "AsyncioTransport":
        """Take over a bound socket and start to receive."""
        loop = asyncio.get_running_loop()
        _, transport = await loop.create_datagram_endpoint(lambda: cls(sock, receiver, BATCH_ROWS, clock), sock=sock)
        return transport

    def __init__(
        self, sock: socket.socket, receiver: Receiver, capacity: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(sock, receiver, capacity, clock)
        self._to_tuple = _tuple_maker(sock.family)
        self._is_sending = False
        self._is_gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the loop's transport for sending."""
        self._endpoint = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Stage one datagram; a full batch drops it, counted."""
        batch = self._batch
        if self._is_closed:
            return
        if batch.count == batch.capacity:
            self.counters["receive_overflow"] += 1
            return
        batch.append(data, _packed(addr))
        self._fill += 1
        if batch.count == _EARLY_ROWS:
            self._drain_soon()
        else:
            self._plan_drain()

    def error_received(self, exc: Exception) -> None:
        """Count an error of the socket; reading goes on. The loop reports errors of `sendto` here too."""
        if self._is_sending:
            self.counters["send_errors"] += 1
        else:
            self.counters["receive_errors"] += 1
            resume_reading(self._endpoint, self._loop)

    def send(self, outgoing: Outgoing) -> None:
        """Send every datagram, or count why one was not sent. Raises nothing."""
        endpoint = self._endpoint
        if endpoint.is_closing():
            return
        lost_before = self.counters["send_overflow"] + self.counters["send_errors"]
        self._is_sending = True
        for address, payload in outgoing.datagrams():
            if endpoint.get_write_buffer_size() > MAX_WRITE_BUFFER_BYTES:
                self.counters["send_overflow"] += 1
                continue
            try:
                endpoint.sendto(payload, self._to_tuple(address))
            except (OSError, ValueError):
                # uvloop raises for an address that the socket's family cannot reach.
                self.counters["send_errors"] += 1
        self._is_sending = False
        lost = self.counters["send_overflow"] + self.counters["send_errors"] - lost_before
        self.counters["datagrams_sent"] += len(outgoing) - lost

    def close(self) -> None:
        """Stop reading; what the loop still holds for a full socket goes out first."""
        super().close()
        self._endpoint.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the loop has done with the socket."""
        self._is_gone.set()

    async def wait_closed(self) -> None:
        """Wait until the loop has sent what it holds, which it does not try for ever, and closed the socket."""
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._is_gone.wait()
        except TimeoutError:
            self._endpoint.abort()

    def _stage(self) -> None:
        """Do nothing: `datagram_received` has staged already."""

    def _wait(self) -> None:
        """Do nothing: the next datagram plans its drain."""


@lru_cache(CACHED_ADDRESSES)
def _packed(addr: tuple[Any, ...]) -> bytes:
    """Turn the loop's (host, port) or (host, port, flow, scope) into the engine's 28 bytes."""
    return pack_address(addr[0], addr[1], addr[3] if len(addr) > 3 else 0)


def _tuple_maker(family: int) -> Callable[[bytes], tuple[Any, ...]]:
    """Return what turns 28 bytes into the tuple that `sendto` wants for a socket of this family."""

    @lru_cache(CACHED_ADDRESSES)
    def to_tuple(address: bytes) -> tuple[Any, ...]:
        host, port, scope = unpack_address(address)
        if family == socket.AF_INET:
            return host, port
        # An IPv6 socket reaches IPv4 by mapped addresses (RFC 4291 2.5.5.2).
        return (host if ":" in host else f"::ffff:{host}"), port, 0, scope

    return to_tuple
