"""What both transports share: staging what arrived, and handing it to the relay in batches.

    socket ──stage──▶ batch ──drain──▶ receiver.batch_received() ──▶ engine
    socket ◀──────────────── send(outgoing) ◀───────────────────────── engine

`drain` is called by the server before each beat and by a timer of our own (see `moderation`). There are two batches in
turn: while the receiver works on one, and sends, what a long send stages in between goes into the other and waits. So
no stage of the engine ever runs between two chunks of a send, whose addresses and bodies it could change.
"""

import asyncio
import socket
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from relay.batch import Batch, Outgoing
from relay.transport.moderation import Moderation
from relay.transport.sockets import buffer_bytes

BATCH_ROWS = 4096
"""Rows of a batch: what 4,000 players send in a tick, 5 MB. More is handed over in several passes."""
MAX_PASSES = 4
"""Batches that one drain hands over before it lets the loop do something else: a flood must not hold up the tick."""


class Receiver(Protocol):
    """Who takes the batches: the server."""

    @property
    def next_beat(self) -> float:
        """When the receiver will call `drain` itself, in monotonic seconds."""

    @property
    def event_window_s(self) -> float | None:
        """While events flow, which should not wait for the next beat: least time between drains. None: they may."""

    def batch_received(self, batch: Batch, now: float) -> None:
        """Take all rows of `batch`; it is cleared afterwards. Must not raise."""


class Transport(ABC):
    """One UDP socket on one loop. Lifetime: from binding to `close`."""

    name: str

    def __init__(
        self, sock: socket.socket, receiver: Receiver, capacity: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take over a bound socket; must be called on the running loop. `capacity` is that of its `Moderation`."""
        self.counters: Counter[str] = Counter()
        """receive_overflow, receive_errors, send_overflow, send_errors, datagrams_sent."""
        self.local_address: tuple[str, int] = sock.getsockname()[:2]
        """Host and port that the socket is bound to."""
        self.buffer_bytes: tuple[int, int] = buffer_bytes(sock)
        """Socket buffers that the system granted: receive, send."""
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        self._moderation = Moderation(capacity, clock())
        self._clock = clock
        self._batch = Batch(BATCH_ROWS)
        self._spare = Batch(BATCH_ROWS)
        self._timer: asyncio.Handle | None = None
        self._fill = 0
        self._was_empty = True
        """The newest drain found nothing."""
        self._is_planned = False
        self._is_closed = False

    @abstractmethod
    def send(self, outgoing: Outgoing) -> None:
        """Send every datagram, or count why one was not sent. Raises nothing."""

    @abstractmethod
    def _stage(self) -> None:
        """Move what has arrived into the batch as far as it fits, and add to `_fill`."""

    @abstractmethod
    def _wait(self) -> None:
        """Wait for more after a drain."""

    def close(self) -> None:
        """Stop reading and sending. What is staged is dropped. May be called twice."""
        self._is_closed = True
        self._cancel_plan()

    @abstractmethod
    async def wait_closed(self) -> None:
        """Wait until the port is free again after `close`."""

    def drain(self) -> None:
        """Hand everything that has arrived to the receiver."""
        self._cancel_plan()
        if self._is_closed:
            return
        for _ in range(MAX_PASSES):
            self._stage()
            batch = self._batch
            if not batch.count:
                break
            self._batch, self._spare = self._spare, batch
            was_full = batch.count == batch.capacity
            self._receiver.batch_received(batch, self._clock())
            batch.clear()
            if not was_full or self._is_closed:
                break
        if not self._is_closed:
            self._moderation.on_drained(self._clock(), self._fill)
            self._was_empty = not self._fill
            self._fill = 0
            self._wait()

    def _plan_drain(self) -> None:
        """See to it that a drain comes: set the timer, or leave it to the next beat."""
        if self._is_planned:
            return
        self._is_planned = True
        now = self._clock()
        next_beat = self._receiver.next_beat
        delay_s = self._moderation.delay_s(now, next_beat, self._receiver.event_window_s)
        if self._moderation.is_left_to_beat(now, delay_s, next_beat):
            return
        if delay_s <= 0.0:
            self._timer = self._loop.call_soon(self.drain)
        else:
            self._timer = self._loop.call_later(delay_s, self.drain)

    def _drain_soon(self) -> None:
        """Plan a drain for the next turn of the loop, whatever was planned: the batch fills up."""
        self._cancel_plan()
        self._is_planned = True
        self._timer = self._loop.call_soon(self.drain)

    def _cancel_plan(self) -> None:
        self._is_planned = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
