"""The rooms' logs: entries are encoded once, when they are appended, and sent from where they lie (SPEC 9).

An entry is a row of EntryTable in its room's slab (a ring: index modulo capacity) and a run of bytes in the arena. The
arena is cut into segments; a segment whose entries have all been read is used again, and one that few old entries keep
is emptied into the current one. So a member that stands still costs the memory of its own room's entries only.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.constants import MAX_FRAGMENT_BYTES, NO_PLAYER, PART_MORE
from relay.audience import EVERYBODY, WORDS, Audience
from relay.columns import Bools, Bytes, Columns, Ints, Slabs, copy_runs, expand, places, rank_in_run, run_ends, windows
from relay.rooms import Room, Rooms
from relay.sessions import Sessions

SEGMENT_BYTES = 1 << 18
"""Unit in which the arena is given back: 256 KiB, 230 of the largest entries (chosen)."""
LEAST_CHARGE_BYTES = 64
"""What an entry costs its sender's credit beside its payload, at least: tiny ones are not free (SPEC 9)."""
CREDIT_BYTES = 64 * 1024
"""Unread bytes that one session may own (SPEC 9): a 1 MiB message passes in 16 windows. Chosen: one receiver at
120 ms then takes 500 kB/s from one sender."""
LOG_CAP_ENTRIES = 8192
"""A member this far behind the newest entry is too slow (SPEC 12)."""
MIN_SEGMENTS = 4
"""Segments in use below which none is emptied: 1 MiB is not worth the work (chosen)."""
MAX_EMPTIED = 4
"""Segments emptied in one tick: at most 256 KiB are copied, 0.2 ms (chosen)."""
RESERVED_SEGMENTS = 1
"""Segments that messages leave free for what the server must say whatever the memory: who comes, goes, is away, is
host. 256 KiB are 18,000 such entries (chosen)."""
MAX_ENTRY_BYTES = dtypes.ENTRY_HEADER.size + MAX_FRAGMENT_BYTES
CHARGE_PER_PLAYER_BYTES = 2 * CREDIT_BYTES // LOG_CAP_ENTRIES
"""... and this for every player that the room may have: 16. So all together cannot own more than half the entries by
which a member may be behind, and nobody is too slow because everybody talks."""
FIRST_CAPACITY = 32
"""Entries that a new room's slab holds; doubled when it is full."""
NO_SESSION = -1
"""Owner of entries that the server wrote, or whose writer has left."""
_HEADER = dtypes.ENTRY_HEADER.size


@dataclass(frozen=True, eq=False)
class OwnEntry:
    """An entry of the server's, or a copy of a message that it kept."""

    kind: int
    """An `EntryKind`, or that of the message."""
    payload: bytes
    audience: Audience = field(default_factory=lambda: EVERYBODY)
    """(WORDS,)."""
    sender: int = NO_PLAYER
    flags: int = 0
    channel: int = 0


class EntryTable(Columns):
    """One row per log entry that somebody has not read."""

    COLUMNS = {
        "at": ("i8", ()),  # first byte in the arena
        "length": ("i8", ()),  # bytes, header included
        "owner": ("i8", ()),  # session row of the writer
        "first": ("i8", ()),  # index of its message's first fragment: fixes the audience in time
        "more": ("?", ()),  # a fragment that is not the last
        "audience": ("u8", (WORDS,)),
    }
    at: Ints
    length: Ints
    owner: Ints
    first: Ints
    more: Bools
    audience: Audience


