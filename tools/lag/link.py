"""Decides what becomes of datagrams: one direction of many paths at once, as columns. No clock, no socket.

The stages, in the order in which a datagram meets them:

    line   -> waits until those before it have left; a queue that is too long drops it   (bandwidth)
    loss   -> Gilbert: a lane is good or bad, all that comes while it is bad is lost     (loss, burst)
    way    -> latency and jitter, and not before the one before it                       (FIFO)
    copies -> one or two                                                                 (duplicate)
    hold   -> held back at the far end, without those behind it                          (reorder)

Each datagram gets one row of NUM_DRAWS random numbers, in the order of sending, whatever of it is used. So a plain loop
that draws the same rows comes to the same result (the tests have one), and a seed gives the same fates again.

Axis letters: L lanes (one client's direction each), N datagrams of one call, M arrivals.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tools.lag.conditions import PERCENT, Conditions

MAX_QUEUE_S = 0.25
"""Longest wait before a datagram begins to leave a line with a bandwidth. Chosen: home routers hold 0.1 to 1 s."""
HEADER_BYTES = 20 + 8
"""IPv4 and UDP: a line carries these too."""
BITS_PER_KBIT = 1000.0
MS_PER_S = 1000.0
MAX_JITTER_SHARE = 8.0
"""Times its mean: where jitter is cut off, so that a delay has a bound; 0.03 % are above."""
MAX_HOLD_S = 0.5
"""Nothing is held back longer: what is later than this is lost as far as a game can tell (chosen)."""
MIN_GAP_S = 0.001
"""What is sent closer together was sent together, and says nothing about how long to wait for the next."""
FIRST_GAP_S = 1 / 30
"""Time between datagrams of a lane before it is known: one tick at the relay's default rate."""
GAP_WEIGHT = 1 / 8
"""Weight of the newest gap in the mean, as RFC 6298 smooths round trips."""
HOLD_GAPS = (1.25, 2.75)
"""A datagram is held back for this many gaps, uniformly: one or two others overtake it."""
HOLD_JITTERS = 3.0
"""And for this many mean jitters: the next one has a jitter of its own, and shall overtake nevertheless."""

