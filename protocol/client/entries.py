"""Payloads of the entries that the server writes, read for those who keep what they say (SPEC 9)."""

from typing import Any

from construct import ConstructError

from protocol.constants import NO_PLAYER, EntryKind
from protocol.records import Entry
from protocol.schemas import ENTRY_PAYLOADS, KEPT_COPY


def parse_payload(entry: Entry) -> Any:
    """Parse the payload of an entry of an `EntryKind` above the players' kinds.

    Returns: a construct Container with the fields of the kind's schema; None if the payload is malformed.
    """
    try:
        return ENTRY_PAYLOADS[EntryKind(entry.kind)].parse(entry.payload)
    except ConstructError:
        return None


def parse_kept_copy(entry: Entry) -> Any:
    """Parse the payload of a kept message as we are told it: KEPT_COPY. Returns: as `parse_payload`."""
    try:
        return KEPT_COPY.parse(entry.payload)
    except ConstructError:
        return None


def is_owner(number: int, player_slots: int) -> bool:
    """Tell whether a number names a player that the room can have, or nobody in particular."""
    return number < player_slots or number == NO_PLAYER
