"""The client's side of a connection, without I/O: bytes and `now` in, bytes and events out.

    connection = ClientConnection(JoinRequest(...), nonce=..., now=...)
    whenever a datagram arrives:           connection.receive(data, now), then connection.poll(now)
    at connection.next_poll_at():          connection.poll(now)
    each tick of the game:                 connection.tick(now)
    after any of these:                    connection.take_events()

`poll` and `tick` return datagrams to send. Nothing here raises on what the network brings: it is dropped and counted
in `dropped`. A mistake of the caller raises at once.
"""

import math
from collections.abc import Sequence
from typing import Any

from protocol import codec
from protocol.client.events import Disconnected, Event, Joined, Refused
from protocol.client.handshake import ClientState, Handshake
from protocol.client.request import JoinRequest
from protocol.client.roster import reason_of
from protocol.client.session import Session
from protocol.client.view import ConnectionView
from protocol.constants import MAX_DATAGRAM_BYTES, ByeReason, Kind, Refusal, SignalFlag, Target
from protocol.drops import DropReason
from protocol.texts import BYE_TEXTS

BYE_COPIES = 3
BYE_INTERVAL_S = 0.020
"""BYE is not acknowledged: it is sent three times, 20 ms apart or more (SPEC 6)."""
LINGER_S = 1.0
"""How long who gave up waits for a WELCOME that may be under way (chosen: two slow round trips)."""


