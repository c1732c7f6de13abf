"""Who is who in a capture: join attempts, sessions, players and rooms, and what became of each datagram.

A relay's own drops are not in a capture. What is said of them here is derived: from the codec and the rules of SPEC 11
(`problems`), from a receive window per direction and session (`streams`), and from the end of a session if that was
captured. NOT_DERIVED names what stays unknown.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocol import codec, schemas
from protocol.constants import MAX_STATE_BYTES, PROOF_BYTES, AckFlag, ByeReason, Kind, Option, Refusal
from protocol.drops import DropReason
from protocol.dtypes import DATA_HEADER, UPDATE_HEADER
from tools.dump.datagrams import NOWHERE, Datagram, Direction, Endpoint
from tools.dump.fields import id_text
from tools.dump.hot import Hot, read_hot
from tools.dump.problems import Problem, find_problem
from tools.dump.recognise import DOWN_KINDS, UP_KINDS
from tools.dump.streams import Stream

MAX_KNOWN = 200_000
"""Sessions, and join attempts, that are remembered; beyond it the oldest are forgotten and seem new (chosen: a flood
of HELLO must not fill the memory of who watches it)."""
NOT_DERIVED = (
    "budgets (OVER_RATE, COLD_BUDGET ...), cookies and nonces (STALE_COOKIE, STALE_JOIN), BAD_ACK, path proofs, and "
    "single states, messages and signals that were not taken (NOT_OWNER, LOG_FULL ...)"
)
"""Reasons of SPEC 11 that the bytes alone do not show."""


@dataclass(eq=False, slots=True)
class Attempt:
    """One join attempt: all datagrams with its nonce."""

    nonce: int
    """64 random bits of the client."""
    began_s: float
    """When its first datagram was seen, seconds since 1970."""
    name: str = ""
    """Of the player, from JOIN."""
    code: str = ""
    """Of the room, from JOIN; what WELCOME says counts more."""
    former: "Session | None" = None
    """The one that it asks to go on with; None if it asks for none, or that was not captured."""
    answer: str = ""
    """WELCOME, or why not."""
    session: "Session | None" = None
    """What it became; None before WELCOME, and without one."""


@dataclass(eq=False, slots=True)
class Session:
    """One session, as far as it was captured."""

    session: int
    """Id on the wire, 64 bits."""
    relay: Endpoint
    """Where its relay was seen to be."""
    began_s: float
    """When its first datagram was seen, seconds since 1970."""
    attempt: Attempt | None = None
    """None if its WELCOME was not captured."""
    welcome: Any = None
    """Fields of WELCOME; None if it was not captured."""
    max_state_bytes: int = MAX_STATE_BYTES
    """Longest state of its room; the protocol's limit if the room's is not known."""
    client: Endpoint = NOWHERE
    """Newest address of the client."""
    newest_s: float = 0.0
    """When its newest DATA or UPDATE was seen that was not dropped, seconds since 1970; 0 before any."""
    ended: str = ""
    """How it ended; empty while it lives."""
    ended_s: float | None = None
    """When BYE or RESET was seen, seconds since 1970; None while it lives."""
    up: Stream = field(default_factory=lambda: Stream(False))
    """DATA, from the client."""
    down: Stream = field(default_factory=lambda: Stream(False))
    """UPDATE, to the client."""

    @property
    def code(self) -> str:
        """Room code; empty if it is not known."""
        return text_of(self.welcome.code) if self.welcome is not None else ""

    @property
    def player_id(self) -> int | None:
        """Slot number in the room; None if it is not known."""
        return int(self.welcome.player_id) if self.welcome is not None else None

    @property
    def name(self) -> str:
        """Name of the player; empty if it is not known."""
        return self.attempt.name if self.attempt is not None else ""

    def stream(self, direction: Direction) -> Stream:
        """Return DATA or UPDATE."""
        return self.up if direction is Direction.UP else self.down


@dataclass(eq=False, slots=True)
class Seen:
    """One datagram with all that is known of it."""

    datagram: Datagram
    """Its bytes, when, and between whom."""
    kind: int
    """First byte; -1 of an empty datagram."""
    direction: Direction
    """Which way it went."""
    session: Session | None = None
    """Whose it is; None before WELCOME, and if nobody's."""
    attempt: Attempt | None = None
    """The join attempt that it is of, or that its session began with; None if that was not captured."""
    problem: Problem | None = None
    """What is wrong with its bytes; it is shown whatever else is true of it."""
    dropped: DropReason | None = None
    """Why a receiver that got exactly the captured datagrams would drop it; None if it would take it."""
    dropped_text: str = ""
    """The same for a human; empty if it would be taken."""
    seq: int | None = None
    """Extended sequence number of DATA and UPDATE; whole if `session` was captured from its begin."""
    ahead: int = 0
    """How far `seq` is ahead of the newest before it: 1 in order, more after a gap, below 0 late; 0 if dropped."""
    round_trip_s: float | None = None
    """Seconds from the datagram that this one newly acknowledges, as measured where the capture was made."""
    lost_s: Sequence[float] = ()
    """When datagrams of the other direction were seen that this one shows to be lost behind the place of capture."""

    @property
    def room(self) -> str:
        """Room code; empty if it is not known."""
        if self.session is not None and self.session.welcome is not None:
            return self.session.code
        return self.attempt.code if self.attempt is not None else ""

    @property
    def player(self) -> str:
        """Name of the player; empty if it is not known."""
        if self.session is not None and self.session.name:
            return self.session.name
        return self.attempt.name if self.attempt is not None else ""

    @property
    def kind_name(self) -> str:
        """Name of the kind, or its number."""
        return kind_name(self.kind)

    def value(self) -> Any:
        """Decode it by the codec. Returns: a Container, or a DropReason."""
        return codec.decode(self.datagram.data)


