"""Whether every message arrived once, in one order, at its receivers only, and every signal at most once.

What should have been heard follows from who said what (`audience`) and from the room's log, as far as any of its
members has seen it. Of every entry that anybody heard, log, index and claim are kept, 32 bytes each; at the end of a
run each player's part of the log is counted against what it was handed. What stands at one index is compared among
its receivers at once; that no message stands at two, nor before an earlier one of its sender, is seen in the end.
Where receivers differ the first to hear it is believed: that something is wrong is certain, with whom is not.
"""

from collections import Counter

import numpy as np

from protocol.constants import MAX_PLAYER_KIND
from relay.columns import Bools, Columns, Ints, expand, rank_in_run
from tools.load.claims import Use, Words, keys_of
from tools.load.downlink import Caught, Times
from tools.load.histogram import Histogram
from tools.load.log import Heard
from tools.load.people import REMEMBERED, People
from tools.load.reading import Shape
from tools.load.uplink import Habits, audience_of

RING = 1024
"""Newest indexes of a log at which each entry is compared among its receivers: more than any of them can be behind
without being ended as too slow (SPEC 13)."""
PAIRS_AT_ONCE = 1 << 20
"""(entry, receiver) pairs that are held in memory at a time when a run is counted up."""


class _Records(Columns):
    """What was heard of and by each life."""

    def __init__(self, rows: int, slots: int) -> None:
        self.COLUMNS = {  # type: ignore[misc]
            "delivered": ("i8", ()),  # messages that it was handed rightly
            "signal_life": ("i8", (slots,)),  # of each seat whose signals it caught: 1 + the life that sat there
            "signal_newest": ("i8", (slots,)),
            "signal_mask": ("u8", (slots,)),  # bit i: newest - i was caught
        }
        super().__init__(rows)

    delivered: Ints
    signal_life: Ints
    signal_newest: Ints
    signal_mask: Words


class _Rings(Columns):
    """The newest entries of each log, at index % RING."""

    COLUMNS = {"index": ("i8", (RING,)), "key": ("u8", (RING,))}

    index: Ints
    key: Words


