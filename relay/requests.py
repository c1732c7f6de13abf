"""What players ask the server for, in the order of the log: properties, entities, kept messages, the host's rights.

A request is a message of a kind of its own (SPEC 9). It is done when its turn in the log comes, so of several who set
one version of a property exactly one succeeds, and everybody sees what it caused before what its sender said next.
"""

from collections.abc import Callable
from typing import Any

from construct import ConstructError

from protocol import schemas
from protocol.constants import (
    MAX_HANDED_OVER,
    MAX_SHOWN,
    NO_PLAYER,
    BanFlag,
    ByeReason,
    EntryKind,
    RequestKind,
    RequestRefusal,
    RoomFlag,
)
from protocol.properties import is_control, is_key, is_value
from relay.audience import EVERYBODY, Audience, only
from relay.belongings import Kept, Property, has_room
from relay.log import OwnEntry
from relay.membership import make_host, remove_orphans
from relay.rooms import Room
from relay.world import World

Outcome = RequestRefusal | None
"""Why a request is not done; None if it is."""


class Requests:
    """Does what messages of the request kinds ask for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.removed: list[tuple[int, ByeReason, str]] = []
        """(session id, reason, text or "") of players whom the host removed; the engine ends them. Not their rows: one
        who leaves in the same pass gives its row to the next who joins."""
        self._handlers: dict[int, Callable[[Room, int, Any], Outcome]] = {
            RequestKind.SET_PROPERTY: self._set_property,
            RequestKind.GIVE_ENTITY: self._give_entity,
            RequestKind.CLEAR_KEPT: self._clear_kept,
            RequestKind.HAND_OVER_HOST: self._hand_over_host,
            RequestKind.KICK: self._kick,
            RequestKind.BAN: self._ban,
            RequestKind.LOCK: self._lock,
            RequestKind.SHOW: self._show,
        }

    def handle(self, session: int, message_id: int, kind: int, payload: bytes) -> None:
        """Do what a message asks for, or tell its sender why not."""
        outcome = self._outcome(self._room_of(session), session, kind, payload)
        if outcome is not None:
            self.refuse(session, message_id, kind, outcome)

    def refuse(self, session: int, message_id: int, kind: int, reason: RequestRefusal) -> None:
        """Tell a player alone that a request, or keeping a message, was not done."""
        self._world.stats.count(f"requests_refused_{reason.name.lower()}")
        fields = {"message_id": message_id & 0xFFFF, "request": kind, "reason": reason}
        player_id = int(self._world.sessions.table.player_id[session])
        self._tell(session, EntryKind.REQUEST_REFUSED, fields, only(player_id))

    def why_not_kept(self, session: int, num_bytes: int) -> Outcome:
        """Tell why a message of one fragment to all, of so many bytes, cannot be kept; None if it can."""
        room = self._room_of(session)
        fits = room.belongings.kept.fits(num_bytes, self._player(session), room.host == session)
        return None if fits else RequestRefusal.TOO_MANY

    def keep(self, session: int, index: int, message: Kept) -> None:
        """Keep a message that was just appended as entry `index`, and of which `why_not_kept` said nothing."""
        self._room_of(session).belongings.kept.keep(index, message)

    def _room_of(self, session: int) -> Room:
        return self._world.rooms.by_row[int(self._world.sessions.table.room[session])]

    def _outcome(self, room: Room, session: int, kind: int, payload: bytes) -> Outcome:
        handler = self._handlers.get(kind)
        if handler is None:
            return RequestRefusal.UNKNOWN
        try:
            value = schemas.REQUEST_PAYLOADS[RequestKind(kind)].parse(payload)
        except ConstructError:
            return RequestRefusal.MALFORMED
        self._world.stats.count(f"requests_{RequestKind(kind).name.lower()}")
        return handler(room, session, value)

    def _tell(self, session: int, kind: EntryKind, fields: dict[str, Any], audience: Audience = EVERYBODY) -> int:
        """Append an entry that a player caused, and that counts as its own until all have read it."""
        world, table = self._world, self._world.sessions.table
        payload = schemas.ENTRY_PAYLOADS[kind].build(fields)
        table.unread_bytes[session] += len(payload) + table.entry_charge[session]
        return world.log.append_own(world.rooms, int(table.room[session]), [OwnEntry(kind, payload, audience)], session)

    def _player(self, session: int) -> int:
        return int(self._world.sessions.table.player_id[session])

    def _member(self, room: Room, player_id: int) -> int | None:
        """Return the session row of a player of the room."""
        return room.slots[player_id].session if player_id < len(room.slots) else None

    # --- one handler for each kind

    def _set_property(self, room: Room, session: int, value: Any) -> Outcome:
        owner, key = value.owner, bytes(value.key)
        if not is_key(key) or not is_value(value.type, value.value) or value.is_conditional > 1:
            return RequestRefusal.MALFORMED
        if owner != NO_PLAYER and self._member(room, owner) is None:
            return RequestRefusal.NO_SUCH_PLAYER
        is_permitted = room.host == session or owner == self._player(session)
        if not is_permitted and not (owner == NO_PLAYER and room.options.flags & RoomFlag.ANYONE_SETS):
            return RequestRefusal.NOT_HOST if owner == NO_PLAYER else RequestRefusal.NOT_OWNER
        properties = room.belongings.properties
        if value.is_conditional and value.version != properties.version(owner, key):
            return RequestRefusal.CHANGED
        if not properties.fits(owner, key, value.type, value.value):
            return RequestRefusal.TOO_MANY
        fields = {
            "player_id": self._player(session), "owner": owner, "key": key, "type": value.type, "value": value.value
        }  # fmt: skip
        index = self._tell(session, EntryKind.PROPERTY_CHANGED, fields)
        properties.set(owner, key, Property(index, value.type, bytes(value.value)))
        room.about = None
        return None

    def _give_entity(self, room: Room, session: int, value: Any) -> Outcome:
        world = self._world
        if value.entity_id >= int(world.rooms.table.num_entities[room.row]):
            return RequestRefusal.MALFORMED
        if room.host != session and world.entities.owner_of(world.rooms, room, value.entity_id) != session:
            return RequestRefusal.NOT_OWNER
        to_host, creator = value.owner == NO_PLAYER, value.entity_id % room.options.slots
        receiver = room.host if to_host else self._member(room, value.owner)
        owners = room.belongings.owners
        is_new, is_orphan = value.entity_id not in owners, self._member(room, creator) is None
        falls_back = not to_host and value.owner == creator
        if (receiver is None and (is_new or not falls_back)) or (is_orphan and is_new):
            return RequestRefusal.NO_SUCH_PLAYER  # else numbers that nobody has could be kept from those who join
        num_own = sum(entity_id % room.options.slots == creator for entity_id in owners)
        has_more = has_room(len(owners), num_own, 1, MAX_HANDED_OVER, room.host == session)
        if not falls_back and is_new and not has_more:
            return RequestRefusal.TOO_MANY
        index = self._tell(session, EntryKind.ENTITY_OWNER, {"entity_id": value.entity_id, "owner": value.owner})
        if receiver is None:
            remove_orphans(world, room, [value.entity_id])
            return None
        if falls_back:
            owners.pop(value.entity_id, None)
        else:
            owners[value.entity_id] = value.owner
        world.entities.give(world.rooms, room, value.entity_id, receiver, index)
        return None

    def _clear_kept(self, room: Room, session: int, value: Any) -> Outcome:
        kept, player_id = room.belongings.kept, self._player(session)
        mine = [
            index
            for index, message in kept.by_index.items()
            if value.log_index in (0, index) and (room.host == session or message.sender == player_id)
        ]
        if not mine:
            return RequestRefusal.NOT_KEPT if value.log_index else None
        for index in mine:
            kept.clear(index)
        cleared = [{"log_index": index} for index in mine]  # MAX_KEPT_MESSAGES of them fit one entry
        self._tell(session, EntryKind.KEPT_CLEARED, {"player_id": player_id, "cleared": cleared})
        return None

    def _hand_over_host(self, room: Room, session: int, value: Any) -> Outcome:
        if room.host != session:
            return RequestRefusal.NOT_HOST
        heir = self._member(room, value.player_id)
        if heir is None or heir in self._world.away:
            return RequestRefusal.NO_SUCH_PLAYER
        if heir != session:
            make_host(self._world, room, heir, 0)
            self._tell(session, EntryKind.HOST_CHANGED, {"player_id": value.player_id})
        return None

    def _kick(self, room: Room, session: int, value: Any) -> Outcome:
        return self._remove(room, session, value, ByeReason.KICKED)

    def _ban(self, room: Room, session: int, value: Any) -> Outcome:
        outcome = self._remove(room, session, value, ByeReason.BANNED)
        if outcome is None:
            sessions, player = self._world.sessions, room.slots[value.player_id].session
            assert player is not None
            identity, address = sessions.identity[player], sessions.table.address[player].tobytes()
            room.belongings.bans.add(identity, address, bool(value.flags & BanFlag.ADDRESS))
            for other in self._others_with(room, identity, {session, player}):
                self._remove_later(other, value, ByeReason.BANNED)
        return outcome

    def _others_with(self, room: Room, identity: bytes, but: set[int]) -> list[int]:
        """List the session rows of a room that gave an identity; nobody gave none."""
        identities = self._world.sessions.identity
        return [row for row in room.joined if identity and identities[row] == identity and row not in but]

    def _remove(self, room: Room, session: int, value: Any, reason: ByeReason) -> Outcome:
        if room.host != session:
            return RequestRefusal.NOT_HOST
        player = self._member(room, value.player_id)
        if player is None or player == session:
            return RequestRefusal.NO_SUCH_PLAYER
        self._remove_later(player, value, reason)
        return None

    def _remove_later(self, player: int, value: Any, reason: ByeReason) -> None:
        """Note that a session is to end, with the text of the request."""
        text = bytes(value.text).decode(errors="replace")
        session_id = int(self._world.sessions.table.id[player])
        self.removed.append((session_id, reason, "".join(letter for letter in text if not is_control(letter))))

    def _lock(self, room: Room, session: int, value: Any) -> Outcome:
        if room.host != session:
            return RequestRefusal.NOT_HOST
        if value.is_locked > 1:
            return RequestRefusal.MALFORMED
        room.belongings.is_locked = bool(value.is_locked)
        self._tell(session, EntryKind.ROOM_LOCKED, {"is_locked": value.is_locked})
        return None

    def _show(self, room: Room, session: int, value: Any) -> Outcome:
        if room.host != session:
            return RequestRefusal.NOT_HOST
        keys = tuple(bytes(key) for key in value["keys"])
        if value.is_listed > 1 or len(keys) > MAX_SHOWN or not all(map(is_key, keys)):
            return RequestRefusal.MALFORMED
        room.belongings.shown, room.about = keys, None
        self._world.rooms.table.is_listed[room.row] = value.is_listed
        self._tell(session, EntryKind.ROOM_SHOWN, {"is_listed": value.is_listed})
        return None
