"""Properties of the room and of its players, as the log tells them (SPEC 9, Requests)."""

from collections.abc import Mapping
from typing import Any

from protocol.client.entries import is_owner, parse_payload
from protocol.client.events import PropertyChanged
from protocol.constants import MAX_PLAYER_PROPERTIES, MAX_ROOM_PROPERTIES, NO_PLAYER, EntryKind
from protocol.properties import Value, decode_value, is_key, is_value
from protocol.records import Entry

KINDS = (EntryKind.PROPERTY_CHANGED, EntryKind.PROPERTIES)
"""Kinds of entries that are for `Properties.apply`."""


class Properties:
    """Newest value and version of every property, as of the last entry handed over."""

    def __init__(self, player_slots: int) -> None:
        self.of_room: dict[str, Value] = {}
        """Key -> value of the room's properties."""
        self._player_slots = player_slots
        self._of_players: dict[int, dict[str, Value]] = {}
        self._versions: dict[tuple[int, str], int] = {}  # (owner, key) -> index of the entry that set it

    def of(self, owner: int) -> Mapping[str, Value]:
        """Return the properties of a player, or of the room (NO_PLAYER)."""
        return self.of_room if owner == NO_PLAYER else self._of_players.get(owner, {})

    def version(self, owner: int, key: str) -> int:
        """Return the version of a property, 0 while there is none."""
        return self._versions.get((owner, key), 0)

    def apply(self, entry: Entry) -> list[PropertyChanged] | None:
        """Take one of `KINDS`, in log order. Returns: what the game must hear; None if the entry is malformed."""
        value = parse_payload(entry)
        if value is None:
            return None
        if entry.kind == EntryKind.PROPERTIES:
            if not all(self._is_fine(one) for one in value.properties):
                return None
            changes = [self._set(one, one.version, NO_PLAYER) for one in value.properties]
            return [change for change in changes if change is not None]
        if not self._is_fine(value) or not is_owner(value.player_id, self._player_slots):
            return None
        change = self._set(value, entry.log_index, value.player_id)
        return None if change is None else [change]

    def forget(self, owner: int) -> None:
        """Forget all of a player who left."""
        for key in self._of_players.pop(owner, {}):
            del self._versions[owner, key]

    def _is_fine(self, one: Any) -> bool:
        owner, key, kind, value = one.owner, one.key, one.type, one.value
        return is_owner(owner, self._player_slots) and is_key(key) and is_value(kind, value)

    def _set(self, one: Any, version: int, by: int) -> PropertyChanged | None:
        """Set or remove a property; None if its owner has too many, which no correct server permits."""
        owner, key = one.owner, one.key.decode()
        value = decode_value(one.type, one.value)
        of_owner = self.of_room if owner == NO_PLAYER else self._of_players.setdefault(owner, {})
        if value is None:
            of_owner.pop(key, None)
            self._versions.pop((owner, key), None)
            return PropertyChanged(owner, key, None, by)
        limit = MAX_ROOM_PROPERTIES if owner == NO_PLAYER else MAX_PLAYER_PROPERTIES
        if key not in of_owner and len(of_owner) >= limit:
            return None
        of_owner[key] = value
        self._versions[owner, key] = version
        return PropertyChanged(owner, key, value, by)
