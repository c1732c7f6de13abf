"""What the game asks for when it joins, checked before a byte is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from protocol.client.labels import require_label, require_labels, require_properties
from protocol.client.names import fits_utf8, is_code, is_name
from protocol.client.resume import ResumeToken
from protocol.constants import (
    CLIENT_NAME_BYTES,
    GAME_BYTES,
    GAME_VERSION_BYTES,
    IDENTITY_BYTES,
    MAX_ENTITIES_PER_PLAYER,
    MAX_KEY_BYTES,
    MAX_PLAYERS_PER_ROOM,
    MAX_SHOWN,
    MAX_STATE_BYTES,
    MAX_TAGS,
    RELEASE_BYTES,
    ROOM_NAME_BYTES,
    TAG_BYTES,
    JoinMode,
)
from protocol.properties import Value

WITHOUT_CODE = (JoinMode.CREATE, JoinMode.QUICK)
"""Modes in which the server makes up the code of a new room."""
MAX_DEADLINE_S = 600.0
"""Longest time to try, seconds (chosen)."""


@dataclass(frozen=True, kw_only=True)
class JoinRequest:
    """One wish to be in a room. Options of "create" are ignored by the server when the room exists."""

    mode: JoinMode
    """CREATE, JOIN or JOIN_OR_CREATE; QUICK: into the fullest listed room that has our game, version, tags and
    properties, or else into a new one; RESUME with a token."""
    name: str = ""
    """The player's name: 1 to 32 bytes of UTF-8 without control characters. Empty for RESUME only: the name stays."""
    code: str = ""
    """Room code: 1 to 16 of A-Z 0-9 -; lower case becomes upper case. Empty (CREATE, and always QUICK): the server
    makes one up. For RESUME it is the token's."""
    password: str = ""
    """Password of the room; empty for none, as for QUICK. It never crosses the wire."""
    game: str = ""
    """Which game this is, such as org.example.kart: rooms of other games are not seen. At most 32 bytes of UTF-8."""
    game_version: str = ""
    """Its version: a room that was opened by another one refuses us. At most 16 bytes of UTF-8."""
    room_name: str = ""
    """For create: what lists show beside the code, at most 48 bytes of UTF-8."""
    tags: Sequence[str] = ()
    """For create and QUICK: up to 8 of 1 to 16 bytes, which lists and quick matches can ask for."""
    listed: bool = False
    """For create: all who play this game find the room. A QUICK match is listed anyway."""
    shown: Sequence[str] = ()
    """For create: up to 8 keys of the room's properties, which lists show."""
    properties: Mapping[str, Value] = field(default_factory=dict)
    """For create and QUICK: up to 8 properties that the room begins with, together at most 255 bytes on the wire."""
    max_players: int | None = None
    """1 to 256, for create; None = the server's default."""
    entities_per_player: int | None = None
    """1 to 256, for create; None = the server's default (1)."""
    max_state_bytes: int | None = None
    """1 to 255, for create; None = the server's default (32)."""
    anyone_sets: bool = False
    """Every player may set the room's properties, not only the host; for create."""
    identity: bytes = field(default=b"", repr=False)
    """16 random bytes that an installation (or a profile of it) makes once and keeps, so that a ban holds; or empty."""
    resume: ResumeToken | None = None
    """For RESUME: where to come back to."""
    reconnect: bool = True
    """Try to come back when the connection is lost, as long as the server keeps our place."""
    deadline_s: float = 5.0
    """The attempt ends after this many seconds; above 0, at most 600."""
    client_name: str = "tickrelay-python"
    """Name of the client software, for the server's statistics; at most 24 bytes of UTF-8."""
    client_release: str = ""
    """Its release; at most 16 bytes of UTF-8."""

    def __post_init__(self) -> None:
        """Upper-case the code and check every field. Raises: ValueError naming field, value and permitted range."""
        is_resume = self.mode is JoinMode.RESUME
        _require(is_resume == (self.resume is not None), "resume", self.resume, "a token for RESUME, None otherwise")
        if self.resume is not None:
            _require(self.code.upper() in ("", self.resume.code), "code", self.code, "the token's, or empty")
            object.__setattr__(self, "code", self.resume.code)
        object.__setattr__(self, "code", self.code.upper())
        is_code_fine = is_code(self.code) if self.code else self.mode in WITHOUT_CODE
        is_code_fine = is_code_fine and not (self.code and self.mode is JoinMode.QUICK)
        _require(is_code_fine, "code", self.code, "1 to 16 of A-Z 0-9 -; empty for CREATE, always for QUICK")
        is_name_fine = is_name(self.name) or (not self.name and is_resume)
        _require(is_name_fine, "name", self.name, "1 to 32 bytes of UTF-8 without control characters")
        _require(len(self.identity) in (0, IDENTITY_BYTES), "identity", "(hidden)", "16 bytes, or none")
        is_password_fine = fits_utf8(self.password, 1024) and not (self.password and self.mode is JoinMode.QUICK)
        _require(is_password_fine, "password", "(hidden)", "at most 1024 bytes of UTF-8, none for QUICK")
        self._check_labels()
        _require_number("max_players", self.max_players, MAX_PLAYERS_PER_ROOM)
        _require_number("entities_per_player", self.entities_per_player, MAX_ENTITIES_PER_PLAYER)
        _require_number("max_state_bytes", self.max_state_bytes, MAX_STATE_BYTES)
        _require(0 < self.deadline_s <= MAX_DEADLINE_S, "deadline_s", self.deadline_s, "above 0, at most 600")
        for name, limit in (("client_name", CLIENT_NAME_BYTES), ("client_release", RELEASE_BYTES)):
            text = getattr(self, name)
            _require(fits_utf8(text, limit), name, text, f"at most {limit} bytes of UTF-8")

    def _check_labels(self) -> None:
        require_label("game", self.game, GAME_BYTES)
        require_label("game_version", self.game_version, GAME_VERSION_BYTES)
        require_label("room_name", self.room_name, ROOM_NAME_BYTES)
        require_labels("tags", self.tags, MAX_TAGS, TAG_BYTES)
        require_labels("shown", self.shown, MAX_SHOWN, MAX_KEY_BYTES)
        require_properties("properties", self.properties)


def _require_number(field: str, value: int | None, limit: int) -> None:
    _require(value is None or 1 <= value <= limit, field, value, f"1 to {limit}")


def _require(condition: bool, field: str, value: object, permitted: str) -> None:
    if not condition:
        raise ValueError(f"{field} is {value!r}; permitted: {permitted}")
