"""What the players of a load receive: UPDATEs of many at a time, checked and applied as `protocol.client` would.

A pass takes each player's first datagram, then each one's second, and so on, as they arrived: so everything within a
round is a plain array operation over different players.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.client.acks import RTT_SHARE
from protocol.client.clock import WINDOW_S
from protocol.client.roster import Roster
from protocol.client.signals import HOLD_S
from protocol.constants import (
    ACK_BITS,
    ACK_DELAY_MAX_MS,
    ACK_WITHIN_DATAGRAMS,
    ACK_WITHIN_S,
    MAX_DATAGRAM_BYTES,
    WINDOW,
    AckFlag,
    EntryKind,
    SignalFlag,
    UpdateSection,
)
from protocol.records import Entry
from protocol.sequence import extend_array
from relay.columns import Bools, Bytes, Ints, expand, rank_in_run, windows
from relay.ingress import Records, Sections, walk_sections
from tools.load.claims import Use
from tools.load.log import Heard, Log, read_claims
from tools.load.people import FLIGHT, UNKNOWN, People
from tools.load.reading import Bodies, Entries, Shape, Signals, read_pages, read_ranges, read_signals

Times = npt.NDArray[np.float64]

_MAX_SECTIONS = MAX_DATAGRAM_BYTES // dtypes.SECTION_HEADER.size


class Membership(IntEnum):
    """What a player has been told of another's seat in the room."""

    NEVER = 0
    MEMBER = 1
    LEFT = 2


@dataclass
class Seen:
    """Pages that were applied. Axes: n (receiver, page) pairs, h pairs of a receiver and a state that it shows."""

    row: Ints
    """Receiver, (n,)."""
    body: Ints
    """(n,)"""
    bodies: Bodies
    news: Ints
    """Which of the n pairs brought a state that its receiver did not have, (h,)."""
    state: Ints
    """Which state of `bodies` that is, (h,)."""
    older: Ints
    """States of `bodies` older than what a receiver had, one for each such receiver, (o,)."""
    arrived: Times
    """(n,)"""