DRAW_LOSS, DRAW_JITTER, DRAW_COPY, DRAW_REORDER, DRAW_HOLD, DRAW_COPY_REORDER, DRAW_COPY_HOLD = range(7)
NUM_DRAWS = 7
"""Columns of the random numbers, uniform in [0, 1). A copy is reordered for itself."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Links:
    """One direction of many paths. A lane is one path; lanes know nothing of each other."""

    def __init__(self, conditions: Sequence[Conditions], rng: np.random.Generator) -> None:
        """Begin with empty lines.

        Args:
            conditions: One for each lane, L in all.
            rng: Source of all chance.
        """
        self._rng = rng
        self.counters: Counter[str] = Counter()
        """lost, duplicated, reordered, overflowed (dropped by the queue of a bandwidth): datagrams of all lanes."""
        num_lanes = len(conditions)
        # --- the conditions, all (L,) float64
        self._latency_s = np.zeros(num_lanes, np.float64)
        self._jitter_s = np.zeros(num_lanes, np.float64)
        self._to_bad = np.zeros(num_lanes, np.float64)
        """Chance per datagram that a good lane turns bad."""
        self._stay_bad = np.zeros(num_lanes, np.float64)
        """Chance per datagram that a bad lane stays bad."""
        self._copy_share = np.zeros(num_lanes, np.float64)
        self._reorder_share = np.zeros(num_lanes, np.float64)
        self._s_per_byte = np.zeros(num_lanes, np.float64)
        """0 = no cap."""
        # --- what has happened, all (L,)
        self._is_bad = np.zeros(num_lanes, np.bool_)
        self._free_at = np.zeros(num_lanes, np.float64)
        """When the line will have sent all it took, monotonic seconds."""
        self._newest_due = np.zeros(num_lanes, np.float64)
        """When the latest of those that were not held back arrives."""
        self._sent_at = np.zeros(num_lanes, np.float64)
        """When the newest was sent, NaN = none yet."""
        self._gap_s = np.zeros(num_lanes, np.float64)
        for lane, of_lane in enumerate(conditions):
            self._write_lane(lane, of_lane)
            self.clear_lane(lane)
        self._note_what_is_used()

    @property
    def num_lanes(self) -> int:
        """Number of lanes, L."""
        return len(self._latency_s)

    def set_lane(self, lane: int, conditions: Conditions) -> None:
        """Change the conditions of a lane. What is under way stays under way, and what follows stays behind it."""
        self._write_lane(lane, conditions)
        self._is_bad[lane] = self._rng.random() < conditions.loss_percent / PERCENT
        self._note_what_is_used()

    def clear_lane(self, lane: int) -> None:
        """Forget what was sent on a lane: it gets another user. The conditions stay."""
        # With the long-term chance of being bad, so that the mean loss holds from the first datagram on.
        to_bad, to_good = self._to_bad[lane], 1.0 - self._stay_bad[lane]
        self._is_bad[lane] = self._rng.random() * (to_bad + to_good) < to_bad
        self._free_at[lane] = -np.inf
        self._newest_due[lane] = -np.inf
        self._sent_at[lane] = np.nan
        self._gap_s[lane] = FIRST_GAP_S

    def _write_lane(self, lane: int, conditions: Conditions) -> None:
        self._latency_s[lane] = conditions.latency_ms / MS_PER_S
        self._jitter_s[lane] = conditions.jitter_ms / MS_PER_S
        self._to_bad[lane], self._stay_bad[lane] = gilbert_chances(conditions)
        self._copy_share[lane] = conditions.duplicate_percent / PERCENT
        self._reorder_share[lane] = conditions.reorder_percent / PERCENT
        kbit = conditions.bandwidth_kbit
        self._s_per_byte[lane] = 8.0 / (kbit * BITS_PER_KBIT) if kbit else 0.0

    def _note_what_is_used(self) -> None:
        """A stage that no lane uses costs nothing."""
        self._has_jitter = bool(self._jitter_s.any())
        self._has_loss = bool(self._to_bad.any())
        self._has_copies = bool(self._copy_share.any())
        self._has_reordering = bool(self._reorder_share.any())
        self._has_cap = bool(self._s_per_byte.any())
        self._has_chance = self._has_jitter or self._has_loss or self._has_copies or self._has_reordering
        self._is_perfect = not (self._has_chance or self._has_cap or self._latency_s.any())

    def carry(self, lane: Ints, size_bytes: Ints, now: float) -> tuple[Ints, Floats]:
        """Decide which datagrams arrive, and when.

        Args:
            lane: Lane of each datagram, in the order of sending; one lane may stand several times. int64, (N,).
            size_bytes: Payload of each. int64, (N,).
            now: Monotonic seconds, not before that of the last call.
        Returns: which of the N arrive, ascending, a duplicated one twice in a row: int64, (M,); and when, monotonic
            seconds: float64, (M,). Per lane the times ascend too, but for what is reordered. New arrays.
        Raises: IndexError for a lane that there is not.
        """
        num = len(lane)
        if self._is_perfect:
            # Something may be under way from the time before `set_lane`.
            return np.arange(num, dtype=np.int64), np.maximum(self._newest_due[lane], now)
        draws = self._rng.random((num, NUM_DRAWS)) if self._has_chance else np.zeros((num, NUM_DRAWS), np.float64)
        if self._has_reordering:
            self._note_gaps(lane, now)
        due = np.empty(num, np.float64)
        num_copies = np.empty(num, np.int64)
        for rows in rounds_of_distinct_lanes(lane, self.num_lanes):
            due[rows], num_copies[rows] = self._carry_round(lane[rows], size_bytes[rows], now, draws[rows])
        which = np.repeat(np.arange(num, dtype=np.int64), num_copies)  # (M,)
        arrives_at = due[which]
        if self._has_reordering:
            arrives_at += self._hold_s(which, lane, draws)
        return which, arrives_at

    def _carry_round(self, lane: Ints, size_bytes: Ints, now: float, draws: Floats) -> tuple[Floats, Ints]:
        """Carry datagrams of distinct lanes to the far end. Returns: due and number of copies, both (N,)."""
        leaves_at, fits = self._leave(lane, size_bytes, now)
        arrives = fits & ~self._lose(lane, draws[:, DRAW_LOSS], fits) if self._has_loss else fits
        due = leaves_at + self._latency_s[lane]
        if self._has_jitter:
            # 1 - u is above 0, as a logarithm wants it.
            share = np.minimum(-np.log(1.0 - draws[:, DRAW_JITTER]), MAX_JITTER_SHARE)
            due += share * self._jitter_s[lane]
        newest_due = self._newest_due[lane]
        due = np.maximum(due, newest_due)
        self._newest_due[lane] = np.where(arrives, due, newest_due)
        num_copies = arrives.astype(np.int64)
        if self._has_copies:
            is_copied = arrives & (draws[:, DRAW_COPY] < self._copy_share[lane])
            num_copies += is_copied
            self.counters["duplicated"] += int(np.count_nonzero(is_copied))
        return due, num_copies

    def _leave(self, lane: Ints, size_bytes: Ints, now: float) -> tuple[Floats, Bools]:
        """Queue before the line. Returns: when each has left, and which found room, both (N,)."""
        num = len(lane)
        if not self._has_cap:
            return np.full(num, now, np.float64), np.ones(num, np.bool_)
        begins_at = np.maximum(self._free_at[lane], now)
        fits = begins_at - now <= MAX_QUEUE_S
        leaves_at = begins_at + (size_bytes + HEADER_BYTES) * self._s_per_byte[lane]
        self._free_at[lane] = np.where(fits, leaves_at, begins_at)
        self.counters["overflowed"] += num - int(np.count_nonzero(fits))
        return leaves_at, fits

    def _lose(self, lane: Ints, draw: Floats, fits: Bools) -> Bools:
        """Move each lane whose datagram found room one step through Gilbert's two states. Returns: lost, (N,)."""
        was_bad = self._is_bad[lane]
        is_bad = draw < np.where(was_bad, self._stay_bad[lane], self._to_bad[lane])
        self._is_bad[lane] = np.where(fits, is_bad, was_bad)
        self.counters["lost"] += int(np.count_nonzero(is_bad & fits))
        return is_bad

    def _note_gaps(self, lane: Ints, now: float) -> None:
        """Smooth the time between a lane's datagrams; a lane that stands twice is written twice, with the same."""
        newest_gap_s = now - self._sent_at[lane]  # (N,), NaN = first
        gap_s = self._gap_s[lane]
        smoothed_s = gap_s + (np.minimum(newest_gap_s, MAX_HOLD_S) - gap_s) * GAP_WEIGHT
        self._gap_s[lane] = np.where(newest_gap_s >= MIN_GAP_S, smoothed_s, gap_s)
        self._sent_at[lane] = now

    def _hold_s(self, which: Ints, lane: Ints, draws: Floats) -> Floats:
        """Choose what is reordered. Returns: seconds by which each arrival is held back, 0 for most, (M,)."""
        is_copy = np.zeros(len(which), np.bool_)
        is_copy[1:] = which[1:] == which[:-1]
        lane_of = lane[which]  # (M,)
        draw = draws[which, np.where(is_copy, DRAW_COPY_REORDER, DRAW_REORDER)]
        draw_hold = draws[which, np.where(is_copy, DRAW_COPY_HOLD, DRAW_HOLD)]
        is_held = draw < self._reorder_share[lane_of]
        low, high = HOLD_GAPS
        hold_s = self._gap_s[lane_of] * (low + (high - low) * draw_hold) + HOLD_JITTERS * self._jitter_s[lane_of]
        self.counters["reordered"] += int(np.count_nonzero(is_held))
        return np.where(is_held, np.minimum(hold_s, MAX_HOLD_S), 0.0)


