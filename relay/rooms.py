"""The room table: codes, members, hosts, and where in the other tables a room's slabs begin."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from hashlib import blake2s
from operator import or_
from zlib import crc32

import numpy as np
import numpy.typing as npt

from protocol.constants import (
    CODE_ALPHABET,
    CODE_BYTES,
    CODE_LETTERS,
    MADE_UP_CODE_LENGTH,
    NO_PLAYER,
    RoomFlag,
)
from protocol.proofs import shard_of
from relay.belongings import Belongings, Property
from relay.columns import Bools, Bytes, Columns, Ints, RowPool, Slabs, places
from relay.roomoptions import RoomOptions
from relay.sessions import Random

FIRST_VERSION = 1
"""Version of the properties that a room begins with: that of its first entry, for no entry set them."""


class RoomTable(Columns):
    """One row per room."""

    COLUMNS = {
        "live": ("?", ()),
        "shard": ("u1", ()),
        "serial": ("i8", ()),  # rooms opened before it, and 1: lists go by it
        "is_listed": ("?", ()),
        "game": ("u8", ()),  # hash of the game's id
        "tags": ("u8", ()),  # one bit for each tag, by its hash
        "max_players": ("i8", ()),
        "members": ("i8", ()),
        "members_first": ("i8", ()),  # in MemberTable; the first `members` of its rows are in use
        "slots": ("i8", ()),
        "max_state_bytes": ("i8", ()),
        "num_entities": ("i8", ()),  # slots x entities_per_player
        "entities_first": ("i8", ()),  # in EntityTable
        "states_first": ("i8", ()),  # in StateBytes
        "page_ids": ("i8", ()),
        "num_pages": ("i8", ()),
        "pages_first": ("i8", ()),  # in PageTable
        "seats_first": ("i8", ()),  # in SessionPages: slots x num_pages
        "entry_charge": ("i8", ()),  # bytes that a log entry costs its sender's credit beside its payload
        "log_first": ("i8", ()),  # in EntryTable
        "log_capacity": ("i8", ()),  # a power of two
        "log_head": ("i8", ()),  # newest index
        "log_tail": ("i8", ()),  # newest index that was read by all and is forgotten
        "log_uncounted": ("i8", ()),  # up to here entries no longer count for who wrote them
    }

    live: Bools
    shard: Bytes
    serial: Ints
    is_listed: Bools
    game: npt.NDArray[np.uint64]
    tags: npt.NDArray[np.uint64]
    max_players: Ints
    members: Ints
    members_first: Ints
    slots: Ints
    max_state_bytes: Ints
    num_entities: Ints
    entities_first: Ints
    states_first: Ints
    page_ids: Ints
    num_pages: Ints
    pages_first: Ints
    seats_first: Ints
    entry_charge: Ints
    log_first: Ints
    log_capacity: Ints
    log_head: Ints
    log_tail: Ints
    log_uncounted: Ints


class MemberTable(Columns):
    """Session rows by room, packed: no holes, so that "all receivers of a room" is one run."""

    COLUMNS = {"session": ("i8", ())}
    session: Ints


@dataclass
class Slot:
    """A player id of a room."""

    session: int | None = None
    """Row of the session that has it."""
    left_index: int = 0
    """Log index of the leave entry of the last who had it; 0 = nobody had it yet."""
    left_tick: int = 0
    """Tick of that leave."""


@dataclass
class Room:
    """The cold half of a room: what joining and leaving need."""

    row: int
    code: bytes
    options: RoomOptions
    slots: list[Slot]
    joined: list[int]
    """Session rows, longest present first."""
    host: int | None = None
    """Session row of the host, None in an empty room."""
    belongings: Belongings = field(default_factory=Belongings)
    about: bytes | None = None
    """What lists show of it and seldom changes, as bytes; None: to be written anew."""

    @property
    def key(self) -> bytes:
        """What it is found by."""
        return key_of(self.options.game, self.code)


class Rooms:
    """All rooms: the hot table, and the cold half by row and by code."""

    def __init__(self) -> None:
        self.table = RoomTable(16)
        self.members = MemberTable(64)
        self._member_slabs = Slabs(self.members)
        self._pool = RowPool(self.table)
        self.by_code: dict[bytes, Room] = {}
        """By `key_of` game and code; the code alone for games without an id."""
        self.by_row: dict[int, Room] = {}
        self._num_opened = 0

    def __len__(self) -> int:
        """Return the number of rooms."""
        return len(self.by_row)

    @property
    def used(self) -> int:
        """Every live row is below this."""
        return self._pool.used

    def open(self, code: bytes, options: RoomOptions) -> Room:
        """Make an empty room. The caller checked code, options and caps, and fills in the slabs of other tables."""
        row = self._pool.take()
        table = self.table
        table.live[row] = True
        table.shard[row] = shard_of(code)
        self._num_opened += 1
        table.serial[row], table.max_players[row] = self._num_opened, options.max_players
        table.is_listed[row] = bool(options.flags & RoomFlag.LISTED)
        table.game[row], table.tags[row] = hash_of_game(options.game), bits_of_tags(options.tags)
        table.slots[row] = options.slots
        table.max_state_bytes[row] = options.max_state_bytes
        table.members_first[row] = self._member_slabs.take(options.max_players)
        room = Room(row, code, options, [Slot() for _ in range(options.slots)], [])
        room.belongings.shown = options.shown
        for given in options.properties:
            room.belongings.properties.set(NO_PLAYER, given.key, Property(FIRST_VERSION, given.type, given.value))
        self.by_code[room.key] = self.by_row[row] = room
        return room

    def with_code(self, code: bytes) -> list[Room]:
        """Find the rooms with a code: one of each game at most."""
        table = self.table
        rows = places(table.live[: self.used] & (table.shard[: self.used] == shard_of(code)))
        return [self.by_row[row] for row in rows.tolist() if self.by_row[row].code == code]

    def close(self, room: Room) -> None:
        """Forget a room whose members have all gone. The caller gives back the slabs of other tables."""
        self._member_slabs.give(int(self.table.members_first[room.row]), room.options.max_players)
        self.table.live[room.row] = False
        del self.by_code[room.key], self.by_row[room.row]
        self._pool.give(room.row)

    def add_member(self, room: Room, session: int, player_id: int) -> None:
        """Seat a session."""
        table = self.table
        table_row = table.members_first[room.row] + table.members[room.row]
        self.members.session[table_row] = session
        table.members[room.row] += 1
        room.slots[player_id].session = session
        room.joined.append(session)

    def remove_member(self, room: Room, session: int, player_id: int) -> None:
        """Unseat a session; the last of the packed run takes its place."""
        members = self.members_of(room.row)
        members[members == session] = members[-1]
        self.table.members[room.row] -= 1
        room.slots[player_id].session = None
        room.joined.remove(session)

    def members_of(self, row: int) -> Ints:
        """Return the session rows of one room: a view of the packed run, in no order."""
        first = int(self.table.members_first[row])
        return self.members.session[first : first + int(self.table.members[row])]


def key_of(game: bytes, code: bytes) -> bytes:
    """Put a game's id before a code, so that games on one relay do not meet: no code holds a zero byte."""
    return game + b"\0" + code if game else code


def hash_of_game(game: bytes) -> int:
    """Return 64 bits that differ from game to game, nearly always."""
    return int.from_bytes(blake2s(game, digest_size=8).digest(), "little")


def bits_of_tags(tags: Iterable[bytes]) -> int:
    """Return 64 bits: what misses a bit of `tags` misses one of them, and what has all may have them all."""
    return reduce(or_, (1 << (crc32(tag) & 63) for tag in tags), 0)


def make_up_code(rng: Random, taken: dict[bytes, Room], game: bytes = b"") -> bytes:
    """Choose a code that nobody has, of letters that do not look alike."""
    while True:
        letters = [CODE_ALPHABET[rng.getrandbits(32) % len(CODE_ALPHABET)] for _ in range(MADE_UP_CODE_LENGTH)]
        code = "".join(letters).encode()
        if key_of(game, code) not in taken:
            return code


def is_code(code: bytes) -> bool:
    """Tell whether bytes (padding taken off) are a room code: 1 to 16 of A-Z, 0-9 and '-'."""
    return 1 <= len(code) <= CODE_BYTES and all(chr(byte) in CODE_LETTERS for byte in code)
