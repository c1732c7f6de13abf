"""The client's side of a connection, without I/O: bytes and `now` in, bytes and events out.

    connection = ClientConnection(JoinRequest(...), nonce=..., now=...)
    whenever a datagram arrives:           connection.receive(data, now), then connection.poll(now)
    at connection.next_poll_at():          connection.poll(now)
    each tick of the game:                 connection.tick(now)
    after any of these:                    connection.take_events()

`poll` and `tick` return datagrams to send. Nothing here raises on what the network brings: it is dropped and counted
in `dropped`. A mistake of the caller raises at once.

When nothing comes for too long, the connection tries to come back (state RESUMING) for as long as the server keeps its
place. Once a JOIN of that attempt is under way the server may have begun a new session, so nothing of the old one
counts any more: only WELCOME or REFUSE tells.
"""

import math
from dataclasses import replace
from typing import Any

from protocol import codec
from protocol.client.actions import ConnectionActions
from protocol.client.events import ConnectionLost, Disconnected, Event, Refused, Resumed, RoomReset
from protocol.client.handshake import ClientState, Handshake, Welcome
from protocol.client.request import JoinRequest
from protocol.client.resume import resume_nonce
from protocol.client.room import Room
from protocol.client.roster import reason_of
from protocol.client.session import Session, build_bye
from protocol.constants import MAX_DATAGRAM_BYTES, ByeReason, JoinMode, Kind, Refusal
from protocol.constants import Resumed as Resumption
from protocol.drops import DropReason
from protocol.texts import BYE_TEXTS

BYE_COPIES = 3
BYE_INTERVAL_S = 0.020
"""BYE is not acknowledged: it is sent three times, 20 ms apart or more (SPEC 6)."""
LINGER_S = 1.0
"""How long who gave up waits for a WELCOME that may be under way (chosen: two slow round trips)."""


ENDS_BY_REFUSAL: dict[Refusal | int, ByeReason] = {
    Refusal.BANNED: ByeReason.BANNED,
    Refusal.SHUTTING_DOWN: ByeReason.SHUTDOWN,
}
"""What a refusal to come back means to a game; all others: the connection is lost for good."""
REFUSED_FOR_NOW = (Refusal.SERVER_FULL, Refusal.TOO_MANY_SESSIONS)
"""Refusals to come back after which the server keeps the place all the same: we go on asking (SPEC 4)."""


