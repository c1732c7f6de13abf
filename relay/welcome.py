"""What a room tells a player who joins, or comes back knowing nothing: entries for it alone (SPEC 9, "Late join").

Members, properties, who owns what, kept messages; at last that this was all, and which pages of the table follow.
"""

import numpy as np

from protocol import dtypes
from protocol.constants import NAME_BYTES, NO_PLAYER, EntryKind, MessageFlag
from relay.audience import only
from relay.belongings import LIST_BYTES, chunks
from relay.log import LOG_CAP_ENTRIES, MAX_ENTRY_BYTES, OwnEntry
from relay.rooms import Room
from relay.world import World

_MEMBER_BYTES, _PROPERTY_BYTES, _OWNER_BYTES = NAME_BYTES + 8, 256, 8
"""What of the log telling a joiner takes at most, per member, property, and entity that was handed over."""

LISTS_PER_WELCOME = 8
"""Entries that a joiner causes beside names, properties and kept messages: at most 2 of owners, 5 of its own."""
CROWD_SHARE = 2
"""Of the entries that a member may be behind one in so many may be unread when somebody joins (chosen)."""


def known_of_room(world: World, room: Room, session: int, members: list[int]) -> list[OwnEntry]:
    """List what a player must know of a room: members, properties, who owns what, kept messages.

    Args:
        members: Session rows of those who are to be named, longest present first.
    """
    audience = only(int(world.sessions.table.player_id[session]))
    known = room.belongings
    entries = [OwnEntry(EntryKind.ROSTER, payload, audience) for payload in _roster(world, room, members)]
    entries += [OwnEntry(EntryKind.PROPERTIES, payload, audience) for payload in known.properties.told()]
    entries += [OwnEntry(EntryKind.OWNERS, payload, audience) for payload in _owners(world, room, session)]
    if world.rooms.table.is_listed[room.row]:
        entries.append(OwnEntry(EntryKind.ROOM_SHOWN, b"\1", audience))
    for index, kept in known.kept.by_index.items():
        copy, flags = dtypes.KEPT_COPY.encode(index, kept.payload), kept.flags | MessageFlag.KEPT
        entries.append(OwnEntry(kept.kind, copy, audience, kept.sender, flags, kept.channel))
    return entries


def room_ready(world: World, room: Room, session: int) -> OwnEntry:
    """Say that a player has been told all, and which pages of the table it waits for."""
    rooms, pages = world.rooms.table, world.entities.pages
    first, count = int(rooms.pages_first[room.row]), int(rooms.num_pages[room.row])
    holds = np.packbits(pages.changed_tick[first : first + count] > 0, bitorder="little")
    payload = dtypes.ROOM_READY_PAYLOAD.encode(room.belongings.is_locked, holds.tobytes())
    return OwnEntry(EntryKind.ROOM_READY, payload, only(int(world.sessions.table.player_id[session])))


def is_crowded(world: World, room: Room) -> bool:
    """Tell whether a joiner must wait until members have read more of the log.

    A member may be so many entries behind and no more, hidden ones too: who comes must not make others too slow.
    """
    unread = int(world.rooms.table.log_head[room.row] - world.rooms.table.log_tail[room.row])
    known = room.belongings
    lists = LISTS_PER_WELCOME + len(known.properties.told()) + len(room.joined) * _MEMBER_BYTES // LIST_BYTES
    return unread + lists + len(known.kept.by_index) > LOG_CAP_ENTRIES // CROWD_SHARE


def welcome_fits(world: World, room: Room) -> bool:
    """Tell whether there is memory to tell a joiner all. Names may use the reserve: a full log keeps nobody out."""
    known, arena = room.belongings, world.log.arena
    num_properties = sum(len(of_owner) for of_owner in known.properties.by_owner.values())
    num_bytes = (
        num_properties * _PROPERTY_BYTES + len(known.owners) * _OWNER_BYTES + len(known.kept.by_index) * MAX_ENTRY_BYTES
    )
    fallen_back_bytes = room.options.entities_per_player * _OWNER_BYTES
    names_bytes = MAX_ENTRY_BYTES + len(room.joined) * _MEMBER_BYTES + fallen_back_bytes
    return num_bytes <= arena.free_bytes() and names_bytes <= arena.free_bytes_for_names()


def _roster(world: World, room: Room, members: list[int]) -> list[bytes]:
    """Build the roster entries that a joining player gets; none for an empty room."""
    sessions = world.sessions
    host = int(sessions.table.player_id[room.host]) if room.host is not None else NO_PLAYER
    head = host.to_bytes(2, "little")
    ids = sessions.table.player_id[members].tolist()
    records = [
        dtypes.ROSTER_MEMBER.encode(player_id, session in world.away, sessions.name[session].encode())
        for player_id, session in zip(ids, members, strict=True)
    ]
    return [head + chunk for chunk in chunks(records)]


def _owners(world: World, room: Room, session: int) -> list[bytes]:
    """Build the OWNERS entries: all entities that were handed over, and those that fell back to this player.

    Of the latter it may not know that they were another's meanwhile: its own states of them are no longer true.
    """
    owners = room.belongings.owners
    player_id = int(world.sessions.table.player_id[session])
    fallen_back = [id_ for id_ in world.entities.given_to(world.rooms, room, session).tolist() if id_ not in owners]
    told = [*owners.items(), *((entity_id, player_id) for entity_id in fallen_back)]
    return chunks([dtypes.OWNER.encode(entity_id, owner) for entity_id, owner in told])
