"""What the creator of a room may choose, and how JOIN says it (SPEC 4, options)."""

from dataclasses import dataclass
from typing import NamedTuple

from construct import ConstructError

from protocol import dtypes, schemas
from protocol.constants import (
    GAME_BYTES,
    GAME_VERSION_BYTES,
    MAX_ENTITIES_PER_PLAYER,
    MAX_ENTITY_IDS,
    MAX_KEY_BYTES,
    MAX_PAGES,
    MAX_SHOWN,
    MAX_STATE_BYTES,
    MAX_TAGS,
    ROOM_KEY_BYTES,
    ROOM_NAME_BYTES,
    TAG_BYTES,
    Option,
    Refusal,
    RoomFlag,
)
from protocol.properties import is_key, is_label, is_value
from relay.config import RelayConfig

DEFAULT_STATE_BYTES = 32
_FLAGS = RoomFlag.ANYONE_SETS | RoomFlag.LISTED
"""Flags that this relay knows."""


@dataclass(frozen=True)
class Refused:
    """Why something is refused."""

    reason: Refusal
    text: str = ""
    """Empty: the standard text of the reason."""


class Given(NamedTuple):
    """A property of a room that is to be opened, or that is looked for."""

    key: bytes
    type: int
    value: bytes


@dataclass(frozen=True, kw_only=True)
class RoomOptions:
    """What a room's creator chose, checked."""

    max_players: int
    entities_per_player: int
    max_state_bytes: int
    room_key: bytes = b""
    """32 bytes, or empty: no password."""
    flags: int = 0
    """`RoomFlag`s."""
    game: bytes = b""
    """Which game it is; players of another do not see it."""
    version: bytes = b""
    """Version of the game; players of another are refused."""
    name: bytes = b""
    """What lists show beside the code, UTF-8."""
    tags: tuple[bytes, ...] = ()
    shown: tuple[bytes, ...] = ()
    """Keys of the room's properties that lists show."""
    properties: tuple[Given, ...] = ()
    """Properties that the room begins with."""

    @property
    def slots(self) -> int:
        """Player ids of the room: twice its players, so that ids can rest before they are used again."""
        return 2 * self.max_players


def read_room_options(options: dict[int, bytes], config: RelayConfig) -> RoomOptions | Refused:
    """Read the options of a room to be created, or to be looked for; those not given have their defaults."""
    limits = (
        (Option.MAX_PLAYERS, 2, min(config.default_room_players, config.max_room_players), config.max_room_players),
        (Option.ENTITIES_PER_PLAYER, 2, 1, MAX_ENTITIES_PER_PLAYER),
        (Option.MAX_STATE_BYTES, 1, DEFAULT_STATE_BYTES, MAX_STATE_BYTES),
    )
    values = []
    for key, size, default, highest in limits:
        raw = options.get(key)
        value = default if raw is None else int.from_bytes(raw, "little")
        if (raw is not None and len(raw) != size) or not 1 <= value <= highest:
            return Refused(Refusal.BAD_OPTIONS, f"{key.name.lower()} must be 1 to {highest} on this relay.")
        values.append(value)
    key_bytes, flags = options.get(Option.ROOM_KEY, b""), options.get(Option.ROOM_FLAGS, b"\0")
    labels, tags, name = read_labels(options), read_tags(options), options.get(Option.ROOM_NAME, b"")
    shown = _read_texts(options.get(Option.SHOWN, b""), MAX_SHOWN, MAX_KEY_BYTES)
    properties = read_properties(options)
    if len(key_bytes) not in (0, ROOM_KEY_BYTES) or len(flags) != 1 or not is_label(name, ROOM_NAME_BYTES):
        return Refused(Refusal.BAD_OPTIONS)
    if labels is None or tags is None or shown is None or properties is None:
        return Refused(Refusal.BAD_OPTIONS)
    players, per_player, state_bytes = values
    game, version = labels
    chosen = RoomOptions(
        max_players=players,
        entities_per_player=per_player,
        max_state_bytes=state_bytes,
        room_key=key_bytes,
        flags=flags[0] & _FLAGS,
        game=game,
        version=version,
        name=name,
        tags=tags,
        shown=shown,
        properties=properties,
    )
    if chosen.slots * per_player > MAX_ENTITY_IDS:
        return Refused(Refusal.BAD_OPTIONS, f"{players} players with {per_player} entities each are too many.")
    if dtypes.num_pages(chosen.slots, per_player, state_bytes) > MAX_PAGES:
        return Refused(Refusal.BAD_OPTIONS, "players x entities x state size is too large for one room.")
    return chosen


def read_labels(options: dict[int, bytes]) -> tuple[bytes, bytes] | None:
    """Read game and version; None if one of them is no label."""
    game, version = options.get(Option.GAME, b""), options.get(Option.GAME_VERSION, b"")
    is_good = is_label(game, GAME_BYTES) and is_label(version, GAME_VERSION_BYTES)
    return (game, version) if is_good else None


def read_tags(options: dict[int, bytes]) -> tuple[bytes, ...] | None:
    """Read a room's tags, or those that are looked for; None if they are none."""
    return _read_texts(options.get(Option.TAGS, b""), MAX_TAGS, TAG_BYTES)


def read_properties(options: dict[int, bytes]) -> tuple[Given, ...] | None:
    """Read the properties that a room begins with, or must have to be found; None if they are none."""
    value = options.get(Option.PROPERTIES, b"")
    if not value:
        return ()
    try:
        listed = schemas.PLAIN_PROPERTIES.parse(value).properties
    except ConstructError:
        return None
    given = tuple(Given(one.key, one.type, one.value) for one in listed)
    are_good = all(is_key(one.key) and one.type and is_value(one.type, one.value) for one in given)
    return given if are_good and len({one.key for one in given}) == len(given) <= MAX_SHOWN else None


def _read_texts(value: bytes, most: int, longest: int) -> tuple[bytes, ...] | None:
    if not value:
        return ()
    try:
        texts = tuple(schemas.TEXTS.parse(value).texts)
    except ConstructError:
        return None
    return texts if len(texts) <= most and all(text and is_label(text, longest) for text in texts) else None
