"""Which fields of the wire are secret, which are people's words, and which anybody may see; and where they are.

A field is named by its path in the schemas, as the Wireshark dissector names it. What is in no list is taken as secret,
so a field that somebody adds is not shown by mistake; a test demands that every field is in exactly one list.
"""

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, NamedTuple

from construct import (
    Array,
    Bytes,
    Construct,
    FormatField,
    GreedyBytes,
    GreedyRange,
    Padded,
    Prefixed,
    Renamed,
    Struct,
    Switch,
    Terminated,
)

from protocol import schemas
from protocol.constants import DataSection, Kind, Option, UpdateSection


class Secrecy(Enum):
    """What a capture does with a field."""

    PUBLIC = auto()
    """Written as it is."""
    SECRET = auto()
    """Replaced by a pseudonym, always: it opens a session or a room, or helps to."""
    TEXT = auto()
    """People's words and names: blanked if the operator asks for it."""


def _paths(*lists: tuple[str, str]) -> frozenset[str]:
    return frozenset(f"{prefix}.{name}" for prefix, names in lists for name in names.split())


SECRET = _paths(
    ("hello", "nonce"),
    ("challenge", "nonce cookie"),
    ("join", "nonce cookie options.value"),
    ("join.options.resume", "session proof"),
    ("list", "nonce cookie options.value"),
    ("rooms", "nonce"),
    ("welcome", "nonce session secret reset_token options.value"),
    ("refuse", "nonce"),
    ("redirect", "nonce"),
    ("ping", "nonce"),
    ("pong", "nonce later"),  # `later` is for fields that nobody knows yet
    ("bye", "session"),
    ("reset", "session reset_token"),
    ("path_challenge", "session challenge"),
    ("path_response", "session challenge proof"),
    ("data", "session"),
    ("update", "session"),
)
"""The nonce too: who sends it to the relay, with a cookie of its own, gets its session's WELCOME again (SPEC 4)."""

TEXT = _paths(
    ("join", "name"),
    ("join.options", "room_name.text tags.texts shown.texts properties.properties.key properties.properties.value"),
    ("list.options", "tags.texts properties.properties.key properties.properties.value"),
    ("rooms.rooms", "name tags.texts properties.properties.key properties.properties.value"),
    ("bye", "text"),
    ("data.message", "payload"),
    ("data.signal", "payload"),
    ("data.sections", "body"),  # of unknown type
    ("update.signal", "payload"),
    ("update.log_range.entries", "payload"),
    ("update.sections", "body"),
    ("data.message.set_property", "key value"),
    ("data.message.show", "keys"),
    ("data.message.kick", "text"),
    ("data.message.ban", "text"),
    ("update.log_range.entries.player_joined", "name"),
    ("update.log_range.entries.roster", "members.name"),
    ("update.log_range.entries.property_changed", "key value"),
    ("update.log_range.entries.properties", "properties.key properties.value"),
)

