"""Who publishes which entity (SPEC 7 and 9): the player with its number, unless it was handed over."""

from protocol.client.entries import is_owner, parse_payload
from protocol.client.events import EntityOwnerChanged
from protocol.constants import EntryKind
from protocol.records import Entry

KINDS = (EntryKind.ENTITY_OWNER, EntryKind.OWNERS)
"""Kinds of entries that are for `Owners.apply`."""


class Owners:
    """Owners of all entities, as of the last entry handed over."""

    def __init__(self, player_slots: int, num_ids: int) -> None:
        self._player_slots = player_slots
        self._num_ids = num_ids
        self._handed_over: dict[int, int] = {}  # entity id -> player id, or NO_PLAYER for whoever is host

    def owner_of(self, entity_id: int) -> int:
        """Return the player id of an entity's owner; NO_PLAYER: whoever is host."""
        return self._handed_over.get(entity_id, entity_id % self._player_slots)

    def apply(self, entry: Entry) -> list[EntityOwnerChanged] | None:
        """Take one of `KINDS`, in log order. Returns: what the game must hear; None if the entry is malformed."""
        value = parse_payload(entry)
        if value is None:
            return None
        changes = value.owners if entry.kind == EntryKind.OWNERS else [value]
        if not all(one.entity_id < self._num_ids and is_owner(one.owner, self._player_slots) for one in changes):
            return None
        for one in changes:
            if one.owner == one.entity_id % self._player_slots:
                self._handed_over.pop(one.entity_id, None)
            else:
                self._handed_over[one.entity_id] = one.owner
        return [EntityOwnerChanged(one.entity_id, one.owner) for one in changes]

    def on_joined(self, player_id: int) -> list[EntityOwnerChanged]:
        """A player takes back what was handed over of the ids with its number."""
        return self._fall_back([one for one in self._handed_over if one % self._player_slots == player_id])

    def on_left(self, player_id: int) -> list[EntityOwnerChanged]:
        """What was handed over to a player who left falls back to the player with that number."""
        return self._fall_back([one for one, owner in self._handed_over.items() if owner == player_id])

    def _fall_back(self, entity_ids: list[int]) -> list[EntityOwnerChanged]:
        for entity_id in entity_ids:
            del self._handed_over[entity_id]
        return [EntityOwnerChanged(entity_id, entity_id % self._player_slots) for entity_id in entity_ids]
