"""What lies inside of entries that a server wrote, of requests to it, and of options, in a few words."""

from collections.abc import Callable
from typing import Any

from construct import Construct, ConstructError

from protocol import schemas
from protocol.constants import (
    FIRST_REQUEST_KIND,
    NO_PLAYER,
    BanFlag,
    ByeReason,
    EntryKind,
    ListedFlag,
    Option,
    PropertyType,
    RequestKind,
    RequestRefusal,
    RoomFlag,
)
from protocol.properties import decode_value, is_value
from tools.dump.fields import id_text
from tools.dump.sessions import name_of, printable, text_of

MAX_SHOWN = 8
"""Items of a list that are named; the rest is a count."""
MALFORMED = "malformed"


def say_entry(kind: int, payload: bytes) -> str:
    """Describe the payload of an entry that the server wrote. Returns: empty for a player's, or an unknown kind."""
    schema = schemas.ENTRY_PAYLOADS.get(kind)
    return "" if schema is None else _say(schema, payload, _ENTRIES[EntryKind(kind)])


def say_kept_copy(sender: int, payload: bytes) -> str:
    """Describe a kept message as who joins later is told it: its own size, and the index that it was written at."""
    return _say(schemas.KEPT_COPY, payload, lambda v: f"{len(v.payload)} B of {sender} at {v.log_index}")


def say_request(kind: int, payload: bytes) -> str:
    """Describe what a message asks the server for. Returns: empty for one that asks nothing, or of an unknown kind."""
    schema = schemas.REQUEST_PAYLOADS.get(kind)
    return "" if schema is None else _say(schema, payload, _REQUESTS[RequestKind(kind)])


def say_option(key: int, value: bytes) -> str:
    """Describe the value of an option of JOIN or LIST. Keys, proofs and identities are not shown, only their size."""
    if key in _NUMBERS:
        return str(int.from_bytes(value, "little"))
    if key == Option.ROOM_FLAGS and len(value) == 1:
        return flags_text(RoomFlag, value[0]) or "0"
    if key in _SAID_OPTIONS:
        schema, words = _SAID_OPTIONS[key]
        said = _say(schema, value, words)
        return said if said != MALFORMED else f"({len(value)} B, malformed)"
    return f"({len(value)} B)"


def say_listed(room: Any) -> str:
    """Describe a room of a list."""
    fields, body = room.fields, room.body
    flags = flags_text(ListedFlag, fields.flags)
    tags = f" {_texts(body.tags)}" if body.tags.texts else ""
    shown = f" with {_say_given(body.properties)}" if body.properties.properties else ""
    return (
        f"{text_of(fields.code)} {printable(body.name)!r} {printable(body.version) or '-'} "
        f"{fields.players}/{fields.max_players}{f' {flags}' if flags else ''}{tags}{shown}"
    )


def flags_text(flags: Any, value: int) -> str:
    """Name the bits that are set, as in "KEEP|KEPT". Returns: empty if none of the enumeration's is."""
    return "|".join(flag.name or "" for flag in flags if value & flag)


def value_text(kind: int, data: bytes) -> str:
    """Write a property's value as a game sees it, or why there is none."""
    if not is_value(kind, data):
        return f"{MALFORMED} {name_of(PropertyType, kind)} {data.hex()}".rstrip()
    value = decode_value(kind, data)
    if isinstance(value, bytes):
        return value.hex() or "no bytes"
    return repr(printable(data)) if isinstance(value, str) else str(value)


def _texts(value: Any) -> str:
    return _list([repr(printable(text)) for text in value.texts])


def _say_given(value: Any) -> str:
    return _list([f"{printable(one.key)!r} = {value_text(one.type, one.value)}" for one in value.properties])


_SAID_OPTIONS: dict[int, tuple[Construct, Callable[[Any], str]]] = {
    Option.RESUME: (schemas.RESUME_OPTION, lambda v: f"{id_text(v.session)} behind log {v.log_index}"),
    **{
        option: (schemas.LABEL, lambda v: repr(printable(v.text)))
        for option in (Option.GAME, Option.GAME_VERSION, Option.ROOM_NAME)
    },
    Option.TAGS: (schemas.TEXTS, _texts),
    Option.SHOWN: (schemas.TEXTS, _texts),
    Option.PROPERTIES: (schemas.PLAIN_PROPERTIES, _say_given),
}
"""Options whose value has a layout, and how it is said."""
_NUMBERS = (Option.MAX_PLAYERS, Option.ENTITIES_PER_PLAYER, Option.MAX_STATE_BYTES)


def _say(schema: Construct, payload: bytes, words: Callable[[Any], str]) -> str:
    try:
        return words(schema.parse(payload))
    except ConstructError:
        return MALFORMED


