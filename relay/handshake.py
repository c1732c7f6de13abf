"""Everything before a session: HELLO, JOIN, PING, and the cookies that prove an address (SPEC 4).

Nothing is remembered about an address that has not proved itself, and no answer to one is larger than its request.
This is per-datagram Python: joining is rare, and the engine bounds how much of it a pass may do.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, NamedTuple

from construct import ConstructError

from protocol import codec, dtypes, schemas
from protocol.constants import (
    HELLO_BYTES,
    IDENTITY_BYTES,
    MAGIC,
    MAX_TEXT_BYTES,
    NAME_BYTES,
    PING_BYTES,
    RELEASE_BYTES,
    RESET_TOKEN_BYTES,
    REVISION_MAX,
    REVISION_MIN,
    JoinMode,
    Kind,
    ListFlag,
    Option,
    Refusal,
)
from protocol.drops import DropReason
from protocol.proofs import join_proof
from protocol.texts import REFUSAL_TEXTS, version_text
from relay.config import RelayConfig
from relay.directory import Wish
from relay.roomoptions import Refused, RoomOptions, read_labels, read_properties, read_room_options, read_tags
from relay.rooms import is_code

COOKIE_SLOT_S = 10.0
"""A cookie is good for the rest of its slot and the next one: 10 to 20 s (SPEC 4: at least 10)."""
COOKIE_MEMORY_S = 2 * COOKIE_SLOT_S
"""After this no cookie for a nonce can be acceptable any more."""
FEATURES = 0
"""Feature bits this relay knows."""
OPTION_HEAD_BYTES = 2
"""Key and length before an option's value."""


class Join(NamedTuple):
    """A JOIN or LIST as it stands on the wire."""

    fields: Any
    """Those of `schemas.JOIN_FIELDS` or `schemas.LIST_FIELDS`."""
    options: dict[int, bytes]
    """Of a key that stands twice the first counts."""


@dataclass(frozen=True)
class JoinRequest:
    """A JOIN whose cookie was good and whose fields are in order."""

    nonce: int
    mode: JoinMode
    code: bytes
    name: str
    options: RoomOptions
    proof: bytes
    cookie: bytes
    identity: bytes
    """16 bytes, or b""."""


@dataclass(frozen=True)
class ResumeRequest:
    """A JOIN of a player who was here, whose cookie was good and whose fields are in order."""

    nonce: int
    code: bytes
    cookie: bytes
    session: int
    """The session that it had."""
    log_index: int
    """All up to here it has been told, 0: nothing."""
    proof: bytes
    identity: bytes
    """16 bytes, or b""."""
    game: bytes
    """Of the room."""


