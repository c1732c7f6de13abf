"""What the game asks for when it joins, checked before a byte is sent."""

from dataclasses import dataclass

from protocol.constants import (
    CLIENT_NAME_BYTES,
    CODE_BYTES,
    CODE_LETTERS,
    MAX_ENTITIES_PER_PLAYER,
    MAX_PLAYERS_PER_ROOM,
    MAX_STATE_BYTES,
    NAME_BYTES,
    RELEASE_BYTES,
    JoinMode,
)

MODES = (JoinMode.CREATE, JoinMode.JOIN, JoinMode.JOIN_OR_CREATE)
"""The modes of revision 1; the others have numbers only."""
MAX_DEADLINE_S = 600.0
"""Longest time to try, seconds (chosen)."""


@dataclass(frozen=True, kw_only=True)
class JoinRequest:
    """One wish to be in a room. Options of "create" are ignored by the server when the room exists."""

    mode: JoinMode
    """CREATE, JOIN or JOIN_OR_CREATE."""
    name: str
    """The player's name: 1 to 32 bytes of UTF-8 without control characters."""
    code: str = ""
    """Room code: 1 to 16 of A-Z 0-9 -; lower case becomes upper case. Empty (CREATE only): the server makes one up."""
    password: str = ""
    """Password of the room; empty for none. It never crosses the wire."""
    max_players: int | None = None
    """1 to 256, for create; None = the server's default."""
    entities_per_player: int | None = None
    """1 to 256, for create; None = the server's default (1)."""
    max_state_bytes: int | None = None
    """1 to 255, for create; None = the server's default (32)."""
    deadline_s: float = 5.0
    """The attempt ends after this many seconds; above 0, at most 600."""
    client_name: str = "tickrelay-python"
    """Name of the client software, for the server's statistics; at most 24 bytes of UTF-8."""
    client_release: str = ""
    """Its release; at most 16 bytes of UTF-8."""

    def __post_init__(self) -> None:
        """Upper-case the code and check every field. Raises: ValueError naming field, value and permitted range."""
        object.__setattr__(self, "code", self.code.upper())
        _require(self.mode in MODES, "mode", self.mode, "CREATE, JOIN, JOIN_OR_CREATE")
        is_code_fine = is_code(self.code) or (not self.code and self.mode is JoinMode.CREATE)
        _require(is_code_fine, "code", self.code, "1 to 16 of A-Z 0-9 -; empty for CREATE only")
        _require(is_name(self.name), "name", self.name, "1 to 32 bytes of UTF-8 without control characters")
        _require(fits_utf8(self.password, 1024), "password", "(hidden)", "at most 1024 bytes of UTF-8")
        _require_number("max_players", self.max_players, MAX_PLAYERS_PER_ROOM)
        _require_number("entities_per_player", self.entities_per_player, MAX_ENTITIES_PER_PLAYER)
        _require_number("max_state_bytes", self.max_state_bytes, MAX_STATE_BYTES)
        _require(0 < self.deadline_s <= MAX_DEADLINE_S, "deadline_s", self.deadline_s, "above 0, at most 600")
        for field, limit in (("client_name", CLIENT_NAME_BYTES), ("client_release", RELEASE_BYTES)):
            text = getattr(self, field)
            _require(fits_utf8(text, limit), field, text, f"at most {limit} bytes of UTF-8")


def is_code(text: str) -> bool:
    """Tell whether a text is a room code (SPEC 2)."""
    return 1 <= len(text) <= CODE_BYTES and CODE_LETTERS.issuperset(text)


def is_name(text: str) -> bool:
    """Tell whether a text is a player's name (SPEC 2): no U+0000-001F, no U+007F-009F."""
    return bool(text) and fits_utf8(text, NAME_BYTES) and not any(c < " " or "\x7f" <= c <= "\x9f" for c in text)


def fits_utf8(text: str, limit: int) -> bool:
    """Tell whether a text is at most `limit` bytes of UTF-8; one with lone surrogates has none."""
    try:
        return len(text.encode()) <= limit
    except UnicodeEncodeError:
        return False


def _require_number(field: str, value: int | None, limit: int) -> None:
    _require(value is None or 1 <= value <= limit, field, value, f"1 to {limit}")


def _require(condition: bool, field: str, value: object, permitted: str) -> None:
    if not condition:
        raise ValueError(f"{field} is {value!r}; permitted: {permitted}")
