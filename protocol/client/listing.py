"""From the first HELLO to the last page of a list of rooms (SPEC 4, "Finding"). One Listing is one question.

HELLO brings a cookie, LIST with it a page, and each page the next, until there are no more. Like a Handshake it has no
socket and no clock: `poll` builds what is due, `receive` takes what came.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocol import codec
from protocol.client.connection import printable, refusal_of
from protocol.client.events import Refused
from protocol.client.handshake import FEATURES, JOIN_INTERVAL_S, MAX_JOINS, RETRY_AFTER_S
from protocol.client.labels import (
    label_options,
    properties_options,
    require_label,
    require_labels,
    require_properties,
    texts_options,
)
from protocol.client.names import fits_utf8, is_code
from protocol.constants import (
    CLIENT_NAME_BYTES,
    GAME_BYTES,
    GAME_VERSION_BYTES,
    HELLO_BYTES,
    MAGIC,
    MAX_TAGS,
    REVISION_MAX,
    REVISION_MIN,
    TAG_BYTES,
    Kind,
    ListedFlag,
    ListFlag,
    Option,
)
from protocol.drops import DropReason
from protocol.dtypes import HELLO_FIELDS, LIST_FIELDS
from protocol.properties import Value, decode_value, is_key, is_value

MAX_ROOMS = 10_000
"""Most rooms that can be asked for (chosen)."""
MAX_PAGES = 10_000
"""Most pages that are taken, also empty ones: a server must not keep us busy for ever."""


@dataclass(frozen=True, kw_only=True)
class ListRequest:
    """Which rooms are looked for."""

    game: str = ""
    """As in `JoinRequest`: rooms of other games are not listed."""
    version: str = ""
    """Only rooms of this version of the game; empty: of any."""
    tags: Sequence[str] = ()
    """Only rooms that have all of these."""
    properties: Mapping[str, Value] = field(default_factory=dict)
    """Only rooms that have all of these."""
    only_open: bool = False
    """Only rooms with a free place that are not locked."""
    max_rooms: int = 1000
    """Stop after so many, 1 to 10,000."""
    deadline_s: float = 5.0
    """Give up when no page came for so many seconds; above 0."""
    client_name: str = "tickrelay-python"
    """Name of the client software; at most 24 bytes of UTF-8."""

    def __post_init__(self) -> None:
        """Check every field. Raises: ValueError naming field, value and permitted range."""
        require_label("game", self.game, GAME_BYTES)
        require_label("version", self.version, GAME_VERSION_BYTES)
        require_labels("tags", self.tags, MAX_TAGS, TAG_BYTES)
        require_properties("properties", self.properties)
        if not 1 <= self.max_rooms <= MAX_ROOMS:
            raise ValueError(f"max_rooms is {self.max_rooms}; permitted: 1 to {MAX_ROOMS}")
        if not self.deadline_s > 0.0:
            raise ValueError(f"deadline_s is {self.deadline_s}; permitted: above 0")
        if not fits_utf8(self.client_name, CLIENT_NAME_BYTES):
            raise ValueError(f"client_name is {self.client_name!r}; permitted: at most 24 bytes of UTF-8")


@dataclass(frozen=True, slots=True)
class ListedRoom:
    """What a list says of a room. It is old when it arrives: a join may still be refused."""

    code: str
    name: str
    version: str
    """Of the game, as its creator gave it."""
    players: int
    """How many are in it, those who are away too."""
    max_players: int
    tags: tuple[str, ...]
    properties: Mapping[str, Value]
    """Those that the host shows."""
    is_locked: bool
    has_password: bool


@dataclass(frozen=True, slots=True)
class RoomList:
    """The answer to a ListRequest."""

    rooms: tuple[ListedRoom, ...]
    """Those that suit, opened first before the others."""
    num_listed: int
    """Rooms of the game that are listed, whether or not they suit."""
    region: str
    """Where the relay is, in its own words."""


class Listing:
    """One question for rooms: what to send, when, and what the answers mean."""

    def __init__(self, request: ListRequest, nonce: int, now: float) -> None:
        """Begin; the first HELLO is due at once.

        Args:
            request: Which rooms.
            nonce: A number that nobody can guess.
            now: Monotonic seconds.
        """
        self.result: RoomList | Refused | None = None
        """The answer, once there is one."""
        self.has_answer = False
        """Something came back."""
        self._request = request
        self._nonce = nonce
        self._challenge: Any = None
        self._after = 0
        self._rooms: list[ListedRoom] = []
        self._num_pages = 0
        self._num_sent = 0
        self._sent_at = -math.inf
        self._next_at = now
        self._deadline_at = now + request.deadline_s

    def next_at(self) -> float:
        """Tell when `poll` has something to do, monotonic seconds; never once it is over."""
        return math.inf if self.result is not None else min(self._next_at, self._deadline_at)

    def is_late(self, now: float) -> bool:
        """Tell whether no page came for too long."""
        return self.result is None and now >= self._deadline_at

    def poll(self, now: float) -> list[bytes]:
        """Build the HELLO or LIST that is due, if one is. The caller looks at `is_late`."""
        if now < self._next_at or self.result is not None:
            return []
        if self._challenge is not None and self._num_sent == MAX_JOINS:  # its cookies may be gone with the server
            self._challenge = None
            self._num_sent = 0
        self._next_at = now + RETRY_AFTER_S[min(self._num_sent, len(RETRY_AFTER_S) - 1)]
        self._num_sent += 1
        self._sent_at = now
        return [self._build_hello() if self._challenge is None else self._build_list()]

    def receive(self, data: bytes, now: float) -> DropReason | None:
        """Take a datagram. Returns: why it is not taken, whatever the bytes are; None if it is."""
        value = codec.decode(data)
        if isinstance(value, DropReason):
            return value
        kind = data[0]
        if kind not in (Kind.CHALLENGE, Kind.REFUSE, Kind.ROOMS):
            return DropReason.UNKNOWN_KIND
        if (value.fields if kind == Kind.ROOMS else value).nonce != self._nonce or self.result is not None:
            return DropReason.STALE_JOIN
        dropped = None
        if kind == Kind.REFUSE:
            self.result = Refused(refusal_of(value.reason), printable(value.text))
        elif kind == Kind.ROOMS:
            dropped = self._handle_rooms(value, now)
        else:
            dropped = self._handle_challenge(value, now)
        if dropped is None:
            self.has_answer = True
        return dropped

    def _handle_challenge(self, value: Any, now: float) -> DropReason | None:
        if not REVISION_MIN <= value.revision <= REVISION_MAX:
            return DropReason.MALFORMED
        self._next_at = now if self._challenge is None else max(now, self._sent_at + JOIN_INTERVAL_S)
        self._challenge = value
        self._num_sent = 0
        return None

    def _handle_rooms(self, value: Any, now: float) -> DropReason | None:
        """Keep a page and ask for the next one."""
        fields = value.fields
        if self._challenge is None or fields.after != self._after:
            return DropReason.STALE_JOIN
        rooms = [_room_of(one) for one in value.rooms]
        if None in rooms or 0 < fields.next <= self._after:
            return DropReason.MALFORMED
        self._rooms += [room for room in rooms if room is not None]
        self._num_pages += 1
        self._deadline_at = now + self._request.deadline_s
        if fields.next and len(self._rooms) < self._request.max_rooms and self._num_pages < MAX_PAGES:
            self._after = fields.next
            self._next_at = now
            self._num_sent = 0
        else:
            found = tuple(self._rooms[: self._request.max_rooms])
            self.result = RoomList(found, fields.num_listed, printable(value.region))
        return None

    def _build_hello(self) -> bytes:
        fields = HELLO_FIELDS.encode(
            kind=Kind.HELLO,
            shard=0,
            magic=MAGIC,
            nonce=self._nonce,
            revision_min=REVISION_MIN,
            revision_max=REVISION_MAX,
            features=FEATURES,
            fingerprint=codec.FINGERPRINT,
            client_name=self._request.client_name.encode(),
            client_release=b"",
        )
        return fields.ljust(HELLO_BYTES, b"\0")

    def _build_list(self) -> bytes:
        request, challenge = self._request, self._challenge
        fields = LIST_FIELDS.encode(
            kind=Kind.LIST,
            shard=0,
            nonce=self._nonce,
            cookie=challenge.cookie,
            revision=challenge.revision,
            features=challenge.features & FEATURES,
            after=self._after,
            flags=ListFlag.OPEN_ONLY if request.only_open else 0,
        )
        options = label_options((Option.GAME, request.game), (Option.GAME_VERSION, request.version))
        options += texts_options((Option.TAGS, request.tags)) + properties_options(request.properties)
        return fields + b"".join(bytes((key,)) + codec.counted(value) for key, value in options)


def _room_of(one: Any) -> ListedRoom | None:
    """Read a room of a page; None if its code is none. What is no text or no property is shown as well as it can be."""
    code = one.fields.code.rstrip(b"\0").decode("latin-1")
    if not is_code(code):
        return None
    body, flags = one.body, one.fields.flags
    return ListedRoom(
        code=code,
        name=printable(body.name),
        version=printable(body.version),
        players=one.fields.players,
        max_players=one.fields.max_players,
        tags=tuple(printable(tag) for tag in body.tags.texts),
        properties={
            shown.key.decode(): decode_value(shown.type, shown.value)
            for shown in body.properties.properties
            if is_key(shown.key) and is_value(shown.type, shown.value)
        },
        is_locked=bool(flags & ListedFlag.LOCKED),
        has_password=bool(flags & ListedFlag.PASSWORD),
    )