@dataclass
class Batch:
    """Datagrams that were read together, and the columns of those that are hot."""

    seen: list[Seen]
    """In the order in which they were seen."""
    data: Hot
    """Its `place` counts along `seen`."""
    update: Hot
    """Its `place` counts along `seen`."""


KIND_NAMES = {int(kind): kind.name for kind in Kind}
RESUME_BYTES = 8 + 4 + PROOF_BYTES
"""session, log_index, proof."""
_NOTHING_RECEIVED = int(AckFlag.NOTHING_RECEIVED)
"""As a plain number: it is looked at once per datagram, and an IntFlag makes an object each time."""
_HOT_WAYS = {int(Kind.DATA): Direction.UP, int(Kind.UPDATE): Direction.DOWN}
_CLIENT_SIDE = frozenset(int(kind) for kind in UP_KINDS)
_SERVER_SIDE = frozenset(int(kind) for kind in DOWN_KINDS)
_BY_NONCE = frozenset(
    {Kind.HELLO, Kind.CHALLENGE, Kind.JOIN, Kind.LIST, Kind.REFUSE, Kind.REDIRECT, Kind.WELCOME, Kind.ROOMS}
)
_BY_SESSION = frozenset({Kind.BYE, Kind.RESET, Kind.PATH_CHALLENGE, Kind.PATH_RESPONSE})