def _list(items: list[str]) -> str:
    more = [f"{len(items) - MAX_SHOWN} more"] if len(items) > MAX_SHOWN else []
    return ", ".join(items[:MAX_SHOWN] + more) or "none"


def _player(player_id: int) -> str:
    return "nobody" if player_id == NO_PLAYER else f"player {player_id}"


def _owner(owner: int) -> str:
    return "whoever is host" if owner == NO_PLAYER else f"player {owner}"


def _property_of(owner: int, key: bytes) -> str:
    return f"{printable(key)!r} of {'the room' if owner == NO_PLAYER else f'player {owner}'}"


def _set(value: Any) -> str:
    name = _property_of(value.owner, value.key)
    if value.type == PropertyType.NONE and not value.value:
        return f"{name} removed"
    return f"{name} = {value_text(value.type, value.value)}"


def _locked(value: Any) -> str:
    return "locked" if value.is_locked else "open"


def _listed(value: Any) -> str:
    return "listed" if value.is_listed else "hidden"


def _and_text(value: Any) -> str:
    return f" {printable(value.text)!r}" if value.text else ""


# --- entries


def _say_roster(value: Any) -> str:
    members = [
        f"{member.player_id} {printable(member.name)!r}{' away' if member.is_away else ''}" for member in value.members
    ]
    return f"host {'nobody' if value.host == NO_PLAYER else value.host}, members {', '.join(members) or 'none'}"


def _say_refused(value: Any) -> str:
    what = name_of(RequestKind, value.request) if value.request >= FIRST_REQUEST_KIND else "to keep it"
    return f"message {value.message_id}, {what}: {name_of(RequestRefusal, value.reason)}"


def _say_ready(value: Any) -> str:
    pages = [f"{8 * at + bit}" for at, byte in enumerate(value.pages) for bit in range(8) if byte >> bit & 1]
    return f"{_locked(value)}, pages {_list(pages)}"


def _say_cleared(value: Any) -> str:
    return f"entries {_list([str(one.log_index) for one in value.cleared])}, by {_player(value.player_id)}"


def _say_properties(value: Any) -> str:
    return _list([f"{_set(one)} (version {one.version})" for one in value.properties])


_ENTRIES: dict[EntryKind, Callable[[Any], str]] = {
    EntryKind.PLAYER_JOINED: lambda v: f"player {v.player_id} {printable(v.name)!r}",
    EntryKind.PLAYER_LEFT: lambda v: f"player {v.player_id}, {name_of(ByeReason, v.reason)}",
    EntryKind.HOST_CHANGED: lambda v: _player(v.player_id),
    EntryKind.ROSTER: _say_roster,
    EntryKind.PLAYER_AWAY: lambda v: _player(v.player_id),
    EntryKind.PLAYER_BACK: lambda v: f"{_player(v.player_id)}{', afresh' if v.is_afresh else ''}",
    EntryKind.PROPERTY_CHANGED: lambda v: f"{_set(v)}, by {_player(v.player_id)}",
    EntryKind.PROPERTIES: _say_properties,
    EntryKind.ENTITY_OWNER: lambda v: f"entity {v.entity_id} to {_owner(v.owner)}",
    EntryKind.OWNERS: lambda v: _list([f"entity {one.entity_id} to {_owner(one.owner)}" for one in v.owners]),
    EntryKind.ROOM_LOCKED: _locked,
    EntryKind.REQUEST_REFUSED: _say_refused,
    EntryKind.ROOM_READY: _say_ready,
    EntryKind.KEPT_CLEARED: _say_cleared,
    EntryKind.ROOM_SHOWN: _listed,
}

# --- requests


def _say_set_property(value: Any) -> str:
    condition = f", if its version is {value.version}" if value.is_conditional else ""
    return f"{_set(value)}{condition}"


def _say_ban(value: Any) -> str:
    flags = flags_text(BanFlag, value.flags)
    return f"player {value.player_id}{f' {flags}' if flags else ''}{_and_text(value)}"


def _say_show(value: Any) -> str:
    keys = [repr(printable(key)) for key in value["keys"]]  # an attribute `keys` is the dictionary's method
    return f"{_listed(value)}{f', with {_list(keys)}' if keys else ''}"


_REQUESTS: dict[RequestKind, Callable[[Any], str]] = {
    RequestKind.SET_PROPERTY: _say_set_property,
    RequestKind.GIVE_ENTITY: lambda v: f"entity {v.entity_id} to {_owner(v.owner)}",
    RequestKind.CLEAR_KEPT: lambda v: f"entry {v.log_index}" if v.log_index else "all",
    RequestKind.HAND_OVER_HOST: lambda v: f"to {_player(v.player_id)}",
    RequestKind.KICK: lambda v: f"player {v.player_id}{_and_text(v)}",
    RequestKind.BAN: _say_ban,
    RequestKind.LOCK: _locked,
    RequestKind.SHOW: _say_show,
}
