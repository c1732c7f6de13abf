"""What a connection tells the game: immutable values, taken in order with `ClientConnection.take_events`."""

from dataclasses import dataclass

from protocol.constants import ByeReason, MessageFlag, Refusal, RequestKind, RequestRefusal
from protocol.properties import Value


@dataclass(frozen=True, slots=True)
class Joined:
    """We are in the room, and it is whole: members, properties, owners, kept messages and the table came before."""

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
class ConnectionLost:
    """Nothing came for too long; we try to come back, and what the game does meanwhile waits. Resumed or Disconnected
    follows.
    """


@dataclass(frozen=True, slots=True)
class RoomReset:
    """We are back in the room, but too much was missed: what the game was told of members, properties, owners, locks,
    kept messages and other players' entities is void, and messages that the server had not acknowledged are lost. All
    is told anew, then comes Resumed.
    """


@dataclass(frozen=True, slots=True)
class Resumed:
    """We are back in the room, and it is whole again."""

    player_id: int
    """Our slot number in the room: the one we had."""
    is_afresh: bool
    """All was told anew; False: the game heard what it had missed, and nothing twice."""


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
    """Somebody left, and its properties with it. Their entities go with a StateChanged, before or after this."""

    player_id: int
    reason: ByeReason | int


@dataclass(frozen=True, slots=True)
class PlayerAway:
    """A player's connection is lost; its place is kept for a while."""

    player_id: int


@dataclass(frozen=True, slots=True)
class PlayerBack:
    """A player is there again."""

    player_id: int
    is_afresh: bool
    """It was told everything anew and knows nothing of what was under way."""


@dataclass(frozen=True, slots=True)
class HostChanged:
    """Another player is the host now; NO_PLAYER if nobody is."""

    player_id: int


@dataclass(frozen=True, slots=True)
class PropertyChanged:
    """A property was set or removed. A player who leaves takes its own along without this."""

    owner: int
    """Player id; NO_PLAYER for the room's."""
    key: str
    value: Value
    """None: it was removed."""
    by: int
    """Player who set it; NO_PLAYER for one that was there before us."""


@dataclass(frozen=True, slots=True)
class EntityOwnerChanged:
    """Another player publishes an entity from now on; its state stays."""

    entity_id: int
    owner: int
    """Player id; NO_PLAYER: whoever is host."""


@dataclass(frozen=True, slots=True)
class RoomLocked:
    """The host locked the room, so that nobody can join, or opened it."""

    is_locked: bool


@dataclass(frozen=True, slots=True)
class RoomShown:
    """The host listed the room for all who play this game, or hid it from them."""

    is_listed: bool


@dataclass(frozen=True, slots=True)
class KeptCleared:
    """Messages are kept no longer, for somebody asked for that. Those that a player takes along when it leaves are not
    told of so, see `Message.flags`.
    """

    indexes: tuple[int, ...]
    """`Message.index` of each."""
    by: int
    """Player who asked."""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """Something that we asked of the server was not done, or a message was not kept."""

    request_id: int
    """What the asking method returned; 0 for a comparison that failed here, so that nothing was sent."""
    kind: RequestKind | int
    """What was asked; a bare int is the kind of a message that was to be kept."""
    reason: RequestRefusal | int
    """A bare int is a reason of a later revision."""
    text: str
    """For a human. Empty only for a reason that is a bare int."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Entities that we do not publish changed. Do `removed` first: an id may stand in both when it lives again."""

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
    """1..111, the game's own numbering."""
    channel: int
    payload: bytes
    index: int
    """Whole log index; that of the last fragment. Of one that was kept for us: where it stood when it was sent, so that
    all know it by one number, which `clear_kept` takes and `KeptCleared` names.
    """
    kept: bool = False
    """It was sent before we joined, and kept for us; with a sender who has left it is NO_PLAYER's."""
    flags: MessageFlag = MessageFlag(0)  # noqa: RUF009 - a number
    """KEEP: the room keeps it for those who join later, until KeptCleared names it or its sender leaves;
    OUTLIVES_SENDER: also after that.
    """


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal, delivered at most once."""

    sender: int
    kind: int
    channel: int
    payload: bytes
    sequence: int
    """Low 16 bits of the sender's count of signals."""


Event = (
    Joined
    | Refused
    | ConnectionLost
    | RoomReset
    | Resumed
    | Disconnected
    | PlayerJoined
    | PlayerLeft
    | PlayerAway
    | PlayerBack
    | HostChanged
    | PropertyChanged
    | EntityOwnerChanged
    | RoomLocked
    | RoomShown
    | KeptCleared
    | RequestRefused
    | StateChanged
    | Message
    | Signal
)
"""Everything `take_events` can return."""
