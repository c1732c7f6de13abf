"""The rooms' tables: the newest state of every entity, and when each last changed or was removed.

Every id of a room has a row of its own in one slab, so an entity is `entities_first + id` and nothing is searched. A
removal leaves its tick in that row for good: it is never forgotten, so no baseline ever expires (SPEC 8).
"""

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.drops import DropReason
from relay.columns import Bytes, Columns, Ints, Slabs, places, windows
from relay.roomoptions import RoomOptions
from relay.rooms import Room, Rooms
from relay.stats import Stats

NO_OWNER = -1
"""Owner of an entity whose creator is not in the room."""
STATE_PADDING = 256
"""Spare bytes behind the last state, so that a view of 255-byte windows reaches every state's start."""


class EntityTable(Columns):
    """One row per entity id of every room."""

    COLUMNS = {
        "length": ("u1", ()),  # bytes of the state; 0 = not alive
        "owner": ("i8", ()),  # session row
        "owned_from": ("i8", ()),  # log index of the entry that made its owner; 0 = its number did, as it joined
        "write_seq": ("i8", ()),  # seq of the owner's DATA that wrote it last
        "changed_tick": ("i8", ()),
        "removed_tick": ("i8", ()),
        "sample_ms": ("i8", ()),  # server time of the sample
        "pending": ("i4", ()),  # 0 but within a pass of `loops.intake`: number of the write that counts
    }
    length: Bytes
    owner: Ints
    owned_from: Ints
    write_seq: Ints
    changed_tick: Ints
    removed_tick: Ints
    sample_ms: Ints
    pending: npt.NDArray[np.int32]


class StateBytes(Columns):
    """The states themselves: entity id of a room begins at states_first + id * max_state_bytes."""

    COLUMNS = {"byte": ("u1", ())}
    byte: Bytes


class PageTable(Columns):
    """One row per page of every room."""

    COLUMNS = {
        "changed_tick": ("i8", ()),
        "newest_body": ("i4", ()),  # 0 but within a pass of `loops.pages`: 1 + number of the body found last
    }
    changed_tick: Ints
    newest_body: npt.NDArray[np.int32]


class SessionPages(Columns):
    """One row per seat and page of every room: what that player knows of that page."""

    COLUMNS = {"acked_tick": ("i8", ()), "sent_tick": ("i8", ())}
    acked_tick: Ints
    sent_tick: Ints


