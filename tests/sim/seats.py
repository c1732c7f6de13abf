"""Who sits where, from the wire alone: sessions chained by resumes, what a JOIN proved, who is banned.

A `Seat` is one player's place in one opening of a room, from its WELCOME to its end. A resume gives it another session;
at any time one session of a seat lives, its newest.
"""

import hmac
from dataclasses import dataclass, field
from typing import Any

from construct import ConstructError

from protocol import codec, schemas
from protocol.constants import ByeReason, JoinMode, Option, Refusal, Resumed
from protocol.proofs import resume_proof

MAX_FORMER = 4
"""So many sessions that never spoke leave the one before them good for another resume."""


class WiretapError(Exception):
    """A datagram that must not have been sent."""


@dataclass(eq=False)
class Seat:
    """One player's place in one opening of a room."""

    player_id: int
    room: int
    identity: bytes
    sessions: list["TappedSession"] = field(default_factory=list)
    """Oldest first."""
    is_over: bool = False

    @property
    def newest(self) -> "TappedSession":
        """The session that lives, or lived last."""
        return self.sessions[-1]

    @property
    def is_live(self) -> bool:
        """True until the server or the player has ended it."""
        return not self.is_over and not self.newest.said_bye


@dataclass(eq=False)
class TappedSession:
    """What was sent to one session."""

    session: int
    nonce: int
    secret: bytes
    player_id: int
    player_slots: int
    room: int
    log_start: int
    resumed: int
    seat: Seat
    addresses: set[bytes]
    former: "TappedSession | None" = None
    """The one that its resume named."""
    indexes: set[int] = field(default_factory=set)
    """Log indexes whose entries were sent to it."""
    update_bytes: int = 0
    has_spoken: bool = False
    """A DATA of it reached the server."""
    said_bye: bool = False


@dataclass
class Attempt:
    """What JOINs with one nonce asked for."""

    mode: int
    identity: bytes
    former: TappedSession | None = None
    """Of a resume: the session that it names, if there ever was one."""
    is_proven: bool = False
    """Of a resume: it knows that session's secret."""
    is_good: bool = False
    """Of a resume: when a JOIN arrived, that session or the secret of it was not yet over."""


class SeatBook:
    """Watches handshakes and ends."""

    def __init__(self) -> None:
        self.sessions: dict[int, TappedSession] = {}
        self.by_nonce: dict[int, TappedSession] = {}
        self.seats: list[Seat] = []
        self.attempts: dict[int, Attempt] = {}
        """By nonce."""
        self.banned: set[tuple[int, bytes]] = set()
        """(room, identity)"""
        self.num_rooms = 0
        self._newest_room: dict[bytes, int] = {}

    # --- from players

    def on_join(self, value: Any) -> Attempt:
        """A JOIN with a cookie that its address was given reached the server."""
        fields, options = value.fields, codec.options_of(value)
        made = Attempt(fields.mode, options.get(Option.IDENTITY, b""))
        attempt = self.attempts.setdefault(fields.nonce, made)
        if fields.mode == JoinMode.RESUME:
            try:
                option = schemas.RESUME_OPTION.parse(options.get(Option.RESUME, b""))
            except ConstructError:
                return attempt
            attempt.former = former = self.sessions.get(option.session)
            if former is not None:
                proof = resume_proof(former.secret, fields.cookie, fields.nonce, option.session)
                attempt.is_proven |= hmac.compare_digest(proof, option.proof)
                attempt.is_good |= is_good_for_resume(former)
        return attempt

    def on_data(self, session_id: int) -> None:
        """A DATA reached the server."""
        session = self.sessions.get(session_id)
        if session is not None:
            session.has_spoken = True

    def on_bye_of_player(self, session_id: int) -> None:
        """A BYE reached the server."""
        session = self.sessions.get(session_id)
        if session is not None:
            session.said_bye = True

    # --- from the server

    def on_bye_of_server(self, session_id: int, reason: int) -> None:
        """The server said BYE."""
        session = self.sessions.get(session_id)
        if session is None or reason in (ByeReason.REPLACED, ByeReason.SHUTDOWN, ByeReason.LOG_GONE):
            return
        seat = session.seat
        if session is not seat.newest:
            raise WiretapError(f"player id {seat.player_id}'s former session was ended as {ByeReason(reason).name}")
        seat.is_over = True
        if reason == ByeReason.BANNED and seat.identity:
            self.banned.add((seat.room, seat.identity))

    def on_refuse(self, nonce: int, reason: int) -> None:
        """The server refused a JOIN. Raises: WiretapError if it had to let somebody back in."""
        attempt = self.attempts.get(nonce)
        if reason in (Refusal.CANNOT_RESUME, Refusal.BANNED) and attempt is not None and attempt.is_proven:
            former = attempt.former
            assert former is not None
            if reason == Refusal.BANNED and (former.seat.room, former.seat.identity) in self.banned:
                return
            if former.seat.is_live and is_good_for_resume(former):
                raise WiretapError(f"player id {former.player_id} was refused the place that is kept for it")

    def on_welcome(self, fields: Any, addresses: set[bytes]) -> TappedSession:
        """The server gave a new session. Raises: WiretapError if it must not have."""
        attempt = self.attempts.get(fields.nonce, Attempt(JoinMode.JOIN, b""))
        if (attempt.mode == JoinMode.RESUME) != (fields.resumed != Resumed.NO):
            raise WiretapError(f"a JOIN of mode {attempt.mode} was answered by a WELCOME that says {fields.resumed}")
        seat = self._seat_back(attempt, fields) if fields.resumed else self._new_seat(attempt, fields)
        if (seat.room, seat.identity) in self.banned or (seat.room, attempt.identity) in self.banned:
            raise WiretapError(f"somebody who is banned got in as player id {fields.player_id}")
        session = TappedSession(
            fields.session, fields.nonce, fields.secret, fields.player_id, fields.player_slots, seat.room,
            fields.log_index, fields.resumed, seat, addresses, attempt.former if fields.resumed else None,
        )  # fmt: skip
        seat.sessions.append(session)
        self.sessions[session.session] = self.by_nonce[session.nonce] = session
        return session

    def _seat_back(self, attempt: Attempt, fields: Any) -> Seat:
        former = attempt.former
        if former is None or not attempt.is_proven:
            raise WiretapError(f"player id {fields.player_id} was given to who did not prove to have been it")
        seat = former.seat
        if not attempt.is_good or seat.is_over:
            raise WiretapError(f"player id {fields.player_id} was resumed from a session that was over")
        if fields.player_id != seat.player_id:
            raise WiretapError(f"player id {seat.player_id} came back as {fields.player_id}")
        return seat

    def _new_seat(self, attempt: Attempt, fields: Any) -> Seat:
        if fields.log_index == 0:
            self._newest_room[fields.code] = self.num_rooms
            self.num_rooms += 1
        seat = Seat(fields.player_id, self._newest_room[fields.code], attempt.identity)
        for other in self.seats:
            if (other.room, other.player_id) == (seat.room, seat.player_id) and other.is_live:
                raise WiretapError(f"player id {seat.player_id} was given twice")
        self.seats.append(seat)
        return seat

    def on_restart(self) -> None:
        """The server is another one: nobody has a seat any more."""
        for seat in self.seats:
            seat.is_over = True


def is_good_for_resume(session: TappedSession) -> bool:
    """Tell whether a session can be resumed: it is its seat's newest, or none of those after it has spoken."""
    seat = session.seat
    after = seat.sessions[seat.sessions.index(session) + 1 :]
    return seat.is_live and len(after) <= MAX_FORMER and not any(one.has_spoken for one in after)
