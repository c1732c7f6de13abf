"""Rooms that can be found without their code: pages of a list, and candidates for a quick match (SPEC 4, "Finding").

What columns can tell (game, tags, free places) is asked of all rooms in one pass; what only the cold half of a room
knows, of the few that are left, in order and no further than is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from protocol import dtypes, schemas
from protocol.constants import CODE_BYTES, MAX_SHOWN_BYTES, NO_PLAYER, ListedFlag
from relay.columns import Bools, places
from relay.roomoptions import Given
from relay.rooms import Room, Rooms, bits_of_tags, hash_of_game

MAX_LOOKED_AT = 256
"""Rooms whose cold half one question looks at: 0.2 ms (chosen). A page ends there, and the next goes on behind it."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody looks for."""

    game: bytes
    version: bytes = b""
    """Empty: any."""
    tags: tuple[bytes, ...] = ()
    """All of these."""
    properties: tuple[Given, ...] = ()
    """The room has all of these."""
    is_open: bool = False
    """With a free place, and not locked."""


@dataclass(frozen=True)
class Page:
    """Some of the rooms that are listed, those opened first before the others."""

    rooms: list[bytes]
    """Records of LISTED_ROOM."""
    next: int
    """Serial of the last room looked at, to go on behind; 0: there are no more."""
    num_listed: int
    """Rooms of the game that are listed, whatever else was asked for."""


def list_rooms(rooms: Rooms, wish: Wish, after: int, space: int) -> Page:
    """List rooms that were opened after the one with serial `after`, as far as their records fit `space` bytes."""
    table, used = rooms.table, rooms.used
    listed = _listed(rooms, wish.game)
    rows = places(_may_suit(rooms, wish) & (table.serial[:used] > after))
    rows = rows[np.argsort(table.serial[rows])]
    records: list[bytes] = []
    looked_at = 0
    for row in rows[:MAX_LOOKED_AT].tolist():
        room = rooms.by_row[row]
        if _suits(room, wish):
            record = _record(room)
            if len(record) > space:
                break
            space -= len(record)
            records.append(record)
        looked_at += 1
    is_more = looked_at < len(rows)
    return Page(records, int(table.serial[rows[looked_at - 1]]) if is_more else 0, int(np.count_nonzero(listed)))


def fullest(rooms: Rooms, wish: Wish, admits: Callable[[Room], bool]) -> Room | None:
    """Find the suitable room with the most players that admits one more; of equals the one opened first.

    Args:
        admits: Asked of one candidate after the other, at most MAX_LOOKED_AT.
    """
    table = rooms.table
    rows = places(_may_suit(rooms, wish))
    for row in rows[np.lexsort((table.serial[rows], -table.members[rows]))][:MAX_LOOKED_AT].tolist():
        room = rooms.by_row[row]
        if _suits(room, wish) and admits(room):
            return room
    return None


def _listed(rooms: Rooms, game: bytes) -> Bools:
    table, used = rooms.table, rooms.used
    return table.live[:used] & table.is_listed[:used] & (table.game[:used] == np.uint64(hash_of_game(game)))


def _may_suit(rooms: Rooms, wish: Wish) -> Bools:
    """Tell of every room whether its columns speak for it."""
    table, used = rooms.table, rooms.used
    bits = np.uint64(bits_of_tags(wish.tags))
    suits = _listed(rooms, wish.game) & (table.tags[:used] & bits == bits)
    return suits & (table.members[:used] < table.max_players[:used]) if wish.is_open else suits


def _suits(room: Room, wish: Wish) -> bool:
    """Tell whether a room is what somebody looks for: the hashes may have been wrong about it."""
    options, of_room = room.options, room.belongings.properties.by_owner.get(NO_PLAYER, {})
    for key, kind, value in wish.properties:
        one = of_room.get(key)
        if one is None or (one.type, one.value) != (kind, value):
            return False
    return (
        options.game == wish.game
        and wish.version in (b"", options.version)
        and set(wish.tags) <= set(options.tags)
        and not (wish.is_open and room.belongings.is_locked)
    )


def _record(room: Room) -> bytes:
    """Write what a list shows of a room."""
    options = room.options
    flags = (ListedFlag.LOCKED if room.belongings.is_locked else 0) | (ListedFlag.PASSWORD if options.room_key else 0)
    code = room.code.ljust(CODE_BYTES, b"\0")
    if room.about is None:
        room.about = _about(room)
    return dtypes.LISTED_ROOM_FIELDS.encode(code, len(room.joined), options.max_players, flags) + room.about


def _about(room: Room) -> bytes:
    """Write what seldom changes."""
    of_room = room.belongings.properties.by_owner.get(NO_PLAYER, {})
    shown, left = [], MAX_SHOWN_BYTES
    for key in room.belongings.shown:
        one = of_room.get(key)
        if one is not None and len(key) + len(one.value) <= left:
            left -= len(key) + len(one.value)
            shown.append({"key": key, "type": one.type, "value": one.value})
    options = room.options
    about: bytes = schemas.LISTED_ROOM_BODY.build(
        {
            "name": options.name,
            "version": options.version,
            "tags": {"texts": options.tags},
            "properties": {"properties": shown},
        }
    )
    return about