_SIGNAL = "kind flags channel fragment sequence"
PUBLIC = _paths(
    *((kind.name.lower(), "kind shard") for kind in Kind),
    ("hello", "magic revision_min revision_max features fingerprint client_name client_release"),
    ("challenge", "revision features fingerprint"),
    ("join", "revision features mode code options.key options.value.length options.resume.log_index"),
    ("join.options", "game.text game_version.text tags.texts.length shown.texts.length"),
    ("join.options.properties.properties", "key.length type value.length"),
    ("list", "revision features after flags options.key options.value.length"),
    ("list.options", "game.text game_version.text tags.texts.length"),
    ("list.options.properties.properties", "key.length type value.length"),
    ("rooms", "after next num_listed region region.length"),
    ("rooms.rooms", "code players max_players flags name.length version version.length tags.length"),
    ("rooms.rooms", "tags.texts.length properties.length properties.properties.key.length"),
    ("rooms.rooms", "properties.properties.type properties.properties.value.length"),
    ("welcome", "code player_id player_slots max_players entities_per_player max_state_bytes page_ids tick_rate tick"),
    ("welcome", "log_index message_id message_credit keepalive_ms timeout_ms datagrams_per_s messages_per_s"),
    ("welcome", "signals_per_s bytes_per_s grace_s resumed room_flags options.key options.value.length"),
    ("refuse", "reason revision_min revision_max text text.length"),
    ("redirect", "host port new_shard"),
    ("ping", "magic"),
    ("pong", "revision_min revision_max release tick_rate load_percent players max_players rooms"),
    ("bye", "reason text.length"),
    ("data", "seq ack ack_bits ack_delay flags log_cursor reserved sections.type sections.length"),
    ("data.state", "sample_ms count stride states.entity_id states.state"),
    ("data.log_bits", "words"),
    ("data.message", "message_id kind flags channel target target_count more targets"),
    ("data.signal", f"{_SIGNAL} target target_count after_message targets"),
    ("update", "seq ack ack_bits ack_delay flags tick message_ack message_bits message_credit"),
    ("update", "sections.type sections.length"),
    ("update.page", "page layer since log_index removed_count group_count removed"),
    ("update.page.groups", "encoding count stride ids ages states"),
    ("update.log_range", "first last after"),
    ("update.log_range.entries", "index kind flags sender channel part length"),
    ("update.signal", f"{_SIGNAL} sender position"),
    ("data.message.set_property", "owner is_conditional version key.length type"),
    ("data.message.give_entity", "entity_id owner"),
    ("data.message.clear_kept", "log_index"),
    ("data.message.hand_over_host", "player_id"),
    ("data.message.kick", "player_id"),
    ("data.message.ban", "player_id flags"),
    ("data.message.lock", "is_locked"),
    ("data.message.show", "is_listed keys.length"),
    ("update.log_range.entries.player_joined", "player_id"),
    ("update.log_range.entries.player_left", "player_id reason"),
    ("update.log_range.entries.host_changed", "player_id"),
    ("update.log_range.entries.roster", "host members.player_id members.is_away members.name.length"),
    ("update.log_range.entries.player_away", "player_id"),
    ("update.log_range.entries.player_back", "player_id is_afresh"),
    ("update.log_range.entries.property_changed", "player_id owner key.length type"),
    ("update.log_range.entries.properties.properties", "version owner key.length type value.length"),
    ("update.log_range.entries.entity_owner", "entity_id owner"),
    ("update.log_range.entries.owners.owners", "entity_id owner"),
    ("update.log_range.entries.room_locked", "is_locked"),
    ("update.log_range.entries.request_refused", "message_id request reason"),
    ("update.log_range.entries.room_ready", "is_locked pages"),
    ("update.log_range.entries.kept_cleared", "player_id cleared.log_index"),
    ("update.log_range.entries.room_shown", "is_listed"),
)
PUBLIC_OPTIONS = frozenset({Option.MAX_PLAYERS, Option.ENTITIES_PER_PLAYER, Option.MAX_STATE_BYTES, Option.ROOM_FLAGS})
"""Options of JOIN whose value anybody may see. The others are keys, proofs, who somebody is, and what nobody knows yet.
Those of `schemas.OPTION_LAYOUTS` have fields of their own."""
OPTION_KEYS = frozenset({"join.options.key", "list.options.key", "welcome.options.key"})

ENTRY_PREFIX, REQUEST_PREFIX = "update.log_range.entries", "data.message"
"""What the names of fields in payloads of entries and requests begin with; the name of the kind follows."""

_OPTION_LAYOUTS = {
    f"{kind.name.lower()}.options.value": {
        int(option): (f"{kind.name.lower()}.options.{option.name.lower()}", layout)
        for option, layout in layouts.items()
    }
    for kind, layouts in schemas.OPTION_LAYOUTS.items()
}
"""Path of an option's value -> key -> (path of what lies in it, layout)."""
_GROUPING = frozenset({"header", "fields", "body"})
_SECTIONS: dict[str, type[DataSection] | type[UpdateSection]] = {"data": DataSection, "update": UpdateSection}
_SCHEMAS = {int(kind): schema for kind, schema in schemas.DATAGRAMS.items()}


def secrecy_of(path: str) -> Secrecy:
    """Tell what a capture does with a field. One that nobody classified is secret."""
    if path in PUBLIC:
        return Secrecy.PUBLIC
    return Secrecy.TEXT if path in TEXT else Secrecy.SECRET


class Span(NamedTuple):
    """Where a field is in a datagram."""

    path: str
    """Its name, as in `SECRET`."""
    start: int
    """Its first byte, counted from the datagram's."""
    stop: int
    """Behind its last byte; for a datagram that ends inside the field, behind the datagram's."""


class _EndedError(Exception):
    """The datagram ends inside a field. Never leaves this module."""


def spans_of(data: bytes) -> list[Span]:
    """Find every field of a datagram, in order, as far as it has the layout of its kind.

    The length before a text or section is a field too. Bytes in no span belong to none: padding, and whatever follows
    where the layout is broken. An unknown kind has no fields at all.

    Raises: nothing, whatever the bytes.
    """
    walk = _Walk(data)
    if data and data[0] in _SCHEMAS:
        try:
            walk.read(_SCHEMAS[data[0]], Kind(data[0]).name.lower(), 0, len(data), {})
        except _EndedError:
            pass
    return walk.spans


def _no_form(path: str, part: Construct) -> TypeError:
    return TypeError(f"{path!r} is of the class {type(part).__name__}, which nobody can find in a datagram yet")


