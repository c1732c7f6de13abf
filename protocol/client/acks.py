"""Acknowledgements both ways: what arrived here and is owed a word, and what we sent and heard about (SPEC 5)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from protocol.constants import ACK_BITS, ACK_DELAY_MAX_MS, ACK_WITHIN_DATAGRAMS, ACK_WITHIN_S, AckFlag
from protocol.sequence import ReceiveWindow, extend

REMEMBERED_DATAGRAMS = 256
"""Sent datagrams whose fate is still open. An older one is unknown: what it carried stays unacknowledged and is sent
again. 64 would do at 30 Hz; at 240 Hz it is 270 ms, and a player further away would never hear that a state arrived."""
RTT_SHARE = 1 / 8
"""Weight of a new round-trip sample in the smoothed one (RFC 6298)."""
LOSS_HORIZON = 256
"""Datagrams that a loss estimate looks back on, roughly (chosen)."""


class LossMeter:
    """Share of datagrams that got lost, over the last few hundred."""

    def __init__(self) -> None:
        self._num_expected = 0.0
        self._num_arrived = 0.0

    def add(self, expected: int, arrived: int) -> None:
        """Count datagrams that should have arrived and those that did."""
        self._num_expected += expected
        self._num_arrived += arrived
        if self._num_expected > LOSS_HORIZON:
            share = LOSS_HORIZON / 2 / self._num_expected
            self._num_expected *= share
            self._num_arrived *= share

    @property
    def loss(self) -> float:
        """0 ... 1; 0 before anything is known."""
        if not self._num_expected:
            return 0.0
        return min(1.0, max(0.0, 1 - self._num_arrived / self._num_expected))


class Receipts:
    """What arrived of the server's datagrams, and the acknowledgement that is owed for it."""

    def __init__(self) -> None:
        self.window = ReceiveWindow()
        self.due_at = math.inf
        """When an acknowledgement must be sent at the latest, monotonic seconds; inf = none is owed."""
        self._loss = LossMeter()
        self._newest_at = 0.0
        self._num_owed = 0

    @property
    def is_owed(self) -> bool:
        """An acknowledgement is owed, if not yet due."""
        return self._num_owed > 0

    @property
    def loss(self) -> float:
        """Share of the server's datagrams that did not arrive, 0 ... 1."""
        return self._loss.loss

    def accept(self, seq: int, now: float, *, is_bare: bool) -> None:
        """Record a datagram that passed every check; a bare one never causes an acknowledgement."""
        ahead = max(0, seq - self.window.newest)
        if ahead:
            self._newest_at = now
        self._loss.add(ahead, 1)
        self.window.accept(seq)
        if is_bare:
            return
        self._num_owed += 1
        if self._num_owed == 1:
            self.due_at = now + ACK_WITHIN_S
        elif self._num_owed >= ACK_WITHIN_DATAGRAMS:
            self.due_at = min(self.due_at, now)

    def report(self, now: float) -> tuple[int, int, int, int]:
        """Give the header fields ack, ack_bits, ack_delay (ms) and flags; nothing is owed after."""
        self._num_owed = 0
        self.due_at = math.inf
        newest = self.window.newest
        if not newest:
            return 0, 0, 0, AckFlag.NOTHING_RECEIVED
        delay_ms = min(ACK_DELAY_MAX_MS, max(0, round((now - self._newest_at) * 1000)))
        return newest & 0xFFFF, self.window.ack_bits(), delay_ms, 0


class StateVersion(NamedTuple):
    """One entity's state as one datagram carried it."""

    entity_id: int
    version: int


class _Sent(NamedTuple):
    at: float
    states: Sequence[StateVersion]


class Flight:
    """Our own datagrams under way: numbers, send times, and the states that each carried."""

    def __init__(self) -> None:
        self.newest = 0
        """Number of the newest datagram sent; 0 = none yet."""
        self.rtt_s: float | None = None
        """Smoothed round trip, seconds; None until measured."""
        self._open: dict[int, _Sent] = {}
        self._newest_acked = 0
        self._loss = LossMeter()

    @property
    def loss(self) -> float:
        """Share of our datagrams that did not arrive at the server, 0 ... 1; one that is late counts until it comes."""
        return self._loss.loss

    def add(self, now: float, states: Sequence[StateVersion]) -> int:
        """Count a datagram that is being sent; returns its number."""
        self.newest += 1
        self._open[self.newest] = _Sent(now, states)
        if len(self._open) > REMEMBERED_DATAGRAMS:
            del self._open[next(iter(self._open))]
        return self.newest

    def may_be_acked(self, header: Any) -> bool:
        """Tell whether a header acknowledges something that was sent, or nothing at all."""
        if header.flags & AckFlag.NOTHING_RECEIVED:
            return True
        return 1 <= extend(header.ack, self.newest) <= self.newest

    def on_acked(self, header: Any, now: float) -> list[StateVersion]:
        """Use the ack fields of the newest datagram received; returns the states that have arrived at the server."""
        if header.flags & AckFlag.NOTHING_RECEIVED:
            return []
        ack = extend(header.ack, self.newest)
        if ack in self._open and header.ack_delay < ACK_DELAY_MAX_MS:
            self._add_rtt(now - self._open[ack].at - header.ack_delay / 1000)
        # An ack names itself and ACK_BITS before it. What left that range between two acks is unknown, not lost.
        self._loss.add(min(max(0, ack - self._newest_acked), 1 + ACK_BITS), 0)
        self._newest_acked = max(self._newest_acked, ack)
        reported = header.ack_bits << 1 | 1  # bit i: ack - i
        states: list[StateVersion] = []
        for seq in list(self._open):
            behind = ack - seq
            if behind < 0:
                break  # numbers ascend: nothing from here on can be meant
            if reported >> behind & 1:
                states.extend(self._open.pop(seq).states)
                self._loss.add(0, 1)
            elif behind > ACK_BITS:
                del self._open[seq]
        return states

    def _add_rtt(self, sample_s: float) -> None:
        sample_s = max(0.0, sample_s)
        if self.rtt_s is None:
            self.rtt_s = sample_s
        else:
            self.rtt_s += (sample_s - self.rtt_s) * RTT_SHARE