class Sessions:
    """Follows all sessions of a capture, one batch of datagrams after the other."""

    def __init__(self) -> None:
        self.sessions: OrderedDict[tuple[Endpoint, int], Session] = OrderedDict()
        """By relay and session id; the same session seen at two relays is a proxy between them, and stays two."""
        self.attempts: OrderedDict[tuple[Endpoint, int], Attempt] = OrderedDict()
        """By relay and nonce."""
        self._by_client: OrderedDict[tuple[Endpoint, Endpoint], Session] = OrderedDict()
        """By relay and address of the client: the newest session there."""

    def read(self, datagrams: Sequence[Datagram]) -> Batch:
        """Take the next datagrams, in the order in which they were seen. Raises: nothing, whatever the bytes."""
        payloads = [datagram.data for datagram in datagrams]
        data, update = read_hot(Kind.DATA, payloads), read_hot(Kind.UPDATE, payloads)
        hot: list[tuple[Any, bool, int] | None] = [None] * len(payloads)
        is_cut = np.array([datagram.missing_bytes > 0 for datagram in datagrams], np.bool_)
        for columns in (data, update):
            columns.certain &= ~is_cut[columns.place]  # cut between two sections it would pass for a whole one
            facts = zip(columns.header.tolist(), columns.certain.tolist(), columns.max_stride.tolist())
            for place, fact in zip(columns.place.tolist(), facts):
                hot[place] = fact
        seen = [self._read_one(datagram, fact) for datagram, fact in zip(datagrams, hot)]
        return Batch(seen, data, update)

    def _read_one(self, datagram: Datagram, hot: tuple[Any, bool, int] | None) -> Seen:
        payload = datagram.data
        kind = payload[0] if payload else -1
        seen = Seen(datagram, kind, _direction_of(datagram, kind))
        if datagram.missing_bytes:
            seen.problem = Problem(None, len(payload), f"the capture left out {datagram.missing_bytes} bytes")
        elif hot is None or seen.direction is not _HOT_WAYS[kind]:
            seen.problem = find_problem(payload) or _wrong_way(seen)
        if hot is not None and seen.direction is _HOT_WAYS[kind]:
            self._handle_hot(seen, *hot)
        elif seen.problem is None:
            self._handle_cold(seen)
        else:
            self._attribute(seen)
        if seen.problem is not None and seen.problem.reason is not None and seen.dropped is None:
            _drop(seen, seen.problem.reason, seen.problem.text)
        return seen

    def _attribute(self, seen: Seen) -> None:
        """Find whose a datagram is that cannot be read: the session at the same address."""
        flow = seen.datagram.flow
        client = flow.source if flow.relay == flow.target else flow.target
        session = self._by_client.get((flow.relay, client))
        if session is not None:
            seen.session, seen.attempt = session, session.attempt

    # --- DATA and UPDATE

    def _handle_hot(self, seen: Seen, header: tuple[int, ...], certain: bool, max_stride: int) -> None:
        """`header`: the fields of DATA or UPDATE; the first eight are the same."""
        _, _, low_seq, session_id, ack, ack_bits, ack_delay, flags = header[:8]
        session = self._session_of(seen, session_id)
        time_s = seen.datagram.time_s
        stream = session.stream(seen.direction)
        stream.num_datagrams += 1
        stream.num_bytes += seen.datagram.size
        seen.seq = seq = stream.extend(low_seq)
        if seen.problem is None and not (certain and max_stride <= session.max_state_bytes):
            seen.problem = find_problem(seen.datagram.data, session.max_state_bytes)
        if session.ended_s is not None:
            stream.num_bad += 1
            _drop(seen, DropReason.UNKNOWN_SESSION, f"the session had ended: {session.ended}")
            return
        window_reason = stream.check(seq)
        if window_reason is not None:
            _drop(seen, window_reason, f"newest is {(stream.newest & 0xFFFF)}")
            return
        if seen.problem is not None and seen.problem.reason is not None:
            stream.num_bad += 1
            return
        seen.ahead = stream.accept(seq, time_s)
        session.newest_s = time_s
        if seen.direction is Direction.UP and session.client != seen.datagram.flow.source:
            self._move(session, seen.datagram.flow.source)
        if not flags & _NOTHING_RECEIVED and seen.ahead > 0:
            other = session.down if seen.direction is Direction.UP else session.up
            seen.round_trip_s = other.handle_ack(ack, ack_bits, ack_delay, time_s)
            if other.newly_lost_s:
                seen.lost_s = other.newly_lost_s

    def _move(self, session: Session, client: Endpoint) -> None:
        session.client = client
        if client is not NOWHERE:
            _put(self._by_client, (session.relay, client), session)

    def _session_of(self, seen: Seen, session_id: int) -> Session:
        """Find a session, or note one whose begin was not captured."""
        key = seen.datagram.flow.relay, session_id
        session = self.sessions.get(key)
        if session is None:
            session = Session(session_id, key[0], seen.datagram.time_s)
            _put(self.sessions, key, session)
        seen.session = session
        seen.attempt = session.attempt
        return session

    # --- all others

    def _handle_cold(self, seen: Seen) -> None:
        value = seen.value()
        if seen.kind in _BY_NONCE:
            self._handle_by_nonce(seen, value.fields if "fields" in value else value)
        elif seen.kind in _BY_SESSION:
            self._handle_by_session(seen, value)

    def _handle_by_nonce(self, seen: Seen, fields: Any) -> None:
        key = seen.datagram.flow.relay, fields.nonce
        attempt = self.attempts.get(key)
        if attempt is None:
            attempt = Attempt(fields.nonce, seen.datagram.time_s)
            _put(self.attempts, key, attempt)
        seen.attempt = attempt
        seen.session = attempt.session
        if seen.kind == Kind.JOIN:
            attempt.name, attempt.code = text_of(fields.name), text_of(fields.code)
            attempt.former = self._former_of(seen)
            if attempt.former is not None:  # the player keeps its name, whatever stands in the JOIN
                attempt.name = attempt.former.name or attempt.name
        elif seen.kind == Kind.ROOMS:
            attempt.answer = "ROOMS"
        elif seen.kind == Kind.REFUSE:
            attempt.answer = f"REFUSE {name_of(Refusal, fields.reason)}"
        elif seen.kind == Kind.WELCOME:
            self._handle_welcome(seen, attempt, fields)

    def _handle_welcome(self, seen: Seen, attempt: Attempt, fields: Any) -> None:
        key = seen.datagram.flow.relay, fields.session
        session = self.sessions.get(key)
        if session is None:
            # What came before WELCOME was captured belongs to the session too: numbers begin at 1.
            session = Session(fields.session, key[0], seen.datagram.time_s, up=Stream(True), down=Stream(True))
            _put(self.sessions, key, session)
        if session.welcome is None:
            session.welcome, session.attempt, attempt.session = fields, attempt, session
            session.max_state_bytes = int(fields.max_state_bytes)
            self._move(session, seen.datagram.flow.target)
            session.newest_s = seen.datagram.time_s
            attempt.answer = "WELCOME"
            if attempt.former is not None and attempt.former.ended_s is None:
                self._end(attempt.former, seen, f"resumed as {id_text(session.session)}")
        seen.session = session

    def _former_of(self, seen: Seen) -> Session | None:
        """Find the session that a JOIN asks to go on with."""
        value = codec.options_of(seen.value()).get(Option.RESUME, b"")
        if len(value) != RESUME_BYTES:
            return None
        return self.sessions.get((seen.datagram.flow.relay, schemas.RESUME_OPTION.parse(value).session))

    def _handle_by_session(self, seen: Seen, value: Any) -> None:
        session = self.sessions.get((seen.datagram.flow.relay, value.session))
        if session is None:
            return
        seen.session, seen.attempt = session, session.attempt
        if session.ended_s is not None:
            _drop(seen, DropReason.UNKNOWN_SESSION, f"the session had ended: {session.ended}")
        elif seen.kind == Kind.BYE:
            by = {Direction.UP: " by the client", Direction.DOWN: " by the relay"}.get(seen.direction, "")
            self._end(session, seen, f"BYE {name_of(ByeReason, value.reason)}{by}")
        elif seen.kind == Kind.RESET:
            self._end(session, seen, "RESET by a relay that did not know it")

    def _end(self, session: Session, seen: Seen, how: str) -> None:
        session.ended, session.ended_s = how, seen.datagram.time_s