class Entities:
    """The tables of all rooms."""

    def __init__(self) -> None:
        self.table = EntityTable(64)
        self.states = StateBytes(4096)
        self.pages = PageTable(64)
        self.seats = SessionPages(64)
        self._entity_slabs = Slabs(self.table)
        self._state_slabs = Slabs(self.states)
        self._page_slabs = Slabs(self.pages)
        self._seat_slabs = Slabs(self.seats)

    def memory_bytes(self, options: RoomOptions) -> int:
        """Return the memory that all tables would take with one more room of this size."""
        num_entities = options.slots * options.entities_per_player
        pages = dtypes.num_pages(options.slots, options.entities_per_player, options.max_state_bytes)
        return (
            self._state_slabs.would_reach(num_entities * options.max_state_bytes + STATE_PADDING)
            + self._entity_slabs.would_reach(num_entities) * self.table.row_bytes()
            + self._page_slabs.would_reach(pages) * self.pages.row_bytes()
            + self._seat_slabs.would_reach(options.slots * pages) * self.seats.row_bytes()
        )

    def open_room(self, rooms: Rooms, room: Room) -> None:
        """Lay out the slabs of a new room."""
        table, row, options = rooms.table, room.row, room.options
        num_entities = options.slots * options.entities_per_player
        pages = dtypes.num_pages(options.slots, options.entities_per_player, options.max_state_bytes)
        table.num_entities[row] = num_entities
        table.page_ids[row] = dtypes.page_ids(options.max_state_bytes)
        table.num_pages[row] = pages
        first = table.entities_first[row] = self._entity_slabs.take(num_entities)
        self.table.owner[first : first + num_entities] = NO_OWNER
        table.states_first[row] = self._state_slabs.take(num_entities * options.max_state_bytes + STATE_PADDING)
        table.pages_first[row] = self._page_slabs.take(pages)
        table.seats_first[row] = self._seat_slabs.take(options.slots * pages)

    def close_room(self, rooms: Rooms, room: Room) -> None:
        """Give the slabs of a room back."""
        table, row = rooms.table, room.row
        num_entities, pages = int(table.num_entities[row]), int(table.num_pages[row])
        self._entity_slabs.give(int(table.entities_first[row]), num_entities)
        self._state_slabs.give(
            int(table.states_first[row]), num_entities * room.options.max_state_bytes + STATE_PADDING
        )
        self._page_slabs.give(int(table.pages_first[row]), pages)
        self._seat_slabs.give(int(table.seats_first[row]), room.options.slots * pages)

    def take_seat(self, rooms: Rooms, room: Room, session: int, player_id: int) -> int:
        """Give a joining player its entity ids and a blank memory of every page. Returns its first row of `seats`."""
        table = rooms.table
        rows = self.rows_of_player(rooms, room, player_id)
        self.table.owner[rows] = session
        self.table.owned_from[rows] = self.table.write_seq[rows] = 0
        pages = int(table.num_pages[room.row])
        first = int(table.seats_first[room.row]) + player_id * pages
        self.seats.clear(first, pages)
        return first

    def leave_seat(self, rooms: Rooms, room: Room, session: int, stamp: int) -> list[int]:
        """Remove every entity that a leaving player owns, stamped with the tick of the next snapshot.

        Returns: the ids of all that it owned, alive or not; nobody owns them now.
        """
        first = int(rooms.table.entities_first[room.row])
        owned = places(self.table.owner[first : first + rooms.table.num_entities[room.row]] == session)
        rows = first + owned
        self.table.owner[rows] = NO_OWNER
        alive = rows[self.table.length[rows] > 0]
        self.remove_rows(rooms, np.full(len(alive), room.row), alive, stamp)
        return owned.tolist()

    def renew_seat(self, rooms: Rooms, room: Room, session: int, player_id: int) -> None:
        """Begin anew what depends on a session's sequence numbers: it is sent every page, and may write at once."""
        pages = int(rooms.table.num_pages[room.row])
        self.seats.clear(int(rooms.table.seats_first[room.row]) + player_id * pages, pages)
        first = int(rooms.table.entities_first[room.row])
        owned = self.table.owner[first : first + int(rooms.table.num_entities[room.row])] == session
        self.table.write_seq[first + places(owned)] = 0

    def owner_of(self, rooms: Rooms, room: Room, entity_id: int) -> int:
        """Return the session row of an entity's owner, NO_OWNER if nobody is."""
        return int(self.table.owner[int(rooms.table.entities_first[room.row]) + entity_id])

    def give(self, rooms: Rooms, room: Room, entity_id: int, session: int, log_index: int) -> None:
        """Make a session an entity's owner, as entry `log_index` tells: what it sent before it had read that is void.

        For who owns it already nothing changes: what it has under way counts.
        """
        row = int(rooms.table.entities_first[room.row]) + entity_id
        if self.table.owner[row] == session:
            return
        self.table.owner[row], self.table.owned_from[row], self.table.write_seq[row] = session, log_index, 0

    def given_to(self, rooms: Rooms, room: Room, session: int) -> Ints:
        """List the ids of entities that an entry made a session the owner of, in this life of its room."""
        first = int(rooms.table.entities_first[room.row])
        rows = slice(first, first + int(rooms.table.num_entities[room.row]))
        return places((self.table.owner[rows] == session) & (self.table.owned_from[rows] > 0))

    def tell_again(self, rooms: Rooms, room: Room, session: int, log_index: int) -> None:
        """Note that who came back knowing nothing hears what it was given by entries up to `log_index`."""
        first = int(rooms.table.entities_first[room.row])
        self.table.owned_from[first + self.given_to(rooms, room, session)] = log_index

    def remove_rows(self, rooms: Rooms, room_rows: Ints, rows: Ints, stamp: int) -> None:
        """Remove living entities: room_rows and rows are (n,)."""
        self.table.length[rows] = 0
        self.table.removed_tick[rows] = stamp
        self._mark_pages(rooms, room_rows, rows, stamp)

    def rows_of_player(self, rooms: Rooms, room: Room, player_id: int) -> Ints:
        """List the rows of all entity ids with a player's number in them."""
        first = int(rooms.table.entities_first[room.row]) + player_id
        return np.arange(first, first + int(rooms.table.num_entities[room.row]) - player_id, room.options.slots)

    def _mark_pages(self, rooms: Rooms, room_rows: Ints, rows: Ints, stamp: int) -> None:
        """Stamp the pages of entities that changed."""
        table = rooms.table
        page = (rows - table.entities_first[room_rows]) // table.page_ids[room_rows]
        self.pages.changed_tick[table.pages_first[room_rows] + page] = stamp

    def apply_writes(
        self,
        rooms: Rooms,
        stats: Stats,
        source: Bytes,
        session: Ints,
        room_row: Ints,
        entity_id: Ints,
        seq: Ints,
        log_cursor: Ints,
        sample_ms: Ints,
        stride: Ints,
        state_at: Ints,
        stamp: int,
    ) -> None:
        """Take states from accepted datagrams (SPEC 7).

        Args:
            source: Bytes that `state_at` points into.
            session, room_row, entity_id, seq, log_cursor, sample_ms, stride, state_at: (n,), one per state, any order.
                Stride 0 removes. Of two writes to one entity the higher seq counts, of equal seqs the later one.
            stamp: Tick of the next snapshot.
        """
        inside = entity_id < rooms.table.num_entities[room_row]
        stats.count_dropped(DropReason.BAD_ENTITY, inside)
        rows = rooms.table.entities_first[room_row] + np.where(inside, entity_id, 0)
        owned = inside & (self.table.owner[rows] == session) & (log_cursor >= self.table.owned_from[rows])
        stats.count_drop(DropReason.NOT_OWNER, int(np.count_nonzero(inside)) - int(np.count_nonzero(owned)))
        fresh = places(owned & (seq > self.table.write_seq[rows]))
        fresh = fresh[_newest_per_entity(rows[fresh], seq[fresh])]
        rows, room_row, stride = rows[fresh], room_row[fresh], stride[fresh]
        self.table.write_seq[rows] = seq[fresh]
        gone = (stride == 0) & (self.table.length[rows] > 0)
        self.remove_rows(rooms, room_row[gone], rows[gone], stamp)
        written = stride > 0
        rows, room_row, stride = rows[written], room_row[written], stride[written]
        fresh = fresh[written]
        self._store(rooms, source, room_row, rows, entity_id[fresh], stride, state_at[fresh])
        self.table.length[rows] = stride
        self.table.sample_ms[rows] = sample_ms[fresh]
        self.table.changed_tick[rows] = stamp
        self._mark_pages(rooms, room_row, rows, stamp)

    def _store(
        self, rooms: Rooms, source: Bytes, room_row: Ints, rows: Ints, entity_id: Ints, stride: Ints, state_at: Ints
    ) -> None:
        """Copy state bytes, all states of one length in one move."""
        target_at = rooms.table.states_first[room_row] + entity_id * rooms.table.max_state_bytes[room_row]
        for width in distinct(stride):
            same = places(stride == width)
            windows(self.states.byte, f"V{width}")[target_at[same]] = windows(source, f"V{width}")[state_at[same]]


def distinct(values: Ints) -> list[int]:
    """List the values that occur, ascending. Values are 0 ... 65,535 and few are different."""
    if not len(values):
        return []
    return [int(value) for value in np.bincount(values).nonzero()[0]]


def _newest_per_entity(rows: Ints, seq: Ints) -> Ints:
    """Pick, for every entity, the write with the highest seq; returns positions. Of equal seqs the later position."""
    if len(rows) < 2 or bool((rows[1:] > rows[:-1]).all()):
        return np.arange(len(rows))
    order = np.lexsort((np.arange(len(rows)), seq, rows))
    last = np.ones(len(rows), np.bool_)
    last[:-1] = rows[order][1:] != rows[order][:-1]
    return order[last]
