"""Layout cases of what lasts in a room: coming back, properties, owners, kept messages, requests (SPEC 4 and 9).

Payloads are written out byte by byte, so that they share nothing with the schemas that they test.
"""

from protocol.constants import (
    ByeReason,
    EntryKind,
    JoinMode,
    Kind,
    MessageFlag,
    Option,
    PropertyType,
    RequestKind,
    RequestRefusal,
    Resumed,
    UpdateSection,
)
from tools.generate import vector_values as made
from tools.generate.vector_values import Case

SERVER = ROOM = WHOEVER_IS_HOST = b"\xff\xff"
"""Player id 65535, for what it stands."""


def _u16(number: int) -> bytes:
    return number.to_bytes(2, "little")


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _text(data: bytes) -> bytes:
    """Bytes behind their length."""
    return bytes([len(data)]) + data


def room_cases() -> list[Case]:
    """Make the cases."""
    return _resume_cases() + _told_cases() + _entry_cases() + _request_cases()


def _resume_cases() -> list[Case]:
    resume = made.OLD_SESSION.to_bytes(8, "little") + _u32(65_539) + made.RESUME_PROOF
    from_the_begin = made.OLD_SESSION.to_bytes(8, "little") + _u32(0) + made.RESUME_PROOF
    return [
        (
            "come back behind log index 65539",
            Kind.JOIN,
            made.join([(Option.RESUME, resume), (Option.IDENTITY, made.IDENTITY)], mode=JoinMode.RESUME),
        ),
        (
            "come back and know nothing any more",
            Kind.JOIN,
            made.join([(Option.RESUME, from_the_begin)], mode=JoinMode.RESUME, name=bytes(32)),
        ),
        (
            "welcome back: the log goes on",
            Kind.WELCOME,
            made.welcome([], resumed=Resumed.CONTINUED, message_id=17, message_credit=49, log_index=65_539),
        ),
        (
            "welcome back afresh, to a room where everybody sets properties",
            Kind.WELCOME,
            made.welcome([], resumed=Resumed.AFRESH, message_id=17, message_credit=49, room_flags=1, grace_s=65_535),
        ),
        (
            "a welcome of a server that keeps no places",
            Kind.WELCOME,
            made.welcome([], grace_s=0),
        ),
    ]


def _entries(first: int, *entries: tuple[EntryKind, bytes]) -> tuple[int, object]:
    """A range of the server's entries, from index `first` on."""
    built = [
        made.entry(first + i, payload, kind=kind, sender=int.from_bytes(SERVER, "little"))
        for i, (kind, payload) in enumerate(entries)
    ]
    return UpdateSection.LOG_RANGE, made.log_range(first, first + len(entries) - 1, first - 1, *built)


def _told_cases() -> list[Case]:
    """What somebody is told who joins a room where much has happened."""
    properties = [
        _u32(7) + ROOM + _text(b"map") + bytes([PropertyType.TEXT]) + _text("Görlitz".encode()),
        _u32(65_541)
        + ROOM
        + _text(b"round")
        + bytes([PropertyType.INT])
        + _text((-3).to_bytes(8, "little", signed=True)),
        _u32(12) + _u16(1) + _text(b"ready") + bytes([PropertyType.BOOL]) + _text(b"\x01"),
        _u32(13) + _u16(1) + _text(b"speed") + bytes([PropertyType.FLOAT]) + _text(bytes.fromhex("000000000000f83f")),
        _u32(14) + _u16(2) + _text(b"skin") + bytes([PropertyType.BYTES]) + _text(b""),
    ]
    flags = MessageFlag.KEEP | MessageFlag.KEPT
    kept = made.entry(65_545, _u32(19) + b"door 4 is open", flags=flags, sender=1, channel=2)
    orphan = made.entry(
        65_546,
        _u32(65_540) + b"wall at 9",
        kind=111,
        flags=MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER | MessageFlag.KEPT,
        sender=65_535,
    )
    told = _entries(
        65_542,
        (EntryKind.ROSTER, _u16(1) + _u16(1) + b"\0" + _text(b"Bob") + _u16(2) + b"\1" + _text(b"Eve")),
        (EntryKind.PROPERTIES, b"".join(properties)),
        (EntryKind.OWNERS, _u16(33) + _u16(2) + _u16(34) + WHOEVER_IS_HOST),
    )
    ready = _entries(65_547, (EntryKind.PLAYER_JOINED, _u16(3) + b"Ada"), (EntryKind.ROOM_READY, b"\0" + b"\x05\x80"))
    return [
        ("all that a joiner is told before the kept messages", Kind.UPDATE, made.update(told)),
        (
            "kept messages, one of a sender who left",
            Kind.UPDATE,
            made.update((UpdateSection.LOG_RANGE, made.log_range(65_545, 65_546, 65_544, kept, orphan))),
        ),
        ("a joiner is ready when pages 0, 2 and 15 are here", Kind.UPDATE, made.update(ready)),
        (
            "a locked room without anything",
            Kind.UPDATE,
            made.update(
                _entries(2, (EntryKind.PROPERTIES, b""), (EntryKind.OWNERS, b""), (EntryKind.ROOM_READY, b"\1"))
            ),
        ),
    ]