def kind_name(kind: int) -> str:
    """Name a kind; one that is not given keeps its number, and -1 is an empty datagram."""
    return KIND_NAMES.get(kind, f"kind {kind}" if kind >= 0 else "nothing")


def _direction_of(datagram: Datagram, kind: int) -> Direction:
    """Which way it went: by its addresses if they are known, by its kind if that tells."""
    if datagram.flow.direction is not Direction.UNKNOWN:
        return datagram.flow.direction
    if kind in _CLIENT_SIDE and kind not in _SERVER_SIDE:
        return Direction.UP
    return Direction.DOWN if kind in _SERVER_SIDE and kind not in _CLIENT_SIDE else Direction.UNKNOWN


def _wrong_way(seen: Seen) -> Problem | None:
    """A kind that this side does not send is unknown to the other (SPEC 11, step 2)."""
    permitted = {Direction.UP: _CLIENT_SIDE, Direction.DOWN: _SERVER_SIDE}.get(seen.direction)
    if permitted is None or seen.kind in permitted:
        return None
    return Problem(DropReason.UNKNOWN_KIND, 0, f"{seen.kind_name} does not go {seen.direction.value}")


def _drop(seen: Seen, reason: DropReason, text: str) -> None:
    seen.dropped, seen.dropped_text = reason, text


def _put(known: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    if len(known) >= MAX_KNOWN:
        known.popitem(last=False)
    known[key] = value


def text_of(padded: bytes) -> str:
    """Read a fixed text field for people: without its padding, and without what could steer a terminal."""
    return printable(padded.rstrip(b"\0"))


def printable(data: bytes) -> str:
    """Read UTF-8 for people: what is none, and control characters, become visible escapes."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def name_of(enum: Any, number: int) -> str:
    """Name a number of an enumeration; one that is not in it stays a number."""
    try:
        return str(enum(number).name)
    except ValueError:
        return str(number)


def label_of(session: Session | None, attempt: Attempt | None) -> str:
    """Name a player for people: by name and number, else by session, else by nonce."""
    if session is not None and session.name:
        return f"{session.name} #{session.player_id}"
    if session is not None:
        return id_text(session.session)
    if attempt is None:
        return "-"
    return attempt.name or id_text(attempt.nonce)


HEADERS = {int(Kind.DATA): DATA_HEADER, int(Kind.UPDATE): UPDATE_HEADER}
"""Kinds with a sequence number, and how to read their headers."""