@dataclass
class Caught:
    """Signals that were handed over. Axis: n."""

    row: Ints
    """Receiver, (n,)."""
    sender: Ints
    """Player id."""
    life: Ints
    counter: Ints
    proven: Bools
    arrived: Times

    def where(self, kept: Bools) -> "Caught":
        """Select by a mask, (n,)."""
        return Caught(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


class Witness(Protocol):
    """Who is told what the players receive: the checks."""

    def on_states(self, seen: Seen) -> None:
        """Pages were applied."""

    def on_entries(self, heard: Heard, arrived: Times) -> None:
        """Log entries were handed over; `arrived` is when the last datagram they needed did, (n,)."""

    def on_signals(self, caught: Caught) -> None:
        """Signals were handed over."""

    def on_gap(self, row: Ints, tick_before: Ints, tick: Ints) -> None:
        """Datagrams of these players are missing between the two ticks, (n,) each."""


class Downlink:
    """Takes what a crowd receives."""

    def __init__(
        self, people: People, log: Log, shape: Shape, signal_bytes: int, tick_rate: int, witness: Witness
    ) -> None:
        self._people = people
        self._log = log
        self._shape = shape
        self._signal_bytes = signal_bytes
        self._tick_rate = tick_rate
        self._witness = witness
        self._held: list[Caught] = []
        self._held_after: list[
            tuple[Ints, Times, Ints, Ints]
        ] = []  # position, expiry, sequence, flags of each in _held
        self.dropped: Counter[str] = Counter()
        """What came and was not taken: duplicate, too_old, bad_ack, bad_section, late_signal, superseded_signal."""
        self.newest_tick = 0
        """Newest tick that anybody has seen."""
        self.entries_repeated = 0
        """Log entries that arrived again: what the relay sent more than once."""

    def receive(self, source: Bytes, at: Ints, length: Ints, arrived: Times) -> None:
        """Take UPDATEs in the order of their arrival.

        Args:
            source: The bytes they stand in, flat, with 16 or more spare bytes behind each.
            at: Where each begins, (n,).
            length: Bytes of each, (n,).
            arrived: When each arrived, (n,).
        """
        whole = (length >= dtypes.UPDATE_HEADER.size) & (length <= MAX_DATAGRAM_BYTES)
        self.dropped["bad_section"] += int(np.count_nonzero(~whole))
        header = windows(source, dtypes.UPDATE_HEADER_DTYPE)[at]
        row, known = self._people.find(header["session"])
        self.dropped["unknown_session"] += int(np.count_nonzero(~known))
        picked = np.flatnonzero(whole & known)
        order = picked[np.argsort(row[picked], kind="stable")]
        rank = rank_in_run(row[order])
        for k in range(int(rank.max(initial=-1)) + 1):
            some = order[rank == k]
            self._take_round(_Round(source, at[some], length[some], header[some], row[some], arrived[some]))

    def expire(self, now: float) -> None:
        """Drop signals that waited too long for the log."""
        if self._held:
            self._release(now)

    # --- one datagram of each player

    def _take_round(self, update: "_Round") -> None:
        update = self._check_window(update)
        update = self._check_acks(update)
        good, sections = walk_sections(
            update.source, update.at + dtypes.UPDATE_HEADER.size, update.at + update.length, _MAX_SECTIONS
        )
        body, pages, bodies = self._read_pages(update, sections, good)
        log_sections, ranges = self._read_ranges(update, sections, good)
        signal_sections, signals = self._read_signals(update, sections, good)
        self.dropped["bad_section"] += int(np.count_nonzero(~good))
        is_newest = update.seq > self._people.recv_newest[update.row]
        self._accept(update, good)
        self._take_acks(update, good & is_newest)
        if len(body):
            self._apply_pages(update, good, pages, body, bodies)
        # as a client does: signals that wait for nothing, then the log, then the others
        signal_row = update.row[signal_sections.datagram]
        reached = good[signal_sections.datagram] & self._is_reached(signal_row, signals)
        if reached.any():
            self._apply_signals(update, reached, signal_sections, signals)
        if len(log_sections.at):
            self._apply_ranges(update, good, log_sections, ranges)
        if self._held:
            self._release(float(update.arrived.max(initial=0.0)))
        waiting = good[signal_sections.datagram] & ~reached
        if waiting.any():
            self._apply_signals(update, waiting, signal_sections, signals)

    def _check_window(self, update: "_Round") -> "_Round":
        newest = self._people.recv_newest[update.row]
        update.seq = extend_array(update.header["seq"], newest)
        behind = newest - update.seq
        recent = (behind < WINDOW) & (update.seq >= 1)
        shift = np.clip(behind, 0, WINDOW - 1).astype(np.uint64)
        again = recent & (behind >= 0) & (self._people.recv_mask[update.row] >> shift & np.uint64(1) != 0)
        self.dropped["too_old"] += int(np.count_nonzero(~recent))
        self.dropped["duplicate"] += int(np.count_nonzero(again))
        return update.where(recent & ~again)

    def _check_acks(self, update: "_Round") -> "_Round":
        people, row, header = self._people, update.row, update.header
        update.ack = extend_array(header["ack"], people.send_seq[row])
        message_ack = extend_array(header["message_ack"], people.message_sent[row])
        nothing = header["flags"] & AckFlag.NOTHING_RECEIVED != 0
        good = nothing | ((update.ack >= 1) & (update.ack <= people.send_seq[row]))
        good &= (message_ack >= 0) & (message_ack <= people.message_sent[row])
        self.dropped["bad_ack"] += int(np.count_nonzero(~good))
        return update.where(good)

    def _read_pages(self, update: "_Round", sections: Sections, good: Bools) -> tuple[Ints, Sections, Bodies]:
        pages = sections.where(sections.kind == UpdateSection.PAGE)
        row = update.row[pages.datagram]
        tick = update.header["tick"][pages.datagram].astype(np.int64)
        body, bodies = read_pages(update.source, pages, self._people.room[row], tick, self._shape)
        if len(body):
            page = np.minimum(bodies.page[body], self._shape.num_pages - 1)
            applied = self._people.page_tick[row, page]
            fits = (tick <= applied) | (bodies.since[body] <= applied)
            good[pages.datagram[~(fits & bodies.good[body])]] = False
        return body, pages, bodies

    def _read_ranges(self, update: "_Round", sections: Sections, good: Bools) -> tuple[Sections, Entries]:
        some = sections.where(sections.kind == UpdateSection.LOG_RANGE)
        some = some.take(np.argsort(some.datagram, kind="stable"))
        ranges = read_ranges(update.source, some, self._shape)
        good[some.datagram[~ranges.good]] = False
        return some, ranges

    def _read_signals(self, update: "_Round", sections: Sections, good: Bools) -> tuple[Sections, Signals]:
        some = sections.where(sections.kind == UpdateSection.SIGNAL)
        some = some.take(np.argsort(some.datagram, kind="stable"))
        signals = read_signals(update.source, some, self._shape)
        good[some.datagram[~signals.good]] = False
        return some, signals

    def _accept(self, update: "_Round", good: Bools) -> None:
        """Move the window, note what is owed, and what is missing between this datagram and the newest before it."""
        people, row, seq = self._people, update.row[good], update.seq[good]
        arrived, tick = update.arrived[good], update.header["tick"][good].astype(np.int64)
        ahead = seq - people.recv_newest[row]
        forward = ahead > 0
        shift = np.clip(np.abs(ahead), 0, WINDOW - 1).astype(np.uint64)
        one = np.uint64(1)
        moved = np.where(ahead < WINDOW, people.recv_mask[row] << shift, 0).astype(np.uint64) | one
        people.recv_mask[row] = np.where(forward, moved, people.recv_mask[row] | one << shift)
        skipped = forward & (ahead > 1) & (people.newest_tick[row] > 0)
        if skipped.any():
            self._witness.on_gap(row[skipped], people.newest_tick[row[skipped]], tick[skipped])
        people.recv_newest[row] = np.maximum(people.recv_newest[row], seq)
        people.recv_at[row] = np.where(forward, arrived, people.recv_at[row])
        people.newest_tick[row] = np.where(forward, tick, people.newest_tick[row])
        people.first_tick[row] = np.where(people.first_tick[row] == 0, tick, people.first_tick[row])
        people.recv_count[row] += 1
        people.heard_at[row] = arrived
        owing = update.length[good] > dtypes.UPDATE_HEADER.size
        people.owed[row] += owing
        owed = people.owed[row]
        due = np.where(owing & (owed == 1), arrived + ACK_WITHIN_S, people.ack_due_at[row])
        people.ack_due_at[row] = np.where(owing & (owed >= ACK_WITHIN_DATAGRAMS), np.minimum(due, arrived), due)
        self._set_clocks(row, tick, arrived)
        self.newest_tick = max(self.newest_tick, int(tick.max(initial=0)))

    def _set_clocks(self, row: Ints, tick: Ints, arrived: Times) -> None:
        people = self._people
        ended = arrived >= people.clock_ends_at[row]
        best = people.clock_best_s[row]
        people.clock_before_s[row] = np.where(ended, best, people.clock_before_s[row])
        people.clock_ends_at[row] = np.where(ended, arrived + WINDOW_S, people.clock_ends_at[row])
        people.clock_best_s[row] = np.maximum(np.where(ended, -np.inf, best), tick / self._tick_rate - arrived)

    def _take_acks(self, update: "_Round", newest: Bools) -> None:
        """Learn what has arrived at the relay."""
        people, header = self._people, update.header[newest]
        row, arrived, ack = update.row[newest], update.arrived[newest], update.ack[newest]
        self._take_message_acks(row, header)
        told = header["flags"] & AckFlag.NOTHING_RECEIVED == 0
        row, arrived, ack, header = row[told], arrived[told], ack[told], header[told]
        behind = people.send_seq[row] - ack
        shift = np.clip(behind, 0, FLIGHT - 1).astype(np.uint64)
        bits = header["ack_bits"].astype(np.uint64) << np.uint64(1) | np.uint64(1)
        reported = np.where(behind < FLIGHT, bits << shift, 0).astype(np.uint64)
        sampled = (ack > people.told_newest[row]) & (behind < FLIGHT) & (header["ack_delay"] < ACK_DELAY_MAX_MS)
        sample = arrived - people.flight_at[row, ack % FLIGHT] - header["ack_delay"] / 1000
        sample = np.maximum(sample, 0.0)
        rtt_s = people.rtt_s[row]
        smoothed = np.where(rtt_s == UNKNOWN, sample, rtt_s + (sample - rtt_s) * RTT_SHARE)
        people.rtt_s[row] = np.where(sampled, smoothed, rtt_s)
        people.state_open[row] &= people.state_mask[row] & reported == 0
        self._note_told(row, ack, bits)

    def _note_told(self, row: Ints, ack: Ints, bits: npt.NDArray[np.uint64]) -> None:
        """Note which of their own datagrams arrived; bit i of `bits`, (n,): ack - i did. See `People.count_lost`."""
        people, recent = self._people, ACK_BITS + 1
        step = ack - people.told_newest[row]
        moved = people.told_mask[row] << np.clip(step, 0, recent).astype(np.uint64)
        people.told[row] += np.bitwise_count(bits & ~moved)
        people.untold[row] += np.maximum(step - recent, 0)
        people.told_mask[row] = (moved | bits) & np.uint64((1 << recent) - 1)
        people.told_newest[row] = ack

    def _take_message_acks(self, row: Ints, header: Records) -> None:
        people = self._people
        before = people.message_acked[row]
        acked = extend_array(header["message_ack"], people.message_sent[row])
        step = np.clip(acked - before, -WINDOW + 1, WINDOW - 1)
        forward = np.maximum(step, 0).astype(np.uint64)
        backward = np.maximum(-step, 0).astype(np.uint64)
        bits = header["message_bits"].astype(np.uint64) >> backward
        people.message_bits[row] = people.message_bits[row] >> forward | bits
        people.message_acked[row] = np.maximum(before, acked)
        people.message_credit[row] = extend_array(header["message_credit"], acked)

    # --- sections

    def _apply_pages(self, update: "_Round", good: Bools, pages: Sections, body: Ints, bodies: Bodies) -> None:
        """Bring pages to their ticks, where they are not there already."""
        people = self._people
        row, page, tick = update.row[pages.datagram], bodies.page[body], bodies.tick[body]
        applied = good[pages.datagram]
        applied[applied] = tick[applied] > people.page_tick[row[applied], page[applied]]
        kept = np.flatnonzero(applied)
        row, body, page, tick = row[kept], body[kept], page[kept], tick[kept]
        people.page_tick[row, page] = tick
        which, state = _pairs(body, bodies.state_body, len(bodies))
        receiver, entity_id = row[which], bodies.entity_id[state]
        key, known = bodies.keys[state], people.known[receiver, entity_id]
        self._clear_whole_pages(row, page, bodies.since[body])
        gone_from, gone = _pairs(body, bodies.gone_body, len(bodies))
        people.known[row[gone_from], bodies.gone_id[gone]] = 0
        people.known[receiver, entity_id] = key
        news, arrived = known != key, update.arrived[pages.datagram[kept]]
        self._witness.on_states(Seen(row, body, bodies, which[news], state[news], state[key < known], arrived))

    def _clear_whole_pages(self, row: Ints, page: Ints, since: Ints) -> None:
        """Forget the entities of pages that come whole: those that are gone do not stand in them."""
        size = self._shape.page_ids
        for i in np.flatnonzero(since == 0).tolist():
            self._people.known[row[i], page[i] * size : (page[i] + 1) * size] = 0

    def _apply_ranges(self, update: "_Round", good: Bools, sections: Sections, ranges: Entries) -> None:
        if not good.all():
            sections = sections.where(good[sections.datagram])
            ranges = read_ranges(update.source, sections, self._shape)
        heard = self._log.take(update.source, update.row[sections.datagram], ranges)
        self.entries_repeated += heard.repeated
        if not len(heard.row):
            return
        self._take_presence(heard)
        self._witness.on_entries(heard, update.arrived[np.searchsorted(update.row, heard.row)])

    def _take_presence(self, heard: Heard) -> None:
        """Note who is in the room, as the server's entries tell each player."""
        for i, payload in heard.payloads.items():
            row, kind = int(heard.row[i]), int(heard.kind[i])
            roster = Roster(self._shape.player_slots)
            member = self._people.member[row]
            if kind == EntryKind.PLAYER_LEFT:
                left = int.from_bytes(payload[:2], "little")
                if left < len(member) and member[left] == Membership.MEMBER:
                    member[left] = Membership.LEFT
                    self._people.signal_newest[row, left] = UNKNOWN
                    self._drop_held(row, left)
                continue
            roster.apply(Entry(int(heard.index[i]), kind, int(heard.sender[i]), 0, 0, payload))
            for player_id in roster.members:
                member[player_id] = Membership.MEMBER

    def _membership(self, row: Ints, signals: Signals) -> Ints:
        return self._people.member[row, np.minimum(signals.sender, self._shape.player_slots - 1)]

    def _position(self, row: Ints, signals: Signals) -> Ints:
        """Return the log index that each signal waits for, 0 for none."""
        position = extend_array(signals.position.astype(np.uint16), self._log.done(row))
        return np.where(signals.flags & SignalFlag.AFTER_LOG != 0, position, 0)

    def _is_reached(self, row: Ints, signals: Signals) -> Bools:
        """Tell which signals wait for nothing."""
        is_member = self._membership(row, signals) == Membership.MEMBER
        return is_member & (self._position(row, signals) <= self._log.done(row))

    def _apply_signals(self, update: "_Round", some: Bools, sections: Sections, signals: Signals) -> None:
        """Hand over those of some signals that are due, and hold the others until the log is there."""
        row = update.row[sections.datagram]
        late = some & (self._membership(row, signals) == Membership.LEFT)
        self.dropped["late_signal"] += int(np.count_nonzero(late))
        kept = some & ~late
        is_plain = (signals.kind == EntryKind.MESSAGE) & (signals.channel == 0)
        life, counter, proven = read_claims(
            Use.SIGNAL, update.source, signals.at, signals.length, self._signal_bytes, is_plain
        )
        arrived = update.arrived[sections.datagram]
        caught = Caught(row, signals.sender, life, counter, proven, arrived)
        position = self._position(row, signals)
        due = kept & self._is_reached(row, signals)
        self._hand_over(caught.where(due), signals.sequence[due], signals.flags[due])
        waits = kept & ~due
        if waits.any():
            self._hold(caught.where(waits), position[waits], signals.sequence[waits], signals.flags[waits])

    def _hold(self, caught: Caught, position: Ints, sequence: Ints, flags: Ints) -> None:
        self._held.append(caught)
        self._held_after.append((position, caught.arrived + HOLD_S, sequence, flags))

    def _release(self, now: float) -> None:
        """Hand over what waited, in order of arrival, and drop what waited too long."""
        held = Caught(*(np.concatenate(parts) for parts in zip(*(vars(some).values() for some in self._held))))
        position, expires, sequence, flags = (np.concatenate(parts) for parts in zip(*self._held_after))
        self._held.clear()
        self._held_after.clear()
        living = self._people.live[held.row]
        late = (expires <= now) & living
        self.dropped["late_signal"] += int(np.count_nonzero(late))
        member = self._people.member[held.row, held.sender] == Membership.MEMBER
        due = living & ~late & member & (position <= self._log.done(held.row))
        self._hand_over(held.where(due), sequence[due], flags[due])
        waits = living & ~late & ~due
        if waits.any():
            self._held.append(held.where(waits))
            self._held_after.append((position[waits], expires[waits], sequence[waits], flags[waits]))

    def _drop_held(self, row: int, sender: int) -> None:
        for i, held in enumerate(self._held):
            kept = (held.row != row) | (held.sender != sender)
            self.dropped["late_signal"] += int(np.count_nonzero(~kept))
            self._held[i] = held.where(kept)
            position, expires, sequence, flags = self._held_after[i]
            self._held_after[i] = (position[kept], expires[kept], sequence[kept], flags[kept])

    def _hand_over(self, caught: Caught, sequence: Ints, flags: Ints) -> None:
        """Hand signals over, but none that asked to be newest-first behind a newer one."""
        if not len(caught.row):
            return
        kept = np.ones(len(caught.row), np.bool_)
        group = caught.row * self._shape.player_slots + caught.sender
        order = np.argsort(group, kind="stable")
        rank = rank_in_run(group[order])
        for k in range(int(rank.max()) + 1):
            some = order[rank == k]
            newest = self._people.signal_newest[caught.row[some], caught.sender[some]]
            # of a sender not heard of, whatever comes first is news
            newest = np.where(newest == UNKNOWN, sequence[some] - 1, newest)
            whole = extend_array(sequence[some], newest)
            kept[some] = (flags[some] & SignalFlag.NEWEST_FIRST == 0) | (whole > newest)
            self._people.signal_newest[caught.row[some], caught.sender[some]] = np.maximum(whole, newest)
        self.dropped["superseded_signal"] += int(np.count_nonzero(~kept))
        self._witness.on_signals(caught.where(kept))


@dataclass
class _Round:
    """UPDATEs of different players, by row. Axis: d datagrams."""

    source: Bytes
    at: Ints
    length: Ints
    header: Records
    row: Ints
    arrived: Times
    seq: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Whole sequence numbers, once they are known."""
    ack: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Whole numbers of what is acknowledged, once they are known."""

    def where(self, kept: Bools) -> "_Round":
        """Select by a mask, (d,)."""
        if kept.all():
            return self
        ack = self.ack[kept] if len(self.ack) else self.ack
        at, length, row, seq = (column[kept] for column in (self.at, self.length, self.row, self.seq))
        return _Round(self.source, at, length, self.header[kept], row, self.arrived[kept], seq, ack)


def _pairs(body: Ints, owner: Ints, num_bodies: int) -> tuple[Ints, Ints]:
    """Pair each of n users of bodies with everything that its body owns.

    Args:
        body: (n,)
        owner: The body that each thing belongs to, (h,), ascending.
    Returns: (which of the n, which of the h), one of each per pair.
    """
    counts = np.bincount(owner, minlength=num_bodies)
    first = np.cumsum(counts) - counts
    which, k = expand(counts[body])
    return which, first[body][which] + k