def _entry_cases() -> list[Case]:
    def told(kind: EntryKind, payload: bytes) -> dict[str, object]:
        return made.update(_entries(65_600, (kind, payload)))

    refused = _u16(65_535) + bytes([RequestKind.SET_PROPERTY, RequestRefusal.CHANGED])
    changed = _u16(3) + ROOM + _text(b"round") + bytes([PropertyType.INT]) + bytes.fromhex("0400000000000000")
    gone = _u16(1) + _u16(1) + _text("Zoë".encode()) + bytes([PropertyType.NONE])
    host_away = _entries(65_600, (EntryKind.PLAYER_AWAY, _u16(1)), (EntryKind.HOST_CHANGED, _u16(2)))
    return [
        ("the host is away and somebody else is host", Kind.UPDATE, made.update(host_away)),
        ("a player is back", Kind.UPDATE, told(EntryKind.PLAYER_BACK, _u16(1) + b"\0")),
        ("a player is back and knows nothing any more", Kind.UPDATE, told(EntryKind.PLAYER_BACK, _u16(1) + b"\1")),
        ("a property of the room is set", Kind.UPDATE, told(EntryKind.PROPERTY_CHANGED, changed)),
        ("a player's property is removed", Kind.UPDATE, told(EntryKind.PROPERTY_CHANGED, gone)),
        ("an entity is handed over", Kind.UPDATE, told(EntryKind.ENTITY_OWNER, _u16(35) + _u16(1))),
        (
            "an entity is handed to whoever is host",
            Kind.UPDATE,
            told(EntryKind.ENTITY_OWNER, _u16(35) + WHOEVER_IS_HOST),
        ),
        ("the room is locked", Kind.UPDATE, told(EntryKind.ROOM_LOCKED, b"\1")),
        ("the room is open again", Kind.UPDATE, told(EntryKind.ROOM_LOCKED, b"\0")),
        (
            "kept messages are cleared",
            Kind.UPDATE,
            told(EntryKind.KEPT_CLEARED, _u16(1) + _u32(19) + _u32(65_540)),
        ),
        ("a request is refused", Kind.UPDATE, told(EntryKind.REQUEST_REFUSED, refused)),
        ("a player was banned", Kind.UPDATE, told(EntryKind.PLAYER_LEFT, _u16(2) + bytes([ByeReason.BANNED]))),
    ]


def _request_cases() -> list[Case]:
    def asked(kind: int, payload: bytes) -> dict[str, object]:
        return made.data(made.message(5, payload, kind=kind))

    text = bytes([PropertyType.TEXT])
    return [
        (
            "a message to keep, beyond its sender's leave",
            Kind.DATA,
            made.data(made.message(6, b"wall at 9", flags=MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER)),
        ),
        (
            "asks for a property of the room",
            Kind.DATA,
            asked(RequestKind.SET_PROPERTY, ROOM + b"\0" + _u32(0) + _text(b"map") + text + "Görlitz".encode()),
        ),
        (
            "asks to remove a property of its own if it is version 65541",
            Kind.DATA,
            asked(RequestKind.SET_PROPERTY, _u16(3) + b"\1" + _u32(65_541) + _text(b"team") + b"\0"),
        ),
        ("asks to hand an entity over", Kind.DATA, asked(RequestKind.GIVE_ENTITY, _u16(35) + _u16(1))),
        ("asks to clear all that it may clear", Kind.DATA, asked(RequestKind.CLEAR_KEPT, _u32(0))),
        ("asks to make another host", Kind.DATA, asked(RequestKind.HAND_OVER_HOST, _u16(1))),
        ("asks to remove a player", Kind.DATA, asked(RequestKind.KICK, _u16(2) + b"Be nice.")),
        ("asks to ban a player and its address", Kind.DATA, asked(RequestKind.BAN, _u16(2) + b"\1")),
        ("asks to lock the room", Kind.DATA, asked(RequestKind.LOCK, b"\1")),
        ("asks for something of a later revision", Kind.DATA, asked(127, b"later")),
    ]
