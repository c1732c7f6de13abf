"""Layout cases of finding rooms: games and versions, lists, quick matches, and what a host shows (SPEC 4 and 9).

Payloads are written out byte by byte, so that they share nothing with the schemas that they test.
"""

from typing import Any

from protocol.constants import (
    EntryKind,
    JoinMode,
    Kind,
    ListedFlag,
    ListFlag,
    Option,
    PropertyType,
    RequestKind,
    RoomFlag,
    UpdateSection,
)
from tools.generate import vector_values as made
from tools.generate.vector_values import Case


def _text(data: bytes) -> bytes:
    """Bytes behind their length."""
    return bytes([len(data)]) + data


def _property(key: bytes, kind: PropertyType, value: bytes) -> bytes:
    return _text(key) + bytes([kind]) + _text(value)


_MAP = _property(b"map", PropertyType.TEXT, "Görlitz".encode())
_GAME: list[tuple[int, bytes]] = [(Option.GAME, b"org.example.kart"), (Option.GAME_VERSION, b"2.3")]
_ABOUT: list[tuple[int, bytes]] = [
    *_GAME,
    (Option.ROOM_NAME, "Adas Rennstrecke Ω".encode()),
    (Option.TAGS, _text(b"ranked") + _text(b"duo")),
    (Option.SHOWN, _text(b"map") + _text(b"laps")),
    (Option.PROPERTIES, _MAP + _property(b"laps", PropertyType.INT, (3).to_bytes(8, "little"))),
]


def finding_cases() -> list[Case]:
    """Make the cases."""
    return [*_join_cases(), *_list_cases(), *_rooms_cases(), *_shown_cases()]


def _join_cases() -> list[Case]:
    numbers: list[tuple[int, bytes]] = [
        (Option.MAX_PLAYERS, b"\x04\x00"),
        (Option.ENTITIES_PER_PLAYER, b"\x02\x00"),
        (Option.MAX_STATE_BYTES, b"\x18"),
        (Option.IDENTITY, made.IDENTITY),
    ]
    listed = bytes([RoomFlag.ANYONE_SETS | RoomFlag.LISTED])
    return [
        (
            "create a listed room with every option that lists show",
            Kind.JOIN,
            made.join([*numbers, (Option.ROOM_FLAGS, listed), *_ABOUT], mode=JoinMode.CREATE),
        ),
        (
            "a quick match by tags and a property",
            Kind.JOIN,
            made.join([*numbers, *_GAME, _ABOUT[3], (Option.PROPERTIES, _MAP)], mode=JoinMode.QUICK, code=bytes(16)),
        ),
        ("join a room of another version of the game", Kind.JOIN, made.join(_GAME, mode=JoinMode.JOIN)),
    ]


def _list(options: list[tuple[int, bytes]], **fields: int) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": Kind.LIST,
        "shard": 0,
        "nonce": made.NONCE,
        "cookie": made.COOKIE,
        "revision": 1,
        "features": 0,
        "after": 0,
        "flags": 0,
    }
    return {"fields": value | fields, "options": [{"key": key, "value": data} for key, data in options]}


def _list_cases() -> list[Case]:
    wish: list[tuple[int, bytes]] = [*_GAME, _ABOUT[3], (Option.PROPERTIES, _MAP)]
    return [
        ("list the rooms of games without an id", Kind.LIST, _list([])),
        ("list the open rooms that suit, from the first on", Kind.LIST, _list(wish, flags=ListFlag.OPEN_ONLY)),
        ("list the rooms of a game, behind serial 70000", Kind.LIST, _list(_GAME[:1], after=70_000)),
    ]


def _room(code: str, players: int, flags: int, name: bytes, *properties: bytes, tags: tuple[bytes, ...] = ()) -> Any:
    def property_of(data: bytes) -> dict[str, Any]:
        key, rest = data[1 : 1 + data[0]], data[1 + data[0] :]
        return {"key": key, "type": rest[0], "value": rest[2:]}

    return {
        "fields": {"code": made.padded(code, 16), "players": players, "max_players": 4, "flags": flags},
        "body": {
            "name": name,
            "version": b"2.3",
            "tags": {"texts": list(tags)},
            "properties": {"properties": list(map(property_of, properties))},
        },
    }


def _rooms(region: bytes, *rooms: Any, **fields: int) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": Kind.ROOMS,
        "shard": 0,
        "nonce": made.NONCE,
        "after": 0,
        "next": 0,
        "num_listed": len(rooms),
    }
    return {"fields": value | fields, "region": region, "rooms": list(rooms)}


def _rooms_cases() -> list[Case]:
    full = _room("LOBBY", 4, 0, "Adas Rennstrecke Ω".encode(), _MAP, tags=(b"ranked", b"duo"))
    locked = _room("K3XW7P", 1, ListedFlag.LOCKED | ListedFlag.PASSWORD, b"")
    return [
        ("no rooms are listed", Kind.ROOMS, _rooms(b"")),
        (
            "a page of two rooms, and more behind serial 70009",
            Kind.ROOMS,
            _rooms(b"eu-west", full, locked, after=70_000, next=70_009, num_listed=40),
        ),
        ("a page without a room that suits, and more to look at", Kind.ROOMS, _rooms(b"", next=256, num_listed=300)),
    ]


def _shown_cases() -> list[Case]:
    def told(payload: bytes) -> dict[str, Any]:
        entry = made.entry(65_600, payload, kind=EntryKind.ROOM_SHOWN, sender=65_535)
        return made.update((UpdateSection.LOG_RANGE, made.log_range(65_600, 65_600, 65_599, entry)))

    def asked(payload: bytes) -> dict[str, Any]:
        return made.data(made.message(5, payload, kind=RequestKind.SHOW))

    return [
        ("the room is listed", Kind.UPDATE, told(b"\1")),
        ("the room is hidden", Kind.UPDATE, told(b"\0")),
        ("asks to list the room, with two of its properties", Kind.DATA, asked(b"\1" + _text(b"map") + _text(b"laps"))),
        ("asks to hide the room", Kind.DATA, asked(b"\0")),
    ]