class ClientConnection(ConnectionActions):
    """One join attempt and, if it succeeds, one player in one room, over as many sessions as it takes.

    What is known of it: see `ConnectionView`. What the game does: see `ConnectionActions`.
    """

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
        self._awaits_welcome = True  # an answer to our handshake means something
        self._num_resumes = 0
        self._path_response: tuple[float, bytes] | None = None
        self._bye = b""
        self._byes_left = 0
        self._bye_at = math.inf
        self._linger_until = math.inf  # after the BYEs; inf: for nothing

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
            return self._handshake.next_at()  # RESUMING too
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

    def close(self, now: float) -> None:
        """End it now. What is not acknowledged is lost: wait for `is_idle` first if it matters.

        BYE goes out with the next polls, three times; call `poll` until `next_poll_at` is inf. Who gives up while a
        JOIN is under way waits for WELCOME, and says BYE to that: else the player would stand in the room until the
        relay misses it.
        """
        if self._is_closed:
            return
        self._linger(now)
        if self._session is not None:
            self._plan_bye(self._session.welcome, now)
        self._disconnect(ByeReason.LEFT)

    # --- inside

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
            return self._handle_update(data, now)
        handle = _COLD_HANDLERS.get(data[0])
        if handle is None:
            return DropReason.UNKNOWN_KIND
        value = codec.decode(data)
        return value if isinstance(value, DropReason) else handle(self, value, now)

    def _is_joining(self) -> bool:
        return self._awaits_welcome and not self._is_closed

    def _has_session(self) -> bool:
        """Tell whether a session lives that may be heard."""
        return self._session is not None and not self._is_closed and not self._may_be_replaced()

    def _may_be_replaced(self) -> bool:
        """Tell whether a JOIN of ours is under way that may have replaced the session by another of ours."""
        return self._is_resuming and self._handshake.has_sent_join

    def _may_come_back(self) -> bool:
        """Tell whether the server keeps our place, and the game wants it."""
        return self._request.reconnect and self._live().welcome.grace_s > 0

    def _is_own_session(self, session: int) -> bool:
        return self._has_session() and self._live().welcome.session == session

    def _handle_update(self, data: bytes, now: float) -> DropReason | None:
        if not self._has_session():
            if self._is_joining():
                self._handshake.handle_update(now)
            return DropReason.UNKNOWN_SESSION
        reason = self._live().handle_update(data, now)
        if reason is None and self._is_resuming:
            # The session lives after all, and no JOIN was sent that could have ended it.
            self._is_resuming = self._awaits_welcome = False
            self._events.append(Resumed(self.player_id, False))
        return reason

    def _handle_challenge(self, value: Any, now: float) -> DropReason | None:
        return self._handshake.handle_challenge(value, now) if self._is_joining() else DropReason.STALE_JOIN

    def _handle_welcome(self, value: Any, now: float) -> DropReason | None:
        welcome = self._handshake.handle_welcome(value) if self._awaits_welcome else DropReason.STALE_JOIN
        if isinstance(welcome, DropReason):
            return welcome
        if self._is_closed:
            self._awaits_welcome = False
            self._linger_until = math.inf
            self._plan_bye(welcome, now)
            return None
        room = self._room_for(welcome)
        if room is None:  # the server took us for somebody who has more: so we offer nothing to go on from
            self._ask_for_place(self._live(), now, 0, self._handshake.deadline_at - now)
            return DropReason.MALFORMED
        self._session = Session(welcome, now, room)
        self._is_resuming = self._awaits_welcome = False
        self._path_response = None
        return None

    def _room_for(self, welcome: Welcome) -> Room | None:
        """Return the room that a WELCOME lets us into: a new one, or the one that we come back to."""
        if self._session is None:
            return Room(welcome, self.dropped, self._events)
        room = self._session.room
        if welcome.resumed is Resumption.AFRESH:
            self._events.append(RoomReset())
            return room.begin_afresh(welcome)
        if not room.continues(welcome):
            return None
        room.on_continued(welcome)
        return room

    def _handle_refuse(self, value: Any, _now: float) -> DropReason | None:
        if not self._is_joining() or not self._handshake.is_own(value.nonce):
            return DropReason.STALE_JOIN
        reason, text = refusal_of(value.reason), printable(value.text)
        if self._is_resuming and reason in REFUSED_FOR_NOW:
            return None  # the same JOIN goes out again until the place is kept no longer
        if self._is_resuming:
            self._disconnect(ENDS_BY_REFUSAL.get(reason, ByeReason.TIMEOUT), text)
        else:
            self._end(reason, Refused(reason, text))
        return None

    def _handle_bye(self, value: Any, now: float) -> DropReason | None:
        if self._session is None or self._is_closed or self._session.welcome.session != value.session:
            return DropReason.UNKNOWN_SESSION
        if value.reason == ByeReason.REPLACED and self._may_be_replaced():
            return DropReason.UNKNOWN_SESSION  # it is us who replaced it
        if value.reason == ByeReason.LOG_GONE:
            if self._is_resuming:
                return DropReason.UNKNOWN_SESSION  # we do already what it asks for
            if self._may_come_back():
                self._begin_resume(self._session, now)
                return None
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
        if self._is_resuming:
            self._linger(now)
            self._disconnect(ByeReason.TIMEOUT)
            return []
        if self._handshake.server_fingerprint is None:
            hint = "is the relay running, are host and port right, does a firewall block UDP?"
        else:
            hint = "the relay is there but did not let us in; it may be overloaded"
        self._linger(now)
        self._disconnect(ByeReason.TIMEOUT, f"could not join within {self._request.deadline_s:g} s: {hint}")
        return []

    def _poll_session(self, session: Session, now: float) -> list[bytes]:
        if now >= session.timeout_at():
            if self._may_come_back():
                self._begin_resume(session, now)
                return self._handshake.poll(now)
            self._disconnect(ByeReason.TIMEOUT)
            return []
        session.room.expire(now)
        datagrams = []
        if self._path_response is not None:
            datagrams.append(self._path_response[1])
            self._path_response = None
        if now >= session.speak_at():
            datagrams.append(session.build_word(now))
        return datagrams

    def _begin_resume(self, session: Session, now: float) -> None:
        """Try to come back, as long as the server keeps our place (SPEC 4)."""
        self._ask_for_place(session, now, session.room.inbox.cursor, session.welcome.grace_s)
        self._is_resuming = self._awaits_welcome = True
        self._path_response = None
        self._events.append(ConnectionLost())

    def _ask_for_place(self, session: Session, now: float, log_index: int, within_s: float) -> None:
        """Begin an attempt to come back to where a session was, behind `log_index` if the server still has the rest."""
        self._num_resumes += 1
        fingerprint = self._handshake.server_fingerprint
        self._handshake = Handshake(
            replace(self._request, mode=JoinMode.RESUME, code="", resume=self.resume_token()),
            resume_nonce(session.welcome.secret, self._num_resumes),
            now,
            log_index=log_index,
            deadline_s=within_s,
        )
        self._handshake.server_fingerprint = fingerprint

    def _plan_bye(self, welcome: Welcome, now: float) -> None:
        self._bye = build_bye(welcome, ByeReason.LEFT)
        self._byes_left = BYE_COPIES
        self._bye_at = now

    def _linger(self, now: float) -> None:
        """Wait for the WELCOME of a JOIN that may be there, to answer it with BYE."""
        if self._awaits_welcome and self._handshake.has_sent_join:
            self._bye_at = self._linger_until = now + LINGER_S

    def _poll_bye(self, now: float) -> list[bytes]:
        if now < self._bye_at:
            return []
        if not self._byes_left:
            self._bye_at = math.inf  # no WELCOME came
            return []
        self._byes_left -= 1
        self._bye_at = now + BYE_INTERVAL_S if self._byes_left else self._linger_until
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
