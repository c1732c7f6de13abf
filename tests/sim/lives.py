"""What the simulator's players did, as they know it themselves: the truth that the invariants compare with.

A `Life` is what one process of a player knows: from its first HELLO, over all sessions that continue one another, to
its end, or until it is told everything anew: then the next life begins, in the same seat. Every payload that a player
makes says what it is, so that whoever receives it can look up who sent it, to whom and after what.
"""

import struct
from dataclasses import dataclass, field
from random import Random

from protocol.constants import NO_PLAYER, EntryKind, Target

_MESSAGE = struct.Struct("<cI")
_STATE = struct.Struct("<HI")
MIN_MESSAGE_BYTES = _MESSAGE.size
MIN_STATE_BYTES = _STATE.size


@dataclass(eq=False, kw_only=True)
class SentMessage:
    """One log message as its sender queued it."""

    uid: int
    life: "Life"
    order: int
    """Counts the sender's messages from 0."""
    payload: bytes
    kind: int
    channel: int
    target: Target
    players: tuple[int, ...]
    queued_at: float
    keep: bool = False
    """To be kept for those who join later."""
    outlives_sender: bool = False


@dataclass(eq=False, kw_only=True)
class SentRequest:
    """One SET_PROPERTY as its sender queued it. Its value is its uid, so it is known wherever it is seen."""

    uid: int
    life: "Life"
    request_id: int
    owner: int
    key: str
    is_conditional: bool
    is_refused: bool = False
    """Its sender was told so."""


@dataclass(eq=False, kw_only=True)
class SentSignal:
    """One signal as its sender queued it."""

    uid: int
    life: "Life"
    order: int
    payload: bytes
    kind: int
    channel: int
    target: Target
    players: tuple[int, ...]
    newest_first: bool
    after: SentMessage | None
    """The message that it must not overtake: the last one queued before it, if it was sent after_log."""
    queued_at: float


@dataclass(eq=False, kw_only=True)
class Life:
    """One session attempt of one player: what it did and what it was given."""

    number: int
    """Counts the lives of a world from 1."""
    player: int
    name: str
    nonce: int
    started_at: float
    joined_at: float | None = None
    """When the client said Joined."""
    ending: bool = False
    """The player has left or crashed: nothing is promised to it any more."""
    ended_at: float | None = None
    is_afresh: bool = False
    """It began with a resume that told it everything anew."""
    sessions: set[int] = field(default_factory=set)
    """Session ids that its client was given, or was to be given."""
    player_id: int = -1
    player_slots: int = 1
    room: int = -1
    """Which opening of the room it is in: the room's log begins anew when all have left."""
    log_start: int = 0
    """log_index of its first WELCOME."""
    states: dict[int, bytes] = field(default_factory=dict)
    """Entity id -> newest state of those that it publishes; removed ones are absent."""
    removed: set[int] = field(default_factory=set)
    """Entity ids that it removed and has not published since."""
    versions: dict[int, int] = field(default_factory=dict)
    """Entity id -> number of its newest state or removal."""
    history: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """(entity id, version) -> state: all that were ever published."""
    host: int | None = None
    """Who is host, as its game was told."""
    owners: dict[int, int] = field(default_factory=dict)
    """Entity id -> owner of those that were handed over, as its game was told."""
    removal_asked: bool = False
    """A host has asked to remove it: it may end."""
    may_time_out: bool = False
    """It was absent for about as long as a place is kept: it may end."""
    requests: dict[int, SentRequest] = field(default_factory=dict)
    """Request id -> what it asked for."""
    messages: list[SentMessage] = field(default_factory=list)
    signals: list[SentSignal] = field(default_factory=list)
    handed: list[object] = field(default_factory=list)
    """Every log entry that its client handed over, in that order, its own arrival first: the uid of a message, or
    (kind, player id) of a presence entry, or (kind, owner, key, value) of a property."""
    roster: list[object] = field(default_factory=list)
    """The same of what it was handed before its own arrival: who and what was there already."""
    kept_handed: list[int] = field(default_factory=list)
    """Uids of the kept messages that it was told of, in that order."""
    kept: dict[int, int] = field(default_factory=dict)
    """Log index -> uid of the messages that the room keeps, as its game was told."""
    handed_at: dict[int, float] = field(default_factory=dict)
    """Message uid -> when its client handed it over."""
    signals_handed: dict[int, float] = field(default_factory=dict)
    """Signal uid -> when its client handed it over."""

    @property
    def alive(self) -> bool:
        """True for a session that is joined and has not ended."""
        return self.joined_at is not None and not self.ending

    @property
    def arrival(self) -> tuple[EntryKind, int]:
        """The entry that tells all of it: the first of `handed`."""
        return EntryKind.PLAYER_BACK if self.is_afresh else EntryKind.PLAYER_JOINED, self.player_id

    def is_ours(self, entity_id: int) -> bool:
        """Tell whether it publishes an entity, by what its game was told."""
        owner = self.owners.get(entity_id, entity_id % self.player_slots)
        return self.player_id == (self.host if owner == NO_PLAYER else owner)

    def forget_what_is_not_ours(self) -> None:
        """Let go of what others publish now."""
        self.states = {id_: state for id_, state in self.states.items() if self.is_ours(id_)}
        self.removed = {id_ for id_ in self.removed if self.is_ours(id_)}

    def __str__(self) -> str:
        """Name it for a failure's text."""
        return f"life {self.number} (player {self.player}, id {self.player_id})"


def covers(target: Target, players: tuple[int, ...], player_id: int) -> bool:
    """Tell whether a message or signal with this target is for the player with this id."""
    if target == Target.ALL:
        return True
    if target == Target.ALL_BUT:
        return player_id not in players
    return player_id in players


def build_message_payload(mark: bytes, uid: int, size: int, rng: Random) -> bytes:
    """Make a payload of `size` bytes (at least 5) that names itself; `mark` is b"M" or b"S"."""
    return _MESSAGE.pack(mark, uid) + rng.randbytes(max(0, size - _MESSAGE.size))


def uid_of(mark: bytes, payload: bytes) -> int | None:
    """Read the uid of a payload made by `build_message_payload`; None if it is not one."""
    if len(payload) < _MESSAGE.size or payload[:1] != mark:
        return None
    return int(_MESSAGE.unpack_from(payload)[1])


def build_state(life: int, version: int, size: int, rng: Random) -> bytes:
    """Make a state of `size` bytes (at least 6) that names itself."""
    return _STATE.pack(life, version) + rng.randbytes(max(0, size - _STATE.size))


def state_origin(state: bytes) -> tuple[int, int] | None:
    """Read (life number, version) of a state made by `build_state`; None if it is not one."""
    return _STATE.unpack_from(state) if len(state) >= _STATE.size else None
