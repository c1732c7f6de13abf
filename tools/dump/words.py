"""What a datagram says, in a few words: the last column of a line, and the meanings of single fields."""

from collections.abc import Callable, Iterator
from enum import IntFlag
from typing import Any

from protocol.constants import (
    ACK_BITS,
    ACK_DELAY_MAX_MS,
    FIRST_REQUEST_KIND,
    MAX_PLAYER_KIND,
    PART_MORE,
    AckFlag,
    ByeReason,
    DataSection,
    EntryKind,
    JoinMode,
    Kind,
    ListedFlag,
    ListFlag,
    MessageFlag,
    Option,
    PropertyType,
    Refusal,
    RequestKind,
    Resumed,
    RoomFlag,
    SignalFlag,
    Target,
    UpdateSection,
)
from tools.dump.fields import id_text
from tools.dump.payloads import flags_text, say_entry, say_kept_copy, say_listed, say_option, say_request
from tools.dump.sessions import name_of, printable, text_of

MAX_PARTS_SHOWN = 6
"""Sections of one datagram that a line names; the rest is a count."""


def say(value: Any) -> str:
    """Describe a decoded datagram in a few words. `value`: what the codec returned, not a DropReason."""
    kind = (value.header if "header" in value else value.fields if "fields" in value else value).kind
    return _SAYINGS[Kind(kind)](value)


# --- DATA and UPDATE


def _acks(header: Any) -> str:
    if header.flags & AckFlag.NOTHING_RECEIVED:
        return f"seq {header.seq} ack none"
    holes = min(ACK_BITS, header.ack - 1) - header.ack_bits.bit_count()
    missing = f" ({holes} of {ACK_BITS} before it missing)" if holes > 0 and header.ack > 1 else ""
    more = "+" if header.ack_delay == ACK_DELAY_MAX_MS else ""
    return f"seq {header.seq} ack {header.ack}{missing} after {header.ack_delay}{more} ms"


def say_header(kind: int, header: Any) -> str:
    """Describe the header of a DATA or an UPDATE, which may be all that can be read of it."""
    if kind == Kind.DATA:
        return f"{_acks(header)} log {header.log_cursor}"
    return f"{_acks(header)} messages {header.message_ack} of {header.message_credit}  tick {header.tick}"


def _data(value: Any) -> str:
    return "  ".join([say_header(Kind.DATA, value.header), _list(map(_up_section, value.sections))])


def _update(value: Any) -> str:
    sections = _list(_down_section(section, value.header.tick) for section in value.sections)
    return "  ".join([say_header(Kind.UPDATE, value.header), sections])


def _list(parts: Iterator[str]) -> str:
    shown = list(parts)
    more = [f"{len(shown) - MAX_PARTS_SHOWN} more sections"] if len(shown) > MAX_PARTS_SHOWN else []
    return ", ".join(shown[:MAX_PARTS_SHOWN] + more) or "bare"


def _up_section(section: Any) -> str:
    body = section.body
    if section.type == DataSection.STATE:
        ids = " ".join(str(state.entity_id) for state in body.states[:4]) + (" ..." if len(body.states) > 4 else "")
        what = f"x{body.header.stride} B" if body.header.stride else " removed"
        return f"STATE {body.header.count}{what} (ids {ids})"
    if section.type == DataSection.LOG_BITS:
        return f"LOG_BITS {sum(word.bit_count() for word in body.words)} beyond"
    if section.type == DataSection.MESSAGE:
        return _message(body)
    if section.type == DataSection.SIGNAL:
        return f"SIGNAL {body.header.sequence} {len(body.payload)} B {_target(body)}"
    return _unknown_section(section)


def _message(body: Any) -> str:
    header = body.header
    name = f"MESSAGE {header.message_id}{'+' if header.more else ''}"
    if header.kind < FIRST_REQUEST_KIND:
        flags = flags_text(MessageFlag, header.flags)
        return f"{name} {len(body.payload)} B {_target(body)}{f' {flags}' if flags else ''}"
    said = say_request(header.kind, body.payload) or f"{len(body.payload)} B"
    return f"{name} {_kind_of_message(header.kind)} {said}"


