"""Joining and leaving: the places where all tables change together (SPEC 4, 9 and 13).

Per player and in Python, for it happens rarely. What others see of it goes through the log and the table like
everything else.
"""

from dataclasses import replace

import numpy as np

from protocol import dtypes, schemas
from protocol.constants import NO_PLAYER, ByeReason, EntryKind, JoinMode, Refusal, RoomFlag
from protocol.drops import DropReason
from relay.addresses import host_of, is_loopback
from relay.directory import Wish, fullest
from relay.entities import NO_OWNER
from relay.handshake import JoinRequest, proof_is_right
from relay.log import OwnEntry
from relay.messages import grant_credit
from relay.roomoptions import Refused, RoomOptions
from relay.rooms import Room, key_of, make_up_code
from relay.welcome import is_crowded, known_of_room, room_ready, welcome_fits
from relay.world import Event, World

ORPHANS_SHARE = 2
"""Of a room's players one in so many (at least one) may leave an entity behind that others own: its number is not given
out again while it lives, and of the slots, twice the players, enough must be left for everybody (SPEC 9)."""
MAX_CANDIDATES = 4
"""Player ids looked at for a join: those that rest longest. If these are not free, others are hardly."""
REST_S = 20.0
"""After this a player id is given out again whatever members have acknowledged: who has not by now is ended as too slow
or only claims not to have, and must not keep a room from filling up."""


def join(world: World, request: JoinRequest, address: bytes, now: float) -> int | Refused | DropReason:
    """Seat a player in the room it asked for. Returns its session row, or why not.

    Into a room whose members have much to read nobody is let in yet: its JOIN is dropped, and comes again.
    """
    config = world.config
    if len(world.sessions) >= config.max_players:
        return Refused(Refusal.SERVER_FULL)
    host = host_of(address)
    if world.hosts.get(host, 0) >= config.max_sessions_per_host and not is_loopback(address):
        return Refused(Refusal.TOO_MANY_SESSIONS)
    found = _find_room(world, request, address)
    if isinstance(found, Refused):
        return found
    if is_crowded(world, found):
        return DropReason.CROWDED
    player_id = _free_player_id(world, found)
    if player_id is None:
        return Refused(Refusal.ROOM_FULL)
    session = world.sessions.open(address, request.name, request.nonce, now, request.identity)
    count_host(world, session, host)
    world.budgets.fill(world.sessions.table, session, now)
    _seat(world, found, session, player_id)
    world.stats.count("joins")
    return session


def _find_room(world: World, request: JoinRequest, address: bytes) -> Room | Refused:
    """Find or open the room; nothing has changed if this refuses."""
    options = request.options
    if request.mode == JoinMode.QUICK:
        options = replace(options, room_key=b"", flags=options.flags | RoomFlag.LISTED)
        wish = Wish(
            game=options.game, version=options.version, tags=options.tags, properties=options.properties, is_open=True
        )
        found = fullest(world.rooms, wish, lambda room: _why_not(world, room, request, address) is None)
        return found if found is not None else _open_room(world, b"", options)
    room = world.rooms.by_code.get(key_of(options.game, request.code)) if request.code else None
    if room is None:
        if request.mode == JoinMode.JOIN:
            return Refused(Refusal.NO_SUCH_ROOM)
        return _open_room(world, request.code, options)
    if request.mode == JoinMode.CREATE:
        return Refused(Refusal.ROOM_EXISTS)
    return _why_not(world, room, request, address) or room


def _why_not(world: World, room: Room, request: JoinRequest, address: bytes) -> Refused | None:
    """Tell why a room that is there does not take a player, if so."""
    if room.belongings.bans.hold(request.identity, address):
        return Refused(Refusal.BANNED)
    if room.options.version != request.options.version:
        return Refused(Refusal.OTHER_VERSION)
    if not proof_is_right(request, room.options.room_key):
        return Refused(Refusal.WRONG_PASSWORD)
    if room.belongings.is_locked:
        return Refused(Refusal.ROOM_LOCKED)
    if len(room.joined) >= room.options.max_players:
        return Refused(Refusal.ROOM_FULL)
    return None if welcome_fits(world, room) else Refused(Refusal.SERVER_FULL)


