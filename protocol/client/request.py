"""What the game asks for when it joins, checked before a byte is sent."""

from dataclasses import dataclass, field

from protocol.client.names import fits_utf8, is_code, is_name
from protocol.client.resume import ResumeToken
from protocol.constants import (
    CLIENT_NAME_BYTES,
    IDENTITY_BYTES,
    MAX_ENTITIES_PER_PLAYER,
    MAX_PLAYERS_PER_ROOM,
    MAX_STATE_BYTES,
    RELEASE_BYTES,
    JoinMode,
)

MODES = (JoinMode.CREATE, JoinMode.JOIN, JoinMode.JOIN_OR_CREATE, JoinMode.RESUME)
"""The modes of revision 1; QUICK has a number only."""
MAX_DEADLINE_S = 600.0
"""Longest time to try, seconds (chosen)."""


@dataclass(frozen=True, kw_only=True)
class JoinRequest:
    """One wish to be in a room. Options of "create" are ignored by the server when the room exists."""

    mode: JoinMode
    """CREATE, JOIN or JOIN_OR_CREATE; RESUME with a token."""
    name: str = ""
    """The player's name: 1 to 32 bytes of UTF-8 without control characters. Empty for RESUME only: the name stays."""
    code: str = ""
    """Room code: 1 to 16 of A-Z 0-9 -; lower case becomes upper case. Empty (CREATE only): the server makes one up.
    For RESUME it is the token's."""
    password: str = ""
    """Password of the room; empty for none. It never crosses the wire."""
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
        _require(self.mode in MODES, "mode", self.mode, "CREATE, JOIN, JOIN_OR_CREATE, RESUME")
        _require(is_resume == (self.resume is not None), "resume", self.resume, "a token for RESUME, None otherwise")
        if self.resume is not None:
            _require(self.code.upper() in ("", self.resume.code), "code", self.code, "the token's, or empty")
            object.__setattr__(self, "code", self.resume.code)
        object.__setattr__(self, "code", self.code.upper())
        is_code_fine = is_code(self.code) or (not self.code and self.mode is JoinMode.CREATE)
        _require(is_code_fine, "code", self.code, "1 to 16 of A-Z 0-9 -; empty for CREATE only")
        is_name_fine = is_name(self.name) or (not self.name and is_resume)
        _require(is_name_fine, "name", self.name, "1 to 32 bytes of UTF-8 without control characters")
        _require(len(self.identity) in (0, IDENTITY_BYTES), "identity", "(hidden)", "16 bytes, or none")
        _require(fits_utf8(self.password, 1024), "password", "(hidden)", "at most 1024 bytes of UTF-8")
        _require_number("max_players", self.max_players, MAX_PLAYERS_PER_ROOM)
        _require_number("entities_per_player", self.entities_per_player, MAX_ENTITIES_PER_PLAYER)
        _require_number("max_state_bytes", self.max_state_bytes, MAX_STATE_BYTES)
        _require(0 < self.deadline_s <= MAX_DEADLINE_S, "deadline_s", self.deadline_s, "above 0, at most 600")
        for name, limit in (("client_name", CLIENT_NAME_BYTES), ("client_release", RELEASE_BYTES)):
            text = getattr(self, name)
            _require(fits_utf8(text, limit), name, text, f"at most {limit} bytes of UTF-8")


def _require_number(field: str, value: int | None, limit: int) -> None:
    _require(value is None or 1 <= value <= limit, field, value, f"1 to {limit}")


def _require(condition: bool, field: str, value: object, permitted: str) -> None:
    if not condition:
        raise ValueError(f"{field} is {value!r}; permitted: {permitted}")
