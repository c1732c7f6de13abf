"""From the first HELLO to WELCOME or REFUSE (SPEC 4). One Handshake is one join attempt with one nonce.

GREETING sends HELLO until a CHALLENGE brings a cookie; JOINING sends JOIN with it until WELCOME. Three JOINs without
an answer go back to HELLO: the server may have been restarted, and its cookies with it.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from protocol import codec
from protocol.client.labels import label_options, properties_options, texts_options
from protocol.client.names import is_code
from protocol.client.request import JoinRequest
from protocol.client.resume import ResumeToken
from protocol.constants import (
    HELLO_BYTES,
    MAGIC,
    MAX_ENTITIES_PER_PLAYER,
    MAX_ENTITY_IDS,
    MAX_SLOTS,
    REVISION_MAX,
    REVISION_MIN,
    JoinMode,
    Kind,
    Option,
    Resumed,
    RoomFlag,
)
from protocol.drops import DropReason
from protocol.dtypes import HELLO_FIELDS, JOIN_FIELDS
from protocol.proofs import join_proof, resume_proof, room_key, shard_of
from protocol.schemas import RESUME_OPTION

RETRY_AFTER_S = (0.25, 0.5, 1.0)
"""Seconds until HELLO or JOIN is sent again; the last one repeats (SPEC 4)."""
MAX_JOINS = 3
"""JOINs without an answer before HELLO is sent again (SPEC 4)."""
JOIN_INTERVAL_S = 0.050
"""Least time between JOINs that the server causes: a hostile one that challenges for ever gets 20 a second."""
FEATURES = 0
"""Feature bits that this client has; none are defined yet."""


class ClientState(Enum):
    """Where a connection is (SPEC 13)."""

    GREETING = auto()
    JOINING = auto()
    JOINED = auto()
    """From WELCOME on; the event Joined comes when the room is whole."""
    RESUMING = auto()
    """The connection is lost and we try to come back."""
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Welcome:
    """The fields of WELCOME, checked."""

    session: int
    secret: bytes
    reset_token: bytes
    code: str
    player_id: int
    player_slots: int
    max_players: int
    entities_per_player: int
    max_state_bytes: int
    page_ids: int
    tick_rate: int
    tick: int
    log_index: int
    message_id: int
    message_credit: int
    keepalive_s: float
    timeout_s: float
    grace_s: int
    resumed: Resumed
    anyone_sets: bool


class Handshake:
    """One join attempt: what to send, when, and what the answers mean."""

    def __init__(
        self, request: JoinRequest, nonce: int, now: float, *, log_index: int = 0, deadline_s: float | None = None
    ) -> None:
        """Begin; the first HELLO is due at once.

        Args:
            request: What to join, or where to come back to.
            nonce: A number that nobody can guess.
            now: Monotonic seconds.
            log_index: For RESUME: our cursor, if we still have all that we were told; else 0.
            deadline_s: Instead of the request's.
        """
        self.state = ClientState.GREETING
        """GREETING or JOINING."""
        self.deadline_at = now + (request.deadline_s if deadline_s is None else deadline_s)
        """When the attempt has failed, monotonic seconds."""
        self.has_sent_join = False
        """A JOIN is or was under way: the server may have acted on it, whatever we heard."""
        self._log_index = log_index
        self.server_fingerprint: int | None = None
        """From the newest CHALLENGE; 0 if the server does not say, None before."""
        self._request = request
        self._nonce = nonce
        self._shard = shard_of(request.code.encode())
        self._key = room_key(request.password)
        self._join = b""
        self._num_sent = 0
        self._sent_at = -math.inf
        self._next_at = now

    def next_at(self) -> float:
        """Tell when `poll` has something to do, monotonic seconds."""
        return min(self._next_at, self.deadline_at)

    def poll(self, now: float) -> list[bytes]:
        """Build the HELLO or JOIN that is due, if one is. The caller checks the deadline."""
        if now < self._next_at:
            return []
        if self.state is ClientState.JOINING and self._num_sent == MAX_JOINS:
            self.state = ClientState.GREETING
            self._num_sent = 0
        wait_s = RETRY_AFTER_S[min(self._num_sent, len(RETRY_AFTER_S) - 1)]
        self._num_sent += 1
        self._sent_at = now
        self._next_at = now + wait_s
        if self.state is not ClientState.JOINING:
            return [self._build_hello()]
        self.has_sent_join = True
        return [self._join]

    def handle_challenge(self, value: Any, now: float) -> DropReason | None:
        """Take a CHALLENGE: JOIN with its cookie is due at once, but not more often than every JOIN_INTERVAL_S."""
        if value.nonce != self._nonce:
            return DropReason.STALE_JOIN
        if not REVISION_MIN <= value.revision <= REVISION_MAX:
            return DropReason.MALFORMED
        self.server_fingerprint = value.fingerprint
        self._join = self._build_join(value)
        if self.state is ClientState.JOINING:
            self._join_again(now)
        else:
            self._next_at = now
            self.state = ClientState.JOINING
            self._num_sent = 0
        return None

    def handle_update(self, now: float) -> None:
        """An UPDATE means that we are in, and WELCOME is lost or late: ask again before others speak to nobody."""
        if self.state is ClientState.JOINING:
            self._join_again(now)

    def handle_welcome(self, value: Any) -> Welcome | DropReason:
        """Check a WELCOME. It is taken in GREETING too: it may come late, after we went back to HELLO."""
        fields = value.fields
        if fields.nonce != self._nonce:
            return DropReason.STALE_JOIN
        code = fields.code.rstrip(b"\0").decode("latin-1")
        num_ids = fields.player_slots * fields.entities_per_player
        fits = (
            is_code(code)
            and fields.player_id < fields.player_slots <= MAX_SLOTS
            and 1 <= fields.entities_per_player <= MAX_ENTITIES_PER_PLAYER
            and num_ids <= MAX_ENTITY_IDS
            and fields.max_players >= 1
            and min(fields.max_state_bytes, fields.page_ids, fields.tick_rate) >= 1
            and min(fields.keepalive_ms, fields.timeout_ms) >= 1
            and fields.resumed in self._permitted_resumed()
        )
        return _welcome_of(fields, code) if fits else DropReason.MALFORMED

    def _permitted_resumed(self) -> tuple[Resumed, ...]:
        if self._request.mode is not JoinMode.RESUME:
            return (Resumed.NO,)
        # Who offered nothing to go on from cannot go on.
        return (Resumed.CONTINUED, Resumed.AFRESH) if self._log_index else (Resumed.AFRESH,)

    def _join_again(self, now: float) -> None:
        """Plan another JOIN soon, to a server that is there."""
        self._next_at = min(self._next_at, max(now, self._sent_at + JOIN_INTERVAL_S))
        self._num_sent = 0

    def is_own(self, nonce: int) -> bool:
        """Tell whether an answer belongs to this attempt."""
        return nonce == self._nonce

    def _build_hello(self) -> bytes:
        request = self._request
        fields = HELLO_FIELDS.encode(
            kind=Kind.HELLO,
            shard=self._shard,
            magic=MAGIC,
            nonce=self._nonce,
            revision_min=REVISION_MIN,
            revision_max=REVISION_MAX,
            features=FEATURES,
            fingerprint=codec.FINGERPRINT,
            client_name=request.client_name.encode(),
            client_release=request.client_release.encode(),
        )
        return fields.ljust(HELLO_BYTES, b"\0")

    def _build_join(self, challenge: Any) -> bytes:
        request = self._request
        fields = JOIN_FIELDS.encode(
            kind=Kind.JOIN,
            shard=self._shard,
            nonce=self._nonce,
            cookie=challenge.cookie,
            revision=challenge.revision,
            features=challenge.features & FEATURES,
            mode=request.mode,
            code=request.code.encode(),
            name=request.name.encode(),
        )
        options = self._options(challenge.cookie)
        return fields + b"".join(bytes((key,)) + codec.counted(value) for key, value in options)

    def _options(self, cookie: bytes) -> list[tuple[Option, bytes]]:
        request = self._request
        options = label_options((Option.GAME, request.game), (Option.GAME_VERSION, request.game_version))
        if request.resume is not None:
            options.append((Option.RESUME, self._resume_option(request.resume, cookie)))
        elif request.mode is not JoinMode.JOIN:
            options += self._room_options()
        if request.mode in (JoinMode.JOIN, JoinMode.JOIN_OR_CREATE) and self._key:
            options.append((Option.PROOF, join_proof(self._key, cookie, self._nonce)))
        if request.identity:
            options.append((Option.IDENTITY, request.identity))
        return options

    def _room_options(self) -> list[tuple[Option, bytes]]:
        """List what a room that is created is to be like."""
        request = self._request
        numbers = (
            (Option.MAX_PLAYERS, request.max_players, 2),
            (Option.ENTITIES_PER_PLAYER, request.entities_per_player, 2),
            (Option.MAX_STATE_BYTES, request.max_state_bytes, 1),
        )
        options = [(key, value.to_bytes(size, "little")) for key, value, size in numbers if value is not None]
        if self._key:
            options.append((Option.ROOM_KEY, self._key))
        flags = RoomFlag.ANYONE_SETS * request.anyone_sets | RoomFlag.LISTED * request.listed
        if flags:
            options.append((Option.ROOM_FLAGS, bytes([flags])))
        options += label_options((Option.ROOM_NAME, request.room_name))
        options += texts_options((Option.TAGS, request.tags), (Option.SHOWN, request.shown))
        return options + properties_options(request.properties)

    def _resume_option(self, token: ResumeToken, cookie: bytes) -> bytes:
        proof = resume_proof(token.secret, cookie, self._nonce, token.session)
        value: bytes = RESUME_OPTION.build({"session": token.session, "log_index": self._log_index, "proof": proof})
        return value


def _welcome_of(fields: Any, code: str) -> Welcome:
    return Welcome(
        session=fields.session,
        secret=fields.secret,
        reset_token=fields.reset_token,
        code=code,
        player_id=fields.player_id,
        player_slots=fields.player_slots,
        max_players=fields.max_players,
        entities_per_player=fields.entities_per_player,
        max_state_bytes=fields.max_state_bytes,
        page_ids=fields.page_ids,
        tick_rate=fields.tick_rate,
        tick=fields.tick,
        log_index=fields.log_index,
        message_id=fields.message_id,
        message_credit=fields.message_credit,
        keepalive_s=fields.keepalive_ms / 1000,
        timeout_s=fields.timeout_ms / 1000,
        grace_s=fields.grace_s,
        resumed=Resumed(fields.resumed),
        anyone_sets=bool(fields.room_flags & RoomFlag.ANYONE_SETS),
    )
