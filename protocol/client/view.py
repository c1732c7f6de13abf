"""What may be read of a connection: numbers of the room, members, table, measurements."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from protocol import codec
from protocol.client.handshake import ClientState, Handshake
from protocol.client.resume import ResumeToken
from protocol.client.session import Session
from protocol.constants import ByeReason, Refusal
from protocol.drops import DropReason
from protocol.properties import Value


class NotJoined(Exception):
    """Asked for something that only WELCOME tells, before it came. Wait for the state JOINED."""


class ConnectionView:
    """The read-only side of `ClientConnection`.

    `state`, `is_whole`, `dropped`, `disconnect_reason`, `counters` and `fingerprint_differs` may be read at any time;
    all else from WELCOME on (state JOINED, which is before the event Joined), also after the end. Before, it raises
    NotJoined. Members, properties and the table fill up until Joined, when they are complete.
    """

    def __init__(self, handshake: Handshake) -> None:
        self.dropped: Counter[DropReason] = Counter()
        """What came from the network and was not taken."""
        self.disconnect_reason: ByeReason | Refusal | int | None = None
        """Why it is over; None while it is not."""
        self._counters: Counter[str] = Counter()
        self._handshake = handshake
        self._session: Session | None = None
        self._is_closed = False
        self._is_resuming = False

    @property
    def state(self) -> ClientState:
        """Where the connection is."""
        if self._is_closed:
            return ClientState.CLOSED
        if self._session is None:
            return self._handshake.state
        return ClientState.RESUMING if self._is_resuming else ClientState.JOINED

    @property
    def counters(self) -> Counter[str]:
        """What happened, by name; a copy.

        datagrams_in, bytes_in, datagrams_out, bytes_out: UDP payloads, dropped ones included.
        messages_resent: message sections sent more than once. messages_discarded: fragments and messages of the log
        that broke its rules. signals_unsent: dropped here because too many waited. signals_superseded: not handed
        over because a newer one had been. signals_unfinished: fragmented ones that never became whole. The last five
        begin anew with RoomReset.
        """
        counters = self._counters.copy()
        if self._session is not None:
            room = self._session.room
            counters["messages_resent"] = room.outbox.num_resent
            counters["messages_discarded"] = room.inbox.num_discarded
            counters["signals_unsent"] = room.signals_out.num_dropped
            counters["signals_superseded"] = room.signals.num_superseded
            counters["signals_unfinished"] = room.signals.num_unfinished_dropped
        return counters

    @property
    def fingerprint_differs(self) -> bool:
        """The server's layouts are not ours although the revision agrees: a development build. Worth a warning.

        False before the first answer.
        """
        return self._handshake.server_fingerprint not in (None, 0, codec.FINGERPRINT)

    @property
    def is_whole(self) -> bool:
        """Whether Joined, or Resumed after the newest loss, has come."""
        return self._session is not None and not self._is_resuming and self._session.room.is_whole

    @property
    def session(self) -> int:
        """The 64-bit name of the session; who knows it can speak for us."""
        return self._live().welcome.session

    @property
    def player_id(self) -> int:
        """Our slot number in the room."""
        return self._live().welcome.player_id

    @property
    def player_slots(self) -> int:
        """Player ids are below this."""
        return self._live().welcome.player_slots

    @property
    def max_players(self) -> int:
        """Players that the room takes at one time."""
        return self._live().welcome.max_players

    @property
    def entities_per_player(self) -> int:
        """Local indexes are below this."""
        return self._live().welcome.entities_per_player

    @property
    def max_state_bytes(self) -> int:
        """Longest state, bytes."""
        return self._live().welcome.max_state_bytes

    @property
    def page_ids(self) -> int:
        """Entity ids of one page."""
        return self._live().welcome.page_ids

    @property
    def tick_rate(self) -> int:
        """Ticks of the server per second."""
        return self._live().welcome.tick_rate

    @property
    def code(self) -> str:
        """The room's code."""
        return self._live().welcome.code

    @property
    def members(self) -> Mapping[int, str]:
        """Player id -> name of everybody in the room, us included. A live view, up to RoomReset."""
        return MappingProxyType(self._live().room.roster.members)

    @property
    def away(self) -> frozenset[int]:
        """Player ids of members whose connection is lost and whose place is kept. A copy."""
        return frozenset(self._live().room.roster.away)

    @property
    def host(self) -> int | None:
        """Player id of the host, None if there is none."""
        return self._live().room.roster.host

    @property
    def table(self) -> Mapping[int, bytes]:
        """Entity id -> newest state as the server has it, our own entities included. A live view, up to RoomReset."""
        return MappingProxyType(self._live().room.table.states)

    @property
    def room_properties(self) -> Mapping[str, Value]:
        """The room's properties. A live view, up to RoomReset."""
        return MappingProxyType(self._live().room.properties.of_room)

    @property
    def is_locked(self) -> bool:
        """Nobody can join now."""
        return self._live().room.is_locked

    @property
    def is_listed(self) -> bool:
        """All who play this game find the room; else only who knows its code."""
        return self._live().room.is_listed

    @property
    def anyone_sets(self) -> bool:
        """Every player may set the room's properties, not only the host."""
        return self._live().welcome.anyone_sets

    @property
    def grace_s(self) -> int:
        """How long the server keeps the place of a player whose connection is lost, seconds; 0: not at all."""
        return self._live().welcome.grace_s

    @property
    def server_tick(self) -> int:
        """The server's newest tick that we know of."""
        return self._live().room.tick

    @property
    def rtt_s(self) -> float | None:
        """Smoothed round trip, seconds; None until measured."""
        return self._live().flight.rtt_s

    @property
    def loss_down(self) -> float:
        """Share of the server's datagrams that got lost lately, 0 ... 1."""
        return self._live().receipts.loss

    @property
    def loss_up(self) -> float:
        """Share of our datagrams that got lost lately, 0 ... 1."""
        return self._live().flight.loss

    @property
    def unacked_messages(self) -> int:
        """Messages and fragments that the server has not acknowledged."""
        return self._live().room.outbox.num_waiting

    def is_idle(self) -> bool:
        """Tell whether the server has everything that we published, removed and sent."""
        room = self._live().room
        return not (room.uploads.num_unacked or room.outbox.num_waiting or room.signals_out.num_waiting)

    def player_properties(self, player_id: int) -> dict[str, Value]:
        """Return the properties of a player; none for who is not in the room. A copy."""
        return dict(self._live().room.properties.of(player_id))

    def owner_of(self, entity_id: int) -> int:
        """Return the player id of an entity's owner; NO_PLAYER: whoever is host."""
        return self._live().room.owners.owner_of(entity_id)

    def is_ours(self, entity_id: int) -> bool:
        """Tell whether we publish an entity: with our number, given to us, or the host's while we are host."""
        return self._live().room.is_ours(entity_id)

    def resume_token(self) -> ResumeToken:
        """Return what brings us back to our place, also from another process, while the server keeps it.

        It changes with each WELCOME, and the one before is worth nothing once the server has heard of the new session.
        So whoever keeps it for a crash writes it down when `session` has changed after a `receive`, and only then
        sends what `poll` and `tick` return.
        """
        welcome = self._live().welcome
        return ResumeToken(welcome.session, welcome.secret, welcome.code)

    def server_time(self, now: float) -> float:
        """Estimate the server's time (tick / tick_rate), seconds."""
        return self._live().server_time(now)

    def _live(self) -> Session:
        if self._session is None:
            raise NotJoined(f"the connection is {self.state.name}: wait for its state JOINED")
        return self._session