class Arena:
    """Bytes of all entries. Offsets stay what they are when it grows."""

    def __init__(self, max_bytes: int) -> None:
        self.bytes: Bytes = np.zeros(SEGMENT_BYTES, np.uint8)
        self._max_segments = max(1 + RESERVED_SEGMENTS, max_bytes // SEGMENT_BYTES)
        self.max_bytes = 2 * self._max_segments * SEGMENT_BYTES
        """What `bytes` can grow to: it doubles."""
        self._live: Ints = np.zeros(1, np.int64)
        """Bytes of unread entries per segment."""
        self._current = 0
        self._used = 0
        self._free_bytes: int | None = None
        """What `free_bytes` returned, until something is taken or given."""

    def free_bytes(self) -> int:
        """Return how much players may have appended, whatever the sizes of the entries."""
        if self._free_bytes is None:
            self._free_bytes = self._free_bytes_but(RESERVED_SEGMENTS)
        return self._free_bytes

    def free_bytes_for_names(self) -> int:
        """Return how much may be told of who is there: of the reserve, half is left for who goes."""
        return self._free_bytes_but(0) - SEGMENT_BYTES * RESERVED_SEGMENTS // 2

    def _free_bytes_but(self, num_reserved: int) -> int:
        """Return how much fits, whatever the sizes of the entries, if some segments stay free."""
        used = int(np.count_nonzero(self._live)) + int(self._live[self._current] == 0)
        free = self._max_segments - num_reserved - used
        here = max(0, SEGMENT_BYTES - self._used - MAX_ENTRY_BYTES)
        return free * (SEGMENT_BYTES - MAX_ENTRY_BYTES) + here if free >= 0 else 0

    def take(self, lengths: Ints) -> Ints:
        """Find room for entries side by side. Returns the first byte of each, (n,).

        One that does not fit the current segment begins another. The caller asked `free_bytes` first.
        """
        self._free_bytes = None
        at = np.empty(len(lengths), np.int64)
        ends = np.cumsum(lengths)
        done = 0
        while done < len(lengths):
            taken = int(ends[done - 1]) if done else 0
            fit = int(np.searchsorted(ends, taken + SEGMENT_BYTES - self._used, "right"))
            if fit > done:
                at[done:fit] = self._current * SEGMENT_BYTES + self._used + ends[done:fit] - lengths[done:fit] - taken
                size = int(ends[fit - 1]) - taken
                self._used += size
                self._live[self._current] += size
                done = fit
            if done < len(lengths):
                self._next_segment()
        return at

    def run(self) -> tuple[int, int]:
        """Return where the current segment goes on, and how many bytes may be taken there by `take_run`."""
        return self._current * SEGMENT_BYTES + self._used, min(self.free_bytes(), SEGMENT_BYTES - self._used)

    def take_run(self, size: int) -> None:
        """Take bytes of the current segment, as `take` does for entries that all fit there."""
        self._free_bytes = None
        self._used += size
        self._live[self._current] += size

    def _next_segment(self) -> None:
        """Go on in a free segment, or in a new one."""
        free = self._live == 0
        free[self._current] = False
        if free.any():
            self._current = int(free.argmax())
        else:
            self._current = len(self._live)
            grown = np.zeros(2 * len(self.bytes), np.uint8)
            grown[: len(self.bytes)] = self.bytes
            self.bytes = grown
            self._live = np.concatenate([self._live, np.zeros(len(self._live), np.int64)])
        self._used = 0

    def give(self, at: Ints, lengths: Ints) -> None:
        """Take back entries that were read by all, by their first bytes and lengths."""
        self._free_bytes = None
        np.subtract.at(self._live, at // SEGMENT_BYTES, lengths)
        if self._live[self._current] == 0:
            self._used = 0

    def sparse(self) -> Bools:
        """Mark the segments that are worth emptying, (number of segments,): kept by few old entries."""
        if len(self._live) < MIN_SEGMENTS:
            return np.zeros(len(self._live), np.bool_)
        sparse = (self._live > 0) & (self._live < SEGMENT_BYTES // 4)
        sparse[self._current] = False
        if np.count_nonzero(self._live) < MIN_SEGMENTS:
            sparse[:] = False
        sparse[sparse.nonzero()[0][MAX_EMPTIED:]] = False
        return sparse


class Log:
    """The logs of all rooms."""

    def __init__(self, max_bytes: int) -> None:
        self.table = EntryTable(64)
        self._slabs = Slabs(self.table)
        self.arena = Arena(max_bytes)
        self.has_news = False
        """Something was appended since the last send; whoever sends sets it back."""
        self._holds_entries = False
        """A room may have entries that somebody has not read."""
        self.max_entries = 2 * LOG_CAP_ENTRIES
        """Entries of one room: its slowest member ends at the next tick after it fell LOG_CAP_ENTRIES behind."""

    def note_appended(self) -> None:
        """Note that entries were appended."""
        self.has_news = self._holds_entries = True

    def open_room(self, rooms: Rooms, room: Room) -> None:
        """Give a new room an empty log."""
        charge = max(LEAST_CHARGE_BYTES, CHARGE_PER_PLAYER_BYTES * room.options.max_players)
        rooms.table.entry_charge[room.row] = charge
        rooms.table.log_first[room.row] = self._slabs.take(FIRST_CAPACITY)
        rooms.table.log_capacity[room.row] = FIRST_CAPACITY

    def close_room(self, rooms: Rooms, row: int) -> None:
        """Forget a room's log."""
        table = rooms.table
        index = np.arange(table.log_tail[row] + 1, table.log_head[row] + 1)
        rows = self.entry_rows(rooms, np.full(len(index), row), index)
        self.arena.give(self.table.at[rows], self.table.length[rows])
        self._slabs.give(int(table.log_first[row]), int(table.log_capacity[row]))

    def entry_rows(self, rooms: Rooms, room_row: Ints, index: Ints) -> Ints:
        """Find the table rows of entries by room and index, both (n,)."""
        table = rooms.table
        return table.log_first[room_row] + (index & (table.log_capacity[room_row] - 1))

    def append_own(self, rooms: Rooms, room_row: int, entries: list[OwnEntry], owner: int = NO_SESSION) -> int:
        """Append entries of the server's to one log, in one go: what a joiner is told may be many.

        Args:
            owner: Session row whose credit they count for; the caller adds them to `unread_bytes`.
        Returns: index of the last.
        """
        if not entries:
            return int(rooms.table.log_head[room_row])
        heads = [dtypes.ENTRY_HEADER.encode(0, one.kind, one.flags, one.sender, one.channel, 0, 0) for one in entries]
        header = np.frombuffer(bytearray(b"".join(heads)), dtypes.ENTRY_HEADER_DTYPE)
        length = np.array([len(one.payload) for one in entries], np.int64)
        source = np.frombuffer(b"".join([one.payload for one in entries]), np.uint8)
        room, owners = np.full(len(entries), room_row), np.full(len(entries), owner)
        audience = np.array([one.audience for one in entries])
        index = self.append(
            rooms, room, header, owners, np.zeros_like(length), audience, source, np.cumsum(length) - length, length
        )
        return int(index[-1])

    def append(
        self,
        rooms: Rooms,
        room_row: Ints,
        header: npt.NDArray[np.void],
        owner: Ints,
        first: Ints,
        audience: Audience,
        source: Bytes,
        payload_at: Ints,
        payload_length: Ints,
    ) -> Ints:
        """Append entries, n of them, those of one room side by side and in their order.

        Args:
            header: ENTRY_HEADER records; kind, flags, sender, channel and part are set, index and length are not.
            first: Index of the message's first fragment, 0: this entry is the first (or only) one.
            payload_at: First payload byte of each in `source`.
        Returns: indexes, (n,).
        """
        table = rooms.table
        ends = places(run_ends(room_row))
        index = table.log_head[room_row] + 1 + rank_in_run(room_row)
        self._make_room(rooms, room_row[ends], index[ends])
        table.log_head[room_row[ends]] = index[ends]
        self.note_appended()
        header["index"], header["length"] = index & 0xFFFF, payload_length
        length = _HEADER + payload_length
        at = self.arena.take(length)
        windows(self.arena.bytes, header.dtype)[at] = header
        copy_runs(self.arena.bytes, at + _HEADER, source, payload_at, payload_length)
        rows = self.entry_rows(rooms, room_row, index)
        self.table.at[rows] = at
        self.table.length[rows] = length
        self.table.owner[rows] = owner
        self.table.first[rows] = np.where(first > 0, first, index)
        self.table.more[rows] = header["part"] & PART_MORE != 0
        self.table.audience[rows] = audience
        return index

    def _make_room(self, rooms: Rooms, room_row: Ints, head: Ints) -> None:
        """Double the slabs of rooms whose log would not fit. Rare: per room in Python."""
        table = rooms.table
        full = head - table.log_tail[room_row] > table.log_capacity[room_row]
        for row, new_head in zip(room_row[full].tolist(), head[full].tolist(), strict=True):
            needed = new_head - int(table.log_tail[row])
            self._grow(rooms, row, Slabs.size_of(needed))

    def _grow(self, rooms: Rooms, row: int, capacity: int) -> None:
        table = rooms.table
        index = np.arange(table.log_tail[row] + 1, table.log_head[row] + 1)
        old = self.entry_rows(rooms, np.full(len(index), row), index)
        old_first, old_capacity = int(table.log_first[row]), int(table.log_capacity[row])
        first = self._slabs.take(capacity)
        for name in EntryTable.COLUMNS:
            column = getattr(self.table, name)
            column[first + (index & (capacity - 1))] = column[old]
        table.log_first[row], table.log_capacity[row] = first, capacity
        self._slabs.give(old_first, old_capacity)

    def disown(self, rooms: Rooms, room_row: int, session: int) -> None:
        """Let nobody own the entries of a session that ends: its row may soon be another's."""
        table = rooms.table
        index = np.arange(table.log_tail[room_row] + 1, table.log_head[room_row] + 1)
        rows = self.entry_rows(rooms, np.full(len(index), room_row), index)
        self.table.owner[rows[self.table.owner[rows] == session]] = NO_SESSION

    def release(self, rooms: Rooms, sessions: Sessions, present: Ints) -> None:
        """Forget what every member has read. What all who are here have read no longer counts for who wrote it.

        Args:
            present: Rows of the sessions of players who are not away: nobody is silenced for one who does not read.
        """
        if not self._holds_entries:
            return
        table = rooms.table
        room_rows = places(table.live[: rooms.used] & (table.log_head > table.log_tail)[: rooms.used])
        if not len(room_rows):
            self._holds_entries = False
            return
        read_by_present = _read_by(present, rooms, sessions)
        rows, rooms_of = self._entries_between(rooms, room_rows, table.log_uncounted, read_by_present)
        charge = self.table.length[rows] - _HEADER + table.entry_charge[rooms_of]
        owner = self.table.owner[rows]
        owned = owner != NO_SESSION
        np.subtract.at(sessions.table.unread_bytes, owner[owned], charge[owned])
        rows, _ = self._entries_between(rooms, room_rows, table.log_tail, _read_by(sessions.live, rooms, sessions))
        self.arena.give(self.table.at[rows], self.table.length[rows])

    def _entries_between(self, rooms: Rooms, room_rows: Ints, begin: Ints, end: Ints) -> tuple[Ints, Ints]:
        """List the entries behind `begin` up to `end`, both (rooms,), of some rooms, and move `begin` there.

        Returns: rows of entries, (n,), and their rooms, (n,).
        """
        count = np.maximum(end[room_rows] - begin[room_rows], 0)
        rooms_of = np.repeat(room_rows, count)
        rows = self.entry_rows(rooms, rooms_of, begin[rooms_of] + 1 + rank_in_run(rooms_of))
        begin[room_rows] += count
        return rows, rooms_of

    def is_short(self) -> bool:
        """Tell whether three quarters of the memory for entries are in use."""
        return self.arena.free_bytes() < self.arena.max_bytes // 8

    def tidy(self, rooms: Rooms) -> None:
        """Move the last entries out of sparse segments, so that those can be used again.

        Only between sends: an `Outgoing` points into the arena.
        """
        if not self._holds_entries:
            return
        sparse = self.arena.sparse()
        if not sparse.any():
            return
        table = rooms.table
        room_rows = places(table.live[: rooms.used])
        which, k = expand((table.log_head - table.log_tail)[room_rows])
        rows = self.entry_rows(rooms, room_rows[which], table.log_tail[room_rows][which] + 1 + k)
        rows = rows[sparse[self.table.at[rows] // SEGMENT_BYTES]]
        old, length = self.table.at[rows], self.table.length[rows]
        if int(length.sum()) > self.arena.free_bytes():
            return
        new = self.arena.take(length)
        copy_runs(self.arena.bytes, new, self.arena.bytes, old, length)
        self.table.at[rows] = new
        self.arena.give(old, length)


def _read_by(readers: Ints, rooms: Rooms, sessions: Sessions) -> Ints:
    """Find for every room the newest index that all these sessions have read, (rooms,)."""
    read = rooms.table.log_head.copy()
    np.minimum.at(read, sessions.table.room[readers], sessions.table.log_effective[readers])
    return read