def _open_room(world: World, code: bytes, options: RoomOptions) -> Room | Refused:
    """Open a room, unless the relay is full of rooms or of their memory."""
    if len(world.rooms) >= world.config.max_rooms:
        return Refused(Refusal.SERVER_FULL)
    if world.entities.memory_bytes(options) > world.config.state_memory_mib << 20:
        return Refused(Refusal.SERVER_FULL)
    room = world.rooms.open(code or make_up_code(world.rng, world.rooms.by_code, options.game), options)
    world.entities.open_room(world.rooms, room)
    world.log.open_room(world.rooms, room)
    world.events.append(
        Event(
            f"room {room.code.decode()} opened: up to {options.max_players} players, "
            f"{options.entities_per_player} entities each, states up to {options.max_state_bytes} bytes"
        )
    )
    return room


def _free_player_id(world: World, room: Room) -> int | None:
    """Choose a player id that nobody can mistake for one who left (SPEC 13): never used, or left longest ago."""
    orphaned = _orphaned(world, room)
    free = [
        player_id for player_id, slot in enumerate(room.slots) if slot.session is None and player_id not in orphaned
    ]
    free.sort(key=lambda player_id: (room.slots[player_id].left_index, player_id))
    for player_id in free[:MAX_CANDIDATES]:
        if _is_forgotten(world, room, player_id):
            return player_id
    return None


def _orphaned(world: World, room: Room) -> set[int]:
    """Find the player ids whose players left while an entity with their number lives, handed over to somebody."""
    first, length = int(world.rooms.table.entities_first[room.row]), world.entities.table.length
    return {
        entity_id % room.options.slots
        for entity_id in room.belongings.owners
        if length[first + entity_id] and room.slots[entity_id % room.options.slots].session is None
    }