def gilbert_chances(conditions: Conditions) -> tuple[float, float]:
    """Derive the two chances of Gilbert's model from mean loss and mean length of a burst.

    A burst ends with chance r per datagram, so its mean length is 1 / r; it begins with chance p, and the mean loss is
    p / (p + r). With r = 1 - loss the next loss depends on nothing: both chances are the loss itself.

    Returns: chance that a good lane turns bad, chance that a bad one stays so.
    """
    loss = conditions.loss_percent / PERCENT
    if loss == 0.0:
        return 0.0, 0.0
    if loss == 1.0:
        return 1.0, 1.0
    to_good = min(1.0 / conditions.burst, 1.0 - loss)
    return to_good * loss / (1.0 - loss), 1.0 - to_good


def rounds_of_distinct_lanes(lane: Ints, num_lanes: int) -> Iterator[Any]:
    """Split datagrams so that no lane stands twice in a round: the first of every lane, then the second, ...

    Args:
        lane: int64, (N,).
        num_lanes: L, above every lane.
    Yields: an index of rows for each round; for the usual case, all at once, a slice, which copies nothing.
    """
    num = len(lane)
    if num < 2 or np.bincount(lane, minlength=num_lanes).max() == 1:
        yield slice(None)
        return
    by_lane = np.argsort(lane, kind="stable")
    is_first = np.ones(num, np.bool_)
    is_first[1:] = lane[by_lane][1:] != lane[by_lane][:-1]
    begins = np.flatnonzero(is_first)
    turn = np.empty(num, np.int64)  # 0 for the first of its lane, 1 for the second, ...
    turn[by_lane] = np.arange(num) - np.repeat(begins, np.diff(begins, append=num))
    by_turn = np.argsort(turn, kind="stable")
    yield from np.split(by_turn, np.cumsum(np.bincount(turn))[:-1])


T = TypeVar("T")


class DelayQueue(Generic[T]):
    """Things that wait for their time. Of two with the same time the one pushed first comes first."""

    def __init__(self, max_items: int) -> None:
        """Begin empty.

        Args:
            max_items: What is pushed beyond it is dropped: what waits already is nearer to its time.
        Raises: ValueError if it is below 1.
        """
        if max_items < 1:
            raise ValueError(f"max_items is {max_items}; permitted: 1 or more")
        self._max_items = max_items
        self._heap: list[tuple[float, int, T]] = []
        self._serial = itertools.count()
        self.num_overflowed = 0
        """Things that were dropped because the queue was full."""

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, due: Floats, items: Sequence[T]) -> None:
        """Add things.

        Args:
            due: When each is due, monotonic seconds, any order. float64, (M,).
            items: The M things.
        """
        num_free = self._max_items - len(self._heap)
        for at, item in zip(due[:num_free].tolist(), items):
            heapq.heappush(self._heap, (at, next(self._serial), item))
        self.num_overflowed += max(0, len(items) - num_free)

    def pop_due(self, now: float) -> list[T]:
        """Remove and return what is due at `now` or before, the earliest first."""
        popped = []
        while self._heap and self._heap[0][0] <= now:
            popped.append(heapq.heappop(self._heap)[2])
        return popped

    def next_due(self) -> float:
        """Return when the next thing is due, infinity if nothing waits."""
        return self._heap[0][0] if self._heap else float("inf")
