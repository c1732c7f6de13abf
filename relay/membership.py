"""Joining and leaving: the places where all tables change together (SPEC 4, 9 and 13).

Per player and in Python, for it happens rarely. What others see of it goes through the log and the table like
everything else.
"""

import numpy as np

from protocol import schemas
from protocol.constants import NO_PLAYER, ByeReason, EntryKind, JoinMode, Refusal
from relay.addresses import host_of
from relay.audience import only
from relay.handshake import JoinRequest, Refused, proof_is_right
from relay.messages import grant_credit
from relay.rooms import Room, RoomOptions, make_up_code
from relay.world import Event, World

ROSTER_BYTES = 1000
"""A roster entry lists as many members as fit this: it stays below one fragment of 1,024 bytes."""
MAX_CANDIDATES = 4
"""Player ids looked at for a join: those that rest longest. If these are not free, others are hardly."""
REST_S = 20.0
"""After this a player id is given out again whatever members have acknowledged: who has not by now is ended as too slow
or only claims not to have, and must not keep a room from filling up."""
_LOOPBACK_V4 = bytes(10) + b"\xff\xff\x7f"
_LOOPBACK_V6 = bytes(15) + b"\x01"


def is_loopback(address: bytes) -> bool:
    """Tell whether an address is of this machine: the cap of sessions per host does not count there."""
    host = address[8:24]
    return host[:13] == _LOOPBACK_V4 or host == _LOOPBACK_V6


def join(world: World, request: JoinRequest, address: bytes, now: float) -> int | Refused:
    """Seat a player in the room it asked for. Returns its session row, or why not."""
    config = world.config
    if len(world.sessions) >= config.max_players:
        return Refused(Refusal.SERVER_FULL)
    host = host_of(address)
    if world.hosts.get(host, 0) >= config.max_sessions_per_host and not is_loopback(address):
        return Refused(Refusal.TOO_MANY_SESSIONS)
    found = _find_room(world, request)
    if isinstance(found, Refused):
        return found
    player_id = _free_player_id(world, found)
    if player_id is None:
        return Refused(Refusal.ROOM_FULL)
    session = world.sessions.open(address, request.name, request.nonce, now)
    world.hosts[host] = world.hosts.get(host, 0) + 1
    world.counted_host[session] = host
    world.budgets.fill(world.sessions.table, session, now)
    _seat(world, found, session, player_id)
    world.stats.count("joins")
    return session


def _find_room(world: World, request: JoinRequest) -> Room | Refused:
    """Find or open the room; nothing has changed if this refuses."""
    room = world.rooms.by_code.get(request.code) if request.code else None
    if room is None:
        if request.mode == JoinMode.JOIN:
            return Refused(Refusal.NO_SUCH_ROOM)
        return _open_room(world, request.code, request.options)
    if request.mode == JoinMode.CREATE:
        return Refused(Refusal.ROOM_EXISTS)
    if not proof_is_right(request, room.options.room_key):
        return Refused(Refusal.WRONG_PASSWORD)
    if len(room.joined) >= room.options.max_players:
        return Refused(Refusal.ROOM_FULL)
    return room


def _open_room(world: World, code: bytes, options: RoomOptions) -> Room | Refused:
    """Open a room, unless the relay is full of rooms or of their memory."""
    if len(world.rooms) >= world.config.max_rooms:
        return Refused(Refusal.SERVER_FULL)
    if world.entities.memory_bytes(options) > world.config.state_memory_mib << 20:
        return Refused(Refusal.SERVER_FULL)
    room = world.rooms.open(code or make_up_code(world.rng, world.rooms.by_code), options)
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
    free = [player_id for player_id, slot in enumerate(room.slots) if slot.session is None]
    free.sort(key=lambda player_id: (room.slots[player_id].left_index, player_id))
    for player_id in free[:MAX_CANDIDATES]:
        if _is_forgotten(world, room, player_id):
            return player_id
    return None


def _is_forgotten(world: World, room: Room, player_id: int) -> bool:
    """Tell whether every member has read that this id's last player left, and knows that its entities are gone."""
    slot = room.slots[player_id]
    if not slot.left_index or world.tick - slot.left_tick > REST_S * world.config.tick_rate:
        return True
    rooms, entities, table = world.rooms, world.entities, world.sessions.table
    members = rooms.members_of(room.row)
    if len(members) and int(table.log_effective[members].min()) < slot.left_index:
        return False
    rows = entities.rows_of_player(rooms, room, player_id)
    if entities.table.length[rows].any():
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
    members = list(room.joined)
    rooms.add_member(room, session, player_id)
    grant_credit(table, np.array([session]))
    for payload in _roster(world, members):
        world.log.append_own(rooms, room.row, EntryKind.ROSTER, payload, only(player_id))
    joined = schemas.PLAYER_JOINED_PAYLOAD.build(
        {"player_id": player_id, "name": world.sessions.name[session].encode()}
    )
    world.log.append_own(rooms, room.row, EntryKind.PLAYER_JOINED, joined)
    if not members:
        tell_host(world, room)


def _roster(world: World, members: list[int]) -> list[bytes]:
    """Build the roster entries that a joining player gets; none for an empty room."""
    payloads: list[bytes] = []
    batch: list[dict[str, object]] = []
    size = 0
    host = int(world.sessions.table.player_id[members[0]]) if members else NO_PLAYER
    for session in members:
        name = world.sessions.name[session].encode()
        if size + 3 + len(name) > ROSTER_BYTES:
            payloads.append(schemas.ROSTER_PAYLOAD.build({"host": host, "members": batch}))
            batch, size = [], 0
        batch.append({"player_id": int(world.sessions.table.player_id[session]), "name": name})
        size += 3 + len(name)
    if batch:
        payloads.append(schemas.ROSTER_PAYLOAD.build({"host": host, "members": batch}))
    return payloads


def tell_host(world: World, room: Room) -> None:
    """Append who is host now."""
    assert room.host is not None
    payload = schemas.HOST_CHANGED_PAYLOAD.build({"player_id": int(world.sessions.table.player_id[room.host])})
    world.log.append_own(world.rooms, room.row, EntryKind.HOST_CHANGED, payload)


def leave(world: World, session: int, reason: ByeReason) -> None:
    """End a session: its entities are removed in the next snapshot, the room is told, an empty room closes."""
    table, rooms = world.sessions.table, world.rooms
    room = rooms.by_row[int(table.room[session])]
    player_id = int(table.player_id[session])
    was_host = room.host == session
    rooms.remove_member(room, session, player_id)
    world.entities.leave_seat(rooms, room, session, player_id, world.stamp)
    world.log.disown(rooms, room.row, session)
    world.intake.forget(session)
    payload = schemas.PLAYER_LEFT_PAYLOAD.build({"player_id": player_id, "reason": reason})
    index = world.log.append_own(rooms, room.row, EntryKind.PLAYER_LEFT, payload)
    room.slots[player_id].left_index, room.slots[player_id].left_tick = index, world.tick
    _uncount_host(world, session)
    world.sessions.close(session)
    world.stats.count("leaves")
    world.stats.count(f"left_{reason.name.lower()}")
    if not room.joined:
        _close_room(world, room)
    elif was_host:
        tell_host(world, room)


def _uncount_host(world: World, session: int) -> None:
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
