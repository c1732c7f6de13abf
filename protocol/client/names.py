"""Room codes, player names and other short texts: what SPEC 2 permits."""

from protocol.constants import CODE_BYTES, CODE_LETTERS, NAME_BYTES
from protocol.properties import is_control


def is_code(text: str) -> bool:
    """Tell whether a text is a room code (SPEC 2)."""
    return 1 <= len(text) <= CODE_BYTES and CODE_LETTERS.issuperset(text)


def is_name(text: str) -> bool:
    """Tell whether a text is a player's name (SPEC 2): no U+0000-001F, no U+007F-009F."""
    return bool(text) and fits_utf8(text, NAME_BYTES) and not any(map(is_control, text))


def fits_utf8(text: str, limit: int) -> bool:
    """Tell whether a text is at most `limit` bytes of UTF-8; one with lone surrogates has none."""
    try:
        return len(text.encode()) <= limit
    except UnicodeEncodeError:
        return False