class Cookies:
    """Stateless proofs of address, and the tokens by which a restarted relay is known."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _tag(self, purpose: bytes, message: bytes, size: int) -> bytes:
        return hashlib.blake2s(message, key=self._secret, person=purpose, digest_size=size).digest()

    def issue(self, address: bytes, nonce: int, now: float) -> bytes:
        """Make the cookie of this address and nonce for the present time slot: slot u32, keyed hash 16 bytes."""
        slot = (int(now // COOKIE_SLOT_S) & 0xFFFFFFFF).to_bytes(4, "little")
        return slot + self._tag(b"cookie", slot + address + nonce.to_bytes(8, "little"), 16)

    def check(self, cookie: bytes, address: bytes, nonce: int, now: float) -> bool:
        """Tell whether a cookie was issued to this address and nonce, in this time slot or the one before."""
        age = (int(now // COOKIE_SLOT_S) - int.from_bytes(cookie[:4], "little")) & 0xFFFFFFFF
        if age > 1:
            return False
        expected = self._tag(b"cookie", cookie[:4] + address + nonce.to_bytes(8, "little"), 16)
        return hmac.compare_digest(cookie[4:], expected)

    def reset_token(self, session_id: int) -> bytes:
        """Make the token that WELCOME shows and RESET proves. The same after a restart with the same secret."""
        return self._tag(b"reset", session_id.to_bytes(8, "little"), RESET_TOKEN_BYTES)

    def path_challenge(self, address: bytes, session_id: int, now: float) -> int:
        """Make the challenge for a session's new address in the present time slot. Nothing is remembered."""
        return self._path_challenge_of(int(now // COOKIE_SLOT_S), address, session_id)

    def check_path_challenge(self, challenge: int, address: bytes, session_id: int, now: float) -> bool:
        """Tell whether a challenge was made for this address and session, in this time slot or the one before."""
        slot = int(now // COOKIE_SLOT_S)
        return challenge in (self._path_challenge_of(s, address, session_id) for s in (slot, slot - 1))

    def _path_challenge_of(self, slot: int, address: bytes, session_id: int) -> int:
        message = (slot & 0xFFFFFFFF).to_bytes(4, "little") + address + session_id.to_bytes(8, "little")
        return int.from_bytes(self._tag(b"path", message, 8), "little")


def answer_hello(data: bytes, address: bytes, cookies: Cookies, now: float) -> bytes | DropReason:
    """Answer HELLO by CHALLENGE, or by REFUSE if no revision is common."""
    if len(data) < HELLO_BYTES:
        return DropReason.TOO_SHORT
    hello = dtypes.HELLO_FIELDS.decode(data)
    if hello.magic != MAGIC:
        return DropReason.BAD_MAGIC
    if hello.revision_min > REVISION_MAX or hello.revision_max < REVISION_MIN:
        text = version_text(hello.revision_min, hello.revision_max, REVISION_MIN, REVISION_MAX)
        return build_refuse(hello.nonce, Refused(Refusal.VERSION, text))
    revision = min(hello.revision_max, REVISION_MAX)
    return build_challenge(hello.nonce, revision, hello.features & FEATURES, cookies.issue(address, hello.nonce, now))


def build_challenge(nonce: int, revision: int, features: int, cookie: bytes) -> bytes:
    """Build CHALLENGE."""
    return dtypes.CHALLENGE.encode(Kind.CHALLENGE, 0, nonce, revision, features, codec.FINGERPRINT, cookie)


def build_refuse(nonce: int, refused: Refused) -> bytes:
    """Build REFUSE with a text a player can read."""
    text = refused.text or REFUSAL_TEXTS[refused.reason]
    return codec.encode(
        Kind.REFUSE,
        shard=0,
        nonce=nonce,
        reason=refused.reason,
        revision_min=REVISION_MIN,
        revision_max=REVISION_MAX,
        text=codec.text_bytes(text, MAX_TEXT_BYTES),
    )


def answer_ping(data: bytes, config: RelayConfig, load_percent: int, players: int, rooms: int) -> bytes | DropReason:
    """Answer PING by PONG."""
    if len(data) < PING_BYTES:
        return DropReason.TOO_SHORT
    ping = dtypes.PING_FIELDS.decode(data)
    if ping.magic != MAGIC:
        return DropReason.BAD_MAGIC
    return codec.encode(
        Kind.PONG,
        shard=0,
        nonce=ping.nonce,
        revision_min=REVISION_MIN,
        revision_max=REVISION_MAX,
        release=config.release.encode()[:RELEASE_BYTES].ljust(RELEASE_BYTES, b"\0"),
        tick_rate=config.tick_rate,
        load_percent=min(load_percent, 255),
        players=players,
        max_players=config.max_players,
        rooms=rooms,
        later=codec.counted(config.region.encode()),
    )


def read_join(data: bytes, layout: dtypes.Record = dtypes.JOIN_FIELDS) -> Join | DropReason:
    """Read JOIN or LIST: what `codec.decode` reads, in a tenth of its time, for thousands may join in a second."""
    at = layout.size
    if len(data) < at:
        return DropReason.MALFORMED
    options: dict[int, bytes] = {}
    while at < len(data):
        begin = at + OPTION_HEAD_BYTES
        if begin > len(data) or (end := begin + data[at + 1]) > len(data):
            return DropReason.MALFORMED
        options.setdefault(data[at], data[begin:end])
        at = end
    return Join(layout.decode(data), options)


def check_resume(value: Join) -> ResumeRequest | Refused:
    """Check what a JOIN of mode RESUME with a good cookie says, whatever sessions there are."""
    fields, options = value
    refused = _check_revision(fields.revision)
    if refused is not None:
        return refused
    try:
        option = schemas.RESUME_OPTION.parse(options.get(Option.RESUME, b""))
    except ConstructError:
        return Refused(Refusal.BAD_OPTIONS)
    code = fields.code.rstrip(b"\0")
    identity, game = options.get(Option.IDENTITY, b""), options.get(Option.GAME, b"")
    if len(identity) not in (0, IDENTITY_BYTES):
        return Refused(Refusal.BAD_OPTIONS)
    return ResumeRequest(
        fields.nonce, code, fields.cookie, option.session, option.log_index, option.proof, identity, game
    )


def check_list(value: Join) -> Wish | Refused:
    """Check what a LIST asks for."""
    fields, options = value
    refused = _check_revision(fields.revision)
    if refused is not None:
        return refused
    labels, tags, properties = read_labels(options), read_tags(options), read_properties(options)
    if labels is None or tags is None or properties is None:
        return Refused(Refusal.BAD_OPTIONS)
    game, version = labels
    is_open = bool(fields.flags & ListFlag.OPEN_ONLY)
    return Wish(game=game, version=version, tags=tags, properties=properties, is_open=is_open)


def check_join(value: Join, config: RelayConfig) -> JoinRequest | Refused:
    """Check what a JOIN with a good cookie asks for, whatever rooms there are."""
    fields, options = value
    refused = _check_revision(fields.revision)
    if refused is not None:
        return refused
    if fields.mode not in (JoinMode.CREATE, JoinMode.JOIN, JoinMode.JOIN_OR_CREATE, JoinMode.QUICK):
        return Refused(Refusal.UNSUPPORTED)
    code, name = fields.code.rstrip(b"\0"), _read_name(fields.name)
    if name is None:
        return Refused(Refusal.BAD_NAME)
    needs_code = fields.mode in (JoinMode.JOIN, JoinMode.JOIN_OR_CREATE)
    if not is_code(code) and (code or needs_code):
        return Refused(Refusal.BAD_CODE)
    identity = options.get(Option.IDENTITY, b"")
    if len(identity) not in (0, IDENTITY_BYTES):
        return Refused(Refusal.BAD_OPTIONS)
    room_options = read_room_options(options, config)
    if isinstance(room_options, Refused):
        return room_options
    return JoinRequest(
        fields.nonce,
        JoinMode(fields.mode),
        code,
        name,
        room_options,
        options.get(Option.PROOF, b""),
        fields.cookie,
        identity,
    )


def _check_revision(revision: int) -> Refused | None:
    """Refuse a revision that this relay does not speak."""
    if REVISION_MIN <= revision <= REVISION_MAX:
        return None
    return Refused(Refusal.VERSION, version_text(revision, revision, REVISION_MIN, REVISION_MAX))


def _read_name(padded: bytes) -> str | None:
    """Return a player's name, or None if it is empty, not UTF-8, or has control characters."""
    try:
        name = padded.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return None
    if not name or any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in name):
        return None
    assert len(name.encode()) <= NAME_BYTES
    return name


def proof_is_right(request: JoinRequest, room_key: bytes) -> bool:
    """Tell whether a join knows the room's password. Everybody knows that of a room without one."""
    if not room_key:
        return True
    return hmac.compare_digest(request.proof, join_proof(room_key, request.cookie, request.nonce))