def _kind_of_message(kind: int) -> str:
    """Name what a message asks for."""
    name = name_of(RequestKind, kind)
    return f"request {name}" if name.isdigit() else name


def _down_section(section: Any, tick: int) -> str:
    body = section.body
    if section.type == UpdateSection.PAGE:
        return _page(body, tick)
    if section.type == UpdateSection.LOG_RANGE:
        entries = " ".join(_entry(entry) for entry in body.entries[:4]) + (" ..." if len(body.entries) > 4 else "")
        return f"LOG {body.header.first}..{body.header.last} [{entries}]"
    if section.type == UpdateSection.SIGNAL:
        return f"SIGNAL {body.header.sequence} of {body.header.sender} {len(body.payload)} B"
    return _unknown_section(section)


def _page(body: Any, tick: int) -> str:
    since = body.header.since
    base = f"since {since} ({tick - since} ticks)" if since else "full"
    states = " ".join(f"{group.header.count}x{group.header.stride} B" for group in body.groups) or "no states"
    removed = f" removed {len(body.removed)}" if body.removed else ""
    return f"PAGE {body.header.page} {base} {states}{removed}"


def _entry(entry: Any) -> str:
    header = entry.header
    if header.kind > MAX_PLAYER_KIND:
        name = name_of(EntryKind, header.kind)
    elif header.flags & MessageFlag.KEPT:
        name = say_kept_copy(header.sender, entry.payload)
    else:
        name = f"{len(entry.payload)} B of {header.sender}"
    flags = flags_text(MessageFlag, header.flags)
    return f"{header.index}:{name}{'+' if header.part & PART_MORE else ''}{f' {flags}' if flags else ''}"


def _target(body: Any) -> str:
    ids = " ".join(map(str, body.targets[:4])) + (" ..." if len(body.targets) > 4 else "")
    return f"to {name_of(Target, body.header.target)}{f' {ids}' if ids else ''}"


def _unknown_section(section: Any) -> str:
    return f"section {section.type} of {len(section.body)} B"


# --- all others


def _hello(v: Any) -> str:
    client = f"{text_of(v.client_name)} {text_of(v.client_release)}".strip()
    return f"revisions {v.revision_min} to {v.revision_max}, features {v.features:#x}, client {client or '-'}"


def _options(v: Any) -> str:
    return ", ".join(
        f"{name_of(Option, option.key).lower()} {say_option(option.key, option.value)}" for option in v.options
    )


def _join(v: Any) -> str:
    options = _options(v)
    code = text_of(v.fields.code) or "(made up by the relay)"
    return f"{name_of(JoinMode, v.fields.mode)} {code} as {text_of(v.fields.name)}{f', {options}' if options else ''}"


def _welcome(v: Any) -> str:
    f = v.fields
    flags = flags_text(RoomFlag, f.room_flags)
    return (
        f"session {id_text(f.session)}, player {f.player_id} of {f.player_slots} slots in {text_of(f.code)}, "
        f"{f.tick_rate} ticks/s, tick {f.tick}, log {f.log_index}, kept {f.grace_s} s"
        f"{f', resumed {name_of(Resumed, f.resumed)}' if f.resumed else ''}{f', {flags}' if flags else ''}"
    )


def _refuse(v: Any) -> str:
    return f"{name_of(Refusal, v.reason)}: {printable(v.text)}"


def _list_of_rooms(v: Any) -> str:
    flags, options = flags_text(ListFlag, v.fields.flags), _options(v)
    return f"behind {v.fields.after}{f', {flags}' if flags else ''}{f', {options}' if options else ''}"


def _rooms(v: Any) -> str:
    more = [f"{len(v.rooms) - MAX_PARTS_SHOWN} more rooms"] if len(v.rooms) > MAX_PARTS_SHOWN else []
    shown = "; ".join([*map(say_listed, v.rooms[:MAX_PARTS_SHOWN]), *more]) or "none"
    region = f" in {printable(v.region)}" if v.region else ""
    next_page = f", next behind {v.fields.next}" if v.fields.next else ""
    return f"behind {v.fields.after}{region}: {shown}, of {v.fields.num_listed} listed{next_page}"


