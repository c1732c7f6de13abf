"""Games, versions, tags and properties as options of JOIN and LIST (SPEC 4), checked before a byte is sent."""

from collections.abc import Mapping, Sequence

from protocol.client.names import fits_utf8
from protocol.constants import MAX_SHOWN, Option, PropertyType
from protocol.properties import Value, encode_value, is_control, is_key
from protocol.schemas import PLAIN_PROPERTIES, TEXTS

MAX_OPTION_BYTES = 255
"""One byte holds the length of an option's value."""


def is_label(text: str, limit: int) -> bool:
    """Tell whether a text is a label (SPEC 4): at most `limit` bytes of UTF-8 without control characters, or empty."""
    return fits_utf8(text, limit) and not any(map(is_control, text))


def require_label(field: str, text: str, limit: int) -> None:
    """Check a label. Raises: ValueError naming field, value and what is permitted."""
    if not is_label(text, limit):
        raise ValueError(
            f"{field} is {text!r}; permitted: at most {limit} bytes of UTF-8 without control characters, or empty"
        )


def require_labels(field: str, texts: Sequence[str], most: int, limit: int) -> None:
    """Check a list of labels, none of which is empty. Raises: ValueError as `require_label`."""
    is_fine = (
        not isinstance(texts, str) and len(texts) <= most and all(text and is_label(text, limit) for text in texts)
    )
    if not is_fine or sum(len(text.encode()) + 1 for text in texts) > MAX_OPTION_BYTES:
        raise ValueError(
            f"{field} is {texts!r}; permitted: at most {most} texts of 1 to {limit} bytes of UTF-8 without control "
            f"characters, together {MAX_OPTION_BYTES} with one more byte each"
        )


def require_properties(field: str, properties: Mapping[str, Value]) -> None:
    """Check properties that a room is to begin with, or to have. Raises: ValueError as `require_label`; TypeError."""
    is_fine = len(properties) <= MAX_SHOWN and all(is_key(key.encode(errors="surrogatepass")) for key in properties)
    if not is_fine or len(_encode_properties(properties)) > MAX_OPTION_BYTES:
        raise ValueError(
            f"{field} is {properties!r}; permitted: at most {MAX_SHOWN} keys of 1 to 32 bytes without control "
            f"characters, with values other than None, together {MAX_OPTION_BYTES} bytes with three more bytes each"
        )


def label_options(*labels: tuple[Option, str]) -> list[tuple[Option, bytes]]:
    """Encode labels; an empty one is not sent."""
    return [(option, text.encode()) for option, text in labels if text]


def texts_options(*lists: tuple[Option, Sequence[str]]) -> list[tuple[Option, bytes]]:
    """Encode lists of labels; an empty one is not sent."""
    return [(option, TEXTS.build({"texts": [text.encode() for text in texts]})) for option, texts in lists if texts]


def properties_options(properties: Mapping[str, Value]) -> list[tuple[Option, bytes]]:
    """Encode properties, if there are any."""
    return [(Option.PROPERTIES, _encode_properties(properties))] if properties else []


def _encode_properties(properties: Mapping[str, Value]) -> bytes:
    """Encode properties. Raises: ValueError, TypeError as `encode_value`; ValueError for None, which is no value."""
    listed = []
    for key, value in properties.items():
        kind, data = encode_value(value)
        if kind is PropertyType.NONE:
            raise ValueError(f"the property {key!r} is None; permitted: bool, int, float, str, bytes")
        listed.append({"key": key.encode(), "type": kind, "value": data})
    encoded: bytes = PLAIN_PROPERTIES.build({"properties": listed})
    return encoded