class Ledger:
    """Takes what players are handed, and tells in the end what was wrong."""

    def __init__(self, people: People, shape: Shape, habits: Habits) -> None:
        self._people = people
        self._habits = habits
        self._slots = shape.player_slots
        self._records = _Records(64, shape.player_slots)
        self._rings = _Rings(1)
        self._chronicle: list[tuple[Ints, Ints, Ints, Ints]] = []  # log, index, life, counter
        self._strays: list[tuple[Ints, Ints, Words]] = []  # row, index, key: what others heard otherwise
        self.messages: Counter[str] = Counter()
        """received, out_of_order, misdelivered, wrong; after `count_up` also missing and duplicated, which until then
        counts as out of order, if at all."""
        self.signals: Counter[str] = Counter()
        """received, duplicated, misdelivered, wrong."""
        self.message_latency = Histogram()
        self.signal_latency = Histogram()
        self.recent_messages = Histogram()
        self.recent_signals = Histogram()
        self.is_timing = False

    # --- messages

    def on_entries(self, heard: Heard, arrived: Times) -> None:
        """Take log entries that were handed over."""
        self._records.grow_to(self._people.used)
        said = np.flatnonzero(heard.kind <= MAX_PLAYER_KIND)
        row, index, life, counter = heard.row[said], heard.index[said], heard.life[said], heard.counter[said]
        good = self._is_theirs(row, life, heard.sender[said], heard.proven[said], counter, self._people.said)
        self.messages["wrong"] += int(np.count_nonzero(~good))
        row, index, life, counter = (column[good] for column in (row, index, life, counter))
        arrived = arrived[said][good]
        hears = self._hears(Use.MESSAGE, life, counter, row)
        self.messages["misdelivered"] += int(np.count_nonzero(~hears))
        same = self._compare(row, index, life, counter)
        self.messages["out_of_order"] += int(np.count_nonzero(~same))
        self._strays.append((row[~same], index[~same], keys_of(life[~same], counter[~same])))
        fine = hears & same
        np.add.at(self._records.delivered, row[fine], 1)
        self.messages["received"] += int(np.count_nonzero(fine))
        if self.is_timing:
            others = fine & (life != row) & (self._people.said[life] - counter < REMEMBERED)
            latency_s = arrived[others] - self._people.said_at[life[others], counter[others] % REMEMBERED]
            self.message_latency.add(latency_s)
            self.recent_messages.add(latency_s)

    def _is_theirs(self, row: Ints, life: Ints, sender: Ints, proven: Bools, counter: Ints, last: Ints) -> Bools:
        """Tell whether a content is what a member of the receiver's room has sent under that name, (n,)."""
        people = self._people
        good = proven & (life >= 0) & (life < people.used)
        life = np.where(good, life, 0)
        good &= (people.room[life] == people.room[row]) & (people.player_id[life] == sender)
        return good & (counter >= 1) & (counter <= last[life])

    def _hears(self, use: Use, life: Ints, counter: Ints, row: Ints) -> Bools:
        audience = audience_of(self._habits, use, life, counter, self._people.player_id[life])
        return audience.hears(self._people.player_id[row])

    def _compare(self, row: Ints, index: Ints, life: Ints, counter: Ints) -> Bools:
        """Hold what stands at an index for one receiver against what stood there for the others, (n,)."""
        log, slot, key = self._people.log[row], index % RING, keys_of(life, counter)
        self._rings.grow_to(int(log.max(initial=0)) + 1)
        rings = self._rings
        new = rings.index[log, slot] < index
        rings.index[log[new], slot[new]] = index[new]
        rings.key[log[new], slot[new]] = key[new]
        same: Bools = (rings.index[log, slot] != index) | (rings.key[log, slot] == key)
        first_seen = np.flatnonzero(new & same)
        _, once = np.unique(np.stack([log[first_seen], index[first_seen]]), axis=1, return_index=True)
        picked = first_seen[once]
        self._chronicle.append((log[picked], index[picked], life[picked], counter[picked]))
        return same

    # --- signals

    def on_signals(self, caught: Caught) -> None:
        """Take signals that were handed over."""
        people = self._people
        self._records.grow_to(people.used)
        good = self._is_theirs(caught.row, caught.life, caught.sender, caught.proven, caught.counter, people.signalled)
        self.signals["wrong"] += int(np.count_nonzero(~good))
        caught = caught.where(good)
        hears = self._hears(Use.SIGNAL, caught.life, caught.counter, caught.row)
        self.signals["misdelivered"] += int(np.count_nonzero(~hears))
        again = self._seen_before(caught)
        self.signals["duplicated"] += int(np.count_nonzero(again))
        fine = caught.where(hears & ~again)
        self.signals["received"] += len(fine.row)
        if self.is_timing:
            fine = fine.where((fine.life != fine.row) & (people.signalled[fine.life] - fine.counter < REMEMBERED))
            latency_s = fine.arrived - people.signalled_at[fine.life, fine.counter % REMEMBERED]
            self.signal_latency.add(latency_s)
            self.recent_signals.add(latency_s)

    def _seen_before(self, caught: Caught) -> Bools:
        """Tell which signals their receiver had caught already, (n,), as far back as 64 of the same sender."""
        records, seat = self._records, caught.row * self._slots + caught.sender
        again = np.zeros(len(seat), np.bool_)
        order = np.argsort(seat, kind="stable")
        rank = rank_in_run(seat[order])
        one = np.uint64(1)
        for k in range(int(rank.max(initial=-1)) + 1):
            some = order[rank == k]
            row, sender, counter = caught.row[some], caught.sender[some], caught.counter[some]
            fresh = records.signal_life[row, sender] != caught.life[some] + 1
            newest = np.where(fresh, 0, records.signal_newest[row, sender])
            mask = np.where(fresh, 0, records.signal_mask[row, sender]).astype(np.uint64)
            ahead = counter - newest
            shift = np.clip(np.abs(ahead), 0, 63).astype(np.uint64)
            again[some] = (ahead <= 0) & (ahead > -64) & (mask >> shift & one != 0)
            forward = np.where(ahead < 64, mask << shift, 0).astype(np.uint64) | one
            records.signal_mask[row, sender] = np.where(ahead > 0, forward, mask | one << shift)
            records.signal_newest[row, sender] = np.maximum(newest, counter)
            records.signal_life[row, sender] = caught.life[some] + 1
        return again

    # --- the end

    def count_up(self, done: Ints) -> None:
        """Find what is missing, once all is quiet.

        Args:
            done: Up to where in the log each life was handed everything, (lives,). The living should have all of it.
        """
        people = self._people
        self._records.grow_to(people.used)
        log, index, life, counter = self._read_chronicle()
        self._tell_doubled(log, index, keys_of(life, counter))
        order = np.argsort(log, kind="stable")
        log, index, life, counter = log[order], index[order], life[order], counter[order]
        until = np.where(people.live[: people.used], np.iinfo(np.int64).max, done)
        expected = self._expected(log, index, life, counter, until)
        shortfall = expected - self._records.delivered[: people.used]
        self.messages["missing"] += int(np.maximum(shortfall, 0).sum())
        self.messages["missing"] += self._unheard_of(life, counter, index)

    def _read_chronicle(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Check each sender's messages, and list them once each, by sender and counter.

        Returns: log, index, life and counter, (e,) each.
        """
        columns = [np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*self._chronicle)]
        log, index, life, counter = columns if columns else [np.zeros(0, np.int64)] * 4
        order = np.lexsort((index, counter, life))
        log, index, life, counter = log[order], index[order], life[order], counter[order]
        again = np.zeros(len(life), np.bool_)
        again[1:] = (life[1:] == life[:-1]) & (counter[1:] == counter[:-1])
        self.messages["duplicated"] += int(np.count_nonzero(again))
        log, index, life, counter = log[~again], index[~again], life[~again], counter[~again]
        before = (life[1:] == life[:-1]) & (index[1:] < index[:-1])
        self.messages["out_of_order"] += int(np.count_nonzero(before))
        return log, index, life, counter

    def _tell_doubled(self, log: Ints, index: Ints, keys: Words) -> None:
        """Find strays that are repetitions: their receiver had heard the same at its own place, and before.

        Args:
            log, index, keys: Of the chronicle, by key, (e,).
        """
        if not any(len(row) for row, _, _ in self._strays) or not len(keys):
            return
        row, at, stray = (np.concatenate(column) for column in zip(*self._strays))
        place, wanted = log << 32 | index, self._people.log[row] << 32 | at
        by_place = np.argsort(place)
        found = by_place[np.minimum(np.searchsorted(place, wanted, sorter=by_place), len(keys) - 1)]
        lacking = set(zip(row.tolist(), np.where(place[found] == wanted, keys[found], 0).tolist()))
        own = np.minimum(np.searchsorted(keys, stray), len(keys) - 1)
        was_before = (keys[own] == stray) & (index[own] < at) & (index[own] > self._people.log_start[row])
        doubled = sum(pair not in lacking for pair in zip(row[was_before].tolist(), stray[was_before].tolist()))
        self.messages["out_of_order"] -= doubled
        self.messages["duplicated"] += doubled

    def _expected(self, log: Ints, index: Ints, life: Ints, counter: Ints, until: Ints) -> Ints:
        """Count for each life the entries that it should have been handed, (lives,)."""
        people = self._people
        members = np.argsort(people.log[: people.used], kind="stable")
        first, counts = _runs(people.log[: people.used][members], log)
        expected = np.zeros(people.used, np.int64)
        ends = np.cumsum(counts)
        start = 0
        while start < len(log):
            stop = max(start + 1, int(np.searchsorted(ends, ends[start] + PAIRS_AT_ONCE)))
            which, k = expand(counts[start:stop])
            row, entry = members[first[start:stop][which] + k], which + start
            there = (people.log_start[row] < index[entry]) & (index[entry] <= until[row])
            row, entry = row[there], entry[there]
            hears = self._hears(Use.MESSAGE, life[entry], counter[entry], row)
            np.add.at(expected, row[hears], 1)
            start = stop
        return expected

    def _unheard_of(self, life: Ints, counter: Ints, index: Ints) -> int:
        """Count messages that the relay accepted and nobody heard, though a member who is still there should have.

        Args:
            life, counter, index: Of the chronicle, (e,).
        """
        people = self._people
        heard = np.bincount(life, minlength=people.used)
        accepted = people.message_acked[: people.used]
        missing = 0
        for who in np.flatnonzero(heard < accepted).tolist():
            mine = life == who
            index_of = dict(zip(counter[mine].tolist(), index[mine].tolist()))
            others = people.living
            others = others[people.log[others] == people.log[who]]
            after = int(people.log_start[who])
            for number in range(1, int(accepted[who]) + 1):
                after = index_of.get(number, after)
                if number not in index_of:
                    # Its place is not known, but who joined before it was said is before it in the log.
                    is_remembered = people.said[who] - number < REMEMBERED
                    said_at = people.said_at[who, number % REMEMBERED] if is_remembered else -np.inf
                    is_there = (people.log_start[others] <= after) | (people.joined_at[others] <= said_at)
                    there = others[is_there]
                    hears = self._hears(Use.MESSAGE, np.full(len(there), who), np.full(len(there), number), there)
                    missing += int(np.count_nonzero(hears))
        return missing


def _runs(ordered: Ints, keys: Ints) -> tuple[Ints, Ints]:
    """Find where each key's run in `ordered` begins, and how long it is, (n,) each."""
    first = np.searchsorted(ordered, keys, "left")
    return first, np.searchsorted(ordered, keys, "right") - first
