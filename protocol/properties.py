"""Values of properties: what a game sees, and the typed bytes on the wire (SPEC 9, Requests)."""

import struct

from protocol.constants import MAX_KEY_BYTES, MAX_VALUE_BYTES, PropertyType

Value = bool | int | float | str | bytes | None
"""None: there is no such property."""

_INT, _FLOAT = struct.Struct("<q"), struct.Struct("<d")
_SIZES = {PropertyType.NONE: 0, PropertyType.BOOL: 1, PropertyType.INT: _INT.size, PropertyType.FLOAT: _FLOAT.size}
"""Bytes of the types that have one size."""


def encode_value(value: Value) -> tuple[PropertyType, bytes]:
    """Turn a value into its type and bytes.

    Raises: ValueError for an int that does not fit 64 bits, a text or bytes of more than 200 bytes, a text that has no
        UTF-8; TypeError for anything that is not a `Value`.
    """
    match value:
        case None:
            return PropertyType.NONE, b""
        case bool():
            return PropertyType.BOOL, bytes([value])
        case int():
            if not -(1 << 63) <= value < 1 << 63:
                raise ValueError(f"value is {value}; permitted: -2**63 to 2**63 - 1")
            return PropertyType.INT, _INT.pack(value)
        case float():
            return PropertyType.FLOAT, _FLOAT.pack(value)
        case str():
            return PropertyType.TEXT, _limited(value.encode())
        case bytes():
            return PropertyType.BYTES, _limited(value)
    raise TypeError(f"value is a {type(value).__name__}; permitted: None, bool, int, float, str, bytes")


def _limited(data: bytes) -> bytes:
    if len(data) > MAX_VALUE_BYTES:
        raise ValueError(f"value has {len(data)} bytes; permitted: 0 to {MAX_VALUE_BYTES}")
    return data


def decode_value(kind: int, data: bytes) -> Value:
    """Turn type and bytes for which `is_value` is True into a value."""
    match kind:
        case PropertyType.BOOL:
            return data == b"\1"
        case PropertyType.INT:
            return int(_INT.unpack(data)[0])
        case PropertyType.FLOAT:
            return float(_FLOAT.unpack(data)[0])
        case PropertyType.TEXT:
            return data.decode()
        case PropertyType.BYTES:
            return data
    return None


def is_value(kind: int, data: bytes) -> bool:
    """Tell whether type and bytes from the wire are a value."""
    if kind in _SIZES:
        return len(data) == _SIZES[PropertyType(kind)] and (kind != PropertyType.BOOL or data in (b"\0", b"\1"))
    if kind == PropertyType.TEXT:
        return len(data) <= MAX_VALUE_BYTES and is_utf8(data)
    return kind == PropertyType.BYTES and len(data) <= MAX_VALUE_BYTES


def is_key(key: bytes) -> bool:
    """Tell whether bytes are the key of a property: 1 to 32 bytes of UTF-8 without control characters."""
    return bool(key) and is_label(key, MAX_KEY_BYTES)


def is_label(label: bytes, most: int) -> bool:
    """Tell whether bytes are at most `most` of UTF-8 without control characters, or none at all."""
    return len(label) <= most and is_utf8(label) and not any(map(is_control, label.decode()))


def is_utf8(data: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_control(letter: str) -> bool:
    """Tell whether a character is a control character: U+0000-001F, U+007F-009F (SPEC 2)."""
    return letter < " " or "\x7f" <= letter <= "\x9f"
