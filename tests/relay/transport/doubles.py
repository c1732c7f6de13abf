"""Stand-ins for the server on one side of a transport and for clients on the other."""

import asyncio
import importlib.util
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from relay.addresses import ADDRESS_WORDS, pack_address
from relay.batch import Batch, Outgoing
from relay.transport.base import Transport

LOOPS = ["asyncio", "uvloop"] if importlib.util.find_spec("uvloop") else ["asyncio"]


def has_ipv6() -> bool:
    """Tell whether this machine can talk to itself over IPv6; containers often cannot."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


HAS_IPV6 = has_ipv6()
HOSTS = ["127.0.0.1", "::1"] if HAS_IPV6 else ["127.0.0.1"]
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")


class RecordingReceiver:
    """Keeps the rows of every batch. With `echo` it sends each datagram back at once."""

    def __init__(self, *, quick: bool = True, echo: bool = False) -> None:
        self.next_beat = float("inf")
        self.event_window_s: float | None = 0.004 if quick else None
        self.batches: list[list[tuple[bytes, bytes]]] = []
        self.lengths: list[int] = []
        self.transport: Transport | None = None
        self.echo = echo

    def batch_received(self, batch: Batch, now: float) -> None:
        """Copy the rows; `now` must be the monotonic clock."""
        assert abs(now - time.monotonic()) < 1.0
        rows = [
            (batch.address[row].tobytes(), batch.data[row, : batch.length[row]].tobytes()) for row in range(batch.count)
        ]
        self.lengths += batch.length[: batch.count].tolist()
        self.batches.append(rows)
        if self.echo and self.transport is not None:
            self.transport.send(outgoing_of(rows))

    @property
    def datagrams(self) -> list[bytes]:
        """Payloads of all batches in order."""
        return [payload for rows in self.batches for _, payload in rows]


def outgoing_of(datagrams: list[tuple[bytes, bytes]], *, cut: int = 7) -> Outgoing:
    """Build an Outgoing of (28-byte address, payload); each payload is cut into two pieces after `cut` bytes."""
    memory = np.frombuffer(b"".join(payload for _, payload in datagrams) or b"\0", np.uint8).copy()
    pieces, first, offset = [], [0], int(memory.ctypes.data)
    for _, payload in datagrams:
        head = min(cut, len(payload))
        pieces += [(offset, head), (offset + head, len(payload) - head)]
        offset += len(payload)
        first.append(len(pieces))
    address = np.frombuffer(b"".join(address for address, _ in datagrams), np.uint32).reshape(-1, ADDRESS_WORDS)
    return Outgoing(np.array(pieces, np.uint64).reshape(-1, 2), np.array(first, np.int64), address.copy(), (memory,))


def client_socket(host: str) -> socket.socket:
    """Bind a blocking client socket with a timeout on a free port of `host`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(2.0)
    return sock


def address_of(sock: socket.socket) -> bytes:
    """Return a socket's own address as the engine's 28 bytes."""
    host, port = sock.getsockname()[:2]
    return pack_address(host, port)


def run_on(loop_name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine function to its end on a fresh loop of that kind."""
    if loop_name == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    else:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


async def until(condition: Callable[[], bool], timeout_s: float = 2.0) -> None:
    """Wait until a condition holds, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.002)