def _pong(v: Any) -> str:
    has_region = v.later and v.later[0] and v.later[0] < len(v.later)
    region = f" in {printable(v.later[1 : 1 + v.later[0]])}" if has_region else ""
    return (
        f"{text_of(v.release)}{region}, load {v.load_percent} %, {v.players} of {v.max_players} players, "
        f"{v.rooms} rooms"
    )


_SAYINGS: dict[Kind, Callable[[Any], str]] = {
    Kind.HELLO: _hello,
    Kind.CHALLENGE: lambda v: f"revision {v.revision}, features {v.features:#x}",
    Kind.JOIN: _join,
    Kind.WELCOME: _welcome,
    Kind.REFUSE: _refuse,
    Kind.REDIRECT: lambda v: f"to {v.host.hex()} port {v.port} shard {v.new_shard}",
    Kind.PING: lambda v: f"nonce {id_text(v.nonce)}",
    Kind.PONG: _pong,
    Kind.BYE: lambda v: f"{name_of(ByeReason, v.reason)}: {printable(v.text)}",
    Kind.RESET: lambda v: f"session {id_text(v.session)} is not known",
    Kind.PATH_CHALLENGE: lambda v: f"challenge {id_text(v.challenge)}",
    Kind.PATH_RESPONSE: lambda v: f"challenge {id_text(v.challenge)}",
    Kind.LIST: _list_of_rooms,
    Kind.ROOMS: _rooms,
    Kind.DATA: _data,
    Kind.UPDATE: _update,
}

# --- meanings of single fields


class Meanings:
    """Tells what the fields of one datagram mean where a number does not say it. They are asked for in wire order: what
    a field means may depend on those before it.
    """

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._section = self._inner_kind = self._key = 0

    def of(self, path: str, value: Any) -> str:
        """Tell what a field's value means. `path`: as in `fields.Field`. Returns: empty if there is nothing to add."""
        name = path.rpartition(".")[2]
        self._note(path, name, value)
        if isinstance(value, bytes):
            return self._of_bytes(path, name, value)
        enum = self._enum_of(path, name)
        if enum is None:
            return ""
        if issubclass(enum, IntFlag):
            return flags_text(enum, value)
        shown = name_of(enum, value)
        return "" if shown.isdigit() else shown

    def _note(self, path: str, name: str, value: Any) -> None:
        if name == "type":
            self._section = value
        elif name == "key":
            self._key = value
        elif name == "kind" and ".header." in path:
            self._inner_kind = value

    def _of_bytes(self, path: str, name: str, value: bytes) -> str:
        if name in ("code", "name", "client_name", "client_release", "release", "region", "text", "version"):
            return repr(text_of(value))
        if name == "payload" and ".entries[" in path:
            return say_entry(self._inner_kind, value)
        if name == "payload" and self._is_message:
            return say_request(self._inner_kind, value)
        return say_option(self._key, value) if name == "value" and self._kind in (Kind.JOIN, Kind.LIST) else ""

    @property
    def _is_message(self) -> bool:
        return self._kind == Kind.DATA and self._section == DataSection.MESSAGE

    def _enum_of(self, path: str, name: str) -> Any:
        """Find the enumeration of a field, None if it has none."""
        if path == "kind" or path in ("header.kind", "fields.kind"):
            return Kind
        if name == "reason":
            return Refusal if self._kind == Kind.REFUSE else ByeReason
        if name == "flags" and self._kind in (Kind.LIST, Kind.ROOMS):
            return ListFlag if self._kind == Kind.LIST else ListedFlag
        if name == "type" and self._kind == Kind.ROOMS:
            return PropertyType
        if name == "type":
            return DataSection if self._kind == Kind.DATA else UpdateSection
        is_entry = ".entries[" in path
        if name == "kind" and (is_entry or self._is_message):
            return EntryKind if is_entry or self._inner_kind < FIRST_REQUEST_KIND else RequestKind
        if name == "flags" and path != "header.flags":
            return MessageFlag if is_entry or self._is_message else SignalFlag
        return _ENUMS.get(name)


_ENUMS = {
    "flags": AckFlag,
    "mode": JoinMode,
    "target": Target,
    "key": Option,
    "resumed": Resumed,
    "room_flags": RoomFlag,
}
"""Those of fields whose name alone tells."""
