"""A made-up network in virtual time: one seeded random source decides every datagram's fate.

A `Link` is one direction between one client and the server. It is asked for a datagram's fate once, when the datagram
is sent, and answers with the copies that will arrive and when. It holds no queue; the world's event queue does.

Corruption is a mode of its own: UDP's checksum discards damaged datagrams before a program sees them, and a protocol
without checksums may take a damaged one for valid. So it is switched on where "nothing ever raises" is proved, and
never where delivery is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

MIN_STEP_S = 0.000_01
"""Datagrams of one link that were not reordered arrive at least this far apart, in the order of their sending."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the network does to datagrams. Shares are chances per datagram, 0 to 1."""

    delay_s: tuple[float, float] = (0.020, 0.250)
    """Least and largest one-way delay. Every link draws a base of its own; no datagram leaves this range."""
    jitter_s: float = 0.030
    """Added to a link's base delay, 0 to this, anew for every datagram; the order stays."""
    loss: float = 0.0
    """Share of datagrams that never arrive."""
    burst: float = 0.0
    """Chance per datagram that a burst of loss begins with it."""
    burst_s: float = 0.2
    """Length of a burst, in which everything is lost."""
    duplication: float = 0.0
    """Share of datagrams that arrive twice, the copy after a delay of its own."""
    reordering: float = 0.0
    """Share of datagrams whose delay is drawn anew from the whole of `delay_s`: they overtake, or are overtaken."""
    corruption: float = 0.0
    """Share of datagrams that arrive with one to three bits flipped. See the head of this module."""
    truncation: float = 0.0
    """Share of datagrams that arrive cut short. Belongs to the same mode as corruption."""
    slot_s: float = 0.0
    """Above 0: chance begins anew every so many seconds, and `loss` is the chance that all sent within such a slot is
    lost. So two runs whose traffic differs meet the same weather."""


STANDARD = Conditions(loss=0.10, duplication=0.05, reordering=0.20)
"""The condition under which the invariants are proved by default."""
PERFECT = Conditions(delay_s=(0.020, 0.020), jitter_s=0.0)
"""Nothing is lost and everything takes 20 ms."""


class Link:
    """One direction between one client and the server."""

    def __init__(self, seed: object, conditions: Conditions) -> None:
        self._seed = seed
        self._rng = rng = Random(f"{seed}")
        self._slot = -1
        self._lost_in_slot = False
        self.conditions = conditions
        """May be replaced at any time; the base delay stays."""
        self.blocked = False
        """True: everything is lost."""
        self.drop_if: Callable[[bytes], bool] | None = None
        """Loses the datagrams for which it returns True: for losing exactly that one."""
        low, high = conditions.delay_s
        self._base_s = low + rng.random() * max(0.0, high - low - conditions.jitter_s)
        self._newest_arrival = 0.0
        self._burst_until = 0.0

    def fate(self, payload: bytes, now: float) -> list[tuple[float, bytes]]:
        """Decide what becomes of one datagram.

        Returns: (time of arrival, bytes) of every copy that arrives; none if it is lost.
        """
        self._begin_slot(now)
        rng, conditions = self._rng, self.conditions
        if self.blocked or now < self._burst_until or (self.drop_if is not None and self.drop_if(payload)):
            return []
        if conditions.burst and rng.random() < conditions.burst:
            self._burst_until = now + conditions.burst_s
            return []
        if self._lost_in_slot if conditions.slot_s else rng.random() < conditions.loss:
            return []
        copies = [(self._arrival(now), self._damaged(payload))]
        if rng.random() < conditions.duplication:
            copies.append((now + rng.uniform(*conditions.delay_s), self._damaged(payload)))
        return copies

    def _begin_slot(self, now: float) -> None:
        if self.conditions.slot_s and self._slot != (slot := int(now / self.conditions.slot_s)):
            self._slot = slot
            self._rng = Random(f"{self._seed} {slot}")
            self._lost_in_slot = self._rng.random() < self.conditions.loss

    def _arrival(self, now: float) -> float:
        rng, conditions = self._rng, self.conditions
        if rng.random() < conditions.reordering:
            return now + rng.uniform(*conditions.delay_s)
        arrival = max(now + self._base_s + rng.random() * conditions.jitter_s, self._newest_arrival + MIN_STEP_S)
        self._newest_arrival = arrival
        return arrival

    def _damaged(self, payload: bytes) -> bytes:
        rng, conditions = self._rng, self.conditions
        if conditions.corruption and rng.random() < conditions.corruption:
            payload = flip_bits(payload, rng, rng.randint(1, 3))
        if conditions.truncation and rng.random() < conditions.truncation:
            payload = payload[: rng.randrange(len(payload) + 1)]
        return payload


def flip_bits(payload: bytes, rng: Random, count: int) -> bytes:
    """Flip `count` randomly chosen bits (the same one perhaps twice)."""
    damaged = bytearray(payload)
    for _ in range(count if damaged else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)
