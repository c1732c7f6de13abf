"""What a room knows beside its table and log: properties, kept messages, entities handed over, bans (SPEC 9).

All of it could be read from the log since the room began. The log forgets what all have read, so this is the reading.
"""

from collections import deque
from dataclasses import dataclass, field

from protocol import schemas
from protocol.constants import (
    MAX_BANS,
    MAX_KEPT_BYTES,
    MAX_KEPT_MESSAGES,
    MAX_PLAYER_PROPERTIES,
    MAX_PLAYER_PROPERTY_BYTES,
    MAX_ROOM_PROPERTIES,
    MAX_ROOM_PROPERTY_BYTES,
    NO_PLAYER,
    OTHERS_SHARE,
    PLAYERS_SHARE,
    MessageFlag,
    PropertyType,
)
from relay.addresses import host_of, is_loopback

LIST_BYTES = 1000
"""An entry that lists something for a joiner lists as much as fits this: it stays below one fragment of 1,024 bytes."""


@dataclass(frozen=True)
class Property:
    """The newest value of one key."""

    version: int
    """Index of the log entry that set it."""
    type: int
    value: bytes


class Properties:
    """Properties of a room and of its players, by owner: a player id, or NO_PLAYER for the room."""

    def __init__(self) -> None:
        self.by_owner: dict[int, dict[bytes, Property]] = {}
        self._told: list[bytes] | None = None

    def version(self, owner: int, key: bytes) -> int:
        """Return the version of a property, 0 if there is none."""
        found = self.by_owner.get(owner, {}).get(key)
        return found.version if found is not None else 0

    def fits(self, owner: int, key: bytes, kind: int, value: bytes) -> bool:
        """Tell whether a property may be set without going over the owner's caps."""
        if kind == PropertyType.NONE:
            return True
        is_room = owner == NO_PLAYER
        others = {name: found for name, found in self.by_owner.get(owner, {}).items() if name != key}
        size = sum(len(name) + len(found.value) for name, found in others.items()) + len(key) + len(value)
        most = MAX_ROOM_PROPERTIES if is_room else MAX_PLAYER_PROPERTIES
        return len(others) < most and size <= (MAX_ROOM_PROPERTY_BYTES if is_room else MAX_PLAYER_PROPERTY_BYTES)

    def set(self, owner: int, key: bytes, found: Property) -> None:
        """Set or remove a property."""
        self._told = None
        of_owner = self.by_owner.setdefault(owner, {})
        if found.type == PropertyType.NONE:
            of_owner.pop(key, None)
        else:
            of_owner[key] = found

    def forget(self, owner: int) -> None:
        """Remove all of a player who leaves."""
        if self.by_owner.pop(owner, None):
            self._told = None

    def told(self) -> list[bytes]:
        """Return the PROPERTIES entries for one who joins. Built anew only after a change: many may join at once."""
        if self._told is None:
            self._told = chunks(
                [
                    schemas.PROPERTY.build(
                        {"version": one.version, "owner": owner, "key": key, "type": one.type, "value": one.value}
                    )
                    for owner, of_owner in self.by_owner.items()
                    for key, one in of_owner.items()
                ]
            )
        return self._told


def chunks(records: list[bytes]) -> list[bytes]:
    """Join records into payloads of at most LIST_BYTES each."""
    joined: list[bytes] = []
    for record in records:
        if joined and len(joined[-1]) + len(record) <= LIST_BYTES:
            joined[-1] += record
        else:
            joined.append(record)
    return joined


def has_room(num_all: int, num_own: int, num_more: int, cap: int, is_hosts: bool) -> bool:
    """Tell whether a player may have more of what a room shares: one who passes by must not use up all (SPEC 9)."""
    if is_hosts:
        return num_all + num_more <= cap
    return num_all + num_more <= cap // OTHERS_SHARE and num_own + num_more <= cap // PLAYERS_SHARE


@dataclass(frozen=True)
class Kept:
    """A message that a room keeps for those who join later."""

    sender: int
    """Player id, NO_PLAYER when that player has left."""
    kind: int
    flags: int
    channel: int
    payload: bytes


class KeptMessages:
    """Messages kept, by log index, oldest first."""

    def __init__(self) -> None:
        self.by_index: dict[int, Kept] = {}
        self._num_bytes = 0

    def fits(self, num_bytes: int, sender: int, is_hosts: bool) -> bool:
        """Tell whether a player may have a message of so many bytes kept; for others than the host there is less."""
        mine = [len(kept.payload) for kept in self.by_index.values() if kept.sender == sender]
        return has_room(len(self.by_index), len(mine), 1, MAX_KEPT_MESSAGES, is_hosts) and has_room(
            self._num_bytes, sum(mine), num_bytes, MAX_KEPT_BYTES, is_hosts
        )

    def keep(self, index: int, message: Kept) -> None:
        """Keep a message that `fits`."""
        self.by_index[index] = message
        self._num_bytes += len(message.payload)

    def clear(self, index: int) -> None:
        """Keep a message no longer."""
        self._num_bytes -= len(self.by_index.pop(index).payload)

    def on_left(self, player_id: int) -> None:
        """Forget what a player who leaves has said, and who said what outlives it."""
        for index, message in list(self.by_index.items()):
            if message.sender != player_id:
                continue
            if message.flags & MessageFlag.OUTLIVES_SENDER:
                self.by_index[index] = Kept(NO_PLAYER, message.kind, message.flags, message.channel, message.payload)
            else:
                self.clear(index)


class Bans:
    """Who may not come back, for the room's life. Beyond the cap the oldest is forgotten."""

    def __init__(self) -> None:
        self._bans: deque[tuple[bytes, bytes]] = deque(maxlen=MAX_BANS)
        """(identity or b"", host or b"")."""

    def add(self, identity: bytes, address: bytes, with_address: bool) -> None:
        """Ban a player by identity, and by its address too if asked to or if it gave no identity."""
        host = b"" if is_loopback(address) or (identity and not with_address) else host_of(address)
        if (identity, host) in self._bans:  # or many of one would push out the others
            self._bans.remove((identity, host))
        self._bans.append((identity, host))

    def hold(self, identity: bytes, address: bytes | None = None) -> bool:
        """Tell whether somebody is banned; without an address, by its identity alone."""
        host = None if address is None else host_of(address)
        return any((identity and identity == one) or host == other for one, other in self._bans)


@dataclass
class Belongings:
    """All of it, of one room."""

    properties: Properties = field(default_factory=Properties)
    kept: KeptMessages = field(default_factory=KeptMessages)
    owners: dict[int, int] = field(default_factory=dict)
    """Entity id -> player id, or NO_PLAYER for whoever is host; only of entities that were handed over."""
    bans: Bans = field(default_factory=Bans)
    is_locked: bool = False
    shown: tuple[bytes, ...] = ()
    """Keys of the room's properties that lists show, in this order."""
