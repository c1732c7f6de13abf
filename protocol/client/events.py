"""What a connection tells the game: immutable values, taken in order with `ClientConnection.take_events`."""

from dataclasses import dataclass

from protocol.constants import ByeReason, Refusal


@dataclass(frozen=True, slots=True)
class Joined:
    """The server let us in; every property of the connection may be read from now on."""

    player_id: int
    """Our slot number in the room."""
    code: str
    """The room's code, also when the server made it up."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server did not let us in. The last event of this connection."""

    reason: Refusal | int
    """A bare int is a reason of a later revision."""
    text: str
    """The server's words for a human; for VERSION it says which side to update."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The attempt or the session is over, whoever ended it. The last event of this connection."""

    reason: ByeReason | int
    """LEFT after our own `close`; TIMEOUT when nothing answered; a bare int is a reason of a later revision."""
    text: str
    """For a human: the server's words, or the usual ones for the reason. Empty only for a reason that is a bare int."""


@dataclass(frozen=True, slots=True)
class PlayerJoined:
    """Somebody is in the room: those who were there before us first, then we, then who comes."""

    player_id: int
    name: str


@dataclass(frozen=True, slots=True)
class PlayerLeft:
    """Somebody left. Their entities go with a StateChanged, before or after this."""

    player_id: int
    reason: ByeReason | int


@dataclass(frozen=True, slots=True)
class HostChanged:
    """Another player is the host now; NO_PLAYER if nobody is."""

    player_id: int


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Entities of other players changed. Do `removed` first: an id may stand in both when it lives again."""

    tick: int
    """The server's tick of this picture; 1 or more."""
    changed: tuple[tuple[int, bytes, float], ...]
    """(entity id, newest state, server time of the sample in seconds)."""
    removed: tuple[int, ...]
    """Entity ids that are gone."""


@dataclass(frozen=True, slots=True)
class Message:
    """A log message, delivered exactly once and in the same order to everybody who may see it."""

    sender: int
    """Player id; NO_PLAYER for the server."""
    kind: int
    """1..127, the game's own numbering."""
    channel: int
    payload: bytes
    index: int
    """Whole log index; that of the last fragment."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal, delivered at most once."""

    sender: int
    kind: int
    channel: int
    payload: bytes
    sequence: int
    """Low 16 bits of the sender's count of signals."""


Event = Joined | Refused | Disconnected | PlayerJoined | PlayerLeft | HostChanged | StateChanged | Message | Signal
"""Everything `take_events` can return."""