class _Walk:
    """One reading of a datagram by its schema."""

    def __init__(self, data: bytes) -> None:
        self.spans: list[Span] = []
        self._data = data

    def read(self, part: Construct, path: str, at: int, limit: int, context: dict[str, Any]) -> tuple[int, Any]:
        """Read a part from `at`, before `limit`. Returns: where the next one begins, and the value of a number."""
        if isinstance(part, Renamed):
            return self.read(part.subcon, path if part.name in _GROUPING else f"{path}.{part.name}", at, limit, context)
        if isinstance(part, FormatField):
            at, value = self._leaf(path, at, at + part.length, limit)
            return at, int.from_bytes(value, "little")
        if isinstance(part, Bytes):
            length = part.length(context) if callable(part.length) else part.length
            return self._leaf(path, at, at + length, limit)
        if part is GreedyBytes:
            return self._leaf(path, at, limit, limit)
        if isinstance(part, Struct):
            return self._struct(part, path, at, limit, context)
        if isinstance(part, Prefixed):
            return self._prefixed(part, path, at, limit, context)
        if isinstance(part, Switch):
            return self._switch(part, path, at, limit, context)
        if isinstance(part, Array | GreedyRange):
            count = part.count(context) if isinstance(part, Array) else limit  # an element has at least one byte
            while count and (at < limit or isinstance(part, Array)):
                at, _ = self.read(part.subcon, path, at, limit, context)
                count -= 1
            return at, None
        if isinstance(part, Padded):
            return self.read(part.subcon, path, at, limit, context)
        raise _no_form(path, part)

    def _leaf(self, path: str, at: int, stop: int, limit: int) -> tuple[int, bytes]:
        self.spans.append(Span(path, at, min(stop, limit)))
        if stop > limit:
            raise _EndedError
        return stop, self._data[at:stop]

    def _struct(self, part: Struct, path: str, at: int, limit: int, context: dict[str, Any]) -> tuple[int, Any]:
        inside: dict[str, Any] = {"_": context}
        for field in part.subcons:
            if field is not Terminated:
                at, inside[field.name] = self.read(field, path, at, limit, inside)
        return at, inside

    def _prefixed(self, part: Prefixed, path: str, at: int, limit: int, context: dict[str, Any]) -> tuple[int, Any]:
        start, length = self._leaf(f"{path}.length", at, at + part.lengthfield.length, limit)
        stop = start + int.from_bytes(length, "little")
        layout = _OPTION_LAYOUTS[path].get(context["key"]) if path in _OPTION_LAYOUTS else None
        if layout is not None and stop <= limit and self._has_option(*layout, start, stop):
            return stop, None
        _, value = self.read(part.subcon, path, start, min(stop, limit), context)
        if stop > limit:
            raise _EndedError
        return stop, value

    def _has_option(self, path: str, layout: Struct, start: int, stop: int) -> bool:
        """Read an option's value by its layout. Returns: whether it is as the layout says; if not, nothing was read."""
        mark = len(self.spans)
        try:
            at, _ = self.read(layout, path, start, stop, {})
        except _EndedError:
            at = 0
        if at != stop:
            del self.spans[mark:]
        return at == stop

    def _switch(self, part: Switch, path: str, at: int, limit: int, context: dict[str, Any]) -> tuple[int, Any]:
        """Read a section's body: its fields are named by the kind and the section."""
        key = part.keyfunc(context)
        if key not in part.cases:
            return self.read(part.default, f"{path}.body", at, limit, context)
        kind = path.partition(".")[0]
        return self.read(part.cases[key], f"{kind}.{_SECTIONS[kind](key).name.lower()}", at, limit, context)


def all_paths() -> Iterator[str]:
    """Name every field that can be classified: those of all datagrams, and of what lies inside of them."""
    for kind, schema in schemas.DATAGRAMS.items():
        yield from field_paths(schema, kind.name.lower())
    for options in _OPTION_LAYOUTS.values():
        for path, layout in options.values():
            yield from field_paths(layout, path)
    for entry, schema in schemas.ENTRY_PAYLOADS.items():
        yield from field_paths(schema, f"{ENTRY_PREFIX}.{entry.name.lower()}")
    for request, schema in schemas.REQUEST_PAYLOADS.items():
        yield from field_paths(schema, f"{REQUEST_PREFIX}.{request.name.lower()}")


def field_paths(part: Construct, path: str) -> Iterator[str]:
    """Name every field of a schema: what can be classified. Raises: TypeError for a class that has no form here yet."""
    if isinstance(part, Renamed):
        yield from field_paths(part.subcon, path if part.name in _GROUPING else f"{path}.{part.name}")
    elif isinstance(part, Struct):
        for field in part.subcons:
            yield from field_paths(field, path)
    elif isinstance(part, Switch):
        kind = path.partition(".")[0]
        for key, case in part.cases.items():
            yield from field_paths(case, f"{kind}.{_SECTIONS[kind](key).name.lower()}")
        yield from field_paths(part.default, f"{path}.body")
    elif isinstance(part, FormatField | Bytes) or part is GreedyBytes:
        yield path
    elif isinstance(part, Prefixed | Array | GreedyRange | Padded):
        if isinstance(part, Prefixed):
            yield f"{path}.length"
        yield from field_paths(part.subcon, path)
    elif part is not Terminated:
        raise _no_form(path, part)
