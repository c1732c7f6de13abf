"""How fresh the states are that players see: delivered share, superseded share, age, and whether they are true.

A tick is judged when it has settled, long enough after it that nothing of it can still arrive. What changed in a room
at a tick is what anybody in the room was shown for the first time at that tick. A (receiver, tick) pair counts as
delivered if that receiver was shown all of it in the snapshot of that very tick. Two kinds of ticks that nobody in a
room saw count as not delivered all the same: those in which a datagram is missing of every member, and those that the
relay left out although the players sent it states all the time.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from relay.columns import Bools, Ints
from tools.load.downlink import Seen
from tools.load.histogram import Histogram
from tools.load.people import REMEMBERED, People
from tools.load.reading import Bodies, Shape

STEADY_STATES = 8
"""States sent in time for a tick, from which on it cannot be that nothing changed in it (chosen: none of so many is
late). Of a smaller load, or one that stands still, ticks that were left out cannot be told from ticks without news."""
STEADY_TICKS = 3
"""Ticks for which that must have held: what was sent for a tick is known to about one."""
LONGEST_GAP_TICKS = 4096
"""A relay whose tick jumps further has lost its clock; nothing here counts up to where it says it is."""


@dataclass
class _Shown:
    """What was shown of one tick in one pass."""

    row: Ints
    """Receivers, (n,)."""
    body: Ints
    """(n,)"""
    bodies: Bodies


class Freshness:
    """Judges ticks in order. `measuring` may be switched at any time; only what is judged meanwhile counts."""

    def __init__(self, people: People, shape: Shape, num_rooms: int, tick_rate: int, settle_ticks: int) -> None:
        """Begin with nothing seen.

        Args:
            settle_ticks: Ticks after which nothing of a tick can still arrive.
        """
        self._people = people
        self._shape = shape
        self._num_rooms = num_rooms
        self._tick_rate = tick_rate
        self._settle_ticks = settle_ticks
        self._shown: dict[int, list[_Shown]] = {}
        self._gap_rooms: dict[int, list[Ints]] = {}
        self._truth = np.zeros((num_rooms, shape.player_slots), np.uint64)
        self._changed_before = np.zeros(num_rooms, np.bool_)
        self._judged = 0
        self._clock_ticks = -np.inf  # tick of a moment, less moment x tick rate, as the quickest datagram had it
        self._num_sent = 0
        self._sent_for: Counter[int] = Counter()  # states by the tick that could first show them
        self.measured_from = 1 << 62
        """Ticks after this one count, up to `measured_to`."""
        self.measured_to = 1 << 62
        self.age = Histogram()
        self.recent_age = Histogram()
        self.is_timing = False
        """Whether ages are noted."""
        self.pairs = 0
        """(receiver, tick) pairs in which something changed."""
        self.delivered = 0
        self.changes = 0
        """States that some snapshot showed for the first time."""
        self.ticks_left_out = 0
        self.num_wrong = 0
        """States that their owner never published, that stand where they do not belong, or that are older than what
        their receiver had: newest wins."""
        self.num_received = 0
        """States that were news to a receiver."""

    @property
    def delivered_share(self) -> float | None:
        """Delivered pairs / pairs; None before there is one."""
        return self.delivered / self.pairs if self.pairs else None

    # --- what arrives

    def on_states(self, seen: Seen) -> None:
        """Take pages that players applied."""
        bodies, people = seen.bodies, self._people
        true = self._check(bodies)
        self.num_wrong += int(np.count_nonzero(~true)) + int(np.count_nonzero(true[seen.older]))
        self.num_received += len(seen.news)
        if self.is_timing:
            state, receiver = seen.state, seen.row[seen.news]
            timed = true[state] & (bodies.life[state] != receiver)
            state = state[timed]
            life, counter = bodies.life[state], bodies.counter[state]
            published_at = people.published_at[life, counter % REMEMBERED]
            # what was there before its receiver was is older than any relay could make it
            counted = (people.published[life] - counter < REMEMBERED) & (
                published_at > people.joined_at[receiver[timed]]
            )
            age_s = (seen.arrived[seen.news][timed] - published_at)[counted]
            self.age.add(age_s)
            self.recent_age.add(age_s)
        if len(seen.body):
            ahead = bodies.tick[seen.body] - seen.arrived * self._tick_rate
            self._clock_ticks = max(self._clock_ticks, float(ahead.max()))
        for tick in np.unique(bodies.tick[seen.body]).tolist():
            if tick <= self._judged:
                continue  # too late to be counted
            some = bodies.tick[seen.body] == tick
            self._shown.setdefault(tick, []).append(_Shown(seen.row[some], seen.body[some], bodies))
            if not self._judged:
                self._judged = tick - 1

    def on_gap(self, row: Ints, tick_before: Ints, tick: Ints) -> None:
        """Note ticks between which datagrams of a room's members are missing."""
        for room, first, end in zip(self._people.room[row].tolist(), (tick_before + 1).tolist(), tick.tolist()):
            for missing in range(max(first, self._judged + 1, end - LONGEST_GAP_TICKS), end):
                self._gap_rooms.setdefault(missing, []).append(room)

    def note_sent(self, now: float, num_published: int) -> None:
        """Note that so many states have been published until now."""
        if self._judged:
            self._sent_for[int(now * self._tick_rate + self._clock_ticks) + 1] += num_published - self._num_sent
        self._num_sent = num_published

    def _check(self, bodies: Bodies) -> Bools:
        """Tell which states are what their owner has published, and stand where they belong, (h,)."""
        people = self._people
        known = bodies.proven & (bodies.life < people.used)
        life = np.where(known, bodies.life, 0)
        known &= people.room[life] == bodies.room[bodies.state_body]
        known &= people.player_id[life] == bodies.entity_id
        return known & (bodies.counter >= 1) & (bodies.counter <= people.published[life])

    # --- judging

    def settle(self, newest_tick: int) -> None:
        """Judge the ticks that have settled."""
        until = newest_tick - self._settle_ticks
        while self._judged and self._judged < until:
            self._judged = max(self._judged + 1, until - LONGEST_GAP_TICKS)
            self._judge(self._judged)

    def settle_all(self, newest_tick: int) -> None:
        """Judge all ticks there were: nothing will arrive any more."""
        self.settle(newest_tick + self._settle_ticks)

    def _judge(self, tick: int) -> None:
        shown = self._shown.pop(tick, [])
        present = self._find_present(tick)
        members = np.bincount(self._people.room[: self._people.used][present], minlength=self._num_rooms)
        gaps = np.bincount(np.array(self._gap_rooms.pop(tick, []), np.int64), minlength=self._num_rooms)
        lost = (gaps > 0) & (gaps >= members)
        counts = self.measured_from < tick <= self.measured_to
        is_steady = all(self._sent_for[tick - k] >= STEADY_STATES for k in range(STEADY_TICKS))
        self._sent_for.pop(tick - STEADY_TICKS, None)
        if not shown:
            nothing = np.zeros(self._people.used, np.bool_)
            is_left_out = is_steady and not lost[members > 0].all()
            if counts:
                self.ticks_left_out += is_left_out
                self._count(present, lost | self._changed_before if is_left_out else lost, nothing)
            return
        need, got, seen_rooms = self._compare(shown)
        if counts:
            self.changes += int(need.sum())
            row_room = self._people.room[: self._people.used]
            self._count(present, (need > 0) | (lost & ~seen_rooms), got == need[row_room])
        self._changed_before = need > 0

    def _find_present(self, tick: int) -> Bools:
        """Tell which lives were there before a tick and are there after it, (lives,)."""
        people, used = self._people, self._people.used
        first = people.first_tick[:used]
        return (first > 0) & (first < tick) & (people.live[:used] | (people.newest_tick[:used] >= tick))

    def _compare(self, shown: list[_Shown]) -> tuple[Ints, Ints, Bools]:
        """Find out what changed, and how much of it each receiver was shown.

        Returns: changed entities of each room, (rooms,); how many of them each life was shown, (lives,); which rooms
            anybody saw, (rooms,).
        """
        slots = self._shape.player_slots
        newest = np.zeros(self._num_rooms * slots, np.uint64)
        seen_rooms = np.zeros(self._num_rooms, np.bool_)
        places = []
        for part in shown:
            # bodies of other ticks of the same pass stand among them: only those that were shown now count
            used = np.zeros(len(part.bodies), np.bool_)
            used[part.body] = True
            bodies = part.bodies
            picked = np.flatnonzero(used[bodies.state_body])
            place = bodies.room[bodies.state_body[picked]] * slots + bodies.entity_id[picked]
            key = bodies.keys[picked]
            np.maximum.at(newest, place, key)
            seen_rooms[bodies.room[used]] = True
            places.append((picked, place, key))
        changed = newest > self._truth.reshape(-1)
        self._truth.reshape(-1)[changed] = newest[changed]
        need = changed.reshape(self._num_rooms, slots).sum(axis=1)
        got = np.zeros(self._people.used, np.int64)
        for part, (picked, place, key) in zip(shown, places):
            hit = changed[place] & (key == newest[place])
            of_body = np.bincount(part.bodies.state_body[picked], weights=hit, minlength=len(part.bodies))
            np.add.at(got, part.row, of_body[part.body].astype(np.int64))
        return need, got, seen_rooms

    def _count(self, present: Bools, rooms: Bools, delivered: Bools) -> None:
        """Count the pairs of a tick with those of some lives, (lives,), whose room changed, (rooms,)."""
        pairs = present & rooms[self._people.room[: self._people.used]]
        self.pairs += int(np.count_nonzero(pairs))
        self.delivered += int(np.count_nonzero(pairs & delivered))
