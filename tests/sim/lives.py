"""What the simulator's players did, as they know it themselves: the truth that the invariants compare with.

A `Life` is one session attempt of one player, from the first HELLO to its end. Every payload that a player makes says
what it is, so that whoever receives it can look up who sent it, to whom and after what.
"""

import struct
from dataclasses import dataclass, field
from random import Random

from protocol.constants import Target

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
    session: int = 0
    player_id: int = -1
    player_slots: int = 1
    room: int = -1
    """Which opening of the room it is in: the room's log begins anew when all have left."""
    log_start: int = 0
    """log_index of its WELCOME."""
    addresses: set[bytes] = field(default_factory=set)
    states: dict[int, bytes] = field(default_factory=dict)
    """Local index -> newest state; removed ones are absent."""
    versions: dict[int, int] = field(default_factory=dict)
    """Local index -> number of its newest state or removal."""
    history: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """(local index, version) -> state: all that were ever published."""
    messages: list[SentMessage] = field(default_factory=list)
    signals: list[SentSignal] = field(default_factory=list)
    handed: list[object] = field(default_factory=list)
    """Every log entry that its client handed over, in that order, its own PLAYER_JOINED first: the uid of a message, or
    (kind, player id) of a presence entry."""
    roster: list[object] = field(default_factory=list)
    """Presence entries that it was handed before its own PLAYER_JOINED: who was there already."""
    handed_at: dict[int, float] = field(default_factory=dict)
    """Message uid -> when its client handed it over."""
    signals_handed: dict[int, float] = field(default_factory=dict)
    """Signal uid -> when its client handed it over."""

    @property
    def alive(self) -> bool:
        """True for a session that is joined and has not ended."""
        return self.joined_at is not None and not self.ending

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