class ClientConnection(ConnectionView):
    """One join attempt and, if it succeeds, one session. What is known of it: see `ConnectionView`."""

    def __init__(self, request: JoinRequest, *, nonce: int, now: float) -> None:
        """Prepare the attempt; the first `poll` returns the first HELLO.

        Args:
            request: What to join, and as whom.
            nonce: A fresh random number, 0 ... 2**64 - 1: whoever could guess it could answer in the server's place.
            now: Monotonic seconds.
        """
        if not 0 <= nonce < 1 << 64:
            raise ValueError(f"nonce is {nonce}; permitted: 0 to 2**64 - 1")
        super().__init__(Handshake(request, nonce, now))
        self._request = request
        self._events: list[Event] = []
        self._path_response: tuple[float, bytes] | None = None
        self._bye = b""
        self._byes_left = 0
        self._bye_at = math.inf

    # --- the network and the clock

    def receive(self, data: bytes, now: float) -> None:
        """Take a datagram that arrived. Raises: nothing, whatever the bytes; what is not taken is counted."""
        self._counters["datagrams_in"] += 1
        self._counters["bytes_in"] += len(data)
        reason = self._handle(data, now)
        if reason is not None:
            self.dropped[reason] += 1

    def tick(self, now: float) -> list[bytes]:
        """Build what this tick of the game has to send: at most two DATA, and all that `poll` would return."""
        datagrams: list[bytes] = []
        if self.state is ClientState.JOINED:
            datagrams = self._live().build_tick(now)
            self._count_out(datagrams)
        return datagrams + self.poll(now)

    def poll(self, now: float) -> list[bytes]:
        """Build what cannot wait for a tick, and notice that time ran out.

        Handshake, answers to path challenges, acknowledgements that are due, keepalives, BYE.
        """
        state = self.state
        if state is ClientState.JOINED:
            datagrams = self._poll_session(self._live(), now)
        elif state is ClientState.CLOSED:
            datagrams = self._poll_bye(now)
        else:
            datagrams = self._poll_handshake(now)
        self._count_out(datagrams)
        return datagrams

    def next_poll_at(self) -> float:
        """Tell when `poll` must be called at the latest, monotonic seconds.

        It may lie in the past: then at once. inf when all is over and nothing is left to send.
        """
        state = self.state
        if state is ClientState.CLOSED:
            return self._bye_at
        if state is not ClientState.JOINED:
            return self._handshake.next_at()
        session = self._live()
        due_at = min(session.speak_at(), session.timeout_at())
        return due_at if self._path_response is None else min(due_at, self._path_response[0])

    def take_events(self) -> list[Event]:
        """Return what happened since the last call, in order.

        Up to 16,384 events wait; beyond that, UPDATEs are dropped unacknowledged until some are taken.
        """
        events = self._events[:]
        self._events.clear()  # in place: the session appends to the same list
        return events

    # --- what the game does

    def publish(self, local_index: int, state: bytes, now: float) -> None:
        """Set the newest state of one of our entities; it is sent until the server has it.

        After `remove` the new state is held back until the server has the removal. Does nothing once CLOSED.

        Args:
            local_index: 0 ... entities_per_player - 1.
            state: 1 ... max_state_bytes bytes.
            now: When the state was sampled, monotonic seconds.
        Raises: ValueError, NotJoined.
        """
        session = self._live()
        limit = session.welcome.max_state_bytes
        if not 1 <= len(state) <= limit:
            raise ValueError(f"state is {len(state)} bytes; permitted: 1 to {limit}")
        entity_id = self._entity_id(session, local_index)
        if not self._is_closed:
            session.uploads.publish(entity_id, bytes(state), int(session.server_time(now) * 1000))

    def remove(self, local_index: int) -> None:
        """Take one of our entities out of the table. Does nothing for one that is not there, or once CLOSED.

        Raises: ValueError, NotJoined.
        """
        session = self._live()
        entity_id = self._entity_id(session, local_index)
        if not self._is_closed:
            session.uploads.remove(entity_id)

    def send_message(
        self,
        payload: bytes,
        *,
        kind: int = 1,
        channel: int = 0,
        target: Target = Target.ALL,
        players: Sequence[int] = (),
    ) -> None:
        """Queue a log message; it arrives exactly once, in one order with all others. Does nothing once CLOSED.

        Args:
            payload: At most 1 MiB; cut into fragments as needed.
            kind: 1 ... 127, for the game to use.
            channel: 0 ... 255, for the game to use.
            target: Who gets it; ALL includes us.
            players: None for ALL, one player id for ALL_BUT and ONE, 1 ... 255 for LIST.
        Raises: ValueError, NotJoined; OutboxFull when 4 MiB wait.
        """
        session = self._live()
        if not self._is_closed:
            session.outbox.queue(bytes(payload), kind, channel, target, players)

    def send_signal(
        self,
        payload: bytes,
        *,
        kind: int = 1,
        channel: int = 0,
        target: Target = Target.ALL,
        players: Sequence[int] = (),
        newest_first: bool = False,
        after_log: bool = True,
    ) -> None:
        """Queue a signal; it goes out once, with the next tick. Does nothing once CLOSED.

        Up to 256 fragments wait; then the oldest signals are dropped and counted.

        Args:
            payload: At most 8 fragments: 8 KiB, less if many players are listed.
            kind, channel, target, players: As for `send_message`.
            newest_first: A receiver drops it if it has seen a newer one of ours on this channel.
            after_log: It does not overtake the messages queued before it, nor what we have seen of the log. Switch
                this off for voice.
        Raises: ValueError, NotJoined.
        """
        session = self._live()
        flags = SignalFlag.NEWEST_FIRST if newest_first else SignalFlag(0)
        flags |= SignalFlag.AFTER_LOG if after_log else SignalFlag(0)
        after_message = session.outbox.last_id if after_log else 0
        if not self._is_closed:
            session.signals_out.queue(bytes(payload), kind, channel, target, players, flags, after_message)

    def close(self, now: float) -> None:
        """End it now. What is not acknowledged is lost: wait for `is_idle` first if it matters.

        BYE goes out with the next polls, three times; call `poll` until `next_poll_at` is inf. Who gives up while a
        JOIN is under way waits for WELCOME, and says BYE to that: else the player would stand in the room until the
        relay misses it.
        """
        if self._is_closed:
            return
        if self._session is not None:
            self._plan_bye(self._session, now)
        else:
            self._linger(now)
        self._disconnect(ByeReason.LEFT)

    # --- inside

    @staticmethod
    def _entity_id(session: Session, local_index: int) -> int:
        welcome = session.welcome
        if not 0 <= local_index < welcome.entities_per_player:
            raise ValueError(f"local_index is {local_index}; permitted: 0 to {welcome.entities_per_player - 1}")
        return local_index * welcome.player_slots + welcome.player_id

    def _count_out(self, datagrams: list[bytes]) -> None:
        if datagrams:
            self._counters["datagrams_out"] += len(datagrams)
            self._counters["bytes_out"] += sum(map(len, datagrams))

    def _end(self, reason: ByeReason | Refusal | int, event: Event) -> None:
        self._is_closed = True
        self.disconnect_reason = reason
        self._path_response = None
        self._events.append(event)

    def _disconnect(self, reason: ByeReason | int, text: str = "") -> None:
        """End it with a text for a human; without one, with the usual words for the reason."""
        usual = BYE_TEXTS[reason] if isinstance(reason, ByeReason) else ""
        self._end(reason, Disconnected(reason, text or usual))

    def _handle(self, data: bytes, now: float) -> DropReason | None:
        """Check size and kind, then let the kind's own function check the rest (SPEC 11, client)."""
        if len(data) < 2:
            return DropReason.TOO_SHORT
        if len(data) > MAX_DATAGRAM_BYTES:
            return DropReason.TOO_LONG
        if data[0] == Kind.UPDATE:
            if self._session is None or self._is_closed:
                if self._is_joining():
                    self._handshake.handle_update(now)
                return DropReason.UNKNOWN_SESSION
            return self._session.handle_update(data, now)
        handle = _COLD_HANDLERS.get(data[0])
        if handle is None:
            return DropReason.UNKNOWN_KIND
        value = codec.decode(data)
        return value if isinstance(value, DropReason) else handle(self, value, now)

    def _is_joining(self) -> bool:
        return self._session is None and not self._is_closed

    def _is_own_session(self, session: int) -> bool:
        return self._session is not None and not self._is_closed and self._session.welcome.session == session

    def _handle_challenge(self, value: Any, now: float) -> DropReason | None:
        return self._handshake.handle_challenge(value, now) if self._is_joining() else DropReason.STALE_JOIN

    def _handle_welcome(self, value: Any, now: float) -> DropReason | None:
        welcome = self._handshake.handle_welcome(value) if self._session is None else DropReason.STALE_JOIN
        if isinstance(welcome, DropReason):
            return welcome
        self._session = Session(welcome, now, self.dropped, self._events)
        if self._is_closed:
            self._plan_bye(self._session, now)
            return None
        self._events.append(Joined(welcome.player_id, welcome.code))
        return None

    def _handle_refuse(self, value: Any, _now: float) -> DropReason | None:
        if not self._is_joining() or not self._handshake.is_own(value.nonce):
            return DropReason.STALE_JOIN
        reason = refusal_of(value.reason)
        self._end(reason, Refused(reason, printable(value.text)))
        return None

    def _handle_bye(self, value: Any, _now: float) -> DropReason | None:
        if not self._is_own_session(value.session):
            return DropReason.UNKNOWN_SESSION
        self._disconnect(reason_of(value.reason), printable(value.text))
        return None

    def _handle_reset(self, value: Any, _now: float) -> DropReason | None:
        if not self._is_own_session(value.session) or not self._live().is_own_reset(value.reset_token):
            return DropReason.UNKNOWN_SESSION
        self._disconnect(ByeReason.RESET)
        return None

    def _handle_path_challenge(self, value: Any, now: float) -> DropReason | None:
        if not self._is_own_session(value.session):
            return DropReason.UNKNOWN_SESSION
        # One answer waits at most: an older challenge is of no use once a newer one has come.
        self._path_response = now, self._live().handle_path_challenge(value.challenge, now)
        return None

    def _poll_handshake(self, now: float) -> list[bytes]:
        if now < self._handshake.deadline_at:
            return self._handshake.poll(now)
        if self._handshake.server_fingerprint is None:
            hint = "is the relay running, are host and port right, does a firewall block UDP?"
        else:
            hint = "the relay is there but did not let us in; it may be overloaded"
        self._linger(now)
        self._disconnect(ByeReason.TIMEOUT, f"could not join within {self._request.deadline_s:g} s: {hint}")
        return []

    def _poll_session(self, session: Session, now: float) -> list[bytes]:
        if now >= session.timeout_at():
            self._disconnect(ByeReason.TIMEOUT)
            return []
        session.expire(now)
        datagrams = []
        if self._path_response is not None:
            datagrams.append(self._path_response[1])
            self._path_response = None
        if now >= session.speak_at():
            datagrams.append(session.build_word(now))
        return datagrams

    def _plan_bye(self, session: Session, now: float) -> None:
        self._bye = session.build_bye(ByeReason.LEFT)
        self._byes_left = BYE_COPIES
        self._bye_at = now

    def _linger(self, now: float) -> None:
        """Wait for the WELCOME of a JOIN that may be there, to answer it with BYE."""
        if self.state is ClientState.JOINING:
            self._bye_at = now + LINGER_S

    def _poll_bye(self, now: float) -> list[bytes]:
        if now < self._bye_at:
            return []
        if not self._byes_left:
            self._bye_at = math.inf  # no WELCOME came
            return []
        self._byes_left -= 1
        self._bye_at = now + BYE_INTERVAL_S if self._byes_left else math.inf
        return [self._bye]


_COLD_HANDLERS = {
    int(Kind.CHALLENGE): ClientConnection._handle_challenge,
    int(Kind.WELCOME): ClientConnection._handle_welcome,
    int(Kind.REFUSE): ClientConnection._handle_refuse,
    int(Kind.BYE): ClientConnection._handle_bye,
    int(Kind.RESET): ClientConnection._handle_reset,
    int(Kind.PATH_CHALLENGE): ClientConnection._handle_path_challenge,
}
"""Kinds beside UPDATE that a server sends. REDIRECT is reserved and PONG is for `ping.py`: neither belongs here."""


def refusal_of(number: int) -> Refusal | int:
    """Name a reason of REFUSE; one of a later revision stays a number."""
    try:
        return Refusal(number)
    except ValueError:
        return number


def printable(text: bytes) -> str:
    """Decode a server's text so that it can be printed: no control characters, whatever was sent."""
    return "".join(letter for letter in text.decode(errors="replace") if letter.isprintable())