def _keep_few_orphans(world: World, room: Room, player_id: int) -> None:
    """Remove what a player who left had handed over, if too many ids would be kept from others for such (SPEC 9).

    What does not live counts, too: its owner may publish it at any time.
    """
    owners, slots = room.belongings.owners, room.options.slots
    left = {entity_id % slots for entity_id in owners if room.slots[entity_id % slots].session is None}
    if len(left) <= max(1, room.options.max_players // ORPHANS_SHARE):
        return
    mine = [entity_id for entity_id in owners if entity_id % slots == player_id]
    payloads = [schemas.ENTITY_OWNER_PAYLOAD.build({"entity_id": id_, "owner": player_id}) for id_ in mine]
    world.log.append_own(world.rooms, room.row, [OwnEntry(EntryKind.ENTITY_OWNER, payload) for payload in payloads])
    remove_orphans(world, room, mine)


def remove_orphans(world: World, room: Room, entity_ids: list[int]) -> None:
    """Remove entities that were handed over by players who left; the room is told that they have their number again."""
    rows = int(world.rooms.table.entities_first[room.row]) + np.array(entity_ids, np.int64)
    alive = rows[world.entities.table.length[rows] > 0]
    world.entities.remove_rows(world.rooms, np.full(len(alive), room.row), alive, world.stamp)
    for entity_id in entity_ids:
        del room.belongings.owners[entity_id]
        world.entities.give(world.rooms, room, entity_id, NO_OWNER, 0)


def _is_forgotten(world: World, room: Room, player_id: int) -> bool:
    """Tell whether every member has read that this id's last player left, and knows that its entities are gone."""
    slot = room.slots[player_id]
    rooms, entities, table = world.rooms, world.entities, world.sessions.table
    rows = entities.rows_of_player(rooms, room, player_id)
    if not slot.left_index or world.tick - slot.left_tick > REST_S * world.config.tick_rate:
        return True
    members = rooms.members_of(room.row)
    if len(members) and int(table.log_effective[members].min()) < slot.left_index:
        return False
    removed = entities.table.removed_tick[rows]
    page = (rows - rooms.table.entities_first[room.row]) // rooms.table.page_ids[room.row]
    seen = entities.seats.acked_tick[table.pages_first[members][:, None] + page]
    return bool((seen >= removed).all())


def _seat(world: World, room: Room, session: int, player_id: int) -> None:
    """Put a new session into its room and tell the room."""
    table, rooms = world.sessions.table, world.rooms
    table.room[session], table.player_id[session] = room.row, player_id
    head = int(rooms.table.log_head[room.row])
    table.log_start[session] = table.log_cursor[session] = table.log_effective[session] = head
    table.log_seen[session] = head
    table.entry_charge[session] = rooms.table.entry_charge[room.row]
    table.pages_first[session] = world.entities.take_seat(rooms, room, session, player_id)
    slots = room.options.slots
    room.belongings.owners = {
        entity_id: owner for entity_id, owner in room.belongings.owners.items() if entity_id % slots != player_id
    }
    members = list(room.joined)
    rooms.add_member(room, session, player_id)
    grant_credit(table, np.array([session]))
    joined = dtypes.PLAYER_JOINED_PAYLOAD.encode(player_id, world.sessions.name[session].encode())
    entries = [*known_of_room(world, room, session, members), OwnEntry(EntryKind.PLAYER_JOINED, joined)]
    entries += [*choose_host(world, room, len(entries)), room_ready(world, room, session)]
    world.log.append_own(rooms, room.row, entries)


def choose_host(world: World, room: Room, num_before: int) -> list[OwnEntry]:
    """See to it that the host is somebody who is here: the longest present who is not away.

    If nobody is here, the first who is back will be.

    Args:
        num_before: Entries that will be appended before those returned.
    Returns: what the room is to be told, now.
    """
    if room.host is not None and room.host not in world.away:
        return []
    here = [session for session in room.joined if session not in world.away]
    return [make_host(world, room, here[0], num_before)] if here else []


def make_host(world: World, room: Room, session: int, num_before: int) -> OwnEntry:
    """Make a player the host, and give it what is the host's.

    Args:
        num_before: Entries that will be appended before the one returned.
    Returns: what the room is to be told, now.
    """
    room.host = session
    index = int(world.rooms.table.log_head[room.row]) + num_before + 1
    for entity_id, owner in room.belongings.owners.items():
        if owner == NO_PLAYER:
            world.entities.give(world.rooms, room, entity_id, session, index)
    player_id = int(world.sessions.table.player_id[session])
    return OwnEntry(EntryKind.HOST_CHANGED, dtypes.HOST_CHANGED_PAYLOAD.encode(player_id))


def leave(world: World, session: int, reason: ByeReason) -> None:
    """End a session: its entities are removed in the next snapshot, the room is told, an empty room closes."""
    table, rooms = world.sessions.table, world.rooms
    room = rooms.by_row[int(table.room[session])]
    player_id = int(table.player_id[session])
    rooms.remove_member(room, session, player_id)
    world.away.pop(session, None)
    world.lost_log.discard(session)
    world.resumed.pop(session, None)
    world.resume_budget.pop(session, None)
    world.log.disown(rooms, room.row, session)
    world.intake.forget(session)
    left = OwnEntry(EntryKind.PLAYER_LEFT, dtypes.PLAYER_LEFT_PAYLOAD.encode(player_id, reason))
    index = world.log.append_own(rooms, room.row, [left])
    _give_back_entities(world, room, session, player_id, index)
    room.slots[player_id].left_index, room.slots[player_id].left_tick = index, world.tick
    room.belongings.properties.forget(player_id)
    room.belongings.kept.on_left(player_id)
    uncount_host(world, session)
    world.sessions.close(session)
    world.stats.count("leaves")
    world.stats.count(f"left_{reason.name.lower()}")
    if not room.joined:
        _close_room(world, room)
    else:
        if room.host == session:
            room.host = None
        world.log.append_own(rooms, room.row, choose_host(world, room, 0))
        _keep_few_orphans(world, room, player_id)


def _give_back_entities(world: World, room: Room, session: int, player_id: int, left_index: int) -> None:
    """Remove what a player owns who left, as entry `left_index` tells.

    But what is the host's stays, and what was handed over to it falls back.
    """
    owners, rooms, entities = room.belongings.owners, world.rooms, world.entities
    for entity_id, owner in owners.items():
        if owner == NO_PLAYER and room.host == session:
            entities.give(rooms, room, entity_id, NO_OWNER, 0)
    for entity_id in entities.leave_seat(rooms, room, session, world.stamp):
        if owners.get(entity_id) == player_id:
            del owners[entity_id]
            creator = room.slots[entity_id % room.options.slots].session
            if creator is not None:
                entities.give(rooms, room, entity_id, creator, left_index)


def count_host(world: World, session: int, host: bytes) -> None:
    """Count a session under its host's cap."""
    world.hosts[host] = world.hosts.get(host, 0) + 1
    world.counted_host[session] = host


def uncount_host(world: World, session: int) -> None:
    """Give a session's place under its host's cap back."""
    host = world.counted_host.pop(session)
    world.hosts[host] -= 1
    if not world.hosts[host]:
        del world.hosts[host]


def _close_room(world: World, room: Room) -> None:
    """Forget an empty room."""
    world.log.close_room(world.rooms, room.row)
    world.entities.close_room(world.rooms, room)
    world.rooms.close(room)
    world.events.append(Event(f"room {room.code.decode()} closed"))
